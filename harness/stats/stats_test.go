package stats

import (
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/stat/distuv"
)

func near(a, b, within float64) bool { return math.Abs(a-b) <= within }

// Newcombe 1998 (Statistics in Medicine 17:857), table I, method 3.
func TestWilsonAgainstPublishedValues(t *testing.T) {
	for _, tc := range []struct {
		x, n      int
		low, high float64
	}{
		{81, 263, .2553, .3662},
		{15, 148, .0624, .1605},
		{0, 20, 0, .1611},
		{1, 29, .0061, .1718},
		{29, 29, .8830, 1},
	} {
		got := Wilson(tc.x, tc.n)
		if !near(got.Low, tc.low, 5e-5) || !near(got.High, tc.high, 5e-5) {
			t.Errorf("%d of %d: got %.4f to %.4f, want %.4f to %.4f", tc.x, tc.n, got.Low, got.High, tc.low, tc.high)
		}
	}
	if got := Wilson(0, 0); got != (Interval{0, 1}) {
		t.Errorf("without trials: %v, want all that there is", got)
	}
	if got := Wilson(0, 20).Low; got != 0 {
		t.Errorf("no failure: low end %g, want 0", got)
	}
}

func TestCorrelation(t *testing.T) {
	for _, tc := range []struct {
		name  string
		boots []Boot
		want  float64
		ok    bool
	}{
		{"a boot always fails or never", []Boot{{4, 4}, {0, 4}, {4, 4}}, 1, true},
		{"boots are alike", []Boot{{2, 4}, {2, 4}}, 0, true},
		// MSB .5, MSW .25, m 4: (.5-.25)/(.5+3*.25)
		{"by hand", []Boot{{3, 4}, {1, 4}}, .2, true},
		// p .4; MSB 2*(.1²)+8*(.025²)=.025, MSW (2*.25+8*.234375)/8=.296875: below 0
		{"boots of different size", []Boot{{1, 2}, {3, 8}}, 0, true},
		// p 4/12; SSB 2*(2/3)²+10*(2/15)²=1.06667, MSW 10*.2*.8/10=.16, m (12-104/12)/1=10/3
		{"boots of different size that differ", []Boot{{2, 2}, {2, 10}}, (1.0666667 - .16) / (1.0666667 + (10./3-1)*.16), true},
		{"a boot without trials does not count", []Boot{{3, 4}, {0, 0}, {1, 4}}, .2, true},
		{"one boot", []Boot{{2, 4}}, 0, false},
		{"one trial a boot", []Boot{{1, 1}, {0, 1}, {0, 1}}, 0, false},
		{"no failure", []Boot{{0, 4}, {0, 4}}, 0, false},
		{"only failures", []Boot{{4, 4}, {4, 4}}, 0, false},
		{"nothing", nil, 0, false},
	} {
		got, ok := Correlation(tc.boots)
		if !near(got, tc.want, 1e-6) || ok != tc.ok {
			t.Errorf("%s: got %g, %v, want %g, %v", tc.name, got, ok, tc.want, tc.ok)
		}
	}
}

func TestByBoot(t *testing.T) {
	many := func(n int, b Boot) []Boot {
		out := make([]Boot, n)
		for i := range out {
			out[i] = b
		}
		return out
	}
	for _, tc := range []struct {
		name  string
		boots []Boot
		want  Interval
	}{
		{"one trial a boot: as if independent", append(many(15, Boot{1, 1}), many(133, Boot{0, 1})...), Wilson(15, 148)},
		{"all passed: boots count, not trials", many(20, Boot{0, 100}), Wilson(0, 20)},
		{"all failed", many(29, Boot{100, 100}), Wilson(29, 29)},
		{"one boot: one sample", []Boot{{50, 100}}, wilson(.5, 1)},
		{"nothing", nil, Interval{0, 1}},
	} {
		if got := ByBoot(tc.boots); !near(got.Low, tc.want.Low, 1e-12) || !near(got.High, tc.want.High, 1e-12) {
			t.Errorf("%s: got %v, want %v", tc.name, got, tc.want)
		}
	}
	// ICC .2, size 4: design effect 1.6; df 1.
	got := ByBoot([]Boot{{3, 4}, {1, 4}})
	n := 8 / 1.6 * math.Pow(1.959963984540054/12.706204736, 2)
	if want := wilson(n/2, n); !near(got.Low, want.Low, 1e-6) || !near(got.High, want.High, 1e-6) {
		t.Errorf("two boots that differ: got %v, want %v", got, want)
	}
}

