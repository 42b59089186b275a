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

// split takes the prefixes off a line.
func split(line []byte) message {
	var m message
	m.split(line)
	return m
}

// split makes m of a line, without the prefixes, whichever it has.
func (m *message) split(line []byte) {
	*m = message{text: line, usec: -1}
	s := line
	// The two usual forms first: a printk time, or nothing.
	if len(s) > 0 && s[0] == '[' {
		if rest, ok := m.bracket(s); ok {
			m.finish(rest)
			return
		}
	}
	if len(s) > 0 && (s[0] == '>' || s[0] == '|' || s[0] == ' ' || s[0] == '\t' || s[0] == '*' || s[0] == '`' || s[0] == '-' || s[0] == '+' || s[0] == 0xef || s[0] == '<' && len(s) > 1 && !isDigit(s[1])) {
		s = unquote(s)
		m.quoted = len(s) != len(line)
		s = markup(s)
		m.text = s
		s = trimBlanks(s)
	}
	if len(s) < 3 {
		return
	}
	switch c := s[0]; {
	case c == '\\' && s[1] == '[':
		quoted := m.quoted
		m.split(unescape(s))
		m.quoted = m.quoted || quoted
		return
	case isDigit(c):
		if m.kmsg(s) {
			return
		}
	case c == '<':
		if rest, ok := priority(s); ok {
			s = rest
			if len(s) > 2 && s[0] == '1' && s[1] == ' ' {
				if m.rfc5424(s[2:]) {
					return
				}
			}
			m.origin = originKernel
			m.text = s
		}
	case c == 'k' && bytes.HasPrefix(s, []byte("kernel:")):
		m.tagged(nil, bytes.TrimPrefix(s[len("kernel:"):], []byte(" ")), originKernel)
		return
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
	if len(s) > 2 && s[1] == '/' && s[0] >= 'A' && s[0] <= 'Z' && m.brief(s) {
		return
	}
	if len(s) == 0 {
		return
	}
	if s[0] == '[' {
		if rest, ok := m.bracket(s); ok {
			m.finish(rest)
		}
		return
	}
	m.date(s)
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

// unescape takes off the backslashes that Markdown puts before punctuation.
func unescape(s []byte) []byte {
	out := make([]byte, 0, len(s))
	for i, c := range s {
		if c == '\\' && i+1 < len(s) && bytes.IndexByte([]byte("[]()_*<>#`"), s[i+1]) >= 0 {
			continue
		}
		out = append(out, c)
	}
	return out
}

// markup takes off what a mail program, a web page or a tracker put around a
// line: emphasis and code marks of Markdown, list marks, HTML tags.
func markup(s []byte) []byte {
	s = bytes.TrimPrefix(s, []byte("\ufeff"))
	for _, tag := range []string{"<pre>", "<code>", "<p>", "<tt>", "<br>", "<li>", "<div>"} {
		s = bytes.TrimPrefix(s, []byte(tag))
	}
	for _, list := range []string{"- ", "* ", "+", "-"} {
		if rest, ok := bytes.CutPrefix(s, []byte(list)); ok && len(rest) > 2 && rest[0] == '[' && (rest[1] == ' ' || isDigit(rest[1])) {
			return rest
		}
	}
	if rest := bytes.TrimLeft(s, "*`"); len(rest) < len(s) && len(rest) > 0 && rest[0] != ' ' && s[len(s)-1] == s[0] {
		return bytes.TrimRight(rest, "*` ")
	}
	return s
}

// kmsg reads a record of /dev/kmsg, as netconsole sends it too:
//
//	6,339,5140900,-;text
//	6.12.0,6,339,5140900,-,caller=T1;text
func (m *message) kmsg(s []byte) bool {
	end := bytes.IndexByte(s[:min(len(s), 128)], ';')
	if end < 0 {
		return false
	}
	head := s[:end]
	if i := bytes.IndexByte(head, ','); i > 0 && isRelease(head[:i]) {
		head = head[i+1:]
	}
	var numbers [3]int64
	for i := range numbers {
		n := 0
		for n < len(head) && n < 18 && isDigit(head[n]) {
			numbers[i] = numbers[i]*10 + int64(head[n]-'0')
			n++
		}
		if n == 0 || n >= len(head) || head[n] != ',' {
			return false
		}
		head = head[n+1:]
	}
	m.stamp, m.usec, m.precise, m.text = s[:end], numbers[2], true, s[end+1:]
	m.origin = originKernel
	if numbers[0]>>3 != 0 { // its facility: not the kernel's
		m.origin = originUser
	}
	if _, caller, ok := bytes.Cut(head, []byte(",caller=")); ok {
		m.callerID(append(append([]byte("["), caller...), ']'))
	}
	return true
}

// brief reads Android's "W/kernel  (    0): text".
func (m *message) brief(s []byte) bool {
	open := bytes.IndexByte(s[:min(len(s), 48)], '(')
	if open < 0 {
		return false
	}
	end := bytes.Index(s[open:min(len(s), open+12)], []byte("): "))
	if end < 0 {
		return false
	}
	who := originForeign
	if tag := bytes.TrimRight(s[2:open], " "); string(tag) == "kernel" {
		who = originKernel
	}
	m.tagged(s[:open+end+1], s[open+end+3:], who)
	return true
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
//	[<    0.000010>]          dmesg --time-format=delta
//	[   12.345678@1]          some phones: the CPU; also "]@1 "
//	[19318.46 / 11-29 21:16:45.862]  others: the time of day
//	[2026-06-14T18:08:32Z]    a collector's, maybe before printk's
//	[Sun May 17 17:22:52 2026]  dmesg -T
//	[Jun14 18:08] [  +0.1]    dmesg -e
func (m *message) bracket(s []byte) ([]byte, bool) {
	if rest, ok := m.printk(s); ok {
		return rest, true
	}
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
		if i < len(s) && s[i] == '@' {
			for i++; i < len(s) && isDigit(s[i]); i++ {
			}
		}
		if i+2 < len(s) && s[i] == ' ' {
			end := -1
			switch s[i+1] {
			case ']':
				end = 0
			case '/':
				end = bytes.IndexByte(s[i:min(len(s), i+32)], ']') - 1
			default: // dmesg -d
				end = bytes.IndexByte(s[i:min(len(s), i+24)], '>')
			}
			if end < 0 {
				return nil, false
			}
			i += end + 1
		} else if i == from {
			return nil, false
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
	case i == start && i == 1 && len(s) > 1 && s[1] == '<': // dmesg --time-format=delta
		end := bytes.Index(s[:min(len(s), 24)], []byte(">]"))
		if end < 0 || bytes.IndexByte(s[:end], '.') < 0 || isAddress(s[2:end]) {
			return nil, false
		}
		i = end + 1
	case i < len(s) && (i == start || s[i] == '-' || s[i] == ':'): // a date in any language
		end := bytes.IndexByte(s[:min(len(s), 48)], ']')
		if end < 9 || !hasClock(s[:end+1]) {
			return nil, false
		}
		i, m.usec = end, clock(s[:end])
	default:
		return nil, false
	}
	m.stamp = s[:i+1]
	if m.origin == originUnknown {
		m.origin = originKernel
	}
	rest := s[i+1:]
	if bytes.HasPrefix(rest, []byte("</")) { // a web page's
		_, rest, _ = bytes.Cut(rest, []byte(">"))
	}
	if len(rest) > 0 && rest[0] == '[' {
		return m.stamped(m.callerID(rest)), true
	}
	if len(rest) > 0 && rest[0] == '@' { // a phone's CPU
		if n := bytes.IndexByte(rest[:min(len(rest), 4)], ' '); n > 1 {
			rest = rest[n:]
		}
	}
	if len(rest) > 0 && rest[0] == ' ' {
		rest = rest[1:]
		if len(rest) > 2 && rest[0] == '[' {
			return m.stamped(m.callerID(rest)), true
		}
	}
	if len(rest) > 2 && (rest[0] == ' ' || rest[0] == '(' || rest[1] == '(' || rest[1] == '[' || rest[0] == 'c' && isDigit(rest[1])) {
		return m.stamped(rest), true
	}
	return rest, true
}

// printk takes off the time of nearly every line: "[   12.345678] ", before a
// word.
func (m *message) printk(s []byte) ([]byte, bool) {
	if len(s) < 18 || s[6] != '.' || s[13] != ']' || s[14] != ' ' || m.origin > originKernel {
		return nil, false
	}
	t := s[15:]
	if t[0] == ' ' { // a frame
		t = t[1:]
	}
	if !isWord(t[0]) || !isWord(t[1]) || t[0] == 'c' && isDigit(t[1]) {
		return nil, false
	}
	i := 1
	for s[i] == ' ' {
		i++
	}
	var usec int64
	for ; i < 13; i++ {
		if isDigit(s[i]) {
			usec = usec*10 + int64(s[i]-'0')
		} else if i != 6 {
			return nil, false
		}
	}
	m.origin, m.stamp, m.usec, m.precise = originKernel, s[:14], usec, true
	return s[15:], true
}

// stamped takes off what comes between the time and the message: a second
// time, and what vendors add of CPU and task, in brackets:
//
//	(2)[123:kworker/2:1]text      MediaTek
//	[2:   comm:  133] text        Samsung
//	c2 123 text                   Spreadtrum
func (m *message) stamped(s []byte) []byte {
	t := trimBlanks(s)
	if len(t) < 4 {
		return s
	}
	if t[0] == '\\' && (t[1] == '(' || t[1] == '[') {
		return m.stamped(unescape(t))
	}
	if t[0] == '[' && !m.precise {
		if inner := (message{usec: -1, origin: m.origin}); t[1] == ' ' || isDigit(t[1]) {
			if rest, ok := inner.bracket(t); ok && inner.precise {
				m.usec, m.precise, m.caller = inner.usec, true, inner.caller
				return rest
			}
		}
	}
	if (t[1] == '(' || t[1] == '[') && (t[0] == '-' || t[0] == '.' || t[0] >= 'A' && t[0] <= 'Z') {
		t = t[1:]
	}
	switch {
	case t[0] == '(' && isDigit(t[1]):
		end := bytes.IndexByte(t[:min(len(t), 5)], ')')
		if end < 0 || end+1 >= len(t) || t[end+1] != '[' {
			return s
		}
		t = t[end+1:]
		fallthrough
	case t[0] == '[' && (t[1] == ' ' || isDigit(t[1])):
		end := bytes.IndexByte(t[:min(len(t), 48)], ']')
		if end < 0 {
			return s
		}
		id, comm, ok := bytes.Cut(t[1:end], []byte(":"))
		if id = bytes.TrimSpace(id); !ok || len(digits(id)) != len(id) || !bytes.ContainsAny(comm, "abcdefghijklmnopqrstuvwxyz") {
			return s
		}
		return bytes.TrimPrefix(t[end+1:], []byte(" "))
	case t[0] == 'c' && isDigit(t[1]) && (t[2] == ' ' || t[3] == ' '):
		rest := trimBlanks(t[3:])
		if n := len(digits(rest)); n > 0 && n < len(rest) && rest[n] == ' ' {
			return trimBlanks(rest[n:])
		}
	}
	return s
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
	for i > from && i < len(s) && s[i] == ' ' {
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
	if rest, ok := bytes.CutPrefix(s, []byte("kernel: ")); ok {
		m.text = rest
		return
	}
	i := 1
	for i < len(s) && i < 65 && (isWord(s[i]) || s[i] == '-' || s[i] == '.') {
		i++
	}
	if i == len(s) || s[i] != ' ' {
		return
	}
	// Who wrote it has its number in brackets, but for the kernel.
	if rest, who := ident(s[i+1:]); who == originKernel || who == originForeign && bytes.IndexByte(s[i+1:len(s)-len(rest)], '[') > 0 {
		m.origin = who
		m.text = rest
	}
}

// ident takes off "kernel: " or "name[123]: ".
func ident(s []byte) (rest []byte, who origin) {
	if len(s) > 8 && string(s[:8]) == "kernel: " { // nearly always
		return s[8:], originKernel
	}
	i := 0
	for i < len(s) && i < 80 && s[i] != ':' && s[i] != ' ' {
		i++
	}
	if i == 0 || i == len(s) || s[i] != ':' {
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
//	6月 14 18:08:32 host kernel:            the same in other languages
//	Fri Jun 14 18:08:32 2026 kern.warn kernel:  busybox, OpenWrt
//	06-14 18:08:32.123  1234  1234 W kernel  : text  Android's logcat
func (m *message) date(s []byte) {
	i, at := dateLen(s)
	iso := i > 19 && s[19] == ','
	if i == 0 || i == len(s) && !iso {
		return
	}
	stamp := s[:i]
	m.usec = -1
	if at >= 0 {
		m.usec = sinceMidnight(s[at:])
	}
	rest := s[i:]
	if len(rest) > 0 && rest[0] == ' ' {
		rest = rest[1:]
	}
	if iso { // dmesg --time-format=iso
		m.stamp, m.text, m.origin = stamp, m.callerID0(rest), originKernel
		return
	}
	rest = trimBlanks(rest)
	if len(rest) > 5 && len(digits(rest[:5])) == 4 && rest[4] == ' ' { // a year
		if t := trimBlanks(rest[4:]); len(t) > 0 && !isDigit(t[0]) {
			rest = t
		}
	}
	if len(rest) > 0 && isDigit(rest[0]) && m.logcat(stamp, rest) {
		return
	}
	if len(rest) > 0 && rest[0] == '<' {
		if t, ok := priority(rest); ok {
			rest = t
		}
	}
	// The host, a facility, a stream's name may stand before who wrote it.
	for n := 0; n < 4 && len(rest) > 0; n++ {
		if rest[0] == '[' {
			if t, ok := m.bracket(rest); ok {
				m.finish(t)
				return
			}
		}
		if isDigit(rest[0]) && m.kmsg(rest) { // netconsole's, by way of syslog
			return
		}
		if t, who := ident(rest); who == originKernel || who == originForeign && (n == 1 || n > 1 && bytes.IndexByte(rest[:len(rest)-len(t)], '[') > 0) {
			m.tagged(stamp, t, who)
			return
		}
		if n > 0 && bytes.HasPrefix(rest, []byte("kernel - ")) { // RFC 5424 without its priority
			_, t, _ := bytes.Cut(rest[len("kernel - "):], []byte(" - "))
			m.tagged(stamp, bytes.TrimPrefix(t, []byte("\ufeff")), originKernel)
			return
		}
		if t, ok := bytes.CutPrefix(rest, []byte("kernel ")); ok { // a table's column
			m.tagged(stamp, trimBlanks(t), originKernel)
			return
		}
		h := bytes.IndexByte(rest[:min(len(rest), 65)], ' ')
		if h <= 0 {
			return
		}
		rest = trimBlanks(rest[h:])
	}
}

// dateLen is the length of the date and time that s begins with, 0 without, and
// where the time of day stands in it, -1 without.
func dateLen(s []byte) (n, at int) {
	i := 0
	switch {
	case len(s) > 15 && isMonth(s) && s[3] == ' ' && (s[4] == ' ' || isDigit(s[4])) && isClock(s[7:]):
		i, at = 15, 7
	case len(s) > 14 && isMonth(s) && s[3] == ' ' && isDigit(s[4]) && isClock(s[6:]): // blanks squeezed
		i, at = 14, 6
	case len(s) > 19 && isISO(s):
		i, at = 19, 11
	case len(s) > 24 && isWeekday(s) && s[3] == ' ' && isISO(s[4:]):
		i, at = 23, 15
		if z := bytes.IndexByte(s[i+1:min(len(s), i+12)], ' '); z > 0 {
			i += 1 + z
		}
	case isDigit(s[0]) && !(len(s) > 8 && (s[2] == ':' || s[2] == '-' || s[2] == '.' || s[2] == ' ')) && !otherDate(s):
		at = -1
		for i < len(s) && isDigit(s[i]) {
			i++
		}
		if i < 9 || i >= len(s) || s[i] != '.' {
			return 0, -1
		}
	default:
		if i = clockAt(s[:min(len(s), 36)]); i < 0 {
			return 0, -1
		}
		at = i
		i += 8
	}
	for i < len(s) && s[i] != ' ' { // fraction and zone
		i++
	}
	return i, at
}

// otherDate: 2026/06/14 18:08:32, 14.06.2026 18:08:32
func otherDate(s []byte) bool {
	i := clockAt(s[:min(len(s), 24)])
	return i > 0 && i <= 12
}

// clockAt finds 18:08:32 as a word of its own, or -1.
func clockAt(s []byte) int {
	for i := 0; i+8 <= len(s); i++ {
		if s[i+2] == ':' && isClock(s[i:]) && (i == 0 || s[i-1] == ' ' || s[i-1] == 'T' || s[i-1] == '-' || s[i-1] == ',') &&
			(i+8 == len(s) || !isWord(s[i+8]) && s[i+8] != ':' || s[i+8] == 'Z') {
			return i
		}
	}
	return -1
}

func hasClock(s []byte) bool { return clockAt(s[1:]) >= 0 }

// logcat reads "1234  1234 W kernel  : text", what Android puts after a time.
func (m *message) logcat(stamp, s []byte) bool {
	pid := digits(s)
	s = trimBlanks(s[len(pid):])
	tid := digits(s)
	s = trimBlanks(s[len(tid):])
	if pid == "" || tid == "" || len(s) < 4 || s[1] != ' ' || s[0] < 'A' || s[0] > 'Z' {
		return false
	}
	text := s[2:]
	who := originForeign
	if pid == "0" {
		who = originKernel
	}
	if i := bytes.IndexByte(text, ':'); i >= 0 && i < 40 && len(text) > i+1 && text[i+1] == ' ' && (who == originForeign || bytes.HasPrefix(text, []byte("kernel")) || len(bytes.TrimSpace(text[:i])) == 0) {
		if tag := bytes.TrimSpace(text[:i]); string(tag) == "kernel" {
			who = originKernel
		}
		text = text[i+2:]
	}
	m.tagged(stamp, text, who)
	return true
}

// tagged is called when a log daemon said who wrote text.
func (m *message) tagged(stamp, text []byte, who origin) {
	if who == originKernel && len(text) > 3 && text[0] == '<' {
		if rest, ok := priority(text); ok {
			text = rest
		}
	}
	text = bytes.TrimPrefix(text, []byte(": ")) // RHEL 6
	m.stamp, m.text, m.origin = stamp, text, who
	if who == originKernel && len(text) > 0 && text[0] == '[' {
		if rest, ok := m.bracket(text); ok { // syslog keeps the printk time
			m.text = rest
		} else if n := len(digits(text[1:])); n > 0 && n+2 < len(text) && text[n+1] == ']' && text[n+2] == ' ' {
			m.text = text[n+3:]
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
		s = bytes.TrimPrefix(bytes.TrimPrefix(s[1:], []byte(" ")), []byte("\ufeff"))
	} else if end := bytes.Index(s, []byte("] ")); end >= 0 {
		s = bytes.TrimPrefix(s[end+2:], []byte("\ufeff"))
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
		colon := bytes.IndexByte(s[i+2:], ':')
		if colon < 0 {
			break
		}
		if i += colon; i+8 <= len(s) && isClock(s[i:]) {
			return sinceMidnight(s[i:])
		}
	}
	return -1
}

// sinceMidnight is 18:08:32, which s begins with, in microseconds.
func sinceMidnight(s []byte) int64 {
	two := func(i int) int64 { return int64(s[i]-'0')*10 + int64(s[i+1]-'0') }
	return (two(0)*3600 + two(3)*60 + two(6)) * 1_000_000
}

// isISO: 2026-06-14T18:08:32, or with a blank for the T
func isISO(s []byte) bool {
	return len(s) >= 19 && s[4] == '-' && s[7] == '-' && (s[10] == 'T' || s[10] == ' ') && isDigit(s[0]) && isDigit(s[3]) && isClock(s[11:])
}
