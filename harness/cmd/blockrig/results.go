package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/blockrig/blockrig/results"
)

func (a *app) resultsCommand() *cobra.Command {
	c := &cobra.Command{Use: "results", Short: "The record of runs", Args: cobra.NoArgs, RunE: needVerb}
	c.AddCommand(
		&cobra.Command{
			Use: "list", Short: "List the runs", Args: cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error { return a.listResults() },
		},
		&cobra.Command{
			Use: "show RUN", Short: "Show the trials of a run", Args: cobra.ExactArgs(1),
			RunE: func(_ *cobra.Command, args []string) error {
				root, err := a.resultsRoot()
				if err != nil {
					return err
				}
				run, err := results.Show(root, args[0])
				if err != nil {
					return badRequest(err)
				}
				if a.format == "json" {
					return results.WriteJSON(a.stdout, run.Records...)
				}
				return results.Table(a.stdout, run.Records, results.Style{Color: a.outTerm})
			},
		},
	)
	return c
}

func (a *app) listResults() error {
	root, err := a.resultsRoot()
	if err != nil {
		return err
	}
	runs, err := results.List(root)
	if err != nil {
		return err
	}
	if a.format == "json" {
		enc := json.NewEncoder(a.stdout)
		for _, r := range runs {
			if err := enc.Encode(r.Info); err != nil {
				return err
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "RUN\tTRIALS\tCOMMAND")
	for _, r := range runs {
		fmt.Fprintf(w, "%s\t%d\t%s\n", r.Info.ID, len(r.Records), results.Harmless(commandLine(r.Info.Command)))
	}
	return w.Flush()
}

// commandLine is a command as its user knows it.
func commandLine(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return strings.Join(append([]string{filepath.Base(args[0])}, args[1:]...), " ")
}
