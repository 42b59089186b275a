package cachedir

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"
)

func TestAScratchFolderIsSweptWhenItsProcessIsDead(t *testing.T) {
	root := t.TempDir()
	kill := other(t, "CACHEDIR_TEST_SCRATCH="+root)
	own, err := Scratch(t.Context(), root, "work-")
	must(t, err)
	must(t, Sweep(t.Context(), root, "work-", nil))
	if got := names(t, root); len(got) != 2 {
		t.Errorf("of two that live there is %q", got)
	}
	kill()
	must(t, Sweep(t.Context(), root, "work-", nil))
	if got := names(t, root); !slices.Equal(got, []string{filepath.Base(own.Path())}) {
		t.Errorf("there is %q, want this process's own", got)
	}
	must(t, own.Remove())
	if got := names(t, root); len(got) > 0 {
		t.Errorf("left %q", got)
	}
}

func TestSweepLeavesWhatIsNotOurs(t *testing.T) {
	root := t.TempDir()
	outside := t.TempDir()
	write(t, root, map[string]string{"work-file": "x", "work-1/file": "never held", "other/file": "x", "work-2/" + lockName + "/x": "a folder as lock"})
	write(t, outside, map[string]string{lockName: "", "precious": "x"})
	must(t, os.Symlink(outside, filepath.Join(root, "work-link")))
	must(t, os.Mkdir(filepath.Join(root, "work-empty"), 0o755)) // killed between mkdir and lock
	must(t, Sweep(t.Context(), root, "work-", nil))
	if got := names(t, root); !slices.Equal(got, []string{"other", "work-1", "work-2", "work-file", "work-link"}) {
		t.Errorf("there is %q", got)
	}
	if got := names(t, outside); !slices.Equal(got, []string{lockName, "precious"}) {
		t.Errorf("outside there is %q", got)
	}
	must(t, Sweep(t.Context(), filepath.Join(root, "none"), "work-", nil))
}

func TestSweepLetsTheCallerDecide(t *testing.T) {
	root := t.TempDir()
	write(t, root, map[string]string{"a/" + lockName: "", "a/keep": "", "b/" + lockName: "", newPrefix + "c/" + lockName: "", "d/file": ""})
	var met []string
	must(t, Sweep(t.Context(), root, "", func(f *Folder) error {
		met = append(met, filepath.Base(f.Path()))
		if _, err := os.Stat(filepath.Join(f.Path(), "keep")); err == nil {
			return f.Release()
		}
		return f.Remove()
	}))
	if !slices.Equal(met, []string{"a", "b"}) {
		t.Errorf("met %q, want those that were held", met)
	}
	if got := names(t, root); !slices.Equal(got, []string{"a", "d"}) {
		t.Errorf("there is %q", got)
	}
	if got := names(t, filepath.Join(root, "a")); !slices.Equal(got, []string{"keep"}) {
		t.Errorf("in a there is %q", got)
	}
}

func TestAFolderAppearsWholeAndHeld(t *testing.T) {
	root := filepath.Join(t.TempDir(), "runs")
	path := filepath.Join(root, "run")
	f, err := Create(t.Context(), path, func(dir string) error {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("it is there before it is whole: %v", err)
		}
		return os.WriteFile(filepath.Join(dir, "info"), []byte("x"), 0o644)
	})
	must(t, err)
	if f.Path() != path {
		t.Errorf("it is at %s", f.Path())
	}
	if _, err := Hold(path); !errors.Is(err, ErrBusy) {
		t.Errorf("Hold while it is held: %v", err)
	}
	if _, err := Create(t.Context(), path, func(string) error { return nil }); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Create again: %v", err)
	}
	must(t, f.Release())
	if got := names(t, path); !slices.Equal(got, []string{"info"}) {
		t.Errorf("in it there is %q", got)
	}
	f, err = Hold(path)
	must(t, err)
	must(t, f.Remove())

	no := errors.New("no")
	if _, err := Create(t.Context(), path, func(string) error { return no }); !errors.Is(err, no) {
		t.Errorf("got %v", err)
	}
	if got := names(t, root); len(got) > 0 {
		t.Errorf("left %q", got)
	}
}

func TestAHeldFolderCanHoldScratchFolders(t *testing.T) {
	d := New(t.TempDir(), Options{})
	e := get(t, d, "k", func(ctx context.Context, dir string) error {
		f, err := Scratch(ctx, dir, "unpack-")
		return errors.Join(err, f.Remove(), content(dir))
	})
	must(t, e.Close())
	must(t, New(d.Path(), Options{}).check(t, "k"))
}

func TestHoldOfNothingIsAnError(t *testing.T) {
	if _, err := Hold(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestLocksEndWithTheContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := Lock(t.Context(), path)
	must(t, err)
	if _, err := TryLock(path); !errors.Is(err, ErrBusy) {
		t.Errorf("TryLock: %v", err)
	}
	why := errors.New("enough")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 20*time.Millisecond, why)
	defer cancel()
	if _, err := Lock(ctx, path); !errors.Is(err, why) {
		t.Errorf("Lock: %v", err)
	}
	must(t, unlock())
}

func TestAWrittenFileReplacesTheOldOne(t *testing.T) {
	root, err := os.OpenRoot(t.TempDir())
	must(t, err)
	defer root.Close()
	must(t, root.Mkdir("sub", 0o755))
	for _, name := range []string{"a", "sub/b"} {
		// What a killed process left is in nobody's way.
		must(t, root.WriteFile(filepath.Join(filepath.Dir(name), newPrefix+filepath.Base(name)), []byte("something longer"), 0o644))
		for _, text := range []string{"one", "two"} {
			must(t, WriteFile(root, name, []byte(text)))
			if got, err := root.ReadFile(name); err != nil || string(got) != text {
				t.Errorf("%s: %q, %v", name, got, err)
			}
		}
	}
	if got := names(t, root.Name()); !slices.Equal(got, []string{"a", "sub"}) {
		t.Errorf("there is %q", got)
	}
	if err := WriteFile(root, "../outside", nil); err == nil {
		t.Error("it left its folder")
	}
}

// Given a process that stands still while it writes a file, when another writes
// that file, then it need not wait.
func TestAWriterDoesNotWaitForAnother(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	must(t, err)
	defer root.Close()
	for _, name := range []string{newPrefix + "file", newPrefix + "file.2"} {
		unlock, err := TryLock(filepath.Join(dir, name))
		must(t, err)
		defer func() { must(t, unlock()) }()
	}
	must(t, WriteFile(root, "file", []byte("text")))
	if got, err := root.ReadFile("file"); err != nil || string(got) != "text" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestWritersOfOneFileDoNotMix(t *testing.T) {
	root, err := os.OpenRoot(t.TempDir())
	must(t, err)
	defer root.Close()
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for range 10 {
				text := bytes.Repeat([]byte{byte('a' + i)}, 1000*(i+1))
				if err := WriteFile(root, "file", text); err != nil {
					t.Error(err)
				}
				got, err := root.ReadFile("file")
				if err != nil || len(got) != 1000*int(got[0]-'a'+1) || bytes.Count(got, got[:1]) != len(got) {
					t.Errorf("%d bytes of several writers, %v", len(got), err)
				}
			}
		})
	}
	all.Wait()
	if got := names(t, root.Name()); !slices.Equal(got, []string{"file"}) {
		t.Errorf("there is %q", got)
	}
}
