//go:build demo

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Given a history of real sources, when blockrig bisects it unattended, then
// it names the commit that took the last part of the fix back, and calls it
// proven.
func TestDemo(t *testing.T) { testDemo(t) }

// The same with as few commits as show it.
func TestDemoOfEightCommits(t *testing.T) { testDemo(t, "-commits", fmt.Sprint(smallest)) }

// Given a symptom that grows on the way, then both changes are named.
func TestDemoOfASymptomThatGrows(t *testing.T) { testDemo(t, "-commits", "12", "-grow") }

// Given a failing end that warns of each read, by an older commit, and gives
// too few bytes, by another one, and a third that had the reads answer ENOMEM
// for a while, then one search names the commit of each, and both are proven:
// without the second one the warning remains.
func TestDemoOfSeveralThings(t *testing.T) { testDemo(t, "-several") }

// Given a culprit of which a later commit has changed a line, so that it can't
// be reverted, then it is proven by its change alone.
func TestDemoOfARevertThatConflicts(t *testing.T) { testDemo(t, "-conflict") }

func testDemo(t *testing.T, args ...string) {
	args = append([]string{"-blockrig", buildCommand(t), "-state", filepath.Join(t.TempDir(), "state")}, args...)
	var out bytes.Buffer
	err := demo(t.Context(), args, &out, &out)
	t.Logf("%s", out.Bytes())
	if err != nil {
		t.Error(err)
	}
}

func buildCommand(t *testing.T) string {
	t.Helper()
	command := filepath.Join(t.TempDir(), "blockrig")
	c := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-o", command, "../../cmd/blockrig")
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("build blockrig: %v\n%s", err, out)
	}
	return command
}

// smallHistory is the smallest one of real sources.
func smallHistory(t *testing.T) *history {
	return historyOf(t, plan{commits: smallest, seed: defaultSeed})
}

