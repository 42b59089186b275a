//go:build demo

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os/exec"
	"slices"
	"testing"

	"github.com/blockrig/blockrig/harness/hunt"
)

// Given a kernel of real sources with an off-by-one in dm-linear, when it is
// hunted on, then that is found, made small, and called what it is: a loss of
// data, on that layer alone.
func TestAHuntFindsAnOffByOne(t *testing.T) {
	command, h := buildCommand(t), historyOf(t, plan{mutant: &offByOne})
	c := exec.CommandContext(t.Context(), command, "--results", t.TempDir(), "--format", "json", "hunt",
		"--stack", "dm-linear,dm-striped,dm-linear+md-raid1", "-k", "git:"+h.repo.Dir()+"@"+h.tip(), "--seed", "1", "--budget", "6m")
	var said bytes.Buffer
	c.Stderr = &said
	out, err := c.Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Fatalf("%v, want status 1\n%s\n%s", err, out, said.Bytes())
	}
	var found []hunt.Finding
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	for _, line := range lines[:len(lines)-1] { // the last one has the totals
		var f hunt.Finding
		if err := json.Unmarshal(line, &f); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		t.Logf("after %d s, %d trials: %s %s: %s: %s", f.SpentMS/1000, f.Trials, f.Stack, f.Class, f.Says, f.Outcome)
		found = append(found, f)
	}
	if !slices.ContainsFunc(found, func(f hunt.Finding) bool {
		return f.Class == hunt.LosesData && f.Stack == "dm-linear" && len(f.Program) <= 2 && f.Cold
	}) {
		t.Errorf("it is not among what was found\n%s", said.Bytes())
	}
	for _, f := range found {
		if f.Stack != "dm-linear" {
			t.Errorf("the sound %s is blamed: %s: %s", f.Stack, f.Class, f.Says)
		}
	}
}
