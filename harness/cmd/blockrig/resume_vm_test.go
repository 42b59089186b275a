//go:build vm

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/blockrig/blockrig/results"
)

// Given repeats over two boots that end early, by Ctrl-C or worse, when the
// run is gone on with, then every trial is there once, of two boots, and one
// folder for each case.
func TestResumeOfRealTrials(t *testing.T) {
	const cases, repeats = 2, 6
	for _, tc := range []struct {
		name   string
		signal syscall.Signal
		status int // -1: of a process that was killed
	}{
		{"Ctrl-C", syscall.SIGINT, exitError},
		{"kill -9", syscall.SIGKILL, -1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			root := t.TempDir()
			blockrig := func(args ...string) *exec.Cmd {
				c := exec.CommandContext(t.Context(), filepath.Join(command, "blockrig"), append([]string{"--results", root, "--format", "json"}, args...)...)
				c.Stderr = &bytes.Buffer{}
				return c
			}
			c := blockrig("run", "plain-dio-read", "-k", "debian:6.18", "--repeat", "6", "--boots", "2",
				"--case", "length=512,memory_offset=0", "--case", "length=4096,memory_offset=0")
			out, err := c.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			said := 0
			for lines := bufio.NewScanner(out); lines.Scan(); {
				if said++; said == 3 {
					if err := c.Process.Signal(tc.signal); err != nil {
						t.Fatal(err)
					}
				}
			}
			var exit *exec.ExitError
			if err := c.Wait(); !errors.As(err, &exit) || exit.ExitCode() != tc.status {
				t.Fatalf("after %d trials: %v, want exit status %d\n%s", said, err, tc.status, c.Stderr)
			}
			if said >= cases*repeats {
				t.Fatal("it was done before it was interrupted; this shows nothing")
			}
			stored, err := results.Show(root, "last")
			if err != nil || len(stored.Records) < 3 || len(stored.Records) == cases*repeats {
				t.Fatalf("%d trials are stored, %v", len(stored.Records), err)
			}
			nothingRuns(t, root)

			c = blockrig("run", "--resume", "last")
			more, err := c.Output()
			if err != nil {
				t.Fatalf("%v\n%s", err, c.Stderr)
			}
			if got := bytes.Count(more, []byte("\n")) + len(stored.Records); got != cases*repeats {
				t.Errorf("%d trials in both, want %d", got, cases*repeats)
			}
			all, err := results.Show(root, "last")
			if err != nil || len(all.Broken) != 0 || all.Damaged != nil || all.Finished.IsZero() {
				t.Fatalf("%+v, %v", all, err)
			}
			var tasks []int
			boots, kept := map[string]int{}, 0
			for _, r := range all.Records {
				tasks = append(tasks, r.Task)
				boots[r.BootID]++
				if r.RunDir != "" {
					kept++
				}
				if r.Verdict != "pass" || !r.Warm {
					t.Errorf("trial %d: %s, warm %v: %s", r.Task, r.Verdict, r.Warm, r.Reason)
				}
			}
			want := make([]int, cases*repeats)
			for i := range want {
				want[i] = i
			}
			if !slices.Equal(tasks, want) {
				t.Errorf("tasks %v, want each once", tasks)
			}
			if len(boots) != 2 || kept != cases {
				t.Errorf("%d boots, %d folders; want 2 and %d", len(boots), kept, cases)
			}
			if k := all.Request.Kernels[0]; k.Ref != "debian:6.18" || !strings.HasPrefix(k.Exact, "debian:6.18.") {
				t.Errorf("the request has kernel %+v", k)
			}
			nothingRuns(t, root)

			// Nothing is left to do, and that is no failure.
			if out, err := blockrig("run", "--resume", "last").Output(); err != nil || len(out) != 0 {
				t.Errorf("gone on with once more: %s, %v", out, err)
			}
			out2, err := blockrig("results", "show", "last", "--summary").Output()
			if err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(string(out2)) {
				var s results.Summary
				if err := json.Unmarshal([]byte(line), &s); err != nil || s.Trials != repeats || s.Boots != 2 || s.Flaky {
					t.Errorf("%s: %v", line, err)
				}
			}
		})
	}
}

// nothingRuns checks that no process has anything to do with a folder.
func nothingRuns(t *testing.T, dir string) {
	t.Helper()
	// The kernel may need a moment to end what a killed process left.
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		all, err := filepath.Glob("/proc/[0-9]*/cmdline")
		if err != nil {
			t.Fatal(err)
		}
		running := ""
		for _, path := range all {
			if text, err := os.ReadFile(path); err == nil && strings.Contains(string(text), dir) {
				running = string(text)
			}
		}
		if running == "" {
			break
		}
		if time.Now().After(end) {
			t.Errorf("still there: %q", running)
			break
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, "*", ".trial-*"))
	if err != nil {
		t.Fatal(err)
	}
	// A process that was killed could not tidy up; whoever comes next does.
	if len(left) > 0 && !strings.Contains(t.Name(), "kill") {
		t.Errorf("left: %v", left)
	}
}
