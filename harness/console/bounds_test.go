package console

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
)

// heapAfter is how much memory is in use, in bytes, after f has run and while
// what it returns lives.
func heapAfter[T any](f func() T) (T, uint64) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	x := f()
	runtime.GC()
	runtime.ReadMemStats(&after)
	return x, max(after.HeapAlloc, before.HeapAlloc) - before.HeapAlloc
}

// Given a log that somebody made to do harm, when it is read, then memory stays
// within bounds and each finding within its limits.
func TestHarmfulLogs(t *testing.T) {
	const boot = "[    0.000000] Linux version 6.1.0 (a@b) #1 SMP\n"
	word := strings.Repeat("A", 60<<10)
	repeat := func(n int, line func(i int) string) io.Reader {
		r, w := io.Pipe()
		go func() {
			b := bufio.NewWriterSize(w, 1<<16)
			b.WriteString(boot)
			for i := range n {
				if _, err := b.WriteString(line(i)); err != nil {
					break
				}
			}
			b.Flush()
			w.Close()
		}()
		return r
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for name, log := range map[string]io.Reader{
		"one line":         repeat(1<<14, func(int) string { return "no newline anywhere, [    1.000000] BUG: " }),
		"brackets":         repeat(1<<12, func(int) string { return strings.Repeat("[ 0.", 4<<10) + "\n" }),
		"carriage returns": repeat(1<<8, func(int) string { return strings.Repeat("a\r", 16<<10) + "\n" }),
		"different disks":  repeat(50_000, func(i int) string { return fmt.Sprintf("[    1.000000] I/O error, dev disk%d, sector 1\n", i) }),
		"different functions": repeat(20_000, func(i int) string {
			return fmt.Sprintf("[    1.000000] WARNING: CPU: 0 PID: 1 at fs/f%d.c:1 fn%d+0x1/0x2\n", i, i)
		}),
		"one function everywhere": repeat(20_000, func(i int) string {
			return fmt.Sprintf("[    1.000000] WARNING: CPU: 0 PID: 1 at fs/f.c:%d fn+0x1/0x2\n[    1.000000] Call Trace:\n[    1.000000]  fn+0x1/0x2\n", i)
		}),
		"long names": repeat(1_000, func(i int) string {
			return fmt.Sprintf("[    1.000000] I/O error, dev %d%s, sector 1\n[    1.000000] BTRFS error (device sda): %d%s\n", i, word[:30<<10], i, word[:30<<10])
		}),
		"long functions": repeat(1_000, func(i int) string {
			return fmt.Sprintf("[    1.000000] WARNING: CPU: 0 PID: 1 at fs/f%d.c:1 f%d%s+0x1/0x2\n[    1.000000] Call Trace:\n[    1.000000]  %s+0x1/0x2\n", i, i, word, word)
		}),
		"lines that are wrapped": repeat(100_000, func(i int) string { return "INFO: task " + word[:80] + "\n" }),
		"complaints": repeat(50_000, func(i int) string {
			return fmt.Sprintf("[    1.000000] nvme nvme0: thing%c%d%s failed: x\n", 'a'+i%26, i, word[:i%200])
		}),
		"boots":                    repeat(50_000, func(int) string { return boot + "[    1.000000] blockrig: guest: x\n" }),
		"unknown prefixes":         repeat(50_000, func(i int) string { return fmt.Sprintf("%s|%d|%x| text\n", word[:i%70], i, i*i) }),
		"soft line ends":           repeat(20_000, func(i int) string { return "Content-Transfer-Encoding: quoted-printable\n" + word[:2000] + "=\n" }),
		"a string of JSON":         io.MultiReader(strings.NewReader("{\"MESSAGE\":\""), repeat(16_000, func(int) string { return strings.Repeat("\\\"x\\u0041", 1<<10) })),
		"a number of JSON":         io.MultiReader(strings.NewReader("{\"n\":1"), repeat(2_000, func(int) string { return strings.Repeat("1", 16<<10) })),
		"deep JSON":                io.MultiReader(strings.NewReader("{\"a\":"), repeat(1_000, func(int) string { return strings.Repeat("[", 4<<10) })),
		"a field of the journal's": io.MultiReader(strings.NewReader("__CURSOR=x\nMESSAGE\n\xff\xff\xff\xff\xff\xff\xff\x7f"), repeat(1_000, func(int) string { return word })),
		"a packed bomb":            bytes.NewReader(bomb(t, 3, 16<<20)),
		"a packed bomb in a mail":  io.MultiReader(strings.NewReader("MIME-Version: 1.0\nContent-Transfer-Encoding: base64\n\n"), strings.NewReader(base64.StdEncoding.EncodeToString(bomb(t, 3, 16<<20)))),
	} {
		read, heap := heapAfter(func() *Log {
			log, err := ReadAll(log)
			if err != nil {
				t.Logf("%s: %v", name, err)
			}
			return log
		})
		if heap > 48<<20 {
			t.Errorf("%s: %d MiB", name, heap>>20)
		}
		for _, f := range read.Findings {
			for _, s := range []string{f.Title, f.Place, f.Comm, f.Workqueue, f.Release, f.Tainted} {
				if len(s) > 2*maxCapture+maxTitle {
					t.Errorf("%s: %d bytes: %.80s…", name, len(s), s)
				}
			}
		}
		if len(read.Findings) > maxFindings {
			t.Errorf("%s: %d findings", name, len(read.Findings))
		}
	}
	runtime.ReadMemStats(&after)
	if grown := after.HeapSys - before.HeapSys; grown > 64<<20 {
		t.Errorf("%d MiB at most", grown>>20)
	}
}

// bomb is n zeros packed that many times.
func bomb(t *testing.T, times, n int) []byte {
	t.Helper()
	var r io.Reader = io.LimitReader(zeroes{}, int64(n))
	var b bytes.Buffer
	for range times {
		b = bytes.Buffer{}
		z := gzip.NewWriter(&b)
		if _, err := io.Copy(z, r); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		r = bytes.NewReader(bytes.Clone(b.Bytes()))
	}
	return b.Bytes()
}

type zeroes struct{}

func (zeroes) Read(p []byte) (int, error) { clear(p); return len(p), nil }
