//go:build demo

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/blockrig/blockrig/scenarios"
)

// slowRead is what slowReads does to a read, and what that is.
type slowRead struct {
	name, how string
	want      scenarios.Verdict
	says      string // a part of the reason
}

// noHang is any verdict but a hang: that of a read that may be killed for its
// slowness, and then is no answer.
const noHang = scenarios.Verdict("no hang")

var slowReadsTried = []slowRead{
	{"plain", "0,0", scenarios.Pass, ""},
	{"sleeps-3s", "1,3000", scenarios.Pass, ""},
	{"sleeps-12s", "1,12000", scenarios.Pass, ""},
	{"waits-3s", "2,3000", scenarios.Pass, ""},
	{"shares-3s", "3,3000", scenarios.Pass, ""},
	{"shares-12s", "3,12000", scenarios.Pass, ""},
	{"spins-1s", "4,1000", scenarios.Pass, ""},
	{"spins-3s", "4,3000", scenarios.Pass, ""},
	{"spins-12s", "4,12000", scenarios.Pass, ""},
	{"shuts-3s", "5,3000", scenarios.Pass, ""},
	{"shuts-12s", "5,12000", scenarios.Pass, ""},
	{"naps-12s", "6,12000", scenarios.Pass, ""},
	{"sleeps-20s", "1,20000", noHang, ""},
	{"shares-for-ever", "3,0", scenarios.Hang, "can't be killed"},
	{"spins-for-ever", "4,0", scenarios.Hang, ""},
	{"shuts-for-ever", "5,0", scenarios.Hang, "stopped answering"},
	{"naps-for-ever", "6,0", scenarios.Hang, "can't be killed"},
	{"waits-for-ever", "7,0", scenarios.Hang, "can't be killed"},
	{"locked", "8,0", scenarios.Hang, "can't be killed"},
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
	answers := map[string]slowAnswer{}
	for line := range bytes.Lines(out) {
		var a slowAnswer
		if err := json.Unmarshal(line, &a); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		answers[strings.TrimPrefix(a.Case, "read=")] = a
	}
	for _, r := range slowReadsTried {
		a := answers[r.name]
		t.Logf("%s: %s after %d ms: %s", r.name, a.Verdict, a.MS, a.Reason)
		right := a.Verdict == r.want || r.want == noHang && (a.Verdict == scenarios.Pass || a.Verdict == scenarios.Error)
		if !right || !strings.Contains(a.Reason, r.says) {
			t.Errorf("%s: %q with %q, want %q with %q", r.name, a.Verdict, a.Reason, r.want, r.says)
		}
	}
}

type slowAnswer struct {
	Case, Reason string
	Verdict      scenarios.Verdict
	MS           int64 `json:"trial_ms"`
}
