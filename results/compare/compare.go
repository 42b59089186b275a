// Package compare says, case by case, what differs between two sets of trials:
// two runs, two nights, two kernels.
//
// What is "new" here is new beside the other set; since when a case fails, and
// how sure that is, its history says (package stats, [stats.FindChange]).
package compare

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/blockrig/blockrig/harness/stats"
	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/results"
	"github.com/blockrig/blockrig/results/store"
	"github.com/blockrig/blockrig/scenarios"
)

// A Change is what happened to a case between set A and set B.
type Change string

// Changes, in the order in which they are shown.
const (
	NewFailure     Change = "new failure"     // B fails, and A never did
	AnotherFailure Change = "another failure" // B fails in a way that A does not
	RateChanged    Change = "rate changed"    // both fail alike, and not as often
	Changed        Change = "changed"         // both pass, B with an allowed result that A does not have
	Fixed          Change = "fixed"           // A fails, and B does not any more
	StillFailing   Change = "still failing"   // both fail alike
	NoAnswer       Change = "no answer"       // what B shows is no answer: only errors, or too few passes
	NotRun         Change = "not run"         // B was to run it, and did not
	Appeared       Change = "appeared"        // A does not have it, or has no verdict about it
	Disappeared    Change = "disappeared"     // B does not have it
	Same           Change = "same"            // both pass alike
)

// Changes are all of them, in the order in which they are shown.
var Changes = []Change{NewFailure, AnotherFailure, RateChanged, Changed, Fixed, StillFailing, NoAnswer, NotRun, Appeared, Disappeared, Same}

// Sure is the probability from which on two rates are said to differ.
const Sure = .95

// A Side is what the trials of a case in one of the sets showed.
type Side struct {
	Trials   int             `json:"trials"`
	Failures int             `json:"failures"`
	Errors   int             `json:"errors"`   // no verdict about the kernel
	Boots    int             `json:"boots"`    // with a verdict
	Rate     *float64        `json:"rate"`     // of failures among verdicts; null without one
	Interval stats.Interval  `json:"interval"` // of the rate, 95%, with boots respected
	Outcomes []store.Outcome `json:"outcomes"` // the most frequent first
}

// Judged is the number of trials with a verdict about the kernel.
func (s Side) Judged() int { return s.Trials - s.Errors }

// A Case is a case that one of the sets has.
type Case struct {
	Scenario string `json:"scenario"`
	Case     string `json:"case"`
	Ref      string `json:"kernel,omitempty"` // reference of the kernel, where each is compared with itself
	Change   Change `json:"change"`
	Why      string `json:"why"` // one line
	A        Side   `json:"a"`
	B        Side   `json:"b"`
	// Differ is the probability that the failure rates differ, where both were
	// as likely beforehand; null where a set has no verdict.
	Differ *float64 `json:"differ"`
}

// Worse tells whether B shows a failure that A does not.
func (c Case) Worse() bool {
	return c.Change == NewFailure || c.Change == AnotherFailure || c.Change == Appeared && c.B.Failures > 0
}

// Unknown tells whether B has no answer about a case of A's.
func (c Case) Unknown() bool { return c.Change == NoAnswer || c.Change == NotRun }

// ExitStatus is a failure where B shows one that A does not, and an error where
// B has no answer about a case of A's.
func ExitStatus(cases []Case) int {
	code := results.ExitOK
	for _, c := range cases {
		switch {
		case c.Worse():
			return results.ExitFailure
		case c.Unknown():
			code = results.ExitError
		}
	}
	return code
}

// A Set is trials that are compared with those of another.
type Set struct {
	Name   string // as the user gave it
	Filter store.Filter
}

// Find gives the set that a user's word stands for; see store.Select. scenario
// may be "": all.
func Find(ctx context.Context, s store.Reader, word, scenario string) (Set, error) {
	f, err := s.Select(ctx, word)
	f.Scenario = scenario
	return Set{word, f}, err
}

type key struct{ scenario, name, ref string }

// Sets compares the cases of two sets: what changed first, then by scenario and
// case. Where both have several kernels and some reference in both, each
// reference is compared with itself.
func Sets(ctx context.Context, s store.Reader, a, b Set) ([]Case, error) {
	ha, err := s.Histories(ctx, a.Filter, store.ByKernel)
	if err != nil {
		return nil, err
	}
	hb, err := s.Histories(ctx, b.Filter, store.ByKernel)
	if err != nil {
		return nil, err
	}
	asked, err := s.Asked(ctx, b.Filter)
	if err != nil {
		return nil, err
	}
	ha, _ = results.Cases(ha)
	hb, _ = results.Cases(hb)
	apart := len(a.Filter.Kernels)+len(b.Filter.Kernels) == 0 && eachRef(refs(ha), refs(hb))
	sa, sb := sides(ha, apart), sides(hb, apart)
	wanted := map[key]bool{}
	for _, q := range asked {
		wanted[keyOf(q.Scenario, q.Case, q.Ref, apart)] = true
	}
	grid := stats.ComparisonGrid()
	var out []Case
	for k, t := range sa {
		out = append(out, compare(grid, k, t, sb[k], wanted[k]))
	}
	for k, t := range sb {
		if _, ok := sa[k]; !ok {
			out = append(out, compare(grid, k, store.Tally{}, t, true))
		}
	}
	slices.SortFunc(out, func(a, b Case) int {
		return cmp.Or(cmp.Compare(slices.Index(Changes, a.Change), slices.Index(Changes, b.Change)),
			strings.Compare(a.Scenario, b.Scenario), strings.Compare(a.Case, b.Case), strings.Compare(a.Ref, b.Ref))
	})
	return out, nil
}

