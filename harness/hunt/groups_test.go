package hunt

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/blockrig/blockrig/harness/trial"
	"github.com/blockrig/blockrig/scenarios"
)

// Given everything, then each part is there by itself and each two that can lie
// on each other, in machines that can be built, each stack once; the parts come
// before the pairs, whose order is the seed's.
func TestEverythingIsEveryPartAndEveryPair(t *testing.T) {
	all, err := ParseStacks([]string{Everything}, 1)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range all {
		names = append(names, s.Name)
	}
	for _, want := range []string{"md-raid4", "dm-era", "zram", "scsi_debug", "crypt-luks2", "xfs", "lvm-vdo", "crypt+md-raid1", "md-raid1+crypt", "null_blk+lvm-raid1", "lvm-raid1+btrfs", "dm-delay+md-raid10"} {
		if !slices.Contains(names, want) {
			t.Errorf("no %s", want)
		}
	}
	parts := len(StackNames())
	if slices.ContainsFunc(names[:parts+1], func(n string) bool { return strings.Contains(n, "+") }) || len(names) < 20*parts {
		t.Errorf("%d stacks of %d parts: %v", len(names), parts, names[:parts+1])
	}
	seen := map[string]bool{}
	groups := grouped(all)
	for i, g := range groups {
		disks, debug := 1, 0
		for _, name := range g.Stacks {
			s := must(t, name)
			disks += s.disks()
			if s.parts[0] == "scsi_debug" {
				debug++
			}
			if seen[name] {
				t.Errorf("%s is there twice", name)
			}
			seen[name] = true
		}
		if disks > mostDisks || debug > 1 || len(g.Stacks) == 0 || len(g.Stacks) > mostStacks {
			t.Errorf("machine %d has %d disks, %d of scsi_debug: %v", i, disks, debug, g.Stacks)
		}
		if i%20 > 0 {
			continue // it takes its time
		}
		stacks, err := ParseStacks(g.Stacks, 0)
		if err == nil {
			_, err = newField(stacks)
		}
		if err != nil {
			t.Errorf("machine %d: %v", i, err)
		}
	}
	if len(seen) != len(all)-1 {
		t.Errorf("%d of %d stacks are in a machine", len(seen), len(all)-1)
	}
	other, err := ParseStacks([]string{Everything}, 2)
	if err != nil || slices.EqualFunc(all, other, func(a, b Stack) bool { return a.Name == b.Name }) {
		t.Errorf("another seed gives the same order (%v)", err)
	}
}

// building is a hunt on everything of a few stacks, on a kernel that can't build
// some.
func building(t *testing.T, why func(h *Hunt) error, stacks ...string) (*Hunt, *State) {
	t.Helper()
	s := NewState(Request{Kernel: "made-up", Stacks: []string{Everything}, Seed: 1, Budget: time.Hour})
	s.Groups = []Group{{Stacks: stacks}}
	h := &Hunt{}
	if err := h.begin(s); err != nil {
		t.Fatal(err)
	}
	h.open = func(context.Context) error { return why(h) }
	return h, s
}

func has(h *Hunt, name string) int {
	return slices.IndexFunc(h.stacks, func(s Stack) bool { return s.Name == name })
}

// Given a stack that a kernel can't build, then it alone is left out, with the
// reason: where the guest names its layer, and where nobody does.
func TestAStackThatCanNotBeBuiltIsLeftOut(t *testing.T) {
	for said, why := range map[string]func(h *Hunt) error{
		"named": func(h *Hunt) error {
			if i := has(h, "dm-era"); i >= 0 {
				bad := &trial.NotReadyError{}
				bad.Outcome.Verdict, bad.Outcome.Reason = scenarios.Error, "build the stack: layer "+h.field.Tops["dm-era"]+": no"
				return bad
			}
			return nil
		},
		"in a tool's command": func(h *Hunt) error {
			if has(h, "dm-era") >= 0 {
				bad := &trial.NotReadyError{}
				bad.Outcome.Verdict, bad.Outcome.Reason = scenarios.Error, "in the guest: lvm lvcreate -n cache -- "+h.field.Tops["dm-era"]+"/lvol0: exit status 5"
				return bad
			}
			return nil
		},
		"not named": func(h *Hunt) error {
			if has(h, "dm-era") >= 0 {
				return &trial.NotReadyError{Outcome: trial.Outcome{}}
			}
			return nil
		},
	} {
		t.Run(said, func(t *testing.T) {
			h, s := building(t, why, "md-raid1", "lvm-raid1", "dm-era", "crypt", "loop")
			for s.At = 0; s.At < len(s.Groups); {
				ok, err := h.enter(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if ok {
					s.At++
				} else {
					s.Groups = slices.Delete(s.Groups, s.At, s.At+1)
				}
			}
			if len(s.LeftOut) != 1 || s.LeftOut[0].Stack != "dm-era" || s.LeftOut[0].Why == "" {
				t.Errorf("left out: %+v", s.LeftOut)
			}
			if names := s.StackNames(); !slices.Equal(names, []string{"md-raid1", "lvm-raid1", "crypt", "loop"}) {
				t.Errorf("hunted on: %v", names)
			}
		})
	}
}

// Given a machine that is never ready, whatever is on it, then that is an error,
// and no stack's fault.
func TestAHostThatStartsNothingIsAnError(t *testing.T) {
	broken := errors.New("no QEMU")
	h, s := building(t, func(*Hunt) error { return broken }, "md-raid1", "lvm-raid1", "crypt")
	if _, err := h.enter(t.Context()); !errors.Is(err, broken) || len(s.LeftOut) != 0 {
		t.Errorf("%v, left out: %v", err, s.LeftOut)
	}
}

// Given a bug of one part, then it is one finding, on whatever that part lies and
// whatever lies on it.
func TestABugOfAPartIsFoundOnceInPairs(t *testing.T) {
	k := sound()
	bad := func(stack string, o scenarios.IO) bool { return strings.Contains(stack, "md-raid1") && misread(o) }
	k.answer = func(stack string, o scenarios.IO) string {
		if bad(stack, o) {
			return "EIO"
		}
		return ""
	}
	k.verdict = func(stack string, o scenarios.IO) scenarios.Verdict {
		if bad(stack, o) {
			return scenarios.Errno
		}
		return scenarios.Pass
	}
	s := hunting(t, k, 4, "md-raid1", "dm-delay+md-raid1", "md-raid1+dm-flakey")
	if len(s.Findings) != 1 || s.Findings[0].Stack != "md-raid1" || s.Alike == 0 {
		t.Fatalf("%d findings, %d alike: %+v", len(s.Findings), s.Alike, s.Findings)
	}
}
