package hunt

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/blockrig/blockrig/scenarios"
)

// A Twist is what the host does beside a program: one fault, or a power cut. What
// it may cost is promised: nothing where a stack is redundant, and nothing that
// was flushed.
type Twist struct {
	At    int                 `json:"at"` // before the operation at that place; behind the last one for their number
	Fault *scenarios.Fault    `json:"fault,omitempty"`
	Cut   *scenarios.PowerCut `json:"power_cut,omitempty"`
}

// Kind is fault, or power cut.
func (t *Twist) Kind() string {
	switch {
	case t == nil:
		return ""
	case t.Fault != nil:
		return "fault"
	}
	return "power cut"
}

// String says a twist in a few words; "" for none.
func (t *Twist) String() string {
	switch {
	case t == nil:
		return ""
	case t.Fault != nil:
		what := "a " + t.Fault.Op
		if t.Fault.Op == "any" {
			what = "anything"
		}
		s := fmt.Sprintf("disk %s answers %s with EIO from operation %d on", t.Fault.Disk, what, t.At+1)
		if t.Fault.After > 0 {
			s += fmt.Sprintf(", after %d more requests", t.Fault.After)
		}
		if t.Fault.Count > 0 {
			s += fmt.Sprintf(", %d times", t.Fault.Count)
		}
		return s
	}
	return fmt.Sprintf("the power fails after the last operation, at a moment of before (%s) drawn by seed %d", t.Cut.At, t.Cut.Seed)
}

// survives are the parts that go on, and lose nothing, without one of their
// disks. A mirror without dmeventd holds failed writes for ever by its design
// (handle_errors), and is none.
var survives = []string{"md-raid1", "md-raid1-bitmap", "md-raid4", "md-raid5", "md-raid6", "md-raid10", "lvm-raid1", "lvm-raid4", "lvm-raid5", "lvm-raid6", "lvm-raid10"}

// Redundant says whether the stack promises to go on without one of its disks.
func (s Stack) Redundant() bool {
	return slices.ContainsFunc(s.parts, func(part string) bool { return slices.Contains(survives, part) })
}

// twistOf draws what happens beside a program with that number on a stack; nil
// where the stack promises nothing for it.
func twistOf(seed uint64, n int, s Stack, p Program, kind string) *Twist {
	r := rand.New(rand.NewPCG(seed^0x74776973, uint64(n)))
	if s.onMemory() {
		return nil // it has no disk that could fail, and loses all with the power
	}
	if kind == "power cut" {
		at := []string{"any", "any", "flush", "now"}[r.IntN(4)]
		return &Twist{At: len(p), Cut: &scenarios.PowerCut{At: at, Lose: "some", Seed: 1 + r.Int64N(1<<20)}}
	}
	if !s.Redundant() {
		return nil
	}
	f := &scenarios.Fault{
		Disk: fmt.Sprintf("d%d", 1+r.IntN(s.disks())), Do: "error", Errno: "EIO",
		Op: []string{"read", "write", "any"}[r.IntN(3)], After: r.Int64N(4), Count: []int64{0, 0, 1}[r.IntN(3)],
	}
	return &Twist{At: r.IntN(len(p) + 1), Fault: f}
}

// step is the step of a scenario that does it.
func (t *Twist) step() scenarios.Step {
	if t.Fault != nil {
		return scenarios.Step{Fault: t.Fault}
	}
	return scenarios.Step{PowerCut: t.Cut}
}

// Between two batches at least fewestTwisted programs are tried with a twist, of
// at most mostDrawn that are looked at.
const (
	fewestTwisted = 4
	mostDrawn     = 400
)

// twisted tries programs with what the host does beside them, each in a trial of
// its own, on one stack after the other, for about so long.
func (h *Hunt) twisted(ctx context.Context, about time.Duration) error {
	kinds := h.state.Request.twists()
	stacks := h.stacks[1:] // what the plain disk does with it is told when another differs
	if len(kinds) == 0 || len(stacks) == 0 {
		return nil
	}
	began, tried := time.Now(), 0
	for range mostDrawn {
		if h.left() <= 0 || tried >= fewestTwisted && time.Since(began) > about {
			return nil
		}
		n := h.state.NextTwist
		h.state.NextTwist++
		kind := kinds[n%len(kinds)]
		s := stacks[n/len(kinds)%len(stacks)]
		p := h.gen.Program(h.gen.Pairs() + n/len(kinds)/len(stacks))
		if !p.Changes() || h.skips(s, p) || h.knownBug(s, p) {
			continue
		}
		t := twistOf(h.state.Request.Seed, n, s, p, kind)
		if t == nil {
			continue
		}
		tried++
		if err := h.tryTwisted(ctx, s, n, p, t); err != nil {
			return err
		}
	}
	return nil
}

func (h *Hunt) tryTwisted(ctx context.Context, s Stack, n int, p Program, t *Twist) error {
	h.stop() // the memory is for the trial
	h.state.Twisted[t.Kind()]++
	suspect := Suspect{Stack: s.Name, Number: n, Program: p, At: -1, Twist: t}
	c := &confirmation{h: h, suspect: suspect, stack: s, program: p, in: setting{filled: true, twist: t}}
	r, err := c.trial(ctx, s, p, how{})
	if err == nil && r.Verdict == scenarios.Error {
		h.state.Twisted[noVerdict]++
	}
	if suspect.Guess = classOf(r); err != nil || suspect.Guess == "" {
		return err
	}
	suspect.Seen = []string{cmp.Or(r.Reason, string(r.Verdict))}
	for _, f := range h.state.said() {
		if f.Hunted == s.Name && f.Class == suspect.Guess && f.Twist.Kind() == t.Kind() {
			h.state.Alike++
			return nil
		}
	}
	h.state.Waiting = append(h.state.Waiting, suspect)
	return h.keep()
}

// knownBug says whether an operation of a program sets off a known bug on a
// stack.
func (h *Hunt) knownBug(s Stack, p Program) bool {
	return slices.ContainsFunc(p, func(o scenarios.IO) bool {
		return slices.ContainsFunc(h.Known, func(k Known) bool { return k.Loses == "" && k.fits(h.state.Release, triggerOf(s.Name, o)) })
	})
}

// twists are the kinds of twists that are asked for.
func (r Request) twists() (kinds []string) {
	if r.Faults {
		kinds = append(kinds, "fault")
	}
	if r.PowerCut {
		kinds = append(kinds, "power cut")
	}
	return kinds
}

// noVerdict counts programs with a twist of which no verdict could be had.
const noVerdict = "without a verdict"

// saysTwisted is how many programs were tried with a twist.
func (s *State) saysTwisted() string {
	var out []string
	for _, kind := range s.Request.twists() {
		out = append(out, fmt.Sprintf("%d with a %s", s.Twisted[kind], kind))
	}
	if n := s.Twisted[noVerdict]; n > 0 {
		out = append(out, fmt.Sprintf("%d of these %s", n, noVerdict))
	}
	return strings.Join(out, ", ")
}
