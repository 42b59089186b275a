package hunt

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/blockrig/blockrig/harness/bisect/trials"
	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/harness/trial"
	"github.com/blockrig/blockrig/results"
	"github.com/blockrig/blockrig/scenarios"
	"github.com/blockrig/blockrig/scenarios/programs"
)

// A Finding is a suspect that a trial from power-on has shown, made as small as
// it goes.
type Finding struct {
	ID      string              `json:"id"` // of its scenario, too
	Class   Class               `json:"class"`
	Stack   string              `json:"stack"` // the smallest one
	Hunted  string              `json:"hunted"`
	Program Program             `json:"program"`
	Says    string              `json:"says"`             // the program in a line
	Before  []string            `json:"before,omitempty"` // what is done before it, a line each
	Twist   *Twist              `json:"twist,omitempty"`  // what the host does beside it
	Number  int                 `json:"number"`
	Began   Program             `json:"began"` // as the sweep had it
	Kernel  string              `json:"kernel"`
	Release string              `json:"release"`
	Verdict scenarios.Verdict   `json:"verdict"`
	Also    []scenarios.Verdict `json:"also"`
	Reason  string              `json:"reason"`
	Outcome string              `json:"outcome"`
	Titles  []string            `json:"titles"`
	Legs    []scenarios.Leg     `json:"legs"`
	First   string              `json:"first_failed,omitempty"` // the layer that failed first
	Plain   string              `json:"plain"`                  // what the plain disk says to the same
	Now     string              `json:"now,omitempty"`          // of one of State.Earlier: what this kernel says to it
	Since   string              `json:"since,omitempty"`        // what the kernel of Request.Since says to it: new, always so, or not known
	Good    string              `json:"good,omitempty"`         // a kernel without it, a reference
	// Bisection is the search for the release that it came with; nil: not yet.
	Bisection *trials.Bisection `json:"bisection,omitempty"`
	Cold      bool              `json:"cold"` // shown from power-on
	Trials    int               `json:"trials"`
	SpentMS   int64             `json:"after_ms"` // of the budget, until it was found
	RunDir    string            `json:"run_dir"`
	Trigger   Trigger           `json:"trigger"`
	Scenario  string            `json:"scenario"` // YAML
}

// investigate confirms a suspect, makes it small, and adds a finding, unless
// it is like one before.
func (h *Hunt) investigate(ctx context.Context, s Suspect) error {
	if name, ok := recognise(h.Known, h.state.Release, s); ok {
		h.state.Known[name]++
		return nil
	}
	if slices.ContainsFunc(h.state.said(), func(f Finding) bool { return f.lost(s.Stack, s.Program, s.Guess, s.Twist) }) {
		h.state.Alike++
		return nil
	}
	for _, t := range s.triggers() {
		if h.foundBelow(h.stack(s.Stack), func(f Finding) bool {
			return s.Twist == nil && f.Class == s.Guess && f.Trigger.kin().on(t.Stack) == t.kin()
		}) {
			h.state.Alike++
			return nil
		}
		for _, f := range h.state.said() {
			if f.Twist.Kind() != s.Twist.Kind() {
				continue
			}
			like := t.kin()
			if f.Trigger.Flags == "" { // it takes none
				like.Flags = ""
			}
			if f.Trigger.kin() == like && (f.Class == s.Guess || len(h.state.Findings) > mostAlike) {
				h.state.Alike++
				return nil
			}
		}
	}
	h.stop() // the memory is for the trials
	h.state.Looked[s.Stack]++
	c := &confirmation{h: h, suspect: s, stack: h.stack(s.Stack), program: s.Program, in: setting{filled: s.Guess == LosesData || s.Twist != nil, agree: s.Differ, twist: s.Twist}}
	f, err := c.do(ctx)
	switch {
	case err != nil:
		return err
	case f == nil:
		h.state.Doubtful = append(h.state.Doubtful, s)
		return nil
	}
	if name, ok := recognise(h.Known, h.state.Release, f.suspect()); ok {
		h.state.Known[name]++
		return nil
	}
	for i, g := range h.state.said() {
		if g.lost(f.Stack, f.Program, f.Class, f.Twist) || (g.Hunted == f.Hunted || g.Stack == f.Stack) && g.Class == f.Class && g.Twist.Kind() == f.Twist.Kind() && (f.Twist != nil || g.Trigger.kin().on(f.Hunted) == f.Trigger.kin()) {
			h.state.Alike++
			if i -= len(h.state.still()); i >= 0 {
				h.state.Findings[i].Trials += f.Trials
			}
			return nil
		}
	}
	f.ID = fmt.Sprintf("hunt-%d-%s-%s-%s", len(h.state.Findings)+1, f.Stack, f.Trigger.Way, f.Class)
	f.ID = strings.NewReplacer("+", "-", "_", "-", " ", "-").Replace(f.ID)
	if f.Scenario, _, err = single(f.ID, f.about(), c.stack, f.Program, c.in); err != nil {
		return fmt.Errorf("write down a finding: %w", err)
	}
	h.state.Findings = append(h.state.Findings, *f)
	if h.Found != nil {
		h.Found(*f)
	}
	return h.keep()
}

