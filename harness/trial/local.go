package trial

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/blockrig/blockrig/harness/qemu"
	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/harness/verdict"
	"github.com/blockrig/blockrig/initramfs/protocol"
	"github.com/blockrig/blockrig/kernels"
	"github.com/blockrig/blockrig/scenarios"
)

// Local is a job with what it takes to run it on this machine.
type Local struct {
	Job
	Files
	Binary string // QEMU; "" for the one in PATH
	Dir    string // of blockrig's own, for the trial's files
	Log    *slog.Logger
	// Progress is told what the trial is at; nil for nobody.
	Progress func(phase, what string)

	attempt int // from 1
}

func (l Local) log() *slog.Logger {
	if l.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return l.Log
}

// run does a cold trial: from power-on. Of its files, those of an Outcome stay
// in l.Dir.
func run(ctx context.Context, l Local) Outcome {
	s := newSession(l)
	s.enter(scenarios.PhaseInfra, "")
	if err := s.powerOn(ctx); err != nil {
		_ = s.host(err)
	} else if s.boot(ctx) == nil {
		s.res.Boot = time.Since(s.res.Started)
		_ = s.steps(ctx) // whatever it was is in the report
	}
	return s.end()
}

// failed is the outcome of a trial that could not be made: for the host's sake,
// or because the kernel is built without what the stack takes.
func failed(l Local, err error) Outcome {
	s := newSession(l)
	if errors.Is(err, kernels.ErrWithout) {
		s.enter(scenarios.PhaseStack, "")
		s.res.Report.Setup, s.res.Report.Certain = text.OneLine(err.Error()), true
	} else {
		s.enter(scenarios.PhaseInfra, "")
		_ = s.host(err)
	}
	o := s.end()
	o.Attempts = []Attempt{attemptOf(o)}
	return o
}

func newSession(l Local) *session {
	return &session{Local: l, mark: time.Now(), model: newModel(l.Setup), res: &Outcome{
		Started: time.Now(), Accel: l.Accel, CPUs: l.CPUs,
		Report: l.firstReport(),
	}}
}

// end closes the machine, cleans up, and judges.
func (s *session) end() Outcome {
	phase := s.res.Report.Phase
	s.enter("end", "")
	s.res.Report.Phase = phase
	s.close()
	o := s.res
	o.Timing[len(o.Timing)-1].Took = time.Since(s.mark)
	phaseOf := verdict.PhaseOf(nil)
	if s.rec != nil {
		phaseOf = verdict.PhaseOf(s.rec.marks)
	}
	o.Judgement = verdict.Judge(o.Findings, o.Report, phaseOf)
	if s.Trace && o.failedInStep() {
		o.Traced = &Traced{Trace: o.trace()}
	}
	o.Wall = time.Since(o.Started)
	return *o
}

func (l Local) createDisks(ctx context.Context) ([]qemu.Disk, error) {
	var out []qemu.Disk
	for _, d := range l.Disks {
		disk, err := qemu.CreateDisk(ctx, l.Dir, d.ID, imageSize(d), qemu.Raw)
		if err == nil && d.Protection > 0 {
			err = formatProtection(disk.Path, d)
		}
		if err != nil {
			return out, err
		}
		out = append(out, l.attached(d, disk))
	}
	return out, nil
}

// imageSize is how much the image of a disk holds, in bytes: metadata take room
// beside the blocks.
func imageSize(d scenarios.Disk) int64 {
	block := int64(max(d.LogicalBlock, qemu.SectorSize))
	n := int64(d.Size) / block * (block + int64(d.Metadata))
	return (n + qemu.SectorSize - 1) / qemu.SectorSize * qemu.SectorSize
}

// formatProtection fills the metadata, which lie behind all blocks, as a disk's
// formatting does: blocks that nobody wrote have protection information of ones,
// which is not checked. That of zeroes would be wrong.
func formatProtection(path string, d scenarios.Disk) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("format disk %s: %w", d.ID, err)
	}
	ones := bytes.Repeat([]byte{0xff}, 64<<10)
	for at, end := int64(d.Size), imageSize(d); at < end && err == nil; at += int64(len(ones)) {
		_, err = f.WriteAt(ones[:min(int64(len(ones)), end-at)], at)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("format disk %s: %w", d.ID, err)
	}
	return nil
}

// attached is an image as the job's machine has it for a disk.
func (j Job) attached(d scenarios.Disk, disk qemu.Disk) qemu.Disk {
	disk.Bus = qemu.Bus(d.Bus)
	if d.LogicalBlock > qemu.SectorSize {
		disk.LogicalBlockSize = d.LogicalBlock
	}
	if d.PhysicalBlock > qemu.SectorSize {
		disk.PhysicalBlockSize = d.PhysicalBlock
	}
	if disk.Discard = qemu.Off; d.Discard {
		disk.Discard = qemu.On
	}
	if d.NoWriteCache {
		disk.WriteCache = qemu.Off
	}
	if d.Rotational && (d.Bus == string(qemu.AHCI) || d.Bus == string(qemu.VirtioSCSI)) {
		disk.RotationRate = 7200
	}
	if z := d.Zones; z.Size > 0 {
		disk.Zones = &qemu.Zones{Size: int64(z.Size), Capacity: int64(z.Capacity), MaxOpen: z.MaxOpen, MaxActive: z.MaxActive}
	}
	disk.FUA, disk.Metadata, disk.Protection = d.FUA, d.Metadata, d.Protection
	if d.Serial != "" {
		disk.Serial = d.Serial
	}
	disk.Removable = slices.Contains(j.removed(), d.ID) && (d.Bus == string(qemu.NVMe) || d.Bus == string(qemu.VirtioBlk))
	disk.Filter = slices.Contains(j.filtered(), d.ID)
	return disk
}

// machine is the machine that the job needs.
func (l Local) machine(disks []qemu.Disk) qemu.Spec {
	return qemu.Spec{
		Binary: l.Binary, Accel: l.Accel, CPUs: l.CPUs, MemoryMiB: int(l.Machine.Memory >> 20),
		Kernel: l.Image, Initrd: l.Initrd, Append: commandLine(l.Disks),
		Disks: disks, Dir: l.Dir, Log: l.Log,
	}
}

// setup is what the guest is told before the step.
func (l Local) setup(disks []qemu.Disk) *protocol.Setup {
	out := &protocol.Setup{Modules: l.Modules, Timing: l.Timing, Require: l.Require, Stack: l.Stack}
	for i, d := range l.Disks {
		out.Disks = append(out.Disks, protocol.Disk{Disk: d, Serial: disks[i].Serial})
	}
	return out
}
