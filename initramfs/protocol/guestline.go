package protocol

import (
	"strconv"
	"strings"

	"github.com/blockrig/blockrig/scenarios"
)

// guestPrefix begins what the guest writes to /dev/kmsg. The first such line
// marks the end of the boot's baseline in the console log.
const guestPrefix = "blockrig: guest: "

// A GuestLine is a line of the guest's in the kernel's log. At most one of the
// fields before Text is set, what a program reads; any other line is a Text
// for people.
type GuestLine struct {
	Phase    *Phase    // a phase, or an action in it, begins
	Ready    bool      // the stack is built and proven
	Returned *Returned // the step's system call came back
	End      *uint64   // the log of this trial is complete up to here
	Shows    *Shows    // what a step shows is a failure, whatever else the host knows
	Text     string
}

// Returned is what a step's system call gave.
type Returned struct {
	Op    string // pread
	Bytes int64  // -1 where it failed
	Errno string // its name; "" where it did not fail
}

// Shows is a failure that the guest itself can tell.
type Shows struct {
	Verdict scenarios.Verdict
	Why     string
}

// Words by which the lines are told that a program reads.
const (
	wordPhase    = "phase "
	wordReady    = "ready"
	wordReturned = " returned "
	wordEnd      = "end of trial "
	wordShows    = "shows "
)

func (l GuestLine) String() string {
	text := l.Text
	switch {
	case l.Phase != nil:
		text = wordPhase + l.Phase.Name
		if l.Phase.What != "" {
			text += ": " + l.Phase.What
		}
	case l.Ready:
		text = wordReady
	case l.Returned != nil:
		text = l.Returned.Op + wordReturned + strconv.FormatInt(l.Returned.Bytes, 10)
		if l.Returned.Errno != "" {
			text += " (" + l.Returned.Errno + ")"
		}
	case l.Shows != nil:
		text = wordShows + string(l.Shows.Verdict) + ": " + l.Shows.Why
	case l.End != nil:
		text = wordEnd + strconv.FormatUint(*l.End, 10)
	}
	return guestPrefix + text
}

// ParseGuestLine finds the guest's words in a line of a kernel's log, where
// the kernel's own may stand before them. It is false for other lines.
func ParseGuestLine(line string) (GuestLine, bool) {
	_, text, ok := strings.Cut(line, guestPrefix)
	if !ok {
		return GuestLine{}, false
	}
	text = strings.TrimRight(text, "\r\n")
	if rest, ok := strings.CutPrefix(text, wordPhase); ok {
		name, what, _ := strings.Cut(rest, ":")
		return GuestLine{Phase: &Phase{Name: strings.TrimSpace(name), What: strings.TrimSpace(what)}}, true
	}
	if text == wordReady {
		return GuestLine{Ready: true}, true
	}
	if rest, ok := strings.CutPrefix(text, wordEnd); ok {
		if n, err := strconv.ParseUint(rest, 10, 64); err == nil {
			return GuestLine{End: &n}, true
		}
	}
	if rest, ok := strings.CutPrefix(text, wordShows); ok {
		v, why, _ := strings.Cut(rest, ": ")
		if v := scenarios.Verdict(v); v.Known() && v.Failure() && why != "" {
			return GuestLine{Shows: &Shows{v, why}}, true
		}
	}
	if op, rest, ok := strings.Cut(text, wordReturned); ok && !strings.Contains(op, " ") {
		count, errno, _ := strings.Cut(rest, " (")
		if n, err := strconv.ParseInt(count, 10, 64); err == nil {
			return GuestLine{Returned: &Returned{Op: op, Bytes: n, Errno: strings.TrimSuffix(errno, ")")}}, true
		}
	}
	return GuestLine{Text: text}, true
}
