package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A run is what a process was measured to do.
type run struct {
	status int           // exit status
	wall   time.Duration // from its start to its end
	first  time.Duration // to its first line on stdout; 0 without one
	lines  []string      // of stdout
	said   string        // on stderr
	own    time.Duration // CPU time of the process itself
	others time.Duration // CPU time of the processes that it waited for
	peak   int64         // resident memory of the process itself at most, bytes
}

// measure runs a program to its end. The environment is added to this
// process's.
func measure(ctx context.Context, env []string, name string, args ...string) (run, error) {
	var r run
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	cmd.Env = append(os.Environ(), env...)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		return r, err
	}
	begun := time.Now()
	if err := cmd.Start(); err != nil {
		return r, err
	}
	var wait sync.WaitGroup
	var rerr error
	wait.Go(func() { rerr = r.read(out, begun) })
	ended := make(chan struct{})
	wait.Go(func() { r.watch(cmd.Process.Pid, ended) })
	// It is left a zombie at first: /proc has its CPU time apart from that of
	// its children, which wait4(2) adds up.
	aerr := r.account(cmd.Process.Pid)
	r.wall = time.Since(begun)
	close(ended)
	wait.Wait()
	err = cmd.Wait()
	r.said = said.String()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		r.status, err = exit.ExitCode(), nil
	}
	return r, errors.Join(ctx.Err(), err, rerr, aerr)
}

func (r *run) read(out io.Reader, begun time.Time) error {
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			if r.lines == nil {
				r.first = time.Since(begun)
			}
			r.lines = append(r.lines, strings.TrimSuffix(line, "\n"))
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// watch keeps the process's peak of resident memory, which is gone when it
// has ended (proc_pid_status(5), VmHWM).
func (r *run) watch(pid int, ended <-chan struct{}) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)); err == nil {
			for line := range strings.Lines(string(status)) {
				var kib int64
				if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kib); n == 1 {
					r.peak = max(r.peak, kib<<10)
				}
			}
		}
		select {
		case <-ended:
			return
		case <-tick.C:
		}
	}
}

// account waits for the end of the process without reaping it.
func (r *run) account(pid int) error {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("wait for process %d: %w", pid, err)
		}
		break
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return err
	}
	r.own, r.others, err = cpuTimes(string(stat))
	return err
}

// cpuTimes takes utime and stime, and those of waited-for children, out of
// proc_pid_stat(5).
func cpuTimes(stat string) (own, others time.Duration, err error) {
	// The name, in parentheses, may hold anything.
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 15 {
		return 0, 0, fmt.Errorf("not a process's stat: %q", stat)
	}
	var ticks [4]int64 // fields 14 to 17
	for i := range ticks {
		if ticks[i], err = strconv.ParseInt(fields[11+i], 10, 64); err != nil {
			return 0, 0, fmt.Errorf("not a process's stat: %w", err)
		}
	}
	const tick = time.Second / 100 // USER_HZ on x86 (times(2))
	return time.Duration(ticks[0]+ticks[1]) * tick, time.Duration(ticks[2]+ticks[3]) * tick, nil
}
