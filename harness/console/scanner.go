package console

import (
	"bytes"
	"hash/maphash"
	"math/bits"
	"slices"
	"strconv"
)

// Limits that keep the memory of a Scanner constant, whatever it reads.
const (
	maxLine     = 64 << 10 // bytes of a line that are looked at
	maxFindings = 2000     // different findings; further ones only count in Dropped
	maxFrames   = 128      // of one trace
	maxTitle    = 160      // bytes
	maxCapture  = 512      // bytes of a part of a line that is shown or compared; KSYM_NAME_LEN is as much
	maxStamps   = 4096     // lines remembered to know a quoted one again
	maxTitles   = 1024     // remembered
	proseLines  = 3        // that stand between two pieces of a log; fewer may be a message's own
	maxOpen     = 4        // reports that are printed at once by different CPUs
)

// A Sign is the first line of a finding that is still being printed.
type Sign struct {
	Kind Kind
	Line int    // in the log, from 1
	Text string // the message, without prefixes and control codes
}

// An Option changes what a Scanner does.
type Option func(*Scanner)

// OnSign has f called as soon as the first line of a report, or the first of
// a kind of I/O error, is read: before its title is known, so that a host can
// act at once. It is called once for each report, repeated ones included, and
// once for each different I/O error, not for its repeats.
func OnSign(f func(Sign)) Option { return func(s *Scanner) { s.onSign = f } }

// OnFinding has f called once for each different finding, when its report has
// been read to its end (for one-line findings, at once). Kind, Title, Place,
// Line and Trace do not change after that, unless a report cut short is later
// seen whole; Count, LastLine and Baseline may: Findings has the last word.
func OnFinding(f func(Finding)) Option { return func(s *Scanner) { s.onFinding = f } }

// OnMark has f called for each line of blockrig's own guest or host; text
// begins with "blockrig: ".
func OnMark(f func(line int, text string)) Option { return func(s *Scanner) { s.onMark = f } }

// A Scanner finds what went wrong in a kernel log that is written to it, in
// pieces of any size, with constant memory. It calls back from within Write
// and Close. It is not safe for concurrent use.
type Scanner struct {
	onSign    func(Sign)
	onFinding func(Finding)
	onMark    func(line int, text string)

	t       *tables
	seed    maphash.Seed
	carry   []byte // the line begun
	cleaned []byte
	closed  bool

	lines       int
	kernelLines int
	release     string
	offset      uint64 // KASLR
	boot        int
	marked      bool // a guest mark was seen in this boot
	dropped     int64
	section     int // counts the texts that stand between pieces of log
	prose       int // lines of no log since the last of a log

	open        [maxOpen]*report
	entries     []*entry
	index       map[string][]*entry
	bySum       map[uint64]*entry // by their first lines, times included
	last        *entry            // of the line before
	lastRow     []*entry          // by row
	owed        map[string]int64  // suppressed messages, by the function that they are of, not seen yet
	stamps      map[uint64]int
	ring        []uint64
	ringAt      int
	lastStamp   uint64
	caps        captures
	seen        seen
	ids, at     []int
	shortIDs    []int
	shortAt     []int
	qp          bool   // in a mail in quoted-printable
	soft        []byte // lines of one that are one line
	timed       bool   // a line with a time was seen
	sig         []byte // scratch
	keyed       []byte // scratch
	joined      []byte // scratch
	symbols     symbols
	spare       []Frame
	names       []string // scratch
	spareReport *report
	titles      map[string]string // of one-line findings, by row and captures
	cpuAt       int               // the last line that says who is on a CPU, outside of reports
	quietUntil  int               // up to which line registers are no report of their own
	lastIO      int               // the line of the last I/O error
	unknown     int               // different complaints not recognised
	learning    learning
	wrap        wrap
	refused     *entry // a SCSI disk refused a command, in the line refusedAt
	refusedAt   int
}

// An entry is a finding with what is needed to know it again.
type entry struct {
	Finding
	row  int
	boot int
	when when
	sig  string // what the captures of its last line were
}

// A when is a message's time.
type when struct {
	usec    int64 // since boot or midnight, or -1
	precise bool  // since boot
}

