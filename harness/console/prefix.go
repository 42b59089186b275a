package console

import "bytes"

// origin says who wrote a line.
type origin uint8

const (
	originUnknown origin = iota // bare text: the kernel's, or anything
	originKernel                // it has a printk time, or a log daemon says so
	originUser                  // written to /dev/kmsg by a program, as dmesg -x shows
	originForeign               // another program's, as the log daemon says
)

// A message is one line without what printk, dmesg, journald, syslog, a mail
// or a terminal put before it. Its slices alias the line.
type message struct {
	text    []byte
	origin  origin
	stamp   []byte // all that says when; "" if nothing does
	usec    int64  // when, in microseconds since boot or midnight, or -1
	precise bool   // usec is printk's
	caller  uint64 // printk's caller ("T123", "C1") as a number, 0 without
	quoted  bool
}

// split takes the prefixes off a line, whichever it has.
func split(line []byte) message {
	m := message{text: line, usec: -1}
	s := line
	// The two usual forms first: a printk time, or nothing.
	if len(s) > 0 && s[0] == '[' {
		if rest, ok := m.bracket(s); ok {
			m.finish(rest)
			return m
		}
	}
	if len(s) > 0 && (s[0] == '>' || s[0] == '|' || s[0] == ' ' || s[0] == '\t') {
		s = unquote(s)
		m.quoted = len(s) != len(line)
		m.text = s
		s = trimBlanks(s)
	}
	if len(s) < 3 {
		return m
	}
	switch c := s[0]; {
	case c == '<':
		if rest, ok := priority(s); ok {
			s = rest
			if len(s) > 2 && s[0] == '1' && s[1] == ' ' {
				if m.rfc5424(s[2:]) {
					return m
				}
			}
			m.origin = originKernel
			m.text = s
		}
	case c >= 'a' && c <= 'z':
		if rest, kern, ok := facility(s); ok {
			s = rest
			m.text = s
			m.origin = originUser
			if kern {
				m.origin = originKernel
			}
		}
	}
	if len(s) == 0 {
		return m
	}
	if s[0] == '[' {
		if rest, ok := m.bracket(s); ok {
			m.finish(rest)
		}
		return m
	}
	m.date(s)
	return m
}

// unquote strips the quote marks of a mail, as many as there are.
func unquote(s []byte) []byte {
	rest := s
	for {
		t := trimBlanks(rest)
		if len(t) == 0 || t[0] != '>' && (t[0] != '|' || len(t) < 2 || t[1] != ' ') {
			return rest
		}
		rest = t[1:]
		if len(rest) > 0 && rest[0] == ' ' {
			rest = rest[1:]
		}
	}
}

// priority takes off "<6>", printk's or syslog's.
func priority(s []byte) ([]byte, bool) {
	i := 1
	for i < len(s) && i < 4 && isDigit(s[i]) {
		i++
	}
	if i == 1 || i >= len(s) || s[i] != '>' {
		return nil, false
	}
	return s[i+1:], true
}

// facility takes off what dmesg -x says: "kern  :warn  : ".
func facility(s []byte) (rest []byte, kern, ok bool) {
	i := bytes.IndexByte(s[:min(len(s), 10)], ':')
	if i < 3 {
		return nil, false, false
	}
	name := string(bytes.TrimRight(s[:i], " "))
	switch name {
	case "kern":
		kern = true
	case "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
		"local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7":
	default:
		return nil, false, false
	}
	t := s[i+1:]
	j := bytes.IndexByte(t[:min(len(t), 8)], ':')
	if j < 3 {
		return nil, false, false
	}
	switch string(bytes.TrimRight(t[:j], " ")) {
	case "emerg", "alert", "crit", "err", "warn", "notice", "info", "debug":
	default:
		return nil, false, false
	}
	t = t[j+1:]
	if len(t) > 0 && t[0] == ' ' {
		t = t[1:]
	}
	return t, kern, true
}

