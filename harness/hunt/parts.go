package hunt

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/blockrig/blockrig/scenarios"
)

// A part is what a stack is put together of: one way to use a layer.
type part struct {
	over   int                                          // on how many devices it lies
	layers func(size scenarios.Bytes) []scenarios.Layer // that make a device of at least so much
	below  func(size scenarios.Bytes) scenarios.Bytes   // how large each device below it must be for that
	leg    func() scenarios.Layer                       // that lies between it and the last of its devices; nil: none

	file   bool            // it gives a file, and nothing lies on it
	bottom bool            // it lies on nothing
	single bool            // a module makes one of it
	most   scenarios.Bytes // the largest that it can be; 0: any size
	block  int64           // logical block in bytes, where that is more than a sector
	zeroes bool            // what is below it must read as zeroes at first
	random bool            // it does not read as zeroes at first
	memory scenarios.Bytes // that it takes beside what a machine has
	way    bool            // another way to use a layer: it is tried by itself, not in pairs
}

const (
	mib scenarios.Bytes = 1 << 20
	// extent is that of LVM, of which sizes are a multiple.
	extent = 4 * mib
)

func upTo(n, unit scenarios.Bytes) scenarios.Bytes { return (n + unit - 1) / unit * unit }

// more is what must be below: so many times the size, and something beside it.
func more(times, beside scenarios.Bytes) func(scenarios.Bytes) scenarios.Bytes {
	return func(size scenarios.Bytes) scenarios.Bytes { return upTo(times*size+beside, extent) }
}

func one(of func(size scenarios.Bytes) scenarios.Layer) func(scenarios.Bytes) []scenarios.Layer {
	return func(size scenarios.Bytes) []scenarios.Layer { return []scenarios.Layer{of(size)} }
}

func volume(over int, l scenarios.LVM) part {
	times, beside := scenarios.Bytes(1), 4*extent
	switch l.Type {
	case "snapshot", "cache", "writecache": // as much stands beside it, and metadata twice
		times, beside = 2, 6*extent
	}
	return part{over: over, below: more(times, beside), layers: one(func(size scenarios.Bytes) scenarios.Layer {
		l := l
		l.Size = upTo(size, extent)
		return scenarios.Layer{LVM: &l}
	})}
}

func array(over int, md scenarios.MD) part {
	return part{over: over, below: more(1, extent), layers: one(func(scenarios.Bytes) scenarios.Layer {
		md := md
		return scenarios.Layer{MD: &md}
	})}
}

// leastTable is how large what is below a table is at least.
const leastTable = 9 * extent

// table is a device of some lines: {0}, {1}, … are the devices below it, {n} is its
// length in sectors.
func table(over int, lines ...string) part {
	t := scenarios.DM{Table: lines}
	return part{
		over: over, zeroes: t.Has("era", "clone", "cache", "writecache", "integrity"), // they make metadata where they find none
		below: func(size scenarios.Bytes) scenarios.Bytes {
			times := scenarios.Bytes(1)
			if t.Has("unstriped") {
				times = 2 // of two stripes it is one
			}
			return max(leastTable, upTo(times*size+size/8+4*extent, extent))
		},
		layers: one(func(size scenarios.Bytes) scenarios.Layer {
			n := int64(size / sector)
			fill := strings.NewReplacer("{n}", strconv.FormatInt(n, 10), "{rest}", strconv.FormatInt(n-3*insideAt, 10))
			full := scenarios.DM{}
			for _, line := range lines {
				full.Table = append(full.Table, fill.Replace(line))
			}
			return scenarios.Layer{DM: &full}
		}),
	}
}

// insideAt is where the target of inside begins, in sectors: well within what
// programs use.
const insideAt = 128

// inside is a device of which a target is neither the first nor the last. What
// stands before it lies on the device below with that number from sector at on:
// where a target writes that counts from the start of the whole device, not from
// its own.
func inside(over int, target string, below, at int) part {
	return table(
		over,
		fmt.Sprintf("0 %d linear {%d} %d", insideAt, below, at),
		fmt.Sprintf("%d %d %s", insideAt, 2*insideAt, target),
		fmt.Sprintf("%d {rest} linear {%d} %d", 3*insideAt, below, at+insideAt),
	).in(aWay)
}

