package results

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// harmless tells whether a terminal shows r and does nothing else with it.
func harmless(r rune) bool {
	// unicode.IsPrint leaves out control codes and the marks that turn the
	// direction of text; U+FFFD stands for broken UTF-8 and may be shown.
	return unicode.IsPrint(r)
}

// Harmless gives text as one line that a terminal only shows: what else it
// holds is escaped as in JSON.
func Harmless(text string) string {
	if strings.IndexFunc(text, func(r rune) bool { return !harmless(r) }) < 0 && utf8.ValidString(text) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		switch {
		case harmless(r):
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		default:
			writeEscape(&b, r)
		}
	}
	return b.String()
}

// HarmlessLines is Harmless for text of several lines: newlines and tabs stay.
func HarmlessLines(text string) string {
	parts := strings.SplitAfter(text, "\n")
	for i, line := range parts {
		line, end := strings.CutSuffix(line, "\n")
		cells := strings.Split(line, "\t")
		for j := range cells {
			cells[j] = Harmless(cells[j])
		}
		parts[i] = strings.Join(cells, "\t")
		if end {
			parts[i] += "\n"
		}
	}
	return strings.Join(parts, "")
}

// writeEscape writes r as JSON escapes it. Neither of its writers fails.
func writeEscape(w io.Writer, r rune) {
	if r < 0x10000 {
		fmt.Fprintf(w, `\u%04x`, r)
		return
	}
	high, low := utf16.EncodeRune(r)
	fmt.Fprintf(w, `\u%04x\u%04x`, high, low)
}
