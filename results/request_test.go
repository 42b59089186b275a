package results

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/blockrig/blockrig/harness/qemu"
	"github.com/blockrig/blockrig/harness/trial"
	"github.com/blockrig/blockrig/harness/verdict"
	"github.com/blockrig/blockrig/scenarios"
	"github.com/blockrig/blockrig/scenarios/language"
)

// aRequest is for two kernels, two cases and so many repeats.
func aRequest(t *testing.T, repeat int) Request {
	t.Helper()
	sc, err := language.Load("plain-dio-read")
	if err != nil {
		t.Fatal(err)
	}
	cases, err := language.Cases(sc, nil)
	if err != nil {
		t.Fatal(err)
	}
	return Request{
		Verb: VerbRun, Command: []string{"blockrig", "run"}, Scenarios: ScenariosOf(cases[:2]),
		Kernels: KernelsOf("debian:1", "debian:2"), Repeat: repeat, Boots: 1, Accel: "tcg", Tools: "debian",
	}
}

func tasksOf(t *testing.T, r Request) []trial.Task {
	t.Helper()
	tasks, err := r.Tasks()
	if err != nil {
		t.Fatal(err)
	}
	return tasks
}

func recordAt(tasks []trial.Task, i int, v scenarios.Verdict) Record {
	t := tasks[i]
	return Record{Task: i, Kernel: Kernel{Ref: t.Ref}, Scenario: t.Case.Scenario.Name, Case: t.Case.ID, Verdict: v}
}

