package trial

import (
	"cmp"
	"context"
	"errors"
	"log/slog"

	"github.com/blockrig/blockrig/harness/qemu"
	"github.com/blockrig/blockrig/kernels"
	"github.com/blockrig/blockrig/scenarios"
)

// A Task is one trial that is asked for: a case on a kernel that is still
// only a reference.
type Task struct {
	Ref    string
	Exact  string // a reference that gives the very kernel that Ref once stood for; "": Ref itself
	Case   scenarios.Case
	Repeat int // from 0
}

// A CaseKey names what a task and its repeats have in common.
type CaseKey struct {
	Ref, Case string
	Scenario  *scenarios.Scenario
}

// Key is the task's case on its kernel.
func (t Task) Key() CaseKey { return CaseKey{t.Ref, t.Case.ID, t.Case.Scenario} }

// A Schedule runs tasks.
type Schedule struct {
	Lab  *Lab
	CPUs int // of the guest; 0: one under TCG, two under KVM
	Jobs int // trials at a time
	Log  *slog.Logger
	// Timing has each boot say what its time went into.
	Timing bool

	// Accelerate chooses how the machines run. It is asked once, when there is
	// a kernel to find it out with.
	Accelerate func(ctx context.Context, k kernels.Kernel) (qemu.Accel, error)

	// Bases keeps machines for warm trials; nil makes every trial cold.
	Bases *BaseCache
	// Boots is how many boots of a kernel the repeats of a case are spread
	// over; 0 is one.
	Boots int
	// Until, when not nil, ends the repeats of a case after a result for which
	// it is true.
	Until func(Result) bool

	// Begin gives the folder for a task's trial, made by blockrig and empty.
	Begin func(i int, spec Spec) (dir string, err error)
	// Done takes a task's result. It is called from one goroutine at a time,
	// in the order in which trials end, for every task that was not interrupted.
	Done func(i int, r Result) error
	// Progress is told what happens to a task; i is -1 for what serves all. It
	// is called from several goroutines.
	Progress func(i int, phase, what string)
}

// benchKey is what tasks have in common that share a kernel's preparation.
type benchKey struct {
	ref      string
	scenario *scenarios.Scenario
}

// Run does the tasks. A request that can't be met as it is (see Lab.Prepare)
// ends it before the first trial. One broken task never stops the others;
// only an error of Done does, or the end of ctx: what was under way then ends
// as interrupted, and the rest is not begun.
func (s *Schedule) Run(ctx context.Context, tasks []Task) error {
	benches := map[benchKey]Bench{}
	broken := map[benchKey]error{}
	for _, t := range tasks {
		key := benchKey{t.Ref, t.Case.Scenario}
		if _, ok := benches[key]; ok || broken[key] != nil {
			continue
		}
		s.progress(-1, "fetch", t.Ref)
		b, err := s.Lab.Prepare(ctx, cmp.Or(t.Exact, t.Ref), t.Case.Scenario)
		b.Kernel.Ref = t.Ref
		switch {
		case err == nil:
			benches[key] = b
		case ctx.Err() != nil || WrongRequest(err):
			return err
		default:
			broken[key] = err
		}
	}
	accel, err := s.accelerate(ctx, benches)
	if err != nil {
		return err
	}
	images := map[benchKey]string{}
	for key, b := range benches {
		images[key], err = s.Lab.image(ctx, b.Kernel, accel)
		switch {
		case err == nil:
		case ctx.Err() != nil || WrongRequest(err):
			return err
		default:
			broken[key] = err
		}
	}
	q := s.queue(tasks, accel, benches, images, broken)
	return q.run(ctx)
}

// accelerate chooses the accelerator with any kernel that is there.
func (s *Schedule) accelerate(ctx context.Context, benches map[benchKey]Bench) (qemu.Accel, error) {
	for _, b := range benches {
		s.progress(-1, "accelerator", "")
		return s.Accelerate(ctx, b.Kernel)
	}
	return qemu.TCG, nil // nothing will run
}

// cpus is how many virtual CPUs a guest gets. Under TCG more than one is slow
// and now and then dies early in the boot with nothing wrong in the kernel.
func cpus(asked int, accel qemu.Accel) int {
	switch {
	case asked > 0:
		return asked
	case accel == qemu.KVM:
		return 2
	default:
		return 1
	}
}

func (s *Schedule) progress(i int, phase, what string) {
	if s.Progress != nil {
		s.Progress(i, phase, what)
	}
}

// Failed is the result of a trial that could not be made.
func Failed(spec Spec, err error) Result {
	se := newSession(spec)
	se.enter(scenarios.PhaseInfra, "")
	_ = se.host(err)
	r := se.end()
	r.Attempts = []Attempt{{Verdict: r.Verdict, Phase: r.Phase, Reason: r.Reason}}
	return r
}

// WrongRequest says whether an error of Prepare or Run means that the request
// can't be met as it is, as opposed to something that broke.
func WrongRequest(err error) bool {
	for _, e := range []error{kernels.ErrRef, kernels.ErrNotFound, kernels.ErrImage, kernels.ErrModules, kernels.ErrNeed} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
