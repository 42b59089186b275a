package scenarios

import (
	"iter"
	"math/rand/v2"
	"reflect"
	"slices"
)

// A Step is one thing that a trial does. One of the pointers is set.
type Step struct {
	Name string `json:"name,omitempty" is:"LABEL" doc:"what reports call it; the operation where it is left out"`

	IO       *IO       `json:"io,omitempty" doc:"I/O to a file or a device"`
	Act      *Act      `json:"act,omitempty" doc:"something done to a layer or a disk"`
	Exec     *Exec     `json:"exec,omitempty" doc:"a tool of the guest, without a shell"`
	Run      *Run      `json:"run,omitempty" doc:"lines for the guest's shell"`
	Write    *Write    `json:"write,omitempty" doc:"a text written to a file of sysfs or procfs"`
	Wait     *Wait     `json:"wait,omitempty" doc:"wait until something holds"`
	Queue    *Queue    `json:"queue,omitempty" doc:"the scheduler and limits of a device's queue, each read back"`
	CPU      *CPU      `json:"cpu,omitempty" doc:"a virtual CPU goes away or comes back"`
	Sysctl   *Sysctl   `json:"sysctl,omitempty" doc:"a parameter of the kernel, read back"`
	Check    *Check    `json:"check,omitempty" doc:"something that must hold now"`
	Fault    *Fault    `json:"fault,omitempty" doc:"from now on the host makes a disk misbehave"`
	Heal     *Heal     `json:"heal,omitempty" doc:"the host ends the faults of a disk"`
	PowerCut *PowerCut `json:"power_cut,omitempty" doc:"the power fails; the machine starts again with what the disks had"`
	Parallel *Parallel `json:"parallel,omitempty" doc:"lists of steps that run at the same time"`
	Repeat   *Repeat   `json:"repeat,omitempty" doc:"steps that are done again and again: a case has each of them so many times"`
	Zone     *Zone     `json:"zone,omitempty" doc:"something done to zones of a zoned device, or known of them"`
	Linked   *Linked   `json:"linked,omitempty" doc:"a chain of I/O that io_uring is given at once: each begins when the one before it has done all that it was asked, and after one that has not the rest is not done, which is ECANCELED"`
}

// IO is one kind of I/O, done once or many times.
type IO struct {
	Op           string   `json:"op" is:"pread pwrite preadv2 pwritev2 fsync fdatasync fallocate discard zeroes mmap-read mmap-write libaio-read libaio-write io_uring-read io_uring-write io_uring-fsync io_uring-fdatasync splice-read splice-write reread" doc:"the operation"`
	On           string   `json:"on,omitempty" is:"DEVICE" doc:"the layer or disk that it goes to; the top of the stack where it is left out"`
	Direct       bool     `json:"direct" default:"false" doc:"O_DIRECT"`
	Flags        []string `json:"flags,omitempty" is:"NOWAIT DSYNC SYNC HIPRI APPEND ATOMIC" doc:"flags of preadv2 and pwritev2, and of libaio's and io_uring's reads and writes; APPEND must say as offset where the file ends"`
	Mode         string   `json:"mode,omitempty" is:"allocate keep-size punch-hole zero-range" doc:"what fallocate does"`
	Offset       int64    `json:"offset" default:"0" unit:"bytes" doc:"where it begins"`
	Length       int64    `json:"length" default:"4096" least:"1" unit:"bytes" doc:"how much"`
	MemoryOffset int64    `json:"memory_offset" default:"0" most:"4095" unit:"bytes" doc:"where the buffer begins, from a page boundary"`
	Vectors      []Vector `json:"vectors,omitempty" doc:"pieces of the buffer of preadv2, pwritev2, libaio and io_uring; their lengths add up to length"`
	Unmapped     bool     `json:"unmapped" default:"false" doc:"the buffer's last page is not mapped"`
	Count        int64    `json:"count" default:"1" least:"1" most:"1000000" doc:"how often, each at the next place"`
	Depth        int      `json:"depth" default:"1" least:"1" most:"256" doc:"how many are under way at once (libaio, io_uring)"`
	Fixed        []string `json:"fixed,omitempty" is:"buffers files" doc:"what is registered with the io_uring beforehand: its buffers, its files"`
	Polled       bool     `json:"polled" default:"false" doc:"completions of io_uring are polled for (IORING_SETUP_IOPOLL); all disks below must be able to, by poll_queues, and that they did is proven"`
	Random       bool     `json:"random" default:"false" doc:"places are drawn by seed instead of in order"`
	Range        Bytes    `json:"range,omitempty" doc:"with count: places are from offset to offset plus this, and begin again there"`
	Seed         int64    `json:"seed" default:"0" doc:"of random places"`
	Threads      int      `json:"threads" default:"1" least:"1" most:"16" doc:"so many processes do all of it at the same time, to the same places; of random ones each draws its own"`
	Seconds      int64    `json:"seconds,omitempty" most:"3600" doc:"all of it is done again and again until so many seconds of the guest have passed"`
	Changing     bool     `json:"changing" default:"false" doc:"the buffer is changed by another thread for as long as the write runs; any mix of what was in it may stand there then"`
	Expect       Expect   `json:"expect,omitzero" doc:"outcomes that pass"`
}

