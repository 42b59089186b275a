package protocol

import (
	"time"

	"github.com/blockrig/blockrig/scenarios"
)

// BeatEvery is the longest guest time between two beats of a healthy guest.
const BeatEvery = 200 * time.Millisecond

// MaxLine is the longest line either side sends, in bytes.
const MaxLine = 64 << 10

// ToGuest is one line from the host; exactly one field is set.
type ToGuest struct {
	Setup *Setup `json:"setup,omitempty"`
	Step  *Step  `json:"step,omitempty"`
	Sweep *Sweep `json:"sweep,omitempty"`
	// Given answers a beat: how long the host let the guest run, or rest, since
	// it sent the last Setup or Step, in milliseconds. The guest can't know: its
	// clock goes on while the host keeps it waiting.
	Given *int64 `json:"given,omitempty"`
	// Ask, which only a ScriptFile has, is the number of what the guest is to have
	// done by whoever listens to ttyS1, from 1: see AskLine.
	Ask int `json:"ask,omitempty"`
}

// Setup is what must be there before the step; a snapshot is taken after it.
type Setup struct {
	Modules []Module          `json:"modules"` // in the order to load them
	Disks   []Disk            `json:"disks"`
	Require scenarios.Require `json:"require"`
	Stack   []scenarios.Layer `json:"stack"`
	// Assemble has the stack put together again from what the disks hold, not
	// made: the power was cut.
	Assemble bool   `json:"assemble,omitempty"`
	Timing   bool   `json:"timing,omitempty"` // say in Ready what the boot's time went into
	Shell    bool   `json:"shell,omitempty"`  // run a shell on ttyS0 once the stack is ready
	Script   string `json:"script,omitempty"` // what that shell runs; "" for a person's
	Rows     uint16 `json:"rows,omitempty"`   // of the person's terminal; 0 when not known
	Cols     uint16 `json:"cols,omitempty"`
}

// Module is a kernel module in the initramfs.
type Module struct {
	Path     string `json:"path"`
	Optional bool   `json:"optional,omitempty"` // it may refuse to load, for want of hardware
}

// Disk is a disk that the machine has. The guest finds it by its serial
// number: the order of sda and sdb changes between boots.
type Disk struct {
	scenarios.Disk
	Serial string `json:"serial"`
}

// Pattern is byte i of a file's known content. No two sectors of it are the
// same, and it holds no zero byte, so that a hole, a shift or a swap shows.
func Pattern(i int64) byte { return PatternOf(0, i) }

// PatternOf is byte i of what a write of that generation puts there; 0 is what
// stood there before the first step.
func PatternOf(generation uint32, i int64) byte {
	x := (uint64(i)>>9+uint64(generation)<<40)*0x9E3779B97F4A7C15 + uint64(i)&511*0x2545F4914F6CDD1D
	x ^= x >> 29
	return byte(x%255) + 1
}

// Fill makes b what a write of that generation puts at offset at.
func Fill(b []byte, generation uint32, at int64) {
	for i := range b {
		b[i] = PatternOf(generation, at+int64(i))
	}
}

// Extent is a part of a file or device and what may stand there.
type Extent struct {
	Offset      int64    `json:"offset"` // bytes
	Length      int64    `json:"length"`
	Generations []uint32 `json:"generations"`     // any of them, sector by sector
	Mixed       []uint32 `json:"mixed,omitempty"` // or any mix of one of these and the next
	Zero        bool     `json:"zero,omitempty"`  // or zeroes
	Whole       bool     `json:"whole,omitempty"` // all of it is of one of them
}

// Step is one step of a trial, done by the guest.
type Step struct {
	scenarios.Step
	Index      int      `json:"index"`                // in the case's steps, from 0
	Generation uint32   `json:"generation,omitempty"` // of what it writes; of a read, the last one of any write
	Groups     [][]Step `json:"groups,omitempty"`     // of a parallel step: its steps in this form
	Data       []Extent `json:"data,omitempty"`       // what may stand where it reads; elsewhere anything may
	Trial      uint64   `json:"trial"`
	Entropy    []byte   `json:"entropy,omitempty"`   // credited to the guest's random pool first
	Trace      bool     `json:"trace,omitempty"`     // record what the block layer does
	Explained  bool     `json:"explained,omitempty"` // I/O errors are the scenario's doing: many of them are no flood
	// Guest time that the host gave, in milliseconds:
	LimitMS int64 `json:"limit_ms"` // after it the child is killed whatever it does
	IdleMS  int64 `json:"idle_ms"`  // after as much without disk activity it is killed
	ReapMS  int64 `json:"reap_ms"`  // after SIGKILL, when it counts as unkillable if the kernel is broken
	WaitMS  int64 `json:"wait_ms"`  // the same, if nothing shows that the kernel is broken
}

