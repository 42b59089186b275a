package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/blockrig/blockrig/harness/qemu"
	"github.com/blockrig/blockrig/harness/trial"
	"github.com/blockrig/blockrig/kernels"
	"github.com/blockrig/blockrig/results"
	"github.com/blockrig/blockrig/results/bundle"
	"github.com/blockrig/blockrig/scenarios"
)

func (a *app) replayCommand() *cobra.Command {
	var refs []string
	var o labOptions
	c := &cobra.Command{
		Use: "replay FAILURE", Short: "Make a recorded trial again, on its kernel or on another", Args: cobra.ExactArgs(1),
		Long: `Make a recorded trial again: the same case with the same seed, on the kernel that
it was recorded on, or with -k on others. FAILURE is a trial (RUN/NUMBER, as
"blockrig results show RUN" numbers them), a line of a report that has such a name in
it, or a bundle (see "blockrig results bundle"). What a bundle holds runs only in the
guest. Whether the trial ends as it was recorded is said on stderr.`,
		Example: `  blockrig replay last/3
  blockrig replay hang.tar.zst -k file:arch/x86/boot/bzImage`,
		RunE: func(c *cobra.Command, args []string) error {
			if err := o.check(); err != nil {
				return badRequest(err)
			}
			if err := needGit(c.Flags(), refs...); err != nil {
				return badRequest(err)
			}
			if info, err := os.Stat(args[0]); err == nil && !info.IsDir() {
				return a.replayBundle(c.Context(), args[0], refs, o)
			}
			root, err := a.resultsRoot()
			if err != nil {
				return err
			}
			r, err := results.Find(root, args[0])
			if err != nil {
				return wrongRun(err)
			}
			if len(refs) == 0 {
				refs = []string{cmp.Or(r.Job.Kernel.Exact, r.Job.Kernel.Ref)}
			}
			return a.replay(c.Context(), r, refs, o)
		},
	}
	f := c.Flags()
	f.StringArrayVarP(&refs, "kernel", "k", nil, "kernel `REF` instead of the recorded one; may be given several times")
	o.flags(f)
	o.build.buildFlags(f)
	return c
}

// replay makes a trial again on kernels that are prepared for it.
func (a *app) replay(ctx context.Context, was results.Recorded, refs []string, o labOptions) error {
	if err := needQEMU(); err != nil {
		return err
	}
	build, err := o.build.stored()
	if err != nil {
		return badRequest(err)
	}
	req := results.Request{
		Verb: results.VerbRun, Scenarios: results.ScenariosOf([]scenarios.Case{was.Case}), Kernels: results.KernelsOf(refs...),
		Repeat: 1, Trust: defaultTrust, Build: build, Seed: was.Job.Seed,
	}
	o.cpus, o.cold = cmp.Or(o.cpus, was.Job.CPUs), o.cold || was.Job.Cold
	o.request(&req)
	b, err := a.trialsOf(ctx, how{timing: o.timing}, creating(ctx, req))
	return a.endReplay(was, b, err)
}

// endReplay says whether the trials ended as the recorded one did.
func (a *app) endReplay(was results.Recorded, b *begun, err error) error {
	if b == nil {
		return err
	}
	for _, r := range b.done() {
		a.say("%s: %s", r.Kernel.Release, results.Again(was.Record, r))
	}
	if err != nil {
		return err
	}
	return exitWith(results.ExitStatusOf(b.done()))
}

// replayBundle makes the trial of a bundle again, without kernels of the
// caller's on its own kernel and initramfs.
func (a *app) replayBundle(ctx context.Context, path string, refs []string, o labOptions) (err error) {
	if err := needQEMU(); err != nil {
		return err
	}
	dir, err := workDir(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.Remove()) }()
	from, err := bundle.Open(ctx, path, dir.Path())
	if errors.Is(err, bundle.ErrBundle) {
		err = badRequest(err)
	}
	if err != nil {
		return err
	}
	was := results.Recorded{Record: from.Record, Job: from.Job, Case: from.Case}
	if len(refs) > 0 {
		return a.replay(ctx, was, refs, o)
	}
	defer a.show()()
	j := from.Job
	j.CPUs = cmp.Or(o.cpus, j.CPUs)
	if j.CPUs < 1 || j.CPUs > mostCPUs {
		return badRequest(fmt.Errorf("the bundle's machine has %d CPUs: want 1 to %d", j.CPUs, mostCPUs))
	}
	files := from.Files()
	if j.Accel, err = a.accelerate(ctx, qemu.Accel(o.accel), kernels.Kernel{Image: files.Image}); err != nil {
		return err
	}
	if j.QEMU, err = qemu.BuildID(""); err != nil {
		return err
	}
	j.Direct, j.Cold, j.Boot = false, true, 0
	run, err := a.openRun(ctx)
	if err != nil {
		return err
	}
	b := &begun{
		run: run, req: results.Request{Cold: true, Repeat: 1}, todo: []int{0}, records: make([]*results.Record, 1),
		tasks: []trial.Task{{Ref: j.Kernel.Ref, Case: from.Case}},
	}
	find := func(context.Context, trial.Job) (trial.Files, error) { return files, nil }
	err = a.schedule(ctx, find, b, b.tasks, []trial.Queued{{Job: j}}, how{timing: o.timing})
	return a.endReplay(was, b, a.report(ctx, b, how{timing: o.timing}, errors.Join(err, a.endRun(run))))
}
