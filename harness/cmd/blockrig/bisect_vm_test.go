//go:build vm

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const (
	bisectScenario = "lvm-mirror-dio-read"
	bisectCase     = "length=512,memory_offset=32"
)

// commits makes a repository with a commit for each kernel, named in the file
// "kernel", and gives its folder and the hashes.
func commits(t *testing.T, refs ...string) (dir string, hashes []string) {
	t.Helper()
	dir = t.TempDir()
	git := func(args ...string) string {
		t.Helper()
		c := exec.CommandContext(t.Context(), "git", append([]string{"-C", dir, "-c", "user.name=t", "-c", "user.email=t@t.example"}, args...)...)
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("git %s: %v\n%s", args[0], err, out)
		}
		return strings.TrimSpace(string(out))
	}
	git("init", "-q")
	for i, ref := range refs {
		if err := os.WriteFile(filepath.Join(dir, "kernel"), []byte(ref+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		git("add", "kernel")
		git("commit", "-q", "--allow-empty", "-m", fmt.Sprintf("commit %d", i))
		hashes = append(hashes, git("rev-parse", "HEAD"))
	}
	git("bisect", "start", hashes[len(hashes)-1], hashes[0])
	return dir, hashes
}

// bisectRun is git bisect run with a shell script, in which $blockrig is the
// command and $results a folder for records. Nothing may be left in the folder
// for temporary files, however it ends.
func bisectRun(t *testing.T, dir, script string) (string, error) {
	t.Helper()
	tmp := t.TempDir()
	c := exec.CommandContext(t.Context(), "git", "-C", dir, "bisect", "run", "sh", "-c", script)
	c.Env = append(os.Environ(), "blockrig="+filepath.Join(command, "blockrig"), "results="+t.TempDir(),
		"scenario="+bisectScenario, "case="+bisectCase, "TMPDIR="+tmp)
	out, err := c.CombinedOutput()
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
		t.Errorf("left in TMPDIR: %v, %v", left, err)
	}
	return string(out), err
}

const stepScript = `ref=$(cat kernel); "$blockrig" --results "$results" step "$scenario" --case "$case" -k "$ref"`

// Given a repository whose commits name kernels, and one a kernel that can't
// be booted, when plain git bisect run tests them with step, then it finds the
// first bad commit.
func TestStepInGitBisectRun(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "vmlinuz")
	if err := os.WriteFile(broken, bytes.Repeat([]byte("no kernel\n"), 10_000), 0o644); err != nil {
		t.Fatal(err)
	}
	const before, with = "debian:6.17", "debian:6.18"
	dir, hashes := commits(t, before, before, before, "file:"+broken, before, with, with, with)
	out, err := bisectRun(t, dir, stepScript)
	if err != nil {
		t.Fatalf("git bisect run: %v\n%s", err, out)
	}
	for _, want := range []string{hashes[5] + " is the first bad commit", "good: 3 trials passed", "bad: eio in pread", "skip: build-failure"} {
		if !strings.Contains(out, want) {
			t.Errorf("nothing says %q:\n%s", want, out)
		}
	}
}

// Given a step that dies, of a crash in Go or by force, when git bisect run
// uses it, then the bisection ends and no commit has got a mark.
func TestACrashIsNoMark(t *testing.T) {
	// QEMU runs when a grandchild is there: blockrig is in the midst of it. Children
	// without any of their own come and go while it starts.
	const midst = ` & step=$!
		children() { cat /proc/$1/task/*/children 2>/dev/null; }
		while :; do
			for child in $(children $step); do children $child | grep -q . && break 2; done
			kill -0 $step || exit 200
			sleep .05
		done
		%s; wait $step; status=$?; echo "status $status"; exit $status`
	for _, tc := range []struct{ name, kill, status, said string }{
		// Go prints all stacks and aborts, as at a panic.
		{"a crash in Go", "kill -QUIT $child", "status 129", "its process ended with signal: aborted"},
		{"kill -9 of the process at work", "kill -9 $child", "status 129", "signal: killed"},
		{"kill -9 of blockrig", "kill -9 $step", "status 137", ""},
		{"Ctrl-C at that process alone", "kill -INT $child", "status 129", "blockrig: "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir, _ := commits(t, "debian:6.18", "debian:6.18", "debian:6.18", "debian:6.18")
			out, err := bisectRun(t, dir, stepScript+fmt.Sprintf(midst, tc.kill))
			if err == nil || !strings.Contains(out, tc.status) || !strings.Contains(out, tc.said) {
				t.Errorf("git bisect run: %v, want it to end with %s\n%s", err, tc.status, out)
			}
			log, err := exec.CommandContext(t.Context(), "git", "-C", dir, "bisect", "log").Output()
			if err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(string(log), "\ngit bisect "); n != 1 {
				t.Errorf("the log has %d commands, want the start alone:\n%s", n, log)
			}
		})
	}
}
