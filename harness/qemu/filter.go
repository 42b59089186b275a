package qemu

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"
)

// A filter serves the image of one disk to QEMU, as an NBD server over a
// socket pair, and does to requests what faults say.
type filter struct {
	disk   Disk
	conn   net.Conn
	size   int64
	dir    string      // for layers
	fault  func(error) // is told of trouble of the host
	onHold func()      // is told that a request is held on purpose

	over  chan struct{}  // closed when the machine has ended
	owned sync.WaitGroup // goroutines

	mu      sync.Mutex
	content layers
	faults  []*armed
	past    []Hits // of faults that are no longer in force
	tape    *tape  // nil: nothing is recorded
	gate    *gate  // of requests that are held from now on
	held    int
	busy    map[*request]time.Time // requests that wait for this process, since when

	sending sync.Mutex // held while an answer is sent
}

// A gate holds requests until it is opened.
type gate struct {
	opened chan struct{}
	fail   bool // those that were held without end; valid when opened
}

func newGate() *gate { return &gate{opened: make(chan struct{})} }

// newFilter serves content, which it releases at its end, over conn.
func newFilter(d Disk, conn net.Conn, dir string, content layers) *filter {
	return &filter{
		disk: d, conn: conn, size: content.size(), dir: dir, content: content,
		fault: func(error) {}, onHold: func() {},
		over: make(chan struct{}), gate: newGate(), busy: map[*request]time.Time{},
	}
}

// run serves until the connection ends.
func (f *filter) run() { f.owned.Go(f.serve) }

// close ends the filter and waits for all of it.
func (f *filter) close() error {
	close(f.over)
	err := f.conn.Close()
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	f.owned.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.disarm()
	f.tape = nil
	return errors.Join(err, f.content.release())
}

// flatten makes the disk's file complete.
func (f *filter) flatten(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.content.flatten(ctx)
}

func (f *filter) serve() {
	err := nbdNegotiate(f.conn, f.size)
	r := bufio.NewReaderSize(f.conn, 64<<10)
	for err == nil {
		err = f.next(r)
	}
	// QEMU's end closes the connection, and so does ours.
	if err = atEnd(err); !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, syscall.EPIPE) {
		f.fault(fmt.Errorf("%w: serve disk %s to QEMU: %w", ErrHost, f.disk.ID, err))
	}
	_ = f.conn.Close() // QEMU sees that nobody serves it any more
}

// next takes one request and answers it, or has it answered later.
func (f *filter) next(in io.Reader) error {
	c, err := nbdNext(in)
	if err != nil {
		return err
	}
	r := &request{nbdCommand: c}
	f.note(r)
	switch c.kind {
	case nbdRead, nbdWrite:
		r.op = ReadOp
		r.data = make([]byte, c.length)
		if c.kind == nbdWrite {
			r.op = WriteOp
			if _, err := io.ReadFull(in, r.data); err != nil {
				return err
			}
		}
	case nbdWriteZeroes:
		r.op = WriteOp
	case nbdTrim:
		r.op = DiscardOp
	case nbdFlush:
		r.op = FlushOp
	case nbdDisconnect:
		return io.EOF
	default:
		return f.answer(r, syscall.EINVAL)
	}
	const grain = SectorSize - 1
	if (c.offset|c.length)&grain != 0 || c.offset < 0 || c.length > f.size-c.offset || (c.length == 0) != (r.op == FlushOp) {
		return f.answer(r, syscall.EINVAL)
	}
	f.mu.Lock()
	for _, a := range f.faults {
		if a.hits(r, f.disk.atom()) {
			break
		}
	}
	held := r.hold || r.wait > 0
	e, err := f.arrive(r)
	if held && err == nil {
		f.held++
		delete(f.busy, r)
		g := f.gate
		f.owned.Go(func() { f.later(r, e, g) })
	}
	f.mu.Unlock()
	switch {
	case err != nil:
		f.trouble(r, err)
		return nil
	case !held:
		return f.carryOut(r, e)
	case r.hold || r.wait >= guardLimit:
		f.onHold()
	}
	return nil
}

// later carries out a request that is held on purpose, when it is time.
func (f *filter) later(r *request, e *entry, g *gate) {
	var timer <-chan time.Time // nil: never
	if !r.hold {
		t := time.NewTimer(r.wait)
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-timer:
	case <-g.opened:
		if r.hold && g.fail {
			r.fail = syscall.EIO
			e.abort()
		}
	case <-f.over:
		_ = r.from.release() // nobody reads it any more
		return
	}
	f.note(r)
	f.mu.Lock()
	f.held--
	f.mu.Unlock()
	if err := f.carryOut(r, e); err != nil {
		_ = f.conn.Close() // serve sees it
	}
}

