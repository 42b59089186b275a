package qemu

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
)

// Format is the format of a disk's file. It is always given to QEMU: one that
// QEMU guesses from the content is one that the guest can choose.
type Format string

// Formats.
const (
	Raw   Format = "raw"
	Qcow2 Format = "qcow2"
)

// SectorSize of all disks, in bytes.
const SectorSize = 512

// A Disk is a regular file that the guest sees as a disk. What is left zero is
// as QEMU has it.
type Disk struct {
	ID     string `json:"id"`     // letters, digits, - and _; unique in the machine
	Serial string `json:"serial"` // what the guest knows it by; at most 20 bytes
	Path   string `json:"path"`
	Format Format `json:"format"`

	Bus Bus `json:"bus,omitempty"` // "" is AHCI

	// Block sizes in bytes, powers of two; 0 is 512. A logical one other than
	// 512 is not for AHCI. A write of one physical block is never torn.
	LogicalBlockSize  int `json:"logical_block_size,omitempty"`
	PhysicalBlockSize int `json:"physical_block_size,omitempty"`

	// Discard is whether the guest may discard. "" is On, but the file of a disk
	// without Filter keeps what was discarded.
	Discard Switch `json:"discard,omitempty"`
	// WriteCache is whether the guest sees a volatile write cache; "" is On.
	// NVMe has no other.
	WriteCache Switch `json:"write_cache,omitempty"`
	// FUA lets the guest ask for one write to be durable, without a flush.
	// For virtio-scsi only: QEMU's other disks can't.
	FUA bool `json:"fua,omitempty"`
	// RotationRate in revolutions a minute; 1 is a disk that doesn't rotate. For
	// AHCI and virtio-scsi only.
	RotationRate int `json:"rotation_rate,omitempty"`
	// Removable puts a disk of virtio-blk or NVMe behind a port of its own, where
	// Unplug can remove it. One of virtio-scsi always can be removed, one of AHCI
	// never.
	Removable bool `json:"removable,omitempty"`

	Zones *Zones `json:"zones,omitempty"` // NVMe only
	// Metadata is bytes of metadata for each logical block of an NVMe disk, 8 or
	// 16, and Protection the type of protection information in it, 1 to 3. It
	// takes room of the file, so that the guest's disk is smaller.
	Metadata   int `json:"metadata,omitempty"`
	Protection int `json:"protection,omitempty"`

	// Filter has the disk's image served by this process, so that faults can be
	// injected and writes and flushes be recorded. The file is raw then, and no
	// flush is left out. NVMe disks always are, since QEMU would tell the guest
	// of the host's errors.
	Filter bool `json:"filter,omitempty"`
}

// A Switch is a property that may be left as QEMU has it, which is "".
type Switch string

// Positions of a Switch.
const (
	On  Switch = "on"
	Off Switch = "off"
)

// Zones of a zoned disk (ZNS). QEMU forgets their state when the machine
// ends: in a new one all are empty.
type Zones struct {
	Size      int64 `json:"size"`                 // bytes, a multiple of the logical block
	Capacity  int64 `json:"capacity,omitempty"`   // bytes; 0 is Size
	MaxOpen   int   `json:"max_open,omitempty"`   // 0: no limit
	MaxActive int   `json:"max_active,omitempty"` // 0: no limit
}

// Savable says whether a machine with the disk can be saved: QEMU can't save
// an NVMe controller.
func (d Disk) Savable() bool { return d.Bus != NVMe }

// filtered says whether this process serves the disk's image.
func (d Disk) filtered() bool { return d.Filter || d.Bus == NVMe }

// atom is how many bytes are written as a whole or not at all.
func (d Disk) atom() int64 { return int64(cmp.Or(d.PhysicalBlockSize, d.LogicalBlockSize, SectorSize)) }

// maxBlockSize of disks, in bytes.
const maxBlockSize = 64 << 10

