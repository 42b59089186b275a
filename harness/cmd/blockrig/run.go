package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/blockrig/blockrig/harness/stats"
	"github.com/blockrig/blockrig/results"
	"github.com/blockrig/blockrig/scenarios"
	"github.com/blockrig/blockrig/scenarios/language"
)

func (a *app) runCommand() *cobra.Command {
	var (
		refs   []string
		set    []string
		only   []string
		repeat int
		trust  float64
		resume string
		o      labOptions
	)
	c := &cobra.Command{
		Use:   "run SCENARIO… -k REF…",
		Short: "Run scenarios on kernels",
		Long: `Run every case of each SCENARIO (a shipped one, see "blockrig scenarios list",
or a YAML file) on each kernel REF and judge each trial.

With --repeat the answer is a row for each case: how often which verdict, the
failure rate and its 95% interval, and how many passes it takes to trust one.
Trials from one boot of the kernel share its memory layout and random state, so
they are spread over several boots, and the interval counts with those. Of all
repeats of a case with one signature the first keeps its folder; the record of
each is in the run's trials.jsonl, and "blockrig results show" prints them.

Ctrl-C ends the run with what is done: exit status 1 if there was a failure,
else 3. --resume RUN does the rest, on the very same kernels and scenarios.

With --hub the workers of a hub make the trials ("blockrig help serve"); all else
is the same. All trials of a run are made with one QEMU and one accelerator.`,
		Example: `  blockrig run lvm-mirror-dio-read -k debian:6.18 -k debian:newest
  blockrig run ./mine.yaml -k file:arch/x86/boot/bzImage --set length=4096
  blockrig run lvm-mirror-dio-read -k debian:6.18 --repeat 100 --boots 10
  blockrig run lvm-mirror-dio-read -k git:linux@v6.18 --fragment debug
  blockrig run --resume last`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if c.Flags().Changed("resume") {
				return a.resume(c, args, resume, &o)
			}
			if len(args) == 0 {
				return badRequest(fmt.Errorf("run: which scenario? Name one or more (see \"blockrig scenarios list\"); usage: %s", c.UseLine()))
			}
			if len(refs) == 0 {
				return badRequest(fmt.Errorf("run: which kernel? Name one or more with -k (debian:newest, debian:6.18, file:PATH, git:REPO@REV)"))
			}
			switch {
			case o.until != "" && repeat == 1:
				return badRequest(fmt.Errorf("--until %s: say with --repeat N how often to try at most", o.until))
			case !(trust > 0 && trust < 1):
				return badRequest(fmt.Errorf("--trust-rate %g: want a failure rate between 0 and 1", trust))
			}
			if err := o.check(); err != nil {
				return badRequest(err)
			}
			if o.boots == 0 {
				o.boots = stats.BootsFor(repeat)
			}
			if err := needGit(c.Flags(), refs...); err != nil {
				return badRequest(err)
			}
			build, err := o.build.stored()
			if err != nil {
				return badRequest(err)
			}
			cases, err := casesOf(args, set, only)
			if err != nil {
				return badRequest(err)
			}
			req := results.Request{
				Verb: results.VerbRun, Scenarios: results.ScenariosOf(cases), Kernels: results.KernelsOf(refs...),
				Repeat: repeat, Trust: trust, Build: build,
			}
			o.request(&req)
			return a.newRun(c.Context(), req, o)
		},
	}
	f := c.Flags()
	f.StringArrayVarP(&refs, "kernel", "k", nil, "kernel `REF`; may be given several times")
	f.StringArrayVar(&set, "set", nil, "fix a parameter: `p=v`; may be given several times")
	f.StringArrayVar(&only, "case", nil, "run only the case with this `ID`; may be given several times")
	numberVar(f, &repeat, "repeat", 1, 1, results.MaxRepeat, "run each case `N` times")
	numberVar(f, &o.boots, "boots", 0, 1, results.MaxRepeat, "spread the repeats over `N` boots of each kernel (default: the square root of --repeat)")
	choiceVar(f, &o.until, "until", "", []string{"FAIL"}, "repeat a case only until it fails (`FAIL`)")
	f.Float64Var(&trust, "trust-rate", defaultTrust, "say how many passes rule out a failure `RATE` above this one")
	f.StringVar(&resume, "resume", "", "do the rest of the run with this `ID` (or its beginning, or last)")
	o.flags(f)
	o.hubFlag(f)
	o.traceFlag(f)
	o.build.buildFlags(f)
	return c
}

const (
	// defaultTrust is a failure rate that 29 passes rule out.
	defaultTrust = .1
	confidence   = .95
)

// casesOf gives the cases of scenarios, parameters fixed as in set, only those
// named if any are.
func casesOf(names, set, only []string) ([]scenarios.Case, error) {
	fixed, err := language.ParseSet(set)
	if err != nil {
		return nil, err
	}
	var out []scenarios.Case
	for _, name := range names {
		sc, err := language.Load(name)
		if err != nil {
			return nil, err
		}
		if len(only) > 0 {
			for _, id := range only {
				cs, err := language.OneCase(sc, id)
				if err != nil {
					return nil, err
				}
				out = append(out, cs)
			}
			continue
		}
		cases, err := language.Cases(sc, fixed)
		if err != nil {
			return nil, err
		}
		out = append(out, cases...)
	}
	return out, nil
}

// newRun begins a run and does it.
func (a *app) newRun(ctx context.Context, req results.Request, o labOptions) error {
	if err := a.joinHub(ctx, o.hub, req.Accel, ""); err != nil {
		return err
	}
	if err := a.needMachines(); err != nil {
		return err
	}
	return a.runTrials(ctx, how{timing: o.timing}, creating(ctx, req))
}

// creating makes a new run for a request.
func creating(ctx context.Context, req results.Request) opening {
	return func(root string) (*results.Run, results.Stored, error) {
		run, err := results.Create(ctx, root, req)
		if err != nil {
			return nil, results.Stored{}, err
		}
		return run, results.Stored{Info: results.Info{ID: run.ID()}, Request: req}, nil
	}
}

// stored are the flags as a run's request has them.
func (g *buildOptions) stored() (results.Build, error) {
	if _, err := g.build(); err != nil { // what is wrong with the files named
		return results.Build{}, err
	}
	opts, err := g.options()
	return results.Build{CC: g.cc, Jobs: g.make, Fragments: g.fragments, Config: opts.ConfigFile, Patches: opts.Patches}, err
}

// buildOptionsOf are the flags that a request was made of.
func buildOptionsOf(b results.Build) buildOptions {
	return buildOptions{cc: b.CC, make: b.Jobs, fragments: b.Fragments, config: b.Config, apply: b.Patches}
}

// exitWith turns an exit status into what run understands.
func exitWith(code int) error {
	if code == exitPass {
		return nil
	}
	return status(code)
}
