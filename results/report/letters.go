package report

import (
	"strings"

	"github.com/blockrig/blockrig/scenarios"
)

// Letters are what a verdict is in a grid and in a row of marks.
var Letters = map[scenarios.Verdict]string{
	scenarios.Pass: "P", scenarios.Clean: "P", scenarios.Errno: "N", scenarios.Degraded: "D", scenarios.EIO: "I",
	scenarios.Warn: "W", scenarios.Bug: "B", scenarios.Hang: "H", scenarios.Corrupt: "C", scenarios.Error: "?",
}

// mark is a night in a row of them: a dot where all passed, the letter of its
// verdict where all failed, and a small one where some did.
func (t Tally) mark() string {
	switch {
	case t.Failures == 0 && t.Judged() > 0:
		return "."
	case t.Mixed():
		return strings.ToLower(Letters[t.Verdict])
	case Letters[t.Verdict] == "":
		return "?"
	}
	return Letters[t.Verdict]
}

// marks are the last points of a history, oldest first.
func marks(points []Point, most int) string {
	var b strings.Builder
	for _, p := range points[max(0, len(points)-most):] {
		b.WriteString(p.mark())
	}
	return b.String()
}

// series are the points on kernels of one stream.
func (r Report) series(points []Point, stream string) []Point {
	var out []Point
	for _, p := range points {
		if r.kernel(p.Kernel).Stream == stream {
			out = append(out, p)
		}
	}
	return out
}