// lost says whether what a program meets may be what the finding loses: the
// program only reads what was written before it.
func (f *Finding) lost(stack string, p Program, class Class, t *Twist) bool {
	return class == LosesData && f.Class == LosesData && !p.Changes() && (f.Stack == stack || f.Hunted == stack) && f.Twist.Kind() == t.Kind()
}

// suspect is what a finding would be, had a sweep seen it as small as it is now.
func (f *Finding) suspect() Suspect {
	return Suspect{Stack: f.Stack, Program: f.Program, Guess: f.Class, At: -1, Twist: f.Twist}
}

// mostAlike is how many findings there may be until the same trigger counts as
// the same finding whatever a sweep takes it for.
const mostAlike = 40

func (h *Hunt) stack(name string) Stack {
	s, err := ParseStack(name)
	if err != nil { // one of another version's
		return Stack{Name: name}
	}
	return s
}

// A confirmation makes trials of one suspect.
type confirmation struct {
	h       *Hunt
	suspect Suspect
	stack   Stack
	program Program
	in      setting

	class  Class
	trials int
	last   results.Record // that showed it
	good   string         // a kernel that does not
}

func (c *confirmation) do(ctx context.Context) (*Finding, error) {
	ok := false
	var err error
	for _, c.in = range c.settings() {
		if ok, err = c.shows(ctx, c.stack, c.program, how{}); err != nil {
			return nil, err
		} else if ok {
			break
		}
	}
	if !ok {
		return nil, nil
	}
	c.class = classOf(c.last)
	if err := c.blameFill(ctx); err != nil {
		return nil, err
	}
	known := c.known(c.program, c.stack)
	small, stack, err := Shrink(c.program, c.stack, func(p Program, s Stack) (bool, error) {
		if known || c.h.left() <= 0 && c.trials > 6 {
			return false, nil // small enough
		}
		ok, err := c.shows(ctx, s, p, how{})
		known = ok && c.known(p, s)
		return ok, err
	})
	if err != nil {
		return nil, err
	}
	cold, err := c.shows(ctx, stack, small, how{cold: true, trace: true})
	if err == nil && !cold { // once more, as the sweep had it
		small, stack = c.program, c.stack
		cold, err = c.shows(ctx, stack, small, how{cold: true, trace: true})
	}
	if err != nil || !cold {
		return nil, err
	}
	r := c.last
	c.program, c.stack = small, stack
	if c.in.twist != nil {
		t := *c.in.twist
		t.At = min(t.At, len(small))
		c.in.twist = &t
	}
	f := &Finding{
		Twist: c.in.twist, Class: c.class, Stack: stack.Name, Hunted: c.suspect.Stack, Program: small, Says: small.String(), Before: c.in.begins(stack), Number: c.suspect.Number, Began: c.suspect.Program,
		Kernel: c.h.state.Request.Kernel, Release: r.Kernel.Release, Verdict: r.Verdict, Also: r.Also, Reason: r.Reason, Outcome: r.Outcome,
		Titles: r.Signature.Titles, First: r.FirstFailed.Text(), Cold: true, RunDir: r.RunDir,
		SpentMS: (c.h.state.Request.Budget - c.h.left()).Milliseconds(),
		Trigger: triggerOf(c.suspect.Stack, small[len(small)-1]),
	}
	for _, l := range r.Legs {
		if !l.OK {
			f.Legs = append(f.Legs, l)
		}
	}
	// What the plain disk does as well is no difference.
	f.Plain = strings.Join(c.suspect.Plain, ", ")
	if stack.Name != Plain && f.Twist != nil && f.Twist.Fault != nil {
		f.Plain = "promises nothing without its disk"
	} else if stack.Name != Plain {
		rec, err := c.trial(ctx, Stack{Name: Plain}, small, how{})
		if err != nil {
			return nil, err
		}
		if f.Plain = string(rec.Verdict) + ", " + rec.Outcome; classOf(rec) == c.class {
			return nil, nil
		}
	}
	if f.Since, err = c.since(ctx, stack, small); err != nil {
		return nil, err
	}
	f.Trials, f.Good = c.trials, c.good
	return f, nil
}

