package console

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
)

// A report is a finding that is being read.
type report struct {
	f      Finding
	row    int
	marker *marker
	caller uint64
	boot   int
	when   when
	again  bool   // a quote of a line seen before
	sum    uint64 // of its first line, its time included

	names  [8]string // captures of the first line
	values [8]string
	n      int

	function  string // as the first line, or lockdep, names it
	function2 string
	rip       string
	rsp       uint64   // x86-64's stack pointer, 0 when it was not read
	held      string   // the function that took the lock held, lockdep's
	origin    []string // the functions that allocated what it is about
	access    string   // "Read " or "Write ", KASAN's
	stage     stage
	idle      int  // unknown lines since the last that belongs to it
	others    int  // lines of others since then
	strange   int  // unknown lines amid the trace since then
	lines     int  // lines that belong to it
	at        bool // the line with the place was seen
	dropped   bool // the kernel said that it lost messages
	ended     bool // its last line was seen
	who       bool // the line with CPU, PID and command was read
	atNext    bool // the next line names lockdep's function
	headed    bool // "Call Trace:" was read
	// releaseNext: the next line begins with the release, since a mail
	// wrapped the one with the command.
	releaseNext bool
	modules     bool // the line before was the list of modules
	kthread     bool // what follows is about RCU's own thread
	became      bool // what follows is where a lock became what it is
	into        into
}

// into says where the frames that follow belong.
type into uint8

const (
	intoTrace   into = iota
	intoOrigin       // how the memory was allocated
	intoNothing      // how it was freed, or another's
)

type stage uint8

const (
	stageHead  stage = iota // before the trace
	stageTrace              // in it
	stageTail               // after it
	stageDone
)

// idleAll is how many lines of others may follow before a report counts as
// ended.
const idleAll = 400

// mixedLines is how many lines after the first one of a report another's first
// one shows that two are printed at once.
const mixedLines = 8

// begin takes the first line of something gone wrong; s.caps has its captures.
func (s *Scanner) begin(row int, m *message, text []byte) bool {
	mk := &markers[row]
	slot := s.slot(m.caller)
	cur := s.open[slot]
	if cur != nil && cur.caller != m.caller {
		cur = nil
	}
	if mk.class == classDetail {
		if cur == nil {
			return false
		}
		s.belongs(cur)
		cur.kthread = cur.kthread || mk.title == rcuKthread
		if p := s.caps.get("place"); p != nil && cur.f.Place == "" {
			cur.f.Place = placeString(p)
		}
		return true
	}
	if mk.shape == shapeLine {
		s.oneLine(row, m, text)
		for _, r := range s.open {
			if r != nil {
				r.others++
			}
		}
		return true
	}
	if cur != nil && joins(cur, mk, when{m.usec, m.precise}) {
		s.belongs(cur)
		cur.at = cur.at || mk.class == classAt || mk.class == classCut
		s.fill(cur)
		return true
	}
	if mk.class == classPanic && cur != nil {
		if len(cur.f.Trace) == 0 && cur.marker.shape != shapeMemory {
			// The trace that follows is that of the cause: the panic came
			// from within its report.
			s.oneLine(row, m, text)
			s.belongs(cur)
			return true
		}
	}
	mixed := cur != nil && len(cur.f.Trace) == 0 && cur.marker.class != classOther && mk.class != classPanic &&
		s.lines-cur.f.Line <= mixedLines && cur.when.within(when{m.usec, m.precise}, 1_000_000)
	if cur != nil {
		// Two CPUs print at once, and nothing tells their lines apart.
		cur.f.Interleaved = cur.f.Interleaved || mixed
		s.end(slot)
	}
	r := s.newReport()
	*r = report{row: row, marker: mk, caller: m.caller, boot: s.boot, when: when{m.usec, m.precise}, origin: r.origin[:0]}
	r.f = Finding{Kind: mk.kind, Line: s.lines, LastLine: s.lines, Count: 1, Timer: mk.timer, Interleaved: mixed, Trace: s.spare}
	s.spare = nil
	r.again = s.quoteOfSeen(m, text)
	r.sum = s.lastStamp
	for i := range s.caps.n {
		r.names[i], r.values[i] = s.caps.name[i], printable(s.caps.value[i])
	}
	r.n = s.caps.n
	s.fill(r)
	slot = s.free()
	s.open[slot] = r
	if s.onSign != nil {
		s.onSign(Sign{Kind: mk.kind, Line: s.lines, Text: printable(text)})
	}
	return true
}

