package language

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode"

	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/scenarios"
)

// steps holds steps against what the case has for them.
func (s *stack) steps(path string, steps []scenarios.Step, parallel bool) {
	for i := range steps {
		if s.err != nil {
			return
		}
		st := &steps[i]
		at := fmt.Sprintf("%s[%d].%s", path, i, st.Kind())
		s.noteChanged(*st)
		if !parallel { // what goes before what is known
			s.noteStopped(*st)
		}
		switch {
		case st.IO != nil:
			s.io(at, st.IO)
		case st.Zone != nil:
			s.zone(at, st.Zone)
		case st.Linked != nil:
			s.linked(at, st.Linked)
		case st.Act != nil:
			s.act(at, st.Act)
			s.release(at, st.Act, parallel)
		case st.Exec != nil:
			s.verdict(at, st.Exec.Expect)
			s.exec(at, st.Exec)
		case st.Run != nil:
			s.verdict(at, st.Run.Expect)
		case st.Wait != nil:
			s.wait(at, st.Wait)
		case st.Check != nil:
			s.checkStep(at, st.Check)
		case st.Queue != nil:
			s.queue(at, st.Queue)
		case st.CPU != nil:
			s.exactly(at, "offline", "online")
			s.verdict(at, st.CPU.Expect)
		case st.Sysctl != nil:
			s.verdict(at, st.Sysctl.Expect)
		case (st.Fault != nil || st.Heal != nil) && parallel:
			s.failAt(at, "the host does it between two steps, and these are done by the guest at the same time; put it before them, with after, count or delay")
		case st.Fault != nil:
			s.fault(at, st.Fault)
		case st.PowerCut != nil && parallel:
			s.failAt(at, "the power can't fail in one of several lists of steps")
		case st.PowerCut != nil:
			s.powerCut(at, st.PowerCut)
		case st.Repeat != nil:
			s.repeat(at, st.Repeat, parallel)
		case st.Parallel != nil && parallel:
			s.failAt(at, "it can't stand in another parallel")
		case st.Parallel != nil:
			if len(st.Parallel.Groups) < 2 {
				s.failAt(at, "one list has nothing to run beside; have at least two")
			}
			for g, group := range st.Parallel.Groups {
				s.steps(fmt.Sprintf("%s.groups[%d]", at, g), group, true)
			}
		}
	}
}

// maxSteps bounds a case whose steps are repeated.
const maxSteps = 1024

// repeat holds the steps against what the first round finds, and against what it
// leaves behind.
func (s *stack) repeat(path string, r *scenarios.Repeat, parallel bool) {
	if s.repeating {
		s.failAt(path, "it can't stand in another repeat")
		return
	}
	n := len(r.Steps)
	for _, st := range r.Steps {
		for _, group := range st.Groups() {
			n += len(group)
		}
	}
	if s.repeated += n * r.Times; s.repeated > maxSteps {
		s.failAt(path+".times", "the case has %d repeated steps; at most %d are allowed", s.repeated, maxSteps)
	}
	s.repeating = true
	defer func() { s.repeating = false }()
	for range 2 {
		s.steps(path+".steps", r.Steps, parallel)
	}
}

// noteChanged notes what a step may give another size, or make something else
// of: what it names, and all that lies on that. Steps at the same time are in no
// order.
func (s *stack) noteChanged(st scenarios.Step) {
	switch {
	case st.Act != nil && slices.Contains([]string{"grow", "reshape", "reload", "resume", "lvconvert", "lvchange", "merge", "assemble", "rescan"}, st.Act.Do):
		s.mayChange(st.Act.To)
	case st.Exec != nil:
		s.mayChange(s.named(st.Exec.Args...)...)
	case st.Run != nil:
		s.mayChange(s.named(st.Run.Lines)...)
	case st.Write != nil:
		s.mayChange(s.named(st.Write.To)...)
	case st.Parallel != nil:
		for _, t := range slices.Concat(st.Parallel.Groups...) {
			s.noteChanged(t)
		}
	case st.Repeat != nil:
		for _, t := range st.Repeat.Steps {
			s.noteChanged(t)
		}
	}
}

// named are the disks and layers of which texts speak: by a placeholder, or as
// tools know a device, by its name alone.
func (s *stack) named(texts ...string) []string {
	var out []string
	for _, t := range texts {
		for _, p := range scenarios.Placeholders(t) {
			out = append(out, p.Name)
		}
		for _, word := range strings.FieldsFunc(t, func(r rune) bool {
			return !strings.ContainsRune("_-", r) && !unicode.IsLetter(r) && !unicode.IsDigit(r)
		}) {
			if s.layerNamed(word) != nil {
				out = append(out, word)
			}
		}
	}
	return out
}

