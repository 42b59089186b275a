package verdict

// A Verdict is what a trial says about a kernel.
type Verdict string

// Verdicts; what each means is in Judge.
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

// order is from the worst to the best.
var order = []Verdict{Corrupt, Hang, Bug, Warn, EIO, Degraded, Errno, Pass}

// Known says whether v is a verdict that a trial can have.
func Known(v Verdict) bool {
	for _, o := range order {
		if v == o {
			return true
		}
	}
	return v == Error
}

// Failure says whether v is a verdict against the kernel.
func (v Verdict) Failure() bool { return v != Pass && v != Error && v != Clean }
