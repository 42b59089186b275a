package qemu

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
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
	cmd    *exec.Cmd
	stderr *tail
	exited chan struct{} // closed when wait(2) has returned
	err    error         // of wait(2), valid once exited is closed
	killed atomic.Bool   // by this side
}

// startProcess runs QEMU with files as its descriptors 3, 4, ….
func startProcess(binary string, args []string, dir string, files []*os.File) (*process, error) {
	p := &process{
		cmd:    exec.Command(binary, args...),
		stderr: &tail{limit: stderrKept},
		exited: make(chan struct{}),
	}
	p.cmd.Dir = dir
	p.cmd.Env = append(os.Environ(), "LC_ALL=C") // errors are compared and shown
	p.cmd.Stderr = p.stderr
	p.cmd.ExtraFiles = files
	p.cmd.WaitDelay = time.Second // stderr is only words
	p.cmd.SysProcAttr = &syscall.SysProcAttr{
		// Ctrl-C on the terminal is for blockrig, which ends its machines in order.
		Setpgid:   true,
		Pdeathsig: syscall.SIGKILL,
	}

	started := make(chan error, 1)
	go func() { // ends with the process; end waits for it
		// The death signal comes when the thread that forked ends, not when
		// the process does, so this thread stays.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err != nil {
			return
		}
		p.err = p.cmd.Wait()
		close(p.exited)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start QEMU: %w", err)
	}
	return p, nil
}

// failure is how QEMU ended, nil when with exit status 0.
func (p *process) failure() error {
	<-p.exited
	// A copy of stderr that did not end in time says nothing of QEMU.
	if state := p.cmd.ProcessState; state != nil && !state.Success() {
		return &ExitError{Status: state.String(), Stderr: p.stderr.String()}
	} else if state == nil {
		return fmt.Errorf("wait for QEMU: %w", p.err)
	}
	return nil
}

// end makes the process end and waits for it: first by itself within grace,
// then by SIGTERM, then by SIGKILL.
func (p *process) end(grace time.Duration) {
	if p.within(grace) {
		return
	}
	p.killed.Store(true)
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // fails only when it has ended
	if p.within(time.Second) {
		return
	}
	p.kill()
	<-p.exited
}

func (p *process) kill() {
	p.killed.Store(true)
	_ = p.cmd.Process.Kill() // fails only when it has ended
}

func (p *process) within(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-p.exited:
		return true
	case <-t.C:
		return false
	}
}

// A tail keeps the end of what is written to it.
type tail struct {
	limit int

	mu   sync.Mutex
	text []byte
	cut  bool
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if over := len(t.text) - t.limit; over > 0 {
		t.text = append([]byte(nil), t.text[over:]...)
		t.cut = true
	}
	return len(p), nil
}

// String is the text in one line, fit for a terminal.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := Quote(t.text, t.limit)
	if t.cut {
		text = "…" + text
	}
	return text
}

// socketPair gives a connection and the file at its other end, for a child to
// inherit. Nobody else can get at either.
func socketPair(name string) (near net.Conn, far *os.File, err error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socket pair for %s: %w", name, err)
	}
	f := os.NewFile(uintptr(fds[0]), name)
	far = os.NewFile(uintptr(fds[1]), name)
	near, err = net.FileConn(f) // a copy of the descriptor
	err = errors.Join(err, f.Close())
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("socket pair for %s: %w", name, err), far.Close())
	}
	return near, far, nil
}
