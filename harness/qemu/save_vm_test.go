//go:build vm

package qemu_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/blockrig/blockrig/harness/child/childtest"
	"github.com/blockrig/blockrig/harness/qemu"
)

// save boots a guest, has it write x to disk a and count to 1, and saves it.
func save(t testing.TB, format qemu.Format) string {
	t.Helper()
	ctx := testContext(t)
	g := boot(t, ctx, guestSpec(t, format))
	if got := g.do("w0x", "c"); got != ".1" {
		t.Fatalf("answers %q, want .1", got)
	}
	dir := filepath.Join(t.TempDir(), "saved")
	if err := g.Save(ctx, dir); err != nil {
		t.Fatal(err)
	}
	<-g.Done()
	if err := g.Err(); err != nil {
		t.Errorf("Err() = %v after Save, want nil", err)
	}
	if got, want := entries(t, dir), []string{"disk-a." + string(format), "disk-b." + string(format), "machine.json", "ram", "state"}; !slices.Equal(got, want) {
		t.Errorf("saved %v, want %v", got, want)
	}
	return dir
}

// digests are the names and contents of the files in a folder.
func digests(t *testing.T, dir string) map[string][32]byte {
	t.Helper()
	got := map[string][32]byte{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		got[e.Name()] = sha256.Sum256(text)
	}
	return got
}

// entries are what is in a folder besides the lock of working folders.
func entries(t testing.TB, dir string) []string {
	t.Helper()
	all, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range all {
		if e.Name() != ".blockrig.lock" {
			names = append(names, e.Name())
		}
	}
	return names
}

func TestSavedMachineContinuesManyTimes(t *testing.T) {
	for _, format := range []qemu.Format{qemu.Raw, qemu.Qcow2} {
		t.Run(string(format), func(t *testing.T) {
			from := save(t, format)
			before := digests(t, from)
			for range 3 {
				dir := t.TempDir()
				g := start(t, testContext(t), qemu.Spec{From: from, Dir: dir})

				// Memory and disks are as they were saved, whatever the one before did.
				if got, want := g.do("c", "r0", "w0y", "w1z", "r0", "r1", "c"), "2x..yz3"; got != want {
					t.Errorf("answers %q, want %q", got, want)
				}
				if err := g.Save(t.Context(), filepath.Join(dir, "again")); err == nil {
					t.Error("a machine that came from a saved one was saved")
				}
			}
			if diff := cmp.Diff(before, digests(t, from)); diff != "" {
				t.Errorf("the saved machine changed:\n%s", diff)
			}
		})
	}
}

func TestSavedMachinesRunBesideEachOther(t *testing.T) {
	from := save(t, qemu.Raw)
	ctx := testContext(t)
	guests := make([]*guest, 4)
	for i := range guests {
		guests[i] = start(t, ctx, qemu.Spec{From: from, Dir: t.TempDir(), Paused: true})
	}
	var wg sync.WaitGroup
	for i, g := range guests {
		wg.Go(func() {
			if err := g.Cont(ctx); err != nil {
				t.Error(err)
				return
			}
			mine := string(rune('p' + i))
			if _, err := io.WriteString(g.Control(), "cr0w0"+mine+"r0"); err != nil {
				t.Error(err)
				return
			}
			got := make([]byte, 4)
			if _, err := io.ReadFull(g.answers, got); err != nil || string(got) != "2x."+mine {
				t.Errorf("machine %d answers %q, %v", i, got, err)
			}
		})
	}
	wg.Wait()
}

