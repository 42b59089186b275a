//go:build vm

package qemu_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/blockrig/blockrig/harness/qemu"
)

func TestGuestReachesDisksAndPorts(t *testing.T) {
	for _, format := range []qemu.Format{qemu.Raw, qemu.Qcow2} {
		t.Run(string(format), func(t *testing.T) {
			g := boot(t, testContext(t), guestSpec(t, format))

			if got, want := g.do("w0x", "w1y", "r0", "r1", "eZ"), "..xy."; got != want {
				t.Errorf("answers %q, want %q", got, want)
			}
			if status, err := g.Status(t.Context()); err != nil || status != "running" {
				t.Errorf("status %q, %v; want running", status, err)
			}
			th, err := g.Threads()
			if err != nil || len(th.VCPUs) != 1 || th.VCPUs[0].Run <= 0 || th.Main.Run <= 0 {
				t.Errorf("threads %+v, %v; want that they ran", th, err)
			}
			if err := g.Close(); err != nil {
				t.Fatal(err)
			}
			<-g.console.end
			if got := g.console.String(); !strings.HasPrefix(got, "Run /guest") || !strings.HasSuffix(got, "Z") {
				t.Errorf("console %q, want the guest's words and nothing else", got)
			}
			if err := g.Err(); err != nil {
				t.Errorf("Err() = %v after Close, want nil", err)
			}
		})
	}
}

func TestPausedMachineRunsAfterCont(t *testing.T) {
	spec := guestSpec(t, qemu.Raw)
	spec.Paused = true
	g := start(t, testContext(t), spec)
	if status, err := g.Status(t.Context()); err != nil || status != "prelaunch" {
		t.Fatalf("status %q, %v; want prelaunch", status, err)
	}
	if err := g.Cont(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a := g.answer(); a != 'R' {
		t.Fatalf("guest said %q, want R", a)
	}
	if err := g.Pause(t.Context()); err != nil {
		t.Fatal(err)
	}
	if status, err := g.Status(t.Context()); err != nil || status != "paused" {
		t.Fatalf("status %q, %v; want paused", status, err)
	}
}

func TestEndOfMachine(t *testing.T) {
	for _, tt := range []struct {
		name     string
		do       func(g *guest)
		shutdown string
		err      string // in Err, "" for nil
	}{
		{"guest resets", func(g *guest) { g.send("p") }, "guest-reset", ""},
		{"guest powers off", func(g *guest) { g.send("o") }, "guest-shutdown", ""},
		{"QEMU is killed", func(g *guest) {
			if err := syscall.Kill(g.PID(), syscall.SIGKILL); err != nil {
				g.t.Fatal(err)
			}
		}, "", "signal: killed"},
		{"QEMU is aborted", func(g *guest) {
			if err := syscall.Kill(g.PID(), syscall.SIGABRT); err != nil {
				g.t.Fatal(err)
			}
		}, "", "signal: aborted"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := boot(t, testContext(t), guestSpec(t, qemu.Raw))

			tt.do(g)
			<-g.Done()

			if got := g.Shutdown(); got != tt.shutdown {
				t.Errorf("Shutdown() = %q, want %q", got, tt.shutdown)
			}
			err := g.Err()
			if tt.err == "" && err != nil {
				t.Errorf("Err() = %v, want nil", err)
			}
			var exit *qemu.ExitError
			if tt.err != "" && (!errors.As(err, &exit) || !strings.Contains(err.Error(), tt.err)) {
				t.Errorf("Err() = %v, want an ExitError with %q", err, tt.err)
			}
			if _, err := g.Status(t.Context()); !errors.Is(err, qemu.ErrEnded) {
				t.Errorf("Status after the end: %v, want ErrEnded", err)
			}
			if _, err := g.Threads(); !errors.Is(err, qemu.ErrEnded) {
				t.Errorf("Threads after the end: %v, want ErrEnded", err)
			}
			if _, err := g.Control().Write([]byte("c")); !errors.Is(err, qemu.ErrEnded) {
				t.Errorf("write to ttyS1 after the end: %v, want ErrEnded", err)
			}
			for range g.Events() { // ends
			}
		})
	}
}

