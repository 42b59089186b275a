package initramfs

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/blakesmith/ar"
	"github.com/google/go-cmp/cmp"

	"github.com/blockrig/blockrig/kernels/debian"
)

const testLinker = "/lib64/ld-linux-x86-64.so.2"

// testTable has one tool of each kind.
func testTable() toolTable {
	return toolTable{Suite: "sid", Tools: map[string]toolSpec{
		"lvm": {Package: "lvm2", LVMConf: true},
		"dmeventd": {
			Package: "dmeventd", LVMConf: true,
			Plugins: []string{"libplug?*.so"}, Libraries: []string{"libgcc_s.so.1"},
		},
		"mke2fs": {Package: "e2fsprogs", Files: []string{"etc/mke2fs.conf", "etc/none"}},
	}}
}

// A fakeArchive serves packages that the test made.
type fakeArchive struct {
	t       *testing.T
	dir     string
	order   []string // dependencies first
	fetched []string
}

// A debFile is a file of a package, or, with target, a link.
type debFile struct {
	name, target string
	data         []byte
}

func (a *fakeArchive) put(name string, files ...debFile) {
	a.t.Helper()
	var data bytes.Buffer
	tw := tar.NewWriter(&data)
	for _, f := range files {
		h := &tar.Header{Name: "./" + f.name, Mode: 0o755, Size: int64(len(f.data)), Typeflag: tar.TypeReg}
		if f.target != "" {
			h.Typeflag, h.Linkname = tar.TypeSymlink, f.target
		}
		if err := tw.WriteHeader(h); err != nil {
			a.t.Fatal(err)
		}
		if _, err := tw.Write(f.data); err != nil {
			a.t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		a.t.Fatal(err)
	}
	var deb bytes.Buffer
	w := ar.NewWriter(&deb)
	if err := w.WriteGlobalHeader(); err != nil {
		a.t.Fatal(err)
	}
	for _, m := range []struct {
		name string
		data []byte
	}{{"debian-binary", []byte("2.0\n")}, {"data.tar", data.Bytes()}} {
		if err := w.WriteHeader(&ar.Header{Name: m.name, ModTime: time.Unix(0, 0), Mode: 0o644, Size: int64(len(m.data))}); err != nil {
			a.t.Fatal(err)
		}
		if _, err := w.Write(m.data); err != nil {
			a.t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(a.dir, name+".deb"), deb.Bytes(), 0o644); err != nil {
		a.t.Fatal(err)
	}
	if !slices.Contains(a.order, name) {
		a.order = append(a.order, name)
	}
}

func (a *fakeArchive) Depends(context.Context, string, ...string) ([]debian.Package, error) {
	var all []debian.Package
	for _, name := range a.order {
		all = append(all, debian.Package{Name: name, Version: "1", Suite: "sid"})
	}
	return all, nil
}

func (a *fakeArchive) Download(_ context.Context, _ string, packages ...debian.Package) (debs []string, err error) {
	for _, p := range packages {
		if p.Version != "1" || p.Suite != "sid" {
			return nil, fmt.Errorf("asked for %s %s of %s", p.Name, p.Version, p.Suite)
		}
		a.fetched = append(a.fetched, p.Name)
		debs = append(debs, filepath.Join(a.dir, p.Name+".deb"))
	}
	return debs, nil
}

func newFakeArchive(t *testing.T) *fakeArchive {
	a := &fakeArchive{t: t, dir: t.TempDir()}
	lib := func(needed ...string) []byte { return elfImage{needed: needed}.bytes(t) }
	exe := func(needed ...string) []byte { return elfImage{interp: testLinker, needed: needed}.bytes(t) }
	a.put(
		"libc6",
		debFile{name: "usr/lib/x86_64-linux-gnu/libc.so.6", data: lib("ld-linux-x86-64.so.2")},
		debFile{name: "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", data: elfImage{extra: "linker"}.bytes(t)},
		debFile{name: "usr/lib64/ld-linux-x86-64.so.2", target: "../lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"},
		debFile{name: "usr/share/doc/libc6/copyright", data: []byte("text")},
	)
	a.put("libgcc-s1", debFile{name: "lib/x86_64-linux-gnu/libgcc_s.so.1", data: lib("libc.so.6")})
	a.put("libnever1", debFile{name: "usr/lib/x86_64-linux-gnu/libnever.so.1", data: lib()})
	// An older package: not merged, and its library is a link to another name.
	a.put(
		"libaio1t64",
		debFile{name: "lib/x86_64-linux-gnu/libaio.so.1", target: "libaio.so.1.0.2"},
		debFile{name: "lib/x86_64-linux-gnu/libaio.so.1.0.2", data: elfImage{needed: []string{"libc.so.6"}, extra: "aio"}.bytes(t)},
	)
	a.put("libe2p-and-ext2fs", debFile{name: "usr/lib/x86_64-linux-gnu/libext2fs.so.2", data: lib("libc.so.6")})
	a.put("liblvm2cmd2.03", debFile{name: "usr/lib/x86_64-linux-gnu/liblvm2cmd.so.2.03", data: lib("libaio.so.1", "libc.so.6")})
	a.put("lvm2", debFile{name: "sbin/lvm", data: exe("libaio.so.1", "libc.so.6")}, debFile{name: "etc/lvm/lvm.conf", data: []byte("Debian's")})
	a.put(
		"dmeventd",
		debFile{name: "usr/sbin/dmeventd", data: exe("libc.so.6")},
		debFile{name: "usr/lib/x86_64-linux-gnu/device-mapper/libplugmirror.so", data: lib("liblvm2cmd.so.2.03")},
		debFile{name: "usr/lib/x86_64-linux-gnu/libplugmirror.so", target: "device-mapper/libplugmirror.so"},
		debFile{name: "usr/lib/x86_64-linux-gnu/libplug.so", data: lib("libnever.so.1")},
	)
	a.put(
		"e2fsprogs",
		debFile{name: "sbin/mke2fs", data: exe("libext2fs.so.2", "libc.so.6")},
		debFile{name: "etc/mke2fs.conf", data: []byte("[defaults]\n")},
	)
	return a
}

func TestToolsComeFromPackagesWithAllTheyNeed(t *testing.T) {
	for tool, test := range map[string]struct{ files, sources []string }{
		"lvm": {
			[]string{
				"usr/lib/x86_64-linux-gnu/libaio.so.1", "usr/lib/x86_64-linux-gnu/libc.so.6",
				"usr/lib64/ld-linux-x86-64.so.2", "usr/sbin/lvm",
			},
			[]string{"libaio1t64 1", "libc6 1", "lvm2 1"},
		},
		"dmeventd": {
			[]string{
				"usr/lib/x86_64-linux-gnu/libaio.so.1", "usr/lib/x86_64-linux-gnu/libc.so.6",
				"usr/lib/x86_64-linux-gnu/libgcc_s.so.1", "usr/lib/x86_64-linux-gnu/liblvm2cmd.so.2.03",
				"usr/lib/x86_64-linux-gnu/libplugmirror.so", "usr/lib64/ld-linux-x86-64.so.2", "usr/sbin/dmeventd",
			},
			[]string{"dmeventd 1", "libaio1t64 1", "libc6 1", "libgcc-s1 1", "liblvm2cmd2.03 1"},
		},
		"mke2fs": {
			[]string{
				"etc/mke2fs.conf", "usr/lib/x86_64-linux-gnu/libc.so.6", "usr/lib/x86_64-linux-gnu/libext2fs.so.2",
				"usr/lib64/ld-linux-x86-64.so.2", "usr/sbin/mke2fs",
			},
			[]string{"e2fsprogs 1", "libc6 1", "libe2p-and-ext2fs 1"},
		},
	} {
		t.Run(tool, func(t *testing.T) {
			a := newFakeArchive(t)
			root, err := newPackageFS(t.Context(), a, testTable(), t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			got, err := collect(t.Context(), root, tool, testTable().Tools[tool])
			if err != nil {
				t.Fatal(err)
			}
			entries, files := contents(t, written(t, got.tree))
			for name := range files {
				if !slices.Contains(test.files, name) {
					t.Errorf("/%s is too much", name)
				}
			}
			for _, name := range test.files {
				if _, ok := files[name]; !ok {
					t.Errorf("/%s is missing among %q", name, entries)
				}
			}
			if diff := cmp.Diff(test.sources, got.sources); diff != "" {
				t.Error(diff)
			}
			if c, ok := files["usr/lib/x86_64-linux-gnu/libaio.so.1"]; ok && !strings.HasSuffix(c, "aio") {
				t.Error("the library behind the link is not there under the link's name")
			}
			if slices.Contains(a.fetched, "libnever1") && tool != "mke2fs" {
				t.Errorf("fetched %q", a.fetched)
			}
		})
	}
}

func TestPackagesAreFetchedOnceAndOnlyWhenNeeded(t *testing.T) {
	a := newFakeArchive(t)
	root, err := newPackageFS(t.Context(), a, testTable(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, tool := range []string{"lvm", "dmeventd", "lvm"} {
		if _, err := collect(t.Context(), root, tool, testTable().Tools[tool]); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"libc6", "dmeventd", "lvm2", "e2fsprogs", "libaio1t64", "libgcc-s1", "liblvm2cmd2.03"}
	if diff := cmp.Diff(want, a.fetched); diff != "" {
		t.Error(diff)
	}
}

func TestWhatIsMissingInPackagesIsNamed(t *testing.T) {
	for name, test := range map[string]struct {
		tool  string
		given func(*fakeArchive)
		want  []string
	}{
		"the tool": {
			"lvm", func(a *fakeArchive) { a.put("lvm2", debFile{name: "sbin/other", data: []byte("x")}) },
			[]string{"guest tool lvm", "lvm2 1", "sid"},
		},
		"a library": {
			"lvm", func(a *fakeArchive) { a.put("libaio1t64") },
			[]string{"guest tool lvm", "libaio.so.1", "lvm2 1"},
		},
		"a library of a library": {
			"dmeventd", func(a *fakeArchive) { a.put("libaio1t64") },
			[]string{"guest tool dmeventd", "libaio.so.1", "liblvm2cmd"},
		},
		"the interpreter": {
			"lvm", func(a *fakeArchive) {
				a.put("libc6", debFile{name: "usr/lib/x86_64-linux-gnu/libc.so.6", data: elfImage{}.bytes(a.t)})
			},
			[]string{"guest tool lvm", "interpreter"},
		},
		"the plugins": {
			"dmeventd", func(a *fakeArchive) {
				a.put("dmeventd", debFile{name: "usr/sbin/dmeventd", data: elfImage{}.bytes(a.t)})
			},
			[]string{"guest tool dmeventd", "libplug?*.so"},
		},
		"the end of a chain of links": {
			"lvm", func(a *fakeArchive) {
				a.put("lvm2", debFile{name: "sbin/lvm", target: "lvm.real"}, debFile{name: "sbin/lvm.real", target: "/usr/sbin/lvm"})
			},
			[]string{"guest tool lvm", "too many links"},
		},
		"a program where a script is": {
			"lvm", func(a *fakeArchive) { a.put("lvm2", debFile{name: "sbin/lvm", data: []byte("#!/bin/sh\n")}) },
			[]string{"guest tool lvm", "no ELF file"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := newFakeArchive(t)
			test.given(a)
			root, err := newPackageFS(t.Context(), a, testTable(), t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			_, err = collect(t.Context(), root, test.tool, testTable().Tools[test.tool])
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q says nothing of %q", err, want)
				}
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("%q has more than a line", err)
			}
		})
	}
}

// A hostRoot is a folder that looks like a host.
func hostRoot(t *testing.T, files map[string][]byte) string {
	t.Helper()
	root := t.TempDir()
	for name, data := range files {
		at := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, data, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestToolsComeFromTheHostWithAllTheyNeed(t *testing.T) {
	// Given a host with libraries in a folder of ld.so.conf, in a private
	// folder, and for another processor.
	root := hostRoot(t, map[string][]byte{
		"usr/bin/mke2fs":               elfImage{interp: testLinker, needed: []string{"libext2fs.so.2", "libc.so.6"}, runpath: "/opt/e2fs"}.bytes(t),
		"lib64/ld-linux-x86-64.so.2":   elfImage{extra: "linker"}.bytes(t),
		"usr/lib64/libc.so.6":          elfImage{needed: []string{"ld-linux-x86-64.so.2"}}.bytes(t),
		"usr/lib/libc.so.6":            elfImage{machine: 3}.bytes(t),
		"lib/x86_64-linux-gnu/x":       nil,
		"opt/e2fs/libext2fs.so.2":      elfImage{needed: []string{"libodd.so.1", "libc.so.6"}}.bytes(t),
		"usr/local/odd/libodd.so.1":    elfImage{extra: "odd"}.bytes(t),
		"etc/ld.so.conf":               []byte("include ld.so.conf.d/*.conf # all\n"),
		"etc/ld.so.conf.d/odd.conf":    []byte("# nothing\n/usr/local/odd\n"),
		"etc/mke2fs.conf":              []byte("[defaults]\n"),
		"usr/lib64/libunused.so.1":     elfImage{}.bytes(t),
		"usr/lib/x86_64-linux-gnu/odd": nil,
	})
	h := newHostFS(root)
	got, err := collect(t.Context(), h, "mke2fs", testTable().Tools["mke2fs"])
	if err != nil {
		t.Fatal(err)
	}
	_, files := contents(t, written(t, got.tree))
	var names []string
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	want := []string{
		"etc/mke2fs.conf", "opt/e2fs/libext2fs.so.2",
		// The guest's linker has no cache, so this one lies beside libc.
		"usr/lib64/ld-linux-x86-64.so.2", "usr/lib64/libc.so.6", "usr/lib64/libodd.so.1", "usr/sbin/mke2fs",
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
	// And what was looked at is known, so that a change of it is seen.
	if err := changed(h.seen); err != nil {
		t.Errorf("nothing was touched: %v", err)
	}
	for name, change := range map[string]string{
		"a library is another":                          "usr/local/odd/libodd.so.1",
		"a library comes before the one that was taken": "usr/lib/x86_64-linux-gnu/libodd.so.1",
		"a tool comes before the one that was taken":    "usr/local/sbin/mke2fs",
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(root, change)
			old, err := os.ReadFile(path)
			there := err == nil
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte("new"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := changed(h.seen); err == nil || !strings.Contains(err.Error(), filepath.Base(change)) {
				t.Errorf("changed() = %v", err)
			}
			if there {
				err = os.WriteFile(path, old, 0o755)
			} else {
				err = os.Remove(path)
			}
			if err != nil {
				t.Fatal(err)
			}
			id, err := statID(path)
			h.seen[path] = id // as it was, but for its times
			if there && err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestWhatIsMissingOnTheHostIsNamedWithTheCure(t *testing.T) {
	for name, test := range map[string]struct {
		files map[string][]byte
		want  []string
	}{
		"the tool": {nil, []string{"guest tool lvm", "not on this host", "lvm2", "--guest-tools debian"}},
		"a library": {
			map[string][]byte{"usr/sbin/lvm": elfImage{needed: []string{"libaio.so.1"}}.bytes(t)},
			[]string{"guest tool lvm", "libaio.so.1", "/usr/sbin/lvm", "--guest-tools debian"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := collect(t.Context(), newHostFS(hostRoot(t, test.files)), "lvm", testTable().Tools["lvm"])
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q says nothing of %q", err, want)
				}
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("%q has more than a line", err)
			}
		})
	}
}

func TestLVMGetsBlockrigsConfiguration(t *testing.T) {
	for tool, want := range map[string]bool{"lvm": true, "dmeventd": true, "mke2fs": false} {
		var tr tree
		if err := testTable().configure(&tr, []string{tool}); err != nil {
			t.Fatal(err)
		}
		_, files := contents(t, written(t, &tr))
		if got, ok := files["etc/lvm/lvm.conf"]; ok != want || want && got != string(lvmConf) {
			t.Errorf("%s gets %q", tool, got)
		}
	}
}

func TestTheTableOfToolsIsSound(t *testing.T) {
	table, err := readToolTable()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"dmeventd", "dmsetup", "lvm", "mdadm", "mke2fs", "cryptsetup", "make-bcache", "mkfs.xfs", "mkfs.btrfs", "mkfs.f2fs"} {
		if !slices.Contains(table.names(), name) {
			t.Errorf("there is no %s", name)
		}
	}
	for name, spec := range table.Tools {
		if spec.Package == "" {
			t.Errorf("%s has no package", name)
		}
	}
	if table.Suite == "" {
		t.Error("there is no suite")
	}
	if _, err := table.check([]string{"lvm", "mkfs.zfs"}); err == nil || !strings.Contains(err.Error(), `"mkfs.zfs"`) || !strings.Contains(err.Error(), "mke2fs") {
		t.Errorf("an unknown tool: %v", err)
	}
	got, err := table.check([]string{"mke2fs", "lvm", "mke2fs"})
	if err != nil || !slices.Equal(got, []string{"lvm", "mke2fs"}) {
		t.Errorf("check: %q, %v", got, err)
	}
}
