package console

import (
	"bytes"
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
	usec   int64
	again  bool // a quote of a line seen before

	names  [8]string // captures of the first line
	values [8]string
	n      int

	function  string // as the first line, or lockdep, names it
	function2 string
	rip       string
	access    string // "Read " or "Write ", KASAN's
	stage     stage
	idle      int  // the kernel's other lines since the last that belongs to it
	others    int  // all other lines since then
	lines     int  // lines that belong to it
	at        bool // the line with the place was seen
	dumps     int  // a stall's: CPUs dumped
	modules   bool // the line before was the list of modules
}

type stage uint8

const (
	stageHead  stage = iota // before the trace
	stageTrace              // in it
	stageTail               // after it
	stageDone
)

// How many lines that don't belong to a report may follow before it counts as
// ended.
const (
	idleHead = 48 // nothing but the head was read
	idleTail = 12 // the trace was read
	idleAll  = 400
)

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
	if cur != nil && joins(cur, mk) {
		s.belongs(cur)
		cur.at = cur.at || mk.class == classAt
		if cur.marker.class == classDie || cur.marker.class == classFault && mk.class == classAt {
			cur.at = true
		}
		s.fill(cur)
		return true
	}
	consequence := false
	if mk.class == classPanic && cur != nil {
		consequence = true
		if len(cur.f.Trace) == 0 && cur.marker.shape != shapeMemory {
			// The trace that follows is that of the cause: the panic came
			// from within its report.
			s.oneLine(row, m, text)
			s.belongs(cur)
			return true
		}
	}
	if cur != nil {
		s.end(slot, len(cur.f.Trace) == 0)
	}
	r := &report{row: row, marker: mk, caller: m.caller, boot: s.boot, usec: m.usec}
	r.f = Finding{Kind: mk.kind, Line: s.lines, LastLine: s.lines, Count: 1, Consequence: consequence}
	r.again = s.quoteOfSeen(m, text)
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

// joins reports whether a first line belongs to the report that is open.
func joins(r *report, mk *marker) bool {
	if len(r.f.Trace) > 0 || r.lines > 30 {
		return false
	}
	switch mk.class {
	case classAt:
		return r.marker.class == classCut && !r.at
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
			r.f.Comm = printable(bytes.TrimSpace(v))
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
	r.f.Comm = printable(v[:i])
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
		s.end(maxOpen-1, true)
	}
	copy(s.open[1:], s.open[:maxOpen-1])
	s.open[0] = nil
	return 0
}

// belongs counts the line as one of the report.
func (s *Scanner) belongs(r *report) {
	if r.others > 0 {
		r.f.Interleaved = true
	}
	r.idle, r.others = 0, 0
	r.lines++
	r.f.LastLine = s.lines
}

// foreign counts another program's line.
func (s *Scanner) foreign() {
	for i := 0; i < maxOpen; i++ {
		if r := s.open[i]; r != nil {
			if r.others++; r.others > idleAll {
				s.end(i, false)
				i--
			}
		}
	}
}

// part takes a line that begins nothing while reports are open.
func (s *Scanner) part(m *message) {
	slot := s.slot(m.caller)
	r := s.open[slot]
	if r == nil {
		return
	}
	if r.caller != m.caller {
		if m.caller != 0 || m.origin == originKernel {
			// Another CPU's or task's line.
			s.foreign()
			return
		}
	}
	for i, o := range s.open {
		if o != nil && i != slot {
			o.others++
		}
	}
	text := bytes.TrimLeft(m.text, " \t")
	if len(text) == 0 {
		return
	}
	switch s.belong(r, text) {
	case partNo:
		r.others++
		if m.origin != originUser {
			r.idle++
		}
		limit := idleHead
		if r.stage == stageTail || r.stage == stageTrace && len(r.f.Trace) > 0 {
			limit = idleTail
		}
		if r.marker.shape == shapeLockdep && r.stage == stageHead {
			limit = 2000
		}
		if r.marker.shape == shapeMemory {
			limit = 64
		}
		if r.idle > limit {
			s.end(slot, len(r.f.Trace) == 0)
		}
	case partYes:
		s.belongs(r)
	case partEnd:
		s.belongs(r)
		s.end(slot, false)
	case partAfter:
		s.end(slot, false)
	}
}

type partIs uint8

const (
	partNo partIs = iota
	partYes
	partEnd   // the last line
	partAfter // the first that is none
)

