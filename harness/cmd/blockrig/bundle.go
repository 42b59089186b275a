package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/blockrig/blockrig/results"
	"github.com/blockrig/blockrig/results/bundle"
)

func (a *app) resultsBundle() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use: "bundle TRIAL", Short: "Put all that it takes to make a trial again into one file", Args: cobra.ExactArgs(1),
		Long: `Put all that it takes to make a trial again into one file: kernel, initramfs,
scenario, what was seen, the console, and reproduce.sh, which needs nothing but QEMU
and a shell. TRIAL is RUN/NUMBER, as "blockrig results show RUN" numbers them, or a
line of a report that has such a name in it. The same trial gives the same bytes.

reproduce.sh has QEMU itself make requests fail, take disks away and cut the power
as the trial did. What it can't do (data that are lost, torn, stale or flipped, late
answers, writes that a power cut loses) needs "blockrig replay"; the command says so,
and so does reproduce.sh.

  tar -xf FILE.tar.zst && sh blockrig-bundle/reproduce.sh
  blockrig replay FILE.tar.zst`,
		Example: `  blockrig results bundle last/3 -o hang.tar.zst`,
		RunE: func(c *cobra.Command, args []string) error {
			if output == "" {
				return badRequest(errors.New("say with -o FILE.tar.zst where to put the bundle"))
			}
			if err := checkOutput(output); err != nil {
				return err
			}
			root, err := a.resultsRoot()
			if err != nil {
				return err
			}
			recorded, err := results.Find(root, args[0])
			if err != nil {
				return wrongRun(err)
			}
			defer a.show()()
			prep, err := a.preparer(c.Context(), labOptions{})
			if err != nil {
				return err
			}
			content, err := bundle.Of(c.Context(), recorded, prep, a.say)
			if errors.Is(err, bundle.ErrNotKept) {
				err = badRequest(err)
			}
			if err != nil {
				return err
			}
			if err := bundle.WriteFile(output, content); err != nil {
				return err
			}
			a.say("%s: %s", output, recorded.Name())
			return nil
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "", "write the bundle to `FILE`")
	return c
}
