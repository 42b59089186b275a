package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/blockrig/blockrig/results"
)

func (a *app) showCommand() *cobra.Command {
	var (
		summary bool
		trust   float64
	)
	c := &cobra.Command{
		Use:   "show RUN [TRIAL…]",
		Short: "Show the trials of a run",
		Long: `Show the trials of a run, which is named by its ID, the beginning of it, or
"last". TRIAL is the number of a trial in that list, from 1, or the beginning
of its folder's name: what happened in it is shown in full, as -v does for all.
--summary gives a row for each case, as "blockrig run --repeat" does.`,
		Example: `  blockrig results show last
  blockrig results show last 4
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
			run, err := results.Show(root, args[0])
			if err != nil {
				return badRequest(err)
			}
			shown, err := run.Pick(args[1:]...)
			if err != nil {
				a.sayBroken(run)
				return badRequest(fmt.Errorf("run %s: %w", run.ID, err))
			}
			if err := a.showTrials(run.Records, shown, summary, trust, len(args) > 1); err != nil {
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

func (a *app) showTrials(records []results.Record, shown []int, summary bool, rate float64, full bool) error {
	var some []results.Record
	for _, n := range shown {
		some = append(some, records[n])
	}
	style := results.Style{Color: a.outTerm, Width: a.width}
	trust := results.Trust{Rate: rate, Confidence: confidence}
	switch {
	case summary && a.format == "json":
		return results.WriteSummaries(a.stdout, results.Summarize(some, trust)...)
	case summary:
		return results.SummaryTable(a.stdout, results.Summarize(some, trust), trust, style)
	case a.format == "json":
		return results.WriteJSON(a.stdout, some...)
	case !full && !a.verbose:
		return results.Table(a.stdout, some, style)
	}
	for i, n := range shown {
		if i > 0 {
			fmt.Fprintln(a.stdout)
		}
		if err := results.Describe(a.stdout, n+1, records[n]); err != nil {
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
