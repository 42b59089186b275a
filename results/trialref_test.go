package results

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/blockrig/blockrig/harness/trial"
	"github.com/blockrig/blockrig/harness/verdict"
	"github.com/blockrig/blockrig/scenarios"
)

// Given a run of two trials, of which one has a folder, then each is found by
// all that a user may call it.
func TestATrialIsFoundByItsName(t *testing.T) {
	root := t.TempDir()
	req := aRequest(t, 2)
	run, err := Create(t.Context(), root, req)
	if err != nil {
		t.Fatal(err)
	}
	tasks := tasksOf(t, req)
	for n := range 2 {
		c := tasks[n].Case
		j := trial.Job{Scenario: c.Scenario.Name, Source: string(c.Scenario.Source), Case: c.ID, Kernel: trial.Kernel{Ref: "debian:1"}, Seed: []byte{byte(n + 1)}}
		if _, err := run.Begin(n, j); err != nil {
			t.Fatal(err)
		}
		if _, err := run.End(n, trial.Outcome{Judgement: verdict.Judgement{Verdict: scenarios.Hang, Signature: verdict.Signature{Phase: "step", Step: "pread", Verdict: scenarios.Hang}}}); err != nil {
			t.Fatal(err)
		}
	}
	closed(t, run)
	for _, word := range []string{"last/1", run.ID() + "/1", "last/0001", "new failure: " + run.ID() + "/1, twice", "(" + run.ID() + "/1)"} {
		r, err := Find(root, word)
		if err != nil || r.Name() != run.ID()+"/1" || r.Case.ID != tasks[0].Case.ID || string(r.Job.Seed) != "\x01" || filepath.Dir(r.Dir) != filepath.Join(root, run.ID()) {
			t.Errorf("%s: %+v, %v", word, r, err)
		}
	}
	// Of the other one, the run's request knows the case.
	if r, err := Find(root, "last/2"); err != nil || r.Dir != "" || r.Case.ID != tasks[1].Case.ID || len(r.Job.Seed) > 0 {
		t.Errorf("%+v, %v", r, err)
	}
	for word, want := range map[string]string{"last": "it has 2 trials; name one", "last/3": "it has no trial", "none/1": "no such run", "": "no such run", "last/../x": "it has no trial"} {
		if _, err := Find(root, word); !errors.Is(err, ErrNoRun) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", word, err, want)
		}
	}
}

func TestTheSeedIsThatOfTheFirstTrialOfACase(t *testing.T) {
	req := aRequest(t, 2)
	req.Seed = []byte("seed")
	tasks := tasksOf(t, req)
	jobs := make([]trial.Queued, len(tasks))
	req.Seeded(tasks, jobs)
	for i, j := range jobs {
		if (string(j.Seed) == "seed") != (tasks[i].Repeat == 0) {
			t.Errorf("task %d, repeat %d, has seed %q", i, tasks[i].Repeat, j.Seed)
		}
	}
}

func TestAgainSaysWhetherATrialEndedAlike(t *testing.T) {
	rec := func(v scenarios.Verdict, step, said string) Record {
		return Record{Verdict: v, Outcome: said, Signature: verdict.Signature{Phase: "step", Step: step, Verdict: v, Titles: []string{said}}}
	}
	for _, tt := range []struct {
		was, is Record
		want    string
	}{
		{rec("hang", "pread", "no answer"), rec("hang", "pread", "other titles"), "the same as recorded: hang in step pread (other titles)"},
		{rec("hang", "pread", "no answer"), rec("hang", "fsync", ""), "recorded: hang in step pread (no answer); now: hang in step fsync"},
		{rec("hang", "pread", "no answer"), rec("pass", "pread", "EINVAL"), "recorded: hang in step pread (no answer); now: pass (EINVAL)"},
		{rec("hang", "pread", ""), rec("error", "", ""), "no verdict now; recorded: hang in step pread"},
	} {
		if got := Again(tt.was, tt.is); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}
