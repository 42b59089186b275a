package language

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/scenarios"
)

const (
	mib = scenarios.Bytes(1) << 20
	// maxDisks is what the slots of a PC's PCI bus hold beside the rest.
	maxDisks = 26
)

// A reference is a text that names disks or layers.
type reference struct{ path, kind, value string }

// A device is a disk or a layer of the case.
type device struct {
	path  string
	kind  string // disk, md, lvm, …
	size  scenarios.Bytes
	exact bool   // the size is not only about that; 0 and false where nothing is known
	under string // the layer that lies on it

	// Of a snapshot that a step makes: that step, and the one by which it is gone
	// again, 0 of what is always there, and the volume that it is of.
	from, until int
	of          string
}

// A stack is what the rules of a case know of its disks and layers.
type stack struct {
	*decoder
	body    *body
	names   []string // in order
	devices map[string]*device

	everyMoment bool                       // the power is cut at several moments
	stopped     map[string]bool            // layers that a step has stopped, and none has assembled since
	held        map[string]int             // how often steps hold a device open
	repeating   bool                       // it is in a repeat
	repeated    int                        // how many steps all repeats make
	grown       map[string]scenarios.Bytes // partitions that a step before has grown
	changed     map[string]bool            // disks and layers of which a step before may have made something else
}

// rules refuses what is only wrong together with something else, and fills in
// what follows from the rest.
func (d *decoder) rules(b *body) {
	s := &stack{decoder: d, body: b, devices: map[string]*device{}, stopped: map[string]bool{}, held: map[string]int{}, grown: map[string]scenarios.Bytes{}, changed: map[string]bool{}}
	s.disks()
	s.nameLayers()
	for i := range b.Stack {
		s.place(i)
	}
	s.snapshots()
	for _, ref := range d.refs {
		s.resolve(ref)
		s.inTime(ref)
	}
	s.steps("steps", b.Steps, false)
}

func (s *stack) disks() {
	for i, disk := range s.body.Disks {
		path := fmt.Sprintf("disks[%d]", i)
		if s.devices[disk.ID] != nil {
			s.failAt(path+".id", "two disks have the id %s", disk.ID)
		}
		if disk.PhysicalBlock < disk.LogicalBlock {
			s.body.Disks[i].PhysicalBlock = disk.LogicalBlock
			if s.said(path + ".physical_block_size") {
				s.failAt(path+".physical_block_size", "%d is smaller than the logical block size, %d", disk.PhysicalBlock, disk.LogicalBlock)
			}
		}
		if block := scenarios.Bytes(disk.LogicalBlock); disk.Size%block != 0 {
			s.failAt(path+".size", "%s is not allowed; it must be a multiple of the logical block size, %s", disk.Size, block)
		}
		s.only(path, "zones", disk.Bus == "nvme", "only disks of nvme are zoned, and null_blk layers")
		if s.said(path + ".zones") {
			s.zones(path+".zones", disk.Zones, disk)
		}
		s.only(path, "poll_queues", disk.Bus == "nvme", "only disks of nvme have them")
		s.disk(path, disk)
		s.add(disk.ID, device{path: path, kind: "disk", size: disk.Size, exact: true})
	}
	if n := len(s.body.Disks); n > maxDisks {
		s.failAt("disks", "at most %d disks are allowed, and there are %d", maxDisks, n)
	}
	if mask := s.body.Require.DMAAlignment; mask != nil && *mask&(*mask+1) != 0 {
		s.failAt("require.dma_alignment", "%d is not allowed; it is a power of two minus one, from 0 to 4095", *mask)
	}
}

