//go:build demo

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Given a history of real sources, when blockrig bisects it unattended, then
// it names the commit that took the last part of the fix back, and calls it
// proven.
func TestDemo(t *testing.T) {
	command := buildCommand(t)
	for _, tc := range []struct {
		name string
		args []string
	}{
		{"whole", nil},
		{"small", []string{"-commits", fmt.Sprint(smallest)}},
		{"a symptom that grows", []string{"-commits", "12", "-grow"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var out bytes.Buffer
			args := append([]string{"-blockrig", command, "-state", filepath.Join(t.TempDir(), "state")}, tc.args...)
			err := demo(t.Context(), args, &out, &out)
			t.Logf("%s", out.Bytes())
			if err != nil {
				t.Error(err)
			}
		})
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
