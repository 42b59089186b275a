package main

import (
	"fmt"
	"math"

	"github.com/spf13/cobra"

	"github.com/blockrig/blockrig/harness/trial"
	"github.com/blockrig/blockrig/results"
	"github.com/blockrig/blockrig/scenarios"
)

func (a *app) runCommand() *cobra.Command {
	var (
		refs   []string
		set    []string
		only   []string
		repeat int
		o      labOptions
	)
	c := &cobra.Command{
		Use:   "run SCENARIO… -k REF…",
		Short: "Run scenarios on kernels",
		Long: `Run every case of each SCENARIO (a shipped one, see "blockrig scenarios list",
or a YAML file) on each kernel REF and judge each trial.`,
		Example: `  blockrig run lvm-mirror-dio-read -k debian:6.18 -k debian:newest
  blockrig run ./mine.yaml -k file:arch/x86/boot/bzImage --set length=4096`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(refs) == 0 {
				return badRequest(fmt.Errorf("run: which kernel? Name one or more with -k (debian:newest, debian:6.18, file:PATH, git:REPO@REV)"))
			}
			if repeat < 1 {
				return badRequest(fmt.Errorf("--repeat %d: want 1 or more", repeat))
			}
			if o.boots == 0 {
				o.boots = int(math.Ceil(math.Sqrt(float64(repeat))))
			}
			cases, err := casesOf(args, set, only)
			if err != nil {
				return badRequest(err)
			}
			var tasks []trial.Task
			for _, ref := range refs {
				for _, cs := range cases {
					for n := range repeat {
						tasks = append(tasks, trial.Task{Ref: ref, Case: cs, Repeat: n})
					}
				}
			}
			records, err := a.trials(c.Context(), tasks, o)
			if err != nil && len(records) == 0 {
				return err
			}
			if perr := a.printRecords(records); perr != nil {
				return perr
			}
			if err != nil {
				return err
			}
			return exitWith(results.ExitStatusOf(records))
		},
	}
	f := c.Flags()
	f.StringArrayVarP(&refs, "kernel", "k", nil, "kernel `REF`; may be given several times")
	f.StringArrayVar(&set, "set", nil, "fix a parameter: `p=v`; may be given several times")
	f.StringArrayVar(&only, "case", nil, "run only the case with this `ID`; may be given several times")
	f.IntVar(&repeat, "repeat", 1, "run each case `N` times")
	f.IntVar(&o.boots, "boots", 0, "spread the repeats over `N` boots of each kernel (default: the square root of --repeat)")
	f.StringVar(&o.until, "until", "", "FAIL: repeat a case only until it fails")
	o.flags(f)
	return c
}

// casesOf gives the cases of scenarios, parameters fixed as in set, only those
// named if any are.
func casesOf(names, set, only []string) ([]scenarios.Case, error) {
	fixed, err := scenarios.ParseSet(set)
	if err != nil {
		return nil, err
	}
	var out []scenarios.Case
	for _, name := range names {
		sc, err := scenarios.Load(name)
		if err != nil {
			return nil, err
		}
		if len(only) > 0 {
			for _, id := range only {
				cs, err := sc.Case(id)
				if err != nil {
					return nil, err
				}
				out = append(out, cs)
			}
			continue
		}
		cases, err := sc.Cases(fixed)
		if err != nil {
			return nil, err
		}
		out = append(out, cases...)
	}
	return out, nil
}

// exitWith turns an exit status into what run understands.
func exitWith(code int) error {
	if code == exitPass {
		return nil
	}
	return status(code)
}
