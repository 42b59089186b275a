package qemu

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Effect is what a Fault does.
type Effect string

// Effects of faults.
const (
	FailRequest  Effect = "error"   // answers with an errno, and does nothing
	BadMedium    Effect = "medium"  // a read fails of what has not been written as a whole block since
	SlowRequest  Effect = "slow"    // does it after the delay
	StallRequest Effect = "stall"   // doesn't answer, until the fault is healed
	LoseWrite    Effect = "lost"    // a write, discard or flush: says that it did it, and doesn't
	TearWrite    Effect = "torn"    // a write of several physical blocks: does only the first of them
	StaleRead    Effect = "stale"   // a read: gives what was there when the fault was injected
	FlipBit      Effect = "bitflip" // a read or write: flips one bit of the data
)

// Operation is what the guest asks of a disk.
type Operation string

// Operations. A write of zeros without data is a write.
const (
	ReadOp    Operation = "read"
	WriteOp   Operation = "write"
	FlushOp   Operation = "flush"
	DiscardOp Operation = "discard"
	AnyOp     Operation = "any" // of those that the effect can be had on
)

// A Fault says what happens to which requests of a disk with Filter.
type Fault struct {
	Disk  string    `json:"disk"` // its ID
	Do    Effect    `json:"do"`
	Op    Operation `json:"op"`              // "" is AnyOp
	Errno string    `json:"errno,omitempty"` // of FailRequest; "" is EIO

	// The bytes of the disk that a request must touch; 0, 0 are all. A flush
	// touches none, so that only a fault of all bytes hits it.
	Offset int64 `json:"offset,omitempty"`
	Length int64 `json:"length,omitempty"`

	// Linux asks again when a request fails, so that an application sees an error
	// only after six hits (6.18; AHCI, virtio-scsi, NVMe; at once: virtio-blk, and
	// ENOSPC of virtio-scsi). NVMe makes every error one of the medium, ENODATA.
	After  int     `json:"after,omitempty"`  // so many requests are spared first
	Count  int     `json:"count,omitempty"`  // so many are hit then; 0 for all
	Chance float64 `json:"chance,omitempty"` // that one is hit which could be; 0 is 1
	Seed   uint64  `json:"seed,omitempty"`   // of Chance, and of where a write is torn or a bit flipped

	// Delay is how long it takes until the effect, in the host's time.
	Delay time.Duration `json:"delay,omitempty"`
}

// effects say what each can be had on.
var effects = map[Effect][]Operation{
	FailRequest:  {ReadOp, WriteOp, FlushOp, DiscardOp},
	BadMedium:    {ReadOp, WriteOp}, // of a write that is no whole block a part must be read
	SlowRequest:  {ReadOp, WriteOp, FlushOp, DiscardOp},
	StallRequest: {ReadOp, WriteOp, FlushOp, DiscardOp},
	LoseWrite:    {WriteOp, FlushOp, DiscardOp},
	TearWrite:    {WriteOp},
	StaleRead:    {ReadOp},
	FlipBit:      {ReadOp, WriteOp},
}

// check says what is wrong with a fault of a disk.
func (f Fault) check() error {
	on, known := effects[f.Do]
	_, errno := errnos[cmp.Or(f.Errno, "EIO")]
	switch op := cmp.Or(f.Op, AnyOp); {
	case !known:
		return fmt.Errorf("effect %q: want one of %s", f.Do, names(effects))
	case op != AnyOp && !slices.Contains(on, op):
		return fmt.Errorf("effect %s on %q: it can be had on %v", f.Do, f.Op, on)
	case !errno:
		return fmt.Errorf("errno %q: a disk can fail with %s", f.Errno, names(errnos))
	case f.Errno != "" && f.Do != FailRequest:
		return fmt.Errorf("errno %s: effect %s has none", f.Errno, f.Do)
	case f.Offset < 0 || f.Length < 0 || f.Offset > 0 && f.Length == 0:
		return fmt.Errorf("%d bytes at %d: want a length above 0, or nothing for all", f.Length, f.Offset)
	case op == FlushOp && f.Length > 0:
		return errors.New("a flush is of the whole disk")
	case f.Do == BadMedium && (f.Op != "" && f.Op != AnyOp || f.After != 0 || f.Count != 0 || f.Chance != 0 || f.Delay != 0):
		return errors.New("a medium is bad from now on, where it is bad, until it is written")
	case f.After < 0 || f.Count < 0 || f.Delay < 0:
		return errors.New("after, count and delay can't be negative")
	case f.Do == SlowRequest && f.Delay == 0:
		return errors.New("effect slow needs a delay")
	case f.Do == StallRequest && f.Delay > 0:
		return errors.New("effect stall has no delay: slow is what ends")
	case !(f.Chance >= 0 && f.Chance <= 1):
		return fmt.Errorf("chance %v: want 0 to 1", f.Chance)
	}
	return nil
}