func encrypted(c scenarios.Crypt, beside scenarios.Bytes) part {
	return part{over: 1, below: func(size scenarios.Bytes) scenarios.Bytes { return upTo(size+size/4+beside, extent) }, random: true, layers: one(func(scenarios.Bytes) scenarios.Layer {
		c := c
		return scenarios.Layer{Crypt: &c}
	})}
}

func cached(mode string) part {
	return part{over: 2, below: more(1, extent), layers: one(func(scenarios.Bytes) scenarios.Layer {
		return scenarios.Layer{Bcache: &scenarios.Bcache{Mode: mode}}
	})}
}

// fileOn is a file on a file system, which takes a device of that size.
func fileOn(fs scenarios.FS, least scenarios.Bytes) part {
	return part{over: 1, file: true, below: func(scenarios.Bytes) scenarios.Bytes { return least }, layers: func(scenarios.Bytes) []scenarios.Layer {
		fs := fs
		return []scenarios.Layer{{FS: &fs}, {File: &scenarios.File{Size: 1 << 20}}}
	}}
}

func inMemory(p part, of func(size scenarios.Bytes) scenarios.Layer) part {
	p.over, p.bottom, p.layers = 1, true, one(of)
	return p
}

// in gives a part with something changed.
func (p part) in(change func(*part)) part {
	change(&p)
	return p
}

func aWay(p *part) { p.way = true }

const (
	// brdSize is that of all RAM disks of brd: its module makes them alike. It
	// takes no memory before it is written.
	brdSize = 512 * mib
	// debugSize is that of a disk of scsi_debug, which takes its memory at once.
	debugSize = 64 * mib
)

