package guest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/blockrig/blockrig/initramfs/guest/layer"
	"github.com/blockrig/blockrig/initramfs/protocol"
	"github.com/blockrig/blockrig/scenarios"
)

// diskWait is how long disks may take to appear after their driver is there.
const diskWait = 15 * time.Second

// findDisks waits until every disk asked for is there, told by serial number
// and size, and puts them into the stack.
func (g *guest) findDisks(want []protocol.Disk) error {
	var missing []string
	var found map[string]layer.Device
	ok, err := g.until(diskWait, func(time.Duration) (_ bool, err error) {
		if found, err = layer.FindDisks(); err != nil {
			return false, err
		}
		missing = nil
		for _, w := range want {
			if _, ok := found[w.Serial]; !ok {
				missing = append(missing, w.ID+" (serial "+w.Serial+")")
			}
		}
		return len(missing) == 0, nil
	})
	switch {
	case err != nil:
		return err
	case !ok:
		return fmt.Errorf("%s not found; disks that are there: %s", strings.Join(missing, ", "), seen(found))
	}
	for _, w := range want {
		d := found[w.Serial]
		size, err := d.Bytes()
		if err != nil {
			return fmt.Errorf("size of disk %s: %w", w.ID, err)
		}
		if size != int64(w.Size) {
			return fmt.Errorf("disk %s has %d bytes, and %d were asked for", w.ID, size, w.Size)
		}
		g.stack.Add(w, d)
	}
	return nil
}

// disks are the machine's own.
func (g *guest) disks() []*layer.Part {
	return slices.DeleteFunc(slices.Clone(g.stack.Parts), func(p *layer.Part) bool { return p.Disk == nil })
}

func seen(found map[string]layer.Device) string {
	if len(found) == 0 {
		return "none"
	}
	var out []string
	for serial, d := range found {
		out = append(out, d.Name+" (serial "+serial+")")
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// require checks what the case would be vacuous without.
func (g *guest) require(r scenarios.Require) error {
	for _, d := range g.disks() {
		if err := requireOf(r, d.Name, filepath.Join("/sys/block", d.Device.Name, "queue")); err != nil {
			return err
		}
	}
	return nil
}

// requireOf checks one disk by its folder queue in sysfs.
func requireOf(r scenarios.Require, disk, queue string) error {
	want := map[string]string{}
	for name, value := range r.Queue {
		want[name] = value
	}
	if r.DMAAlignment != nil {
		want["dma_alignment"] = strconv.Itoa(*r.DMAAlignment) // shown since Linux 6.0 (3850e13f2d0f)
	}
	root, err := os.OpenRoot(queue) // what a scenario names is nowhere else
	if err != nil {
		return fmt.Errorf("disk %s: %w", disk, err)
	}
	defer root.Close()
	for name, value := range want {
		b, err := root.ReadFile(name)
		got := strings.TrimSpace(string(b))
		switch {
		case os.IsNotExist(err):
			return fmt.Errorf("%w: disk %s: this kernel does not show queue/%s, so it can't be checked that it is %s", errPrecondition, disk, name, value)
		case err != nil:
			return fmt.Errorf("disk %s: %w", disk, err)
		case got != value:
			return fmt.Errorf("%w: disk %s has a %s of %s, not %s, and the case would say nothing", errPrecondition, disk, name, got, value)
		}
	}
	return nil
}

// counts are the I/O counters of the machine's disks.
func (g *guest) counts() (map[string]layer.Counts, error) {
	out := map[string]layer.Counts{}
	for _, d := range g.disks() {
		c, err := d.Counts()
		if os.IsNotExist(err) {
			continue // it was taken away
		}
		if err != nil {
			return nil, fmt.Errorf("disk %s: %w", d.Name, err)
		}
		out[d.Name] = c
	}
	return out, nil
}

// countsOrNil is counts where a failure only means that nothing can be told:
// the step's limit still ends it.
func (g *guest) countsOrNil() map[string]layer.Counts {
	c, err := g.counts()
	if err != nil {
		return nil
	}
	return c
}

// changed says whether a disk did something, or has something to do.
func changed(a, b map[string]layer.Counts) bool {
	if b == nil {
		return true // not known: the step's limit decides
	}
	for id, c := range b {
		if c.InFlight != 0 || c != a[id] {
			return true
		}
	}
	return false
}
