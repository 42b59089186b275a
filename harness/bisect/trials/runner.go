package trials

import (
	"log/slog"

	"github.com/blockrig/blockrig/harness/trial"
	"github.com/blockrig/blockrig/kernels/gitbuild"
)

// A Runner is what trials run with.
type Runner struct {
	Preparer *trial.Preparer
	Workers  int // trials at a time
	Log      *slog.Logger
	// Fleet, when not nil, has the trials made on other machines.
	Fleet trial.Fleet
	// Away, when not nil, is who builds kernels that name a compiler of theirs.
	Away gitbuild.Away
	// Trace is that of the trials' schedule: which failures are shown once more
	// with a trace. Nil: none.
	Trace func(trial.Job, trial.Outcome) bool

	// Progress gets what is being done; nil for none. It is called from
	// several goroutines.
	Progress func(phase, what string)
	// Say gives a person what is not the answer; nil for nobody.
	Say func(format string, args ...any)
}

func (r *Runner) progress(phase, what string) {
	if r.Progress != nil {
		r.Progress(phase, what)
	}
}

func (r *Runner) say(format string, args ...any) {
	if r.Say != nil {
		r.Say(format, args...)
	}
}

// schedule is one for the runner's trials; the caller adds Begin and Done.
func (r *Runner) schedule() *trial.Schedule {
	return &trial.Schedule{
		Find: r.Preparer.Find, Workers: r.Workers, Log: r.Log, Fleet: r.Fleet, Fresh: true,
		Progress: func(_ int, phase, what string) { r.progress(phase, what) },
	}
}
