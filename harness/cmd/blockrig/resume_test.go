package main

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/blockrig/blockrig/harness/qemu"
	"github.com/blockrig/blockrig/harness/trial"
	"github.com/blockrig/blockrig/harness/verdict"
	"github.com/blockrig/blockrig/results"
	"github.com/blockrig/blockrig/scenarios/language"
)

func recordOf(tasks []trial.Task, i int, v verdict.Verdict) results.Record {
	t := tasks[i]
	return results.Record{Task: i, Kernel: results.Kernel{Ref: t.Ref}, Scenario: t.Case.Scenario.Name, Case: t.Case.ID, Verdict: v}
}

func TestLeftOver(t *testing.T) {
	tasks := tasksOf(3)
	done := []results.Record{recordOf(tasks, 4, verdict.Hang), recordOf(tasks, 0, verdict.Pass)}
	for _, tc := range []struct {
		until bool
		want  []int
	}{
		{false, []int{1, 2, 3, 5}},
		{true, []int{1, 2}}, // the other case has failed
	} {
		todo, records, err := leftOver(tasks, done, tc.until)
		if err != nil || !slices.Equal(todo, tc.want) {
			t.Errorf("until %v: %v, %v; want %v", tc.until, todo, err, tc.want)
		}
		if records[4] == nil || records[4].Verdict != verdict.Hang || records[0] == nil || records[1] != nil {
			t.Errorf("records: %v", records)
		}
	}
	for name, spoil := range map[string]func(*results.Record){
		"another case":     func(r *results.Record) { r.Case = "length=9" },
		"another kernel":   func(r *results.Record) { r.Kernel.Ref = "debian:7" },
		"another scenario": func(r *results.Record) { r.Scenario = "other" },
		"too far":          func(r *results.Record) { r.Task = 6 },
		"negative":         func(r *results.Record) { r.Task = -1 },
	} {
		rec := recordOf(tasks, 0, verdict.Pass)
		spoil(&rec)
		if _, _, err := leftOver(tasks, []results.Record{rec}, false); err == nil {
			t.Errorf("%s: it was taken for one of the run", name)
		}
	}
}

// Given repeats, then one folder is kept for each way in which a case ends,
// also when the run is gone on with.
func TestBooksKeepOneFolderForEachFace(t *testing.T) {
	sc, err := language.Load("plain-dio-read")
	if err != nil {
		t.Fatal(err)
	}
	cases, err := language.Cases(sc, nil)
	if err != nil {
		t.Fatal(err)
	}
	var tasks []trial.Task
	for n := range 6 {
		tasks = append(tasks, trial.Task{Ref: "debian:1", Case: cases[0], Repeat: n})
	}
	job := trial.Job{Kernel: trial.Kernel{Ref: "debian:1", Exact: "debian:1.0", Digest: "d"}, Scenario: "plain-dio-read", Case: cases[0].ID, Accel: qemu.TCG}
	ended := func(v verdict.Verdict, title string) trial.Outcome {
		return trial.Outcome{Judgement: verdict.Judgement{Verdict: v, Phase: "step", Signature: verdict.Signature{Phase: "step", Verdict: v, Titles: []string{title}}}}
	}
	root := t.TempDir()
	run, err := results.Create(t.Context(), root, []string{"blockrig"})
	if err != nil {
		t.Fatal(err)
	}
	b := newBooks(run, tasks, results.Stored{})
	do := func(b *books, i int, r trial.Outcome) results.Record {
		t.Helper()
		if _, err := b.begin(i, job); err != nil {
			t.Fatal(err)
		}
		rec, err := b.end(i, r)
		if err != nil {
			t.Fatal(err)
		}
		return rec
	}
	var kept []bool
	for i, title := range []string{"a", "a", "b"} {
		kept = append(kept, do(b, i, ended(verdict.Hang, title)).RunDir != "")
	}
	if err := run.Close(); err != nil {
		t.Fatal(err)
	}
	run, stored, err := results.Reopen(t.Context(), root, "last")
	if err != nil {
		t.Fatal(err)
	}
	want := []results.PlannedKernel{{Ref: "debian:1", Exact: "debian:1.0", Digest: "d"}}
	if diff := cmp.Diff(want, stored.Plan.Kernels); diff != "" {
		t.Errorf("kernels (-want +got):\n%s", diff)
	}
	b = newBooks(run, tasks, stored)
	kept = append(kept, do(b, 3, ended(verdict.Hang, "b")).RunDir != "", do(b, 4, ended(verdict.Pass, "")).RunDir != "")
	if !slices.Equal(kept, []bool{true, false, true, false, true}) {
		t.Errorf("kept: %v", kept)
	}
	if _, err := b.end(5, ended(verdict.Pass, "")); err == nil {
		t.Error("a trial ended that did not begin")
	}
	if err := run.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := results.Show(root, "last")
	if err != nil || len(s.Records) != 5 || len(s.Broken) != 0 {
		t.Errorf("%d records, broken %v, %v; want 5", len(s.Records), s.Broken, err)
	}
}

func TestWhatIsBesidesAnInterruption(t *testing.T) {
	interrupted, other, more := errors.New("interrupted"), errors.New("other"), errors.New("more")
	err := errors.Join(fmt.Errorf("wait: %w", interrupted), errors.Join(other, nil), errors.Join(interrupted, more))
	if got := besides(err, interrupted); !slices.Equal(got, []error{other, more}) {
		t.Errorf("got %v", got)
	}
	if got := besides(nil, interrupted); got != nil {
		t.Errorf("of nothing: %v", got)
	}
}

func TestSaidOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "accel")
	log := slog.New(slog.DiscardHandler)
	var got []bool
	for _, text := range []string{"no device", "no device", "it aborts", "it aborts"} {
		got = append(got, firstTime(dir, text, log))
	}
	if !slices.Equal(got, []bool{true, false, true, false}) {
		t.Errorf("first time: %v", got)
	}
	// Where nothing can be remembered, it is said again.
	for range 2 {
		if !firstTime("/dev/null/x", "no device", log) {
			t.Error("not said, though nobody can know")
		}
	}
}

func TestTheStoryThatIsTold(t *testing.T) {
	a := &app{}
	sc, err := a.storyScenario(nil)
	if err != nil || sc.Name != "lvm-mirror-dio-read" {
		t.Errorf("without a name: %v, %v", sc, err)
	}
	if _, err := a.storyScenario([]string{"plain-dio-read"}); err == nil || !strings.Contains(err.Error(), "no story") {
		t.Errorf("one without a story: %v", err)
	}
}