func (s *stack) mayChange(names ...string) {
	for _, name := range names {
		s.changed[name] = true
	}
	for _, l := range s.body.Stack {
		if l.File != nil {
			continue // it is as large as it is, whatever lies below
		}
		s.changed[l.Name] = s.changed[l.Name] || slices.ContainsFunc(l.On, func(below string) bool { return s.changed[below] })
	}
}

// noteStopped notes what is stopped after a step.
func (s *stack) noteStopped(st scenarios.Step) {
	switch a := st.Act; {
	case st.PowerCut != nil: // all is put together again, by a new kernel
		clear(s.stopped)
		clear(s.held)
	case a != nil && a.Do == "stop" && a.Expect == "ok":
		s.stopped[a.To] = true
	case a != nil && a.Do == "assemble":
		delete(s.stopped, a.To)
	case a != nil && a.Do == "hold":
		s.held[a.To]++
	}
}

// release refuses to close what no step before holds open.
func (s *stack) release(path string, a *scenarios.Act, parallel bool) {
	if a.Do != "release" || parallel {
		return
	}
	if s.held[a.To]--; s.held[a.To] < 0 {
		s.failAt(path, "no step before it holds %s", a.To)
	}
}

// notStopped refuses to look at what was stopped.
func (s *stack) notStopped(path, name string) {
	if s.stopped[name] {
		s.failAt(path, "%s was stopped by a step before; assemble it first", name)
	}
}

// verdict refuses a verdict for what can't happen.
func (s *stack) verdict(path, expect string) {
	s.only(path, "verdict", expect != "any", "however it ends is right")
}

// exactly refuses none or several of some keys.
func (s *stack) exactly(path string, keys ...string) {
	var said []string
	for _, key := range keys {
		if s.said(path + "." + key) {
			said = append(said, key)
		}
	}
	switch len(said) {
	case 0:
		s.failAt(path, "one of the keys %s is missing", keyList(keys))
	case 1:
	default:
		s.failAt(path+"."+said[1], "%s and %s exclude each other; have two steps", said[0], said[1])
	}
}

// exec refuses a tool that no guest has.
func (s *stack) exec(path string, e *scenarios.Exec) {
	name := e.Args[0]
	if e.File != "" || strings.ContainsAny(name, "/{") || scenarios.HasCommand(name) {
		return
	}
	all := append(scenarios.ToolNames(), scenarios.ShellCommands...)
	s.failAt(path+".args[0]", "the guest has no %s%s; it has LVM's tools, %s; name one of your own by file", quote(name), text.DidYouMean(name, all), keyList(all))
}

