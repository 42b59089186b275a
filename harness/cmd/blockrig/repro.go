package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

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
		Short: "Show a known bug: on a kernel before it, one with it and one after its fix",
		Long: `Run a scenario on the kernels that its story names, and say whether the story
holds: on which kernels the bug shows. Without SCENARIO: lvm-mirror-dio-read.

Exit status: 0 the story holds; 1 it does not; 2 the request was wrong; 3 some
verdict could not be had.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := o.check(); err != nil {
				return badRequest(err)
			}
			sc, err := storyScenario(args)
			if err != nil {
				return badRequest(err)
			}
			refs, err := storyKernels(sc, swaps)
			if err != nil {
				return badRequest(err)
			}
			cases, err := language.Cases(sc, nil)
			if err != nil {
				return badRequest(err)
			}
			req := results.Request{
				Verb: results.VerbRepro, Scenarios: results.ScenariosOf(cases), Kernels: results.KernelsOf(refs...), Repeat: 1,
			}
			o.request(&req)
			return a.newRun(c.Context(), req, o)
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
func storyScenario(args []string) (*scenarios.Scenario, error) {
	name := theStory
	if len(args) == 1 {
		name = args[0]
	}
	sc, err := language.Load(name)
	if err == nil && sc.Story == nil {
		err = fmt.Errorf("scenario %s has no story to tell: see \"blockrig scenarios list\"", sc.Name)
	}
	return sc, err
}

// storyKernels are the references of the story's kernels, some of them
// replaced as --kernel says.
func storyKernels(sc *scenarios.Scenario, swaps []string) ([]string, error) {
	var roles, refs []string
	for _, k := range sc.Story.Kernels {
		roles, refs = append(roles, k.Role), append(refs, k.Ref)
	}
	for _, s := range swaps {
		role, ref, _ := strings.Cut(s, "=")
		if ref == "" || !slices.Contains(roles, role) {
			return nil, fmt.Errorf("--kernel %s: want ROLE=REF with a role of the story: %s", s, strings.Join(roles, ", "))
		}
		for i := range roles {
			if roles[i] == role {
				refs[i] = ref
			}
		}
	}
	return refs, nil
}
