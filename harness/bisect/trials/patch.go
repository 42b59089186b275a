package trials

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/blockrig/blockrig/harness/bisect"
	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/results"
)

// A PatchRequest compares a commit with and without a patch.
type PatchRequest struct {
	Base       string // full hash
	Runs       int    // trials of each case and kernel in a round; 0: 12
	Boots      int    // boots of each kernel in a round; 0: 4
	Rounds     int    // at most; 0: 5
	Confidence float64
}

// A CaseResult is what a patch does to one case.
type CaseResult struct {
	Scenario string `json:"scenario"`
	Case     string `json:"case"`
	bisect.PatchResult
}

// A PatchAnswer is what a patch does.
type PatchAnswer struct {
	Effect bisect.Effect `json:"effect"`
	Cases  []CaseResult  `json:"cases"`
	Base   string        `json:"base"`
	// SameBinary says that the patch touches nothing that is compiled into
	// the kernel: there was nothing to try.
	SameBinary bool   `json:"same_binary,omitempty"`
	Release    string `json:"release"` // of the patched kernel
	Accel      string `json:"accel"`
	CPUs       int    `json:"cpus"`
}

// Fails tells whether anything failed on the patched kernel.
func (a PatchAnswer) Fails() bool {
	return slices.ContainsFunc(a.Cases, func(c CaseResult) bool { return c.Patched.Fails > 0 })
}

// Sentence says what the patch does, what is bad first.
func (a PatchAnswer) Sentence() string {
	if a.SameBinary {
		return "changes nothing: it touches nothing that is compiled into this kernel, which is the same binary with it and without"
	}
	cases := len(a.Cases)
	count := func(is func(c CaseResult) bool) (n int) {
		for _, c := range a.Cases {
			if is(c) {
				n++
			}
		}
		return n
	}
	var parts []string
	for _, e := range []struct {
		effect   bisect.Effect
		one, say string
	}{
		{bisect.Harms, "harms", "harms %d of %d cases"},
		{bisect.Unclear, "may help or not: that is not clear after so many trials", "may help or not (not clear after so many trials) in %d of %d cases"},
		{bisect.Helps, "helps", "helps %d of %d cases"},
	} {
		switch n := count(func(c CaseResult) bool { return c.Effect == e.effect }); {
		case n == 0:
		case cases == 1:
			parts = append(parts, e.one)
		default:
			parts = append(parts, fmt.Sprintf(e.say, n, cases))
		}
	}
	if len(parts) == 0 {
		parts = append(parts, "changes nothing")
	}
	text := strings.Join(parts, ", ")
	switch n := count(CaseResult.stillFails); {
	case n == 0:
	case cases == 1:
		text += "; it still fails with it"
	case n == 1:
		text += "; 1 still fails with it"
	default:
		text += fmt.Sprintf("; %d still fail with it", n)
	}
	return text
}

// stillFails tells whether a case that failed without the patch fails with it,
// too.
func (c CaseResult) stillFails() bool { return c.Patched.Fails > 0 && c.Base.Fails > 0 }

// Does says what the patch does to the case.
func (c CaseResult) Does() string {
	if c.stillFails() && c.Effect != bisect.Harms {
		return string(c.Effect) + ", still fails"
	}
	return string(c.Effect)
}

// PatchContext is what the answer's text says besides. flags are those that
// choose the cases.
func PatchContext(ctx context.Context, a PatchAnswer, r Request, b Build, patch string, flags []string) bisect.Context {
	parts := [][]string{{"--repo", othersRepo}, {"--base", a.Base}, b.args(), flags, {filepath.Base(patch), filepath.Base(cmp.Or(r.Scenario.File, r.Scenario.Name))}}
	return bisect.Context{
		Release: a.Release + ", " + bisect.Subject{Commit: a.Base}.String(), Machine: machineOf(ctx, results.Record{Accel: a.Accel, CPUs: a.CPUs}),
		Command: folded("blockrig try-patch", parts),
	}
}

