package layer

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Place is where a byte of a part lies on the device that the part's requests
// go to.
func (s *Stack) Place(p *Part, at int64) (Device, int64, error) {
	if p.Layer == nil || p.Layer.File == nil {
		if p.Device.Name == "" {
			return Device{}, 0, fmt.Errorf("%s has no device", p.Name)
		}
		return p.Device, at, nil
	}
	fs := p.On[0]
	if fs.Layer == nil || fs.Layer.FS == nil || fs.Layer.FS.Type == "btrfs" {
		return Device{}, 0, fmt.Errorf("where a file of %s lies can't be told", fs.Name)
	}
	f, err := os.Open(p.Path)
	if err != nil {
		return Device{}, 0, err
	}
	defer f.Close()
	physical, err := extentAt(f, at)
	return fs.Device, physical, err
}

// extentAt finds where a byte of a file lies
// (Documentation/filesystems/fiemap.rst).
func extentAt(f *os.File, at int64) (int64, error) {
	const (
		fiemap  = 0xc020660b // FS_IOC_FIEMAP
		unknown = 0x2        // FIEMAP_EXTENT_UNKNOWN
	)
	m := struct {
		start, length           uint64
		flags, mapped, count, _ uint32
		logical, physical, size uint64
		_                       [2]uint64
		extentFlags             uint32
		_                       [3]uint32
	}{start: uint64(at), length: 1, count: 1}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), fiemap, uintptr(unsafe.Pointer(&m))); errno != 0 {
		return 0, fmt.Errorf("ask where %s lies: %w", f.Name(), errno)
	}
	if m.mapped == 0 || m.extentFlags&unknown != 0 {
		return 0, fmt.Errorf("byte %d of %s lies nowhere", at, f.Name())
	}
	return int64(m.physical) + at - int64(m.logical), nil
}

// A Named is what people call a device.
type Named struct {
	Layer  string // the layer or disk that it is, or belongs to; "" for none
	Device string // its name; of device-mapper's, the one that those who made it know
	Node   string
	Whole  uint64 // of a partition, the device that it is on
	// Encodes says that what is below it is not what it holds.
	Encodes bool
}

// Names are those of all block devices that there are, by number.
func (s *Stack) Names() (map[uint64]Named, error) {
	entries, err := os.ReadDir("/sys/class/block")
	if err != nil {
		return nil, err
	}
	out := map[uint64]Named{}
	for _, e := range entries {
		d, err := DeviceOf(e.Name())
		if errors.Is(err, os.ErrNotExist) {
			continue // it has just gone
		}
		if err != nil {
			return nil, err
		}
		n := Named{Device: d.Name, Node: d.Node()}
		if name, err := ReadText(filepath.Join(d.Sys(), "dm/name")); err == nil {
			n.Device = name
		}
		if p := s.owner(d, 0); p != nil {
			n.Layer = p.Name
			n.Encodes = p.No == d.No && p.encodes()
		}
		if _, err := os.Stat(filepath.Join(d.Sys(), "partition")); err == nil {
			if path, err := filepath.EvalSymlinks(d.Sys()); err == nil {
				whole, _ := DeviceOf(filepath.Base(filepath.Dir(path)))
				n.Whole = whole.No
			}
		}
		out[d.No] = n
	}
	return out, nil
}

// owner is the part that a device is, or that was built with it; nil for none.
func (s *Stack) owner(d Device, depth int) *Part {
	for _, p := range s.Parts {
		if p.Device.Name != "" && p.No == d.No {
			return p
		}
	}
	holders, err := os.ReadDir(filepath.Join(d.Sys(), "holders"))
	if err != nil || depth > len(s.Parts)+8 {
		return nil
	}
	for _, h := range holders {
		up, err := DeviceOf(h.Name())
		if err != nil {
			continue
		}
		if p := s.owner(up, depth+1); p != nil {
			return p
		}
	}
	return nil
}

// encodes says whether what lies below a part is not what the part holds.
func (p *Part) encodes() bool {
	l := p.Layer
	switch {
	case l == nil:
		return false
	case l.Crypt != nil, l.LVM != nil && l.LVM.Type == "vdo":
		return true
	case l.DM != nil:
		return slices.ContainsFunc(l.DM.Table, func(line string) bool {
			f := strings.Fields(line)
			return len(f) > 2 && (f[2] == "crypt" || f[2] == "vdo")
		})
	}
	return false
}
