package gitbuild

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/blockrig/blockrig/harness/text"
)

// hostTrouble lists what says that this machine, not the source, is why a
// build failed. Such a failure is not remembered.
var hostTrouble = []struct {
	line *regexp.Regexp
	with *regexp.Regexp // another line that must be there
	why  string         // with $1 of line
}{
	{line: regexp.MustCompile(`No space left on device`), why: "the disk is full"},
	{line: regexp.MustCompile(`Disk quota exceeded`), why: "the disk quota is used up"},
	{line: regexp.MustCompile(`Too many open files`), why: "too many files are open; raise the limit (ulimit -n) or build with fewer jobs (--make-jobs)"},
	{
		line: regexp.MustCompile(`(Killed|Terminated) signal terminated program|terminated with signal (9|15)\b|(virtual |final link failed: )memory exhausted|Cannot allocate memory|out of memory allocating|fork: (retry: )?Resource temporarily unavailable`),
		why:  "there is not enough memory; build with fewer jobs (--make-jobs)",
	},
	{
		// Shells say so of what the OOM killer took, or give 128 and the signal.
		line: regexp.MustCompile(`^(\S+: line \d+: +\d+ )?Killed( |$)|^make(\[\d+\])?: \*\*\* .*\] (Killed|Terminated|Error 137|Error 143)$`),
		why:  "a program of the build was killed; if it was for want of memory (see dmesg), build with fewer jobs (--make-jobs)",
	},
	{line: regexp.MustCompile(`^make(\[\d+\])?: \*\*\* .*\] (Hangup|Interrupt|Quit)$`), why: "a program of the build was ended by a signal"},
	{
		// Any other internal error comes of what was compiled.
		line: regexp.MustCompile(`internal compiler error: (Segmentation fault|Bus error|Illegal instruction)|[Tt]he bug is not reproducible, so it is likely a hardware or OS problem`),
		why:  "the compiler crashed, as it does with bad or too little memory; build again, and if it crashes there again, with another compiler (--cc)",
	},
	{line: regexp.MustCompile(`(gelf|libelf)\.h: No such file|<gelf\.h>|libelf-dev`), why: "libelf's headers are missing; apt-get install libelf-dev"},
	{line: regexp.MustCompile(`openssl/\S+\.h: No such file`), why: "OpenSSL's headers are missing; apt-get install libssl-dev"},
	{line: regexp.MustCompile(`\b(pahole|python3|perl|zstd|lz4|cpio|xz|rsync): (?:command )?not found`), why: "$1 is missing here; install it"},
	// A name with a slash in it would be a file of the tree.
	{line: regexp.MustCompile(`^\S+: (?:line )?(?:\d+: )?([\w.+][\w.+-]*): (?:[Cc]ommand )?not found$`), with: error127, why: "$1 is missing here; install it"},
	{line: regexp.MustCompile(`^make(?:\[\d+\])?: ([\w.+][\w.+-]*): No such file or directory$`), with: error127, why: "$1 is missing here; install it"},
	{line: regexp.MustCompile(`\benv: '?([\w.+-]+)'?: No such file or directory$`), with: error127, why: "$1 is missing here; install it"},
	{line: regexp.MustCompile(`Read-only file system|Permission denied|Input/output error`), why: "the build's folder can't be written"},
	{line: regexp.MustCompile(`The source tree is not clean`), why: "the worktree is not clean"},
}

// A damagedError is a build that failed over what an earlier one left in the
// object tree.
type damagedError struct {
	dir string
	err error
}

func (e *damagedError) Error() string {
	return fmt.Sprintf("object tree %s is damaged: %v", e.dir, e.err)
}

func (e *damagedError) Unwrap() error { return e.err }

// damaged is what linkers, shells and make say to files of the object tree
// that are cut short. The sources can be why as well.
var damaged = regexp.MustCompile(`file format not recognized|file truncated|file in wrong format|malformed archive|[Ee]xec format error|cannot execute binary file|NUL character seen|(\.cmd|/auto\.conf|\.d):\d+: \*\*\* `)

// error127 is what make says when there is no such command.
var error127 = regexp.MustCompile(`^make(\[\d+\])?: \*\*\* .*\] Error 127$`)

// quoted is a line of the source that the compiler shows: what is in it says
// nothing.
var quoted = regexp.MustCompile(`^ *\d* +\|`)

// tooNew lists what old trees say to compilers and linkers that came after
// them.
var tooNew = []struct {
	line *regexp.Regexp
	why  string
}{
	{regexp.MustCompile(`compiler-gcc\d+\.h: No such file`), "before 4.18 a kernel knows its compilers by number"},
	{regexp.MustCompile(`multiple definition of .yylloc`), "before 5.6 the device-tree compiler does not link with gcc 10 or later"},
	{regexp.MustCompile(`cannot use keyword '(false|true|bool|nullptr)'|'bool' cannot be (used here|defined via)`), "gcc 15 and later take C23 for the default, trees before 6.14 are not ready for it"},
	{regexp.MustCompile(`Cannot find symbol for section|missing symbol table|elf_update: invalid section`), "its objtool does not know what this assembler writes"},
	{regexp.MustCompile(`unrecognized command[- ]line option`), "the compiler no longer has an option that the tree uses"},
	{regexp.MustCompile(`passing relocations|unsupported relocation|unexpected relocation`), "its tools do not know what this linker writes"},
}

var (
	compilerError = regexp.MustCompile(`^(\S+:\d+(?::\d+)?): (?:fatal )?error: (.*)$`)
	linkerError   = regexp.MustCompile(`undefined reference to|multiple definition of|^ld: |: error: `)
	makeError     = regexp.MustCompile(`^make(\[\d+\])?: \*\*\* (.*)$`)
)

// diagnose turns the end of make's output into an error: a *FailedError when
// the sources are why it failed.
func diagnose(lines []string, src string) error {
	show := func(line string) string {
		// The second is how ccache writes the same path, from the object tree.
		line = strings.NewReplacer(src+"/", "", "../"+filepath.Base(src)+"/", "").Replace(strings.TrimSpace(line))
		if len(line) > 300 {
			line = line[:300] + "…"
		}
		return text.Escape(line)
	}
	lines = slices.DeleteFunc(slices.Clone(lines), quoted.MatchString)
	for _, line := range lines {
		for _, t := range hostTrouble {
			m := t.line.FindStringSubmatchIndex(line)
			if m == nil || t.with != nil && !slices.ContainsFunc(lines, t.with.MatchString) {
				continue
			}
			why := t.line.ExpandString(nil, t.why, line, m)
			return fmt.Errorf("build: %s (%s)", why, show(line))
		}
	}
	if i := slices.IndexFunc(lines, damaged.MatchString); i >= 0 {
		return &FailedError{Why: show(lines[i]), damaged: true}
	}
	first := ""
	for _, kind := range []*regexp.Regexp{compilerError, linkerError, makeError} {
		for _, line := range lines {
			if kind.MatchString(strings.TrimSpace(line)) {
				first = show(line)
				break
			}
		}
		if first != "" {
			break
		}
	}
	if first == "" {
		first = "make failed without a word"
		if len(lines) > 0 {
			first = show(lines[len(lines)-1])
		}
	}
	for _, line := range lines {
		for _, t := range tooNew {
			if t.line.MatchString(line) {
				return &FailedError{Why: fmt.Sprintf("the compiler is too new for this tree (%s): %s; give an older one with --cc", t.why, show(line))}
			}
		}
	}
	return &FailedError{Why: first}
}
