package trial

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/blockrig/blockrig/initramfs/protocol"
	"github.com/blockrig/blockrig/scenarios"
)

// A Terminal is the host's side of a shell in the guest.
type Terminal struct {
	// Keys are what is typed; their end, or an error, ends the shell. A Close
	// makes a Read that waits come back: Shell closes them. With a Script there
	// are none.
	Keys   io.ReadCloser
	Script string // commands to run; at most MaxScript bytes
	Rows   int    // of the terminal; 0 when not known
	Cols   int
	Out    io.Writer // what the console says from the moment that the stack is ready
}

// MaxScript is how long the commands for a shell can be, in bytes: they go to
// the guest in one line (protocol.MaxLine), in which a byte can take six.
const MaxScript = 8 << 10

// ErrScript says that the script ran and ended with a failure.
var ErrScript = errors.New("the commands failed")

// Shell boots the machine of a trial, whose initramfs has u-root's shell,
// builds the stack, and hands the console over until the shell ends, the keys
// do, or ctx. A kernel that dies under a shell is no error as long as its user
// looks at it.
func Shell(ctx context.Context, l Local, t Terminal) (err error) {
	g := &gate{out: t.Out, lines: t.Script != ""}
	s := newSession(l)
	s.tap = g
	s.enter(scenarios.PhaseInfra, "")
	err = s.powerOn(ctx)
	defer func() {
		s.close()
		if cleanErr := l.removeDisks(); err == nil {
			err = cleanErr
		}
		if err == nil {
			err = g.failed()
		}
	}()
	if err != nil {
		return err
	}
	setup := l.setup(s.disks)
	setup.Shell, setup.Script, setup.Rows, setup.Cols = true, t.Script, uint16(t.Rows), uint16(t.Cols)
	if s.start(ctx, setup) != nil {
		rep := s.res.Report
		for _, why := range []string{rep.Host, rep.Setup, rep.Silent, rep.Reset} {
			if why != "" {
				return fmt.Errorf("no shell: phase %s: %s", rep.Phase, why)
			}
		}
		return fmt.Errorf("no shell: phase %s", rep.Phase)
	}
	if t.Script != "" {
		return s.attend(ctx, nil)
	}
	typed := make(chan error, 1)
	go func() {
		_, err := io.Copy(s.m.ConsoleInput(), t.Keys)
		typed <- err
	}()
	err = s.attend(ctx, typed)
	// Without the machine a write comes back, without the keys a read.
	err = errors.Join(err, s.m.Close(), t.Keys.Close())
	<-typed
	return err
}

// attend waits until a shell is over, whatever the guest does meanwhile.
func (s *session) attend(ctx context.Context, typed chan error) error {
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("interrupted: %w", context.Cause(ctx))
		case <-s.m.Troubled():
			return s.m.Trouble()
		case <-s.m.Done():
			return s.m.Err()
		case err := <-typed:
			typed <- err // Shell takes it
			return err
		case m, ok := <-s.link.messages:
			switch {
			case !ok:
				<-s.m.Done()
				return s.m.Err()
			case m.Fail != nil:
				return fmt.Errorf("in the guest: %s: %s", m.Fail.What, m.Fail.Why)
			case m.Result != nil:
				s.lastWords(ctx)
				if m.Result.Died != "" && typed == nil {
					return fmt.Errorf("%w: %s", ErrScript, m.Result.Died)
				}
				return nil
			}
		}
	}
}

// lastWords waits for the end of the console, which is slower than the
// control line.
func (s *session) lastWords(ctx context.Context) {
	select {
	case <-s.rec.end:
	case <-s.rec.dead:
	case <-s.m.Done():
	case <-time.After(logWait):
	case <-ctx.Done():
	}
}

// A gate lets a console through from the line that says that the guest is
// ready. Blockrig's own lines stay behind where it reads whole lines.
type gate struct {
	out   io.Writer
	lines bool // whole lines, for a script: ended by \n alone

	mu   sync.Mutex
	open bool
	line []byte // the beginning of a line
	err  error
}

// Write never fails: the console must be read to its end. The first error is
// kept.
func (g *gate) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := len(p)
	for len(p) > 0 {
		if g.open && !g.lines {
			g.pass(p)
			break
		}
		end := bytes.IndexByte(p, '\n') + 1
		if end == 0 {
			if g.line = append(g.line, p...); len(g.line) > maxGateLine {
				g.flush()
			}
			break
		}
		g.line = append(g.line, p[:end]...)
		g.flush()
		p = p[end:]
	}
	return n, nil
}

// maxGateLine bounds the memory that a guest can claim with one line.
const maxGateLine = 64 << 10

// flush deals with a line.
func (g *gate) flush() {
	line := g.line
	g.line = nil
	switch own, ok := protocol.ParseGuestLine(string(line)); {
	case ok && own.Ready:
		g.open = true
	case ok:
	case g.open:
		if rest, ok := bytes.CutSuffix(line, []byte("\r\n")); ok {
			line = append(rest, '\n')
		}
		g.pass(line)
	}
}

func (g *gate) pass(p []byte) {
	if g.err == nil {
		_, g.err = g.out.Write(p)
	}
}

// failed says why the console could not be shown.
func (g *gate) failed() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err != nil {
		return fmt.Errorf("show the console: %w", g.err)
	}
	return nil
}