func TestContextEndsMachine(t *testing.T) {
	reason := errors.New("enough")
	ctx, cancel := context.WithCancelCause(testContext(t))
	g := boot(t, ctx, guestSpec(t, qemu.Raw))
	g.send("s") // a guest that spins with interrupts off

	cancel(reason)

	<-g.Done()
	if err := g.Err(); !errors.Is(err, reason) {
		t.Errorf("Err() = %v, want %v", err, reason)
	}
}

func TestStartThatIsCutShortLeavesNothing(t *testing.T) {
	for range 10 {
		reason := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		stop := time.AfterFunc(rand.N(60*time.Millisecond), func() { cancel(reason) })
		m, err := qemu.Start(ctx, guestSpec(t, qemu.Raw))
		if err == nil {
			err = m.Close()
		} else if !errors.Is(err, reason) {
			t.Errorf("error %v, want %v", err, reason)
		} else {
			err = nil
		}
		if err != nil {
			t.Error(err)
		}
		stop.Stop()
		cancel(nil)
		if left := children(t); len(left) > 0 {
			t.Errorf("processes left behind: %v", left)
		}
	}
}

func TestCloseEndsAnyGuest(t *testing.T) {
	for name, do := range map[string]func(g *guest){
		"that spins with interrupts off": func(g *guest) { g.send("s") },
		"that floods the console":        func(g *guest) { g.send("f") },
		"that is paused": func(g *guest) {
			if err := g.Pause(g.t.Context()); err != nil {
				g.t.Fatal(err)
			}
		},
		"in a QEMU that is stopped": func(g *guest) {
			if err := syscall.Kill(g.PID(), syscall.SIGSTOP); err != nil {
				g.t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := boot(t, testContext(t), guestSpec(t, qemu.Raw))
			do(g)
			if err := g.Close(); err != nil {
				t.Fatal(err)
			}
			if err := syscall.Kill(g.PID(), 0); !errors.Is(err, syscall.ESRCH) {
				t.Errorf("QEMU %d is still there: %v", g.PID(), err)
			}
		})
	}
}

func TestQEMUThatFailsToStartIsAnErrorWithItsWords(t *testing.T) {
	t.Run("truncated kernel", func(t *testing.T) {
		spec := guestSpec(t, qemu.Raw)
		spec.Kernel = filepath.Join(t.TempDir(), "kernel")
		if err := os.WriteFile(spec.Kernel, []byte("MZ"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := qemu.Start(testContext(t), spec)
		var exit *qemu.ExitError
		if !errors.As(err, &exit) || exit.Stderr == "" {
			t.Errorf("Start: %v, want an ExitError with QEMU's words", err)
		}
	})
	t.Run("disk that is no qcow2", func(t *testing.T) {
		spec := guestSpec(t, qemu.Raw)
		spec.Disks[0].Format = qemu.Qcow2
		_, err := qemu.Start(testContext(t), spec)
		if err == nil || !strings.Contains(err.Error(), "not in qcow2 format") {
			t.Errorf("Start: %v, want QEMU's refusal of the image", err)
		}
	})
	t.Run("two machines on one disk", func(t *testing.T) {
		spec := guestSpec(t, qemu.Raw)
		boot(t, testContext(t), spec)
		_, err := qemu.Start(testContext(t), spec)
		if err == nil || !strings.Contains(err.Error(), "lock") {
			t.Errorf("Start: %v, want a refusal that speaks of the lock", err)
		}
	})
}

func BenchmarkNewMachineToFirstAnswer(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		spec := guestSpec(b, qemu.Raw)
		b.StartTimer()
		m, err := qemu.Start(b.Context(), spec)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(m.Control(), make([]byte, 1)); err != nil {
			b.Fatal(err)
		}
		if err := m.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
