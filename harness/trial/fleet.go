package trial

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"

	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/scenarios"
)

// A Fleet is other machines that make trials. Package fleet has the one there
// is.
type Fleet interface {
	// Begin begins a batch of trials. The caller closes it.
	Begin(ctx context.Context) (Batch, error)
}

// A Batch is trials that are made elsewhere. It is for one goroutine.
type Batch interface {
	// Submit asks for jobs, by numbers that were not used before.
	Submit(ctx context.Context, jobs map[int]Job) error
	// Next waits for an outcome, whichever comes first. Each job has one, once.
	Next(ctx context.Context) (Away, error)
	// Drop takes back jobs whose outcome is not wanted any more.
	Drop(ctx context.Context, numbers []int) error
	// Close ends the batch, whatever is still under way.
	Close() error
}

// Away is what came of a job elsewhere.
type Away struct {
	Number  int
	Outcome Outcome
	// Files puts the outcome's files into a folder.
	Files func(ctx context.Context, dir string) error
	// Recorded says that it need not be kept any more.
	Recorded func()
}

// A Worker is who made a trial that was not made here.
type Worker struct {
	Name string `json:"name"` // of the machine
	QEMU string `json:"qemu"` // qemu.BuildID
	CPU  string `json:"cpu,omitempty"`
	// WaitMS is how long the trial waited for it, milliseconds: from when the hub
	// had it until it was taken.
	WaitMS int64 `json:"wait_ms,omitempty"`
}

// BaseKey names the saved machine that the job can go on from: jobs with one
// key are best done by one machine.
func (j Job) BaseKey() string { return j.baseKey() }

// freshBoots is more than boots are ever asked for.
const freshBoots = 1 << 20

// away has jobs done by the fleet, as run does them here.
type away struct {
	s     *Schedule
	batch Batch
	jobs  []Queued
	open  map[int]bool // of jobs
	// first are the outcomes that wait for the same trial with a trace, by the
	// number of that.
	first map[int]Away
	next  int // number of the next trial with a trace
}

func (s *Schedule) away(ctx context.Context, jobs []Queued) (err error) {
	batch, err := s.Fleet.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, batch.Close()) }()
	a := &away{s: s, batch: batch, jobs: jobs, open: map[int]bool{}, first: map[int]Away{}, next: len(jobs)}
	jobs = slices.Clone(jobs)
	a.jobs = jobs
	submit := map[int]Job{}
	fresh := freshBoots * (1 + rand.IntN(1<<20)) // machines of these boots are nobody's yet
	for i, j := range jobs {
		if j.Err == nil {
			jobs[i].Cold = j.Cold || s.Bases == nil
			if s.Fresh {
				jobs[i].Boot += fresh
			}
			submit[i] = jobs[i].Job
			a.open[i] = true
		}
	}
	for i, j := range jobs {
		if j.Err != nil {
			if err := a.unprepared(i, j); err != nil {
				return err
			}
		}
	}
	if len(submit) > 0 {
		if err := batch.Submit(ctx, submit); err != nil {
			return err
		}
	}
	for len(a.open) > 0 {
		o, err := batch.Next(ctx)
		if ctx.Err() != nil {
			return fmt.Errorf("interrupted: %w", context.Cause(ctx))
		}
		if err == nil {
			err = a.came(ctx, o)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// unprepared records a job that could not be prepared.
func (a *away) unprepared(i int, j Queued) error {
	dir, err := a.s.Begin(i, j.Job)
	l := a.s.local(i, j.Job, dir)
	if err != nil {
		return a.s.Done(i, failed(l, err))
	}
	return a.s.Done(i, j.unprepared(l))
}

// came takes what came of a job.
func (a *away) came(ctx context.Context, o Away) error {
	if first, ok := a.first[o.Number]; ok {
		delete(a.first, o.Number)
		return a.record(ctx, first, &o)
	}
	if !a.open[o.Number] {
		o.Recorded()
		return nil
	}
	j := a.jobs[o.Number].Job
	if !j.Trace && a.s.Trace != nil && o.Outcome.failedInStep() && a.s.Trace(j, o.Outcome) {
		j.Trace = true
		a.first[a.next] = o
		a.next++
		return a.batch.Submit(ctx, map[int]Job{a.next - 1: j})
	}
	return a.record(ctx, o, nil)
}

// record records an outcome, with what came of the same trial with a trace.
func (a *away) record(ctx context.Context, o Away, traced *Away) error {
	i := o.Number
	j := a.jobs[i].Job
	dir, err := a.s.Begin(i, j)
	if err == nil {
		err = o.Files(ctx, dir)
	}
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("interrupted: %w", context.Cause(ctx))
	}
	if err != nil {
		return fmt.Errorf("fetch what came of a trial: %w", err)
	}
	if traced != nil {
		o.Outcome.Traced = tracedAway(ctx, dir, o.Outcome, *traced)
	}
	if err := a.s.Done(i, o.Outcome); err != nil {
		return err
	}
	o.Recorded()
	if traced != nil {
		traced.Recorded()
	}
	delete(a.open, i)
	if a.s.Until == nil || !a.s.Until(o.Outcome) {
		return nil
	}
	var gone []int
	for n, q := range a.jobs {
		waits := slices.ContainsFunc(slices.Collect(maps.Values(a.first)), func(f Away) bool { return f.Number == n })
		if a.open[n] && !waits && q.Series() == a.jobs[i].Series() {
			gone = append(gone, n)
			delete(a.open, n)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	return a.batch.Drop(ctx, gone)
}

// tracedAway is what a trial that was made once more to be traced says of the
// first.
func tracedAway(ctx context.Context, dir string, first Outcome, o Away) *Traced {
	t := &Traced{Verdict: o.Outcome.Verdict, Same: o.Outcome.failure() == first.failure(), MS: o.Outcome.Wall.Milliseconds()}
	t.Trace = o.Outcome.trace()
	work := filepath.Join(dir, workDir)
	err := clearDir(work)
	if err == nil {
		err = o.Files(ctx, work)
	}
	err = errors.Join(err,
		moveFile(filepath.Join(work, ConsoleFile), filepath.Join(dir, TracedConsole)),
		moveFile(filepath.Join(work, EventsFile), filepath.Join(dir, TracedEvents)),
		os.RemoveAll(work),
	)
	if err != nil && t.Error == "" {
		t.Trace = scenarios.Trace{Error: text.OneLine(err.Error())}
	}
	return t
}
