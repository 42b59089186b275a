package report

import (
	"cmp"
	"slices"

	"github.com/blockrig/blockrig/harness/stats"
	"github.com/blockrig/blockrig/results/compare"
	"github.com/blockrig/blockrig/results/store"
)

// A night is what a case showed on a kernel in one.
type night struct {
	Side
	outcomes []store.Outcome // those that failed first
	all      store.Tally
}

// compare says what became of a case on each kernel reference that the report
// has cells of: its last night against the one before.
func (l *loader) compare(c *Case, nights []night) {
	shown := map[int]bool{}
	for _, cell := range c.Cells {
		shown[cell.Kernel] = true
	}
	var refs []string
	series := map[string][]night{}
	for _, n := range nights {
		ref := l.r.kernel(n.Kernel).Ref
		if series[ref] == nil {
			refs = append(refs, ref)
		}
		series[ref] = append(series[ref], n)
	}
	for _, ref := range refs {
		of := series[ref]
		if !shown[of[len(of)-1].Kernel] {
			continue
		}
		if change, ok := l.changeOf(of); ok {
			change.Scenario, change.Case = c.Scenario, c.Name
			l.link(&change, c, ref)
			l.r.Changes = append(l.r.Changes, change)
		}
	}
}

// changeOf compares the last night of a series with the one before.
func (l *loader) changeOf(series []night) (Change, bool) {
	last := len(series) - 1
	after, before := series[last], night{Side: Side{Kernel: -1}}
	if last > 0 {
		before = series[last-1]
	}
	pair := compare.Pair(l.grid, before.all, after.all, true)
	c := Change{Kind: pair.Change, Why: pair.Why, Before: before.Side, After: after.Side}
	if c.Kind == Appeared && after.Failures > 0 {
		c.Kind = NewFailure
	}
	if c.Kind == compare.Same || c.Kind == Appeared && last == 0 {
		return c, false
	}
	if last > 0 {
		c.Probability = changed(series, c.Kind)
	}
	for _, o := range after.outcomes {
		if o.Verdict == after.Verdict {
			c.Trial = o.Trial
			break
		}
	}
	return c, true
}

// changed is how probable it is, by all of the history, that the rate changed
// with the last night; 0 where a kind says nothing of the rate.
func changed(series []night, kind Kind) float64 {
	var track stats.Track
	for i, n := range series {
		track.Add(stats.Night{Boots: n.all.Boots, Changed: i > 0 && n.Kernel != series[i-1].Kernel})
	}
	rate := track.Change(1)
	switch kind {
	case NewFailure:
		return rate.Up
	case Fixed:
		return rate.Down
	case RateChanged:
		return max(rate.Up, rate.Down)
	}
	return 0
}

// link adds what else there is to say of a change.
func (l *loader) link(change *Change, c *Case, ref string) {
	for _, b := range l.r.Bisections {
		if b.Scenario == c.Scenario && b.Case == c.Name && (b.Direction == "" || (b.Direction == "fix") == (change.Kind == Fixed)) {
			change.Bisection = b.Name // the last one counts
		}
	}
	if change.After.Failures == 0 {
		return
	}
	for _, other := range c.Cells {
		if k := l.r.kernel(other.Kernel); other.Failures > 0 && k.Ref != ref {
			change.Elsewhere = append(change.Elsewhere, k.Name()+": "+string(other.Verdict))
		}
	}
}

func sortChanges(all []Change) {
	slices.SortStableFunc(all, func(a, b Change) int { return cmp.Compare(importance(a), importance(b)) })
}

// importance sorts changes; what is known comes last.
func importance(c Change) int {
	at := slices.Index(Kinds, c.Kind)
	if c.Known != nil {
		at += len(Kinds)
	}
	return at
}
