package console

import (
	"bytes"
	"strings"
)

// A partIs says what a line is to an open report.
type partIs uint8

const (
	partNo    partIs = iota
	partYes          // it belongs to the report
	partEnd          // it is the report's last line
	partAfter        // it ends the report without belonging to it
	partNever        // it says that there is nothing to report
)

// A part is a line by its beginning: one row, one kind of line. take, where
// there is one, reads it; in says in which shapes of report it is one, none
// for all.
type part struct {
	begin string
	take  func(s *Scanner, r *report, rest []byte) partIs
	in    []shape
}

func belongsTo(*Scanner, *report, []byte) partIs  { return partYes }
func neverWas(*Scanner, *report, []byte) partIs   { return partNever }
func endsReport(*Scanner, *report, []byte) partIs { return partEnd }
func comesAfter(*Scanner, *report, []byte) partIs { return partAfter }

// afterTrace ends a report whose trace was read.
func afterTrace(_ *Scanner, r *report, _ []byte) partIs {
	if len(r.f.Trace) > 0 {
		return partAfter
	}
	return partNo
}

// noMoreFrames: the traces that follow are those of allocation and the like.
func noMoreFrames(_ *Scanner, r *report, _ []byte) partIs {
	r.stage = stageDone
	return partYes
}

var (
	memory    = []shape{shapeMemory}
	workqueue = []shape{shapeWorkqueue}
)

// inFlight reads "in-flight: 9:fib_event_work for 58s, 1074:…": the first work
// is the one that the pool is stuck in.
func inFlight(_ *Scanner, r *report, t []byte) partIs {
	t = t[len("in-flight: "):]
	if i := bytes.IndexByte(t, ':'); i > 0 && r.function == "" {
		if n := symbolLen(t[i+1:]); n > 0 {
			r.function = string(t[i+1 : i+1+n])
		}
	}
	return partYes
}

