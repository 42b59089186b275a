package trial

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/blockrig/blockrig/harness/qemu"
	"github.com/blockrig/blockrig/scenarios"
)

// each calls f for a list of steps and for those that they hold.
func each(steps []scenarios.Step, f func(scenarios.Step)) {
	for _, st := range steps {
		f(st)
		for _, group := range st.Groups() {
			each(group, f)
		}
	}
}

// powerFails says whether a step cuts the power.
func (j Job) powerFails() bool {
	return slices.ContainsFunc(j.Steps, func(st scenarios.Step) bool { return st.PowerCut != nil })
}

// filtered are the disks whose images this process serves: those that a step
// makes misbehave, and all where the power fails.
func (j Job) filtered() []string {
	var out []string
	if j.powerFails() {
		for _, d := range j.Disks {
			out = append(out, d.ID)
		}
	}
	each(j.Steps, func(st scenarios.Step) {
		if st.Fault != nil && qemu.Effect(st.Fault.Do) != removeDisk {
			out = append(out, st.Fault.Disk)
		}
	})
	slices.Sort(out)
	return slices.Compact(out)
}

// removeDisk is the fault that is none of qemu's effects: the disk is gone.
const removeDisk = "remove"

// removed are the disks that a step takes away.
func (j Job) removed() []string {
	var out []string
	each(j.Steps, func(st scenarios.Step) {
		if st.Fault != nil && st.Fault.Do == removeDisk {
			out = append(out, st.Fault.Disk)
		}
	})
	slices.Sort(out)
	return slices.Compact(out)
}

// savable says whether the job's machine can be saved.
func (j Job) savable() bool {
	return !slices.ContainsFunc(j.Disks, func(d scenarios.Disk) bool { return !qemu.Disk{Bus: qemu.Bus(d.Bus)}.Savable() })
}

// plugWait is how long a guest may take to let a disk go that is taken away.
const plugWait = 30 * time.Second

// byHost does a step that the guest knows nothing of.
func (s *session) byHost(ctx context.Context, st scenarios.Step) error {
	s.blame.after(st, s.Setup)
	s.res.Report.Explained = s.res.Report.Explained || s.blame.explains
	var err error
	ctx, cancel := context.WithTimeout(ctx, plugWait)
	defer cancel()
	switch {
	case st.Fault != nil && st.Fault.Do == removeDisk:
		err = s.m.Unplug(ctx, st.Fault.Disk)
		s.unplugged = append(s.unplugged, st.Fault.Disk)
	case st.Heal != nil && slices.Contains(s.unplugged, st.Heal.Disk):
		err = s.m.Plug(ctx, st.Heal.Disk)
		s.unplugged = slices.DeleteFunc(s.unplugged, func(d string) bool { return d == st.Heal.Disk })
	case st.Fault != nil:
		var f qemu.Fault
		if f, err = faultOf(*st.Fault); err == nil {
			s.faults = append(s.faults, f)
			err = s.m.Inject(s.onDisk(f.Disk)...)
		}
	case st.Heal != nil:
		s.faults = slices.DeleteFunc(s.faults, func(f qemu.Fault) bool { return f.Disk == st.Heal.Disk })
		err = s.m.Heal(st.Heal.Disk)
	}
	if err != nil {
		return s.host(fmt.Errorf("%s: %w", st.Op(), err))
	}
	s.res.Report.Observation = scenarios.Observation{Returned: true}
	s.res.Report.Phase = scenarios.PhaseDone
	return nil
}

// onDisk are the faults of a disk, in the order in which they came.
func (s *session) onDisk(disk string) []qemu.Fault {
	return slices.DeleteFunc(slices.Clone(s.faults), func(f qemu.Fault) bool { return f.Disk != disk })
}

// faultOf is a fault as the machine takes it.
func faultOf(f scenarios.Fault) (qemu.Fault, error) {
	out := qemu.Fault{
		Disk: f.Disk, Do: qemu.Effect(f.Do), Op: qemu.Operation(f.Op), Offset: int64(f.Offset), Length: int64(f.Length),
		After: int(f.After), Count: int(f.Count), Chance: f.Chance, Seed: uint64(f.Seed),
	}
	if out.Do == qemu.FailRequest {
		out.Errno = f.Errno
	}
	var err error
	if f.Delay != "" {
		out.Delay, err = time.ParseDuration(f.Delay)
	}
	return out, err
}
