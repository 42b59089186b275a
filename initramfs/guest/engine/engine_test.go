package engine

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/blockrig/blockrig/initramfs/protocol"
	"github.com/blockrig/blockrig/scenarios"
)

const fileSize = 1 << 20

// newFile is a file that holds what stands there before the first step.
func newFile(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	b := make([]byte, fileSize)
	protocol.Fill(b, 0, 0)
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func all(of ...uint32) []protocol.Extent {
	return []protocol.Extent{{Length: fileSize, Generations: of}}
}

func doOrSkip(t *testing.T, r Request) scenarios.Observation {
	t.Helper()
	if r.IO.Count == 0 {
		r.IO.Count = 1
	}
	seen, release, err := Do(r)
	release()
	if err != nil {
		t.Skip(err) // the host's kernel may forbid it, as containers do
	}
	return seen
}

// Given a file of known content, when it is written and read by each kind of
// I/O, then all bytes move, and they are right.
func TestEachKindMovesTheRightBytes(t *testing.T) {
	vectors := []scenarios.Vector{{MemoryOffset: 100, Length: 512}, {Length: 0}, {MemoryOffset: 4000, Length: 7680}}
	for _, way := range []struct{ write, read string }{
		{"pwrite", "pread"},
		{"pwritev2", "preadv2"},
		{"mmap-write", "mmap-read"},
		{"libaio-write", "libaio-read"},
		{"io_uring-write", "io_uring-read"},
		{"pwrite", "splice-read"},
		{"pwrite", "reread"},
		{"splice-write", "pread"},
	} {
		for name, o := range map[string]scenarios.IO{
			"one":       {Offset: 4096, Length: 8192, MemoryOffset: 32},
			"vectors":   {Offset: 4096, Length: 8192, Vectors: vectors},
			"many":      {Offset: 512, Length: 1024, Count: 100, Depth: 7},
			"at random": {Length: 4096, Count: 50, Depth: 8, Random: true, Range: fileSize / 2, Seed: 3},
		} {
			t.Run(way.write+" "+way.read+" "+name, func(t *testing.T) {
				if name == "vectors" && way.write != "pwritev2" && way.write != "libaio-write" && way.write != "io_uring-write" {
					return
				}
				file := newFile(t)
				o := o
				want := o.Length * max(1, o.Count)
				o.Op = way.write
				if seen := doOrSkip(t, Request{Path: file, IO: o, Generation: 7}); !seen.Returned || seen.Errno != "" || seen.Bytes != want || seen.Overrun != nil {
					t.Fatalf("written: %+v, want %d bytes", seen, want)
				}
				o.Op = way.read
				if seen := doOrSkip(t, Request{Path: file, IO: o, Generation: 7, Data: all(7)}); !seen.Returned || seen.Bytes != want || seen.Mismatch != nil || seen.Overrun != nil {
					t.Errorf("read: %+v, want %d bytes of the write", seen, want)
				}
				if seen := doOrSkip(t, Request{Path: file, IO: o, Generation: 7, Data: all(0)}); seen.Mismatch == nil || seen.Wrong != stale {
					t.Errorf("what was there before is expected: %+v", seen)
				}
				if seen, release, err := Verify(Request{Path: file, Generation: 7, Data: all(0, 7)}); err == nil && seen.Errno == "" && (seen.Mismatch != nil || !seen.Returned) {
					t.Errorf("verify: %+v", seen)
				} else {
					release()
				}
			})
		}
	}
}

func TestABufferThatIsNotMappedFaults(t *testing.T) {
	for op, unmapped := range map[string]bool{"pread": true, "pwrite": true, "preadv2": true} {
		seen := doOrSkip(t, Request{Path: newFile(t), IO: scenarios.IO{Op: op, Length: 512, Unmapped: unmapped}, Generation: 1, Data: all(0)})
		if seen.Errno != "EFAULT" {
			t.Errorf("%s: %+v", op, seen)
		}
	}
	// The first page is there: the kernel may move that much.
	seen := doOrSkip(t, Request{Path: newFile(t), IO: scenarios.IO{Op: "pread", Length: 8192, Unmapped: true}, Data: all(0)})
	if seen.Errno != "EFAULT" && seen.Bytes != 4096 || seen.Mismatch != nil {
		t.Errorf("two pages of which one is there: %+v", seen)
	}
}

func TestTheEndOfAFileIsAShortRead(t *testing.T) {
	seen := doOrSkip(t, Request{Path: newFile(t), IO: scenarios.IO{Op: "pread", Offset: fileSize - 100, Length: 4096, Count: 5}, Data: all(0)})
	if seen.Bytes != 100 || seen.Errno != "" || seen.Mismatch != nil {
		t.Errorf("%+v", seen)
	}
}

func TestWhatIsWrittenAroundABufferIsFound(t *testing.T) {
	b, err := newBuffer(scenarios.IO{Vectors: []scenarios.Vector{{MemoryOffset: 512, Length: 100}, {Length: 4096}}})
	if err != nil {
		t.Fatal(err)
	}
	defer b.release()
	if at := b.overrun(); at != nil {
		t.Fatalf("a new buffer is changed at %d", *at)
	}
	for _, p := range b.pieces {
		clear(p)
	}
	if at := b.overrun(); at != nil {
		t.Errorf("its own bytes are taken for others, at %d", *at)
	}
	for _, off := range []int64{-1, 100, b.starts[1] - b.starts[0] - 1, b.starts[1] - b.starts[0] + 4096} {
		b.mem[b.starts[0]+off]++
		if at := b.overrun(); at == nil || *at != off {
			t.Errorf("byte %d was changed, and found is %v", off, at)
		}
		b.mem[b.starts[0]+off]--
	}
}

func TestAFileThatIsNotThereCanNotBeTried(t *testing.T) {
	if _, _, err := Do(Request{Path: filepath.Join(t.TempDir(), "none"), IO: scenarios.IO{Op: "pread", Length: 1}}); err == nil {
		t.Error("it is read")
	}
	if _, _, err := Do(Request{Path: newFile(t), IO: scenarios.IO{Op: "write", Length: 1}}); err == nil {
		t.Error("an operation that there is not is done")
	}
}

func TestCopiesThatDifferAreNamed(t *testing.T) {
	a, b := newFile(t), newFile(t)
	c := Compare{Paths: []string{a, b}, Offsets: []int64{0, 0}, Length: fileSize}
	seen, release, err := c.Do()
	release()
	if err != nil || seen.Errno != "" {
		t.Skip(err, seen.Errno) // no direct I/O here
	}
	if seen.Failed != "" || !seen.Returned {
		t.Errorf("equal ones: %+v", seen)
	}
	f, err := os.OpenFile(b, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte{0}, 300_000); err != nil {
		t.Fatal(err)
	}
	if seen, release, err := c.Do(); err != nil || seen.Failed != a+" and "+b+" differ at byte 300000 of what they share" {
		t.Errorf("%+v, %v", seen, err)
	} else {
		release()
	}
}

// Given I/O that is to go on for a time, then what goes beyond the count is told
// apart, also where it ends with an error.
func TestIOThatGoesOnForATime(t *testing.T) {
	file := newFile(t)
	for _, op := range []string{"pwrite", "io_uring-write", "libaio-write"} {
		o := scenarios.IO{Op: op, Length: 4096, Count: 8, Depth: 3, Seconds: 1}
		if seen := doOrSkip(t, Request{Path: file, IO: o, Generation: 7}); seen.Bytes != 8*4096 || seen.More < 8 || seen.Errno != "" {
			t.Errorf("%s: %+v, want 8 blocks and more", op, seen)
		}
	}
}

// Given an append that does not say where the file ends, then it is not tried.
func TestAppendSaysWhereTheFileEnds(t *testing.T) {
	file := newFile(t)
	for at, ok := range map[int64]bool{0: false, fileSize: true} {
		_, release, err := Do(Request{Path: file, IO: scenarios.IO{Op: "pwritev2", Flags: []string{"APPEND"}, Offset: at, Length: 512, Count: 1}})
		release()
		if (err == nil) != ok {
			t.Errorf("at %d: %v", at, err)
		}
	}
}

// Given memory that is changed while it is in use, then what stands in it is of
// one of the two generations, byte by byte.
func TestMemoryThatIsChanged(t *testing.T) {
	defer twoProcessors()()
	f := &file{io: scenarios.IO{Op: "pwrite", Length: 8192}, generation: 4}
	mem := make([]byte, 8192)
	c := f.change([]part{{mem[:4096], 512}, {mem[4096:], 512 + 4096}}, 512)
	for c.n.Load() < c.before+4 {
		runtime.Gosched()
	}
	if n := c.stop(); n < 4 {
		t.Errorf("changed %d times, want 4 at least", n)
	}
	o := oracle{[]protocol.Extent{{Length: 1 << 20, Mixed: []uint32{4}}}, 5, 1 << 20}
	if wrong, kind := o.check(mem, 512); wrong >= 0 {
		t.Errorf("byte %d is %s", wrong, kind)
	}
}
