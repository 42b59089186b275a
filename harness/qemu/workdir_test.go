package qemu

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
)

func TestSweepRemovesOnlyWhatTheDeadLeft(t *testing.T) {
	root := filepath.Join(t.TempDir(), "machines")
	if err := Sweep(t.Context(), root); err != nil {
		t.Errorf("sweep of nothing: %v", err)
	}

	// Given a folder in use, one whose process is gone, and others' things,
	live, err := NewWorkDir(root)
	if err != nil {
		t.Fatal(err)
	}
	dead, err := NewWorkDir(root)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dead.Path(), "disk"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := dead.lock.Close(); err != nil { // as the kernel does for a dead process
		t.Fatal(err)
	}
	outside := t.TempDir()
	stays := []string{live.Path(), outside}
	for _, name := range []string{"theirs", workDirPrefix + "theirs"} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Join(path, "in"), 0o700); err != nil {
			t.Fatal(err)
		}
		stays = append(stays, path)
	}
	link := filepath.Join(root, workDirPrefix+"link")
	if err := os.Symlink(outside, link); err != nil {
		t.Fatal(err)
	}
	stays = append(stays, link)
	empty := filepath.Join(root, workDirPrefix+"empty") // a process died before it had locked it
	if err := os.Mkdir(empty, 0o700); err != nil {
		t.Fatal(err)
	}

	// when it is swept,
	if err := Sweep(t.Context(), root); err != nil {
		t.Fatal(err)
	}

	// then the dead one's is gone, and nothing else.
	for _, path := range []string{dead.Path(), empty} {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there (%v)", path, err)
		}
	}
	for _, path := range stays {
		if _, err := os.Lstat(path); err != nil {
			t.Errorf("gone: %v", err)
		}
	}
	if err := live.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(live.Path()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is still there (%v)", live.Path(), err)
	}
}

func TestSweepBesideOthersAtWork(t *testing.T) {
	root := t.TempDir()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				d, err := NewWorkDir(root)
				if err != nil {
					t.Error(err)
					return
				}
				if err := os.WriteFile(filepath.Join(d.Path(), "x"), nil, 0o600); err != nil {
					t.Errorf("folder swept while in use: %v", err)
				}
				if err := d.Remove(); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			for range 50 {
				if err := Sweep(t.Context(), root); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	left, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	left = slices.DeleteFunc(left, func(e os.DirEntry) bool { return e.Name() == lockFile })
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