func names[K ~string, V any](m map[K]V) string {
	var all []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		all = append(all, string(k))
	}
	return strings.Join(all, ", ")
}

// Hits say how often a fault has been met.
type Hits struct {
	Fault Fault `json:"fault"`
	Seen  int   `json:"seen"` // requests that it was for
	Hit   int   `json:"hit"`
}

// armed is a fault in force, or one that was.
type armed struct {
	Hits
	random *rand.Rand
	before layers    // the content when it was injected, of StaleRead
	bad    sectorSet // of BadMedium
}

// arm is for a disk of that size that writes so many bytes at once.
func arm(f Fault, size, atom int64) *armed {
	f.Op, f.Chance = cmp.Or(f.Op, AnyOp), cmp.Or(f.Chance, 1)
	a := &armed{Hits: Hits{Fault: f}, random: rand.New(rand.NewPCG(f.Seed, 0))}
	if f.Do == BadMedium {
		from, to := f.Offset, f.Offset+f.Length
		if f.Length == 0 {
			to = size
		}
		from, to = from/atom*atom, min(size, (to+atom-1)/atom*atom)
		a.bad.add(from/SectorSize, to/SectorSize)
	}
	return a
}

// meets says whether a request touches a bad sector that it has to read.
func (a *armed) meets(r *request, atom int64) bool {
	from, to := r.offset, r.offset+r.length
	if r.op == ReadOp {
		return a.bad.any(from/SectorSize, to/SectorSize)
	}
	first, last := from/atom*atom, to/atom*atom // of the blocks that may be written in part
	part := func(block int64, whole bool) bool {
		return !whole && a.bad.any(block/SectorSize, (block+atom)/SectorSize)
	}
	return part(first, from == first && to >= first+atom) || part(last, to == last)
}

// wrote notes that sectors were written.
func (a *armed) wrote(offset, length int64) {
	a.bad.remove(offset/SectorSize, (offset+length)/SectorSize)
}

// request is one that the guest made.
type request struct {
	nbdCommand
	op   Operation
	data []byte // what to write; of a read, what was read
	done bool   // in name only: the guest is told so
	fail syscall.Errno
	from layers        // what to read from; nil for the disk as it is
	wait time.Duration // first
	hold bool          // until it is let go
	flip func()        // of what was read
}

// hits decides whether the fault is for a request, and then applies itself.
func (a *armed) hits(r *request, atom int64) bool {
	f := &a.Fault
	if f.Op != r.op && f.Op != AnyOp || !slices.Contains(effects[f.Do], r.op) {
		return false
	}
	if f.Length > 0 && f.Do != BadMedium && (r.op == FlushOp || r.offset >= f.Offset+f.Length || r.offset+r.length <= f.Offset) {
		return false
	}
	whole := r.offset - r.offset%atom + atom // the end of the first physical block
	if f.Do == TearWrite && r.offset+r.length <= whole {
		return false
	}
	if f.Do == BadMedium && !a.meets(r, atom) {
		return false
	}
	a.Seen++
	if a.Seen <= f.After || f.Count > 0 && a.Hit >= f.Count || a.random.Float64() >= f.Chance {
		return false
	}
	a.Hit++
	r.wait = f.Delay
	switch f.Do {
	case FailRequest:
		r.fail = errnos[cmp.Or(f.Errno, "EIO")]
	case BadMedium:
		r.fail = errnos["EIO"]
	case StallRequest:
		r.hold = true
	case LoseWrite:
		r.done = true
	case TearWrite:
		more := (r.offset + r.length - whole + atom - 1) / atom // blocks after the first
		r.length = whole + a.random.Int64N(more)*atom - r.offset
		if r.data != nil {
			r.data = r.data[:r.length]
		}
	case StaleRead:
		r.from = a.before.keep()
	case FlipBit:
		a.flip(r)
	}
	return true
}

// flip flips one bit in the bytes that both the fault and the request are of.
func (a *armed) flip(r *request) {
	from, to := r.offset, r.offset+r.length
	if a.Fault.Length > 0 {
		from, to = max(from, a.Fault.Offset), min(to, a.Fault.Offset+a.Fault.Length)
	}
	at, bit := from+a.random.Int64N(to-from)-r.offset, byte(1)<<a.random.IntN(8)
	if r.op == ReadOp {
		r.flip = func() { r.data[at] ^= bit }
		return
	}
	if r.data == nil { // zeros
		r.data = make([]byte, r.length)
	}
	r.data[at] ^= bit
}
