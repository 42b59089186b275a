package kernels

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/blockrig/blockrig/scenarios"
)

// spoils are what can happen to a file, or to a folder.
var spoils = map[string]func(path string) error{
	"cut": func(path string) error {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		return os.Truncate(path, info.Size()/2)
	},
	"empty":   func(path string) error { return os.Truncate(path, 0) },
	"flipped": flipByte,
	"gone":    os.RemoveAll,
	"a folder": func(path string) error {
		return errors.Join(os.RemoveAll(path), os.MkdirAll(filepath.Join(path, "x"), 0o755))
	},
	"a link": func(path string) error { return errors.Join(os.RemoveAll(path), os.Symlink("/etc/passwd", path)) },
}

func TestWhatIsDamagedIsMadeAnew(t *testing.T) {
	a := debianArchive(t)
	want, err := a.open().Resolve(t.Context(), "debian:6.18.9")
	if err != nil {
		t.Fatal(err)
	}
	other, err := a.open().Resolve(t.Context(), "debian:7.2.12")
	if err != nil {
		t.Fatal(err)
	}
	files := []string{"vmlinuz", "config", "kernel.json", "modules.json", "modules/modules.builtin", "modules/kernel/fs/ext4/ext4.ko.xz", ".blockrig.manifest", ".blockrig.lock"}
	for name, spoil := range spoils {
		for _, file := range files {
			if err := spoil(filepath.Join(filepath.Dir(want.Image), file)); err != nil {
				t.Fatal(err)
			}
			s := a.open()
			// The other kernel is listed, and used.
			all, err := s.List()
			if err != nil || len(all) != 2 || all[1].Exact != other.Exact {
				t.Errorf("%s %s: the list is %+v, %v", file, name, all, err)
			}
			if got, err := s.Resolve(t.Context(), "debian:7.2.12"); err != nil || got.Digest != other.Digest {
				t.Errorf("%s %s: the other kernel is %+v, %v", file, name, got, err)
			}
			// This one is there again, at once, or where a module of it is used.
			ext4 := []Module{{Name: "ext4", Path: "kernel/fs/ext4/ext4.ko.xz"}}
			if strings.HasSuffix(file, ".ko.xz") {
				if k, err := s.Resolve(t.Context(), want.Exact); err != nil {
					t.Errorf("%s %s: %v", file, name, err)
				} else if err := s.Verify(t.Context(), k, ext4); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s %s: a damaged module: %v, want fs.ErrNotExist", file, name, err)
				}
			}
			got, err := s.Resolve(t.Context(), want.Exact)
			if err != nil || got != (Kernel{
				Ref: want.Exact, Exact: want.Exact, Release: want.Release, Image: want.Image, Config: want.Config,
				Modules: want.Modules, Digest: want.Digest, Index: want.Index,
			}) {
				t.Errorf("%s %s: %+v, %v; want %+v", file, name, got, err, want)
			}
			if _, err := got.Closure([]scenarios.Need{{Option: "CONFIG_EXT4_FS", Module: "ext4"}}); err != nil {
				t.Errorf("%s %s: %v", file, name, err)
			}
			if err := s.Verify(t.Context(), got, ext4); err != nil {
				t.Errorf("%s %s: %v", file, name, err)
			}
			if release, err := imageRelease(got.Image); err != nil || release != want.Release {
				t.Errorf("%s %s: the image is of %s, %v", file, name, release, err)
			}
		}
	}
}

func TestTheNewestThatIsSoundIsGivenWithoutFetching(t *testing.T) {
	a := debianArchive(t)
	s := a.open()
	if _, err := s.Newest(t.Context()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of an empty cache: %v, want fs.ErrNotExist", err)
	}
	for _, ref := range []string{"debian:6.18.9", "debian:7.2.12"} {
		if _, err := s.Resolve(t.Context(), ref); err != nil {
			t.Fatal(err)
		}
	}
	k, err := s.Newest(t.Context())
	if err != nil || k.Release != "7.2.12+deb14-amd64" {
		t.Fatalf("%+v, %v", k, err)
	}
	if err := flipByte(k.Image); err != nil {
		t.Fatal(err)
	}
	if k, err = s.Newest(t.Context()); err != nil || k.Release != "6.18.9+deb13-amd64" {
		t.Errorf("%+v, %v", k, err)
	}
}

func TestAForeignDescriptionIsShownAndCanBeRemoved(t *testing.T) {
	a := debianArchive(t)
	k, err := a.open().Resolve(t.Context(), "debian:7.2.12")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"debian-1-empty":   "",
		"debian-2-cut":     `{"ref": "deb`,
		"debian-3-text":    "\x00\x1b[31m",
		"debian-4-null":    "null",
		"debian-5-list":    "[]",
		"debian-6-number":  `{"name":"debian-6-number","bytes":"many"}`,
		"debian-7-outside": `{"name":"debian-7-outside","exact":"debian:6.1-1","image":"../../../../etc/passwd"}`,
		"debian-8-far":     `{"name":"debian-8-far","exact":"debian:6.1-1","image":"/etc/passwd"}`,
		"debian-9-modules": `{"name":"debian-9-modules","exact":"debian:6.1-1","image":"vmlinuz","modules":".."}`,
		"debian-a-other":   `{"name":"local-x","exact":"local:x","image":"vmlinuz"}`,
		"local-b":          `{"name":"local-b","exact":"local:c","image":"vmlinuz"}`,
		"local-d":          `{"name":"local-d","exact":"file:/etc/passwd","image":"vmlinuz"}`,
	} {
		t.Run(name, func(t *testing.T) {
			s := a.open()
			writeAll(t, filepath.Join(a.cache, "kernels", name), map[string][]byte{entryFile: []byte(text), "vmlinuz": nil})
			all, err := s.List()
			if err != nil || len(all) != 2 || all[0].Name != name || all[0].Damaged == "" || all[0].Image != "" || all[1].Exact != k.Exact {
				t.Errorf("the list is %+v, %v", all, err)
			}
			if got, err := s.Resolve(t.Context(), "debian:7.2.12"); err != nil || got.Digest != k.Digest {
				t.Errorf("the other kernel is %+v, %v", got, err)
			}
			if err := s.Remove(t.Context(), name); err != nil {
				t.Error(err)
			}
			if all, err := s.List(); err != nil || len(all) != 1 {
				t.Errorf("the list is %+v, %v", all, err)
			}
		})
	}
}

