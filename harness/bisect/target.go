package bisect

import (
	"cmp"
	"slices"

	"github.com/blockrig/blockrig/scenarios"
)

// Rules say which outcomes count as the failure that is looked for. The zero
// value wants the same verdict in the same phase and step; at most one field
// may be set.
type Rules struct {
	AnyFailure bool  // any verdict but pass
	SameTitle  bool  // the zero value's rule, and a title seen at the failing end
	BadWhen    *Expr // what holds is the failure, every other verdict passes
}

// A Target is the failure that a search looks for, as learnt at the failing
// end.
type Target struct {
	Signature Signature `json:"signature"`
	Titles    []string  `json:"titles,omitempty"` // of all failures with this signature, the most frequent first
	Others    []Count   `json:"others,omitempty"` // other failures seen there
}

// A Count is a signature and how often it was seen.
type Count struct {
	Signature Signature `json:"signature"`
	Times     int       `json:"times"`
}

// learnTarget takes the failure that is seen most often. It is false when
// nothing failed.
func learnTarget(outcomes []Outcome, fails func(Outcome) bool) (Target, bool) {
	var counts []Count
	for _, o := range outcomes {
		if o.Kind != KindVerdict || !fails(o) {
			continue
		}
		s := o.Signature()
		i := slices.IndexFunc(counts, func(c Count) bool { return c.Signature == s })
		if i < 0 {
			counts = append(counts, Count{Signature: s})
			i = len(counts) - 1
		}
		counts[i].Times++
	}
	if len(counts) == 0 {
		return Target{}, false
	}
	slices.SortFunc(counts, func(a, b Count) int {
		return cmp.Or(cmp.Compare(b.Times, a.Times), compareSignatures(a.Signature, b.Signature))
	})
	t := Target{Signature: counts[0].Signature, Others: counts[1:]}
	t.Titles = titles(outcomes, func(o Outcome) bool { return fails(o) && o.Signature() == t.Signature })
	return t, true
}

// titles lists those of the matching outcomes, the most frequent first.
func titles(outcomes []Outcome, match func(Outcome) bool) []string {
	times := make(map[string]int)
	var list []string
	for _, o := range outcomes {
		if o.Kind != KindVerdict || !match(o) {
			continue
		}
		for _, t := range o.Titles {
			if times[t]++; times[t] == 1 {
				list = append(list, t)
			}
		}
	}
	slices.SortStableFunc(list, func(a, b string) int {
		return cmp.Or(cmp.Compare(times[b], times[a]), cmp.Compare(a, b))
	})
	return list
}

// A class is what an outcome is to a search.
type class int

const (
	classVoid  class = iota // no verdict
	classPass               // the failure was not there
	classHit                // it was
	classOther              // another failure was
)

// A lens is how one search looks at outcomes.
type lens struct {
	rules  Rules
	target Target
	// also are signatures that count as hits, ignore those that count as
	// passes: a symptom that grows is looked for in two searches.
	also, ignore []Signature
}

func (l *lens) class(o Outcome) class {
	switch {
	case o.Kind != KindVerdict:
		return classVoid
	case l.rules.BadWhen != nil:
		if l.rules.BadWhen.Holds(o) {
			return classHit
		}
		return classPass
	case o.Verdict == scenarios.Pass:
		return classPass
	case l.rules.AnyFailure:
		return classHit
	}
	s := o.Signature()
	if l.target.Signature.Wrong == "" { // where only a record was left of the target
		s.Wrong = ""
	}
	switch {
	case slices.Contains(l.also, s):
		return classHit
	case slices.Contains(l.ignore, s):
		return classPass
	case s != l.target.Signature:
		return classOther
	case l.rules.SameTitle && !l.sharesTitle(o):
		return classOther
	}
	return classHit
}

func (l *lens) sharesTitle(o Outcome) bool {
	if len(l.target.Titles) == 0 {
		return len(o.Titles) == 0
	}
	return slices.ContainsFunc(o.Titles, func(t string) bool { return slices.Contains(l.target.Titles, t) })
}

// Fails tells whether a trial shows a failure that may be the one looked for,
// before it is known which that is.
func (r Rules) Fails(o Outcome) bool {
	if r.BadWhen != nil {
		return o.Kind == KindVerdict && r.BadWhen.Holds(o)
	}
	return o.Failed()
}
