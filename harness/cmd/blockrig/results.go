package main

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/results"
)

func (a *app) resultsCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "results", Short: "List recorded runs, or show the trials of one",
		Long: `Each run is recorded in a folder of its own: among results/runs in a checkout of
blockrig, else in $XDG_STATE_HOME/blockrig/runs (~/.local/state/blockrig/runs), or
where --results says.`,
		Args: cobra.NoArgs, RunE: needVerb,
	}
	c.AddCommand(
		&cobra.Command{
			Use: "list", Short: "List the runs", Args: cobra.NoArgs,
			Long: `List the runs, oldest first. A damaged one is named on stderr, and the exit
status is 3.`,
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
		return wrongRun(err)
	}
	damaged := false
	for _, r := range runs {
		problems := r.Problems()
		if len(problems) == 0 {
			continue
		}
		more := ""
		if len(problems) > 1 {
			more = fmt.Sprintf(" (and %d more: results show %s)", len(problems)-1, r.ID)
		}
		a.say("blockrig: %s%s", problems[0], more)
		damaged = true
	}
	t := text.Table{Head: []string{"RUN", "TRIALS", "COMMAND"}}
	err = printList(a, runs, t, func(t *text.Table, r results.Stored) {
		trials := strconv.Itoa(len(r.Records))
		if r.Asked > len(r.Records) {
			trials += fmt.Sprintf(" of %d", r.Asked)
		}
		t.Add(r.Info.ID, trials, commandLine(r.Info.Command))
	})
	if err == nil && damaged {
		err = status(exitError)
	}
	return err
}

// commandLine is a command as its user knows it.
func commandLine(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return strings.Join(append([]string{filepath.Base(args[0])}, args[1:]...), " ")
}
