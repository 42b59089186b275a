package stats

import (
	"math"
	"math/rand/v2"
	"slices"
)

// A simulation counts what is said of histories of which it is known what
// happened.
type simulation struct {
	cases, nights, trials int
	from, to              float64 // flake rates, spread evenly over their logarithms
	changed               bool    // every night has another kernel
	confirm               int     // trials at a time, each from a boot of its own, while something seems worse
}

// tonight adds a night, and tells, as nightly does, whether the rate is then said
// to have got worse, and how many trials it took to confirm that.
func (s simulation) tonight(r *rand.Rand, rate float64, t *Track) (rose bool, trials int) {
	n := night(r, rate, s.trials)
	n.Changed = s.changed
	before := Track{runs: slices.Clone(t.runs), before: slices.Clip(t.before)}
	t.Add(n)
	if s.confirm == 0 {
		return worse(t), 0
	}
	if !suspicious(t) {
		return false, 0
	}
	for {
		up, _ := t.moved(Recent)
		c := Change{Up: up}
		if !c.ToConfirm(trials) {
			return c.Confirmed(trials), trials
		}
		for range s.confirm {
			n.Boots = append(n.Boots, night(r, rate, 1).Boots[0])
		}
		trials += s.confirm
		*t = Track{runs: slices.Clone(before.runs), before: before.before}
		t.Add(n)
	}
}

// suspicious says whether a change may be likely enough to be looked at.
func suspicious(t *Track) bool {
	var changed float64
	for _, r := range t.runs {
		if r.since > 0 && r.since >= len(t.before)-Recent {
			changed += r.p
		}
	}
	return changed > atLeastLikely
}

// falseAlarms counts the nights in which something was said to have got
// worse, of cases in which nothing changed: every such night, and how many
// such reports there would be if each was made once; and the trials that were
// made to confirm them.
func (s simulation) falseAlarms(r *rand.Rand) (nights, reports, trials int) {
	for i := range s.cases {
		rate := s.from * math.Pow(s.to/s.from, float64(i)/float64(max(1, s.cases-1)))
		var t Track
		said := false
		for range s.nights {
			rose, more := s.tonight(r, rate, &t)
			trials += more
			if rose {
				nights++
				if !said {
					reports++
				}
			}
			said = rose
		}
	}
	return nights, reports, trials
}

// seenWithin counts, of cases whose rate changes after so many nights, those in
// which that is said within the next, and the trials made to confirm it.
func (s simulation) seenWithin(r *rand.Rand, before, after float64, within int) (seen, trials int) {
	for range s.cases {
		var t Track
		for range s.nights {
			t.Add(night(r, before, s.trials))
		}
		for range within {
			rose, more := s.tonight(r, after, &t)
			trials += more
			if rose {
				seen++
				break
			}
		}
	}
	return seen, trials
}

// worse is Change(Recent).Worse, in less time where nothing changed.
func worse(t *Track) bool {
	var changed float64
	for _, r := range t.runs {
		if r.since > 0 && r.since >= len(t.before)-Recent {
			changed += r.p
		}
	}
	if changed < Sure {
		return false
	}
	up, _ := t.moved(Recent)
	return up >= Sure
}

func night(r *rand.Rand, rate float64, trials int) Night {
	n := Night{Boots: make([]Boot, 4)}
	for i := range trials {
		b := &n.Boots[i%len(n.Boots)]
		b.Trials++
		if r.Float64() < rate {
			b.Failures++
		}
	}
	return n
}
