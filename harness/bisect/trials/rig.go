package trials

import (
	"context"
	"log/slog"

	"github.com/blockrig/blockrig/harness/qemu"
	"github.com/blockrig/blockrig/harness/trial"
	"github.com/blockrig/blockrig/kernels"
)

// A Rig is what trials run with.
type Rig struct {
	Lab  *trial.Lab
	CPUs int // of the guest; 0: the accelerator's default
	Jobs int // trials at a time
	Cold bool
	Log  *slog.Logger

	// Accelerate chooses how machines run, with a kernel to find it out with.
	Accelerate func(ctx context.Context, k kernels.Kernel) (qemu.Accel, error)
	// Progress is told what is being done; nil for none. It is called from
	// several goroutines.
	Progress func(phase, what string)
	// Say tells a person something that is not the answer; nil for nobody.
	Say func(format string, args ...any)

	accel qemu.Accel // once chosen
}

// accelerate is Accelerate, asked once.
func (r *Rig) accelerate(ctx context.Context, k kernels.Kernel) (qemu.Accel, error) {
	if r.accel == "" {
		a, err := r.Accelerate(ctx, k)
		if err != nil {
			return "", err
		}
		r.accel = a
	}
	return r.accel, nil
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
		Lab: r.Lab, CPUs: r.CPUs, Jobs: r.Jobs, Log: r.Log, Accelerate: r.accelerate,
		Progress: func(_ int, phase, what string) { r.progress(phase, what) },
	}
}
