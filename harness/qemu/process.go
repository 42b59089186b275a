package qemu

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blockrig/blockrig/harness/child"
	"github.com/blockrig/blockrig/harness/text"
)

// stderrKept is how much of the end of QEMU's stderr is kept, in bytes.
const stderrKept = 4 << 10

// An ExitError says that QEMU ended on its own with a failure, or was killed
// by somebody else.
type ExitError struct {
	Status string // "exit status 1", "signal: killed"
	Stderr string // the end of what QEMU wrote to stderr, control codes made harmless
}

func (e *ExitError) Error() string {
	if e.Stderr == "" {
		return "QEMU ended: " + e.Status
	}
	return "QEMU ended: " + e.Status + ": " + e.Stderr
}

// A process is one QEMU. Whoever makes one calls end.
type process struct {
	*child.Process
	stderr *child.Tail
	killed atomic.Bool // by this side
}

// startProcess runs QEMU with files as its descriptors 3, 4, ….
func startProcess(binary string, args []string, dir string, stdin, stdout *os.File, files []*os.File) (*process, error) {
	p := &process{stderr: &child.Tail{Limit: stderrKept}}
	cmd := exec.Command(binary, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C") // errors are compared and shown
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, p.stderr
	cmd.ExtraFiles = files
	var err error
	p.Process, err = child.Start(context.Background(), cmd, child.Options{}) // only end ends it
	return p, err
}

// failure is how QEMU ended, nil when with exit status 0.
func (p *process) failure() error {
	err := p.Wait()
	if state := p.State(); state != nil && !state.Success() {
		said, cut := p.stderr.Text()
		said = text.OneLine(said)
		if cut {
			said = "…" + said
		}
		return &ExitError{Status: state.String(), Stderr: said}
	} else if state == nil {
		return fmt.Errorf("wait for QEMU: %w", err)
	}
	return nil
}

// end makes the process end and waits for it: first by itself within grace,
// then by SIGTERM, then by SIGKILL.
func (p *process) end(grace time.Duration) {
	if p.Within(grace) {
		return
	}
	p.killed.Store(true)
	p.Signal(syscall.SIGTERM)
	if !p.Within(time.Second) {
		p.kill()
		<-p.Done()
	}
}

func (p *process) kill() {
	p.killed.Store(true)
	p.Kill()
}

// socketPair gives a connection and the file at its other end, for a child to
// inherit. Nobody else can get at either.
func socketPair(name string) (ours net.Conn, theirs *os.File, err error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socket pair for %s: %w", name, err)
	}
	f := os.NewFile(uintptr(fds[0]), name)
	theirs = os.NewFile(uintptr(fds[1]), name)
	ours, err = net.FileConn(f) // a copy of the descriptor
	err = errors.Join(err, f.Close())
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("socket pair for %s: %w", name, err), theirs.Close())
	}
	return ours, theirs, nil
}

// pipes are a connection over one pipe for each way.
type pipes struct{ r, w *os.File }

func (p pipes) Read(b []byte) (int, error)  { return p.r.Read(b) }
func (p pipes) Write(b []byte) (int, error) { return p.w.Write(b) }
func (p pipes) Close() error                { return errors.Join(p.r.Close(), p.w.Close()) }

// pipeHolds is how much of what a guest logs waits for this process, in bytes:
// as much as a user may have without more rights (pipe(7)).
const pipeHolds = 1 << 20

// pipePair gives a connection over pipes, and their other ends.
func pipePair() (ours pipes, stdin, stdout *os.File, err error) {
	if stdin, ours.w, err = os.Pipe(); err != nil {
		return pipes{}, nil, nil, fmt.Errorf("pipe to the console: %w", err)
	}
	if ours.r, stdout, err = os.Pipe(); err != nil {
		return pipes{}, nil, nil, errors.Join(fmt.Errorf("pipe of the console: %w", err), stdin.Close(), ours.w.Close())
	}
	// Who has many of them gets smaller ones, or leaves them as they are.
	for n := pipeHolds; n > os.Getpagesize(); n /= 2 {
		if _, err := unix.FcntlInt(stdout.Fd(), unix.F_SETPIPE_SZ, n); err == nil {
			break
		}
	}
	return ours, stdin, stdout, nil
}
