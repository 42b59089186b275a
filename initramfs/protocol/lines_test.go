package protocol

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAGuestLineIsReadAsItWasWritten(t *testing.T) {
	n := uint64(1795364831220055829)
	for text, want := range map[string]GuestLine{
		"phase step":                         {Phase: &Phase{Name: "step"}},
		"phase stack: lvm vgcreate: -q main": {Phase: &Phase{Name: "stack", What: "lvm vgcreate: -q main"}},
		"ready":                              {Ready: true},
		"pread returned 4096":                {Returned: &Returned{Op: "pread", Bytes: 4096}},
		"pread returned -1 (EIO)":            {Returned: &Returned{Op: "pread", Bytes: -1, Errno: "EIO"}},
		"end of trial 1795364831220055829":   {End: &n},
		"shows corrupt: pread: byte 0 of the data is wrong: stale": {Shows: &Shows{"corrupt", "pread: byte 0 of the data is wrong: stale"}},
		"shows pass: x":          {Text: "shows pass: x"},
		"shows nothing":          {Text: "shows nothing"},
		"ready to go":            {Text: "ready to go"},
		"lvm says: phase step":   {Text: "lvm says: phase step"},
		"lvm says: x returned 5": {Text: "lvm says: x returned 5"},
		"end of trial seven":     {Text: "end of trial seven"},
	} {
		line := want.String()
		if line != guestPrefix+text {
			t.Errorf("%+v is written as %q, want %q", want, line, guestPrefix+text)
		}
		for _, around := range []string{"%s", "[    3.1] %s\r\n", "6,339,1234567,-;%s\n"} {
			if got, ok := ParseGuestLine(fmt.Sprintf(around, line)); !ok || !cmp.Equal(got, want) {
				t.Errorf("%q is read as %+v, %t; want %+v", line, got, ok, want)
			}
		}
	}
	if l, ok := ParseGuestLine("[    3.1] guest: ready"); ok {
		t.Errorf("a line of somebody else's is read as %+v", l)
	}
}

func TestALogsNameDoesNotDependOnHowItIsRead(t *testing.T) {
	trailer := HostLine([]byte(`{"Phase":"done"}`))
	long := string(slices.Repeat([]byte("x"), maxTrailer))
	text := "[ 0.1] one\r\n\r\nblock\nblockrig: host\n" + trailer + hostPrefix + long + "\n" + long + "\ntwo\n" + trailer + "\n" + trailer
	whole := read(text, len(text))
	if n := len(whole.Trailers()); n != 3 {
		t.Fatalf("%d trailers, want 3", n)
	}
	if a, b := whole.Trailers()[0], whole.Trailers()[2]; a.Line != 5 || a.Last || !b.Last || a.After == b.After || string(b.Text) != `{"Phase":"done"}` {
		t.Errorf("the first is %+v, the last %+v", a, b)
	}
	for _, size := range []int{1, 2, 7, 100, 4096} {
		got := read(text, size)
		if got.Sum() != whole.Sum() {
			t.Errorf("in pieces of %d: another name", size)
		}
		if diff := cmp.Diff(whole.Trailers(), got.Trailers()); diff != "" {
			t.Errorf("in pieces of %d: other trailers (-want +got):\n%s", size, diff)
		}
	}
	other := read("[ 0.1] one\nblockrig: host\n", 10)
	if other.Sum() == whole.Sum() {
		t.Error("two logs have one name")
	}
}

// read takes a text in pieces.
func read(text string, size int) *LogSum {
	l := &LogSum{}
	for part := range slices.Chunk([]byte(text), size) {
		_, _ = l.Write(part)
	}
	l.Close()
	return l
}

// Given any lines, when a log is summed byte by byte or all at once, then its
// name and its trailers are the same.
func TestWholeLinesAreSummedAsTheirBytesAre(t *testing.T) {
	kinds := []string{"[ 0.1] one\n", "two\r\n", "\n", "\r\n", "th\rree\n", "blockrig: host: {}\n", "blockrig: host\n", "b\n", "blockrig: host: {}\r\r\n", "x"}
	r := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		var text strings.Builder
		for range r.IntN(12) {
			text.WriteString(kinds[r.IntN(len(kinds))])
		}
		bytewise, whole := read(text.String(), 1), read(text.String(), max(1, text.Len()))
		if bytewise.Sum() != whole.Sum() {
			t.Fatalf("%q: %s byte by byte, %s at once", text.String(), bytewise.Sum(), whole.Sum())
		}
		if diff := cmp.Diff(bytewise.Trailers(), whole.Trailers()); diff != "" {
			t.Fatalf("%q: %s", text.String(), diff)
		}
	}
}
