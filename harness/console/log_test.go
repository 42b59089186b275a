package console

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

type packer struct {
	name string
	pack func(t testing.TB, text []byte) []byte
}

func packWith(open func(w io.Writer) (io.WriteCloser, error)) func(t testing.TB, text []byte) []byte {
	return func(t testing.TB, text []byte) []byte {
		t.Helper()
		var b bytes.Buffer
		w, err := open(&b)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(text); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
}

var packers = []packer{
	{"plain", func(_ testing.TB, text []byte) []byte { return text }},
	{"gzip", packWith(func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil })},
	{"xz", packWith(func(w io.Writer) (io.WriteCloser, error) { return xz.NewWriter(w) })},
	{"zstd", packWith(func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) })},
}

// Given a log packed in any way, when it is read, then it says the same.
func TestReadAllPacked(t *testing.T) {
	for _, p := range packers {
		for _, g := range goldens(t) {
			s := scan(g.body)
			log, err := ReadAll(iotest.OneByteReader(bytes.NewReader(p.pack(t, g.body))))
			if err != nil {
				t.Fatalf("%s, %s: %v", p.name, g.path, err)
			}
			if got, want := describe(log.Release, log.Findings), describe(s.Release(), s.Findings()); got != want {
				t.Errorf("%s, %s: %s", p.name, g.path, got)
			}
		}
	}
}

// Given a file that says nothing of a kernel, when it is read, then that is an
// error and not a clean log.
func TestReadAllNothing(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       error
	}{
		{"empty", "", ErrEmpty},
		{"packed and empty", string(packers[1].pack(t, nil)), ErrEmpty},
		{"a shell's output", "$ ls\nfoo bar\n", ErrNoKernelLines},
		{"only blank lines", "\n\n\n", ErrNoKernelLines},
		{"another program's journal", "Jun 14 18:08:32 dalek dmeventd[1010]: BUG: kernel NULL pointer dereference, address: 0\n", ErrNoKernelLines},
	} {
		log, err := ReadAll(strings.NewReader(c.text))
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if len(log.Findings) > 0 {
			t.Errorf("%s: %+v", c.name, log.Findings)
		}
	}
}

// Given a reader or a packed file that breaks, when it is read, then the
// error says so and what was found before is there.
func TestReadAllBroken(t *testing.T) {
	const text = "[    1.000000] Kernel panic - not syncing: No working init found.\n"
	broken := errors.New("cable cut")
	log, err := ReadAll(io.MultiReader(strings.NewReader(text), iotest.ErrReader(broken)))
	if !errors.Is(err, broken) || len(log.Findings) != 1 {
		t.Errorf("%v, %+v", err, log.Findings)
	}
	for _, p := range packers[1:] {
		z := p.pack(t, []byte(strings.Repeat(text, 1000)))
		if _, err := ReadAll(bytes.NewReader(z[:len(z)-3])); err == nil {
			t.Errorf("%s: a cut file is read without error", p.name)
		}
	}
}

// Given a dmesg without any time, when nothing is wrong, then it is known for
// a kernel log all the same.
func TestReadAllWithoutTimes(t *testing.T) {
	log, err := ReadAll(strings.NewReader("Linux version 6.18.15 (a@b) (gcc 15) #1 SMP\nCommand line: quiet\nsystemd[1]: hello\n"))
	if err != nil || log.Release != "6.18.15" || log.KernelLines != 2 || len(log.Findings) > 0 {
		t.Errorf("%v, %+v", err, log)
	}
}

// However much a guest says, the host's last word is kept.
func TestReadAllKeepsTheLastMark(t *testing.T) {
	var b strings.Builder
	b.WriteString("[    0.000000] Linux version 6.18.15\n")
	for range maxMarks + 5 {
		b.WriteString("[    1.000000] blockrig: guest: again\n")
	}
	b.WriteString("blockrig: host: {}\n")
	log, err := ReadAll(strings.NewReader(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	if last := log.Marks[len(log.Marks)-1]; last.Text != "blockrig: host: {}" || len(log.Marks) != maxMarks {
		t.Errorf("%d marks, the last is %+v", len(log.Marks), last)
	}
}
