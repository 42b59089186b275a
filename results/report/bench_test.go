package report

import (
	"bytes"
	"fmt"
	"path"
	"testing"
	"testing/fstest"
	"time"

	"github.com/blockrig/blockrig/harness/verdict"
	"github.com/blockrig/blockrig/results"
	"github.com/blockrig/blockrig/results/store"
	"github.com/blockrig/blockrig/scenarios"
)

// night records one of 400 cases, some of which fail now and then. Each trial
// of the last one has a folder.
func nightOf(n int) (store.Part, fstest.MapFS) {
	at := time.Date(2026, 1, 1, 1, 0, 0, 0, time.UTC).AddDate(0, 0, n)
	id := at.Format("20060102T150405.000Z") + "-aaaaaaaa"
	p := store.Part{Run: store.Run{ID: id, Command: []string{"blockrig", "nightly"}, Started: at, Night: store.NightOf(at), Asked: 400}}
	k := store.Kernel{Ref: "debian:newest", Exact: fmt.Sprintf("debian:7.%d", n/10), Release: fmt.Sprintf("7.%d.0", n/10)}
	files := fstest.MapFS{}
	for i := range 400 {
		v := scenarios.Pass
		if (i*7+n*13)%97 == 0 {
			v = scenarios.Hang
		}
		t := store.Trial{
			Run: id, Line: i + 1, Task: i, Started: at.Add(time.Duration(i) * time.Second), Kernel: k,
			Scenario: fmt.Sprintf("scenario-%d", i/20), Case: fmt.Sprintf("length=%d", i%20), Verdict: v, Outcome: "4096 bytes", TookMS: int64(400 + i),
			Signature: verdict.Signature{Phase: "step", Step: "pread", Verdict: v}, Accel: "tcg", CPUs: 1, BootID: fmt.Sprintf("%d-%d", n, i/40),
		}
		if v != scenarios.Pass {
			t.Findings = []store.Finding{{Kind: "hang", Title: "task hung in x", Line: 7}}
		}
		if n == 249 {
			t.Dir = fmt.Sprintf("%04d-trial", i)
			files[path.Join(id, t.Dir, results.ConsoleFile)] = &fstest.MapFile{Data: longConsole(400)}
		}
		p.Trials = append(p.Trials, t)
	}
	p.To = store.Mark{Bytes: 1, Lines: 400, State: "x"}
	return p, files
}

// A page of all of 100,000 trials, from the store to its last byte: 2 s and
// 5 MB are what it may take.
func BenchmarkPageOfAHundredThousandTrials(b *testing.B) {
	s, err := store.Open(b.Context(), b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	var files fstest.MapFS
	for n := range 250 {
		var p store.Part
		p, files = nightOf(n)
		if err := s.Add(b.Context(), p); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		r, err := Load(b.Context(), s, files, Options{Made: made})
		if err != nil {
			b.Fatal(err)
		}
		var out bytes.Buffer
		if err := HTML(&out, r, files); err != nil {
			b.Fatal(err)
		}
		if len(r.Cases) != 400 || out.Len() > MaxPage {
			b.Fatalf("%d cases in %d bytes", len(r.Cases), out.Len())
		}
		b.ReportMetric(float64(out.Len())/1e6, "MB")
	}
}
