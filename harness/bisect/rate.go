package bisect

import (
	"cmp"
	"math"
	"slices"
	"sync"
)

// A tally is how many of a boot's trials were hits.
type tally struct{ hits, runs int }

// A point is one hypothesis on how often a kernel fails: mean rate, and the
// correlation of trials within a boot (0: every boot is alike; 1: a boot
// either always or never fails).
type point struct{ mean, corr float64 }

// A grid is a set of hypotheses and how likely each is beforehand.
type grid struct {
	points []point
	prior  []float64 // log

	mu    sync.Mutex
	cells map[tally][]float64 // log-likelihood of a boot at each point
}

// failingGrid is for kernels that have the bug. Most bugs fail every time, so
// that hypothesis starts with most of the weight, and loses all of it with the
// first pass.
func failingGrid() *grid {
	means := []float64{.005, .01, .02, .03, .045, .06, .08, .11, .15, .2, .26, .33, .41, .5, .59, .68, .77, .85, .91, .95, .975, .99}
	corrs := []weighted{{0, .35}, {.03, .15}, {.1, .15}, {.25, .15}, {.45, .1}, {.7, .1}}
	return newGrid(point{mean: 1 - 1e-5}, .9, means, func(float64) float64 { return 1 }, corrs)
}

// passingGrid is for kernels that do not have it: a hit is false. Up to some
// percent of false hits are thought possible; the more, the less likely.
func passingGrid() *grid {
	means := []float64{.001, .002, .004, .007, .012, .02, .03, .042, .055, .07, .09, .12}
	corrs := []weighted{{0, .5}, {.05, .2}, {.2, .15}, {.5, .15}}
	return newGrid(point{mean: 1e-5}, .85, means, func(m float64) float64 { return math.Exp(-m / .05) }, corrs)
}

type weighted struct{ value, weight float64 }

func newGrid(spike point, spikeWeight float64, means []float64, meanWeight func(float64) float64, corrs []weighted) *grid {
	g := &grid{
		points: []point{spike},
		prior:  []float64{math.Log(spikeWeight)},
		cells:  make(map[tally][]float64),
	}
	var sum float64
	for _, m := range means {
		sum += meanWeight(m)
	}
	for _, m := range means {
		for _, c := range corrs {
			g.points = append(g.points, point{m, c.value})
			g.prior = append(g.prior, math.Log((1-spikeWeight)*meanWeight(m)/sum*c.weight))
		}
	}
	return g
}

// cell is the log-likelihood of one boot's trials at every point: the
// probability of one order of hits and passes; how many orders there are is
// the same for every hypothesis.
func (g *grid) cell(t tally) []float64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c, ok := g.cells[t]; ok {
		return c
	}
	c := make([]float64, len(g.points))
	for i, p := range g.points {
		c[i] = p.logLikelihood(t)
	}
	g.cells[t] = c
	return c
}

func (p point) logLikelihood(t tally) float64 {
	h, n := float64(t.hits), float64(t.runs)
	if p.corr == 0 {
		return h*math.Log(p.mean) + (n-h)*math.Log1p(-p.mean)
	}
	// Beta-binomial with intra-class correlation corr = 1/(a+b+1).
	scale := (1 - p.corr) / p.corr
	a, b := p.mean*scale, (1-p.mean)*scale
	return logBeta(a+h, b+n-h) - logBeta(a, b)
}

func logBeta(a, b float64) float64 {
	la, _ := math.Lgamma(a)
	lb, _ := math.Lgamma(b)
	lab, _ := math.Lgamma(a + b)
	return la + lb - lab
}

// weights is a log-weight for each point of a grid, not normalised.
type weights []float64

func (w weights) add(o []float64) {
	for i := range w {
		w[i] += o[i]
	}
}

func (w weights) sub(o []float64) {
	for i := range w {
		w[i] -= o[i]
	}
}

// logSum is log Σ exp(w+o); o may be nil.
func logSum(w, o []float64) float64 {
	top := math.Inf(-1)
	for i := range w {
		v := w[i]
		if o != nil {
			v += o[i]
		}
		top = max(top, v)
	}
	if math.IsInf(top, -1) {
		return top
	}
	var sum float64
	for i := range w {
		v := w[i] - top
		if o != nil {
			v += o[i]
		}
		if v > -40 {
			sum += math.Exp(v)
		}
	}
	return top + math.Log(sum)
}

// predict is the log-probability of evidence under hypotheses so weighted.
func (w weights) predict(evidence []float64) float64 {
	return logSum(w, evidence) - logSum(w, nil)
}

// A Rate is a failure rate with what is known of it.
type Rate struct {
	Hits  int     `json:"hits"`
	Runs  int     `json:"runs"`
	Boots int     `json:"boots"`
	Mean  float64 `json:"mean"` // posterior mean
	Low   float64 `json:"low"`  // 95% credible interval
	High  float64 `json:"high"`
	// Between is the part of the variance that lies between boots: the
	// correlation of two trials of one boot.
	Between float64 `json:"between"`
}

// rate sums up weights after evidence.
func (g *grid) rate(w weights) Rate {
	total := logSum(w, nil)
	type mass struct{ mean, p float64 }
	var r Rate
	var masses []mass
	for i, p := range g.points {
		q := math.Exp(w[i] - total)
		r.Mean += q * p.mean
		r.Between += q * p.corr
		masses = append(masses, mass{p.mean, q})
	}
	slices.SortFunc(masses, func(a, b mass) int { return cmp.Compare(a.mean, b.mean) })
	r.Low, r.High = 1, 0
	var sum float64
	for _, m := range masses {
		before := sum
		sum += m.p
		if before <= .025 && sum > .025 {
			r.Low = m.mean
		}
		if before < .975 && sum >= .975-1e-12 {
			r.High = m.mean
		}
	}
	// Between two points of the grid, the mean may lie outside of them.
	r.Low, r.High = min(r.Low, r.Mean), max(r.High, r.Mean)
	return r
}

func logOdds(alpha float64) float64 { return math.Log((1 - alpha) / alpha) }
