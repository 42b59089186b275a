package hunt

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/blockrig/blockrig/results"
	"github.com/blockrig/blockrig/scenarios"
	"github.com/blockrig/blockrig/scenarios/programs"
)

// Given the same seed and number, then a program has the same twist; a fault is
// one of a disk that a redundant stack has, and each makes a scenario that can be
// read.
func TestTwists(t *testing.T) {
	gen := programs.NewGenerator(1)
	for _, name := range append(StackNames(), Plain, "crypt+md-raid1", "md-raid1+ext4") {
		s := must(t, name)
		for n := range 8 {
			p := gen.Program(gen.Pairs() + n)
			for _, kind := range (Request{Faults: true, PowerCut: true}).twists() {
				twist := twistOf(1, n, s, p, kind)
				if again := twistOf(1, n, s, p, kind); again.String() != twist.String() {
					t.Fatalf("%s, then %s", twist, again)
				}
				if twist == nil {
					if !s.onMemory() && (kind != "fault" || s.Redundant()) {
						t.Errorf("%s: no %s", name, kind)
					}
					continue
				}
				if kind == "fault" && (!s.Redundant() || !hasDisk(s, twist.Fault.Disk)) {
					t.Errorf("%s: %s", name, twist)
				}
				if slices.ContainsFunc(p, func(o scenarios.IO) bool { return s.OnFile() && (o.Op == "zeroes" || o.Op == "discard") }) {
					continue
				}
				_, c, err := single("try", "A program.", s, p, setting{filled: true, twist: twist})
				if err != nil {
					t.Fatalf("%s, %s, %s: %v", name, p, twist, err)
				}
				if !slices.ContainsFunc(c.Steps, func(st scenarios.Step) bool { return st.Fault != nil || st.PowerCut != nil }) {
					t.Errorf("%s: %s is not in the scenario", name, twist)
				}
			}
		}
	}
}

// Given a kernel that loses an acknowledged write when the power fails after a
// flush, then a hunt that cuts the power finds that once, and makes it small; one
// that does not cut it finds nothing.
func TestAHuntCutsThePower(t *testing.T) {
	for _, cut := range []bool{true, false} {
		s := NewState(Request{Kernel: "made-up", Stacks: []string{"md-raid1"}, Seed: 1, Budget: time.Hour, PowerCut: cut, Faults: true})
		h := &Hunt{}
		if err := h.begin(s); err != nil {
			t.Fatal(err)
		}
		trials := 0
		h.try = func(_ context.Context, _ kernelRef, c scenarios.Case, _ how) (results.Record, error) {
			trials++
			r := results.Record{Verdict: scenarios.Pass, Outcome: "data"}
			wrote := func(st scenarios.Step) bool { return st.IO != nil && st.IO.Writes() && st.Name != "fill" }
			cut := func(st scenarios.Step) bool { return st.PowerCut != nil }
			if slices.ContainsFunc(c.Steps, wrote) && slices.ContainsFunc(c.Steps, cut) && len(c.Setup.Stack) > 0 && c.Setup.Stack[0].MD != nil {
				r.Verdict = scenarios.Corrupt
			}
			return r, nil
		}
		h.began = time.Now()
		for range 10 {
			if err := h.twisted(t.Context(), 0); err != nil {
				t.Fatal(err)
			}
			if err := h.lookInto(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if !cut {
			if len(s.Findings) != 0 || trials == 0 || s.Twisted["fault"] == 0 || s.Twisted["power cut"] != 0 {
				t.Errorf("%d findings, %d trials, %v", len(s.Findings), trials, s.Twisted)
			}
			continue
		}
		if len(s.Findings) != 1 || s.Alike == 0 {
			t.Fatalf("%d findings, %d alike, %d trials", len(s.Findings), s.Alike, trials)
		}
		if f := s.Findings[0]; f.Class != LosesData || len(f.Program) != 1 || f.Twist.Kind() != "power cut" || f.Plain != "pass, data" {
			t.Errorf("%s %s: %s, %s; the plain disk: %s", f.Stack, f.Class, f.Says, f.Twist, f.Plain)
		}
	}
}

// Given a program that fails beside a fault, and as well without one, then the
// finding has none.
func TestAFaultThatDoesNotMatterIsLeftOut(t *testing.T) {
	k := sound()
	k.verdict = func(stack string, o scenarios.IO) scenarios.Verdict {
		if stack == "md-raid1" && o.Writes() {
			return scenarios.Corrupt
		}
		return scenarios.Pass
	}
	h := huntOn(t, k, nil, "md-raid1")
	fault := &Twist{Fault: &scenarios.Fault{Disk: "d1", Do: "error", Errno: "EIO", Op: "any"}}
	s := Suspect{Stack: "md-raid1", Program: Program{{Op: "pwrite", Direct: true, Length: 512}}, Guess: LosesData, At: -1, Twist: fault}
	if err := h.investigate(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if len(h.state.Findings) != 1 || h.state.Findings[0].Twist != nil {
		t.Errorf("%+v", h.state.Findings)
	}
}
