package language

import (
	"fmt"

	"github.com/blockrig/blockrig/scenarios"
)

const (
	// extent is LVM's default physical extent (vgcreate(8)). LVM's own
	// metadata takes 1 MiB at the start of a disk (pvcreate(8)) and, since
	// only whole extents count, the room of an extent.
	extent = 4 * mib
	// mdStart is the most that mdadm keeps for superblock, bitmap and data
	// offset on a small disk.
	mdStart = 2 * mib
)

// tooSmall blames the device of that name, which has less than need.
func (s *stack) tooSmall(name string, need scenarios.Bytes, format string, args ...any) {
	d := s.devices[name]
	if d == nil || d.size == 0 || d.size >= need {
		return
	}
	at := d.path
	if s.said(at+".size") || d.kind == "disk" {
		at += ".size"
	}
	s.failAt(at, "%s is too small: %s", d.size, fmt.Sprintf(format, args...))
}

// mdSize is about how large an array is, 0 where that is not known.
func (s *stack) mdSize(l *scenarios.Layer, members int) scenarios.Bytes {
	var sum, least scenarios.Bytes
	for i, name := range l.On {
		if i >= members {
			break
		}
		size := s.devices[name].size - mdStart
		if size <= -mdStart {
			return 0
		}
		if size < mib {
			s.tooSmall(name, mdStart+mib, "md needs %s for its metadata", mdStart)
			return 0
		}
		if sum += size; i == 0 || size < least {
			least = size
		}
	}
	if l.MD.Size > 0 && l.MD.Size < least {
		least, sum = l.MD.Size, l.MD.Size*scenarios.Bytes(members)
	}
	switch n := scenarios.Bytes(members); l.MD.Level {
	case "raid1":
		return least
	case "raid4", "raid5":
		return least * (n - 1)
	case "raid6":
		return least * (n - 2)
	case "raid10": // with two copies, the fewest that there are
		return least * n / 2
	}
	return sum
}

// lvmRoom refuses devices that are too small for a volume.
func (s *stack) lvmRoom(path string, l *scenarios.Layer) {
	lvm := l.LVM
	leg := lvm.Size
	why := fmt.Sprintf("%s for the volume", lvm.Size)
	if lvm.Stripes > 1 {
		leg = roundUp(lvm.Size/scenarios.Bytes(lvm.Stripes), extent)
		why = fmt.Sprintf("%s for the volume's part", leg)
	}
	switch {
	case lvm.Type == "thin":
		leg, why = lvm.Extra, fmt.Sprintf("%s for the pool", lvm.Extra)
	case lvm.Extra > 0:
		leg += lvm.Extra
		why += fmt.Sprintf(", %s beside it", lvm.Extra)
	}
	if lvm.Extra > 0 && len(l.On) > 1 {
		return // which of them lies where is LVM's choice
	}
	why += fmt.Sprintf(", %s for LVM's metadata", extent)
	need := leg + extent
	switch {
	case lvm.Type == "mirror" && lvm.Log == "disk" && len(l.On) == lvm.Mirrors+1:
		need, why = need+extent, why+fmt.Sprintf(", %s for the mirror's log", extent)
	case lvm.Type == "raid1" || lvm.Type == "raid4" || lvm.Type == "raid5" || lvm.Type == "raid6" || lvm.Type == "raid10":
		need, why = need+extent, why+fmt.Sprintf(", %s for the leg's metadata", extent)
	}
	for _, name := range l.On {
		s.tooSmall(name, need, "%s needs at least %s on each device: %s", l.Name, need, why)
	}
}

// fsRoom refuses a device that is too small for the file system and a file.
func (s *stack) fsRoom(l *scenarios.Layer, file scenarios.Bytes) {
	if len(l.On) != 1 {
		return
	}
	if len(l.FS.Mkfs) > 0 && file == 0 {
		return // it may be made smaller than usual
	}
	// The smallest that mkfs takes with what belongs to it: a journal, inode
	// tables; xfsprogs and btrfs-progs refuse less by themselves.
	need := map[string]scenarios.Bytes{"ext4": 16 * mib, "xfs": 300 * mib, "btrfs": 112 * mib, "f2fs": 64 * mib}[l.FS.Type]
	if len(l.FS.Mkfs) > 0 {
		need = mib
	}
	what := l.FS.Type
	if file > 0 {
		what += fmt.Sprintf(" with a file of %s", file)
		need = max(need, roundUp(file+file/8+min(need, 16*mib), mib))
	}
	s.tooSmall(l.On[0], need, "%s needs at least %s", what, need)
}

func roundUp(n, unit scenarios.Bytes) scenarios.Bytes { return (n + unit - 1) / unit * unit }
