//go:build vm

package kernels

import (
	"debug/elf"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/blockrig/blockrig/scenarios"
)

// These tests fetch real kernels of Debian's: up to 170 MB each, once.

// storageNeeds are needs of scenarios with AHCI disks, LVM, md and ext4.
var storageNeeds = []scenarios.Need{
	{Option: "CONFIG_SATA_AHCI", Module: "ahci"},
	{Option: "CONFIG_BLK_DEV_SD", Module: "sd_mod"},
	{Option: "CONFIG_BLK_DEV_DM", Module: "dm-mod"},
	{Option: "CONFIG_DM_MIRROR", Module: "dm-mirror"},
	{Option: "CONFIG_DM_RAID", Module: "dm-raid"},
	{Option: "CONFIG_BLK_DEV_MD", Module: "md-mod"},
	{Option: "CONFIG_MD_RAID1", Module: "raid1"},
	{Option: "CONFIG_EXT4_FS", Module: "ext4"},
}

func realStore(t *testing.T, cache string) *Store {
	t.Helper()
	s, err := Open(t.Context(), cache, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func userCache(t *testing.T) string {
	t.Helper()
	dir, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "blockrig")
}

func TestRealKernels(t *testing.T) {
	s := realStore(t, userCache(t))
	for _, ref := range []string{"debian:6.1", "debian:6.12", "debian:6.17", "debian:6.18", "debian:newest", "debian:newest@experimental"} {
		t.Run(ref, func(t *testing.T) {
			k, err := s.Resolve(t.Context(), ref)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%s is %s (%s)", ref, k.Exact, k.Release)
			modules, err := k.Closure(storageNeeds)
			if err != nil {
				t.Fatal(err)
			}
			checkSymbols(t, k, modules)
			// What stands for every need is there, or built in.
			ix, err := readIndex(k.Index)
			if err != nil {
				t.Fatal(err)
			}
			for _, need := range storageNeeds {
				name := normalise(need.Module)
				loaded := slices.ContainsFunc(modules, func(m Module) bool { return m.Name == name && !m.Soft })
				if _, builtin := slices.BinarySearch(ix.Builtin, name); !loaded && !builtin {
					t.Errorf("%s is neither loaded nor built in", name)
				}
			}
			checkTruncated(t, k)
		})
	}
}

// checkSymbols checks that whatever a module takes from another module of the
// kernel's, that one is loaded before.
func checkSymbols(t *testing.T, k Kernel, modules []Module) {
	t.Helper()
	exported := map[string]string{} // symbol -> module, of all that are loaded
	undefined := map[string][]string{}
	for _, m := range modules {
		r, err := k.OpenModule(m)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err := errors.Join(err, r.Close()); err != nil {
			t.Fatal(err)
		}
		f, err := elf.NewFile(strings.NewReader(string(data)))
		if err != nil {
			t.Fatal(err)
		}
		symbols, err := f.Symbols()
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range symbols {
			if name, ok := strings.CutPrefix(s.Name, "__ksymtab_"); ok {
				exported[name] = m.Name
			}
			if s.Section == elf.SHN_UNDEF && s.Name != "" {
				undefined[m.Name] = append(undefined[m.Name], s.Name)
			}
		}
	}
	if len(exported) == 0 {
		t.Fatal("no module exports anything, so this check is void")
	}
	at := func(name string) int { return slices.IndexFunc(modules, func(m Module) bool { return m.Name == name }) }
	for i, m := range modules {
		for _, symbol := range undefined[m.Name] {
			if by, ok := exported[symbol]; ok && at(by) > i {
				t.Errorf("%s needs %s of %s, which is loaded later", m.Name, symbol, by)
			}
		}
	}
}

// checkTruncated checks that a kernel's image without its last bytes is
// refused.
func checkTruncated(t *testing.T, k Kernel) {
	t.Helper()
	data, err := os.ReadFile(k.Image)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "vmlinuz")
	// A signature, of up to some kilobytes, follows the kernel.
	for _, keep := range []int{len(data) - 16<<10, len(data) / 2, 1000} {
		if err := os.WriteFile(path, data[:keep], 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := imageRelease(path); !errors.Is(err, ErrImage) {
			t.Errorf("cut to %d of %d bytes: error %v, want ErrImage", keep, len(data), err)
		}
	}
}

func TestRealKernelsWithoutModulesAreRefused(t *testing.T) {
	s := realStore(t, userCache(t))
	all, err := s.Available(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(v Version) bool { return v.Missing != "" })
	if i < 0 {
		t.Fatal("Debian has all packages of all its kernels, so this can't be tested on it")
	}
	if _, err := s.Resolve(t.Context(), all[i].Ref); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), all[i].Missing) {
		t.Errorf("%s: error %v, want %q", all[i].Ref, err, all[i].Missing)
	}
}

func BenchmarkRealResolve(b *testing.B) {
	dir, err := os.UserCacheDir()
	if err != nil {
		b.Fatal(err)
	}
	s, err := Open(b.Context(), filepath.Join(dir, "blockrig"), nil)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := s.Resolve(b.Context(), "debian:6.18"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRealClosure(b *testing.B) {
	dir, err := os.UserCacheDir()
	if err != nil {
		b.Fatal(err)
	}
	s, err := Open(b.Context(), filepath.Join(dir, "blockrig"), nil)
	if err != nil {
		b.Fatal(err)
	}
	k, err := s.Resolve(b.Context(), "debian:6.18")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := k.Closure(storageNeeds); err != nil {
			b.Fatal(err)
		}
	}
}
