package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/blockrig/blockrig/harness/bisect"
	"github.com/blockrig/blockrig/harness/bisect/trials"
	"github.com/blockrig/blockrig/harness/child"
	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/harness/trial"
	"github.com/blockrig/blockrig/kernels"
)

const stepVerb = "step"

// stepPipe names, in the environment of the process that does a step's work,
// the descriptor on which it says what came of it.
const stepPipe = "BLOCKRIG_STEP_PIPE"

// isStep tells whether the arguments are those of a step, or may be meant to:
// git bisect run must not take the exit status of a mistyped command for a
// mark.
func isStep(root *cobra.Command, args []string) bool {
	c, _, err := root.Find(args)
	if err == nil && c != root {
		return c.Name() == stepVerb
	}
	return slices.Contains(args, stepVerb)
}

// superviseStep does a step in a child process and gives its exit status.
// Only what the child says on the pipe counts: a panic in Go ends with 2, and
// whatever else goes wrong may end with anything.
func superviseStep(args []string, stderr io.Writer) int {
	abort := func(format string, a ...any) int {
		fmt.Fprintf(stderr, "blockrig: step: %s; this ends the bisection\n", text.EscapeLines(fmt.Sprintf(format, a...)))
		return bisect.StepAbort
	}
	exe, err := os.Executable()
	if err != nil {
		return abort("find blockrig's own executable: %v", err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return abort("make a pipe: %v", err)
	}
	defer r.Close()
	// A signal to us ends it in good order, one that a shell has us ignore, too.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	cmd := exec.Command(exe, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), stepPipe+"=3")
	cmd.ExtraFiles = []*os.File{w}
	p, err := child.Start(ctx, cmd, child.Options{Grace: time.Minute})
	if err := errors.Join(err, w.Close()); err != nil {
		return abort("start it: %v", err)
	}
	said, readErr := io.ReadAll(io.LimitReader(r, 64))
	err = p.Wait()
	for _, status := range []int{bisect.StepGood, bisect.StepBad, bisect.StepSkip} {
		if readErr == nil && string(said) == stepWord(status) && err == nil {
			return status
		}
	}
	if string(said) == stepWord(bisect.StepAbort) || err == nil && asksHelp(args) {
		return bisect.StepAbort // and it said why
	}
	return abort("its process ended with %s", p.State())
}

func asksHelp(args []string) bool {
	return slices.ContainsFunc(args, func(a string) bool { return a == "-h" || a == "--help" || a == "help" })
}

func stepWord(status int) string { return fmt.Sprintf("status %d\n", status) }

// takeStepPipe tells whether this process does a step's work, and keeps the
// pipe for itself: what it starts must not hold it open.
func takeStepPipe() bool {
	if os.Getenv(stepPipe) != "3" {
		return false
	}
	syscall.CloseOnExec(3)
	return os.Unsetenv(stepPipe) == nil
}

// abortStep ends a step whose reason has been said.
func abortStep() int {
	// When the pipe is gone the exit status says the same.
	_ = tellStep(bisect.StepAbort)
	return bisect.StepAbort
}

// tellStep says on the pipe what a step came to.
func tellStep(status int) error {
	f := os.NewFile(3, "pipe")
	_, err := f.WriteString(stepWord(status))
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("say what the step came to: %w", err)
	}
	return nil
}

func (a *app) stepCommand() *cobra.Command {
	var (
		o    bisectOptions
		g    gitOptions
		ref  string
		runs int
		rate float64
		like string
	)
	c := &cobra.Command{
		Use:   stepVerb + " SCENARIO",
		Short: "Test one commit, for git bisect run",
		Long: `Build the commit that git bisect has checked out in the current folder
(or, with --kernel, take that kernel), run the scenario, and end with the status
that git bisect run wants: 0 good, 1 bad, 125 can't be tested, skip; and 129,
which ends the bisection, for anything unexpected: a mistyped command, a crash
of blockrig, or trouble with this machine (a full disk, no QEMU, one too busy to
tell) in all attempts, which would skip every other commit as well.

Bad is a failure at the scenario's step, whatever it is, or the one that --for
names: a verdict, an errno or a part of a title; then what else a commit shows
does not count. A failure before it, when the stack is
built, makes the commit one to skip, as does a kernel that does not build or
boot.`,
		Example: `  git bisect start v6.18 v6.17
  git bisect run blockrig step lvm-mirror-dio-read --case length=512,memory_offset=32
  git bisect run sh -c 'make -j8 bzImage || exit 125; blockrig step plain-dio-read -k file:arch/x86/boot/bzImage'`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			s, err := a.step(c, args[0], ref, runs, rate, like, &o, &g)
			if err != nil {
				return err
			}
			words := map[int]string{bisect.StepGood: "good", bisect.StepBad: "bad", bisect.StepSkip: "skip"}
			word, ok := words[s.status]
			if !ok {
				return errors.New(s.why)
			}
			if a.format == "json" {
				err = a.printJSON(map[string]string{"mark": word, "why": s.why, "looked_for": s.lookedFor})
			} else {
				_, err = fmt.Fprintf(a.stdout, "%s: %s\n", word, text.EscapeLines(s.why))
			}
			if err != nil {
				return err
			}
			return tellStep(s.status)
		},
	}
	f := c.Flags()
	f.StringVarP(&ref, "kernel", "k", "", "kernel `REF` to test instead of the commit")
	numberVar(f, &runs, "repeat", 0, 1, trials.MaxStepRuns, "trials of each case (default: what --rate and --confidence need, at least 3)")
	numberVar(f, &o.lab.boots, "boots", 0, 1, trials.MaxStepRuns, "spread them over `N` boots (default: the square root of --repeat)")
	f.Float64Var(&rate, "rate", 1, "how often the bug shows on a bad kernel (`RATE`): 0.2 of one that shows in 1 of 5 trials")
	f.StringVar(&like, "like", "", "folder of a trial that shows the failure looked for, such as `RUN/0003-…`: other failures skip")
	caseFlags(f, &o.only, &o.set)
	ruleFlags(f, &o.criteria)
	f.Float64Var(&o.criteria.Confidence, "confidence", 0.999, "how sure a good is to be, as a probability")
	g.buildFlags(f)
	o.lab.bisectFlags(f)
	return c
}

