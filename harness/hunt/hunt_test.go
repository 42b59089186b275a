package hunt

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/blockrig/blockrig/harness/trial"
	"github.com/blockrig/blockrig/initramfs/protocol"
	"github.com/blockrig/blockrig/results"
	"github.com/blockrig/blockrig/scenarios"
	"github.com/blockrig/blockrig/scenarios/language"
	"github.com/blockrig/blockrig/scenarios/programs"
)

// A kernel is a made-up one: what each stack does with an operation.
type kernel struct {
	// answer of a stack to an operation; "" is all of the data
	answer func(stack string, o scenarios.IO) string
	// stops says what an operation does to the machine, too; nil: nothing
	stops func(stack string, o scenarios.IO) *protocol.Swept
	// verdict of a trial of an operation on a stack, that fits the above
	verdict func(stack string, o scenarios.IO) scenarios.Verdict

	starts, trials, cold int
	since                string
	broken               int  // so many sweeps fail by the host's doing
	silent               bool // what stops it ends the conversation without a word
	disobeys             bool // it does what it is told to skip, and speaks of what there is not
}

// A guest is a machine with that kernel.
type guest struct {
	k    *kernel
	tops map[string]string // stack by top
	dead bool
}

func (g *guest) End() trial.Outcome { return trial.Outcome{} }

func (g *guest) Ran() time.Duration { return 0 }

func (g *guest) Sweep(_ context.Context, w protocol.Sweep, took func(protocol.Swept)) error {
	if g.dead {
		return errors.New("a machine that was broken is used")
	}
	if g.k.broken > 0 {
		g.k.broken--
		g.dead = true
		return errors.New("the host is in trouble")
	}
	all := w.Drawn.Programs(&programs.Generator{})
	some := len(all)
	if g.k.disobeys {
		for _, n := range []int{-1, some, math.MaxInt} {
			took(protocol.Swept{Part: w.Parts[0], From: n, At: n, Answers: [][]string{{"EIO"}}})
		}
	}
	if w.Each {
		some = 1
	}
	for from := 0; from < len(all); from += some {
		for i, part := range w.Parts {
			s := protocol.Swept{Part: part, From: from, At: -1, Writes: int64(some), Answers: make([][]string, some)}
			var stop *protocol.Swept
			for n := range some {
				if slices.Contains(w.Skip[part], from+n) && !g.k.disobeys {
					continue
				}
				for place, o := range all[from+n] {
					s.Answers[n] = append(s.Answers[n], g.k.answer(g.tops[part], o))
					if st := g.k.stops(g.tops[part], o); st != nil && stop == nil {
						stop = st
						if st.Hung != nil {
							stop.At, stop.Operation = from+n, place
						}
					}
				}
				if stop != nil && stop.Hung != nil {
					s.Answers = nil
					break
				}
			}
			if stop != nil && g.k.silent {
				g.dead = true
				return trial.ErrSweepOver
			}
			if stop != nil {
				g.dead, s.Stopped, s.Hung, s.Changed, s.Legs = true, true, stop.Hung, stop.Changed, stop.Legs
				if stop.Hung != nil {
					s.At, s.Operation = stop.At, stop.Operation
				}
			}
			s.Last = s.Stopped || from+some >= len(all) && i == len(w.Parts)-1
			took(s)
			if s.Stopped {
				return nil
			}
		}
	}
	return nil
}

// hunting hunts on a made-up kernel for so many batches.
func hunting(t *testing.T, k *kernel, batches int, stacks ...string) *State {
	t.Helper()
	return huntingKnown(t, k, batches, nil, stacks...)
}

