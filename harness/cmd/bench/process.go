package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// A run is what a process was measured to do.
type run struct {
	status int           // exit status
	wall   time.Duration // from its start to its end
	first  time.Duration // to its first line on stdout; 0 without one
	lines  []string      // of stdout
	said   string        // on stderr
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
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if r.lines == nil {
			r.first = time.Since(begun)
		}
		r.lines = append(r.lines, lines.Text())
	}
	err = cmd.Wait()
	r.wall, r.said = time.Since(begun), said.String()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		r.status, err = exit.ExitCode(), nil
	}
	return r, errors.Join(ctx.Err(), err, lines.Err())
}

var itself = regexp.MustCompile(`blockrig itself: ([0-9.]+) s of CPU time, ([0-9.]+)% of [0-9.]+ s in all; ([0-9]+) MiB of memory at most`)

// A cost is what blockrig itself took, without the machines.
type cost struct {
	seconds float64 // of CPU time
	percent float64 // of all CPU time
	mib     float64 // of memory at most
}

// cost takes out of what blockrig said, with --timing, what it took itself.
func (r run) cost() (cost, error) {
	// It may be folded to a terminal's width.
	m := itself.FindStringSubmatch(strings.Join(strings.Fields(r.said), " "))
	if m == nil {
		return cost{}, fmt.Errorf("blockrig does not say what it took itself: %q", r.said)
	}
	var v [3]float64
	for i := range v {
		var err error
		if v[i], err = strconv.ParseFloat(m[i+1], 64); err != nil {
			return cost{}, fmt.Errorf("what blockrig took itself: %w", err)
		}
	}
	return cost{v[0], v[1], v[2]}, nil
}
