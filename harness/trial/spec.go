package trial

import (
	"log/slog"
	"time"

	"github.com/blockrig/blockrig/harness/console"
	"github.com/blockrig/blockrig/harness/qemu"
	"github.com/blockrig/blockrig/harness/verdict"
	"github.com/blockrig/blockrig/initramfs/protocol"
	"github.com/blockrig/blockrig/kernels"
	"github.com/blockrig/blockrig/scenarios"
)

// A Spec is one trial.
type Spec struct {
	Kernel       kernels.Kernel
	Image        string            // what QEMU starts: the kernel's bzImage, or what is in it; "" for the bzImage
	Initrd       string            // initramfs file
	InitrdDigest string            // of its content
	Modules      []protocol.Module // in it, in the order to load them
	Case         scenarios.Case

	Accel  qemu.Accel
	CPUs   int
	Binary string // QEMU; "" for the one in PATH

	// Dir is a folder of blockrig's own for this trial's files. console.log
	// and events.jsonl stay in it; disks are removed when the trial ends.
	Dir string

	Timing   bool                     // have the guest say what the boot's time went into
	Log      *slog.Logger             // nil for none
	Progress func(phase, what string) // nil for none
}

// A Result is what came of a trial.
type Result struct {
	verdict.Judgement

	Report   verdict.Report
	Findings []console.Finding
	Ready    *protocol.Ready  // nil when the stack did not get ready
	Step     *protocol.Result // nil when the step gave no answer

	Release string // of the kernel that came up; "" when it did not say
	BootID  string
	CPUs    int
	Accel   qemu.Accel
	Warm    bool

	Started time.Time
	Boot    time.Duration // from power-on, or from the start of loading a snapshot, until the stack is ready
	Trial   time.Duration // from the step's start until its answer
	Wall    time.Duration // of the whole trial
	Guest   time.Duration // guest time from boot to answer
	Timing  []Timing      // where the time went

	Attempts []Attempt // all that were made; the last one is this result

	Console string   // path of the console log, trailer included
	Events  string   // path of the messages exchanged
	Args    []string // QEMU's command line
}

// Timing is how long a part of a trial took.
type Timing struct {
	Phase string        `json:"phase"`
	What  string        `json:"what,omitempty"`
	Took  time.Duration `json:"took_ns"`
}
