package nightly

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/blockrig/blockrig/harness/stats"
	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/results"
)

// headings are what a report has of each kind of finding, in its order.
var headings = []struct {
	kind Kind
	one  string // "1 new failure"
	many string
	head string
}{
	{New, "new failure", "new failures", "NEW"},
	{Back, "failure is back", "failures are back", "BACK"},
	{Spread, "known from other kernels", "known from other kernels", "ALSO HERE NOW"},
	{Fixed, "fixed", "fixed", "FIXED"},
	{Expired, "known failure is gone", "known failures are gone", "NO LONGER THERE"},
	{Changed, "rate changed", "rates changed", "RATE CHANGED"},
	{Unsettled, "not sure yet", "not sure yet", "NOT SURE YET"},
	{Begins, "there from the beginning", "there from the beginning", "THERE FROM THE BEGINNING"},
	{KnownStill, "known", "known", "KNOWN"},
	{Still, "still failing", "still failing", "STILL FAILING"},
}

// worthSaying leaves out what may be new, but rather is not.
func worthSaying(f Finding) bool { return f.Kind != Unsettled || f.Change.Up >= .5 }

// Of gives the findings of one kind.
func (n *Night) Of(k Kind) []Finding {
	var out []Finding
	for _, f := range n.Findings {
		if f.Kind == k && worthSaying(f) {
			out = append(out, f)
		}
	}
	return out
}

// Status is the exit status: 1 for a new failure, one that is back, or one that
// the hunt found; 3 where
// something could not be had.
func (n *Night) Status() int {
	if slices.ContainsFunc(n.Findings, func(f Finding) bool { return f.Kind.Alarming() }) || n.Hunt != nil && len(n.Hunt.Findings) > 0 {
		return results.ExitFailure
	}
	if len(n.Trouble) > 0 || n.Finished.IsZero() || slices.ContainsFunc(n.Tallies, func(t Tally) bool {
		_, trials := t.trials()
		return t.Errors > 0 && trials == 0
	}) {
		return results.ExitError
	}
	return results.ExitOK
}

// Headline says in one line what came of the night.
func (n *Night) Headline() string {
	var parts []string
	for _, h := range headings {
		switch found := len(n.Of(h.kind)); {
		case found == 1:
			parts = append(parts, "1 "+h.one)
		case found > 1:
			parts = append(parts, fmt.Sprintf("%d %s", found, h.many))
		}
	}
	if n.Hunt != nil && len(n.Hunt.Findings) > 0 {
		parts = append([]string{fmt.Sprintf("%d found by the hunt", len(n.Hunt.Findings))}, parts...)
	}
	if len(n.Of(New)) == 0 {
		parts = append([]string{"nothing new"}, parts...)
	}
	return strings.Join(parts, ", ")
}

