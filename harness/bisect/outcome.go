package bisect

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/scenarios"
)

// A Kind says what came of a trial.
type Kind string

// Kinds of outcomes. Only a verdict says something about the kernel under
// test; the others say why there is none.
const (
	KindVerdict Kind = "verdict"
	KindError   Kind = "error"         // harness, QEMU or tools; may go away when tried again
	KindBoot    Kind = "boot-failure"  // the kernel did not come up
	KindBuild   Kind = "build-failure" // there is no kernel to boot
	KindNone    Kind = "not-possible"  // what was asked for can't be made: a revert that does not apply
)

// An Outcome is what one trial of one commit showed.
type Outcome struct {
	Kind    Kind                `json:"kind"`
	Verdict scenarios.Verdict   `json:"verdict,omitempty"` // for KindVerdict
	Also    []scenarios.Verdict `json:"also,omitempty"`
	Phase   string              `json:"phase,omitempty"`
	Step    string              `json:"step,omitempty"` // the last that was begun
	// Nth is which of the steps with that name it is, from 1; 0 where there is
	// one only, or it is not known.
	Nth int `json:"nth,omitempty"`
	// Done are the names of the steps before it, which ended as they should.
	Done   []string `json:"done,omitempty"`
	Errno  string   `json:"errno,omitempty"`
	Bytes  int64    `json:"bytes,omitempty"`  // that the step gave
	Wrong  string   `json:"wrong,omitempty"`  // of the verdict corrupt: what is wrong, one of the Wrong constants
	Titles []string `json:"titles,omitempty"` // of the findings, normalised
	// Shows is each thing that a failing trial shows, the worst first: what
	// the step answered, wrong data, a leg that failed, each WARN and BUG by
	// its title. Nil where an older blockrig recorded the trial.
	Shows []Signature `json:"shows,omitempty"`
	// NoAnswer says that the step did not return, so that what it would have
	// answered is not known.
	NoAnswer bool    `json:"no_answer,omitempty"`
	Boot     string  `json:"boot,omitempty"`   // boot ID; trials of one boot are not independent
	Reason   string  `json:"reason,omitempty"` // for every other kind: what went wrong
	Where    string  `json:"where,omitempty"`  // the trial's record, or the build's log
	Seconds  float64 `json:"seconds,omitempty"`
	// Host says of an error that it is this machine's, not one that comes
	// with the kernel, such as a stack that can't be built.
	Host bool `json:"host,omitempty"`
}

// Failed tells whether the kernel got a verdict other than pass.
func (o Outcome) Failed() bool {
	return o.Kind == KindVerdict && o.Verdict != scenarios.Pass
}

// shown is Shows, made of the verdicts where it was not recorded: then no
// title is known to be of one of them, but for the verdict itself.
func (o Outcome) shown() []Signature {
	if o.Shows != nil || !o.Failed() {
		return o.Shows
	}
	var list []Signature
	for _, v := range append([]scenarios.Verdict{o.Verdict}, o.Also...) {
		of := o
		of.Verdict = v
		s := of.Signature()
		if v != o.Verdict || !s.titled() || len(o.Titles) == 0 {
			list = append(list, s)
			continue
		}
		for _, t := range o.Titles {
			s.Title = t
			list = append(list, s)
		}
	}
	return list
}

// Signature is what two failures must share to be the same one, apart from
// titles.
func (o Outcome) Signature() Signature {
	s := Signature{Verdict: o.Verdict, Phase: o.Phase, Step: o.Step, Nth: o.Nth}
	switch {
	case o.Verdict == scenarios.Errno && o.Wrong == WrongCheck:
		s.Wrong = o.Wrong
	case o.Verdict == scenarios.Corrupt:
		s.Wrong = o.Wrong
	case o.Verdict == scenarios.Errno && o.Errno == "":
		s.Short, s.Bytes = true, o.Bytes
	case o.Verdict == scenarios.Errno:
		s.Errno = o.Errno
	}
	return s
}

// What can be wrong with data.
const (
	WrongData    = "data"    // not what was written there
	WrongOverrun = "overrun" // bytes changed outside of what was asked for
	WrongCheck   = "check"   // what the step demands does not hold
)

