//go:build !long

package bisect

const simulations = 500
