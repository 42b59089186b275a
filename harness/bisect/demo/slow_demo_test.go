//go:build demo

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/blockrig/blockrig/results"
	"github.com/blockrig/blockrig/scenarios"
)

// slowRead is what slowReads does to a read, and what that is.
type slowRead struct {
	name, how string
	want      []scenarios.Verdict // one of them
	says      string              // a part of the reason
}

var (
	passes = []scenarios.Verdict{scenarios.Pass}
	hangs  = []scenarios.Verdict{scenarios.Hang}
	// A read may be killed for its slowness, and then is no answer.
	passesOrNot = []scenarios.Verdict{scenarios.Pass, scenarios.Error}
)

var slowReadsTried = []slowRead{
	{"plain", "0,0", passes, ""},
	{"sleeps-3s", "1,3000", passes, ""},
	{"sleeps-12s", "1,12000", passes, ""},
	{"waits-3s", "2,3000", passes, ""},
	{"shares-3s", "3,3000", passes, ""},
	{"shares-12s", "3,12000", passes, ""},
	{"spins-1s", "4,1000", passes, ""},
	{"spins-3s", "4,3000", passes, ""},
	{"spins-12s", "4,12000", passes, ""},
	{"shuts-3s", "5,3000", passes, ""},
	{"shuts-12s", "5,12000", passes, ""},
	{"naps-12s", "6,12000", passes, ""},
	{"sleeps-20s", "1,20000", passesOrNot, ""},
	{"shares-for-ever", "3,0", hangs, "can't be killed"},
	{"spins-for-ever", "4,0", hangs, ""},
	{"shuts-for-ever", "5,0", hangs, "stopped answering"},
	{"naps-for-ever", "6,0", hangs, "can't be killed"},
	{"waits-for-ever", "7,0", hangs, "can't be killed"},
	{"locked", "8,0", hangs, "can't be killed"},
}

// Given a kernel of real sources whose reads take their time in many ways, when
// they are judged, then what ends by itself is no hang, and what never ends is.
func TestSlowIsNoHang(t *testing.T) {
	command, h := buildCommand(t), historyOf(t, plan{mutant: &slowReads})
	var text strings.Builder
	text.WriteString(`name: slow
about: Reads that take their time.
disks: [{id: a, size: 64MiB}]
stack: [fs: ext4, file: 1MiB]
steps:
  - write: {to: /sys/module/ext4/parameters/slow, text: "${read}"}
  - io: {op: pread, direct: true, length: 8192}
matrix:
  read:
`)
	for _, r := range slowReadsTried {
		text.WriteString("    " + r.name + `: "` + r.how + "\"\n")
	}
	file := filepath.Join(t.TempDir(), "slow.yaml")
	if err := os.WriteFile(file, []byte(text.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), command, "--results", t.TempDir(), "--format", "json", "run", file, "-k", "git:"+h.repo.Dir()+"@"+h.tip())
	var said bytes.Buffer
	c.Stderr = &said
	out, err := c.Output()
	if code := c.ProcessState.ExitCode(); code != 1 {
		t.Errorf("status %d, %v, want 1\n%s", code, err, said.Bytes())
	}
	answers := map[string]results.Record{}
	for line := range bytes.Lines(out) {
		var a results.Record
		if err := json.Unmarshal(line, &a); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		answers[strings.TrimPrefix(a.Case, "read=")] = a
	}
	for _, r := range slowReadsTried {
		a := answers[r.name]
		t.Logf("%s: %s after %d ms: %s", r.name, a.Verdict, a.TrialMS, a.Reason)
		if !slices.Contains(r.want, a.Verdict) || !strings.Contains(a.Reason, r.says) {
			t.Errorf("%s: %q with %q, want one of %q with %q", r.name, a.Verdict, a.Reason, r.want, r.says)
		}
	}
}
