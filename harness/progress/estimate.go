package progress

import "time"

// An estimate tells how long trials will still take, from what those before
// them took. A trial takes what its case takes, a hang longer than a pass;
// and the first of each boot of a kernel takes that boot, too.
type estimate struct {
	jobs   int
	trials []estimated
	cases  map[caseKey]mean // of one trial
	all    mean             // of one trial of any case
	bases  mean             // of getting a machine ready for warm trials
	ready  map[baseKey]bool
}

type estimated struct {
	of    caseKey
	base  baseKey
	cold  bool
	begun time.Time
	done  bool
}

type caseKey struct{ scenario, id string }

// A baseKey is what the trials share that continue from one machine.
type baseKey struct {
	kernel, scenario string
	boot             int
}

type mean struct {
	sum time.Duration
	n   int
}

func (m mean) with(d time.Duration) mean { return mean{m.sum + d, m.n + 1} }

func (m mean) value() time.Duration { return m.sum / time.Duration(max(1, m.n)) }

func newEstimate(trials []Trial, jobs int) *estimate {
	e := &estimate{jobs: max(1, jobs), cases: map[caseKey]mean{}, ready: map[baseKey]bool{}}
	for _, t := range trials {
		e.trials = append(e.trials, estimated{
			of: caseKey{t.Scenario, t.Case}, base: baseKey{t.Kernel, t.Scenario, t.Boot}, cold: t.Cold,
		})
	}
	return e
}

// begin notes that a trial is being made.
func (e *estimate) begin(i int, now time.Time) {
	if t := &e.trials[i]; t.begun.IsZero() {
		t.begun = now
	}
}

// end notes that a trial has been made, and how long its attempts took.
func (e *estimate) end(i int, took time.Duration, now time.Time) {
	t := &e.trials[i]
	t.done = true
	e.cases[t.of] = e.cases[t.of].with(took)
	e.all = e.all.with(took)
	if !t.cold && !e.ready[t.base] {
		e.ready[t.base] = true
		if !t.begun.IsZero() {
			e.bases = e.bases.with(max(0, now.Sub(t.begun)-took))
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
	makers := map[baseKey]int{}
	for i, t := range e.trials {
		if m, ok := makers[t.base]; !t.done && !t.cold && !e.ready[t.base] && (!ok || e.trials[m].begun.IsZero() && !t.begun.IsZero()) {
			makers[t.base] = i
		}
	}
	for i, t := range e.trials {
		if t.done {
			continue
		}
		need := e.all.value()
		if m, ok := e.cases[t.of]; ok {
			need = m.value()
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

// drop takes a trial out that will not be made, unless it is under way.
func (e *estimate) drop(i int) bool {
	t := &e.trials[i]
	if t.done || !t.begun.IsZero() {
		return false
	}
	t.done = true
	return true
}
