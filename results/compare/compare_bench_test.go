package compare_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/blockrig/blockrig/harness/verdict"
	"github.com/blockrig/blockrig/results/compare"
	"github.com/blockrig/blockrig/results/store"
	"github.com/blockrig/blockrig/scenarios"
)

// Two kernels with 50,000 trials each, of 400 cases some of which fail now and
// then: 1 s is what it may take to compare them.
func BenchmarkKernelsOfAHundredThousandTrials(b *testing.B) {
	s, err := store.Open(b.Context(), b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	began := time.Date(2026, 1, 1, 1, 0, 0, 0, time.UTC)
	for n := range 250 {
		at := began.AddDate(0, 0, n)
		id := at.Format("20060102T150405.000Z") + "-aaaaaaaa"
		p := store.Part{Run: store.Run{ID: id, Command: []string{"blockrig", "nightly"}, Started: at, Night: store.NightOf(at), Asked: 400}}
		k := store.Kernel{Ref: "debian:newest", Exact: fmt.Sprintf("debian:7.%d", n/125), Release: fmt.Sprintf("7.%d.0", n/125)}
		for i := range 400 {
			v := scenarios.Pass
			if (i*7+n*13)%97 == 0 {
				v = scenarios.Hang
			}
			p.Trials = append(p.Trials, store.Trial{
				Run: id, Line: i + 1, Task: i, Started: at, Kernel: k, Scenario: fmt.Sprintf("scenario-%d", i/20), Case: fmt.Sprintf("length=%d", i%20),
				Verdict: v, Outcome: "4096 bytes", Signature: verdict.Signature{Phase: "step", Step: "pread", Verdict: v}, Accel: "tcg", CPUs: 1, BootID: fmt.Sprintf("%d-%d", n, i/40),
			})
		}
		p.To = store.Mark{Bytes: 1, Lines: 400, State: "x"}
		if err := s.Add(b.Context(), p); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		var sets [2]compare.Set
		for i, release := range []string{"7.0.0", "7.1.0"} {
			if sets[i], err = compare.Find(b.Context(), s, release, ""); err != nil {
				b.Fatal(err)
			}
		}
		if cases, err := compare.Sets(b.Context(), s, sets[0], sets[1]); err != nil || len(cases) != 400 {
			b.Fatal(len(cases), err)
		}
	}
}
