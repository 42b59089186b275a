package text

import (
	"strings"

	"github.com/mattn/go-runewidth"
)

// terminal counts columns. What the user's language makes of ambiguous widths
// is left out, so that output is the same everywhere.
var terminal = &runewidth.Condition{StrictEmojiNeutral: true}

// Columns is how many columns a terminal needs for s.
func Columns(s string) int { return terminal.StringWidth(s) }

// Cut shortens s to width columns; a width of 0 or less cuts nothing.
func Cut(s string, width int) string {
	if width <= 0 {
		return s
	}
	return terminal.Truncate(s, width, "…")
}

// minWrap is the narrowest column that text is broken to fit into.
const minWrap = 20

// Wrap breaks s at spaces so that no line needs more than width columns, where
// words allow it. A width below 20 breaks nothing.
func Wrap(s string, width int) []string {
	if width < minWrap {
		return []string{s}
	}
	var lines []string
	line, columns := "", 0
	for _, word := range strings.Fields(s) {
		n := Columns(word)
		switch {
		case line == "":
			line, columns = word, n
		case columns+1+n > width:
			lines = append(lines, line)
			line, columns = word, n
		default:
			line, columns = line+" "+word, columns+1+n
		}
	}
	return append(lines, line)
}

// Fold is Wrap for each line of s. What a line is broken into is indented as
// it is. A command to copy, indented, stays whole.
func Fold(s string, width int) string {
	if width < minWrap {
		return s
	}
	var out []string
	for line := range strings.SplitSeq(s, "\n") {
		if Columns(line) <= width || strings.HasPrefix(line, "  blockrig ") {
			out = append(out, line)
			continue
		}
		indent := line[:len(line)-len(strings.TrimLeft(line, " "))]
		for _, part := range Wrap(line, width-len(indent)) {
			out = append(out, indent+part)
		}
	}
	return strings.Join(out, "\n")
}
