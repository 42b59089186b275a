package scenarios

// Phases in the order in which a trial goes through them.
const (
	PhaseInfra = "infra" // before the machine runs
	PhaseBoot  = "boot"  // firmware and kernel, until PID 1 speaks
	PhaseDisks = "disks" // modules and disks
	PhaseStack = "stack" // the storage stack, until it is proven
	PhaseStep  = "step"  // the I/O
	PhaseDone  = "done"  // the I/O returned and was looked at
)

// Phases are all of them, in that order.
var Phases = []string{PhaseInfra, PhaseBoot, PhaseDisks, PhaseStack, PhaseStep, PhaseDone}

// An Observation is what a step showed.
type Observation struct {
	Returned  bool   `json:"returned,omitempty"` // the system call came back
	Bytes     int64  `json:"bytes,omitempty"`
	Errno     string `json:"errno,omitempty"`     // its name; "" where the call did not fail
	Mismatch  *int64 `json:"mismatch,omitempty"`  // first byte that differs from what was written
	Wrong     string `json:"wrong,omitempty"`     // what stands there: stale, other-place, torn, zero, garbage
	Failed    string `json:"failed,omitempty"`    // what did not end, or does not hold, as the step has it
	More      int64  `json:"more,omitempty"`      // I/Os beyond the count, which went well, of a step that goes on for a time
	Changed   int64  `json:"changed,omitempty"`   // how often the buffer was changed while the call ran
	Submitted int64  `json:"submitted,omitempty"` // bytes of requests that the block layer took from the task itself; a kernel without CONFIG_TASK_IO_ACCOUNTING does not count them
	Polled    string `json:"polled,omitempty"`    // what proves that completions were polled for
	Output    string `json:"output,omitempty"`    // the end of what a tool said
	Overrun   *int64 `json:"overrun,omitempty"`   // first byte outside the asked range that was changed, from the buffer's start
	Killed    string `json:"killed,omitempty"`    // why the task was sent SIGKILL
	Died      string `json:"died,omitempty"`      // how it ended when nobody killed it and the call did not return
	Legs      []Leg  `json:"legs,omitempty"`
	LegsError string `json:"legs_error,omitempty"` // why the legs could not be looked at
}

// Leg is one leg of a mirror or array and its health.
type Leg struct {
	Name   string `json:"name"`   // its device: 253:1, or sda
	Disk   string `json:"disk"`   // ID of the disk under it
	Health string `json:"health"` // as the kernel says it: A, D, S, R, U, F; in_sync, faulty
	OK     bool   `json:"ok"`
	Known  bool   `json:"known,omitempty"` // it was so before the step, or the step was to make it so
	Out    bool   `json:"out,omitempty"`   // another one has its place, so that nothing is missing without it
}