func (s *stack) io(path string, o *scenarios.IO) {
	if s.defaultTarget(path, &o.On); s.err != nil {
		return
	}
	target := s.devices[o.On]
	if target == nil {
		return // the reference is bad, and that is said already
	}
	if target.kind == "fs" {
		s.failAt(s.either(path, "on"), "%s is a file system; I/O goes to a file on it, or to a device", o.On)
	}
	moves := o.Reads() || o.Writes()
	ring := strings.HasPrefix(o.Op, "io_uring")
	queued := moves && (strings.HasPrefix(o.Op, "libaio") || ring)
	vectored := queued || o.Op == "preadv2" || o.Op == "pwritev2"
	s.only(path, "flags", vectored, "only preadv2 and pwritev2, and reads and writes of libaio and io_uring, have flags")
	s.only(path, "vectors", vectored, "only preadv2, pwritev2, libaio and io_uring have vectors")
	s.only(path, "depth", queued || o.Depth == 1, "only reads and writes of libaio and io_uring have a depth")
	s.ring(path, o, ring && moves)
	s.only(path, "mode", o.Op == "fallocate", "only fallocate has a mode")
	s.only(path, "memory_offset", moves || o.MemoryOffset == 0, o.Op+" has no buffer")
	s.only(path, "unmapped", moves || !o.Unmapped, o.Op+" has no buffer")
	if slices.Contains(o.Flags, "APPEND") && target.kind != "file" {
		s.failAt(path+".flags", "APPEND goes to the end of a file, and %s is none", o.On)
	}
	if slices.Contains(o.Flags, "APPEND") && (o.Threads > 1 || o.Depth > 1 || o.Random || o.Range > 0 || o.Seconds > 0) {
		s.failAt(path+".flags", "APPEND goes one after the other; leave threads, depth, random, range and seconds out")
	}
	s.only(path, "changing", o.Writes() || !o.Changing, "only what writes has a buffer to change")
	if o.Changing && o.Unmapped {
		s.failAt(path+".changing", "a part of the buffer is not mapped; leave unmapped out")
	}
	if o.Changing && slices.Contains(o.Flags, "ATOMIC") {
		s.failAt(path+".changing", "a write of a buffer that changes is no whole; leave ATOMIC out")
	}
	s.only(path, "range", o.Count > 1, "it has a meaning with count only")
	s.only(path, "random", o.Count > 1 || !o.Random, "it has a meaning with count only")
	if o.Range > 0 && int64(o.Range) < o.Length {
		s.failAt(path+".range", "%s is less than the length, %d", o.Range, o.Length)
	}
	if o.Op == "fallocate" && target.kind != "file" && o.Mode != "punch-hole" && o.Mode != "zero-range" {
		s.failAt(s.either(path, "mode"), "on a device fallocate has the modes punch-hole and zero-range")
	}
	if (o.Op == "discard" || o.Op == "zeroes") && target.kind == "file" {
		s.failAt(path+".op", "%s goes to a device, and %s is a file; use fallocate", o.Op, o.On)
	}
	if len(o.Vectors) > 0 {
		sum := int64(0)
		for _, v := range o.Vectors {
			sum += v.Length
		}
		if s.said(path+".length") && sum != o.Length {
			s.failAt(path+".length", "it is %d, but the lengths of the vectors add up to %d", o.Length, sum)
		}
		if sum == 0 {
			s.failAt(path+".vectors", "they have no byte")
		}
		o.Length = sum
		s.only(path, "memory_offset", o.MemoryOffset == 0, "each vector has its own")
	}
	s.ioRoom(path, o, *target)
	s.ioExpect(path, o)
}

// ring holds what io_uring alone has against the rest.
func (s *stack) ring(path string, o *scenarios.IO, transfers bool) {
	s.only(path, "fixed", transfers || strings.HasPrefix(o.Op, "io_uring") && !slices.Contains(o.Fixed, "buffers"), "only reads and writes of io_uring have fixed buffers, and only io_uring has fixed files")
	s.only(path, "polled", transfers || !o.Polled, "only reads and writes of io_uring are polled")
	fixed := slices.Contains(o.Fixed, "buffers")
	switch {
	case fixed && len(o.Vectors) > 0:
		s.failAt(path+".fixed", "a fixed buffer is one piece; leave vectors out")
	case fixed && o.Unmapped:
		s.failAt(path+".fixed", "a fixed buffer must be mapped; leave unmapped out")
	case o.Polled && !o.Direct:
		s.failAt(path+".polled", "only direct I/O is polled; it needs direct: true")
	case o.Polled && slices.Contains(o.Flags, "HIPRI"):
		s.failAt(s.either(path, "flags"), "polled says it; leave HIPRI out")
	}
	if !o.Polled {
		return
	}
	for _, name := range s.under(o.On) {
		if !s.canPoll(name) {
			s.failAt(path+".polled", "%s can't be polled; polled I/O takes disks with bus: nvme and poll_queues: 1, or null_blk devices with poll_queues: 1", name)
			return
		}
	}
}

// under are the names of what is at the bottom of a part of the stack.
func (s *stack) under(name string) []string {
	l := s.layerNamed(name)
	if l == nil || len(l.On) == 0 {
		return []string{name}
	}
	var out []string
	for _, below := range l.On {
		out = append(out, s.under(below)...)
	}
	return out
}

// canPoll says whether a disk, or a layer that lies on nothing, has queues to
// poll.
func (s *stack) canPoll(name string) bool {
	if l := s.layerNamed(name); l != nil {
		return l.NullBlk != nil && l.NullBlk.PollQueues > 0
	}
	return slices.ContainsFunc(s.body.Disks, func(d scenarios.Disk) bool { return d.ID == name && d.PollQueues > 0 })
}