// within reports whether b is at most usec microseconds after a, as far as
// the log says.
func (a when) within(b when, usec int64) bool {
	return a.usec < 0 || b.usec < 0 || a.precise != b.precise || b.usec-a.usec <= usec
}

// soonAfter: within a minute, in which errors follow from a warning.
func (a when) soonAfter(b when) bool { return a.within(b, 60_000_000) }

// NewScanner returns a Scanner at the start of a log.
func NewScanner(opts ...Option) *Scanner {
	s := &Scanner{
		t: compiled(), seed: maphash.MakeSeed(), index: map[string][]*entry{}, bySum: map[uint64]*entry{}, lastRow: make([]*entry, len(markers)), titles: map[string]string{},
		owed: map[string]int64{}, symbols: symbols{}, stamps: map[uint64]int{}, wrap: wrap{row: noWrap},
	}
	for _, o := range opts {
		o(s)
	}
	return s
}

// Write takes the next piece of the log. It never fails.
func (s *Scanner) Write(p []byte) (int, error) {
	n := len(p)
	if len(s.carry) > 0 {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			s.keep(p)
			return n, nil
		}
		s.keep(p[:i])
		p = p[i+1:]
		line := s.carry
		s.carry = s.carry[:0]
		s.line(line, true)
	}
	// Control codes are rare; to look for them in the whole piece is cheaper
	// than in each line.
	dirty := bytes.IndexByte(p, 0x1b) >= 0 || bytes.IndexByte(p, 0) >= 0 || bytes.IndexByte(p, '\r') >= 0
	for {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			break
		}
		s.line(p[:i], dirty)
		p = p[i+1:]
	}
	s.keep(p)
	return n, nil
}

func (s *Scanner) keep(p []byte) {
	if room := maxLine - len(s.carry); len(p) > room {
		p = p[:room]
	}
	s.carry = append(s.carry, p...)
}

// Close says that the log is at its end: a last line without newline and
// reports still open are taken as they are.
func (s *Scanner) Close() {
	if s.closed {
		return
	}
	s.closed = true
	if len(s.carry) > 0 {
		line := s.carry
		s.carry = nil
		s.line(line, true)
	}
	if !s.learning.over {
		s.learn()
	}
	s.closeAll()
}

// Findings returns what was found up to now, in the order of first lines.
func (s *Scanner) Findings() []Finding {
	out := make([]Finding, len(s.entries))
	for i, e := range s.entries {
		out[i] = e.Finding
	}
	slices.SortStableFunc(out, func(a, b Finding) int { return a.Line - b.Line })
	return out
}

// Release is the kernel's release, "" if the log does not say it.
func (s *Scanner) Release() string { return s.release }

// KernelOffset is by how much KASLR moved the kernel, 0 if the log does not
// say: x86 says it when it panics.
func (s *Scanner) KernelOffset() uint64 { return s.offset }

// Lines is the number of lines read.
func (s *Scanner) Lines() int { return s.lines }

// KernelLines is the number of lines that are surely a kernel's. A log
// without any is no kernel log: nothing can be said of it.
func (s *Scanner) KernelLines() int { return s.kernelLines }

// Boots is the number of boots that the log shows, at least 1.
func (s *Scanner) Boots() int { return max(1, s.boot) }

// Dropped is the number of findings beyond the limit of different ones.
func (s *Scanner) Dropped() int64 { return s.dropped }

func (s *Scanner) line(l []byte, dirty bool) {
	s.lines++
	if len(l) > maxLine {
		l = l[:maxLine]
	}
	for len(l) > 0 && (l[len(l)-1] == '\r' || l[len(l)-1] == ' ') {
		l = l[:len(l)-1]
	}
	if s.qp {
		begun := len(s.soft) > 0
		more := len(l) > 0 && l[len(l)-1] == '=' && len(s.soft)+len(l) < maxLine
		if more || begun || bytes.IndexByte(l, '=') >= 0 {
			if more {
				s.soft = append(s.soft, l[:len(l)-1]...)
				return
			}
			s.soft = append(s.soft, l...)
			l = decodeQP(s.soft)
			s.soft = s.soft[:0]
		}
	}
	kernel := false
	if dirty && (bytes.IndexByte(l, 0x1b) >= 0 || bytes.IndexByte(l, 0) >= 0) {
		s.cleaned = clean(s.cleaned, l)
		l = s.cleaned
	}
	for dirty {
		i := bytes.IndexByte(l, '\r')
		if i < 0 {
			break
		}
		// What a terminal would overwrite is a message of its own.
		if i > 0 {
			kernel = s.message(l[:i]) || kernel
		}
		l = l[i+1:]
	}
	if s.message(l) || kernel {
		s.kernelLines++
	}
}

