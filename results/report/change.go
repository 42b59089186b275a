package report

import (
	"cmp"
	"fmt"
	"path"
	"slices"

	"github.com/blockrig/blockrig/harness/bisect/trials"
	"github.com/blockrig/blockrig/harness/nightly"
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

// compare says what became of a case in each stream of kernels that the report
// has cells of: its last night against the one before.
func (l *loader) compare(c *Case, nights []night) {
	shown := map[int]bool{}
	for _, cell := range c.Cells {
		shown[cell.Kernel] = true
	}
	var streams []string
	series := map[string][]night{}
	for _, n := range nights {
		stream := l.r.kernel(n.Kernel).Stream
		if series[stream] == nil {
			streams = append(streams, stream)
		}
		series[stream] = append(series[stream], n)
	}
	for _, stream := range streams {
		of := series[stream]
		if !shown[of[len(of)-1].Kernel] {
			continue
		}
		if change, ok := l.changeOf(of); ok {
			change.Scenario, change.Case = c.Scenario, c.Name
			l.link(&change, c, stream)
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
func (l *loader) link(change *Change, c *Case, stream string) {
	for _, b := range l.r.Bisections {
		if b.Scenario == c.Scenario && b.Case == c.Name && (b.Direction == "" || (b.Direction == "fix") == (change.Kind == Fixed)) {
			change.Bisection = b.Name // the last one counts
		}
	}
	if change.After.Failures == 0 {
		return
	}
	for _, other := range c.Cells {
		if k := l.r.kernel(other.Kernel); other.Failures > 0 && k.Stream != stream {
			change.Elsewhere = append(change.Elsewhere, k.Name()+": "+string(other.Verdict))
		}
	}
}

// judged takes over what nights said of failures: they know more than the store.
func (l *loader) judged() {
	for _, n := range l.nights {
		for _, f := range n.Findings {
			for i := range l.r.Changes {
				c := &l.r.Changes[i]
				k := l.r.kernel(c.After.Kernel)
				if c.Scenario == f.Scenario && c.Case == f.Case && (k.Ref == f.Ref || k.Release != "" && k.Release == f.Release) {
					c.take(f)
					if f.Bisection != nil {
						c.Bisection = l.bisectionIn(f.Bisection.Dir)
					}
				}
			}
		}
	}
}

// bisectionIn names the bisection in a folder or, where it has begun, the one of
// commits that follows it.
func (l *loader) bisectionIn(dir string) string {
	if commits := path.Base(trials.GitAfter(dir)); l.r.bisection(commits) != nil {
		return commits
	}
	return path.Base(dir)
}

// take takes over what a night said.
func (c *Change) take(f nightly.Finding) {
	switch f.Kind {
	case nightly.New:
		c.Kind = NewFailure
	case nightly.Spread:
		c.Kind, c.Why = NewFailure, "it was reported for another kernel, and began in this one"
	case nightly.Back:
		c.Kind, c.Why = NewFailure, "it was fixed, and is there again"
	case nightly.Fixed:
		c.Kind = Fixed
	case nightly.Expired:
		c.Kind, c.Why = Fixed, "it was known, and is gone"
	case nightly.Changed:
		c.Kind = RateChanged
	case nightly.Unsettled:
		c.Why = "it may be new: that is not sure yet"
	case nightly.Begins:
		c.Kind, c.Why = StillFailing, "it was there when this kernel was looked at first"
	case nightly.Still:
		c.Kind = StillFailing
	case nightly.KnownStill:
		c.Known = &Known{Link: f.Link, Note: f.Note}
	}
	if p := max(f.Change.Up, f.Change.Down); p > 0 && c.Kind != StillFailing {
		c.Probability = p
	}
	if len(f.Elsewhere) > 0 {
		c.Elsewhere = nil // a night looked for that
	}
	for _, w := range f.Elsewhere {
		if w.Same && w.Fails.Failures > 0 {
			c.Elsewhere = append(c.Elsewhere, fmt.Sprintf("%s: %s, %d of %d", w.Kernel(), w.CaseName, w.Fails.Failures, w.Fails.Trials))
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
