package console

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
)

// expand fills a title: {func} is fn, other names are captures.
func expand(title, fn string, get func(string) string) string {
	if fn == "" {
		title = strings.Replace(title, " in {func}", "", 1)
		title = strings.Replace(title, "{func}", "?", 1)
	}
	var b strings.Builder
	b.Grow(len(title) + len(fn) + 16)
	for {
		i := strings.IndexByte(title, '{')
		if i < 0 {
			break
		}
		j := strings.IndexByte(title[i:], '}')
		if j < 0 {
			break
		}
		b.WriteString(title[:i])
		if name := title[i+1 : i+j]; name == "func" {
			b.WriteString(fn)
		} else {
			b.WriteString(get(name))
		}
		title = title[i+j+1:]
	}
	b.WriteString(title)
	out := b.String()
	if len(out) > maxTitle {
		out = strings.ToValidUTF8(out[:maxTitle], "")
	}
	// What a capture that a pager cut would have named.
	return strings.TrimSuffix(strings.TrimRight(out, " ,:"), " in")
}

// heading is the form of a report's title, and what it looks through: its
// marker's, or its place's.
func (r *report) heading() (title string, skip []string) {
	if r.marker.class == classAt {
		file, _, _ := strings.Cut(r.f.Place, ":")
		fn := baseName(cmp.Or(r.function, r.rip))
		for i := range sites {
			if t := &sites[i]; t.kind == r.marker.kind && glob(t.file, file) && (t.fn == "" || glob(t.fn, fn)) {
				return t.title, t.skip
			}
		}
	}
	return r.marker.title, r.marker.skip
}

// guilty names the function to blame, looking through skip beside lookThrough.
func (s *Scanner) guilty(r *report, skip []string) string {
	blamed := func(fn string) bool { return fn != "" && !s.t.look.has(fn) && !matchesAny(skip, fn) }
	names := s.names[:0] // those before the trace, and its
	switch r.marker.pick {
	case pickNamed, pickBecame:
		if r.function != "" {
			return entryName(baseName(r.function))
		}
	case pickFirst:
		names = append(names, baseName(r.function), baseName(r.held), baseName(r.rip))
	case pickStall:
		names = append(names, baseName(cmp.Or(r.rip, r.function)))
	case pickOrigin:
		if len(r.origin) == 0 {
			return ""
		}
	}
	named := len(names)
	names, reliable := r.frames(names)
	s.names = names
	switch r.marker.pick {
	case pickHang:
		return entryName(s.t.sleeper(names, reliable))
	case pickStall:
		if r.marker.shape == shapeStall {
			names = append(names[:named], s.t.afterInterrupt(names[named:])...)
		}
		all := slices.DeleteFunc(slices.Clone(names), func(fn string) bool { return !blamed(fn) })
		if fn := s.t.loop(all); fn != "" {
			return entryName(fn)
		}
	case pickOrigin:
		names = r.origin
	}
	for _, fn := range names {
		if blamed(fn) {
			return entryName(fn)
		}
	}
	for _, fn := range names { // all is code to look through
		if fn != "" && !strings.Contains(fn, "dump_stack") && !strings.Contains(fn, "show_stack") && fn != "dump_backtrace" {
			return fn
		}
	}
	return ""
}

// frames appends the functions of the trace, the innermost first: those that
// the unwinder vouches for, or, where there is none, all.
func (r *report) frames(names []string) (_ []string, reliable bool) {
	before := len(names)
	for _, reliable = range []bool{true, false} {
		for i := range r.f.Trace {
			if f := &r.f.Trace[i]; !f.Inlined && f.Reliable == reliable && !strings.HasPrefix(f.Func, "0x") {
				names = append(names, baseName(f.Func))
			}
		}
		if len(names) > before {
			break
		}
	}
	return names, reliable
}

// entryPrefixes stand before the name of a system call, differently on each
// architecture and in each release. They are taken off in this order, each
// once, as syzbot does: "__x64_sys_read" is called sys_read.
var entryPrefixes = []string{
	"SYSC_", "SyS_", "sys_", "__x64_", "__ia32_", "__arm64_", "____sys_", "___sys_", "__sys_", "__se_", "__do_sys_",
	"compat_SYSC_", "compat_SyS_", "ksys_",
}

func entryName(fn string) string {
	for _, p := range entryPrefixes {
		if rest, ok := strings.CutPrefix(fn, p); ok && rest != "" {
			fn = rest
		}
	}
	return fn
}

