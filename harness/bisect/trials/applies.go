package trials

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/blockrig/blockrig/harness/bisect"
	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/kernels/gitbuild/gitcmd"
)

// A NotAppliedError says where a user's patch breaks.
type NotAppliedError struct {
	Where string // "fix.mbox:57 (mail 2, \"[PATCH 1/2] dm: x\")"
	Why   string
}

func (e *NotAppliedError) Error() string { return e.Where + ": " + e.Why }

// CheckApply tries patches, one after the other, on a commit; before are
// patches that are applied first, where they apply. The error is a
// *NotAppliedError when one of them does not apply. Of a mail that can be read
// in two ways, Path is the one that applies from then on. Nothing but git's index of
// a repository in dir, a folder of our own, is written.
func CheckApply(ctx context.Context, repo *gitcmd.Repo, base string, before []string, patches []Patch, dir string) error {
	fail := func(err error) error { return fmt.Errorf("see whether the patch applies: %w", err) }
	own, err := repo.Borrow(ctx, filepath.Join(dir, "git"), filepath.Join(dir, "tree"))
	if err != nil {
		return fail(err)
	}
	if _, err := own.Run(ctx, "read-tree", base); err != nil {
		return fail(err)
	}
	tree, err := own.Run(ctx, "write-tree")
	if err != nil {
		return fail(err)
	}
	commit := bisect.Subject{Commit: base}.String()
	// refused is git's word about the patch; err is of what else had to be done.
	apply := func(diff []byte) (next string, refused, err error) {
		_, refused = own.RunInput(ctx, bytes.NewReader(diff), "apply", "--cached", "--3way", "--whitespace=nowarn", "-")
		if refused == nil {
			next, err = own.Run(ctx, "write-tree")
			return next, nil, err
		}
		if _, ofGit := gitcmd.Status(refused); !ofGit {
			return tree, nil, refused
		}
		_, err = own.Run(ctx, "read-tree", strings.TrimSpace(tree)) // what --3way left
		return tree, refused, err
	}
	for _, name := range before {
		diff, err := os.ReadFile(name)
		if err != nil {
			return fail(err)
		}
		next, refused, err := apply(diff)
		if err != nil {
			return fail(err)
		}
		if refused == nil {
			tree = next
		}
	}
	for _, p := range patches {
		diff, err := os.ReadFile(p.Path)
		if err != nil {
			return fail(err)
		}
		next, refused, err := apply(diff)
		if err == nil && refused != nil && p.plain != "" {
			plain, e := os.ReadFile(p.plain)
			if e != nil {
				return fail(e)
			}
			after, no, e := apply(plain)
			if e == nil && no == nil {
				next, refused, e = after, nil, os.WriteFile(p.Path, plain, 0o600)
			}
			err = e
		}
		status, _ := gitcmd.Status(refused)
		switch {
		case err != nil:
			return fail(err)
		case refused == nil && next == tree:
			return &NotAppliedError{p.at(0), "does not apply to " + commit + ": it changes nothing, what it does is there already"}
		case refused == nil:
			tree = next
		case status == 1 || status == 128:
			return p.diagnose(ctx, own, commit, diff, refused)
		default:
			return nil // a git that can't do this; the build will say it
		}
	}
	return nil
}

// at names a place in the user's file: a line from 1, or 0 of none.
func (p Patch) at(line int) string {
	where := p.file.Name
	if line > 0 {
		where += ":" + strconv.Itoa(line)
	}
	if p.Name != "" {
		where += " (" + p.Name + ")"
	}
	return where
}

// line finds lines of the patch in the user's file: from 1, or 0 where a mail
// has them encoded. skip says how often they come before that.
func (p Patch) line(some []string, skip int) int {
	all := linesOf(unixLines(p.file.Text))
	for i := range all {
		if i+len(some) <= len(all) && slices.Equal(all[i:i+len(some)], some) {
			if skip--; skip < 0 {
				return i + 1
			}
		}
	}
	return 0
}

