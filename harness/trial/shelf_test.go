package trial

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/blockrig/blockrig/harness/qemu"
	"github.com/blockrig/blockrig/initramfs/protocol"
	"github.com/blockrig/blockrig/kernels"
	"github.com/blockrig/blockrig/scenarios"
)

// testSpec is a trial with everything that a base depends on.
func testSpec(t *testing.T) Spec {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	align := 511
	return Spec{
		Kernel: kernels.Kernel{Ref: "debian:6.18", Digest: "kernel"}, Image: "/cache/vmlinux.elf",
		Initrd: "/cache/initramfs", InitrdDigest: "initramfs", Modules: []protocol.Module{{Path: "/lib/dm-mod.ko"}},
		Accel: qemu.TCG, CPUs: 1, Binary: exe, Dir: "/run/1",
		Case: scenarios.Case{ID: "length=512", Step: scenarios.Step{Op: "pread", Length: 512}, Scenario: &scenarios.Scenario{
			Name: "s", Setup: scenarios.Setup{
				Machine: scenarios.Machine{Memory: 384 << 20},
				Disks:   []scenarios.Disk{{ID: "a", Bus: "ahci", Size: 128 << 20}},
				Require: scenarios.Require{DMAAlignment: &align},
				Stack:   scenarios.Stack{LVM: &scenarios.LVM{Type: "mirror", Size: 64 << 20, Log: "disk"}, Ext4: &scenarios.Ext4{BlockSize: 4096}, File: &scenarios.File{Size: 1 << 20}},
			},
		}},
	}
}

func TestKeyChangesWithAllThatMatters(t *testing.T) {
	key := func(s Spec, boot int) string {
		k, err := s.key(boot)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	seen := map[string]string{key(testSpec(t), 0): "nothing changed"}
	newer := filepath.Join(t.TempDir(), "qemu")
	if err := os.WriteFile(newer, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(*Spec){
		"kernel":            func(s *Spec) { s.Kernel.Digest = "other" },
		"form of the image": func(s *Spec) { s.Image = "/cache/bzImage" },
		"initramfs":         func(s *Spec) { s.InitrdDigest = "other" },
		"modules":           func(s *Spec) { s.Modules = append(s.Modules, protocol.Module{Path: "/lib/ext4.ko"}) },
		"optional module":   func(s *Spec) { s.Modules = []protocol.Module{{Path: "/lib/dm-mod.ko", Optional: true}} },
		"QEMU":              func(s *Spec) { s.Binary = newer },
		"accelerator":       func(s *Spec) { s.Accel = qemu.KVM },
		"CPUs":              func(s *Spec) { s.CPUs = 2 },
		"memory":            func(s *Spec) { s.Case.Scenario.Machine.Memory++ },
		"disk":              func(s *Spec) { s.Case.Scenario.Disks[0].Size++ },
		"another disk":      func(s *Spec) { s.Case.Scenario.Disks = append(s.Case.Scenario.Disks, scenarios.Disk{ID: "b"}) },
		"requirement":       func(s *Spec) { *s.Case.Scenario.Require.DMAAlignment = 3 },
		"type of volume":    func(s *Spec) { s.Case.Scenario.Stack.LVM.Type = "raid1" },
		"log of the mirror": func(s *Spec) { s.Case.Scenario.Stack.LVM.Log = "core" },
		"dmeventd":          func(s *Spec) { s.Case.Scenario.Stack.LVM.Dmeventd = true },
		"block size":        func(s *Spec) { s.Case.Scenario.Stack.Ext4.BlockSize = 1024 },
		"file":              func(s *Spec) { s.Case.Scenario.Stack.File.Size++ },
		"no file system":    func(s *Spec) { s.Case.Scenario.Stack.Ext4 = nil },
		"array":             func(s *Spec) { s.Case.Scenario.Stack.MD = &scenarios.MD{Level: "raid1"} },
	} {
		s := testSpec(t)
		change(&s)
		k := key(s, 0)
		if other, ok := seen[k]; ok {
			t.Errorf("%s: the same key as for: %s", what, other)
		}
		seen[k] = what
	}
	if k := key(testSpec(t), 1); seen[k] != "" {
		t.Errorf("another boot: the same key as for: %s", seen[k])
	}
}

func TestKeyIsTheSameForAllCasesOnAStack(t *testing.T) {
	a, b := testSpec(t), testSpec(t)
	b.Kernel.Ref, b.Image, b.Initrd, b.Dir = "debian:newest", "/elsewhere/vmlinux.elf", "/elsewhere/initramfs", "/run/2"
	b.Case.ID, b.Case.Step.Length, b.Case.Step.MemoryOffset = "length=4096", 4096, 32
	b.Case.Scenario.Name, b.Case.Scenario.About = "of another name", "in other words"
	ka, errA := a.key(3)
	kb, errB := b.key(3)
	if err := errors.Join(errA, errB); err != nil {
		t.Fatal(err)
	}
	if ka != kb {
		t.Errorf("keys %s and %s, want one", ka, kb)
	}
}

// maker makes bases on a shelf and counts them.
type maker struct {
	mu   sync.Mutex
	made int
}

func (m *maker) make(dir string) (*Base, *Result) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.made++
	if err := putBase(dir, "boot"); err != nil {
		return nil, &Result{}
	}
	// Some content: 64 KiB.
	if err := os.WriteFile(filepath.Join(dir, baseConsole), bytes.Repeat([]byte("x"), 64<<10), 0o600); err != nil {
		return nil, &Result{}
	}
	return &Base{Dir: dir}, nil
}

func (m *maker) take(t *testing.T, sh *Shelf, spec Spec, boot int) *lease {
	t.Helper()
	l, r, err := sh.take(t.Context(), spec, boot, m.make)
	if err != nil || r != nil {
		t.Fatalf("take: %v, %v", r, err)
	}
	t.Cleanup(func() { _ = l.release() }) // may have been released before
	return l
}

func release(t *testing.T, l *lease) {
	t.Helper()
	if err := l.release(); err != nil {
		t.Fatal(err)
	}
}

// bases are the names of the bases on a shelf, and whatever else is there
// but locks.
func bases(t *testing.T, sh *Shelf) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(sh.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), lockSuffix) {
			names = append(names, e.Name())
		}
	}
	return names
}

