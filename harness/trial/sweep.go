package trial

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/blockrig/blockrig/harness/cachedir"
	"github.com/blockrig/blockrig/harness/qemu"
	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/initramfs/protocol"
	"github.com/blockrig/blockrig/scenarios"
)

// Times that bound a sweep, in guest time that the host gave. A find of a sweep
// is no verdict: it is confirmed by ordinary trials.
const (
	sweepLimit = 60 * time.Second // for the programs of one message on one part
	sweepIdle  = 6 * time.Second
	sweepWait  = 4 * time.Second
)

// A SweepBase is a saved machine from which sweeps begin.
type SweepBase struct {
	local Local
	bases *BaseCache
	make  func(ctx context.Context, dir string) error // saves the machine in an empty folder
	base  *Base
}

// NewSweepBase gives the saved machine of a job's stack, made where it is
// missing or damaged. The job's steps don't matter. A *NotReadyError is the
// boot's.
func NewSweepBase(ctx context.Context, l Local, bases *BaseCache) (*SweepBase, error) {
	return newSweepBase(ctx, l, bases, func(ctx context.Context, dir string) error {
		if err := clearDir(l.Dir); err != nil {
			return err
		}
		return makeBase(ctx, l, dir)
	})
}

func newSweepBase(ctx context.Context, l Local, bases *BaseCache, make func(context.Context, string) error) (*SweepBase, error) {
	b := &SweepBase{local: l, bases: bases, make: make}
	err := b.get(ctx)
	if err == nil {
		err = b.base.Verify(ctx)
	}
	if errors.Is(err, cachedir.ErrDamaged) {
		err = b.renew(ctx, err)
	}
	if err != nil {
		return nil, errors.Join(err, b.base.Close())
	}
	return b, nil
}

// get takes the saved machine from the cache, or makes it. What went wrong by the
// host's doing is tried again, as a trial is.
func (b *SweepBase) get(ctx context.Context) (err error) {
	for attempt := 1; ; attempt++ {
		b.base, err = b.bases.get(ctx, b.local.baseKey(), b.make)
		var bad *NotReadyError
		if !errors.As(err, &bad) || bad.Outcome.Verdict != scenarios.Error || attempt == MaxAttempts || ctx.Err() != nil {
			return err
		}
	}
}

// renew makes the saved machine anew, as this one is of no use.
func (b *SweepBase) renew(ctx context.Context, why error) error {
	if err := b.base.Discard(ctx, why); err != nil {
		return errors.Join(why, err)
	}
	return b.get(ctx)
}

// Close gives the saved machine up.
func (b *SweepBase) Close() error { return b.base.Close() }

// Release is uname -r of its kernel.
func (b *SweepBase) Release() string { return b.base.Release }

// A SweepMachine goes on from a SweepBase.
type SweepMachine struct{ s *session }

// Start lets a machine go on from the base. One of a base may run at a time. A
// base that can't be gone on from is made anew.
func (b *SweepBase) Start(ctx context.Context) (*SweepMachine, error) {
	m, err := b.start(ctx)
	if errors.Is(err, qemu.ErrRestore) && ctx.Err() == nil {
		if err := b.renew(ctx, err); err != nil {
			return nil, err
		}
		m, err = b.start(ctx)
	}
	return m, err
}

func (b *SweepBase) start(ctx context.Context) (*SweepMachine, error) {
	if err := clearDir(b.local.Dir); err != nil {
		return nil, err
	}
	s := warmSession(b.local, b.base)
	if err := s.resume(ctx, b.base); err != nil {
		_ = s.host(err)
		s.end()
		return nil, err
	}
	s.res.Report.Phase = scenarios.PhaseStep
	return &SweepMachine{s}, nil
}

// ErrSweepOver says that the machine can do no more, by its kernel's doing: the
// guest fell silent, ended or panicked.
var ErrSweepOver = errors.New("the machine can do no more")

// Sweep has programs done, and gives took what each part shows. The limits of
// the message are filled in. Once took was given one that is Stopped, the
// machine is of no more use.
func (m *SweepMachine) Sweep(ctx context.Context, w protocol.Sweep, took func(protocol.Swept)) error {
	s := m.s
	s.trial = uint64(time.Now().UnixNano())
	w.Trial = s.trial
	w.LimitMS, w.IdleMS = sweepLimit.Milliseconds(), sweepIdle.Milliseconds()
	w.ReapMS, w.WaitMS = stepReap.Milliseconds(), sweepWait.Milliseconds()
	err := s.send(protocol.ToGuest{Sweep: &w})
	if err == nil {
		err = s.listen(ctx, func(m protocol.FromGuest) bool {
			if m.Trial != s.trial || m.Swept == nil {
				return false
			}
			took(*m.Swept)
			return m.Swept.Last
		})
	}
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("interrupted: %w", context.Cause(ctx))
	}
	if err != nil {
		return s.over()
	}
	return nil
}

// over says why a sweep could not go on: by the kernel's doing, or by the host's.
func (s *session) over() error {
	rep := s.res.Report
	select {
	case <-s.rec.dead:
		return fmt.Errorf("%w: the kernel panicked", ErrSweepOver)
	default:
	}
	switch {
	case rep.Host != "":
		return errors.New(rep.Host)
	case rep.Silent != "":
		return fmt.Errorf("%w: %s", ErrSweepOver, text.OneLine(rep.Silent))
	case rep.Reset != "":
		return fmt.Errorf("%w: %s", ErrSweepOver, text.OneLine(rep.Reset))
	case rep.Stuck != nil:
		return fmt.Errorf("%w: %s can't be killed", ErrSweepOver, text.OneLine(rep.Stuck.What))
	}
	return errors.New(text.OneLine(rep.Setup))
}

// Ran is the time that the host's CPUs have spent on the machine: on its virtual
// ones, and on QEMU's main thread, for which its devices wait. On a host with
// nothing else to do it is about the time that passed; elsewhere it is less.
func (m *SweepMachine) Ran() time.Duration {
	threads, err := m.s.m.Threads()
	if err != nil {
		return 0 // it has ended
	}
	sum := threads.Main.Run
	for _, v := range threads.VCPUs {
		sum += v.Run
	}
	return sum
}

// End ends the machine. Its outcome has what the console shows; it is no
// trial's.
func (m *SweepMachine) End() Outcome { return m.s.end() }
