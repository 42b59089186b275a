// Package engine does I/O in the guest, by the system calls that a step names,
// and looks at what came of it.
package engine

import (
	"errors"
	"fmt"
	"iter"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blockrig/blockrig/initramfs/protocol"
	"github.com/blockrig/blockrig/scenarios"
)

// A Request is an I/O and what it goes to.
type Request struct {
	Path       string // a file, or a device's node
	IO         scenarios.IO
	Generation uint32            // of what it writes; of a read, the last one of any write
	Data       []protocol.Extent // what may stand where it reads
}

// A transfer does one I/O at an offset, with a buffer.
type transfer func(f *file, b *buffer, at int64) (int64, error)

// A queued way does several at once.
type queued func(f *file, o scenarios.IO) (queue, error)

// An operation is done in one of two ways.
type operation struct {
	transfer transfer
	queue    queued
}

// operations are all there are, by name.
var operations = map[string]operation{
	"pread": {transfer: func(f *file, b *buffer, at int64) (int64, error) {
		return f.transfer(unix.SYS_PREAD64, b.pieces[0], at)
	}},
	"pwrite": {transfer: func(f *file, b *buffer, at int64) (int64, error) {
		return f.transfer(unix.SYS_PWRITE64, b.pieces[0], at)
	}},
	"preadv2":  {transfer: func(f *file, b *buffer, at int64) (int64, error) { return f.vectored(unix.SYS_PREADV2, b, at) }},
	"pwritev2": {transfer: func(f *file, b *buffer, at int64) (int64, error) { return f.vectored(unix.SYS_PWRITEV2, b, at) }},
	"fsync": {transfer: func(f *file, _ *buffer, _ int64) (int64, error) {
		return 0, again(func() error { return f.sync(unix.SYS_FSYNC) })
	}},
	"fdatasync": {transfer: func(f *file, _ *buffer, _ int64) (int64, error) {
		return 0, again(func() error { return f.sync(unix.SYS_FDATASYNC) })
	}},
	"fallocate":      {transfer: fallocate},
	"discard":        {transfer: func(f *file, _ *buffer, at int64) (int64, error) { return 0, f.rangeIoctl(blkDiscard, at) }},
	"zeroes":         {transfer: func(f *file, _ *buffer, at int64) (int64, error) { return 0, f.rangeIoctl(blkZeroOut, at) }},
	"mmap-read":      {transfer: mapped},
	"mmap-write":     {transfer: mapped},
	"splice-read":    {transfer: spliced},
	"splice-write":   {transfer: splicedOut},
	"reread":         {transfer: reread},
	"libaio-read":    {queue: newAIO},
	"libaio-write":   {queue: newAIO},
	"io_uring-read":  {queue: newRing},
	"io_uring-write": {queue: newRing}, "io_uring-fsync": {queue: newRing}, "io_uring-fdatasync": {queue: newRing},
}

// A file is what I/O goes to.
type file struct {
	fd   int
	io   scenarios.IO
	size int64

	generation uint32 // of what is written
	changed    int64  // how often a buffer was changed while a call used it
}

// refusals are answers to an open that are the kernel's about the device, and
// no mistake of ours.
var refusals = []error{unix.EIO, unix.EROFS, unix.ENXIO, unix.ENODEV, unix.ENOSPC, unix.EUCLEAN}

// Do does an I/O and says what it showed. An error means that it could not be
// tried. release, which is never nil, gives back what it took: a close may
// take long by itself.
func Do(r Request) (seen scenarios.Observation, release func(), err error) {
	o := r.IO
	op, ok := operations[o.Op]
	if !ok {
		return seen, nothing, fmt.Errorf("operation %q is not known", o.Op)
	}
	if o.Length < 0 || o.Offset < 0 || o.Count < 0 {
		return seen, nothing, fmt.Errorf("offset %d, length %d, count %d: out of bounds", o.Offset, o.Length, o.Count)
	}
	f, errno, err := open(r.Path, openFlags(o))
	if err != nil || errno != "" {
		return scenarios.Observation{Returned: errno != "", Errno: errno}, nothing, err
	}
	f.io, f.generation = o, r.Generation
	s := &series{Request: r, file: f, oracle: oracle{r.Data, r.Generation, f.size}}
	err = s.do(op)
	return s.seen, s.release, err
}

func (s *series) do(op operation) (err error) {
	if s.IO.Changing {
		defer twoProcessors()()
	}
	if op.queue != nil {
		err = s.queued(op.queue)
	} else {
		err = s.inOrder(op.transfer)
	}
	if s.seen.Changed = s.file.changed; err == nil && s.IO.Changing && s.seen.Changed == 0 {
		err = errors.New("the buffer was not changed while the write ran, so the step says nothing; write more at once, or more often")
	}
	return err
}