func TestPausedMachineFromSavedOneWaits(t *testing.T) {
	from := save(t, qemu.Raw)
	g := start(t, testContext(t), qemu.Spec{From: from, Dir: t.TempDir(), Paused: true})
	if status, err := g.Status(t.Context()); err != nil || status != "paused" {
		t.Errorf("status %q, %v; want paused", status, err)
	}
	if err := g.Cont(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := g.do("c"); got != "2" {
		t.Errorf("answer %q, want 2", got)
	}
}

func TestSaveRefusesWhatExists(t *testing.T) {
	g := boot(t, testContext(t), guestSpec(t, qemu.Raw))
	dir := t.TempDir()
	if err := g.Save(t.Context(), dir); !errors.Is(err, fs.ErrExist) {
		t.Errorf("error %v, want one that says it exists", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("in the folder: %v, %v", left, err)
	}
	<-g.Done()
}

func TestSaveOnFullHostDisk(t *testing.T) {
	for name, bytes := range map[string]int{
		"no room for the state":  64 << 10,
		"no room for the memory": 384 << 10,
	} {
		t.Run(name, func(t *testing.T) {
			dir := childtest.OnSmallDisk(t, bytes)
			if dir == "" {
				return
			}
			g := boot(t, testContext(t), guestSpec(t, qemu.Raw))
			err := g.Save(t.Context(), filepath.Join(dir, "saved"))
			if err == nil || !strings.Contains(strings.ToLower(err.Error()), "no space left") {
				t.Errorf("error %v, want no space left", err)
			}
			t.Log(err)
			if left := entries(t, dir); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestSaveOnAnotherFileSystem(t *testing.T) {
	dir := childtest.OnSmallDisk(t, 64<<20)
	if dir == "" {
		return
	}
	ctx := testContext(t)
	g := boot(t, ctx, guestSpec(t, qemu.Qcow2))
	if got := g.do("w0x", "w1y", "c"); got != "..1" {
		t.Fatalf("answers %q, want ..1", got)
	}
	from := filepath.Join(dir, "saved")
	if err := g.Save(ctx, from); err != nil {
		t.Fatal(err)
	}
	g = start(t, ctx, qemu.Spec{From: from, Dir: t.TempDir()})
	if got := g.do("c", "r0", "r1"); got != "2xy" {
		t.Errorf("answers %q, want 2xy", got)
	}
}

func TestSaveThatIsCutShortLeavesNothing(t *testing.T) {
	for range 5 {
		g := boot(t, testContext(t), guestSpec(t, qemu.Raw))
		parent := t.TempDir()
		reason := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		stop := time.AfterFunc(rand.N(10*time.Millisecond), func() { cancel(reason) })
		err := g.Save(ctx, filepath.Join(parent, "saved"))
		if !stop.Stop() && err != nil && !errors.Is(err, reason) {
			t.Errorf("error %v, want %v", err, reason)
		}
		if left := entries(t, parent); (err != nil) != (len(left) == 0) {
			t.Errorf("in the folder: %v, after %v", left, err)
		}
		<-g.Done()
		cancel(nil)
	}
}

func TestMachineInTroubleIsNotSaved(t *testing.T) {
	dir := childtest.OnSmallDisk(t, 4<<20)
	if dir == "" {
		return
	}
	spec := guestSpec(t, qemu.Raw)
	d, err := qemu.CreateDisk(t.Context(), dir, "c", 8<<20, qemu.Raw)
	if err != nil {
		t.Fatal(err)
	}
	spec.Disks[1] = d
	g := boot(t, testContext(t), spec)
	g.send("b1")
	<-g.Troubled()
	to := filepath.Join(t.TempDir(), "saved")
	if err := g.Save(t.Context(), to); !errors.Is(err, qemu.ErrHost) {
		t.Errorf("error %v, want host trouble", err)
	}
	if _, err := os.Lstat(to); err == nil {
		t.Error("it was saved")
	}
}

func TestFilterOfASavedMachineThatCanNotBe(t *testing.T) {
	for disk, want := range map[string]string{"z": `no disk "z"`, "a": "disk a: format"} {
		m, err := qemu.Start(testContext(t), qemu.Spec{From: save(t, qemu.Qcow2), Dir: t.TempDir(), Filter: []string{disk}})
		if err == nil {
			t.Fatal(m.Close(), "it was started")
		}
		if !strings.Contains(err.Error(), want) || errors.Is(err, qemu.ErrRestore) {
			t.Errorf("error %v, want %q, and no ErrRestore", err, want)
		}
	}
}

func TestOverlayOnFullHostDiskIsNotTheSavedMachinesFault(t *testing.T) {
	dir := childtest.OnSmallDisk(t, 8<<10)
	if dir == "" {
		return
	}
	m, err := qemu.Start(testContext(t), qemu.Spec{From: save(t, qemu.Raw), Dir: dir})
	if err == nil {
		t.Fatal(m.Close(), "it was started")
	}
	if !errors.Is(err, syscall.ENOSPC) || errors.Is(err, qemu.ErrRestore) {
		t.Errorf("error %v, want no space left, and no ErrRestore", err)
	}
}

func TestQEMUKilledWhileSaving(t *testing.T) {
	for range 10 {
		g := boot(t, testContext(t), guestSpec(t, qemu.Raw))
		parent := t.TempDir()
		dir := filepath.Join(parent, "saved")
		var killed sync.WaitGroup
		killed.Go(func() {
			time.Sleep(rand.N(10 * time.Millisecond))
			_ = syscall.Kill(g.PID(), syscall.SIGKILL) // or it has ended
		})
		err := g.Save(t.Context(), dir)
		killed.Wait()
		if err == nil {
			// It came too late, and nothing is amiss.
			if got := start(t, testContext(t), qemu.Spec{From: dir, Dir: t.TempDir()}).do("c"); got != "1" {
				t.Errorf("answer %q, want 1", got)
			}
			continue
		}
		if !strings.Contains(err.Error(), "killed") {
			t.Errorf("error %v, want one that says QEMU was killed", err)
		}
		if left := entries(t, parent); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	}
}

func TestQEMUKilledWhileLoading(t *testing.T) {
	from := save(t, qemu.Raw)
	for range 10 {
		stop := make(chan struct{})
		var killed sync.WaitGroup
		killed.Go(func() {
			for len(children(t)) == 0 {
				select {
				case <-stop:
					return
				case <-time.After(100 * time.Microsecond):
				}
			}
			time.Sleep(rand.N(60 * time.Millisecond))
			for _, pid := range children(t) {
				_ = syscall.Kill(pid, syscall.SIGKILL) // or it has ended
			}
		})
		m, err := qemu.Start(testContext(t), qemu.Spec{From: from, Dir: t.TempDir()})
		if err == nil { // it comes too late
			<-m.Done()
			err = m.Err()
			if err := m.Close(); err != nil {
				t.Error(err)
			}
		} else if !errors.Is(err, qemu.ErrRestore) {
			t.Errorf("error %v, want ErrRestore", err)
		}
		close(stop)
		killed.Wait()
		var exit *qemu.ExitError
		if !errors.As(err, &exit) || !strings.Contains(err.Error(), "killed") {
			t.Errorf("error %v, want an ExitError that says QEMU was killed", err)
		}
	}
}

func TestDamagedSavedMachine(t *testing.T) {
	edit := func(old, new string) func(dir string) error {
		return func(dir string) error {
			name := filepath.Join(dir, "machine.json")
			text, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			return os.WriteFile(name, []byte(strings.Replace(string(text), old, new, 1)), 0o600)
		}
	}
	for _, tt := range []struct {
		name   string
		damage func(dir string) error
		want   string
	}{
		{"no folder", os.RemoveAll, "no such file"},
		{"no machine.json", func(dir string) error { return os.Remove(filepath.Join(dir, "machine.json")) }, "machine.json"},
		{"no memory", func(dir string) error { return os.Remove(filepath.Join(dir, "ram")) }, "ram"},
		{"memory cut short", func(dir string) error { return os.Truncate(filepath.Join(dir, "ram"), 4096) }, "4096 bytes"},
		{"state is a link", func(dir string) error {
			name := filepath.Join(dir, "state")
			return errors.Join(os.Remove(name), os.Symlink("/etc/passwd", name))
		}, "not a regular file"},
		{"state garbled", func(dir string) error {
			f, err := os.OpenFile(filepath.Join(dir, "state"), os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteAt([]byte(strings.Repeat("garbage", 1000)), 0)
			return errors.Join(err, f.Close())
		}, "exit status 1"},
		{"machine.json garbled", edit("{", "["), "machine.json"},
		{"of another layout", edit(`"layout": 2`, `"layout": 0`), "layout 0"},
		{"of another QEMU", edit(`"qemu": "`, `"qemu": "9`), "it was saved by QEMU 9"},
		{"of another CPU", edit(`"cpu": "max`, `"cpu": "min`), "it has CPU min"},
		{"of another memory size", edit(`"memory_mib": 64`, `"memory_mib": 65`), "for 65 MiB"},
		{"disk outside", edit(`"id": "a"`, `"id": "../a"`), "../a"},
		{"disk with options", edit(`"serial": "blockrig-a"`, `"serial": "x,rerror=report"`), "none of ours"},
		{"unknown key", edit(`"layout"`, `"extra": 1, "layout"`), "extra"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			from := save(t, qemu.Raw)
			if err := tt.damage(from); err != nil {
				t.Fatal(err)
			}
			m, err := qemu.Start(testContext(t), qemu.Spec{From: from, Dir: t.TempDir()})
			if err == nil {
				t.Fatal(m.Close(), "it was started")
			}
			if !errors.Is(err, qemu.ErrRestore) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want ErrRestore with %q", err, tt.want)
			}
		})
	}
}

func TestManyMachinesLeaveNothing(t *testing.T) {
	for name, filter := range map[string]bool{"without filter": false, "with filter": true} {
		t.Run(name, func(t *testing.T) { manyMachines(t, filter) })
	}
}

func manyMachines(t *testing.T, filter bool) {
	spec := guestSpec(t, qemu.Raw)
	spec.Disks[0].Filter = filter
	from := filepath.Join(t.TempDir(), "saved")
	if err := boot(t, testContext(t), spec).Save(testContext(t), from); err != nil {
		t.Fatal(err)
	}
	descriptors := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	one := func() {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		m, err := qemu.Start(testContext(t), qemu.Spec{From: from, Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(m.Control(), "c"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(m.Control(), make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		if filter {
			if err := m.Inject(qemu.Fault{Disk: "a", Do: qemu.StallRequest}, qemu.Fault{Disk: "a", Do: qemu.StaleRead}); err != nil {
				t.Fatal(err)
			}
			rec, err := m.Record()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(m.Control(), "r0"); err != nil {
				t.Fatal(err)
			}
			if err := rec.Close(); err != nil {
				t.Fatal(err)
			}
		}
		// Nobody ever read the console.
		if err := errors.Join(m.Close(), os.RemoveAll(dir)); err != nil {
			t.Fatal(err)
		}
	}
	one()
	fds, routines := descriptors(), runtime.NumGoroutine()
	for range 50 {
		one()
	}
	if got := descriptors(); got > fds {
		t.Errorf("%d descriptors after 50 machines, %d before", got, fds)
	}
	// Close waits until they have done all they do, not until they are gone.
	for ctx := testContext(t); runtime.NumGoroutine() > routines; time.Sleep(time.Millisecond) {
		if ctx.Err() != nil {
			t.Fatalf("%d goroutines after 50 machines, %d before", runtime.NumGoroutine(), routines)
		}
	}
	if left := children(t); len(left) > 0 {
		t.Errorf("processes left behind: %v", left)
	}
}

func BenchmarkSavedMachineToFirstAnswer(b *testing.B) {
	from := save(b, qemu.Raw)
	base := b.TempDir()
	for b.Loop() {
		dir, err := os.MkdirTemp(base, "")
		if err != nil {
			b.Fatal(err)
		}
		m, err := qemu.Start(b.Context(), qemu.Spec{From: from, Dir: dir})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.WriteString(m.Control(), "c"); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(m.Control(), make([]byte, 1)); err != nil {
			b.Fatal(err)
		}
		if err := errors.Join(m.Close(), os.RemoveAll(dir)); err != nil {
			b.Fatal(err)
		}
	}
}
