package gitbuild

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/blockrig/blockrig/harness/cachedir"
	"github.com/blockrig/blockrig/kernels/gitbuild/gitcmd"
)

// Sources are what another machine builds a job from. They travel as git packs:
// one with all of a tree, which most workers have after the first build, and
// one with what another tree has besides.
type Sources struct {
	Start []byte // the .config to begin with; nil is none

	builder *Builder
	job     *job
	repo    *gitcmd.Repo
	tree    string
}

// prepare makes the changes that are asked for, and gives the patches that do
// not apply.
func (s *Sources) prepare(ctx context.Context) (leftOut []string, err error) {
	if s.job.turn == "" && len(s.job.patches) == 0 {
		out, err := s.repo.Run(ctx, "ls-tree", s.tree, "Makefile")
		if err == nil && out == "" {
			err = noKernel(s.job.commit)
		}
		return nil, err
	}
	leave, err := s.builder.takePlace(ctx, s.job)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, leave()) }()
	s.builder.opts.Progress("checkout", 0)
	src, err := s.builder.checkout(ctx, s.job)
	if err != nil {
		return nil, err
	}
	if leftOut, err = src.change(ctx, s.job); err != nil {
		return nil, err
	}
	s.repo, s.tree = src.git, strings.TrimSpace(src.tree)
	return leftOut, nil
}

func noKernel(commit string) error {
	return fmt.Errorf("%s: %w", commit[:12], ErrNoKernel)
}

// Progress is told what becomes of the job.
func (s *Sources) Progress(phase string) { s.builder.opts.Progress(phase, 0) }

// A PackFile is a git pack with what a tree has and those of the packs before it
// lack.
type PackFile struct {
	Tree string
	Path string
}

// packName is the file in an entry of the cache of packs.
const packName = "pack"

// baseName is the file, in our folder of a repository, that has the tree that is
// packed whole.
const baseName = "blockrig-base"

// packsLimit bounds the packs that are kept, in bytes.
const packsLimit = 4 << 30

// Packs are those of the sources. They stay until done is called.
func (s *Sources) Packs(ctx context.Context) (packs []PackFile, done func() error, err error) {
	var entries []*cachedir.Entry
	done = func() (err error) {
		for _, e := range entries {
			err = errors.Join(err, e.Close())
		}
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("pack the sources: %w", err), done())
		}
	}()
	add := func(tree, base string) (size int64, err error) {
		e, err := s.pack(ctx, tree, base)
		if err != nil {
			return 0, err
		}
		entries = append(entries, e)
		packs = append(packs, PackFile{tree, filepath.Join(e.Path(), packName)})
		info, err := os.Stat(packs[len(packs)-1].Path)
		if err != nil {
			return 0, err
		}
		return info.Size(), nil
	}
	b := s.builder
	b.basing.Lock()
	defer b.basing.Unlock()
	// The base is one that the repository has without changes, so that all can
	// begin with it.
	file := filepath.Join(s.job.repo.GitDir(), baseName)
	was, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, done, err
	}
	base := string(was)
	if !treeForm.MatchString(base) || !s.has(ctx, base) {
		base = ""
	}
	for _, base := range []string{base, s.job.tree} {
		if base == "" {
			continue
		}
		packs = nil // of another base
		whole, err := add(base, "")
		if err != nil {
			return nil, done, err
		}
		more := int64(0)
		if s.tree != base {
			if more, err = add(s.tree, base); err != nil {
				return nil, done, err
			}
		}
		if more <= whole/2 || base == s.job.tree {
			if base == string(was) {
				return packs, done, nil
			}
			return packs, done, os.WriteFile(file, []byte(base), 0o644)
		}
	}
	return packs, done, nil
}

func (s *Sources) has(ctx context.Context, tree string) bool {
	_, err := s.repo.Run(ctx, "cat-file", "-e", tree+"^{tree}")
	return err == nil
}

// pack gives what a tree has that base lacks; "" is nothing.
func (s *Sources) pack(ctx context.Context, tree, base string) (*cachedir.Entry, error) {
	return s.builder.packs.Get(ctx, tree+"-"+cmp.Or(base, "all"), func(ctx context.Context, dir string) (err error) {
		s.Progress("packing the sources")
		want, err := commitOf(ctx, s.repo, tree)
		if err != nil {
			return err
		}
		revs := want + "\n"
		if base != "" {
			lacks, err := commitOf(ctx, s.repo, base)
			if err != nil {
				return err
			}
			revs += "^" + lacks + "\n"
		}
		f, err := os.Create(filepath.Join(dir, packName))
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		// Shallow: what both have is looked at for deltas, though no history joins
		// the two.
		return s.repo.RunTo(ctx, strings.NewReader(revs), f, "pack-objects", "--quiet", "--revs", "--thin", "--shallow", "--delta-base-offset", "--stdout")
	})
}

// commitOf writes a commit that has a tree and no history: the same one
// everywhere.
func commitOf(ctx context.Context, repo *gitcmd.Repo, tree string) (string, error) {
	text := "tree " + tree + "\nauthor blockrig <blockrig> 0 +0000\ncommitter blockrig <blockrig> 0 +0000\n\nsources\n"
	hash, err := repo.RunInput(ctx, strings.NewReader(text), "hash-object", "-t", "commit", "-w", "--stdin")
	return strings.TrimSpace(hash), err
}

// mostNear is how many commits are looked at for the nearest.
const mostNear = 64

// Nearest sorts commits by how few files differ from the sources'. Those that
// the repository lacks are left out.
func (s *Sources) Nearest(ctx context.Context, commits []string) []string {
	type near struct {
		commit string
		files  int
	}
	var all []near
	for _, c := range commits[:min(len(commits), mostNear)] {
		if !treeForm.MatchString(c) {
			continue
		}
		// An error is one of a commit that is not here.
		if out, err := s.repo.Run(ctx, "diff-tree", "-r", "--name-only", c+"^{tree}", s.tree); err == nil {
			all = append(all, near{c, strings.Count(out, "\n")})
		}
	}
	slices.SortStableFunc(all, func(a, b near) int { return cmp.Compare(a.files, b.files) })
	out := make([]string, len(all))
	for i, n := range all {
		out[i] = n.commit
	}
	return out
}
