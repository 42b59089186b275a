package trial

import (
	"errors"
	"strings"
	"testing"
)

const said = "[    0.1] boots\r\n" +
	"[    3.0] blockrig: guest: phase stack: prove the stack\r\n" +
	"[    3.1] blockrig: guest: ready\r\n" +
	"hello\r\nthe \x1b[31mred one\r\n" +
	"[    4.0] a kernel's line\r\n" +
	"[    4.1] blockrig: guest: phase done\r\n" +
	"[    4.2] blockrig: guest: end of trial 0\r\n"

// However the console comes in pieces, what is shown begins after the line
// that says that the guest is ready.
func TestGate(t *testing.T) {
	for _, c := range []struct {
		name  string
		lines bool
		want  string
	}{
		{"a person's shell", false, said[strings.Index(said, "hello"):]},
		{"a script", true, "hello\nthe \x1b[31mred one\n[    4.0] a kernel's line\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for piece := 1; piece <= len(said); piece++ {
				var out strings.Builder
				g := &gate{out: &out, lines: c.lines}
				for rest := said; rest != ""; {
					n := min(piece, len(rest))
					if k, err := g.Write([]byte(rest[:n])); k != n || err != nil {
						t.Fatalf("wrote %d of %d, error %v", k, n, err)
					}
					rest = rest[n:]
				}
				if out.String() != c.want {
					t.Fatalf("in pieces of %d bytes: got %q, want %q", piece, out.String(), c.want)
				}
			}
		})
	}
}

// A guest without an end to its line claims no more memory than that.
func TestGateBoundsLine(t *testing.T) {
	g := &gate{out: &strings.Builder{}, lines: true}
	for range 100 {
		if _, err := g.Write(make([]byte, 10_000)); err != nil {
			t.Fatal(err)
		}
		if len(g.line) > maxGateLine {
			t.Fatalf("%d bytes are kept", len(g.line))
		}
	}
}

type fullDisk struct{}

var errFull = errors.New("no space left")

func (fullDisk) Write([]byte) (int, error) { return 0, errFull }

// A console must be read to its end, even if nobody can be shown it.
func TestGateKeepsWriteError(t *testing.T) {
	g := &gate{out: fullDisk{}}
	for range 2 {
		if n, err := g.Write([]byte(said)); n != len(said) || err != nil {
			t.Fatalf("wrote %d, error %v", n, err)
		}
	}
	if err := g.failed(); !errors.Is(err, errFull) {
		t.Errorf("error %v", err)
	}
}