// zones holds those of a disk against the disk.
func (s *stack) zones(path string, z scenarios.Zones, disk scenarios.Disk) {
	size := path
	if s.said(path + ".size") {
		size += ".size"
	}
	switch block := scenarios.Bytes(disk.LogicalBlock); {
	case z.Size == 0:
		s.failAt(path, "the key size is missing: that of each zone")
	case z.Size&(z.Size-1) != 0:
		s.failAt(size, "%s is not allowed; Linux takes zones whose size is a power of two", z.Size)
	case disk.Size%z.Size != 0:
		s.failAt(size, "the disk's size, %s, is no multiple of it", disk.Size)
	case z.Capacity > z.Size || z.Capacity%block != 0:
		s.failAt(path+".capacity", "%s is not allowed; it is at most the zone's size, %s", z.Capacity, z.Size)
	case z.MaxActive > 0 && z.MaxOpen > z.MaxActive:
		s.failAt(path+".max_open", "%d is not allowed; open zones are active, too, and %d can be", z.MaxOpen, z.MaxActive)
	}
}

// disk refuses what no disk of that bus has.
func (s *stack) disk(path string, d scenarios.Disk) {
	nvme := d.Bus == "nvme"
	s.only(path, "metadata", nvme, "only disks of nvme have it")
	s.only(path, "protection", d.Metadata > 0, "it lies in the metadata, which the disk has not")
	s.only(path, "fua", d.Bus == "virtio-scsi" || !d.FUA, "only disks of virtio-scsi have it")
	s.only(path, "no_write_cache", !nvme || !d.NoWriteCache, "those of nvme always have a write cache")
	s.only(path, "rotational", d.Bus == "ahci" || d.Bus == "virtio-scsi" || !d.Rotational, "only disks of ahci and virtio-scsi say so")
	switch {
	case d.Bus == "ahci" && d.LogicalBlock != 512:
		s.failAt(path+".logical_block_size", "%d is not allowed; disks of ahci have 512", d.LogicalBlock)
	case d.Protection > 0 && d.Size > 16<<30:
		s.failAt(path+".size", "%s is not allowed; a disk with protection information has at most 16GiB, since its metadata take room of the host", d.Size)
	}
	for _, other := range s.body.Disks {
		if d.Serial != "" && other.ID != d.ID && other.Serial == d.Serial {
			s.failAt(path+".serial", "two disks have the serial number %s", d.Serial)
		}
	}
}

func (s *stack) add(name string, d device) {
	s.names = append(s.names, name)
	s.devices[name] = &d
}

// nameLayers gives layers without a name that of their kind.
func (s *stack) nameLayers() {
	taken := map[string]bool{}
	for _, disk := range s.body.Disks {
		taken[disk.ID] = true
	}
	for i, l := range s.body.Stack {
		if l.Name != "" && taken[l.Name] {
			s.failAt(layerPath(i, l)+".name", "%s is the name of another disk or layer, too", l.Name)
		}
		taken[l.Name] = true
	}
	for i := range s.body.Stack {
		l := &s.body.Stack[i]
		kind := l.Kind()
		for n := 1; l.Name == ""; n++ {
			name := kind
			if n > 1 {
				name = fmt.Sprint(kind, n)
			}
			if !taken[name] {
				l.Name, taken[name] = name, true
			}
		}
	}
}

func layerPath(i int, l scenarios.Layer) string { return fmt.Sprintf("stack[%d].%s", i, l.Kind()) }

// place puts a layer on what is below it.
func (s *stack) place(i int) {
	if s.err != nil {
		return
	}
	l := &s.body.Stack[i]
	path, kind := layerPath(i, *l), l.Kind()
	s.lieOn(i, l, path)
	for j, name := range l.On {
		at := path
		if s.said(path + ".on") {
			at = fmt.Sprintf("%s.on[%d]", path, j)
		}
		below := s.devices[name]
		switch {
		case below == nil:
			s.failAt(at, "there is no disk or layer %s below it%s; there are: %s", quote(name), text.DidYouMean(name, s.names), orNone(s.names))
			return
		case kind == "file" && below.kind != "fs":
			s.failAt(at, "a file lies on a file system, and %s is none", name)
		case kind != "file" && below.kind == "fs":
			s.failAt(at, "%s is a file system; %s lies on a device, or on a loop device over a file", name, kind)
		case kind != "loop" && below.kind == "file":
			s.failAt(at, "%s is a file; only a loop device lies on one", name)
		case below.under != "" && !(kind == "file" || kind == "dm" && s.devices[below.under].kind == "dm"):
			s.failAt(at, "%s lies under %s already", name, below.under)
		}
		below.under = l.Name
	}
	if s.err == nil {
		d := device{path: path, kind: kind}
		s.layer(path, l, &d)
		s.add(l.Name, d)
	}
}

