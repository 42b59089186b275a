package verdict

import (
	"github.com/blockrig/blockrig/scenarios"
)

// A Report is what guest and host say about a trial, apart from the console.
type Report struct {
	Phase  string   `json:"phase"`            // where the trial ended: infra boot disks stack step done
	Step   string   `json:"step"`             // the operation: pread
	Asked  int64    `json:"asked"`            // bytes the step asks for
	Expect []string `json:"expect,omitempty"` // outcomes that pass: "data", or the name of an errno

	scenarios.Observation
	Reads     int64  `json:"reads,omitempty"`      // requests that the stack's disks completed
	Stuck     *Stuck `json:"stuck,omitempty"`      // a task that SIGKILL did not end
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
	// Host says what went wrong with the host, QEMU or the harness. Nothing
	// that the guest shows counts then.
	Host string `json:"host,omitempty"`
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
		return plural(r.Bytes) + ", wrong"
	case r.Returned:
		return plural(r.Bytes)
	case r.Killed != "", r.Silent != "" && r.Phase == scenarios.PhaseStep:
		return "no answer"
	case r.Died != "":
		return "died"
	default:
		return "-"
	}
}
