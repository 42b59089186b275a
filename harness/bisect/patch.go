package bisect

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/blockrig/blockrig/harness/stats"
	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/scenarios"
)

// An Effect is what a patch does to a scenario.
type Effect string

// Effects.
const (
	Helps   Effect = "helps"
	Harms   Effect = "harms"
	Nothing Effect = "changes nothing"
	Unclear Effect = "unclear" // more trials are needed
)

// A PatchResult compares a kernel with and without a patch.
type PatchResult struct {
	Effect     Effect      `json:"effect"`
	P          float64     `json:"p"` // that the failure rates differ
	Base       Side        `json:"base"`
	Patched    Side        `json:"patched"`
	Appeared   []Signature `json:"appeared,omitempty"` // failures that only the patched kernel showed
	Vanished   []Signature `json:"vanished,omitempty"` // failures that only the base showed
	Confidence float64     `json:"confidence"`         // asked for
}

// A Side is one of the two kernels.
type Side struct {
	Runs         int     `json:"runs"`
	Fails        int     `json:"fails"`
	Boots        int     `json:"boots"`
	Errors       int     `json:"errors,omitempty"`        // trials without a verdict, boot failures not among them
	BootFailures int     `json:"boot_failures,omitempty"` // boots that the kernel did not come up in, besides Boots
	Failures     []Count `json:"failures,omitempty"`      // trials that show each thing; one may show several
}

// Compare says whether a patch helps, by the outcomes of both kernels. Trials
// of one boot count for less than trials of many.
func Compare(base, patched []Outcome, confidence float64) PatchResult {
	// Any rate is thought possible, never and always most of all.
	g := stats.ComparisonGrid()
	r := PatchResult{Confidence: confidence}
	lb, lp := r.Base.tally(base, g), r.Patched.tally(patched, g)
	r.P = g.Differ(lb, lp)
	switch less := share(r.Patched.Fails, r.Patched.Runs) < share(r.Base.Fails, r.Base.Runs); {
	case r.Base.Runs == 0 || r.Patched.Runs == 0:
		r.Effect = Unclear
	case r.P >= confidence && less:
		r.Effect = Helps
	case r.P >= confidence:
		r.Effect = Harms
	case r.P <= alike:
		r.Effect = Nothing
	default:
		r.Effect = Unclear
	}
	r.Appeared, r.Vanished = only(r.Patched, r.Base), only(r.Base, r.Patched)
	if r.Base.Fails > 0 && r.Patched.Fails > 0 {
		r.each(g, base, patched)
	}
	r.boots(g)
	return r
}

// each compares how often each thing shows that trials of both kernels fail
// with: as many failures may be others, and one that stays hides none.
func (r *PatchResult) each(g *stats.Grid, base, patched []Outcome) {
	less, more, same, p := false, false, true, 0.
	things := slices.Clone(r.Base.Failures)
	for _, c := range r.Patched.Failures {
		if slices.Contains(r.Appeared, c.Signature) {
			things = append(things, c)
		}
	}
	for _, c := range things {
		b, wb := shownBy(base, c.Signature, g)
		w, ww := shownBy(patched, c.Signature, g)
		if b.Trials == 0 || w.Trials == 0 { // one of them hides it all the time
			same = same && b.Failures+w.Failures == 0
			continue
		}
		differ := g.Differ(wb, ww)
		same = same && differ <= alike
		if differ >= r.Confidence {
			fewer := share(w.Failures, w.Trials) < share(b.Failures, b.Trials)
			less, more, p = less || fewer, more || !fewer, max(p, differ)
		}
	}
	switch {
	case less && more && r.Effect != Harms:
		r.Effect = Unclear
	case more && r.Effect != Harms:
		r.Effect, r.P = Harms, p
	case less && (r.Effect == Nothing || r.Effect == Unclear):
		r.Effect, r.P = Helps, p
	case !same && r.Effect == Nothing:
		r.Effect = Unclear
	}
}

// shownBy counts the trials that show a thing, of those that could. Which
// titles come with a hang changes from trial to trial: they say nothing.
func shownBy(outcomes []Outcome, sig Signature, g *stats.Grid) (all stats.Boot, _ stats.Weights) {
	boots := make(map[string]stats.Boot)
	for _, o := range outcomes {
		shown := o.shown()
		has := sig.among(shown)
		hung := slices.ContainsFunc(shown, func(s Signature) bool { return s.Verdict == scenarios.Hang })
		if o.Kind != KindVerdict || !has && hides(sig, &o) || sig.titled() && hung {
			continue
		}
		t := boots[o.Boot]
		t.Trials++
		all.Trials++
		if has {
			t.Failures++
			all.Failures++
		}
		boots[o.Boot] = t
	}
	return all, g.Boots(slices.Collect(maps.Values(boots)))
}