// linked holds a chain against its rules.
func (s *stack) linked(path string, l *scenarios.Linked) {
	if len(l.IO) < 2 {
		s.failAt(s.either(path, "io"), "one I/O is no chain; have at least two")
	}
	for i := range l.IO {
		if s.err != nil {
			return
		}
		o := &l.IO[i]
		at := fmt.Sprintf("%s.io[%d]", path, i)
		s.io(at, o)
		s.only(at, "count", o.Count == 1, "each of a chain is one I/O")
		s.only(at, "threads", o.Threads == 1, "a chain is one thread's")
		s.only(at, "seconds", o.Seconds == 0, "each of a chain is one I/O")
		s.only(at, "changing", !o.Changing, "a chain's buffers stay as they are")
		s.only(at, "depth", o.Depth == 1, "a chain is given to the kernel as a whole")
		if !strings.HasPrefix(o.Op, "io_uring") {
			s.failAt(at+".op", "%s is none of io_uring's; a chain has io_uring-read, io_uring-write, io_uring-fsync and io_uring-fdatasync", o.Op)
		}
		if o.Polled != l.IO[0].Polled {
			s.failAt(s.either(at, "polled"), "a chain is polled as a whole, or not at all")
		}
	}
}

// zone holds an operation on zones against what it is done to.
func (s *stack) zone(path string, z *scenarios.Zone) {
	s.only(path, "verdict", z.Condition != "" || z.WritePointer != nil, "it is that of condition and write_pointer")
	s.only(path, "zone", z.Do != "reset-all", "it is done to all zones")
	s.only(path, "count", z.Do != "reset-all", "it is done to all zones")
	s.defaultTarget(path, &z.On)
	on := s.devices[z.On]
	if on == nil {
		return
	}
	if on.kind == "fs" || on.kind == "file" {
		s.failAt(s.either(path, "on"), "%s is %s, and zones are a device's", z.On, withArticle(on.kind))
		return
	}
	for _, name := range s.under(z.On) {
		size, zoned := s.zoned(name)
		switch {
		case !zoned:
			s.failAt(s.either(path, "on"), "%s is not zoned; zoned are disks with bus: nvme and zones, and null_blk devices with zoned: true", name)
		case z.Zone >= int64(on.size/size) && on.size > 0:
			s.failAt(path+".zone", "%d is not allowed; %s has %d zones, from 0", z.Zone, z.On, on.size/size)
		case z.Count > int64(on.size/size)-z.Zone && on.size > 0:
			s.failAt(path+".count", "%d is not allowed; %s has %d zones", z.Count, z.On, on.size/size)
		case z.WritePointer != nil && *z.WritePointer > size:
			s.failAt(path+".write_pointer", "%s is beyond the end of a zone of %s", *z.WritePointer, size)
		}
	}
}

// zoned gives the size of the zones of a disk, or of a layer that lies on
// nothing.
func (s *stack) zoned(name string) (scenarios.Bytes, bool) {
	if l := s.layerNamed(name); l != nil {
		return max(mib, s.nullZone(l)), l.NullBlk != nil && l.NullBlk.Zoned
	}
	for _, d := range s.body.Disks {
		if d.ID == name && d.Zones.Size > 0 {
			return d.Zones.Size, true
		}
	}
	return 1, false
}

func (s *stack) nullZone(l *scenarios.Layer) scenarios.Bytes {
	if l.NullBlk == nil {
		return 0
	}
	return l.NullBlk.ZoneSize
}

// either is the path of a key, or of what it would stand in.
func (s *stack) either(path, key string) string {
	if s.said(path + "." + key) {
		return path + "." + key
	}
	return path
}

// defaultTarget fills in where a step goes that does not say it.
func (s *stack) defaultTarget(path string, on *string) {
	switch {
	case *on != "":
	case len(s.body.Stack) > 0:
		*on = s.body.Stack[len(s.body.Stack)-1].Name
	case len(s.body.Disks) == 1:
		*on = s.body.Disks[0].ID
	default:
		s.failAt(path, "the key on is missing: there is no stack, and there are %d disks", len(s.body.Disks))
	}
}

