package gitbuild

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/kernels/gitbuild/gitcmd"
)

// A source is a commit in a worktree. Its lock is held.
type source struct {
	git  *gitcmd.Repo
	dir  string // the worktree
	tree string // git's hash of what is built: the commit, and changes to it
}

// checkout brings the worktree to a commit. Files that don't differ keep
// their times, so that make leaves their objects alone.
func (b *Builder) checkout(ctx context.Context, j *job) (*source, error) {
	s := &source{dir: filepath.Join(j.place, "worktree")}
	gitDir := filepath.Join(j.place, "git")
	// Without an index git knows nothing of the files that are there.
	if _, err := os.Stat(filepath.Join(gitDir, "index")); err != nil {
		if err := os.RemoveAll(s.dir); err != nil {
			return nil, fmt.Errorf("make a worktree: %w", err)
		}
	}
	// A git that was killed leaves these; nobody else works here now.
	for _, name := range []string{"index.lock", "HEAD.lock", "ORIG_HEAD.lock"} {
		if err := os.Remove(filepath.Join(gitDir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("check %s out: %w", j.commit[:12], err)
		}
	}
	err := b.makeFolder(s.dir)
	if err != nil {
		return nil, err
	}
	if s.git, err = j.repo.Borrow(ctx, gitDir, s.dir); err != nil {
		return nil, err
	}
	s.git.Public = b.user != nil
	if _, err := s.git.Run(ctx, "reset", "--quiet", "--hard", j.commit); err != nil {
		return nil, fmt.Errorf("check %s out: %w", j.commit[:12], err)
	}
	// References are copied anew: the commit may be replaced by another one meanwhile.
	if tree, err := treeOf(ctx, s.git, j.commit); err != nil {
		return nil, fmt.Errorf("check %s out: %w", j.commit[:12], err)
	} else if tree != j.tree {
		return nil, fmt.Errorf("check %s out: git replace changed it meanwhile in %s: build again", j.commit[:12], text.Escape(j.repo.Dir()))
	}
	if _, err := s.git.Run(ctx, "clean", "--quiet", "-ffdx"); err != nil {
		return nil, fmt.Errorf("check %s out: %w", j.commit[:12], err)
	}
	if _, err := os.Stat(filepath.Join(s.dir, "Makefile")); err != nil {
		return nil, noKernel(j.commit)
	}
	return s, nil
}

// change takes a commit back and applies patches. It gives the patches that
// were left out because they don't apply.
func (s *source) change(ctx context.Context, j *job) ([]string, error) {
	if j.turn != "" {
		text, err := s.git.Run(ctx, "diff", "--binary", "--full-index", "--no-ext-diff", "--no-textconv", "--no-color", "--end-of-options", j.turnTrees[0], j.turnTrees[1])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", j.turn, err)
		}
		if text == "" {
			return nil, fmt.Errorf("%s: %w", j.turn, ErrChangesNothing)
		}
		apply := s.apply
		if j.spec.Partly {
			apply = s.applyPartly
		}
		if err := apply(ctx, []byte(text)); err != nil {
			return nil, fmt.Errorf("%s: %w", j.turn, err)
		}
	}
	var leftOut []string
	for _, p := range j.patches {
		err := s.apply(ctx, p.text)
		if err != nil && (p.must || !errors.Is(err, ErrDoesNotApply)) {
			return nil, fmt.Errorf("patch %s: %w", p.name, err)
		}
		if err != nil {
			leftOut = append(leftOut, p.name)
		}
	}
	tree, err := s.git.Run(ctx, "write-tree")
	if err != nil {
		return nil, fmt.Errorf("check %s out: %w", j.commit[:12], err)
	}
	s.tree = tree
	return leftOut, nil
}

// intact fails when the worktree is not (or no longer) what was checked out
// and changed: then something else wrote there, and what was built of it may
// be anything. The next checkout writes every file again.
func (s *source) intact(ctx context.Context) error {
	what, err := s.foreign(ctx)
	if err != nil {
		return fmt.Errorf("check the sources after the build: %w", err)
	}
	if what == "" {
		return nil
	}
	// What the index remembers of the files' times is why git leaves them alone.
	err = os.Remove(filepath.Join(s.git.GitDir(), "index"))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(fmt.Errorf("build: something else wrote into the worktree %s meanwhile (%s): nothing of this build is kept, the next one checks every file out again", s.dir, what), err)
}

// foreign names something in the worktree that is not from git's index, or
// says that the index is another one.
func (s *source) foreign(ctx context.Context) (string, error) {
	if _, err := s.git.Run(ctx, "update-index", "-q", "--refresh"); err != nil {
		// 1: there are files that differ.
		if status, ok := gitcmd.Status(err); !ok || status != 1 {
			return "", err
		}
	}
	for _, args := range [][]string{
		{"diff-files", "--name-only", "-z", "--ignore-submodules"},
		// The kernel's Python scripts leave compiled modules beside them.
		{"ls-files", "-z", "--others", "--exclude-standard", "--exclude=__pycache__/"},
	} {
		out, err := s.git.Run(ctx, args...)
		if err != nil {
			return "", err
		}
		if name, _, _ := strings.Cut(out, "\x00"); name != "" {
			return text.Escape(name), nil
		}
	}
	tree, err := s.git.Run(ctx, "write-tree")
	if err != nil || tree != s.tree {
		return "git's index", err
	}
	return "", nil
}

// apply changes the worktree's files and index, or nothing.
func (s *source) apply(ctx context.Context, text []byte) error {
	before, err := s.git.Run(ctx, "write-tree")
	if err != nil {
		return err
	}
	_, err = s.git.RunInput(ctx, bytes.NewReader(text), "apply", "--index", "--3way", "--whitespace=nowarn", "-")
	if err == nil {
		// --3way takes a change that is there already.
		after, err := s.git.Run(ctx, "write-tree")
		if err == nil && after == before {
			err = ErrChangesNothing
		}
		return err
	}
	if _, refused := gitcmd.Status(err); !refused {
		return err
	}
	// --3way leaves conflicts in the files.
	if _, err := s.git.Run(ctx, "read-tree", "--reset", "-u", strings.TrimSpace(before)); err != nil {
		return err
	}
	return fmt.Errorf("%w: %s", ErrDoesNotApply, firstError(err))
}

// applyPartly makes those parts of a change that apply.
func (s *source) applyPartly(ctx context.Context, text []byte) error {
	before, err := s.git.Run(ctx, "write-tree")
	if err != nil {
		return err
	}
	_, err = s.git.RunInput(ctx, bytes.NewReader(text), "apply", "--reject", "--whitespace=nowarn", "-")
	if _, refused := gitcmd.Status(err); err != nil && !refused {
		return err
	}
	// What was left out lies beside the files, and git has changed these
	// only, not its index.
	for _, args := range [][]string{{"clean", "--quiet", "-ffdx", "--", "*.rej"}, {"add", "--all", "--force"}} {
		if _, err := s.git.Run(ctx, args...); err != nil {
			return err
		}
	}
	after, err := s.git.Run(ctx, "write-tree")
	if err == nil && after == before {
		err = fmt.Errorf("%w: no part of it does", ErrDoesNotApply)
	}
	return err
}

// firstError is the first of git's error lines.
func firstError(err error) string {
	var e *gitcmd.Error
	if !errors.As(err, &e) {
		return err.Error()
	}
	for line := range strings.Lines(e.Stderr) {
		if why, ok := strings.CutPrefix(line, "error: "); ok {
			return text.OneLine(why)
		}
	}
	return "there are conflicts"
}
