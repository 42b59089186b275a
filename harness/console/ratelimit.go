package console

import (
	"bytes"
	"strconv"
)

// suppressed adds the messages that the kernel's rate limit left out, or that
// syslog folded, to the finding that they repeat.
func (s *Scanner) suppressed(text []byte) bool {
	text = bytes.TrimLeft(text, " ")
	if _, rest, ok := bytes.Cut(text, []byte("last message repeated ")); ok {
		if n := number(rest); n > 0 && s.last != nil {
			s.last.Count += n
			s.last.LastLine = s.lines
			return true
		}
		return false
	}
	i := bytes.Index(text, []byte(": "))
	if i <= 0 || symbolLen(text[:i]) != i {
		return false
	}
	n := number(text[i+2:])
	if n <= 0 || !bytes.HasSuffix(text, []byte(" suppressed")) {
		return false
	}
	if string(text[:i]) == "__ratelimit" { // 2.6.27 to 2.6.32 don't say whose
		if s.last != nil && s.last.Kind == KindIO {
			s.last.Count += n
		}
		return s.last != nil
	}
	rows, ok := s.t.sites[baseName(string(text[:i]))]
	if !ok {
		return false
	}
	var latest *entry
	for _, r := range rows {
		if e := s.lastRow[r]; e != nil && (latest == nil || e.LastLine > latest.LastLine) {
			latest = e
		}
	}
	if latest == nil {
		s.owed[baseName(string(text[:i]))] += n
		return true
	}
	latest.Count += n
	latest.LastLine = s.lines
	return true
}

// folded reads rsyslog's "message repeated 3 times: [ text]".
func (s *Scanner) folded(m *message) bool {
	rest, ok := bytes.CutPrefix(m.text, []byte("message repeated "))
	n := number(rest)
	_, text, times := bytes.Cut(rest, []byte(" times: ["))
	if !ok || !times || n < 1 {
		return false
	}
	inner := split(bytes.TrimSpace(bytes.TrimSuffix(text, []byte("]"))))
	inner.origin, inner.stamp, inner.precise = m.origin, nil, false
	s.look(&inner)
	s.last = nil
	if !s.rows(&inner) {
		return false
	}
	if s.last != nil {
		s.last.Count += n - 1
	}
	return true
}

func number(s []byte) int64 {
	i := 0
	for i < len(s) && isDigit(s[i]) && i < 18 {
		i++
	}
	n, err := strconv.ParseInt(string(s[:i]), 10, 64)
	if err != nil {
		return 0
	}
	return n
}