// ioRoom refuses I/O outside of its target, and a buffer that does not fit.
func (s *stack) ioRoom(path string, o *scenarios.IO, target device) {
	if strings.HasSuffix(o.Op, "fsync") || strings.HasSuffix(o.Op, "fdatasync") {
		return
	}
	// The buffer has to fit into the guest beside everything else.
	if buffer := int64(s.body.Machine.Memory) / 4; (o.Reads() || o.Writes()) && o.Length > buffer/int64(o.Depth)/int64(o.Threads) {
		s.failAt(path+".length", "%d is not allowed; buffers may have at most a quarter of the machine's memory, %d", o.Length, buffer)
	}
	size := int64(target.size)
	if !target.exact || s.changed[o.On] || target.kind == "file" && (o.Writes() || o.Op == "fallocate") {
		return // a file grows
	}
	what := map[bool]string{true: "file", false: "device"}[target.kind == "file"]
	total := o.Length
	if o.Range > 0 {
		total = max(o.Length, int64(o.Range))
	} else if o.Count > 1 {
		if o.Length > size/o.Count {
			s.failAt(s.either(path, "count"), "%d times %d bytes are more than the %s of %s has; give a range in which the places begin again", o.Count, o.Length, what, target.size)
			return
		}
		total = o.Length * o.Count
	}
	switch {
	case o.Offset >= size:
		s.failAt(path+".offset", "%d is not allowed; it may be from 0 to %d, inside the %s of %s", o.Offset, size-1, what, target.size)
	case o.Length > size:
		s.failAt(path+".length", "%d is not allowed; it may be from 1 to %d, the size of the %s", o.Length, size, what)
	case total > size-o.Offset:
		s.failAt(path+".length", "%d bytes from offset %d go beyond the end of the %s of %s", total, o.Offset, what, target.size)
	}
}

// ioExpect fills in the outcomes that pass.
func (s *stack) ioExpect(path string, o *scenarios.IO) {
	at := path + ".expect"
	if !s.said(at) {
		at = "expect"
		o.Expect = s.body.Expect
	}
	if !s.said(at) {
		o.Expect = scenarios.Expect{Aligned: []string{"data"}, Misaligned: []string{"data"}}
	}
	if unit := s.body.Require.Alignment(); len(o.Outcomes(unit)) == 0 {
		class := "misaligned"
		if o.Aligned(unit) {
			class = "aligned"
		}
		s.failAt(at, "the key %s is missing, and %s is %s (offset %d, length %d, memory offset %d)", class, path, class, o.Offset, o.Length, o.MemoryOffset)
	}
}

// holdable is what can be opened.
const holdable = "disk md lvm dm crypt bcache partition loop brd zram null_blk scsi_debug file"

// acts says of each act which kinds it is done to, to which of them it is about
// a member, and what is done: ARGS are those of the step.
var acts = map[string]struct{ kinds, member, does string }{
	"fail":      {"md", "md", "`mdadm DEVICE --fail MEMBER ARGS`"},
	"remove":    {"md dm lvm crypt", "md", "`mdadm DEVICE --remove MEMBER ARGS`; `dmsetup remove`"},
	"re-add":    {"md", "md", "`mdadm DEVICE --re-add MEMBER ARGS`"},
	"add":       {"md", "md", "`mdadm DEVICE --add MEMBER ARGS`"},
	"replace":   {"md", "md", "`mdadm DEVICE --replace MEMBER ARGS`"},
	"grow":      {"md lvm fs partition", "", "`mdadm --grow DEVICE ARGS`, such as `--size=max`; `lvextend ARGS`, such as `-L, +8MiB`; `resize2fs DEVICE ARGS`, `xfs_growfs ARGS`; of a partition a new table, and `BLKPG_RESIZE_PARTITION`, also while it is in use"},
	"reshape":   {"md", "", "`mdadm --grow DEVICE ARGS` with what the keys say"},
	"stop":      {"md lvm dm crypt", "", "`mdadm --stop`; `vgchange -an`; `dmsetup remove`; `cryptsetup close`"},
	"assemble":  {"md lvm crypt", "", "`mdadm --assemble --run DEVICE ARGS` with all members; `vgchange -ay`; `cryptsetup open`"},
	"check":     {"md lvm", "", "`check` to `md/sync_action`, `lvchange --syncaction check`; and it waits for the end"},
	"repair":    {"md lvm", "", "`repair` to `md/sync_action`, and it waits for the end; `lvconvert --repair ARGS`"},
	"scrub":     {"md lvm fs", "", "as check; `btrfs scrub start -B`"},
	"wait-idle": {"md lvm", "", "it waits until nothing is resynced, rebuilt, reshaped or checked"},
	"pvmove":    {"lvm", "lvm", "`pvmove ARGS MEMBER`, which ends when all is moved"},
	"lvconvert": {"lvm", "", "`lvconvert ARGS`"},
	"lvchange":  {"lvm", "", "`lvchange ARGS`"},
	"snapshot":  {"lvm", "", "`lvcreate --snapshot -L EXTRA -n snap ARGS`: `/dev/LAYER/snap`, or what the key snapshot says in place of snap"},
	"merge":     {"lvm", "", "`lvconvert --merge` of that snapshot"},
	"suspend":   {"dm lvm crypt", "", "`dmsetup suspend ARGS`"},
	"resume":    {"dm lvm crypt", "", "`dmsetup resume ARGS`"},
	"reload":    {"dm lvm crypt", "", "`dmsetup suspend`, `dmsetup reload` with ARGS as the table's lines, `dmsetup resume`"},
	"message":   {"dm lvm crypt", "", "`dmsetup message DEVICE 0 ARGS`"},
	"remount":   {"fs", "", "`mount -o remount,ARGS`"},
	"fstrim":    {"fs", "", "`fstrim`"},
	"umount":    {"fs", "", "`umount`"},
	"mount":     {"fs", "", "`mount`, as the layer was"},
	"delete":    {"disk", "", "`1` to `device/delete`, or to the PCI function's `remove`"},
	"rescan":    {"disk", "", "a scan of SCSI and PCI, until the disk is there again"},
	"offline":   {"disk", "", "`offline` to `device/state`"},
	"online":    {"disk", "", "`running` to `device/state`"},
	"hold":      {holdable, "", "a process opens it"},
	"release":   {holdable, "", "that process closes it"},
}

