package stats

import (
	"math"
	"math/rand/v2"
)

// A simulation counts what is said of histories of which it is known what
// happened.
type simulation struct {
	cases, nights, trials int
	from, to              float64 // flake rates, spread evenly over their logarithms
	changed               bool    // every night has another kernel
	confirm               int     // trials, each from a boot of its own, once something seems worse
}

// falseAlarms counts the nights in which something was said to have got
// worse, of cases in which nothing changed: every such night, and how many
// such reports there would be if each was made once.
func (s simulation) falseAlarms(r *rand.Rand) (nights, reports int) {
	for i := range s.cases {
		rate := s.from * math.Pow(s.to/s.from, float64(i)/float64(max(1, s.cases-1)))
		var t Track
		var history []Night
		said := false
		for range s.nights {
			n := night(r, rate, s.trials)
			n.Changed = s.changed
			history = append(history, n)
			t.Add(n)
			rose := worse(&t)
			if rose && s.confirm > 0 {
				last := &history[len(history)-1]
				for range s.confirm {
					last.Boots = append(last.Boots, night(r, rate, 1).Boots[0])
				}
				t = Track{}
				for _, n := range history {
					t.Add(n)
				}
				rose = worse(&t)
			}
			if rose {
				nights++
				if !said {
					reports++
				}
			}
			said = rose
		}
	}
	return nights, reports
}

// seenWithin counts, of cases whose rate changes after so many nights, those in
// which that is said within the next.
func (s simulation) seenWithin(r *rand.Rand, before, after float64, within int) (seen int) {
	for range s.cases {
		var t Track
		for range s.nights {
			t.Add(night(r, before, s.trials))
		}
		for range within {
			t.Add(night(r, after, s.trials))
			if worse(&t) {
				seen++
				break
			}
		}
	}
	return seen
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
