package symbols

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/blockrig/blockrig/harness/console"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const source = `
volatile int sink;
static inline __attribute__((always_inline)) void deepest(int x)
{
	sink = x;
	__builtin_trap();
}
static inline __attribute__((always_inline)) void deeper(int x)
{
	deepest(x + 1);
}
__attribute__((noinline)) void do_region(int x)
{
	sink = 1;
	deeper(x);
}
__attribute__((noinline)) void dispatch_io(int x)
{
	do_region(x);
	sink = 2;
}
int main(void) { dispatch_io(3); return sink; }
`

// compile makes an ELF file with debug information, in a tree like a kernel's.
func compile(t *testing.T, extra ...string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "drivers", "md"), 0o755); err != nil {
		t.Fatal(err)
	}
	src := filepath.Join(dir, "drivers", "md", "dm-io.c")
	if err := os.WriteFile(src, []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "vmlinux")
	args := append([]string{"-O1", "-no-pie", "-fno-optimize-sibling-calls", "-o", out, src}, extra...)
	if text, err := exec.Command("gcc", args...).CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v: %s", err, text)
	}
	return out
}

// tools are both tools: each must give the same.
func tools(t *testing.T) []tool {
	t.Helper()
	var all []tool
	for _, x := range []struct {
		name string
		llvm bool
	}{{"addr2line", false}, {"llvm-symbolizer", true}} {
		path, err := exec.LookPath(x.name)
		if err != nil {
			t.Logf("%s is not there", x.name)
			continue
		}
		all = append(all, tool{path, x.llvm})
	}
	if len(all) == 0 {
		t.Fatal(ErrNoTool)
	}
	return all
}

// Given a trace and the file that it comes from, when it is resolved, then
// its frames have file and line, and the inlined calls stand before them.
func TestResolve(t *testing.T) {
	vmlinux := compile(t, "-g")
	for _, tool := range tools(t) {
		s, err := New(Files{Vmlinux: vmlinux})
		if err != nil {
			t.Fatal(err)
		}
		s.tool = tool
		img := s.images[vmlinux]
		size := func(f string) uint64 { return img.functions[f][0].Size }
		trace := []console.Frame{
			{Func: "do_region", Offset: size("do_region"), Size: size("do_region"), Reliable: true},
			{Func: "dispatch_io", Offset: size("dispatch_io") / 2, Size: size("dispatch_io")},
			{Func: "no_such_function", Offset: 1, Size: 2, Reliable: true},
			{Func: "do_mirror", Offset: 1, Size: 2, Module: "dm_mirror", Reliable: true},
		}
		got, err := s.Resolve(context.Background(), []console.Finding{{Title: "a", Trace: trace}})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		var short []console.Frame
		for _, f := range got[0].Trace {
			f.Offset, f.Size = 0, 0
			short = append(short, f)
		}
		const file = "drivers/md/dm-io.c"
		want := []console.Frame{
			{Func: "deepest", File: file, SrcLine: 6, Inlined: true, Reliable: true},
			{Func: "deeper", File: file, SrcLine: 10, Inlined: true, Reliable: true},
			{Func: "do_region", File: file, SrcLine: 15, Reliable: true},
			{Func: "dispatch_io", File: file, SrcLine: 19},
			{Func: "no_such_function", Reliable: true},
			{Func: "do_mirror", Module: "dm_mirror", Reliable: true},
		}
		if d := cmp.Diff(want, short, cmpopts.IgnoreUnexported(console.Frame{})); d != "" {
			t.Errorf("%s: %s", tool.path, d)
		}
	}
}

// Given a trace of raw addresses of a kernel that KASLR moved, when it is
// resolved, then the offset is taken off.
func TestResolveRawAddress(t *testing.T) {
	vmlinux := compile(t, "-g")
	s, err := New(Files{Vmlinux: vmlinux, Offset: 0x1e000000})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	addr := s.images[vmlinux].functions["dispatch_io"][0].Value
	raw := console.Frame{Func: "0x" + hex(addr+0x1e000000), Reliable: true}
	got, err := s.Resolve(context.Background(), []console.Finding{{Trace: []console.Frame{raw}}})
	if err != nil {
		t.Fatal(err)
	}
	if f := got[0].Trace[0]; f.Func != "dispatch_io" || f.SrcLine < 18 || f.SrcLine > 19 {
		t.Errorf("%+v", f)
	}
}

func hex(v uint64) string {
	const digits = "0123456789abcdef"
	var b [16]byte
	for i := range b {
		b[i] = digits[v>>(60-4*i)&15]
	}
	return string(b[:])
}

// Given files that can't be used, when a symbolizer is made, then the error
// names the file and the reason.
func TestNewFails(t *testing.T) {
	stripped := compile(t, "-g0")
	text := filepath.Join(t.TempDir(), "vmlinux")
	if err := os.WriteFile(text, []byte("no ELF file"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Files{Vmlinux: stripped}); !errors.Is(err, ErrNoDebugInfo) {
		t.Errorf("stripped: %v", err)
	}
	if _, err := New(Files{Vmlinux: filepath.Join(t.TempDir(), "none")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("none: %v", err)
	}
	if _, err := New(Files{Vmlinux: text}); err == nil {
		t.Error("a text file is taken for a vmlinux")
	}
}

// Given no tool in PATH, when a symbolizer is made, then the error says how
// to get one.
func TestNoTool(t *testing.T) {
	vmlinux := compile(t, "-g")
	t.Setenv("PATH", t.TempDir())
	if _, err := New(Files{Vmlinux: vmlinux}); !errors.Is(err, ErrNoTool) {
		t.Error(err)
	}
}

// Given a context that is done, when a trace is resolved, then it ends.
func TestResolveCancelled(t *testing.T) {
	vmlinux := compile(t, "-g")
	s, err := New(Files{Vmlinux: vmlinux})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	trace := []console.Frame{{Func: "dispatch_io", Offset: 1, Size: s.images[vmlinux].functions["dispatch_io"][0].Size}}
	if _, err := s.Resolve(ctx, []console.Finding{{Trace: trace}}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := s.Close(); err == nil {
		t.Error("a process that was killed ends without error")
	}
}
