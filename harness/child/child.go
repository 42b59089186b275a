package child

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blockrig/blockrig/harness/text"
)

// Options of a child; none need be set.
type Options struct {
	Signal syscall.Signal // that asks it to end; SIGTERM when 0
	Grace  time.Duration  // from then until it is killed; 5 s when 0
	// Contain holds the child and all that it starts in a PID namespace of its
	// own, where the kernel and this user's rights allow it (see CanContain). It
	// is the namespace's init: a signal that it doesn't handle is ignored.
	Contain bool
	// OnThread, if not nil, is called on the thread that starts the child, which
	// inherits what is set there. The thread serves for nothing else.
	OnThread func() error
}

// outputWait is how long a child's output may stay open when it has ended:
// what escaped may hold it.
const outputWait = time.Second

// A Process is a child that was started.
type Process struct {
	cmd  *exec.Cmd
	opt  Options
	done chan struct{} // closed when it has been waited for
	err  error         // of exec.Cmd.Wait; valid then

	mu    sync.Mutex
	ended bool // it is a zombie, or gone: its number may be another's
}

// Start starts cmd, which must be made by exec.Command. Somebody calls Wait.
func Start(ctx context.Context, cmd *exec.Cmd, o Options) (*Process, error) {
	if ctx.Err() != nil {
		return nil, fmt.Errorf("start %s: %w", name(cmd), context.Cause(ctx))
	}
	o.Signal = cmp.Or(o.Signal, syscall.SIGTERM)
	o.Grace = cmp.Or(o.Grace, 5*time.Second)
	p := &Process{cmd: cmd, opt: o, done: make(chan struct{})}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	if o.Contain && CanContain() {
		contain(cmd.SysProcAttr)
	}
	if cmd.WaitDelay == 0 {
		cmd.WaitDelay = outputWait
	}
	started := make(chan error, 1)
	go p.run(ctx, started) // ends with the child; Wait waits for it
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", name(cmd), err)
	}
	return p, nil
}

// run owns the child from its start to its end.
func (p *Process) run(ctx context.Context, started chan<- error) {
	// The death signal comes when the thread that forked ends, not when this
	// process does, so the thread stays.
	runtime.LockOSThread()
	if p.opt.OnThread != nil && unix.Gettid() == os.Getpid() {
		// The main thread can't end, and is what /proc/self is about.
		other := make(chan struct{})
		go func() {
			runtime.LockOSThread()
			close(other)
			p.own(ctx, started)
		}()
		<-other
		runtime.UnlockOSThread()
		return
	}
	p.own(ctx, started)
}

// own is run on a thread of its own.
func (p *Process) own(ctx context.Context, started chan<- error) {
	var err error
	if p.opt.OnThread == nil {
		defer runtime.UnlockOSThread()
	} else {
		err = p.opt.OnThread() // the thread ends with this goroutine
	}
	if err == nil {
		err = p.cmd.Start()
	}
	started <- err
	if err != nil {
		return
	}
	defer close(p.done)
	gone := make(chan struct{}) // the child has ended
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		select {
		case <-ctx.Done():
			p.end(gone)
		case <-gone:
		}
	}()
	// As long as it isn't reaped, its number and its group's are nobody else's.
	for {
		err := unix.Waitid(unix.P_PID, p.cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	p.mu.Lock()
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // fails when nothing is left of it
	p.ended = true
	p.mu.Unlock()
	close(gone)
	<-asked
	p.err = p.cmd.Wait()
}

// end asks the group to end, and kills it if it doesn't.
func (p *Process) end(gone <-chan struct{}) {
	p.Signal(p.opt.Signal)
	t := time.NewTimer(p.opt.Grace)
	defer t.Stop()
	select {
	case <-gone:
	case <-t.C:
		p.Kill()
	}
}

// Pid is the child's number, and its group's.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Done is closed when the child has ended and its output is complete.
func (p *Process) Done() <-chan struct{} { return p.done }

// State is how it ended; nil before Done, and if that could not be found out.
func (p *Process) State() *os.ProcessState {
	select {
	case <-p.done:
		return p.cmd.ProcessState
	default:
		return nil
	}
}

// Signal sends a signal to the child's group. To one that has ended it does
// nothing.
func (p *Process) Signal(sig syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ended {
		_ = syscall.Kill(-p.cmd.Process.Pid, sig) // fails only when it has ended
	}
}

// Kill ends the child and its group at once.
func (p *Process) Kill() { p.Signal(syscall.SIGKILL) }

// Wait waits for the end of the child. The error is that of exec.Cmd.Wait, an
// *exec.ExitError for a status other than 0; output that something that
// escaped still holds open is none.
func (p *Process) Wait() error {
	<-p.done
	if errors.Is(p.err, exec.ErrWaitDelay) {
		return nil
	}
	return p.err
}

// Within tells whether the child ends within d.
func (p *Process) Within(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-p.done:
		return true
	case <-t.C:
		return false
	}
}

// Run starts a child and waits for its end. When ctx has ended the error is
// its cause, whatever the child made of that.
func Run(ctx context.Context, cmd *exec.Cmd, o Options) error {
	p, err := Start(ctx, cmd, o)
	if err != nil {
		return err
	}
	err = p.Wait()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name(cmd), err)
	}
	return nil
}

// Output is Run that gives what the child writes to stdout, at most limit
// bytes: it is an error when there is more. If it fails, the error has the end
// of what it wrote to stderr, unless cmd.Stderr takes that.
func Output(ctx context.Context, cmd *exec.Cmd, o Options, limit int) ([]byte, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	out := &capped{limit: limit, over: func() {
		cancel(fmt.Errorf("it wrote more than %d bytes", limit))
	}}
	said := &Tail{Limit: 4 << 10}
	cmd.Stdout = out
	if cmd.Stderr == nil {
		cmd.Stderr = said
	}
	err := Run(ctx, cmd, o)
	if text := said.Line(); err != nil && ctx.Err() == nil && text != "" {
		err = fmt.Errorf("%w: %s", err, text)
	}
	return out.buf.Bytes(), err
}

// capped is a buffer that calls over, and takes no more, beyond its limit.
type capped struct {
	buf   bytes.Buffer // not embedded: io.Copy would pass over Write
	limit int
	over  func()
}

func (c *capped) Write(p []byte) (int, error) {
	if c.buf.Len()+len(p) > c.limit {
		c.over()
		return len(p), nil // it is being ended
	}
	return c.buf.Write(p)
}

// A Tail keeps the last Limit bytes that are written to it. It may be read
// while it is written to.
type Tail struct {
	Limit int

	mu   sync.Mutex
	text []byte
	cut  bool
}

func (t *Tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if over := len(t.text) - t.Limit; over > 0 {
		t.text = append(t.text[:0], t.text[over:]...)
		t.cut = true
	}
	return len(p), nil
}

// Text is what is kept, and whether there was more before it.
func (t *Tail) Text() (text string, cut bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text), t.cut
}

// Line is what is kept in one line that is fit for a terminal: the lines
// joined by "; ", what can't be printed escaped.
func (t *Tail) Line() string {
	kept, cut := t.Text()
	if cut { // the first line is a part of one
		if _, rest, ok := strings.Cut(kept, "\n"); ok {
			kept = rest
		}
	}
	var lines []string
	for line := range strings.FieldsFuncSeq(kept, func(r rune) bool { return r == '\n' || r == '\r' }) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, text.Escape(line))
		}
	}
	return strings.Join(lines, "; ")
}

func name(cmd *exec.Cmd) string { return filepath.Base(cmd.Path) }