// Vector is a piece of memory.
type Vector struct {
	MemoryOffset int64 `json:"memory_offset" default:"0" most:"4095" unit:"bytes" doc:"from a page boundary of its own"`
	Length       int64 `json:"length" alone:"" least:"0" unit:"bytes" doc:"its length"`
}

// Expect lists the outcomes that pass: "data" (all bytes, and right), "short"
// (fewer, and those right), or the name of an errno. Aligned holds when
// offset, length and memory offset are all multiples of the disks'
// dma_alignment+1 (512 where the scenario does not require one).
type Expect struct {
	Aligned    []string `json:"aligned,omitempty" is:"data short ERRNO" doc:"outcomes of an aligned one"`
	Misaligned []string `json:"misaligned,omitempty" is:"data short ERRNO" doc:"outcomes of a misaligned one"`
}

// Act is something done to a layer or a disk.
type Act struct {
	Do      string   `json:"do" is:"fail remove re-add add replace grow reshape stop assemble check repair wait-idle scrub pvmove lvconvert lvchange suspend resume reload message remount fstrim umount mount delete rescan offline online snapshot merge hold release" doc:"what is done; hold has a process keep a device or file open, over the steps that follow, until release: the last close of a device writes back and forgets what the kernel has of it in memory"`
	To      string   `json:"to" is:"DEVICE" doc:"the layer, or the disk"`
	Member  string   `json:"member,omitempty" is:"DEVICE" doc:"the disk or layer below that it is about"`
	Args    []string `json:"args,omitempty" is:"ARGUMENT" doc:"more arguments of the tool that does it, as in exec; of reload the lines of the new table"`
	Level   string   `json:"level,omitempty" is:"raid0 raid1 raid4 raid5 raid6 raid10" doc:"of reshape: the new level"`
	Devices int      `json:"devices,omitempty" least:"1" most:"26" doc:"of reshape: how many members it has then"`
	Chunk   Bytes    `json:"chunk,omitempty" least:"4KiB" unit:"4KiB" doc:"of reshape: the new chunk size"`
	Layout  string   `json:"layout,omitempty" doc:"of reshape: the new layout, as mdadm names it"`
	// Snapshot is a device that is no layer: it is there from that step on.
	Snapshot string `json:"snapshot,omitempty" is:"NAME" doc:"of snapshot: what later steps call it, for their I/O and checks; of merge: which one, until which it is there"`
	Size     Bytes  `json:"size,omitempty" unit:"512" doc:"of grow of a partition: its new size; up to the end of the disk where it is left out"`
	Expect   string `json:"expect" is:"ok failure any" default:"ok" doc:"how it may end"`
	Verdict  string `json:"verdict" is:"error errno degraded corrupt hang" default:"error" doc:"the verdict where it ends otherwise"`
}

