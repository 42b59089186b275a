package initramfs

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"github.com/blockrig/blockrig/kernels"
)

// testModules are in the order to load them, which is not the one of their names.
var testModules = []kernels.Module{
	{Name: "dm_mod", Path: "kernel/drivers/md/dm-mod.ko.xz"},
	{Name: "crc16", Path: "kernel/lib/crc16.ko"},
	{Name: "dm_log", Path: "kernel/drivers/md/dm-log.ko.zst"},
	{Name: "ahci", Path: "kernel/drivers/ata/ahci.ko.gz"},
}

var testModulePaths = []string{
	"/lib/modules/6.18.15+deb13-amd64/kernel/drivers/md/dm-mod.ko",
	"/lib/modules/6.18.15+deb13-amd64/kernel/lib/crc16.ko",
	"/lib/modules/6.18.15+deb13-amd64/kernel/drivers/md/dm-log.ko",
	"/lib/modules/6.18.15+deb13-amd64/kernel/drivers/ata/ahci.ko",
}

// testKernel has modules in all the ways they are packed; each holds its name.
func testKernel(t testing.TB) kernels.Kernel {
	t.Helper()
	dir := t.TempDir()
	for _, m := range testModules {
		at := filepath.Join(dir, m.Path)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		var w io.WriteCloser
		var err error
		switch filepath.Ext(m.Path) {
		case ".xz":
			w, err = xz.NewWriter(&b)
		case ".zst":
			w, err = zstd.NewWriter(&b)
		case ".gz":
			w = gzip.NewWriter(&b)
		default:
			b.WriteString(m.Name)
		}
		if err != nil {
			t.Fatal(err)
		}
		if w != nil {
			if _, err := io.WriteString(w, m.Name); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(at, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return kernels.Kernel{Ref: "debian:6.18", Release: "6.18.15+deb13-amd64", Modules: dir, Digest: "20e7"}
}

func testRequest(t testing.TB) Request {
	t.Helper()
	return Request{Exe: buildProgram(t, helloProgram), Kernel: testKernel(t), Modules: testModules}
}

func build(t testing.TB, b *Builder, r Request) (Initramfs, []byte) {
	t.Helper()
	img, err := b.Build(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(img.Path)
	if err != nil {
		t.Fatal(err)
	}
	return img, data
}

func TestAnImageHoldsInitAndTheModulesUnpacked(t *testing.T) {
	r := testRequest(t)
	img, data := build(t, &Builder{Cache: t.TempDir()}, r)
	if img.Digest != hexSum(data) || img.Bytes != int64(len(data)) {
		t.Errorf("the image's digest or size is wrong: %+v", img)
	}
	if diff := cmp.Diff(testModulePaths, img.Modules); diff != "" {
		t.Error(diff)
	}
	entries, files := contents(t, data)
	for i, p := range img.Modules {
		at, err := canonical(p)
		if err != nil {
			t.Fatal(err)
		}
		if files[at] != testModules[i].Name {
			t.Errorf("%s holds %q, want %q", at, files[at], testModules[i].Name)
		}
	}
	exe, err := os.ReadFile(r.Exe)
	if err != nil {
		t.Fatal(err)
	}
	if files["init"] != string(strip(exe)) {
		t.Error("/init is not the stripped executable")
	}
	for _, dir := range []string{"usr/lib/modules/", "usr/lib/modules/6.18.15+deb13-amd64/kernel/drivers/md/"} {
		if !slices.Contains(entries, dir) {
			t.Errorf("there is no %s", dir)
		}
	}
	// Tools and shell were not asked for.
	for name := range files {
		if strings.HasPrefix(name, "usr/sbin/") || strings.HasPrefix(name, "bbin/") {
			t.Errorf("there is /%s", name)
		}
	}
}

func TestTheSameRequestGivesTheSameBytesAnywhere(t *testing.T) {
	r := testRequest(t)
	one, first := build(t, &Builder{Cache: t.TempDir()}, r)
	// In another cache, with a copy of the executable from another time.
	data, err := os.ReadFile(r.Exe)
	if err != nil {
		t.Fatal(err)
	}
	r.Exe = filepath.Join(t.TempDir(), "copy")
	if err := os.WriteFile(r.Exe, data, 0o700); err != nil {
		t.Fatal(err)
	}
	old := time.Unix(1e9, 0)
	if err := os.Chtimes(r.Exe, old, old); err != nil {
		t.Fatal(err)
	}
	two, second := build(t, &Builder{Cache: t.TempDir()}, r)
	if !bytes.Equal(first, second) || one.Digest != two.Digest {
		t.Error("the images differ")
	}
	if filepath.Base(one.Path) != filepath.Base(two.Path) {
		t.Errorf("the names differ: %s, %s", one.Path, two.Path)
	}
}

func TestAWarmBuildWritesNothing(t *testing.T) {
	b, r := &Builder{Cache: t.TempDir()}, testRequest(t)
	// Given an executable that is old enough to be remembered.
	time.Sleep(1100 * time.Millisecond)
	cold, _ := build(t, b, r)
	before := cacheFiles(t, b.Cache)
	// Even the kernel's modules may be gone by then.
	r.Kernel.Modules = filepath.Join(r.Kernel.Modules, "gone")
	warm, _ := build(t, b, r)
	if diff := cmp.Diff(cold, warm); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(before, cacheFiles(t, b.Cache)); diff != "" {
		t.Error(diff)
	}
}

func cacheFiles(t testing.TB, dir string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			id, err := statID(path)
			if err != nil {
				return err
			}
			names = append(names, strings.TrimPrefix(path, dir)+" "+time.Duration(id.Ino).String())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestWhatChangesTheImageChangesItsDigest(t *testing.T) {
	b, r := &Builder{Cache: t.TempDir()}, testRequest(t)
	digests := make(map[string]string)
	check := func(what string, r Request) Initramfs {
		img, _ := build(t, b, r)
		for old, d := range digests {
			if d == img.Digest {
				t.Errorf("%s gives the image of %s", what, old)
			}
		}
		digests[what] = img.Digest
		return img
	}
	check("the request", r)
	less := r
	less.Modules = r.Modules[1:]
	check("fewer modules", less)
	none := r
	none.Modules = nil
	if img := check("no modules", none); len(img.Modules) > 0 {
		t.Errorf("modules from nowhere: %q", img.Modules)
	}
	// A new executable under the old name, of the same size.
	time.Sleep(1100 * time.Millisecond)
	if _, err := b.Build(t.Context(), r); err != nil { // now it is remembered
		t.Fatal(err)
	}
	data, err := os.ReadFile(buildProgram(t, strings.Replace(helloProgram, `"1"`, `"2"`, 1)))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(r.Exe, data, 0o755); err != nil {
		t.Fatal(err)
	}
	check("another executable", r)
	// Another kernel whose modules have the same names.
	other := r
	other.Kernel.Digest = "beef"
	if err := os.WriteFile(filepath.Join(other.Kernel.Modules, "kernel/lib/crc16.ko"), []byte("other"), 0o644); err != nil {
		t.Fatal(err)
	}
	check("another kernel", other)
}

func TestTheOrderOfModulesIsTheCallersOnly(t *testing.T) {
	b, r := &Builder{Cache: t.TempDir()}, testRequest(t)
	r.Modules = slices.Clone(testModules)
	slices.Reverse(r.Modules)
	img, _ := build(t, b, r)
	want := slices.Clone(testModulePaths)
	slices.Reverse(want)
	if diff := cmp.Diff(want, img.Modules); diff != "" {
		t.Error(diff)
	}
}

func TestABadRequestIsOneLine(t *testing.T) {
	good := testRequest(t)
	for name, test := range map[string]struct {
		change func(*Request)
		want   []string
	}{
		"a missing one":        {func(r *Request) { r.Exe = "/nowhere/blockrig" }, []string{"/nowhere/blockrig", "no such file"}},
		"an unknown tool":      {func(r *Request) { r.Tools = []string{"mkfs.zfs"} }, []string{`"mkfs.zfs"`, "lvm, make-bcache, mdadm"}},
		"tools from elsewhere": {func(r *Request) { r.Tools, r.ToolsFrom = []string{"lvm"}, "fedora" }, []string{`"fedora"`, `"debian"`, `"host"`}},
		"a module outside": {
			func(r *Request) { r.Modules = []kernels.Module{{Name: "x", Path: "../../x.ko"}} },
			[]string{"debian:6.18", `"../../x.ko"`},
		},
		"a module that is none": {
			func(r *Request) { r.Modules = []kernels.Module{{Name: "x", Path: "kernel/x.txt"}} },
			[]string{"debian:6.18", `"kernel/x.txt"`},
		},
		"a missing module": {
			func(r *Request) { r.Modules = []kernels.Module{{Name: "xfs", Path: "kernel/fs/xfs.ko"}} },
			[]string{"debian:6.18", "xfs"},
		},
		"a damaged module": {
			func(r *Request) { r.Kernel.Modules = damaged(t, r.Kernel.Modules); r.Kernel.Digest = "dada" },
			[]string{"debian:6.18", "dm_mod"},
		},
		"a release that is a path": {func(r *Request) { r.Kernel.Release = "../6.18" }, []string{`"../6.18"`}},
		"no release":               {func(r *Request) { r.Kernel.Release = "" }, []string{"release"}},
		"no digest":                {func(r *Request) { r.Kernel.Digest = "" }, []string{"digest"}},
		"two modules of one name": {
			func(r *Request) {
				r.Modules = []kernels.Module{{Name: "a", Path: "kernel/a.ko"}, {Name: "a", Path: "kernel/a.ko.xz"}}
			},
			[]string{"same name"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			b, r := &Builder{Cache: t.TempDir()}, good
			test.change(&r)
			_, err := b.Build(t.Context(), r)
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
			for _, f := range cacheFiles(t, b.Cache) {
				if strings.Contains(f, ".new-") || strings.Contains(f, ".cpio") {
					t.Errorf("%s stayed behind", f)
				}
			}
		})
	}
}

func damaged(t *testing.T, modules string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(modules)); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(dir, testModules[0].Path), 30); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestADynamicExecutableIsRefusedByBuild(t *testing.T) {
	b := &Builder{Cache: t.TempDir()}
	_, err := b.Build(t.Context(), Request{Exe: buildProgram(t, helloProgram, "-buildmode=pie")})
	if !errors.Is(err, ErrDynamic) {
		t.Errorf("got %v, want ErrDynamic", err)
	}
}

func BenchmarkWarmBuild(b *testing.B) {
	builder, r := &Builder{Cache: b.TempDir()}, testRequest(b)
	time.Sleep(1100 * time.Millisecond) // until the executable is old enough to be remembered
	if _, err := builder.Build(b.Context(), r); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := builder.Build(b.Context(), r); err != nil {
			b.Fatal(err)
		}
	}
}

// A build whose members are there, but not the image: after blockrig itself
// was built anew.
func BenchmarkNewExecutable(b *testing.B) {
	builder, r := &Builder{Cache: b.TempDir()}, testRequest(b)
	for b.Loop() {
		img, err := builder.Build(b.Context(), r)
		if err != nil {
			b.Fatal(err)
		}
		if err := os.Remove(img.Path); err != nil {
			b.Fatal(err)
		}
	}
}

// Given a module of 100 MiB that takes 10 kB in its package, when it is
// unpacked, then it goes to a file and not through memory, and no further than
// all modules may.
func TestModulesAreUnpackedToFilesWithinABound(t *testing.T) {
	const size = 100 << 20
	k := testKernel(t)
	m := kernels.Module{Name: "big", Path: "big.ko.zst"}
	var packed bytes.Buffer
	w, err := zstd.NewWriter(&packed)
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if _, err := w.Write(make([]byte, size/100)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), os.WriteFile(filepath.Join(k.Modules, m.Path), packed.Bytes(), 0o644)); err != nil {
		t.Fatal(err)
	}
	left := new(atomic.Int64)
	left.Store(size + 1)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := unpackModule(k, m, filepath.Join(t.TempDir(), "m"), left); err != nil || left.Load() != 1 {
		t.Errorf("%d bytes left, %v", left.Load(), err)
	}
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > size/2 {
		t.Errorf("it took %d bytes of memory", took)
	}
	if err := unpackModule(k, m, filepath.Join(t.TempDir(), "m"), left); err == nil || !strings.Contains(err.Error(), "the modules unpack to more than") {
		t.Errorf("a second one: %v, want that there is no room for it", err)
	}
}

func TestWhatIsKeptOfPackagesIsBounded(t *testing.T) {
	p := &packageFS{dir: t.TempDir(), spooled: maxPackages - 3}
	if _, err := p.spool("fits", strings.NewReader("abc")); err != nil {
		t.Errorf("the last that fits: %v", err)
	}
	if _, err := p.spool("more", strings.NewReader("d")); err == nil {
		t.Error("more than that was kept")
	}
}
