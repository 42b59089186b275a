package console

import (
	"bytes"
	"strconv"
	"strings"
)

// symbols are the names of functions and modules that were read, to hold each
// once.
type symbols map[string]string

// maxSymbols bounds the names that are held.
const maxSymbols = 4096

func (t symbols) of(name []byte) string {
	if known, ok := t[string(name)]; ok {
		return known
	}
	if len(t) >= maxSymbols {
		clear(t)
	}
	known := string(name)
	t[known] = known
	return known
}

// parseFrame reads one entry of a call trace, in any architecture's form:
//
//	do_region+0x227/0x2a0
//	? kthread+0xe4/0x120 [mod]
//	? kthread+0xe4/0x120 [mod 0123456789abcdef]
//	[<ffffffff81234567>] do_region+0x227/0x2a0
//	[<c0123456>] (unwind_backtrace) from [<c0654321>] (show_stack+0x10/0x14)
//	unwind_backtrace from show_stack+0x10/0x14
//	[c000000001] [c000000002] do_region+0x227/0x2a0 (unreliable)
//	[<ffffffff81234567>] :dm_mod:do_region+0x227/0x2a0
//	do_region+0x227/0x2a0 drivers/md/dm-io.c:350
//	do_region drivers/md/dm-io.c:350 [inline]
//	do_region (drivers/md/dm-io.c:350 (discriminator 2)) dm_mod
func parseFrame(names symbols, s []byte) (Frame, bool) {
	s = trimBlanks(s)
	f := Frame{Reliable: true}
	if len(s) > 2 && s[0] == '?' && s[1] == ' ' {
		f.Reliable = false
		s = bytes.TrimLeft(s[1:], " ")
	}
	// Addresses: "[<...>]", "[c000...]", and s390's "#1 [...]", "([<...>]".
	for len(s) > 0 && (s[0] == '[' || s[0] == '(' && len(s) > 1 && s[1] == '[') {
		end := bytes.IndexByte(s, ']')
		if end < 0 || !isAddress(s[1:end]) {
			return f, false
		}
		s = bytes.TrimLeft(s[end+1:], " ")
	}
	if len(s) > 2 && s[0] == '?' && s[1] == ' ' {
		f.Reliable = false
		s = bytes.TrimLeft(s[1:], " ")
	}
	if usualFrame(names, s, &f) {
		return f, true
	}
	if i := bytes.Index(s[:min(len(s), 200)], []byte(" from ")); i > 0 { // arm
		return armFrame(names, s[:i], s[i+6:], f)
	}
	if len(s) > 0 && s[0] == '(' {
		s = s[1:]
	}
	if bytes.HasPrefix(s, []byte("0x")) { // no symbols: CONFIG_KALLSYMS is off
		n := 2
		for n < len(s) && isHex(s[n]) {
			n++
		}
		if n < 10 || n > 18 || len(bytes.TrimSpace(s[n:])) > 0 {
			return f, false
		}
		f.Func = string(s[:n])
		return f, true
	}
	if len(s) > 2 && s[0] == ':' { // RHEL 5: ":jbd:journal_commit_transaction+0x543/0x1066"
		if i := bytes.IndexByte(s[1:], ':'); i > 0 && symbolLen(s[1:1+i]) == i {
			f.Module = names.of(s[1 : 1+i])
			s = s[i+2:]
		}
	}
	s = bytes.TrimPrefix(s, []byte(".")) // 64-bit PowerPC before ELFv2
	name := symbolLen(s)
	if name == 0 {
		return f, false
	}
	f.Func = names.of(s[:name])
	rest := s[name:]
	if n, ok := offsets(rest, &f); ok {
		rest = bytes.TrimLeft(rest[n:], " )")
		tail(names, rest, &f)
		return f, true
	}
	// Without an offset only a decoded frame is one.
	rest = bytes.TrimLeft(rest, " ")
	if len(rest) > 0 && rest[0] == '(' && len(rest) > 1 { // decode_stacktrace.sh
		if file, line, n := place(rest[1:]); n > 0 {
			f.File, f.SrcLine = file, line
			end := bytes.LastIndexByte(rest, ')')
			if end > 0 {
				mod := bytes.TrimSpace(rest[end+1:])
				if len(mod) > 0 && symbolLen(mod) == len(mod) {
					f.Module = names.of(mod)
				}
			}
			return f, true
		}
		return f, false
	}
	if file, line, n := place(rest); n > 0 && bytes.HasPrefix(bytes.TrimLeft(rest[n:], " "), []byte("[inline]")) {
		f.File, f.SrcLine, f.Inlined = file, line, true
		return f, true
	}
	return f, false
}

