package blktrace

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A Kind is what an event tells of.
type Kind string

// Kinds.
const (
	Queued    Kind = "block_bio_queue"    // a device was asked
	Remapped  Kind = "block_bio_remap"    // what asked one device goes to another
	Requested Kind = "block_rq_complete"  // the driver of a device has answered
	Completed Kind = "block_bio_complete" // a device has answered
	Ended     Kind = "ended"              // the same, by the probe
)

// An Event is one line of a trace.
type Event struct {
	At      time.Duration // the trace's clock
	Kind    Kind
	Dev     uint64 // as st_dev
	Op      string // read, write, flush, discard, zeroes; "other"
	Sector  int64  // of 512 bytes
	Sectors int64
	Errno   string // of an answer; "" where it is none of an error
	From    uint64 // of Remapped: the device that was asked
	FromAt  int64  // and its sector
}

var (
	// What stands before: task, processor, flags. A task's name may hold
	// anything.
	linePattern = regexp.MustCompile(`^.*-\d+ +\[\d+\] +\S+ +(\d+)\.(\d{6}): (\w+): (.*)$`)
	// 8,0 R 2048 + 8 [blockrig-io]
	// 8,0 R () 2048 + 8 none,0,0 [-5]
	// 8,0 R 2048 + 8 <- (254,1) 0
	blockPattern = regexp.MustCompile(`^(\d+),(\d+) (\w+) (?:\(.*\) )?(\d+) \+ (\d+) (?:.*\[(.*)\]|<- \((\d+),(\d+)\) (\d+))$`)
	// (bio_endio+0x0/0x200) dev=8388608 op=0x0 sector=2048 status=19
	endedPattern = regexp.MustCompile(`^\(.*\) dev=(\d+) op=(\d+) sector=(\d+) status=(\d+)$`)
)

// parse reads a line of a trace. It is false for one that is none of an event
// that is known.
func parse(line string) (Event, bool) {
	m := linePattern.FindStringSubmatch(line)
	if m == nil {
		return Event{}, false
	}
	at, err := time.ParseDuration(m[1] + "." + m[2] + "s")
	e := Event{At: at, Kind: Kind(m[3])}
	switch e.Kind {
	case Ended:
		return e, err == nil && e.ended(m[4])
	case Queued, Remapped, Requested, Completed:
		return e, err == nil && e.block(m[4])
	}
	return e, false
}

// block reads what a tracepoint of the block layer says.
func (e *Event) block(text string) bool {
	m := blockPattern.FindStringSubmatch(text)
	if m == nil {
		return false
	}
	n := numbers{}
	e.Dev = n.dev(m[1], m[2])
	e.Op, e.Sector, e.Sectors = opOf(m[3]), n.of(m[4]), n.of(m[5])
	switch e.Kind {
	case Remapped:
		e.From, e.FromAt = n.dev(m[7], m[8]), n.of(m[9])
	case Requested, Completed:
		if no := n.of(m[6]); no != 0 {
			e.Errno = errnoName(-no)
		}
	}
	return !n.bad
}

// ended reads what the probe says.
func (e *Event) ended(text string) bool {
	m := endedPattern.FindStringSubmatch(text)
	if m == nil {
		return false
	}
	n := numbers{}
	dev := n.of(m[1]) // dev_t of the kernel: MINORBITS is 20 (include/linux/kdev_t.h)
	e.Dev = unix.Mkdev(uint32(dev>>20), uint32(dev&(1<<20-1)))
	e.Op, e.Sector = bioOp(n.of(m[2])), n.of(m[3])
	if status := n.of(m[4]); status != 0 {
		e.Errno = statusName(status)
	}
	const unreadable = 1<<32 - 1
	return !n.bad && dev != 0 && dev != unreadable // one that was for no device has none
}

// numbers reads several and remembers that one was none.
type numbers struct{ bad bool }

func (n *numbers) of(s string) int64 {
	v, err := strconv.ParseInt(s, 10, 64)
	n.bad = n.bad || err != nil
	return v
}

func (n *numbers) dev(major, minor string) uint64 {
	return unix.Mkdev(uint32(n.of(major)), uint32(n.of(minor)))
}

// opOf reads the letters of blk_fill_rwbs (kernel/trace/blktrace.c): the
// operation comes first, or after an F for a flush before it.
func opOf(rwbs string) string {
	rest := strings.TrimPrefix(rwbs, "F")
	switch {
	case rest == "" || rest == "N" && rwbs != rest:
		return "flush"
	case strings.HasPrefix(rest, "R"):
		return "read"
	case strings.HasPrefix(rest, "WZ"):
		return "zeroes"
	case strings.HasPrefix(rest, "W"):
		return "write"
	case strings.HasPrefix(rest, "D"):
		return "discard"
	}
	return "other"
}

// bioOp is the operation in bi_opf (enum req_op in include/linux/blk_types.h).
func bioOp(opf int64) string {
	switch opf & 0xff {
	case 0:
		return "read"
	case 1:
		return "write"
	case 2:
		return "flush"
	case 3:
		return "discard"
	case 9:
		return "zeroes"
	}
	return "other"
}

// statuses are those of blk_status_t that have been the same since they came
// (include/linux/blk_types.h, and blk_errors in block/blk-core.c).
var statuses = map[int64]unix.Errno{
	1: unix.EOPNOTSUPP, 2: unix.ETIMEDOUT, 3: unix.ENOSPC, 4: unix.ENOLINK, 5: unix.EREMOTEIO, 6: unix.EBADE,
	7: unix.ENODATA, 8: unix.EILSEQ, 9: unix.ENOMEM, 10: unix.EIO, 12: unix.EAGAIN, 13: unix.EBUSY, 19: unix.EINVAL,
}

func statusName(status int64) string {
	if errno, ok := statuses[status]; ok {
		return unix.ErrnoName(errno)
	}
	return fmt.Sprintf("block status %d", status)
}

func errnoName(n int64) string {
	if name := unix.ErrnoName(unix.Errno(n)); n > 0 && name != "" {
		return name
	}
	return fmt.Sprintf("errno %d", n)
}