// message takes one line, and reports whether the kernel wrote it.
func (s *Scanner) message(l []byte) bool {
	var m message
	m.split(l)
	if m.origin == originUnknown {
		s.learning.cut(&m)
	}
	open := s.open[0] != nil
	if s.wrap.row != noWrap && s.continued(&m, l) {
		return true
	}
	if m.origin == originForeign {
		if open {
			s.foreign()
		}
		s.last = nil
		return false
	}
	if m.origin == originUnknown {
		s.prose++
	} else {
		s.timed = true
		if s.prose >= proseLines {
			s.section++
		}
		s.prose = 0
	}
	if m.origin == originUnknown && !s.timed && s.phrase(m.text) {
		m.origin = originKernel
	}
	if open && isFrame(m.text) { // the half of a report, and never a marker
		s.part(&m)
		return m.origin != originUnknown
	}
	s.look(&m)
	found := false
	if s.seen.any || s.seen.special {
		var kernel bool
		found, kernel = s.candidate(&m)
		if kernel && m.origin == originUnknown {
			m.origin = originKernel
		}
	}
	if !found && s.seen.time && m.origin != originUser {
		found = s.inner(&m)
	}
	if !found && m.origin == originUnknown && s.learning.keeps(l, s.lines) && s.learn() {
		return false // it was read again, and counted, with the others
	}
	if !found && open {
		s.part(&m)
	}
	if s.seen.begins {
		s.mayContinue(&m, l, found)
	}
	if !found && s.seen.trouble {
		s.complaint(&m)
	}
	if !found && s.seen.part && !open && s.noHead(&m) {
		m.origin = originKernel
	}
	return m.origin != originUnknown
}

// seen is what the tables may say of the message looked at last.
type seen struct {
	any     bool // it may match the markers in hits
	special bool // it holds a literal that is no marker
	time    bool // a printk time may stand within it
	begins  bool // it begins as a marker does
	trouble bool // storage complains
	part    bool // it may be a part of a report

	hits  [16]uint64 // rows of markers
	dulls [3]uint64  // of harmlessLines; noted when a marker matches
}

// look notes in s.seen what the tables may say of a message: each text is
// searched here, and only once.
func (s *Scanner) look(m *message) {
	t, n := s.t, &s.seen
	text := trimBlanks(m.text)
	may := t.mayBe(text)
	if n.any {
		clear(n.hits[:])
	}
	n.any, n.special, n.time, n.trouble = false, false, false, false
	n.begins, n.part = may&mayBegin != 0, may&mayBePart != 0
	s.ids, s.at = t.filter.find(m.text, s.ids[:0], s.at[:0])
	for _, id := range s.ids {
		n.any = setBits(n.hits[:], t.rows[id]) || n.any
		n.special = n.special || t.special[id] != ""
	}
	if may&mayBegin != 0 {
		n.any = t.heads.find(text, n.hits[:]) || n.any
	}
	s.shortIDs = s.shortIDs[:0]
	// Soon after an error that a row knows, others only say more of it.
	soon := s.lastIO > 0 && s.lines-s.lastIO <= sameTrouble
	if speaks := may&mayComplain != 0 && !soon && t.speaks(text); speaks || may&mayBeShort != 0 && t.heads.beginsShort(text) {
		s.shortIDs, s.shortAt = t.short.filter.find(text, s.shortIDs, s.shortAt[:0])
		for _, id := range s.shortIDs {
			n.any = setBits(n.hits[:], t.short.rows[id]) || n.any
			n.trouble = n.trouble || speaks && t.short.special[id] != ""
		}
	}
	var numbered bool
	if numbered, n.time = brackets(m.text); numbered {
		n.any = setBits(n.hits[:], t.numbered) || n.any
	}
}