// usualFrame reads "do_region+0x227/0x2a0 [dm_mod]", as nearly all frames are.
func usualFrame(names symbols, s []byte, f *Frame) bool {
	n := 0
	for n < len(s) && isWord(s[n]) {
		n++
	}
	if n == 0 || n == len(s) || n > maxCapture || s[n] != '+' || isDigit(s[0]) {
		return false
	}
	end, ok := offsets(s[n:], f)
	if !ok {
		return false
	}
	f.Func = names.of(s[:n])
	tail(names, bytes.TrimLeft(s[n+end:], " )"), f)
	return true
}

// isFrame reports whether a line is a frame in the usual form and nothing else,
// without reading it.
func isFrame(s []byte) bool {
	if len(s) < 8 || s[0] != ' ' {
		return false
	}
	s = trimBlanks(s)
	if bytes.HasPrefix(s, []byte("[<")) {
		end := bytes.IndexByte(s[:min(len(s), 24)], ']')
		if end < 0 {
			return false
		}
		s = trimBlanks(s[end+1:])
	}
	if bytes.HasPrefix(s, []byte("? ")) {
		s = trimBlanks(s[1:])
	}
	n := 0
	for n < len(s) && (isWord(s[n]) || s[n] == '.') {
		n++
	}
	if n == 0 || !bytes.HasPrefix(s[n:], []byte("+0x")) {
		return false
	}
	s = s[n+3:]
	for len(s) > 0 && (isHex(s[0]) || s[0] == '/' || s[0] == 'x') {
		s = s[1:]
	}
	return len(s) == 0 || len(s) > 3 && s[0] == ' ' && s[1] == '[' && isWord(s[2]) && !isDigit(s[2]) && s[len(s)-1] == ']'
}

// armFrame reads 32-bit arm's "(called) from (caller+0x1/0x2)": the caller is
// the next frame, so the called one is this.
func armFrame(names symbols, called, caller []byte, f Frame) (Frame, bool) {
	called = bytes.Trim(called, "()")
	if i := bytes.Index(called, []byte(" [")); i > 0 {
		f.Module = names.of(bytes.Trim(called[i+1:], "[]"))
		called = called[:i]
	}
	if i := bytes.LastIndexByte(caller, '('); i >= 0 && bytes.HasPrefix(caller, []byte("[<")) {
		caller = caller[i+1:]
	}
	n := symbolLen(called)
	c := symbolLen(caller)
	if n == 0 || n != len(called) || c == 0 {
		return f, false
	}
	if _, ok := offsets(caller[c:], &Frame{}); !ok {
		return f, false
	}
	f.Func, f.arm = names.of(called), true
	return f, true
}

// symbolLen is the length of the symbol that s begins with.
func symbolLen(s []byte) int {
	n := 0
	for n < len(s) && (isWord(s[n]) || s[n] == '.' || s[n] == '$' || s[n] == ':' && n+1 < len(s) && s[n+1] == ':' ||
		s[n] == ':' && n > 0 && s[n-1] == ':' || s[n] == '<' && n > 1 || s[n] == '>' && n > 0 && s[n-1] != '-' && bytes.IndexByte(s[:n], '<') >= 0) {
		n++
	}
	if n > 0 && isDigit(s[0]) || n > maxCapture {
		return 0
	}
	return n
}

// offsets reads "+0x227/0x2a0"; a line cut in the middle keeps what it has.
func offsets(s []byte, f *Frame) (int, bool) {
	if len(s) < 4 || s[0] != '+' || s[1] != '0' || s[2] != 'x' {
		return 0, false
	}
	i := 3
	for i < len(s) && isHex(s[i]) {
		i++
	}
	v, err := strconv.ParseUint(string(s[3:i]), 16, 64)
	if err != nil {
		return 0, false
	}
	f.Offset = v
	if i+3 < len(s) && s[i] == '/' && s[i+1] == '0' && s[i+2] == 'x' {
		j := i + 3
		for j < len(s) && isHex(s[j]) {
			j++
		}
		if v, err := strconv.ParseUint(string(s[i+3:j]), 16, 64); err == nil {
			f.Size = v
			i = j
		}
	}
	return i, true
}

