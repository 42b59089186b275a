package layer

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/blockrig/blockrig/scenarios"
)

var _ = register("bcache", func(l scenarios.Layer) kind { return bcache{l.Bcache} })

// bcache is a backing device with a cache.
type bcache struct{ *scenarios.Bcache }

// attachWait is how long a backing device may take to find its cache.
const attachWait = 15 * time.Second

func (c bcache) build(h Host, p *Part) error {
	if len(p.On) != 2 {
		return fmt.Errorf("a bcache lies on two devices, the backing device and the cache, not on %d", len(p.On))
	}
	back, cache := p.On[0].Node(), p.On[1].Node()
	// Buckets that are small, so that a small cache has enough of them.
	if _, err := h.Tool("make-bcache", "--wipe-bcache", "--bucket", "64k", "-B", back, "-C", cache); err != nil {
		return err
	}
	if err := c.assemble(h, p); err != nil {
		return err
	}
	return h.Self("text", filepath.Join("/sys/block", p.Device.Name, "bcache/cache_mode"), c.Mode)
}

// assemble has the kernel find both devices. The mode is in what they hold.
func (c bcache) assemble(h Host, p *Part) error {
	if len(p.On) != 2 {
		return fmt.Errorf("a bcache lies on two devices, the backing device and the cache, not on %d", len(p.On))
	}
	for _, node := range []string{p.On[1].Node(), p.On[0].Node()} {
		if err := h.Self("text", "/sys/fs/bcache/register", node); err != nil {
			return err
		}
	}
	name := "bcache" + strconv.Itoa(p.number)
	if err := p.found(name); err != nil {
		return err
	}
	sys := filepath.Join("/sys/block", name, "bcache")
	state := ""
	ok, err := h.Until(attachWait, func(time.Duration) (_ bool, err error) {
		state, err = ReadText(filepath.Join(sys, "state"))
		return state != "no cache", err
	})
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("the cache is not attached after %v", attachWait)
	}
	return nil
}

func (c bcache) prove(p *Part) ([]string, error) {
	modes, err := ReadText(filepath.Join("/sys/block", p.Device.Name, "bcache/cache_mode"))
	if err != nil {
		return nil, err
	}
	if !slices.Contains(strings.Fields(modes), "["+c.Mode+"]") {
		return nil, fmt.Errorf("the mode is %s, not %s", modes, c.Mode)
	}
	// The backing device is in slaves; the cache belongs to a set.
	if _, err := p.liesOnSome(func(b *Part) bool { return b == p.On[1] }); err != nil {
		return nil, err
	}
	of := func(b *Part, link string) (string, error) {
		return filepath.EvalSymlinks(filepath.Join(b.Sys(), "bcache", link))
	}
	set, err := of(p.On[1], "set")
	if err != nil {
		return nil, err
	}
	mine, err := of(p.On[0], "cache")
	if err != nil {
		return nil, err
	}
	if set != mine {
		return nil, fmt.Errorf("%s is not in the cache set of %s", p.On[1].Name, p.On[0].Name)
	}
	return []string{fmt.Sprintf("%s is %s (%s) on %s, %s by %s", p.Name, p.Device.Name, p.Device, p.On[0].Name, c.Mode, p.On[1].Name)}, nil
}

func (c bcache) table(*Part) (string, error) { return "bcache " + c.Mode, nil }
