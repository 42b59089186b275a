package trial

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/blockrig/blockrig/scenarios"
)

// queue hands jobs to workers. Jobs that can go on from the same base are a
// group: its first one makes the base, the others wait for it while workers
// do other groups.
type queue struct {
	s    *Schedule
	jobs []Queued

	// What a trial is. The tests of the queue itself put in something quicker.
	cold func(context.Context, Local) Outcome
	warm func(context.Context, Local, *Base) (Outcome, error)
	boot func(context.Context, Local, string) error

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

// group is the jobs that share a base.
type group struct {
	cold    bool // every job is from power-on
	state   groupState
	maker   int // the job that makes the base; valid while it is made
	base    *Base
	pending []int // jobs, in order
	running int   // jobs begun and not done
}

func (s *Schedule) queue(jobs []Queued) *queue {
	q := &queue{s: s, jobs: jobs, cold: run, warm: runWarm, boot: makeBase}
	q.more = sync.NewCond(&q.mu)
	type groupKey struct {
		base string
		cold bool
	}
	groups := map[groupKey]*group{}
	for i, j := range jobs {
		key := groupKey{j.baseKey(), s.Bases == nil || j.Cold || j.Err != nil}
		g := groups[key]
		if g == nil {
			g = &group{cold: key.cold}
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

// run does all jobs with as many workers as the schedule says.
func (q *queue) run(ctx context.Context) error {
	wake := context.AfterFunc(ctx, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.over = true
		q.more.Broadcast()
	})
	defer wake()
	var workers sync.WaitGroup
	for range max(1, min(q.s.Workers, len(q.jobs))) {
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
		o := q.trial(ctx, g, i)
		if ctx.Err() != nil && o.Verdict == scenarios.Error {
			return // interrupted: that is nothing to record
		}
		q.done(g, i, o)
	}
}

// next gives a job that can be done now, waiting for one if need be. The
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
func (q *queue) done(g *group, i int, o Outcome) {
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
	err := q.s.Done(i, o)
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case err != nil:
		q.ended, q.over = err, true
		q.more.Broadcast()
	case q.s.Until != nil && q.s.Until(o):
		q.drop(q.jobs[i].Series())
	}
}

// drop removes what is pending of a series.
func (q *queue) drop(series Series) {
	for _, g := range q.groups {
		var left []int
		for _, i := range g.pending {
			if q.jobs[i].Series() != series {
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

// trial does a job, in as many attempts as it takes.
func (q *queue) trial(ctx context.Context, g *group, i int) Outcome {
	j := q.jobs[i]
	dir, err := q.s.Begin(i, j.Job)
	l := q.s.local(i, j.Job, dir)
	if err != nil {
		return failed(l, err)
	}
	if j.Err != nil {
		return j.unprepared(l)
	}
	fromBase := false
	o := runAttempts(ctx, l, func(ctx context.Context, l Local) Outcome {
		if l.Files, err = q.s.Find(ctx, l.Job); err != nil {
			return failed(l, err)
		}
		if l.attempt == MaxAttempts && fromBase {
			return q.cold(ctx, l) // it may be the base that is at fault
		}
		o := q.attempt(ctx, g, i, l)
		fromBase = o.Warm && o.Report.Phase != scenarios.PhaseInfra
		return o
	})
	if !l.Trace && q.s.Trace != nil && o.failedInStep() && ctx.Err() == nil && q.s.Trace(j.Job, o) {
		o.Traced = q.traced(ctx, g, i, l, o)
	}
	return o
}

// attempt does a job once: from the group's base, made now if it is not
// there. When the stack does not get ready while the base is made, that boot
// is the attempt.
func (q *queue) attempt(ctx context.Context, g *group, i int, l Local) Outcome {
	for again := false; ; again = true {
		if g.cold {
			return q.cold(ctx, l)
		}
		base, err := q.base(ctx, g, l)
		var boot *NotReadyError
		switch {
		case errors.As(err, &boot):
			return boot.Outcome
		case err != nil:
			return failed(l, err)
		case base == nil:
			return q.cold(ctx, l)
		}
		o, err := q.warm(ctx, l, base)
		if err == nil || again {
			return o
		}
		// The base is of no use. What the try left in the folder would be in
		// the way of the next.
		if err := q.renew(ctx, g, i, base, err); err != nil {
			return failed(l, err)
		}
		if err := clearDir(l.Dir); err != nil {
			return failed(l, err)
		}
	}
}

// base gives the group's base. Without one, and without an error, the trial is
// to be cold.
func (q *queue) base(ctx context.Context, g *group, l Local) (*Base, error) {
	q.mu.Lock()
	base, state := g.base, g.state
	q.mu.Unlock()
	if base != nil || state == ready {
		return base, nil
	}
	base, err := q.s.Bases.get(ctx, l.baseKey(), func(ctx context.Context, dir string) error {
		// It may be made twice: what another process removes at once, to make room.
		if err := clearDir(l.Dir); err != nil {
			return err
		}
		return q.boot(ctx, l, dir)
	})
	var boot *NotReadyError
	switch {
	case errors.As(err, &boot):
		return nil, err
	case ctx.Err() != nil:
		return nil, fmt.Errorf("interrupted: %w", context.Cause(ctx))
	case err != nil:
		l.log().Warn("no warm trials: every one is from power-on", "kernel", l.Kernel.Ref, "reason", err)
	}
	// What the boot left in the folder is not the trial's.
	if err := clearDir(l.Dir); err != nil {
		return nil, errors.Join(err, base.Close())
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if g.base != nil {
		// Another job, whose try with the one before failed too, was quicker.
		return g.base, base.Close()
	}
	g.base, g.state = base, ready
	q.more.Broadcast()
	return base, nil
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