// lieOn fills in what a layer lies on where the file does not say it.
func (s *stack) lieOn(i int, l *scenarios.Layer, path string) {
	alone := l.Brd != nil || l.Zram != nil || l.NullBlk != nil || l.SCSIDebug != nil
	switch {
	case alone && l.On != nil:
		s.failAt(path+".on", "%s lies on nothing; leave it out", l.Kind())
	case alone || l.On != nil:
	case l.DM != nil:
		for _, line := range l.DM.Table {
			for _, p := range scenarios.Placeholders(line) {
				if s.devices[p.Name] != nil && !slices.Contains(l.On, p.Name) {
					l.On = append(l.On, p.Name)
				}
			}
		}
	case i > 0:
		l.On = []string{s.body.Stack[i-1].Name}
	case len(s.body.Disks) == 0:
		s.failAt(path, "there is no disk that it could lie on")
	default:
		for _, disk := range s.body.Disks {
			l.On = append(l.On, disk.ID)
		}
	}
}

// resolve refuses a name that no disk or layer has.
func (s *stack) resolve(ref reference) {
	switch ref.kind {
	case "ARGUMENT", "PATH":
		for _, p := range scenarios.Placeholders(ref.value) {
			d := s.devices[p.Name]
			s.line = s.lineOf(ref, p)
			switch {
			case d == nil:
				s.failAt(ref.path, "%s: there is no disk or layer %s%s; there are: %s; write {{ for a brace", p, quote(p.Name), text.DidYouMean(p.Name, s.names), orNone(s.names))
			case p.Part != "" && !slices.Contains(scenarios.Parts, p.Part):
				s.failAt(ref.path, "%s: %s is not known%s; allowed: %s; write {{ for a brace", p, quote(p.Part), text.DidYouMean(p.Part, scenarios.Parts), keyList(scenarios.Parts))
			case p.Part == "mount" && d.kind != "fs":
				s.failAt(ref.path, "%s: %s is mounted nowhere; it is no file system", p, p.Name)
			case d.kind == "fs" && p.Part != "" && p.Part != "mount":
				s.failAt(ref.path, "%s: a file system has no device of its own; name the layer below it", p)
			case d.kind == "file" && p.Part != "":
				s.failAt(ref.path, "%s: %s is a file; {%s} is its path", p, p.Name, p.Name)
			}
		}
		s.line = 0
		return
	}
	d := s.devices[ref.value]
	var names []string
	for _, name := range s.names {
		kind := s.devices[name].kind
		if ref.kind == "DEVICE" || kind != "snapshot" && (kind == "disk") == (ref.kind == "DISK") && (ref.kind != "FILESYSTEM" || kind == "fs") {
			names = append(names, name)
		}
	}
	if d == nil || !slices.Contains(names, ref.value) {
		what := map[string]string{"DISK": "disk", "LAYER": "layer", "DEVICE": "disk or layer", "FILESYSTEM": "file system"}[ref.kind]
		s.failAt(ref.path, "there is no %s %s%s; there are: %s", what, quote(ref.value), text.DidYouMean(ref.value, names), orNone(names))
	}
}

// lineOf is the line of a placeholder in a text of several lines, 0 where its
// value's line will do.
func (s *stack) lineOf(ref reference, p scenarios.Placeholder) int {
	n := s.at[ref.path]
	if n == nil || n.Style&yaml.LiteralStyle == 0 {
		return 0
	}
	before, _, _ := strings.Cut(n.Value, p.String())
	return n.Line + 1 + strings.Count(before, "\n")
}

