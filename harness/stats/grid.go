package stats

import (
	"cmp"
	"math"
	"slices"
	"sync"

	"gonum.org/v1/gonum/floats"
)

// A Grid is a set of models and how likely each is beforehand. Its methods
// may be called by several goroutines at once.
type Grid struct {
	models []Model
	prior  Weights

	mu   sync.Mutex
	seen map[Boot][]float64 // log-likelihood of a boot under each model
}

// A Weighted is a value and what it weighs.
type Weighted struct{ Value, Weight float64 }

// NewGrid makes a grid of one model that has most of the weight, and of one
// for each mean and each correlation that share the rest. The weights of the
// means need not sum up to 1, those of the correlations are to.
func NewGrid(most Model, weight float64, means, corrs []Weighted) *Grid {
	g := &Grid{seen: make(map[Boot][]float64)}
	g.Add(most, weight)
	var sum float64
	for _, m := range means {
		sum += m.Weight
	}
	for _, m := range means {
		for _, c := range corrs {
			g.Add(Model{m.Value, c.Value}, (1-weight)*m.Weight/sum*c.Weight)
		}
	}
	return g
}

// Add adds a model, before the grid is used.
func (g *Grid) Add(m Model, weight float64) {
	g.models = append(g.models, m)
	g.prior = append(g.prior, math.Log(weight))
}

// ComparisonGrid is for two rates that are compared, of which nothing is known:
// each may be always, never, or now and then.
func ComparisonGrid() *Grid {
	var means []Weighted
	for _, m := range []float64{.005, .01, .02, .04, .07, .11, .16, .23, .31, .4, .5, .6, .7, .8, .88, .94, .98} {
		means = append(means, Weighted{m, 1})
	}
	corrs := []Weighted{{0, .5}, {.1, .2}, {.3, .2}, {.6, .1}}
	g := NewGrid(Model{Mean: 1 - 1e-4}, .3, means, corrs)
	g.Scale(.7)
	g.Add(Model{Mean: 1e-4}, .3)
	return g
}

// Boots are the weights that trials, boot by boot, add.
func (g *Grid) Boots(boots []Boot) Weights {
	w := g.None()
	for _, b := range boots {
		w.Add(g.LogLikelihood(b))
	}
	return w
}

// Scale multiplies the weights that are there, before the grid is used.
func (g *Grid) Scale(by float64) { floats.AddConst(math.Log(by), g.prior) }

// Prior are the weights before any trial. They are not to be changed.
func (g *Grid) Prior() Weights { return g.prior }

// None are weights to which nothing was added: what no evidence says.
func (g *Grid) None() Weights { return make(Weights, len(g.models)) }

// LogLikelihood is the log-likelihood of one boot's trials under each model.
// It is not to be changed.
func (g *Grid) LogLikelihood(b Boot) Weights {
	g.mu.Lock()
	defer g.mu.Unlock()
	if l, ok := g.seen[b]; ok {
		return l
	}
	l := make([]float64, len(g.models))
	for i, m := range g.models {
		l[i] = m.LogLikelihood(b)
	}
	g.seen[b] = l
	return l
}

// Weights has a log-weight for each model of a grid, not normalised.
type Weights []float64

// Add adds what evidence says.
func (w Weights) Add(o Weights) { floats.Add(w, o) }

// Sub takes it away again.
func (w Weights) Sub(o Weights) { floats.Sub(w, o) }

// Predict is the log-probability of evidence under models so weighted.
func (w Weights) Predict(evidence Weights) float64 {
	both := make([]float64, len(w))
	return floats.LogSumExp(floats.AddTo(both, w, evidence)) - floats.LogSumExp(w)
}

// Differ is the probability that what a and b were seen to do is not of one
// rate, where both were as likely beforehand.
func (g *Grid) Differ(a, b Weights) float64 {
	both := g.None()
	both.Add(a)
	both.Add(b)
	same, differ := g.prior.Predict(both), g.prior.Predict(a)+g.prior.Predict(b)
	return 1 / (1 + math.Exp(same-differ))
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

// Mean gives the mean rate after evidence, and the mean correlation.
func (g *Grid) Mean(w Weights) (rate, corr float64) {
	total := floats.LogSumExp(w)
	for i, m := range g.models {
		q := math.Exp(w[i] - total)
		rate += q * m.Mean
		corr += q * m.Corr
	}
	return rate, corr
}

// Rate sums up weights after evidence. Its counts are left to the caller.
func (g *Grid) Rate(w Weights) Rate {
	total := floats.LogSumExp(w)
	type mass struct{ mean, p float64 }
	var r Rate
	var masses []mass
	for i, m := range g.models {
		q := math.Exp(w[i] - total)
		r.Mean += q * m.Mean
		r.Between += q * m.Corr
		masses = append(masses, mass{m.Mean, q})
	}
	slices.SortFunc(masses, func(a, b mass) int { return cmp.Compare(a.mean, b.mean) })
	r.Low, r.High = 1, 0
	var sum float64
	for _, m := range masses {
		before := sum
		sum += m.p
		if before <= 1-upper && sum > 1-upper {
			r.Low = m.mean
		}
		if before < upper && sum >= upper-1e-12 {
			r.High = m.mean
		}
	}
	// Between two models of the grid, the mean may lie outside of them.
	r.Low, r.High = min(r.Low, r.Mean), max(r.High, r.Mean)
	return r
}