// bracket takes off a time in brackets and a caller id after it:
//
//	[   12.345678]            printk
//	[   12.345678][  T123]    printk with caller id; also "[T123]" after a blank
//	[    1.0 <    0.1>]       dmesg -d
//	[Sun May 17 17:22:52 2026]  dmesg -T
//	[Jun14 18:08] [  +0.1]    dmesg -e
func (m *message) bracket(s []byte) ([]byte, bool) {
	i := 1
	for i < len(s) && s[i] == ' ' {
		i++
	}
	start := i
	var sec int64
	for i < len(s) && isDigit(s[i]) && i-start < 12 {
		sec = sec*10 + int64(s[i]-'0')
		i++
	}
	switch {
	case i > start && i < len(s) && s[i] == '.':
		i++
		frac, scale := int64(0), int64(1_000_000)
		from := i
		for i < len(s) && isDigit(s[i]) {
			if scale > 1 {
				scale /= 10
				frac += int64(s[i]-'0') * scale
			}
			i++
		}
		if i-from < 3 {
			return nil, false
		}
		if i < len(s) && s[i] == ' ' { // dmesg -d
			end := bytes.IndexByte(s[i:min(len(s), i+24)], '>')
			if end < 0 {
				return nil, false
			}
			i += end + 1
		}
		if i >= len(s) || s[i] != ']' {
			return nil, false
		}
		m.usec, m.precise = sec*1_000_000+frac, true
	case i == start && i+4 < len(s) && s[i] == '+' && isDigit(s[i+1]): // dmesg -e
		end := bytes.IndexByte(s[i:min(len(s), i+16)], ']')
		if end < 0 {
			return nil, false
		}
		i += end
	case i == start && i == 1 && isMonth(s[1:]) && len(s) > 12 && isDigit(s[5]) && s[12] == ']': // dmesg -e
		i = 12
	case i == start && i == 1 && isWeekday(s[1:]) && len(s) > 25 && s[4] == ' ' && isMonth(s[5:]):
		end := bytes.IndexByte(s[:min(len(s), 40)], ']')
		if end < 0 {
			return nil, false
		}
		i = end
		m.usec = clock(s[12:])
	default:
		return nil, false
	}
	m.stamp = s[:i+1]
	if m.origin == originUnknown {
		m.origin = originKernel
	}
	rest := s[i+1:]
	if len(rest) > 0 && rest[0] == '[' {
		return m.callerID(rest), true
	}
	if len(rest) > 0 && rest[0] == ' ' {
		rest = rest[1:]
		if len(rest) > 2 && rest[0] == '[' {
			return m.callerID(rest), true
		}
	}
	return rest, true
}

// callerID takes off "[  T123] " or "[C1] ", printk's caller.
func (m *message) callerID(s []byte) []byte {
	i := 1
	for i < len(s) && s[i] == ' ' {
		i++
	}
	if i >= len(s) || s[i] != 'T' && s[i] != 'C' {
		return s
	}
	kind := uint64(s[i])
	i++
	from := i
	var n uint64
	for i < len(s) && isDigit(s[i]) && i-from < 12 {
		n = n*10 + uint64(s[i]-'0')
		i++
	}
	if i == from || i >= len(s) || s[i] != ']' {
		return s
	}
	m.caller = kind<<48 | n
	s = s[i+1:]
	if len(s) > 0 && s[0] == ' ' {
		s = s[1:]
	}
	return s
}

// finish looks for "host kernel: " after a monotonic time (journalctl -o
// short-monotonic) and sets the text.
func (m *message) finish(s []byte) {
	m.text = s
	if len(s) == 0 || !isWord(s[0]) {
		return
	}
	i := bytes.IndexByte(s[:min(len(s), 65)], ' ')
	if i <= 0 || !isHost(s[:i]) {
		return
	}
	if rest, who := ident(s[i+1:]); who == originKernel || who == originForeign && bytes.IndexByte(s[i+1:len(s)-len(rest)], '[') > 0 {
		m.origin = who
		m.text = rest
	}
}

func isHost(s []byte) bool {
	for _, c := range s {
		if !isWord(c) && c != '-' && c != '.' {
			return false
		}
	}
	return len(s) > 0
}

// ident takes off "kernel: " or "name[123]: ".
func ident(s []byte) (rest []byte, who origin) {
	i := bytes.IndexByte(s[:min(len(s), 80)], ':')
	if i <= 0 || bytes.IndexByte(s[:i], ' ') >= 0 {
		return s, originUnknown
	}
	name := s[:i]
	rest = s[i+1:]
	if len(rest) > 0 && rest[0] == ' ' {
		rest = rest[1:]
	}
	if b := bytes.IndexByte(name, '['); b > 0 {
		name = name[:b]
	}
	switch string(name) {
	case "kernel", "klogd", "vmunix":
		return rest, originKernel
	}
	return rest, originForeign
}