// layer holds a layer against the rules of its kind, and finds out its size.
func (s *stack) layer(path string, l *scenarios.Layer, d *device) {
	switch {
	case l.MD != nil:
		s.md(path, l, d)
	case l.LVM != nil:
		s.lvm(path, l, d)
	case l.DM != nil:
		s.dm(path, l, d)
	case l.Crypt != nil:
		s.one(path, l)
		if l.Crypt.Type == "plain" && l.Crypt.Integrity != "" {
			s.failAt(path+".integrity", "only luks2 has it; leave it out")
		}
		s.only(path, "format", l.Crypt.Type != "plain", "a plain device has no header that could be formatted; args are those of open")
		d.size = s.below(l).size
	case l.Bcache != nil:
		if len(l.On) != 2 {
			s.failAt(path, "it lies on %d, but bcache lies on two: the backing device and the cache", len(l.On))
		}
		d.size = s.below(l).size
	case l.Partition != nil:
		s.partition(path, l, d)
	case l.Loop != nil:
		s.one(path, l)
		d.size, d.exact = s.below(l).size, s.below(l).exact
	case l.Brd != nil:
		d.size, d.exact = l.Brd.Size, true
		for _, other := range s.body.Stack {
			if other.Brd != nil && other.Brd.Size != l.Brd.Size {
				s.failAt(path+".size", "it is %s, and %s is %s; the module makes all RAM disks of one size", l.Brd.Size, other.Name, other.Brd.Size)
			}
		}
	case l.Zram != nil:
		d.size, d.exact = l.Zram.Size, true
	case l.NullBlk != nil:
		d.size, d.exact = l.NullBlk.Size, true
		for _, key := range []string{"zone_size", "zone_capacity", "max_open", "max_active", "conventional"} {
			s.only(path, key, l.NullBlk.Zoned, "only a zoned device has zones")
		}
		switch size := max(mib, l.NullBlk.ZoneSize); {
		case size&(size-1) != 0:
			s.failAt(path+".zone_size", "%s is not allowed; Linux takes zones whose size is a power of two", size)
		case l.NullBlk.Capacity > size:
			s.failAt(path+".zone_capacity", "%s is not allowed; it is at most the zone's size, %s", l.NullBlk.Capacity, size)
		case l.NullBlk.MaxActive > 0 && l.NullBlk.MaxOpen > l.NullBlk.MaxActive:
			s.failAt(path+".max_open", "%d is not allowed; open zones are active, too, and %d can be", l.NullBlk.MaxOpen, l.NullBlk.MaxActive)
		}
	case l.SCSIDebug != nil:
		d.size, d.exact = l.SCSIDebug.Size, true
		for _, other := range s.body.Stack {
			if other.Name == l.Name {
				break
			}
			if other.SCSIDebug != nil && !reflect.DeepEqual(other.SCSIDebug, l.SCSIDebug) {
				s.failAt(path, "it is not as %s; the module makes all its disks of one size, block size and args", other.Name)
			}
		}
	case l.FS != nil:
		s.fs(path, l)
	case l.File != nil:
		s.file(path, l, d)
	}
}

// below is what a layer lies on first.
func (s *stack) below(l *scenarios.Layer) device {
	if len(l.On) == 0 || s.devices[l.On[0]] == nil {
		return device{}
	}
	return *s.devices[l.On[0]]
}

// one refuses a layer that lies on more than one device.
func (s *stack) one(path string, l *scenarios.Layer) {
	if len(l.On) != 1 {
		s.failAt(s.onPath(path), "it lies on %s, but %s lies on one device; say which by on", strings.Join(l.On, " and "), l.Kind())
	}
}

// onPath is where it is said what a layer lies on.
func (s *stack) onPath(path string) string {
	if s.said(path + ".on") {
		return path + ".on"
	}
	return path
}

// only refuses a key that has no meaning with the rest.
func (s *stack) only(path, key string, meant bool, why string) {
	if !meant && s.said(path+"."+key) {
		s.failAt(path+"."+key, "%s; leave it out", why)
	}
}

// atLeast refuses a layer over too few devices.
func (s *stack) atLeast(path string, have, least int, what string) {
	if have < least {
		s.failAt(s.onPath(path), "%s lies on at least %d devices, and there are %d", what, least, have)
	}
}

