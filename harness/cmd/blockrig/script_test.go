package main

import (
	"encoding/json"
	"errors"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScript runs the command as a user does, without a machine and without a
// network.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("BLOCKRIG", filepath.Join(command, "blockrig"))
			e.Setenv("HOME", e.WorkDir+"/home")
			e.Setenv("XDG_CACHE_HOME", e.WorkDir+"/cache")
			e.Setenv("XDG_STATE_HOME", e.WorkDir+"/state")
			e.Setenv("XDG_CONFIG_HOME", e.WorkDir+"/config")
			return nil
		},
		Cmds:                scriptCommands,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

var scriptCommands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	// blockrig STATUS ARG… runs blockrig, which must end with that status.
	"blockrig": func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) == 0 {
			ts.Fatalf("usage: blockrig STATUS ARG…")
		}
		want, err := strconv.Atoi(args[0])
		ts.Check(err)
		got := 0
		var exit *exec.ExitError
		// By its path, so that a script can do without all else on PATH.
		if err := ts.Exec(filepath.Join(command, "blockrig"), args[1:]...); errors.As(err, &exit) {
			got = exit.ExitCode()
		} else {
			ts.Check(err)
		}
		if got != want {
			ts.Fatalf("exit status %d, want %d", got, want)
		}
	},
	// refused says that the command before said why in one line, and nothing
	// on stdout.
	"refused": func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) != 0 {
			ts.Fatalf("usage: refused")
		}
		said := ts.ReadFile("stderr")
		if out := ts.ReadFile("stdout"); out != "" {
			ts.Fatalf("stdout has %q", out)
		}
		if strings.Count(said, "\n") != 1 || !strings.HasPrefix(said, "blockrig: ") || strings.Contains(said, "%!") {
			ts.Fatalf("want one line that begins with \"blockrig: \", got %q", said)
		}
	},
	// jsonl N KEY… says that stdout is N lines (of N+: or more), each a JSON
	// object with at least these keys.
	"jsonl": func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) == 0 {
			ts.Fatalf("usage: jsonl N KEY…")
		}
		number, more := strings.CutSuffix(args[0], "+")
		want, err := strconv.Atoi(number)
		ts.Check(err)
		n := 0
		for line := range strings.Lines(ts.ReadFile("stdout")) {
			n++
			var object map[string]any
			if err := json.Unmarshal([]byte(line), &object); err != nil {
				ts.Fatalf("line %d is no JSON object: %v", n, err)
			}
			for _, key := range args[1:] {
				if _, ok := object[key]; !ok {
					ts.Fatalf("line %d has no %q: %s", n, key, line)
				}
			}
		}
		if n < want || n > want && !more {
			ts.Fatalf("%d lines, want %s", n, args[0])
		}
	},
}
