package qemu

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// A Bus is how a disk is attached to the machine.
type Bus string

// Buses, as scenarios name them.
const (
	AHCI       Bus = "ahci"
	VirtioBlk  Bus = "virtio-blk"
	VirtioSCSI Bus = "virtio-scsi"
	NVMe       Bus = "nvme"
)

// Buses are all there are.
func Buses() []Bus { return []Bus{AHCI, VirtioBlk, VirtioSCSI, NVMe} }

const (
	// ahciPorts is how many disks a controller takes.
	ahciPorts = 6
	// freeSlots is what a q35 PC without other devices has left on its PCI bus.
	freeSlots = 28
)

// image is the content of a disk: a file, or what this process serves over an
// inherited descriptor.
type image struct {
	Disk
	fd int
}

func (d image) Cmdline() []string {
	if !d.filtered() {
		return plainImage{d.Disk}.Cmdline()
	}
	file := map[string]any{"driver": "nbd", "server": map[string]any{"type": "fd", "str": strconv.Itoa(d.fd)}}
	return d.blockdev(d.node(), file)
}

// plainImage is the content of a disk in a file that QEMU opens itself.
type plainImage struct{ Disk }

func (d plainImage) Cmdline() []string {
	return d.blockdev(d.node(), map[string]any{"driver": "file", "filename": d.Path})
}

// node is that of the disk, without what is below it.
func (d plainImage) node() map[string]any {
	// The file does not outlive a crash of the host: a guest's flush need not
	// wait for the host's disk.
	node := d.Disk.node()
	node["cache"] = map[string]any{"no-flush": true}
	return node
}

// node is what the node of every disk has.
func (d Disk) node() map[string]any {
	node := map[string]any{"driver": string(d.Format), "node-name": nodeName(d.ID)}
	if d.discards() {
		node["discard"] = "unmap"
	}
	return node
}

func (d Disk) discards() bool { return d.Discard == On || d.filtered() }

// blockdev puts a node over the one that has the content.
func (d Disk) blockdev(node, file map[string]any) []string {
	node["file"] = file
	file["node-name"] = fileNode(d.ID)
	if d.discards() {
		file["discard"] = "unmap"
	}
	return []string{"-blockdev", jsonArg(node)}
}

// property of a device: a string, a whole number or, where it is on or off, a bool.
// QMP takes it by its type, which QEMU minds from 9.2 on.
type property struct {
	name  string
	value any
}

func (p property) String() string {
	if on, ok := p.value.(bool); ok {
		return p.name + "=" + string(switchOf(on))
	}
	return fmt.Sprint(p.name, "=", p.value)
}

func switchOf(on bool) Switch {
	if on {
		return On
	}
	return Off
}

// part is a device of QEMU's own with its properties.
type part struct {
	driver     string
	properties []property
}

func (p part) String() string {
	text := []string{p.driver}
	for _, v := range p.properties {
		text = append(text, v.String())
	}
	return strings.Join(text, ",")
}

// attachment is a disk's device, after those that it needs to be there.
type attachment struct {
	before []part
	disk   part
}

func (a attachment) Cmdline() []string {
	var args []string
	for _, p := range a.before {
		args = append(args, "-device", p.String())
	}
	return append(args, "-device", a.disk.String())
}

// slots say where each disk is attached.
type slots struct {
	of   []attachment
	used int // slots of the PCI bus

	ahci, scsi, ports int // so far
}

func newSlots(disks []Disk) *slots {
	var s slots
	for _, d := range disks {
		s.of = append(s.of, s.attach(d))
	}
	return &s
}

func (s *slots) attach(d Disk) attachment {
	var a attachment
	p := &a.disk
	set := func(name string, value any) {
		p.properties = append(p.properties, property{name, value})
	}
	controller := func(driver string, properties ...property) {
		s.used++
		a.before = append(a.before, part{driver, properties})
	}
	// port gives the bus that a PCI device is on.
	port := func() {
		if !d.Removable {
			s.used++
			return
		}
		s.ports++
		id := "port-" + d.ID
		controller("pcie-root-port", property{"id", id}, property{"chassis", s.ports})
		set("bus", id)
	}
	switch bus := cmp.Or(d.Bus, AHCI); bus {
	case AHCI:
		p.driver = "ide-hd"
		set("id", deviceName(d))
		on, n := "ide", s.ahci%ahciPorts // the board's own
		if more := s.ahci / ahciPorts; more > 0 {
			on = "sata" + strconv.Itoa(more)
			if n == 0 {
				controller("ich9-ahci", property{"id", on})
			}
		}
		set("bus", fmt.Sprintf("%s.%d", on, n))
		s.ahci++
	case VirtioSCSI:
		p.driver = "scsi-hd"
		set("id", deviceName(d))
		if s.scsi == 0 {
			controller("virtio-scsi-pci", property{"id", "scsi"})
		}
		set("bus", "scsi.0")
		set("scsi-id", s.scsi)
		s.scsi++
	case VirtioBlk:
		p.driver = "virtio-blk-pci"
		set("id", deviceName(d))
		port()
	case NVMe:
		p.driver = "nvme"
		set("id", deviceName(d))
		port()
		set("serial", d.Serial)
		if !d.Removable { // QEMU can't plug a namespace
			a.before = append(a.before, *p)
			a.disk = part{driver: "nvme-ns"}
			set("id", deviceName(d)+"-1")
			set("bus", deviceName(d))
		}
	}
	set("drive", nodeName(d.ID))
	if d.Bus != NVMe {
		// An error of the file below it stops the machine and is reported,
		// instead of reaching the guest, who could only blame its disk. Where
		// this process serves it, it knows what the guest should see.
		policy := "stop"
		if d.filtered() {
			policy = "report"
		}
		set("serial", d.Serial)
		set("rerror", policy)
		set("werror", policy)
	}
	s.options(d, set)
	return a
}

func (s *slots) options(d Disk, set func(name string, value any)) {
	if d.LogicalBlockSize != 0 {
		set("logical_block_size", d.LogicalBlockSize)
	}
	if n := cmp.Or(d.PhysicalBlockSize, d.LogicalBlockSize); n != 0 {
		set("physical_block_size", n)
	}
	switch {
	case d.Discard == Off && d.Bus == VirtioBlk:
		set("discard", false)
	case d.Discard == Off:
		set("discard_granularity", 0)
	}
	if d.WriteCache != "" {
		set("write-cache", d.WriteCache)
	}
	if d.FUA {
		set("dpofua", true)
	}
	if d.RotationRate != 0 {
		set("rotation_rate", d.RotationRate)
	}
	if d.filtered() && d.Bus == VirtioBlk {
		set("request-merging", false) // what the guest asks for is what is hit
	}
	if z := d.Zones; z != nil {
		set("zoned", true)
		set("zoned.zone_size", z.Size)
		set("zoned.zone_capacity", cmp.Or(z.Capacity, z.Size))
		set("zoned.max_open", z.MaxOpen)
		set("zoned.max_active", z.MaxActive)
	}
	if d.Metadata != 0 {
		set("ms", d.Metadata)
		set("pi", d.Protection)
	}
}

func nodeName(disk string) string { return "disk-" + disk }

// fileNode is the node below it.
func fileNode(disk string) string { return nodeName(disk) + "-file" }

// deviceName of a disk's device, or its controller of its own.
func deviceName(d Disk) string { return string(cmp.Or(d.Bus, AHCI)) + "-" + d.ID }