func (s *stack) act(path string, a *scenarios.Act) {
	s.verdict(path, a.Expect)
	to, rule := s.devices[a.To], acts[a.Do]
	if to == nil {
		return
	}
	if kinds := strings.Fields(rule.kinds); !slices.Contains(kinds, to.kind) {
		s.failAt(path+".to", "%s is %s, and %s is done to: %s", a.To, withArticle(to.kind), a.Do, keyList(kinds))
	}
	if l := s.layerNamed(a.To); l != nil && l.FS != nil {
		types := map[string][]string{"grow": {"ext4", "xfs"}, "scrub": {"btrfs"}}[a.Do]
		if types != nil && !slices.Contains(types, l.FS.Type) {
			s.failAt(path+".do", "%s is %s, and %s is done to: %s", a.To, l.FS.Type, a.Do, keyList(types))
		}
	}
	member := rule.member == to.kind
	if member && a.Member == "" {
		s.failAt(path, "the key member is missing: %s is about a disk or layer below %s", a.Do, a.To)
	}
	s.only(path, "member", member, a.Do+" is about the whole")
	s.reshape(path, a)
	s.growPartition(path, a)
	s.snapshot(path, a)
	if (a.Do == "reload" || a.Do == "message") && len(a.Args) == 0 {
		s.failAt(path, "the key args is missing: %s", map[string]string{"reload": "the lines of the new table", "message": "the message"}[a.Do])
	}
}

// growPartition holds the new size of a partition against what there can be.
func (s *stack) growPartition(path string, a *scenarios.Act) {
	l := s.layerNamed(a.To)
	ofPartition := a.Do == "grow" && l != nil && l.Partition != nil
	s.only(path, "size", ofPartition, "only grow of a partition has it")
	if !ofPartition {
		return
	}
	s.only(path, "args", false, "no tool does it; the key size says how large it becomes")
	if a.Size == 0 || s.err != nil {
		return
	}
	before, disk := cmp.Or(s.grown[l.Name], l.Partition.Size), s.below(l)
	s.grown[l.Name] = max(a.Size, before)
	if a.Size <= before {
		s.failAt(path+".size", "%s is not allowed; the partition has %s, and can only grow", a.Size, before)
	}
	if end := disk.size - 33*512; disk.exact && l.Partition.Start+a.Size > end {
		s.failAt(path+".size", "%s is not allowed; with its start it may be at most %s, up to the copy of the table at the end of %s", a.Size, end-l.Partition.Start, l.On[0])
	}
}

// reshape holds the new shape of an array against what there can be.
func (s *stack) reshape(path string, a *scenarios.Act) {
	keys := []string{"level", "devices", "chunk", "layout"}
	if a.Do != "reshape" {
		for _, key := range keys {
			s.only(path, key, false, "only reshape has it")
		}
		return
	}
	said := func(key string) bool { return s.said(path + "." + key) }
	if !slices.ContainsFunc(keys, said) {
		s.failAt(path, "one of the keys %s is missing: what the array is to become", keyList(keys))
	}
	s.only(path, "chunk", a.Level != "raid1", "raid1 has no chunks")
	if l := s.layerNamed(a.To); l != nil && l.MD != nil && l.MD.Level == "linear" {
		s.failAt(path+".to", "%s is linear, which can only grow (act: grow)", a.To)
	}
}