// Exec is a tool of the guest.
type Exec struct {
	Args    []string `json:"args" alone:"" is:"ARGUMENT" doc:"the tool and its arguments; {name} is the device of a disk or layer, {name.sys} its folder in sysfs, {name.mount} where it is mounted, {name.sectors} its size, {name.kernel} its name in the kernel"`
	File    string   `json:"file,omitempty" is:"PROGRAM" doc:"a static executable of the host's, beside the scenario, that is run in place of a tool"`
	Expect  string   `json:"expect" is:"ok failure any" default:"ok" doc:"how it may end"`
	Verdict string   `json:"verdict" is:"error errno degraded corrupt hang" default:"error" doc:"the verdict where it ends otherwise"`
}

// Run is a snippet for the guest's shell.
type Run struct {
	Lines   string `json:"lines" alone:"" is:"ARGUMENT" doc:"what the shell runs, with set -e; {name} as in exec"`
	Expect  string `json:"expect" is:"ok failure any" default:"ok" doc:"how it may end"`
	Verdict string `json:"verdict" is:"error errno degraded corrupt hang" default:"error" doc:"the verdict where it ends otherwise"`
}

// Write is a text for a file of the kernel's.
type Write struct {
	To     string `json:"to" is:"PATH" doc:"a path below /sys or /proc; {name.sys} is a device's folder in sysfs"`
	Text   string `json:"text" doc:"what is written, in one write"`
	Expect string `json:"expect" default:"ok" is:"ok any ERRNO" doc:"how it may end"`
}

// Queue sets files of a device's folder queue
// (Documentation/ABI/stable/sysfs-block).
type Queue struct {
	Of              string `json:"of" is:"DEVICE" doc:"the disk or layer"`
	Scheduler       string `json:"scheduler,omitempty" is:"none mq-deadline kyber bfq" doc:"the I/O scheduler"`
	NrRequests      *int   `json:"nr_requests,omitempty" least:"1" most:"65536" doc:"how many requests it may have"`
	MaxSectorsKB    *int   `json:"max_sectors_kb,omitempty" least:"1" most:"1048576" doc:"the largest request, in KiB"`
	ReadAheadKB     *int   `json:"read_ahead_kb,omitempty" most:"1048576" doc:"read ahead, in KiB"`
	NoMerges        *int   `json:"nomerges,omitempty" most:"2" doc:"0 all merges, 1 simple ones, 2 none"`
	RqAffinity      *int   `json:"rq_affinity,omitempty" most:"2" doc:"where a request is completed: 0 anywhere, 1 in the group of CPUs that made it, 2 on the CPU that made it"`
	WbtLatUsec      *int   `json:"wbt_lat_usec,omitempty" most:"10000000" doc:"latency at which buffered writes are throttled, in microseconds; 0 for never"`
	IOTimeout       *int   `json:"io_timeout,omitempty" least:"1" most:"3600000" doc:"after so many milliseconds the driver gives a request up"`
	WriteCache      *bool  `json:"write_cache,omitempty" doc:"the kernel takes the device's write cache for volatile, and flushes it"`
	DiscardMaxBytes *Bytes `json:"discard_max_bytes,omitempty" unit:"512" doc:"the largest discard; 0 for none"`
	Expect          string `json:"expect" default:"ok" is:"ok any ERRNO" doc:"how the kernel may answer"`
	Verdict         string `json:"verdict" is:"error errno degraded corrupt hang" default:"error" doc:"the verdict where it takes a value and says another"`
}

// CPU takes a virtual CPU away, or gives it back.
type CPU struct {
	Offline *int   `json:"offline,omitempty" least:"0" most:"255" doc:"the CPU that goes away, by its number; the machine must have it (--cpus)"`
	Online  *int   `json:"online,omitempty" least:"0" most:"255" doc:"the CPU that comes back"`
	Expect  string `json:"expect" default:"ok" is:"ok any ERRNO" doc:"how the kernel may answer"`
	Verdict string `json:"verdict" is:"error errno degraded corrupt hang" default:"error" doc:"the verdict where it says ok and did not do it"`
}

