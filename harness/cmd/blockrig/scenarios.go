package main

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/scenarios"
	"github.com/blockrig/blockrig/scenarios/language"
)

func (a *app) scenariosCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "scenarios", Short: "List, print or check scenarios",
		Long: `A scenario is a YAML file: disks, a storage stack over them, the I/O to do, what
is expected of it, and parameters. Each combination of parameters is a case.
Some scenarios ship with blockrig; "blockrig scenarios show" prints one to begin
your own from.`,
		Args: cobra.NoArgs, RunE: needVerb,
	}
	c.AddCommand(
		&cobra.Command{
			Use: "list", Short: "List the shipped scenarios", Args: cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error { return a.listScenarios() },
		},
		&cobra.Command{
			Use: "show SCENARIO", Short: "Print a scenario's YAML", Args: cobra.ExactArgs(1),
			RunE: func(_ *cobra.Command, args []string) error {
				sc, err := language.Load(args[0])
				if err != nil {
					return badRequest(err)
				}
				if a.format == "json" {
					return a.printJSON(sc)
				}
				_, err = a.stdout.Write(sc.Source)
				return err
			},
		},
		&cobra.Command{
			Use: "check FILE…", Short: "Say what is wrong with scenario files, and where", Args: cobra.MinimumNArgs(1),
			RunE: func(_ *cobra.Command, args []string) error {
				for _, arg := range args {
					sc, err := language.Load(arg)
					if err != nil {
						return badRequest(err)
					}
					cases, err := language.Cases(sc, nil)
					if err != nil {
						return badRequest(err)
					}
					a.say("%s: scenario %s with %d cases is fine", arg, sc.Name, len(cases))
				}
				return nil
			},
		},
	)
	return c
}

func (a *app) listScenarios() error {
	all, err := language.Embedded()
	if err != nil {
		return err
	}
	t := text.Table{Head: []string{"SCENARIO", "CASES", "ABOUT"}, Wrap: true}
	var bad error
	err = printList(a, all, t, func(t *text.Table, sc *scenarios.Scenario) {
		about := text.OneLine(sc.About)
		if first, _, ok := strings.Cut(about, ". "); ok {
			about = first + "."
		}
		cases, err := language.Cases(sc, nil)
		bad = errors.Join(bad, err)
		t.Add(sc.Name, len(cases), about)
	})
	return errors.Join(err, bad)
}
