package qemu

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// Given a process that sleeps, when it is stopped, then its threads are seen to
// be kept from running, and afterwards no longer.
func TestAStoppedThreadIsSeen(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "sleep", "600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	}()
	until := func(want byte) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for {
			th, err := readThread(fmt.Sprintf("/proc/%d/task/%d/", pid, pid))
			if err != nil {
				t.Fatal(err)
			}
			found := heldAmong(pid, func(_ int, state byte) bool { return state != 'S' })
			if want == 'S' && th.State == 'S' && found == 0 || th.State == want && found == want {
				return
			}
			select {
			case <-ctx.Done():
				t.Fatalf("state %c, held among its threads: %c; want %c", th.State, found, want)
			case <-time.After(time.Millisecond):
			}
		}
	}

	until('S')
	for _, s := range []struct {
		signal syscall.Signal
		want   byte
	}{{syscall.SIGSTOP, 'T'}, {syscall.SIGCONT, 'S'}} {
		if err := syscall.Kill(pid, s.signal); err != nil {
			t.Fatal(err)
		}
		until(s.want)
	}
}

// Given threads of this process, then one that runs is not held.
func TestThisProcessIsNotStopped(t *testing.T) {
	if state := heldAmong(os.Getpid(), func(_ int, state byte) bool { return stopped(state) }); state != 0 {
		t.Errorf("a thread of the test is %c", state)
	}
}
