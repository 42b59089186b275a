package trial

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"github.com/blockrig/blockrig/harness/console"
	"github.com/blockrig/blockrig/harness/verdict"
	"github.com/blockrig/blockrig/initramfs/protocol"
)

// maxLog bounds a console log: a flood must not fill the host's disk.
const maxLog = 256 << 20

// maxMarks bounds what is kept of blockrig's own lines.
const maxMarks = 10_000

// recorder writes the console to a file and reads it at the same time.
type recorder struct {
	file    *os.File
	scanner *console.Scanner
	marks   []console.Mark
	sum     protocol.LogSum // of what was written
	size    int64
	cut     bool

	ready chan struct{} // closed when the console shows that the stack is ready
	end   chan uint64   // has the number of the last step whose log is complete, as the guest said
	dead  chan struct{} // closed when the kernel has panicked
	signs signs

	done chan struct{} // closed when run has returned
	err  error         // of run; valid after done
	once struct{ ready, dead sync.Once }
}

func newRecorder(path string) (*recorder, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, fmt.Errorf("create the console log: %w", err)
	}
	r := &recorder{file: f, ready: make(chan struct{}), end: make(chan uint64, 1), dead: make(chan struct{}), done: make(chan struct{})}
	r.scanner = console.NewScanner(console.OnMark(r.mark), console.OnSign(r.sign))
	return r, nil
}

// run records until in ends. It is the only one to use the scanner until done.
func (r *recorder) run(in io.Reader) {
	defer close(r.done)
	buf := make([]byte, 64<<10)
	for {
		n, err := in.Read(buf)
		if n > 0 {
			if werr := r.write(buf[:n]); werr != nil && r.err == nil {
				// Go on reading: a guest whose console nobody reads stops.
				r.err = fmt.Errorf("write the console log: %w", werr)
			}
		}
		if err != nil {
			if !errors.Is(err, io.EOF) && r.err == nil {
				r.err = fmt.Errorf("read the console: %w", err)
			}
			return
		}
	}
}

// preload begins the log with an earlier one, before run.
func (r *recorder) preload(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read the console log of a saved machine: %w", err)
	}
	return r.write(b)
}

// again makes it ready for the console of one more machine, after run.
func (r *recorder) again() error {
	if r.err != nil {
		return r.err
	}
	// The power may have failed in the middle of a line.
	if err := r.write([]byte("\n")); err != nil {
		return fmt.Errorf("write the console log: %w", err)
	}
	r.done, r.ready = make(chan struct{}), make(chan struct{})
	r.once.ready = sync.Once{}
	return nil
}

// copyTo copies what was recorded, after run.
func (r *recorder) copyTo(path string) error {
	b, err := os.ReadFile(r.file.Name())
	if err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o600)
}

func (r *recorder) write(b []byte) error {
	if r.cut {
		return nil
	}
	if r.size += int64(len(b)); r.size > maxLog {
		r.cut = true
		b = []byte("\n[blockrig: the console log ends here: it has grown too long]\n")
	}
	_, _ = r.scanner.Write(b) // never fails
	_, _ = r.sum.Write(b)     // so does this
	_, err := r.file.Write(b)
	return err
}

func (r *recorder) mark(line int, text string) {
	// As console.ReadAll does it: classify is to see the same.
	if len(r.marks) == maxMarks {
		r.marks = r.marks[:maxMarks-1]
	}
	r.marks = append(r.marks, console.Mark{Line: line, Text: text})
	switch l, _ := protocol.ParseGuestLine(text); {
	case l.Ready:
		r.once.ready.Do(func() { close(r.ready) })
	case l.End != nil:
		select {
		case <-r.end: // nobody waits for the step before
		default:
		}
		r.end <- *l.End
	}
}

func (r *recorder) sign(s console.Sign) {
	switch s.Kind {
	case console.KindPanic:
		r.signs.reports.Add(1)
		r.once.dead.Do(func() { close(r.dead) })
	case console.KindHang, console.KindBug, console.KindWarn:
		r.signs.reports.Add(1)
	case console.KindIO:
		r.signs.errors.Add(1)
	}
}

// signs counts those that something is wrong with the kernel.
type signs struct {
	reports atomic.Int64
	errors  atomic.Int64 // of I/O, each kind once
}

// since gives how many there are that there were not before.
func (s *signs) since(before shown, explained bool) int64 {
	n := s.reports.Load() - before.reports
	if !explained {
		n += s.errors.Load() - before.errors
	}
	return n
}

// shown is what signs had counted at one moment.
type shown struct{ reports, errors int64 }

func (s *signs) now() shown { return shown{s.reports.Load(), s.errors.Load()} }

// finish closes the scanner after run has ended and gives what was found.
func (r *recorder) finish() []console.Finding {
	<-r.done
	r.scanner.Close()
	return r.scanner.Findings()
}

// close appends the trailer and closes the file.
func (r *recorder) close(rep verdict.Report) error {
	r.sum.Close()
	trailer, err := verdict.Trailer(rep, r.sum.Sum())
	if err != nil {
		return errors.Join(err, r.file.Close())
	}
	// The guest may have been cut off in the middle of a line.
	_, err = r.file.WriteString("\n" + trailer)
	if err != nil {
		err = fmt.Errorf("end the console log: %w", err)
	}
	return errors.Join(err, r.file.Close())
}
