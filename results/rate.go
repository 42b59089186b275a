package results

import (
	"math"
	"slices"
)

// z95 is the 97.5% quantile of the normal distribution: a two-sided interval
// of 95%.
const z95 = 1.959963984540054

// An Interval holds a rate with 95% confidence.
type Interval struct {
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// Wilson gives the 95% score interval (Wilson 1927) for failures in n
// independent trials. Without trials nothing is known: 0 to 1.
func Wilson(failures, n int) Interval {
	return wilson(float64(failures), float64(n))
}

func wilson(x, n float64) Interval {
	if n <= 0 {
		return Interval{0, 1}
	}
	p, z2 := x/n, z95*z95
	middle := (p + z2/(2*n)) / (1 + z2/n)
	half := z95 / (1 + z2/n) * math.Sqrt(p*(1-p)/n+z2/(4*n*n))
	i := Interval{max(0, middle-half), min(1, middle+half)}
	// Rounding must not take away the ends that are exact.
	if x == 0 {
		i.Low = 0
	}
	if x == n {
		i.High = 1
	}
	return i
}

// A Boot is how many of the trials of one boot failed. They share memory
// layout and random state, so they are not independent.
type Boot struct {
	Failures int `json:"failures"`
	Trials   int `json:"trials"`
}

// total gives failures, trials, and the size of a boot as the design effect
// counts it: Σn²/Σn.
func total(boots []Boot) (failures, trials int, size float64) {
	var squares float64
	for _, b := range boots {
		failures += b.Failures
		trials += b.Trials
		squares += float64(b.Trials) * float64(b.Trials)
	}
	if trials > 0 {
		size = squares / float64(trials)
	}
	return failures, trials, size
}

// BetweenBoots gives the part of the variance that lies between boots: the
// intra-class correlation, estimated by analysis of variance and held to 0
// to 1. ok is false when it can't be known: with fewer than two boots, with
// one trial in each, or when all trials ended alike.
func BetweenBoots(boots []Boot) (icc float64, ok bool) {
	boots = ran(boots)
	failures, trials, size := total(boots)
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
	m := (n - size) / (k - 1)
	return min(1, max(0, (between-within)/(between+(m-1)*within))), true
}

func ran(boots []Boot) []Boot {
	return slices.DeleteFunc(slices.Clone(boots), func(b Boot) bool { return b.Trials == 0 })
}

// ByBoot gives the 95% interval of the failure rate over boots: Wilson's, with
// the number of trials divided by the design effect 1+(m-1)·ICC (Kish 1965)
// and corrected for the few boots it was estimated from by Student's t (Korn
// and Graubard 1998). Where the ICC can't be known, trials of one boot count
// as one: a hundred passes from one boot are one sample of boots.
func ByBoot(boots []Boot) Interval {
	boots = ran(boots)
	failures, trials, size := total(boots)
	if trials == 0 {
		return Interval{0, 1}
	}
	p, n, k := float64(failures)/float64(trials), float64(trials), float64(len(boots))
	if trials == len(boots) {
		return wilson(float64(failures), n)
	}
	icc, ok := BetweenBoots(boots)
	if !ok {
		return wilson(p*k, k)
	}
	effective := n / (1 + (size-1)*icc)
	t := studentQuantile(.975, k-1)
	effective *= (z95 / t) * (z95 / t)
	return wilson(p*effective, effective)
}

// RunsToTrust gives how many trials have to pass, one in each boot, before
// confidence (0.95) is had that the failure rate is below rate. 0 means that
// no number is enough.
func RunsToTrust(rate, confidence float64) int {
	boots, _ := BootsToTrust(rate, confidence, 0, 1)
	return boots
}

// BootsToTrust is RunsToTrust with perBoot trials in each boot and icc of the
// variance between boots (beta-binomial): how many boots, and how many trials
// in all.
func BootsToTrust(rate, confidence, icc float64, perBoot int) (boots, runs int) {
	if !(rate > 0 && rate <= 1) || !(confidence > 0 && confidence < 1) || perBoot < 1 {
		return 0, 0
	}
	// log of the probability that no trial of a boot fails
	var pass float64
	switch icc = min(1, max(0, icc)); {
	case rate == 1:
		pass = math.Inf(-1)
	case icc == 0:
		pass = float64(perBoot) * math.Log1p(-rate)
	case icc == 1:
		pass = math.Log1p(-rate)
	default:
		scale := (1 - icc) / icc
		a, b := rate*scale, (1-rate)*scale
		for i := range perBoot {
			pass += math.Log((b + float64(i)) / (a + b + float64(i)))
		}
	}
	// The tolerance keeps rounding from asking for one more.
	n := math.Ceil(math.Log1p(-confidence)/pass - 1e-9)
	if n > math.MaxInt32 {
		return 0, 0
	}
	boots = max(1, int(n))
	return boots, boots * perBoot
}
