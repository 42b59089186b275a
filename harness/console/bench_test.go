package console

import (
	"bytes"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
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
	before := cpuTime(b)
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
	b.ReportMetric(float64(len(text))*float64(b.N)/1e6/(cpuTime(b)-before).Seconds(), "MB/cpu-s")
}

// cpuTime is the processor time that this process has used: on a busy machine
// it says more of the speed than the clock.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func goldenLogs(b *testing.B) []byte {
	b.Helper()
	var all []byte
	for _, g := range goldens(b) {
		if filepath.Base(filepath.Dir(g.path)) == "golden" { // boots are mostly quiet
			all = append(all, g.body...)
		}
	}
	return all
}
