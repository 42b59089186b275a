package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/blockrig/blockrig/harness/trial"
	"github.com/blockrig/blockrig/kernels"
	"github.com/blockrig/blockrig/scenarios/language"
)

// Trials makes real trials for a worker.
type Trials struct {
	Kernels *kernels.Store
	Bases   *trial.BaseCache
	Binary  string // QEMU; "" for the one in PATH
	Log     *slog.Logger
	Classes []Class // of this machine
}

// Limits of a job.
const (
	mostCPUs = 64
	mostSeed = 1 << 10 // bytes
)

// Check says what is wrong with a job. It is to be what its scenario, read
// anew, gives: what a machine may have is checked there.
func (t *Trials) Check(j trial.Job) error {
	if !slices.ContainsFunc(t.Classes, func(c Class) bool { return c.QEMU == j.QEMU && c.Accel == j.Accel }) {
		return errors.New("it is for another QEMU or accelerator")
	}
	if j.CPUs < 1 || j.CPUs > mostCPUs || len(j.Seed) > mostSeed || j.Boot < 0 {
		return errors.New("its machine is none that there can be")
	}
	sc, err := language.Parse(j.Scenario, []byte(j.Source))
	if err != nil {
		return fmt.Errorf("its scenario: %w", err)
	}
	c, err := language.OneCase(sc, j.Case)
	if err != nil {
		return fmt.Errorf("its scenario: %w", err)
	}
	for _, part := range []struct {
		what      string
		job, want any
	}{{"machine", j.Setup, c.Setup}, {"steps", j.Steps, c.Steps}} {
		is, err1 := json.Marshal(part.job)
		gives, err2 := json.Marshal(part.want)
		if errors.Join(err1, err2) != nil || string(is) != string(gives) {
			return fmt.Errorf("its %s are not what its scenario gives", part.what)
		}
	}
	free, err := trial.AvailableMemory()
	if err == nil && int64(j.Machine.Memory) > free {
		return fmt.Errorf("its machine wants %d MiB of memory, and %d are free", j.Machine.Memory>>20, free>>20)
	}
	return nil
}

// Do does a job.
func (t *Trials) Do(ctx context.Context, g Given) (o trial.Outcome, err error) {
	if err := os.Mkdir(g.Dir, 0o700); err != nil {
		return o, err
	}
	files := trial.Files{Image: g.Image, Initrd: g.Initrd}
	if g.Job.Direct {
		// By its content, not by what the job says of the kernel.
		digest := filepath.Base(filepath.Dir(g.Image))
		if files.Image, err = t.Kernels.Direct(ctx, kernels.Kernel{Ref: digest[:12], Image: g.Image, Digest: digest}); err != nil {
			return o, err
		}
	}
	s := &trial.Schedule{
		Find:   func(context.Context, trial.Job) (trial.Files, error) { return files, nil },
		Binary: t.Binary, Workers: 1, Log: t.Log, Bases: t.Bases,
		Begin: func(int, trial.Job) (string, error) { return g.Dir, nil },
		Done: func(_ int, got trial.Outcome) error {
			o = got
			return nil
		},
	}
	return o, s.Run(ctx, []trial.Queued{{Job: g.Job}})
}
