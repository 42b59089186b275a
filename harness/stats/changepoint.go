package stats

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mathext"
)

// A Night is what the trials of a case showed in one night. It may be any
// other unit of a history, such as a run or a release.
type Night struct {
	Boots []Boot
	// Changed says that the kernel is another one than that of the night
	// before: a change is more likely then.
	Changed bool
}

// What is believed of a case's failure rate before anything is seen of it, and
// of the one that it has after a change: it never fails, always, or is flaky,
// seldom more often than often. Each is a beta distribution.
var levels = []struct{ alpha, beta, first, changed float64 }{
	{.01, 1e5, .85, .4}, // never: 1 in 10 million for what can't be known
	{1e5, .01, .05, .2}, // always
	{.4, 1, .10, .4},    // flaky
}

const (
	// hazard is how likely the rate of a case changes from one night to the
	// next, where the kernel is the same (what else there is may change), and
	// hazardChanged where it is another.
	hazard        = 1. / 500
	hazardChanged = 1. / 200
	// negligible is the probability of a place of the last change below which it
	// is forgotten.
	negligible = 1e-6
	// negligibleInRate is what of a belief makes no difference to a rate.
	negligibleInRate = 1e-4
	// Sure is the probability from which on a change is said to be one. See
	// TestChangesSimulated for what that means in false alarms and in nights
	// until a change is seen.
	Sure = .9
	// Confirmed is the same for one that was looked at more closely: that is done
	// for every case that looks worse by chance, too, and trials that are made
	// for it soon tell.
	Confirmed = .999
	// MostToConfirm is how many trials are made for that in a night.
	MostToConfirm = 200
	// atLeastLikely is how likely a change must be to be looked at more closely,
	// and stillLikely how likely it must then be for more than a first look.
	atLeastLikely = .01
	stillLikely   = .1
	// Recent is for how many nights a change is looked for: one that is older
	// is the history.
	Recent = 30
)

// A Track follows the failure rate of one case from night to night and knows
// how likely it changed, and when: Bayesian online change point detection
// (Adams and MacKay 2007, arXiv:0710.3742) with beta-binomial nights. The zero
// value is a case that has no history.
type Track struct {
	// Correlation is that of two trials of one boot. Trials count by so much
	// less.
	Correlation float64

	runs   []segment // the places of the last change, the oldest first
	before []belief  // of each night: the belief when it began
}

// A segment is the nights since one change: its first one, and how likely it
// is that the last change was there.
type segment struct {
	since int
	p     float64
	seen  belief
}

// A belief is what is known of a rate: a mixture of the levels after so many
// trials. Counts are of independent trials, so they need not be whole.
type belief struct {
	parts []part
}

type part struct{ weight, alpha, beta float64 }

// unseen is what is believed before any trial: of a case or, changed, of what
// one is after a change.
func unseen(changed bool) belief {
	b := belief{make([]part, len(levels))}
	for i, l := range levels {
		b.parts[i] = part{l.first, l.alpha, l.beta}
		if changed {
			b.parts[i].weight = l.changed
		}
	}
	return b
}

// after gives the belief after so many failures and passes, and the
// probability of them.
func (b belief) after(failures, passes float64) (belief, float64) {
	out := belief{make([]part, len(b.parts))}
	var sum float64
	for i, p := range b.parts {
		w := p.weight * math.Exp(mathext.Lbeta(p.alpha+failures, p.beta+passes)-mathext.Lbeta(p.alpha, p.beta))
		out.parts[i] = part{w, p.alpha + failures, p.beta + passes}
		sum += w
	}
	if sum == 0 { // beyond what a float can hold
		return b, math.SmallestNonzeroFloat64
	}
	for i := range out.parts {
		out.parts[i].weight /= sum
	}
	return out, sum
}

// Add takes the trials of the next night. One without trials leaves everything
// as it was.
func (t *Track) Add(n Night) {
	boots := withTrials(n.Boots)
	failures, trials := Total(boots)
	if trials == 0 {
		return
	}
	effective := 1 / (1 + (bootSize(boots)-1)*t.Correlation)
	f, p := float64(failures)*effective, float64(trials-failures)*effective
	night := len(t.before)
	t.before = append(t.before, t.belief())
	// Either nothing changed since the night before, or tonight is the first
	// of a new rate.
	h := hazard
	switch {
	case night == 0:
		h = 1
	case n.Changed:
		h = hazardChanged
	}
	began := segment{night, h, unseen(night > 0)}
	for i := range t.runs {
		t.runs[i].p *= 1 - h
	}
	t.runs = append(t.runs, began)
	var sum float64
	for i := range t.runs {
		r := &t.runs[i]
		var likelihood float64
		r.seen, likelihood = r.seen.after(f, p)
		r.p *= likelihood
		sum += r.p
	}
	for i := range t.runs {
		t.runs[i].p /= sum
	}
	t.runs = slices.DeleteFunc(t.runs, func(r segment) bool { return r.p < negligible })
}

// belief is what is known of the rate that the case has now.
func (t *Track) belief() belief {
	if len(t.runs) == 0 {
		return unseen(false)
	}
	var all belief
	for _, r := range t.runs {
		for _, p := range r.seen.parts {
			if w := r.p * p.weight; w > negligibleInRate {
				all.parts = append(all.parts, part{w, p.alpha, p.beta})
			}
		}
	}
	var sum float64
	for _, p := range all.parts {
		sum += p.weight
	}
	for i := range all.parts {
		all.parts[i].weight /= sum
	}
	return all
}

