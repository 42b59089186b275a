package guest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/blockrig/blockrig/harness/child/childtest"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/blockrig/blockrig/initramfs/guest/layer"
	"github.com/blockrig/blockrig/initramfs/protocol"
	"github.com/blockrig/blockrig/scenarios"
	"github.com/blockrig/blockrig/scenarios/programs"
)

// sweepIn has this test binary play PID 1, in a namespace of its own: with two
// files in this folder in place of devices it does the sweep in sweep.json.
const sweepIn = "BLOCKRIG_TEST_SWEEP"

func TestMain(m *testing.M) {
	if os.Args[0] == childName {
		os.Exit(childMain())
	}
	if dir := os.Getenv(sweepIn); dir != "" {
		playSweep(dir)
	}
	os.Exit(m.Run())
}

func playSweep(dir string) {
	log, err := os.Create(filepath.Join(dir, "kmsg"))
	if err != nil {
		os.Exit(1)
	}
	g := &guest{link: &link{f: os.Stdout}, kmsg: &kmsg{f: log}}
	for _, id := range []string{"a", "b"} {
		g.stack.Parts = append(g.stack.Parts, &layer.Part{
			Name: id, Path: filepath.Join(dir, id), Device: layer.Device{Name: "no-such-disk-" + id},
			Disk: &protocol.Disk{Disk: scenarios.Disk{ID: id}},
		})
	}
	var s protocol.Sweep
	src, err := os.ReadFile(filepath.Join(dir, "sweep.json"))
	if err == nil {
		err = json.Unmarshal(src, &s)
	}
	if err == nil {
		err = g.sweep(s)
	}
	if err != nil {
		g.fail(err)
	}
	os.Exit(0)
}

// swept does a sweep on two files and gives all that the guest says of it.
func swept(t *testing.T, s protocol.Sweep) (out []protocol.Swept) {
	t.Helper()
	dir := t.TempDir()
	for _, id := range []string{"a", "b"} {
		if err := os.WriteFile(filepath.Join(dir, id), make([]byte, 1<<20), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.LimitMS, s.IdleMS, s.ReapMS, s.WaitMS = 60_000, 60_000, 1000, 1000
	src, err := json.Marshal(s)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "sweep.json"), src, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	var said, errors bytes.Buffer
	env := append(os.Environ(), sweepIn+"="+dir, "TMPDIR="+dir)
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	attr := childtest.Mounts()
	if attr != nil {
		attr.Cloneflags |= unix.CLONE_NEWPID
	} else {
		exe, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		args := slices.Concat(childtest.Sudo(t), []string{"env"}, env, []string{"unshare", "--pid", "--fork", "--kill-child", exe})
		cmd = exec.CommandContext(t.Context(), args[0], args[1:]...)
	}
	cmd.Env, cmd.SysProcAttr = env, attr
	cmd.Stdout, cmd.Stderr = &said, &errors
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, errors.String())
	}
	lines := bufio.NewScanner(&said)
	lines.Buffer(nil, protocol.MaxLine)
	for lines.Scan() {
		var m protocol.FromGuest
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			t.Fatalf("%v: %s", err, lines.Bytes())
		}
		if m.Fail != nil {
			t.Fatal(m.Fail.Why)
		}
		if m.Swept != nil && m.Trial == s.Trial {
			out = append(out, *m.Swept)
		}
	}
	if len(out) == 0 {
		t.Fatalf("the guest said nothing\n%s", errors.String())
	}
	return out
}

var threePrograms = []programs.Program{
	{{Op: "pwrite", Direct: true, Offset: 4096, Length: 4096}, {Op: "pread", Offset: 4000, Length: 200}},
	{{Op: "pread", Length: 8192}},
	{{Op: "libaio-write", Direct: true, Length: 512, MemoryOffset: 512}, {Op: "fdatasync"}},
}

// Given two sound devices, when programs are done on both, then each is reported
// once, with all answers.
func TestASweepReportsEachPart(t *testing.T) {
	got := swept(t, protocol.Sweep{Trial: 7, Parts: []string{"a", "b"}, Space: 64 << 10, Set: programs.Set{Programs: threePrograms}, Skip: map[string][]int{"b": {0, 2}}})
	want := []protocol.Swept{
		{Part: "a", At: -1, Answers: [][]string{{"", ""}, {""}, {"", ""}}},
		{Part: "b", At: -1, Answers: [][]string{nil, {""}, nil}, Last: true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// With Each there is one report for each program on each part.
func TestASweepThatLooksAfterEachProgram(t *testing.T) {
	got := swept(t, protocol.Sweep{Trial: 7, Parts: []string{"a", "b"}, Space: 64 << 10, Set: programs.Set{Programs: threePrograms}, Each: true})
	var order []string
	for _, s := range got {
		order = append(order, s.Part+string(rune('0'+s.From)))
	}
	if diff := cmp.Diff([]string{"a0", "b0", "a1", "b1", "a2", "b2"}, order); diff != "" || !got[5].Last || got[4].Last {
		t.Errorf("(-want +got):\n%s\n%+v", diff, got)
	}
}

// Given a program that can't go well, then its errno is the answer, and the sweep
// goes on.
func TestAnErrnoIsAnAnswer(t *testing.T) {
	all := slices.Clone(threePrograms)
	all[1] = []scenarios.IO{{Op: "pwrite", Offset: 1 << 62, Length: 512}}
	got := swept(t, protocol.Sweep{Trial: 7, Parts: []string{"a"}, Space: 64 << 10, Set: programs.Set{Programs: all}})
	if len(got) != 1 || got[0].Stopped || !cmp.Equal(got[0].Answers[1], []string{"EFBIG"}) || got[0].Answers[2] == nil {
		t.Errorf("%+v", got)
	}
}
