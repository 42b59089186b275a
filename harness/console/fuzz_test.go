package console

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"unicode/utf8"
)

func addLogs(f *testing.F, add func(text []byte)) {
	f.Helper()
	for _, g := range goldens(f) {
		add(g.body)
		add(inForm(g.body, forms[len(g.body)%len(forms)]))
	}
	text, err := os.ReadFile(filepath.Join("testdata", "quiet", "boot.log"))
	if err != nil {
		f.Fatal(err)
	}
	add(text)
}

// FuzzPieces: no log crashes a Scanner, each gives findings that keep to
// their limits, and the same ones when it is cut into other pieces.
func FuzzPieces(f *testing.F) {
	addLogs(f, func(text []byte) { f.Add(text, uint64(len(text))) })
	f.Fuzz(func(t *testing.T, text []byte, seed uint64) {
		s := scan(text)
		findings := s.Findings()
		last := 0
		for _, x := range findings {
			if x.Kind == "" || x.Title == "" || x.Count < 1 || x.Line < 1 || x.LastLine < x.Line || x.LastLine > s.Lines() {
				t.Errorf("%+v", x)
			}
			if len(x.Title) > maxTitle || len(x.Trace) > maxFrames || !utf8.ValidString(x.Title) {
				t.Errorf("beyond the limits: %+v", x)
			}
			for _, text := range []string{x.Title, x.Place, x.Comm, x.Workqueue, x.Release} {
				for _, r := range text {
					if r < 0x20 || r == 0x7f {
						t.Errorf("control code in %q", text)
					}
				}
			}
			last = x.Line
		}
		_ = last
		if s.KernelLines() > s.Lines() {
			t.Errorf("%d of %d lines are the kernel's", s.KernelLines(), s.Lines())
		}
		if got, want := inPieces(text, rand.New(rand.NewPCG(seed, 0))), describe(s.Release(), findings); got != want {
			t.Errorf("in pieces:\n%s\nas a whole:\n%s", got, want)
		}
	})
}

// FuzzReadAll: no packed file, broken ones included, crashes the reader.
func FuzzReadAll(f *testing.F) {
	for _, p := range packers {
		f.Add(p.pack(f, []byte("[    1.000000] Kernel panic - not syncing: No working init found.\n")))
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, text []byte) {
		log, err := ReadAll(bytes.NewReader(text))
		if log == nil {
			t.Fatal("no log")
		}
		if err == nil && log.KernelLines == 0 {
			t.Error("a log without a kernel line is an error")
		}
	})
}