// Sysctl sets a parameter of the kernel (sysctl(8)).
type Sysctl struct {
	Key     string `json:"key" is:"SYSCTL" doc:"its name"`
	Value   string `json:"value" doc:"what it is set to"`
	Expect  string `json:"expect" default:"ok" is:"ok any ERRNO" doc:"how the kernel may answer"`
	Verdict string `json:"verdict" is:"error errno degraded corrupt hang" default:"error" doc:"the verdict where it takes the value and says another"`
}

// Wait waits until a file says something, or for a time.
type Wait struct {
	Time    string  `json:"time,omitempty" alone:"" is:"TIME" doc:"a time of the guest's, such as 500ms or 2s"`
	File    string  `json:"file,omitempty" is:"PATH" doc:"a path below /sys or /proc, as in write"`
	Is      *string `json:"is,omitempty" least:"0" doc:"what the file must say"`
	Not     *string `json:"not,omitempty" least:"0" doc:"what the file must not say any more"`
	InSync  string  `json:"in_sync,omitempty" is:"LAYER" doc:"a layer in which each place has a leg that is healthy and in sync; one that another has replaced doesn't count"`
	Idle    bool    `json:"idle,omitempty" doc:"no disk has I/O under way or does any"`
	Limit   string  `json:"limit" is:"TIME" default:"30s" doc:"the most that it may take, of the guest's time"`
	Verdict string  `json:"verdict" is:"error hang degraded corrupt errno" default:"error" doc:"the verdict where it takes longer: hang where the kernel promises that it ends"`
}

// Check is something that must hold.
type Check struct {
	Legs  string `json:"legs,omitempty" is:"LAYER" doc:"a layer in which each place has a healthy leg; one that another has replaced doesn't count"`
	Data  string `json:"data,omitempty" is:"DEVICE" doc:"a layer or disk that is read whole and must hold what was written"`
	Agree string `json:"agree,omitempty" is:"LAYER" doc:"a mirrored layer whose legs must be equal where they are in sync"`
	Fsck  string `json:"fsck,omitempty" is:"FILESYSTEM" doc:"a file system that must have no damage; it is unmounted for it"`
	// A layer's own books.
	Metadata string  `json:"metadata,omitempty" is:"LAYER" doc:"an array, a volume or a dm device whose metadata must be sound: superblocks of an array's members agree with each other and with the kernel (mdadm --examine); vgck; thin_check, cache_check, era_check"`
	File     string  `json:"file,omitempty" is:"PATH" doc:"a path below /sys or /proc, as in write"`
	Is       *string `json:"is,omitempty" least:"0" doc:"what the file must say"`
	Not      *string `json:"not,omitempty" least:"0" doc:"what the file must not say"`
	Verdict  string  `json:"verdict" is:"corrupt degraded hang errno" default:"degraded" doc:"the verdict where it does not hold; corrupt for data, agree, fsck and metadata"`
}

// Fault is what the host makes of a disk's requests. Nothing of it is the
// kernel's doing: what it makes of them is judged.
type Fault struct {
	Disk   string  `json:"disk" is:"DISK" doc:"the disk"`
	Do     string  `json:"do" is:"error medium slow stall lost torn stale bitflip remove" doc:"an error is answered; the medium is bad there until it is written; an answer comes late; never; a write is dropped; is done in part; a read gives what was there before; gives a flipped bit; the disk is gone"`
	Op     string  `json:"op" is:"read write flush discard any" default:"any" doc:"the requests"`
	Errno  string  `json:"errno,omitempty" is:"EIO ENOSPC" default:"EIO" doc:"the error"`
	Offset Bytes   `json:"offset,omitempty" unit:"512" doc:"where on the disk it begins"`
	Length Bytes   `json:"length,omitempty" unit:"512" doc:"how much of the disk; up to the end where it is left out"`
	After  int64   `json:"after" default:"0" doc:"so many requests go well first"`
	Count  int64   `json:"count" default:"0" doc:"so many are hit; 0 for all"`
	Chance float64 `json:"chance,omitempty" most:"1" doc:"how likely each is hit; 1 where it is left out"`
	Delay  string  `json:"delay,omitempty" is:"TIME" doc:"how long it takes until the effect, such as 200ms; a slow one must say it"`
	Seed   int64   `json:"seed" default:"0" doc:"of chance"`
}

