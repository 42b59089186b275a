package qemu

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCreateDisk(t *testing.T) {
	for _, tt := range []struct {
		name   string
		id     string
		bytes  int64
		format Format
		err    string // in the error; "" for none
	}{
		{"raw", "a", 1 << 20, Raw, ""},
		{"qcow2", "a", 1 << 20, Qcow2, ""},
		{"of one sector", "a", 512, Raw, ""},
		{"large qcow2", "big", 8 << 40, Qcow2, ""},
		{"large raw", "big", 1 << 40, Raw, ""},
		{"of nothing", "a", 0, Raw, "positive multiple"},
		{"of less", "a", -512, Raw, "positive multiple"},
		{"of half a sector", "a", 256, Raw, "positive multiple"},
		{"too large qcow2", "a", 1 << 60, Qcow2, "too many"},
		{"of no format", "a", 512, "", "want raw or qcow2"},
		{"of another format", "a", 512, "vmdk", "want raw or qcow2"},
		{"outside the folder", "../a", 512, Raw, "an ID is"},
		{"without ID", "", 512, Raw, "an ID is"},
		{"with an option", "a,b=c", 512, Raw, "an ID is"},
		{"with a long ID", "abcdefghijklmnopq", 512, Raw, "an ID is"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()

			d, err := CreateDisk(t.Context(), dir, tt.id, tt.bytes, tt.format)

			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("error %v, want %q", err, tt.err)
				}
				left, err := os.ReadDir(dir)
				if err != nil || len(left) > 0 {
					t.Errorf("left behind: %v, %v", left, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if d.ID != tt.id || d.Serial != "blockrig-"+tt.id || d.Format != tt.format || filepath.Dir(d.Path) != dir {
				t.Errorf("disk %+v", d)
			}
			if info, err := os.Lstat(d.Path); err != nil || !info.Mode().IsRegular() || info.Mode().Perm() != 0o600 {
				t.Errorf("file %v, %v; want a regular one of mode 0600", info, err)
			}
		})
	}
}

func TestCreateDiskRefusesWhatExists(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "target")
	for name, put := range map[string]func(path string) error{
		"file":          func(path string) error { return os.WriteFile(path, []byte("mine"), 0o600) },
		"folder":        func(path string) error { return os.Mkdir(path, 0o700) },
		"link":          func(path string) error { return os.Symlink("/dev/null", path) },
		"dangling link": func(path string) error { return os.Symlink(target, path) },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, "a.raw")
			if err := put(path); err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(path)
			_, err := CreateDisk(t.Context(), dir, "a", 512, Raw)
			if !errors.Is(err, fs.ErrExist) {
				t.Errorf("error %v, want one that says it exists", err)
			}
			if _, err := os.Lstat(path); err != nil {
				t.Errorf("what was there is gone: %v", err)
			}
			if _, err := os.Lstat(target); err == nil {
				t.Error("a link was followed")
			}
		})
	}
}

func TestCreateDiskOnEndedContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := CreateDisk(ctx, t.TempDir(), "a", 512, Raw); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want canceled", err)
	}
}

func TestCheckRegularRefusesDevices(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	if err := os.Symlink("/dev/null", link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/dev/null", link, dir, filepath.Join(dir, "missing")} {
		if err := checkRegular(path); err == nil {
			t.Errorf("%s was accepted", path)
		}
	}
}
