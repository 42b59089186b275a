package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/blockrig/blockrig/harness/trial"
	"github.com/blockrig/blockrig/results"
	"github.com/blockrig/blockrig/scenarios"
	"github.com/blockrig/blockrig/scenarios/language"
)

func (a *app) reproCommand() *cobra.Command {
	var (
		swaps []string
		o     labOptions
	)
	c := &cobra.Command{
		Use:   "repro [SCENARIO]",
		Short: "Reproduce the bug that it began with: on a kernel before it, one with it, one after the fix",
		Long: `Run a scenario that tells a story on the kernels that the story names, and say
whether the story holds. Without SCENARIO: lvm-mirror-dio-read.

Exit status: 0 the story holds; 1 it does not; 2 the request was wrong; 3 some
verdict could not be had.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			sc, err := a.storyScenario(args)
			if err != nil {
				return badRequest(err)
			}
			if err := swapKernels(sc, swaps); err != nil {
				return badRequest(err)
			}
			cases, err := language.Cases(sc, nil)
			if err != nil {
				return badRequest(err)
			}
			var tasks []trial.Task
			for _, k := range sc.Story.Kernels {
				for _, cs := range cases {
					tasks = append(tasks, trial.Task{Ref: k.Ref, Case: cs})
				}
			}
			d, err := a.trials(c.Context(), tasks, o)
			if err := a.report(c.Context(), d, reporting{timing: o.timing}, err); err != nil {
				return err
			}
			told := results.Tell(sc, cases, d.records)
			a.say("%s", told.Text)
			return exitWith(told.Status)
		},
	}
	f := c.Flags()
	f.StringArrayVar(&swaps, "kernel", nil, "another kernel for a role of the story: `ROLE=REF`; may be given several times")
	o.flags(f)
	return c
}

// theStory is the scenario of the bug that blockrig began with.
const theStory = "lvm-mirror-dio-read"

// storyScenario finds the scenario to tell.
func (a *app) storyScenario(args []string) (*scenarios.Scenario, error) {
	name := theStory
	if len(args) == 1 {
		name = args[0]
	}
	sc, err := a.loadScenario(name)
	if err == nil && sc.Story == nil {
		err = fmt.Errorf("scenario %s has no story to tell: see \"blockrig scenarios list\"", sc.Name)
	}
	return sc, err
}

// swapKernels replaces kernels of the story.
func swapKernels(sc *scenarios.Scenario, swaps []string) error {
	for _, s := range swaps {
		role, ref, ok := strings.Cut(s, "=")
		var roles []string
		found := false
		for i := range sc.Story.Kernels {
			k := &sc.Story.Kernels[i]
			roles = append(roles, k.Role)
			if ok && k.Role == role {
				k.Ref, found = ref, true
			}
		}
		if !found {
			return fmt.Errorf("--kernel %s: want ROLE=REF with a role of the story: %s", s, strings.Join(roles, ", "))
		}
	}
	return nil
}