// belong compares a line with what may stand in a report.
func (s *Scanner) belong(r *report, t []byte) partIs {
	if r.modules {
		// A long list is broken into lines.
		r.modules = false
		if bytes.IndexByte(t, ':') < 0 && !bytes.Contains(t, []byte("+0x")) && t[0] >= 'a' && t[0] <= 'z' {
			r.modules = true
			return partYes
		}
	}
	switch t[0] {
	case '-':
		if bytes.HasPrefix(t, []byte("---[ end trace")) || bytes.HasPrefix(t, []byte("---[ end Kernel panic")) {
			return partEnd
		}
		if bytes.HasPrefix(t, []byte("------------[ cut here ]")) {
			if r.marker.class == classCut && !r.at {
				return partYes
			}
			return partAfter
		}
		if r.marker.shape == shapeLockdep {
			return partYes
		}
	case '=':
		if bytes.HasPrefix(t, []byte("==========")) {
			if r.marker.shape == shapeMemory && r.lines > 3 {
				return partEnd
			}
			if r.marker.shape == shapeLockdep && r.stage == stageTrace {
				return partAfter
			}
			return partYes
		}
	case '<':
		switch {
		case bytes.HasPrefix(t, []byte("<TASK>")), bytes.HasPrefix(t, []byte("<IRQ>")), bytes.HasPrefix(t, []byte("<NMI>")), bytes.HasPrefix(t, []byte("<#")),
			bytes.HasPrefix(t, []byte("<EOI>")), bytes.HasPrefix(t, []byte("<ENTRY_TRAMPOLINE>")):
			if i := bytes.IndexByte(t, '>'); i > 0 && len(bytes.TrimSpace(t[i+1:])) > 0 { // old kernels: " <IRQ>  func+0x…"
				if f, ok := parseFrame(t[i+1:]); ok {
					s.frame(r, f)
				}
			}
			return partYes
		case bytes.HasPrefix(t, []byte("</")):
			if bytes.HasPrefix(t, []byte("</TASK>")) && r.stage == stageTrace {
				r.stage = stageTail
				if r.marker.kind == KindHang && r.marker.shape == shapeTrace {
					return partEnd
				}
			}
			return partYes
		}
	case 'C':
		if bytes.HasPrefix(t, []byte("CPU: ")) {
			s.cpuLine(r, t)
			return partYes
		}
		if bytes.HasPrefix(t, []byte("Call Trace:")) || bytes.HasPrefix(t, []byte("Call trace:")) {
			s.traceBegins(r)
			return partYes
		}
		if bytes.HasPrefix(t, []byte("Code: ")) || bytes.HasPrefix(t, []byte("CR2: ")) || bytes.HasPrefix(t, []byte("CS: ")) {
			return partYes
		}
	case 'R':
		if bytes.HasPrefix(t, []byte("RIP: ")) {
			s.ripLine(r, t[5:])
			return partYes
		}
		if r.marker.shape == shapeMemory && bytes.HasPrefix(t, []byte("Read of size ")) {
			r.access = "Read "
			s.byTask(r, t)
			return partYes
		}
		if isRegisters(t) {
			return partYes
		}
	case 'W':
		if bytes.HasPrefix(t, []byte("Workqueue: ")) {
			r.f.Workqueue = printable(t[len("Workqueue: "):])
			return partYes
		}
		if r.marker.shape == shapeMemory && bytes.HasPrefix(t, []byte("Write of size ")) {
			r.access = "Write "
			s.byTask(r, t)
			return partYes
		}
	case 'M':
		if bytes.HasPrefix(t, []byte("Modules linked in:")) {
			r.modules = true
			return partYes
		}
		if r.marker.shape == shapeMemory && bytes.HasPrefix(t, []byte("Memory state around")) {
			return partYes
		}
	case 'T':
		if bytes.HasPrefix(t, []byte("Tainted: ")) {
			s.tainted(r, t)
			return partYes
		}
		if r.marker.shape == shapeMemory && bytes.HasPrefix(t, []byte("The buggy address")) {
			r.stage = stageDone
			return partYes
		}
	case 'N':
		if bytes.HasPrefix(t, []byte("Not tainted ")) {
			s.tainted(r, t)
			return partYes
		}
		if bytes.HasPrefix(t, []byte("NMI backtrace for cpu ")) || bytes.HasPrefix(t, []byte("NMI backtrace for CPU ")) {
			if r.marker.shape != shapeStall {
				r.stage = stageDone
				return partNo
			}
			r.dumps++
			if r.dumps == 1 {
				r.rip, r.f.Trace, r.stage = "", nil, stageHead
			}
			return partYes
		}
		if bytes.HasPrefix(t, []byte("NIP [")) {
			s.ripLine(r, t[4:])
			return partYes
		}
		if bytes.HasPrefix(t, []byte("NIP: ")) || bytes.HasPrefix(t, []byte("NIP:  ")) {
			return partYes
		}
	case 'H':
		if bytes.HasPrefix(t, []byte("Hardware name: ")) {
			return partYes
		}
	case 'A', 'F':
		if r.marker.shape == shapeMemory && (bytes.HasPrefix(t, []byte("Allocated by task")) || bytes.HasPrefix(t, []byte("Freed by task"))) {
			r.stage = stageDone
			return partYes
		}
	case 'U':
		if r.marker.shape == shapeMemory && bytes.HasPrefix(t, []byte("Uninit was ")) {
			r.stage = stageDone
			return partYes
		}
	case 'L':
		if bytes.HasPrefix(t, []byte("Local variable ")) || bytes.HasPrefix(t, []byte("Last potentially related work")) {
			r.stage = stageDone
			return partYes
		}
		if bytes.HasPrefix(t, []byte("LR [")) || bytes.HasPrefix(t, []byte("LR is at ")) {
			return partYes
		}
	case 'P':
		if bytes.HasPrefix(t, []byte("PC is at ")) {
			s.ripLine(r, t[9:])
			return partYes
		}
		if bytes.HasPrefix(t, []byte("PKRU: ")) {
			return partYes
		}
		if bytes.HasPrefix(t, []byte("Pid: ")) {
			s.cpuLine(r, t)
			return partYes
		}
	case 'E':
		if bytes.HasPrefix(t, []byte("EIP: ")) {
			s.ripLine(r, t[5:])
			return partYes
		}
	case 'B':
		if bytes.HasPrefix(t, []byte("Backtrace:")) {
			s.traceBegins(r)
			return partYes
		}
	case 'K':
		if bytes.HasPrefix(t, []byte("Krnl PSW : ")) {
			if i := bytes.IndexByte(t, '('); i > 0 {
				s.ripLine(r, t[i+1:])
			}
			return partYes
		}
		if bytes.HasPrefix(t, []byte("Krnl ")) || bytes.HasPrefix(t, []byte("KASAN: ")) {
			return partYes
		}
	case 'p':
		if bytes.HasPrefix(t, []byte("pc : ")) {
			s.ripLine(r, t[5:])
			return partYes
		}
		if bytes.HasPrefix(t, []byte("pstate: ")) {
			return partYes
		}
	case 'e':
		if bytes.HasPrefix(t, []byte("epc : ")) {
			s.ripLine(r, t[6:])
			return partYes
		}
	case 's':
		if r.marker.shape == shapeLockdep && bytes.HasPrefix(t, []byte("stack backtrace:")) {
			s.belongs(r)
			r.f.Trace = nil
			r.stage = stageTrace
			return partYes
		}
		if bytes.HasPrefix(t, []byte("sysrq: ")) {
			return partAfter
		}
	case 't':
		if bytes.HasPrefix(t, []byte("task:")) {
			s.taskLine(r, t[5:])
			return partYes
		}
	case '"':
		if bytes.HasPrefix(t, []byte("\"echo 0 > /proc/sys/kernel/hung_task")) {
			return partYes
		}
	case '#':
		if bytes.HasPrefix(t, []byte("#PF: ")) {
			return partYes
		}
	}
	if r.marker.shape == shapeLockdep && r.stage == stageHead {
		if r.function == "" {
			if i := bytes.LastIndex(t, []byte(" at: ")); i >= 0 {
				if f, ok := parseFrame(t[i+5:]); ok {
					r.function = f.Func
				}
			}
		}
		if i := bytes.Index(t, []byte("ot tainted")); i > 0 || bytes.Contains(t, []byte(" Tainted: ")) {
			s.lockdepRelease(r, t)
		}
		return partYes
	}
	if r.stage != stageDone && bytes.Contains(t, []byte("+0x")) || r.stage == stageTrace {
		if f, ok := parseFrame(t); ok {
			if r.stage == stageHead && !(f.Reliable && f.Size > 0 && r.marker.shape != shapeStall) {
				return partNo
			}
			s.frame(r, f)
			return partYes
		}
	}
	if r.stage == stageTrace && len(r.f.Trace) > 0 && r.marker.kind == KindHang && r.marker.shape == shapeTrace {
		return partNo
	}
	if isRegisters(t) {
		return partYes
	}
	return partNo
}

