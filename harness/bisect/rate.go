package bisect

import (
	"math"

	"github.com/blockrig/blockrig/harness/stats"
)

// A Rate is a failure rate with what is known of it.
type Rate = stats.Rate

// failingGrid is for kernels that have the bug. Most bugs fail every time, so
// that hypothesis starts with most of the weight, and loses all of it with the
// first pass.
func failingGrid() *stats.Grid {
	means := []float64{.005, .01, .02, .03, .045, .06, .08, .11, .15, .2, .26, .33, .41, .5, .59, .68, .77, .85, .91, .95, .975, .99}
	corrs := []stats.Weighted{{Value: 0, Weight: .35}, {Value: .03, Weight: .15}, {Value: .1, Weight: .15}, {Value: .25, Weight: .15}, {Value: .45, Weight: .1}, {Value: .7, Weight: .1}}
	return stats.NewGrid(stats.Model{Mean: 1 - 1e-5}, .9, weighted(means, func(float64) float64 { return 1 }), corrs)
}

// passingGrid is for kernels that do not have it: a hit is false. Up to some
// percent of false hits are thought possible; the more, the less likely.
func passingGrid() *stats.Grid {
	means := []float64{.001, .002, .004, .007, .012, .02, .03, .042, .055, .07, .09, .12}
	corrs := []stats.Weighted{{Value: 0, Weight: .5}, {Value: .05, Weight: .2}, {Value: .2, Weight: .15}, {Value: .5, Weight: .15}}
	return stats.NewGrid(stats.Model{Mean: 1e-5}, .85, weighted(means, func(m float64) float64 { return math.Exp(-m / .05) }), corrs)
}

func weighted(values []float64, weight func(float64) float64) []stats.Weighted {
	out := make([]stats.Weighted, len(values))
	for i, v := range values {
		out[i] = stats.Weighted{Value: v, Weight: weight(v)}
	}
	return out
}

func logOdds(alpha float64) float64 { return math.Log((1 - alpha) / alpha) }
