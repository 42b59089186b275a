//go:build vm

package trial

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/blockrig/blockrig/scenarios"
)

// BenchmarkHang measures, in guest time by the kernel's own clock, how long a
// step that hangs takes until that is proven: at most 3 s are allowed.
func BenchmarkHang(b *testing.B) {
	for _, id := range []string{oneBlock, twoPages} {
		b.Run(id, func(b *testing.B) {
			base := sharedBase(b)
			l := mirrorJob(b, id)
			sum, most := 0.0, 0.0
			n := 0
			for b.Loop() {
				b.StopTimer()
				l.Dir = b.TempDir()
				b.StartTimer()
				o, err := runWarm(b.Context(), l, base)
				if err != nil || o.Verdict != scenarios.Hang {
					b.Fatal(err, show(ran{o, l.Dir}))
				}
				took := guestSeconds(b, filepath.Join(l.Dir, ConsoleFile), `: step pread `, ` is not reaped `)
				sum, most = sum+took, max(most, took)
				n++
			}
			b.ReportMetric(sum/float64(n), "guest-s/op")
			b.ReportMetric(most, "guest-s-most")
		})
	}
}

// guestSeconds is the guest time between two lines of a console log.
func guestSeconds(t testing.TB, log, from, to string) float64 {
	t.Helper()
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	var at [2]float64
	for i, mark := range []string{from, to} {
		m := regexp.MustCompile(`(?m)^\[ *([0-9.]+)\].*` + regexp.QuoteMeta(mark)).FindSubmatch(text)
		if m == nil {
			t.Fatalf("%s: no line with %q\n%s", log, mark, text)
		}
		if at[i], err = strconv.ParseFloat(string(m[1]), 64); err != nil {
			t.Fatal(err)
		}
	}
	return at[1] - at[0]
}
