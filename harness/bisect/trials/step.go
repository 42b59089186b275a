package trials

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/blockrig/blockrig/harness/bisect"
	"github.com/blockrig/blockrig/harness/stats"
	"github.com/blockrig/blockrig/harness/verdict"
	"github.com/blockrig/blockrig/results"
	"github.com/blockrig/blockrig/scenarios"
)

// A StepRequest is one test of one commit.
type StepRequest struct {
	Subject bisect.Subject
	Runs    int // trials of each case
	Boots   int // that they are spread over; 0: the square root of Runs
	Rules   bisect.Rules
	Target  *bisect.Target // the failure that is looked for; nil: any of the step's
}

// StepRuns is how many trials of each case must pass for a good, when the bug
// shows at the given rate on a bad kernel.
func StepRuns(rate, confidence float64) (int, error) {
	n := stats.RunsToTrust(rate, confidence)
	if n == 0 || n > MaxStepRuns {
		return 0, fmt.Errorf("--rate %v: a good would need more than the %d trials that a step can make; --repeat says how many to make", rate, MaxStepRuns)
	}
	return max(3, n), nil
}

// MaxStepRuns is how many trials of each case a step can make.
const MaxStepRuns = 100_000

// Step tries a commit for git bisect run: the exit status and why. It stops
// at the first trial that says bad.
func (t *Tester) Step(ctx context.Context, r StepRequest) (status int, why string, err error) {
	p, err := t.Prepare(ctx, r.Subject)
	if err != nil {
		return bisect.StepAbort, "", err
	}
	switch p.Failure {
	case "":
	case bisect.KindError:
		// Of this machine, not of the commit: every other one would be
		// skipped as well.
		return bisect.StepAbort, p.Reason, nil
	default:
		return bisect.StepSkip, string(p.Failure) + ": " + p.Reason, nil
	}
	boots := r.Boots
	if boots <= 0 {
		boots = stats.BootsFor(r.Runs)
	}
	var outcomes []bisect.Outcome
	want := r.Runs * len(t.Cases)
	status = bisect.StepMore
	for left := r.Runs; status == bisect.StepMore; {
		// A boot that was cut short by a trial without a verdict is made
		// up for by another one.
		n := max(1, min(left, (r.Runs+boots-1)/boots))
		left -= n
		before := len(outcomes)
		err := t.Test(ctx, bisect.Request{Subject: r.Subject, Boots: 1, Runs: n}, func(o bisect.Outcome) error {
			outcomes = append(outcomes, o)
			return nil
		})
		if err != nil {
			return bisect.StepAbort, "", err
		}
		if len(outcomes) == before {
			return bisect.StepAbort, "no trial was done", nil
		}
		status, why = bisect.Step(outcomes, r.Rules, r.Target, want)
	}
	return status, why, nil
}

// TargetOf is the failure that the trial in the folder dir of a run showed.
func TargetOf(dir string) (*bisect.Target, error) {
	data, err := os.ReadFile(filepath.Join(dir, results.ResultFile))
	if err != nil {
		return nil, fmt.Errorf("%s is no trial's folder: %w", dir, err)
	}
	var rec results.Record
	if err := json.Unmarshal(data, &rec); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, results.ResultFile), err)
	}
	if !rec.Verdict.Failure() {
		return nil, fmt.Errorf("the trial in %s shows no failure: its verdict is %s", dir, rec.Verdict)
	}
	s := rec.Signature
	if s.Verdict == "" {
		return nil, fmt.Errorf("the trial in %s has no signature", dir)
	}
	o := bisect.Outcome{Verdict: s.Verdict, Phase: s.Phase, Step: s.Step, Errno: rec.Errno, Bytes: rec.Bytes}
	t := &bisect.Target{Signature: o.Signature(), Titles: s.Titles}
	if s.Verdict == scenarios.Warn || s.Verdict == scenarios.Bug {
		// Each of its titles is one that it shows.
		for _, f := range rec.Findings {
			if of := t.Signature; verdict.Of(f.Kind) == s.Verdict && slices.Contains(s.Titles, f.Title) {
				if of.Title = f.Title; !slices.Contains(t.Signatures, of) {
					t.Signatures = append(t.Signatures, of)
				}
			}
		}
		if t.Signatures != nil {
			t.Signature = t.Signatures[0]
		}
	}
	return t, nil
}