// parts are the lines that may follow the first line of a report.
var parts = []part{
	// A workqueue lockup: kernel/workqueue.c, show_all_workqueues.
	{"Showing busy workqueues", belongsTo, workqueue},
	{"Showing backtraces of ", belongsTo, workqueue},
	{"workqueue ", belongsTo, workqueue},
	{"pwq ", belongsTo, workqueue},
	{"pending: ", belongsTo, workqueue},
	{"inactive: ", belongsTo, workqueue},
	{"in-flight: ", inFlight, workqueue},
	{"pool ", func(_ *Scanner, r *report, _ []byte) partIs {
		if len(r.f.Trace) > 0 {
			return partAfter
		}
		return partYes
	}, workqueue},

	// The ends: kernel/panic.c, and the line that sanitizers draw.
	{"---[ end trace", endsReport, nil},
	{"---[ end Kernel panic", endsReport, nil},
	{"------------[ cut here ]", cutHere, nil},
	{"==========", ruler, nil},
	{"sysrq: ", comesAfter, nil},
	{"Showing all locks held in the system:", afterTrace, nil},
	{"Showing busy workqueues and worker pools:", afterTrace, nil},

	// Who and where: lib/dump_stack.c, arch/x86/kernel/dumpstack.c.
	{"CPU: ", func(s *Scanner, r *report, t []byte) partIs { s.cpuLine(r, t); return partYes }, nil},
	{"Pid: ", func(s *Scanner, r *report, t []byte) partIs { s.cpuLine(r, t); return partYes }, nil},
	{"Tainted: ", func(s *Scanner, r *report, t []byte) partIs { s.tainted(r, t); return partYes }, nil},
	{"Not tainted ", func(s *Scanner, r *report, t []byte) partIs { s.tainted(r, t); return partYes }, nil},
	{"task:rcu_", rcuTask, []shape{shapeStall}},
	{"task:", func(s *Scanner, r *report, t []byte) partIs {
		r.kthread = false
		s.taskLine(r, t[len("task:"):])
		return partYes
	}, nil},
	{"Process ", func(_ *Scanner, r *report, t []byte) partIs { return r.process(t) }, nil},
	{"Hardware name: ", belongsTo, nil},
	{"Workqueue: ", func(_ *Scanner, r *report, t []byte) partIs {
		r.f.Workqueue = shown(t[len("Workqueue: "):])
		return partYes
	}, nil},
	{"Modules linked in:", func(_ *Scanner, r *report, _ []byte) partIs { r.modules = true; return partYes }, nil},
	{"\"echo 0 > /proc/sys/kernel/hung_task", belongsTo, nil},

	// Registers, of all architectures.
	{"RIP: ", func(s *Scanner, r *report, t []byte) partIs { s.ripLine(r, t[5:]); return partYes }, nil},
	{"IP: ", func(s *Scanner, r *report, t []byte) partIs { s.ripLine(r, t[4:]); return partYes }, nil}, // before 4.16
	{"EIP: ", func(s *Scanner, r *report, t []byte) partIs { s.ripLine(r, t[5:]); return partYes }, nil},
	{"EIP is at ", func(s *Scanner, r *report, t []byte) partIs { s.ripLine(r, t[10:]); return partYes }, nil},
	{"pc is at ", func(s *Scanner, r *report, t []byte) partIs { s.ripLine(r, t[9:]); return partYes }, nil},
	{"IAOQ[0]: ", func(s *Scanner, r *report, t []byte) partIs { s.ripLine(r, t[9:]); return partYes }, nil}, // PA-RISC
	{"EFLAGS: ", func(s *Scanner, r *report, t []byte) partIs { // i386 up to 2.6.24 says the release here
		if _, rest, ok := bytes.Cut(t, []byte("(")); ok {
			s.setRelease(r, firstWord(rest))
		}
		return partYes
	}, nil},
	{"PC is at ", func(s *Scanner, r *report, t []byte) partIs { s.ripLine(r, t[9:]); return partYes }, nil},
	{"TPC: <", func(s *Scanner, r *report, t []byte) partIs { s.ripLine(r, t[6:]); return partYes }, nil},
	{"ip is at ", func(s *Scanner, r *report, t []byte) partIs { s.ripLine(r, t[9:]); return partYes }, nil},
	{"ERA: ", func(s *Scanner, r *report, t []byte) partIs { s.ripLine(r, t[5:]); return partYes }, nil},
	{"epc   : ", func(s *Scanner, r *report, t []byte) partIs { s.ripLine(r, t[8:]); return partYes }, nil},
	{"pc : ", func(s *Scanner, r *report, t []byte) partIs { s.ripLine(r, t[5:]); return partYes }, nil},
	{"epc : ", func(s *Scanner, r *report, t []byte) partIs { s.ripLine(r, t[6:]); return partYes }, nil},
	{"NIP [", func(s *Scanner, r *report, t []byte) partIs { s.ripLine(r, t[4:]); return partYes }, nil},
	{"Krnl PSW : ", func(s *Scanner, r *report, t []byte) partIs {
		if i := bytes.IndexByte(t, '('); i > 0 {
			s.ripLine(r, t[i+1:])
		}
		return partYes
	}, nil},
	{"Krnl ", belongsTo, nil},
	{"NIP: ", belongsTo, nil},
	{"LR [", belongsTo, nil},
	{"LR is at ", belongsTo, nil},
	{"lr : ", belongsTo, nil},
	{"ra : ", belongsTo, nil},
	{"pstate: ", belongsTo, nil},
	{"Code: ", belongsTo, nil},
	{"CS: ", belongsTo, nil},
	{"RSP: ", flagsLine, nil},
	{"DS: ", flagsLine, nil}, // 32 bits
	{"CR2: ", cr2Line, nil},
	{"PKRU: ", belongsTo, nil},
	{"#PF: ", belongsTo, nil},
	{"KASAN: ", belongsTo, nil},
	{"Mem abort info:", belongsTo, nil},
	{"Kernel Offset: ", belongsTo, nil},
	{"Last Breaking-Event-Address:", noMoreFrames, nil},

	// Traces.
	{"Call Trace:", traceBegins, nil},
	{"Call trace:", traceBegins, nil},
	{"Backtrace:", traceBegins, nil},
	{"backtrace (crc ", traceBegins, nil},
	{"backtrace:", traceBegins, nil},
	{"stack backtrace:", func(_ *Scanner, r *report, _ []byte) partIs {
		if r.marker.shape == shapeLockdep {
			r.f.Trace = r.f.Trace[:0]
		}
		r.stage = stageTrace
		return partYes
	}, nil},
	{"<", contextSwitch, nil},

	// Other CPUs and tasks.
	{"Sending NMI from CPU ", nextCPU, []shape{shapeStall}},
	{"NMI backtrace for cpu ", nextCPU, []shape{shapeStall}},
	{"RCU grace-period kthread stack dump:", rcuTask, []shape{shapeStall}},
	{"rcu: RCU grace-period kthread stack dump:", rcuTask, []shape{shapeStall}},
	{"rcu: INFO: Stall ended before state dump start", neverWas, []shape{shapeStall}},
	{"INFO: Stall ended before state dump start", neverWas, []shape{shapeStall}},
	{"rcu: ", belongsTo, []shape{shapeStall}},
	{"Sending NMI from CPU ", afterTrace, nil},
	{"NMI backtrace for cpu ", afterTrace, nil},

	// Pages: mm/page_owner.c.
	{"page last allocated via order ", func(_ *Scanner, r *report, _ []byte) partIs { r.into = intoOrigin; return partYes }, nil},
	{"page last free", func(_ *Scanner, r *report, _ []byte) partIs { r.into = intoNothing; return partYes }, nil},

	// Workqueues: process_one_work.
	{"last function: ", func(_ *Scanner, r *report, t []byte) partIs {
		r.function = string(t[len("last function: "):][:symbolLen(t[len("last function: "):])])
		return partYes
	}, nil},

	// Sanitizers.
	{"Read of size ", func(s *Scanner, r *report, t []byte) partIs { r.access = "Read "; s.byTask(r, t); return partYes }, memory},
	{"Write of size ", func(s *Scanner, r *report, t []byte) partIs { r.access = "Write "; s.byTask(r, t); return partYes }, memory},
	{"Allocated by task", noMoreFrames, memory},
	{"Freed by task", noMoreFrames, memory},
	{"The buggy address", noMoreFrames, memory},
	{"allocated by task", noMoreFrames, memory},
	{"freed by task", noMoreFrames, memory},
	{"Uninit was ", noMoreFrames, memory},
	{"Local variable ", noMoreFrames, memory},
	{"Last potentially related work", noMoreFrames, memory},
}