func linesOf(s []byte) []string { return strings.Split(strings.TrimSuffix(string(s), "\n"), "\n") }

// A hunk is a part of a patch.
type hunk struct {
	file   string
	number int // in the file, from 1
	at     int // line of its header in the patch, from 0
	start  int // line of the old file, from 1
	old    []string
	places []int // of old, lines after the header
	short  bool  // lines are missing in it
}

var hunkHeader = regexp.MustCompile(`^@@ -([0-9]+)(?:,([0-9]+))? \+([0-9]+)(?:,([0-9]+))? @@`)

// hunksOf reads the hunks of a patch.
func hunksOf(lines []string) (out []hunk) {
	file, number := "", 0
	for i := 0; i < len(lines); i++ {
		if name, ok := strings.CutPrefix(lines[i], "--- "); ok && i+1 < len(lines) && strings.HasPrefix(lines[i+1], "+++ ") {
			if strings.HasPrefix(name, "/dev/null") {
				name = lines[i+1][len("+++ "):]
			}
			name, _, _ = strings.Cut(name, "\t")
			_, file, _ = strings.Cut(name, "/") // -p1
			number = 0
			i++
			continue
		}
		m := hunkHeader.FindStringSubmatch(lines[i])
		if m == nil {
			continue
		}
		count := func(s string) int {
			if s == "" {
				return 1
			}
			n, _ := strconv.Atoi(s) // digits; too many are as many as there are
			return n
		}
		number++
		h := hunk{file: file, number: number, at: i, start: count(m[1])}
		old, new := count(m[2]), count(m[4])
		for old > 0 || new > 0 {
			if i+1 >= len(lines) {
				h.short = true
				break
			}
			line := lines[i+1]
			switch {
			case line == "" || line[0] == ' ': // some mailers cut off spaces
				old, new = old-1, new-1
			case line[0] == '-':
				old--
			case line[0] == '+':
				new--
			case line[0] == '\\':
			default:
				h.short = true
			}
			if h.short {
				break
			}
			if line == "" || line[0] == ' ' || line[0] == '-' {
				h.old = append(h.old, line[min(len(line), 1):])
				h.places = append(h.places, i+1-h.at)
			}
			i++
		}
		out = append(out, h)
	}
	return out
}

var (
	failedAt  = regexp.MustCompile(`(?m)^error: patch failed: (.*):([0-9]+)$`)
	corruptAt = regexp.MustCompile(`(?m)^error: (?:corrupt patch at line|.* at line) ([0-9]+)`)
	noFile    = regexp.MustCompile(`(?m)^error: (.*): (does not exist in index|already exists in index|No such file or directory)$`)
)

