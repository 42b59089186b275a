package gitbuild

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/blockrig/blockrig/kernels/gitbuild/gitcmd"
)

// hostTrouble lists what says that this machine, not the source, is why a
// build failed. Such a failure is not remembered.
var hostTrouble = []struct {
	line *regexp.Regexp
	why  string
}{
	{regexp.MustCompile(`No space left on device`), "the disk is full"},
	{regexp.MustCompile(`Disk quota exceeded`), "the disk quota is used up"},
	{regexp.MustCompile(`Killed signal terminated program|virtual memory exhausted|Cannot allocate memory|out of memory allocating`), "there is not enough memory; build with fewer jobs"},
	{regexp.MustCompile(`^make(\[\d+\])?: \*\*\* .*\] (Hangup|Interrupt|Quit|Killed|Terminated)$`), "a program of the build was ended by a signal"},
	{regexp.MustCompile(`(gelf|libelf)\.h: No such file|<gelf\.h>|libelf-dev`), "libelf's headers are missing; apt-get install libelf-dev"},
	{regexp.MustCompile(`openssl/\S+\.h: No such file`), "OpenSSL's headers are missing; apt-get install libssl-dev"},
	{regexp.MustCompile(`(pahole|python3|perl|zstd|lz4|cpio|xz|rsync): (command )?not found`), "a tool is missing"},
	{regexp.MustCompile(`Read-only file system|Permission denied|Input/output error`), "the build's folder can't be written"},
	{regexp.MustCompile(`The source tree is not clean`), "the worktree is not clean"},
}

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
		return gitcmd.Printable(line)
	}
	for _, line := range lines {
		for _, t := range hostTrouble {
			if t.line.MatchString(line) {
				return fmt.Errorf("build: %s (%s)", t.why, show(line))
			}
		}
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
