package engine

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/blockrig/blockrig/scenarios"
)

// The interface of io_uring, include/uapi/linux/io_uring.h.

type ringOffsets struct {
	head, tail, mask, entries, flags, dropped, array, resv1 uint32
	userAddr                                                uint64
}

type completionOffsets struct {
	head, tail, mask, entries, overflow, cqes, flags, resv1 uint32
	userAddr                                                uint64
}

type ringParams struct {
	sqEntries, cqEntries, flags, cpu, idle, features, wq uint32
	resv                                                 [3]uint32
	sq                                                   ringOffsets
	cq                                                   completionOffsets
}

type sqe struct {
	opcode, flags uint8
	priority      uint16
	fd            int32
	off, addr     uint64
	length        uint32
	rwFlags       uint32 // of a read or write; of an fsync its own flags
	userData      uint64
	bufIndex      uint16
	_             uint16 // personality
	_             uint32
	_             [2]uint64
}

type cqe struct {
	userData uint64
	res      int32
	flags    uint32
}

// Opcodes, IORING_OP_.
const (
	opReadv      = 1
	opWritev     = 2
	opFsync      = 3
	opReadFixed  = 4
	opWriteFixed = 5
	opRead       = 22
	opWrite      = 23
)

const (
	ringSQ  = 0
	ringCQ  = 0x8000000
	ringSQE = 0x10000000

	getEvents = 1 // IORING_ENTER_GETEVENTS
	polled    = 1 // IORING_SETUP_IOPOLL

	fixedFile = 1 // IOSQE_FIXED_FILE
	link      = 4 // IOSQE_IO_LINK
	datasync  = 1 // IORING_FSYNC_DATASYNC

	registerBuffers = 0 // IORING_REGISTER_BUFFERS
	registerFiles   = 2 // IORING_REGISTER_FILES
)

// ring is an io_uring.
type ring struct {
	f       *file // of a queue
	fd      int
	p       ringParams
	sq, cq  []byte
	sqes    []byte
	vecs    [][]unix.Iovec // by slot
	buffers []*buffer      // that are registered
	files   []*file        // the same
	polling *polling       // nil: completions come by interrupts
}

func newRing(f *file, o scenarios.IO) (queue, error) {
	q, err := openRing(max(1, o.Depth), o.Polled, f)
	if err != nil {
		return nil, err
	}
	q.f = f
	return q, nil
}

// openRing makes one for so many entries, to files that are all polled or not.
func openRing(n int, poll bool, files ...*file) (*ring, error) {
	q := &ring{vecs: make([][]unix.Iovec, n)}
	if poll {
		q.p.flags |= polled
		var err error
		if q.polling, err = newPolling(files); err != nil {
			return nil, err
		}
	}
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, uintptr(n), uintptr(unsafe.Pointer(&q.p)), 0)
	if errno != 0 {
		return nil, fmt.Errorf("io_uring_setup: %w", errno)
	}
	q.fd = int(fd)
	var err error
	mapAt := func(off int64, n int) []byte {
		mem, e := unix.Mmap(q.fd, off, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
		err = errors.Join(err, e)
		return mem
	}
	q.sq = mapAt(ringSQ, int(q.p.sq.array+q.p.sqEntries*4))
	q.cq = mapAt(ringCQ, int(q.p.cq.cqes+q.p.cqEntries*uint32(unsafe.Sizeof(cqe{}))))
	q.sqes = mapAt(ringSQE, int(q.p.sqEntries*uint32(unsafe.Sizeof(sqe{}))))
	if err != nil {
		return nil, fmt.Errorf("map the io_uring: %w", err)
	}
	return q, nil
}

func (q *ring) use(f *file) { q.f = f }

// register tells the ring of the buffers and files that an I/O wants fixed.
func (q *ring) register(buffers []*buffer, files ...*file) error {
	call := func(what string, op uintptr, list unsafe.Pointer, n int) error {
		_, _, errno := unix.Syscall6(unix.SYS_IO_URING_REGISTER, uintptr(q.fd), op, uintptr(list), uintptr(n), 0, 0)
		if errno != 0 {
			return fmt.Errorf("register %d %s with the io_uring: %w", n, what, errno)
		}
		return nil
	}
	wants := func(what string) bool {
		return slices.ContainsFunc(files, func(f *file) bool { return slices.Contains(f.io.Fixed, what) })
	}
	if wants("buffers") {
		list := make([]unix.Iovec, len(buffers))
		for i, b := range buffers {
			list[i] = unix.Iovec{Base: &b.mem[0], Len: uint64(len(b.mem))}
		}
		if err := call("buffers", registerBuffers, unsafe.Pointer(&list[0]), len(list)); err != nil {
			return err
		}
		q.buffers = buffers
	}
	if wants("files") {
		list := make([]int32, len(files))
		for i, f := range files {
			list[i] = int32(f.fd)
		}
		if err := call("files", registerFiles, unsafe.Pointer(&list[0]), len(list)); err != nil {
			return err
		}
		q.files = files
	}
	return nil
}

