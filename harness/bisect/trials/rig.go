package trials

import (
	"log/slog"

	"github.com/blockrig/blockrig/harness/trial"
)

// A Rig is what trials run with.
type Rig struct {
	Preparer *trial.Preparer
	Workers  int // trials at a time
	Log      *slog.Logger

	// Progress is told what is being done; nil for none. It is called from
	// several goroutines.
	Progress func(phase, what string)
	// Say tells a person something that is not the answer; nil for nobody.
	Say func(format string, args ...any)
}

func (r *Rig) progress(phase, what string) {
	if r.Progress != nil {
		r.Progress(phase, what)
	}
}

func (r *Rig) say(format string, args ...any) {
	if r.Say != nil {
		r.Say(format, args...)
	}
}

// schedule is one for the rig's trials; the caller adds Begin and Done.
func (r *Rig) schedule() *trial.Schedule {
	return &trial.Schedule{
		Find: r.Preparer.Find, Workers: r.Workers, Log: r.Log,
		Progress: func(_ int, phase, what string) { r.progress(phase, what) },
	}
}
