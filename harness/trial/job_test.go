package trial

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/blockrig/blockrig/harness/console"
	"github.com/blockrig/blockrig/harness/qemu"
	"github.com/blockrig/blockrig/harness/verdict"
	"github.com/blockrig/blockrig/initramfs/protocol"
	"github.com/blockrig/blockrig/scenarios"
	"github.com/google/go-cmp/cmp"
)

// testJob is a trial with everything that a base depends on.
func testJob() Job {
	align := 511
	return Job{
		Kernel: Kernel{Ref: "debian:6.18", Exact: "debian:6.18.15-1", Digest: "kernel"}, Direct: true,
		Initramfs: "initramfs", Modules: []protocol.Module{{Path: "/lib/dm-mod.ko"}},
		QEMU: "qemu", Accel: qemu.TCG, CPUs: 1, Seed: []byte("seed"),
		Scenario: "s", Source: "name: s\n", Case: "length=512",
		Steps: []scenarios.Step{{IO: &scenarios.IO{Op: "pread", Length: 512, Expect: scenarios.Expect{Aligned: []string{"data"}}}}},
		Setup: scenarios.Setup{
			Machine: scenarios.Machine{Memory: 384 << 20},
			Disks:   []scenarios.Disk{{ID: "a", Bus: "ahci", Size: 128 << 20}},
			Require: scenarios.Require{DMAAlignment: &align},
			Stack: []scenarios.Layer{
				{Name: "main", On: []string{"a"}, LVM: &scenarios.LVM{Type: "mirror", Size: 64 << 20, Log: "disk"}},
				{Name: "fs", On: []string{"main"}, FS: &scenarios.FS{Type: "ext4", BlockSize: 4096}},
				{Name: "file", On: []string{"fs"}, File: &scenarios.File{Size: 1 << 20}},
			},
		},
	}
}

// changes are to all that a saved machine depends on.
var changes = map[string]func(*Job){
	"kernel":            func(j *Job) { j.Kernel.Digest = "other" },
	"form of the image": func(j *Job) { j.Direct = false },
	"initramfs":         func(j *Job) { j.Initramfs = "other" },
	"modules":           func(j *Job) { j.Modules = append(j.Modules, protocol.Module{Path: "/lib/ext4.ko"}) },
	"optional module":   func(j *Job) { j.Modules = []protocol.Module{{Path: "/lib/dm-mod.ko", Optional: true}} },
	"QEMU":              func(j *Job) { j.QEMU = "newer" },
	"accelerator":       func(j *Job) { j.Accel = qemu.KVM },
	"CPUs":              func(j *Job) { j.CPUs = 2 },
	"memory":            func(j *Job) { j.Machine.Memory++ },
	"disk":              func(j *Job) { j.Disks[0].Size++ },
	"another disk":      func(j *Job) { j.Disks = append(j.Disks, scenarios.Disk{ID: "b"}) },
	"requirement":       func(j *Job) { *j.Require.DMAAlignment = 3 },
	"type of volume":    func(j *Job) { j.Stack[0].LVM.Type = "raid1" },
	"log of the mirror": func(j *Job) { j.Stack[0].LVM.Log = "core" },
	"dmeventd":          func(j *Job) { j.Stack[0].LVM.Dmeventd = true },
	"block size":        func(j *Job) { j.Stack[1].FS.BlockSize = 1024 },
	"file":              func(j *Job) { j.Stack[2].File.Size++ },
	"no file system":    func(j *Job) { j.Stack = j.Stack[:1] },
	"array": func(j *Job) {
		j.Stack[0] = scenarios.Layer{Name: "main", On: []string{"a"}, MD: &scenarios.MD{Level: "raid1"}}
	},
	"another boot": func(j *Job) { j.Boot = 1 },
}

// others are changes that leave the saved machine as it is.
var others = map[string]func(*Job){
	"case":        func(j *Job) { j.Case = "length=4096" },
	"step":        func(j *Job) { j.Steps[0].IO.Length, j.Steps[0].IO.MemoryOffset = 4096, 32 },
	"expectation": func(j *Job) { j.Steps[0].IO.Expect.Aligned = nil },
	"scenario":    func(j *Job) { j.Scenario = "of another name" },
	"source":      func(j *Job) { j.Source = "in other words" },
	"allowed":     func(j *Job) { j.Allow = []string{"WARNING in bio_add_page"} },
	"seed":        func(j *Job) { j.Seed = []byte("other") },
	"cold":        func(j *Job) { j.Cold = true },
}