var (
	diskID     = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,15}$`)
	diskSerial = regexp.MustCompile(`^[A-Za-z0-9_-]{1,20}$`) // ATA's limit is 20 bytes
)

// check says what is wrong with a disk, as far as that can be told without
// its file.
func (d Disk) check() error {
	bus := cmp.Or(d.Bus, AHCI)
	logical := cmp.Or(d.LogicalBlockSize, SectorSize)
	physical := cmp.Or(d.PhysicalBlockSize, logical)
	block := func(n int) bool { return n >= SectorSize && n <= maxBlockSize && n&(n-1) == 0 }
	on := func(s Switch) bool { return s == "" || s == On || s == Off }
	switch {
	case !diskID.MatchString(d.ID):
		return fmt.Errorf("ID %q: want a letter and at most 15 more letters, digits, - or _", d.ID)
	case !diskSerial.MatchString(d.Serial):
		return fmt.Errorf("serial %q: want 1 to 20 letters, digits, - or _", d.Serial)
	case d.Format != Raw && d.Format != Qcow2:
		return fmt.Errorf("format %q: want raw or qcow2", d.Format)
	case !slices.Contains(Buses(), bus):
		return fmt.Errorf("bus %q: want one of %v", d.Bus, Buses())
	case !block(logical) || !block(physical):
		return fmt.Errorf("blocks of %d and %d bytes: want powers of two from %d to %d", logical, physical, SectorSize, maxBlockSize)
	case physical < logical:
		return fmt.Errorf("a physical block of %d bytes is smaller than a logical one of %d", physical, logical)
	case bus == AHCI && logical != SectorSize:
		return fmt.Errorf("a logical block of %d bytes: QEMU's AHCI disks have %d", logical, SectorSize)
	case !on(d.Discard) || !on(d.WriteCache):
		return fmt.Errorf("discard %q, write cache %q: want on, off or nothing", d.Discard, d.WriteCache)
	case bus == NVMe && d.WriteCache == Off:
		return errors.New("QEMU's NVMe disks always have a volatile write cache")
	case d.FUA && bus != VirtioSCSI:
		return fmt.Errorf("only disks of %s can be asked for FUA in QEMU", VirtioSCSI)
	case d.RotationRate < 0 || d.RotationRate > 0xfffe || d.RotationRate != 0 && bus != AHCI && bus != VirtioSCSI:
		return fmt.Errorf("a rotation rate of %d: only disks of %s and %s have one, up to 65534", d.RotationRate, AHCI, VirtioSCSI)
	case d.Removable && bus == AHCI:
		return fmt.Errorf("QEMU can't unplug disks of %s", AHCI)
	case d.Removable && (d.Zones != nil || d.Metadata != 0):
		return errors.New("QEMU can't plug a disk with zones or metadata")
	case d.filtered() && d.Format != Raw:
		return fmt.Errorf("format %q: a disk whose image blockrig serves is raw", d.Format)
	case bus != NVMe && (d.Zones != nil || d.Metadata != 0 || d.Protection != 0):
		return fmt.Errorf("only disks of %s have zones or metadata", NVMe)
	case d.Metadata != 0 && d.Metadata != 8 && d.Metadata != 16:
		return fmt.Errorf("%d bytes of metadata: want 8 or 16", d.Metadata)
	case d.Protection < 0 || d.Protection > 3 || d.Protection != 0 && d.Metadata == 0:
		return fmt.Errorf("protection %d with %d bytes of metadata: want 1 to 3, with metadata", d.Protection, d.Metadata)
	}
	if z := d.Zones; z != nil {
		switch capacity := cmp.Or(z.Capacity, z.Size); {
		case z.Size <= 0 || z.Size%int64(logical) != 0 || capacity <= 0 || capacity%int64(logical) != 0 || capacity > z.Size:
			return fmt.Errorf("zones of %d bytes with a capacity of %d: want multiples of %d, the capacity not above the size", z.Size, capacity, logical)
		case z.MaxOpen < 0 || z.MaxActive < 0 || z.MaxActive > 0 && z.MaxOpen > z.MaxActive:
			return fmt.Errorf("%d open zones and %d active ones: open ones are active, too", z.MaxOpen, z.MaxActive)
		}
	}
	return nil
}

// SerialOf is the serial number that CreateDisk gives the disk of that ID: at
// most 20 bytes.
func SerialOf(id string) string {
	if serial := "blockrig-" + id; diskSerial.MatchString(serial) {
		return serial
	}
	return "br-" + id
}

// CreateDisk makes an empty, sparse disk of the given size in the folder dir.
// Its file is ID.raw or ID.qcow2, its serial number that of SerialOf. A path that
// exists, whatever it is, is refused with an error that is fs.ErrExist.
func CreateDisk(ctx context.Context, dir, id string, bytes int64, format Format) (Disk, error) {
	d := Disk{ID: id, Serial: SerialOf(id), Format: format}
	fail := func(err error) (Disk, error) {
		return Disk{}, fmt.Errorf("create disk %q: %w", id, err)
	}
	if err := ctx.Err(); err != nil {
		return fail(err)
	}
	if !diskID.MatchString(id) || !diskSerial.MatchString(d.Serial) {
		return fail(errors.New("an ID is a letter and at most 15 more letters, digits, - or _"))
	}
	if bytes <= 0 || bytes%SectorSize != 0 {
		return fail(fmt.Errorf("%d bytes: a disk is a positive multiple of %d bytes", bytes, SectorSize))
	}
	if format != Raw && format != Qcow2 {
		return fail(fmt.Errorf("format %q: want raw or qcow2", format))
	}

	root, err := os.OpenRoot(dir)
	if err != nil {
		return fail(err)
	}
	defer root.Close()
	name := id + "." + string(format)
	d.Path = filepath.Join(dir, name)

	err = writeNew(root, name, func(f *os.File) error {
		if format == Qcow2 {
			return writeQcow2(f, bytes, "", "")
		}
		return f.Truncate(bytes)
	})
	if err != nil {
		return fail(err)
	}
	return d, nil
}

// writeNew makes a file that did not exist and fills it; on an error there is
// no file.
func writeNew(root *os.Root, name string, fill func(*os.File) error) (err error) {
	// O_EXCL neither opens what is there nor follows a link.
	f, err := root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, root.Remove(name))
		}
	}()
	return errors.Join(fill(f), f.Close())
}

// checkRegular refuses what QEMU must not open: anything that is no regular
// file, above all block devices.
func checkRegular(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s: not a regular file (%v)", path, info.Mode().Type())
	}
	return nil
}
