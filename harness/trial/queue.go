package trial

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/blockrig/blockrig/harness/qemu"
	"github.com/blockrig/blockrig/harness/verdict"
	"github.com/blockrig/blockrig/scenarios"
)

// queue hands tasks to workers. Tasks that can go on from the same base are a
// group: its first one makes the base, the others wait for it while workers
// do other groups.
type queue struct {
	s     *Schedule
	tasks []Task
	specs []Spec
	fail  []error // why a task can't be tried, nil when it can

	// What a trial is. The tests of the queue itself put in something quicker.
	cold func(context.Context, Spec) Result
	warm func(context.Context, Spec, *Base) (Result, error)
	boot func(context.Context, Spec, string) error

	mu     sync.Mutex
	more   *sync.Cond // something changed: a base is there, or it is over
	groups []*group
	over   bool
	// unlocked is what went wrong when bases were given up.
	unlocked error

	recording sync.Mutex // held while Done runs
	ended     error      // of Done
}

type groupState int

const (
	unmade groupState = iota // its base is still to be made
	making                   // a worker makes it
	ready                    // trials can go on from it, or there is to be none
)

// group is the tasks that share a base.
type group struct {
	boot    int
	cold    bool // every task is from power-on
	state   groupState
	maker   int // the task that makes the base; valid while it is made
	base    *Base
	pending []int // tasks, in order
	running int   // tasks begun and not done
}

func (s *Schedule) queue(tasks []Task, accel qemu.Accel, benches map[benchKey]Bench, images map[benchKey]string, broken map[benchKey]error) *queue {
	q := &queue{s: s, tasks: tasks, specs: make([]Spec, len(tasks)), fail: make([]error, len(tasks))}
	q.cold, q.warm, q.boot = Run, RunWarm, MakeBase
	q.more = sync.NewCond(&q.mu)
	type groupKey struct {
		benchKey
		boot int
		cold bool
	}
	groups := map[groupKey]*group{}
	for i, t := range tasks {
		b := benchKey{t.Ref, t.Case.Scenario}
		spec := benches[b].Spec(t.Case)
		if spec.Kernel.Ref == "" {
			spec.Kernel.Ref = t.Ref
		}
		spec.Accel, spec.CPUs, spec.Log = accel, cpus(s.CPUs, accel), s.Log
		spec.Progress = func(phase, what string) { s.progress(i, phase, what) }
		spec.Image, spec.Timing = images[b], s.Timing
		q.specs[i], q.fail[i] = spec, broken[b]
		key := groupKey{b, t.Repeat % max(1, s.Boots), s.Bases == nil || t.Case.Scenario.Cold != "" || q.fail[i] != nil}
		if key.cold {
			key.boot = 0
		}
		g := groups[key]
		if g == nil {
			g = &group{boot: key.boot, cold: key.cold}
			if g.cold {
				g.state = ready
			}
			groups[key] = g
			q.groups = append(q.groups, g)
		}
		g.pending = append(g.pending, i)
	}
	return q
}

// run does all tasks with as many workers as the schedule has jobs.
func (q *queue) run(ctx context.Context) error {
	wake := context.AfterFunc(ctx, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.over = true
		q.more.Broadcast()
	})
	defer wake()
	var workers sync.WaitGroup
	for range max(1, min(q.s.Jobs, len(q.tasks))) {
		workers.Go(func() { q.work(ctx) })
	}
	workers.Wait()
	errs := []error{q.ended, q.unlocked}
	for _, g := range q.groups {
		errs = append(errs, g.base.Close())
	}
	if ctx.Err() != nil {
		errs = append(errs, fmt.Errorf("interrupted: %w", context.Cause(ctx)))
	}
	return errors.Join(errs...)
}

func (q *queue) work(ctx context.Context) {
	for {
		g, i, ok := q.next()
		if !ok {
			return
		}
		r := q.trial(ctx, g, i)
		if ctx.Err() != nil && r.Verdict == verdict.Error {
			return // interrupted: that is nothing to record
		}
		q.done(g, i, r)
	}
}

// next gives a task that can be done now, waiting for one if need be. The
// longest comes first: what needs a boot, and of that the group with the most
// to do.
func (q *queue) next() (*group, int, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for !q.over {
		var best *group
		waiting := false
		for _, g := range q.groups {
			switch {
			case len(g.pending) == 0:
			case g.state == making:
				waiting = true
			case best == nil || before(g, best):
				best = g
			}
		}
		if best != nil {
			i := best.pending[0]
			best.pending = best.pending[1:]
			best.running++
			if best.state == unmade {
				best.state, best.maker = making, i
			}
			return best, i, true
		}
		if !waiting {
			return nil, 0, false
		}
		q.more.Wait()
	}
	return nil, 0, false
}

