//go:build vm && demo

package main

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/blockrig/blockrig/harness/bisect"
)

// Given all releases that Debian has, when they are bisected for what broke
// the misaligned read and for what fixed it, then the answers lie in the
// series where it changed.
func TestBisectAllReleases(t *testing.T) {
	for _, tc := range []struct {
		name   string
		args   []string
		series string
	}{
		{"what broke it", []string{"--good", "debian:6.17", "--bad", "debian:6.18"}, "6.18."},
		{"what fixed it", []string{"--good", "debian:newest", "--bad", "debian:6.18", "--fix"}, "7."},
	} {
		t.Run(tc.name, func(t *testing.T) {
			args := append([]string{
				"--results", t.TempDir(), "--format", "json", "bisect", "versions", bisectScenario,
				"--case", bisectCase, "--state", filepath.Join(t.TempDir(), "state"),
			}, tc.args...)
			c := exec.CommandContext(t.Context(), filepath.Join(command, "blockrig"), args...)
			var said bytes.Buffer
			c.Stderr = &said
			out, err := c.Output()
			if err != nil {
				t.Fatalf("%v\n%s", err, said.Bytes())
			}
			var a bisect.Answer
			if err := json.Unmarshal(out, &a); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if a.First == nil || !strings.HasPrefix(a.First.Hash, tc.series) || a.Grade != bisect.Proven {
				t.Errorf("the answer is %+v, %s (%v), want one in %s\n%s", a.First, a.Grade, a.Why, tc.series, said.Bytes())
			}
		})
	}
}
