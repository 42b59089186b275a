package engine

import (
	"errors"
	"fmt"
	"runtime"
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
	rwFlags       uint32
	userData      uint64
	_             [3]uint64
}

type cqe struct {
	userData uint64
	res      int32
	flags    uint32
}

const (
	opReadv  = 1
	opWritev = 2
	opRead   = 22
	opWrite  = 23

	ringSQ  = 0
	ringCQ  = 0x8000000
	ringSQE = 0x10000000

	getEvents = 1 // IORING_ENTER_GETEVENTS
	polled    = 1 // IORING_SETUP_IOPOLL
)

// ring is an io_uring.
type ring struct {
	f      *file
	fd     int
	p      ringParams
	sq, cq []byte
	sqes   []byte
	vecs   [][]unix.Iovec
}

func newRing(f *file, o scenarios.IO) (queue, error) {
	n := max(1, o.Depth)
	q := &ring{f: f, vecs: make([][]unix.Iovec, n)}
	if f.rwFlags()&rwFlags["HIPRI"] != 0 {
		q.p.flags |= polled
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

func word(mem []byte, off uint32) *uint32 { return (*uint32)(unsafe.Pointer(&mem[off])) }

func (q *ring) submit(slot int, b *buffer, at int64) error {
	tail := atomic.LoadUint32(word(q.sq, q.p.sq.tail))
	i := tail & *word(q.sq, q.p.sq.mask)
	e := (*sqe)(unsafe.Pointer(&q.sqes[i*uint32(unsafe.Sizeof(sqe{}))]))
	*e = sqe{opcode: opRead, fd: int32(q.f.fd), off: uint64(at), addr: b.address(), length: uint32(len(b.pieces[0])), rwFlags: q.f.rwFlags(), userData: uint64(slot)}
	if q.f.io.Writes() {
		e.opcode = opWrite
	}
	if len(q.f.io.Vectors) > 0 {
		q.vecs[slot] = b.iovecs()
		e.opcode = map[bool]uint8{false: opReadv, true: opWritev}[q.f.io.Writes()]
		e.addr, e.length = uint64(uintptr(unsafe.Pointer(&q.vecs[slot][0]))), uint32(len(b.pieces))
	}
	*word(q.sq, q.p.sq.array+i*4) = i
	atomic.StoreUint32(word(q.sq, q.p.sq.tail), tail+1)
	err := q.enter(1, 0)
	runtime.KeepAlive(b)
	return err
}

func (q *ring) enter(submit, wait uintptr) error {
	flags := uintptr(0)
	if wait > 0 {
		flags = getEvents
	}
	return again(func() error {
		if _, _, errno := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(q.fd), submit, wait, flags, 0, 0); errno != 0 {
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
