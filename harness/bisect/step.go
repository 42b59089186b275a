package bisect

import (
	"fmt"

	"github.com/blockrig/blockrig/scenarios"
)

// Exit statuses of a test for git bisect run (git-bisect(1)).
const (
	StepGood  = 0
	StepBad   = 1
	StepSkip  = 125
	StepAbort = 129 // ends the bisection: what was seen is no statement about the commit
)

// StepMore is no exit status: the commit needs further trials.
const StepMore = -1

// StepLooksFor says in a sentence what makes a commit bad.
func StepLooksFor(rules Rules, target *Target) string {
	switch {
	case rules.AnyFailure || rules.BadWhen != nil || len(rules.For) > 0:
		return rules.LooksFor()
	case target != nil:
		return "looking for " + target.String()
	}
	return "looking for any failure at the scenario's step: a commit is bad whatever it shows; --for names one thing, such as eio or a part of a title"
}

// Step says what trials of one commit mean to git bisect run, and why. Without
// a target every failure counts that shows at the step itself; a failure
// before it (the stack can't be built) makes the commit one to skip. One hit
// is enough for bad; for good it takes as many passes as are wanted (see
// stats.RunsToTrust). Of what the rules name, nothing else that a trial shows
// makes a commit bad or, unless it hides what is named, one to skip. A trial without a verdict before any pass makes the
// commit one to skip, as do three beside passes. When it was this machine that
// spoilt them, it would spoil those of every other commit as well, so that
// ends the bisection.
func Step(outcomes []Outcome, rules Rules, target *Target, want int) (status int, why string) {
	l := newLens(rules, Target{})
	if target != nil {
		l = newLens(rules, *target)
	}
	var hits, passes, others, voids, spoilt int
	var void, host Outcome
	var bad []Outcome
	var hit, other Signature
	for _, o := range outcomes {
		c, sig := l.class(&o)
		switch {
		case target == nil && len(rules.For) > 0:
			c, sig = rules.named(&o)
		case target == nil && rules.Count() == 0 && o.Failed():
			c, sig = classOther, o.Signature()
			if o.Phase == scenarios.PhaseStep || o.Phase == scenarios.PhaseDone {
				c = classHit
			}
		}
		switch c {
		case classHit:
			if hit = sig; hit == (Signature{}) {
				hit = o.Signature()
			}
			bad = append(bad, o)
			hits++
		case classPass:
			passes++
		case classOther:
			other = sig
			others++
		case classVoid:
			if o.Host {
				host = o
				spoilt++
				break
			}
			void = o
			voids++
		}
	}
	switch {
	case hits > 0:
		why = fmt.Sprintf("%s in %d of %d trials", hit, hits, hits+passes)
		if target == nil && rules.Count() == 0 {
			for i, c := range countShown(bad) {
				what := fmt.Sprintf("%s in %d of %d trials", c.Signature, c.Times, hits+passes)
				if i > 0 {
					what = why + "; " + what
				}
				why = what
			}
		}
		return StepBad, why
	case others > 0:
		return StepSkip, fmt.Sprintf("another failure: %s in %d of %d trials", other, others, others+passes)
	case voids > 0 && passes == 0:
		return StepSkip, fmt.Sprintf("%s: %s", void.Kind, void.Reason)
	case voids >= tries:
		// Before the passes: those may be of other cases alone.
		return StepSkip, fmt.Sprintf("%s in %d of %d trials: %s", void.Kind, voids, voids+spoilt+passes, void.Reason)
	case spoilt > 0 && passes == 0, spoilt >= tries:
		return StepAbort, fmt.Sprintf("this machine can't try it (%d trials without a verdict): %s", spoilt, host.Reason)
	case passes >= want:
		if rules.BadWhen != nil || len(rules.For) > 0 {
			return StepGood, shown(outcomes)
		}
		return StepGood, fmt.Sprintf("%d trials passed", passes)
	}
	return StepMore, fmt.Sprintf("%d of %d trials passed so far", passes, want)
}
