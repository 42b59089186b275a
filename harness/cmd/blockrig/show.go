package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/blockrig/blockrig/harness/text"
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
			defer a.sayBroken(run)
			shown, err := pickTrials(run.Records, args[1:])
			if err != nil {
				return badRequest(fmt.Errorf("run %s: %w", run.ID, err))
			}
			if summary {
				var records []results.Record
				for _, n := range shown {
					records = append(records, run.Records[n])
				}
				return a.showSummary(records, trust)
			}
			return a.showTrials(run.Records, shown, a.verbose || len(args) > 1)
		},
	}
	c.Flags().BoolVar(&summary, "summary", false, "a row for each case instead of each trial")
	c.Flags().Float64Var(&trust, "trust-rate", defaultTrust, "say how many passes rule out a failure `rate` above this one")
	return c
}

// pickTrials gives the places of the trials that are named, of all without a
// name.
func pickTrials(records []results.Record, names []string) ([]int, error) {
	var out []int
	if len(names) == 0 {
		for n := range records {
			out = append(out, n)
		}
		return out, nil
	}
	for _, name := range names {
		if n, err := strconv.Atoi(name); err == nil && n >= 1 && n <= len(records) && name[0] != '0' {
			out = append(out, n-1)
			continue
		}
		found := -1
		for n, r := range records {
			if r.RunDir == "" || !strings.HasPrefix(filepath.Base(r.RunDir), name) {
				continue
			}
			if found >= 0 {
				return nil, fmt.Errorf("%q is the beginning of several trials", name)
			}
			found = n
		}
		if found < 0 {
			return nil, fmt.Errorf("it has no trial %q; there are %d", name, len(records))
		}
		out = append(out, found)
	}
	return out, nil
}

func (a *app) showTrials(records []results.Record, shown []int, full bool) error {
	var some []results.Record
	for _, n := range shown {
		some = append(some, records[n])
	}
	if a.format == "json" {
		return results.WriteJSON(a.stdout, some...)
	}
	if !full {
		return results.Table(a.stdout, some, results.Style{Color: a.outTerm, Width: a.width})
	}
	for i, n := range shown {
		if i > 0 {
			fmt.Fprintln(a.stdout)
		}
		if err := showTrial(a.stdout, n+1, records[n]); err != nil {
			return err
		}
	}
	return nil
}

// showTrial tells all of one trial.
func showTrial(w io.Writer, n int, r results.Record) error {
	var b strings.Builder
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "  %-9s %s\n", name, text.Escape(value))
		}
	}
	fmt.Fprintf(&b, "%d: %s, %s, %s: %s\n", n, text.Escape(r.Kernel.Release), text.Escape(r.Scenario), text.Escape(r.Case), r.Verdict)
	line("reason", r.Reason)
	var also []string
	for _, v := range r.Also {
		also = append(also, string(v))
	}
	line("also", strings.Join(also, ", "))
	line("said", r.Outcome)
	var legs []string
	for _, l := range r.Legs {
		legs = append(legs, fmt.Sprintf("%s (disk %s) %s", l.Name, l.Disk, l.Health))
	}
	line("legs", strings.Join(legs, ", "))
	for i, f := range r.Findings {
		text := fmt.Sprintf("%s: %s", f.Kind, f.Title)
		if f.Place != "" {
			text += " (" + f.Place + ")"
		}
		line([]string{"console", ""}[min(i, 1)], fmt.Sprintf("%s, line %d", text, f.Line))
	}
	for i, at := range r.Attempts[:max(0, len(r.Attempts)-1)] {
		line([]string{"before", ""}[min(i, 1)], fmt.Sprintf("%s: %s", at.Verdict, at.Reason))
	}
	line("kernel", r.Kernel.Ref)
	way := "from power-on"
	if r.Warm {
		way = "from a saved machine"
	}
	line("machine", fmt.Sprintf("%s, %d CPU, %s, boot %s", r.Accel, r.CPUs, way, r.BootID))
	line("took", fmt.Sprintf("%.1f s", float64(r.TrialMS)/1000))
	folder := r.RunDir
	if folder == "" {
		folder = "not kept: one with the same signature is"
	}
	line("folder", folder)
	_, err := io.WriteString(w, b.String())
	return err
}

func (a *app) showSummary(records []results.Record, rate float64) error {
	trust := results.Trust{Rate: rate, Confidence: confidence}
	all := results.Summarize(records, trust)
	if a.format != "json" {
		return results.SummaryTable(a.stdout, all, trust, results.Style{Color: a.outTerm, Width: a.width})
	}
	return results.WriteSummaries(a.stdout, all...)
}

// sayBroken says what of a run can't be read.
func (a *app) sayBroken(run results.Stored) {
	for _, err := range run.Broken {
		a.say("blockrig: %s", err)
	}
}
