package console

import "bytes"

// A wrap is a line that may go on in the next one: mail programs break lines
// at 72 or 80 columns, and a task's name may hold a line break. What is read
// of it alone is taken back when the two make more sense together.
type wrap struct {
	m      message // its slices are copies
	text   []byte
	stamp  []byte
	row    int // that the line alone matched, -1 for none; noWrap
	number int // of the line
	length int // of the line, prefixes included
	tries  int
}

const (
	noWrap   = -2
	wrapFrom = 50  // bytes: a shorter line is broken by no mail program
	maxWrap  = 400 // bytes of lines put together
	maxTries = 3   // lines that a task's name may have
)

// taskHead begins the one first line whose text may hold line breaks.
var taskHead = []byte("INFO: task ")

// mayContinue remembers a line that begins as a row of the markers does, if
// it matched none, or just opened a report.
func (s *Scanner) mayContinue(m *message, line []byte, found bool) {
	text := trimBlanks(m.text)
	row := -1
	if found {
		r := s.open[0]
		if r == nil || r.f.Line != s.lines || r.lines > 0 {
			return
		}
		row = r.row
	}
	if len(text) > maxWrap || len(line) < wrapFrom && !bytes.HasPrefix(text, taskHead) || m.origin == originUser {
		return
	}
	w := &s.wrap
	w.text, w.stamp = append(w.text[:0], text...), append(w.stamp[:0], m.stamp...)
	w.m, w.row, w.number, w.length, w.tries = *m, row, s.lines, len(line), 0
	w.m.text, w.m.stamp = nil, w.stamp
}

// continued takes a line as the rest of the one before, if the two together
// match a row that the first alone did not.
func (s *Scanner) continued(m *message, line []byte) bool {
	w := &s.wrap
	row := w.row
	w.row = noWrap
	text := trimBlanks(m.text)
	name := row < 0 && bytes.HasPrefix(w.text, taskHead)
	if len(text) == 0 || len(w.text)+len(text) > maxWrap || m.origin == originForeign ||
		!name && (m.origin != originUnknown || m.quoted != w.m.quoted || len(m.stamp) > 0) {
		return false
	}
	if s.look(m); s.row(m, text) >= 0 {
		return false // it begins something itself
	}
	for _, sep := range []string{" ", ""} {
		s.joined = append(append(append(s.joined[:0], w.text...), sep...), text...)
		joined := s.joined
		jm := w.m
		jm.text = joined
		s.look(&jm)
		got := s.row(&jm, joined)
		if got < 0 || markers[got].shape == shapeLine && row >= 0 || markers[got].loose && got != row {
			continue
		}
		if got == row && !s.goesOn(row, text, sep) {
			continue
		}
		if last := s.t.markers[got].tokens; last[len(last)-1].name == "func" && !bytes.Contains(text, []byte("+0x")) {
			continue // a word that only looks like a function
		}
		if got != row && row >= 0 && got > row && !markers[row].loose {
			continue // the first alone says more
		}
		if row >= 0 { // what the first line alone began
			if r := s.open[0]; r == nil || r.f.Line != w.number || r.lines > 0 {
				return false
			}
			s.remove(0)
		}
		if e := s.last; e != nil && e.Kind == KindUnrecognized && e.LastLine == w.number {
			s.retract(e)
		}
		number := s.lines
		s.lines = w.number
		s.begin(got, &jm, joined)
		s.lines = number
		if r := s.open[0]; r != nil && r.f.Line == w.number {
			r.f.LastLine = number
		}
		return true
	}
	if name && w.tries < maxTries {
		w.text = append(append(w.text, ' '), text...)
		w.row, w.tries = row, w.tries+1
	}
	return false
}

// goesOn reports whether text completes what the row captured last: free text
// that fills its line, or a function's name that was cut.
func (s *Scanner) goesOn(row int, text []byte, sep string) bool {
	last := s.t.markers[row].tokens[len(s.t.markers[row].tokens)-1]
	switch {
	case last.name == "func" && sep == "":
		n := symbolLen(text)
		end := s.wrap.text[len(s.wrap.text)-1]
		return n > 0 && n < len(text) && text[n] == '+' && isWord(end) && !bytes.Contains(s.wrap.text, []byte("+0x"))
	case last.mode == '*' && sep == " ":
		return s.wrap.length >= 60 && len(text) < 60 && text[0] >= 'a' && text[0] <= 'z' && isWords(bytes.TrimRight(text, ".!"))
	}
	return false
}
