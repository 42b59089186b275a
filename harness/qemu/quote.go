package qemu

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Quote makes text from QEMU or a guest fit for a terminal: control codes
// and bytes that are no UTF-8 are written as \xNN, line ends as spaces, and at
// most limit bytes of the text are kept.
func Quote(text []byte, limit int) string {
	cut := len(text) > limit
	if cut {
		text = text[:limit]
	}
	var b strings.Builder
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		switch {
		case r == '\n' || r == '\r' || r == '\t':
			b.WriteByte(' ')
		case r == utf8.RuneError && n <= 1, !unicode.IsPrint(r):
			for _, c := range text[:n] {
				fmt.Fprintf(&b, `\x%02x`, c)
			}
		default:
			b.WriteRune(r)
		}
		text = text[n:]
	}
	if cut {
		b.WriteString("…")
	}
	return strings.TrimSpace(b.String())
}