func TestBaseIsMadeOnceForAllUsers(t *testing.T) {
	// Given two users of one folder, as two processes are,
	dir := t.TempDir()
	spec, m := testSpec(t), &maker{}
	var users sync.WaitGroup
	for range 8 {
		users.Go(func() {
			l, r, err := (&Shelf{Dir: dir}).take(t.Context(), spec, 0, m.make)
			if err != nil || r != nil || l.BootID != "boot" {
				t.Errorf("take: %v, %v", r, err)
			}
			if err := l.release(); err != nil {
				t.Error(err)
			}
		})
	}
	users.Wait()
	if m.made != 1 {
		t.Errorf("made %d times, want once", m.made)
	}
}

func TestMakerThatFailsLetsTheNextOneTry(t *testing.T) {
	sh, spec, m := &Shelf{Dir: t.TempDir()}, testSpec(t), &maker{}
	want := &Result{Release: "6.18.15"}
	l, r, err := sh.take(t.Context(), spec, 0, func(string) (*Base, *Result) { return nil, want })
	if l != nil || r != want || err != nil {
		t.Fatalf("take: %v, %v, %v; want the maker's result", l, r, err)
	}
	m.take(t, sh, spec, 0)
}

func TestLeastRecentlyUsedGoes(t *testing.T) {
	sh, spec, m := &Shelf{Dir: t.TempDir()}, testSpec(t), &maker{}
	var names []string
	for boot := range 4 {
		l := m.take(t, sh, spec, boot)
		names = append(names, filepath.Base(l.Dir))
		release(t, l)
		// Long ago, in the order in which they were made.
		at := time.Now().Add(time.Duration(boot-10) * time.Hour)
		if err := os.Chtimes(l.Dir+lockSuffix, at, at); err != nil {
			t.Fatal(err)
		}
	}
	release(t, m.take(t, sh, spec, 0)) // the oldest is used again

	one := onDisk(filepath.Join(sh.Dir, names[0]))
	if one < 64<<10 {
		t.Fatalf("a base takes %d bytes", one)
	}
	sh.Limit = 2*one + one/2
	if err := sh.Trim(); err != nil {
		t.Fatal(err)
	}

	if got, want := bases(t, sh), []string{names[0], names[3]}; !slices.Equal(got, want) {
		t.Errorf("left %v, want those used last: %v", got, want)
	}
	if m.made != 4 {
		t.Errorf("made %d, want 4", m.made)
	}
}

