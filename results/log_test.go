package results

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/harness/verdict"
)

func task(rec Record, n int) Record {
	rec.Task = n
	return rec
}

// Given repeats of which one folder is kept, then the others are there too.
func TestTrialsWithoutAFolderAreRecorded(t *testing.T) {
	root := t.TempDir()
	run := create(t, root)
	kept := store(t, begin(t, run), task(three()[1], 2))
	for _, n := range []int{3, 0} {
		tr := begin(t, run)
		if err := os.WriteFile(filepath.Join(tr.Dir, ConsoleFile), []byte("x"), 0o666); err != nil {
			t.Fatal(err)
		}
		rec, err := tr.Record(task(three()[0], n))
		if err != nil || rec.RunDir != "" {
			t.Fatalf("%+v, %v", rec, err)
		}
		if _, err := os.Stat(tr.Dir); !errors.Is(err, fs.ErrNotExist) {
			t.Error("the folder stayed")
		}
	}
	if err := run.Record(task(three()[2], 1)); err != nil {
		t.Fatal(err)
	}
	if err := run.Record(Record{Scenario: "s"}); err == nil {
		t.Error("a record without a verdict was stored")
	}
	if err := run.Close(); err != nil {
		t.Fatal(err)
	}
	if err := run.Record(three()[0]); err == nil {
		t.Error("a trial was recorded in a run that has ended")
	}
	s, err := Show(root, "last")
	if err != nil || len(s.Broken) != 0 {
		t.Fatalf("%v, broken %v", err, s.Broken)
	}
	var tasks []int
	for _, r := range s.Records {
		tasks = append(tasks, r.Task)
		if want := map[bool]string{true: kept.RunDir}[r.Task == 2]; r.RunDir != want {
			t.Errorf("task %d has the folder %q, want %q", r.Task, r.RunDir, want)
		}
	}
	if !slices.Equal(tasks, []int{0, 1, 2, 3}) {
		t.Errorf("tasks %v, want them in the order in which they were asked for", tasks)
	}
}

// Given a disk that takes no more, or a folder that is gone, then a trial is
// stored whole or not at all.
func TestATrialThatCantBeRecordedIsNotStored(t *testing.T) {
	run := create(t, t.TempDir())
	if err := os.Mkdir(filepath.Join(run.Dir(), TrialsFile), 0o777); err != nil {
		t.Fatal(err)
	}
	if rec, err := begin(t, run).Store(three()[0]); err == nil || rec.RunDir != "" {
		t.Errorf("stored in %q, %v", rec.RunDir, err)
	}
	if got := tree(t, run.Dir()); len(got) != 3 { // lock, run.json and the folder of above
		t.Errorf("left: %v", got)
	}
	if err := run.Close(); err != nil {
		t.Fatal(err)
	}
}

