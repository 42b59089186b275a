package trial

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/blockrig/blockrig/scenarios"
)

// Given a scenario whose steps run programs, then those beside it are read, and
// none that lies elsewhere.
func TestProgramsAreReadBesideTheScenario(t *testing.T) {
	dir := t.TempDir()
	mine := filepath.Join(dir, "scenarios")
	if err := os.Mkdir(mine, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{filepath.Join(mine, "prog"): "one", filepath.Join(dir, "secret"): "two"} {
		if err := os.WriteFile(name, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../secret", filepath.Join(mine, "link")); err != nil {
		t.Fatal(err)
	}
	running := func(file string, names ...string) scenarios.Case {
		c := scenarios.Case{Scenario: &scenarios.Scenario{Name: "s", File: file}}
		var group []scenarios.Step
		for _, n := range names {
			group = append(group, scenarios.Step{Exec: &scenarios.Exec{Args: []string{"x"}, File: n}})
		}
		c.Steps = []scenarios.Step{{Parallel: &scenarios.Parallel{Groups: [][]scenarios.Step{group}}}}
		return c
	}
	file := filepath.Join(mine, "s.yaml")
	got, err := Programs(running(file, "prog", "prog"))
	if err != nil || len(got) != 1 || got[0].Name != "prog" || string(got[0].Data) != "one" {
		t.Errorf("%+v, %v", got, err)
	}
	before := requestOf("k", running(file, "prog"))
	if err := os.WriteFile(filepath.Join(mine, "prog"), []byte("new"), 0o755); err != nil {
		t.Fatal(err)
	}
	if requestOf("k", running(file, "prog")) == before {
		t.Error("a program that has changed is taken for the same")
	}
	for name, c := range map[string]scenarios.Case{
		"none": running(file, "none"), "link": running(file, "link"), "prog": running("", "prog"),
	} {
		if got, err := Programs(c); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}
