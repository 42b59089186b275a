package main

import (
	"time"

	"github.com/blockrig/blockrig/harness/trial"
	"github.com/blockrig/blockrig/results"
	"github.com/blockrig/blockrig/scenarios"
)

// An estimate tells how long trials will still take, from what those before
// them took. A trial takes what its case takes, a hang longer than a pass;
// and the first of each boot of a kernel takes that boot, too.
type estimate struct {
	jobs  int
	tasks []estimated
	cases map[caseOfScenario]*mean // of one trial
	all   mean                     // of one trial of any case
	bases mean                     // of getting a machine ready for warm trials
	ready map[baseOf]bool
}

type estimated struct {
	of    caseOfScenario
	base  baseOf
	cold  bool
	begun time.Time
	done  bool
}

type caseOfScenario struct {
	sc *scenarios.Scenario
	id string
}

// baseOf is what the trials share that go on from one machine.
type baseOf struct {
	ref  string
	sc   *scenarios.Scenario
	boot int
}

type mean struct {
	sum time.Duration
	n   int
}

func (m *mean) add(d time.Duration) { m.sum += d; m.n++ }

func (m *mean) value() time.Duration {
	if m == nil || m.n == 0 {
		return 0
	}
	return m.sum / time.Duration(m.n)
}

func newEstimate(tasks []trial.Task, jobs, boots int, cold bool) *estimate {
	e := &estimate{jobs: max(1, jobs), cases: map[caseOfScenario]*mean{}, ready: map[baseOf]bool{}}
	for _, t := range tasks {
		sc := t.Case.Scenario
		e.tasks = append(e.tasks, estimated{
			of: caseOfScenario{sc, t.Case.ID}, base: baseOf{t.Ref, sc, t.Repeat % max(1, boots)}, cold: cold || sc.Cold != "",
		})
	}
	return e
}

// begin notes that a task is being done.
func (e *estimate) begin(i int, now time.Time) {
	if t := &e.tasks[i]; t.begun.IsZero() {
		t.begun = now
	}
}

// end notes that a task is done.
func (e *estimate) end(i int, rec results.Record, now time.Time) {
	t := &e.tasks[i]
	t.done = true
	var took time.Duration
	for _, a := range rec.Attempts {
		took += time.Duration(a.MS) * time.Millisecond
	}
	if took == 0 {
		took = time.Duration(rec.TrialMS) * time.Millisecond
	}
	m := e.cases[t.of]
	if m == nil {
		m = &mean{}
		e.cases[t.of] = m
	}
	m.add(took)
	e.all.add(took)
	if !t.cold && !e.ready[t.base] {
		e.ready[t.base] = true
		if !t.begun.IsZero() {
			e.bases.add(max(0, now.Sub(t.begun)-took))
		}
	}
}

// left gives how long it will take until all is done. ok is false as long as
// nothing is known.
func (e *estimate) left(now time.Time) (left time.Duration, ok bool) {
	if e.all.n == 0 {
		return 0, false
	}
	var sum, longest time.Duration
	// The boot belongs to the trial that is at it, if one is.
	makers := map[baseOf]int{}
	for i, t := range e.tasks {
		if m, ok := makers[t.base]; !t.done && !t.cold && !e.ready[t.base] && (!ok || e.tasks[m].begun.IsZero() && !t.begun.IsZero()) {
			makers[t.base] = i
		}
	}
	for i, t := range e.tasks {
		if t.done {
			continue
		}
		need := e.cases[t.of].value()
		if e.cases[t.of] == nil {
			need = e.all.value()
		}
		if m, ok := makers[t.base]; ok && m == i {
			need += e.bases.value()
		}
		if !t.begun.IsZero() {
			need = max(0, need-now.Sub(t.begun))
		}
		sum += need
		longest = max(longest, need)
	}
	return max(longest, sum/time.Duration(e.jobs)), true
}

// drop takes a task out that will not be done, unless it is under way.
func (e *estimate) drop(i int) bool {
	t := &e.tasks[i]
	if t.done || !t.begun.IsZero() {
		return false
	}
	t.done = true
	return true
}
