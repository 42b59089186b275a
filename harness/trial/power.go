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
	"github.com/blockrig/blockrig/harness/verdict"
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

// A moment is one at which the power fails.
type moment struct {
	qemu.Moment
	mark int // the last one of the model's by then
}

// momentsOf are those of a recording that are the trial's, in order.
func momentsOf(rec *qemu.Recording) ([]moment, error) {
	var out []moment
	for _, at := range rec.Moments() {
		if at.Mark == "" { // before the first mark
			continue
		}
		mark, err := strconv.Atoi(at.Mark)
		if err != nil {
			return nil, err
		}
		out = append(out, moment{at, mark})
	}
	if len(out) == 0 {
		return nil, errors.New("nothing was recorded")
	}
	return out, nil
}

// choose gives the one moment of a cut.
func choose(rec *qemu.Recording, c scenarios.PowerCut) (moment, error) {
	moments, err := momentsOf(rec)
	if err != nil {
		return moment{}, err
	}
	last := moments[len(moments)-1]
	if c.At == "now" { // the last one of all
		return last, nil
	}
	moments = slices.DeleteFunc(moments, func(m moment) bool { return m.Op == "" || c.At == "flush" && m.Op != qemu.FlushOp })
	if len(moments) == 0 {
		return moment{}, fmt.Errorf("the disks were asked for nothing (at: %s)", c.At)
	}
	return moments[rand.New(rand.NewPCG(uint64(c.Seed), 0)).IntN(len(moments))], nil
}

// mostMoments bounds the boots of one trial.
const mostMoments = 64

// flushes are the moments after each flush that had something to flush, at most
// mostMoments of them, spread evenly. all is how many there are.
func flushes(moments []moment) (some []moment, all int) {
	written := map[string]bool{} // disks, since they were flushed last
	var out []moment
	for _, m := range moments {
		switch {
		case m.Op == "":
		case m.Op != qemu.FlushOp:
			written[m.Disk] = true
		case written[m.Disk]:
			out = append(out, m)
			written[m.Disk] = false
		}
	}
	if all = len(out); all <= mostMoments {
		return out, all
	}
	for i := range mostMoments {
		some = append(some, out[i*(all-1)/(mostMoments-1)])
	}
	return some, all
}

// choiceOf is what a cut does to what was not flushed. more makes it another
// one.
func choiceOf(c scenarios.PowerCut, more int) qemu.Choice {
	out := qemu.Choice{Lose: map[string]qemu.Loss{"nothing": qemu.LoseNone, "some": qemu.LoseSome, "all": qemu.LoseAll}[c.Lose], Seed: uint64(c.Seed) + uint64(more)}
	out.Torn = out.Lose == qemu.LoseSome
	return out
}

// endPower ends the machine for a cut at step i, and gives what was recorded,
// which the caller closes.
func (s *session) endPower(i int) (*qemu.Recording, error) {
	st := s.Steps[i]
	s.res.Report.Phase = scenarios.PhaseStep
	s.blame.after(st, s.Setup)
	s.res.Report.Explained = s.res.Report.Explained || s.blame.explains
	select {
	case <-s.m.Done(): // it has ended by itself
		return nil, s.ended(nil)
	default:
	}
	if err := s.powerOff(); err != nil {
		return nil, s.host(fmt.Errorf("%s: %w", st.Op(), err))
	}
	rec := s.power.rec
	s.power.rec, s.power.marks = nil, 0
	return rec, nil
}

// cutPower ends the machine, and starts another one with the disks that the
// cut leaves, and with the stack that is on them. It ends all faults.
func (s *session) cutPower(ctx context.Context, i int, c scenarios.PowerCut) error {
	rec, err := s.endPower(i)
	if err != nil {
		return err
	}
	at, err := choose(rec, c)
	if err != nil {
		return s.host(fmt.Errorf("%s: %w", s.Steps[i].Op(), errors.Join(err, rec.Close())))
	}
	err = s.bootFrom(ctx, i, rec, at, choiceOf(c, 0))
	if cerr := rec.Close(); cerr != nil && err == nil {
		err = s.host(cerr)
	}
	return err
}

// everyFlush cuts the power after each flush, one cold boot a moment, and does
// the steps after the i-th for each, until one does not end as it should.
func (s *session) everyFlush(ctx context.Context, i int, c scenarios.PowerCut) (err error) {
	rec, err := s.endPower(i)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := rec.Close(); cerr != nil && err == nil {
			err = s.host(cerr)
		}
	}()
	moments, err := momentsOf(rec)
	if err != nil {
		return s.host(fmt.Errorf("%s: %w", s.Steps[i].Op(), err))
	}
	some, all := flushes(moments)
	// What was promised by a flush that a disk never did is missed at the end.
	some = append(some, moments[len(moments)-1])
	before := s.remember()
	for n, at := range some {
		if n > 0 {
			if err := errors.Join(s.powerOff(), s.power.close()); err != nil {
				return s.host(fmt.Errorf("%s: %w", s.Steps[i].Op(), err))
			}
			s.recall(before)
		}
		s.res.Report.Moment = momentText(n, len(some)-1, all, at)
		if err := s.bootFrom(ctx, i, rec, at, choiceOf(c, n)); err != nil {
			return err
		}
		s.power.mark(s.model)
		if s.res.Report.MayGoOn() {
			if err := s.stepsFrom(ctx, i+1); err != nil {
				return err
			}
		}
		if !s.res.Report.MayGoOn() {
			return nil
		}
		if n < len(some)-1 {
			if err := s.hearOut(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// momentText says when the power was cut: at the n-th of some moments after a
// flush, of which there are more in all, or after them.
func momentText(n, some, all int, at moment) string {
	switch {
	case n == some:
		return "the power was cut after the last step"
	case all > some:
		return fmt.Sprintf("the power was cut after a flush of disk %s, number %d of the %d of all %d that are tried", at.Disk, n+1, some, all)
	}
	return fmt.Sprintf("the power was cut after a flush of disk %s, number %d of %d", at.Disk, n+1, some)
}

// A memory is what a session knows at a moment to which it comes back.
type memory struct {
	report verdict.Report
	model  *model
	blame  blame
}

func (s *session) remember() memory {
	return memory{s.res.Report, s.model.clone(), s.blame.clone()}
}

// recall has the session know what it did. How many cuts there were stays.
func (s *session) recall(m memory) {
	log := s.res.Report.LogError
	s.res.Report, s.model, s.blame = m.report, m.model.clone(), m.blame.clone()
	s.res.Report.Before = slices.Clip(s.res.Report.Before)
	s.res.Report.LogError = log
}

// bootFrom starts a machine with the disks that a power cut at a moment leaves,
// and has it put the stack together that is on them.
func (s *session) bootFrom(ctx context.Context, i int, rec *qemu.Recording, at moment, choice qemu.Choice) error {
	fail := func(err error) error { return s.host(fmt.Errorf("%s: %w", s.Steps[i].Op(), err)) }
	dir := filepath.Join(s.Dir, "cut-"+strconv.Itoa(s.power.cuts+1))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fail(err)
	}
	disks, err := rec.Image(ctx, at.Moment, choice, dir)
	err = errors.Join(err, s.power.close())
	s.power.dir = dir
	s.power.cuts++
	if err != nil {
		return fail(err)
	}
	s.model.cut(at.mark)
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
