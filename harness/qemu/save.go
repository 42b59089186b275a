package qemu

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/digitalocean/go-qemu/qmp"
	"golang.org/x/sys/unix"

	"github.com/blockrig/blockrig/harness/text"
)

// Save stops the machine, writes its state, memory and disks into the new
// folder dir and ends the machine, whatever comes of it; Close must be called
// all the same. When it fails, the folder is removed; that it is kept whole and
// unchanged is the caller's (cachedir's) care. Spec.From makes machines of it,
// which themselves can't be saved.
//
// The disks' files are moved, not copied, where the folder is on their file
// system.
func (m *Machine) Save(ctx context.Context, dir string) (err error) {
	defer func() {
		// An error of ending the machine only follows from this one.
		if closed := m.Close(); err == nil && closed != nil {
			err = closed
		}
		if err != nil {
			err = fmt.Errorf("save machine in %s: %w", dir, err)
		}
	}()

	if trouble := m.Trouble(); trouble != nil {
		return trouble
	}
	if m.Held() > 0 {
		return errors.New("a fault holds a request of the guest")
	}
	for _, d := range m.spec.Disks {
		if !d.Savable() {
			return fmt.Errorf("disk %s: QEMU can't save a machine with a disk of %s", d.ID, d.Bus)
		}
	}
	ram := m.takeRAM()
	if ram == nil {
		return errors.New("it was saved before, or came from a saved one itself, or was closed")
	}
	defer func() { err = errors.Join(err, ram.Close()) }()
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()

	if err := m.saveState(ctx, root); err != nil {
		return err
	}
	for _, f := range m.filters {
		if err := f.flatten(ctx); err != nil {
			return fmt.Errorf("disk %s: %w", f.disk.ID, err)
		}
	}
	// The end of QEMU makes its disks complete and its memory final.
	if err := m.Close(); err != nil {
		return err
	}
	if err := saveRAM(ctx, root, ram); err != nil {
		return err
	}
	for _, d := range m.spec.Disks {
		if err := saveDisk(ctx, root, dir, d); err != nil {
			return fmt.Errorf("disk %s: %w", d.ID, err)
		}
	}
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	return m.describe(root)
}

// saveState has QEMU write the state of CPUs and devices, without the memory,
// which is shared already (x-ignore-shared).
func (m *Machine) saveState(ctx context.Context, root *os.Root) (err error) {
	if err := m.Pause(ctx); err != nil {
		return err
	}
	if err := m.setCapabilities(ctx); err != nil {
		return err
	}
	f, err := root.OpenFile(savedState, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()

	ended := m.watchMigration()
	defer ended.stop()
	if err := m.explain(m.mon.SendFile(ctx, savedState, f)); err != nil {
		return err
	}
	if err := m.execute(ctx, "migrate", map[string]string{"uri": "fd:" + savedState}, nil); err != nil {
		return err
	}
	if err := ended.wait(ctx); err != nil {
		return fmt.Errorf("write the machine's state: %w", err)
	}
	return nil
}

// setCapabilities prepares for a state without memory, and for MIGRATION
// events.
func (m *Machine) setCapabilities(ctx context.Context) error {
	type capability struct {
		Name string `json:"capability"`
		On   bool   `json:"state"`
	}
	return m.execute(ctx, "migrate-set-capabilities", map[string]any{
		"capabilities": []capability{{"x-ignore-shared", true}, {"events", true}},
	}, nil)
}

// A migrationWatch waits for the end of a migration, as QEMU calls the
// writing and the reading of a machine's state.
type migrationWatch struct {
	m      *Machine
	events <-chan qmp.Event
	stop   context.CancelFunc
}

func (m *Machine) watchMigration() migrationWatch {
	ctx, cancel := context.WithCancel(context.Background())
	return migrationWatch{m: m, events: m.mon.subscribe(ctx), stop: cancel}
}

func (w migrationWatch) wait(ctx context.Context) error {
	for {
		select {
		case e, ok := <-w.events:
			if !ok {
				return w.m.explain(ErrMonitorClosed)
			}
			if e.Event != "MIGRATION" {
				continue
			}
			switch e.Data["status"] {
			case "completed":
				return nil
			case "failed", "cancelled":
				return w.m.migrationError(ctx)
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// migrationError is QEMU's reason for a migration that failed.
func (m *Machine) migrationError(ctx context.Context) error {
	var q struct {
		Status string `json:"status"`
		Desc   string `json:"error-desc"`
	}
	if err := m.execute(ctx, "query-migrate", nil, &q); err != nil {
		return err
	}
	return fmt.Errorf("QEMU: migration %s: %s", q.Status, text.Excerpt([]byte(q.Desc), 500))
}

// saveRAM copies the memory, leaving holes where it is zero.
func saveRAM(ctx context.Context, root *os.Root, ram *os.File) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("write the machine's memory: %w", err)
		}
	}()
	out, err := root.OpenFile(savedRAM, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	return copySparse(ctx, out, ram)
}

// saveDisk moves the disk's file into the folder.
func saveDisk(ctx context.Context, root *os.Root, path string, d Disk) (err error) {
	name := diskFile(d)
	err = os.Rename(d.Path, filepath.Join(path, name))
	if errors.Is(err, unix.EXDEV) {
		err = copyDisk(ctx, root, d)
	}
	return err
}

func copyDisk(ctx context.Context, root *os.Root, d Disk) (err error) {
	in, err := os.Open(d.Path)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := root.OpenFile(diskFile(d), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(copySparse(ctx, out, in), out.Close())
}

// describe writes machine.json.
func (m *Machine) describe(root *os.Root) error {
	s := saved{
		Layout: savedLayout, QEMU: m.Version(),
		Accel: m.spec.Accel, CPU: cpuModel(m.spec.Accel), CPUs: m.spec.CPUs, MemoryMiB: m.spec.MemoryMiB,
		Kernel: m.spec.Kernel, Initrd: m.spec.Initrd, Append: m.spec.Append,
	}
	for _, d := range m.spec.Disks {
		d.Path = diskFile(d)
		s.Disks = append(s.Disks, d)
	}
	text, err := json.MarshalIndent(s, "", "\t")
	if err != nil {
		return err
	}
	return root.WriteFile(savedMachine, append(text, '\n'), 0o600)
}

// copySparse copies a file into an empty one of no content; what is zero in
// whole pages becomes a hole.
func copySparse(ctx context.Context, out, in *os.File) error {
	info, err := in.Stat()
	if err != nil {
		return err
	}
	size := info.Size()
	if err := out.Truncate(size); err != nil {
		return err
	}
	const page = 4096
	zero := make([]byte, page)
	buf := make([]byte, 256*page)
	for at := int64(0); at < size; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		data, err := unix.Seek(int(in.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil // only a hole is left
		}
		if err != nil {
			return err
		}
		at = data
		n, err := in.ReadAt(buf[:min(int64(len(buf)), size-at)], at)
		if err != nil && !(errors.Is(err, io.EOF) && n > 0) {
			return err
		}
		// Runs of pages with something in them are written at once.
		for from := 0; from < n; {
			to := from
			for to < n && !bytes.Equal(buf[to:min(to+page, n)], zero[:min(page, n-to)]) {
				to = min(to+page, n)
			}
			if to > from {
				if _, err := out.WriteAt(buf[from:to], at+int64(from)); err != nil {
					return err
				}
				from = to
				continue
			}
			from = min(from+page, n)
		}
		at += int64(n)
	}
	return nil
}