func TestKeysChangeWithAllThatMatters(t *testing.T) {
	for name, of := range map[string]struct {
		key func(Job) string
		all []map[string]func(*Job)
	}{
		"of a job":           {Job.Key, []map[string]func(*Job){changes, others}},
		"of a saved machine": {Job.baseKey, []map[string]func(*Job){changes}},
	} {
		seen := map[string]string{of.key(testJob()): "nothing changed"}
		for _, all := range of.all {
			for what, change := range all {
				j := testJob()
				change(&j)
				k := of.key(j)
				if other, ok := seen[k]; ok {
					t.Errorf("%s, %s: the same key as for: %s", name, what, other)
				}
				seen[k] = what
			}
		}
	}
}

func TestAllCasesOnAStackShareASavedMachine(t *testing.T) {
	want := testJob().baseKey()
	for what, change := range others {
		j := testJob()
		change(&j)
		if j.baseKey() != want {
			t.Errorf("%s: another machine", what)
		}
	}
}

func TestAJobsKeyDoesNotDependOnWhatItsKernelIsCalled(t *testing.T) {
	j := testJob()
	j.Kernel.Ref, j.Kernel.Exact = "debian:newest", "local:mine"
	if j.Key() != testJob().Key() {
		t.Error("another key")
	}
}

func TestAJobIsReadAsItWasWritten(t *testing.T) {
	want := testJob()
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got Job
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-written +read:\n%s", diff)
	}
	if got.Key() != want.Key() {
		t.Error("another key")
	}
}

func TestAnOutcomeIsReadAsItWasWritten(t *testing.T) {
	at := int64(512)
	want := Outcome{
		Judgement: verdict.Judgement{
			Verdict: scenarios.Corrupt, Also: []scenarios.Verdict{scenarios.Warn}, Phase: "step", Reason: "why",
			Signature: verdict.Signature{Phase: "step", Step: "pread", Verdict: scenarios.Corrupt, Titles: []string{"a", "task b; blocked"}},
		},
		Report:   verdict.Report{Phase: "done", Step: "pread", Observation: scenarios.Observation{Returned: true, Bytes: 4096, Mismatch: &at}},
		Findings: []console.Finding{{Kind: console.KindWarn, Title: "a", Line: 7}},
		Ready:    &protocol.Ready{Proof: []string{"p"}}, Step: &protocol.Result{MS: 3},
		Release: "6.18.15", BootID: "b", CPUs: 1, Accel: qemu.TCG, Warm: true,
		Started: time.Date(2026, 6, 14, 20, 8, 32, 5, time.UTC), Boot: 1, Trial: 2, Wall: 3, Guest: 4,
		Timing: []Timing{{"boot", "kernel", 5}}, Attempts: []Attempt{{scenarios.Error, "no", 9}},
	}
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got Outcome
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-written +read:\n%s", diff)
	}
}

func TestEachAttemptHasItsOwnEntropy(t *testing.T) {
	seen := map[string]bool{}
	other := testJob()
	other.Seed = []byte("other")
	for _, j := range []Job{testJob(), other} {
		for attempt := 1; attempt <= MaxAttempts; attempt++ {
			seen[string(j.entropy(attempt))] = true
		}
	}
	if len(seen) != 2*MaxAttempts {
		t.Errorf("%d different ones, want %d", len(seen), 2*MaxAttempts)
	}
}

// Given a kernel of the user's own, when it is built again under the same name,
// then it is no longer taken for the one that a job names.
func TestAFileThatWasReplacedIsAnother(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bzImage")
	write := func(text string) {
		t.Helper()
		temp := path + ".new"
		if err := os.WriteFile(temp, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(temp, path); err != nil {
			t.Fatal(err)
		}
	}
	write("one")
	p := &Preparer{}
	p.note("digest", path)
	if !p.files["digest"].same() {
		t.Error("an untouched file is another")
	}
	write("two")
	if p.files["digest"].same() {
		t.Error("a file that was replaced is the same")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if p.files["digest"].same() || p.files["never noted"].same() {
		t.Error("a file that is not there is the same")
	}
}