// carryOut does what a request asks for and answers it. An error is the
// connection's.
func (f *filter) carryOut(r *request, e *entry) error {
	f.mu.Lock()
	var err error
	if e == nil { // a recording may have begun since it arrived
		e, err = f.arrive(r)
	}
	if err == nil {
		err = f.do(r)
	}
	if err == nil && r.fail == 0 {
		e.finish()
	}
	f.mu.Unlock()
	if err != nil {
		f.trouble(r, err)
		return nil
	}
	return f.answer(r, r.fail)
}

// trouble of the host with a request is never told to the guest, who could
// only blame its disk: there is no answer.
func (f *filter) trouble(r *request, err error) {
	f.fault(fmt.Errorf("%w: can't %s the file of disk %s: %w", ErrHost, r.op, f.disk.ID, err))
}

// do is called with the lock held.
func (f *filter) do(r *request) error {
	switch {
	case r.fail != 0 || r.done || r.op == FlushOp:
		// What is in the file is as safe as a machine's disks need be.
		return nil
	case r.op == ReadOp:
		from := f.content
		if r.from != nil {
			from = r.from
		}
		err := errors.Join(from.read(r.data, r.offset), r.from.release())
		if r.flip != nil {
			r.flip()
		}
		return err
	case r.op == WriteOp:
		for _, a := range f.faults {
			a.wrote(r.offset, r.length)
		}
	}
	if r.data != nil {
		return f.content.write(r.data, r.offset)
	}
	return f.content.zero(r.offset, r.length)
}

func (f *filter) answer(r *request, failure syscall.Errno) error {
	var data []byte
	if r.op == ReadOp && failure == 0 {
		data = r.data
	}
	f.sending.Lock()
	err := nbdAnswer(f.conn, r.handle, failure, data)
	f.sending.Unlock()
	f.mu.Lock()
	delete(f.busy, r)
	f.mu.Unlock()
	return err
}

// note says that a request waits for this process from now on.
func (f *filter) note(r *request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.busy[r] = time.Now()
}

// pending is since when a request waits for this process, and not on purpose.
func (f *filter) pending() (since time.Time, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, t := range f.busy {
		if !ok || t.Before(since) {
			since, ok = t, true
		}
	}
	return since, ok
}

// heldNow is how many requests are held on purpose.
func (f *filter) heldNow() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.held
}

// mayHold says that a request is held, or can be from one moment to the next.
func (f *filter) mayHold() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.held > 0 || slices.ContainsFunc(f.faults, func(a *armed) bool { return a.Fault.Do == StallRequest || a.Fault.Delay > 0 })
}

// inject puts faults in force in place of those before. One that is in force
// already goes on as it is.
func (f *filter) inject(faults []Fault) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all, fresh []*armed
	for _, one := range faults {
		a := arm(one, f.size, f.disk.atom())
		i := slices.IndexFunc(f.faults, func(old *armed) bool { return old.Fault == a.Fault && !slices.Contains(all, old) })
		if i >= 0 {
			a = f.faults[i]
		} else {
			fresh = append(fresh, a)
		}
		all = append(all, a)
	}
	for _, a := range fresh {
		if a.Fault.Do != StaleRead {
			continue
		}
		below, err := f.freeze()
		if err != nil {
			for _, a := range fresh {
				err = errors.Join(err, a.before.release())
			}
			return fmt.Errorf("keep what is on disk %s: %w", f.disk.ID, err)
		}
		a.before = below
	}
	f.faults = slices.DeleteFunc(f.faults, func(a *armed) bool { return slices.Contains(all, a) })
	f.disarm()
	f.faults = all
	f.release(false)
	return nil
}

// disarm ends all faults. It is called with the lock held.
func (f *filter) disarm() {
	for _, a := range f.faults {
		f.past = append(f.past, a.Hits)
		_ = a.before.release() // of files that nobody reads any more
	}
	f.faults = nil
}

// release lets requests go on that are held; with fail, those fail that would
// be held without end. It is called with the lock held.
func (f *filter) release(fail bool) {
	f.gate.fail = fail
	close(f.gate.opened)
	f.gate = newGate()
}

// freeze gives the content as it is now; the caller releases it. It is called
// with the lock held.
func (f *filter) freeze() (layers, error) {
	now := f.content
	if top := now[len(now)-1]; top.holds != nil && top.holds.pages == nil && len(now) > 1 {
		now = now[:len(now)-1] // nothing was written since the last time
		return now.keep(), nil
	}
	all, err := now.add(f.dir)
	if err != nil {
		return nil, err
	}
	f.content = all
	return now.keep(), nil
}

// hits of all faults there were, the earliest first.
func (f *filter) hits() []Hits {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := append([]Hits(nil), f.past...)
	for _, a := range f.faults {
		all = append(all, a.Hits)
	}
	return all
}
