package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/blockrig/blockrig/harness/bisect"
	"github.com/blockrig/blockrig/harness/bisect/trials"
	"github.com/blockrig/blockrig/harness/cachedir"
	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/harness/trial"
	"github.com/blockrig/blockrig/results"
	"github.com/blockrig/blockrig/scenarios"
)

func (a *app) bisectCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "bisect", Short: "Find the commit or the release that changed what a scenario shows", Args: cobra.NoArgs, RunE: needVerb,
		Long: `Find the commit or the release that changed what a scenario shows.

What the failing end shows may be of several commits: each is found and has a
report of its own, and each must be sure for the status to be 0.

Exit status: 0 found, proven or likely; 2 the request was wrong, an end that is
not what it was said to be included; 3 doubtful, or no answer.`,
	}
	c.AddCommand(a.bisectGit(), a.bisectVersions(), a.bisectResume(), a.bisectList(), a.bisectReset())
	return c
}

// bisectOptions are the flags of both bisections.
type bisectOptions struct {
	lab      labOptions
	set      []string
	only     string
	criteria trials.Criteria
	maxSkips int
	state    string
	report   string
}

func (o *bisectOptions) flags(f *pflag.FlagSet) {
	caseFlags(f, &o.only, &o.set)
	ruleFlags(f, &o.criteria)
	f.Float64Var(&o.criteria.Confidence, "confidence", 0.999, "how sure the answer is to be, as a `PROBABILITY`")
	numberVar(f, &o.maxSkips, "max-skips", 20, 1, 1_000_000, "stop when more than `N` commits can't be tried")
	f.StringVar(&o.state, "state", "", "new `DIR` that holds the bisection (default: one among the results)")
	f.StringVarP(&o.report, "output", "o", "", "write the report to `FILE` too, not only into the bisection's folder")
	o.lab.bisectFlags(f)
}

// bisectFlags are those about machines and how many run.
func (o *labOptions) bisectFlags(f *pflag.FlagSet) {
	o.machineFlags(f)
	numberVar(f, &o.jobs, "jobs", 0, 1, mostJobs, "trials at a time (default: what cores and memory carry)")
	f.BoolVar(&o.cold, "cold", false, "start every trial from power-on, not from a saved machine")
}

func caseFlags(f *pflag.FlagSet, only *string, set *[]string) {
	f.StringVar(only, "case", "", "the case with this `ID`")
	f.StringArrayVar(set, "set", nil, "fix a parameter: `p=v`; may be given several times")
}

func ruleFlags(f *pflag.FlagSet, c *trials.Criteria) {
	f.BoolVar(&c.AnyFailure, "any-failure", false, "every failure counts, not only the one that is looked for")
	f.BoolVar(&c.SameTitle, "same-title", false, "a failure counts only with a title that the failure looked for has")
	f.StringArrayVar(&c.For, "for", nil, "what is looked for, of all that a failing kernel shows: a verdict, an errno or a part of a `TITLE`, such as eio, ENOMEM or bio_add_page; may be given several times")
	f.StringVar(&c.BadWhen, "bad-when", "", "what counts as the failure: an `EXPRESSION` such as 'verdict == hang || title =~ \"scsi_.*\"'")
}

// casesFor are the cases of one scenario that the flags leave.
func (a *app) casesFor(name, only string, set []string) ([]scenarios.Case, error) {
	if only != "" && len(set) > 0 {
		return nil, errors.New("--case and --set: a case has all its parameters already; give one of the two")
	}
	var list []string
	if only != "" {
		list = []string{only}
	}
	return casesOf([]string{name}, set, list)
}

// bisectCases is casesFor, for what looks for a failure in their trials.
func (a *app) bisectCases(name string, o *bisectOptions) ([]scenarios.Case, error) {
	cases, err := a.casesFor(name, o.only, o.set)
	if err != nil {
		return nil, err
	}
	return cases, o.criteria.CheckCases(cases...)
}

// caseArgs are the flags that choose the cases, as they were given.
func (o *bisectOptions) caseArgs() (args []string) {
	if o.only != "" {
		args = append(args, "--case", o.only)
	}
	for _, s := range o.set {
		args = append(args, "--set", s)
	}
	return args
}

// request is what both bisections have in common.
func (o *bisectOptions) request(c scenarios.Case) trials.Request {
	return trials.Request{
		Command: os.Args, Scenario: trials.ScenarioOf(c),
		Machine:  trials.Machine{Accel: o.lab.accel, CPUs: o.lab.cpus, Jobs: o.lab.jobs, Tools: o.lab.tools, Cold: o.lab.cold},
		Criteria: o.criteria, MaxSkips: o.maxSkips,
	}
}