// queue refuses what has no queue, and a step that sets nothing.
func (s *stack) queue(path string, q *scenarios.Queue) {
	s.verdict(path, q.Expect)
	if d := s.devices[q.Of]; d != nil && (d.kind == "fs" || d.kind == "file") {
		s.failAt(path+".of", "%s is %s, and has no queue; name the device below it", q.Of, withArticle(d.kind))
	}
	if len(q.Settings()) == 0 {
		s.failAt(path, "nothing is set; allowed: %s", keyList(queueKeys()))
	}
}

// queueKeys are the keys of a queue step that set something.
func queueKeys() []string {
	var keys []string
	for _, f := range fieldsOf(reflect.TypeFor[scenarios.Queue]()) {
		if f.key != "of" && f.key != "expect" && f.key != "verdict" {
			keys = append(keys, f.key)
		}
	}
	return keys
}

// layerNamed is the layer of that name, nil for a disk.
func (s *stack) layerNamed(name string) *scenarios.Layer {
	return scenarios.Setup{Stack: s.body.Stack}.Layer(name)
}

func withArticle(kind string) string {
	switch kind {
	case "lvm", "md", "fs":
		return map[string]string{"lvm": "an LVM volume", "md": "an md array", "fs": "a file system"}[kind]
	}
	return "a " + kind
}

func (s *stack) wait(path string, w *scenarios.Wait) {
	s.exactly(path, "time", "file", "in_sync", "idle")
	s.notStopped(path+".in_sync", w.InSync)
	s.hasLegs(path+".in_sync", w.InSync)
	s.fileSays(path, w.File, w.Is, w.Not)
	s.only(path, "limit", w.Time == "", "a time ends by itself")
	s.only(path, "verdict", w.Time == "", "a time ends by itself")
}

// fileSays holds what a file must say against the file.
func (s *stack) fileSays(path, file string, is, not *string) {
	const why = "it has a meaning with file only"
	s.only(path, "is", file != "", why)
	s.only(path, "not", file != "", why)
	if file != "" && is == nil && not == nil {
		s.failAt(path, "the key is or not is missing: what %s must say", text.Escape(file))
	}
}

func (s *stack) checkStep(path string, c *scenarios.Check) {
	s.exactly(path, "legs", "data", "agree", "fsck", "metadata", "file")
	s.metadata(path, c.Metadata)
	s.notStopped(path+".legs", c.Legs)
	s.hasLegs(path+".legs", c.Legs)
	s.agree(path+".agree", c.Agree)
	s.notStopped(path+".data", c.Data)
	s.notStopped(path+".agree", c.Agree)
	s.notStopped(path+".metadata", c.Metadata)
	s.fileSays(path, c.File, c.Is, c.Not)
	if !s.said(path+".verdict") && c.Legs == "" && c.File == "" {
		c.Verdict = string(scenarios.Corrupt)
	}
}

// hasLegs refuses a layer that has none, of which nothing could be said.
func (s *stack) hasLegs(path, name string) {
	l := s.layerNamed(name)
	if l == nil || s.changedShape(l) {
		return
	}
	none := ""
	switch {
	case l.MD != nil && (l.MD.Level == "raid0" || l.MD.Level == "linear"):
		none = l.MD.Level
	case l.LVM != nil && !slices.Contains([]string{"mirror", "raid1", "raid4", "raid5", "raid6", "raid10"}, l.LVM.Type):
		none = l.LVM.Type
	case l.MD != nil, l.LVM != nil, l.DM != nil && l.DM.Has("mirror", "raid"):
	case l.FS != nil && l.FS.Type == "btrfs" && len(l.On) > 1:
	case l.FS != nil:
		none = l.FS.Type
	default:
		none = withArticle(l.Kind())
	}
	if none != "" {
		s.failAt(path, "%s is %s, which has no legs; md, lvm and dm layers that are mirrored or have parity have, and a btrfs on several devices", name, none)
	}
}

// changedShape says that a layer may have become another kind of mirror.
func (s *stack) changedShape(l *scenarios.Layer) bool {
	return s.changed[l.Name] && (l.MD != nil || l.LVM != nil || l.DM != nil)
}