func TestBaseInUseStays(t *testing.T) {
	sh, spec, m := &Shelf{Dir: t.TempDir(), Limit: 1}, testSpec(t), &maker{}
	first, second := m.take(t, sh, spec, 0), m.take(t, sh, spec, 1)
	if got := bases(t, sh); len(got) != 2 {
		t.Errorf("bases %v, want both, though there is no room for one", got)
	}
	release(t, first)
	if err := (&Shelf{Dir: sh.Dir, Limit: 1}).Trim(); err != nil {
		t.Fatal(err)
	}
	if got, want := bases(t, sh), []string{filepath.Base(second.Dir)}; !slices.Equal(got, want) {
		t.Errorf("bases %v, want only the one in use: %v", got, want)
	}
}

func TestWithoutALimitEverythingStays(t *testing.T) {
	sh, spec, m := &Shelf{Dir: t.TempDir()}, testSpec(t), &maker{}
	for boot := range 3 {
		release(t, m.take(t, sh, spec, boot))
	}
	if err := sh.Trim(); err != nil {
		t.Fatal(err)
	}
	if got := bases(t, sh); len(got) != 3 {
		t.Errorf("bases %v, want 3", got)
	}
}

func TestWhatDeadProcessesLeftIsSwept(t *testing.T) {
	sh, spec, m := &Shelf{Dir: t.TempDir()}, testSpec(t), &maker{}
	busy := m.take(t, sh, spec, 0)
	leave := func(of string) string {
		dir, err := os.MkdirTemp(sh.Dir, newPrefix+of+"-*")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "ram"), []byte("half of it"), 0o600); err != nil {
			t.Fatal(err)
		}
		return filepath.Base(dir)
	}
	dead, inWork := leave("0123456789abcdef-0"), leave(filepath.Base(busy.Dir))

	// Somebody makes that one.
	making, err := lockMaking(t.Context(), busy.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := sh.Trim(); err != nil {
		t.Fatal(err)
	}
	got := bases(t, sh)
	if slices.Contains(got, dead) || !slices.Contains(got, inWork) {
		t.Errorf("left %v; want %s gone, and %s there", got, dead, inWork)
	}

	if err := making.Close(); err != nil {
		t.Fatal(err)
	}
	if err := sh.Trim(); err != nil {
		t.Fatal(err)
	}
	if got, want := bases(t, sh), []string{filepath.Base(busy.Dir)}; !slices.Equal(got, want) {
		t.Errorf("left %v, want %v", got, want)
	}
}

