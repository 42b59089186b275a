package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/blockrig/blockrig/harness/bisect"
)

// judging are the verbs whose exit status says something about a kernel.
var judging = []string{"run", "repro", "classify", "try-patch"}

// forGit makes of a status one that git can't misread when blockrig stands
// under git bisect run: there 0 is good, 1 to 124 bad. A mistyped verb, help
// or a list say nothing about a commit.
func forGit(status int, ran *cobra.Command) int {
	says := status == exitPass || status == exitFailure
	if ran == nil || !slices.Contains(judging, ran.Name()) || asksHelp(os.Args[1:]) {
		says = false
	}
	if says || !underBisectRun(os.Getppid()) {
		return status
	}
	return bisect.StepAbort
}

// crashForGit makes a crash one that git can't misread, either: Go ends with 2
// after a panic, a fatal error or a SIGQUIT, and by a signal when it is asked to
// leave a core. It leaves none: the folder is the user's repository.
func crashForGit() {
	if !underBisectRun(os.Getppid()) {
		return
	}
	debug.SetTraceback("crash")
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}) // never fails: it is less
}

// underBisectRun tells whether a process is git bisect run, or one of those
// that started it is.
func underBisectRun(pid int) bool {
	for range 64 { // of a chain that changes while it is read
		if pid <= 1 {
			return false
		}
		cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil {
			return false // it has ended, and git waits for its child
		}
		args := strings.Split(string(cmdline), "\x00")
		if i := slices.IndexFunc(args, func(a string) bool { return a == "bisect" || strings.HasPrefix(a, "bisect--") }); i >= 0 &&
			strings.HasPrefix(filepath.Base(args[0]), "git") && slices.ContainsFunc(args[i:], func(a string) bool { return a == "run" || a == "--bisect-run" }) {
			return true
		}
		// pid (comm) state ppid …, and comm may hold anything (proc(5)).
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return false
		}
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if len(fields) < 2 {
			return false
		}
		if _, err := fmt.Sscan(string(fields[1]), &pid); err != nil {
			return false
		}
	}
	return false
}
