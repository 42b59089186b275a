package trial

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/blockrig/blockrig/harness/qemu"
	"github.com/blockrig/blockrig/scenarios"
)

// power is what a session needs to cut it.
type power struct {
	rec   *qemu.Recording // of all disks, since the trial began or the last cut; nil in a trial without a cut
	marks int             // made in rec
	cuts  int             // so far
	dir   string          // of the disks that the last cut left; "" for none
	quiet bool            // the console is complete up to the last step
}

// recordWrites begins the record of what is written to the disks.
func (s *session) recordWrites() (err error) {
	s.power.rec, err = s.m.Record()
	s.power.mark(s.model)
	return err
}

// mark notes the end of a step.
func (p *power) mark(m *model) {
	if p.rec == nil {
		return
	}
	p.rec.Mark(strconv.Itoa(p.marks))
	p.marks++
	m.mark()
}

// close gives up what was recorded, and the disks of the last machine.
func (p *power) close() error {
	var errs []error
	if p.rec != nil {
		errs = append(errs, p.rec.Close())
		p.rec, p.marks = nil, 0
	}
	if p.dir != "" {
		errs = append(errs, os.RemoveAll(p.dir))
		p.dir = ""
	}
	return errors.Join(errs...)
}

// choose gives the moment of a cut, and what it does to the disks.
func (p *power) choose(c scenarios.PowerCut) (at qemu.Moment, mark int, choice qemu.Choice, err error) {
	moments := p.rec.Moments()
	// One before the first mark is none of the trial's.
	moments = slices.DeleteFunc(moments, func(m qemu.Moment) bool { return m.Mark == "" })
	if len(moments) == 0 {
		return at, 0, choice, errors.New("nothing was recorded")
	}
	at = moments[len(moments)-1]
	moments = slices.DeleteFunc(moments, func(m qemu.Moment) bool {
		return m.Op == "" || c.At == "flush" && m.Op != qemu.FlushOp
	})
	switch {
	case c.At == "now": // the last one of all
	case len(moments) == 0:
		return at, 0, choice, fmt.Errorf("the disks were asked for nothing (at: %s)", c.At)
	default:
		at = moments[rand.New(rand.NewPCG(uint64(c.Seed), 0)).IntN(len(moments))]
	}
	if mark, err = strconv.Atoi(at.Mark); err != nil {
		return at, 0, choice, err
	}
	choice = qemu.Choice{Lose: map[string]qemu.Loss{"nothing": qemu.LoseNone, "some": qemu.LoseSome, "all": qemu.LoseAll}[c.Lose], Seed: uint64(c.Seed)}
	choice.Torn = choice.Lose == qemu.LoseSome
	return at, mark, choice, nil
}

// cutPower ends the machine, and starts another one with the disks that the
// cut leaves, and with the stack that is on them. It ends all faults.
func (s *session) cutPower(ctx context.Context, i int, c scenarios.PowerCut) error {
	st := s.Steps[i]
	s.blame.after(st, s.Setup)
	s.res.Report.Explained = s.res.Report.Explained || s.blame.explains
	fail := func(err error) error { return s.host(fmt.Errorf("%s: %w", st.Op(), err)) }
	select {
	case <-s.m.Done(): // it has ended by itself
		return s.ended(nil)
	default:
	}
	if err := s.powerOff(); err != nil {
		return fail(err)
	}
	at, mark, choice, err := s.power.choose(c)
	if err != nil {
		return fail(err)
	}
	dir := filepath.Join(s.Dir, "cut-"+strconv.Itoa(s.power.cuts+1))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fail(err)
	}
	disks, err := s.power.rec.Image(ctx, at, choice, dir)
	err = errors.Join(err, s.power.close())
	s.power.dir = dir
	s.power.cuts++
	if err != nil {
		return fail(err)
	}
	s.model.cut(mark)
	s.faults, s.unplugged = nil, nil
	s.trial = 0 // what the guest says now is of no step
	s.disks = nil
	for _, d := range s.Disks {
		k := slices.IndexFunc(disks, func(q qemu.Disk) bool { return q.ID == d.ID })
		if k < 0 {
			return fail(fmt.Errorf("disk %s was not recorded", d.ID))
		}
		s.disks = append(s.disks, disks[k])
	}
	if err := s.rec.again(); err != nil {
		return fail(err)
	}
	spec := s.machine(s.disks)
	spec.Dir = dir
	s.m = nil
	if err := s.open(ctx, spec); err != nil {
		return fail(err)
	}
	return s.bootAgain(ctx, i)
}

// bootAgain is boot after a power cut. What the result says of the boot is that
// of the first one.
func (s *session) bootAgain(ctx context.Context, i int) error {
	setup := s.setup(s.disks)
	setup.Assemble, setup.Timing, setup.Stack = true, false, s.grown(i)
	kept := *s.res
	err := s.start(ctx, setup)
	ready := s.res.Ready
	s.res.Release, s.res.BootID, s.res.CPUs, s.res.Ready = kept.Release, kept.BootID, kept.CPUs, kept.Ready
	if err != nil {
		return err
	}
	select {
	case <-s.rec.ready: // the console is slower than the control line
		s.power.quiet = true
	case <-s.m.Done():
		return s.ended(nil)
	case <-ctx.Done():
		return s.host(fmt.Errorf("interrupted: %w", context.Cause(ctx)))
	case <-time.After(readyWait):
		s.res.Report.LogError = fmt.Sprintf("the console did not show within %v that the stack is ready again", readyWait)
	}
	if err := s.recordWrites(); err != nil {
		return s.host(err)
	}
	rep := &s.res.Report
	rep.Observation = scenarios.Observation{Returned: true, Legs: s.blame.legs(s.Steps[i], ready.Legs)}
	rep.Phase = scenarios.PhaseDone
	return nil
}

// grown is the stack with the devices that acts before step i have added to its
// arrays.
func (s *session) grown(i int) []scenarios.Layer {
	out := slices.Clone(s.Stack)
	each(s.Steps[:i], func(st scenarios.Step) {
		for k, l := range out {
			if a := st.Act; a != nil && a.Do == "add" && a.To == l.Name && a.Member != "" && !slices.Contains(l.On, a.Member) {
				out[k].On = append(slices.Clone(l.On), a.Member)
			}
		}
	})
	return out
}