// phrase reports whether text is one of the lines that only a kernel prints.
func (s *Scanner) phrase(text []byte) bool {
	s.ids, s.at = s.t.phrases.find(text, s.ids[:0], s.at[:0])
	for _, at := range s.at {
		if len(bytes.TrimLeft(text[:at], " ")) == 0 {
			return true
		}
	}
	return false
}

// candidate takes a line that may hold a literal of the tables.
func (s *Scanner) candidate(m *message) (found, kernel bool) {
	special, specialAt := "", 0
	for i, id := range s.ids {
		if sp := s.t.special[id]; sp != "" && (special == "" || s.at[i] < specialAt) {
			special, specialAt = sp, s.at[i]
		}
	}
	switch special {
	case litVersion:
		if s.version(m, specialAt) {
			return true, true
		}
	case litMark:
		if s.mark(m, specialAt) {
			return true, m.origin != originUnknown
		}
	case litRepeated:
		if s.folded(m) || s.suppressed(m.text) {
			return true, true
		}
	case litSuppressed, litMessages:
		if s.suppressed(m.text) {
			return true, true
		}
	case litEncoding:
		if value := m.text[specialAt+len(litEncoding):]; specialAt == 0 {
			s.qp = bytes.EqualFold(bytes.TrimSpace(value), []byte("quoted-printable"))
		}
	case litOffset:
		if rest := m.text[specialAt+len(litOffset):]; specialAt == 0 && bytes.HasPrefix(rest, []byte("0x")) {
			n := 2
			for n < len(rest) && isHex(rest[n]) {
				n++
			}
			if v, err := strconv.ParseUint(string(rest[2:n]), 16, 64); err == nil {
				s.offset = v
			}
		}
	case litRefused[0]:
		if e := s.last; e != nil && e.row == s.t.failed && s.lines-e.LastLine <= 2 {
			s.refused, s.refusedAt = e, s.lines
		}
	case litNeedless[0]:
		if e := s.refused; e != nil && e == s.last && s.lines-s.refusedAt <= 3 {
			s.retract(e)
		}
		s.refused = nil
	case litAbsent[0]:
		if e := s.last; e != nil && e.row == s.t.failed && s.lines-e.LastLine <= 3 {
			s.retract(e)
		}
	case litDropped:
		for _, r := range s.open {
			if r != nil {
				r.dropped = true
			}
		}
	}
	if m.origin != originUser && s.rows(m) {
		return true, true
	}
	return false, false
}

// inner takes the kernel's message that begins within a line: after another one
// without its newline, after a prompt, or after a program's output. It reports
// whether it is one of the markers. If not, it takes the line's place where
// nothing says who wrote that.
func (s *Scanner) inner(m *message) bool {
	inner, ok := innerMessage(m.text)
	if !ok {
		return false
	}
	inner.caller = max(inner.caller, m.caller)
	s.look(&inner)
	switch {
	case s.rows(&inner):
		if m.origin == originUnknown {
			m.origin = originKernel
		}
		return true
	case m.origin == originUnknown:
		*m = inner
	default:
		s.look(m)
	}
	return false
}

func setBits(bits []uint64, rows []uint16) bool {
	for _, r := range rows {
		bits[r/64] |= 1 << (r % 64)
	}
	return len(rows) > 0
}

// harmless reports whether the message looked at last is a harmless row.
func (s *Scanner) harmless(text []byte) bool {
	n := &s.seen
	clear(n.dulls[:])
	s.t.dullHead.find(text, n.dulls[:])
	for _, id := range s.ids {
		setBits(n.dulls[:], s.t.dull[id])
	}
	for _, id := range s.shortIDs {
		setBits(n.dulls[:], s.t.short.dull[id])
	}
	for w, set := range n.dulls[:] {
		for ; set != 0; set &= set - 1 {
			if s.t.harmless[w*64+bits.TrailingZeros64(set)].match(text, &s.caps) {
				return true
			}
		}
	}
	return false
}

// brackets reports whether "[#" stands in s, and whether a printk time may
// stand within it.
func brackets(s []byte) (numbered, inner bool) {
	for at := 0; at < len(s); {
		i := bytes.IndexByte(s[at:], '[')
		if i < 0 {
			break
		}
		at += i + 1
		numbered = numbered || at < len(s) && s[at] == '#'
		inner = inner || at > 1 && at+13 < len(s) && ((s[at] == ' ' || isDigit(s[at])) && isDigit(s[at+4]) || s[at+5] == '.')
	}
	return numbered, inner
}

