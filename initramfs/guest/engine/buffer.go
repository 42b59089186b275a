package engine

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/blockrig/blockrig/scenarios"
)

// outside fills the buffer where no byte may change.
const outside = 0xA5

// mostMemory bounds a buffer, bytes.
const mostMemory = 1 << 30

// A buffer is memory for one I/O, in pieces, each at its own place in a page:
// where a compiler puts a buffer must not decide the case. Around each piece is
// at least a page that no I/O may touch.
type buffer struct {
	mem    []byte
	starts []int64 // of the pieces, in mem
	pieces [][]byte
	hole   int64 // where the page is in mem that is not mapped; -1 for none
}

func newBuffer(o scenarios.IO) (*buffer, error) {
	page := int64(os.Getpagesize())
	vectors := o.Vectors
	if len(vectors) == 0 {
		vectors = []scenarios.Vector{{MemoryOffset: o.MemoryOffset, Length: o.Length}}
	}
	b := &buffer{hole: -1}
	at := page
	for _, v := range vectors {
		if v.Length < 0 || v.Length > mostMemory || v.MemoryOffset < 0 || v.MemoryOffset > 1<<20 {
			return nil, fmt.Errorf("length %d, memory offset %d: out of bounds", v.Length, v.MemoryOffset)
		}
		start := at + v.MemoryOffset
		b.starts = append(b.starts, start)
		at = (start+v.Length+page-1)/page*page + page
		if at > mostMemory {
			return nil, fmt.Errorf("more than %d bytes of buffer", mostMemory)
		}
	}
	mem, err := unix.Mmap(-1, 0, int(at), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_POPULATE)
	if err != nil {
		return nil, fmt.Errorf("map the buffer: %w", err)
	}
	if uintptr(unsafe.Pointer(&mem[0]))%uintptr(page) != 0 {
		return nil, errors.New("the buffer is not on a page boundary")
	}
	b.mem = mem
	for i, v := range vectors {
		b.pieces = append(b.pieces, mem[b.starts[i]:b.starts[i]+v.Length:b.starts[i]+v.Length])
	}
	b.around(func(part []byte, _ int64) bool {
		for i := range part {
			part[i] = outside
		}
		return true
	})
	return b, nil
}

// unmap takes the page away that holds the end of the buffer. What stands in
// it is not known from then on.
func (b *buffer) unmap() error {
	page := int64(os.Getpagesize())
	last := len(b.pieces) - 1
	end := b.starts[last] + max(1, int64(len(b.pieces[last]))) - 1
	b.hole = end / page * page
	if _, _, errno := unix.Syscall(unix.SYS_MUNMAP, uintptr(unsafe.Pointer(&b.mem[b.hole])), uintptr(page), 0); errno != 0 {
		return fmt.Errorf("unmap a page: %w", errno)
	}
	return nil
}

// around calls f for what lies between the pieces and their ends, with the
// place of each part in the memory, until it is false.
func (b *buffer) around(f func(part []byte, at int64) bool) {
	from := int64(0)
	for i, start := range b.starts {
		if !f(b.mem[from:start], from) {
			return
		}
		from = start + int64(len(b.pieces[i]))
	}
	f(b.mem[from:], from)
}

// overrun finds a byte that was changed outside of the pieces, counted from the
// first one's start.
func (b *buffer) overrun() *int64 {
	if b.hole >= 0 {
		return nil
	}
	var found *int64
	b.around(func(part []byte, at int64) bool {
		for i, c := range part {
			if c != outside {
				n := at + int64(i) - b.starts[0]
				found = &n
				return false
			}
		}
		return true
	})
	return found
}

// each calls f for the first n bytes, piece by piece, as far as they are
// mapped, with the place of each in the I/O.
func (b *buffer) each(n int64, f func(part []byte, at int64)) {
	at := int64(0)
	for i, p := range b.pieces {
		k := min(int64(len(p)), n-at)
		if b.hole >= 0 && i == len(b.pieces)-1 {
			k = min(k, max(0, b.hole-b.starts[i]))
		}
		if k > 0 {
			f(p[:k], at)
		}
		at += int64(len(p))
	}
}

// release gives the memory back.
func (b *buffer) release() {
	if b.hole < 0 {
		_ = unix.Munmap(b.mem)
		return
	}
	// It is in two parts, of which package unix knows only the whole.
	page := int64(os.Getpagesize())
	for _, part := range [][]byte{b.mem[:b.hole], b.mem[b.hole+page:]} {
		if len(part) > 0 {
			_, _, _ = unix.Syscall(unix.SYS_MUNMAP, uintptr(unsafe.Pointer(&part[0])), uintptr(len(part)), 0)
		}
	}
}