func TestBrokenBaseIsMadeAgainAndTheReasonLogged(t *testing.T) {
	for _, tt := range []struct {
		name   string
		damage func(dir string) error
		want   string
	}{
		{"no base.json", func(dir string) error { return os.Remove(filepath.Join(dir, baseFile)) }, "base.json"},
		{"cut short", func(dir string) error { return os.Truncate(filepath.Join(dir, baseFile), 10) }, "unexpected EOF"},
		{"empty object", func(dir string) error { return os.WriteFile(filepath.Join(dir, baseFile), []byte("{}"), 0o600) }, "does not say what was ready"},
		{"a link", func(dir string) error {
			name := filepath.Join(dir, baseFile)
			return errors.Join(os.Remove(name), os.Symlink("/etc/passwd", name))
		}, "escapes"},
		{"a file", func(dir string) error { return errors.Join(os.RemoveAll(dir), os.WriteFile(dir, nil, 0o600)) }, "not a directory"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var log bytes.Buffer
			sh := &Shelf{Dir: t.TempDir(), Log: slog.New(slog.NewTextHandler(&log, nil))}
			spec, m := testSpec(t), &maker{}
			l := m.take(t, sh, spec, 0)
			release(t, l)
			if err := tt.damage(l.Dir); err != nil {
				t.Fatal(err)
			}

			m.take(t, sh, spec, 0)

			if m.made != 2 {
				t.Errorf("made %d times, want twice", m.made)
			}
			if !strings.Contains(log.String(), tt.want) {
				t.Errorf("the log does not say %q: %s", tt.want, &log)
			}
		})
	}
}

func TestBaseIsMadeAgainWhileOthersStillHaveTheBrokenOne(t *testing.T) {
	sh, spec, m := &Shelf{Dir: t.TempDir()}, testSpec(t), &maker{}
	old := m.take(t, sh, spec, 0)
	if err := sh.discard(t.Context(), old.Dir, old.BootID, errors.New("garbled")); err != nil {
		t.Fatal(err)
	}
	m.take(t, sh, spec, 0) // does not wait for the first one's release
	if m.made != 2 {
		t.Errorf("made %d times, want twice", m.made)
	}
}

func TestNewBaseIsNotTakenForTheBrokenOne(t *testing.T) {
	// Given a base that somebody has made in place of one that was of no use,
	var log bytes.Buffer
	sh := &Shelf{Dir: t.TempDir(), Log: slog.New(slog.NewTextHandler(&log, nil))}
	dir := filepath.Join(sh.Dir, "0123456789abcdef-0")
	if err := putBase(dir, "second"); err != nil {
		t.Fatal(err)
	}
	// when another one finds out late,
	if err := sh.discard(t.Context(), dir, "first", errors.New("garbled")); err != nil {
		t.Fatal(err)
	}
	// then it stays, and there is nothing to tell.
	if b, err := OpenBase(dir); err != nil || b.BootID != "second" || log.Len() > 0 {
		t.Errorf("base %v, %v, log %q; want the second one", b, err, &log)
	}

	if err := sh.discard(t.Context(), dir, "second", errors.New("garbled")); err != nil {
		t.Fatal(err)
	}
	if left := bases(t, sh); len(left) > 0 || !strings.Contains(log.String(), "garbled") {
		t.Errorf("left %v, log %q; want nothing, and the reason", left, &log)
	}
	if err := sh.discard(t.Context(), dir, "second", errors.New("garbled")); err != nil {
		t.Errorf("one that is gone: %v", err)
	}
}

func TestWaitForABaseEndsWithItsContext(t *testing.T) {
	// Given a base that somebody else is making,
	sh, spec, m := &Shelf{Dir: t.TempDir()}, testSpec(t), &maker{}
	reason := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	_, _, err := sh.take(t.Context(), spec, 0, func(dir string) (*Base, *Result) {
		waits := make(chan error)
		go func() {
			_, _, err := (&Shelf{Dir: sh.Dir}).take(ctx, spec, 0, m.make)
			waits <- err
		}()
		// when the one that waits for it is told to end,
		cancel(reason)
		// then it does.
		if err := <-waits; !errors.Is(err, context.Canceled) && !errors.Is(err, reason) {
			t.Errorf("error %v, want that it was told to end", err)
		}
		return m.make(dir)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestShelfThatIsNotThereHasNothingToTrim(t *testing.T) {
	sh := &Shelf{Dir: filepath.Join(t.TempDir(), "none"), Limit: 1}
	if err := sh.Trim(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(sh.Dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it was made: %v", err)
	}
}
