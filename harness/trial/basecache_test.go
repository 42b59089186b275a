package trial

import (
	"bytes"
	"context"
	"errors"
	"fmt"
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
)

// maker makes bases and counts them.
type maker struct{ made atomic.Int32 }

func (m *maker) make(_ context.Context, dir string) error {
	m.made.Add(1)
	return errors.Join(putBase(dir, "boot"), os.WriteFile(filepath.Join(dir, baseConsole), bytes.Repeat([]byte("x"), 64<<10), 0o600))
}

func (m *maker) get(t *testing.T, c *BaseCache, boot int) *Base {
	t.Helper()
	b, err := c.get(t.Context(), fmt.Sprint("key-", boot), m.make)
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
	m := &maker{}
	var users sync.WaitGroup
	for range 8 {
		users.Go(func() {
			b, err := (&BaseCache{Dir: dir}).get(t.Context(), "key-0", m.make)
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
	c, m := &BaseCache{Dir: t.TempDir()}, &maker{}
	want := &NotReadyError{Outcome{Release: "6.18.15"}}
	_, err := c.get(t.Context(), "key-0", func(context.Context, string) error { return want })
	if got, ok := errors.AsType[*NotReadyError](err); !ok || got != want {
		t.Fatalf("get: %v; want the boot's outcome", err)
	}
	m.get(t, c, 0)
}

func TestBasesInUseStay(t *testing.T) {
	c, m := &BaseCache{Dir: t.TempDir(), Limit: 1}, &maker{}
	first, second := m.get(t, c, 0), m.get(t, c, 1)
	if got := bases(t, c.Dir); len(got) != 2 {
		t.Errorf("bases %v, want both, though there is no room for one", got)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	third := m.get(t, c, 2)
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
			m := &maker{}
			b := m.get(t, c, 0)
			if err := errors.Join(b.Close(), damage(filepath.Join(b.Path(), baseFile))); err != nil {
				t.Fatal(err)
			}
			if b := m.get(t, c, 0); b.BootID != "boot" || m.made.Load() != 2 {
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
			c, m := &BaseCache{Dir: t.TempDir()}, &maker{}
			b := m.get(t, c, 0)
			if err := damage(b.Path()); err != nil {
				t.Fatal(err)
			}
			if _, err := runWarm(t.Context(), Local{Job: testJob(), Dir: t.TempDir()}, b); !errors.Is(err, qemu.ErrRestore) || !errors.Is(err, cachedir.ErrDamaged) {
				t.Errorf("got %v, want that the base is of no use", err)
			}
		})
	}
}