func keyOf(scenario, name, ref string, apart bool) key {
	if !apart {
		ref = ""
	}
	return key{scenario, name, ref}
}

func refs(all []store.History) map[string]bool {
	out := map[string]bool{}
	for _, h := range all {
		for _, p := range h.Points {
			out[p.Kernel.Ref] = true
		}
	}
	return out
}

// eachRef tells whether references are to be told apart.
func eachRef(a, b map[string]bool) bool {
	if len(a) < 2 && len(b) < 2 {
		return false
	}
	for ref := range a {
		if b[ref] {
			return true
		}
	}
	return false
}

// sides are the tallies of a set's cases.
func sides(all []store.History, apart bool) map[key]store.Tally {
	parts := map[key][]store.Tally{}
	for _, h := range all {
		for _, p := range h.Points {
			k := keyOf(h.Scenario, h.Case, p.Kernel.Ref, apart)
			parts[k] = append(parts[k], p.Tally)
		}
	}
	out := map[key]store.Tally{}
	for k, p := range parts {
		out[k] = store.Merge(p...)
	}
	return out
}

func compare(grid *stats.Grid, k key, a, b store.Tally, asked bool) Case {
	c := Case{Scenario: k.scenario, Case: k.name, Ref: k.ref, A: side(a), B: side(b)}
	if a.Judged() > 0 && b.Judged() > 0 {
		p := grid.Differ(grid.Boots(a.Boots), grid.Boots(b.Boots))
		c.Differ = &p
	}
	c.Change, c.Why = c.judge(asked)
	return c
}

func side(t store.Tally) Side {
	s := Side{Trials: t.Trials, Failures: t.Failures, Errors: t.Errors, Boots: len(t.Boots), Interval: stats.ByBoot(t.Boots), Outcomes: t.Outcomes}
	if s.Outcomes == nil {
		s.Outcomes = []store.Outcome{}
	}
	if n := s.Judged(); n > 0 {
		rate := float64(s.Failures) / float64(n)
		s.Rate = &rate
	}
	return s
}

// judge says what happened to the case, and why that is said.
func (c Case) judge(asked bool) (Change, string) {
	a, b := c.A, c.B
	switch {
	case b.Trials == 0 && asked:
		return NotRun, "it was to run, and did not"
	case b.Trials == 0:
		return Disappeared, "it was not asked for"
	case b.Judged() == 0:
		return NoAnswer, fmt.Sprintf("%s ended in error", text.Count(b.Errors, "trial"))
	case a.Trials == 0:
		return Appeared, b.shows()
	case a.Judged() == 0:
		return Appeared, "there was no verdict before; now " + b.shows()
	case a.Failures == 0 && b.Failures > 0:
		return NewFailure, b.shows()
	case a.Failures == 0:
		return c.passes()
	case b.Failures == 0:
		return c.gone()
	}
	if only := unlike(b.ways(), a.ways()); len(only) > 0 {
		return AnotherFailure, "not seen before: " + strings.Join(only, ", ")
	}
	if *c.Differ >= Sure {
		word := "less often"
		if *b.Rate > *a.Rate {
			word = "more often"
		}
		return RateChanged, "it fails " + word
	}
	return StillFailing, b.shows()
}

// passes compares sides that only pass.
func (c Case) passes() (Change, string) {
	if only := unlike(c.B.results(), c.A.results()); len(only) > 0 {
		return Changed, fmt.Sprintf("%s, was %s", strings.Join(only, ", "), strings.Join(c.A.results(), ", "))
	}
	return Same, strings.Join(c.B.results(), ", ")
}

// gone compares a side that fails with one that does not. Where it failed only
// now and then, so many passes have to tell.
func (c Case) gone() (Change, string) {
	if c.A.Failures < c.A.Judged() && *c.Differ < Sure {
		return NoAnswer, fmt.Sprintf("it failed %d of %d times: %s may be chance", c.A.Failures, c.A.Judged(), text.Count(c.B.Judged(), "pass"))
	}
	return Fixed, "was " + c.A.shows()
}

// shows is what a side shows in the first place: its most frequent failure, or
// where it has none, its results.
func (s Side) shows() string {
	if f := s.failures(); len(f) > 0 {
		return strings.Join(f, ", ")
	}
	return strings.Join(s.results(), ", ")
}

// failures are the distinct ones, the most frequent first.
func (s Side) failures() []string {
	return s.distinct(scenarios.Verdict.Failure, func(o store.Outcome) string { return results.FailureText(o.Signature, o.Verdict) })
}

// ways are failures with what the step said where that is no chance: another
// errno, or one behind a warning that stays, is another failure.
func (s Side) ways() []string {
	return s.distinct(scenarios.Verdict.Failure, func(o store.Outcome) string {
		text := results.FailureText(o.Signature, o.Verdict)
		if o.Said != "" && slices.Contains([]scenarios.Verdict{scenarios.Warn, scenarios.Degraded, scenarios.Errno}, o.Verdict) {
			text += " (" + o.Said + ")"
		}
		return text
	})
}

// results are what passing trials said.
func (s Side) results() []string {
	return s.distinct(func(v scenarios.Verdict) bool { return v == scenarios.Pass }, func(o store.Outcome) string { return cmp.Or(o.Said, string(o.Verdict)) })
}

func (s Side) distinct(which func(scenarios.Verdict) bool, name func(store.Outcome) string) []string {
	var out []string
	for _, o := range s.Outcomes {
		if n := name(o); which(o.Verdict) && !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

// unlike are those of a that are not in b.
func unlike(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
}