func (s *Scanner) frame(r *report, f Frame) {
	switch r.stage {
	case stageHead:
		r.stage = stageTrace
	case stageTail, stageDone:
		return
	}
	if len(r.f.Trace) < maxFrames {
		r.f.Trace = append(r.f.Trace, f)
	}
}

func (s *Scanner) traceBegins(r *report) {
	switch {
	case r.stage == stageHead && r.marker.shape != shapeLockdep:
		r.stage = stageTrace
	case r.stage == stageTrace && len(r.f.Trace) > 0:
		r.stage = stageTail
	}
}

func (s *Scanner) ripLine(r *report, t []byte) {
	t = bytes.TrimLeft(t, " ")
	if i := bytes.IndexByte(t, ':'); i > 0 && i <= 4 && isHex(t[0]) {
		if string(t[:i]) == "0033" || string(t[:i]) == "0023" || string(t[:i]) == "002b" {
			return // user space
		}
		t = t[i+1:]
	}
	if r.rip != "" || r.stage == stageDone {
		return
	}
	for len(t) > 0 && (t[0] == '[' || t[0] == ' ') {
		end := bytes.IndexByte(t, ']')
		if t[0] == '[' {
			if end < 0 {
				return
			}
			t = t[end+1:]
			continue
		}
		t = t[1:]
	}
	n := symbolLen(t)
	if n > 0 && n < len(t) && t[n] == '+' {
		r.rip = string(t[:n])
	}
}

