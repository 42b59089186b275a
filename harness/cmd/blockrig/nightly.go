package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/blockrig/blockrig/harness/hunt"
	"github.com/blockrig/blockrig/harness/nightly"
	"github.com/blockrig/blockrig/harness/trial"
	"github.com/blockrig/blockrig/results"
)

func (a *app) nightlyCommand() *cobra.Command {
	var dry, sample bool
	var o labOptions
	c := &cobra.Command{
		Use:   "nightly CONFIG.yaml",
		Short: "Do a night's work: find what is new, try what is due, say what changed",
		Long: `Do a night's work by CONFIG.yaml (--sample prints one to begin with): look up
which kernels are new, try what is due until the time is up (new kernels first,
then what failed last, then what was not tried for long), and say what changed.

What seems new is tried again from machines saved anew and from power-on, on the
other kernels and stacks, and is then bisected. A failure is said once. One that
is known is shown as that, tried again each night, and expires when it is gone.

With hunt: in the config, a part of the night looks for what nobody has reported
(see hunt); what it finds is said once, too.

A night that was interrupted is resumed by the next start. All that nights know
of each other is in the folder "nightly" among the results.

Exit status: 1 when a failure is new, back, or found by the hunt; 2 the request was wrong, or a
night of this config is under way; 3 something could not be had; else 0, whatever
is failing still.`,
		Example: `  blockrig nightly --sample > nightly.yaml
  blockrig nightly nightly.yaml --dry-run
  blockrig nightly nightly.yaml`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if sample {
				_, err := fmt.Fprint(a.stdout, nightly.Sample)
				return err
			}
			if len(args) == 0 {
				return badRequest(errors.New("nightly: want a CONFIG.yaml; --sample prints one to begin with"))
			}
			config, err := nightly.Load(args[0])
			if err != nil {
				return badRequest(err)
			}
			if err := o.check(); err != nil {
				return badRequest(err)
			}
			if !dry {
				if err := a.joinHub(c.Context(), o.hub, config.Accel, ""); err != nil {
					return err
				}
			}
			return a.nightly(c.Context(), config, dry)
		},
	}
	f := c.Flags()
	f.BoolVar(&dry, "dry-run", false, "only say what would be tried, how long it takes, and what would be left out")
	f.BoolVar(&sample, "sample", false, "print a config to begin with")
	o.hubFlag(f)
	return c
}

func (a *app) nightly(ctx context.Context, config *nightly.Config, dry bool) error {
	root, err := a.sweptRoot(ctx)
	if err != nil {
		return err
	}
	if root, err = filepath.Abs(root); err != nil {
		return err
	}
	cache, err := cacheDir()
	if err != nil {
		return err
	}
	prep, err := a.preparer(ctx, labOptions{accel: config.Accel, tools: config.Tools, cpus: config.CPUs})
	if err != nil {
		return err
	}
	w := &nightly.Worker{
		Config: config, Root: root, Clock: nightly.SystemClock(), Say: a.say, Command: os.Args, Workers: config.Jobs,
		Exec: &nightly.Machines{Kernels: prep.Kernels, Cache: cache, Command: os.Args, Trials: a.quietly, Hunts: a.nightlyHunt, Runner: a.runner},
	}
	if a.fleet != nil {
		w.Workers = a.class.Slots
	}
	if w.Workers == 0 {
		w.Workers = trial.Workers(maxJobs, 0)
	}
	if dry {
		f, err := w.Forecast(ctx)
		if err != nil {
			return err
		}
		if a.format == "json" {
			return a.printJSON(f)
		}
		return f.WriteText(a.stdout, config.Name)
	}
	if err := a.needMachines(); err != nil {
		return err
	}
	night, err := w.Run(ctx)
	if errors.Is(err, nightly.ErrUnderWay) {
		return badRequest(err)
	}
	if night == nil {
		return err
	}
	return a.tellNight(night, config.Name, err)
}

// tellNight prints what came of a night, which err may have ended.
func (a *app) tellNight(n *nightly.Night, name string, err error) error {
	write := func() error { return n.WriteText(a.stdout, name) }
	if a.format == "json" {
		write = func() error { return a.printJSON(n) }
	}
	if werr := write(); werr != nil {
		return errors.Join(err, werr)
	}
	if err != nil && n.Status() != exitFailure {
		return err
	}
	for _, e := range besides(err, context.Canceled) {
		a.say("blockrig: %s", e) // a failure was seen, whatever else happened
	}
	return exitWith(n.Status())
}

// nightlyHunt does the hunt of a night, or goes on with it.
func (a *app) nightlyHunt(ctx context.Context, n nightly.Hunt) (s *hunt.State, err error) {
	known, err := hunt.ShippedKnown()
	if err != nil {
		return nil, err
	}
	root, err := a.resultsRoot()
	if err != nil {
		return nil, err
	}
	var folder *hunt.Folder
	if n.Resume != "" {
		folder, s, err = hunt.Open(hunt.Root(root), n.Resume)
	}
	if n.Resume == "" || errors.Is(err, hunt.ErrNoHunt) { // it was removed
		s = hunt.NewState(n.Request)
		s.Earlier = n.Earlier
		folder, err = hunt.Create(ctx, hunt.Root(root), results.NewID(time.Now().UTC()), s)
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, folder.Close()) }()
	if err := n.Begun(folder.Name()); err != nil {
		return nil, err
	}
	m := n.Machine
	return s, a.keepHunting(ctx, folder, s, known, labOptions{accel: m.Accel, cpus: m.CPUs, tools: m.Tools, cache: results.DefaultCacheSize})
}

// quietly makes the trials of a night's run.
func (a *app) quietly(ctx context.Context, r nightly.Run) (_ []results.Record, err error) {
	root, err := a.resultsRoot()
	if err != nil {
		return nil, err
	}
	h := how{quiet: true}
	if r.Fresh {
		dir, err := workDir(ctx)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, dir.Remove()) }()
		h.saved = filepath.Join(dir.Path(), "saved")
	}
	open := creating(ctx, r.Request)
	if r.Resume != "" {
		open = func(root string) (*results.Run, results.Stored, error) { return results.Resume(ctx, root, r.Resume) }
	}
	run, stored, err := open(root)
	if err != nil {
		return nil, err
	}
	b := &begun{run: run, req: stored.Request}
	if r.Begun != nil {
		err = r.Begun(run.ID())
	}
	if err == nil {
		err = a.doRest(ctx, b, stored, h)
	}
	return b.done(), errors.Join(err, a.endRun(run))
}
