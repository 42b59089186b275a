package trials

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/blockrig/blockrig/harness/bisect"
	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/harness/trial"
	"github.com/blockrig/blockrig/results"
	"github.com/blockrig/blockrig/scenarios"
)

// A Tester tries the kernels of a search with one case or several: each trial
// of a [bisect.Request] is one of each case.
type Tester struct {
	Runner  *Runner
	Kernels Kernels
	Cases   []scenarios.Case
	Run     *results.Run // where trials are recorded
	Base    string       // folder that an outcome's Where is relative to
	Dir     string       // folder for saved machines, while a request is under way

	mu sync.Mutex // one request at a time, when its trials take this machine's workers
}

// Prepare implements bisect.Tester.
func (t *Tester) Prepare(ctx context.Context, s bisect.Subject) (bisect.Prepared, error) {
	t.Runner.progress("kernel", s.String())
	return t.Kernels.Prepare(ctx, s)
}

// Test implements bisect.Tester. The boots of a request are its own, since
// what is shared between two trials of a saved machine (where the kernel lies,
// what its random numbers are) is no independent evidence: the machines saved
// for a request are removed with it.
func (t *Tester) Test(ctx context.Context, req bisect.Request, record func(bisect.Outcome) error) error {
	if t.Runner.Fleet == nil {
		t.mu.Lock()
		defer t.mu.Unlock()
	}
	return t.try(ctx, req, t.Cases, func(_ results.Record, o bisect.Outcome) error { return record(o) })
}

// try is Test with these cases, and gives the record of each trial, too.
func (t *Tester) try(ctx context.Context, req bisect.Request, cases []scenarios.Case, record func(results.Record, bisect.Outcome) error) (err error) {
	var tasks []trial.Task
	ref := t.Kernels.Ref(req.Subject)
	for boot := range req.Boots {
		for range req.Runs {
			for _, c := range cases {
				tasks = append(tasks, trial.Task{Ref: ref, Case: c, Boot: boot})
			}
		}
	}
	jobs, err := t.Runner.Preparer.Jobs(ctx, tasks, t.Runner.progress)
	if err != nil && ctx.Err() == nil && trial.WrongRequest(err) {
		for _, c := range cases {
			o := bisect.Outcome{Kind: bisect.KindError, Reason: text.OneLine(err.Error())}
			if err := record(results.Record{Scenario: c.Scenario.Name, Case: c.ID}, o); err != nil {
				return err
			}
		}
		return nil
	}
	if err != nil {
		return err
	}
	s := t.Runner.schedule()
	if !t.Runner.Preparer.Cold {
		// In a folder that its owner removes, should this process die.
		dir, err := tempDir(t.Dir)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
		s.Bases = &trial.BaseCache{Dir: dir, Log: t.Runner.Log}
	}
	// A kernel that does not come up won't say more the next time.
	s.Trace = t.Runner.Trace
	s.Until = func(r trial.Outcome) bool { return r.Verdict == scenarios.Error }
	first, last := t.Run.Places(len(tasks)), time.Now()
	s.Begin = func(i int, j trial.Job) (string, error) { return t.Run.Begin(first+i, j) }
	s.Done = func(i int, r trial.Outcome) error {
		rec, err := t.Run.End(first+i, r)
		if err != nil {
			return err
		}
		o := outcomeOf(rec, r, tasks[i].Case)
		now := time.Now()
		o.Seconds, last = now.Sub(last).Seconds(), now
		if r.Traced != nil { // nothing that the search asked for
			o.Seconds = max(0, o.Seconds-float64(r.Traced.MS)/1000)
		}
		o.Where = t.where(rec.RunDir)
		return record(rec, o)
	}
	return s.Run(ctx, jobs)
}

func tempDir(root string) (string, error) {
	if err := os.MkdirAll(root, 0o700); err != nil {
		return "", fmt.Errorf("make the folder of saved machines: %w", err)
	}
	dir, err := os.MkdirTemp(root, "machines-")
	if err != nil {
		return "", fmt.Errorf("make the folder of saved machines: %w", err)
	}
	return dir, nil
}

func (t *Tester) where(dir string) string {
	if rel, err := filepath.Rel(t.Base, dir); err == nil && t.Base != "" && filepath.IsLocal(rel) {
		return rel
	}
	return dir
}

// outcomeOf says what a trial of a case is to a search.
func outcomeOf(rec results.Record, r trial.Outcome, c scenarios.Case) bisect.Outcome {
	o := bisect.Outcome{
		Kind: bisect.KindVerdict, Verdict: rec.Verdict, Also: rec.Also, Phase: rec.Phase, Step: r.Report.Step,
		Errno: rec.Errno, Bytes: rec.Bytes, Titles: rec.Signature.Titles, Boot: rec.BootID,
	}
	switch {
	case r.Report.Mismatch != nil:
		o.Wrong = bisect.WrongData
	case r.Report.Overrun != nil:
		o.Wrong = bisect.WrongOverrun
	case r.Report.Failed != "":
		o.Wrong = bisect.WrongCheck
	}
	if rec.Verdict.Failure() {
		for _, s := range r.Report.Before {
			o.Done = append(o.Done, s.Step)
		}
	}
	names := trial.StepNames(c)
	if rec.Verdict.Failure() && bisect.Times(names, o.Step) > 1 {
		o.Nth = bisect.Times(o.Done, o.Step) + 1
	}
	o.NoAnswer = rec.Verdict.Failure() && !r.Report.Returned
	o.Shows = shows(o, r, len(names) > 1)
	if rec.Verdict != scenarios.Error {
		return o
	}
	o.Kind, o.Reason, o.Host = bisect.KindError, rec.Reason, r.Doubtful || r.Report.HostsDoing()
	if rec.Phase == scenarios.PhaseBoot && !o.Host {
		o.Kind = bisect.KindBoot
	}
	return o
}

// shows is each thing that a trial shows, by itself. Of several steps, what the
// kernel said, or did to a leg, is of any that were done by then.
func shows(o bisect.Outcome, r trial.Outcome, several bool) []bisect.Signature {
	var list []bisect.Signature
	add := func(s bisect.Signature) {
		if !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	for _, shown := range r.Shown {
		of := o
		of.Verdict, of.Phase = shown.Verdict, shown.Phase
		s := of.Signature()
		switch s.Verdict {
		case scenarios.Corrupt:
			before := len(list)
			for _, wrong := range []struct {
				kind string
				at   *int64
			}{{bisect.WrongData, r.Report.Mismatch}, {bisect.WrongOverrun, r.Report.Overrun}} {
				if wrong.at != nil {
					s.Wrong, s.Place = wrong.kind, fmt.Sprintf("byte %d", *wrong.at)
					add(s)
				}
			}
			if len(list) == before { // such as what a check found
				add(s)
			}
			continue
		case scenarios.Warn, scenarios.Bug:
			s.Title = shown.Title
		}
		said := s.Title != "" || s.Verdict == scenarios.Degraded || s.Verdict == scenarios.Hang && !o.NoAnswer
		if several && said && s.Phase == scenarios.PhaseStep {
			s.Step, s.Nth = "", 0
		}
		add(s)
	}
	return list
}

// An inspecting tester knows what went into its kernels.
type inspecting struct {
	*Tester
	commits *Commits
}

// Compiled implements bisect.Inspector.
func (t inspecting) Compiled(ctx context.Context, s bisect.Subject, paths []string) ([]string, error) {
	return t.commits.Compiled(ctx, s, paths)
}
