//go:build !long

package bisect

const (
	simulations       = 500
	simulationsAtOnce = 100
	roundsHistories   = 1
)
