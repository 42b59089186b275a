package main

import (
	"fmt"
	"path/filepath"
	"strconv"
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
		a.showCommand(),
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
		for _, r := range runs {
			if err := a.printJSON(r.Info); err != nil {
				return err
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "RUN\tTRIALS\tCOMMAND")
	for _, r := range runs {
		trials := strconv.Itoa(len(r.Records))
		if r.Plan.Tasks > len(r.Records) {
			trials += fmt.Sprintf(" of %d", r.Plan.Tasks)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", r.Info.ID, trials, results.Harmless(commandLine(r.Info.Command)))
		a.sayBroken(r)
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