// parts are all there are, by name: every layer of the language on which data
// can stand, in the ways to use it that have code of their own in the kernel.
// None are what only answers errors (error, zero), what can't be written
// (verity), what a table alone does not make (thin, snapshot-merge, vdo: LVM
// does), and what needs zones (zoned).
var parts = map[string]part{
	"brd": inMemory(part{most: brdSize}, func(scenarios.Bytes) scenarios.Layer {
		return scenarios.Layer{Brd: &scenarios.Brd{Size: brdSize}}
	}),
	"zram": inMemory(part{block: 4096}, func(size scenarios.Bytes) scenarios.Layer {
		return scenarios.Layer{Zram: &scenarios.Zram{Size: size}}
	}),
	"null_blk": inMemory(part{most: 1 << 30}, func(size scenarios.Bytes) scenarios.Layer {
		return scenarios.Layer{NullBlk: &scenarios.NullBlk{Size: upTo(size, mib), BlockSize: sector, WriteCache: true, Discard: true}}
	}),
	"scsi_debug": inMemory(part{most: debugSize, single: true, memory: debugSize}, func(scenarios.Bytes) scenarios.Layer {
		return scenarios.Layer{SCSIDebug: &scenarios.SCSIDebug{Size: debugSize, SectorSize: sector}}
	}),

	"lvm-linear":           volume(1, scenarios.LVM{Type: "linear"}),
	"lvm-striped":          volume(2, scenarios.LVM{Type: "striped", Stripes: 2}),
	"lvm-mirror":           volume(2, scenarios.LVM{Type: "mirror", Log: "disk"}),
	"lvm-mirror-core":      volume(2, scenarios.LVM{Type: "mirror", Log: "core"}).in(aWay),
	"lvm-raid0":            volume(2, scenarios.LVM{Type: "raid0", Stripes: 2}),
	"lvm-raid1":            volume(2, scenarios.LVM{Type: "raid1"}),
	"lvm-raid1-integrity":  volume(2, scenarios.LVM{Type: "raid1", Integrity: true}).in(func(p *part) { p.below, p.way = more(1, 8*extent), true }),
	"lvm-raid4":            volume(3, scenarios.LVM{Type: "raid4", Stripes: 2}),
	"lvm-raid5":            volume(3, scenarios.LVM{Type: "raid5", Stripes: 2}),
	"lvm-raid6":            volume(5, scenarios.LVM{Type: "raid6", Stripes: 3}),
	"lvm-raid10":           volume(4, scenarios.LVM{Type: "raid10", Stripes: 2}),
	"lvm-thin":             volume(1, scenarios.LVM{Type: "thin"}),
	"lvm-snapshot":         volume(1, scenarios.LVM{Type: "snapshot"}),
	"lvm-cache":            volume(1, scenarios.LVM{Type: "cache"}),
	"lvm-cache-writeback":  volume(1, scenarios.LVM{Type: "cache", CacheMode: "writeback"}).in(aWay),
	"lvm-writecache":       volume(1, scenarios.LVM{Type: "writecache"}),
	"lvm-vdo":              volume(1, scenarios.LVM{Type: "vdo", Extra: 6 << 30}).in(func(p *part) { p.below, p.block, p.memory, p.way = more(1, 8<<30), 4096, 512*mib, true }),
	"md-linear":            array(2, scenarios.MD{Level: "linear"}),
	"md-raid0":             array(2, scenarios.MD{Level: "raid0"}),
	"md-raid1":             array(2, scenarios.MD{Level: "raid1"}),
	"md-raid1-bitmap":      array(2, scenarios.MD{Level: "raid1", Bitmap: "internal"}).in(aWay),
	"md-raid1-writebehind": array(2, scenarios.MD{Level: "raid1", Bitmap: "internal", WriteMostly: []int{1}, WriteBehind: 256}).in(aWay),
	"md-raid4":             array(3, scenarios.MD{Level: "raid4"}),
	"md-raid5":             array(3, scenarios.MD{Level: "raid5"}),
	"md-raid5-journal":     array(4, scenarios.MD{Level: "raid5", Journal: true}).in(aWay),
	"md-raid5-ppl":         array(3, scenarios.MD{Level: "raid5", Consistency: "ppl"}).in(aWay),
	"md-raid6":             array(4, scenarios.MD{Level: "raid6"}),
	"md-raid10":            array(4, scenarios.MD{Level: "raid10"}),
	"md-raid10-far":        array(2, scenarios.MD{Level: "raid10", Layout: "f2"}).in(aWay),
	"md-raid10-offset":     array(2, scenarios.MD{Level: "raid10", Layout: "o2"}).in(aWay),

	"dm-linear":    table(1, "0 {n} linear {0} 0"),
	"dm-striped":   table(2, "0 {n} striped 2 128 {0} 0 {1} 0"),
	"dm-mirror":    table(2, "0 {n} mirror core 1 1024 2 {0} 0 {1} 0 1 handle_errors"),
	"dm-raid1":     table(2, "0 {n} raid raid1 3 0 region_size 1024 2 - {0} - {1}"),
	"dm-raid5":     table(3, "0 {n} raid raid5_ls 3 64 region_size 1024 3 - {0} - {1} - {2}"),
	"dm-flakey":    table(1, "0 {n} flakey {0} 0 60 0"),
	"dm-delay":     table(1, "0 {n} delay {0} 0 1"),
	"dm-dust":      table(1, "0 {n} dust {0} 0 512"),
	"dm-ebs":       table(1, "0 {n} ebs {0} 0 1 1"),
	"dm-unstriped": table(1, "0 {n} unstriped 2 128 0 {0} 0"),
	"dm-switch":    table(2, "0 {n} switch 2 128 0 {0} 0 {1} 0"),
	"dm-multipath": table(1, "0 {n} multipath 2 queue_mode bio 0 1 1 round-robin 0 1 1 {0} 1"),
	"dm-logwrites": table(2, "0 {n} log-writes {0} {1}"),
	"dm-origin":    table(1, "0 {n} snapshot-origin {0}"),
	"dm-snapshot":  table(2, "0 {n} snapshot {0} {1} N 16"),
	"dm-era":       table(2, "0 {n} era {0} {1} 128"),
	"dm-clone":     table(3, "0 {n} clone {0} {1} {2} 8"),
	"dm-cache":     table(3, "0 {n} cache {0} {1} {2} 128 2 metadata2 writethrough smq 0"),

	"dm-linear-inside":    inside(1, "linear {0} 0", 0, 256),
	"dm-striped-inside":   inside(2, "striped 2 128 {0} 0 {1} 0", 0, 128),
	"dm-delay-inside":     inside(1, "delay {0} 0 1", 0, 256),
	"dm-unstriped-inside": inside(1, "unstriped 2 128 0 {0} 0", 0, 512),
	"dm-switch-inside":    inside(2, "switch 2 128 0 {0} 0 {1} 0", 0, 256),
	"dm-era-inside":       inside(2, "era {0} {1} 128", 1, 256),
	"dm-cache-inside":     inside(3, "cache {0} {1} {2} 128 2 metadata2 writethrough smq 0", 2, 256),

	"dm-writecache":       table(2, "0 {n} writecache s {0} {1} 512 0"),
	"dm-integrity":        table(1, "0 {n} integrity {0} 0 - J 2 internal_hash:crc32c recalculate"),
	"dm-integrity-bitmap": table(1, "0 {n} integrity {0} 0 - B 2 internal_hash:crc32c recalculate").in(aWay),
	"dm-integrity-direct": table(1, "0 {n} integrity {0} 0 - D 2 internal_hash:crc32c recalculate").in(aWay),

	"crypt":              encrypted(scenarios.Crypt{Type: "plain", SectorSize: sector}, extent),
	"crypt-luks2":        encrypted(scenarios.Crypt{Type: "luks2", SectorSize: sector}, 6*extent),
	"crypt-integrity":    encrypted(scenarios.Crypt{Type: "luks2", SectorSize: sector, Integrity: "hmac-sha256"}, 10*extent).in(aWay),
	"bcache":             cached("writethrough"),
	"bcache-writeback":   cached("writeback").in(aWay),
	"bcache-writearound": cached("writearound").in(aWay),
	"partition": {over: 1, below: more(1, extent), layers: one(func(scenarios.Bytes) scenarios.Layer {
		return scenarios.Layer{Partition: &scenarios.Partition{Start: 1 << 20}}
	})},
	"loop": {over: 1, below: more(1, 0), layers: one(func(scenarios.Bytes) scenarios.Layer {
		return scenarios.Layer{Loop: &scenarios.Loop{Direct: true, BlockSize: sector}}
	})},

	"ext4":  fileOn(scenarios.FS{Type: "ext4", BlockSize: 4096}, 32*mib),
	"xfs":   fileOn(scenarios.FS{Type: "xfs"}, 320*mib),
	"btrfs": fileOn(scenarios.FS{Type: "btrfs"}, 128*mib),
	"f2fs":  fileOn(scenarios.FS{Type: "f2fs"}, 64*mib),
}

