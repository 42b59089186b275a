package bisect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/kernels/gitbuild/gitcmd"
)

// GitOptions are what git's bisect can be told.
type GitOptions struct {
	FirstParent bool
	Paths       []string
	TermOld     string // "" is good
	TermNew     string // "" is bad
	At          string // full hash that HEAD is; "" is the user's HEAD
}

// Git is a history that git's own bisect walks through, in a repository of its
// own without files: nothing is written to the user's.
type Git struct {
	repo *gitcmd.Repo
	opts GitOptions
}

// terms git's bisect has commands for.
var reservedTerms = []string{
	"help", "start", "skip", "next", "reset", "visualize", "view", "replay", "log", "run", "terms",
}

var termSyntax = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9_-]{0,30}$`)

// CheckTerms says which of two terms git's bisect can't have; "" is good or
// bad.
func CheckTerms(old, new string) error {
	old, new = cmp.Or(old, "good"), cmp.Or(new, "bad")
	for _, t := range []struct{ option, term, other string }{
		{"--term-old", old, "bad"},
		{"--term-new", new, "good"},
	} {
		if !termSyntax.MatchString(t.term) || slices.Contains(reservedTerms, t.term) {
			return fmt.Errorf("%s %q can't be a term of git bisect: it must be a word that is no command of it", t.option, t.term)
		}
		if t.term == t.other || t.option == "--term-old" && t.term == "new" || t.option == "--term-new" && t.term == "old" {
			return fmt.Errorf("%s %q means the opposite to git", t.option, t.term)
		}
	}
	if old == new {
		return fmt.Errorf("both terms are %q", old)
	}
	return nil
}

// OpenGit makes a repository in dir, which must not exist or be left from an
// earlier OpenGit with the same dir: then it is made again.
func OpenGit(ctx context.Context, repo *gitcmd.Repo, dir string, opts GitOptions) (*Git, error) {
	if err := CheckTerms(opts.TermOld, opts.TermNew); err != nil {
		return nil, err
	}
	opts.TermOld, opts.TermNew = cmp.Or(opts.TermOld, "good"), cmp.Or(opts.TermNew, "bad")
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("folder of the bisection: %w", err)
	}
	if err := removeGit(dir); err != nil {
		return nil, err
	}
	g := &Git{opts: opts}
	if g.repo, err = repo.Borrow(ctx, filepath.Join(dir, ".git"), dir); err != nil {
		return nil, err
	}
	if opts.At == "" {
		return g, nil
	}
	if !gitcmd.IsHash(opts.At) {
		return nil, fmt.Errorf("%q is no commit's full hash", opts.At)
	}
	if _, err := g.repo.Run(ctx, "update-ref", "--no-deref", "HEAD", opts.At); err != nil {
		return nil, fmt.Errorf("begin at %s: %w", short(opts.At), err)
	}
	return g, nil
}

// Dir is the repository's folder: git bisect log and visualize work there.
func (g *Git) Dir() string { return g.repo.Dir() }

// Remove takes the repository away.
func (g *Git) Remove() error { return removeGit(g.repo.Dir()) }

// removeGit removes what is ours: a folder with nothing but .git in it.
func removeGit(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is in the way of the bisection: %w", dir, err)
	}
	for _, e := range entries {
		if e.Name() != ".git" {
			return fmt.Errorf("%s is in the way of the bisection: it has %s", dir, text.Escape(e.Name()))
		}
	}
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		err := os.RemoveAll(dir)
		// The git of a blockrig that was killed may write until it is dead, too.
		if errors.Is(err, syscall.ENOTEMPTY) && time.Since(began) < 5*time.Second {
			continue
		}
		if err != nil {
			return fmt.Errorf("remove the bisection's repository: %w", err)
		}
		return nil
	}
}

func (g *Git) term(m Mark) string {
	switch m {
	case Old:
		return g.opts.TermOld
	case New:
		return g.opts.TermNew
	}
	return "skip"
}

// startArgs are the arguments of git bisect start.
func (g *Git) startArgs(new string, old []string) ([]string, error) {
	var args []string
	if g.opts.TermOld != "good" || g.opts.TermNew != "bad" {
		args = append(args, "--term-old="+g.opts.TermOld, "--term-new="+g.opts.TermNew)
	}
	if g.opts.FirstParent {
		args = append(args, "--first-parent")
	}
	args = append(args, "--no-checkout", new)
	args = append(args, old...)
	for _, c := range append([]string{new}, old...) {
		if !gitcmd.IsHash(c) {
			return nil, fmt.Errorf("%q is no commit's full hash", c)
		}
	}
	if len(g.opts.Paths) > 0 {
		args = append(args, "--")
		args = append(args, g.opts.Paths...)
	}
	return args, nil
}

// Replay implements History: git bisect replays a log that is written here.
func (g *Git) Replay(ctx context.Context, new string, old []string, marks []Marked) (Next, error) {
	start, err := g.startArgs(new, old)
	if err != nil {
		return Next{}, err
	}
	if len(marks) == 0 {
		if _, err := g.bisect(ctx, "reset"); err != nil {
			return Next{}, err
		}
		if err := g.forget(); err != nil {
			return Next{}, err
		}
		return g.step(ctx, append([]string{"start"}, start...)...)
	}
	var log strings.Builder
	log.WriteString("git bisect start")
	for _, a := range start {
		log.WriteString(" " + shellQuote(a))
	}
	log.WriteString("\n")
	for _, m := range marks {
		if !gitcmd.IsHash(m.Commit) {
			return Next{}, fmt.Errorf("%q is no commit's full hash", m.Commit)
		}
		fmt.Fprintf(&log, "git bisect %s %s\n", g.term(m.Mark), m.Commit)
	}
	f, err := os.CreateTemp(g.repo.GitDir(), "blockrig-replay-*") // goes with the repository
	if err != nil {
		return Next{}, fmt.Errorf("write a log to replay: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(log.String())
	if err := errors.Join(err, f.Close()); err != nil {
		return Next{}, fmt.Errorf("write a log to replay: %w", err)
	}
	if err := g.forget(); err != nil {
		return Next{}, err
	}
	return g.step(ctx, "replay", f.Name())
}

// forget drops what git bisect remembers of good commits' ancestry: it is
// only valid for the ends it was made with.
func (g *Git) forget() error {
	if err := os.Remove(filepath.Join(g.repo.GitDir(), "BISECT_ANCESTORS_OK")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("start over: %w", err)
	}
	return nil
}

// Mark implements History.
func (g *Git) Mark(ctx context.Context, m Marked) (Next, error) {
	if !gitcmd.IsHash(m.Commit) {
		return Next{}, fmt.Errorf("%q is no commit's full hash", m.Commit)
	}
	return g.step(ctx, g.term(m.Mark), m.Commit)
}

// bisect runs one of git's bisect commands.
func (g *Git) bisect(ctx context.Context, args ...string) (string, error) {
	return g.repo.Run(ctx, append([]string{"bisect"}, args...)...)
}

var leftSyntax = regexp.MustCompile(`(?m)^Bisecting: (\d+) revisions? left`)

// step runs a command that ends with git naming the next commit.
func (g *Git) step(ctx context.Context, args ...string) (Next, error) {
	out, err := g.bisect(ctx, args...)
	status, failed := gitcmd.Status(err)
	if err != nil && !failed {
		return Next{}, err
	}
	if failed && status == 4 && len(g.opts.Paths) > 0 {
		return Next{}, &StopError{Kind: StopHistory, Why: "no commit between the ends changes " + text.Escape(strings.Join(g.opts.Paths, " "))}
	}
	log, logErr := g.Log(ctx)
	if logErr != nil {
		if failed {
			return Next{}, fmt.Errorf("bisect: %w", err)
		}
		return Next{}, logErr
	}
	// Git writes how it ended to its log.
	lines := strings.Split(strings.TrimSpace(log), "\n")
	var among []string
	for i := len(lines) - 1; i >= 0; i-- {
		line := lines[i]
		if hash, ok := bracketed(line, "# first "+g.opts.TermNew+" commit: ["); ok {
			return Next{First: hash}, nil
		}
		if hash, ok := bracketed(line, "# possible first "+g.opts.TermNew+" commit: ["); ok {
			among = append(among, hash)
			continue
		}
		break
	}
	if len(among) > 0 {
		slices.Reverse(among)
		return Next{Among: among}, nil
	}
	if failed {
		// 3: the merge base is new though an old end is beyond it; the
		// message says so.
		if status == 3 {
			return Next{}, &StopError{Kind: StopMergeBase, Why: text.OneLine(out + err.Error())}
		}
		return Next{}, fmt.Errorf("bisect: %w", err)
	}
	head, err := g.repo.Run(ctx, "rev-parse", "--verify", "--quiet", "BISECT_HEAD")
	if err != nil {
		return Next{}, fmt.Errorf("git bisect named no commit: %s", text.OneLine(out))
	}
	n := Next{Commit: strings.TrimSpace(head)}
	if m := leftSyntax.FindStringSubmatch(out); m != nil {
		n.Left, _ = strconv.Atoi(m[1]) // only digits match; a number too large stays the largest
		return n, nil
	}
	// Git wants a merge base tried first and does not say how many are left.
	left, err := g.left(ctx)
	n.Left = left / 2
	return n, err
}

// listLeft lists the commits that the marks so far leave.
func (g *Git) listLeft(ctx context.Context, how ...string) (string, error) {
	args := append([]string{"rev-list"}, how...)
	if g.opts.FirstParent {
		args = append(args, "--first-parent")
	}
	args = append(args, "refs/bisect/"+g.opts.TermNew, "--not", "--glob=refs/bisect/"+g.opts.TermOld+"-*", "--")
	return g.repo.Run(ctx, append(args, g.opts.Paths...)...)
}

// Left implements Chooser. With paths, the parents of a commit are the next ones
// below it that change one of them.
func (g *Git) Left(ctx context.Context) ([]Left, error) {
	out, err := g.listLeft(ctx, "--topo-order", "--reverse", "--parents")
	if err != nil {
		return nil, fmt.Errorf("list the commits that are left: %w", err)
	}
	place := make(map[string]int)
	var list []Left
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		l := Left{Commit: f[0]}
		for i, parent := range f[1:] {
			if at, ok := place[parent]; ok && (i == 0 || !g.opts.FirstParent) {
				l.Parents = append(l.Parents, at)
			}
		}
		place[l.Commit] = len(list)
		list = append(list, l)
	}
	return list, nil
}

// left counts the commits that the marks so far leave.
func (g *Git) left(ctx context.Context) (int, error) {
	out, err := g.listLeft(ctx, "--count")
	if err != nil {
		return 0, fmt.Errorf("count the commits that are left: %w", err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(out))
	if err != nil {
		return 0, fmt.Errorf("count the commits that are left: %w", err)
	}
	return n, nil
}

// Between implements History.
func (g *Git) Between(ctx context.Context) (Between, error) {
	var b Between
	fail := func(err error) (Between, error) {
		return Between{}, fmt.Errorf("find what the marks leave: %w", err)
	}
	out, err := g.repo.Run(ctx, "rev-parse", "--verify", "refs/bisect/"+g.opts.TermNew)
	if err != nil {
		return fail(err)
	}
	b.New = strings.TrimSpace(out)
	out, err = g.repo.Run(ctx, "for-each-ref", "--format=%(objectname)", "refs/bisect/"+g.opts.TermOld+"-*")
	if err != nil {
		return fail(err)
	}
	if b.Old = strings.Fields(out); len(b.Old) > 1 {
		out, err = g.repo.Run(ctx, append([]string{"merge-base", "--independent"}, b.Old...)...)
		if err != nil {
			return fail(err)
		}
		b.Old = strings.Fields(out)
	}
	b.Commits, err = g.left(ctx)
	return b, err
}

func bracketed(line, prefix string) (string, bool) {
	rest, ok := strings.CutPrefix(line, prefix)
	if !ok {
		return "", false
	}
	hash, _, ok := strings.Cut(rest, "]")
	return hash, ok && gitcmd.IsHash(hash)
}

// Parents implements History.
func (g *Git) Parents(ctx context.Context, commit string) ([]string, error) {
	out, err := g.repo.Run(ctx, "rev-list", "--parents", "-n", "1", "--end-of-options", commit)
	if err != nil {
		return nil, fmt.Errorf("parents of %s: %w", short(commit), err)
	}
	f := strings.Fields(out)
	if len(f) == 0 {
		return nil, fmt.Errorf("parents of %s: git says nothing", short(commit))
	}
	parents := f[1:]
	if g.opts.FirstParent && len(parents) > 1 {
		parents = parents[:1]
	}
	return parents, nil
}

// shallow ends a sentence on what the repository may lack, "" if it has all.
func (g *Git) shallow() string {
	if why := g.repo.Shallow(); why != "" {
		return " in " + text.Escape(g.repo.Dir()) + why
	}
	return ""
}

// MergeBases implements History.
func (g *Git) MergeBases(ctx context.Context, new string, old []string) ([]string, error) {
	var bases []string
	for _, o := range old {
		out, err := g.repo.Run(ctx, "merge-base", "--all", "--end-of-options", o, new)
		if status, ok := gitcmd.Status(err); ok && status == 1 {
			return nil, &StopError{Kind: StopHistory, Why: fmt.Sprintf("%s and %s have no common history%s", short(o), short(new), g.shallow())}
		}
		if err != nil {
			return nil, fmt.Errorf("merge base of %s and %s: %w", short(o), short(new), err)
		}
		for _, b := range strings.Fields(out) {
			if b == new {
				return nil, &StopError{Kind: StopHistory, Why: fmt.Sprintf("%s is an ancestor of %s: the new end must come after the old one", short(new), short(o))}
			}
			if b != o && !slices.Contains(bases, b) && !slices.Contains(old, b) {
				bases = append(bases, b)
			}
		}
	}
	return bases, nil
}

// Describe implements History.
func (g *Git) Describe(ctx context.Context, commit string) (Commit, error) {
	out, err := g.repo.Run(ctx, "show", "-s", "--no-show-signature", "--format=%H%x00%s%x00%an <%ae>%x00%aI", "--end-of-options", commit)
	if err != nil {
		return Commit{}, fmt.Errorf("look %s up: %w", short(commit), err)
	}
	f := strings.Split(strings.TrimRight(out, "\n"), "\x00")
	if len(f) != 4 {
		return Commit{}, fmt.Errorf("look %s up: git answered %q", short(commit), out)
	}
	date, err := time.Parse(time.RFC3339, f[3])
	if err != nil {
		return Commit{}, fmt.Errorf("date of %s: %w", short(commit), err)
	}
	c := Commit{Hash: f[0], Title: f[1], Author: f[2], Date: date}
	tags, err := g.repo.Run(ctx, "for-each-ref", "--contains="+f[0], "--sort=creatordate", "--sort=version:refname", "--count=4", "--format=%(refname:short)", "refs/tags/")
	if err != nil {
		return Commit{}, fmt.Errorf("tags that contain %s: %w", short(commit), err)
	}
	c.Tags = strings.Fields(tags)
	return c, nil
}

// Files implements History.
func (g *Git) Files(ctx context.Context, commit string) ([]string, error) {
	out, err := g.repo.Run(ctx, "diff-tree", "-r", "-z", "-m", "--first-parent", "--root", "--no-commit-id", "--no-renames", "--name-only", "--end-of-options", commit)
	if err != nil {
		return nil, fmt.Errorf("files of %s: %w", short(commit), err)
	}
	return strings.FieldsFunc(out, func(r rune) bool { return r == 0 }), nil
}

// Since implements Toucher.
func (g *Git) Since(ctx context.Context, commit, end string) ([]string, error) {
	files, err := g.Files(ctx, commit)
	if err != nil || len(files) == 0 {
		return nil, err
	}
	args := []string{"--literal-pathspecs", "rev-list", "--ancestry-path", "--full-history", end, "^" + commit, "--"}
	out, err := g.repo.Run(ctx, append(args, files...)...)
	if err != nil {
		return nil, fmt.Errorf("commits that change files of %s: %w", short(commit), err)
	}
	return strings.Fields(out), nil
}

// Log implements History.
func (g *Git) Log(ctx context.Context) (string, error) {
	// What git bisect log prints, without starting it.
	out, err := os.ReadFile(filepath.Join(g.repo.GitDir(), "BISECT_LOG"))
	if err != nil {
		return "", fmt.Errorf("log of the bisection: %w", err)
	}
	return string(out), nil
}

// shellQuote writes an argument as git bisect's log does, for its replay.
func shellQuote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
