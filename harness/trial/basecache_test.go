package trial

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/blockrig/blockrig/harness/cachedir"
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

// maker makes bases and counts them.
type maker struct{ made atomic.Int32 }

func (m *maker) make(_ context.Context, dir string) error {
	m.made.Add(1)
	return errors.Join(putBase(dir, "boot"), os.WriteFile(filepath.Join(dir, baseConsole), bytes.Repeat([]byte("x"), 64<<10), 0o600))
}

func (m *maker) get(t *testing.T, c *BaseCache, spec Spec, boot int) *Base {
	t.Helper()
	b, err := c.get(t.Context(), spec, boot, m.make)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() }) // may have been closed before
	return b
}

// bases are the names of the bases in a cache, and whatever else is there but
// what cachedir locks.
func bases(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names
}

func TestABaseIsMadeOnceForAllUsers(t *testing.T) {
	// Given several users of one folder, as processes are,
	dir := t.TempDir()
	spec, m := testSpec(t), &maker{}
	var users sync.WaitGroup
	for range 8 {
		users.Go(func() {
			b, err := (&BaseCache{Dir: dir}).get(t.Context(), spec, 0, m.make)
			if err != nil || b.BootID != "boot" {
				t.Errorf("get: %v", err)
			}
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	users.Wait()
	if n := m.made.Load(); n != 1 {
		t.Errorf("made %d times, want once", n)
	}
}

func TestABootThatFailsLetsTheNextOneTry(t *testing.T) {
	c, spec, m := &BaseCache{Dir: t.TempDir()}, testSpec(t), &maker{}
	want := &BootError{Result: Result{Release: "6.18.15"}}
	_, err := c.get(t.Context(), spec, 0, func(context.Context, string) error { return want })
	if got, ok := errors.AsType[*BootError](err); !ok || got != want {
		t.Fatalf("get: %v; want the boot's result", err)
	}
	m.get(t, c, spec, 0)
}

func TestBasesInUseStay(t *testing.T) {
	c, spec, m := &BaseCache{Dir: t.TempDir(), Limit: 1}, testSpec(t), &maker{}
	first, second := m.get(t, c, spec, 0), m.get(t, c, spec, 1)
	if got := bases(t, c.Dir); len(got) != 2 {
		t.Errorf("bases %v, want both, though there is no room for one", got)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	third := m.get(t, c, spec, 2)
	if got, want := bases(t, c.Dir), []string{second.Key(), third.Key()}; !slices.Equal(got, slices.Sorted(slices.Values(want))) {
		t.Errorf("bases %v, want only those in use: %v", got, want)
	}
}

func TestABaseThatDoesNotDescribeItselfIsMadeAgain(t *testing.T) {
	for what, damage := range map[string]func(file string) error{
		"no base.json": os.Remove,
		"cut short":    func(file string) error { return os.Truncate(file, 10) },
		"of another":   func(file string) error { return os.WriteFile(file, []byte(`{"boot_id": "toob", "ready": {}}`), 0o600) },
	} {
		t.Run(what, func(t *testing.T) {
			var log bytes.Buffer
			c := &BaseCache{Dir: t.TempDir(), Log: slog.New(slog.NewTextHandler(&log, nil))}
			spec, m := testSpec(t), &maker{}
			b := m.get(t, c, spec, 0)
			if err := errors.Join(b.Close(), damage(filepath.Join(b.Path(), baseFile))); err != nil {
				t.Fatal(err)
			}
			if b := m.get(t, c, spec, 0); b.BootID != "boot" || m.made.Load() != 2 {
				t.Errorf("boot %q, made %d times; want the second", b.BootID, m.made.Load())
			}
			if n := strings.Count(log.String(), "saved machine in the cache is of no use and is made again"); n != 1 {
				t.Errorf("said %d times, want once: %s", n, &log)
			}
		})
	}
}

// A trial reads what a base holds beside the machine only when it is checked:
// an added line in its console would be a finding.
func TestATrialFromADamagedBaseIsNone(t *testing.T) {
	for what, damage := range map[string]func(dir string) error{
		"console": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, baseConsole), []byte("[    1.0] BUG: kernel NULL pointer dereference\n"), 0o600)
		},
		"another file": func(dir string) error { return os.WriteFile(filepath.Join(dir, "more"), nil, 0o600) },
	} {
		t.Run(what, func(t *testing.T) {
			c, spec, m := &BaseCache{Dir: t.TempDir()}, testSpec(t), &maker{}
			b := m.get(t, c, spec, 0)
			if err := damage(b.Path()); err != nil {
				t.Fatal(err)
			}
			spec.Dir = t.TempDir()
			if _, err := RunWarm(t.Context(), spec, b); !errors.Is(err, qemu.ErrRestore) || !errors.Is(err, cachedir.ErrDamaged) {
				t.Errorf("got %v, want that the base is of no use", err)
			}
		})
	}
}
