package hunt

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/blockrig/blockrig/initramfs/protocol"
	"github.com/blockrig/blockrig/scenarios"
)

// Given the bug of the report on the kernel that has it, then it is recognised,
// and nothing else is: no other I/O, kernel or stack, no wrong data.
func TestTheKnownBugIsRecognised(t *testing.T) {
	all, err := ShippedKnown()
	if err != nil {
		t.Fatal(err)
	}
	misaligned := scenarios.IO{Op: "pread", Direct: true, Length: 512, MemoryOffset: 32}
	for name, tt := range map[string]struct {
		release string
		s       Suspect
		want    bool
	}{
		"itself":         {"6.18.15+deb13-amd64", Suspect{Stack: "lvm-mirror", Guess: Hangs, Program: Program{misaligned}}, true},
		"on a file":      {"6.18.15+deb13-amd64", Suspect{Stack: "lvm-raid1+ext4", Guess: BlamesDisk, Program: Program{misaligned}}, true},
		"aligned":        {"6.18.15+deb13-amd64", Suspect{Stack: "lvm-mirror", Guess: Hangs, Program: Program{{Op: "pread", Direct: true, Length: 512}}}, false},
		"fixed":          {"7.3.4+deb14-amd64", Suspect{Stack: "lvm-mirror", Guess: Hangs, Program: Program{misaligned}}, false},
		"a linear one":   {"6.18.15+deb13-amd64", Suspect{Stack: "lvm-linear", Guess: Hangs, Program: Program{misaligned}}, false},
		"wrong data":     {"6.18.15+deb13-amd64", Suspect{Stack: "lvm-mirror", Guess: LosesData, Program: Program{misaligned}}, false},
		"one of several": {"6.18.15+deb13-amd64", Suspect{Stack: "lvm-mirror", Guess: Hangs, Program: Program{misaligned, misaligned}, At: -1}, false},
	} {
		if _, ok := recognise(all, tt.release, tt.s); ok != tt.want {
			t.Errorf("%s: recognised %t", name, ok)
		}
	}
}

// Given a hole that a device can't punch, then what is lost of a write before it is
// recognised; what no such operation explains is not.
func TestDataThatAKnownBugLosesAreRecognised(t *testing.T) {
	all, err := ShippedKnown()
	if err != nil {
		t.Fatal(err)
	}
	write, punch := scenarios.IO{Op: "pwrite", Length: 4096}, scenarios.IO{Op: "fallocate", Mode: "punch-hole", Length: 4096}
	for name, tt := range map[string]struct {
		p       Program
		answers []string
		at      int
		want    bool
	}{
		"lost":                    {Program{write, punch}, []string{"", "ENOTSUP", "readback stale@0"}, -1, true},
		"lost and read":           {Program{write, punch, {Op: "pread", Length: 4096}}, []string{"", "ENOTSUP", "stale@0"}, 2, true},
		"lost before it":          {Program{write, {Op: "pread", Length: 4096}, punch}, []string{"", "stale@0", "ENOTSUP"}, 1, false},
		"of a device that can":    {Program{write, punch}, []string{"", "", "readback stale@0"}, -1, false},
		"nothing was written yet": {Program{punch, write}, []string{"ENOTSUP", "", "readback stale@0"}, -1, false},
	} {
		s := Suspect{Stack: "md-raid1", Program: tt.p, Answers: tt.answers, At: tt.at, Guess: LosesData}
		if _, ok := recognise(all, "7.3.4+deb14-amd64", s); ok != tt.want {
			t.Errorf("%s: recognised %t", name, ok)
		}
		s.Guess = BlamesDisk
		if _, ok := recognise(all, "7.3.4+deb14-amd64", s); ok {
			t.Errorf("%s: a disk that is blamed is taken for it", name)
		}
	}
}

