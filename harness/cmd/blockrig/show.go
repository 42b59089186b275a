package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/blockrig/blockrig/results"
)

func (a *app) showCommand() *cobra.Command {
	var (
		summary bool
		trust   float64
	)
	c := &cobra.Command{
		Use:   "show RUN[/TRIAL] [TRIAL…]",
		Short: "Show the trials of a run, or all of a trial",
		Long: `Show the trials of a run, which is named by its ID, the beginning of it, or
"last". TRIAL is the number of a trial in that list, or the beginning of its
folder's name; RUN/TRIAL names one, too. What was asked of it and what happened is
shown in full, with the console around each finding and the commands that do it
again. -v tells in short of all. --summary gives a row for each case, as "blockrig
run --repeat" does.`,
		Example: `  blockrig results show last
  blockrig results show last/4
  blockrig results show last --summary --format json`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if !(trust > 0 && trust < 1) {
				return badRequest(fmt.Errorf("--trust-rate %g: want a failure rate between 0 and 1", trust))
			}
			root, err := a.resultsRoot()
			if err != nil {
				return err
			}
			id, trial, named := strings.Cut(args[0], "/")
			run, err := results.Show(root, id)
			if err != nil {
				return badRequest(err)
			}
			names := args[1:]
			if named {
				names = append([]string{trial}, names...)
			}
			shown, err := run.Pick(names...)
			if err != nil {
				a.sayBroken(run)
				return badRequest(fmt.Errorf("run %s: %w", run.ID, err))
			}
			if err := a.showTrials(root, run, shown, summary, trust, len(names) > 0); err != nil {
				return err
			}
			a.sayBroken(run)
			if len(run.Problems()) > 0 {
				return status(exitError)
			}
			return nil
		},
	}
	c.Flags().BoolVar(&summary, "summary", false, "a row for each case instead of each trial")
	c.Flags().Float64Var(&trust, "trust-rate", defaultTrust, "say how many passes rule out a failure `RATE` above this one")
	return c
}

func (a *app) showTrials(root string, run results.Stored, shown []int, summary bool, rate float64, full bool) error {
	var some []results.Record
	for _, n := range shown {
		some = append(some, run.Records[n])
	}
	style := results.Style{Color: a.outTerm, Width: a.width, Numbered: true}
	trust := results.Trust{Rate: rate, Confidence: confidence}
	switch {
	case summary && a.format == "json":
		return results.WriteSummaries(a.stdout, results.Summarize(some, trust)...)
	case summary:
		return errors.Join(results.SummaryTable(a.stdout, results.Summarize(some, trust), trust, style), results.StackTable(a.stdout, some, style))
	case a.format == "json":
		return results.WriteJSON(a.stdout, some...)
	case !full && !a.verbose:
		return errors.Join(results.Table(a.stdout, some, style), results.StackTable(a.stdout, some, style))
	}
	for i, n := range shown {
		if i > 0 {
			fmt.Fprintln(a.stdout)
		}
		var err error
		if full {
			err = results.DescribeWhole(a.stdout, root, run, n)
		} else {
			err = results.Describe(a.stdout, run.Records[n])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// sayBroken says what of a run can't be read, or is not what was recorded.
func (a *app) sayBroken(run results.Stored) {
	for _, err := range run.Problems() {
		a.say("blockrig: %s", err)
	}
}
