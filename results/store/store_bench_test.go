package store

import (
	"fmt"
	"testing"
	"time"

	"github.com/blockrig/blockrig/harness/verdict"
	"github.com/blockrig/blockrig/scenarios"
)

// many is a store with 100,000 trials: 250 nights of 400 cases, some of which
// fail now and then.
func many(b *testing.B) *Store {
	b.Helper()
	s, err := Open(b.Context(), b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	start := time.Date(2026, 1, 1, 1, 0, 0, 0, time.UTC)
	for night := range 250 {
		at := start.AddDate(0, 0, night)
		p := Part{Run: Run{ID: fmt.Sprintf("%s-aaaaaaaa", at.Format("20060102T150405.000Z")), Command: []string{"blockrig", "nightly"}, Started: at, Night: NightOf(at), Asked: 400}}
		k := Kernel{Ref: "debian:newest", Exact: fmt.Sprintf("debian:7.%d", night/10), Release: fmt.Sprintf("7.%d.0", night/10), Digest: fmt.Sprint(night / 10)}
		for n := range 400 {
			v, titles := scenarios.Pass, []string(nil)
			if (n*7+night*13)%97 == 0 {
				v, titles = scenarios.Hang, []string{"task hung in x"}
			}
			p.Trials = append(p.Trials, Trial{
				Run: p.Run.ID, Line: n + 1, Task: n, Started: at.Add(time.Duration(n) * time.Second), Kernel: k,
				Scenario: fmt.Sprintf("scenario-%d", n/20), Case: fmt.Sprintf("length=%d", n%20), Verdict: v, Outcome: "4096 bytes",
				Signature: verdict.Signature{Phase: "step", Step: "pread", Verdict: v, Titles: titles}, Accel: "tcg", CPUs: 1, BootID: fmt.Sprintf("%d-%d", night, n/40),
			})
			if v != scenarios.Pass {
				p.Trials[n].Findings = []Finding{{Kind: "hang", Title: titles[0], Line: 7}}
			}
		}
		p.To = Mark{Bytes: 1, Lines: 400, State: "x"}
		if err := s.Add(b.Context(), p); err != nil {
			b.Fatal(err)
		}
	}
	return s
}

func BenchmarkHundredThousandTrials(b *testing.B) {
	s := many(b)
	b.Run("runs", func(b *testing.B) {
		for b.Loop() {
			if runs, err := s.Runs(b.Context(), Filter{}); err != nil || len(runs) != 250 {
				b.Fatal(len(runs), err)
			}
		}
	})
	b.Run("trials", func(b *testing.B) {
		for b.Loop() {
			n := 0
			for _, err := range s.Trials(b.Context(), Filter{}) {
				if err != nil {
					b.Fatal(err)
				}
				n++
			}
			if n != 100_000 {
				b.Fatal(n)
			}
		}
	})
	for name, by := range map[string]By{"by kernel": ByKernel, "by night": ByNight} {
		b.Run("histories "+name, func(b *testing.B) {
			for b.Loop() {
				if all, err := s.Histories(b.Context(), Filter{}, by); err != nil || len(all) != 400 {
					b.Fatal(len(all), err)
				}
			}
		})
	}
	b.Run("a night", func(b *testing.B) {
		for b.Loop() {
			if all, err := s.Histories(b.Context(), Filter{Nights: []string{"2026-05-05"}}, ByKernel); err != nil || len(all) != 400 {
				b.Fatal(len(all), err)
			}
		}
	})
	b.Run("failures", func(b *testing.B) {
		for b.Loop() {
			if all, err := s.Histories(b.Context(), Filter{Failures: true}, ByKernel); err != nil || len(all) == 0 {
				b.Fatal(len(all), err)
			}
		}
	})
}