// diagnose says where a patch breaks that does not apply to git's index: git has
// ended with an error that is of the patch, or of this machine.
func (p Patch) diagnose(ctx context.Context, own *gitcmd.Repo, base string, diff []byte, failed error) error {
	lines := linesOf(diff)
	hunks := hunksOf(lines)
	no := func(line int, format string, args ...any) error {
		why := "does not apply to " + base + ": " + fmt.Sprintf(format, args...)
		if p.flowed {
			why += "; the mail is format=flowed, which breaks the lines and the spaces of a patch: take it as an attachment, or as git send-email sends it"
		}
		return &NotAppliedError{p.at(line), why}
	}
	_, err := own.RunInput(ctx, bytes.NewReader(diff), "apply", "--cached", "--check", "--whitespace=nowarn", "-")
	var refused *gitcmd.Error
	switch status, _ := gitcmd.Status(failed); {
	case err == nil && status == 1:
		return no(0, "there are conflicts")
	case err == nil:
		return fmt.Errorf("see whether the patch applies: %w", failed)
	case !errors.As(err, &refused):
		return fmt.Errorf("see whether the patch applies: %w", err)
	}
	said := refused.Stderr
	if m := corruptAt.FindStringSubmatch(said); m != nil {
		n, _ := strconv.Atoi(m[1]) // digits
		n = min(max(n, 1), len(lines))
		i := slices.IndexFunc(hunks, func(h hunk) bool { return h.short })
		if i >= 0 {
			h := hunks[i]
			return no(p.hunkLine(lines, hunks, h), "hunk %d of %s is damaged: it ends before it has as many lines as it says", h.number, text.OneLine(h.file))
		}
		return no(p.line(lines[n-1:n], 0), "it is no whole patch: git can't read %q", text.OneLine(lines[n-1]))
	}
	if m := failedAt.FindStringSubmatch(said); m != nil {
		start, _ := strconv.Atoi(m[2]) // digits
		i := slices.IndexFunc(hunks, func(h hunk) bool { return h.file == m[1] && h.start == start })
		if i < 0 {
			return no(0, "%s, line %d", text.OneLine(m[1]), start)
		}
		h := hunks[i]
		blob, err := own.Run(ctx, "show", ":"+h.file)
		if err != nil {
			return no(p.hunkLine(lines, hunks, h), "hunk %d of %s", h.number, text.OneLine(h.file))
		}
		why, after := h.against(linesOf([]byte(blob)))
		line := p.hunkLine(lines, hunks, h)
		if line > 0 {
			line += after
		}
		return no(line, "%s", why)
	}
	if m := noFile.FindStringSubmatch(said); m != nil {
		at := 0
		if i := slices.IndexFunc(hunks, func(h hunk) bool { return h.file == m[1] }); i >= 0 {
			at = p.hunkLine(lines, hunks, hunks[i])
		}
		what := "there is no file " + text.OneLine(m[1])
		if strings.HasPrefix(m[2], "already") {
			what = "the file " + text.OneLine(m[1]) + ", which it makes, is there already"
		}
		return no(at, "%s", what)
	}
	first, _, _ := strings.Cut(strings.TrimPrefix(said, "error: "), "\n")
	return no(0, "%s", text.OneLine(first))
}

// hunkLine is where a hunk begins in the user's file; 0: not known.
func (p Patch) hunkLine(lines []string, hunks []hunk, h hunk) int {
	some := func(h hunk) []string { return lines[h.at:min(len(lines), h.at+4)] }
	skip := 0
	for _, o := range hunks {
		if o.at < h.at && slices.Equal(some(o), some(h)) {
			skip++
		}
	}
	return p.line(some(h), skip)
}

// mostCompared bounds how many lines of a hunk and a file are compared.
const mostCompared = 20_000_000

// against says how a hunk and a file differ, and how many lines after its
// header: at the place that is most like the hunk, the nearest to where it
// should be.
func (h hunk) against(file []string) (why string, after int) {
	what := fmt.Sprintf("hunk %d of %s", h.number, text.OneLine(h.file))
	best, most := min(max(0, h.start-1), len(file)), -1
	places := len(file)
	if places*len(h.old) > mostCompared {
		places = 0
	}
	for at := range places {
		same := 0
		for i, line := range h.old {
			if at+i < len(file) && file[at+i] == line {
				same++
			}
		}
		if abs := func(n int) int { return max(n, -n) }; same > most || same == most && abs(at-h.start+1) < abs(best-h.start+1) {
			best, most = at, same
		}
	}
	for i, want := range h.old {
		line := best + i
		switch {
		case line >= len(file):
			return fmt.Sprintf("%s has %q for line %d, where the file has ended", what, text.OneLine(want), line+1), h.places[i]
		case file[line] == want:
		case strings.Join(strings.Fields(file[line]), "") == strings.Join(strings.Fields(want), ""):
			return fmt.Sprintf("%s differs from line %d in white space only, which a mail program may have changed: take it as an attachment, or as git send-email sends it", what, line+1), h.places[i]
		default:
			return fmt.Sprintf("%s has %q for line %d, where there is %q", what, text.OneLine(want), line+1, text.OneLine(file[line])), h.places[i]
		}
	}
	return what, 0
}
