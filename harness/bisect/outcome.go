package bisect

import (
	"cmp"
	"fmt"

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
	Step    string              `json:"step,omitempty"`
	Errno   string              `json:"errno,omitempty"`
	Bytes   int64               `json:"bytes,omitempty"`  // that the step gave
	Wrong   string              `json:"wrong,omitempty"`  // of the verdict corrupt: what is wrong, one of the Wrong constants
	Titles  []string            `json:"titles,omitempty"` // of the findings, normalised
	Boot    string              `json:"boot,omitempty"`   // boot ID; trials of one boot are not independent
	Reason  string              `json:"reason,omitempty"` // for every other kind: what went wrong
	Where   string              `json:"where,omitempty"`  // the trial's record, or the build's log
	Seconds float64             `json:"seconds,omitempty"`
	// Host says of an error that it is this machine's, not one that comes
	// with the kernel, such as a stack that can't be built.
	Host bool `json:"host,omitempty"`
}

// Failed tells whether the kernel got a verdict other than pass.
func (o Outcome) Failed() bool {
	return o.Kind == KindVerdict && o.Verdict != scenarios.Pass
}

// Signature is what two failures must share to be the same one.
func (o Outcome) Signature() Signature {
	s := Signature{Verdict: o.Verdict, Phase: o.Phase, Step: o.Step}
	switch {
	case o.Verdict == scenarios.Corrupt:
		s.Wrong = o.Wrong
	case o.Verdict == scenarios.Errno && o.Errno == "":
		s.Short, s.Bytes = true, o.Bytes
	case o.Verdict == scenarios.Errno:
		s.Errno = o.Errno
	}
	return s
}

// What can be wrong with data. Where it is wrong is no part of a signature: a
// race shows in many places.
const (
	WrongData    = "data"    // not what was written there
	WrongOverrun = "overrun" // bytes changed outside of what was asked for
)

// A Signature names a class of failures.
type Signature struct {
	Verdict scenarios.Verdict `json:"verdict"`
	Phase   string            `json:"phase"`
	Step    string            `json:"step,omitempty"`
	Errno   string            `json:"errno,omitempty"` // of the verdict errno
	Short   bool              `json:"short,omitempty"` // of the verdict errno: only Bytes came, and no errno
	Bytes   int64             `json:"bytes,omitempty"`
	Wrong   string            `json:"wrong,omitempty"` // of the verdict corrupt
}

func (s Signature) String() string {
	where := s.Phase
	if s.Step != "" {
		where = s.Step
		if s.Phase != scenarios.PhaseStep && s.Phase != scenarios.PhaseDone {
			where = s.Phase + " (" + s.Step + ")"
		}
	}
	text := string(s.Verdict)
	if s.Errno != "" {
		text += " " + s.Errno
	}
	if where != "" {
		text += " in " + where
	}
	switch {
	case s.Short:
		text += fmt.Sprintf(": %d bytes", s.Bytes)
	case s.Wrong == WrongOverrun:
		text += ": bytes outside of what was asked for"
	}
	return text
}

// samePlace tells whether two signatures differ in their verdict and result
// only: then one may be the other's earlier form.
func (s Signature) samePlace(t Signature) bool {
	return s.Phase == t.Phase && s.Step == t.Step
}

func compareSignatures(a, b Signature) int {
	return cmp.Or(cmp.Compare(a.Verdict.Rank(), b.Verdict.Rank()), cmp.Compare(a.Phase, b.Phase), cmp.Compare(a.Step, b.Step),
		cmp.Compare(a.Errno, b.Errno), cmp.Compare(a.Bytes, b.Bytes), cmp.Compare(a.Wrong, b.Wrong))
}
