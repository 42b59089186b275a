package qemu

import (
	"errors"
	"fmt"
	"os"
	"sync"
)

// A Recording is all that was written to a machine's disks since a moment,
// with the flushes between: what a power cut leaves is made of it. It outlives
// the machine; Close must be called.
type Recording struct {
	mu      sync.Mutex
	events  int // so far: arrivals and ends of requests, and marks
	tapes   []*tape
	marks   []mark
	log     *os.File // what was written, one write after the other
	end     int64    // of log
	stopped bool
}

// mark is a moment that the caller named.
type mark struct {
	name string
	at   int
}

// A tape is what was recorded of one disk.
type tape struct {
	rec     *Recording
	disk    Disk
	base    layers // the content when it began
	entries []*entry
}

// An entry is a write, discard or flush that changed something.
type entry struct {
	tape     *tape
	op       Operation
	offset   int64
	length   int64
	fua      bool
	data     int64 // where it is in the log; -1: zeros
	arrived  int   // number of the event
	finished int   // 0: not yet
	aborted  bool  // and it never will be
}

// newRecording makes one for filters. The log has no name.
func newRecording(dir string, filters []*filter) (*Recording, error) {
	log, err := os.CreateTemp(dir, "record-")
	if err != nil {
		return nil, err
	}
	r := &Recording{log: log}
	if err := os.Remove(log.Name()); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	// One moment for all disks: nothing arrives meanwhile.
	for _, f := range filters {
		f.mu.Lock()
		defer f.mu.Unlock()
	}
	for _, f := range filters {
		if f.tape != nil && !f.tape.rec.over() {
			return nil, errors.Join(fmt.Errorf("disk %s is being recorded", f.disk.ID), r.Close())
		}
		base, err := f.freeze()
		if err != nil {
			return nil, errors.Join(err, r.Close())
		}
		r.tapes = append(r.tapes, &tape{rec: r, disk: f.disk, base: base})
	}
	for i, f := range filters {
		f.tape = r.tapes[i]
	}
	return r, nil
}

// arrive notes a request that will change the disk; nil when it won't, or
// nobody records. It is called with the lock held.
func (f *filter) arrive(r *request) (*entry, error) {
	if f.tape == nil || r.op == ReadOp || r.done || r.fail != 0 {
		return nil, nil
	}
	return f.tape.add(r)
}

func (t *tape) add(r *request) (*entry, error) {
	rec := t.rec
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if rec.stopped {
		return nil, nil
	}
	// QEMU's NVMe drops FUA: any write may have been one. And a discard has none.
	fua := r.fua || t.disk.Bus == NVMe || t.disk.WriteCache == Off
	e := &entry{tape: t, op: r.op, offset: r.offset, length: r.length, fua: fua, data: -1}
	if r.data != nil {
		if _, err := rec.log.WriteAt(r.data, rec.end); err != nil {
			return nil, err
		}
		e.data = rec.end
		rec.end += r.length
	}
	rec.events++
	e.arrived = rec.events
	t.entries = append(t.entries, e)
	return e, nil
}

// finish notes that a request is about to be answered.
func (e *entry) finish() {
	if e == nil {
		return
	}
	rec := e.tape.rec
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if !rec.stopped {
		rec.events++
		e.finished = rec.events
	}
}

// abort notes that a request was given up before anything was done.
func (e *entry) abort() {
	if e == nil {
		return
	}
	e.tape.rec.mu.Lock()
	defer e.tape.rec.mu.Unlock()
	e.aborted = true
}

// Mark names this moment: what the guest has said by now happened before it.
func (r *Recording) Mark(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.stopped {
		r.events++
		r.marks = append(r.marks, mark{name, r.events})
	}
}

// Stop ends the recording, as the end of the machine does; what it has stays.
func (r *Recording) Stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped = true
}

func (r *Recording) over() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stopped
}

// Close gives up what was recorded.
func (r *Recording) Close() error {
	r.Stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.log == nil {
		return nil
	}
	err := r.log.Close()
	r.log = nil
	for _, t := range r.tapes {
		err = errors.Join(err, t.base.release())
	}
	return err
}