// Zone is an operation on zones (blkzone(8)).
type Zone struct {
	Do           string `json:"do" is:"report open close finish reset reset-all" doc:"what is done; report only looks"`
	On           string `json:"on,omitempty" is:"DEVICE" doc:"the zoned disk, or a layer that is zoned; the top of the stack where it is left out"`
	Zone         int64  `json:"zone" default:"0" doc:"the first zone, from 0"`
	Count        int64  `json:"count" default:"1" least:"1" doc:"how many zones, from that one on"`
	Condition    string `json:"condition,omitempty" is:"not-write-pointer empty implicit-open explicit-open closed full read-only offline" doc:"what each of these zones must be in afterwards; not-write-pointer is a conventional one"`
	WritePointer *Bytes `json:"write_pointer,omitempty" unit:"512" doc:"where the write pointer of each must stand afterwards, from the beginning of its zone"`
	Expect       string `json:"expect" default:"ok" is:"ok any ERRNO" doc:"how it may end"`
	Verdict      string `json:"verdict" is:"errno corrupt degraded hang" default:"errno" doc:"the verdict where condition or write_pointer do not hold"`
}

// Heal ends faults.
type Heal struct {
	Disk string `json:"disk" alone:"" is:"DISK" doc:"the disk"`
}

// PowerCut ends the power at a moment and starts the machine again.
type PowerCut struct {
	At    string `json:"at" alone:"" is:"now flush any" default:"now" doc:"now; after a flush, drawn by seed; at any request, drawn by seed"`
	Lose  string `json:"lose" is:"nothing some all" default:"some" doc:"what becomes of writes that were not flushed: some are lost, reordered or torn by seed"`
	Every string `json:"every,omitempty" is:"flush" doc:"in place of at: the moment after each flush and the end, one after the other, each with the steps that follow, until one does not end as it should"`
	Seed  int64  `json:"seed" default:"0" doc:"of what is drawn"`
}

// Parallel runs several lists of steps at the same time.
type Parallel struct {
	Groups [][]Step `json:"groups" alone:"" doc:"lists of steps"`
}

// Repeat has a list of steps done several times. It stands in files alone: a
// case has its steps in its place.
type Repeat struct {
	Times int    `json:"times" least:"2" most:"256" doc:"how often"`
	Steps []Step `json:"steps" doc:"the steps, in order"`
}

// Unrolled are the steps with those of each repeat in its place.
func Unrolled(steps []Step) []Step {
	var out []Step
	for _, s := range steps {
		switch {
		case s.Repeat != nil:
			once := Unrolled(s.Repeat.Steps)
			for range s.Repeat.Times {
				out = append(out, once...)
			}
			continue
		case s.Parallel != nil:
			groups := make([][]Step, len(s.Parallel.Groups))
			for i, group := range s.Parallel.Groups {
				groups[i] = Unrolled(group)
			}
			s.Parallel = &Parallel{Groups: groups}
		}
		out = append(out, s)
	}
	return out
}

// Linked is I/O of io_uring in one chain (IOSQE_IO_LINK).
type Linked struct {
	IO []IO `json:"io" alone:"" doc:"the I/O, in order, each with the keys of io"`
}

// Groups are the lists of steps that a step holds: those that run at the same
// time, or one that is done in order.
func (s Step) Groups() [][]Step {
	switch {
	case s.Parallel != nil:
		return s.Parallel.Groups
	case s.Linked != nil:
		var chain []Step
		for i := range s.Linked.IO {
			chain = append(chain, Step{IO: &s.Linked.IO[i]})
		}
		return [][]Step{chain}
	}
	return nil
}

