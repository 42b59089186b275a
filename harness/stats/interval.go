package stats

import (
	"math"

	"gonum.org/v1/gonum/mathext"
)

// upper is the quantile at which a two-sided interval of 95% ends.
const upper = .975

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
	z := mathext.NormalQuantile(upper)
	p, z2 := x/n, z*z
	middle := (p + z2/(2*n)) / (1 + z2/n)
	half := z / (1 + z2/n) * math.Sqrt(p*(1-p)/n+z2/(4*n*n))
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

// ByBoot gives the 95% interval of the failure rate over boots: Wilson's, with
// the number of trials divided by the design effect 1+(m-1)·ICC (Kish 1965)
// and corrected for the few boots it was estimated from by Student's t (Korn
// and Graubard 1998). Where the ICC can't be known, trials of one boot count
// as one: a hundred passes from one boot are one sample of boots.
func ByBoot(boots []Boot) Interval {
	boots = withTrials(boots)
	failures, trials := Total(boots)
	if trials == 0 {
		return Interval{0, 1}
	}
	p, n, k := float64(failures)/float64(trials), float64(trials), float64(len(boots))
	if trials == len(boots) {
		return wilson(float64(failures), n)
	}
	icc, ok := Correlation(boots)
	if !ok {
		return wilson(p*k, k)
	}
	effective := n / (1 + (bootSize(boots)-1)*icc)
	t := studentQuantile(k - 1)
	z := mathext.NormalQuantile(upper)
	effective *= (z / t) * (z / t)
	return wilson(p*effective, effective)
}

// studentQuantile is the upper quantile of Student's t with so many degrees of
// freedom (as gonum's distuv.StudentsT has it: that package would bring linear
// algebra of several MB into the executable).
func studentQuantile(freedom float64) float64 {
	x := mathext.InvRegIncBeta(freedom/2, .5, 2*(1-upper))
	return math.Sqrt(freedom * (1 - x) / x)
}

// RunsToTrust gives how many trials have to pass, one in each boot, before
// confidence (0.95) is had that the failure rate is below rate. 0 means that
// no number is enough.
func RunsToTrust(rate, confidence float64) int {
	boots, _ := BootsToTrust(rate, confidence, 0, 1)
	return boots
}

// BootsToTrust is RunsToTrust with perBoot trials in each boot and icc of the
// variance between boots: how many boots, and how many trials in all.
func BootsToTrust(rate, confidence, icc float64, perBoot int) (boots, runs int) {
	if !(rate > 0 && rate <= 1) || !(confidence > 0 && confidence < 1) || perBoot < 1 {
		return 0, 0
	}
	pass := math.Inf(-1) // log of the probability that no trial of a boot fails
	if rate < 1 {
		pass = Model{rate, min(1, max(0, icc))}.LogLikelihood(Boot{Trials: perBoot})
	}
	// The tolerance keeps rounding from asking for one more.
	n := math.Ceil(math.Log1p(-confidence)/pass - 1e-9)
	if n > math.MaxInt32 {
		return 0, 0
	}
	boots = max(1, int(n))
	return boots, boots * perBoot
}

// BootsFor spreads trials over boots as one would without knowing how much
// boots differ.
func BootsFor(runs int) int { return max(1, int(math.Ceil(math.Sqrt(float64(runs))))) }
