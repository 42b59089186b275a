package bisect

import (
	"fmt"
	"math"
	"strings"
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
	Runs     int     `json:"runs"`
	Fails    int     `json:"fails"`
	Boots    int     `json:"boots"`
	Errors   int     `json:"errors,omitempty"`
	Failures []Count `json:"failures,omitempty"`
}

// Compare says whether a patch helps, by the outcomes of both kernels. Trials
// of one boot count for less than trials of many.
func Compare(base, patched []Outcome, confidence float64) PatchResult {
	// Any rate is thought possible, never and always most of all.
	g := comparisonGrid()
	r := PatchResult{Confidence: confidence}
	lb, lp := r.Base.tally(base, g), r.Patched.tally(patched, g)
	if r.Base.Runs == 0 || r.Patched.Runs == 0 {
		r.Effect = Unclear
		return r
	}
	prior := weights(g.prior)
	both := make(weights, len(lb))
	both.add(lb)
	both.add(lp)
	same, differ := prior.predict(both), prior.predict(lb)+prior.predict(lp)
	r.P = 1 / (1 + math.Exp(same-differ))
	less := float64(r.Patched.Fails)/float64(r.Patched.Runs) < float64(r.Base.Fails)/float64(r.Base.Runs)
	switch {
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
	return r
}

func comparisonGrid() *grid {
	means := []float64{.005, .01, .02, .04, .07, .11, .16, .23, .31, .4, .5, .6, .7, .8, .88, .94, .98}
	g := newGrid(point{mean: 1 - 1e-4}, .3, means, func(float64) float64 { return 1 }, []weighted{{0, .5}, {.1, .2}, {.3, .2}, {.6, .1}})
	for i := range g.prior {
		g.prior[i] += math.Log(.7)
	}
	g.points = append(g.points, point{mean: 1e-4})
	g.prior = append(g.prior, math.Log(.3))
	return g
}

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

func (s *Side) tally(outcomes []Outcome, g *grid) weights {
	boots := make(map[string]tally)
	for _, o := range outcomes {
		if o.Kind != KindVerdict {
			s.Errors++
			continue
		}
		t := boots[o.Boot]
		t.runs++
		s.Runs++
		if o.Failed() {
			t.hits++
			s.Fails++
		}
		boots[o.Boot] = t
	}
	s.Boots = len(boots)
	if t, ok := learnTarget(outcomes, Outcome.Failed); ok {
		s.Failures = append([]Count{{t.Signature, 0}}, t.Others...)
		for _, o := range outcomes {
			if o.Failed() && o.Signature() == t.Signature {
				s.Failures[0].Times++
			}
		}
	}
	w := make(weights, len(g.points))
	for _, t := range boots {
		w.add(g.cell(t))
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
	text := fmt.Sprintf("%s: without it %s failed, with it %s.", what, side(r.Base), side(r.Patched))
	if len(r.Appeared) > 0 {
		var list []string
		for _, s := range r.Appeared {
			list = append(list, s.String())
		}
		text += " New with it: " + strings.Join(list, ", ") + "."
	}
	return text
}