func (s *stack) md(path string, l *scenarios.Layer, d *device) {
	md := l.MD
	level := md.Level
	parity := level == "raid4" || level == "raid5" || level == "raid6"
	redundant := parity || level == "raid1" || level == "raid10"
	members := len(l.On) - md.Spares
	if md.Journal {
		members--
	}
	if md.Spares > 0 {
		s.only(path, "spares", redundant, level+" has no spares")
	}
	s.only(path, "journal", parity || !md.Journal, "only raid4, raid5 and raid6 have a journal")
	least := 2
	if level == "raid6" {
		least = 4
	}
	what := "a " + level + " array"
	if md.Spares > 0 || md.Journal {
		what += " without its spares and journal"
	}
	s.atLeast(path, members, least, what)
	s.only(path, "bitmap", redundant || md.Bitmap == "none", level+" has no bitmap")
	s.only(path, "chunk", level != "raid1", "raid1 has no chunks")
	s.only(path, "layout", level == "raid0" || level == "raid10" || level == "raid5" || level == "raid6", level+" has one layout")
	s.only(path, "assume_clean", redundant, level+" has nothing to resync")
	s.only(path, "write_mostly", level == "raid1", "only raid1 has write-mostly members")
	s.members(path, "write_mostly", md.WriteMostly, members, members)
	most := map[string]int{"raid1": members - 1, "raid4": 1, "raid5": 1, "raid6": 2, "raid10": members - 1}[level]
	s.only(path, "missing", redundant, level+" needs all its members")
	s.members(path, "missing", md.Missing, members, most)
	if members < 1 {
		s.failAt(s.onPath(path), "no device is left for the array besides its spares and journal")
	}
	switch {
	case md.WriteBehind > 0 && md.Bitmap != "internal":
		s.failAt(path+".write_behind", "it needs bitmap: internal")
	case md.WriteBehind > 0 && len(md.WriteMostly) == 0:
		s.failAt(path+".write_behind", "it needs write_mostly members")
	case md.Journal && md.Bitmap != "none":
		s.failAt(path+".journal", "an array has a journal or a bitmap")
	}
	s.consistency(path, md)
	d.size = s.mdSize(l, members)
}

func (s *stack) consistency(path string, md *scenarios.MD) {
	at := path + ".consistency"
	switch {
	case md.Bitmap == "lockless" && md.Metadata == "0.90":
		s.failAt(path+".bitmap", "metadata of 0.90 has no lockless bitmap")
	case md.Consistency == "bitmap" && md.Bitmap == "none":
		s.failAt(at, "it needs a bitmap")
	case md.Consistency == "journal" && !md.Journal:
		s.failAt(at, "it needs journal: true")
	case md.Consistency == "ppl" && md.Level != "raid5":
		s.failAt(at, "only raid5 has a ppl")
	case md.Consistency == "ppl" && (md.Bitmap != "none" || md.Journal):
		s.failAt(at, "with a ppl there is neither a bitmap nor a journal")
	case (md.Consistency == "ppl" || md.Journal) && md.Metadata == "0.90":
		s.failAt(path+".metadata", "0.90 has no room for a ppl or a journal")
	}
}

// members refuses places that no member has.
func (s *stack) members(path, key string, places []int, members, most int) {
	for i, place := range places {
		at := fmt.Sprintf("%s.%s[%d]", path, key, i)
		switch {
		case place >= members:
			s.failAt(at, "there is no member %d; places are from 0 to %d", place, members-1)
		case slices.Contains(places[:i], place):
			s.failAt(at, "%d is here twice", place)
		case i >= most:
			s.failAt(at, "the array does not work without more than %d of its members", most)
		}
	}
}

