//go:build long

package stats

import (
	"math/rand/v2"
	"testing"
)

// What is promised of nightly reports: 1,000 cases that fail with a rate of
// their own between 0.1% and 50%, 20 trials a night, for a year; and cases that
// begin to fail once in ten.
func TestChangesSimulated(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, s := range []simulation{
		{cases: 1000, nights: 365, trials: 20, from: .001, to: .5},
		{cases: 100, nights: 365, trials: 20, from: .001, to: .5, changed: true},
	} {
		nights, reports := s.falseAlarms(r)
		all := s.cases * s.nights
		t.Logf("another kernel every night %v: false alarms: %d reports, %d nights, of %d nights of cases: %.3f in 1,000", s.changed, reports, nights, all, float64(nights)*1000/float64(all))
		if nights*1000 > all {
			t.Errorf("more than one in 1,000")
		}
	}
	for _, tc := range []struct {
		history int
		least   float64
	}{{10, .8}, {30, .95}, {100, .97}} {
		s := simulation{cases: 400, nights: tc.history, trials: 20}
		seen := float64(s.seenWithin(r, 0, .1, 3)) / float64(s.cases)
		t.Logf("0 to 10%%, after %d nights: seen within 3 nights in %.1f%% of the cases", tc.history, 100*seen)
		if seen < tc.least {
			t.Errorf("want %.0f%%", 100*tc.least)
		}
	}
}