// newReport is memory for a report: that of the last one that was closed, which
// nothing points to.
func (s *Scanner) newReport() *report {
	r := s.spareReport
	s.spareReport = nil
	if r == nil {
		r = &report{}
	}
	return r
}

// dies reports whether the task, or the kernel, does not survive the report.
func (mk *marker) dies() bool {
	return mk.class == classFault || mk.class == classDie || mk.class == classPanic || mk.class == classAt || mk.class == classCut
}

// joins reports whether a first line belongs to the report that is open.
func joins(r *report, mk *marker, at when) bool {
	if at.precise && r.when.precise && at.usec-r.when.usec > 1_000_000 {
		return false // printed at once, or another's
	}
	if len(r.f.Trace) > 0 || r.lines > 30 {
		return false
	}
	switch mk.class {
	case classAt:
		return r.marker.class == classCut && !r.at
	case classCut: // what WARN() says after its place, before 3.11
		return r.marker.class == classAt && r.f.Kind == KindWarn && !r.at && r.lines <= 4
	case classDie:
		return r.marker.class == classFault || r.marker.class == classAt && r.f.Kind == KindBug ||
			r.marker.class == classCut && r.at
	case classFault:
		return false
	}
	return false
}

// fill takes what the captures of a line say into the report.
func (s *Scanner) fill(r *report) {
	for i := range s.caps.n {
		v := s.caps.value[i]
		switch s.caps.name[i] {
		case "place":
			r.f.Place = placeString(v)
		case "func":
			if n := symbolLen(v); n > 0 && r.function == "" {
				r.function = string(v[:n])
			}
		case "func2":
			if n := symbolLen(v); n > 0 {
				r.function2 = baseName(string(v[:n]))
			}
		case "cpu":
			if n, err := strconv.Atoi(string(v)); err == nil {
				r.f.CPU = &n
			}
		case "pid":
			r.f.PID, _ = strconv.Atoi(string(v))
		case "comm":
			r.f.Comm = shown(v)
		case "task": // comm:pid
			r.task(v, ':')
		case "commpid": // comm/pid
			r.task(v, '/')
		}
	}
}

func (r *report) task(v []byte, sep byte) {
	i := bytes.LastIndexByte(v, sep)
	if i <= 0 {
		return
	}
	j := i + 1
	for j < len(v) && isDigit(v[j]) {
		j++
	}
	pid, err := strconv.Atoi(string(v[i+1 : j]))
	if err != nil {
		return
	}
	r.f.PID = pid
	r.f.Comm = shown(v[:i])
}

func placeString(v []byte) string {
	file, line, n := place(v)
	if n == 0 {
		return ""
	}
	return file + ":" + strconv.Itoa(line)
}

// slot finds the open report of a caller.
func (s *Scanner) slot(caller uint64) int {
	for i, r := range s.open {
		if r != nil && r.caller == caller {
			return i
		}
	}
	return 0
}

// free makes room for one more open report, at the front.
func (s *Scanner) free() int {
	if s.open[maxOpen-1] != nil {
		s.end(maxOpen - 1)
	}
	copy(s.open[1:], s.open[:maxOpen-1])
	s.open[0] = nil
	return 0
}

// belongs counts the line as one of the report.
func (s *Scanner) belongs(r *report) {
	if r.others > 0 || r.strange > 0 {
		r.f.Interleaved = true
	}
	r.idle, r.others, r.strange = 0, 0, 0
	r.lines++
	r.f.LastLine = s.lines
}

