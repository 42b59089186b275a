package console

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

const benchSize = 32 << 20

// repeatTo repeats text until it is n bytes long.
func repeatTo(text []byte, n int) []byte {
	return bytes.Repeat(text, n/len(text)+1)
}

// BenchmarkQuiet reads a log in which nothing is wrong.
func BenchmarkQuiet(b *testing.B) {
	text, err := os.ReadFile(filepath.Join("testdata", "quiet", "boot.log"))
	if err != nil {
		b.Fatal(err)
	}
	benchScan(b, repeatTo(text, benchSize), 0)
}

// BenchmarkQuietJournal reads the same as the journal shows it.
func BenchmarkQuietJournal(b *testing.B) {
	text, err := os.ReadFile(filepath.Join("testdata", "quiet", "boot.log"))
	if err != nil {
		b.Fatal(err)
	}
	for _, f := range forms {
		if f.name == "journal" {
			benchScan(b, repeatTo(inForm(text, f), benchSize), 0)
		}
	}
}

// BenchmarkReports reads a log that is full of reports.
func BenchmarkReports(b *testing.B) {
	benchScan(b, repeatTo(goldenLogs(b), benchSize), 1)
}

// BenchmarkFlood reads a log that is full of one I/O error.
func BenchmarkFlood(b *testing.B) {
	benchScan(b, repeatTo([]byte("[   12.345678] I/O error, dev sdb, sector 50606087 op 0x0:(READ) flags 0x0 phys_seg 0 prio class 2\n"), benchSize), 1)
}

func benchScan(b *testing.B, text []byte, least int) {
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		s := NewScanner()
		for p := text; len(p) > 0; {
			n := min(len(p), 256<<10)
			s.Write(p[:n])
			p = p[n:]
		}
		s.Close()
		if n := len(s.Findings()); n < least || least == 0 && n > 0 {
			b.Fatalf("%d findings: %+v", n, s.Findings())
		}
	}
}

func goldenLogs(b *testing.B) []byte {
	b.Helper()
	var all []byte
	for _, g := range goldens(b) {
		all = append(all, g.body...)
	}
	return all
}