// rcuTask: the trace that follows is that of RCU's thread, which waits for a
// CPU that does not let it run.
func rcuTask(_ *Scanner, r *report, _ []byte) partIs {
	r.kthread = true
	return partYes
}

func nextCPU(_ *Scanner, r *report, _ []byte) partIs {
	r.kthread = false
	return partYes
}

func traceBegins(_ *Scanner, r *report, _ []byte) partIs {
	r.into = intoTrace
	switch {
	case r.kthread:
	case !r.headed && r.stage <= stageTrace && (r.stage == stageTrace || r.marker.shape != shapeLockdep):
		r.headed = true
		r.f.Trace = r.f.Trace[:0] // what looked like frames before was none
		r.stage = stageTrace
	case r.stage == stageTrace && len(r.f.Trace) > 0:
		r.stage = stageTail
	}
	return partYes
}

func cutHere(_ *Scanner, r *report, _ []byte) partIs {
	if r.marker.class == classCut && !r.at {
		return partYes
	}
	return partAfter
}

// ruler is the line that sanitizers and lockdep draw.
func ruler(_ *Scanner, r *report, _ []byte) partIs {
	switch {
	case r.marker.shape == shapeMemory && r.lines > 3:
		return partEnd
	case r.marker.shape == shapeLockdep && r.stage == stageHead, r.marker.shape == shapeMemory:
		return partYes
	}
	return partAfter
}

// contextSwitch reads "<TASK>", "</TASK>", "<IRQ>", "<#PF>" and the like.
func contextSwitch(s *Scanner, r *report, t []byte) partIs {
	end := bytes.IndexByte(t[:min(len(t), 24)], '>')
	if end < 2 {
		return partNo
	}
	name := string(bytes.TrimPrefix(t[1:end], []byte("/")))
	switch {
	case name == "TASK" || name == "IRQ" || name == "NMI" || name == "SOFTIRQ" || name == "EOI" || name == "EOE" || strings.HasPrefix(name, "#") || name == "ENTRY_TRAMPOLINE":
	default:
		return partNo
	}
	if t[1] != '/' {
		// Old kernels go on in the same line: " <IRQ>  func+0x1/0x2".
		if f, ok := parseFrame(s.symbols, t[end+1:]); ok {
			s.frame(r, f)
		}
		return partYes
	}
	if name != "TASK" || r.stage != stageTrace {
		return partYes
	}
	r.stage = stageTail
	switch {
	case r.marker.class == classOther && (r.marker.shape == shapeTrace || r.marker.shape == shapeLockdep || r.marker.shape == shapeWorkqueue):
		return partEnd // nothing more follows a trace of these
	case r.marker.shape == shapeStall:
		r.stage = stageDone
	}
	return partYes
}

