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

// checkStack refuses a stack that can't be built on the disks.
func (d *decoder) checkStack(s *scenarios.Scenario) {
	lvm, md, disks := s.Stack.LVM, s.Stack.MD, len(s.Disks)
	switch {
	case lvm != nil && md != nil:
		d.failAt("stack", "lvm and md exclude each other; a stack has one of them, or neither")
	case lvm != nil && lvm.Type == "linear":
		d.wantDisks(disks, 1, 1, "a linear volume lies on one disk")
		if lvm.Dmeventd {
			d.failAt("stack.lvm.dmeventd", "a linear volume has nothing to monitor; leave it out")
		}
	case lvm != nil:
		d.wantDisks(disks, 2, 2, "a volume with two legs lies on two disks")
	case md != nil:
		d.wantDisks(disks, 2, ahciPorts, "a raid1 array lies on at least two disks")
	default:
		d.wantDisks(disks, 1, 1, "without lvm or md the file system lies on one disk")
	}
	if lvm != nil {
		// The kernel behaves differently with each (dm table's
		// handle_errors), so a mirror has to say them.
		_, logSaid := d.at["stack.lvm.log"]
		_, dmeventdSaid := d.at["stack.lvm.dmeventd"]
		switch {
		case lvm.Type == "mirror" && !logSaid:
			d.failAt("stack.lvm", "the key log is missing; a mirror has one: disk, core")
		case lvm.Type == "mirror" && !dmeventdSaid:
			d.failAt("stack.lvm", "the key dmeventd is missing; a mirror is monitored (true) or not (false)")
		case lvm.Type != "mirror" && logSaid:
			d.failAt("stack.lvm.log", "only a mirror has a log; leave it out")
		}
	}
	if d.err == nil {
		d.checkRoom(s)
	}
}

func (d *decoder) wantDisks(have, least, most int, why string) {
	if have < least || have > most {
		d.failAt("disks", "there are %d, but %s", have, why)
	}
}

// checkRoom refuses disks that are too small for the stack.
func (d *decoder) checkRoom(s *scenarios.Scenario) {
	var volume scenarios.Bytes // 0: as large as the disks let it be
	need, why := scenarios.Bytes(0), ""
	ext4 := ext4Room(s.Stack.File.Size)
	switch lvm, md := s.Stack.LVM, s.Stack.MD; {
	case lvm != nil:
		volume = lvm.Size
		need, why = lvm.Size+extent, fmt.Sprintf("%s for the volume, %s for LVM's metadata", lvm.Size, extent)
		switch {
		case lvm.Type == "mirror" && lvm.Log == "disk":
			need, why = need+extent, why+fmt.Sprintf(", %s for the mirror's log", extent)
		case lvm.Type == "raid1":
			need, why = need+extent, why+fmt.Sprintf(", %s for the leg's metadata", extent)
		}
		if volume < ext4 {
			d.failAt("stack.lvm.size", "%s is too small: ext4 with a file of %s needs at least %s", volume, s.Stack.File.Size, roundUp(ext4, extent))
		}
	case md != nil:
		need, why = ext4+mdStart, fmt.Sprintf("%s for ext4 with a file of %s, %s for md's metadata", ext4, s.Stack.File.Size, mdStart)
	default:
		need, why = ext4, fmt.Sprintf("ext4 with a file of %s", s.Stack.File.Size)
	}
	for i, disk := range s.Disks {
		if disk.Size < need {
			d.failAt(fmt.Sprintf("disks[%d].size", i), "%s is too small: the stack needs at least %s on each disk: %s", disk.Size, need, why)
		}
	}
}

// ext4Room is the smallest device on which mke2fs(8) makes a file system with
// a journal, inode tables and room for a file of that size.
func ext4Room(file scenarios.Bytes) scenarios.Bytes {
	return roundUp(file+file/8+16*mib, mib)
}

func roundUp(n, unit scenarios.Bytes) scenarios.Bytes { return (n + unit - 1) / unit * unit }