// A Signature names a class of failures.
type Signature struct {
	Verdict scenarios.Verdict `json:"verdict"`
	Phase   string            `json:"phase"`
	// Step is where it was seen; "" of what the kernel said in a case of several
	// steps, of which it names none.
	Step  string `json:"step,omitempty"`
	Nth   int    `json:"nth,omitempty"`   // as an outcome's
	Errno string `json:"errno,omitempty"` // of the verdict errno
	Short bool   `json:"short,omitempty"` // of the verdict errno: only Bytes came, and no errno
	Bytes int64  `json:"bytes,omitempty"`
	Wrong string `json:"wrong,omitempty"` // of the verdict corrupt, or of what a step demands
	// Place is the first byte that is wrong, "byte 512"; "" where it is not
	// known, or where it is another one each time: a race shows in many places.
	Place string `json:"place,omitempty"`
	// Title is that of a warn or a bug; "" where it is not known.
	Title string `json:"title,omitempty"`
}

// titled tells whether it is the title that says which failure it is.
func (s Signature) titled() bool { return s.Verdict == scenarios.Warn || s.Verdict == scenarios.Bug }

// result tells whether it is the step's answer: it has one only.
func (s Signature) result() bool {
	return s.Verdict == scenarios.EIO || s.Verdict == scenarios.Errno || s.Verdict == scenarios.Corrupt
}

// same tells whether both may be the same failure: what one of them leaves
// open makes no difference.
func (s Signature) same(t Signature) bool {
	if s.Title == "" || t.Title == "" {
		s.Title, t.Title = "", ""
	}
	if s.Place == "" || t.Place == "" {
		s.Place, t.Place = "", ""
	}
	if s.Step == "" || t.Step == "" {
		s.Step, t.Step, s.Nth, t.Nth = "", "", 0, 0
	}
	if s.Nth == 0 || t.Nth == 0 {
		s.Nth, t.Nth = 0, 0
	}
	if s.Wrong == "" || t.Wrong == "" { // where only a record is left
		s.Wrong, t.Wrong = "", ""
	}
	return s == t
}

// among tells whether it may be one of a list's.
func (s Signature) among(list []Signature) bool { return slices.ContainsFunc(list, s.same) }

func (s Signature) String() string {
	where := s.Phase
	switch {
	case s.Step != "":
		where = s.Step
		if s.Nth > 0 {
			where = ordinal(s.Nth) + " " + where
		}
		if s.Phase != scenarios.PhaseStep && s.Phase != scenarios.PhaseDone {
			where = s.Phase + " (" + where + ")"
		}
	case s.Phase == scenarios.PhaseStep:
		where = ""
	}
	line := string(s.Verdict)
	if s.Errno != "" {
		line += " " + s.Errno
	}
	if where != "" {
		line += " in " + where
	}
	switch {
	case s.Short:
		line += ": " + text.Count(s.Bytes, "byte")
	case s.Wrong == WrongOverrun:
		line += ": bytes outside of what was asked for"
	case s.Wrong == WrongCheck:
		line += ": not as it demands"
	}
	if s.Place != "" {
		line += " at " + s.Place
	}
	if s.Title != "" {
		line += fmt.Sprintf(" (%q)", s.Title)
	}
	return line
}

// samePlace tells whether two signatures differ in their verdict and result
// only: then one may be the other's earlier form.
func (s Signature) samePlace(t Signature) bool {
	return s.Phase == t.Phase && (s.Step == "" || t.Step == "" || s.Step == t.Step && (s.Nth == 0 || t.Nth == 0 || s.Nth == t.Nth))
}

// ordinal is "2nd" of 2.
func ordinal(n int) string {
	end := "th"
	if tens := n / 10 % 10; tens != 1 && n%10 >= 1 && n%10 <= 3 {
		end = []string{"st", "nd", "rd"}[n%10-1]
	}
	return fmt.Sprint(n, end)
}

func compareSignatures(a, b Signature) int {
	return cmp.Or(cmp.Compare(a.Verdict.Rank(), b.Verdict.Rank()), cmp.Compare(a.Phase, b.Phase), cmp.Compare(a.Step, b.Step), cmp.Compare(a.Nth, b.Nth),
		cmp.Compare(a.Errno, b.Errno), cmp.Compare(a.Bytes, b.Bytes), cmp.Compare(a.Wrong, b.Wrong), cmp.Compare(a.Place, b.Place), cmp.Compare(a.Title, b.Title))
}