// What stands in the file may come from anywhere.
func TestTrialsFileIsNotTrusted(t *testing.T) {
	root := t.TempDir()
	run := create(t, root)
	good, err := text.JSONLine(task(three()[0], 7))
	if err != nil {
		t.Fatal(err)
	}
	led := three()[0]
	led.RunDir = "../../../etc"
	away, err := text.JSONLine(led)
	if err != nil {
		t.Fatal(err)
	}
	text := string(good) + "{\"verdict\":\"\x1b[31m\"}\n\n" + string(away) + string(good[:40])
	if err := os.WriteFile(filepath.Join(run.Dir(), TrialsFile), []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	s, err := Show(root, "last")
	if err != nil || len(s.Records) != 2 || s.Records[1].Task != 7 {
		t.Fatalf("%d records, %v; want 2", len(s.Records), err)
	}
	for _, r := range s.Records {
		if r.RunDir != "" {
			t.Errorf("a folder of %q was believed", r.RunDir)
		}
	}
	if len(s.Broken) != 2 || !strings.Contains(s.Broken[0].Error(), TrialsFile+":2: not a result") || strings.Contains(s.Broken[0].Error(), "\x1b") {
		t.Errorf("broken: %v", s.Broken)
	}
	if err := os.WriteFile(filepath.Join(run.Dir(), TrialsFile), []byte(string(good)+strings.Repeat("x", maxStored+1)+"\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	if s, err := Show(root, "last"); err != nil || len(s.Records) != 1 || len(s.Broken) != 1 {
		t.Errorf("a long line: %d records, broken %v, %v", len(s.Records), s.Broken, err)
	}
	if err := run.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestReopen(t *testing.T) {
	root := t.TempDir()
	run := create(t, root)
	plan := Plan{Tasks: 4, Kernels: []PlannedKernel{{"debian:2", "debian:2.0.15", "d"}}, Scenarios: []PlannedScenario{{"./s.yaml", "name: s\n"}}}
	if err := run.SetPlan(plan); err != nil {
		t.Fatal(err)
	}
	store(t, begin(t, run), task(three()[0], 0))
	if _, _, err := Reopen(t.Context(), root, "last"); !errors.Is(err, ErrGoesOn) {
		t.Errorf("a run that goes on: %v", err)
	}
	if err := run.Close(); err != nil {
		t.Fatal(err)
	}
	// A process died in the middle of a line, and of a trial.
	log := filepath.Join(run.Dir(), TrialsFile)
	line, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(log, []byte(string(line)+`{"scenario":"`), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(run.Dir(), tempPrefix+"0002", "work"), 0o777); err != nil {
		t.Fatal(err)
	}

	again, stored, err := Reopen(t.Context(), root, run.ID()[:20])
	if err != nil {
		t.Fatal(err)
	}
	if len(stored.Records) != 1 || stored.Plan.Tasks != 4 || len(stored.Broken) != 0 {
		t.Errorf("stored: %+v", stored)
	}
	if k, ok := stored.Plan.Kernel("debian:2"); !ok || k.Exact != "debian:2.0.15" {
		t.Errorf("kernel %+v, %v", k, ok)
	}
	if sc, ok := stored.Plan.Scenario("./s.yaml"); !ok || sc.Source != "name: s\n" {
		t.Errorf("scenario %+v, %v", sc, ok)
	}
	if s, err := Show(root, "last"); err != nil || !s.Finished.IsZero() {
		t.Errorf("a run that goes on again has an end: %v, %v", s.Finished, err)
	}
	// While it goes on, nobody sweeps it or takes it.
	if removed, err := Sweep(t.Context(), root); err != nil || len(removed) != 0 {
		t.Errorf("swept %v, %v", removed, err)
	}
	if _, _, err := Reopen(t.Context(), root, "last"); !errors.Is(err, ErrGoesOn) {
		t.Errorf("taken twice: %v", err)
	}
	if _, err := begin(t, again).Record(task(three()[0], 1)); err != nil {
		t.Fatal(err)
	}
	rec := store(t, begin(t, again), task(three()[1], 2))
	if number, _, ok := cutNumber(filepath.Base(rec.RunDir)); !ok || number <= 1 {
		t.Errorf("the folder is %s, whose number was there before", rec.RunDir)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := Show(root, "last")
	if err != nil || len(s.Records) != 3 || len(s.Broken) != 0 || s.Finished.IsZero() || s.Records[2].Verdict != verdict.Hang {
		t.Errorf("after the end: %+v, %v", s, err)
	}
	// One that gets nothing more stays as it was.
	for range 2 {
		r, _, err := Reopen(t.Context(), root, "last")
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if s, err := Show(root, "last"); err != nil || len(s.Records) != 3 {
		t.Errorf("reopened for nothing: %d records, %v", len(s.Records), err)
	}
	if _, _, err := Reopen(t.Context(), root, "2020"); !errors.Is(err, ErrNoRun) {
		t.Errorf("no such run: %v", err)
	}
}

func TestLastNewline(t *testing.T) {
	for _, tc := range []struct {
		text string
		want int64
	}{
		{"", 0},
		{"a", 0},
		{"\n", 1},
		{"a\nb", 2},
		{"a\n" + strings.Repeat("b", 200<<10), 2},
		{strings.Repeat("b", 64<<10) + "\n", 64<<10 + 1},
	} {
		path := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(path, []byte(tc.text), 0o666); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		got, size, err := lastNewline(f)
		if got != tc.want || size != int64(len(tc.text)) || err != nil {
			t.Errorf("%.5q…: %d of %d, %v; want %d", tc.text, got, size, err, tc.want)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
