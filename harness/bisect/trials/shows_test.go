package trials

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/blockrig/blockrig/harness/bisect"
	"github.com/blockrig/blockrig/harness/console"
	"github.com/blockrig/blockrig/harness/trial"
	"github.com/blockrig/blockrig/harness/verdict"
	"github.com/blockrig/blockrig/results"
	"github.com/blockrig/blockrig/scenarios"
)

// Given a trial that shows several things, then each is told by itself, with
// what makes two of its kind the same, whatever the verdict is.
func TestShowsEachThing(t *testing.T) {
	at := int64(512)
	warned := []console.Finding{{Kind: console.KindWarn, Title: "WARNING in a"}, {Kind: console.KindWarn, Title: "WARNING in b"}}
	step := func(s bisect.Signature) bisect.Signature {
		s.Phase, s.Step = scenarios.PhaseStep, "pread"
		return s
	}
	warnings := []bisect.Signature{step(bisect.Signature{Verdict: "warn", Title: "WARNING in a"}), step(bisect.Signature{Verdict: "warn", Title: "WARNING in b"})}
	for name, c := range map[string]struct {
		seen scenarios.Observation
		want []bisect.Signature
	}{
		"EIO behind warnings":      {scenarios.Observation{Returned: true, Errno: "EIO"}, append(warnings[:2:2], step(bisect.Signature{Verdict: "eio"}))},
		"an errno behind warnings": {scenarios.Observation{Returned: true, Errno: "ENOMEM"}, append(warnings[:2:2], step(bisect.Signature{Verdict: "errno", Errno: "ENOMEM"}))},
		"few bytes":                {scenarios.Observation{Returned: true, Bytes: 4096}, append(warnings[:2:2], step(bisect.Signature{Verdict: "errno", Short: true, Bytes: 4096}))},
		"wrong data":               {scenarios.Observation{Returned: true, Bytes: 8192, Mismatch: &at}, append([]bisect.Signature{step(bisect.Signature{Verdict: "corrupt", Wrong: bisect.WrongData, Place: "byte 512"})}, warnings...)},
		"a leg failed":             {scenarios.Observation{Returned: true, Bytes: 8192, Legs: []scenarios.Leg{{Name: "a"}}}, append(warnings[:2:2], step(bisect.Signature{Verdict: "degraded"}))},
	} {
		r := trial.Outcome{Report: verdict.Report{Phase: scenarios.PhaseDone, Step: "pread", Asked: 8192, Expect: []string{"data"}, Observation: c.seen}}
		r.Judgement = verdict.Judge(warned, r.Report, nil)
		rec := results.Record{Verdict: r.Verdict, Also: r.Also, Phase: r.Phase, Errno: c.seen.Errno, Bytes: c.seen.Bytes, Signature: r.Signature}
		got := outcomeOf(rec, r, scenarios.Case{Scenario: &scenarios.Scenario{}})
		if d := cmp.Diff(c.want, got.Shows); d != "" || got.NoAnswer {
			t.Errorf("%s: no answer %v, %s", name, got.NoAnswer, d)
		}
	}
}

// Given a case of several steps, then what a step answered is told from the
// answers of the others, those of its name among them; what the kernel said, or
// did to a leg, is of no step.
func TestShowsOfSeveralSteps(t *testing.T) {
	at := int64(0)
	read, write := scenarios.Step{IO: &scenarios.IO{Op: "pread"}}, scenarios.Step{IO: &scenarios.IO{Op: "pwrite"}}
	check := scenarios.Step{Check: &scenarios.Check{Agree: "r"}}
	c := scenarios.Case{Scenario: &scenarios.Scenario{}, Steps: []scenarios.Step{write, read, check, read}}
	warned := []console.Finding{{Kind: console.KindWarn, Title: "WARNING in a"}}
	warning := bisect.Signature{Verdict: "warn", Phase: "step", Title: "WARNING in a"}
	for name, tc := range map[string]struct {
		step string
		done []string
		seen scenarios.Observation
		want []bisect.Signature
	}{
		"the first read": {"pread", []string{"pwrite"}, scenarios.Observation{Returned: true, Errno: "EIO"}, []bisect.Signature{warning, {Verdict: "eio", Phase: "step", Step: "pread", Nth: 1}}},
		"the second read": {
			"pread",
			[]string{"pwrite", "pread", "check"},
			scenarios.Observation{Returned: true, Bytes: 8192, Mismatch: &at},
			[]bisect.Signature{{Verdict: "corrupt", Phase: "step", Step: "pread", Nth: 2, Wrong: bisect.WrongData, Place: "byte 0"}, warning},
		},
		"a check":        {"check", []string{"pwrite", "pread"}, scenarios.Observation{Returned: true, Failed: "they differ", Bytes: 8192}, []bisect.Signature{{Verdict: "corrupt", Phase: "step", Step: "check", Wrong: bisect.WrongCheck}, warning}},
		"the first step": {"pwrite", nil, scenarios.Observation{Returned: true, Errno: "ENOSPC"}, []bisect.Signature{warning, {Verdict: "errno", Phase: "step", Step: "pwrite", Errno: "ENOSPC"}}},
		"a leg":          {"pwrite", nil, scenarios.Observation{Returned: true, Bytes: 8192, Legs: []scenarios.Leg{{Name: "a"}}}, []bisect.Signature{warning, {Verdict: "degraded", Phase: "step"}}},
	} {
		r := trial.Outcome{Report: verdict.Report{Phase: scenarios.PhaseDone, Step: tc.step, Asked: 8192, Expect: []string{"data"}, Observation: tc.seen}}
		if tc.seen.Failed != "" {
			r.Report.FailAs = check.FailAs()
		}
		for _, done := range tc.done {
			r.Report.Before = append(r.Report.Before, verdict.StepReport{Step: done})
		}
		r.Judgement = verdict.Judge(warned, r.Report, nil)
		got := outcomeOf(results.Record{Verdict: r.Verdict, Also: r.Also, Phase: r.Phase, Errno: tc.seen.Errno, Bytes: tc.seen.Bytes, Signature: r.Signature}, r, c)
		if d := cmp.Diff(tc.want, got.Shows); d != "" {
			t.Errorf("%s: %s", name, d)
		}
		if !cmp.Equal(got.Done, tc.done) {
			t.Errorf("%s: done %q, want %q", name, got.Done, tc.done)
		}
	}
}
