package bisect

import (
	"fmt"
	"strings"

	"github.com/blockrig/blockrig/harness/stats"
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
	Failures     []Count `json:"failures,omitempty"`
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
	case r.P <= .35: // a dozen trials of each that all went alike
		r.Effect = Nothing
	default:
		r.Effect = Unclear
	}
	r.Appeared, r.Vanished = only(r.Patched, r.Base), only(r.Base, r.Patched)
	if r.Effect == Nothing && len(r.Appeared)+len(r.Vanished) > 0 {
		// As many failures, but others.
		r.Effect = Unclear
	}
	r.boots(g)
	return r
}

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
			if c.Signature == d.Signature {
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
	s.Failures = countFailures(outcomes, Outcome.Failed)
	w := g.None()
	for _, t := range boots {
		w.Add(g.LogLikelihood(t))
	}
	return w
}

// Sentence says the result in one sentence.
func (r PatchResult) Sentence() string {
	side := func(s Side) string { return fmt.Sprintf("%d of %d trials in %s", s.Fails, s.Runs, inBoots(s.Boots)) }
	what := map[Effect]string{
		Helps: "The patch helps", Harms: "The patch harms", Nothing: "The patch changes nothing",
		Unclear: "Whether the patch helps is not clear",
	}[r.Effect]
	if r.Base.Fails > 0 && r.Patched.Fails > 0 && (r.Effect == Helps || r.Effect == Nothing) {
		what += ", and it still fails"
	}
	text := fmt.Sprintf("%s: without it %s failed, with it %s.", what, side(r.Base), side(r.Patched))
	for _, s := range []struct {
		with string
		Side
	}{{"Without", r.Base}, {"With", r.Patched}} {
		if s.BootFailures > 0 {
			text += fmt.Sprintf(" %s it the kernel did not come up in %d of %s.", s.with, s.BootFailures, inBoots(s.Boots+s.BootFailures))
		}
		if s.Errors > 0 {
			text += fmt.Sprintf(" %s it %d trials ended without a verdict.", s.with, s.Errors)
		}
	}
	if len(r.Appeared) > 0 {
		var list []string
		for _, s := range r.Appeared {
			list = append(list, s.String())
		}
		text += " New with it: " + strings.Join(list, ", ") + "."
	}
	return text
}