// Given boots that fail at rates of their own, then the interval that respects
// them holds the true rate about as often as it says, and the other one does
// not.
func TestIntervalsHoldWhatTheySay(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 2))
	for _, tc := range []struct {
		rate, icc   float64
		boots, each int
	}{
		{.3, 0, 10, 10},
		{.3, .3, 10, 10},
		{.1, .2, 15, 8},
		{.5, .8, 8, 20},
	} {
		const times = 2000
		byBoot, naive := 0, 0
		for range times {
			boots := make([]Boot, tc.boots)
			for i := range boots {
				boots[i].Trials = tc.each
				p := tc.rate
				if tc.icc > 0 {
					scale := (1 - tc.icc) / tc.icc
					p = distuv.Beta{Alpha: tc.rate * scale, Beta: (1 - tc.rate) * scale, Src: rng}.Rand()
				}
				for range tc.each {
					if rng.Float64() < p {
						boots[i].Failures++
					}
				}
			}
			if i := ByBoot(boots); i.Low <= tc.rate && tc.rate <= i.High {
				byBoot++
			}
			f, n := Total(boots)
			if i := Wilson(f, n); i.Low <= tc.rate && tc.rate <= i.High {
				naive++
			}
		}
		got, other := float64(byBoot)/times, float64(naive)/times
		t.Logf("rate %g, ICC %g, %d boots of %d: by boot %.3f, as if independent %.3f", tc.rate, tc.icc, tc.boots, tc.each, got, other)
		if got < .92 {
			t.Errorf("rate %g, ICC %g: the interval of 95%% held the rate in %.3f", tc.rate, tc.icc, got)
		}
		if tc.icc >= .3 && other > .85 {
			t.Errorf("rate %g, ICC %g: trials taken for independent held the rate in %.3f; this test shows nothing", tc.rate, tc.icc, other)
		}
	}
}

func TestRunsToTrust(t *testing.T) {
	for _, tc := range []struct {
		rate, confidence float64
		want             int
	}{
		{.05, .95, 59}, // 0.95^59 = 0.0485
		{.01, .95, 299},
		{.1, .95, 29},
		{.5, .95, 5},
		{.05, .99, 90},
		{.5, .5, 1},
		{1, .95, 1},
		{0, .95, 0}, // no number is enough
		{.1, 1, 0},
		{-1, .95, 0},
		{math.NaN(), .95, 0},
	} {
		if got := RunsToTrust(tc.rate, tc.confidence); got != tc.want {
			t.Errorf("rate %g, confidence %g: got %d, want %d", tc.rate, tc.confidence, got, tc.want)
		}
	}
	for _, tc := range []struct {
		rate, icc   float64
		perBoot     int
		boots, runs int
	}{
		{.1, 0, 10, 3, 30},   // 0.9^30 = 0.042
		{.1, 1, 10, 29, 290}, // a boot is one sample
		// Beta(.1, .9): no failure in two has probability .9*1.9/2 = .855
		{.1, .5, 2, 20, 40},
		{.1, .5, 0, 0, 0},
	} {
		boots, runs := BootsToTrust(tc.rate, .95, tc.icc, tc.perBoot)
		if boots != tc.boots || runs != tc.runs {
			t.Errorf("rate %g, ICC %g, %d a boot: got %d boots, %d runs, want %d, %d", tc.rate, tc.icc, tc.perBoot, boots, runs, tc.boots, tc.runs)
		}
	}
}