// part takes a line that begins nothing while reports are open.
func (s *Scanner) part(m *message) {
	slot := s.slot(m.caller)
	r := s.open[slot]
	if r == nil {
		return
	}
	if r.caller != m.caller && (m.caller != 0 || m.origin == originKernel) {
		s.foreign() // another CPU's or task's
		return
	}
	for i, o := range s.open {
		if o != nil && i != slot {
			o.others++
		}
	}
	text := trimBlanks(m.text)
	if len(text) == 0 {
		if r.marker.shape == shapeMemory && r.stage == stageTrace && len(r.f.Trace) > 0 {
			r.stage = stageDone // the next trace is another's
		}
		return
	}
	switch s.belong(r, text) {
	case partNo:
		if m.origin == originUser {
			r.others++
			return
		}
		if r.stage == stageTrace && len(r.f.Trace) > 0 {
			r.strange++
		}
		if r.idle++; r.idle > r.patience() {
			s.end(slot)
		}
	case partYes:
		s.belongs(r)
	case partEnd:
		s.belongs(r)
		r.ended = true
		s.end(slot)
	case partAfter:
		s.end(slot)
	case partNever:
		s.remove(slot)
	}
}

// patience is how many of the kernel's lines that don't belong to the report
// may follow before it counts as ended.
func (r *report) patience() int {
	switch {
	case r.marker.shape == shapeMemory:
		return 80
	case r.stage == stageHead, len(r.f.Trace) == 0:
		return 48
	}
	return 12
}

// belong compares a line with what may stand in a report.
func (s *Scanner) belong(r *report, t []byte) partIs {
	if r.modules {
		// A long list is broken into lines.
		r.modules = false
		if t[0] >= 'a' && t[0] <= 'z' && bytes.IndexByte(t, ':') < 0 && !bytes.Contains(t, []byte("+0x")) {
			r.modules = true
			return partYes
		}
	}
	if r.releaseNext {
		r.releaseNext = false
		if w := firstWord(t); isRelease(w) {
			s.setRelease(r, w)
			return partYes
		}
	}
	for _, n := range s.t.parts[t[0]] {
		p := &parts[n]
		if len(t) < len(p.begin) || string(t[:len(p.begin)]) != p.begin || !r.marker.shape.among(p.in) {
			continue
		}
		if is := p.take(s, r, t); is != partNo {
			return is
		}
	}
	if r.marker.shape == shapeLockdep && r.stage == stageHead {
		s.lockdepLine(r, t)
		return partYes
	}
	if r.marker.shape == shapeMemory && r.stage == stageDone && r.lines < 400 {
		return partYes
	}
	if r.stage == stageTrace || r.stage == stageHead && bytes.Contains(t, []byte("+0x")) {
		if f, ok := parseFrame(s.symbols, t); ok && (r.stage == stageTrace || f.Reliable && (f.Size > 0 || f.arm) && r.marker.shape != shapeStall) {
			if r.lines == 0 && r.function == "" && r.marker.class == classAt {
				r.function = f.Func // a mail wrapped the first line
				return partYes
			}
			s.frame(r, f)
			return partYes
		}
	}
	if isRegisters(t) {
		return partYes
	}
	return partNo
}

func (s shape) among(list []shape) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return len(list) == 0
}

// lockdepLine reads what lockdep says before the trace: the first lock named
// is the one that was taken wrongly.
func (s *Scanner) lockdepLine(r *report, t []byte) {
	switch {
	case r.marker.pick == pickBecame:
		if f, ok := parseFrame(s.symbols, t); ok && r.became && r.function == "" && !s.t.look.has(baseName(f.Func)) {
			r.function = f.Func
		}
		r.became = r.became || bytes.Contains(t, []byte("which became ")) && bytes.HasSuffix(t, []byte(" at:"))
	case r.held == "" && t[0] != '#': // "#0: …" is a lock held
		at := t
		if i := bytes.LastIndex(t, []byte(" at: ")); i >= 0 {
			at = t[i+5:]
		} else if !r.atNext {
			r.atNext = bytes.HasSuffix(t, []byte(") at:"))
			break
		}
		r.atNext = false
		if f, ok := parseFrame(s.symbols, at); ok {
			if r.function == "" {
				r.function = f.Func
			} else {
				r.held = f.Func
			}
		}
	}
	if bytes.Contains(t, []byte("ot tainted")) || bytes.Contains(t, []byte(" Tainted: ")) {
		s.lockdepRelease(r, t)
	}
}

func (s *Scanner) frame(r *report, f Frame) {
	switch {
	case r.kthread || r.into == intoNothing:
		return
	case r.into == intoOrigin:
		if f.Reliable && len(r.origin) < maxFrames {
			r.origin = append(r.origin, baseName(f.Func))
		}
		return
	}
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

// foreign counts a line that is not this report's against all that are open.
func (s *Scanner) foreign() {
	for i := 0; i < maxOpen; i++ {
		if r := s.open[i]; r != nil {
			if r.others++; r.others > idleAll {
				s.end(i)
				i--
			}
		}
	}
}
