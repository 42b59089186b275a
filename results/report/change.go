package report

import (
	"cmp"
	"slices"

	"github.com/blockrig/blockrig/harness/stats"
	"github.com/blockrig/blockrig/results/store"
)

// A night is what a case showed on a kernel in one.
type night struct {
	Side
	outcomes []store.Outcome // those that failed first
	boots    []stats.Boot
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
		if change, ok := changeOf(of); ok {
			change.Scenario, change.Case = c.Scenario, c.Name
			l.link(&change, c, ref)
			l.r.Changes = append(l.r.Changes, change)
		}
	}
}

// changeOf compares the last night of a series with the one before.
func changeOf(series []night) (Change, bool) {
	last := len(series) - 1
	after, before := series[last], night{Side: Side{Kernel: -1}}
	if last > 0 {
		before = series[last-1]
	}
	c := Change{Kind: kindOf(before.Side, after.Side), Before: before.Side, After: after.Side}
	var track stats.Track
	for i, n := range series {
		track.Add(stats.Night{Boots: n.boots, Changed: i > 0 && n.Kernel != series[i-1].Kernel})
	}
	if last > 0 {
		rate := track.Change(1)
		switch c.Kind {
		case NewFailure:
			c.Probability = rate.Up
		case Fixed:
			c.Probability = rate.Down
		case RateChanged:
			c.Probability = max(rate.Up, rate.Down)
		case StillFailing: // unless its rate is surely another
			if rate.Worse() || rate.Better() {
				c.Kind, c.Probability = RateChanged, max(rate.Up, rate.Down)
			}
		}
	}
	for _, o := range after.outcomes {
		if o.Verdict == after.Verdict {
			c.Trial = o.Trial
			break
		}
	}
	return c, c.Kind != ""
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

// kindOf is what became of a case; "" where there is nothing to say.
func kindOf(before, after Side) Kind {
	switch {
	case after.Judged() == 0:
		return NoAnswer
	case before.Judged() == 0 || before.Failures == 0 && after.Failures > 0:
		if after.Failures > 0 {
			return NewFailure
		}
		return "" // it never failed
	case before.Failures == 0:
		if before.Said != after.Said {
			return Changed
		}
		return ""
	case after.Failures == 0 && after.Interval.High < before.Rate():
		return Fixed
	case after.Failures > 0 && before.Signature != after.Signature:
		return AnotherFailure
	}
	return StillFailing // also where it passed too seldom to be over
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
