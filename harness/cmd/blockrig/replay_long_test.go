//go:build vm && long

package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Given a trial that failed on a real kernel, when it is bundled, then
// reproduce.sh shows the same on the console without blockrig, and replay gives
// the same verdict; on a kernel with the fix, replay passes.
func TestABundleShowsTheFailureAgain(t *testing.T) {
	results := filepath.Join(t.TempDir(), "runs")
	blockrig := func(want int, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), filepath.Join(command, "blockrig"), append([]string{"--results", results}, args...)...)
		out, err := cmd.CombinedOutput()
		if got := cmd.ProcessState.ExitCode(); got != want {
			t.Fatalf("blockrig %v: status %d, %v, want %d\n%s", args, got, err, want, out)
		}
		return string(out)
	}
	blockrig(1, "run", "lvm-mirror-dio-read", "-k", "debian:6.18.15", "--case", "length=512,memory_offset=32")
	dir := t.TempDir()
	one, two := filepath.Join(dir, "one.tar.zst"), filepath.Join(dir, "two.tar.zst")
	blockrig(0, "results", "bundle", "last/1", "-o", one)
	blockrig(0, "results", "bundle", "last/1", "-o", two)
	a, err1 := os.ReadFile(one)
	b, err2 := os.ReadFile(two)
	if err1 != nil || err2 != nil || !bytes.Equal(a, b) {
		t.Errorf("the same trial gives other bytes: %v, %v", err1, err2)
	}

	if out, err := exec.CommandContext(t.Context(), "tar", "-C", dir, "-xf", one).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "sh", filepath.Join(dir, "blockrig-bundle", "reproduce.sh")).CombinedOutput()
	if err != nil {
		t.Fatalf("reproduce.sh: %v\n%s", err, out)
	}
	for _, want := range []string{"Mirror read failed", "guest: pread returned -1 (EIO)", "When it was recorded, it showed: eio"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("reproduce.sh does not show %q:\n%s", want, out)
		}
	}
	again := blockrig(1, "classify", filepath.Join(dir, "blockrig-bundle", "console.reproduced.log"))
	if !strings.Contains(again, "dm-mirror: Mirror read failed") {
		t.Errorf("its console is judged as\n%s", again)
	}

	if said := blockrig(1, "replay", one); !strings.Contains(said, "the same as recorded: eio") {
		t.Errorf("replay says\n%s", said)
	}
	if said := blockrig(0, "replay", one, "-k", "debian:7.3.4"); !strings.Contains(said, "now: pass (EINVAL)") {
		t.Errorf("replay with the fix says\n%s", said)
	}
}
