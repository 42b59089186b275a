package guest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/blockrig/blockrig/initramfs/protocol"
)

// toolLimit is the guest time a setup tool may take, and toolReap the guest
// time after SIGKILL at which it counts as unkillable.
const (
	toolLimit = 60 * time.Second
	toolReap  = 3 * time.Second
)

// tool runs a setup tool to its end. A tool that can't be killed is an
// unkillable error.
func (g *guest) tool(name string, args ...string) (string, error) {
	what := name + " " + strings.Join(args, " ")
	path := "/proc/self/exe"
	if name != fillName {
		var err error
		if path, err = exec.LookPath(name); err != nil {
			return "", &setupError{phase: g.phase, what: what, err: fmt.Errorf("the guest has no %s: %w", name, err)}
		}
	}
	what = strings.TrimPrefix(what, fillName+" ")
	g.enter(g.phase, what)
	cmd := exec.Command(path, args...)
	cmd.Args[0] = name
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second // a daemon that the tool leaves behind may hold the pipe
	if err := cmd.Start(); err != nil {
		return "", &setupError{phase: g.phase, what: what, err: err}
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	t := g.newTicks()
	killed := time.Duration(-1)
	for {
		select {
		case err := <-done:
			text := oneLine(out.String())
			if text != "" {
				g.kmsg.say("%s says: %s", name, text)
			}
			if errors.Is(err, exec.ErrWaitDelay) {
				err = nil
			}
			if killed >= 0 {
				err = fmt.Errorf("did not end within %v", toolLimit)
			}
			if err != nil {
				return out.String(), &setupError{phase: g.phase, what: what, err: fmt.Errorf("%w: %s", err, text)}
			}
			return out.String(), nil
		case <-time.After(tick):
		}
		passed := t.passed()
		if killed < 0 && passed > toolLimit {
			killed = passed
			_ = cmd.Process.Kill()
		}
		if killed >= 0 && passed-killed > toolReap {
			u := describeTask(cmd.Process.Pid, cmd.Process.Pid)
			u.MS = (passed - killed).Milliseconds()
			g.showBlocked()
			return "", &setupError{phase: g.phase, what: what, hung: &u, err: errors.New("can't be killed")}
		}
	}
}

// describeTask says where a task is. What can't be read stays empty.
func describeTask(pid, tid int) protocol.Unkillable {
	u := protocol.Unkillable{PID: pid}
	dir := filepath.Join("/proc", fmt.Sprint(pid), "task", fmt.Sprint(tid))
	if b, err := os.ReadFile(filepath.Join(dir, "stat")); err == nil {
		// The command may hold spaces and brackets: the state is after the last one.
		if i := bytes.LastIndexByte(b, ')'); i >= 0 && i+2 < len(b) {
			u.State = string(b[i+2])
		}
	}
	if b, err := os.ReadFile(filepath.Join(dir, "wchan")); err == nil && string(b) != "0" {
		u.Wchan = string(b)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "stack")); err == nil {
		for line := range strings.Lines(string(b)) {
			if _, f, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
				u.Stack = append(u.Stack, f)
			}
		}
	}
	return u
}

// showBlocked has the kernel log its blocked tasks (sysrq-w).
func (g *guest) showBlocked() {
	if err := os.WriteFile("/proc/sysrq-trigger", []byte("w"), 0); err != nil {
		g.kmsg.say("sysrq-w: %v", err)
	}
}
