package bisect

import (
	"cmp"
	"slices"
	"strings"

	"github.com/blockrig/blockrig/scenarios"
)

// Rules say which outcomes count as the failure that is looked for. The zero
// value looks for each thing that the failing end shows and the passing ends
// do not, by itself; at most one field may be set.
type Rules struct {
	AnyFailure bool  // any verdict but pass
	SameTitle  bool  // the zero value's rule, and a title seen at the failing end
	BadWhen    *Expr // what holds is the failure, every other verdict passes
	// For is what of the things that the failing end shows is looked for.
	For []Wanted
}

// Count is how many of the fields are set.
func (r Rules) Count() (n int) {
	for _, set := range []bool{r.AnyFailure, r.SameTitle, r.BadWhen != nil, len(r.For) > 0} {
		if set {
			n++
		}
	}
	return n
}

// each tells whether each thing that is shown is a question of its own.
func (r Rules) each() bool { return r.Count() == 0 || len(r.For) > 0 }

// A Target is the failure that a search looks for, as learnt at the failing
// end.
type Target struct {
	Signature Signature `json:"signature"`
	// Signatures are several that are one failure: the titles that one bug
	// shows, now this one, now that. Nil: Signature alone.
	Signatures []Signature `json:"signatures,omitempty"`
	Titles     []string    `json:"titles,omitempty"` // seen with it, the most frequent first
	Others     []Count     `json:"others,omitempty"` // other failures seen there
}

// wants are the signatures that are the failure.
func (t *Target) wants() []Signature {
	if t.Signatures != nil {
		return t.Signatures
	}
	return []Signature{t.Signature}
}

// String names the failure for people.
func (t *Target) String() string {
	var names []string
	for _, w := range t.wants() {
		names = append(names, w.String())
	}
	return strings.Join(names, " or ")
}

// A Count is a signature and how often it was seen.
type Count struct {
	Signature Signature `json:"signature"`
	Times     int       `json:"times"`
}

// counted adds a trial to those that showed a signature, and says which of the
// counts that is.
func counted(counts []Count, s Signature) (_ []Count, at int) {
	at = slices.IndexFunc(counts, func(c Count) bool { return c.Signature == s })
	if at < 0 {
		at = len(counts)
		counts = append(counts, Count{Signature: s})
	}
	counts[at].Times++
	return counts, at
}

// countShown counts the trials that show each thing, the most frequent first.
// A place of wrong data that is not the same every time is none.
func countShown(outcomes []Outcome) []Count {
	var counts []Count
	add := func(s Signature) *Count {
		i := slices.IndexFunc(counts, func(c Count) bool {
			s.Place = c.Signature.Place
			return c.Signature == s
		})
		if i < 0 {
			counts = append(counts, Count{Signature: s})
			i = len(counts) - 1
		}
		return &counts[i]
	}
	for _, o := range outcomes {
		if o.Kind != KindVerdict {
			continue
		}
		for _, s := range o.shown() {
			c := add(s)
			if c.Times == 0 {
				c.Signature.Place = s.Place
			} else if c.Signature.Place != s.Place {
				c.Signature.Place = ""
			}
			c.Times++
		}
	}
	sortCounts(counts)
	return counts
}

func sortCounts(counts []Count) {
	slices.SortFunc(counts, func(a, b Count) int {
		return cmp.Or(cmp.Compare(b.Times, a.Times), compareSignatures(a.Signature, b.Signature))
	})
}

// countFailures counts the verdicts, the most frequent first.
func countFailures(outcomes []Outcome, fails func(Outcome) bool) []Count {
	var counts []Count
	for _, o := range outcomes {
		if o.Kind != KindVerdict || !fails(o) {
			continue
		}
		counts, _ = counted(counts, o.Signature())
	}
	sortCounts(counts)
	return counts
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
	// known is what else the failing end shows, often enough to be a failure of
	// its own. A trial that shows nothing but these shows that the target is
	// not there, unless they hide it.
	known []Signature
	// also are signatures that count as hits, ignore those that count as
	// passes: a symptom that grows is looked for in two searches.
	also, ignore []Signature
}

func newLens(r Rules, t Target) *lens {
	l := &lens{rules: r, target: t}
	for _, o := range t.Others {
		if o.Times >= askedTimes {
			l.known = append(l.known, o.Signature)
		}
	}
	return l
}

