package kernels

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/blockrig/blockrig/kernels/internal/archivetest"
)

// longModule is a module with so many bytes before its list of sections.
func longModule(t testing.TB, more int, modinfo ...string) []byte {
	short := madeModule(t, modinfo...)
	le := binary.LittleEndian
	end := le.Uint64(short[0x28:]) // e_shoff
	le.PutUint64(short[0x28:], end+uint64(more))
	return append(append(short[:end:end], make([]byte, more)...), short[end:]...)
}

func writeZeros(t testing.TB, file string, size int64) {
	t.Helper()
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	z, err := zstd.NewWriter(f)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.CopyN(z, zeros{}, size)
	if err := errors.Join(err, z.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestALongModuleIsRead(t *testing.T) {
	module := longModule(t, inMemory, "vermagic=6.12.9 SMP", "depends=b")
	dir := t.TempDir()
	t.Setenv("TMPDIR", t.TempDir())
	writeAll(t, dir, map[string][]byte{"a.ko": module, "a.ko.zst": archivetest.Compress(t, ".zst", module)})
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for _, name := range []string{"a.ko", "a.ko.zst"} {
		info, err := describeModule(root, name)
		if err != nil || info.Release != "6.12.9" || len(info.Depends) != 1 {
			t.Errorf("%s: %+v, %v", name, info, err)
		}
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestModulesThatUnpackToTooMuchAreRefused(t *testing.T) {
	// Given two modules that unpack to more than any has,
	dir := t.TempDir()
	for _, name := range []string{"a.ko.zst", "b.ko.zst"} {
		writeZeros(t, filepath.Join(dir, name), maxModule+1)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	// when they are read, then that is refused, and takes little memory.
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err = describe(t.Context(), root, []string{"a.ko.zst", "b.ko.zst"}, func(int) {})
	runtime.ReadMemStats(&after)
	if !errors.Is(err, ErrModules) || !strings.Contains(err.Error(), "it unpacks to more than") {
		t.Errorf("error %v, want ErrModules", err)
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > 256<<20 {
		t.Errorf("it took %d MiB of memory in all", got>>20)
	}
}

func TestAnImageThatUnpacksToTooMuchIsNotUnpacked(t *testing.T) {
	var packed bytes.Buffer
	z, err := zstd.NewWriter(&packed)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.CopyN(z, zeros{}, maxKernel+1)
	if err := errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	image := imageOf("6.12.9", append(packed.Bytes(), 1, 0, 0, 0x40))
	out := &counted{}
	if err := unpackPayload(bytes.NewReader(image), out); err == nil || !strings.Contains(err.Error(), "it unpacks to more than") {
		t.Errorf("error %v after %d bytes", err, out.n)
	}
}

type counted struct{ n int64 }

func (c *counted) Write(p []byte) (int, error) { c.n += int64(len(p)); return len(p), nil }

// A module that says what is not so is an error, not a panic, and takes no
// more memory than it has bytes.
func FuzzModule(f *testing.F) {
	module := madeModule(f, "vermagic=6.12.9 SMP", "depends=b,c", "softdep=pre: d post: e", "alias=f")
	for _, n := range []int{len(module), len(module) - 1, 100, 64, 63, 4, 0} {
		f.Add(module[:n])
	}
	for _, at := range []int{0x28, 0x3a, 0x3c, 0x3e} {
		bad := bytes.Clone(module)
		copy(bad[at:], "\xff\xff")
		f.Add(bad)
	}
	f.Fuzz(func(t *testing.T, module []byte) {
		_, _ = modinfo(bytes.NewReader(module)) // may be an error
		_, _ = readNotes(bytes.NewReader(module))
	})
}