// places gives the offset of each I/O, in order, and whether it is one more
// than was asked for: with Seconds all of it is done again until they are over.
func (s *series) places() iter.Seq2[int64, bool] {
	return func(yield func(int64, bool) bool) {
		began, limit := time.Now(), time.Duration(s.IO.Seconds)*time.Second
		for more := false; !more || time.Since(began) < limit; more = true {
			for at := range s.IO.Places() {
				if more && time.Since(began) >= limit || !yield(at, more) {
					return
				}
			}
		}
	}
}

func nothing() {}

// openFlags are those that an I/O opens its file with.
func openFlags(o scenarios.IO) int {
	switch {
	case o.Direct:
		// Reads, too, as the program of the report: O_RDWR|O_DIRECT.
		return unix.O_RDWR | unix.O_CLOEXEC | unix.O_DIRECT
	case o.Reads():
		return unix.O_RDONLY | unix.O_CLOEXEC
	default:
		return unix.O_RDWR | unix.O_CLOEXEC
	}
}

// open opens a file or device. The errno of an open that the kernel refuses is
// an answer as that of a read.
func open(path string, flags int) (*file, string, error) {
	fd, err := unix.Open(path, flags, 0)
	if slices.ContainsFunc(refusals, func(e error) bool { return errors.Is(err, e) }) {
		return nil, ErrnoName(err), nil
	}
	if err != nil {
		return nil, "", fmt.Errorf("open %s: %w", path, err)
	}
	f := &file{fd: fd}
	if f.size, err = unix.Seek(fd, 0, unix.SEEK_END); err != nil {
		return nil, "", fmt.Errorf("size of %s: %w", path, err)
	}
	return f, "", nil
}

// A series is the I/Os of one step.
type series struct {
	Request
	file   *file
	oracle checker
	seen   scenarios.Observation
	mine   []*buffer
	queue  queue // nil for none

	// Of a sweep; see Sweeper.
	memory arena            // nil: each I/O has its own
	kept   map[string]queue // queues that stay; nil: none
	data   []byte           // what is written, from the I/O's offset on; nil: the pattern of the generation
}

// A checker knows what may stand where it is read. It gives the first byte of b,
// read at offset at, that is wrong, and what stands there; -1 where all is
// right.
type checker interface {
	check(b []byte, at int64) (wrong int64, kind string)
}

// release gives back what the series took, and closes its file.
func (s *series) release() {
	s.free()
	_ = unix.Close(s.file.fd) // its own errors are none of the I/O's
}

// free gives back what the series took, and leaves its file open.
func (s *series) free() {
	for _, b := range s.mine {
		b.release()
	}
	if s.queue != nil && s.kept == nil {
		s.queue.close()
	}
}

// buffer is memory for one I/O, filled for a write at an offset.
func (s *series) buffer() (*buffer, error) {
	o := s.IO
	if !o.Transfers() {
		o.Length, o.Vectors = 0, nil
	}
	take := newBuffer
	if s.memory != nil {
		take = s.memory.buffer
	}
	b, err := take(o)
	if err == nil {
		s.mine = append(s.mine, b)
	}
	if err == nil && s.IO.Unmapped {
		if !s.IO.Reads() { // what is written must have stood there
			s.fill(b, s.IO.Offset)
		}
		err = b.unmap()
	}
	return b, err
}

// fill makes a buffer ready for the I/O at an offset.
func (s *series) fill(b *buffer, at int64) {
	switch {
	case s.IO.Writes() && s.data != nil:
		b.each(s.IO.Length, func(part []byte, i int64) { copy(part, s.data[at-s.IO.Offset+i:]) })
	case s.IO.Writes():
		b.each(s.IO.Length, func(part []byte, i int64) { protocol.Fill(part, s.Generation, at+i) })
	case s.memory != nil: // it holds what is never right
	default:
		b.each(s.IO.Length, func(part []byte, _ int64) { clear(part) })
	}
}

// took takes the answer to one I/O. It is false where the series ends. What is
// more than was asked for does not count as bytes.
func (s *series) took(b *buffer, at, n int64, more bool, err error) bool {
	o := &s.seen
	if err != nil {
		o.Errno = ErrnoName(err)
		n = 0
	}
	switch missing := s.IO.Length - n; {
	case !more:
		o.Bytes += n
	case err == nil && s.IO.Transfers() && missing > 0:
		o.Bytes -= missing // a short one shows
	case err == nil:
		o.More++
	}
	if s.IO.Reads() && o.Mismatch == nil {
		b.each(n, func(part []byte, i int64) {
			if o.Mismatch != nil {
				return
			}
			if wrong, kind := s.oracle.check(part, at+i); wrong >= 0 {
				wrong += at - s.IO.Offset + i
				o.Mismatch, o.Wrong = &wrong, kind
			}
		})
	}
	if o.Overrun == nil {
		o.Overrun = b.overrun()
	}
	short := n < s.IO.Length && (s.IO.Reads() || s.IO.Writes())
	return err == nil && !short && o.Mismatch == nil && o.Overrun == nil
}