// agree refuses a layer that does not keep the same on several devices.
func (s *stack) agree(path, name string) {
	l := s.layerNamed(name)
	if l == nil || s.changedShape(l) {
		return
	}
	switch {
	case l.MD != nil && l.MD.Level == "raid1", l.LVM != nil && (l.LVM.Type == "mirror" || l.LVM.Type == "raid1"), l.DM != nil && l.DM.Has("mirror"):
	case l.MD != nil && l.MD.Level != "raid0" && l.MD.Level != "linear":
		s.failAt(path, "%s is %s, which keeps no equal copies; its check compares them (act: check, then mismatch_cnt)", name, l.MD.Level)
	default:
		s.failAt(path, "%s keeps no equal copies; md's raid1, mirror and raid1 of lvm, and dm's mirror do", name)
	}
}

// metadata refuses a layer that has none which could be looked at.
func (s *stack) metadata(path, name string) {
	l := s.layerNamed(name)
	if l == nil {
		return
	}
	switch {
	case l.MD != nil, l.LVM != nil:
	case l.DM != nil && len(l.DM.Checkers()) > 0:
	case l.FS != nil:
		s.failAt(path+".metadata", "%s is a file system; use fsck", name)
	default:
		s.failAt(path+".metadata", "%s has no metadata that a tool looks at; md, lvm, and dm tables of thin-pool, thin, cache or era have", name)
	}
}

// effects are the operations that faults can have, other than any.
var effects = map[string]string{
	"error": "read write flush discard", "medium": "read", "slow": "read write flush discard", "stall": "read write flush discard",
	"lost": "write flush discard", "torn": "write", "stale": "read", "bitflip": "read write", "remove": "",
}

func (s *stack) hasZones(disk string) bool {
	return slices.ContainsFunc(s.body.Disks, func(d scenarios.Disk) bool { return d.ID == disk && d.Zones.Size > 0 })
}

func (s *stack) powerCut(path string, p *scenarios.PowerCut) {
	s.only(path, "at", p.Every == "", "every says at which moments")
	if p.Every != "" && s.everyMoment {
		s.failAt(path+".every", "the steps after such a cut are done once for each moment, so there can't be another one among them")
	}
	s.everyMoment = s.everyMoment || p.Every != ""
	if len(s.body.Disks) == 0 {
		s.failAt(path, "without disks nothing outlives the power; have at least one")
	}
	for _, d := range s.body.Disks {
		if d.Zones.Size > 0 {
			s.failAt(path, "disk %s is zoned, and QEMU forgets what its zones are in when the power is cut; have a disk without zones", d.ID)
		}
	}
	for _, l := range s.body.Stack {
		if l.Brd != nil || l.Zram != nil || l.NullBlk != nil || l.SCSIDebug != nil {
			s.failAt(path, "layer %s is a %s, which is in memory and loses all with the power; have a stack on disks alone", l.Name, l.Kind())
		}
	}
}

func (s *stack) fault(path string, f *scenarios.Fault) {
	s.only(path, "errno", f.Do == "error", "only an error has it")
	if f.Do == "medium" {
		s.only(path, "op", false, "reads fail where the medium is bad, and what is written there is good again")
		s.only(path, "after", false, "the medium is bad from now on")
		s.only(path, "count", false, "the medium is bad until it is written, or healed")
		s.only(path, "chance", false, "the medium is bad there")
		s.only(path, "delay", false, "the medium is bad from now on")
	}
	if f.Do == "remove" && s.hasZones(f.Disk) {
		s.failAt(path+".do", "QEMU can't take a zoned disk away")
	}
	s.only(path, "delay", f.Do != "stall" && f.Do != "remove", "it has no delay")
	if f.Do == "slow" && f.Delay == "" {
		s.failAt(path, "the key delay is missing: how late requests are")
	}
	if ops := strings.Fields(effects[f.Do]); f.Op != "any" && !slices.Contains(ops, f.Op) {
		s.failAt(path+".op", "a %s can't be %s; it can be had on: %s", f.Op, f.Do, orNone(ops))
	}
	for _, d := range s.body.Disks {
		if d.ID == f.Disk && f.Do == "remove" && (d.Bus == "ahci" || d.Zones.Size > 0 || d.Metadata > 0) {
			s.failAt(path+".do", "disk %s can't be removed: QEMU can't take out disks of ahci, and those with zones or metadata", d.ID)
		}
	}
	if f.Op == "flush" && (f.Offset > 0 || f.Length > 0) {
		s.failAt(s.either(path, "offset"), "a flush is of the whole disk; leave offset and length out")
	}
	if d := s.devices[f.Disk]; d != nil && (f.Offset >= d.size || f.Length > d.size-f.Offset) {
		s.failAt(s.either(path, "offset"), "it lies beyond the end of disk %s, which has %s", f.Disk, d.size)
	}
}