// blameFill has the write that fills the device in place of the program, where
// that alone is lost.
func (c *confirmation) blameFill(ctx context.Context) error {
	if c.class != LosesData || !c.in.filled || c.in.twist != nil || c.stack.OnFile() {
		return nil
	}
	in := c.in
	c.in = setting{agree: in.agree}
	ok, err := c.shows(ctx, c.stack, Program{fill}, how{})
	if ok && err == nil {
		c.program = Program{fill}
	} else {
		c.in = in
	}
	return err
}

// known says whether what shows is small enough to be told as a known bug.
func (c *confirmation) known(p Program, s Stack) bool {
	f := Finding{Stack: s.Name, Program: p, Class: c.class, Twist: c.in.twist}
	_, ok := recognise(c.h.Known, c.h.state.Release, f.suspect())
	return ok
}

// settings are those in which a suspect may show, the simplest first: what stands
// on the device may matter, and that it is open all the time.
func (c *confirmation) settings() []setting {
	if c.in.twist != nil {
		without := c.in // what the host does may not matter
		without.twist = nil
		return []setting{without, c.in}
	}
	all := []setting{{}, {filled: true}, {filled: true, held: true}}
	switch {
	case c.stack.OnFile():
		all = []setting{{}, {unwritten: true}}
	case len(c.program) == 1 && !c.program.Changes():
		all = all[:len(all)-1] // a single read closes nothing before it
	}
	if c.in.filled && !c.stack.OnFile() {
		all = all[1:]
	}
	for i := range all {
		all[i].agree = c.in.agree
	}
	return all
}

// how a trial is made.
type how struct {
	cold, trace bool
	since       bool // on the other kernel
}

// shows says whether a trial shows what the suspect is about. The first one
// says what that is.
func (c *confirmation) shows(ctx context.Context, s Stack, p Program, w how) (bool, error) {
	if t := c.in.twist; t != nil && t.Fault != nil && (!s.Redundant() || !hasDisk(s, t.Fault.Disk)) {
		return false, nil // it promises nothing
	}
	r, err := c.trial(ctx, s, p, w)
	if err != nil {
		return false, err
	}
	got := classOf(r)
	if got == "" || c.class != "" && got != c.class {
		return false, nil
	}
	c.last = r
	return true, nil
}

// hasDisk says whether a stack of its own has a disk of that name.
func hasDisk(s Stack, id string) bool {
	var setup scenarios.Setup
	s.Build(&setup, "")
	return slices.ContainsFunc(setup.Disks, func(d scenarios.Disk) bool { return d.ID == id })
}

// trial makes one.
func (c *confirmation) trial(ctx context.Context, s Stack, p Program, w how) (results.Record, error) {
	c.trials++
	c.h.status("confirm", fmt.Sprintf("trial %d of a suspect on %s: %s", c.trials, s.Name, p))
	_, cs, err := single(results.Suspects, c.suspect.Stack+": "+c.suspect.Program.String(), s, p, c.in)
	if err != nil {
		return results.Record{}, fmt.Errorf("write down a suspect: %w", err)
	}
	r := c.h.state.Request
	ref := kernelRef{r.Kernel, r.Exact}
	if w.since {
		ref = kernelRef{r.Since, ""}
	}
	return c.h.try(ctx, ref, cs, w)
}

// since says whether the other kernel does the same.
func (c *confirmation) since(ctx context.Context, s Stack, p Program) (string, error) {
	other := c.h.state.Request.Since
	if other == "" {
		return "", nil
	}
	r, err := c.trial(ctx, s, p, how{since: true})
	switch {
	case err != nil:
		return "", err
	case r.Verdict == scenarios.Error:
		return "not known: no verdict on " + other + ": " + r.Reason, nil
	case classOf(r) == "":
		c.good = other
		return "new since " + other, nil
	case classOf(r) == c.class:
		return "always so: on " + other + ", too", nil
	}
	return fmt.Sprintf("other on %s: %s", other, classOf(r)), nil
}

