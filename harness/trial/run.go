package trial

import (
	"cmp"
	"context"
	"time"

	"github.com/blockrig/blockrig/harness/qemu"
	"github.com/blockrig/blockrig/harness/verdict"
	"github.com/blockrig/blockrig/initramfs/protocol"
	"github.com/blockrig/blockrig/scenarios"
)

// Run does a cold trial: from power-on.
func Run(ctx context.Context, spec Spec) Result {
	s := newSession(spec)
	s.enter(scenarios.PhaseInfra, "")
	if err := s.powerOn(ctx); err != nil {
		_ = s.host(err)
	} else if s.boot(ctx) == nil {
		s.res.Boot = time.Since(s.res.Started)
		_ = s.step(ctx) // whatever it was is in the report
	}
	return s.end()
}

func newSession(spec Spec) *session {
	c := spec.Case
	return &session{spec: spec, mark: time.Now(), res: &Result{
		Started: time.Now(), Accel: spec.Accel, CPUs: spec.CPUs,
		Report: verdict.Report{Step: c.Step.Op, Asked: c.Step.Length, Expect: c.Expect},
	}}
}

// end closes the machine, cleans up, and judges.
func (s *session) end() Result {
	phase := s.res.Report.Phase
	s.enter("end", "")
	s.res.Report.Phase = phase
	s.close()
	r := s.res
	r.Timing[len(r.Timing)-1].Took = time.Since(s.mark)
	phaseOf := verdict.PhaseOf(nil)
	if s.rec != nil {
		phaseOf = verdict.PhaseOf(s.rec.marks)
	}
	r.Judgement = verdict.Judge(r.Findings, r.Report, phaseOf)
	r.Wall = time.Since(r.Started)
	return *r
}

func createDisks(ctx context.Context, spec Spec) ([]qemu.Disk, error) {
	var out []qemu.Disk
	for _, d := range spec.Case.Scenario.Disks {
		disk, err := qemu.CreateDisk(ctx, spec.Dir, d.ID, int64(d.Size), qemu.Raw)
		if err != nil {
			return out, err
		}
		out = append(out, disk)
	}
	return out, nil
}

// machine is the machine that the case needs.
func (spec Spec) machine(disks []qemu.Disk) qemu.Spec {
	return qemu.Spec{
		Binary: spec.Binary, Accel: spec.Accel, CPUs: spec.CPUs,
		MemoryMiB: int(int64(spec.Case.Scenario.Machine.Memory) >> 20),
		Kernel:    cmp.Or(spec.Image, spec.Kernel.Image), Initrd: spec.Initrd, Append: commandLine(),
		Disks: disks, Dir: spec.Dir, Log: spec.Log,
	}
}

// setup is what the guest is told before the step.
func (spec Spec) setup(disks []qemu.Disk) *protocol.Setup {
	sc := spec.Case.Scenario
	out := &protocol.Setup{Modules: spec.Modules, Timing: spec.Timing, Require: sc.Require, Stack: sc.Stack}
	for i, d := range sc.Disks {
		out.Disks = append(out.Disks, protocol.Disk{Disk: d, Serial: disks[i].Serial})
	}
	return out
}