func (s *stack) lvm(path string, l *scenarios.Layer, d *device) {
	lvm := l.LVM
	t := lvm.Type
	is := func(types ...string) bool { return slices.Contains(types, t) }
	if t == "mirror" {
		// The kernel behaves differently with each (dm table's
		// handle_errors), so a mirror has to say them.
		switch {
		case !s.said(path + ".log"):
			s.failAt(path, "the key log is missing; a mirror has one: disk, core")
		case !s.said(path + ".dmeventd"):
			s.failAt(path, "the key dmeventd is missing; a mirror is monitored (true) or not (false)")
		}
	}
	s.only(path, "log", is("mirror"), "only a mirror has a log")
	s.only(path, "dmeventd", !lvm.Dmeventd || !is("linear", "striped", "raid0"), "a "+t+" volume has nothing to monitor")
	s.only(path, "mirrors", is("mirror", "raid1", "raid10"), "a "+t+" volume has no mirrors")
	s.only(path, "stripes", is("striped", "raid0", "raid4", "raid5", "raid6", "raid10"), "a "+t+" volume has no stripes")
	s.only(path, "stripe_size", is("striped", "raid0", "raid4", "raid5", "raid6", "raid10"), "a "+t+" volume has no stripes")
	s.only(path, "region_size", is("mirror", "raid1", "raid4", "raid5", "raid6", "raid10"), "a "+t+" volume has no regions")
	s.only(path, "nosync", is("mirror", "raid1", "raid4", "raid5", "raid6", "raid10"), "a "+t+" volume has no first resync")
	s.only(path, "integrity", is("raid1", "raid4", "raid5", "raid6", "raid10"), "only a raid has integrity under its legs")
	s.only(path, "chunk", is("thin", "snapshot", "cache"), "a "+t+" volume has no chunks")
	s.only(path, "extra", is("thin", "snapshot", "cache", "writecache", "vdo"), "nothing stands beside a "+t+" volume")
	s.only(path, "cache_mode", is("cache"), "only a cache has it")
	switch {
	case is("mirror", "raid1"):
		if lvm.Mirrors == 0 {
			lvm.Mirrors = 1
		}
		s.atLeast(path, len(l.On), lvm.Mirrors+1, fmt.Sprintf("a volume with %d legs", lvm.Mirrors+1))
	case is("striped", "raid0"):
		if lvm.Stripes == 0 {
			lvm.Stripes = max(len(l.On), 2)
		}
		s.atLeast(path, len(l.On), lvm.Stripes, fmt.Sprintf("a volume with %d stripes", lvm.Stripes))
	case is("raid4", "raid5", "raid6"):
		parity := 1
		if t == "raid6" {
			parity = 2
		}
		if lvm.Stripes == 0 {
			lvm.Stripes = max(len(l.On)-parity, parity+1)
		}
		if lvm.Stripes < parity+1 {
			s.failAt(path+".stripes", "%d is not allowed; %s has at least %d", lvm.Stripes, t, parity+1)
		}
		s.atLeast(path, len(l.On), lvm.Stripes+parity, fmt.Sprintf("a %s volume with %d stripes", t, lvm.Stripes))
	case t == "raid10":
		if lvm.Mirrors == 0 {
			lvm.Mirrors = 1
		}
		if lvm.Stripes == 0 {
			lvm.Stripes = max(len(l.On)/(lvm.Mirrors+1), 2)
		}
		s.atLeast(path, len(l.On), lvm.Stripes*(lvm.Mirrors+1), fmt.Sprintf("a raid10 volume with %d stripes of %d legs", lvm.Stripes, lvm.Mirrors+1))
	case is("thin", "snapshot", "cache", "writecache") && lvm.Extra == 0:
		lvm.Extra = lvm.Size
	}
	s.lvmRoom(path, l)
	d.size, d.exact = lvm.Size, true
}

