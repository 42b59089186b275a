//go:build vm

package trial

import (
	"errors"
	"slices"
	"testing"

	"github.com/blockrig/blockrig/initramfs/protocol"
	"github.com/blockrig/blockrig/scenarios"
)

// An answer is what cold and warm trials of a case must have in common. What
// stands beside a hang is not: it changes from run to run.
type answer struct {
	Verdict  scenarios.Verdict
	Phase    string
	Also     []scenarios.Verdict
	Returned bool
	Errno    string
	Bytes    int64
}

func answerOf(r ran) answer {
	a := answer{
		Verdict: r.Verdict, Phase: r.Phase, Also: slices.Clone(r.Also),
		Returned: r.Report.Returned, Errno: r.Report.Errno, Bytes: r.Report.Bytes,
	}
	if r.Verdict == scenarios.Hang {
		a.Also = nil
	}
	return a
}

func TestFindingsBelongToTheTrialThatCausedThem(t *testing.T) {
	for _, before := range []string{oneBlock, twoPages, oneSector} {
		if r := warmTrial(t, before); !r.Verdict.Failure() {
			t.Fatalf("%s: no failure to leave something behind\n%s", before, show(r))
		}
		r := warmTrial(t, aligned)
		if r.Verdict != scenarios.Pass || len(r.Also) > 0 {
			t.Errorf("aligned read after %s:\n%s", before, show(r))
		}
		for _, f := range r.Findings {
			if !f.Baseline {
				t.Errorf("aligned read after %s: finding %q at line %d", before, f.Title, f.Line)
			}
		}
	}
}

func TestAnswerToAnotherTrialIsNotTaken(t *testing.T) {
	base := sharedBase(t)
	l := mirrorJob(t, aligned)
	s := newSession(l)
	ctx := testContext(t)
	if err := s.resume(ctx, base); err != nil {
		t.Fatal(err)
	}
	// Given what other trials may have left on the line,
	hung := &protocol.Result{Unkillable: &protocol.Unkillable{PID: 7, State: "D"}}
	for _, m := range []protocol.FromGuest{
		{Trial: 1, Result: hung},
		{Trial: 0, Result: hung},
		{Trial: 1, Fail: &protocol.Fail{Phase: "step", What: "pread", Why: "of another trial"}},
		{Trial: 1, Phase: &protocol.Phase{Name: "done"}},
	} {
		s.link.messages <- m
	}
	// when the guest does the step,
	err := s.step(ctx, 0)
	// then its own answer counts.
	r := ran{s.end(), l.Dir}
	if err != nil || r.Verdict != scenarios.Pass || r.Report.Bytes != 4096 {
		t.Errorf("%v\n%s", err, show(r))
	}
	if errors.Is(err, errStopped) {
		t.Errorf("the conversation ended early: %v", err)
	}
}

func BenchmarkWarmTrial(b *testing.B) {
	base := sharedBase(b)
	l := mirrorJob(b, aligned)
	for b.Loop() {
		b.StopTimer()
		l.Dir = b.TempDir()
		b.StartTimer()
		o, err := runWarm(b.Context(), l, base)
		if err != nil || o.Verdict != scenarios.Pass {
			b.Fatal(err, show(ran{o, l.Dir}))
		}
	}
}
