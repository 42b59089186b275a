package results

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/blockrig/blockrig/harness/verdict"
)

// A Style says how a table is shown.
type Style struct {
	Color bool // with the terminal's colours; only for a terminal
	Width int  // columns to fit into where a finding can be cut short; 0: no limit
}

// A cell is one field of a table and its colour, an SGR parameter; "" for
// none.
type cell struct{ text, color string }

// Table writes records for people: kernel, case, verdict, what else applied,
// what the step said, the first finding, seconds. The scenario has a column
// where there are several.
func Table(w io.Writer, records []Record, style Style) error {
	several := false
	for _, r := range records {
		several = several || r.Scenario != records[0].Scenario
	}
	head := []cell{{"KERNEL", ""}, {"CASE", ""}, {"VERDICT", ""}, {"ALSO", ""}, {"SAID", ""}, {"FIRST FINDING", ""}, {"SECONDS", ""}}
	rows := [][]cell{head}
	for _, r := range records {
		rows = append(rows, []cell{
			{orDash(kernelName(r.Kernel)), ""},
			{orDash(r.Case), ""},
			{string(r.Verdict), color(r.Verdict)},
			{orDash(join(r.Also)), ""},
			{orDash(r.Outcome), ""},
			{orDash(firstFinding(r)), ""},
			{fmt.Sprintf("%.1f", float64(r.TrialMS)/1000), ""},
		})
	}
	if several {
		rows[0] = append([]cell{{"SCENARIO", ""}}, rows[0]...)
		for i, r := range records {
			rows[i+1] = append([]cell{{orDash(r.Scenario), ""}}, rows[i+1]...)
		}
	}
	shorten(rows, len(rows[0])-2, style.Width)
	return writeRows(w, rows, style)
}

// minFinding is to how many columns a finding may be cut.
const minFinding = 16

// shorten cuts the texts of a column so that rows fit into width columns, if
// that is enough.
func shorten(rows [][]cell, column, width int) {
	total, own := -2, 0
	for i := range rows[0] {
		widest := 0
		for _, row := range rows {
			widest = max(widest, utf8.RuneCountInString(Harmless(row[i].text)))
		}
		total += widest + 2
		if i == column {
			own = widest
		}
	}
	room := max(minFinding, own-(total-width))
	if width <= 0 || total <= width {
		return
	}
	for _, row := range rows {
		if text := []rune(Harmless(row[column].text)); len(text) > room {
			row[column].text = string(text[:room-1]) + "…"
		}
	}
}

// writeRows writes cells in columns. The last column is one of numbers.
func writeRows(w io.Writer, rows [][]cell, style Style) error {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i := range row {
			row[i].text = Harmless(row[i].text)
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i].text))
		}
	}
	var b bytes.Buffer
	for _, row := range rows {
		for i, c := range row {
			if i > 0 {
				b.WriteString("  ")
			}
			text, pad := c.text, strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c.text))
			if style.Color && c.color != "" {
				text = "\x1b[" + c.color + "m" + text + "\x1b[0m"
			}
			if i == len(row)-1 {
				b.WriteString(pad + text)
			} else {
				b.WriteString(text + pad)
			}
		}
		b.WriteByte('\n')
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("write table: %w", err)
	}
	return nil
}

func kernelName(k Kernel) string {
	if k.Release != "" {
		return k.Release
	}
	return k.Ref
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

func join(verdicts []verdict.Verdict) string {
	words := make([]string, len(verdicts))
	for i, v := range verdicts {
		words[i] = string(v)
	}
	return strings.Join(words, ",")
}

// firstFinding is the first thing that the console showed. An error, about
// which a console need not say anything, has its reason instead.
func firstFinding(r Record) string {
	if len(r.Findings) > 0 {
		return r.Findings[0].Title
	}
	if r.Verdict == verdict.Error {
		return r.Reason
	}
	return ""
}

func color(v verdict.Verdict) string {
	switch {
	case v == verdict.Pass || v == verdict.Clean:
		return "32"
	case v == verdict.Error:
		return "33"
	default:
		return "31"
	}
}
