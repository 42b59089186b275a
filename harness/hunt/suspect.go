package hunt

import (
	"fmt"
	"slices"
	"strings"

	"github.com/blockrig/blockrig/initramfs/protocol"
)

// A Suspect is a program that a sweep saw do what it must not.
type Suspect struct {
	Stack   string   `json:"stack"`
	Number  int      `json:"number"` // of the program
	Program Program  `json:"program"`
	Guess   Class    `json:"guess"`
	Answers []string `json:"answers,omitempty"`
	Plain   []string `json:"plain,omitempty"`  // what the plain disk answered
	Seen    []string `json:"seen,omitempty"`   // what else was seen, a line each
	At      int      `json:"at"`               // which operation; -1 where it is not known
	Differ  bool     `json:"differ,omitempty"` // copies that must be the same were not
	Twist   *Twist   `json:"twist,omitempty"`  // what the host does beside it
}

// triggers are those of the operation that did it, or of all where that is not
// known.
func (s Suspect) triggers() []Trigger {
	var out []Trigger
	for i, o := range s.Program {
		if s.At < 0 || i == s.At {
			out = append(out, triggerOf(s.Stack, o))
		}
	}
	return out
}

// wrongAnswer finds the first answer of a program that is not right; -1 where
// all are.
func wrongAnswer(p Program, on Stack, answers []string) int {
	for i, a := range answers {
		if strings.HasPrefix(a, "untried") {
			continue
		}
		if i >= len(p) { // what was read back
			return i
		}
		if !right(p[i], on, a) {
			return i
		}
	}
	return -1
}

// A Tally is what became of programs on a stack.
type Tally struct {
	Programs int `json:"programs"`
	Singles  int `json:"operations"`
	Same     int `json:"same"`    // answered as the plain disk
	Limits   int `json:"limits"`  // otherwise, and a documented limit says so
	Wrong    int `json:"wrong"`   // otherwise, and none does
	Own      int `json:"own"`     // an answer that is none, given by the plain disk too: this tool's, most likely
	Skipped  int `json:"skipped"` // like one that has set off something
	Untried  int `json:"untried"`
}

func (t *Tally) add(o Tally) {
	t.Programs += o.Programs
	t.Singles += o.Singles
	t.Same += o.Same
	t.Limits += o.Limits
	t.Wrong += o.Wrong
	t.Own += o.Own
	t.Skipped += o.Skipped
	t.Untried += o.Untried
}

// compare judges the answers of one stack against the model and against those of
// the plain disk, which may lack some. It gives the programs with a wrong answer
// and counts all.
func compare(stack Stack, first int, programs []Program, answers, plain [][]string) (wrong []Suspect, t Tally) {
	damaged := false
	for i, a := range answers {
		if a == nil || damaged {
			// What is done after data were wrong meets what that has left.
			t.Skipped++
			continue
		}
		p := programs[i]
		t.Programs++
		t.Singles += len(p)
		var of []string
		if i < len(plain) {
			of = plain[i]
		}
		at := wrongAnswer(p, stack, a)
		switch {
		case slices.ContainsFunc(a, func(s string) bool { return strings.HasPrefix(s, "untried") }):
			t.Untried++
		case at < 0 && (of == nil || slices.Equal(a, of)):
			t.Same++
		case at < 0:
			t.Limits++
		case stack.Name != Plain && of != nil && at < len(of) && at < len(a) && of[at] == a[at]:
			t.Own++
		default:
			t.Wrong++
			s := Suspect{Stack: stack.Name, Number: first + i, Program: p, Answers: a, Plain: of, At: at}
			if at >= len(p) {
				s.At = -1
			}
			s.Guess = guessOf(protocol.Swept{}, a)
			wrong = append(wrong, s)
			damaged = s.Guess == LosesData
		}
	}
	return wrong, t
}

// unmoved says whether the disks of a stack did fewer writes than programs have
// written to it, by their answers: one request is the least that a direct write
// makes. A file system may keep what is small in its journal; of a file it is said
// only where no request came at all.
func unmoved(on Stack, programs []Program, s protocol.Swept) bool {
	if on.onMemory() {
		return false
	}
	wrote := int64(0)
	for i, a := range s.Answers {
		at := s.From + i
		if at < len(programs) && programs[at].Moves() && len(a) == len(programs[at]) && !slices.ContainsFunc(a, func(s string) bool { return s != "" }) {
			wrote++
		}
	}
	if on.OnFile() {
		wrote = min(1, wrote)
	}
	return s.Writes < wrote
}

// says what a stop shows beside answers.
func says(s protocol.Swept) []string {
	out := slices.Clone(s.Changed)
	if s.Differ != "" {
		out = append(out, s.Differ)
	}
	if s.Hung != nil {
		line := fmt.Sprintf("its task can't be killed: state %s", s.Hung.State)
		if len(s.Hung.Stack) > 0 {
			line += ", in " + s.Hung.Stack[0]
		}
		out = append(out, line)
	}
	if s.Killed != "" {
		out = append(out, "it was killed: "+s.Killed)
	}
	if s.Died != "" {
		out = append(out, "it died: "+s.Died)
	}
	return out
}