func before(a, b *group) bool {
	boots := func(g *group) bool { return g.cold || g.state == unmade }
	if boots(a) != boots(b) {
		return boots(a)
	}
	return len(a.pending) > len(b.pending)
}

// done records a result. One goroutine at a time is in Done.
func (q *queue) done(g *group, i int, r Result) {
	q.mu.Lock()
	if g.state == making && g.maker == i {
		g.state = unmade // the boot failed: the next one may not
	}
	g.running--
	q.letGo(g)
	q.more.Broadcast()
	q.mu.Unlock()

	q.recording.Lock()
	defer q.recording.Unlock()
	if q.ended != nil {
		return
	}
	err := q.s.Done(i, r)
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case err != nil:
		q.ended, q.over = err, true
		q.more.Broadcast()
	case q.s.Until != nil && q.s.Until(r):
		q.drop(q.tasks[i])
	}
}

// drop removes what is pending of a task's case and kernel.
func (q *queue) drop(t Task) {
	for _, g := range q.groups {
		var left []int
		for _, i := range g.pending {
			if q.tasks[i].Key() != t.Key() {
				left = append(left, i)
			}
		}
		g.pending = left
		q.letGo(g)
	}
}

// letGo gives up the base of a group that is done: it may go now, to make
// room for others.
func (q *queue) letGo(g *group) {
	if g.running == 0 && len(g.pending) == 0 {
		q.unlocked = errors.Join(q.unlocked, g.base.Close())
		g.base = nil
	}
}

// trial does a task, in as many attempts as it takes.
func (q *queue) trial(ctx context.Context, g *group, i int) Result {
	spec := q.specs[i]
	dir, err := q.s.Begin(i, spec)
	if err == nil {
		err = q.fail[i]
	}
	if err != nil {
		return Failed(spec, err)
	}
	spec.Dir = dir
	made, fromBase := 0, false
	return RunAttempts(ctx, spec, func(ctx context.Context, spec Spec) Result {
		if made++; made == MaxAttempts && fromBase {
			return q.cold(ctx, spec) // it may be the base that is at fault
		}
		r := q.attempt(ctx, g, i, spec)
		fromBase = r.Warm && r.Report.Phase != scenarios.PhaseInfra
		return r
	})
}

// attempt does a task once: from the group's base, made now if it is not
// there. When the stack does not get ready while the base is made, that boot
// is the attempt.
func (q *queue) attempt(ctx context.Context, g *group, i int, spec Spec) Result {
	for again := false; ; again = true {
		if g.cold {
			return q.cold(ctx, spec)
		}
		b, r := q.base(ctx, g, spec)
		switch {
		case r != nil:
			return *r
		case b == nil:
			return q.cold(ctx, spec)
		}
		res, err := q.warm(ctx, spec, b)
		if err == nil || again {
			return res
		}
		// The base is of no use. What the try left in the folder would be in
		// the way of the next.
		if err := q.renew(ctx, g, i, b, err); err != nil {
			return Failed(spec, err)
		}
		if err := clearDir(spec.Dir); err != nil {
			return Failed(spec, err)
		}
	}
}

// base gives the group's base. Without one, and without a result, the trial
// is to be cold.
func (q *queue) base(ctx context.Context, g *group, spec Spec) (*Base, *Result) {
	q.mu.Lock()
	b, state := g.base, g.state
	q.mu.Unlock()
	if b != nil || state == ready {
		return b, nil
	}
	sub := spec
	sub.Dir = filepath.Join(spec.Dir, "base")
	b, err := q.s.Bases.get(ctx, spec, g.boot, func(ctx context.Context, dir string) error {
		// It may be made twice: what another process removes at once, to make room.
		if err := clearDir(sub.Dir); err != nil {
			return &BootError{Result: Failed(spec, err)}
		}
		return q.boot(ctx, sub, dir)
	})
	if no, ok := errors.AsType[*BootError](err); ok && !no.Unsaved {
		return nil, &no.Result
	}
	if ctx.Err() != nil {
		r := Failed(spec, fmt.Errorf("interrupted: %w", context.Cause(ctx)))
		return nil, &r
	}
	if err != nil && q.s.Log != nil {
		q.s.Log.Warn("no warm trials: every one is from power-on", "kernel", spec.Kernel.Ref, "reason", err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if g.base != nil {
		// Another task, whose try with the one before failed too, was quicker.
		if err := b.Close(); err != nil {
			r := Failed(spec, err)
			return nil, &r
		}
		return g.base, nil
	}
	g.base, g.state = b, ready
	q.more.Broadcast()
	return b, nil
}

// renew removes a base that can't be loaded.
func (q *queue) renew(ctx context.Context, g *group, i int, bad *Base, why error) error {
	q.mu.Lock()
	if g.base == bad {
		g.base, g.state, g.maker = nil, making, i
	}
	q.mu.Unlock()
	// Whoever finds out first: no other may take it from the cache again.
	return bad.Discard(ctx, why)
}
