package results

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/blockrig/blockrig/harness/stats"
	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/scenarios"
)

// SummaryTable writes summaries for people: a row for each case on a kernel,
// then what there is to say of each that has more than one group or showed
// something on its console, then what passes are worth.
func SummaryTable(w io.Writer, all []Summary, trust Trust, style Style) error {
	t := text.Table{
		Head:  []string{"SCENARIO", "KERNEL", "CASE", "VERDICT", "TRIALS", "BOOTS", "FAILED", "95% INTERVAL", "BETWEEN BOOTS", "TO TRUST A PASS"},
		Color: style.Color, Width: style.Width, Numbers: true, Several: true,
	}
	several := false
	name := kernelNames(all, func(s Summary) Kernel { return s.Kernel })
	for _, s := range all {
		several = several || s.Scenario != all[0].Scenario
		t.Add(s.Scenario, OrDash(name(s.Kernel)), OrDash(s.Case), s.verdict(), s.trials(), s.Boots, s.failed(),
			Percent(s.Interval.Low)+" to "+Percent(s.Interval.High), s.between(), s.toTrust())
	}
	if err := t.Write(w); err != nil {
		return err
	}
	var b bytes.Buffer
	for _, s := range all {
		s.details(&b, name(s.Kernel), several, style)
	}
	trustNote(&b, all, trust)
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("write summary: %w", err)
	}
	return nil
}

// verdict is the one verdict of all trials, or flaky.
func (s Summary) verdict() text.Cell {
	if s.Flaky {
		return text.Cell{Text: "flaky", Color: "31"}
	}
	for _, v := range s.order() {
		if v != scenarios.Error || len(s.Verdicts) == 1 {
			return VerdictCell(v)
		}
	}
	return text.Cell{Text: "-"}
}

// order is the verdicts that occurred, the most frequent first.
func (s Summary) order() []scenarios.Verdict {
	return slices.SortedFunc(maps.Keys(s.Verdicts), func(a, b scenarios.Verdict) int {
		return cmp.Or(cmp.Compare(s.Verdicts[b], s.Verdicts[a]), strings.Compare(string(a), string(b)))
	})
}

// trials is how many there were of each verdict.
func (s Summary) trials() string {
	var parts []string
	for _, v := range s.order() {
		parts = append(parts, fmt.Sprintf("%d %s", s.Verdicts[v], v))
	}
	return strings.Join(parts, ", ")
}

func (s Summary) failed() string {
	if s.Trials == 0 {
		return "-"
	}
	return fmt.Sprintf("%d of %d, %s", s.Failures, s.Trials, Percent(s.Rate))
}

func (s Summary) between() string {
	if s.Between == nil {
		return "-"
	}
	return Percent(*s.Between)
}

func (s Summary) toTrust() string {
	switch {
	case s.BootsToTrust == 0:
		return "-"
	case s.RunsToTrust == s.BootsToTrust:
		return fmt.Sprintf("%d boots", s.BootsToTrust)
	default:
		return fmt.Sprintf("%d boots of %d", s.BootsToTrust, s.RunsToTrust/s.BootsToTrust)
	}
}

// Percent gives a rate with as many digits as one can make use of.
func Percent(rate float64) string {
	p := rate * 100
	if p == 0 || p == 100 || p >= 1 && p <= 99 {
		return fmt.Sprintf("%.0f%%", p)
	}
	if p < 1 {
		return fmt.Sprintf("%.2g%%", p)
	}
	return fmt.Sprintf("%.1f%%", math.Min(p, 99.9))
}

// details lists the groups of a case and what consoles showed.
func (s Summary) details(b *bytes.Buffer, name string, several bool, style Style) {
	if len(s.Groups) < 2 && len(s.Titles) == 0 && s.Verdicts[scenarios.Error] == 0 {
		return
	}
	if several {
		name += ", " + s.Scenario
	}
	if s.Case != "" {
		name += ", " + s.Case
	}
	fmt.Fprintf(b, "\n%s:\n", text.Escape(name))
	for _, f := range s.Groups {
		v := string(f.Verdict)
		if style.Color {
			v = text.Paint(color(f.Verdict), v)
		}
		fmt.Fprintf(b, "%6d × %s, %s", f.Trials, v, text.Escape(f.what()))
		if f.RunDir != "" {
			fmt.Fprintf(b, "; the first: %s", text.Escape(filepath.Base(f.RunDir)))
		}
		b.WriteByte('\n')
		if f.FirstFailed != nil {
			fmt.Fprintf(b, "         failed first: %s\n", text.Escape(f.FirstFailed.Text()))
		}
	}
	titles := slices.SortedFunc(maps.Keys(s.Titles), func(x, y string) int {
		return cmp.Or(cmp.Compare(s.Titles[y], s.Titles[x]), strings.Compare(x, y))
	})
	for i, t := range titles {
		if i == 0 {
			b.WriteString("  and on the console:\n")
		}
		fmt.Fprintf(b, "%6d × %s\n", s.Titles[t], text.Escape(t))
	}
}

// what says in short what a group is: its signature without the titles, which
// are counted by themselves, and how many of them it has.
func (f Group) what() string {
	text := f.Signature.Failure().String()
	if n := len(f.Signature.Titles); n > 0 {
		text += fmt.Sprintf(" with %d title", n)
		if n > 1 {
			text += "s"
		}
	}
	if f.Verdict == scenarios.Error {
		return text + ": " + f.Reason
	}
	if f.Outcome != "" {
		text += " (" + f.Outcome + ")"
	}
	return text
}

// trustNote says what the passes seen are worth, and how many would be
// enough.
func trustNote(b *bytes.Buffer, all []Summary, trust Trust) {
	n := stats.RunsToTrust(trust.Rate, trust.Confidence)
	if n == 0 || !slices.ContainsFunc(all, func(s Summary) bool { return s.Verdicts[scenarios.Pass] > 0 }) {
		return
	}
	fmt.Fprintf(b, "\n%d passes in a row, each in a boot of its own, rule out a failure rate above %s with %s confidence; passes of one boot add little (--repeat %d --boots %d).\n",
		n, Percent(trust.Rate), Percent(trust.Confidence), n, n)
}