// stepped is what the test of a commit or a kernel came to.
type stepped struct {
	status    int // a Step constant
	why       string
	lookedFor string // what makes it bad
}

// step tests a commit or a kernel.
func (a *app) step(c *cobra.Command, name, ref string, runs int, rate float64, like string, o *bisectOptions, g *gitOptions) (s stepped, err error) {
	fail := func(err error) (stepped, error) { return stepped{status: bisect.StepAbort}, err }
	ctx := c.Context()
	if err := o.checkTrials(); err != nil {
		return fail(err)
	}
	switch {
	case !(rate > 0 && rate <= 1):
		return fail(fmt.Errorf("--rate %v: want more than 0, and 1 at most", rate))
	case len(o.criteria.For) > 0 && like != "":
		return fail(errors.New("--for and --like both say what is looked for; give one of them"))
	case o.criteria.SameTitle && like == "":
		return fail(errors.New("--same-title: the same as what? Name a trial that shows it with --like"))
	}
	if ref != "" {
		if err := needGit(c.Flags(), ref); err != nil {
			return fail(err)
		}
	}
	if _, err := g.build(); err != nil {
		return fail(err)
	}
	cases, err := a.bisectCases(name, o)
	if err != nil {
		return fail(err)
	}
	req := trials.StepRequest{Runs: runs, Boots: o.lab.boots}
	if runs == 0 {
		if req.Runs, err = trials.StepRuns(rate, o.criteria.Confidence); err != nil {
			return fail(err)
		}
	}
	if req.Rules, err = o.criteria.Rules(); err != nil {
		return fail(err)
	}
	if like != "" {
		if req.Target, err = trials.TargetOf(like); err != nil {
			return fail(fmt.Errorf("--like: %w", err))
		}
	}
	s.lookedFor = bisect.StepLooksFor(req.Rules, req.Target)
	a.say("%s", s.lookedFor)
	defer a.show()()
	runner, err := a.runner(ctx, o.request(cases[0]).Machine, cases[0].Setup.Machine.Memory)
	if err != nil {
		return fail(err)
	}
	var k trials.Kernels
	if ref != "" {
		if b, ok := runner.Preparer.Kernels.Builder.(building); ok {
			b.with = g.buildOptions
			runner.Preparer.Kernels.Builder = b
		}
		if _, err := runner.Preparer.Kernels.Resolve(ctx, ref); err != nil && (errors.Is(err, kernels.ErrRef) || errors.Is(err, kernels.ErrNotFound) || errors.Is(err, fs.ErrNotExist) || !trial.WrongRequest(err)) {
			return fail(err)
		}
		k = trials.NewReleases(runner, []bisect.Release{{Version: ref, Ref: ref}}, cases[0])
		req.Subject.Commit = ref
	} else {
		repo, commit, err := a.bisected(ctx)
		if err != nil {
			return fail(err)
		}
		commits, err := a.commitsOf(ctx, runner, repo, g)
		if err != nil {
			return fail(err)
		}
		commits.Case = cases[0]
		k, req.Subject.Commit = commits, commit
	}
	run, err := a.openRun(ctx)
	if err != nil {
		return fail(err)
	}
	defer func() { err = errors.Join(err, a.endRun(run)) }()
	dir, err := workDir(ctx)
	if err != nil {
		return fail(err)
	}
	defer func() { err = errors.Join(err, dir.Remove()) }()
	t := &trials.Tester{Runner: runner, Kernels: k, Cases: cases, Run: run, Dir: dir.Path()}
	began := time.Now()
	s.status, s.why, err = t.Step(ctx, req)
	a.display.Stop()
	if err != nil {
		return fail(err)
	}
	a.log.Info("step", "took", time.Since(began))
	a.say("tested %s; records: %s", req.Subject, run.Dir())
	return s, nil
}

// bisected is the commit that git bisect is at, in the current folder.
func (a *app) bisected(ctx context.Context) (repo, commit string, err error) {
	wd, err := os.Getwd()
	if err != nil {
		return "", "", fmt.Errorf("find the repository: %w", err)
	}
	r, err := openRepo(ctx, wd)
	if err != nil {
		return "", "", fmt.Errorf("the current folder is in no git repository; change to one, or name a kernel with --kernel: %w", err)
	}
	// git bisect start --no-checkout leaves HEAD as it is.
	if commit, err = r.Resolve(ctx, "BISECT_HEAD"); err == nil {
		return r.Dir(), commit, nil
	}
	if commit, err = r.Resolve(ctx, "HEAD"); err != nil {
		return "", "", err
	}
	changed, err := r.Changed(ctx)
	if err != nil {
		return "", "", err
	}
	if changed {
		a.say("changes that are not committed are not built; give them as a patch with --apply")
	}
	return r.Dir(), commit, nil
}
