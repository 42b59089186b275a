package console

import "slices"

// headless is the marker of a report whose first lines a log lacks: what was
// pasted, or a ring buffer that had wrapped, begins amid it.
var headless = &marker{kind: KindWarn, title: "part of a report in {func}", shape: shapeTrace}

// headlessRow stands for it where rows of the markers are told apart.
const headlessRow = -1

const (
	// aloneFrom is how many lines after a report, or after a dump that was
	// asked for, registers are no part of it.
	aloneFrom = 60
	// cutFrom is how many of the kernel's lines may stand before a bare trace
	// that a log begins with: further on, drivers show traces without reports.
	cutFrom = 5
)

// registerHeads begin the lines that name the function that a CPU was in.
var registerHeads = []string{"RIP: 0010:", "EIP: 0060:", "EIP is at ", "PC is at ", "pc : ", "epc : ", "NIP [", "ERA: ", "epc   : "}

// traceHeads are the lines over a trace.
var traceHeads = []string{"Call Trace:", "Call trace:", "Backtrace:"}

// dumpHeads begin what shows tasks and CPUs though nothing need be wrong.
var dumpHeads = []string{"task:", "sysrq: ", "SysRq : ", "NMI backtrace for cpu ", "Sending NMI ", "Showing ", "CPU: "}

// traceEnd ends a report. Where nothing went before it, the report began before
// the log.
const traceEnd = "---[ end trace"

// noHead takes a line that begins no report while none is open: it may be a
// part of one whose head is lost. It reports whether it is.
func (s *Scanner) noHead(m *message) bool {
	text := trimBlanks(m.text)
	var head string
	for _, h := range s.t.loose[text[0]] {
		if len(text) >= len(h) && string(text[:len(h)]) == h {
			head = h
			break
		}
	}
	switch {
	case head == "" || m.origin == originUser:
		return false
	case slices.Contains(dumpHeads, head):
		if head != "CPU: " {
			s.quietUntil = s.lines + aloneFrom
		}
		s.cpuAt = s.lines
		return false
	case s.lines < s.quietUntil:
		return false
	case head == traceEnd:
		if len(s.entries) > 0 || s.boot > 0 {
			return false
		}
		e, _ := s.add(Finding{Kind: headless.kind, Title: "part of a report", Line: s.lines, LastLine: s.lines, Count: 1, Cut: true}, headlessRow, when{m.usec, m.precise}, s.boot, false)
		if s.onFinding != nil {
			s.onFinding(e.Finding)
		}
		return true
	case slices.Contains(traceHeads, head) && (s.kernelLines > cutFrom || s.cpuAt > 0 || len(text) > len(head)):
		return false
	}
	r := &report{row: headlessRow, marker: headless, caller: m.caller, boot: s.boot, when: when{m.usec, m.precise}, dropped: true}
	r.f = Finding{Kind: headless.kind, Line: s.lines, LastLine: s.lines, Count: 1}
	s.belong(r, text)
	if r.rip == "" && !slices.Contains(traceHeads, head) {
		return false // a program's registers
	}
	r.again = s.quoteOfSeen(m, text)
	r.sum = s.lastStamp
	s.open[s.free()] = r
	s.belongs(r)
	return true
}