// WriteText writes what a person reads in the morning, what changed first.
func (n *Night) WriteText(w io.Writer, name string) error {
	var b strings.Builder
	state := ""
	if n.Finished.IsZero() {
		state = " (not finished; the next start goes on with it)"
	}
	fmt.Fprintf(&b, "Night %d of %s, %s, %s%s: %s.\n", n.Number, text.Escape(name), n.Started.Format(time.DateOnly), spent(n.Seconds), state, n.Headline())
	for _, h := range headings {
		for i, f := range n.Of(h.kind) {
			if i == 0 {
				fmt.Fprintf(&b, "\n%s\n", h.head)
			}
			f.write(&b)
		}
	}
	for i, f := range n.Continued {
		if i == 0 {
			b.WriteString("\nBISECTED, of the night before\n")
		}
		fmt.Fprintf(&b, "  %s, %s\n", text.Escape(f.CaseName.String()), text.Escape(f.Signature))
		f.writeBisection(&b)
	}
	n.Hunt.write(&b)
	writeBackports(&b, n.Lacking)
	n.writeTried(&b)
	for i, t := range n.Trouble {
		if i == 0 {
			b.WriteString("\nCOULD NOT BE DONE\n")
		}
		fmt.Fprintf(&b, "  %s\n", text.Escape(t))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// linesBelow gives what writes a line below a heading of a case.
func linesBelow(b *strings.Builder) func(format string, args ...any) {
	return func(format string, args ...any) {
		fmt.Fprintf(b, "    %s\n", text.Escape(fmt.Sprintf(format, args...)))
	}
}

func (f Finding) write(b *strings.Builder) {
	fmt.Fprintf(b, "  %s: %s on %s", text.Escape(f.CaseName.String()), text.Escape(short(f.Signature)), text.Escape(f.Release))
	if f.Kind.Alarming() && f.BeforeRelease != "" {
		fmt.Fprintf(b, ", not on %s", text.Escape(f.BeforeRelease))
	}
	b.WriteByte('\n')
	line := linesBelow(b)
	if what := strings.Trim(f.Shown.Outcome+"; "+f.Shown.Title, "; "); what != "" {
		line("%s", what)
	}
	line("%s", f.evidence())
	if f.Note != "" {
		line("%s", f.Note)
	}
	if f.Link != "" {
		line("%s", f.Link)
	}
	if !f.Kind.Alarming() {
		return
	}
	for _, w := range f.Also {
		line("also %s on %s, %s", w.CaseName, w.Release, ofTrials(w.Fails))
	}
	for _, w := range f.Elsewhere {
		switch {
		case w.Same:
			line("elsewhere: %s on %s fails so, too, %s", w.CaseName, w.Kernel(), ofTrials(w.Fails))
		case w.Fails.Failures > 0:
			line("elsewhere: %s on %s fails in another way, %s", w.CaseName, w.Kernel(), ofTrials(w.Fails))
		default:
			line("elsewhere: %s on %s passes", w.CaseName, w.Kernel())
		}
	}
	f.writeBisection(b)
	line("again: %s", f.command())
	if f.Shown.Trial != "" {
		line("trial: %s", f.Shown.Trial)
	}
}

// evidence says how often it was seen, and how sure what is said is.
func (f Finding) evidence() string {
	said := ofTrials(f.Tonight) + " tonight"
	for _, w := range []Way{FreshBoots, PowerOn} {
		if c, ok := f.Confirmed[w]; ok && c.Trials > 0 {
			said += fmt.Sprintf(", %s from %s", ofTrials(c), w)
		}
	}
	switch f.Kind {
	case New, Back, Spread, Unsettled:
		said += fmt.Sprintf("; that it began is %s likely", percent(f.Change.Up))
	case Fixed, Expired:
		said += fmt.Sprintf("; that it is gone is %s likely", percent(f.Change.Down))
	case Changed:
		said += fmt.Sprintf("; from %s (%s to %s) to %s (%s to %s), %s likely",
			percent(f.Change.Before.Mean), percent(f.Change.Before.Low), percent(f.Change.Before.High),
			percent(f.Change.Now.Mean), percent(f.Change.Now.Low), percent(f.Change.Now.High), percent(max(f.Change.Up, f.Change.Down)))
	}
	return said
}

func (f Finding) writeBisection(b *strings.Builder) {
	line := linesBelow(b)
	for _, said := range f.Bisection.Lines("the bisection goes on the next night, or with") {
		line("%s", said)
	}
}

// command tries it again.
func (f Finding) command() string {
	c := "blockrig run " + f.Scenario
	if f.Case != "" {
		c += " --case " + f.Case
	}
	return c + " -k " + f.Ref
}

func ofTrials(b stats.Boot) string { return fmt.Sprintf("%d of %d", b.Failures, b.Trials) }

// percent never says that something uncertain is certain.
func percent(p float64) string {
	switch {
	case p > .999:
		return "99.9%"
	case p >= .99, p > 0 && p < .01:
		return fmt.Sprintf("%.1f%%", 100*p)
	}
	return fmt.Sprintf("%.0f%%", 100*p)
}

func writeBackports(b *strings.Builder, all []Backport) {
	names := func(rs []Release) string {
		var out []string
		for _, r := range rs {
			if !slices.Contains(out, r.Release) {
				out = append(out, r.Release)
			}
		}
		return strings.Join(out, ", ")
	}
	line := linesBelow(b)
	for i, bp := range all {
		if i == 0 {
			b.WriteString("\nMISSING BACKPORTS, and where fixes arrived\n")
		}
		fmt.Fprintf(b, "  %s\n", text.Escape(bp.CaseName.String()))
		if bp.Fix != "" {
			line("fix: %s", bp.Fix)
		}
		if len(bp.Lacking) > 0 {
			line("missing in %s", names(bp.Lacking))
		}
		if len(bp.Arrived) > 0 {
			line("arrived in %s", names(bp.Arrived))
		}
	}
}

// writeTried says what was tried, and what was left out.
func (n *Night) writeTried(b *strings.Builder) {
	b.WriteString("\nTRIED\n")
	for _, k := range n.Kernels {
		var cases, trials, errors, left int
		release, reason := k.name(), ""
		for _, t := range n.Tallies {
			if t.Ref != k.Ref || t.Stream != k.Stream || t.Confirms != "" {
				continue
			}
			cases++
			_, judged := t.trials()
			trials += judged
			errors += t.Errors
			reason = cmp.Or(reason, t.Reason)
			if t.Release != "" {
				release = t.Release
			}
		}
		for _, batch := range n.Plan {
			if !batch.Done && batch.Kernel.Ref == k.Ref && batch.Kernel.Stream == k.Stream {
				left += len(batch.Cases)
			}
		}
		fmt.Fprintf(b, "  %s (%s): %d cases, %d trials", text.Escape(release), text.Escape(k.Stream), cases, trials)
		if k.New {
			b.WriteString(", new")
		}
		if errors > 0 {
			fmt.Fprintf(b, ", %d without a verdict (%s)", errors, text.OneLine(reason))
		}
		if left > 0 {
			fmt.Fprintf(b, "; %d cases left out, no time", left)
		}
		b.WriteByte('\n')
	}
}

// WriteText writes a forecast for people.
func (f *Forecast) WriteText(w io.Writer, name string) error {
	var b strings.Builder
	what := "A night"
	if f.Resumes > 0 {
		what = fmt.Sprintf("The rest of night %d", f.Resumes)
	}
	fmt.Fprintf(&b, "%s of %s: %d trials, about %s of %s.\n\n", what, text.Escape(name), f.Trials, spent(f.Seconds), spent(f.Budget))
	t := text.Table{Head: []string{"KERNEL", "STREAM", "WHY", "CASES", "TAKES"}}
	add := func(all []Batch, out string) {
		for _, batch := range all {
			takes := spent(batch.Seconds)
			if out != "" {
				takes += ", " + out
			}
			t.Add(batch.Kernel.name(), batch.Kernel.Stream, batch.Why, len(batch.Cases), takes)
		}
	}
	add(f.Plan, "")
	add(f.LeftOut, "left out")
	if err := t.Write(&b); err != nil {
		return err
	}
	if f.Hunt != "" {
		fmt.Fprintf(&b, "\nA hunt: %s.\n", text.Escape(f.Hunt))
	}
	for _, s := range f.Trouble {
		fmt.Fprintf(&b, "\n%s\n", text.Escape(s))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// spent is a time for people.
func spent(seconds float64) string {
	switch {
	case seconds < 90:
		return fmt.Sprintf("%.0f s", seconds)
	case seconds < 90*60:
		return fmt.Sprintf("%.0f min", seconds/60)
	}
	return fmt.Sprintf("%.1f h", seconds/3600)
}