// besides is the lens with what the kernel says in these trials known, as what
// is looked for is not; they may still hide it.
func (l *lens) besides(outcomes []Outcome) *lens {
	out := *l
	out.known = slices.Clone(l.known)
	for i := range outcomes {
		for _, s := range outcomes[i].shown() {
			if (s.titled() || s.Verdict == scenarios.Degraded) && !s.among(out.known) {
				out.known = append(out.known, s)
			}
		}
	}
	return &out
}

// class gives what an outcome is and, of another failure, which one.
func (l *lens) class(o *Outcome) (class, Signature) {
	switch {
	case o.Kind != KindVerdict:
		return classVoid, Signature{}
	case l.rules.BadWhen != nil:
		if l.rules.BadWhen.Holds(*o) {
			return classHit, Signature{}
		}
		return classPass, Signature{}
	case o.Verdict == scenarios.Pass:
		return classPass, Signature{}
	case l.rules.AnyFailure:
		return classHit, Signature{}
	}
	shown := o.shown()
	wants := l.target.wants()
	for _, s := range shown {
		if s.among(wants) && (!l.rules.SameTitle || l.sharesTitle(*o)) || s.among(l.also) {
			return classHit, s
		}
	}
	for _, s := range shown {
		if !s.among(l.known) && !s.among(l.ignore) {
			return classOther, s
		}
	}
	if len(shown) > 0 && hides(l.target.Signature, o) && !slices.ContainsFunc(shown, func(s Signature) bool { return s.among(l.ignore) }) {
		return classOther, shown[0]
	}
	return classPass, Signature{}
}

// named is class for what was named and not learnt from any trial.
func (r Rules) named(o *Outcome) (class, Signature) {
	if o.Kind != KindVerdict {
		return classVoid, Signature{}
	}
	shown := o.shown()
	for _, s := range shown {
		if r.wants(s, o) {
			return classHit, s
		}
	}
	result := func(s Signature) bool { return s.Verdict == scenarios.EIO || s.Verdict == scenarios.Errno }
	for _, w := range r.For {
		t := Signature{Verdict: w.verdict, Phase: scenarios.PhaseStep}
		if t.Verdict == "" {
			t.Verdict = scenarios.Warn
		}
		if w.errno != "" {
			t.Verdict = scenarios.Errno
		}
		// A step has one result: another one hides it.
		if i := slices.IndexFunc(shown, result); i >= 0 && result(t) {
			return classOther, shown[i]
		}
		if len(shown) > 0 && hides(t, o) {
			return classOther, shown[0]
		}
	}
	return classPass, Signature{}
}

// hides tells whether a trial that does not show a failure could not have
// shown it, for what else it shows.
func hides(t Signature, o *Outcome) bool {
	shown := o.shown()
	if o.NoAnswer && !slices.ContainsFunc(shown, func(s Signature) bool { return s.Phase == t.Phase }) {
		return true // it did not come as far
	}
	if past := o.past(t); past != 0 {
		return past < 0
	}
	switch t.Verdict {
	case scenarios.EIO, scenarios.Errno:
		return o.NoAnswer
	case scenarios.Corrupt:
		return o.NoAnswer || o.Errno != "" // there were no data to look at
	}
	// An oops ends the task that would have hung, or warned.
	has := func(v scenarios.Verdict) bool {
		return slices.ContainsFunc(shown, func(s Signature) bool { return s.Verdict == v })
	}
	return o.NoAnswer && has(scenarios.Bug) && !has(scenarios.Hang)
}

// past tells whether a trial ended before the step of a failure (-1), or left it
// behind (1), which is a pass of that step. 0: it ended there, or that is not known.
func (o *Outcome) past(t Signature) int {
	if t.Step == "" || o.Step == "" || o.Step == t.Step && (o.Nth == t.Nth || o.Nth == 0 || t.Nth == 0) {
		return 0
	}
	if Times(o.Done, t.Step) >= max(1, t.Nth) {
		return 1
	}
	return -1
}

// Times is how many of the steps have a name.
func Times(steps []string, name string) (n int) {
	for _, s := range steps {
		if s == name {
			n++
		}
	}
	return n
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
	return o.Failed() && slices.ContainsFunc(o.shown(), func(s Signature) bool { return r.wants(s, &o) })
}

// Differ tells whether a trial of a failing kernel shows something that may be
// looked for, and one of a passing kernel does not.
func (r Rules) Differ(failing, passing Outcome) bool {
	switch {
	case passing.Kind != KindVerdict || !r.Fails(failing):
		return false
	case !r.each() || !passing.Failed():
		return !r.Fails(passing)
	}
	return slices.ContainsFunc(failing.shown(), func(s Signature) bool {
		return r.wants(s, &failing) && !s.among(passing.shown()) && !hides(s, &passing)
	})
}