// oneLine takes a finding that is one line.
func (s *Scanner) oneLine(row int, m *message, text []byte) {
	mk := &markers[row]
	again := s.quoteOfSeen(m, text)
	s.sig = append(s.sig[:0], byte(row), byte(row>>8))
	for i := range s.caps.n {
		s.sig = append(append(s.sig, s.caps.value[i]...), 0)
	}
	if mk.kind == KindIO {
		s.lastIO = s.lines
	}
	if e := s.lastRow[row]; e != nil && e.boot == s.boot && e.sig == string(s.sig) {
		// A flood: no need to make the title again.
		if !again {
			e.Count++
		}
		e.LastLine = s.lines
		s.last = e
		return
	}
	var f Finding
	f.Kind, f.Line, f.LastLine, f.Count = mk.kind, s.lines, s.lines, 1
	for _, name := range [...]string{"dev", "path"} {
		if v := s.caps.get(name); v != nil {
			f.Place = printable(v)
		}
	}
	if v := s.caps.get("leg"); v != nil {
		f.Place = strings.TrimSuffix(printable(v)+" of "+f.Place, " of ")
	}
	if v := s.caps.get("ata"); v != nil {
		f.Place = "ata" + printable(v)
	}
	title, known := s.titles[string(s.sig)]
	if !known {
		title = expand(mk.title, "", func(name string) string { return normalise(printable(s.caps.get(name))) })
		if len(s.titles) >= maxTitles {
			clear(s.titles)
		}
		s.titles[string(s.sig)] = title
	}
	f.Title = title
	e, isNew := s.add(f, row, when{m.usec, m.precise}, s.boot, again)
	if e == nil {
		return
	}
	for _, site := range mk.sites {
		if n := s.owed[site]; n > 0 {
			e.Count += n
			delete(s.owed, site)
		}
	}
	e.sig = string(s.sig)
	s.last = e
	s.lastRow[row] = e
	if isNew {
		if s.onSign != nil {
			s.onSign(Sign{Kind: mk.kind, Line: s.lines, Text: printable(text)})
		}
		if s.onFinding != nil {
			s.onFinding(e.Finding)
		}
	}
}

func (s *Scanner) closeAll() {
	for s.open[0] != nil {
		first := 0 // begun first
		for i, r := range s.open {
			if r != nil && r.f.Line < s.open[first].f.Line {
				first = i
			}
		}
		s.end(first)
	}
}

// isCut reports whether a report that is closed is incomplete.
func (r *report) isCut() bool {
	switch {
	case r.dropped:
		return true
	case r.ended:
		return false
	case len(r.f.Trace) == 0:
		return true
	case r.stage != stageTrace:
		return false
	}
	// These say where they end.
	return r.marker.class != classOther || r.marker.shape == shapeMemory
}

func (s *Scanner) remove(slot int) *report {
	r := s.open[slot]
	copy(s.open[slot:], s.open[slot+1:])
	s.open[maxOpen-1] = nil
	return r
}

// end closes an open report and makes it a finding.
func (s *Scanner) end(slot int) {
	r := s.remove(slot)
	s.spareReport = r
	r.f.Cut = r.isCut()
	s.quietUntil = max(s.quietUntil, s.lines+aloneFrom)
	if r.marker == headless && len(r.f.Trace) == 0 && r.rip == "" {
		return
	}
	title, skip := r.heading()
	fn := s.guilty(r, skip)
	r.f.Title = expand(title, fn, func(name string) string {
		switch name {
		case "rw":
			return r.access
		case "func2":
			return r.function2
		}
		for i := range r.n {
			if r.names[i] == name {
				return normalise(r.values[i])
			}
		}
		return ""
	})
	if r.again && s.sameReport(r) {
		return
	}
	e, isNew := s.add(r.f, r.row, r.when, r.boot, r.again)
	if isNew {
		s.bySum[r.sum] = e
	} else if e == nil || len(e.Trace) == 0 || len(r.f.Trace) > 0 && &e.Trace[0] != &r.f.Trace[0] {
		s.spare = r.f.Trace[:0] // its memory is for the next one
	}
	if isNew && s.onFinding != nil {
		s.onFinding(e.Finding)
	}
}

// sameReport reports whether a report is one that was read before, whose first
// line it repeats: dmesg -l alert shows that line alone, a mail quotes a part.
// What was read with a trace stays, or takes its place.
func (s *Scanner) sameReport(r *report) bool {
	e := s.bySum[r.sum]
	if e == nil || e.boot != r.boot || e.Kind != r.f.Kind || e.Baseline != r.f.Baseline {
		return false
	}
	if len(e.Trace) < len(r.f.Trace) && e.Title != r.f.Title {
		f := r.f
		f.Count, f.Boot, f.Consequence = e.Count, e.Boot, e.Consequence
		s.unfile(e)
		e.Finding = f
		key := string(s.key(&e.Finding, e.row, e.boot))
		s.index[key] = append(s.index[key], e)
	}
	return true
}

