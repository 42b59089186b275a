package trial

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/blockrig/blockrig/harness/cachedir"
	"github.com/blockrig/blockrig/harness/qemu"
	"github.com/blockrig/blockrig/initramfs/protocol"
	"github.com/blockrig/blockrig/scenarios"
)

// A Base is a machine that was saved when its stack was ready. Any number of
// warm trials continue from it, at the same time too; none changes it.
type Base struct {
	*cachedir.Entry
	baseInfo
}

// Close gives up the base; a nil one is none.
func (b *Base) Close() error {
	if b == nil {
		return nil
	}
	return b.Entry.Close()
}

// baseInfo is base.json.
type baseInfo struct {
	Release string          `json:"release"`
	BootID  string          `json:"boot_id"`
	CPUs    int             `json:"cpus"`
	Accel   qemu.Accel      `json:"accel"`
	BootMS  int64           `json:"boot_ms"` // wall time that the boot took
	Ready   *protocol.Ready `json:"ready"`
}

// Files of a base.
const (
	baseMachine = "machine" // made by qemu.Machine.Save
	baseConsole = "console.log"
	baseFile    = "base.json"
)

// readyWait is how long a console may take to show that the guest is ready
// after it has said so.
const readyWait = 5 * time.Second

// makeBase boots a machine for a job's kernel and stack and saves it in the
// empty folder dir, an entry of a BaseCache. A *NotReadyError is the boot's;
// any other error says why the machine could not be saved.
func makeBase(ctx context.Context, l Local, dir string) error {
	s := newSession(l)
	s.enter(scenarios.PhaseInfra, "")
	if err := s.powerOn(ctx); err != nil {
		_ = s.host(err)
		return &NotReadyError{s.end()}
	}
	if s.boot(ctx) != nil {
		return &NotReadyError{s.end()}
	}
	took := time.Since(s.res.Started)
	s.progress("save", "")
	// What the guest has said so far is the base's, not a trial's.
	select {
	case <-s.rec.ready:
	case <-s.m.Done():
	case <-ctx.Done():
	case <-time.After(readyWait):
	}
	info := baseInfo{
		Release: s.res.Release, BootID: s.res.BootID, CPUs: s.res.CPUs, Accel: l.Accel,
		BootMS: took.Milliseconds(), Ready: s.res.Ready,
	}
	if err := s.save(ctx, dir, info); err != nil {
		_ = s.host(err)
		o := s.end()
		if s.doubted {
			return &NotReadyError{o}
		}
		return fmt.Errorf("save the machine: %w", err)
	}
	return nil
}

// A NotReadyError says that a boot did not come to a stack that is ready. Its
// outcome is that of every case on that stack.
type NotReadyError struct{ Outcome Outcome }

func (e *NotReadyError) Error() string {
	return fmt.Sprintf("the stack did not get ready: %s in phase %s: %s", e.Outcome.Verdict, e.Outcome.Phase, e.Outcome.Reason)
}

// save writes the base. The machine has ended when it returns.
func (s *session) save(ctx context.Context, dir string, info baseInfo) error {
	if err := s.m.Save(ctx, filepath.Join(dir, baseMachine)); err != nil {
		return err
	}
	<-s.rec.done // the console is complete now; its trailer is no part of it
	if err := s.rec.copyTo(filepath.Join(dir, baseConsole)); err != nil {
		return err
	}
	s.base = true
	s.close()
	if s.res.Report.Host != "" {
		return errors.New(s.res.Report.Host)
	}
	text, err := json.MarshalIndent(info, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, baseFile), append(text, '\n'), 0o600)
}

// openBase reads what a base says of itself.
func openBase(e *cachedir.Entry) (*Base, error) {
	name := filepath.Join(e.Path(), baseFile)
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("open a saved machine: %w", err)
	}
	b := &Base{Entry: e}
	if err := json.Unmarshal(text, &b.baseInfo); err != nil {
		return nil, fmt.Errorf("open a saved machine: %s: %w", name, err)
	}
	if b.Ready == nil || b.BootID == "" {
		return nil, fmt.Errorf("open a saved machine: %s: it does not say what was ready", name)
	}
	return b, nil
}

// warmSession is a session that goes on from a base, which is still to be loaded.
func warmSession(l Local, b *Base) *session {
	s := newSession(l)
	s.enter(scenarios.PhaseInfra, "load the saved machine")
	s.res.Warm, s.res.Ready = true, b.Ready
	s.res.Release, s.res.BootID, s.res.CPUs, s.res.Accel = b.Release, b.BootID, b.CPUs, b.Accel
	return s
}

// runWarm does a trial from a base. An error wraps qemu.ErrRestore: the base
// is of no use, and there was no trial.
func runWarm(ctx context.Context, l Local, b *Base) (Outcome, error) {
	s := warmSession(l, b)
	// What has rotted never becomes a verdict: no step before all is checked,
	// which costs nothing while QEMU loads.
	checked := make(chan error, 1)
	go func() { checked <- b.Verify(ctx) }()
	err := s.resume(ctx, b)
	if bad := <-checked; errors.Is(bad, cachedir.ErrDamaged) {
		err = fmt.Errorf("%w: %w", qemu.ErrRestore, bad)
	} else {
		err = errors.Join(err, bad)
	}
	if err != nil {
		_ = s.host(err)
		if !errors.Is(err, qemu.ErrRestore) || ctx.Err() != nil {
			err = nil
		}
		return s.end(), err
	}
	s.res.Boot = time.Since(s.res.Started)
	_ = s.steps(ctx) // whatever it was is in the report
	return s.end(), nil
}

// resume starts the machine from a base, its console from where it was.
func (s *session) resume(ctx context.Context, b *Base) error {
	if err := s.record(); err != nil {
		return err
	}
	if err := s.rec.preload(filepath.Join(b.Path(), baseConsole)); err != nil {
		return fmt.Errorf("%w: %w", qemu.ErrRestore, err)
	}
	return s.open(ctx, qemu.Spec{Binary: s.Binary, From: filepath.Join(b.Path(), baseMachine), Dir: s.Dir, Log: s.Log})
}