// FromGuest is one line from the guest; exactly one of the pointers is set.
type FromGuest struct {
	Trial uint64 `json:"trial"`
	MS    int64  `json:"ms"` // guest CLOCK_MONOTONIC, milliseconds

	Hello   *Hello     `json:"hello,omitempty"`
	Phase   *Phase     `json:"phase,omitempty"`
	Ready   *Ready     `json:"ready,omitempty"`
	Started *Started   `json:"started,omitempty"`
	Beat    *Beat      `json:"beat,omitempty"`
	Trace   *TraceText `json:"trace,omitempty"`
	Result  *Result    `json:"result,omitempty"`
	Swept   *Swept     `json:"swept,omitempty"`
	Fail    *Fail      `json:"fail,omitempty"`
}

// Hello is the guest's first line.
type Hello struct {
	Release string `json:"release"` // uname -r
	CPUs    int    `json:"cpus"`
	BootID  string `json:"boot_id"` // /proc/sys/kernel/random/boot_id
}

// Phase says that a phase begins.
type Phase struct {
	Name string `json:"name"`
	What string `json:"what,omitempty"` // the command or action inside it
}

// Ready says that the stack is built and proven.
type Ready struct {
	Proof []string        `json:"proof"` // one line per fact that was checked
	Table string          `json:"table"` // dm table or mdstat line
	Legs  []scenarios.Leg `json:"legs"`
	Boot  *Boot           `json:"boot,omitempty"` // with Setup.Timing
}

// Boot is when the kernel did what, in microseconds of its clock.
type Boot struct {
	UnpackFrom int64 `json:"unpack_from_us"` // the initramfs
	UnpackTo   int64 `json:"unpack_to_us"`
	Init       int64 `json:"init_us"` // PID 1's first line
}

// Started says that the child was told to do the I/O.
type Started struct {
	PID int `json:"pid"`
}

// Beat is a sign of life of PID 1.
type Beat struct{}

// TraceText is the first lines of a step's trace as the kernel wrote them, for
// people who want to see more than a Result says of it.
type TraceText struct {
	Lines []string `json:"lines"`
}

// Result is the end of the step.
type Result struct {
	scenarios.Observation
	Unkillable *Unkillable      `json:"unkillable,omitempty"` // killed and not reaped
	Groups     [][]Result       `json:"groups,omitempty"`     // of a parallel step: what its steps showed, as far as they were done
	Trace      *scenarios.Trace `json:"trace,omitempty"`      // with Step.Trace
	Disks      []DiskIO         `json:"disks"`
	DisksError string           `json:"disks_error,omitempty"` // why what the disks did is not known
	MS         int64            `json:"ms"`                    // guest time of the step, milliseconds
}

// Unkillable describes a task that SIGKILL did not end.
type Unkillable struct {
	PID   int      `json:"pid"`
	State string   `json:"state"` // of /proc/PID/stat: D, R, …
	Wchan string   `json:"wchan,omitempty"`
	Stack []string `json:"stack,omitempty"` // /proc/PID/stack
	MS    int64    `json:"ms"`              // guest time since SIGKILL
}

// DiskIO is what a disk did during the step: differences of
// /sys/block/DISK/stat.
type DiskIO struct {
	ID     string `json:"id"`
	Reads  int64  `json:"reads"` // requests completed
	Writes int64  `json:"writes"`
	Others int64  `json:"others,omitempty"` // discards and flushes
}

// Fail says that something the guest needs did not work; no verdict about
// the kernel by itself.
type Fail struct {
	Phase string `json:"phase"`
	What  string `json:"what"` // the command or action
	Why   string `json:"why"`
	// Hung is set when What was a child that SIGKILL did not end: that one
	// is the kernel's doing.
	Hung *Unkillable `json:"hung,omitempty"`
	// Certain is set where the same must come of another try: a precondition
	// that does not hold, a tool or a file of the kernel's that is not there.
	Certain bool `json:"certain,omitempty"`
	// Broken is set when What was lost in a power cut though it must survive
	// one.
	Broken bool `json:"broken,omitempty"`
}
