package console

import (
	"bytes"
	"strconv"
)

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
	if len(t) > 2 && t[0] == ':' { // RHEL 5: ":ext3:ext3_ordered_writepage+0x42/0x198"
		if i := bytes.IndexByte(t[1:], ':'); i > 0 && symbolLen(t[1:1+i]) == i {
			t = t[i+2:]
		}
	}
	if i := bytes.IndexByte(t, ' '); i >= 8 && isAddress(t[:i]) { // LoongArch, MIPS
		t = t[i+1:]
	}
	n := symbolLen(t)
	if n > 0 && n < len(t) && (t[n] == '+' || t[n] == ' ' && n+1 < len(t) && t[n+1] == '(') {
		r.rip = string(t[:n])
	}
}

// The bits of x86's flags register that no instruction can set or clear (Intel
// SDM, volume 1, 3.4.3).
const (
	flagsAlways = 1 << 1
	flagsNever  = 1<<3 | 1<<5 | 1<<15 | ^uint64(1<<22-1)
)

// flagsLine reads
//
//	RSP: 0018:ffffd01a005b3ba8 EFLAGS: 00000202
//
// and notes flags that can't be. QEMU's emulator saves such ones when an
// interrupt comes at a moment at which it has not worked them out yet.
func flagsLine(_ *Scanner, r *report, t []byte) partIs {
	before, after, ok := bytes.Cut(t, []byte(" EFLAGS: "))
	word, _, _ := bytes.Cut(after, []byte(" "))
	rsp, kernels := bytes.CutPrefix(before, []byte("RSP: 0018:"))
	if kernels && r.rsp == 0 {
		r.rsp, _ = strconv.ParseUint(string(rsp), 16, 64)
	}
	// A kernel thread has no registers of a user's program: all are 0 there.
	if !ok || !kernels && !bytes.HasPrefix(before, []byte("DS: ")) || len(word) < 8 || r.f.Impossible != "" {
		return partYes // a shorter one was cut
	}
	flags, err := strconv.ParseUint(string(word), 16, 64)
	if err == nil && flags != 0 && (flags&flagsAlways == 0 || flags&flagsNever != 0) {
		r.f.Impossible = "EFLAGS " + string(word)
	}
	return partYes
}

// cr2Line reads
//
//	CR2: ffffd01a005aff58 CR3: 000000000384c000 CR4: 00000000000006f0
//
// A processor that emulates right comes to a double fault when it can't write to
// the stack: CR2 is near the stack pointer then, or that is none of the kernel's.
func cr2Line(_ *Scanner, r *report, t []byte) partIs {
	const kernel, near = 0xffff800000000000, 64 << 10
	word := firstWord(t[len("CR2: "):])
	cr2, err := strconv.ParseUint(string(word), 16, 64)
	if r.marker.title != titleDoubleFault || r.f.Impossible != "" || err != nil || len(word) != 16 || r.rsp < kernel {
		return partYes
	}
	if cr2 < r.rsp-near || cr2-near > r.rsp {
		r.f.Impossible = "a double fault on a sound stack"
	}
	return partYes
}

// cpuLine reads
//
//	CPU: 15 UID: 0 PID: 369 Comm: kworker/15:1 Not tainted 7.1.0-rc7+ #786 PREEMPT(lazy)
//	Pid: 369, comm: kworker Not tainted 2.6.32 #1
func (s *Scanner) cpuLine(r *report, t []byte) {
	if r.who {
		if c := r.marker.class; r.stage == stageHead && (c == classAt || c == classFault || c == classDie) {
			r.f.Interleaved = true // another CPU's report
		}
		return
	}
	if rest, ok := bytes.CutPrefix(t, []byte("CPU: ")); ok {
		if n, err := strconv.Atoi(digits(rest)); err == nil && r.f.CPU == nil {
			r.f.CPU = &n
		}
	}
	i := bytes.Index(t, []byte("omm: "))
	if i < 0 { // 32-bit Arm up to 3.9: "CPU: 2    Tainted: G        W  O  (3.4.67 #1)"
		for _, word := range [][]byte{[]byte("Not tainted "), []byte("Tainted: ")} {
			if j := bytes.Index(t, word); j > 0 {
				s.tainted(r, t[j:])
			}
		}
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
	r.who = true
	rest := t[i+5:]
	end := bytes.Index(rest, []byte(" Not tainted "))
	if end < 0 {
		end = bytes.Index(rest, []byte(" Tainted: "))
	}
	if end < 0 {
		rest, r.releaseNext = bytes.CutSuffix(rest, []byte(" Not tainted"))
		r.f.Comm = command(rest)
		return
	}
	r.f.Comm = command(rest[:end])
	s.tainted(r, rest[end+1:])
}

// process reads Arm's "Process mount (pid: 1234, stack limit = 0xc8c14238)".
func (r *report) process(t []byte) partIs {
	i := bytes.Index(t, []byte(" (pid: "))
	if i < len("Process ") {
		return partNo
	}
	if r.f.Comm == "" {
		r.f.Comm = shown(t[len("Process "):i])
	}
	if n, err := strconv.Atoi(digits(t[i+len(" (pid: "):])); err == nil && r.f.PID == 0 {
		r.f.PID = n
	}
	return partYes
}

// command is a task's name, without what RHEL says of kdump after it.
func command(s []byte) string {
	s, _, _ = bytes.Cut(s, []byte(" Kdump: "))
	return shown(s)
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
		s.setRelease(r, bytes.TrimPrefix(firstWord(rest), []byte("(")))
		return
	}
	rest, ok := bytes.CutPrefix(t, []byte("Tainted: "))
	if !ok || len(rest) > 0 && rest[0] == '[' {
		return // "Tainted: [W]=WARN" explains the letters
	}
	var letters []byte
	for len(rest) > 0 {
		w := firstWord(rest)
		if w := bytes.TrimPrefix(w, []byte("(")); isRelease(w) {
			s.setRelease(r, w)
			break
		}
		if w[0] == '-' { // RHEL shows each flag that is not set, and its own
			rest = bytes.TrimLeft(rest[len(w):], " ")
			continue
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
		r.f.Comm = shown(t[:i])
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