// A NoKernelError says why one of the two kernels is missing.
type NoKernelError struct {
	Patched    bool
	NotApplied bool // the patch does not apply
	Why        string
	Log        string
}

func (e *NoKernelError) Error() string {
	what := "the base"
	if e.Patched {
		what = "with the patch"
	}
	text := what + ": " + e.Why
	if e.Log != "" {
		text += "; make's output is in " + e.Log
	}
	return text
}

// TryPatch tries the commit with and without the patches of the tester's
// Commits, until it is known what they do, or rounds are over.
func (t *Tester) TryPatch(ctx context.Context, r PatchRequest) (PatchAnswer, error) {
	if r.Runs <= 0 {
		r.Runs = 12
	}
	if r.Boots <= 0 {
		r.Boots = 4
	}
	if r.Rounds <= 0 {
		r.Rounds = 5
	}
	a := PatchAnswer{Base: r.Base}
	subjects := [2]bisect.Subject{{Commit: r.Base}, {Commit: r.Base, Patched: true}}
	var digest string
	for i, s := range subjects {
		p, err := t.Prepare(ctx, s)
		switch {
		case err != nil:
			return a, err
		case p.Failure != "":
			return a, &NoKernelError{Patched: i == 1, NotApplied: p.Failure == bisect.KindNone, Why: p.Reason, Log: p.Log}
		case i == 1 && p.Digest == digest:
			a.Effect, a.Release, a.SameBinary = bisect.Nothing, p.Release, true
			return a, nil
		}
		digest, a.Release = p.Digest, p.Release
	}
	type caseOf struct{ scenario, id string }
	var seen [2]map[caseOf][]bisect.Outcome
	open := t.Cases
	for round := 0; round < r.Rounds && len(open) > 0; round++ {
		for i, s := range subjects {
			if seen[i] == nil {
				seen[i] = map[caseOf][]bisect.Outcome{}
			}
			req := bisect.Request{Subject: s, Boots: r.Boots, Runs: (r.Runs + r.Boots - 1) / r.Boots}
			err := t.try(ctx, req, open, func(r results.Record, o bisect.Outcome) error {
				if r.Accel != "" {
					a.Accel, a.CPUs = r.Accel, r.CPUs
				}
				of := caseOf{r.Scenario, r.Case}
				seen[i][of] = append(seen[i][of], o)
				return nil
			})
			if err != nil {
				return a, err
			}
		}
		a.Cases, open = nil, nil
		for _, c := range t.Cases {
			of := caseOf{c.Scenario.Name, c.ID}
			res := bisect.Compare(seen[0][of], seen[1][of], r.Confidence)
			a.Cases = append(a.Cases, CaseResult{c.Scenario.Name, c.ID, res})
			if res.Effect == bisect.Unclear && res.Base.Runs+res.Base.BootFailures > 0 && res.Patched.Runs+res.Patched.BootFailures > 0 {
				open = append(open, c)
			}
		}
	}
	a.Effect = overall(a.Cases)
	return a, nil
}

// overall is what a patch does to all cases together: what it breaks weighs
// more than what it fixes.
func overall(cases []CaseResult) bisect.Effect {
	for _, e := range []bisect.Effect{bisect.Harms, bisect.Unclear, bisect.Helps} {
		if slices.ContainsFunc(cases, func(c CaseResult) bool { return c.Effect == e }) {
			return e
		}
	}
	return bisect.Nothing
}

