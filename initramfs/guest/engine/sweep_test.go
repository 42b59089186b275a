package engine

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/blockrig/blockrig/scenarios/programs"
)

func block(c byte, n int) []byte { return bytes.Repeat([]byte{c}, n) }

// Given what was written, acknowledged or not, then the shadow takes what may
// stand there, and names anything else.
func TestAShadowKnowsWhatMayStandThere(t *testing.T) {
	fresh := func() shadow {
		s := newShadow(4096)
		s.put(0, block('a', 4096), true)
		return s
	}
	for name, tt := range map[string]struct {
		writes func(shadow)
		got    []byte
		at     int64
		wrong  int64
		kind   string
	}{
		"what was written":                      {func(s shadow) { s.put(512, block('b', 512), true) }, slicesOf('a', 512, 'b', 512, 'a', 512), 0, -1, ""},
		"an old value":                          {func(s shadow) { s.put(512, block('b', 512), true) }, block('a', 1024), 0, 512, stale},
		"either after an error":                 {func(s shadow) { s.put(512, block('b', 512), false) }, block('a', 1024), 0, -1, ""},
		"the other after an error":              {func(s shadow) { s.put(512, block('b', 512), false) }, slicesOf('a', 512, 'b', 512), 0, -1, ""},
		"both in a sector":                      {func(s shadow) { s.put(512, block('b', 512), false) }, slicesOf('a', 600, 'b', 424), 0, 512 + 88, torn},
		"a part of a sector":                    {func(s shadow) { s.put(100, block('b', 10), true) }, slicesOf('a', 100, 'b', 10, 'a', 402), 0, -1, ""},
		"a part of a sector is lost":            {func(s shadow) { s.put(100, block('b', 10), true) }, block('a', 512), 0, 100, stale},
		"zeroes":                                {func(shadow) {}, slicesOf('a', 512, 0, 512), 0, 512, zero},
		"zeroes after a discard":                {func(s shadow) { s.put(512, make([]byte, 512), false) }, slicesOf('a', 512, 0, 512), 0, -1, ""},
		"anything after a discard that forgets": {func(s shadow) { s.forget(512, 512) }, slicesOf('a', 512, 'x', 512, 'a', 512), 0, -1, ""},
		"what is beside it":                     {func(s shadow) { s.forget(512, 512) }, slicesOf('a', 512, 'x', 1024), 0, 1024, garbage},
		"sure again after it":                   {func(s shadow) { s.forget(0, 512); s.put(0, block('c', 512), true) }, block('x', 512), 0, 0, garbage},
		"anything else":                         {func(shadow) {}, slicesOf('a', 512, 'x', 512), 0, 512, garbage},
		"sure again after an error":             {func(s shadow) { s.put(0, block('b', 512), false); s.put(0, block('c', 512), true) }, block('a', 512), 0, 0, stale},
		"beyond what is known of":               {func(shadow) {}, block('x', 512), 4096, -1, ""},
		"read from within a sector":             {func(shadow) {}, slicesOf('a', 500, 'x', 12), 12, 500, garbage},
		"across the end of the space":           {func(s shadow) { s.put(4000, block('b', 512), true) }, slicesOf('b', 96, 'y', 100), 4000, -1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := fresh()
			tt.writes(s)
			if wrong, kind := s.check(tt.got, tt.at); wrong != tt.wrong || kind != tt.kind {
				t.Errorf("byte %d, %q; want %d, %q", wrong, kind, tt.wrong, tt.kind)
			}
		})
	}
}

// slicesOf is so many bytes of one value, then of another.
func slicesOf(pairs ...int) (out []byte) {
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, block(byte(pairs[i]), pairs[i+1])...)
	}
	return out
}

func TestASectorOfTooManyValuesMayHoldAnything(t *testing.T) {
	s := newShadow(512)
	s.put(0, block('a', 512), true)
	for i := range mostValues + 1 {
		s.put(0, block(byte(i), 512), false)
	}
	if wrong, _ := s.check(block('z', 512), 0); wrong >= 0 {
		t.Errorf("byte %d is wrong", wrong)
	}
	s.put(0, block('b', 512), true)
	if wrong, _ := s.check(block('z', 512), 0); wrong != 0 {
		t.Error("once written for sure, it may still hold anything")
	}
}

func newSweeper(t *testing.T) (*Sweeper, string) {
	t.Helper()
	file, counter := newFile(t), filepath.Join(t.TempDir(), "counter")
	if err := os.WriteFile(counter, make([]byte, CounterSize), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := NewSweeper(Sweep{Path: file, Space: 64 << 10, Counter: counter})
	if err != nil {
		t.Skip(err) // no direct I/O here
	}
	return s, file
}

// Given a sound file, when programs of every kind are done, then all answers
// are right, and what was under way last is known.
func TestProgramsOnASoundFile(t *testing.T) {
	s, _ := newSweeper(t)
	w := Sweep{First: 10, Set: programs.Set{Programs: []programs.Program{
		{{Op: "pwrite", Offset: 4096, Length: 4096}, {Op: "pread", Direct: true, Length: 16384}},
		{{Op: "pwrite", Direct: true, Offset: 512, Length: 1024}, {Op: "mmap-read", Length: 4096}, {Op: "pwrite", Offset: 700, Length: 3}},
		{{Op: "pread", Offset: 1, Length: 4095}},
		{{Op: "fallocate", Mode: "zero-range", Offset: 8192, Length: 4096}, {Op: "fsync", Length: 4096}},
		{{Op: "pwrite", Length: 8192, Unmapped: true}},
		{{Op: "no-such-thing", Length: 512}},
	}}, Skip: []bool{false, false, true}}
	got := s.Do(w)
	if got[3][0] == "ENOTSUP" {
		got[3][0] = ""
	}
	want := [][]string{{"", ""}, {"", "", ""}, nil, {"", ""}, {"short 4096"}, {"untried: no-such-thing of 512 bytes at 0"}}
	if got[4][0] == "EFAULT" {
		want[4][0] = "EFAULT"
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	program, operation, ok := UnderWay(binary.NativeEndian.AppendUint32(nil, *s.counter))
	if program != 15 || operation != 1 || !ok { // which was to be read back
		t.Errorf("operation %d of program %d, want 1 of 15", operation, program)
	}
}

// Given a file that was changed behind the sweeper's back, as by a layer that
// writes to the wrong place, then a read shows it, or the read after a write, and
// nothing that follows.
func TestProgramsOnAFileThatLies(t *testing.T) {
	s, file := newSweeper(t)
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(block(0, 512), 12288); err != nil {
		t.Fatal(err)
	}
	got := s.Do(Sweep{Set: programs.Set{Programs: []programs.Program{
		{{Op: "pread", Offset: 8192, Length: 8192}},
		{{Op: "pwrite", Offset: 8192, Length: 4096}},
		{{Op: "pread", Length: 4096}},
	}}})
	want := [][]string{{"zero@4096"}, {""}, {""}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
}
