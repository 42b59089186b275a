package trial

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"

	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/scenarios"
)

// Traced is what a trace of the block layer says of a failure.
type Traced struct {
	scenarios.Trace
	// Of a trial that was made once more to be traced: what it ended in, and
	// how long it took. Where it did not fail as the trial before, the trace is
	// not of that failure.
	Verdict scenarios.Verdict `json:"verdict,omitempty"`
	Same    bool              `json:"same,omitempty"`
	MS      int64             `json:"ms,omitempty"` // wall time, milliseconds
}

// Known says that there is a trace of the failure.
func (t *Traced) Known() bool { return t != nil && t.Error == "" && (t.Verdict == "" || t.Same) }

// Text says in a line who failed first; "" where nobody looked.
func (t *Traced) Text() string {
	switch {
	case t == nil:
		return ""
	case t.Error != "" || t.Known():
		return t.First()
	}
	return "not known: with a trace it was " + string(t.Verdict)
}

// OncePerFailure is a Schedule's Trace for one more trial of each failure of a
// scenario on a kernel, whichever case shows it first.
func OncePerFailure() func(Job, Outcome) bool {
	type failure struct{ kernel, scenario, source, failed string }
	var mu sync.Mutex
	seen := map[failure]bool{}
	return func(j Job, o Outcome) bool {
		mu.Lock()
		defer mu.Unlock()
		f := failure{j.Kernel.Ref, j.Scenario, j.Source, o.failure()}
		known := seen[f]
		seen[f] = true
		return !known
	}
}

// failure names how a trial failed: two that failed alike have the same.
func (o Outcome) failure() string { return o.Signature.Failure().String() + " " + o.Report.Errno }

// failedInStep says that there is a step that a trace can be of.
func (o Outcome) failedInStep() bool {
	return o.Verdict.Failure() && (o.Phase == scenarios.PhaseStep || o.Phase == scenarios.PhaseDone)
}

// trace is what a trial that was traced says of its last step.
func (o Outcome) trace() scenarios.Trace {
	switch {
	case o.Step != nil && o.Step.Trace != nil:
		return *o.Step.Trace
	case o.Verdict == scenarios.Error:
		return scenarios.Trace{Error: o.Reason}
	}
	return scenarios.Trace{Error: "the guest did not come to say it"}
}

// traced makes a trial that did not pass once more, and has the guest record
// what the block layer does.
func (q *queue) traced(ctx context.Context, g *group, i int, l Local, first Outcome) *Traced {
	why := func(err error) *Traced { return &Traced{Trace: scenarios.Trace{Error: text.OneLine(err.Error())}} }
	dir, work := l.Dir, filepath.Join(l.Dir, workDir)
	l.Trace, l.Dir, l.attempt = true, filepath.Join(work, "traced"), len(first.Attempts)+1
	if err := clearDir(l.Dir); err != nil {
		return why(err)
	}
	var err error
	if l.Files, err = q.s.Find(ctx, l.Job); err != nil {
		return why(err)
	}
	o := q.attempt(ctx, g, i, l)
	t := &Traced{Verdict: o.Verdict, Same: o.failure() == first.failure(), MS: o.Wall.Milliseconds()}
	t.Trace = o.trace()
	err = errors.Join(
		moveFile(filepath.Join(l.Dir, ConsoleFile), filepath.Join(dir, TracedConsole)),
		moveFile(filepath.Join(l.Dir, EventsFile), filepath.Join(dir, TracedEvents)),
		os.RemoveAll(work),
	)
	if err != nil && t.Error == "" {
		t.Error = text.OneLine(err.Error())
	}
	return t
}
