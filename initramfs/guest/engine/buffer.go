package engine

import (
	"bytes"
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
	lent   bool  // mem is an arena's
}

// newBuffer gives memory of its own.
func newBuffer(o scenarios.IO) (*buffer, error) {
	b := &buffer{hole: -1}
	size, err := b.layOut(o)
	if err != nil {
		return nil, err
	}
	mem, err := mapMemory(size)
	if err != nil {
		return nil, err
	}
	b.put(o, mem)
	b.around(func(part []byte, _ int64) bool {
		poison(part)
		return true
	})
	return b, nil
}

// vectorsOf are the pieces of an I/O's memory.
func vectorsOf(o scenarios.IO) []scenarios.Vector {
	if len(o.Vectors) == 0 {
		return []scenarios.Vector{{MemoryOffset: o.MemoryOffset, Length: o.Length}}
	}
	return o.Vectors
}

// layOut says where the pieces begin, and how much memory they take with what is
// around them.
func (b *buffer) layOut(o scenarios.IO) (size int64, err error) {
	at := page
	for _, v := range vectorsOf(o) {
		if v.Length < 0 || v.Length > mostMemory || v.MemoryOffset < 0 || v.MemoryOffset > 1<<20 {
			return 0, fmt.Errorf("length %d, memory offset %d: out of bounds", v.Length, v.MemoryOffset)
		}
		start := at + v.MemoryOffset
		b.starts = append(b.starts, start)
		at = (start+v.Length+page-1)/page*page + page
		if at > mostMemory {
			return 0, fmt.Errorf("more than %d bytes of buffer", mostMemory)
		}
	}
	return at, nil
}

func mapMemory(size int64) ([]byte, error) {
	mem, err := unix.Mmap(-1, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_POPULATE)
	if err != nil {
		return nil, fmt.Errorf("map the buffer: %w", err)
	}
	if uintptr(unsafe.Pointer(&mem[0]))%uintptr(page) != 0 {
		return nil, errors.New("the buffer is not on a page boundary")
	}
	return mem, nil
}

// put places the pieces that were laid out in memory.
func (b *buffer) put(o scenarios.IO, mem []byte) {
	b.mem = mem
	for i, v := range vectorsOf(o) {
		b.pieces = append(b.pieces, mem[b.starts[i]:b.starts[i]+v.Length:b.starts[i]+v.Length])
	}
}

// poisoned is as long as most that lies around a piece.
var poisoned = bytes.Repeat([]byte{outside}, 64<<10)

// poison fills memory that no byte may be read from. Word by word is slow where
// the processor is emulated.
func poison(b []byte) {
	for len(b) > 0 {
		b = b[copy(b, poisoned):]
	}
}

// An arena is memory that buffers take one after the other: to map and clear
// new one for each costs more than most I/O. All of it is poisoned where no
// buffer has a piece.
type arena []byte

// arenaSize is enough for what a sweep reads back at once.
const arenaSize = 1 << 20

func newArena() (arena, error) {
	mem, err := mapMemory(arenaSize)
	if err != nil {
		return nil, err
	}
	poison(mem)
	return mem, nil
}

// buffer gives the arena's memory to an I/O, or memory of its own where that is
// too little or will be taken apart. One buffer may be in use at a time.
func (a arena) buffer(o scenarios.IO) (*buffer, error) {
	b := &buffer{hole: -1, lent: true}
	size, err := b.layOut(o)
	if err != nil {
		return nil, err
	}
	if size > int64(len(a)) || o.Unmapped {
		return newBuffer(o)
	}
	b.put(o, a[:size:size])
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
		if i := unlike(part, poisoned); i < len(part) {
			n := at + int64(i) - b.starts[0]
			found = &n
		}
		return found == nil
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

// unlike gives the place of the first byte that is not as in a pattern, which
// repeats itself; the length where all are.
func unlike(b, pattern []byte) int {
	for at := 0; at < len(b); at += len(pattern) {
		part := b[at:min(len(b), at+len(pattern))]
		if n := common(part, pattern[:len(part)]); n < len(part) {
			return at + n
		}
	}
	return len(b)
}

// release gives the memory back.
func (b *buffer) release() {
	if b.lent {
		for _, p := range b.pieces {
			poison(p)
		}
		if b.overrun() != nil {
			poison(b.mem)
		}
		return
	}
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
