package engine

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/blockrig/blockrig/scenarios"
)

// iocb and ioEvent are those of include/uapi/linux/aio_abi.h.
type iocb struct {
	data    uint64
	_       uint32 // aio_key
	rwFlags uint32
	opcode  uint16
	_       int16 // priority
	fd      uint32
	buf     uint64
	bytes   uint64
	offset  int64
	_       uint64
	_, _    uint32 // flags, resfd
}

type ioEvent struct {
	data, obj uint64
	res, res2 int64
}

// Opcodes of libaio; with vectors, 7 more.
const (
	aioRead    = 0
	aioWrite   = 1
	aioVectors = 7
)

// aio is the kernel's older asynchronous I/O, without the library.
type aio struct {
	f    *file
	ctx  uintptr
	cbs  []iocb
	vecs [][]unix.Iovec
}

func newAIO(f *file, o scenarios.IO) (queue, error) {
	n := max(1, o.Depth)
	q := &aio{f: f, cbs: make([]iocb, n), vecs: make([][]unix.Iovec, n)}
	if _, _, errno := unix.Syscall(unix.SYS_IO_SETUP, uintptr(n), uintptr(unsafe.Pointer(&q.ctx)), 0); errno != 0 {
		return nil, fmt.Errorf("io_setup: %w", errno)
	}
	return q, nil
}

func (q *aio) use(f *file) { q.f = f }

func (q *aio) submit(slot int, b *buffer, at int64) error {
	cb := &q.cbs[slot]
	*cb = iocb{
		data: uint64(slot), rwFlags: q.f.rwFlags(), opcode: aioRead, fd: uint32(q.f.fd),
		buf: b.address(), bytes: uint64(len(b.pieces[0])), offset: at,
	}
	if q.f.io.Writes() {
		cb.opcode = aioWrite
	}
	if len(q.f.io.Vectors) > 0 {
		q.vecs[slot] = b.iovecs()
		cb.opcode += aioVectors
		cb.buf, cb.bytes = uint64(uintptr(unsafe.Pointer(&q.vecs[slot][0]))), uint64(len(b.pieces))
	}
	list := [1]*iocb{cb}
	_, errno := call6(unix.SYS_IO_SUBMIT, q.ctx, 1, uintptr(unsafe.Pointer(&list)), 0, 0, 0)
	runtime.KeepAlive(list)
	if errno != 0 {
		return errno
	}
	return nil
}

func (q *aio) wait() (int, int64, error) {
	var e ioEvent
	for {
		n, errno := call6(unix.SYS_IO_GETEVENTS, q.ctx, 1, 1, uintptr(unsafe.Pointer(&e)), 0, 0)
		if errors.Is(errno, unix.EINTR) || errno == 0 && n == 0 {
			continue
		}
		if errno != 0 {
			return -1, 0, fmt.Errorf("io_getevents: %w", errno)
		}
		return int(e.data), max(e.res, 0), negative(e.res)
	}
}

// address is where a buffer begins. Its memory is none of Go's.
func (b *buffer) address() uint64 { return uint64(uintptr(unsafe.Pointer(&b.mem[b.starts[0]]))) }

// negative is the error in a result of the kernel's.
func negative(res int64) error {
	if res < 0 {
		return unix.Errno(-res)
	}
	return nil
}

func (q *aio) close() { _, _, _ = unix.Syscall(unix.SYS_IO_DESTROY, q.ctx, 0, 0) }
