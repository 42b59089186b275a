package bisect

import (
	"fmt"
	"slices"

	"github.com/blockrig/blockrig/harness/text"
)

// A Record is a mark and what it rests on.
type Record struct {
	Commit  string     `json:"commit"`
	Mark    Mark       `json:"mark"`
	Fails   bool       `json:"fails"`             // the failure was there
	P       float64    `json:"p,omitempty"`       // that the mark is right; 0 for a skip
	Why     string     `json:"why,omitempty"`     // of a skip
	Other   *Signature `json:"other,omitempty"`   // another failure than the target
	Runs    int        `json:"runs"`              // trials that failed or passed
	Hits    int        `json:"hits"`              // of which failed
	Others  int        `json:"others,omitempty"`  // trials that failed in another way
	Errors  int        `json:"errors,omitempty"`  // trials without a verdict
	Boots   int        `json:"boots"`             // boots of the runs
	Drift   []string   `json:"drift,omitempty"`   // titles of its failures that the target did not have
	SameAs  string     `json:"same_as,omitempty"` // its kernel is the same binary as this commit's
	Retried bool       `json:"retried,omitempty"` // tried again after later marks
	Release string     `json:"release,omitempty"`
	Log     string     `json:"log,omitempty"` // of a build that failed
}

// Seen is how many of a commit's trials failed, for people.
func (r Record) Seen() string { return seen(r.Hits, r.Runs, r.Boots) }

func seen(hits, runs, boots int) string {
	return fmt.Sprintf("%d of %d trials failed in %s", hits, runs, text.Count(boots, "boot"))
}

// finding is what the commit's trials came to, for people.
func (r Record) finding() string {
	if r.Why != "" {
		return r.Why
	}
	return r.Seen()
}

// String is a line for people; "" when there is nothing to say.
func (e Event) String() string {
	r := e.Record
	if r == nil {
		return e.Note
	}
	state := "passes"
	switch {
	case r.Other != nil:
		state = "other"
	case r.Mark == Skip:
		state = "skipped"
	case r.Fails:
		state = "fails"
	}
	line := fmt.Sprintf("%-10s %-12s  %s: %s", e.Stage, short(r.Commit), state, r.finding())
	if r.Why == "" {
		line += fmt.Sprintf(", p=%.6g", min(r.P, .999999))
	}
	if r.SameAs != "" {
		line += "; the same binary as " + short(r.SameAs)
	}
	if e.Stage == "step" && e.Left > 0 {
		line += fmt.Sprintf(" (about %s left)", text.Count(e.Left, "commit"))
	}
	return line
}

// Lines say what was seen when the search stopped, for people.
func (e *StopError) Lines() []string {
	var out []string
	for _, r := range e.Seen {
		out = append(out, fmt.Sprintf("seen: %s: %s", short(r.Commit), r.finding()))
	}
	return out
}

func (s *search) record(commit string, k *kernel, j judgement) Record {
	e := s.evidenceOf(k, 0)
	r := Record{
		Commit: commit, Mark: s.mark(j.state), Fails: j.state == stateFails,
		Why:  j.why,
		Runs: e.runs(), Hits: e.hits, Others: e.otherRuns, Errors: e.errors + e.bootFailures,
		Boots: len(e.boots), Release: k.prepared.Release, Log: k.prepared.Log,
	}
	switch j.state {
	case stateFails, statePasses:
		r.P = j.p
	case stateOther:
		r.Other = &j.other
	}
	if k.subject.Commit != commit {
		r.SameAs = k.subject.Commit
	}
	hit := func(o Outcome) bool {
		class, _ := s.lens.class(&o)
		return class == classHit
	}
	for _, t := range titles(k.outcomes, hit) {
		if !slices.Contains(s.target.Titles, t) && !slices.ContainsFunc(s.lens.known, func(o Signature) bool { return o.Title == t }) {
			r.Drift = append(r.Drift, t)
		}
	}
	return r
}