// StackNames are the parts that stacks are made of, sorted; see ParseStack.
func StackNames() []string { return slices.Sorted(maps.Keys(parts)) }

// lvmOf says whether a part is a volume of LVM.
func lvmOf(name string) bool { return strings.HasPrefix(name, "lvm-") }

// carries says why an upper part can't lie on a lower one; "" where it can.
func carries(lower, upper string) string {
	l, u := parts[lower], parts[upper]
	switch {
	case l.file:
		return lower + " gives a file"
	case u.bottom:
		return upper + " lies on nothing"
	case lvmOf(lower) && lvmOf(upper):
		return "LVM takes none of its own volumes (scan_lvs of lvm.conf)"
	case u.zeroes && l.random:
		return upper + " makes its metadata where zeroes are"
	case l.single && u.over > 1:
		return "there is one " + lower
	case l.most > 0 && u.below(volumeSize) > l.most:
		return lower + " is too small"
	}
	return ""
}

// All are the names of the stacks of every part, and of every two that can lie
// on each other, those in no order.
func All() (singles, pairs []string) {
	names := StackNames()
	for _, lower := range names {
		singles = append(singles, lower)
		for _, upper := range names {
			if !parts[lower].way && !parts[upper].way && carries(lower, upper) == "" {
				pairs = append(pairs, lower+"+"+upper)
			}
		}
	}
	return singles, pairs
}