// cpuLine reads
//
//	CPU: 15 UID: 0 PID: 369 Comm: kworker/15:1 Not tainted 7.1.0-rc7+ #786 PREEMPT(lazy)
//	Pid: 369, comm: kworker Not tainted 2.6.32 #1
func (s *Scanner) cpuLine(r *report, t []byte) {
	if r.f.Tainted != "" || r.f.Release != "" {
		return
	}
	if rest, ok := bytes.CutPrefix(t, []byte("CPU: ")); ok {
		if n, err := strconv.Atoi(digits(rest)); err == nil && r.f.CPU == nil {
			r.f.CPU = &n
		}
	}
	i := bytes.Index(t, []byte("omm: "))
	if i < 0 {
		return
	}
	if j := bytes.Index(t, []byte("ID: ")); j >= 0 {
		if k := bytes.Index(t, []byte(" PID: ")); k >= 0 {
			j = k + 2
		}
		if n, err := strconv.Atoi(digits(t[j+4:])); err == nil {
			if r.f.PID != 0 && r.f.PID != n && r.marker.class == classAt {
				r.f.Interleaved = true
			}
			r.f.PID = n
		}
	}
	rest := t[i+5:]
	end := bytes.Index(rest, []byte(" Not tainted "))
	if end < 0 {
		end = bytes.Index(rest, []byte(" Tainted: "))
	}
	if end < 0 {
		r.f.Comm = printable(bytes.TrimSpace(rest))
		return
	}
	r.f.Comm = printable(bytes.TrimSpace(rest[:end]))
	s.tainted(r, rest[end+1:])
}

func digits(s []byte) string {
	i := 0
	for i < len(s) && isDigit(s[i]) {
		i++
	}
	return string(s[:i])
}

// tainted reads "Not tainted 7.1.0 #1" and "Tainted: G W 7.1.0 #1".
func (s *Scanner) tainted(r *report, t []byte) {
	if rest, ok := bytes.CutPrefix(t, []byte("Not tainted ")); ok {
		s.setRelease(r, firstWord(rest))
		return
	}
	rest, ok := bytes.CutPrefix(t, []byte("Tainted: "))
	if !ok || len(rest) > 0 && rest[0] == '[' {
		return // "Tainted: [W]=WARN" explains the letters
	}
	var letters []byte
	for len(rest) > 0 {
		w := firstWord(rest)
		if isRelease(w) {
			s.setRelease(r, w)
			break
		}
		for _, c := range w {
			if c < 'A' || c > 'Z' {
				w = nil
				break
			}
		}
		if w == nil || len(letters) > 40 {
			break
		}
		if len(letters) > 0 {
			letters = append(letters, ' ')
		}
		letters = append(letters, w...)
		rest = bytes.TrimLeft(rest[len(w):], " ")
	}
	if r.f.Tainted == "" {
		r.f.Tainted = string(letters)
	}
}

