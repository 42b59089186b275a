//go:build vm

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/blockrig/blockrig/scenarios"
)

// hangs are the arguments for a trial whose step takes long.
var hangs = []string{"run", "--cold", "lvm-mirror-dio-read", "--case", "length=8192,memory_offset=32", "-k", "debian:6.18"}

// TestInterrupt has Ctrl-C come while a guest boots, builds and does its step.
func TestInterrupt(t *testing.T) {
	t.Parallel()
	for _, phase := range []struct {
		name  string
		there func(h *host) bool
	}{
		{"boot", func(h *host) bool {
			return len(h.machines()) > 0 && strings.Contains(h.trialFile("*/console.log"), "Linux version")
		}},
		{"stack", func(h *host) bool { return strings.Contains(h.trialFile("*/events.jsonl"), `lvcreate`) }},
		{"step", func(h *host) bool { return strings.Contains(h.trialFile("*/events.jsonl"), `"name":"step"`) }},
	} {
		t.Run(phase.name, func(t *testing.T) {
			h := newHost(t)
			p := h.start(hangs...)
			p.until("it was in phase "+phase.name, func() bool { return phase.there(h) })
			p.signal(syscall.SIGINT)
			o := p.wait()
			if o.status != 3 || !strings.Contains(o.stderr, "interrupted: 0 of 1 trials are done") || o.stdout != "" {
				t.Error(o)
			}
			h.wantRuns(0)
			h.wantNothingLeft()
		})
	}
}

// TestInterruptFetch has Ctrl-C come while a kernel is looked up, on a host
// that has none.
func TestInterruptFetch(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	for _, name := range []string{"kernels", "apt"} {
		if err := os.Remove(filepath.Join(h.cache, name)); err != nil {
			t.Fatal(err)
		}
	}
	p := h.start(hangs...)
	p.until("apt-get ran", func() bool {
		// apt-get knows its configuration from the environment, and runs its
		// methods with folders on their standard input.
		return len(h.processes("apt-get")) > 0
	})
	p.signal(syscall.SIGINT)
	o := p.wait()
	if o.status != 3 || !strings.Contains(o.stderr, "interrupted") || o.stdout != "" {
		t.Error(o)
	}
	left, err := filepath.Glob(filepath.Join(h.cache, "kernels", "[^fl]*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	h.wantRuns(0)
	h.wantNothingLeft()
}

// TestKillBlockrig kills blockrig in the middle of a trial.
func TestKillBlockrig(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	p := h.start(hangs...)
	p.until("the guest spoke", func() bool { return strings.Contains(h.trialFile("*/events.jsonl"), `"hello"`) })
	machines := h.machines()
	if len(machines) != 1 {
		t.Fatalf("QEMU: %v", machines)
	}
	p.signal(syscall.SIGKILL)
	p.wait()
	// QEMU dies with it; that it is gone from the list of processes is up to
	// whoever inherits it.
	for len(h.machines()) > 0 {
		if t.Context().Err() != nil {
			t.Fatal("QEMU outlives blockrig")
		}
	}
	h.wantRuns(1)

	// The next start, whatever it is for, removes what is left of it.
	h.wantOneLine(h.run("run", "plain-dio-read", "-k", "file:nosuch"), 2)
	h.wantRuns(0)
	h.wantNothingLeft()
}

// TestKillQEMU kills every QEMU of a trial as it comes.
func TestKillQEMU(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	p := h.start(append([]string{"--format", "json"}, hangs...)...)
	killed := 0
	for running := true; running; {
		select {
		case err := <-p.ended:
			p.ended <- err
			running = false
		default:
			attempt := fmt.Sprintf("attempt-%d", killed+1)
			if !strings.Contains(h.trialFile(filepath.Join(attempt, "console.log")), "Linux version") {
				continue
			}
			for _, pid := range h.machines() {
				killed++
				_ = syscall.Kill(pid, syscall.SIGKILL) // or it has ended
			}
		}
	}
	rec := h.one(p.wait(), scenarios.Error, "boot")
	if len(rec.Attempts) != 3 || killed != 3 {
		t.Errorf("%d attempts, %d killed", len(rec.Attempts), killed)
	}
	for _, a := range rec.Attempts {
		if a.Verdict != scenarios.Error || !strings.Contains(a.Reason, "signal: killed") {
			t.Errorf("attempt %+v", a)
		}
	}
	h.wantClassifyAgrees(rec)
	h.wantNothingLeft()
}