// add files a finding, or counts it with the one that it repeats.
func (s *Scanner) add(f Finding, row int, at when, boot int, again bool) (*entry, bool) {
	key := s.key(&f, row, boot)
	for _, e := range s.index[string(key)] {
		whole := len(e.Trace) > 0
		if e.Baseline != f.Baseline {
			continue // what the boot said, and what came after
		}
		if f.Kind != KindIO && e.Place != f.Place && whole && len(f.Trace) > 0 && f.Place != "" && e.Place != "" {
			continue
		}
		if !again {
			e.Count++
		}
		if !whole && len(f.Trace) > 0 {
			f.Count, f.Boot, f.Consequence = e.Count, e.Boot, e.Consequence
			if f.Release == "" {
				f.Release = e.Release
			}
			e.Finding, e.when = f, at
		} else if row < 0 || f.Kind == KindIO || markers[row].shape == shapeLine {
			e.LastLine = max(e.LastLine, f.LastLine)
		}
		return e, false
	}
	if len(s.entries) >= maxFindings {
		s.dropped++
		return nil, false
	}
	e := &entry{Finding: f, row: row, boot: boot, when: at}
	if s.release != "" && e.Release == "" {
		e.Release = s.release
	}
	if boot > 1 {
		e.Boot = boot
	}
	if !e.Consequence {
		e.Consequence = s.follows(e)
	}
	s.entries = append(s.entries, e)
	s.index[string(key)] = append(s.index[string(key)], e)
	return e, true
}

// retract takes back the last time that an I/O error was counted.
func (s *Scanner) retract(e *entry) {
	s.last = nil
	if e.Count--; e.Count > 0 {
		return
	}
	s.unfile(e)
	s.entries = slices.DeleteFunc(s.entries, func(x *entry) bool { return x == e })
	if e.row >= 0 {
		s.lastRow[e.row] = nil
	}
}

// unfile takes a finding out of the index.
func (s *Scanner) unfile(e *entry) {
	key := string(s.key(&e.Finding, e.row, e.boot))
	s.index[key] = slices.DeleteFunc(s.index[key], func(x *entry) bool { return x == e })
}

// key tells different findings apart. It is good until the next call.
func (s *Scanner) key(f *Finding, row, boot int) []byte {
	key := append(append(s.keyed[:0], f.Kind...), 0)
	key = append(append(key, f.Title...), 0)
	key = strconv.AppendInt(key, int64(boot), 10)
	if f.Kind == KindIO && s.t.byDevice[row] {
		key = append(append(key, 0), f.Place...)
	}
	s.keyed = key
	return key
}

// follows reports whether a finding is what an earlier one of the same boot
// brought about.
func (s *Scanner) follows(e *entry) bool {
	for _, r := range s.open { // of which the panic may be a part, too
		if r == nil || r.boot != e.boot || r.f.Line >= e.Line || r.f.Kind == KindBoot || r.f.Baseline != e.Baseline {
			continue
		}
		if e.Kind == KindPanic && r.marker != headless || e.Kind == KindIO && r.when.soonAfter(e.when) {
			return true
		}
	}
	for _, c := range s.entries {
		if c.boot != e.boot || c.Baseline != e.Baseline || c.Line > e.Line || c.Kind == KindIO || c.Kind == KindBoot || c.Kind == KindUnrecognized {
			continue
		}
		switch e.Kind {
		case KindPanic:
			if c.row != headlessRow { // which says less than the panic
				return true
			}
		case KindHang:
			// A task that died holds its locks for ever.
			if c.row >= 0 && (c.Kind == KindPanic || c.Kind == KindBug && markers[c.row].dies()) {
				return true
			}
		case KindBug, KindWarn:
			// The kernel has died already, or this very task has.
			if c.Kind == KindBug && (strings.ContainsRune(e.Tainted, 'D') || e.PID != 0 && c.PID == e.PID && e.Kind == KindBug) {
				return true
			}
		case KindIO:
			if c.when.soonAfter(e.when) {
				return true
			}
		}
	}
	return false
}