// Given a known bug that shows, then it is counted and costs no trial; where it
// does not show any more, that is said.
func TestAKnownBugIsCountedAndNotReported(t *testing.T) {
	all := []Known{
		{Name: "old", Stacks: []string{"md-*"}, Kernels: []string{""}, Ways: []string{"read"}, Direct: true, Memory: "misaligned"},
		{Name: "gone", Stacks: []string{"md-*"}, Kernels: []string{""}, Ways: []string{"write"}},
		{Name: "of another stack", Stacks: []string{"lvm-*"}, Kernels: []string{""}, Ways: []string{"write"}},
	}
	k := sound()
	k.stops = func(stack string, o scenarios.IO) *protocol.Swept {
		if stack == "md-raid1" && misread(o) {
			return &protocol.Swept{Changed: []string{"leg x: D"}, Legs: []scenarios.Leg{{Name: "x"}}}
		}
		return nil
	}
	k.answer = func(stack string, o scenarios.IO) string {
		if stack == "md-raid1" && misread(o) {
			return "EIO"
		}
		return ""
	}
	s := huntingKnown(t, k, 8, all, "md-raid1")
	if k.trials != 0 || len(s.Findings) != 0 || s.Known["old"] == 0 {
		t.Errorf("%d trials, %d findings, known: %v", k.trials, len(s.Findings), s.Known)
	}
	if diff := cmp.Diff([]string{"gone"}, s.Gone(all)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Given a sequence of which it is not told which operation hangs, when it is made
// small, then it is recognised, and no smaller one is looked for; what hangs
// otherwise is a finding.
func TestAKnownBugIsRecognisedOnceItIsSmall(t *testing.T) {
	all := []Known{{Name: "old", Stacks: []string{"md-*"}, Kernels: []string{""}, Ways: []string{"read"}, Direct: true, Memory: "misaligned"}}
	misaligned := scenarios.IO{Op: "pread", Direct: true, Offset: 8192, Length: 65536, MemoryOffset: 4}
	aligned := scenarios.IO{Op: "pread", Direct: true, Offset: 8192, Length: 65536}
	write := scenarios.IO{Op: "pwrite", Length: 4096}
	for name, tt := range map[string]struct {
		p              Program
		hangs          func(scenarios.IO) bool
		trials         int
		known, finding bool
	}{
		// As the sweep had it, the last alone, cold, and what the plain disk says.
		"the known one": {Program{write, misaligned}, misread, 4, true, false},
		"another":       {Program{write, aligned}, func(o scenarios.IO) bool { return o.Reads() }, 0, false, true},
	} {
		k := sound()
		k.verdict = func(stack string, o scenarios.IO) scenarios.Verdict {
			if stack == "md-raid1" && tt.hangs(o) {
				return scenarios.Hang
			}
			return scenarios.Pass
		}
		h := huntOn(t, k, all, "md-raid1")
		if err := h.investigate(t.Context(), Suspect{Stack: "md-raid1", Program: tt.p, Guess: Hangs, At: -1}); err != nil {
			t.Fatal(err)
		}
		s := h.state
		if (s.Known["old"] == 1) != tt.known || (len(s.Findings) == 1) != tt.finding || len(s.Doubtful) != 0 {
			t.Errorf("%s: known %v, %d findings, %d doubtful", name, s.Known, len(s.Findings), len(s.Doubtful))
		}
		if tt.trials > 0 && k.trials != tt.trials {
			t.Errorf("%s: %d trials, want %d", name, k.trials, tt.trials)
		}
	}
}

func TestAListOfKnownBugsIsReadStrictly(t *testing.T) {
	for name, src := range map[string]string{
		"an unknown key": "known: [{name: a, about: b, stacks: [c], kernels: [d], ways: [read], who: me}]",
		"a bad glob":     "known: [{name: a, about: b, stacks: ['['], kernels: [d], ways: [read]}]",
		"no name":        "known: [{about: b, stacks: [c], kernels: [d], ways: [read]}]",
	} {
		if _, err := ReadKnown("known.yaml", []byte(src)); err == nil || !strings.Contains(err.Error(), "known.yaml") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
