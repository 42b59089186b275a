//go:build long

package bisect

const simulations = 5000
