package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/blockrig/blockrig/harness/trial"
	"github.com/blockrig/blockrig/kernels"
	"github.com/blockrig/blockrig/results"
	"github.com/blockrig/blockrig/scenarios"
	"github.com/blockrig/blockrig/scenarios/language"
)

// A resumption is a run that is gone on with.
type resumption struct {
	id     string
	plan   results.Plan
	jobs   int // 0: as the run had it
	timing bool
}

// resumable are the verbs whose runs can be gone on with.
var resumable = []string{"run", "repro"}

// mayChange are the flags that say something else than what is to be done.
var mayChange = map[string]bool{"resume": true, "jobs": true, "timing": true, "format": true, "results": true, "verbose": true}

// resume does the rest of a run. Its stored command is read by the flag
// parser that read it at first, and by nothing else.
func (a *app) resume(c *cobra.Command, args []string, id string, o labOptions) error {
	if a.resumed != nil {
		return badRequest(errors.New("the run's command goes on with another run"))
	}
	if len(args) > 0 {
		return badRequest(fmt.Errorf("--resume %s: the run knows its scenarios; leave out %q", id, args))
	}
	var err error
	c.Flags().Visit(func(f *pflag.Flag) {
		if !mayChange[f.Name] && err == nil {
			err = fmt.Errorf("--resume %s: the run knows what it is to do; leave out --%s", id, f.Name)
		}
	})
	if err != nil {
		return badRequest(err)
	}
	root, err := a.resultsRoot()
	if err != nil {
		return err
	}
	stored, err := results.Show(root, id)
	if err != nil {
		return badRequest(err)
	}
	again := *a
	again.resumed = &resumption{id: stored.ID, plan: stored.Plan, jobs: o.jobs}
	if err := again.do(c.Context(), stored.Command, o.timing); err != nil {
		var s status
		if errors.As(err, &s) {
			return err
		}
		return fmt.Errorf("go on with run %s: %w", stored.ID, err)
	}
	return nil
}

// do does what a stored command says, in the way that a was asked to.
func (a *app) do(ctx context.Context, command []string, timing bool) error {
	format, verbose, folder := a.format, a.verbose, a.results
	root := a.root() // sets all flags to their defaults
	if len(command) < 2 {
		return badRequest(errors.New("it does not say its command"))
	}
	c, rest, err := root.Find(command[1:])
	if err == nil {
		err = c.ParseFlags(rest)
	}
	if err == nil {
		err = c.ValidateArgs(c.Flags().Args())
	}
	if err != nil {
		return badRequest(fmt.Errorf("its command can't be read: %w", err))
	}
	ok := false
	for _, name := range resumable {
		ok = ok || c.Parent() == root && c.Name() == name
	}
	if !ok {
		return badRequest(fmt.Errorf("it was made by %s, which can't be gone on with", c.CommandPath()))
	}
	a.format, a.verbose, a.results = format, verbose, folder
	a.resumed.timing = timing
	c.SetContext(ctx)
	return c.RunE(c, c.Flags().Args())
}

// loadScenario gives a scenario, of a run that is gone on with as it was when
// the run began.
func (a *app) loadScenario(name string) (*scenarios.Scenario, error) {
	if a.resumed == nil {
		return language.Load(name)
	}
	p, ok := a.resumed.plan.Scenario(name)
	if !ok {
		return nil, fmt.Errorf("the run's plan does not have scenario %s", name)
	}
	return language.Parse(name, []byte(p.Source))
}

// planOf is the plan of a new run.
func planOf(tasks []trial.Task) results.Plan {
	p := results.Plan{Tasks: len(tasks), Scenarios: []results.PlannedScenario{}, Kernels: []results.PlannedKernel{}}
	seen := map[*scenarios.Scenario]bool{}
	for _, t := range tasks {
		sc := t.Case.Scenario
		if seen[sc] {
			continue
		}
		seen[sc] = true
		name := sc.File
		if name == "" {
			name = sc.Name
		}
		p.Scenarios = append(p.Scenarios, results.PlannedScenario{Name: name, Source: string(sc.Source)})
	}
	return p
}

// taskSeries is what the repeats of a case have in common.
type taskSeries struct {
	ref, id string
	sc      *scenarios.Scenario
}

func seriesOf(t trial.Task) taskSeries { return taskSeries{t.Ref, t.Case.ID, t.Case.Scenario} }

// leftOver gives the places of the tasks that are still to be done, and the
// records of the others in the tasks' order. With until, a case that has
// failed is over.
func leftOver(tasks []trial.Task, stored []results.Record, until bool) (todo []int, records []*results.Record, err error) {
	records = make([]*results.Record, len(tasks))
	over := map[taskSeries]bool{}
	for _, r := range stored {
		if r.Task < 0 || r.Task >= len(tasks) {
			return nil, nil, fmt.Errorf("it has a trial %d, and its command asks for %d", r.Task, len(tasks))
		}
		t := tasks[r.Task]
		if t.Ref != r.Kernel.Ref || t.Case.ID != r.Case || t.Case.Scenario.Name != r.Scenario {
			return nil, nil, fmt.Errorf("its trial %d is another than its command asks for: %s, %s", r.Task, r.Kernel.Ref, r.Case)
		}
		records[r.Task] = &r
		if until && r.Verdict.Failure() {
			over[seriesOf(t)] = true
		}
	}
	for i, t := range tasks {
		if records[i] == nil && !over[seriesOf(t)] {
			todo = append(todo, i)
		}
	}
	return todo, records, nil
}

// sameKernels makes tasks name the kernels that the run had, and checks that
// they are still the same.
func sameKernels(ctx context.Context, store *kernels.Store, tasks []trial.Task, plan results.Plan) error {
	seen := map[string]bool{}
	for i, t := range tasks {
		k, ok := plan.Kernel(t.Ref)
		if !ok {
			continue
		}
		tasks[i].Exact = k.Exact
		if seen[t.Ref] {
			continue
		}
		seen[t.Ref] = true
		got, err := store.Resolve(ctx, k.Exact)
		if err != nil {
			return err
		}
		if got.Digest != k.Digest {
			return badRequest(fmt.Errorf("kernel %s is another now than when the run began: begin a new run", t.Ref))
		}
	}
	return nil
}