// sleeper names the function to blame for a task that sleeps: all who wait
// for RCU are one kind, and so are those who wait for the network's lock;
// else it is the first that does more than sleep.
func (t *tables) sleeper(frames []string, reliable bool) string {
	for _, fn := range frames {
		for _, w := range []string{"synchronize_rcu", "synchronize_srcu", "synchronize_net", "synchronize_sched"} {
			if strings.Contains(fn, w) {
				return "synchronize_rcu"
			}
		}
		if strings.Contains(fn, "rtnl_lock") {
			return fn
		}
	}
	if !reliable {
		// What older calls left on the stack stands amid the sleeping itself.
		for i := min(len(frames), staleFrames) - 1; i >= 0; i-- {
			if strings.Contains(frames[i], "schedule") {
				frames, reliable = frames[i+1:], true
				break
			}
		}
		for i := min(len(frames), staleFrames) - 1; i >= 0 && !reliable; i-- {
			if t.sleep.has(frames[i]) { // the trace begins after the scheduler
				frames, reliable = frames[i+1:], true
			}
		}
	}
	for _, fn := range frames {
		if !t.look.has(fn) && !t.sleep.has(fn) {
			return fn
		}
	}
	for _, fn := range frames { // all sleep: whose lock it is
		if !t.look.has(fn) {
			return fn
		}
	}
	if len(frames) > 0 {
		return frames[0]
	}
	return ""
}

// staleFrames is how deep the sleep may begin in a trace of guesses.
const staleFrames = 12

// isDispatch reports whether fn is a system call that does something else for
// each kind of file or socket.
func isDispatch(fn string) bool {
	fn = strings.TrimPrefix(fn, "compat_")
	for _, p := range []string{"SYSC_", "SyS_", "sys_", "__sys_", "___sys_", "__do_sys_", "__se_sys_", "__x64_sys_"} {
		if name, ok := strings.CutPrefix(fn, p); ok {
			return strings.HasPrefix(name, "ioctl") || strings.HasPrefix(name, "connect") || strings.HasPrefix(name, "socketpair")
		}
	}
	return false
}

// loop names the function that stands for a loop: wherever in it the watchdog
// struck, the one that the kernel's entry called is the same.
func (t *tables) loop(frames []string) string {
	for i, fn := range frames {
		switch {
		case !t.entry.has(fn) && !isDispatch(fn):
		case strings.Contains(fn, "smp_call_function"):
			return "smp_call_function"
		default:
			return frames[max(i-1, 0)]
		}
	}
	return ""
}

// afterInterrupt are the frames that the watchdog's interrupt struck.
func (t *tables) afterInterrupt(frames []string) []string {
	for i, fn := range frames {
		if t.interrupt.has(fn) {
			return frames[i+1:]
		}
	}
	return frames
}

func matchesAny(globs []string, fn string) bool {
	for _, g := range globs {
		if glob(g, fn) {
			return true
		}
	}
	return false
}

// deviceName is how disks, controllers and what is made of them are called.
var deviceName = regexp.MustCompile(`/dev/[^\s,:;)]+|\b(` +
	`(sd|hd|vd|xvd)[a-z]{1,3}\d*|nvme\d+(c\d+)?(n\d+)?(p\d+)?|dm-\d+|md(\d+|X)(p\d+)?|(mmcblk|loop|nbd)\d+(p\d+|boot\d)?|(mmc|sr|st|zram|rbd|drbd|bcache|host|target|ioc|ubi|ata)\d+(\.\d+)?|` +
	`mpt[23]sas(_cm)?\d+|[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-9a-f]|\d+:\d+:\d+:\d+|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})\b`)

// offset is what a trace adds to a function's name.
var offset = regexp.MustCompile(`\+0x[0-9a-f]+(/0x[0-9a-f]+)?`)

// normalise takes devices, numbers and addresses out of free text, so that a
// title is the same for each run.
func normalise(s string) string {
	if strings.ContainsAny(s, "0123456789") || strings.Contains(s, "/dev/") || strings.Contains(s, "sd") || strings.Contains(s, "hd") || strings.Contains(s, "vd") {
		s = offset.ReplaceAllString(deviceName.ReplaceAllString(s, "DEV"), "")
	}
	var b strings.Builder
	b.Grow(len(s) + 16)
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
