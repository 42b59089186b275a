package main

import (
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/scenarios"
	"github.com/blockrig/blockrig/scenarios/language"
)

func (a *app) scenariosCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "scenarios", Short: "List, print or check scenarios",
		Long: `A scenario is a YAML file: disks, a storage stack over them, the steps to do, what
is expected of each, and parameters. Each combination of parameters is a case.
Some scenarios ship with blockrig; "blockrig scenarios show" prints one to begin
your own from. scenarios/README.md says all that can be in one, and
"blockrig scenarios schema" prints the JSON Schema for an editor.`,
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
					d, err := describe(sc)
					if err != nil {
						return badRequest(err)
					}
					return a.printJSON(d)
				}
				_, err = a.stdout.Write(sc.Source)
				return err
			},
		},
		&cobra.Command{
			Use: "schema", Short: "Print the JSON Schema of scenarios, for an editor", Args: cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error {
				_, err := a.stdout.Write(scenarios.Schema)
				return err
			},
		},
		&cobra.Command{
			Use: "check FILE…", Short: "Say what is wrong with scenario files, and where", Args: cobra.MinimumNArgs(1),
			RunE: func(_ *cobra.Command, args []string) error {
				var wrong []error
				for _, arg := range args {
					sc, err := language.Load(arg)
					var d description
					if err == nil {
						d, err = describe(sc)
					}
					if err != nil {
						wrong = append(wrong, err)
						continue
					}
					a.say("%s: scenario %s is fine; cases %d; %s", arg, sc.Name, len(d.Cases), d)
				}
				return badRequest(errors.Join(wrong...))
			},
		},
	)
	return c
}

// A description is a scenario with what its first case is made of.
type description struct {
	*scenarios.Scenario
	scenarios.Setup
	Step  *scenarios.IO    `json:"step,omitempty"` // the first I/O
	Steps []scenarios.Step `json:"steps"`
	Cases []string         `json:"cases"` // their IDs
}

func describe(sc *scenarios.Scenario) (description, error) {
	cases, err := language.Cases(sc, nil)
	if err != nil {
		return description{}, err
	}
	d := description{Scenario: sc, Setup: cases[0].Setup, Steps: cases[0].Steps}
	if i := slices.IndexFunc(d.Steps, func(s scenarios.Step) bool { return s.IO != nil }); i >= 0 {
		d.Step = d.Steps[i].IO
	}
	for _, c := range cases {
		d.Cases = append(d.Cases, c.ID)
	}
	return d, nil
}

// String says in one line what the first case is made of.
func (d description) String() string {
	var disks, layers, steps []string
	for _, disk := range d.Disks {
		disks = append(disks, disk.ID)
	}
	for _, l := range d.Stack {
		s := l.Name
		if kind := l.Kind(); kind != s {
			s += " (" + kind + ")"
		}
		if len(l.On) > 0 {
			s += " on " + strings.Join(l.On, " ")
		}
		layers = append(layers, s)
	}
	for _, s := range d.Steps {
		steps = append(steps, s.Op())
	}
	parts := []string{"disks " + strings.Join(disks, " "), "layers " + strings.Join(layers, ", "), "steps " + text.OneLine(strings.Join(steps, ", "))}
	if len(disks) == 0 {
		parts = parts[1:]
	}
	return strings.Join(parts, "; ")
}

func (a *app) listScenarios() error {
	all, err := language.Embedded()
	if err != nil {
		return err
	}
	list := make([]description, len(all))
	for i, sc := range all {
		if list[i], err = describe(sc); err != nil {
			return err
		}
	}
	t := text.Table{Head: []string{"SCENARIO", "CASES", "ABOUT"}, Wrap: true}
	return printList(a, list, t, func(t *text.Table, d description) {
		about := text.OneLine(d.About)
		if first, _, ok := strings.Cut(about, ". "); ok {
			about = first + "."
		}
		t.Add(d.Name, len(d.Cases), about)
	})
}
