package trial

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/blockrig/blockrig/harness/console"
	"github.com/blockrig/blockrig/harness/verdict"
	"github.com/blockrig/blockrig/initramfs/protocol"
)

// consoleText is what a boot and a step look like, made short.
const consoleText = "[    0.000000] Linux version 6.18.15 (debian)\r\n" +
	"[    1.000000] blockrig: guest: hello from PID 1 on Linux 6.18.15\r\n" +
	"[    2.000000] blockrig: guest: phase stack\r\n" +
	"[    3.000000] blockrig: guest: ready\r\n" +
	"[    4.000000] blockrig: guest: phase step\r\n" +
	"[    4.100000] Buffer I/O error on dev dm-0, logical block 1, async page read\r\n" +
	"[    4.200000] blockrig: guest: phase done\r\n" +
	"[    4.300000] blockrig: guest: end of trial 7\r\n"

func newTestRecorder(t *testing.T) *recorder {
	t.Helper()
	r, err := newRecorder(filepath.Join(t.TempDir(), "console.log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.file.Close() }) // may be closed already
	return r
}

func closed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestRecorderFindsMarksHoweverTheConsoleComes(t *testing.T) {
	for name, in := range map[string]io.Reader{
		"at once":           strings.NewReader(consoleText),
		"byte by byte":      iotest.OneByteReader(strings.NewReader(consoleText)),
		"in halves":         iotest.HalfReader(strings.NewReader(consoleText)),
		"end with the data": iotest.DataErrReader(strings.NewReader(consoleText)),
	} {
		t.Run(name, func(t *testing.T) {
			r := newTestRecorder(t)
			r.run(in)
			findings := r.finish()

			if r.err != nil {
				t.Errorf("error %v", r.err)
			}
			if !closed(r.ready) || len(r.end) != 1 || closed(r.dead) {
				t.Fatalf("ready %t, %d ends, dead %t; want true, one, false", closed(r.ready), len(r.end), closed(r.dead))
			}
			if n := <-r.end; n != 7 {
				t.Errorf("the end of step %d, want that of 7", n)
			}
			want := []console.Mark{
				{Line: 2, Text: "blockrig: guest: hello from PID 1 on Linux 6.18.15"},
				{Line: 3, Text: "blockrig: guest: phase stack"},
				{Line: 4, Text: "blockrig: guest: ready"},
				{Line: 5, Text: "blockrig: guest: phase step"},
				{Line: 7, Text: "blockrig: guest: phase done"},
				{Line: 8, Text: "blockrig: guest: end of trial 7"},
			}
			if diff := cmp.Diff(want, r.marks); diff != "" {
				t.Errorf("marks (-want +got):\n%s", diff)
			}
			if len(findings) != 1 || findings[0].Kind != console.KindIO || findings[0].Line != 6 {
				t.Errorf("findings %+v, want the I/O error of line 6", findings)
			}
			if text, err := os.ReadFile(r.file.Name()); err != nil || string(text) != consoleText {
				t.Errorf("log %q, %v; want what came, byte for byte", text, err)
			}
		})
	}
}

func TestRecorderGoesOnFromASavedLog(t *testing.T) {
	// Given a log that was cut in the middle of a line, as a saved machine's is,
	cut := strings.Index(consoleText, "phase step") + 3
	saved := filepath.Join(t.TempDir(), "saved.log")
	if err := os.WriteFile(saved, []byte(consoleText[:cut]), 0o600); err != nil {
		t.Fatal(err)
	}
	r := newTestRecorder(t)
	if err := r.preload(saved); err != nil {
		t.Fatal(err)
	}
	if !closed(r.ready) || len(r.end) > 0 {
		t.Errorf("ready %t, end %t; want true, false", closed(r.ready), len(r.end) > 0)
	}
	// when the rest comes from the machine,
	r.run(strings.NewReader(consoleText[cut:]))
	r.finish()
	// then nothing shows where it was cut.
	if text, err := os.ReadFile(r.file.Name()); err != nil || string(text) != consoleText {
		t.Errorf("log %q, %v; want the whole", text, err)
	}
	if len(r.marks) != 6 || r.marks[3].Text != "blockrig: guest: phase step" {
		t.Errorf("marks %+v, want the six of the whole log", r.marks)
	}
}

// Given a kernel that warned while it booted, when it shows more, then that
// counts as a sign that it is broken; errors that the scenario explains do not.
func TestRecorderCountsSigns(t *testing.T) {
	r := newTestRecorder(t)
	boot := "[    1.000000] WARNING: CPU: 0 PID: 1 at block/bio.c:1 bio_init+0x1/0x2\r\n[    1.000000] ---[ end trace 0000000000000000 ]---\r\n"
	r.run(strings.NewReader(boot))
	before := r.signs.now()
	if before.reports != 1 {
		t.Fatalf("%d reports while it booted, want 1", before.reports)
	}
	for _, tc := range []struct {
		line                 string
		explained, surprised int64
	}{
		{"[    2.000000] blockrig: guest: phase step", 0, 0},
		{"[    3.000000] I/O error, dev sda, sector 18824 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 0", 0, 1},
		{"[    4.000000] watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [child:70]", 1, 2},
	} {
		r.done = make(chan struct{})
		r.run(strings.NewReader(tc.line + "\r\n"))
		if e, s := r.signs.since(before, true), r.signs.since(before, false); e != tc.explained || s != tc.surprised {
			t.Errorf("after %q: %d signs, %d with errors; want %d and %d", tc.line, e, s, tc.explained, tc.surprised)
		}
	}
	r.finish()
}

func TestRecorderSeesAPanic(t *testing.T) {
	r := newTestRecorder(t)
	r.run(strings.NewReader("[    1.000000] Kernel panic - not syncing: sysrq triggered crash\r\n"))
	r.finish()
	if !closed(r.dead) {
		t.Error("a panic was not seen")
	}
}

func TestLogOfAFloodIsCut(t *testing.T) {
	// Given a console that is almost full,
	r := newTestRecorder(t)
	r.size = maxLog - 100
	// when a flood comes,
	line := []byte("[    5.0] I/O error, dev sdb, sector 0 op 0x0:(READ)\r\n")
	flood := bytes.Repeat(line, 1000)
	r.run(io.MultiReader(bytes.NewReader(line), bytes.NewReader(flood)))
	r.finish()
	// then the log says that it ends early, once, and the flood was read all the same.
	text, err := os.ReadFile(r.file.Name())
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(text, []byte("I/O error")); n != 1 {
		t.Errorf("%d lines of the flood in the log, want the one that had room", n)
	}
	if n := bytes.Count(text, []byte("the console log ends here")); n != 1 {
		t.Errorf("it is said %d times that the log is cut, want once", n)
	}
	if r.err != nil {
		t.Errorf("error %v", r.err)
	}
}

func TestConsoleIsReadOnWhenItsLogCannotBeWritten(t *testing.T) {
	r := newTestRecorder(t)
	if err := r.file.Close(); err != nil {
		t.Fatal(err)
	}
	in := strings.NewReader(consoleText)
	r.run(iotest.OneByteReader(in))
	r.finish()
	if !errors.Is(r.err, os.ErrClosed) {
		t.Errorf("error %v, want that the log can't be written", r.err)
	}
	if in.Len() > 0 || len(r.end) != 1 {
		t.Errorf("%d bytes not read, %d ends; want all read", in.Len(), len(r.end))
	}
}

func TestErrorOfTheConsoleIsKept(t *testing.T) {
	broken := errors.New("broken")
	r := newTestRecorder(t)
	r.run(io.MultiReader(strings.NewReader("[ 1.0] half a li"), iotest.ErrReader(broken)))
	r.finish()
	if !errors.Is(r.err, broken) {
		t.Errorf("error %v, want %v", r.err, broken)
	}
}

func TestTrailerIsALineOfItsOwn(t *testing.T) {
	r := newTestRecorder(t)
	r.run(strings.NewReader("[ 1.0] half a li"))
	r.finish()
	if err := r.close(verdict.Report{Phase: "step", Silent: "the guest stopped answering"}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(r.file.Name())
	if err != nil {
		t.Fatal(err)
	}
	if before, after, ok := strings.Cut(string(text), "\n"); !ok || before != "[ 1.0] half a li" || !protocol.IsHostLine(after) {
		t.Errorf("log %q, want the trailer in a line of its own", text)
	}
}

func TestLogThatIsThereIsNotOverwritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "console.log")
	if err := os.WriteFile(path, []byte("of another trial"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err := newRecorder(path); !errors.Is(err, os.ErrExist) {
		t.Errorf("%v, %v; want that it exists", r, err)
	}
}
