package stats

import (
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
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
// to have got worse, and how many trials it took to confirm that. (Nightly takes
// a first look at what is less likely, too; to find all of that takes a
// simulation too long.)
func (s simulation) tonight(r *rand.Rand, rate float64, t *Track) (rose bool, trials int) {
	n := night(r, rate, s.trials)
	n.Changed = s.changed
	before := Track{runs: slices.Clone(t.runs), before: slices.Clip(t.before)}
	t.Add(n)
	if s.confirm == 0 {
		return t.up(Sure) >= Sure, 0
	}
	if failures, _ := Total(n.Boots); failures == 0 { // what was not seen tonight is not new
		return false, 0
	}
	for {
		c := Change{Up: t.up(stillLikely)}
		if c.Up < stillLikely || !c.ToConfirm(trials) {
			return c.Confirmed(), trials
		}
		for range s.confirm {
			n.Boots = append(n.Boots, night(r, rate, 1).Boots[0])
		}
		trials += s.confirm
		*t = Track{runs: slices.Clone(before.runs), before: before.before}
		t.Add(n)
	}
}

// up is Change(Recent).Up, and 0 where that is less than least: what can be
// told in less time.
func (t *Track) up(least float64) float64 {
	var changed float64
	for _, r := range t.runs {
		if r.since > 0 && r.since >= len(t.before)-Recent {
			changed += r.p
		}
	}
	if changed < least {
		return 0
	}
	up, _ := t.moved(Recent)
	return up
}

// falseAlarms counts the nights in which something was said to have got
// worse, of cases in which nothing changed: every such night, and how many
// such reports there would be if each was made once; and the trials that were
// made to confirm them.
func (s simulation) falseAlarms(seed uint64) (nights, reports, trials int) {
	type count struct{ nights, reports, trials int }
	all := make([]count, s.cases)
	var work sync.WaitGroup
	var next atomic.Int64
	for range runtime.GOMAXPROCS(0) {
		work.Go(func() {
			for i := next.Add(1) - 1; i < int64(s.cases); i = next.Add(1) - 1 {
				r := rand.New(rand.NewPCG(seed, uint64(i)))
				rate := s.from * math.Pow(s.to/s.from, float64(i)/float64(max(1, s.cases-1)))
				var t Track
				said := false
				for range s.nights {
					rose, more := s.tonight(r, rate, &t)
					all[i].trials += more
					if rose {
						all[i].nights++
						if !said {
							all[i].reports++
						}
					}
					said = rose
				}
			}
		})
	}
	work.Wait()
	for _, c := range all {
		nights, reports, trials = nights+c.nights, reports+c.reports, trials+c.trials
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
