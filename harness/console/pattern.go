package console

import (
	"bytes"
	"fmt"
	"strings"
)

// A pattern is compared with the whole message of a line, from its start:
//
//	text      this text
//	{name}    one or more bytes that are no blank
//	{name#}   one or more decimal digits
//	{name$}   one or more hexadecimal digits, "0x" before them allowed
//	{name@}   one or more bytes of a device's name: letters, digits, "_-.!/"
//	{name&}   words: letters, blanks and "/-'"
//	{name*}   anything, blanks included, up to the next text; {_*} may be nothing
//	{name~}   the same, but up to where the next text last occurs
//	[[text]]  this text, or nothing
//	$         at the end of the pattern: the message ends here
//
// A capture ends where the text after it first occurs. What follows the end
// of a pattern is ignored. "_" names a capture that nobody needs.
type pattern struct {
	source string
	tokens []token
	anchor string // its rarest text, for the prefilter
	atEnd  bool
}

type token struct {
	text string // "" for a capture
	raw  []byte // text again
	name string
	mode byte // 'w', '#', '$', '@', '&', '*', '~'; '?' for text that may be missing
}

// captures holds what a pattern's names matched. They alias the line.
type captures struct {
	n     int
	name  [8]string
	value [8][]byte
}

func (c *captures) get(name string) []byte {
	for i := range c.n {
		if c.name[i] == name {
			return c.value[i]
		}
	}
	return nil
}

func parsePattern(source string) (pattern, error) {
	p := pattern{source: source}
	rest := source
	if strings.HasSuffix(rest, "$") {
		p.atEnd = true
		rest = rest[:len(rest)-1]
	}
	for rest != "" {
		if strings.HasPrefix(rest, "[[") {
			end := strings.Index(rest, "]]")
			if end < 0 {
				return p, fmt.Errorf("pattern %q: [[ without ]]", source)
			}
			p.tokens = append(p.tokens, token{text: rest[2:end], mode: '?'})
			rest = rest[end+2:]
			continue
		}
		open := strings.IndexByte(rest, '{')
		// "{ " is text: some kernel messages hold a brace.
		for open >= 0 && (open+1 == len(rest) || rest[open+1] == ' ') {
			next := strings.IndexByte(rest[open+1:], '{')
			if next < 0 {
				open = -1
				break
			}
			open += 1 + next
		}
		if opt := strings.Index(rest, "[["); opt > 0 && (open < 0 || opt < open) {
			p.tokens = append(p.tokens, token{text: rest[:opt]})
			rest = rest[opt:]
			continue
		}
		if open < 0 {
			p.tokens = append(p.tokens, token{text: rest})
			break
		}
		if open > 0 {
			p.tokens = append(p.tokens, token{text: rest[:open]})
		}
		end := strings.IndexByte(rest[open:], '}')
		if end < 0 {
			return p, fmt.Errorf("pattern %q: capture without end", source)
		}
		name := rest[open+1 : open+end]
		rest = rest[open+end+1:]
		mode := byte('w')
		switch name[len(name)-1] {
		case '#', '$', '@', '&', '*', '~':
			mode = name[len(name)-1]
			name = name[:len(name)-1]
		}
		if n := len(p.tokens); n > 0 && p.tokens[n-1].text == "" && (p.tokens[n-1].mode == 'w' || p.tokens[n-1].mode == '*' || p.tokens[n-1].mode == '&' || p.tokens[n-1].mode == '~') {
			return p, fmt.Errorf("pattern %q: two captures with no text between", source)
		}
		p.tokens = append(p.tokens, token{name: name, mode: mode})
	}
	named := 0
	for i, t := range p.tokens {
		p.tokens[i].raw = []byte(t.text)
		if t.mode != '?' && rarity(t.text) > rarity(p.anchor) {
			p.anchor = t.text
		}
		if t.text == "" && t.name != "_" {
			named++
		}
	}
	if len(p.anchor) < window {
		return p, fmt.Errorf("pattern %q: no text of at least %d bytes", source, window)
	}
	if named > len(captures{}.name) {
		return p, fmt.Errorf("pattern %q: too many captures", source)
	}
	return p, nil
}