func (s *series) inOrder(do transfer) error {
	b, err := s.buffer()
	if err != nil {
		return err
	}
	first := true
	for at, more := range s.places() {
		if s.IO.Writes() || !first { // a new buffer holds zeroes
			s.fill(b, at)
		}
		first = false
		if err := s.atEnd(at); err != nil {
			return err
		}
		var c *changer
		if s.IO.Changing && s.IO.Op != "mmap-write" { // which changes what is mapped
			c = s.file.change(b.parts(s.IO.Length, at), at)
		}
		n, err := do(s.file, b, at)
		if c != nil {
			s.file.changed += c.stop()
		}
		var broken *brokenError
		if errors.As(err, &broken) {
			return err
		}
		if !s.took(b, at, n, more, err) {
			break
		}
	}
	s.seen.Returned = true
	return nil
}

// atEnd refuses to append where the file does not end: the kernel would write
// somewhere else than the step says.
func (s *series) atEnd(at int64) error {
	if s.file.rwFlags()&rwFlags["APPEND"] == 0 || !s.IO.Writes() {
		return nil
	}
	end, err := unix.Seek(s.file.fd, 0, unix.SEEK_END)
	if err == nil && end != at {
		err = fmt.Errorf("APPEND writes at the end of the file, which is at %d; say so by offset, which is %d", end, at)
	}
	return err
}

// A brokenError is an error of the engine's own means.
type brokenError struct{ error }

// A queue has several I/Os under way.
type queue interface {
	// submit begins the I/O of a slot.
	submit(slot int, b *buffer, at int64) error
	// use has what is begun from now on go to another file.
	use(f *file)
	// wait waits until one has ended.
	wait() (slot int, n int64, err error)
	// close gives back what it took.
	close()
}

// A slot is an I/O of a queue.
type slot struct {
	b      *buffer
	at     int64
	more   bool
	change *changer // nil for none
}

func (s *series) queued(open queued) error {
	q, err := s.openQueue(open)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) {
		return fmt.Errorf("this kernel has no %s: %w", s.IO.Op, err)
	}
	if err != nil {
		return err
	}
	s.queue = q
	slots := make([]slot, max(1, s.IO.Depth))
	free := make([]int, 0, len(slots))
	var buffers []*buffer
	for i := range slots {
		if int64(i) >= max(1, s.IO.Count) {
			break
		}
		if slots[i].b, err = s.buffer(); err != nil {
			return err
		}
		free = append(free, i)
		buffers = append(buffers, slots[i].b)
	}
	if r, ok := q.(*ring); ok {
		if err := r.register(buffers, s.file); err != nil {
			return err
		}
	}
	busy, going := 0, true
	reap := func() error {
		i, n, err := q.wait()
		if i < 0 {
			return err
		}
		busy--
		free = append(free, i)
		if c := slots[i].change; c != nil {
			s.file.changed += c.stop()
		}
		if !s.took(slots[i].b, slots[i].at, n, slots[i].more, err) {
			going = false
		}
		return nil
	}
	for at, more := range s.places() {
		for going && len(free) == 0 {
			if err := reap(); err != nil {
				return err
			}
		}
		if !going {
			break
		}
		i := free[len(free)-1]
		free = free[:len(free)-1]
		if err := s.atEnd(at); err != nil {
			return err
		}
		slots[i].at, slots[i].more = at, more
		s.fill(slots[i].b, at)
		if s.IO.Changing {
			slots[i].change = s.file.change(slots[i].b.parts(s.IO.Length, at), at)
		}
		if err := q.submit(i, slots[i].b, at); err != nil {
			// libaio answers some requests at once.
			if c := slots[i].change; c != nil {
				c.stop()
			}
			going = s.took(slots[i].b, at, 0, more, err)
			free = append(free, i)
			continue
		}
		busy++
	}
	for busy > 0 {
		if err := reap(); err != nil {
			return err
		}
	}
	s.seen.Returned = true
	if r, ok := q.(*ring); ok {
		s.seen.Polled, err = r.polling.proof(s.IO.Expect, s.seen.Errno)
	}
	return err
}

// openQueue opens a queue, or gives one that was kept. To close one can take the
// kernel long: it waits until nobody looks at it any more.
func (s *series) openQueue(open queued) (queue, error) {
	key := fmt.Sprintf("%s %d %t", s.IO.Op, s.IO.Depth, s.file.rwFlags()&rwFlags["HIPRI"] != 0)
	if q := s.kept[key]; q != nil {
		q.use(s.file)
		return q, nil
	}
	q, err := open(s.file, s.IO)
	if err == nil && s.kept != nil {
		s.kept[key] = q
	}
	return q, err
}

// ErrnoName is the name of the errno in an error.
func ErrnoName(err error) string {
	var e unix.Errno
	if errors.As(err, &e) {
		if name := unix.ErrnoName(e); name != "" {
			return name
		}
		return fmt.Sprintf("errno %d", int(e))
	}
	return err.Error()
}

// again repeats what a signal interrupted: the runtime's own, of a preemption.
func again(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

var page = int64(os.Getpagesize())
