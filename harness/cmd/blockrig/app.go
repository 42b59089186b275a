package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/blockrig/blockrig/harness/bisect/trials"
	"github.com/blockrig/blockrig/harness/fleet"
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

	noSuchHelp error // help was asked for of a verb that there is none of

	fleet *fleet.Client // that makes the trials; nil: this machine does
	class fleet.ClassOf // of its machines
	built struct {      // by whom git's kernels are
		sync.Mutex
		asked    bool
		compiler string // of the hub's workers; "": this machine does
	}
}

// endSignals are those that end a run in an orderly way. Those that blockrig was
// started to ignore (nohup) stay ignored.
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
	crashForGit()
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
	defer a.leaveHub()
	ran, err := root.ExecuteContextC(ctx)
	if err == nil {
		err = a.noSuchHelp
	}
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

// moreVerbs are those that only a build for a purpose has.
var moreVerbs []func(*app) *cobra.Command

func (a *app) root() *cobra.Command {
	a.display = progress.New(nil)
	root := &cobra.Command{
		Use:   "blockrig",
		Short: "Boot Linux kernels, build storage stacks, do I/O to them and judge what happened",
		Long: `blockrig boots chosen Linux kernels in QEMU with emulated SATA disks, builds a
storage stack in the guest, does I/O to it, and judges what happened.

Exit status: 0 all passed; 1 a verdict other than pass; 2 the request was
wrong; 3 no failure, but some verdict could not be had.`,
		Example: `  blockrig doctor
  blockrig repro
  blockrig run plain-dio-read -k debian:newest`,
		SilenceUsage: true, SilenceErrors: true,
		Args: cobra.NoArgs,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if err := a.checkResults(); err != nil {
				return badRequest(err)
			}
			level := slog.LevelWarn
			if a.verbose {
				level = slog.LevelDebug
			}
			a.log = slog.New(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: level, ReplaceAttr: withoutTime}))
			return nil
		},
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
		Version: thisBuild().String(),
	}
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetFlagErrorFunc(flagError)
	f := root.PersistentFlags()
	choiceVar(f, &a.format, "format", "table", []string{"table", "json"}, "what is printed; json is one object a line")
	f.StringVar(&a.results, "results", "", "folder `DIR` for the records of runs (see \"blockrig help results\")")
	f.BoolVarP(&a.verbose, "verbose", "v", false, "say on stderr what is being done")
	root.AddCommand(a.reproCommand(), a.runCommand(), a.classifyCommand(), a.scenariosCommand(),
		a.kernelsCommand(), a.resultsCommand(), a.replayCommand(), a.minimiseCommand(), a.shellCommand(), a.doctorCommand(), a.huntCommand(), a.bisectCommand(), a.stepCommand(), a.tryPatchCommand(), a.nightlyCommand(), a.b4CheckCommand(), a.serveCommand(), a.workerCommand(), a.versionCommand())
	for _, command := range moreVerbs {
		root.AddCommand(command(a))
	}
	root.SetHelpCommand(helpCommand(root))
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() == "completion" {
			c.Short, c.Args, c.RunE = "Print a shell's completion script", cobra.NoArgs, needVerb
		}
	}
	a.complete(root)
	usageErrors(root)
	help := root.HelpFunc()
	if a.width > 0 {
		help = a.foldedHelp(help)
	}
	root.SetHelpFunc(func(c *cobra.Command, args []string) {
		// cobra takes help for what it is about before it looks at the verb.
		if words := c.Flags().Args(); c.HasSubCommands() && len(words) > 0 {
			a.noSuchHelp = unknownVerb(c, words[0])
			return
		}
		help(c, args)
	})
	return root
}

// foldedHelp is help with flags folded to the terminal's width. cobra's
// templates could do that, too, but they make the linker keep every method of
// every type: megabytes of the executable.
func (a *app) foldedHelp(help func(*cobra.Command, []string)) func(*cobra.Command, []string) {
	return func(c *cobra.Command, args []string) {
		var b strings.Builder
		c.SetOut(&b)
		help(c, args)
		c.SetOut(a.stdout)
		text := b.String()
		for _, flags := range []*pflag.FlagSet{c.LocalFlags(), c.InheritedFlags()} {
			text = strings.Replace(text, strings.TrimRight(flags.FlagUsages(), "\n"), strings.TrimRight(flags.FlagUsagesWrapped(a.width), "\n"), 1)
		}
		fmt.Fprint(a.stdout, text)
	}
}

// checkResults refuses a folder for results that can't be one, before anything
// is made.
func (a *app) checkResults() error {
	if a.results == "" {
		return nil
	}
	switch info, err := os.Stat(a.results); {
	case errors.Is(err, fs.ErrNotExist):
		return nil // it is made when there is something to put into it
	case err != nil:
		return fmt.Errorf("--results: %w", err)
	case !info.IsDir():
		return fmt.Errorf("--results %s: want a folder", a.results)
	}
	return nil
}

// helpCommand is cobra's own, but for a verb that is not there.
func helpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND…]", Short: "Explain a command",
		RunE: func(_ *cobra.Command, args []string) error {
			c := root
			for _, word := range args {
				at := slices.IndexFunc(c.Commands(), func(sub *cobra.Command) bool { return sub.Name() == word })
				if at < 0 && c.HasSubCommands() {
					return unknownVerb(c, word)
				}
				if at < 0 {
					return badRequest(fmt.Errorf("help %s: %s has no command %q below it", strings.Join(args, " "), c.CommandPath(), word))
				}
				c = c.Commands()[at]
			}
			c.InitDefaultHelpFlag()
			return c.Help()
		},
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
