package compare

import (
	"fmt"
	"io"
	"strings"

	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/results"
)

// A Style says how a table is shown.
type Style struct {
	Color bool
	Width int  // columns to fit into; 0: no limit
	All   bool // cases that are the same, too
}

// Table writes a comparison for people: what changed, then one line with the
// number of cases of each kind.
func Table(w io.Writer, cases []Case, a, b string, style Style) error {
	t := text.Table{
		Head: []string{"SCENARIO", "CASE", "KERNEL", "CHANGE", text.Escape(a), text.Escape(b), "DIFFER", "WHY"}, Color: style.Color, Width: style.Width, Wrap: true, Several: true,
	}
	apart := false
	for _, c := range cases {
		apart = apart || c.Ref != ""
	}
	if !apart {
		t.Head = []string{"SCENARIO", "CASE", "CHANGE", text.Escape(a), text.Escape(b), "DIFFER", "WHY"}
	}
	shown := false
	for _, c := range cases {
		if c.Change == Same && !style.All {
			continue
		}
		shown = true
		row := []any{c.Scenario, results.OrDash(c.Case)}
		if apart {
			row = append(row, c.Ref)
		}
		t.Add(append(row, text.Cell{Text: string(c.Change), Color: color(c)}, c.A.rate(), c.B.rate(), differ(c.Differ), c.Why)...)
	}
	if shown {
		if err := t.Write(w); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintln(w, Sum(cases))
	return err
}

// Sum counts the cases of each kind on one line.
func Sum(cases []Case) string {
	n := map[Change]int{}
	for _, c := range cases {
		n[c.Change]++
	}
	var parts []string
	for _, change := range Changes {
		if n[change] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n[change], change))
		}
	}
	return fmt.Sprintf("%s: %s", text.Count(len(cases), "case"), strings.Join(parts, ", "))
}

// rate is how often a side failed, with the 95% interval.
func (s Side) rate() string {
	switch {
	case s.Trials == 0:
		return "-"
	case s.Rate == nil:
		return text.Count(s.Errors, "error")
	}
	return fmt.Sprintf("%d/%d (%s-%s)", s.Failures, s.Judged(), results.Percent(s.Interval.Low), results.Percent(s.Interval.High))
}

func differ(p *float64) string {
	if p == nil {
		return "-"
	}
	return results.Percent(*p)
}

func color(c Case) string {
	switch {
	case c.Worse() || c.Change == StillFailing || c.Change == RateChanged:
		return "31"
	case c.Change == Fixed || c.Change == Same:
		return "32"
	default:
		return "33"
	}
}
