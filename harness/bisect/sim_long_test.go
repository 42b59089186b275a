//go:build long

package bisect

const (
	simulations       = 5000
	simulationsAtOnce = 5000
	roundsHistories   = 12
)
