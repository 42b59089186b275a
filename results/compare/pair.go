package compare

import (
	"github.com/blockrig/blockrig/harness/stats"
	"github.com/blockrig/blockrig/results/store"
)

// Pair compares what the trials of one case showed before, a, and after, b,
// which had to run if asked. grid is stats.ComparisonGrid's.
func Pair(grid *stats.Grid, a, b store.Tally, asked bool) Case {
	return compare(grid, key{}, a, b, asked)
}
