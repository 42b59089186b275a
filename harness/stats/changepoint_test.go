package stats

import (
	"math/rand/v2"
	"testing"
)

// nights of so many failures in 20 trials each, of 4 boots.
func nightsOf(failures ...int) []Night {
	out := make([]Night, len(failures))
	for i, f := range failures {
		out[i].Boots = make([]Boot, 4)
		for b := range out[i].Boots {
			out[i].Boots[b].Trials = 5
		}
		for n := range f {
			out[i].Boots[n%4].Failures++
		}
	}
	return out
}

func repeated(n, failures int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = failures
	}
	return out
}

func TestChangeIsFoundWhereItIs(t *testing.T) {
	for _, tc := range []struct {
		name         string
		failures     []int
		since        int
		worse, other bool // rose surely; fell surely
	}{
		{"nothing ever failed", repeated(40, 0), 0, false, false},
		{"everything always failed", repeated(40, 20), 0, false, false},
		{"a first night of failures is no change", repeated(1, 20), 0, false, false},
		{"flaky all along", []int{9, 11, 8, 12, 10, 10, 7, 13, 9, 11, 10, 12, 8, 10}, 0, false, false},
		{"one trial in hundreds", append(repeated(30, 0), 1), 0, false, false},
		{"from never to always", append(repeated(30, 0), 20), 30, true, false},
		{"from always to never", append(repeated(30, 20), 0), 30, false, true},
		{"from seldom to half, two nights ago", append(repeated(30, 1), 9, 11), 30, true, false},
		{"an old change is the history", append(repeated(30, 0), repeated(40, 20)...), 30, false, false},
		{"broken once before, and mended", append(append(repeated(20, 0), repeated(20, 20)...), append(repeated(40, 0), 4, 5)...), 80, true, false},
	} {
		c := FindChange(nightsOf(tc.failures...), Recent)
		if c.Worse() != tc.worse || c.Better() != tc.other || c.Since != tc.since && (tc.since > 0 || c.Up+c.Down > .5) {
			t.Errorf("%s: %+v", tc.name, c)
		}
		if p := c.Up + c.Down; p < -1e-9 || p > 1+1e-9 {
			t.Errorf("%s: probabilities sum up to %g", tc.name, p)
		}
	}
}

// Given a rate that rose from 0 to a quarter, then both are known with their
// intervals.
func TestChangeSaysBothRates(t *testing.T) {
	c := FindChange(nightsOf(append(repeated(30, 0), repeated(10, 5)...)...), Recent)
	if c.Before.High > .01 || c.Now.Mean < .2 || c.Now.Mean > .3 || c.Now.Low < .15 || c.Now.High > .35 {
		t.Errorf("got %+v", c)
	}
}

// Given failures that all lie in one boot of several, then they say less than
// as many in boots of their own.
func TestChangeCountsBoots(t *testing.T) {
	alone, spread := nightsOf(repeated(5, 0)...), nightsOf(append(repeated(5, 0), 8)...)
	alone = append(alone, Night{Boots: []Boot{{5, 5}, {0, 5}, {0, 5}, {0, 5}}})
	one, all := FindChange(alone, Recent), FindChange(spread, Recent)
	if one.Up >= all.Up {
		t.Errorf("failures of one boot: %.4f, of all: %.4f", one.Up, all.Up)
	}
}

// Given another kernel, then a change is believed more readily.
func TestChangeOfKernel(t *testing.T) {
	h := append(nightsOf(repeated(3, 0)...), nightsOf(3)...)
	same := FindChange(h, Recent)
	h[3].Changed = true
	if changed := FindChange(h, Recent); changed.Up <= same.Up {
		t.Errorf("the same kernel: %.3f, another: %.3f", same.Up, changed.Up)
	}
}

// A smaller one of TestChangesSimulated.
func TestChangesSimulatedShort(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	if nights, reports, _ := (simulation{cases: 10, nights: 60, trials: 20, from: .001, to: .5}).falseAlarms(1); reports > 1 {
		t.Errorf("false alarms in 600 nights of cases: %d, in %d nights", reports, nights)
	}
	if seen, _ := (simulation{cases: 20, nights: 40, trials: 20}).seenWithin(r, 0, .1, 3); seen < 18 {
		t.Errorf("of 20 cases that began to fail once in ten, %d were seen within 3 nights", seen)
	}
}
