package report

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path"
	"testing"
	"testing/fstest"
	"time"

	"github.com/blockrig/blockrig/harness/bisect"
	"github.com/blockrig/blockrig/harness/console"
	"github.com/blockrig/blockrig/harness/stats"
	"github.com/blockrig/blockrig/harness/verdict"
	"github.com/blockrig/blockrig/results"
	"github.com/blockrig/blockrig/scenarios"
)

// made is when the sample was made.
var made = time.Date(2026, 11, 26, 6, 30, 0, 0, time.UTC)

// tally counts failures of a verdict among trials, each in a boot of its own.
func tally(trials, failures int, v scenarios.Verdict, ms int64) Tally {
	if failures == 0 && v != scenarios.Error {
		v = scenarios.Pass
	}
	t := Tally{Trials: trials, Failures: failures, Verdict: v, MS: ms}
	if v == scenarios.Error {
		t.Errors = trials
	}
	t.Interval = stats.Wilson(failures, t.Judged())
	return t
}

// hostile is a text that must do nothing wherever it is shown.
const hostile = "</script><script>document.title='owned'</script><img src=x onerror=document.title='owned'>\u202e`#regzbot introduced: x` |]]>&\x1b[31m"

// sample is a report of two nights with all there can be in one.
func sample() Report {
	const run1, run2 = "20261125T220000.000Z-aaaaaaaa", "20261126T020000.000Z-bbbbbbbb"
	r := Report{
		Version: Version, Title: "Kernel storage, 2026-11-26", Made: made, Tool: "blockrig test",
		Runs: []Run{
			{ID: run1, Command: "blockrig nightly lab.yaml", Started: made.Add(-8*time.Hour - 30*time.Minute), Finished: made.Add(-7 * time.Hour), Asked: 120, Trials: 120, Failures: 12, Errors: 1},
			{ID: run2, Command: "blockrig nightly lab.yaml", Started: made.Add(-4*time.Hour - 30*time.Minute), Asked: 130, Trials: 129, Failures: 31},
		},
		Kernels: []Kernel{
			{Ref: "debian:6.17", Stream: "debian:6.17", Release: "6.17.13+deb13-amd64"},
			{Ref: "debian:6.18", Stream: "debian:6.18", Release: "6.18.15+deb13-amd64"},
			{Ref: "git:linux@master", Stream: "git:linux@master", Release: "7.2.0-rc4-g0123456789ab", Commit: "0123456789abcdef0123456789abcdef01234567"},
			{Ref: "debian:newest", Stream: "debian:newest", Release: "7.3.4+deb13-amd64"},
		},
	}
	verdicts := []scenarios.Verdict{scenarios.EIO, scenarios.Hang, scenarios.Hang}
	for i, length := range []int{512, 4096, 8192} {
		for _, offset := range []int{0, 32} {
			c := Case{Scenario: "lvm-mirror-dio-read", Name: fmt.Sprintf("length=%d,memory_offset=%d", length, offset)}
			for k := range r.Kernels {
				fails := 0
				if k == 1 && offset > 0 {
					fails = 20
				}
				if k == 2 && offset > 0 && i == 1 {
					fails = 7
				}
				cell := Cell{Kernel: k, Tally: tally(20, fails, verdicts[i], int64(400+100*i))}
				for n := range 20 {
					at := fails
					if k == 1 && n < 12 {
						at = 0
					}
					c.History = append(c.History, Point{Night: fmt.Sprintf("2026-11-%02d", 6+n), Kernel: k, Tally: tally(20, at, verdicts[i], int64(400+100*i+20*n+(n*37)%90))})
				}
				c.Cells = append(c.Cells, cell)
			}
			r.Cases = append(r.Cases, c)
		}
	}
	for i, v := range scenarios.Verdicts {
		c := Case{Scenario: "museum-" + string(v)}
		for k := range r.Kernels {
			if (i+k)%5 == 0 {
				continue
			}
			t := tally(3, 0, scenarios.Pass, 900)
			if k == 1 {
				t = tally(3, 3, v, 2500)
				if v == scenarios.Pass {
					t = tally(3, 0, scenarios.Error, 2500)
				}
			}
			c.Cells = append(c.Cells, Cell{Kernel: k, Tally: t})
			c.History = append(c.History, Point{Night: "2026-11-25", Kernel: k, Tally: t})
		}
		r.Cases = append(r.Cases, c)
	}
	r.Trials = make([]Trial, 0, 8) // pointers into it must stay
	told := func(number int, k int, c *Case, cell *Cell, v scenarios.Verdict, reason string) *Trial {
		t := Trial{
			Name: fmt.Sprintf("%s/%d", run2, number), Kernel: k, Scenario: c.Scenario, Case: c.Name, Started: made.Add(-4 * time.Hour),
			Verdict: v, Reason: reason, Outcome: "4096 bytes", Phase: "step", Accel: "tcg", CPUs: 1, Warm: true,
			BootID: "dddd94eb-8bd8-48e5-b6a1-e48536b1fd8a", BootMS: 199, TrialMS: 3622, GuestMS: 17915, Signature: "step/pread/" + string(v),
			Folder:   fmt.Sprintf("%s/%04d-trial", run2, number),
			Attempts: []results.Attempt{{Verdict: v, Reason: reason, MS: 3622}},
			Commands: []Command{
				{Does: "Try the case again", Line: "blockrig run lvm-mirror-dio-read -k debian:6.18.15 --case " + c.Name},
				{Does: "Show all that is recorded", Line: fmt.Sprintf("blockrig results show %s %d", run2, number)},
			},
		}
		cell.Trial = t.Name
		r.Trials = append(r.Trials, t)
		return &r.Trials[len(r.Trials)-1]
	}
	c := &r.Cases[3]
	t := told(4, 1, c, &c.Cells[1], scenarios.Hang, "pread can't be killed: state D, 1.9 s after SIGKILL, in __iomap_dio_rw")
	t.Also, t.Outcome = []scenarios.Verdict{scenarios.Bug, scenarios.Degraded}, "no answer"
	t.Legs = []scenarios.Leg{{Name: "254:1", Disk: "a", Health: "R"}, {Name: "254:2", Disk: "b", Health: "A", OK: true}}
	t.Findings = []Finding{
		{Kind: console.KindIO, Title: "dm-mirror: Mirror read failed", Place: "254:1", Line: 102},
		{Kind: console.KindBug, Title: "BUG: unable to handle kernel paging request in bio_add_page", Line: 103},
	}
	t.First = &First{Who: "dm-mirror (253:3): EIO, and no disk had seen the request", Answers: []string{"2.114 ms: 253:3 (lvm) answered read at sector 2048 with EIO"}}
	told(3, 1, &r.Cases[2], &r.Cases[2].Cells[1], scenarios.Pass, "")
	flaky := told(9, 2, c, &c.Cells[2], scenarios.Hang, hostile)
	flaky.Findings = []Finding{{Kind: console.KindHang, Title: hostile, Place: hostile, Line: 3, Trace: []string{hostile}}}
	flaky.Events = []Event{{MS: 10, From: "guest", What: hostile}}
	flaky.Commands = []Command{{Does: hostile, Line: "blockrig run " + hostile}}
	side := func(k, failures int, night, said, signature string) Side {
		return Side{Kernel: k, Night: night, Tally: tally(20, failures, scenarios.Hang, 500), Said: said, Signature: signature}
	}
	culprit := bisect.Commit{Hash: "7eac33186957a1b2c3d4e5f60718293a4b5c6d7e", Title: "dm-mirror: look at the bio's own alignment", Author: "A Developer <dev@example.org>"}
	r.Changes = []Change{
		{
			Kind: NewFailure, Scenario: c.Scenario, Case: c.Name, Before: side(1, 0, "2026-11-17", "4096 bytes", ""), After: side(1, 20, "2026-11-25", "no answer", "step/pread/hang"),
			Probability: .99998, Bisection: "20261126T030000.000Z-cccccccc", Trial: t.Name, Elsewhere: []string{"also on 7.2.0-rc4: hang in 7 of 20"},
		},
		{Kind: RateChanged, Scenario: c.Scenario, Case: c.Name, Before: side(2, 1, "2026-11-24", "no answer", "step/pread/hang"), After: side(2, 7, "2026-11-25", "no answer", "step/pread/hang"), Probability: .97, Trial: flaky.Name},
		{Kind: Fixed, Scenario: "lvm-mirror-dio-read", Case: r.Cases[5].Name, Before: side(3, 20, "2026-11-24", "no answer", "step/pread/hang"), After: side(3, 0, "2026-11-25", "EINVAL", "")},
		{
			Kind: StillFailing, Scenario: "lvm-mirror-dio-read", Case: r.Cases[1].Name, Before: side(1, 20, "2026-11-24", "EIO", "step/pread/eio"), After: side(1, 20, "2026-11-25", "EIO", "step/pread/eio"),
			Known: &Known{Link: "https://bugs.example.org/1", Note: "reported in June"},
		},
	}
	mark := func(commit string, m bisect.Mark, hits int) Step {
		return Step{Commit: commit, Mark: m, Fails: hits > 0, Hits: hits, Runs: 6, P: .9999, Release: commit}
	}
	r.Bisections = []Bisection{{
		Name: "20261126T030000.000Z-cccccccc", Scenario: c.Scenario, Case: c.Name, Of: "commits", Old: "v6.17", New: "v6.18", State: "answered", Direction: "regression",
		First: &culprit, Grade: bisect.Proven, Confidence: .9999, Trials: 96,
		Checks: []bisect.Check{{Name: bisect.CheckParent, Result: bisect.Pass}, {Name: bisect.CheckCulprit, Result: bisect.Pass}, {Name: bisect.CheckRevert, Result: bisect.NotPossible, Why: "it does not apply"}},
		Steps: []Step{
			{Commit: "v6.18", Mark: bisect.New, Fails: true, End: true, Hits: 6, Runs: 6},
			{Commit: "v6.17", Mark: bisect.Old, End: true, Runs: 6},
			mark("v6.18-rc1", bisect.New, 6), mark("1111111111111111111111111111111111111111", bisect.Old, 0), mark("2222222222222222222222222222222222222222", bisect.Old, 0),
			{Commit: "3333333333333333333333333333333333333333", Mark: bisect.Skip, Why: "it does not build"},
			mark("4444444444444444444444444444444444444444", bisect.New, 5), mark("5555555555555555555555555555555555555555", bisect.Old, 0),
			mark(culprit.Hash, bisect.New, 6),
		},
		Text: "Subject: [REGRESSION] misaligned direct read on dm-mirror hangs (since 7eac33186957)\nTo: Device Mapper <dm@example.org>\nCc: A Developer <dev@example.org>, regressions@lists.linux.dev\n\nText.\n",
	}}
	first := time.Date(2026, 11, 25, 22, 0, 0, 0, time.UTC)
	r.Workers = []Worker{
		{Name: "big", CPU: "A CPU", Trials: 180, Failures: 12, First: first, Last: first.Add(90 * time.Second), TookMS: 342_000, WaitMS: 1_400, MostWait: 9_200},
		{Name: hostile, Trials: 3, Errors: 1, Again: 1, First: first, Last: first.Add(time.Minute), TookMS: 12_000, WaitMS: 100, MostWait: 300},
	}
	r.Problems = []string{"trials.jsonl of run 20261101T000000.000Z-dddddddd was damaged after the run ended: 3 of its 6 trials are left in it"}
	return r
}

