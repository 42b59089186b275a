package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/blockrig/blockrig/harness/hunt"
	"github.com/blockrig/blockrig/results"
)

func (a *app) minimiseCommand() *cobra.Command {
	var o labOptions
	var output string
	c := &cobra.Command{
		Use: "minimise FAILURE", Aliases: []string{"minimize"}, Short: "Make a failing trial as small as it goes", Args: cobra.ExactArgs(1),
		Long: `Find the smallest scenario that fails as a recorded trial did, with its verdict and
in its phase, on its kernel: with the fewest steps, then layers and disks, then the
simplest I/O. FAILURE is a trial (RUN/NUMBER, as "blockrig results show RUN" numbers
them). Each smaller case is tried, and the last one from power-on, too.

The scenario is printed, and run, repro and bisect take it as it is. Exit status 3:
the trial did not fail again.`,
		Example: `  blockrig minimise last/3 -o small.yaml
  blockrig run small.yaml -k debian:6.18`,
		RunE: func(c *cobra.Command, args []string) error {
			if err := o.check(); err != nil {
				return badRequest(err)
			}
			if err := checkOutput(output); err != nil {
				return err
			}
			root, err := a.resultsRoot()
			if err != nil {
				return err
			}
			r, err := results.Find(root, args[0])
			if err != nil {
				return wrongRun(err)
			}
			if !r.Record.Verdict.Failure() {
				return badRequest(fmt.Errorf("trial %s did not fail: %s", r.Name(), r.Record.Verdict))
			}
			return a.minimise(c.Context(), r, output, o)
		},
	}
	f := c.Flags()
	f.StringVarP(&output, "output", "o", "", "write the scenario to `FILE` instead of stdout")
	o.cacheFlag(f)
	o.machineFlags(f)
	o.build.buildFlags(f)
	return c
}

func (a *app) minimise(ctx context.Context, was results.Recorded, output string, o labOptions) (err error) {
	if err := needQEMU(); err != nil {
		return err
	}
	o.cpus = cmp.Or(o.cpus, was.Job.CPUs)
	run, err := a.openRun(ctx)
	if err != nil {
		return err
	}
	h := &hunt.Hunt{Run: run, Log: a.log, Status: a.display.Status}
	stop := a.show()
	source, cold, err := a.minimiseWith(ctx, h, was, o)
	stop()
	err = errors.Join(err, a.endRun(run))
	if errors.Is(err, hunt.ErrNotAgain) {
		a.say("blockrig: %s: %v", was.Name(), err)
		return exitWith(results.ExitError)
	}
	if source == "" {
		return err
	}
	if err == nil && !cold {
		a.say("blockrig: the last trial, from power-on, did not show it: only one from a saved machine did")
	}
	if output == "" {
		_, werr := fmt.Fprint(a.stdout, source)
		return errors.Join(err, werr)
	}
	return errors.Join(err, os.WriteFile(output, []byte(source), 0o644))
}

func (a *app) minimiseWith(ctx context.Context, h *hunt.Hunt, was results.Recorded, o labOptions) (source string, cold bool, err error) {
	if h.Preparer, err = a.preparer(ctx, o); err != nil {
		return "", false, err
	}
	if h.Bases, err = a.bases(results.Request{CacheSize: o.cache}, ""); err != nil {
		return "", false, err
	}
	return h.Minimise(ctx, was)
}
