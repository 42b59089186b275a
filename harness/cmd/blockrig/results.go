package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/results"
	"github.com/blockrig/blockrig/results/store"
)

func (a *app) resultsCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "results", Short: "List, show, compare and bundle what was recorded",
		Long: `Each run is recorded in a folder of its own: among results/runs in a checkout of
blockrig, else in $XDG_STATE_HOME/blockrig/runs (~/.local/state/blockrig/runs), or
where --results says. Beside the folders lies an index of them, index.sqlite,
which is brought up to date whenever it is used.`,
		Args: cobra.NoArgs, RunE: needVerb,
	}
	c.AddCommand(a.resultsList(), a.showCommand(), a.resultsCompare(), a.resultsBundle(), a.replayCommand(), a.resultsReportCommand(), a.resultsServeCommand(), a.resultsPrune(), a.resultsReindex())
	return c
}

// withIndex does something with the index, which is brought up to date first.
func (a *app) withIndex(c *cobra.Command, do func(root string, s *store.Store) error) (err error) {
	root, err := a.resultsRoot()
	if err != nil {
		return err
	}
	s, err := results.OpenStore(c.Context(), root, func(format string, args ...any) { a.say("blockrig: "+format, args...) })
	if err != nil {
		return wrongRun(err)
	}
	defer func() {
		if cerr := s.Close(); err == nil {
			err = cerr
		}
	}()
	return wrongRun(do(root, s))
}

func (a *app) resultsList() *cobra.Command {
	var trials, failed bool
	var in, scenario string
	var limit int
	c := &cobra.Command{
		Use: "list", Short: "List the runs, or trials of all runs", Args: cobra.NoArgs,
		Long: `List the runs, oldest first; with --trials, trials. A run with damaged files is
named on stderr, and the exit status is 3.

WHAT of --in is a run (its ID, the beginning of it, "last"), a night (the date on
which runs began, in UTC: 2026-11-25), a kernel (reference or release), or a
commit.`,
		Example: `  blockrig results list
  blockrig results list --trials --failed --in 2026-11-25`,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withIndex(c, func(root string, s *store.Store) error {
				f := store.Filter{}
				if in != "" {
					var err error
					if f, err = s.Select(c.Context(), in); err != nil {
						return err
					}
				}
				f.Scenario, f.Failures, f.Limit = scenario, failed, limit
				if trials {
					return a.listTrials(c, s, f)
				}
				return a.listRuns(c, root, s, f)
			})
		},
	}
	f := c.Flags()
	f.BoolVar(&trials, "trials", false, "list trials instead of runs")
	f.BoolVar(&failed, "failed", false, "only trials that failed, or runs with such")
	f.StringVar(&in, "in", "", "only those of `WHAT`: a run, a night, a kernel, a commit")
	f.StringVar(&scenario, "scenario", "", "only those of the scenario with this `NAME`")
	numberVar(f, &limit, "limit", 0, 1, 1<<30, "at most so many: the last runs, the newest trials")
	return c
}

func (a *app) listRuns(c *cobra.Command, root string, s *store.Store, f store.Filter) error {
	runs, err := s.Runs(c.Context(), f)
	if err != nil {
		return err
	}
	damaged := false
	for _, r := range runs {
		if r.Problems == 0 {
			continue
		}
		more := ""
		if r.Problems > 1 {
			more = fmt.Sprintf(" (and %d more: results show %s)", r.Problems-1, r.ID)
		}
		a.say("blockrig: %s%s", r.Problem, more)
		damaged = true
	}
	if _, err := os.Stat(root); err != nil { // perhaps another was meant
		a.say("there are no runs in %s", root)
	}
	t := text.Table{Head: []string{"RUN", "TRIALS", "FAILED", "ERRORS", "COMMAND"}}
	err = printList(a, runs, t, func(t *text.Table, r store.Run) {
		trials := strconv.Itoa(r.Trials)
		if r.Asked > r.Trials {
			trials += fmt.Sprintf(" of %d", r.Asked)
		}
		t.Add(r.ID, trials, r.Failures, r.Errors, commandLine(r.Command))
	})
	if err == nil && damaged {
		err = status(exitError)
	}
	return err
}

func (a *app) listTrials(c *cobra.Command, s *store.Store, f store.Filter) error {
	f.Newest = f.Limit > 0
	t := text.Table{Head: []string{"TRIAL", "KERNEL", "SCENARIO", "CASE", "VERDICT", "SAID", "SECONDS"}, Numbers: true, Color: a.outTerm}
	for trial, err := range s.Trials(c.Context(), f) {
		if err == nil && a.format == "json" {
			err = a.printJSON(trial)
		}
		if err != nil {
			return err
		}
		if a.format != "json" {
			t.Add(trial.Name(), trial.Kernel.Name(), trial.Scenario, results.OrDash(trial.Case), results.VerdictCell(trial.Verdict),
				results.OrDash(trial.Outcome), fmt.Sprintf("%.1f", float64(trial.TrialMS)/1000))
		}
	}
	if a.format == "json" {
		return nil
	}
	return t.Write(a.stdout)
}

func (a *app) resultsReindex() *cobra.Command {
	return &cobra.Command{
		Use: "reindex", Short: "Make the index of the run folders anew", Args: cobra.NoArgs,
		Long: `Make the index of the run folders anew. What it lacks, or has of folders that are
gone, is mended whenever it is used; this is for an index that is wrong, or for
one that could not be written.`,
		RunE: func(c *cobra.Command, _ []string) error {
			root, err := a.resultsRoot()
			if err != nil {
				return err
			}
			runs, trials, err := results.Reindex(c.Context(), root)
			if err != nil {
				return wrongRun(err)
			}
			a.say("%s: %d runs, %d trials", filepath.Join(root, store.File), runs, trials)
			return nil
		},
	}
}

func (a *app) resultsPrune() *cobra.Command {
	var dry bool
	var days int
	c := &cobra.Command{
		Use: "prune", Short: "Remove the folders of trials that show nothing of their own", Args: cobra.NoArgs,
		Long: `Remove folders of trials, with console and events. Of each case on each kernel
the first trial, the last one, and the first with each signature keep theirs. What
every trial came to stays recorded. Runs that are under way are left alone.`,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withIndex(c, func(root string, s *store.Store) error {
				pruned, busy, err := results.Prune(c.Context(), root, s, time.Now().AddDate(0, 0, -days), dry)
				for _, id := range busy {
					a.say("run %s is under way, and left alone", id)
				}
				var sum int64
				for _, p := range pruned {
					sum += p.Bytes
				}
				t := text.Table{Head: []string{"TRIAL", "KIB", "FOLDER"}}
				if perr := printList(a, pruned, t, func(t *text.Table, p results.Pruned) { t.Add(p.Trial, (p.Bytes+1023)/1024, p.Dir) }); err == nil {
					err = perr
				}
				what := "removed"
				if dry {
					what = "would be removed"
				}
				a.say("%d folders, %.1f MiB, %s", len(pruned), float64(sum)/(1<<20), what)
				return err
			})
		},
	}
	c.Flags().BoolVar(&dry, "dry-run", false, "say what would be removed, and remove nothing")
	numberVar(c.Flags(), &days, "older-than", 0, 1, 1<<20, "only trials that began more than `DAYS` ago")
	return c
}

// commandLine is a command as its user knows it.
func commandLine(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return strings.Join(append([]string{filepath.Base(args[0])}, args[1:]...), " ")
}
