//go:build vm && long

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/blockrig/blockrig/harness/hunt"
	"github.com/blockrig/blockrig/scenarios/language"
)

// hunted hunts, and gives what it found and its totals.
func hunted(t *testing.T, args ...string) (found []hunt.Finding, totals hunt.Totals, dir string) {
	t.Helper()
	root := t.TempDir()
	got := say(t, slices.Concat([]string{"hunt", "--format", "json", "--results", root}, args)...)
	lines := strings.Split(strings.TrimSpace(got.out), "\n")
	for _, line := range lines[:len(lines)-1] {
		var f hunt.Finding
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		found = append(found, f)
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &totals); err != nil {
		t.Fatalf("status %d: %v\n%s", got.status, err, got.errors)
	}
	t.Logf("%d programs, %d operations, %.0f a minute, %d machines; %d findings, %d alike, %d doubtful",
		totals.Programs, totals.Operations, totals.Rate, totals.Machines, totals.Findings, totals.Alike, len(totals.Doubtful))
	for _, f := range found {
		t.Logf("after %d s, %d trials: %s %s: %s: %s, plain: %s; %v", f.SpentMS/1000, f.Trials, f.Stack, f.Class, f.Says, f.Outcome, f.Plain, f.Titles)
	}
	want := exitPass
	if len(found) > 0 {
		want = exitFailure
	}
	if got.status != want {
		t.Errorf("status %d, want %d\n%s", got.status, want, got.errors)
	}
	return found, totals, filepath.Join(hunt.Root(root), totals.Hunt)
}

// Given the kernel of the report, when its stacks are hunted on, then its bug is
// found without being told, and the like of it in md raid1 and LVM raid1. Each
// finding is a scenario that run takes, and fails as it says.
func TestTheHuntFindsTheBugOfTheMail(t *testing.T) {
	found, _, dir := hunted(t, "--stack", "lvm-mirror,lvm-raid1,md-raid1", "-k", "debian:6.18", "--seed", "1", "--budget", "19m", "--known", "report")
	for _, want := range []struct {
		stack string
		class hunt.Class
	}{{"lvm-mirror", hunt.Hangs}, {"lvm-raid1", hunt.BlamesDisk}, {"md-raid1", hunt.BlamesDisk}} {
		i := slices.IndexFunc(found, func(f hunt.Finding) bool { return f.Stack == want.stack && f.Class == want.class })
		if i < 0 {
			t.Errorf("not found: %s %s", want.stack, want.class)
			continue
		}
		f := found[i]
		if len(f.Program) != 1 || !f.Cold || !f.Trigger.Memory {
			t.Errorf("%s: %s, cold %t", f.ID, f.Says, f.Cold)
		}
		name := filepath.Join(dir, f.ID+".yaml")
		if _, err := language.Load(name); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(filepath.Join(dir, f.ID+".txt")); err != nil {
			t.Error(err)
		}
		if got := say(t, "run", name, "-k", "debian:6.18", "--results", t.TempDir()); got.status != exitFailure || !strings.Contains(got.out, string(f.Verdict)) {
			t.Errorf("run %s: status %d\n%s%s", f.ID, got.status, got.out, got.errors)
		}
	}
}

// Given kernels without it, then the same programs on the same stacks find
// nothing. What the plain disk alone is suspected of, and no trial shows, may be
// the tool's own.
func TestTheHuntFindsNothingOnSoundKernels(t *testing.T) {
	for _, ref := range []string{"debian:6.17", "debian:newest"} {
		t.Run(ref, func(t *testing.T) {
			found, totals, _ := hunted(t, "--stack", "lvm-mirror,lvm-raid1,md-raid1", "-k", ref, "--seed", "1", "--budget", "3m")
			if len(found) > 0 {
				t.Errorf("%d findings", len(found))
			}
			for _, s := range totals.Doubtful {
				if s.Stack != "plain" {
					t.Errorf("suspected, and not shown again: %+v", s)
				}
			}
		})
	}
}
