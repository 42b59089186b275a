//go:build vm

package qemu_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/blockrig/blockrig/harness/qemu"
)

// limit ends a test whose machine does not do what is waited for. No test
// depends on how long it is.
const limit = 2 * time.Minute

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return ctx
}

// guestSpec is a machine with the guest of testdata/guest.S and two disks.
func guestSpec(t testing.TB, format qemu.Format) qemu.Spec {
	t.Helper()
	dir := t.TempDir()
	spec := qemu.Spec{
		Accel: qemu.TCG, CPUs: 1, MemoryMiB: 64, Dir: dir,
		Kernel: filepath.Join("testdata", "guest.bin"),
	}
	for _, id := range []string{"a", "b"} {
		d, err := qemu.CreateDisk(t.Context(), dir, id, 8<<20, format)
		if err != nil {
			t.Fatal(err)
		}
		spec.Disks = append(spec.Disks, d)
	}
	return spec
}

// A guest is a machine that runs testdata/guest.S.
type guest struct {
	*qemu.Machine
	t       testing.TB
	answers *bufio.Reader
	console *console
}

// A console collects what a machine says on ttyS0.
type console struct {
	mu   sync.Mutex
	text bytes.Buffer
	err  error
	end  chan struct{}
}

func (c *console) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.String()
}

func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.Write(p)
}

// start starts a guest; it is closed when the test ends.
func start(t testing.TB, ctx context.Context, spec qemu.Spec) *guest {
	t.Helper()
	m, err := qemu.Start(ctx, spec)
	if err != nil {
		t.Fatal(err)
	}
	g := &guest{Machine: m, t: t, answers: bufio.NewReader(m.Control()), console: &console{end: make(chan struct{})}}
	go func() {
		defer close(g.console.end)
		_, g.console.err = io.Copy(g.console, m.Console())
	}()
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		<-g.console.end
		if g.console.err != nil {
			t.Errorf("console: %v", g.console.err)
		}
	})
	return g
}

// boot starts a guest and waits until it is ready.
func boot(t testing.TB, ctx context.Context, spec qemu.Spec) *guest {
	t.Helper()
	g := start(t, ctx, spec)
	if a := g.answer(); a != 'R' {
		t.Fatalf("guest said %q, want R", a)
	}
	return g
}

func (g *guest) send(command string) {
	g.t.Helper()
	if _, err := io.WriteString(g.Control(), command); err != nil {
		g.t.Fatal(err)
	}
}

func (g *guest) answer() byte {
	g.t.Helper()
	b, err := g.answers.ReadByte()
	if err != nil {
		g.t.Fatalf("no answer: %v (QEMU: %v; trouble: %v; console: %q)", err, g.Err(), g.Trouble(), g.console)
	}
	return b
}

// do gives the guest commands, one after the other, and returns the answers.
func (g *guest) do(commands ...string) string {
	g.t.Helper()
	var answers strings.Builder
	for _, c := range commands {
		g.send(c)
		answers.WriteByte(g.answer())
	}
	return answers.String()
}