// Text is an answer to the patch, ready to send: what is bad comes first.
func (a PatchAnswer) Text(who string, cx bisect.Context) string {
	if a.SameBinary {
		return "The patch " + a.Sentence() + ".\n"
	}
	cases := slices.Clone(a.Cases)
	slices.SortStableFunc(cases, func(x, y CaseResult) int { return cmp.Compare(x.order(), y.order()) })
	wrap := func(b *strings.Builder, s string) {
		b.WriteString(strings.Join(text.Wrap(text.OneLine(s), bisect.MailWidth), "\n") + "\n")
	}
	var b strings.Builder
	if len(cases) == 1 {
		wrap(&b, cases[0].PatchResult.Sentence())
	} else {
		wrap(&b, "The patch "+a.Sentence()+".")
		b.WriteString("\nFailures/trials without and with it, in each case:\n")
		for _, c := range cases {
			counts := fmt.Sprintf("%d/%d -> %d/%d", c.Base.Fails, c.Base.Runs, c.Patched.Fails, c.Patched.Runs)
			fmt.Fprintf(&b, "  %-32s %-16s %s\n", text.Escape(c.name(cases)), counts, c.Does())
		}
		for _, c := range cases {
			if c.Effect == bisect.Harms || len(c.Appeared) > 0 || c.stillFails() && len(c.Vanished) > 0 || c.Base.BootFailures+c.Patched.BootFailures+c.Base.Errors+c.Patched.Errors > 0 {
				b.WriteString("\n")
				wrap(&b, c.name(cases)+": "+c.PatchResult.Sentence())
			}
		}
	}
	b.WriteString("\n")
	for _, l := range []struct{ name, value string }{{"Scenario:", cases[0].scenarios(cases)}, {"Kernel:", cx.Release}, {"Machine:", cx.Machine}} {
		if l.value != "" {
			fmt.Fprintf(&b, "%-9s %s\n", l.name, text.Escape(l.value))
		}
	}
	if cx.Command != "" {
		b.WriteString("To reproduce:\n")
		for line := range strings.Lines(cx.Command) {
			fmt.Fprintf(&b, "  %s\n", text.Escape(strings.TrimSuffix(line, "\n")))
		}
	}
	b.WriteString("\n")
	if why := a.untested(); why != "" {
		wrap(&b, "No Tested-by: "+why+".")
	} else {
		fmt.Fprintf(&b, "Tested-by: %s\n", text.OneLine(who))
	}
	return b.String()
}

// order is where a case stands in a text.
func (c CaseResult) order() int {
	switch {
	case c.Effect == bisect.Harms:
		return 0
	case len(c.Appeared) > 0:
		return 1
	case c.stillFails():
		return 2
	case c.Effect == bisect.Unclear:
		return 3
	case c.Effect == bisect.Helps:
		return 4
	}
	return 5
}

// name is the case's, with its scenario where there are several.
func (c CaseResult) name(all []CaseResult) string {
	if c.Case == "" || slices.ContainsFunc(all, func(o CaseResult) bool { return o.Scenario != c.Scenario }) {
		return strings.TrimSpace(c.Scenario + " " + c.Case)
	}
	return c.Case
}

// scenarios names what was tried: the case, too, where there is one only.
func (c CaseResult) scenarios(all []CaseResult) string {
	if len(all) == 1 {
		return strings.TrimSpace(c.Scenario + " " + c.Case)
	}
	var names []string
	for _, o := range all {
		if !slices.Contains(names, o.Scenario) {
			names = append(names, o.Scenario)
		}
	}
	return strings.Join(names, ", ")
}

// untested says why the patch has no Tested-by: it stands for all that was
// tried, without a word of doubt. "" when it has.
func (a PatchAnswer) untested() string {
	for _, not := range []struct {
		is  func(c CaseResult) bool
		why string
	}{
		{func(c CaseResult) bool { return c.Effect == bisect.Harms }, "the patch harms"},
		{func(c CaseResult) bool { return len(c.Appeared) > 0 }, "with the patch another failure shows"},
		{func(c CaseResult) bool { return c.Patched.Fails > 0 }, "the scenario still fails with the patch"},
		{func(c CaseResult) bool { return c.Patched.BootFailures+c.Patched.Errors > 0 }, "not every trial with the patch had a verdict"},
		{func(c CaseResult) bool { return c.Effect == bisect.Unclear }, "it is not clear what the patch does"},
	} {
		if i := slices.IndexFunc(a.Cases, not.is); i >= 0 {
			if len(a.Cases) > 1 {
				return not.why + " (" + a.Cases[i].name(a.Cases) + ")"
			}
			return not.why
		}
	}
	if a.Effect != bisect.Helps {
		return "nothing failed without the patch"
	}
	return ""
}