// date takes off a calendar date, a host and an identifier:
//
//	Jun 14 18:08:32 host kernel:            journalctl, syslog
//	2026-06-14T18:08:32+00:00 host kernel:  journalctl -o short-iso, rsyslog
//	2026-06-14T18:08:32,123456+00:00 text   dmesg --time-format=iso
//	2026-06-14T18:08:32.1Z [    1.2] text   continuous integration
//	Sun 2026-06-14 18:08:32 UTC host kernel:  journalctl -o short-full
//	1718388512.123456 host kernel:          journalctl -o short-unix
func (m *message) date(s []byte) {
	i := 0
	comma := false
	switch {
	case len(s) > 15 && isMonth(s) && s[3] == ' ' && (s[4] == ' ' || isDigit(s[4])) && isClock(s[7:]):
		i = 15
	case len(s) > 14 && isMonth(s) && s[3] == ' ' && isDigit(s[4]) && isClock(s[6:]): // blanks squeezed
		i = 14
	case len(s) > 19 && isISO(s):
		i = 19
		comma = s[19] == ','
	case len(s) > 24 && isWeekday(s) && s[3] == ' ' && isISO(s[4:]):
		i = 23
		if z := bytes.IndexByte(s[i+1:min(len(s), i+12)], ' '); z > 0 {
			i += 1 + z
		}
	case isDigit(s[0]):
		for i < len(s) && isDigit(s[i]) {
			i++
		}
		if i < 9 || i >= len(s) || s[i] != '.' {
			return
		}
	default:
		return
	}
	for i < len(s) && s[i] != ' ' { // fraction and zone
		i++
	}
	if i == len(s) && !comma {
		return
	}
	stamp := s[:i]
	rest := s[min(i+1, len(s)):]
	m.usec = clock(stamp)
	if comma {
		m.stamp, m.text, m.origin = stamp, rest, originKernel
		m.text = m.callerID0(rest)
		return
	}
	if len(rest) > 0 && (rest[0] == '[' || rest[0] == '<') {
		if rest[0] == '<' {
			if t, ok := priority(rest); ok {
				rest = t
			}
		}
		if len(rest) > 0 && rest[0] == '[' {
			if t, ok := m.bracket(rest); ok {
				m.finish(t)
				return
			}
		}
	}
	if t, who := ident(rest); who == originKernel {
		m.tagged(stamp, t, who)
		return
	}
	h := bytes.IndexByte(rest[:min(len(rest), 65)], ' ')
	if h <= 0 {
		return
	}
	if t, who := ident(rest[h+1:]); who != originUnknown {
		m.tagged(stamp, t, who)
	}
}

// tagged is called when a log daemon said who wrote text.
func (m *message) tagged(stamp, text []byte, who origin) {
	m.stamp, m.text, m.origin = stamp, text, who
	if who == originKernel && len(text) > 0 && text[0] == '[' {
		if rest, ok := m.bracket(text); ok { // syslog keeps the printk time
			m.text = rest
		} else {
			m.text = m.callerID(text)
		}
	}
}

func (m *message) callerID0(s []byte) []byte {
	if len(s) > 0 && s[0] == '[' {
		return m.callerID(s)
	}
	return s
}

// rfc5424 reads "2026-06-14T18:08:32Z host kernel - - - text".
func (m *message) rfc5424(s []byte) bool {
	field := func() []byte {
		i := bytes.IndexByte(s, ' ')
		if i < 0 {
			return nil
		}
		f := s[:i]
		s = s[i+1:]
		return f
	}
	stamp := field()
	if len(stamp) < 19 || !isISO(stamp) {
		return false
	}
	field()
	name := field()
	field()
	field()
	if len(s) == 0 || s[0] != '-' && s[0] != '[' {
		return false
	}
	if s[0] == '-' {
		s = bytes.TrimPrefix(s[1:], []byte(" "))
	} else if end := bytes.Index(s, []byte("] ")); end >= 0 {
		s = s[end+2:]
	}
	who := originForeign
	if string(name) == "kernel" {
		who = originKernel
	}
	m.tagged(stamp, s, who)
	return true
}

func isMonth(s []byte) bool {
	if len(s) < 3 {
		return false
	}
	switch string(s[:3]) {
	case "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec":
		return true
	}
	return false
}

func isWeekday(s []byte) bool {
	if len(s) < 3 {
		return false
	}
	switch string(s[:3]) {
	case "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun":
		return true
	}
	return false
}

// isClock: 18:08:32
func isClock(s []byte) bool {
	return len(s) >= 8 && s[2] == ':' && s[5] == ':' && isDigit(s[0]) && isDigit(s[1]) && isDigit(s[3]) &&
		isDigit(s[4]) && isDigit(s[6]) && isDigit(s[7])
}

// clock finds 18:08:32 in s and returns it in microseconds since midnight, or
// -1.
func clock(s []byte) int64 {
	for i := 0; i+8 <= len(s); i++ {
		if s[i+2] == ':' && isClock(s[i:]) {
			n := func(j int) int64 { return int64(s[i+j]-'0')*10 + int64(s[i+j+1]-'0') }
			return (n(0)*3600 + n(3)*60 + n(6)) * 1_000_000
		}
	}
	return -1
}

// isISO: 2026-06-14T18:08:32, or with a blank for the T
func isISO(s []byte) bool {
	return len(s) >= 19 && s[4] == '-' && s[7] == '-' && (s[10] == 'T' || s[10] == ' ') && isDigit(s[0]) && isDigit(s[3]) && isClock(s[11:])
}
