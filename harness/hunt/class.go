package hunt

import (
	"slices"
	"strings"

	"github.com/blockrig/blockrig/initramfs/protocol"
	"github.com/blockrig/blockrig/results"
	"github.com/blockrig/blockrig/scenarios"
)

// A Class is what a finding does to its user.
type Class string

// Classes, the worst first.
const (
	LosesData   Class = "loses data"
	Hangs       Class = "hangs"
	Breaks      Class = "breaks the kernel"
	BlamesDisk  Class = "blames a disk"
	LosesError  Class = "loses an error"
	Differently Class = "answers differently"
)

// Classes are all there are.
func Classes() []Class {
	return []Class{LosesData, Hangs, Breaks, BlamesDisk, LosesError, Differently}
}

// classOf is that of a trial; "" where it shows nothing.
func classOf(r results.Record) Class {
	all := append([]scenarios.Verdict{r.Verdict}, r.Also...)
	has := func(v ...scenarios.Verdict) bool {
		return slices.ContainsFunc(all, func(w scenarios.Verdict) bool { return slices.Contains(v, w) })
	}
	switch {
	case !r.Verdict.Failure():
		return ""
	case has(scenarios.Corrupt):
		return LosesData
	case has(scenarios.Hang):
		return Hangs
	case has(scenarios.Warn, scenarios.Bug):
		return Breaks
	case has(scenarios.Degraded):
		return BlamesDisk
	}
	return Differently
}

// guessOf is what a sweep shows, before any trial.
func guessOf(s protocol.Swept, answers []string) Class {
	switch {
	case slices.ContainsFunc(answers, wrongData), s.Differ != "":
		return LosesData
	case s.Hung != nil || s.Killed != "":
		return Hangs
	case slices.ContainsFunc(s.Changed, func(c string) bool { return strings.HasPrefix(c, "the kernel") }):
		return Breaks
	case len(s.Legs) > 0 || len(s.Changed) > 0:
		return BlamesDisk
	}
	return Differently
}

// wrongData says whether an answer is one of wrong bytes.
func wrongData(answer string) bool { return strings.Contains(answer, "@") }

// A Trigger is what about an operation on a stack may set off a bug. Programs
// with one that has set off something are not tried again on that stack: they
// would cost a machine each.
type Trigger struct {
	Stack    string `json:"stack"`
	Way      string `json:"way"` // read, write, or the operation
	Direct   bool   `json:"direct"`
	Memory   bool   `json:"memory"` // the address of a piece, or its length, is misaligned
	Range    bool   `json:"range"`  // the offset or the whole length is misaligned
	Unmapped bool   `json:"unmapped"`
	Flags    string `json:"flags,omitempty"`
	Size     string `json:"size,omitempty"` // less than a page, a page, more
}

// sector is the logical block of the disks, in bytes.
const sector = 512

// oddPiece says whether a piece of memory is misaligned: where it begins, or its
// length.
func oddPiece(v scenarios.Vector) bool { return v.MemoryOffset%sector != 0 || v.Length%sector != 0 }

func triggerOf(stack string, o scenarios.IO) Trigger {
	const page = 4096
	t := Trigger{Stack: stack, Way: o.Op, Direct: o.Direct, Unmapped: o.Unmapped, Flags: strings.Join(o.Flags, "|"), Size: "a page"}
	switch {
	case o.Reads():
		t.Way = "read"
	case o.Writes():
		t.Way = "write"
	}
	t.Range = o.Offset%sector != 0 || o.Length%sector != 0
	t.Memory = o.MemoryOffset%sector != 0 || slices.ContainsFunc(o.Vectors, oddPiece)
	if o.Length < page {
		t.Size = "less"
	} else if o.Length > page {
		t.Size = "more"
	}
	if !o.Transfers() {
		t.Size = ""
	}
	return t
}

// kin is the trigger without what makes one bug show in several ways.
func (t Trigger) kin() Trigger {
	t.Size = ""
	return t
}

// on is the same trigger on another stack.
func (t Trigger) on(stack string) Trigger {
	t.Stack = stack
	return t
}