// onHub has the trials of a bisection made by a hub's workers, if that is asked
// for: all of them, also when it is resumed, with one QEMU and one accelerator.
func (a *app) onHub(ctx context.Context, o *bisectOptions, r *trials.Request) error {
	if o.lab.hub == "" {
		return nil
	}
	if err := a.joinHub(ctx, o.lab.hub, o.lab.accel, ""); err != nil {
		return err
	}
	r.Machine.Hub, r.Machine.Accel, r.Machine.QEMU = o.lab.hub, string(a.class.Accel), a.class.QEMU
	return nil
}

// check finds what is wrong with the flags of a bisection before anything is
// done.
func (o *bisectOptions) check() error {
	return o.checkTrials()
}

// checkTrials is check for the flags that other verbs have, too.
func (o *bisectOptions) checkTrials() error {
	if err := o.lab.check(); err != nil {
		return err
	}
	if err := checkOutput(o.report); err != nil {
		return err
	}
	_, err := o.criteria.Rules()
	return err
}

// maxJobs is how many trials of a request run at a time at most.
const maxJobs = 64

// runner gets ready what a bisection's trials run with.
func (a *app) runner(ctx context.Context, m trials.Machine, memory scenarios.Bytes) (*trials.Runner, error) {
	if err := a.joinHub(ctx, m.Hub, m.Accel, m.QEMU); err != nil {
		return nil, err
	}
	if err := a.needMachines(); err != nil {
		return nil, err
	}
	prep, err := a.preparer(ctx, labOptions{accel: m.Accel, tools: m.Tools, cpus: m.CPUs, cold: m.Cold})
	if err != nil {
		return nil, err
	}
	if m.Jobs == 0 {
		m.Jobs = trial.Workers(maxJobs, int64(memory))
	}
	r := &trials.Runner{
		Preparer: prep, Workers: m.Jobs, Log: a.log, Fleet: a.elsewhere(),
		Progress: a.display.Status, Say: a.say,
	}
	if a.fleet != nil {
		r.Away = a.fleet
	}
	return r, nil
}

// choose begins the bisection with the case that fails at one end and passes
// at the other; the trials that this takes are an ordinary run.
func (a *app) choose(ctx context.Context, runner *trials.Runner, k trials.Kernels, cases []scenarios.Case, r trials.Request, o *bisectOptions) (_ *trials.Search, err error) {
	run, err := a.openRun(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, a.endRun(run)) }()
	dir, err := workDir(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, dir.Remove()) }()
	err = r.Choose(ctx, &trials.Tester{Runner: runner, Kernels: k, Run: run, Dir: dir.Path()}, cases)
	if ctx.Err() != nil {
		a.say("stopped before a case was chosen, so there is nothing to resume; --case or --set names one at once")
	}
	if err != nil {
		return nil, err
	}
	a.say("bisecting with the case %s: the first that fails at one end and passes at the other", r.Scenario.Case)
	return a.newSearch(r, o)
}

// bisections is where the folders of bisections are.
func (a *app) bisections() (string, error) {
	root, err := a.resultsRoot()
	if err != nil {
		return "", err
	}
	return filepath.Join(root, results.BisectionsDir), nil
}

// search does a bisection and prints its answer.
func (a *app) search(ctx context.Context, s *trials.Search, to *reportFiles) (_ *trials.Outcome, err error) {
	defer func() { err = errors.Join(err, s.Close()) }()
	defer a.show()()
	if s.Cache, err = cacheDir(); err != nil {
		return nil, err
	}
	c, err := s.Case()
	if err != nil {
		return nil, err
	}
	runner, err := a.runner(ctx, s.Request.Machine, c.Setup.Machine.Memory)
	if err != nil {
		return nil, err
	}
	runner.Trace = trial.OncePerFailure()
	rules, err := s.Request.Rules()
	if err != nil {
		return nil, err
	}
	runner.Say("bisection in %s, %s", s.Dir(), rules.LooksFor())
	o, err := s.Run(ctx, runner, func(e bisect.Event) {
		if text := e.String(); text != "" {
			runner.Say("%s", text)
		}
	})
	a.display.Stop()
	var stop *bisect.StopError
	switch {
	case ctx.Err() != nil:
		a.say("stopped; resume with:\n  blockrig bisect resume %s", trials.Quoted(s.Dir()))
		return nil, err
	case errors.As(err, &stop):
		return nil, a.sayStop(stop, s.Dir())
	case err != nil:
		return nil, err
	}
	return o, a.answer(s, o, to)
}

// sayStop ends a bisection that has no answer.
func (a *app) sayStop(stop *bisect.StopError, dir string) error {
	for _, line := range stop.Lines() {
		a.say("%s", line)
	}
	err := fmt.Errorf("no answer: %w", stop)
	switch stop.Kind {
	case bisect.StopTrouble:
		return fmt.Errorf("no answer yet: %w; when that is fixed, resume with:\n  blockrig bisect resume %s", stop, trials.Quoted(dir))
	case bisect.StopWrongEnd, bisect.StopNoFailure, bisect.StopMergeBase, bisect.StopSeveral, bisect.StopNotShown, bisect.StopHistory:
		return badRequest(err)
	}
	return err
}

