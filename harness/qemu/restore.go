package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// ErrRestore says that a saved machine can't be continued; the cause is
// wrapped. A new one may work.
var ErrRestore = errors.New("can't continue the saved machine")

// launchSaved starts QEMU with copy-on-write memory and disks, waiting for
// the saved state.
func (m *Machine) launchSaved() (err error) {
	root, err := os.OpenRoot(m.spec.From)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrRestore, err)
	}
	defer root.Close()
	s, err := readSaved(root)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrRestore, m.spec.From, err)
	}
	m.spec.Accel, m.spec.CPUs, m.spec.MemoryMiB = s.Accel, s.CPUs, s.MemoryMiB
	if model := cpuModel(s.Accel); s.CPU != model {
		return fmt.Errorf("%w: it has CPU %s, and machines now have %s", ErrRestore, s.CPU, model)
	}
	m.savedBy = s.QEMU

	// QEMU opens the memory for writing even to map it privately.
	ram, err := root.OpenFile(savedRAM, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrRestore, err)
	}
	defer func() { err = errors.Join(err, ram.Close()) }()
	state, err := root.Open(savedState)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrRestore, err)
	}
	defer func() { err = errors.Join(err, state.Close()) }()

	for _, id := range m.spec.Filter {
		i := slices.IndexFunc(s.Disks, func(d Disk) bool { return d.ID == id })
		if i < 0 {
			return fmt.Errorf("the saved machine has no disk %q that could have a filter", id)
		}
		s.Disks[i].Filter = true
		if err := s.Disks[i].check(); err != nil {
			return fmt.Errorf("disk %s: %w", id, err)
		}
	}
	m.spec.Disks = nil
	var content []layers
	for _, d := range s.Disks {
		base := filepath.Join(m.spec.From, diskFile(d))
		if d.filtered() {
			var c layers
			if c, err = openOverlay(base, m.spec.Dir); err == nil {
				content = append(content, c)
			}
			d.Path = base
		} else {
			d, err = overlay(m.spec.Dir, d, base)
		}
		if err != nil {
			err = fmt.Errorf("overlay of disk %s: %w", d.ID, err)
			for _, c := range content {
				err = errors.Join(err, c.release())
			}
			return err
		}
		m.spec.Disks = append(m.spec.Disks, d)
	}
	return m.launch(content, ram, state)
}

// overlay makes a file in dir that takes what is written to d, whose content
// is in the file base.
func overlay(dir string, d Disk, base string) (Disk, error) {
	size, err := diskSize(base, d.Format)
	if err != nil {
		return Disk{}, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Disk{}, err
	}
	defer root.Close()
	name := d.ID + ".qcow2"
	err = writeNew(root, name, func(f *os.File) error { return writeQcow2(f, size, base, d.Format) })
	if err != nil {
		return Disk{}, err
	}
	d.Path, d.Format = filepath.Join(dir, name), Qcow2
	return d, nil
}

// restore has QEMU read the saved state, and lets the machine run.
func (m *Machine) restore(ctx context.Context) error {
	if v := m.Version(); v != m.savedBy {
		return fmt.Errorf("it was saved by QEMU %s, this one is %s", m.savedBy, v)
	}
	if err := m.setCapabilities(ctx); err != nil {
		return err
	}
	ended := m.watchMigration()
	defer ended.stop()
	if err := m.execute(ctx, "migrate-incoming", map[string]string{"uri": fmt.Sprintf("fd:%d", fdState)}, nil); err != nil {
		return err
	}
	if err := ended.wait(ctx); err != nil {
		return fmt.Errorf("read the machine's state: %w", err)
	}
	m.began = time.Now()
	if m.spec.Paused {
		return nil
	}
	return m.Cont(ctx)
}
