package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/blockrig/blockrig/harness/bisect/trials"
	"github.com/blockrig/blockrig/harness/progress"
	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/harness/trial"
	"github.com/blockrig/blockrig/results"
)

// Exit statuses of every verb but step.
const (
	exitPass    = results.ExitOK
	exitFailure = results.ExitFailure
	exitRequest = results.ExitUsage
	exitError   = results.ExitError
)

// A status ends the command with an exit status and nothing more to say.
type status int

func (s status) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// A request error is the user's: exit status 2.
type requestError struct{ error }

func (e requestError) Unwrap() error { return e.error }

func badRequest(err error) error {
	if err == nil {
		return nil
	}
	return requestError{err}
}

// app is what the verbs share.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	outTerm        bool // stdout is a terminal
	errTerm        bool // stderr is one
	width          int  // columns of stdout's terminal; 0 without one
	errWidth       int  // of the terminal that stderr is, in columns; 0: it is none

	verbose bool
	format  string
	results string
	log     *slog.Logger
	display *progress.Display
}

// endSignals are those that end a run in good order, but for what whoever
// started blockrig wants ignored (nohup).
func endSignals() []os.Signal {
	var out []os.Signal
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(s) {
			out = append(out, s)
		}
	}
	return out
}

// run is the command: its exit status.
func run(args []string, stdin io.Reader, stdout, stderr *os.File) (code int) {
	a := &app{
		stdin: stdin, stdout: stdout, stderr: stderr,
		outTerm: term.IsTerminal(int(stdout.Fd())), errTerm: term.IsTerminal(int(stderr.Fd())),
	}
	if width, _, err := term.GetSize(int(stdout.Fd())); err == nil && a.outTerm {
		a.width = width
	}
	if width, _, err := term.GetSize(int(stderr.Fd())); err == nil && a.errTerm {
		a.errWidth = width
	}
	ctx, stop := signal.NotifyContext(context.Background(), endSignals()...)
	defer stop()
	context.AfterFunc(ctx, stop) // a second one ends it at once
	root := a.root()
	stepping := takeStepPipe()
	if !stepping && isStep(root, args) {
		stop()
		return superviseStep(args, stderr)
	}
	root.SetArgs(args)
	ran, err := root.ExecuteContextC(ctx)
	if !stepping {
		defer func() { code = forGit(code, ran) }()
	}
	var s status
	switch {
	case err == nil:
		return exitPass
	case errors.As(err, &s):
		return int(s)
	}
	if ctx.Err() != nil {
		err = withoutInterruption(ctx, err)
	}
	fmt.Fprintln(stderr, "blockrig: "+text.EscapeLines(err.Error()))
	if stepping {
		return abortStep()
	}
	var r requestError
	var b trials.RequestError
	if errors.As(err, &r) || errors.As(err, &b) || trial.WrongRequest(err) {
		return exitRequest
	}
	return exitError
}

// withoutInterruption says "interrupted" instead of all that was under way
// when the signal came, and whatever else went wrong.
func withoutInterruption(ctx context.Context, err error) error {
	all := []error{errors.New("interrupted")}
	for _, e := range besides(err, context.Canceled) {
		all = append(all, besides(e, context.Cause(ctx))...)
	}
	return errors.Join(all...)
}

func (a *app) root() *cobra.Command {
	a.display = progress.New(nil)
	root := &cobra.Command{
		Use:   "blockrig",
		Short: "Boot Linux kernels, build storage stacks, do I/O to them and judge what happened",
		Long: `blockrig boots chosen Linux kernels in QEMU with emulated SATA disks, builds a
storage stack in the guest, does I/O to it, and judges what happened.

Exit status: 0 all passed; 1 a verdict other than pass; 2 the request was
wrong; 3 no failure, but some verdict could not be had.`,
		SilenceUsage: true, SilenceErrors: true,
		Args: cobra.NoArgs,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if a.format != "table" && a.format != "json" {
				return badRequest(fmt.Errorf("--format %s: want table or json", a.format))
			}
			level := slog.LevelWarn
			if a.verbose {
				level = slog.LevelDebug
			}
			a.log = slog.New(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: level, ReplaceAttr: withoutTime}))
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return badRequest(err) })
	f := root.PersistentFlags()
	f.StringVar(&a.format, "format", "table", "what is printed: table or json (one object a line)")
	f.StringVar(&a.results, "results", "", "folder for the records of runs")
	f.BoolVarP(&a.verbose, "verbose", "v", false, "say what is being done")
	root.AddCommand(a.reproCommand(), a.runCommand(), a.classifyCommand(), a.scenariosCommand(),
		a.kernelsCommand(), a.resultsCommand(), a.shellCommand(), a.doctorCommand(), a.bisectCommand(), a.stepCommand(), a.tryPatchCommand())
	usageErrors(root)
	return root
}

// usageErrors makes a wrong number of arguments, or an unknown verb, the
// user's error: cobra gives both as plain errors.
func usageErrors(c *cobra.Command) {
	if args := c.Args; args != nil {
		c.Args = func(c *cobra.Command, a []string) error {
			if err := args(c, a); err != nil {
				return badRequest(fmt.Errorf("%w; usage: %s", err, c.UseLine()))
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		usageErrors(sub)
	}
}

func withoutTime(groups []string, at slog.Attr) slog.Attr {
	if len(groups) == 0 && at.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return at
}

// cacheDir is where kernels, initramfs images and snapshots are kept.
func cacheDir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache folder: %w", err)
	}
	return filepath.Join(dir, "blockrig"), nil
}

// printJSON prints one object on a line.
func (a *app) printJSON(v any) error {
	line, err := text.JSONLine(v)
	if err != nil {
		return err
	}
	_, err = a.stdout.Write(line)
	return err
}

// printList prints what a list verb found: one object a line, or a table that
// add puts each into.
func printList[T any](a *app, all []T, t text.Table, add func(*text.Table, T)) error {
	if a.format == "json" {
		for _, v := range all {
			if err := a.printJSON(v); err != nil {
				return err
			}
		}
		return nil
	}
	t.Color, t.Width = a.outTerm, a.width
	for _, v := range all {
		add(&t, v)
	}
	return t.Write(a.stdout)
}