// A Change is what a history says about whether a case's failure rate changed
// of late.
type Change struct {
	// Up and Down are the probabilities that the rate rose, and that it fell,
	// within the nights asked about.
	Up   float64 `json:"up"`
	Down float64 `json:"down"`
	// Since is the most likely first night of the present rate, counted from
	// 0 among those with trials; 0: it never changed.
	Since int `json:"since"`
	// Before and Now are the rates on both sides of Since, with their 95%
	// credible intervals.
	Before Level `json:"before"`
	Now    Level `json:"now"`
}

// A Level is a failure rate and its 95% credible interval.
type Level struct {
	Mean float64 `json:"mean"`
	Interval
}

// Worse tells whether the rate surely rose.
func (c Change) Worse() bool { return c.Up >= Sure }

// Confirmed tells whether the rate rose, as far as trials that were made to
// confirm that can tell.
func (c Change) Confirmed() bool { return c.Up >= Confirmed }

// ToConfirm tells whether more trials are to say if the rate rose, when so many
// were made for that.
func (c Change) ToConfirm(trials int) bool {
	if trials == 0 {
		return c.Up > atLeastLikely
	}
	return c.Up > stillLikely && c.Up < Confirmed && trials < MostToConfirm
}

// Better tells whether it surely fell.
func (c Change) Better() bool { return c.Down >= Sure }

// MayBeGone tells whether it fell likely enough to be looked at more closely.
func (c Change) MayBeGone() bool { return c.Down > atLeastLikely }

// moved gives the probabilities that the rate rose, and that it fell, within
// the last nights that had trials.
func (t *Track) moved(last int) (up, down float64) {
	for _, r := range t.runs {
		if r.since == 0 || r.since < len(t.before)-last || r.p < negligibleInRate {
			continue
		}
		rose, fell := compare(t.before[r.since].cumulated(), r.seen.cumulated())
		up += r.p * rose
		down += r.p * fell
	}
	return up, down
}

// Change says how likely the rate changed within the last nights that had
// trials, when, and from what to what.
func (t *Track) Change(last int) Change {
	var c Change
	if len(t.before) == 0 {
		return c
	}
	c.Up, c.Down = t.moved(last)
	var most segment
	for _, r := range t.runs {
		if r.p > most.p {
			most = r
		}
	}
	c.Since, c.Now = most.since, most.seen.level()
	c.Before = c.Now
	if c.Since > 0 {
		c.Before = t.before[c.Since].level()
	}
	return c
}

// FindChange says how likely the rate of a whole history, the oldest night
// first, changed within its last nights. How much trials of one boot are alike
// is learnt from the history.
func FindChange(history []Night, last int) Change {
	t := Track{Correlation: within(history)}
	for _, n := range history {
		t.Add(n)
	}
	return t.Change(last)
}

// within is the correlation of the trials of a boot, over all nights that show
// anything of it; 0 where none does.
func within(history []Night) float64 {
	var boots []Boot
	for _, n := range history {
		if failures, trials := Total(n.Boots); failures > 0 && failures < trials {
			boots = append(boots, n.Boots...)
		}
	}
	icc, _ := Correlation(boots)
	return icc
}

// compare gives the probabilities that the rate after is above and below that
// before.
func compare(before, after []float64) (up, down float64) {
	for i, mass := range after {
		if i > 0 {
			mass -= after[i-1]
			up += mass * before[i-1]
		}
		down += mass * (1 - before[i])
	}
	return up, down
}

// rates are where a belief is looked at: as fine as two rates can differ that
// are worth telling apart.
var rates = func() []float64 {
	var out []float64
	for x := -9.; x <= 9; x += .5 {
		out = append(out, 1/(1+math.Exp(-x)))
	}
	return append(out, 1)
}()

// cumulated is the probability that the rate is at most each of rates.
func (b belief) cumulated() []float64 {
	out := make([]float64, len(rates))
	for i, x := range rates {
		for _, p := range b.parts {
			if p.weight > negligibleInRate {
				out[i] += p.weight * mathext.RegIncBeta(p.alpha, p.beta, x)
			}
		}
	}
	return out
}

// level sums a belief up.
func (b belief) level() Level {
	l := Level{Interval: Interval{0, 1}}
	for _, p := range b.parts {
		l.Mean += p.weight * p.alpha / (p.alpha + p.beta)
	}
	l.Low, l.High = b.quantile(1-upper), b.quantile(upper)
	l.Low, l.High = min(l.Low, l.Mean), max(l.High, l.Mean)
	return l
}

// quantile is the rate below which the belief has so much of its weight.
func (b belief) quantile(q float64) float64 {
	low, high := 0., 1.
	for range 40 {
		mid := (low + high) / 2
		var below []float64
		for _, p := range b.parts {
			below = append(below, p.weight*mathext.RegIncBeta(p.alpha, p.beta, mid))
		}
		if floats.Sum(below) < q {
			low = mid
		} else {
			high = mid
		}
	}
	return (low + high) / 2
}
