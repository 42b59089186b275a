package bisect

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/blockrig/blockrig/scenarios"
)

// Seen is what the trials of one kernel showed of the failure that is looked
// for. A trial without a verdict, or with another failure, is not counted.
type Seen struct {
	Name    string   `json:"name"` // of the kernel, for people: "7eac33186957", "its parent", "6.18.5"
	Hits    int      `json:"hits"`
	Runs    int      `json:"runs"`
	Boots   int      `json:"boots"`
	Trial   Outcome  `json:"trial"`            // one that shows it or, where none does, one that does not
	Others  []string `json:"others,omitempty"` // titles of the trials that do not show it
	Titles  []string `json:"titles,omitempty"` // of those that do, the most frequent first
	Said    string   `json:"said,omitempty"`   // what the step of Trial said: "EIO", "4096 bytes", "no answer"
	Legs    []string `json:"legs,omitempty"`   // of Trial, those that are not well
	First   string   `json:"first,omitempty"`  // of Trial, who failed first; "" where nobody looked
	Release string   `json:"release,omitempty"`
}

// See counts what trials show.
func See(rules Rules, t Target, outcomes []Outcome) Seen {
	l := newLens(rules, t)
	of := map[class][]Outcome{}
	for _, o := range outcomes {
		c, _ := l.class(&o)
		of[c] = append(of[c], o)
	}
	all := func(Outcome) bool { return true }
	runs := slices.Concat(of[classHit], of[classPass])
	s := Seen{Hits: len(of[classHit]), Runs: len(runs), Titles: titles(of[classHit], all), Others: titles(slices.Concat(of[classPass], of[classOther]), all)}
	boots := map[string]bool{}
	for _, o := range runs {
		boots[o.Boot] = true
	}
	s.Boots = len(boots)
	if len(runs) > 0 {
		s.Trial = runs[0]
	}
	return s
}

// Trials reads what the search in dir has recorded, by subject and in order.
// Another process may have it open.
func Trials(dir string) (map[Subject][]Outcome, error) {
	data, err := os.ReadFile(filepath.Join(dir, fileTrials))
	if err != nil {
		return nil, fmt.Errorf("read the trials of a bisection: %w", err)
	}
	out := map[Subject][]Outcome{}
	n := 0
	for line := range bytes.Lines(data) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			break // half a line: see State
		}
		n++
		var e entry
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", filepath.Join(dir, fileTrials), n, err)
		}
		if e.Trial != nil {
			out[e.Subject] = append(out[e.Subject], *e.Trial)
		}
	}
	return out, nil
}

// A symptom is what a failing trial shows of that which was looked for.
type symptom struct {
	step    string // its name
	nth     int    // see Outcome.Nth
	verdict scenarios.Verdict
	errno   string
	bytes   int64 // of a short transfer
	wrong   string
	title   string
	setup   bool // shown while the stack was built
	legs    bool // a leg was failed
}

// symptomOf says what of a failing trial is the failure that is looked for.
func symptomOf(t Target, expr *Expr, failing *Seen) symptom {
	var o Outcome
	if failing != nil {
		o = failing.Trial
	}
	sig := t.Signature
	s := symptom{step: sig.Step, nth: sig.Nth, verdict: sig.Verdict, errno: sig.Errno, bytes: sig.Bytes, wrong: sig.Wrong, title: sig.Title, setup: sig.Phase == scenarios.PhaseStack || sig.Phase == scenarios.PhaseDisks}
	shown := t.Titles
	if failing != nil {
		shown = failing.Titles
		s.legs = len(failing.Legs) > 0
	}
	if expr != nil && failing != nil && failing.Hits > 0 {
		s = matched(s, expr, o, shown)
	}
	switch {
	case s.verdict == scenarios.EIO && s.errno == "":
		s.errno = "EIO"
	case s.title == "" && (s.verdict == scenarios.Warn || s.verdict == scenarios.Bug || s.verdict == scenarios.Degraded && !s.legs):
		s.title = titleOf(s.verdict, shown)
	}
	return s
}

// titleOf picks the title that is most like a verdict's, of those shown.
func titleOf(v scenarios.Verdict, shown []string) string {
	for _, t := range shown {
		if verdictOf(t) == v {
			return t
		}
	}
	if v == scenarios.Degraded || len(shown) == 0 {
		return ""
	}
	return shown[0]
}

// verdictOf is what a title alone looks like.
func verdictOf(title string) scenarios.Verdict {
	switch {
	case strings.HasPrefix(title, "WARNING"), strings.HasPrefix(title, "possible "):
		return scenarios.Warn
	case strings.HasPrefix(title, "BUG"), strings.HasPrefix(title, "KASAN"), strings.Contains(title, "fault"), strings.Contains(title, "anic"):
		return scenarios.Bug
	}
	return scenarios.Degraded
}

// Does says in a few words what is looked for: "returns EIO", "triggers
// WARNING in bio_add_page". seen are trials that show it; nil when not known.
func (t Target) Does(seen *Seen) string {
	s := symptomOf(t, nil, seen)
	if t.Signature.Verdict != scenarios.Degraded {
		s.legs = false
	}
	return s.does()
}

// matched is the symptom that a condition is about: the errno, the titles or
// the verdict that it would hold for if the trial had shown nothing else.
func matched(s symptom, expr *Expr, o Outcome, shown []string) symptom {
	holds := func(alone Outcome) bool {
		alone.Kind, alone.Phase, alone.Step = KindVerdict, o.Phase, o.Step
		return expr.Holds(alone)
	}
	s.verdict, s.errno, s.bytes, s.wrong, s.title = o.Verdict, "", o.Bytes, o.Wrong, ""
	s.setup = o.Phase == scenarios.PhaseStack || o.Phase == scenarios.PhaseDisks
	if holds(Outcome{}) {
		return s // it says what must not be there
	}
	if o.Errno != "" && holds(Outcome{Errno: o.Errno}) {
		s.verdict, s.errno = scenarios.Errno, o.Errno
		return s
	}
	for _, t := range shown {
		if holds(Outcome{Titles: []string{t}}) {
			s.verdict, s.title, s.legs = verdictOf(t), t, false
			return s
		}
	}
	for _, v := range append([]scenarios.Verdict{o.Verdict}, o.Also...) {
		if holds(Outcome{Verdict: v}) || holds(Outcome{Also: []scenarios.Verdict{v}}) {
			s.verdict = v
			if v == scenarios.Errno {
				s.errno = o.Errno
			}
			return s
		}
	}
	s.errno = o.Errno // of several things together
	return s
}
