// Package console reads kernel logs and finds what went wrong in them.
package console

// A Kind is the class of a finding.
type Kind string

// Kinds of findings.
const (
	KindHang  Kind = "hang"  // hung task, stall, lockup
	KindPanic Kind = "panic" // the kernel gave up
	KindBug   Kind = "bug"   // BUG, oops, sanitizer report
	KindWarn  Kind = "warn"  // WARNING, lockdep, refcount, leak
	KindIO    Kind = "io"    // an I/O error, a failed leg, a kicked disk
	KindBoot  Kind = "boot"  // the kernel could not start user space

	// KindUnrecognized is a complaint of storage that no row of the tables
	// knows: it may mean anything, so that it counts for no verdict, but a log
	// with one is not simply clean.
	KindUnrecognized Kind = "unrecognized"
)

// A Finding is one thing that a kernel log shows.
type Finding struct {
	Kind  Kind   `json:"kind"`
	Title string `json:"title"` // normalised, in the field's convention: "WARNING in bio_add_page"
	Place string `json:"place"` // "block/bio.c:1044", a device ("sdb") for KindIO, "" when the log does not say
	Line  int    `json:"line"`  // first line in the log, from 1

	LastLine int     `json:"last_line,omitempty"`
	Count    int64   `json:"count,omitempty"` // times seen, suppressed repeats included; at least 1
	Trace    []Frame `json:"trace,omitempty"`

	CPU       *int   `json:"cpu,omitempty"`
	PID       int    `json:"pid,omitempty"`
	Comm      string `json:"comm,omitempty"`
	Workqueue string `json:"workqueue,omitempty"`
	Release   string `json:"release,omitempty"` // of the kernel
	Tainted   string `json:"tainted,omitempty"`

	Boot int `json:"boot,omitempty"` // from 2, in a log of several boots: which one

	Consequence bool `json:"consequence,omitempty"` // follows from an earlier finding
	Cut         bool `json:"cut,omitempty"`         // the report is incomplete
	Interleaved bool `json:"interleaved,omitempty"` // other lines stand inside the report
	// Impossible says what in the report's registers no processor comes to by
	// itself: what ran the kernel went wrong, not the kernel.
	Impossible string `json:"impossible,omitempty"`
	// Timer says that a timer of the kernel's had run out, which it also does
	// when what ran the kernel or its disks stood still.
	Timer bool `json:"timer,omitempty"`
	// Baseline is set for what was said before the first Mark of the guest
	// ("blockrig: guest: …") in a log that has one: the boot's, not the trial's.
	Baseline bool `json:"baseline,omitempty"`
}

// A Frame is one entry of a call trace.
type Frame struct {
	Func     string `json:"func"`
	Offset   uint64 `json:"offset"`
	Size     uint64 `json:"size,omitempty"`
	Module   string `json:"module,omitempty"`
	Reliable bool   `json:"reliable"` // false for entries marked with "?"
	File     string `json:"file,omitempty"`
	SrcLine  int    `json:"src_line,omitempty"`
	Inlined  bool   `json:"inlined,omitempty"`

	arm bool // from a line that can be nothing but a frame
}
