package verdict

import (
	"cmp"
	"slices"

	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/scenarios"
)

// A Report is what guest and host say about a trial, apart from the console.
type Report struct {
	Phase  string   `json:"phase"`            // where the trial ended: infra boot disks stack step done
	Step   string   `json:"step"`             // the operation: pread
	Asked  int64    `json:"asked"`            // bytes the step asks for
	Expect []string `json:"expect,omitempty"` // outcomes that pass: "data", or the name of an errno

	scenarios.Observation
	Reads  int64  `json:"reads,omitempty"`  // requests that the stack's disks completed
	Writes int64  `json:"writes,omitempty"` // the same, writes
	Stuck  *Stuck `json:"stuck,omitempty"`  // a task that SIGKILL did not end
	// Moves is what the step must make the disks do, or it proves nothing. Older
	// reports, of reads alone, do not say it.
	Moves  Moves             `json:"moves,omitempty"`
	FailAs scenarios.Verdict `json:"fail_as,omitempty"` // what Failed means, by the scenario
	Before []StepReport      `json:"before,omitempty"`  // the steps before this one, which ended as they should
	// Moment is that of a power cut which is tried at several: steps since then
	// were done after this one.
	Moment string `json:"moment,omitempty"`
	// Unproven says what a step before this one should have made the disks do,
	// and did not: no pass, whatever follows.
	Unproven string `json:"unproven,omitempty"`
	// Explained says that the scenario itself brought about I/O errors: a fault,
	// or an act on the stack. The console's words about them prove nothing.
	Explained bool `json:"explained,omitempty"`
	// Allow are titles of findings that the scenario takes for no failure; see
	// scenarios.Allowed.
	Allow []string `json:"allow,omitempty"`

	// Emulated says that QEMU emulated the processor (TCG), with the mistakes
	// that QEMU makes.
	Emulated bool `json:"emulated,omitempty"`

	DiskError string `json:"disk_error,omitempty"` // why the disks' I/O counters are not known
	LogError  string `json:"log_error,omitempty"`  // why the console may not be all

	// Paused says that the guest stood still for the host's sake (suspended,
	// frozen, busy), which the guest's clocks do not know. Its watchdogs' words,
	// "hang" on the console, prove nothing then.
	Paused string `json:"paused,omitempty"`
	// Doubt says why Stuck proves nothing: the host may be what the task waits
	// for.
	Doubt  string `json:"doubt,omitempty"`
	Silent string `json:"silent,omitempty"` // the guest stopped answering while its CPU was given time
	Reset  string `json:"reset,omitempty"`  // the guest ended the machine by itself
	// Setup says what the guest could not set up, or what a kernel that did
	// not come up last said: no verdict about the kernel unless the console
	// blames it.
	Setup string `json:"setup,omitempty"`
	// Certain says that Setup is a thing that no other try can mend.
	Certain bool `json:"certain,omitempty"`
	// Host says what went wrong with the host, QEMU or the harness. Nothing
	// that the guest shows counts then.
	Host string `json:"host,omitempty"`
}

// Moves is what a step must make the disks do.
type Moves string

// What a step may have to make the disks do.
const (
	MovesReads   Moves = "reads"
	MovesWrites  Moves = "writes"
	MovesNothing Moves = "nothing"
	// MovesTask: a layer may give the answer without asking a disk; the kernel
	// must have taken the request from the task.
	MovesTask Moves = "task"
)

// A StepReport is what a step showed that ended as the scenario has it.
type StepReport struct {
	Step string `json:"step"`
	scenarios.Observation
	Reads  int64 `json:"reads,omitempty"`
	Writes int64 `json:"writes,omitempty"`
}

// Begin takes what the report holds for the end of a step, and makes room for
// the next.
func (r *Report) Begin(next Report) {
	if r.Returned {
		r.Before = append(r.Before, StepReport{r.Step, r.Observation, r.Reads, r.Writes})
		r.Unproven = cmp.Or(r.Unproven, r.unmoved())
	}
	r.Step, r.Asked, r.Expect, r.Moves, r.FailAs = next.Step, next.Asked, next.Expect, next.Moves, next.FailAs
	r.Observation, r.Reads, r.Writes = scenarios.Observation{}, 0, 0
}

// AsExpected says whether the steps ended as the scenario has it, and are proven.
func (r Report) AsExpected() bool { return r.MayGoOn() && r.unproven() == "" }

// MayGoOn says whether the step ended as the scenario has it, so that the next
// one means something. That the disks saw nothing of a write may be the
// harness's fault, or it is lost: what reads it back can tell.
func (r Report) MayGoOn() bool {
	lost := func(l scenarios.Leg) bool { return !l.OK && !l.Known }
	return r.Returned && r.Failed == "" && r.Mismatch == nil && r.Overrun == nil && r.expected() &&
		!slices.ContainsFunc(r.Legs, lost) && r.LegsError == "" && (r.Moves == MovesWrites || r.unmoved() == "")
}

// expected says whether the scenario has the step end so.
func (r Report) expected() bool {
	return slices.Contains(r.Expect, outcomeName(r)) || slices.Contains(r.Expect, "any")
}

// unmoved says what the step should have made the disks do, and did not.
func (r Report) unmoved() string {
	switch {
	case r.Errno != "":
	case r.Moves == MovesWrites && r.Writes <= 0:
		return "the write was done without a request to the stack's disks"
	case r.Moves == MovesTask && r.Submitted <= 0 && r.Reads+r.Writes <= 0:
		return "it was done without a request to the stack, neither to its disks nor, as CONFIG_TASK_IO_ACCOUNTING counts them, to what lies on them"
	case (r.Moves == "" || r.Moves == MovesReads) && r.Reads <= 0:
		return "the data came back without a request to the stack's disks"
	}
	return ""
}

// unproven is that of this step or of one before.
func (r Report) unproven() string { return cmp.Or(r.Unproven, r.unmoved()) }

// Refused says whether a step ended with an errno: it need not have come as far
// as the disks. EINVAL is the right answer to a misaligned buffer.
func (r Report) Refused() bool {
	return r.Errno != "" || slices.ContainsFunc(r.Before, func(b StepReport) bool { return b.Errno != "" })
}

// HostsDoing says that an error is, or may be, the doing of the host, QEMU or
// the harness: the next trial may well end otherwise.
func (r Report) HostsDoing() bool { return r.Host != "" || r.Doubt != "" || r.Paused != "" }

// Stuck is a task that SIGKILL did not end while PID 1 still ran.
type Stuck struct {
	What  string `json:"what"`            // what it was doing: the step, or a tool's command line
	State string `json:"state"`           // of /proc/PID/stat
	Where string `json:"where,omitempty"` // the guilty function of its stack
	MS    int64  `json:"ms"`              // guest time since SIGKILL, milliseconds
}

// Outcome says in the field's words what the step returned.
func (r Report) Outcome() string {
	switch {
	case r.Stuck != nil && r.Phase == scenarios.PhaseStep:
		return "no answer"
	case r.Returned && r.Errno != "":
		return r.Errno
	case r.Returned && r.Mismatch != nil:
		return text.Count(r.Bytes, "byte") + ", wrong"
	case r.Returned && r.Moves == MovesNothing && r.Asked == 0 && r.Bytes == 0:
		return "done"
	case r.Returned:
		return text.Count(r.Bytes, "byte")
	case r.Killed != "", r.Silent != "" && r.Phase == scenarios.PhaseStep:
		return "no answer"
	case r.Died != "":
		return "died"
	default:
		return "-"
	}
}