// rarity says how well a text tells a pattern's messages from others: capitals
// are rarer than small letters, and a short text is found slowly.
func rarity(text string) int {
	n := len(text)
	for i := range len(text) {
		if text[i] >= 'A' && text[i] <= 'Z' {
			n++
		}
	}
	switch {
	case len(text) < window:
		return 0
	case len(text) >= wideWindow:
		n += 100
	}
	return n
}

// match compares p with s and fills c.
func (p *pattern) match(s []byte, c *captures) bool { return p.compare(s, c, false) }

// matchCut compares p with the beginning of a message.
func (p *pattern) matchCut(s []byte, c *captures) bool { return p.compare(s, c, true) }

func (p *pattern) compare(s []byte, c *captures, cut bool) bool {
	c.n = 0
	for i := 0; i < len(p.tokens); i++ {
		t := &p.tokens[i]
		if cut && i > 0 && len(s) == 0 {
			return true
		}
		if t.text != "" {
			if cut && (i > 0 || len(s) >= maxHead) && t.mode != '?' && len(s) < len(t.text) && t.text[:len(s)] == string(s) {
				return true
			}
			if len(s) < len(t.text) || s[0] != t.text[0] || string(s[:len(t.text)]) != t.text {
				if t.mode == '?' {
					continue
				}
				return false
			}
			s = s[len(t.text):]
			continue
		}
		n := 0
		switch t.mode {
		case '#':
			for n < len(s) && isDigit(s[n]) {
				n++
			}
		case '$':
			if len(s) > 2 && s[0] == '0' && s[1] == 'x' {
				n = 2
			}
			for n < len(s) && isHex(s[n]) {
				n++
			}
		case '@':
			for n < len(s) && (isWord(s[n]) || s[n] == '-' || s[n] == '.' || s[n] == '!' || s[n] == '/') {
				n++
			}
		default:
			if i+1 < len(p.tokens) {
				if t.mode == '~' {
					n = bytes.LastIndex(s, p.tokens[i+1].raw)
				} else {
					n = bytes.Index(s, p.tokens[i+1].raw)
				}
				if n < 0 && !cut {
					return false
				}
				if n < 0 {
					n = len(s)
				}
				if t.mode == 'w' && bytes.IndexByte(s[:n], ' ') >= 0 {
					return false
				}
			} else if t.mode == 'w' {
				if n = bytes.IndexByte(s, ' '); n < 0 {
					n = len(s)
				}
			} else {
				n = len(s)
			}
		}
		if t.mode == '&' && !isWords(s[:n]) {
			return false
		}
		if n == 0 && (t.mode != '*' || t.name != "_") {
			return false
		}
		if t.name != "_" && (!cut || n < len(s)) { // one that is cut names nothing
			c.name[c.n], c.value[c.n] = t.name, s[:n]
			c.n++
		}
		s = s[n:]
	}
	return !p.atEnd || len(bytes.TrimRight(s, " ")) == 0
}

// trimBlanks takes off the blanks and tabs that s begins with.
func trimBlanks(s []byte) []byte {
	for len(s) > 0 && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	return s
}

// isWords: letters, blanks and a few signs, but no number, colon or bracket.
func isWords(s []byte) bool {
	for _, c := range s {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == ' ' || c == '/' || c == '-' || c == '\'') {
			return false
		}
	}
	return true
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isHex(c byte) bool {
	return isDigit(c) || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// wordBytes are the bytes of words: letters, digits and "_".
var wordBytes = func() (is [256]bool) {
	for _, c := range []byte("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_") {
		is[c] = true
	}
	return is
}()

func isWord(c byte) bool { return wordBytes[c] }
