package report

import (
	"fmt"
	"strings"

	"github.com/blockrig/blockrig/harness/text"
)

// Headline is the report in a line: "2 new failures, 1 fixed".
func (r Report) Headline() string {
	count := map[Kind]int{}
	known := 0
	for _, c := range r.Changes {
		if c.Known != nil {
			known++
			continue
		}
		count[c.Kind]++
	}
	var parts []string
	for _, k := range Kinds {
		if n := count[k]; n > 0 {
			parts = append(parts, numbered(n, k))
		}
	}
	if known > 0 {
		parts = append(parts, fmt.Sprintf("%d known", known))
	}
	if n := len(r.Hunted); n > 0 {
		parts = append(parts, fmt.Sprintf("%d found by a hunt", n))
	}
	if len(parts) == 0 {
		return "nothing changed"
	}
	return strings.Join(parts, ", ")
}

// numbered is a number of changes of a kind.
func numbered(n int, k Kind) string {
	name := string(k)
	if n > 1 && strings.HasSuffix(name, "failure") {
		name += "s"
	}
	return fmt.Sprintf("%d %s", n, name)
}

// in says how often a side failed: "3 of 20 (5% to 36%)".
func (t Tally) in() string {
	if t.Judged() == 0 {
		return "no trial with a verdict"
	}
	s := fmt.Sprintf("%d of %d", t.Failures, t.Judged())
	if t.Judged() > 1 {
		s += fmt.Sprintf(" (%s to %s)", percent(t.Interval.Low), percent(t.Interval.High))
	}
	return s
}

func percent(rate float64) string { return fmt.Sprintf("%.3g%%", 100*rate) }

// sure is a probability for people: never that of certainty.
func sure(p float64) string { return fmt.Sprintf("%.5g%%", 100*min(p, .99999)) }

// ranOn says what the report is of: "6 trials of 3 cases on 1 kernel; 2
// failed, 0 without a verdict".
func (r Report) ranOn() string {
	all := r.totals()
	s := fmt.Sprintf("%s of %s on %s; %d failed, %d without a verdict",
		text.Count(all.Trials, "trial"), text.Count(len(r.Cases), "case"), text.Count(len(r.Kernels), "kernel"), all.Failures, all.Errors)
	if n := r.HuntTrials; n > 0 {
		s += fmt.Sprintf("; %s of hunts", text.Count(n, "more trial"))
	}
	return s
}

// totals are those of the cases. A hunt's own trials are none of them: each has
// a program of its own, and most are there to fail.
func (r Report) totals() (all Tally) {
	for _, c := range r.Cases {
		for _, cell := range c.Cells {
			all.Trials += cell.Trials
			all.Failures += cell.Failures
			all.Errors += cell.Errors
		}
	}
	return all
}