func historyOf(t *testing.T, p plan) *history {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	s, err := fetch(t.Context(), filepath.Join(cache, "blockrig"), defaultSuite, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	h, err := p.make(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// Given a bisection of commits that is killed again and again, while it builds
// too, when it is resumed, then it goes on with every trial it had, and ends
// with the right commit.
func TestBisectCommitsThroughKills(t *testing.T) {
	command, h := buildCommand(t), smallHistory(t)
	state := filepath.Join(t.TempDir(), "state")
	lines := func() []string {
		data, err := os.ReadFile(filepath.Join(state, "trials.jsonl"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		all := strings.Split(string(data), "\n")
		return all[:len(all)-1]
	}
	args := []string{
		"bisect", "git", "--repo", h.repo.Dir(), "--good", h.base, "--bad", h.tip(), "--case", caseID, "--state", state, scenario,
	}
	for _, after := range []int{1, 6, 18, 22, 26, 31} {
		before := lines()
		c := exec.CommandContext(t.Context(), command, args...)
		var said bytes.Buffer
		c.Stdout, c.Stderr = &said, &said
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		for len(lines()) < after && syscall.Kill(c.Process.Pid, 0) == nil {
			time.Sleep(20 * time.Millisecond)
		}
		if err := c.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		var exit *exec.ExitError
		if err := c.Wait(); !errors.As(err, &exit) || exit.ExitCode() != -1 {
			t.Fatalf("with %d lines, before it was killed, it ended with %v\n%s", len(lines()), err, said.Bytes())
		}
		if now := lines(); !slices.Equal(now[:len(before)], before) {
			t.Fatalf("of the %d lines before some have changed", len(before))
		}
		args = []string{"bisect", "resume", state}
	}
	before := lines()
	out, err := exec.CommandContext(t.Context(), command, "--format", "json", "bisect", "resume", state).Output()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(lines()[:len(before)], before) {
		t.Error("what was recorded before the last kill has changed")
	}
	var r run
	if err := json.Unmarshal(out, &r.answer); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := r.judge(h, plan{}, &bytes.Buffer{}); err != nil {
		t.Error(err)
	}
	trees, err := h.repo.Run(t.Context(), "worktree", "list")
	if err != nil || strings.Contains(trees, state) {
		t.Errorf("its worktree is still there: %s, %v", trees, err)
	}
}

// Given patches that mend, break, do nothing that is compiled and do not
// apply, when they are tried on real sources, then that is what is said.
func TestTryPatch(t *testing.T) {
	command, h := buildCommand(t), smallHistory(t)
	culprit := h.with(roleCulprit).hash
	dir := t.TempDir()
	put := func(name string, args ...string) string {
		text, err := h.repo.Run(t.Context(), args...)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	fix := put("fix.patch", "diff", "--no-ext-diff", culprit, culprit+"^")
	harm := put("harm.mbox", "format-patch", "--no-ext-diff", "--stdout", "-1", culprit)
	words := filepath.Join(dir, "words.patch")
	if err := os.WriteFile(words, []byte("diff --git a/words b/words\nnew file mode 100644\n--- /dev/null\n+++ b/words\n@@ -0,0 +1 @@\n+words\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, base, patch string
		status            int
		says              string
		tested            bool
	}{
		{"it mends", h.tip(), fix, 0, "the patch helps", true},
		{"it breaks", culprit + "^", harm, 1, "the patch harms", false},
		{"it is not compiled", culprit, words, 1, "the same binary", false},
		{"it is there already", culprit, harm, 2, "does not apply", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := exec.CommandContext(t.Context(), command, "--results", t.TempDir(), "try-patch", "--repo", h.repo.Dir(), "--base", tc.base,
				"--tested-by", "A Tester <a@a.example>", "--case", caseID, tc.patch, scenario)
			out, err := c.CombinedOutput()
			status := c.ProcessState.ExitCode()
			if status != tc.status || !strings.Contains(string(out), tc.says) || strings.Contains(string(out), "Tested-by: A Tester") != tc.tested {
				t.Errorf("exit status %d (%v), want %d and %q\n%s", status, err, tc.status, tc.says, out)
			}
		})
	}
}

// Given patches as mails, one that has longer reads give too few bytes and one
// that changes nothing of what is seen, when b4 has them checked, then base and
// patched kernel are built, the first series fails and the second passes.
func TestB4CheckBuildsAndTriesASeries(t *testing.T) {
	command, p := buildCommand(t), plan{conflict: true}
	h := historyOf(t, p)
	name, _ := p.tries()
	culprit := h.with(roleCulprit).hash
	at := slices.IndexFunc(h.commits, func(c commit) bool { return c.hash == culprit })
	for _, tc := range []struct {
		commit, status, says string
	}{
		{culprit, "fail", "harms"},
		{h.commits[at-1].hash, "pass", "changes nothing"},
	} {
		mail, err := h.repo.Run(t.Context(), "format-patch", "--no-ext-diff", "--stdout", "--base="+tc.commit+"^", "-1", tc.commit)
		if err != nil {
			t.Fatal(err)
		}
		const budget = 2 * time.Hour // two kernels are built, on a machine that may be busy
		c := exec.CommandContext(t.Context(), command, "--results", t.TempDir(), "b4-check", "--repo", h.repo.Dir(),
			"--scenario", name, "--budget", budget.String())
		c.Stdin = strings.NewReader(mail)
		var said bytes.Buffer
		c.Stderr = &said
		out, err := c.Output()
		if err != nil {
			t.Fatalf("%v\n%s", err, said.Bytes())
		}
		var got []struct{ Tool, Status, Summary, Details string }
		if err := json.Unmarshal(out, &got); err != nil || len(got) != 1 {
			t.Fatalf("%v: %s", err, out)
		}
		t.Logf("%s", out)
		if r := got[0]; r.Tool != "blockrig" || r.Status != tc.status || !strings.Contains(r.Summary, tc.says) || !strings.Contains(r.Details, "length=8192") {
			t.Errorf("%+v, want %s, %q\n%s", r, tc.status, tc.says, said.Bytes())
		}
	}
}
