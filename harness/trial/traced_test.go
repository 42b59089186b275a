package trial

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/blockrig/blockrig/harness/verdict"
	"github.com/blockrig/blockrig/initramfs/protocol"
	"github.com/blockrig/blockrig/scenarios"
)

// failedWith is an outcome with a failure in the step.
func failedWith(v scenarios.Verdict) Outcome {
	return Outcome{Judgement: verdict.Judgement{Verdict: v, Phase: scenarios.PhaseStep, Signature: verdict.Signature{Phase: scenarios.PhaseStep, Step: "pread", Verdict: v}}}
}

// Given repeats that fail in two ways, when who failed first is asked for once
// for each failure, then two more trials are made, and they change nothing else.
func TestEachFailureIsTracedOnce(t *testing.T) {
	all := append(cold(jobs("k", "s", "x", 3)), cold(jobs("k", "s", "y", 2))...)
	qt := newQueue(t, Schedule{Workers: 2, Trace: OncePerFailure()}, all...)
	traced := make(chan string, 10)
	qt.q.cold = func(_ context.Context, l Local) Outcome {
		o := failedWith(map[string]scenarios.Verdict{"x": scenarios.Hang, "y": scenarios.EIO}[l.Case])
		if err := os.WriteFile(filepath.Join(l.Dir, ConsoleFile), []byte(l.Case), 0o600); err != nil {
			t.Error(err)
		}
		if l.Trace {
			traced <- l.Case
			o.Step = &protocol.Result{Trace: &scenarios.Trace{Asked: 1, Failed: []scenarios.Answer{{Layer: "a", Device: "sda", Errno: "EIO"}}}}
		}
		return o
	}

	qt.run(t)

	close(traced)
	seen := map[string]int{}
	for c := range traced {
		seen[c]++
	}
	if diff := cmp.Diff(map[string]int{"x": 1, "y": 1}, seen); diff != "" {
		t.Errorf("trials with a trace (-want +got):\n%s", diff)
	}
	known := 0
	for i, o := range qt.got {
		if len(o.Attempts) != 1 || o.Step != nil {
			t.Errorf("%d: %d attempts, %+v", i, len(o.Attempts), o.Step)
		}
		if o.Traced == nil {
			continue
		}
		known++
		if !o.Traced.Same || o.Traced.Verdict != o.Verdict || o.Traced.Text() != "a (sda): EIO at sector 0" {
			t.Errorf("%d: %+v", i, o.Traced)
		}
	}
	if known != 2 {
		t.Errorf("%d outcomes say who failed first, want 2", known)
	}
}

// Given a trial that fails, when it passes with a trace, then that says nothing
// of who failed first.
func TestATraceOfAnotherOutcomeSaysNothing(t *testing.T) {
	qt := newQueue(t, Schedule{Workers: 1, Trace: OncePerFailure()}, cold(jobs("k", "s", "x", 1))...)
	dir := ""
	qt.q.cold = func(_ context.Context, l Local) Outcome {
		if err := os.WriteFile(filepath.Join(l.Dir, ConsoleFile), []byte("traced"), 0o600); err != nil {
			t.Error(err)
		}
		if !l.Trace {
			return failedWith(scenarios.Hang)
		}
		dir = filepath.Dir(filepath.Dir(l.Dir))
		o := passed()
		o.Step = &protocol.Result{Trace: &scenarios.Trace{Asked: 1}}
		return o
	}

	qt.run(t)

	if got, want := qt.got[0].Traced.Text(), "not known: with a trace it was pass"; got != want || qt.got[0].Verdict != scenarios.Hang {
		t.Errorf("%s: %q, want %q", qt.got[0].Verdict, got, want)
	}
	if _, err := os.Stat(filepath.Join(dir, TracedConsole)); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, workDir)); err == nil {
		t.Error("the work folder is left")
	}
}

// Given a trial that did not come to a step, or one that passed, then it is
// not made once more.
func TestOnlyAFailureOfAStepIsTraced(t *testing.T) {
	stack := failedWith(scenarios.Bug)
	stack.Phase = scenarios.PhaseStack
	for _, o := range []Outcome{passed(), stack, {Judgement: verdict.Judgement{Verdict: scenarios.Error, Phase: scenarios.PhaseStep}}} {
		qt := newQueue(t, Schedule{Workers: 1, Trace: func(Job, Outcome) bool { t.Errorf("%s in %s is traced", o.Verdict, o.Phase); return false }}, cold(jobs("k", "s", "x", 1))...)
		qt.q.cold = func(context.Context, Local) Outcome { return o }
		qt.run(t)
	}
}

// Given a guest that fell silent, then it is said why its trace is not known.
func TestATraceThatNeverCameIsSaid(t *testing.T) {
	for want, o := range map[string]Outcome{
		"not known: the guest did not come to say it": failedWith(scenarios.Hang),
		"not known: QEMU was ended":                   {Judgement: verdict.Judgement{Verdict: scenarios.Error, Reason: "QEMU was ended"}},
		"nobody: no device was asked":                 {Step: &protocol.Result{Trace: &scenarios.Trace{}}},
	} {
		if got := (&Traced{Trace: o.trace()}).Text(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