// tail reads what may follow the offsets: module, "(unreliable)", a decoded
// place.
func tail(names symbols, s []byte, f *Frame) {
	for len(s) > 0 {
		switch {
		case s[0] == '[':
			end := bytes.IndexByte(s, ']')
			if end < 0 {
				return
			}
			mod := s[1:end]
			if i := bytes.IndexByte(mod, ' '); i > 0 { // build id
				mod = mod[:i]
			}
			if string(mod) == "inline" {
				f.Inlined = true
			} else if symbolLen(mod) == len(mod) && len(mod) > 0 {
				f.Module = names.of(mod)
			}
			s = s[end+1:]
		case bytes.HasPrefix(s, []byte("(unreliable)")):
			f.Reliable = false
			s = s[len("(unreliable)"):]
		case f.File == "":
			if s[0] == '(' {
				s = s[1:]
			}
			file, line, n := place(s)
			if n == 0 {
				return
			}
			f.File, f.SrcLine = file, line
			s = s[n:]
		default:
			return
		}
		s = bytes.TrimLeft(s, " )")
	}
}

// place reads "block/bio.c:1044" and returns its length, or 0.
func place(s []byte) (file string, line, n int) {
	path, line, n := placeAt(s)
	return SourcePath(string(path)), line, n
}

// placeAt is place, without looking where in the kernel's tree the file is.
func placeAt(s []byte) (file []byte, line, n int) {
	i := 0
	for i < len(s) && (isWord(s[i]) || s[i] == '/' || s[i] == '.' || s[i] == '-' || s[i] == '+') {
		i++
	}
	if i == 0 || i > maxCapture || i+1 >= len(s) || s[i] != ':' || !isDigit(s[i+1]) || !isSource(s[:i]) {
		return nil, 0, 0
	}
	j := i + 1
	for j < len(s) && isDigit(s[j]) && j-i < 9 {
		line = line*10 + int(s[j]-'0')
		j++
	}
	return s[:i], line, j
}

func isSource(s []byte) bool {
	for _, ext := range []string{".c", ".h", ".S", ".rs"} {
		if len(s) > len(ext) && string(s[len(s)-len(ext):]) == ext {
			return true
		}
	}
	return false
}

// sourceRoots are the folders at the top of a kernel tree: a path is cut to
// begin there, whichever folder the kernel was built in.
var sourceRoots = []string{
	"arch/", "block/", "certs/", "crypto/", "drivers/", "fs/", "include/", "init/", "io_uring/", "ipc/",
	"kernel/", "lib/", "mm/", "net/", "rust/", "samples/", "security/", "sound/", "tools/", "usr/", "virt/",
}

// SourcePath is a source file's path within the kernel tree, whichever folder
// the kernel was built in.
func SourcePath(p string) string {
	p = strings.TrimPrefix(p, "./")
	if !strings.HasPrefix(p, "/") && !strings.HasPrefix(p, "..") {
		return p
	}
	best := -1
	for _, root := range sourceRoots {
		if i := strings.LastIndex(p, "/"+root); i >= 0 && (best < 0 || i < best) {
			best = i
		}
	}
	if best >= 0 {
		return p[best+1:]
	}
	return p
}

func isAddress(s []byte) bool {
	s = bytes.Trim(s, "<>[")
	for _, c := range s {
		if !isHex(c) && c != 'x' {
			return false
		}
	}
	return len(s) >= 8
}

// suffixes that compilers and linkers append to a function's name.
var suffixes = []string{".isra", ".constprop", ".part", ".cold", ".llvm", ".lto_priv", ".ipa", ".localalias", ".clone", ".num", ".static", ".kcfi", ".__uniq"}

// baseName takes off compiler suffixes, so that a title stays the same from
// build to build.
func baseName(fn string) string {
	for {
		i := strings.LastIndexByte(fn, '.')
		if i <= 0 {
			return fn
		}
		last := fn[i:]
		if _, err := strconv.ParseUint(last[1:], 10, 64); err == nil {
			fn = fn[:i]
			continue
		}
		cut := false
		for _, s := range suffixes {
			if last == s {
				fn, cut = fn[:i], true
				break
			}
		}
		if !cut {
			return fn
		}
	}
}