// lockdepRelease reads "6.18.0-rc1 #1 Not tainted".
func (s *Scanner) lockdepRelease(r *report, t []byte) {
	if w := firstWord(t); isRelease(w) && r.f.Release == "" {
		s.setRelease(r, w)
	}
}

func (s *Scanner) setRelease(r *report, w []byte) {
	if !isRelease(w) {
		return
	}
	if r.f.Release == "" {
		r.f.Release = string(w)
	}
	if s.release == "" {
		s.release = string(w)
		for _, e := range s.entries {
			if e.boot == s.boot && e.Release == "" {
				e.Release = s.release
			}
		}
	}
}

func firstWord(s []byte) []byte {
	s = bytes.TrimLeft(s, " ")
	if i := bytes.IndexByte(s, ' '); i >= 0 {
		return s[:i]
	}
	return s
}

// taskLine reads "kworker/0:1 state:D stack:0 pid:12 tgid:12 …" (sched_show_task).
func (s *Scanner) taskLine(r *report, t []byte) {
	if i := bytes.Index(t, []byte(" state:")); i > 0 && r.f.Comm == "" {
		r.f.Comm = printable(bytes.TrimSpace(t[:i]))
	}
	if i := bytes.Index(t, []byte(" pid:")); i > 0 && r.f.PID == 0 {
		r.f.PID, _ = strconv.Atoi(digits(bytes.TrimLeft(t[i+5:], " ")))
	}
}

// byTask reads "… by task name/123".
func (s *Scanner) byTask(r *report, t []byte) {
	if i := bytes.Index(t, []byte(" by task ")); i > 0 {
		r.task(t[i+9:], '/')
	}
}

// isRegisters reports a line of a register dump: "RAX: 0000000000000000 RBX: …",
// "x29: ffff8000…", "r3 : …", "GPR00: …".
func isRegisters(t []byte) bool {
	i := 0
	for i < len(t) && i < 6 && isWord(t[i]) {
		i++
	}
	if i == 0 || i >= len(t) {
		return false
	}
	rest := bytes.TrimLeft(t[i:], " ")
	if len(rest) < 6 || rest[0] != ':' {
		return false
	}
	rest = bytes.TrimLeft(rest[1:], " ")
	w := firstWord(rest)
	n := 0
	for n < len(w) && (isHex(w[n]) || w[n] == ':' || w[n] == 'x') {
		n++
	}
	return n >= 4 && (n == len(w) || w[n] == '(')
}

// guilty names the function to blame.
func (s *Scanner) guilty(r *report) string {
	names := [2]string{r.function, r.rip}
	if r.marker.shape == shapeStall {
		names[0] = ""
	}
	if r.marker.kind == KindHang && r.marker.shape == shapeTrace && !strings.Contains(r.marker.title, "LOCK") && !strings.Contains(r.marker.title, "lockup") {
		names = [2]string{}
	}
	for _, n := range names {
		if n = baseName(n); n != "" && !s.t.look.has(n) {
			return n
		}
	}
	first := ""
	for pass := range 2 {
		for _, f := range r.f.Trace {
			if f.Inlined || f.Reliable != (pass == 0) {
				continue
			}
			n := baseName(f.Func)
			if first == "" {
				first = n
			}
			if !s.t.look.has(n) {
				return n
			}
		}
		if first != "" {
			break
		}
	}
	for _, n := range names {
		if n != "" {
			return baseName(n)
		}
	}
	return first
}

// oneLine takes a finding that is one line.
func (s *Scanner) oneLine(row int, m *message, text []byte) {
	mk := &markers[row]
	var f Finding
	f.Kind, f.Line, f.LastLine, f.Count = mk.kind, s.lines, s.lines, 1
	for _, name := range [...]string{"dev", "leg", "path"} {
		if v := s.caps.get(name); v != nil {
			f.Place = printable(v)
		}
	}
	f.Title = expand(mk.title, "", func(name string) string { return normalise(printable(s.caps.get(name))) })
	f.Baseline = false
	again := s.quoteOfSeen(m, text)
	e, isNew := s.add(f, row, m.usec, s.boot, again)
	if e == nil {
		return
	}
	if n := s.owed[row]; n > 0 {
		e.Count += n
		delete(s.owed, row)
	}
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
		last := 0
		for i, r := range s.open {
			if r != nil {
				last = i
			}
		}
		r := s.open[last]
		s.end(last, len(r.f.Trace) == 0 || r.stage == stageTrace)
	}
}

