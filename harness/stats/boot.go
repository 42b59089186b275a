package stats

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/mathext"
)

// A Boot is how many of the trials of one boot failed.
type Boot struct {
	Failures int `json:"failures"`
	Trials   int `json:"trials"`
}

// Total gives the failures and the trials of all boots.
func Total(boots []Boot) (failures, trials int) {
	for _, b := range boots {
		failures += b.Failures
		trials += b.Trials
	}
	return failures, trials
}

// bootSize is the size of a boot as the design effect counts it: Σn²/Σn.
func bootSize(boots []Boot) float64 {
	var squares, trials float64
	for _, b := range boots {
		n := float64(b.Trials)
		squares += n * n
		trials += n
	}
	return squares / trials
}

func withTrials(boots []Boot) []Boot {
	return slices.DeleteFunc(slices.Clone(boots), func(b Boot) bool { return b.Trials == 0 })
}

// Correlation gives the part of the variance that lies between boots: the
// intra-class correlation, estimated by analysis of variance and held to 0
// to 1. ok is false when it can't be known: with fewer than two boots, with
// one trial in each, or when all trials ended alike.
func Correlation(boots []Boot) (icc float64, ok bool) {
	boots = withTrials(boots)
	failures, trials := Total(boots)
	k, n := float64(len(boots)), float64(trials)
	if k < 2 || trials == len(boots) || failures == 0 || failures == trials {
		return 0, false
	}
	p := float64(failures) / n
	var between, within float64
	for _, b := range boots {
		m, q := float64(b.Trials), float64(b.Failures)/float64(b.Trials)
		between += m * (q - p) * (q - p)
		within += m * q * (1 - q)
	}
	between /= k - 1
	within /= n - k
	m := (n - bootSize(boots)) / (k - 1)
	return min(1, max(0, (between-within)/(between+(m-1)*within))), true
}

// A Model is a hypothesis on how often trials fail: beta-binomial with a mean
// rate, and the correlation of two trials of one boot (0: all boots are alike;
// 1: a boot either always or never fails).
type Model struct{ Mean, Corr float64 }

// LogLikelihood is the log of the probability of one order of a boot's
// failures and passes. How many orders there are is the same for every model.
func (m Model) LogLikelihood(b Boot) float64 {
	fails, passes := float64(b.Failures), float64(b.Trials-b.Failures)
	switch {
	case m.Corr == 0:
		return times(fails, math.Log(m.Mean)) + times(passes, math.Log1p(-m.Mean))
	case m.Corr == 1 && fails > 0 && passes > 0:
		return math.Inf(-1)
	case m.Corr == 1:
		return times(min(fails, 1), math.Log(m.Mean)) + times(min(passes, 1), math.Log1p(-m.Mean))
	}
	scale := (1 - m.Corr) / m.Corr
	alpha, beta := m.Mean*scale, (1-m.Mean)*scale
	return mathext.Lbeta(alpha+fails, beta+passes) - mathext.Lbeta(alpha, beta)
}

// times is n·x, and nothing of an infinite x is nothing.
func times(n, x float64) float64 {
	if n == 0 {
		return 0
	}
	return n * x
}
