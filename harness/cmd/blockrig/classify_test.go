package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/blockrig/blockrig/harness/text"
)

// Given a log of anybody's, when it is classified, then what is printed is
// text and nothing that a terminal obeys, and the status is one of the four.
func FuzzClassifyPrintsNothingHarmful(f *testing.F) {
	for _, log := range []string{
		"",
		"[    1.0] BUG: unable to handle page fault for address: 0000\x1b]0;owned\x07\n[    1.0] RIP: 0010:f\u202eoo+0x1/0x2 [m\x1b[2J]\n",
		"[    1.0] WARNING: CPU: 0 PID: 1 at \u009b31mx.c:1 f\xff+0x1/0x2\n[    1.0] Comm: \x7fevil\r\n",
		"[    1.0] Linux version 6.18\x1b[31m.15 (x@y)\n[    2.0] INFO: task \x1b[8mdd:77 blocked for more than 120 seconds.\n",
		"[    1.0] I/O error, dev sd\x1ba, sector 1 op 0x0:(READ)\n",
		"[    1.0] Linux version 6.18.15\n[    1.0] blockrig: guest: phase step\x1b[2J\u202e: read\n" +
			`blockrig: host: {"phase":"\u001b[2J\u202e","setup":"\u009b31m","reset":"\u0007"}` + "\n",
		"{\"MESSAGE\":\"BUG: kernel NULL pointer dereference\\u001b[31m\",\"_TRANSPORT\":\"kernel\"}\n",
		"From: \x1b[31mme\nSubject: =?utf-8?q?=1b[31m?=\n\n> [    1.0] Kernel panic - not syncing: \x9b\x1b\n",
	} {
		f.Add([]byte(log), true)
		f.Add([]byte(log), false)
	}
	f.Fuzz(func(t *testing.T, log []byte, asJSON bool) {
		var out bytes.Buffer
		a := &app{stdin: bytes.NewReader(log), stdout: &out, format: "table"}
		if asJSON {
			a.format = "json"
		}
		err := a.classify(t.Context(), "-", "")
		var s status
		switch {
		case err == nil:
		case !errors.As(err, &s):
			out.WriteString(text.EscapeLines(err.Error())) // as run prints it
		case s != exitFailure && s != exitError:
			t.Errorf("exit status %d", s)
		}
		for i, line := range strings.Split(out.String(), "\n") {
			if bad := strings.IndexFunc(line, func(r rune) bool { return !text.Printable(r) }); bad >= 0 {
				t.Errorf("line %d holds what a terminal may obey: %q", i+1, line)
			}
		}
		if asJSON && err == nil && strings.Count(out.String(), "\n") != 1 {
			t.Errorf("not one line: %q", out.String())
		}
	})
}

// Given a pipe that nobody writes to, when the command is interrupted, then it
// ends.
func TestClassifyEndsWhileItWaits(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // the goroutine that still opens it
		if f, err := os.OpenFile(pipe, os.O_WRONLY|unix.O_NONBLOCK, 0); err == nil {
			f.Close()
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := (&app{format: "table"}).classify(ctx, pipe, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
