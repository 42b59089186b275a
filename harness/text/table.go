package text

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
)

// A Table is text in columns, two spaces apart. What its cells hold is
// escaped.
type Table struct {
	Head    []string // a name for each column
	Color   bool     // paint cells; only for a terminal
	Width   int      // columns of the terminal that rows should fit into; 0: no limit
	Cut     int      // index of the column that is cut short for that; 0: none
	Wrap    bool     // break the last column at spaces for that
	Numbers bool     // the last column is one of numbers
	Several bool     // leave the first column out where all rows have the same there

	rows [][]Cell
}

// A Cell is one field of a table.
type Cell struct {
	Text  string
	Color string // SGR parameters, such as "31"; "" for none
	Whole bool   // never broken: a command to copy
}

// Paint gives s in the colour of SGR parameters; without any, as it is.
func Paint(sgr, s string) string {
	if sgr == "" || s == "" {
		return s
	}
	return "\x1b[" + sgr + "m" + s + "\x1b[0m"
}

// Add adds a row: a Cell, or anything that fmt.Sprint makes text of, for each
// column.
func (t *Table) Add(fields ...any) {
	row := make([]Cell, len(t.Head))
	for i, f := range fields {
		c, ok := f.(Cell)
		if !ok {
			c.Text = fmt.Sprint(f)
		}
		c.Text = Escape(c.Text)
		row[i] = c
	}
	t.rows = append(t.rows, row)
}

// minCut is to how many columns a cell may be cut.
const minCut = 16

// Write writes the table.
func (t *Table) Write(w io.Writer) error {
	head := make([]Cell, len(t.Head))
	for i, name := range t.Head {
		head[i].Text = name
	}
	rows, cut := [][]Cell{head}, t.Cut
	for _, row := range t.rows {
		rows = append(rows, slices.Clone(row))
	}
	if t.Several && t.sameFirst() {
		for i := range rows {
			rows[i] = rows[i][1:]
		}
		cut--
	}
	widths, total := measure(rows)
	if over := total - t.Width; t.Width > 0 && over > 0 && cut > 0 {
		width := max(minCut, widths[cut]-over)
		for _, row := range rows {
			row[cut].Text = Cut(row[cut].Text, width)
		}
		widths, total = measure(rows)
	}
	last := len(widths) - 1
	if t.Wrap && t.Width > 0 {
		rows = wrapLast(rows, t.Width-(total-widths[last]))
	}
	var b bytes.Buffer
	for _, row := range rows {
		var line strings.Builder
		for i, c := range row {
			pad := strings.Repeat(" ", max(0, widths[i]-Columns(c.Text)))
			shown := c.Text
			if t.Color {
				shown = Paint(c.Color, shown)
			}
			if i == last && t.Numbers {
				line.WriteString(pad + shown)
			} else {
				line.WriteString(shown + pad)
			}
			if i < last {
				line.WriteString("  ")
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("write table: %w", err)
	}
	return nil
}

func (t *Table) sameFirst() bool {
	for _, row := range t.rows {
		if row[0].Text != t.rows[0][0].Text {
			return false
		}
	}
	return true
}

// measure gives the width of each column and of a whole row.
func measure(rows [][]Cell) (widths []int, total int) {
	widths = make([]int, len(rows[0]))
	total = 2 * (len(widths) - 1)
	for i := range widths {
		for _, row := range rows {
			widths[i] = max(widths[i], Columns(row[i].Text))
		}
		total += widths[i]
	}
	return widths, total
}

// wrapLast breaks cells of the last column over several rows.
func wrapLast(rows [][]Cell, width int) [][]Cell {
	var out [][]Cell
	for _, row := range rows {
		last := len(row) - 1
		if row[last].Whole {
			out = append(out, row)
			continue
		}
		for i, line := range Wrap(row[last].Text, width) {
			if i > 0 {
				row = make([]Cell, len(row))
			}
			row[last].Text = line
			out = append(out, row)
		}
	}
	return out
}
