package verdict

import (
	"github.com/blockrig/blockrig/scenarios"
)

// A Verdict is what a trial says about a kernel.
type Verdict = scenarios.Verdict

// Verdicts; what each means is in Judge.
const (
	Corrupt  = scenarios.Corrupt
	Hang     = scenarios.Hang
	Bug      = scenarios.Bug
	Warn     = scenarios.Warn
	EIO      = scenarios.EIO
	Degraded = scenarios.Degraded
	Errno    = scenarios.Errno
	Pass     = scenarios.Pass
	Error    = scenarios.Error
	Clean    = scenarios.Clean
)

// Known says whether v is a verdict that a trial can have.
func Known(v Verdict) bool { return v.Known() }
