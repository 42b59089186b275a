//go:build vm && long

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/blockrig/blockrig/harness/bisect"
	"github.com/blockrig/blockrig/harness/bisect/trials"
	"github.com/blockrig/blockrig/kernels"
)

// cachedRelease fetches a kernel if need be.
func cachedRelease(t *testing.T, ref string) bisect.Release {
	t.Helper()
	cache, err := cacheDir()
	if err != nil {
		t.Fatal(err)
	}
	store, err := kernels.Open(t.Context(), cache, nil)
	if err != nil {
		t.Fatal(err)
	}
	k, err := store.Resolve(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	all, err := store.List()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		if e.Exact == k.Exact {
			return bisect.Release{Version: e.Version, Ref: e.Exact}
		}
	}
	t.Fatalf("%s is not in the cache", ref)
	return bisect.Release{}
}

// releaseState is the folder of a bisection over releases, oldest first.
func releaseState(t *testing.T, m trials.Machine, refs ...string) (dir string, releases []bisect.Release) {
	t.Helper()
	for _, ref := range refs {
		releases = append(releases, cachedRelease(t, ref))
	}
	a := &app{}
	cases, err := a.casesFor(bisectScenario, bisectCase, nil)
	if err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(t.TempDir(), "state")
	s, err := trials.Create(dir, trials.Request{
		Command: []string{"blockrig", "bisect", "versions"}, Scenario: trials.ScenarioOf(cases[0]),
		Machine: m, Direction: bisect.Regression,
		Releases: &trials.ReleaseRequest{
			Releases: releases,
			Old:      trials.End{Name: refs[0], Commit: releases[0].Version},
			New:      trials.End{Name: refs[len(refs)-1], Commit: releases[len(refs)-1].Version},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, releases
}

// trialLines are the finished lines of a bisection's trials.
func trialLines(t *testing.T, dir string) []string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "trials.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(data), "\n")
	return lines[:len(lines)-1]
}

// Given a bisection over real releases that is killed again and again, when it
// is resumed, then no finished trial is made twice or lost, nothing is left of
// the killed ones, and the answer is the release that the bug came with.
func TestBisectReleasesThroughKills(t *testing.T) {
	dir, releases := releaseState(t, trials.Machine{Accel: "auto", Tools: "debian"}, "debian:6.12", "debian:6.17", "debian:6.18")
	resume := func(ctx context.Context) (*exec.Cmd, *bytes.Buffer) {
		c := exec.CommandContext(ctx, filepath.Join(command, "blockrig"), "--format", "json", "bisect", "resume", dir)
		var said bytes.Buffer
		c.Stderr = &said
		return c, &said
	}
	for _, after := range []int{4, 19} {
		before := trialLines(t, dir)
		c, said := resume(t.Context())
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		for len(trialLines(t, dir)) < after && syscall.Kill(c.Process.Pid, 0) == nil {
			time.Sleep(20 * time.Millisecond)
		}
		if err := c.Process.Kill(); err != nil {
			t.Fatalf("%v\n%s", err, said)
		}
		var exit *exec.ExitError
		if err := c.Wait(); !errors.As(err, &exit) || exit.ExitCode() != -1 {
			t.Fatalf("it ended with %v before it was killed\n%s", err, said)
		}
		now := trialLines(t, dir)
		if len(now) < after || strings.Join(now[:len(before)], "\n") != strings.Join(before, "\n") {
			t.Fatalf("there were %d lines, now there are %d, and not the same ones", len(before), len(now))
		}
	}
	before := trialLines(t, dir)
	c, said := resume(t.Context())
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	now := trialLines(t, dir)
	if strings.Join(now[:len(before)], "\n") != strings.Join(before, "\n") {
		t.Error("what was recorded before the kill has changed")
	}
	var a bisect.Answer
	if err := json.Unmarshal(out, &a); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if a.First == nil || a.First.Hash != releases[2].Version || a.Grade != bisect.Proven {
		t.Errorf("the answer is %+v, %s (%v); want %s, proven\n%s", a.First, a.Grade, a.Why, releases[2].Version, said)
	}
	if a.Target.Signature != (bisect.Signature{Verdict: "eio", Phase: "step", Step: "pread"}) {
		t.Errorf("it looked for %s", a.Target.Signature)
	}
	n := 0
	for _, line := range now {
		if strings.Contains(line, `"trial":`) {
			n++
		}
	}
	if a.Trials != n {
		t.Errorf("%d trials are recorded, the answer counts %d", n, a.Trials)
	}
	report, err := os.ReadFile(filepath.Join(dir, "report.txt"))
	if err != nil || !strings.Contains(string(report), "#regzbot introduced: v6.17..v6.18\n") || !strings.Contains(string(report), "| ") {
		t.Errorf("the report: %v\n%s", err, report)
	}
	for _, left := range []string{"machines", "worktree"} {
		if _, err := os.Stat(filepath.Join(dir, left)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there: %v", left, err)
		}
	}
	// Over and over, the same answer comes from the record alone.
	c, said = resume(t.Context())
	if again, err := c.Output(); err != nil || !bytes.Equal(again, out) || len(trialLines(t, dir)) != len(now) {
		t.Errorf("resumed once more it says %s, %v\n%s", again, err, said)
	}
}
