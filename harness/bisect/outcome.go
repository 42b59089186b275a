package bisect

import (
	"cmp"

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
	return Signature{Verdict: o.Verdict, Phase: o.Phase, Step: o.Step}
}

// A Signature names a class of failures.
type Signature struct {
	Verdict scenarios.Verdict `json:"verdict"`
	Phase   string            `json:"phase"`
	Step    string            `json:"step,omitempty"`
}

func (s Signature) String() string {
	where := s.Phase
	if s.Step != "" {
		where = s.Step
		if s.Phase != scenarios.PhaseStep && s.Phase != scenarios.PhaseDone {
			where = s.Phase + " (" + s.Step + ")"
		}
	}
	if where == "" {
		return string(s.Verdict)
	}
	return string(s.Verdict) + " in " + where
}

// samePlace tells whether two signatures differ in their verdict only: then
// one may be the other's earlier form.
func (s Signature) samePlace(t Signature) bool {
	return s.Phase == t.Phase && s.Step == t.Step
}

func compareSignatures(a, b Signature) int {
	return cmp.Or(cmp.Compare(a.Verdict.Rank(), b.Verdict.Rank()), cmp.Compare(a.Phase, b.Phase), cmp.Compare(a.Step, b.Step))
}
