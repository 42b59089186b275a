package guest

import (
	"fmt"
	"os"
	"sync"

	"github.com/blockrig/blockrig/initramfs/protocol"
)

// held are the devices and files that steps keep open, by the names of their
// parts.
type held struct {
	mu    sync.Mutex
	files map[string][]*os.File
}

// doHold keeps a part open, or closes it again. An I/O step opens and closes
// its target by itself, and the last close of a block device writes back what
// the kernel has of it and forgets it (blkdev_put).
func (g *guest) doHold(s protocol.Step) (*result, error) {
	p, err := g.openable(s.Act.To)
	if err != nil {
		return nil, g.wrap(s.Op(), err)
	}
	act := func() error { return g.held.hold(p.Name, p.Path) }
	if s.Act.Do == "release" {
		act = func() error { return g.held.release(p.Name) }
	}
	err = g.inTime(legsLimit, act)
	return g.ended(s, s.Act.Do+" "+s.Act.To, s.Act.Expect, "", err)
}

func (h *held) hold(name, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.files == nil {
		h.files = map[string][]*os.File{}
	}
	h.files[name] = append(h.files[name], f)
	return nil
}

func (h *held) release(name string) error {
	h.mu.Lock()
	open := h.files[name]
	if len(open) == 0 {
		h.mu.Unlock()
		return fmt.Errorf("%s is not held", name)
	}
	h.files[name] = open[:len(open)-1]
	h.mu.Unlock()
	return open[len(open)-1].Close()
}
