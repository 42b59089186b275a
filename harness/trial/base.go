package trial

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/blockrig/blockrig/harness/qemu"
	"github.com/blockrig/blockrig/initramfs/protocol"
	"github.com/blockrig/blockrig/scenarios"
)

// A Base is a machine that was saved when its stack was ready. Any number of
// warm trials, at the same time too, go on from it; none changes it.
type Base struct {
	Dir string
	baseInfo
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

// MakeBase boots a machine for spec's kernel and stack and saves it in the new
// folder dir, which appears whole or not at all. When the stack did not get
// ready, that is a result: of every case on that stack.
func MakeBase(ctx context.Context, spec Spec, dir string) (*Base, *Result) {
	s := newSession(spec)
	fail := func() (*Base, *Result) {
		r := s.end()
		return nil, &r
	}
	s.enter(scenarios.PhaseInfra, "")
	if err := s.powerOn(ctx); err != nil {
		_ = s.host(err)
		return fail()
	}
	if s.boot(ctx) != nil {
		return fail()
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
		Release: s.res.Release, BootID: s.res.BootID, CPUs: s.res.CPUs, Accel: spec.Accel,
		BootMS: took.Milliseconds(), Ready: s.res.Ready,
	}
	if err := s.save(ctx, dir, info); err != nil {
		_ = s.host(fmt.Errorf("save the machine: %w", err))
		s.res.unsaved = true
		return fail()
	}
	return &Base{Dir: dir, baseInfo: info}, nil
}

// save writes the base. The machine has ended when it returns.
func (s *session) save(ctx context.Context, dir string, info baseInfo) (err error) {
	temp, err := os.MkdirTemp(filepath.Dir(dir), newPrefix+filepath.Base(dir)+"-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(temp))
		}
	}()
	if err := s.m.Save(ctx, filepath.Join(temp, baseMachine)); err != nil {
		return err
	}
	<-s.rec.done // the console is complete now; its trailer is no part of it
	if err := s.rec.copyTo(filepath.Join(temp, baseConsole)); err != nil {
		return err
	}
	s.close()
	if s.res.Report.Host != "" {
		return errors.New(s.res.Report.Host)
	}
	text, err := json.MarshalIndent(info, "", "\t")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(temp, baseFile), append(text, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(temp, dir)
}

// OpenBase reads a base that was made before.
func OpenBase(dir string) (*Base, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open a saved machine: %w", err)
	}
	defer root.Close()
	f, err := root.Open(baseFile)
	if err != nil {
		return nil, fmt.Errorf("open a saved machine: %w", err)
	}
	defer f.Close()
	b := &Base{Dir: dir}
	if err := json.NewDecoder(io.LimitReader(f, 4<<20)).Decode(&b.baseInfo); err != nil {
		return nil, fmt.Errorf("open a saved machine: %s: %w", filepath.Join(dir, baseFile), err)
	}
	if b.Ready == nil || b.BootID == "" {
		return nil, fmt.Errorf("open a saved machine: %s: it does not say what was ready", filepath.Join(dir, baseFile))
	}
	return b, nil
}

// RunWarm does a trial from a base. An error wraps qemu.ErrRestore: the base
// is of no use, and there was no trial.
func RunWarm(ctx context.Context, spec Spec, b *Base) (Result, error) {
	s := newSession(spec)
	s.enter(scenarios.PhaseInfra, "load the saved machine")
	s.res.Warm = true
	s.res.Release, s.res.BootID, s.res.CPUs, s.res.Accel = b.Release, b.BootID, b.CPUs, b.Accel
	s.res.Ready = b.Ready
	err := s.resume(ctx, b)
	if err != nil {
		_ = s.host(err)
		if !errors.Is(err, qemu.ErrRestore) || ctx.Err() != nil {
			err = nil
		}
		return s.end(), err
	}
	s.res.Boot = time.Since(s.res.Started)
	_ = s.step(ctx) // whatever it was is in the report
	return s.end(), nil
}

// resume starts the machine from a base, its console from where it was.
func (s *session) resume(ctx context.Context, b *Base) error {
	if err := s.record(); err != nil {
		return err
	}
	if err := s.rec.preload(filepath.Join(b.Dir, baseConsole)); err != nil {
		return fmt.Errorf("%w: %w", qemu.ErrRestore, err)
	}
	return s.open(ctx, qemu.Spec{Binary: s.spec.Binary, From: filepath.Join(b.Dir, baseMachine), Dir: s.spec.Dir, Log: s.spec.Log})
}