func (s *stack) dm(path string, l *scenarios.Layer, d *device) {
	end := int64(0)
	for i, line := range l.DM.Table {
		at := fmt.Sprintf("%s.table[%d]", path, i)
		words := strings.Fields(line)
		if len(words) < 3 {
			s.failAt(at, "%s is no line START LENGTH TARGET ARGUMENTS…", quote(line))
			return
		}
		if _, ok := scenarios.TargetNeeds[words[2]]; !ok {
			names := scenarios.Targets()
			s.failAt(at, "there is no target %s%s; there are: %s", quote(words[2]), text.DidYouMean(words[2], names), keyList(names))
		}
		start, ok := s.sectors(words[0])
		if !ok {
			s.failAt(at, "the start %s is neither a number of sectors nor {name.sectors}", quote(words[0]))
		}
		length, known := s.sectors(words[1])
		switch {
		case start >= 0 && end >= 0 && start != end:
			s.failAt(at, "it starts at %d, but the line before it ends at %d", start, end)
		case !known || length == 0:
			s.failAt(at, "the length %s is neither a number of sectors nor {name.sectors}", quote(words[1]))
		case length < 0 || start < 0:
			end = -1
		default:
			end = start + length
		}
		for _, p := range scenarios.Placeholders(line) {
			if s.devices[p.Name] == nil {
				s.failAt(at, "there is no disk or layer %s below it%s; there are: %s", quote(p.Name), text.DidYouMean(p.Name, s.names), orNone(s.names))
			} else if !slices.Contains(l.On, p.Name) {
				s.failAt(at, "it names %s, which is not in on; leave on out, and it is what the table names", p.Name)
			}
		}
	}
	if end > 0 {
		d.size, d.exact = scenarios.Bytes(end)*512, true
	}
}

// sectors reads a number of sectors of a table: -1 where it is that of a device
// whose size is not known.
func (s *stack) sectors(word string) (n int64, ok bool) {
	if n, ok := scenarios.ParseInt(word); ok && n >= 0 && n < 1<<40 {
		return n, true
	}
	p := scenarios.Placeholders(word)
	if len(p) != 1 || p[0].Part != "sectors" || p[0].String() != word {
		return 0, false
	}
	if d := s.devices[p[0].Name]; d != nil && d.exact {
		return int64(d.size / 512), true
	}
	return -1, true
}

func (s *stack) partition(path string, l *scenarios.Layer, d *device) {
	s.one(path, l)
	p, disk := l.Partition, s.below(l)
	// A GPT is 34 sectors at the start and 33 at the end.
	if p.Start < 34*512 {
		s.failAt(path+".start", "%s is inside of the partition table; it may be at least %s", p.Start, scenarios.Bytes(34*512))
	}
	d.size, d.exact = p.Size, p.Size > 0
	if disk.size == 0 {
		return
	}
	room := disk.size - 33*512 - p.Start
	if room < max(p.Size, 512) {
		s.failAt(path, "the partition ends beyond %s, which is of %s with the table's copy at its end", l.On[0], disk.size)
	}
	if p.Size == 0 {
		d.size = room
	}
}

func (s *stack) fs(path string, l *scenarios.Layer) {
	fs := l.FS
	if fs.Type != "btrfs" {
		s.one(path, l)
		s.only(path, "profile", false, "only a btrfs has profiles")
	}
	if least := profileDevices[fs.Profile]; fs.Type == "btrfs" && len(l.On) < least {
		s.failAt(path+".profile", "%s lies on at least %d devices, and there are %d", fs.Profile, least, len(l.On))
	}
	sizes := map[string][]int{"ext4": {1024, 2048, 4096}, "xfs": {512, 1024, 2048, 4096}, "btrfs": {4096}, "f2fs": {4096}}[fs.Type]
	if fs.BlockSize != 0 && !slices.Contains(sizes, fs.BlockSize) {
		words := strings.Trim(strings.ReplaceAll(fmt.Sprint(sizes), " ", ", "), "[]")
		s.failAt(path+".block_size", "%d is not allowed for %s; allowed: %s", fs.BlockSize, fs.Type, words)
	}
	s.fsRoom(l, 0)
}

// profileDevices are how many devices a profile of btrfs lies on at least
// (mkfs.btrfs(8)).
var profileDevices = map[string]int{"raid0": 2, "raid1": 2, "raid1c3": 3, "raid1c4": 4, "raid10": 4, "raid5": 2, "raid6": 3}

func (s *stack) file(path string, l *scenarios.Layer, d *device) {
	s.one(path, l)
	if len(l.On) == 1 && !l.File.Sparse && s.err == nil {
		s.fsRoom(s.layerNamed(l.On[0]), l.File.Size)
	}
	d.size, d.exact = l.File.Size, true
}