// sampleFiles are those of the sample's trials.
func sampleFiles(t testing.TB) fs.FS {
	t.Helper()
	files := fstest.MapFS{}
	for _, trial := range sample().Trials {
		for _, name := range []string{results.ConsoleFile, results.EventsFile} {
			src, err := os.ReadFile(path.Join("testdata", name))
			if err != nil {
				t.Fatal(err)
			}
			files[path.Join(trial.Folder, name)] = &fstest.MapFile{Data: src}
		}
	}
	flaky := sample().Trials[2].Folder
	files[path.Join(flaky, results.ConsoleFile)] = &fstest.MapFile{Data: []byte("[    0.000000] Linux version 7.2.0\n" + hostile + "\n[    1.000000] " + hostile + "\n\xff\xfe\x00\n")}
	return files
}

// looked is the sample with what its files say.
func looked(t testing.TB) (Report, fs.FS) {
	t.Helper()
	r, files := sample(), sampleFiles(t)
	for i := range r.Trials {
		if len(r.Trials[i].Events) > 0 {
			continue
		}
		if err := r.Trials[i].look(files); err != nil {
			t.Fatal(err)
		}
	}
	return r, files
}

// writeRun records a run of one trial, which failed.
func writeRun(t *testing.T, root string) {
	t.Helper()
	dir := path.Join(root, "20261125T220000.000Z-aaaaaaaa")
	rec := results.Record{
		Scenario: "plain-dio-read", Case: "length=512", Kernel: results.Kernel{Ref: "debian:newest", Release: "7.2"}, Verdict: scenarios.Hang,
		Reason: "it hangs", Started: made, Signature: verdict.Signature{Phase: "step", Step: "pread", Verdict: scenarios.Hang},
	}
	var b bytes.Buffer
	err := results.WriteJSON(&b, rec)
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err == nil {
		err = os.WriteFile(path.Join(dir, "run.json"), []byte(`{"id":"20261125T220000.000Z-aaaaaaaa","started":"2026-11-25T22:00:00Z"}`), 0o644)
	}
	if err == nil {
		err = os.WriteFile(path.Join(dir, results.TrialsFile), b.Bytes(), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}
