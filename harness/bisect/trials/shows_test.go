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
		got := outcomeOf(rec, r)
		if d := cmp.Diff(c.want, got.Shows); d != "" || got.NoAnswer {
			t.Errorf("%s: no answer %v, %s", name, got.NoAnswer, d)
		}
	}
}