func huntingKnown(t *testing.T, k *kernel, batches int, known []Known, stacks ...string) *State {
	t.Helper()
	h := huntOn(t, k, known, stacks...)
	for range batches {
		if _, err := h.batch(t.Context(), most); err != nil {
			t.Fatal(err)
		}
		if err := h.lookInto(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return h.state
}

// huntOn begins a hunt on a made-up kernel.
func huntOn(t *testing.T, k *kernel, known []Known, stacks ...string) *Hunt {
	t.Helper()
	s := NewState(Request{Kernel: "made-up", Since: k.since, Stacks: stacks, Seed: 1, Budget: time.Hour})
	h := &Hunt{Known: known}
	if err := h.begin(s); err != nil {
		t.Fatal(err)
	}
	tops := map[string]string{}
	for stack, top := range h.field.Tops {
		tops[top] = stack
	}
	h.start = func(context.Context) (sweeper, error) {
		k.starts++
		return &guest{k: k, tops: tops}, nil
	}
	h.try = func(_ context.Context, ref kernelRef, c scenarios.Case, w how) (results.Record, error) {
		k.trials++
		if ref.ref == "without" {
			return results.Record{Verdict: scenarios.Pass, Outcome: "data"}, nil
		}
		if w.cold {
			k.cold++
		}
		stack := Plain
		for _, name := range stacks {
			var setup scenarios.Setup
			must(t, name).Build(&setup, "")
			if cmp.Equal(setup.Stack, c.Setup.Stack) || len(setup.Stack) == len(c.Setup.Stack) && len(setup.Disks) == len(c.Setup.Disks) && setup.Stack[0].Kind() == c.Setup.Stack[0].Kind() {
				stack = name
			}
		}
		r := results.Record{Verdict: scenarios.Pass, Outcome: "data"}
		for _, st := range c.Steps {
			if st.IO == nil || st.Name == "fill" {
				continue
			}
			if v := k.verdict(stack, *st.IO); v.Failure() {
				r.Verdict = v
			}
		}
		return r, nil
	}
	h.began = time.Now()
	return h
}

func sound() *kernel {
	return &kernel{
		answer:  func(string, scenarios.IO) string { return "" },
		stops:   func(string, scenarios.IO) *protocol.Swept { return nil },
		verdict: func(string, scenarios.IO) scenarios.Verdict { return scenarios.Pass },
	}
}

// Given a kernel without bugs, and one whose stacks differ within what is
// documented, then nothing is found, and one machine does it all.
func TestNothingIsFoundWhereNothingIs(t *testing.T) {
	for name, answer := range map[string]func(string, scenarios.IO) string{
		"all the same": func(string, scenarios.IO) string { return "" },
		"misaligned memory is refused by one": func(stack string, o scenarios.IO) string {
			if right(o, Stack{}, "EINVAL") && stack != Plain {
				return "EINVAL"
			}
			return ""
		},
	} {
		t.Run(name, func(t *testing.T) {
			k := sound()
			k.answer = answer
			s := hunting(t, k, 5, "lvm-raid1", "md-raid1")
			if len(s.Findings)+len(s.Doubtful) > 0 || k.starts != 1 || k.trials != 0 {
				t.Errorf("%d findings, %d doubtful, %d machines, %d trials", len(s.Findings), len(s.Doubtful), k.starts, k.trials)
			}
			n := s.Tallies["md-raid1"]
			if n.Programs != s.Next || n.Same+n.Limits != n.Programs || n.Skipped != 0 {
				t.Errorf("%+v", *n)
			}
		})
	}
}

// Given a host in trouble, then what was under way is tried again, and the host's
// trouble is no suspect.
func TestTheHostsTroubleIsNoSuspect(t *testing.T) {
	k := sound()
	k.broken = 2
	s := hunting(t, k, 2, "md-raid1")
	if len(s.Findings)+len(s.Doubtful)+s.Alike > 0 || k.starts != 3 || s.Tallies["md-raid1"].Programs != s.Next {
		t.Errorf("%d findings, %d doubtful, %d machines, %+v", len(s.Findings), len(s.Doubtful), k.starts, *s.Tallies["md-raid1"])
	}
}

// Given a guest that does what it is told to skip, such as zeroes to a file, which no
// scenario can say, then what it says of that is no suspect.
func TestWhatNobodyAskedForIsNoSuspect(t *testing.T) {
	k := sound()
	k.disobeys = true
	k.answer = func(stack string, o scenarios.IO) string {
		if stack == "xfs" && o.Op == "zeroes" {
			return "EIO"
		}
		return ""
	}
	s := hunting(t, k, 5, "xfs")
	if n := s.Tallies["xfs"]; len(s.Findings)+len(s.Doubtful)+len(s.Waiting) > 0 || k.trials != 0 || n.Skipped == 0 {
		t.Errorf("%d findings, %d doubtful, %d trials, %+v", len(s.Findings), len(s.Doubtful), k.trials, *n)
	}
}

// Given suspects of several stacks, then the stacks take turns, and of one stack's
// the worst comes first.
func TestStacksTakeTurns(t *testing.T) {
	s := NewState(Request{})
	s.Waiting = []Suspect{
		{Stack: "a", Number: 1, Guess: Differently},
		{Stack: "a", Number: 2, Guess: Hangs},
		{Stack: "a", Number: 3, Guess: Hangs},
		{Stack: "b", Number: 4, Guess: Differently},
		{Stack: "b", Number: 5, Guess: BlamesDisk},
		{Stack: "c", Number: 6, Guess: LosesData},
	}
	var order []int
	for len(s.Waiting) > 0 {
		at := s.nextWaiting()
		order = append(order, s.Waiting[at].Number)
		s.Looked[s.Waiting[at].Stack]++
		s.Waiting = slices.Delete(s.Waiting, at, at+1)
	}
	if diff := cmp.Diff([]int{6, 2, 5, 3, 4, 1}, order); diff != "" {
		t.Error(diff)
	}
}

// misread says whether it is the read of the report.
func misread(o scenarios.IO) bool {
	t := triggerOf("", o)
	return o.Reads() && o.Direct && t.Memory && !t.Range && !t.Unmapped
}

// Given a stack that blames a disk for each misaligned read, when it is hunted
// on, then that is one finding, of one small operation, and the hunt goes on
// behind it.
func TestABlamedDiskIsFoundOnceAndMadeSmall(t *testing.T) {
	k := sound()
	bad := func(stack string, o scenarios.IO) bool { return stack == "lvm-raid1" && misread(o) }
	k.answer = func(stack string, o scenarios.IO) string {
		if bad(stack, o) {
			return "EIO"
		}
		return ""
	}
	k.stops = func(stack string, o scenarios.IO) *protocol.Swept {
		if bad(stack, o) {
			return &protocol.Swept{Changed: []string{"leg x: D"}, Legs: []scenarios.Leg{{Name: "x"}}}
		}
		return nil
	}
	k.verdict = func(stack string, o scenarios.IO) scenarios.Verdict {
		if bad(stack, o) {
			return scenarios.Degraded
		}
		return scenarios.Pass
	}
	k.since = "without"
	s := hunting(t, k, 5, "md-raid1", "lvm-raid1")
	if len(s.Findings) != 1 || len(s.Doubtful) != 0 {
		t.Fatalf("%d findings, %d doubtful", len(s.Findings), len(s.Doubtful))
	}
	f := s.Findings[0]
	if f.Class != BlamesDisk || f.Stack != "lvm-raid1" || f.Says != "pread direct 512@0 memory+32" || !f.Cold || k.cold != 1 {
		t.Errorf("found: %s %s: %s, cold %t (%d)", f.Stack, f.Class, f.Says, f.Cold, k.cold)
	}
	if f.Since != "new since without" {
		t.Errorf("on the kernel without it: %q", f.Since)
	}
	if s.Alike == 0 || s.Alike > 8 {
		t.Errorf("%d suspects alike", s.Alike)
	}
	if n := s.Tallies["md-raid1"]; n.Programs != s.Next {
		t.Errorf("the sound stack: %+v", *n)
	}
	if n := s.Tallies["lvm-raid1"]; n.Programs+n.Skipped != s.Next || n.Wrong == 0 {
		t.Errorf("the other: %+v", *n)
	}
	sc, err := language.Parse("f.yaml", []byte(f.Scenario))
	if err != nil || sc.Name != f.ID {
		t.Errorf("its scenario: %v\n%s", err, f.Scenario)
	}
	if r := f.Report(); !strings.Contains(r, "memory+32") || !strings.Contains(r, "plain disk: pass") {
		t.Errorf("its report:\n%s", r)
	}
}

// The same where the program that did it is not told by an answer, where the
// task hangs, and where the guest just falls silent.
func TestWhatStopsASweepIsToldToAProgram(t *testing.T) {
	for name, tt := range map[string]struct {
		stop   protocol.Swept
		silent bool
		class  Class
		v      scenarios.Verdict
	}{
		"a leg, later":      {protocol.Swept{Changed: []string{"leg x: D"}, Legs: []scenarios.Leg{{Name: "x"}}}, false, BlamesDisk, scenarios.Degraded},
		"an oops, later":    {protocol.Swept{Changed: []string{"the kernel is tainted: 128, before 0"}}, false, Breaks, scenarios.Bug},
		"a hang":            {protocol.Swept{Hung: &protocol.Unkillable{State: "D"}}, false, Hangs, scenarios.Hang},
		"a guest that dies": {protocol.Swept{}, true, Hangs, scenarios.Hang},
	} {
		t.Run(name, func(t *testing.T) {
			k := sound()
			k.silent = tt.silent
			bad := func(stack string, o scenarios.IO) bool {
				return stack == "lvm-mirror" && o.Writes() && o.Direct && o.MemoryOffset == 512 && o.Aligned(512)
			}
			k.stops = func(stack string, o scenarios.IO) *protocol.Swept {
				if bad(stack, o) {
					s := tt.stop
					return &s
				}
				return nil
			}
			k.verdict = func(stack string, o scenarios.IO) scenarios.Verdict {
				if bad(stack, o) {
					return tt.v
				}
				return scenarios.Pass
			}
			s := hunting(t, k, 4, "lvm-mirror", "md-raid1")
			if len(s.Findings) != 1 {
				t.Fatalf("%d findings, %d doubtful", len(s.Findings), len(s.Doubtful))
			}
			if f := s.Findings[0]; f.Class != tt.class || f.Stack != "lvm-mirror" || f.Says != "pwrite direct 512@0 memory+512" {
				t.Errorf("%s %s: %s", f.Stack, f.Class, f.Says)
			}
			if n := s.Tallies["md-raid1"]; n.Programs != s.Next {
				t.Errorf("the sound stack: %+v", *n)
			}
		})
	}
}

// Given a sequence in which an operation hangs, then that one is suspected, and
// none of those before it.
func TestTheOperationThatHangsIsTold(t *testing.T) {
	k := sound()
	did := 0
	k.stops = func(stack string, _ scenarios.IO) *protocol.Swept {
		if stack != Plain {
			did++
		}
		if stack == Plain || did != 2 {
			return nil
		}
		return &protocol.Swept{Hung: &protocol.Unkillable{State: "D"}}
	}
	h := huntOn(t, k, nil, "md-raid1")
	h.group().Next = h.gen.Pairs() + 1 // a sequence
	if _, err := h.batch(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if len(h.state.Waiting) != 1 {
		t.Fatalf("%d suspects", len(h.state.Waiting))
	}
	s := h.state.Waiting[0]
	want := []Trigger{triggerOf("md-raid1", s.Program[1])}
	if diff := cmp.Diff(want, s.triggers()); diff != "" || len(s.Program) < 2 {
		t.Errorf("%s (-want +got):\n%s", s.Program, diff)
	}
	if diff := cmp.Diff(want, h.state.Triggers); diff != "" {
		t.Errorf("what is not tried again (-want +got):\n%s", diff)
	}
}

// Given what no trial shows, and what the plain disk does as well, then neither
// is a finding.
func TestWhatCanNotBeConfirmedIsNoFinding(t *testing.T) {
	k := sound()
	k.answer = func(stack string, o scenarios.IO) string {
		if stack == "md-raid1" && o.Op == "mmap-write" {
			return "stale@0"
		}
		return ""
	}
	if s := hunting(t, k, 3, "md-raid1"); len(s.Findings) != 0 || len(s.Doubtful) == 0 {
		t.Errorf("%d findings, %d doubtful", len(s.Findings), len(s.Doubtful))
	}
	k = sound()
	k.answer = func(_ string, o scenarios.IO) string {
		if o.Op == "mmap-write" {
			return "stale@0"
		}
		return ""
	}
	if s := hunting(t, k, 3, "md-raid1"); len(s.Findings) != 0 || s.Tallies["md-raid1"].Own == 0 {
		t.Errorf("%d findings, %+v", len(s.Findings), *s.Tallies["md-raid1"])
	}
}

// Given a stack that loses what is written, then that is one finding, of a write,
// whatever meets it first; where a read alone is wrong, it is one of a read.
func TestWhatIsLostIsBlamedOnItsWrite(t *testing.T) {
	suspects := Program{{Op: "pread", Length: 512}, {Op: "discard", Length: 513}, {Op: "pwrite", Length: 512}, {Op: "pread", Direct: true, Length: 512}}
	for name, tt := range map[string]struct {
		wrong func(scenarios.IO) bool
		want  []string
	}{
		"every write is lost": {func(o scenarios.IO) bool { return true }, []string{"pwrite direct 512@0"}},
		"a read is wrong":     {func(o scenarios.IO) bool { return o.Reads() && !o.Direct }, []string{"pread 512@0"}},
	} {
		k := sound()
		k.verdict = func(stack string, o scenarios.IO) scenarios.Verdict {
			if stack == "md-raid1" && tt.wrong(o) {
				return scenarios.Corrupt
			}
			return scenarios.Pass
		}
		h := huntOn(t, k, nil, "md-raid1", "lvm-raid1")
		for n, o := range suspects {
			if err := h.investigate(t.Context(), Suspect{Stack: "md-raid1", Number: n, Program: Program{o}, Guess: LosesData}); err != nil {
				t.Fatal(err)
			}
		}
		var found []string
		for _, f := range h.state.Findings {
			found = append(found, f.Says)
		}
		if diff := cmp.Diff(tt.want, found); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// Given a program of which two operations are needed, then those two are left,
// in the fewest layers.
func TestShrinkLeavesWhatIsNeeded(t *testing.T) {
	p := Program{
		{Op: "pread", Length: 512},
		{Op: "pwritev2", Direct: true, Length: 65536, Offset: 8192, Flags: []string{"DSYNC"}},
		{Op: "fsync", Length: 4096},
		{Op: "discard", Length: 4096},
		{Op: "io_uring-read", Direct: true, Length: 131072, MemoryOffset: 4},
	}
	tries := 0
	small, stack, err := Shrink(p, must(t, "crypt+lvm-raid1+ext4"), func(q Program, s Stack) (bool, error) {
		tries++
		wrote := slices.IndexFunc(q, func(o scenarios.IO) bool { return o.Writes() })
		read := slices.IndexFunc(q, func(o scenarios.IO) bool { return o.Reads() && o.Length >= 4096 })
		return wrote >= 0 && read > wrote && strings.Contains(s.Name, "lvm-raid1"), nil
	})
	if err != nil || small.String() != "pwrite direct 512@0; pread direct 4096@0" || stack.Name != "lvm-raid1" {
		t.Errorf("%s on %s, %v", small, stack.Name, err)
	}
	if tries > 40 {
		t.Errorf("it took %d tries", tries)
	}
	stop := errors.New("enough")
	if _, _, err := Shrink(p, Stack{Name: Plain}, func(Program, Stack) (bool, error) { return false, stop }); !errors.Is(err, stop) {
		t.Errorf("%v", err)
	}
}

func TestAcknowledgedWritesMoveDisks(t *testing.T) {
	programs := []Program{{{Op: "pread", Length: 512}}, {{Op: "pwrite", Length: 512}}, {{Op: "pwrite", Direct: true, Length: 512}}, {{Op: "pwrite", Direct: true, Length: 512}}}
	well, refused := [][]string{{""}, {""}, {""}, {""}}, [][]string{{""}, {""}, {"EINVAL"}, {""}}
	for _, tt := range []struct {
		what  string
		stack string
		s     protocol.Swept
		want  bool
	}{
		{"nothing came to the disks", "md-raid1", protocol.Swept{Answers: well}, true},
		{"one write of two did", "md-raid1", protocol.Swept{Answers: well, Writes: 1}, true},
		{"both did", "md-raid1", protocol.Swept{Answers: well, Writes: 2}, false},
		{"one was refused", "md-raid1", protocol.Swept{Answers: refused, Writes: 1}, false},
		{"what is small lies in a journal", "ext4", protocol.Swept{Answers: well, Writes: 1}, false},
		{"nothing came to a file's disks", "ext4", protocol.Swept{Answers: well}, true},
		{"there is no disk", "brd", protocol.Swept{Answers: well}, false},
	} {
		if got := unmoved(must(t, tt.stack), programs, tt.s); got != tt.want {
			t.Errorf("%s: lies %t", tt.what, got)
		}
	}
}

// A hunt that was kept can be gone on with, and its findings lie beside it.
func TestAHuntIsKept(t *testing.T) {
	root := Root(t.TempDir())
	s := NewState(Request{Kernel: "debian:6.18", Stacks: []string{"md-raid1"}, Seed: 3})
	f, err := Create(t.Context(), root, "20261126T000000.000Z-aaaa", s)
	if err != nil {
		t.Fatal(err)
	}
	s.Next = 64
	s.Findings = []Finding{{ID: "hunt-1", Program: Program{{Op: "pread", Length: 512, Direct: true}}, Scenario: "name: hunt-1\n"}}
	s.Triggers = []Trigger{triggerOf("md-raid1", s.Findings[0].Program[0])}
	if err := f.Keep(s); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	g, got, err := Open(root, "last")
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if diff := cmp.Diff(s, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, name := range []string{"hunt-1.yaml", "hunt-1.txt"} {
		if m, _ := filepath.Glob(filepath.Join(g.Path(), name)); len(m) != 1 {
			t.Errorf("no %s", name)
		}
	}
	if _, _, err := Open(root, "none"); !errors.Is(err, ErrNoHunt) {
		t.Errorf("one that is not there: %v", err)
	}
}
