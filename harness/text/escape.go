package text

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Printable tells whether a terminal shows r and does nothing else with it.
// Control codes and the marks that turn the direction of text are not; U+FFFD,
// which stands for broken UTF-8, is.
func Printable(r rune) bool { return unicode.IsPrint(r) }

// Escape gives s as one line that a terminal only shows: what else it holds
// is escaped as in JSON. Bytes that are no UTF-8 become U+FFFD.
func Escape(s string) string { return escape(s, "") }

// EscapeLines is Escape for text of several lines: newlines and tabs stay.
func EscapeLines(s string) string { return escape(s, "\n\t") }

// OneLine is Escape of s without its line breaks: each run of white space is
// one space.
func OneLine(s string) string { return Escape(strings.Join(strings.Fields(s), " ")) }

// Excerpt is OneLine of at most the first limit bytes of s.
func Excerpt(s []byte, limit int) string {
	if len(s) <= limit {
		return OneLine(string(s))
	}
	return OneLine(string(s[:limit])) + "…"
}

func escape(s, keep string) string {
	fine := func(r rune) bool { return Printable(r) || strings.ContainsRune(keep, r) }
	var b strings.Builder
	for _, r := range s {
		switch {
		case fine(r):
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		default:
			b.WriteString(escaped(r))
		}
	}
	return b.String()
}

// escaped is r as JSON escapes it.
func escaped(r rune) string {
	if r < 0x10000 {
		return fmt.Sprintf(`\u%04x`, r)
	}
	high, low := utf16.EncodeRune(r)
	return fmt.Sprintf(`\u%04x\u%04x`, high, low)
}

// JSONLine gives v as one line of JSON, newline included, that a terminal only
// shows: encoding/json leaves DEL, the C1 control codes and the marks that turn
// the direction of text as they are. Read back it is the same value.
func JSONLine(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("encode as JSON: %w", err)
	}
	var out bytes.Buffer
	for src := b.Bytes(); len(src) > 0; {
		r, size := utf8.DecodeRune(src)
		if r >= 0x7f && !Printable(r) {
			out.WriteString(escaped(r))
		} else {
			out.Write(src[:size])
		}
		src = src[size:]
	}
	return out.Bytes(), nil
}
