package scenarios

import (
	"slices"
)

// A Verdict is what a trial says about a kernel.
type Verdict string

// Verdicts; package verdict gives them.
const (
	Corrupt  Verdict = "corrupt"  // bytes came back wrong
	Hang     Verdict = "hang"     // a task can't be killed, the guest or the kernel stalls
	Bug      Verdict = "bug"      // BUG, oops, sanitizer report, panic
	Warn     Verdict = "warn"     // WARN, lockdep, refcount, leak
	EIO      Verdict = "eio"      // the I/O failed with EIO
	Degraded Verdict = "degraded" // a leg failed, or I/O errors, though nothing was injected
	Errno    Verdict = "errno"    // another errno, or a short transfer, that was not expected
	Pass     Verdict = "pass"     // expected, right, proven, healthy, clean
	Error    Verdict = "error"    // no verdict about the kernel
	Clean    Verdict = "clean"    // a log without a report, and nothing found in it
)

// Verdicts are those about a kernel that a trial can have, worst first.
var Verdicts = []Verdict{Corrupt, Hang, Bug, Warn, EIO, Degraded, Errno, Pass}

// Known says whether v is a verdict that a trial can have.
func (v Verdict) Known() bool { return v == Error || slices.Contains(Verdicts, v) }

// Failure says whether v is a verdict against the kernel.
func (v Verdict) Failure() bool { return v != Pass && v != Error && v != Clean }

// Rank sorts verdicts, the worst first; what is none about a kernel comes
// last.
func (v Verdict) Rank() int {
	if i := slices.Index(Verdicts, v); i >= 0 {
		return i
	}
	return len(Verdicts)
}