// end closes an open report and makes it a finding.
func (s *Scanner) end(slot int, cut bool) {
	r := s.open[slot]
	copy(s.open[slot:], s.open[slot+1:])
	s.open[maxOpen-1] = nil
	r.f.Cut = r.f.Cut || cut
	fn := s.guilty(r)
	r.f.Title = expand(r.marker.title, fn, func(name string) string {
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
	e, isNew := s.add(r.f, r.row, r.usec, r.boot, r.again)
	if e != nil && isNew && s.onFinding != nil {
		s.onFinding(e.Finding)
	}
}

// add files a finding, or counts it with the one that it repeats.
func (s *Scanner) add(f Finding, row int, usec int64, boot int, again bool) (*entry, bool) {
	key := string(f.Kind) + "\x00" + f.Title + "\x00" + strconv.Itoa(boot)
	if f.Kind == KindIO && s.t.byDevice[row] {
		key += "\x00" + f.Place
	}
	for _, e := range s.index[key] {
		whole := len(e.Trace) > 0
		if f.Kind != KindIO && e.Place != f.Place && whole && len(f.Trace) > 0 && f.Place != "" && e.Place != "" {
			continue
		}
		if !again {
			e.Count++
		}
		if !whole && len(f.Trace) > 0 {
			f.Count = e.Count
			f.Baseline = e.Baseline
			f.Consequence = e.Consequence
			e.Finding = f
		} else if f.Kind == KindIO || markers[row].shape == shapeLine {
			e.LastLine = max(e.LastLine, f.LastLine)
		}
		return e, false
	}
	if len(s.entries) >= maxFindings {
		s.dropped++
		return nil, false
	}
	e := &entry{Finding: f, row: row, boot: boot, usec: usec}
	if s.release != "" && e.Release == "" {
		e.Release = s.release
	}
	if !e.Consequence {
		e.Consequence = s.follows(e)
	}
	s.entries = append(s.entries, e)
	for i := len(s.entries) - 1; i > 0 && s.entries[i-1].Line > e.Line; i-- {
		s.entries[i], s.entries[i-1] = s.entries[i-1], s.entries[i]
	}
	s.index[key] = append(s.index[key], e)
	return e, true
}

// follows reports whether a finding is what an earlier one of the same boot
// brought about.
func (s *Scanner) follows(e *entry) bool {
	for _, c := range s.entries {
		if c.boot != e.boot || c.Baseline != e.Baseline || c.Line > e.Line || c.Kind == KindIO || c.Kind == KindBoot {
			continue
		}
		switch e.Kind {
		case KindPanic:
			return true
		case KindBug, KindWarn:
			// The kernel has died already, or this very task has.
			if c.Kind == KindBug && (strings.ContainsRune(e.Tainted, 'D') || e.PID != 0 && c.PID == e.PID && e.Kind == KindBug) {
				return true
			}
		case KindIO:
			if c.usec < 0 || e.usec < 0 || e.usec-c.usec < 60_000_000 {
				return true
			}
		}
	}
	return false
}

// normalise takes numbers and addresses out of free text, so that a title is
// the same for each run.
func normalise(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		c := s[i]
		if !isDigit(c) || i > 0 && (isWord(s[i-1]) || s[i-1] == '-' && i > 1 && isWord(s[i-2])) {
			if c < 0x20 {
				c = ' '
			}
			b.WriteByte(c)
			i++
			continue
		}
		j := i
		if strings.HasPrefix(s[i:], "0x") {
			j += 2
		}
		hex := j > i
		for j < len(s) && isHex(s[j]) {
			hex = hex || !isDigit(s[j])
			j++
		}
		if j < len(s) && isWord(s[j]) { // a word that begins with digits
			for j < len(s) && isWord(s[j]) {
				j++
			}
			b.WriteString(s[i:j])
		} else if hex || j-i >= 8 {
			b.WriteString("ADDR")
		} else {
			b.WriteString("NUM")
		}
		i = j
	}
	return strings.TrimSpace(b.String())
}