func word(mem []byte, off uint32) *uint32 { return (*uint32)(unsafe.Pointer(&mem[off])) }

func (q *ring) submit(slot int, b *buffer, at int64) error {
	q.prepare(q.f, slot, b, at, 0)
	return q.send(1)
}

// prepare puts an I/O into the ring.
func (q *ring) prepare(f *file, slot int, b *buffer, at int64, flags uint8) {
	tail := atomic.LoadUint32(word(q.sq, q.p.sq.tail))
	i := tail & *word(q.sq, q.p.sq.mask)
	e := (*sqe)(unsafe.Pointer(&q.sqes[i*uint32(unsafe.Sizeof(sqe{}))]))
	*e = sqe{flags: flags, fd: int32(f.fd), userData: uint64(slot)}
	if n := slices.Index(q.files, f); n >= 0 && slices.Contains(f.io.Fixed, "files") {
		e.fd = int32(n)
		e.flags |= fixedFile
	}
	if f.io.Transfers() {
		q.transfer(e, f, slot, b, at)
	} else {
		e.opcode = opFsync
		if f.io.Op == "io_uring-fdatasync" {
			e.rwFlags = datasync
		}
	}
	*word(q.sq, q.p.sq.array+i*4) = i
	atomic.StoreUint32(word(q.sq, q.p.sq.tail), tail+1)
}

// transfer makes an entry one that reads or writes.
func (q *ring) transfer(e *sqe, f *file, slot int, b *buffer, at int64) {
	write := f.io.Writes()
	op := func(read, other uint8) uint8 {
		if write {
			return other
		}
		return read
	}
	e.off, e.rwFlags = uint64(at), f.rwFlags()
	e.addr, e.length = b.address(), uint32(len(b.pieces[0]))
	n := slices.Index(q.buffers, b)
	switch {
	case len(f.io.Vectors) > 0:
		q.vecs[slot] = b.iovecs()
		e.opcode = op(opReadv, opWritev)
		e.addr, e.length = uint64(uintptr(unsafe.Pointer(&q.vecs[slot][0]))), uint32(len(b.pieces))
	case n >= 0 && slices.Contains(f.io.Fixed, "buffers"):
		e.opcode, e.bufIndex = op(opReadFixed, opWriteFixed), uint16(n)
	default:
		e.opcode = op(opRead, opWrite)
	}
}

// send gives the kernel the last n entries.
func (q *ring) send(n int) error {
	q.polling.before()
	err := q.enter(uintptr(n), 0)
	q.polling.after()
	runtime.KeepAlive(q)
	return err
}

func (q *ring) enter(submit, wait uintptr) error {
	flags := uintptr(0)
	if wait > 0 {
		flags = getEvents
	}
	return again(func() error {
		if _, errno := call6(unix.SYS_IO_URING_ENTER, uintptr(q.fd), submit, wait, flags, 0, 0); errno != 0 {
			return errno
		}
		return nil
	})
}

func (q *ring) wait() (int, int64, error) {
	for {
		head := atomic.LoadUint32(word(q.cq, q.p.cq.head))
		if head != atomic.LoadUint32(word(q.cq, q.p.cq.tail)) {
			i := head & *word(q.cq, q.p.cq.mask)
			e := *(*cqe)(unsafe.Pointer(&q.cq[q.p.cq.cqes+i*uint32(unsafe.Sizeof(cqe{}))]))
			atomic.StoreUint32(word(q.cq, q.p.cq.head), head+1)
			return int(e.userData), int64(max(e.res, 0)), negative(int64(e.res))
		}
		if err := q.enter(0, 1); err != nil {
			return -1, 0, fmt.Errorf("io_uring_enter: %w", err)
		}
	}
}

func (q *ring) close() {
	for _, mem := range [][]byte{q.sq, q.cq, q.sqes} {
		_ = unix.Munmap(mem)
	}
	_ = unix.Close(q.fd)
}