// storeWithLocal is a store with local:mine, and what that was added from.
func storeWithLocal(t *testing.T) (s *Store, from, added Kernel) {
	t.Helper()
	from = madeKernel(t, madeConfig)
	s, err := Open(t.Context(), t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	added, err = s.Add(t.Context(), "mine", from.Image, from.Modules, from.Config)
	if err != nil {
		t.Fatal(err)
	}
	return s, from, added
}

func TestADamagedLocalKernelIsSaid(t *testing.T) {
	s, from, k := storeWithLocal(t)
	const advice = "; remove it (blockrig kernels rm local-mine), then add it again"
	used := []Module{{Name: "btrfs", Path: "kernel/fs/btrfs/btrfs.ko"}}
	if err := s.Verify(t.Context(), k, used); err != nil {
		t.Error(err)
	}
	if err := flipByte(filepath.Join(k.Modules, used[0].Path)); err != nil {
		t.Fatal(err)
	}
	if err := s.Verify(t.Context(), k, used); err == nil || !strings.HasSuffix(err.Error(), advice) || !strings.Contains(err.Error(), "damaged: ") {
		t.Errorf("a changed module: error %v", err)
	}
	// It may be the only copy: whatever is wrong with it, it stays.
	dir := filepath.Dir(k.Image)
	kept, lost := filepath.Join(dir, "config"), filepath.Join(dir, "vmlinuz")
	for what, spoil := range map[string]func() error{
		"a changed file": func() error { return flipByte(lost) },
		"no image":       func() error { return os.RemoveAll(lost) },
		"a stray file":   func() error { return os.WriteFile(filepath.Join(dir, "stray"), nil, 0o644) },
		"a stray lock": func() error {
			lock := filepath.Join(dir, ".blockrig.lock")
			return errors.Join(os.RemoveAll(lock), os.Mkdir(lock, 0o755))
		},
	} {
		if err := spoil(); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		_, resolved := s.Resolve(t.Context(), "local:mine")
		_, added := s.Add(t.Context(), "mine", from.Image, from.Modules, from.Config)
		for _, err := range []error{resolved, added} {
			if err == nil || !strings.HasSuffix(err.Error(), advice) || !strings.Contains(err.Error(), "damaged: ") {
				t.Errorf("%s: error %v", what, err)
			}
		}
		if _, err := s.Newest(t.Context()); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: the newest that is sound: %v, want none", what, err)
		}
		if _, err := os.Stat(kept); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := s.Remove(t.Context(), "local-mine"); err != nil {
		t.Error(err)
	}
	if _, err := s.Add(t.Context(), "mine", from.Image, from.Modules, from.Config); err != nil {
		t.Error(err)
	}
}

// Given a kernel of the user's that an older blockrig stored, which kept no
// checksums, then it stays, the list says so, and what is said to do helps.
func TestALocalKernelOfAnOlderBlockrigIsSaid(t *testing.T) {
	s, _, k := storeWithLocal(t)
	dir := filepath.Dir(k.Image)
	if err := os.Remove(filepath.Join(dir, ".blockrig.manifest")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, err := s.Resolve(t.Context(), "local:mine")
		for _, want := range []string{"older blockrig", dir, "blockrig kernels add", "blockrig kernels rm local-mine"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v does not say %q", err, want)
			}
		}
		all, err := s.List()
		if err != nil || len(all) != 1 || all[0].Name != "local-mine" || !strings.Contains(all[0].Damaged, "older blockrig") {
			t.Errorf("the list is %+v, %v", all, err)
		}
	}
	if _, err := s.Add(t.Context(), "other", k.Image, k.Modules, k.Config); err != nil {
		t.Error(err)
	}
	if err := s.Remove(t.Context(), "local-mine"); err != nil {
		t.Error(err)
	}
	if got, err := s.Resolve(t.Context(), "local:other"); err != nil || got.Digest != k.Digest {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestAFoldersIndexIsMadeAnew(t *testing.T) {
	k := madeKernel(t, madeConfig)
	s, err := Open(t.Context(), t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range spoils {
		got, err := s.Resolve(t.Context(), k.Exact)
		if err != nil {
			t.Fatal(err)
		}
		if err := spoil(got.Index); err != nil {
			t.Fatal(err)
		}
		again, err := s.Resolve(t.Context(), k.Exact)
		if err != nil || again != got {
			t.Errorf("%s: %+v, %v; want %+v", name, again, err, got)
		}
		if _, err := again.Closure([]scenarios.Need{{Option: "CONFIG_EXT4_FS", Module: "ext4"}}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