func TestTasksOfARequest(t *testing.T) {
	r := aRequest(t, 3)
	var got []string
	for _, task := range tasksOf(t, r) {
		got = append(got, fmt.Sprintf("%s %s %d", task.Ref, task.Case.ID, task.Repeat))
	}
	ids := r.Scenarios[0].Cases
	var want []string
	for _, ref := range []string{"debian:1", "debian:2"} {
		for _, id := range ids {
			for n := range 3 {
				want = append(want, fmt.Sprintf("%s %s %d", ref, id, n))
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" || r.Trials() != len(want) {
		t.Errorf("%d trials; -want +got:\n%s", r.Trials(), diff)
	}
	r.Scenarios[0].Cases = []string{"length=9"}
	if _, err := r.Tasks(); err == nil {
		t.Error("a case that the scenario does not have")
	}
	for _, spoil := range []func(*Request){
		func(r *Request) { r.Repeat = 0 }, func(r *Request) { r.Repeat = -1 }, func(r *Request) { r.Repeat = MaxRepeat + 1 },
		func(r *Request) { r.Verb = "" }, func(r *Request) { r.Verb = "kernels rm" }, func(r *Request) { r.Boots = 0 }, func(r *Request) { r.CPUs = 65 }, func(r *Request) { r.Jobs = -1 },
	} {
		bad := aRequest(t, 3)
		spoil(&bad)
		if _, err := bad.Tasks(); !errors.Is(err, ErrCantResume) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	r.Scenarios[0].Source = "name: x\n"
	if _, err := r.Tasks(); err == nil {
		t.Error("a scenario that is none")
	}
}

func TestLeft(t *testing.T) {
	s := Stored{Request: aRequest(t, 3)}
	tasks := tasksOf(t, s.Request)
	s.Records = []Record{recordAt(tasks, 4, scenarios.Hang), recordAt(tasks, 0, scenarios.Pass)}
	for _, tc := range []struct {
		until bool
		want  []int
	}{
		{false, []int{1, 2, 3, 5, 6, 7, 8, 9, 10, 11}},
		{true, []int{1, 2, 6, 7, 8, 9, 10, 11}}, // one case on one kernel has failed
	} {
		s.Request.UntilFail = tc.until
		todo, records, err := s.Left(tasks)
		if err != nil || !slices.Equal(todo, tc.want) {
			t.Errorf("until it fails %v: %v, %v; want %v", tc.until, todo, err, tc.want)
		}
		if records[4] == nil || records[4].Verdict != scenarios.Hang || records[0] == nil || records[1] != nil {
			t.Errorf("records: %v", records)
		}
	}
	for name, spoil := range map[string]func(*Record){
		"another case":     func(r *Record) { r.Case = "length=9" },
		"another kernel":   func(r *Record) { r.Kernel.Ref = "debian:7" },
		"another scenario": func(r *Record) { r.Scenario = "other" },
		"too far":          func(r *Record) { r.Task = 12 },
		"negative":         func(r *Record) { r.Task = -1 },
	} {
		rec := recordAt(tasks, 0, scenarios.Pass)
		spoil(&rec)
		if _, _, err := (Stored{Request: s.Request, Records: []Record{rec}}).Left(tasks); !errors.Is(err, ErrCantResume) {
			t.Errorf("%s: it was taken for one of the run: %v", name, err)
		}
	}
}

func jobFor(t trial.Task) trial.Job {
	sc := t.Case.Scenario
	return trial.Job{
		Kernel:   trial.Kernel{Ref: t.Ref, Exact: t.Ref + ".0", Digest: "d"},
		Scenario: sc.Name, Source: string(sc.Source), Case: t.Case.ID, Accel: qemu.TCG,
	}
}

// record makes a trial of a run that ends so.
func record(t *testing.T, run *Run, tasks []trial.Task, place int, v scenarios.Verdict, signature string) Record {
	t.Helper()
	job := jobFor(tasks[place])
	if err := run.Prepared([]trial.Queued{{Job: job}}); err != nil {
		t.Fatal(err)
	}
	dir, err := run.Begin(place, job)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, ConsoleFile), []byte("x"), 0o666); err != nil {
		t.Fatal(err)
	}
	rec, err := run.End(place, trial.Outcome{Judgement: judgement(v, signature)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("hidden folder %s stayed", dir)
	}
	return rec
}

func judgement(v scenarios.Verdict, title string) verdict.Judgement {
	return verdict.Judgement{Verdict: v, Phase: "step", Signature: verdict.Signature{Phase: "step", Step: "pread", Verdict: v, Titles: []string{title}}}
}

func resume(t *testing.T, root, id string) (*Run, Stored) {
	t.Helper()
	run, stored, err := Resume(t.Context(), root, id)
	if err != nil {
		t.Fatal(err)
	}
	return run, stored
}

// Given repeats, then one folder is kept for each way in which a case ends,
// also after the run was resumed; and a run that died in the middle of a line
// and of a trial has each trial that ended.
func TestAResumedRun(t *testing.T) {
	root := t.TempDir()
	req := aRequest(t, 6)
	tasks := tasksOf(t, req)
	run, err := Create(t.Context(), root, req)
	if err != nil {
		t.Fatal(err)
	}
	var kept []bool
	for i, title := range []string{"a", "a", "b"} {
		kept = append(kept, record(t, run, tasks, i, scenarios.Hang, title).RunDir != "")
	}
	if _, _, err := Resume(t.Context(), root, "last"); !errors.Is(err, ErrUnderWay) {
		t.Errorf("a run that is under way: %v", err)
	}
	if err := run.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := run.Begin(3, trial.Job{}); err == nil {
		t.Error("a trial began in a run that has ended")
	}
	// What a process leaves that dies: no end of the run, half a line, a folder.
	info := run.info
	info.Finished, info.Trials, info.Digest = info.Started.AddDate(-2026, 0, 0), 0, ""
	if err := writeFile(run.Dir(), infoFile, info); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(run.Dir(), TrialsFile), os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(`{"scenario":"`)
	}
	if err := errors.Join(err, f.Close(), os.MkdirAll(filepath.Join(run.Dir(), tempPrefix+"0004", "work"), 0o777)); err != nil {
		t.Fatal(err)
	}

	again, stored := resume(t, root, run.ID()[:20])
	want := req
	want.Kernels = []RequestedKernel{{"debian:1", "debian:1.0", "d"}, {Ref: "debian:2"}}
	if diff := cmp.Diff(want, stored.Request); diff != "" || len(stored.Records) != 3 || len(stored.Broken) != 0 {
		t.Errorf("%d records, broken %v; request (-want +got):\n%s", len(stored.Records), stored.Broken, diff)
	}
	if s, err := Show(root, "last"); err != nil || !s.Finished.IsZero() || s.Asked != len(tasks) {
		t.Errorf("a run that was resumed has an end: %v, %v", s.Finished, err)
	}
	changed := jobFor(tasks[3])
	changed.Kernel.Digest = "other"
	if err := again.Prepared([]trial.Queued{{Job: changed}}); !errors.Is(err, ErrCantResume) {
		t.Errorf("another kernel under the same name: %v", err)
	}
	// While it is under way, nobody sweeps it or takes it.
	if err := Sweep(t.Context(), root); err != nil {
		t.Error(err)
	}
	if _, _, err := Resume(t.Context(), root, "last"); !errors.Is(err, ErrUnderWay) {
		t.Errorf("taken twice: %v", err)
	}
	kept = append(kept, record(t, again, tasks, 3, scenarios.Hang, "b").RunDir != "")
	last := record(t, again, tasks, 4, scenarios.Pass, "")
	kept = append(kept, last.RunDir != "")
	if !slices.Equal(kept, []bool{true, false, true, false, true}) {
		t.Errorf("kept: %v", kept)
	}
	if numberOf(filepath.Base(last.RunDir)) <= 3 {
		t.Errorf("the folder is %s, whose number was there before", last.RunDir)
	}
	if _, err := again.End(5, trial.Outcome{}); err == nil {
		t.Error("a trial ended that did not begin")
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	// One that gets nothing more stays as it was.
	for range 2 {
		r, _ := resume(t, root, "last")
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Show(root, "last")
	if err != nil || len(s.Records) != 5 || len(s.Broken) != 0 || s.Damaged != nil || s.Finished.IsZero() {
		t.Errorf("after the end: %+v, %v", s, err)
	}
	if _, _, err := Resume(t.Context(), root, "2020"); !errors.Is(err, ErrNoRun) {
		t.Errorf("no such run: %v", err)
	}
}

// Given a process that died when a trial's folder was there and its line was
// not, when the run is resumed, then the line is added, once.
func TestALineThatWasNotWrittenIsAdded(t *testing.T) {
	for _, tc := range []struct {
		name string
		left func(lines []string) string // of TrialsFile
	}{
		{"no line", func(l []string) string { return l[0] }},
		{"half a line", func(l []string) string { return l[0] + l[1][:20] }},
		{"no file", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			root := t.TempDir()
			req := aRequest(t, 6)
			tasks := tasksOf(t, req)
			run, err := Create(t.Context(), root, req)
			if err != nil {
				t.Fatal(err)
			}
			want := []Record{record(t, run, tasks, 0, scenarios.Hang, "a"), record(t, run, tasks, 1, scenarios.Hang, "b")}
			info := run.info
			if err := run.Close(); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(run.Dir(), TrialsFile)
			whole, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := writeFile(run.Dir(), infoFile, info); err != nil {
				t.Fatal(err)
			}
			if tc.left == nil {
				err = os.Remove(file)
			} else {
				err = os.WriteFile(file, []byte(tc.left(strings.SplitAfter(string(whole), "\n"))), 0o666)
			}
			if err != nil {
				t.Fatal(err)
			}

			for range 2 {
				again, stored := resume(t, root, "last")
				if len(stored.Records) != 2 {
					t.Errorf("%d records", len(stored.Records))
				}
				if err := again.Close(); err != nil {
					t.Fatal(err)
				}
				got, err := os.ReadFile(file)
				if err != nil || string(got) != string(whole) {
					t.Errorf("%v; the lines are\n%s\nwant\n%s", err, got, whole)
				}
			}
			again, _ := resume(t, root, "last")
			record(t, again, tasks, 2, scenarios.Pass, "")
			if err := again.Close(); err != nil {
				t.Fatal(err)
			}
			s, err := Show(root, "last")
			if err != nil || len(s.Records) != 3 || s.Trials != 3 || len(s.Problems()) != 0 {
				t.Errorf("%d records, %d trials, %v, %v", len(s.Records), s.Trials, s.Problems(), err)
			}
			for i, rec := range want {
				if diff := cmp.Diff(rec.RunDir, s.Records[i].RunDir); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

// Given a run that has ended, when what it recorded is cut, emptied or
// changed, then that is said, and nothing is made of it.
func TestDamageToAFinishedRunIsNoticed(t *testing.T) {
	lines := func(edit func([]string) []string) func(string) string {
		return func(text string) string { return strings.Join(edit(strings.SplitAfter(text, "\n")), "") }
	}
	for _, tc := range []struct {
		name   string
		file   string
		change func(string) string
		want   string
		left   int // records that are shown
	}{
		{"the last line is gone", TrialsFile, lines(func(l []string) []string { return l[:3] }), "3 of its 4 trials are left", 3},
		{"a line is gone", TrialsFile, lines(func(l []string) []string { return slices.Delete(l, 1, 2) }), "3 of its 4 trials are left", 3},
		{"it was emptied", TrialsFile, func(string) string { return "" }, "0 of its 4 trials are left", 2},
		{"it was cut in a line", TrialsFile, func(s string) string { return s[:len(s)-10] }, "3 of its 4 trials are left", 3},
		{"a verdict was changed", TrialsFile, func(s string) string { return strings.Replace(s, `"verdict":"hang"`, `"verdict":"pass"`, 1) }, "was changed after the run ended", 4},
		{"a byte was flipped", TrialsFile, func(s string) string { return strings.Replace(s, `"verdict":"hang"`, `"verdict":"iang"`, 1) }, "3 of its 4 trials are left", 4},
		{"a line was added", TrialsFile, func(s string) string { return s + strings.SplitAfter(s, "\n")[0] }, "was changed after the run ended", 4},
		{"it was removed", TrialsFile, nil, "0 of its 4 trials are left", 2},
		{"a result was changed", "0001*/" + ResultFile, func(s string) string { return strings.Replace(s, `"verdict":"hang"`, `"verdict":"pass"`, 1) }, "0001-", 4},
	} {
		t.Run(tc.name, func(t *testing.T) {
			root := t.TempDir()
			req := aRequest(t, 4)
			tasks := tasksOf(t, req)
			run, err := Create(t.Context(), root, req)
			if err != nil {
				t.Fatal(err)
			}
			for i, title := range []string{"a", "a", "b", "b"} {
				record(t, run, tasks, i, scenarios.Hang, title)
			}
			if err := run.Close(); err != nil {
				t.Fatal(err)
			}
			if s, err := Show(root, "last"); err != nil || s.Damaged != nil || s.Trials != 4 {
				t.Fatalf("before: %v, %v", s.Damaged, err)
			}
			found, err := filepath.Glob(filepath.Join(run.Dir(), tc.file))
			if err != nil || len(found) != 1 {
				t.Fatalf("%v, %v", found, err)
			}
			if tc.change == nil {
				err = os.Remove(found[0])
			} else {
				var text []byte
				if text, err = os.ReadFile(found[0]); err == nil {
					err = os.WriteFile(found[0], []byte(tc.change(string(text))), 0o666)
				}
			}
			if err != nil {
				t.Fatal(err)
			}
			s, err := Show(root, "last")
			if err != nil || s.Damaged == nil || !strings.Contains(s.Damaged.Error(), tc.want) || len(s.Records) < tc.left {
				t.Errorf("%d records, damaged %v, %v; want %q", len(s.Records), s.Damaged, err, tc.want)
			}
			if _, _, err := Resume(t.Context(), root, "last"); !errors.Is(err, ErrCantResume) {
				t.Errorf("resumed: %v", err)
			}
			// Trying it changes nothing.
			if s, err := Show(root, "last"); err != nil || s.Damaged == nil || s.Finished.IsZero() {
				t.Errorf("after that: %v, %v", s.Damaged, err)
			}
		})
	}
}

// Given trials that no request has, such as a bisection's, then each has a
// place of its own, and keeps its folder.
func TestTrialsWithoutARequest(t *testing.T) {
	root := t.TempDir()
	run := create(t, root)
	tasks := tasksOf(t, aRequest(t, 1))
	if a, b := run.Places(2), run.Places(2); a != 0 || b != 2 {
		t.Errorf("places from %d and from %d, want 0 and 2", a, b)
	}
	for i := range 4 {
		if record(t, run, tasks, i, scenarios.Pass, "").RunDir == "" {
			t.Errorf("trial %d has no folder", i)
		}
	}
	if err := run.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := Show(root, "last")
	if err != nil || len(s.Records) != 4 || s.Records[3].Task != 3 || s.Damaged != nil {
		t.Errorf("%d records, %v, %v", len(s.Records), s.Damaged, err)
	}
}