// innerMessage finds the last printk time within s, and what follows it.
func innerMessage(s []byte) (message, bool) {
	for i := len(s) - 1; i > 0; i-- {
		if s[i] == '[' && i+14 < len(s) {
			m := message{usec: -1}
			if rest, ok := m.bracket(s[i:]); ok && m.usec >= 0 {
				m.text = rest
				return m, true
			}
		}
	}
	return message{}, false
}

// rows takes the message looked at last, if it is one of the markers.
func (s *Scanner) rows(m *message) bool {
	text := trimBlanks(m.text)
	row := s.row(m, text)
	return row >= 0 && s.begin(row, m, text)
}

// row is the row that the message looked at last matches, s.caps its captures;
// -1 where none does.
func (s *Scanner) row(m *message, text []byte) int {
	if !s.seen.any || s.harmless(text) {
		return -1
	}
	cut := len(text) >= minCut && text[len(text)-1] == '>'
	for w, set := range s.seen.hits[:] {
		for ; set != 0; set &= set - 1 {
			row := w*64 + bits.TrailingZeros64(set)
			mk := &markers[row]
			if mk.loose && m.origin != originKernel && (s.timed || s.kernelLines == 0) {
				continue
			}
			if s.t.markers[row].match(text, &s.caps) && s.valid() {
				return row
			}
			if cut && !mk.loose && s.t.markers[row].matchCut(text[:len(text)-1], &s.caps) && s.valid() {
				return row
			}
		}
	}
	return -1
}

// minCut is the least length of a line that a pager cut, which it marks with
// ">" at the end, in bytes.
const minCut = 40

// valid rejects captures that can't be what their names say, and cuts those
// that are longer than anything that is shown.
func (s *Scanner) valid() bool {
	for i := range s.caps.n {
		v := s.caps.value[i]
		if len(v) > maxCapture {
			v = v[:maxCapture]
			s.caps.value[i] = v
		}
		switch s.caps.name[i] {
		case "place":
			if _, _, n := placeAt(v); n == 0 {
				return false
			}
		case "func":
			if symbolLen(v) == 0 {
				return false
			}
		case "dev", "ata":
			for _, c := range v {
				if !isWord(c) && c != '-' && c != '.' && c != '/' && c != ':' && c != '!' {
					return false
				}
			}
		}
	}
	return true
}

// version reads "Linux version 6.18.15 (…": a boot begins.
func (s *Scanner) version(m *message, at int) bool {
	if len(bytes.TrimLeft(m.text[:at], " ")) > 0 {
		return false
	}
	rest := m.text[at+len(litVersion):]
	i := bytes.IndexByte(rest, ' ')
	if i < 0 {
		i = len(rest)
	}
	if !isRelease(rest[:i]) || m.origin == originUnknown && !bytes.HasPrefix(rest[i:], []byte(" (")) {
		return false
	}
	s.closeAll()
	s.boot++
	s.marked = false
	s.release = printable(rest[:i])
	s.last = nil
	clear(s.lastRow)
	clear(s.owed)
	return true
}

func isRelease(s []byte) bool {
	if len(s) == 0 || !isDigit(s[0]) || bytes.IndexByte(s, '.') < 0 || len(s) > 64 {
		return false
	}
	for _, c := range s {
		if !isWord(c) && c != '.' && c != '-' && c != '+' && c != '~' {
			return false
		}
	}
	return true
}

// mark handles the lines of blockrig's own guest and host.
func (s *Scanner) mark(m *message, at int) bool {
	text := m.text[at:]
	guest := bytes.HasPrefix(text, []byte("blockrig: guest: "))
	if !guest && !bytes.HasPrefix(text, []byte("blockrig: host: ")) {
		return false
	}
	if guest && !s.marked {
		s.marked = true
		clear(s.lastRow)
		s.last = nil
		for _, e := range s.entries {
			if e.boot == s.boot {
				e.Baseline = true
			}
		}
		for _, r := range s.open {
			if r != nil {
				r.f.Baseline = true
			}
		}
	}
	if s.onMark != nil {
		s.onMark(s.lines, printable(text))
	}
	return true
}
