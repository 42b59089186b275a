package stats

import (
	"math"
	"testing"
)

// Given any model, then the probabilities of all that a boot can show sum up
// to one, and of each boot's trials the mean share fails.
func TestModelIsADistribution(t *testing.T) {
	const n = 6
	for _, m := range []Model{{.2, 0}, {.2, .1}, {.7, .5}, {.01, .9}, {.3, 1}, {1 - 1e-5, 0}} {
		var sum, mean float64
		for f := range n + 1 {
			p := float64(orders(n, f)) * math.Exp(m.LogLikelihood(Boot{f, n}))
			sum += p
			mean += p * float64(f) / n
		}
		if !near(sum, 1, 1e-9) || !near(mean, m.Mean, 1e-9) {
			t.Errorf("%+v: probabilities sum up to %.12f, mean %.12f", m, sum, mean)
		}
	}
}

// orders is how many orders of k failures in n trials there are.
func orders(n, k int) int {
	if k == 0 {
		return 1
	}
	return orders(n, k-1) * (n - k + 1) / k
}

func TestGridTellsRatesApart(t *testing.T) {
	grid := func() *Grid {
		g := NewGrid(Model{Mean: 1 - 1e-5}, .5, []Weighted{{.1, 1}, {.3, 1}, {.5, 1}, {.9, 1}}, []Weighted{{0, .5}, {.3, .5}})
		g.Scale(.5)
		g.Add(Model{Mean: 1e-5}, .5)
		return g
	}
	seen := func(g *Grid, boots ...Boot) Weights {
		w := g.None()
		for _, b := range boots {
			w.Add(g.LogLikelihood(b))
		}
		return w
	}
	g := grid()
	always, never := seen(g, Boot{5, 5}, Boot{5, 5}, Boot{5, 5}), seen(g, Boot{0, 5}, Boot{0, 5}, Boot{0, 5})
	if p := g.Differ(always, never); p < .999 {
		t.Errorf("15 of 15 against 0 of 15: they differ with probability %g", p)
	}
	if p := g.Differ(always, always); p > .5 {
		t.Errorf("15 of 15 against 15 of 15: they differ with probability %g", p)
	}
	w := g.Prior()
	post := g.None()
	post.Add(w)
	post.Add(never)
	if r := g.Rate(post); r.Mean > .01 || r.High > .3 || r.Low > r.Mean {
		t.Errorf("after 15 passes: %+v", r)
	}
	// What is taken away again leaves no trace.
	post.Sub(never)
	for i := range post {
		if !near(post[i], w[i], 1e-9) {
			t.Errorf("model %d: %g after adding and taking away, %g before", i, post[i], w[i])
		}
	}
}