// reportFiles are those that --output asks for, of all the bisections of a
// command.
type reportFiles struct {
	name  string // "" where the user wants none
	count int    // of those that there are
}

// next is the file for the i-th report of a bisection, from 0. The first one's
// is that of the culprit that the bisection follows: it says more of the same.
func (f *reportFiles) next(i, follows int) string {
	n := f.count
	if i == 0 {
		n = follows
	}
	f.count = max(f.count, n+1)
	return trials.Numbered(f.name, n)
}

// answer prints an answer and keeps its reports.
func (a *app) answer(s *trials.Search, o *trials.Outcome, to *reportFiles) error {
	paths, err := s.WriteReports(o)
	if err != nil {
		return err
	}
	if a.format == "json" {
		if err := a.printJSON(o.Answer); err != nil {
			return err
		}
	}
	err = o.Each(func(i int, answer *bisect.Answer, cx bisect.Context) error {
		if to.name != "" {
			paths[i] = to.next(i, s.Follows)
			if err := writeWhole(paths[i], bisect.Report(answer, cx)); err != nil {
				return err
			}
		}
		if a.format == "json" {
			return nil
		}
		rule := ""
		if i > 0 {
			rule = "\nand another:\n"
		}
		_, err := fmt.Fprint(a.stdout, rule, bisect.Summary(answer, cx))
		return err
	})
	for _, p := range paths {
		a.say("text to send: %s", p)
	}
	return err
}

// writeWhole writes a file whole or not at all.
func writeWhole(path, text string) error {
	root, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return errors.Join(cachedir.WriteFile(root, filepath.Base(path), []byte(text)), root.Close())
}

// searchAll does a bisection, and those of commits that are to follow it.
func (a *app) searchAll(ctx context.Context, s *trials.Search, report string) error {
	to := &reportFiles{name: report}
	found, err := a.search(ctx, s, to)
	if err != nil {
		return err
	}
	doubtful := found.Doubtful()
	next, err := s.Next(ctx, found)
	if err != nil {
		return err
	}
	for i, n := range next {
		a.say("continuing with the commits of %s..%s", n.Request.Git.Old[0].Name, n.Request.Git.New.Name)
		found, err := a.search(ctx, n, to)
		if err != nil {
			for _, left := range next[i+1:] {
				err = errors.Join(err, left.Close())
			}
			return err
		}
		doubtful = doubtful || found.Doubtful()
	}
	if doubtful {
		return exitWith(exitError)
	}
	return nil
}

func (a *app) bisectList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List bisections and what came of them", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			root, err := a.bisections()
			if err != nil {
				return err
			}
			all, err := trials.List(root)
			if err != nil {
				return err
			}
			t := text.Table{Head: []string{"BISECTION", "SCENARIO", "CASE", "OF", "STATE", "FIRST"}}
			return printList(a, all, t, func(t *text.Table, l trials.Listed) {
				t.Add(filepath.Base(l.Dir), l.Scenario, l.Case, l.Of, l.State, bisect.Subject{Commit: l.First})
			})
		},
	}
}

func (a *app) bisectReset() *cobra.Command {
	return &cobra.Command{
		Use: "reset DIR", Short: "Remove a bisection with all its records",
		Long: `Remove a bisection with all its records. DIR is its folder, or its name in
bisect list.`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			root, err := a.bisections()
			if err != nil {
				return err
			}
			dir := args[0]
			if named := filepath.Join(root, dir); filepath.IsLocal(dir) && bisect.Begun(named) {
				dir = named
			}
			return badRequest(bisect.RemoveState(dir))
		},
	}
}

func (a *app) bisectResume() *cobra.Command {
	var report string
	c := &cobra.Command{
		Use: "resume [DIR]", Short: "Resume a bisection that was stopped",
		Long: `Resume a bisection that was stopped, by Ctrl-C, kill -9 or a power loss. No
trial that was finished is made again. Without DIR: the last one that has not
ended.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := checkOutput(report); err != nil {
				return err
			}
			dir := ""
			if len(args) == 1 {
				dir = args[0]
			} else {
				root, err := a.bisections()
				if err != nil {
					return err
				}
				if dir, err = trials.LastUnfinished(root); err != nil {
					return err
				}
			}
			s, err := trials.Open(dir)
			if err != nil {
				return badRequest(err)
			}
			return a.searchAll(c.Context(), s, report)
		},
	}
	c.Flags().StringVarP(&report, "output", "o", "", "write the report to `FILE` too")
	return c
}

// newSearch makes the folder of a bisection.
func (a *app) newSearch(r trials.Request, o *bisectOptions) (*trials.Search, error) {
	dir := o.state
	if dir == "" {
		root, err := a.bisections()
		if err != nil {
			return nil, err
		}
		dir = trials.NewFolder(root)
	}
	s, err := trials.Create(dir, r)
	return s, badRequest(err)
}
