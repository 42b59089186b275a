package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/blockrig/blockrig/harness/cachedir"
	"github.com/blockrig/blockrig/harness/trial"
	"github.com/blockrig/blockrig/scenarios"
)

func (a *app) shellCommand() *cobra.Command {
	var (
		ref string
		set []string
		o   labOptions
	)
	c := &cobra.Command{
		Use:   "shell SCENARIO -k REF",
		Short: "Open a u-root shell in the guest, stack built",
		Long: `Boot the kernel REF, build the stack of SCENARIO and open u-root's shell in the
guest, with its core commands and the scenario's storage tools. What the kernel
says is shown as it comes. "exit" or Ctrl-] ends it, and the guest with it;
nothing is recorded.

When standard input is no terminal, its lines are run as a script.

Exit status: 0 the shell was there; 1 the script failed; 2 the request was
wrong; 3 there was no shell.`,
		Example: `  blockrig shell lvm-mirror-dio-read -k debian:6.18
  echo 'cat /sys/block/sda/queue/dma_alignment' | blockrig shell plain-dio-read -k debian:newest`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if ref == "" {
				return badRequest(errors.New("shell: which kernel? Name one with -k (debian:newest, debian:6.18, file:PATH, git:REPO@REV)"))
			}
			cases, err := casesOf(args, set, nil)
			if err != nil {
				return badRequest(err)
			}
			return a.shell(c.Context(), cases[0], ref, o)
		},
	}
	f := c.Flags()
	f.StringVarP(&ref, "kernel", "k", "", "kernel `REF`")
	f.StringArrayVar(&set, "set", nil, "fix a parameter: `p=v`; may be given several times")
	o.machineFlags(f)
	o.build.buildFlags(f)
	return c
}

// shell runs a shell on the stack of a case.
func (a *app) shell(ctx context.Context, cs scenarios.Case, ref string, o labOptions) (err error) {
	script, err := a.script()
	if err != nil {
		return err
	}
	if err := needQEMU(); err != nil {
		return err
	}
	defer a.show()()
	spec, dir, err := a.shellJob(ctx, cs, ref, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.Remove()) }()
	spec.Progress = func(phase, what string) { a.display.Phase(-1, phase, what) }

	t := trial.Terminal{Script: script}
	if script != "" {
		t.Out = a.stdout
		err = trial.Shell(ctx, spec, t)
		if errors.Is(err, trial.ErrScript) {
			a.say("%v", err)
			return status(exitFailure)
		}
		return err
	}
	in, ok := a.stdin.(*os.File)
	if !ok {
		return errors.New("standard input is no file")
	}
	h, err := newHandOver(in, a.stdout, func() {
		a.display.Stop()
		a.say("%s on Linux %s: \"exit\" or Ctrl-] ends the shell", cs.Scenario.Name, spec.Kernel.Release)
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.over()) }()
	t.Keys, t.Out = h, h
	if cols, rows, err := term.GetSize(int(in.Fd())); err == nil {
		t.Rows, t.Cols = rows, cols
	}
	return trial.Shell(ctx, spec, t)
}

// script is what standard input holds when it is no terminal; "" when it is one.
func (a *app) script() (string, error) {
	if f, ok := a.stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return "", nil
	}
	text, err := io.ReadAll(io.LimitReader(a.stdin, trial.MaxScript+1))
	switch {
	case err != nil:
		return "", fmt.Errorf("read commands from standard input: %w", err)
	case len(text) > trial.MaxScript:
		return "", badRequest(fmt.Errorf("the commands on standard input are longer than %d bytes", trial.MaxScript))
	case len(bytes.TrimSpace(text)) == 0:
		return "", badRequest(errors.New("shell: standard input is no terminal, and there are no commands on it"))
	}
	return string(text), nil
}

// shellJob makes all that the machine needs.
func (a *app) shellJob(ctx context.Context, cs scenarios.Case, ref string, o labOptions) (trial.Local, *cachedir.Folder, error) {
	none := trial.Local{}
	prep, err := a.preparer(ctx, o)
	if err != nil {
		return none, nil, err
	}
	prep.Shell = true
	a.display.Phase(-1, "fetch", ref)
	k, err := prep.Kernels.Resolve(ctx, ref)
	if err != nil {
		return none, nil, err
	}
	a.display.Phase(-1, "build the initramfs", "u-root's commands take a minute the first time")
	ready, err := prep.PrepareKernel(ctx, ref, k, cs)
	if err != nil {
		return none, nil, err
	}
	a.display.Phase(-1, "accelerator", "")
	l := trial.Local{Log: a.log}
	if l.Job, err = prep.Job(ctx, ready, cs, 0); err != nil {
		return none, nil, err
	}
	if l.Files, err = prep.Find(ctx, l.Job); err != nil {
		return none, nil, err
	}
	dir, err := workDir(ctx)
	if err != nil {
		return none, nil, err
	}
	l.Dir = dir.Path()
	return l, dir, nil
}
