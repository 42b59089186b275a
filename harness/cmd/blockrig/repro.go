package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/blockrig/blockrig/results"
	"github.com/blockrig/blockrig/scenarios"
	"github.com/blockrig/blockrig/scenarios/language"
)

func (a *app) reproCommand() *cobra.Command {
	var (
		swaps []string
		every bool
		o     labOptions
	)
	c := &cobra.Command{
		Use:   "repro [SCENARIO…]",
		Short: "Show known bugs: on a kernel before each, one with it and one after its fix",
		Long: `Run scenarios on the kernels that their stories name, and say whether the
stories hold: on which kernels the bug shows. Without SCENARIO:
lvm-mirror-dio-read. --all tells every story that ships.

Of several stories, those whose kernels can't be had are left out and named, and
a table at the end says how many of the bugs were shown.

Exit status: 0 all stories hold; 1 one does not; 2 the request was wrong; 3 some
verdict could not be had.`,
		RunE: func(c *cobra.Command, args []string) error {
			if err := o.check(); err != nil {
				return badRequest(err)
			}
			stories, err := storyScenarios(args, every)
			if err != nil {
				return badRequest(err)
			}
			if len(stories) == 1 {
				req, err := storyRequest(stories[0], swaps, o)
				if err != nil {
					return badRequest(err)
				}
				return a.newRun(c.Context(), req, o)
			}
			if len(swaps) > 0 {
				return badRequest(errors.New("--kernel goes with one story"))
			}
			return a.tellAll(c.Context(), stories, o)
		},
	}
	f := c.Flags()
	f.StringArrayVar(&swaps, "kernel", nil, "another kernel for a role of the story: `ROLE=REF`; may be given several times")
	f.BoolVar(&every, "all", false, "tell every story that ships")
	o.flags(f)
	o.traceFlag(f)
	return c
}

// theStory is the scenario of the bug that blockrig began with.
const theStory = "lvm-mirror-dio-read"

// storyScenarios finds the scenarios to tell.
func storyScenarios(names []string, every bool) ([]*scenarios.Scenario, error) {
	switch {
	case every && len(names) > 0:
		return nil, errors.New("--all tells every story: name none")
	case every:
		all, err := language.Embedded()
		return slices.DeleteFunc(all, func(s *scenarios.Scenario) bool { return s.Story == nil }), err
	case len(names) == 0:
		names = []string{theStory}
	}
	var out []*scenarios.Scenario
	for _, name := range names {
		sc, err := language.Load(name)
		if err == nil && sc.Story == nil {
			err = fmt.Errorf("scenario %s has no story to tell: see \"blockrig scenarios list\"", sc.Name)
		}
		if err != nil {
			return nil, err
		}
		out = append(out, sc)
	}
	return out, nil
}

// storyRequest asks for the trials that tell a story.
func storyRequest(sc *scenarios.Scenario, swaps []string, o labOptions) (results.Request, error) {
	refs, err := storyKernels(sc, swaps)
	if err != nil {
		return results.Request{}, err
	}
	cases, err := language.Cases(sc, nil)
	if err != nil {
		return results.Request{}, err
	}
	req := results.Request{
		Verb: results.VerbRepro, Scenarios: results.ScenariosOf(cases), Kernels: results.KernelsOf(refs...), Repeat: 1,
	}
	o.request(&req)
	return req, nil
}

// tellAll tells stories one after the other, each in a run of its own.
func (a *app) tellAll(ctx context.Context, stories []*scenarios.Scenario, o labOptions) error {
	if err := needQEMU(); err != nil {
		return err
	}
	var told []results.Telling
	code := exitPass
	for i, sc := range stories {
		a.say("%s (%d of %d)", sc.Name, i+1, len(stories))
		t := a.tellOne(ctx, sc, o)
		if ctx.Err() != nil {
			a.say("interrupted: %d of %d stories are told", len(told), len(stories))
			code = worse(code, exitError)
			break
		}
		told = append(told, t)
		if t.Err != nil {
			a.say("%s: not told: %v", sc.Name, t.Err)
			code = worse(code, exitError)
			continue
		}
		a.say("%s", t.Check.Text)
		code = worse(code, t.Check.Status)
	}
	out, style := a.stdout, results.Style{Color: a.outTerm, Width: a.width}
	if a.format == "json" {
		out, style = a.stderr, results.Style{Color: a.errTerm, Width: a.errWidth}
	}
	if err := results.StoryTable(out, told, style); err != nil {
		return err
	}
	return exitWith(code)
}

// worse is the exit status of two together: a failure that was seen counts,
// whatever else could not be found out.
func worse(a, b int) int {
	if a == exitFailure || b == exitPass {
		return a
	}
	return b
}

// tellOne tells one story.
func (a *app) tellOne(ctx context.Context, sc *scenarios.Scenario, o labOptions) (t results.Telling) {
	began := time.Now()
	t.Scenario = sc
	defer func() { t.Took = time.Since(began) }()
	req, err := storyRequest(sc, nil, o)
	if err != nil {
		t.Err = err
		return t
	}
	b, err := a.trialsOf(ctx, how{timing: o.timing}, creating(ctx, req))
	var ended status // what there was to say was said
	if err != nil && !errors.As(err, &ended) {
		t.Err = err
		return t
	}
	t.Check, t.Err = req.CheckStory(b.done())
	return t
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
