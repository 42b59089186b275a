package engine

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ioctls of a block device, include/uapi/linux/fs.h.
const (
	blkDiscard = 0x1277 // BLKDISCARD
	blkZeroOut = 0x127f // BLKZEROOUT
	blkFlush   = 0x1261 // BLKFLSBUF
)

// rwFlags are those of preadv2(2).
var rwFlags = map[string]uint32{"HIPRI": 1, "DSYNC": 2, "SYNC": 4, "NOWAIT": 8, "APPEND": 0x10, "ATOMIC": 0x40}

func (f *file) rwFlags() uint32 {
	var out uint32
	for _, name := range f.io.Flags {
		out |= rwFlags[name]
	}
	return out
}

// call6 makes a system call of which the runtime is not told. It would take the
// processor from a thread that waits for a disk and give it back afterwards, for
// nobody: this process does one thing at a time. In an emulated guest that costs
// as much as the I/O.
func call6(trap, a, b, c, d, e, f uintptr) (uintptr, unix.Errno) {
	n, _, errno := unix.RawSyscall6(trap, a, b, c, d, e, f)
	return n, errno
}

func asError(e unix.Errno) error {
	if e != 0 {
		return e
	}
	return nil
}

// transfer is pread or pwrite.
func (f *file) transfer(trap uintptr, piece []byte, at int64) (int64, error) {
	var p unsafe.Pointer
	if len(piece) > 0 {
		p = unsafe.Pointer(&piece[0])
	}
	n, errno := call6(trap, uintptr(f.fd), uintptr(p), uintptr(len(piece)), uintptr(at), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int64(n), nil
}

// sync is fsync or fdatasync.
func (f *file) sync(trap uintptr) error {
	_, errno := call6(trap, uintptr(f.fd), 0, 0, 0, 0, 0)
	return asError(errno)
}

// iovecs are a buffer's pieces as the kernel takes them.
func (b *buffer) iovecs() []unix.Iovec {
	out := make([]unix.Iovec, len(b.pieces))
	for i, p := range b.pieces {
		out[i] = unix.Iovec{Base: &b.mem[b.starts[i]], Len: uint64(len(p))}
	}
	return out
}

func (f *file) vectored(call uintptr, b *buffer, at int64) (int64, error) {
	v := b.iovecs()
	// The offset is split in two words, whose second is 0 where a word has 64
	// bits.
	n, errno := call6(call, uintptr(f.fd), uintptr(unsafe.Pointer(&v[0])), uintptr(len(v)), uintptr(at), 0, uintptr(f.rwFlags()))
	runtime.KeepAlive(v)
	if errno != 0 {
		return 0, errno
	}
	return int64(n), nil
}

// fallocateModes are those of fallocate(2).
var fallocateModes = map[string]uint32{
	"": 0, "allocate": 0, "keep-size": unix.FALLOC_FL_KEEP_SIZE,
	"punch-hole": unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE, "zero-range": unix.FALLOC_FL_ZERO_RANGE,
}

func fallocate(f *file, _ *buffer, at int64) (int64, error) {
	mode, ok := fallocateModes[f.io.Mode]
	if !ok {
		return 0, &brokenError{fmt.Errorf("fallocate mode %q is not known", f.io.Mode)}
	}
	return 0, again(func() error {
		_, errno := call6(unix.SYS_FALLOCATE, uintptr(f.fd), uintptr(mode), uintptr(at), uintptr(f.io.Length), 0, 0)
		return asError(errno)
	})
}

func (f *file) rangeIoctl(request uintptr, at int64) error {
	arg := [2]uint64{uint64(at), uint64(f.io.Length)}
	_, errno := call6(unix.SYS_IOCTL, uintptr(f.fd), request, uintptr(unsafe.Pointer(&arg)), 0, 0, 0)
	return asError(errno)
}

// mapped reads or writes by memory that is mapped to the file. The kernel
// answers an I/O error with SIGBUS (mmap(2)).
func mapped(f *file, b *buffer, at int64) (n int64, err error) {
	from := at / page * page
	prot, write := unix.PROT_READ, f.io.Writes()
	if write {
		prot |= unix.PROT_WRITE
	}
	mem, err := unix.Mmap(f.fd, from, int(at-from+f.io.Length), prot, unix.MAP_SHARED)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, unix.Munmap(mem)) }()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			if _, fault := r.(interface{ Addr() uintptr }); !fault {
				panic(r)
			}
			n, err = 0, unix.EIO
		}
	}()
	b.each(f.io.Length, func(part []byte, i int64) {
		there := mem[at-from+i:]
		if write {
			n += int64(copy(there, part))
		} else {
			n += int64(copy(part, there))
		}
	})
	if !write {
		return n, nil
	}
	if f.io.Changing {
		c := f.change([]part{{mem[at-from : at-from+f.io.Length], at}}, at)
		defer func() { f.changed += c.stop() }()
	}
	if _, errno := call6(unix.SYS_MSYNC, uintptr(unsafe.Pointer(&mem[0])), uintptr(len(mem)), unix.MS_SYNC, 0, 0, 0); errno != 0 {
		return 0, errno
	}
	return n, nil
}

// spliced reads by way of a pipe.
func spliced(f *file, b *buffer, at int64) (int64, error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return 0, &brokenError{err}
	}
	defer unix.Close(p[0])
	defer unix.Close(p[1])
	done := int64(0)
	for done < f.io.Length {
		off := at + done
		n, err := unix.Splice(f.fd, &off, p[1], nil, int(min(f.io.Length-done, 16*page)), 0)
		if err != nil || n == 0 {
			return done, err
		}
		for piece := b.pieces[0][done : done+n]; len(piece) > 0; {
			k, err := unix.Read(p[0], piece)
			if err != nil {
				return done, err
			}
			piece = piece[k:]
			done += int64(k)
		}
	}
	return done, nil
}

// splicedOut writes by way of a pipe.
func splicedOut(f *file, b *buffer, at int64) (int64, error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return 0, &brokenError{err}
	}
	defer unix.Close(p[0])
	defer unix.Close(p[1])
	done := int64(0)
	for done < f.io.Length {
		k, err := unix.Write(p[1], b.pieces[0][done:min(f.io.Length, done+16*page)])
		if err != nil {
			return done, err // the buffer is not all there
		}
		for k > 0 {
			off := at + done
			n, err := unix.Splice(p[0], nil, f.fd, &off, k, 0)
			if err != nil || n == 0 {
				return done, err
			}
			done += int64(n)
			k -= int(n)
		}
	}
	return done, nil
}

// reread reads what is on the disks, and not what the kernel has of it in its
// memory.
func reread(f *file, b *buffer, at int64) (int64, error) {
	if err := f.sync(unix.SYS_FDATASYNC); err != nil {
		return 0, err
	}
	if err := unix.Fadvise(f.fd, 0, 0, unix.FADV_DONTNEED); err != nil {
		return 0, err
	}
	return f.transfer(unix.SYS_PREAD64, b.pieces[0], at)
}
