package engine

import (
	"runtime"
	"sync/atomic"

	"github.com/blockrig/blockrig/initramfs/protocol"
)

// A changer changes memory for as long as a call uses it: from what a
// generation puts there to what the next one does, and back.
type changer struct {
	n           atomic.Int64 // times that all of it was changed
	end, ended  chan struct{}
	before      int64
	parts       []part
	first, next []byte
}

// A part is memory and the place in the file or device that it is for.
type part struct {
	mem []byte
	at  int64
}

// parts are the first n bytes of a buffer for an I/O at an offset.
func (b *buffer) parts(n, at int64) (out []part) {
	b.each(n, func(p []byte, i int64) { out = append(out, part{p, at + i}) })
	return out
}

// change begins to change memory that a write at an offset uses. The caller
// ends it.
func (f *file) change(parts []part, at int64) *changer {
	c := &changer{end: make(chan struct{}), ended: make(chan struct{}), parts: parts}
	c.first, c.next = make([]byte, f.io.Length), make([]byte, f.io.Length)
	protocol.Fill(c.first, f.generation, at)
	protocol.Fill(c.next, f.generation+1, at)
	began := make(chan struct{})
	go c.run(at, began)
	<-began
	c.before = c.n.Load()
	return c
}

func (c *changer) run(at int64, began chan<- struct{}) {
	defer close(c.ended)
	for {
		for _, from := range [][]byte{c.next, c.first} {
			for _, p := range c.parts {
				copy(p.mem, from[p.at-at:])
			}
			if c.n.Add(1) == 1 {
				close(began)
			}
		}
		select {
		case <-c.end:
			return
		default:
		}
	}
}

// stop ends it, and gives how often the memory was changed since change
// returned.
func (c *changer) stop() int64 {
	n := c.n.Load() - c.before
	close(c.end)
	<-c.ended
	return n
}

// twoProcessors lets a goroutine run while another one waits in the kernel, at
// once. The child has one else, which is handed on only after a while.
func twoProcessors() (back func()) {
	was := runtime.GOMAXPROCS(2)
	return func() { runtime.GOMAXPROCS(was) }
}
