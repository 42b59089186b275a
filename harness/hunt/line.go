package hunt

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/blockrig/blockrig/harness/bisect/trials"
	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/results"
)

// Line says how a hunt goes: what was covered, how fast, what was found, how
// much time is left.
func (s *State) Line(left time.Duration) string {
	parts := []string{s.Coverage(), fmt.Sprintf("%.0f operations/min", s.Rate())}
	if n := len(s.Findings); n > 0 {
		parts = append(parts, s.counts())
	}
	return strings.Join(append(parts, left.Round(time.Second).String()+" left"), ", ")
}

// Coverage says what was done, in words.
func (s *State) Coverage() string {
	if n := len(s.Groups); n > 1 {
		return fmt.Sprintf("%d of %d stacks, on %d of %d machines, %d programs", s.covered(), len(s.StackNames()), s.begun(), n, s.Next)
	}
	if s.Next < s.Pairs {
		return fmt.Sprintf("pairs %d of %d", s.Next, s.Pairs)
	}
	return fmt.Sprintf("all %d pairs and %d more programs", s.Pairs, s.Next-s.Pairs)
}

// covered is how many stacks programs were done on.
func (s *State) covered() (n int) {
	for _, name := range s.StackNames() {
		if t := s.Tallies[name]; t != nil && t.Programs > 0 {
			n++
		}
	}
	return n
}

// counts are findings by class.
func (s *State) counts() string {
	var out []string
	for _, c := range Classes() {
		n := 0
		for _, f := range s.Findings {
			if f.Class == c {
				n++
			}
		}
		if n > 0 {
			out = append(out, fmt.Sprintf("%s: %d", c, n))
		}
	}
	return strings.Join(out, ", ")
}

// Summary writes findings and what was covered, for people. A width of 0 is no
// limit.
func (s *State) Summary(w io.Writer, known []Known, color bool, width int) error {
	if len(s.Findings) > 0 {
		t := text.Table{Head: []string{"CLASS", "STACK", "PROGRAM", "ANSWER", "PLAIN", "AFTER", "SCENARIO"}, Color: color, Width: width, Cut: 2}
		for _, f := range Worst(s.Findings) {
			t.Add(text.Cell{Text: string(f.Class), Color: "31"}, f.Stack, f.Says, cmp.Or(f.Outcome, "no answer"), f.Plain,
				(time.Duration(f.SpentMS) * time.Millisecond).Round(time.Second), f.ID+".yaml")
		}
		if err := t.Write(w); err != nil {
			return err
		}
		fmt.Fprintln(w)
		for _, f := range Worst(s.Findings) {
			for _, said := range f.Bisection.Lines(goesOn) {
				fmt.Fprintf(w, "%s: %s\n", f.ID, text.OneLine(said))
			}
		}
	}
	t := text.Table{Head: []string{"STACK", "PROGRAMS", "OPERATIONS", "AS PLAIN", "LIMITS", "WRONG", "OWN", "SKIPPED"}, Color: color, Width: width, Numbers: true}
	for _, name := range append([]string{Plain}, s.StackNames()...) {
		if n := s.Tallies[name]; n != nil {
			t.Add(name, n.Programs, n.Singles, n.Same, n.Limits, n.Wrong, n.Own, n.Skipped)
		}
	}
	if err := t.Write(w); err != nil {
		return err
	}
	if said := s.saysTwisted(); said != "" {
		fmt.Fprintf(w, "\nPrograms: %s.\n", said)
	}
	for _, f := range s.Earlier {
		if f.Now != "" {
			fmt.Fprintf(w, "\n%s on %s: %s %s: %s\n", f.Now, s.Release, f.Stack, f.Class, f.Says)
		}
	}
	for i, l := range s.LeftOut {
		if i == 0 {
			fmt.Fprintf(w, "\nLeft out, %d stacks:\n", len(s.LeftOut))
		}
		if !strings.Contains(l.Stack, "+") || len(s.LeftOut) <= mostLeftOut {
			fmt.Fprintf(w, "  %s: %s\n", l.Stack, text.OneLine(l.Why))
		}
	}
	for _, k := range known {
		if n := s.Known[k.Name]; n > 0 {
			fmt.Fprintf(w, "\nThe known bug %s shows: %d suspects.\n", k.Name, n)
		}
	}
	for _, name := range s.Gone(known) {
		fmt.Fprintf(w, "\nThe known bug %s does not show any more.\n", name)
	}
	_, err := fmt.Fprintf(w, "\n%s on %s: %s, %.0f operations a minute in the guest, %.0f to a minute of its CPU time; %d findings, %d more suspects like them, %d that no trial showed, %d not looked into; %d machines; seed %d\n",
		s.Coverage(), s.Release, (time.Duration(s.SpentMS) * time.Millisecond).Round(time.Second), s.Rate(), s.RateOfCPU(), len(s.Findings), s.Alike, len(s.Doubtful), len(s.Waiting), s.Machines, s.Request.Seed)
	return err
}

// mostLeftOut is how many stacks that are left out a summary lists; of more, it
// lists those of one part.
const mostLeftOut = 40

// Totals is what a hunt says at its end, as a plain value.
type Totals struct {
	Hunt       string                       `json:"hunt"`
	Request    Request                      `json:"request"`
	Release    string                       `json:"release"`
	Programs   int                          `json:"programs"`
	Pairs      int                          `json:"pairs"`
	Operations int                          `json:"operations"`
	Rate       float64                      `json:"operations_per_minute"`
	RateOfCPU  float64                      `json:"operations_per_cpu_minute"` // of the host's CPU time for the machine
	SpentMS    int64                        `json:"spent_ms"`
	Findings   int                          `json:"findings"`
	Alike      int                          `json:"alike"`
	Doubtful   []Suspect                    `json:"doubtful"`
	Waiting    int                          `json:"waiting"`
	Twisted    map[string]int               `json:"twisted"` // programs with a fault or a power cut
	Known      map[string]int               `json:"known"`   // suspects that are known bugs
	Gone       []string                     `json:"gone"`    // known bugs that do not show any more
	Machines   int                          `json:"machines"`
	Stacks     map[string]*Tally            `json:"stacks"`
	Fixed      []string                     `json:"fixed"`       // findings of earlier hunts that this kernel does not show
	LeftOut    []LeftOut                    `json:"left_out"`    // stacks that could not be built
	NotReached int                          `json:"not_reached"` // stacks for which there was no time
	Bisections map[string]*trials.Bisection `json:"bisections"`  // by the finding's id
}

// Totals are the state's, of the hunt of that name.
func (s *State) Totals(name string, known []Known) Totals {
	fixed := []string{}
	for _, f := range s.Fixed() {
		fixed = append(fixed, f.ID)
	}
	bisections := map[string]*trials.Bisection{}
	for _, f := range s.Findings {
		if f.Bisection != nil {
			bisections[f.ID] = f.Bisection
		}
	}
	return Totals{
		name, s.Request, s.Release, s.Next, s.Pairs, s.Operations(), s.Rate(), s.RateOfCPU(), s.SpentMS,
		len(s.Findings), s.Alike, append([]Suspect{}, s.Doubtful...), len(s.Waiting), s.Twisted, s.Known, append([]string{}, s.Gone(known)...), s.Machines, s.Tallies,
		fixed, append([]LeftOut{}, s.LeftOut...), len(s.StackNames()) - s.covered(), bisections,
	}
}

// ExitStatus is that of the command: 1 where something was found.
func (s *State) ExitStatus() int {
	if len(s.Findings) > 0 {
		return results.ExitFailure
	}
	return results.ExitOK
}
