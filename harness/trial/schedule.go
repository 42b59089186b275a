package trial

import (
	"context"
	"log/slog"
)

// A Schedule runs jobs and gives their outcomes.
type Schedule struct {
	// Find gives the files that a job names; see Preparer.Find.
	Find    func(context.Context, Job) (Files, error)
	Binary  string // QEMU; "" for the one in PATH
	Workers int    // trials at a time
	Log     *slog.Logger

	// Fleet, when not nil, has the trials made on other machines.
	Fleet Fleet
	// Fresh says that none of them is to go on from a machine that was saved
	// before.
	Fresh bool

	// Bases keeps machines for warm trials; nil makes every trial cold.
	Bases *BaseCache
	// Until, when not nil, ends the repeats of a case after an outcome for
	// which it is true.
	Until func(Outcome) bool

	// Trace, when not nil, is asked of every trial that was not traced and did
	// not pass whether to make it once more, to find out who failed first. What
	// that gives is in the outcome's Traced, and changes nothing else of it. It
	// is called from several goroutines.
	Trace func(Job, Outcome) bool

	// Begin gives the folder for a job's outcome, made by blockrig and empty.
	Begin func(i int, j Job) (dir string, err error)
	// Done takes a job's outcome, whose files are in the folder. It is called
	// from one goroutine at a time, in the order in which trials end, for every
	// job that was not interrupted.
	Done func(i int, o Outcome) error
	// Progress is told what happens to a job. It is called from several
	// goroutines; nil for nobody.
	Progress func(i int, phase, what string)
}

// Run does the jobs. One that is broken never stops the others; only an error
// of Done does, or the end of ctx: what was under way then ends as interrupted,
// and the rest is not begun.
func (s *Schedule) Run(ctx context.Context, jobs []Queued) error {
	if s.Fleet != nil {
		return s.away(ctx, jobs)
	}
	return s.queue(jobs).run(ctx)
}

// local is a job on this machine, in the folder dir.
func (s *Schedule) local(i int, j Job, dir string) Local {
	return Local{
		Job: j, Binary: s.Binary, Dir: dir, Log: s.Log,
		Progress: func(phase, what string) {
			if s.Progress != nil {
				s.Progress(i, phase, what)
			}
		},
	}
}