// alike is the most that the probability of a difference may be for there to
// be none: a dozen trials of each that all went alike.
const alike = .35

// boots has the last word when one of the kernels does not always come up: to
// fix a scenario and break the boot is no help.
func (r *PatchResult) boots(g *stats.Grid) {
	if r.Base.BootFailures+r.Patched.BootFailures == 0 {
		return
	}
	p := g.Differ(r.Base.bootWeights(g), r.Patched.bootWeights(g))
	rate := func(s Side) float64 { return share(s.BootFailures, s.Boots+s.BootFailures) }
	switch worse := rate(r.Patched) - rate(r.Base); {
	case worse > 0 && p >= r.Confidence:
		r.Effect, r.P = Harms, p
	case worse > 0 && r.Effect != Harms:
		r.Effect = Unclear
	case worse < 0 && p >= r.Confidence && r.Effect == Unclear && r.Patched.Fails == 0:
		r.Effect, r.P = Helps, p
	}
}

// bootWeights is what a side's boots say of how often it does not come up.
func (s *Side) bootWeights(g *stats.Grid) stats.Weights {
	w := g.None()
	for range s.Boots {
		w.Add(g.LogLikelihood(stats.Boot{Trials: 1}))
	}
	for range s.BootFailures {
		w.Add(g.LogLikelihood(stats.Boot{Failures: 1, Trials: 1}))
	}
	return w
}

func share(n, of int) float64 { return float64(n) / max(1, float64(of)) }

func only(a, b Side) []Signature {
	var out []Signature
next:
	for _, c := range a.Failures {
		for _, d := range b.Failures {
			if c.Signature.same(d.Signature) {
				continue next
			}
		}
		out = append(out, c.Signature)
	}
	return out
}

func (s *Side) tally(outcomes []Outcome, g *stats.Grid) stats.Weights {
	boots := make(map[string]stats.Boot)
	for _, o := range outcomes {
		switch o.Kind {
		case KindVerdict:
		case KindBoot:
			s.BootFailures++
			continue
		default:
			s.Errors++
			continue
		}
		t := boots[o.Boot]
		t.Trials++
		s.Runs++
		if o.Failed() {
			t.Failures++
			s.Fails++
		}
		boots[o.Boot] = t
	}
	s.Boots = len(boots)
	s.Failures = countShown(outcomes)
	w := g.None()
	for _, t := range boots {
		w.Add(g.LogLikelihood(t))
	}
	return w
}

// Sentence says the result in one sentence.
func (r PatchResult) Sentence() string {
	side := func(s Side) string {
		return fmt.Sprintf("%d of %d trials in %s", s.Fails, s.Runs, text.Count(s.Boots, "boot"))
	}
	what := map[Effect]string{
		Helps: "The patch helps", Harms: "The patch harms", Nothing: "The patch changes nothing",
		Unclear: "Whether the patch helps is not clear",
	}[r.Effect]
	if r.Base.Fails > 0 && r.Patched.Fails > 0 && (r.Effect == Helps || r.Effect == Nothing) {
		what += ", and it still fails"
	}
	line := fmt.Sprintf("%s: without it %s failed, with it %s.", what, side(r.Base), side(r.Patched))
	for _, s := range []struct {
		with string
		Side
	}{{"Without", r.Base}, {"With", r.Patched}} {
		if s.BootFailures > 0 {
			line += fmt.Sprintf(" %s it the kernel did not come up in %d of %s.", s.with, s.BootFailures, text.Count(s.Boots+s.BootFailures, "boot"))
		}
		if s.Errors > 0 {
			line += fmt.Sprintf(" %s it %d trials ended without a verdict.", s.with, s.Errors)
		}
	}
	list := func(what string, all []Signature) {
		var names []string
		for _, s := range all {
			names = append(names, s.String())
		}
		if names != nil {
			line += " " + what + " with it: " + strings.Join(names, ", ") + "."
		}
	}
	list("New", r.Appeared)
	if r.Patched.Fails > 0 {
		list("Gone", r.Vanished)
	}
	return line
}
