package main

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/blockrig/blockrig/scenarios/language"
)

func (a *app) scenariosCommand() *cobra.Command {
	c := &cobra.Command{Use: "scenarios", Short: "What there is to run", Args: cobra.NoArgs, RunE: needVerb}
	c.AddCommand(
		&cobra.Command{
			Use: "list", Short: "List the shipped scenarios", Args: cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error { return a.listScenarios() },
		},
		&cobra.Command{
			Use: "show SCENARIO", Short: "Print a scenario as it was written", Args: cobra.ExactArgs(1),
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
			Use: "check FILE…", Short: "Check scenario files", Args: cobra.MinimumNArgs(1),
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
					a.say("%s: scenario %s, %d cases: well", arg, sc.Name, len(cases))
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
	if a.format == "json" {
		for _, sc := range all {
			if err := a.printJSON(sc); err != nil {
				return err
			}
		}
		return nil
	}
	name := len("SCENARIO")
	for _, sc := range all {
		name = max(name, len(sc.Name))
	}
	left := name + len("  CASES  ")
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SCENARIO\tCASES\tABOUT")
	for _, sc := range all {
		cases, err := language.Cases(sc, nil)
		if err != nil {
			return err
		}
		about := strings.Join(strings.Fields(sc.About), " ")
		if first, _, ok := strings.Cut(about, ". "); ok {
			about = first + "."
		}
		lines := wrap(printable(about), a.width-left)
		fmt.Fprintf(w, "%s\t%d\t%s\n", sc.Name, len(cases), lines[0])
		for _, line := range lines[1:] {
			fmt.Fprintf(w, "\t\t%s\n", line)
		}
	}
	return w.Flush()
}

// needVerb is what a command does that only has others below it.
func needVerb(c *cobra.Command, _ []string) error {
	var names []string
	for _, sub := range c.Commands() {
		names = append(names, sub.Name())
	}
	return badRequest(fmt.Errorf("%s: say what to do: %s", c.Name(), strings.Join(names, ", ")))
}
