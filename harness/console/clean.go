package console

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"github.com/blockrig/blockrig/harness/text"
)

// clean takes terminal control codes and other bytes that are no text out of
// a line, into dst: ANSI escapes (CSI, OSC, character sets), NUL and other
// control bytes. Tabs stay. A carriage return stays too: it is for the
// caller to split at.
func clean(dst, line []byte) []byte {
	dst = dst[:0]
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case c == 0x1b:
			i = escape(line, i)
		case c == '\t' || c == '\r' || c >= 0x20 && c != 0x7f:
			dst = append(dst, c)
		}
	}
	return dst
}

// escape returns the index of the last byte of the escape sequence that
// begins at i (ECMA-48, 5.4).
func escape(s []byte, i int) int {
	if i+1 >= len(s) {
		return i
	}
	switch s[i+1] {
	case '[': // CSI: parameters, intermediates, final byte
		j := i + 2
		for j < len(s) && s[j] >= 0x20 && s[j] <= 0x3f {
			j++
		}
		if j < len(s) && s[j] >= 0x40 && s[j] <= 0x7e {
			return j
		}
		return j - 1
	case ']', 'P', '^', '_', 'X': // strings, ended by BEL or ST
		for j := i + 2; j < len(s) && j < i+256; j++ {
			if s[j] == 0x07 {
				return j
			}
			if s[j] == 0x1b && j+1 < len(s) && s[j+1] == '\\' {
				return j + 1
			}
		}
		return i + 1
	case '(', ')', '*', '+', '#', ' ', '%': // two bytes more
		return min(i+2, len(s)-1)
	}
	if s[i+1] >= 0x30 && s[i+1] <= 0x7e {
		return i + 1
	}
	return i
}

// printable is s as text that a terminal shows and JSON can hold: a tab becomes
// a space, and what a terminal may not get U+FFFD.
func printable(s []byte) string {
	if isPlain(s) {
		return string(s)
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case !text.Printable(r):
			return utf8.RuneError
		}
		return r
	}, string(s))
}

// isPlain: nothing but ASCII that a terminal shows.
func isPlain(s []byte) bool {
	for _, c := range s {
		if c < 0x20 || c >= 0x7f {
			return false
		}
	}
	return true
}

// shown is a name as a finding shows it: printable and not too long, without the
// blanks around it.
func shown(s []byte) string { return printable(bytes.TrimSpace(s[:min(len(s), maxCapture)])) }
