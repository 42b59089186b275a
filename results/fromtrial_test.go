package results

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/blockrig/blockrig/harness/console"
	"github.com/blockrig/blockrig/harness/qemu"
	"github.com/blockrig/blockrig/harness/trial"
	"github.com/blockrig/blockrig/harness/verdict"
	"github.com/blockrig/blockrig/scenarios"
	"github.com/blockrig/blockrig/scenarios/language"
)

func aTrial(t *testing.T) (trial.Job, trial.Outcome) {
	t.Helper()
	sc, err := language.Load("lvm-mirror-dio-read")
	if err != nil {
		t.Fatal(err)
	}
	job := trial.Job{
		Kernel:   trial.Kernel{Ref: "debian:2.0", Exact: "debian:2.0.15-1", Release: "2.0.15-package", Digest: "d"},
		Scenario: sc.Name, Source: string(sc.Source), Case: "length=512,memory_offset=32", Accel: qemu.TCG, CPUs: 1,
	}
	return job, trial.Outcome{
		Judgement: verdict.Judgement{
			Verdict: scenarios.EIO, Also: []scenarios.Verdict{scenarios.Degraded}, Phase: "step",
			Reason: "pread failed with EIO", Signature: verdict.Signature{Phase: "step", Step: "pread", Verdict: scenarios.EIO},
		},
		Report: verdict.Report{
			Phase: "done", Step: "pread", Asked: 512,
			Observation: scenarios.Observation{Returned: true, Errno: "EIO", Legs: []scenarios.Leg{{Name: "253:1", Disk: "a", Health: "R"}}},
		},
		Findings: []console.Finding{
			{Kind: console.KindWarn, Title: "of the boot", Baseline: true},
			{Kind: console.KindIO, Title: "Mirror read failed", Line: 700},
		},
		Release: "2.0.15-guest", BootID: "b-1", CPUs: 1, Accel: qemu.TCG, Warm: true,
		Started: time.Date(2026, 6, 14, 20, 8, 32, 0, time.FixedZone("", 7200)),
		Boot:    5600 * time.Millisecond, Trial: 30 * time.Millisecond, Wall: 7912 * time.Millisecond,
		Attempts: []trial.Attempt{{Verdict: scenarios.Error, Reason: "no output", MS: 90}, {Verdict: scenarios.EIO, Reason: "pread failed with EIO", MS: 7912}},
	}
}

func TestRecordOfATrial(t *testing.T) {
	job, res := aTrial(t)
	want := Record{
		Scenario: "lvm-mirror-dio-read", Case: "length=512,memory_offset=32",
		Kernel:  Kernel{Ref: "debian:2.0", Release: "2.0.15-guest", Exact: "debian:2.0.15-1", Digest: "d"},
		Verdict: scenarios.EIO, Also: []scenarios.Verdict{scenarios.Degraded}, Signature: verdict.Signature{Phase: "step", Step: "pread", Verdict: scenarios.EIO}, Phase: "step",
		Errno: "EIO", Legs: []scenarios.Leg{{Name: "253:1", Disk: "a", Health: "R"}},
		Findings: []Finding{{console.KindIO, "Mirror read failed", "", 700}},
		Accel:    "tcg", CPUs: 1, Warm: true, BootID: "b-1", BootMS: 5600, TrialMS: 7912,
		Attempts: []Attempt{{Verdict: scenarios.Error, Reason: "no output", MS: 90}, {Verdict: scenarios.EIO, Reason: "pread failed with EIO", MS: 7912}},
		Reason:   "pread failed with EIO", Outcome: "EIO", Started: time.Date(2026, 6, 14, 18, 8, 32, 0, time.UTC),
	}
	if diff := cmp.Diff(want, FromTrial(job, res)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	res.Release = ""
	if got := FromTrial(job, res).Kernel.Release; got != "2.0.15-package" {
		t.Errorf("a guest that did not say its release: %q, want the package's", got)
	}
}

func TestFilesOfATrialAreKept(t *testing.T) {
	job, res := aTrial(t)
	run := create(t, t.TempDir())
	tr := begin(t, run)
	want := map[string]string{
		ConsoleFile:             "second try\n",
		EventsFile:              "events\n",
		trial.AttemptConsole(1): "first try\n",
		ArgsFile:                "qemu\n",
	}
	for name, text := range want {
		if err := os.WriteFile(filepath.Join(tr.dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(work(t, tr), "a.raw"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := tr.keep(job); err != nil {
		t.Fatal(err)
	}
	rec := recorded(t, tr, FromTrial(job, res))
	want[ScenarioFile] = job.Source
	got := map[string]string{}
	for _, name := range tree(t, rec.RunDir) {
		text, err := os.ReadFile(filepath.Join(rec.RunDir, name))
		if err != nil {
			t.Fatal(err)
		}
		if name != ResultFile && name != JobFile {
			got[name] = string(text)
		}
	}
	var kept trial.Job
	if src, err := os.ReadFile(filepath.Join(rec.RunDir, JobFile)); err != nil || json.Unmarshal(src, &kept) != nil || kept.Key() != job.Key() {
		t.Errorf("the job that was kept is %+v, %v", kept, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	// The scenario that was kept is one that can be run again.
	again, err := language.Load(filepath.Join(rec.RunDir, ScenarioFile))
	if err != nil || again.Name != rec.Scenario {
		t.Errorf("the scenario that was kept: %v", err)
	}
	if err := run.Close(); err != nil {
		t.Fatal(err)
	}
}

// Given a machine that never ran, then its record is kept all the same.
func TestKeepOfATrialThatNeverRan(t *testing.T) {
	job, _ := aTrial(t)
	run := create(t, t.TempDir())
	tr := begin(t, run)
	res := trial.Outcome{Judgement: verdict.Judgement{Verdict: scenarios.Error, Phase: "infra", Reason: "QEMU is not here"}}
	if err := tr.keep(job); err != nil {
		t.Fatal(err)
	}
	rec := recorded(t, tr, FromTrial(job, res))
	for _, name := range []string{ConsoleFile, EventsFile, ArgsFile} {
		if info, err := os.Stat(filepath.Join(rec.RunDir, name)); err != nil || info.Size() != 0 {
			t.Errorf("%s: %v, %v, want an empty file", name, info, err)
		}
	}
	if err := run.Close(); err != nil {
		t.Fatal(err)
	}
}
