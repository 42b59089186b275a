package main

import (
	"fmt"
	"sync"

	"github.com/blockrig/blockrig/harness/trial"
	"github.com/blockrig/blockrig/results"
)

// books record the trials of a run.
type books struct {
	run     *results.Run
	repeats bool // of the repeats with one signature only the first is kept

	mu   sync.Mutex
	plan results.Plan
	open map[int]opened  // by place in the run
	kept map[string]bool // faces of which a folder is kept
}

type opened struct {
	job    trial.Job
	folder *results.Trial // nil when it could not be made
}

func newBooks(run *results.Run, tasks []trial.Task, stored results.Stored) *books {
	b := &books{run: run, open: map[int]opened{}, kept: map[string]bool{}, plan: planOf(tasks)}
	if stored.ID != "" {
		b.plan = stored.Plan
	}
	for _, t := range tasks {
		b.repeats = b.repeats || t.Repeat > 0
	}
	for _, r := range stored.Records {
		b.kept[results.FaceOf(r)] = b.kept[results.FaceOf(r)] || r.RunDir != ""
	}
	return b
}

// begin gives the folder for a trial.
func (b *books) begin(place int, j trial.Job) (string, error) {
	folder, err := b.run.Begin()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open[place] = opened{j, folder}
	if err != nil {
		b.open[place] = opened{j, nil}
		return "", err
	}
	return folder.Dir, b.note(j.Kernel)
}

// note puts a kernel that was not there yet into the plan. The caller holds
// b.mu.
func (b *books) note(k trial.Kernel) error {
	if _, ok := b.plan.Kernel(k.Ref); ok || k.Exact == "" {
		return nil
	}
	b.plan.Kernels = append(b.plan.Kernels, results.PlannedKernel{Ref: k.Ref, Exact: k.Exact, Digest: k.Digest})
	return b.run.SetPlan(b.plan)
}

// end records a trial.
func (b *books) end(place int, out trial.Outcome) (results.Record, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	o, ok := b.open[place]
	if !ok {
		return results.Record{}, fmt.Errorf("record trial %d: it did not begin", place)
	}
	delete(b.open, place)
	rec := results.FromTrial(o.job, out)
	rec.Task = place
	face := results.FaceOf(rec)
	switch {
	case o.folder == nil:
		return rec, b.run.Record(rec)
	case b.repeats && b.kept[face]:
		return o.folder.Record(rec)
	}
	if err := o.folder.Keep(o.job); err != nil {
		return rec, err
	}
	b.kept[face] = true
	return o.folder.Store(rec)
}