// trial makes a trial of a case and records it.
func (h *Hunt) trial(ctx context.Context, k kernelRef, c scenarios.Case, w how) (rec results.Record, err error) {
	jobs, err := h.Preparer.Jobs(ctx, []trial.Task{{Ref: k.ref, Exact: k.exact, Case: c}}, h.status)
	if err != nil {
		return rec, err
	}
	place := h.Run.Places(1)
	sched := &trial.Schedule{
		Find: h.Preparer.Find, Workers: 1, Log: h.Log, Bases: h.Bases, Fleet: h.Fleet,
		Begin: func(_ int, j trial.Job) (string, error) { return h.Run.Begin(place, j) },
		Done: func(_ int, o trial.Outcome) (err error) {
			rec, err = h.Run.End(place, o)
			return err
		},
	}
	if w.cold {
		sched.Bases = nil
	}
	if w.trace {
		sched.Trace = func(trial.Job, trial.Outcome) bool { return true }
	}
	if err := sched.Run(ctx, jobs); err != nil {
		return rec, err
	}
	if rec.Verdict == "" {
		return rec, errors.New("a trial was not made")
	}
	return rec, nil
}

// about is what the scenario says of itself.
func (f *Finding) about() string {
	lines := []string{
		fmt.Sprintf("Found by blockrig hunt on %s: %s.", f.Release, f.Class),
		text.OneLine("Program: " + strings.Join(append(slices.Clone(f.Before), f.Says), "; ") + "."),
		text.OneLine(fmt.Sprintf("Here: %s; %s.", cmp.Or(f.Outcome, "no answer"), f.Reason)),
		text.OneLine(beside(f.Twist)),
		text.OneLine("The plain disk: " + cmp.Or(f.Plain, "not tried") + "."),
	}
	var out []string
	for _, l := range lines {
		if l == "" {
			continue
		}
		out = append(out, text.Wrap(l, 76)...)
	}
	return strings.Join(out, "\n")
}

// beside says what the host does, as a sentence.
func beside(t *Twist) string {
	if t == nil {
		return ""
	}
	return "Beside it: " + t.String() + "."
}

// Report is a text about a finding for the people who look after the code.
func (f *Finding) Report() string {
	var b strings.Builder
	line := func(format string, args ...any) {
		for _, l := range text.Wrap(text.OneLine(fmt.Sprintf(format, args...)), 76) {
			b.WriteString(l + "\n")
		}
	}
	line("Subject: [BUG] %s: %s on %s", f.Says, f.Class, f.Stack)
	b.WriteString("\n")
	line("On Linux %s the storage stack %q %s where a plain disk does not.", f.Release, f.Stack, f.Class)
	b.WriteString("\nWhat is done:\n\n")
	for _, said := range f.Before {
		b.WriteString("    " + text.OneLine(said) + "\n")
	}
	for _, o := range f.Program {
		b.WriteString("    " + text.OneLine(programs.Say(o)) + "\n")
	}
	b.WriteString("\n(bytes@offset; memory+N: the buffer begins N bytes behind a page boundary)\n\n")
	if f.Twist != nil {
		line("%s", beside(f.Twist))
	}
	line("The answer: %s. %s.", cmp.Or(f.Outcome, "none"), f.Reason)
	line("The same on the plain disk: %s.", cmp.Or(f.Plain, "not tried"))
	if f.Since != "" {
		line("On other kernels: %s.", f.Since)
	}
	for _, said := range f.Bisection.Lines(goesOn) {
		line("Bisected over releases: %s.", said)
	}
	if f.First != "" {
		line("The layer that failed first: %s.", f.First)
	}
	for _, l := range f.Legs {
		line("Leg %s on disk %s: %s.", l.Name, l.Disk, l.Health)
	}
	if len(f.Titles) > 0 {
		b.WriteString("\nThe kernel's log:\n\n")
		for _, t := range f.Titles {
			b.WriteString("    " + text.OneLine(t) + "\n")
		}
	}
	fmt.Fprintf(&b, "\nTo see it again:\n\n    blockrig run %s.yaml -k %s --cold\n\nTo find what brought it:\n\n    blockrig bisect versions --good debian:VERSION --bad %s %s.yaml\n", f.ID, text.OneLine(f.Kernel), text.OneLine(f.Kernel), f.ID)
	return b.String()
}

// Worst sorts findings by class, and by when they were found.
func Worst(all []Finding) []Finding {
	out := slices.Clone(all)
	slices.SortStableFunc(out, func(a, b Finding) int {
		return slices.Index(Classes(), a.Class) - slices.Index(Classes(), b.Class)
	})
	return out
}