// Kind is what a step is, as a scenario writes it: io, act, …
func (s Step) Kind() string {
	key, _ := alternative(reflect.ValueOf(s))
	return key
}

// Op is what reports call the step.
func (s Step) Op() string {
	switch {
	case s.Name != "":
		return s.Name
	case s.IO != nil:
		return s.IO.Op
	case s.Zone != nil:
		return "zone-" + s.Zone.Do
	case s.Act != nil:
		return s.Act.Do
	case s.Exec != nil && len(s.Exec.Args) > 0:
		return s.Exec.Args[0]
	}
	return s.Kind()
}

// FailAs is the verdict where the step did not end, or what it demands does not
// hold; "" is none about the kernel.
func (s Step) FailAs() Verdict {
	switch {
	case s.Queue != nil:
		return Verdict(s.Queue.Verdict)
	case s.CPU != nil:
		return Verdict(s.CPU.Verdict)
	case s.Zone != nil:
		return Verdict(s.Zone.Verdict)
	case s.Sysctl != nil:
		return Verdict(s.Sysctl.Verdict)
	case s.Act != nil:
		return Verdict(s.Act.Verdict)
	case s.Exec != nil:
		return Verdict(s.Exec.Verdict)
	case s.Run != nil:
		return Verdict(s.Run.Verdict)
	case s.Wait != nil:
		return Verdict(s.Wait.Verdict)
	case s.PowerCut != nil:
		return Corrupt
	case s.Check != nil && (s.Check.Data != "" || s.Check.Agree != "" || s.Check.Fsck != "" || s.Check.Metadata != ""):
		return Corrupt
	case s.Check != nil:
		return Verdict(s.Check.Verdict)
	}
	return ""
}

// Aligned says whether an I/O is a multiple of unit bytes in every way.
func (o IO) Aligned(unit int64) bool {
	vector := func(v Vector) bool { return v.MemoryOffset%unit != 0 || v.Length%unit != 0 }
	return o.Offset%unit == 0 && o.Length%unit == 0 && o.MemoryOffset%unit == 0 && !slices.ContainsFunc(o.Vectors, vector)
}

// Outcomes are those that pass, with an alignment of unit bytes.
func (o IO) Outcomes(unit int64) []string {
	if o.Aligned(unit) {
		return o.Expect.Aligned
	}
	return o.Expect.Misaligned
}

// Reads says whether the operation reads data.
func (o IO) Reads() bool {
	switch o.Op {
	case "pread", "preadv2", "mmap-read", "libaio-read", "io_uring-read", "splice-read", "reread":
		return true
	}
	return false
}

// Writes says whether the operation writes data.
func (o IO) Writes() bool {
	switch o.Op {
	case "pwrite", "pwritev2", "mmap-write", "libaio-write", "io_uring-write", "splice-write":
		return true
	}
	return false
}

// Transfers says whether the operation moves data to or from a buffer, so that
// it answers how many bytes.
func (o IO) Transfers() bool { return o.Reads() || o.Writes() }

// End is the byte behind the last one that the step touches, 0 for one that
// touches none.
func (o IO) End() int64 {
	switch {
	case !o.Transfers() && o.Op != "discard" && o.Op != "zeroes" && o.Op != "fallocate":
		return 0
	case o.Range > 0:
		return o.Offset + max(o.Length, int64(o.Range))
	}
	return o.Offset + o.Length*max(1, o.Count)
}

// Places gives the offset of each I/O of the step, in order. Guest and host
// know them by the same rule.
func (o IO) Places() iter.Seq[int64] {
	return func(yield func(int64) bool) {
		count := max(1, o.Count)
		slots := count // how many places there are
		if o.Range > 0 {
			slots = max(1, int64(o.Range)/max(1, o.Length))
		}
		random := rand.New(rand.NewPCG(uint64(o.Seed), 0))
		for i := range count {
			place := i % slots
			if o.Random {
				place = random.Int64N(slots)
			}
			if !yield(o.Offset + place*o.Length) {
				return
			}
		}
	}
}
