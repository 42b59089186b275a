package layer

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/blockrig/blockrig/scenarios"
)

// ErrCannot is that of something that can't be done to such a layer at all.
var ErrCannot = errors.New("that can't be done")

// rescanWait is how long a disk may take to be found again.
const rescanWait = 15 * time.Second

// syncLimit is how long a layer may take to come to rest by itself.
const syncLimit = 120 * time.Second

// An actor is a kind that something can be done to besides what the kernel
// does to any device.
type actor interface {
	act(h Host, s *Stack, p *Part, a scenarios.Act) error
}

// Act does something to a layer or a disk.
func (s *Stack) Act(h Host, a scenarios.Act) error {
	p, err := s.Part(a.To)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCannot, err)
	}
	if a.Args, err = s.ExpandAll(a.Args); err != nil {
		return fmt.Errorf("%w: %w", ErrCannot, err)
	}
	if p.kind == nil {
		return s.actOnDisk(h, p, a)
	}
	k, ok := p.kind.(actor)
	if !ok {
		return fmt.Errorf("%w: %s to a %s", ErrCannot, a.Do, p.Layer.Kind())
	}
	err = k.act(h, s, p, a)
	if err == nil && (a.Do == "stop" || a.Do == "assemble") {
		p.stopped = a.Do == "stop"
	}
	return err
}

// cannot is the error of an act that a kind does not know.
func (p *Part) cannot(a scenarios.Act) error {
	what := "disk"
	if p.Layer != nil {
		what = p.Layer.Kind()
	}
	return fmt.Errorf("%w: %s to a %s", ErrCannot, a.Do, what)
}

// actOnDisk does what sysfs can do to a disk.
func (s *Stack) actOnDisk(h Host, p *Part, a scenarios.Act) error {
	dev := filepath.Join("/sys/block", p.Device.Name, "device")
	switch a.Do {
	case "delete":
		file := filepath.Join(dev, "delete")
		if _, err := os.Stat(file); err != nil { // NVMe and virtio: their PCI function
			file = filepath.Join(pciOf(dev), "remove")
		}
		return h.Self("text", file, "1")
	case "rescan":
		return s.rescan(h, p)
	case "offline":
		return h.Self("text", filepath.Join(dev, "state"), "offline")
	case "online":
		return h.Self("text", filepath.Join(dev, "state"), "running")
	}
	return p.cannot(a)
}

// pciOf is the folder of the PCI function that a device is on.
func pciOf(dev string) string {
	path, err := filepath.EvalSymlinks(dev)
	if err != nil {
		return dev
	}
	for ; path != "/" && path != "."; path = filepath.Dir(path) {
		if _, err := os.Stat(filepath.Join(path, "remove")); err == nil {
			return path
		}
	}
	return dev
}

// Refresh finds disks that were taken away and have come back by another name.
func (s *Stack) Refresh() error {
	for _, p := range s.Parts {
		if p.Disk == nil {
			continue
		}
		if _, err := os.Stat(p.Sys()); err == nil {
			continue
		}
		found, err := FindDisks()
		if err != nil {
			return err
		}
		if d, ok := found[p.Disk.Serial]; ok {
			p.Device, p.Path = d, d.Node()
		}
	}
	return nil
}

// rescan looks for disks again, and finds one that was deleted by its serial
// number.
func (s *Stack) rescan(h Host, p *Part) error {
	hosts, err := filepath.Glob("/sys/class/scsi_host/host*/scan")
	if err != nil {
		return err
	}
	for _, f := range hosts {
		if err := h.Self("text", f, "- - -"); err != nil {
			return err
		}
	}
	if _, err := os.Stat("/sys/bus/pci/rescan"); err == nil {
		if err := h.Self("text", "/sys/bus/pci/rescan", "1"); err != nil {
			return err
		}
	}
	ok, err := h.Until(rescanWait, func(_ time.Duration) (bool, error) {
		found, err := FindDisks()
		if err != nil {
			return false, err
		}
		d, ok := found[p.Disk.Serial]
		if ok {
			p.Device, p.Path = d, d.Node()
		}
		return ok, nil
	})
	if err == nil && !ok {
		err = fmt.Errorf("disk %s is not found again within %v", p.Name, rescanWait)
	}
	return err
}
