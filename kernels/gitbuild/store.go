package gitbuild

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"

	"github.com/blockrig/blockrig/kernels/gitbuild/gitcmd"
)

// A Store keeps the sources that a machine was sent to build from: a git
// repository of blockrig's own, which nothing but packs ever comes into. Each
// tree that is there with all that is in it has a reference.
type Store struct {
	dir  string
	repo *gitcmd.Repo

	mu      sync.Mutex // while packs are taken in
	inUse   int        // builds under way
	doubted bool       // git failed with it: what is in it may have rotted
	counts  sync.Mutex
}

// Limits of a store: one that has more begins anew.
const (
	storeLimit = 10 << 30 // bytes
	storePacks = 1000
	maxPack    = 2 << 30 // bytes
)

// OpenStore gives the one in the folder dir.
func OpenStore(dir string) (*Store, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open the sources: %w", err)
	}
	repo, err := gitcmd.Init(abs, "")
	return &Store{dir: abs, repo: repo}, err
}

// A Pack is a PackFile that has yet to be fetched.
type Pack struct {
	Tree string
	Open func(context.Context) (io.ReadCloser, error)
}

const storeRefs = "refs/blockrig/"

func (s *Store) has(ctx context.Context, tree string) bool {
	_, err := s.repo.Run(ctx, "rev-parse", "--verify", "--quiet", storeRefs+tree)
	return err == nil
}

// use keeps the store as it is until leave. One that nobody uses is emptied first
// where it is full, or what is in it may have rotted.
func (s *Store) use() (leave func(), err error) {
	s.counts.Lock()
	defer s.counts.Unlock()
	if s.inUse == 0 {
		size, packs := int64(0), 0
		err := filepath.WalkDir(filepath.Join(s.dir, "objects"), func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			size += info.Size()
			if filepath.Ext(p) == ".pack" {
				packs++
			}
			return nil
		})
		if s.doubted || err == nil && (size > storeLimit || packs > storePacks) {
			if err = os.RemoveAll(s.dir); err == nil {
				s.repo, err = gitcmd.Init(s.dir, "")
			}
			s.doubted = err != nil
		}
		if err != nil {
			return nil, fmt.Errorf("look after the sources: %w", err)
		}
	}
	s.inUse++
	return func() {
		s.counts.Lock()
		s.inUse--
		s.counts.Unlock()
	}, nil
}

// blame has the store begin anew when nobody uses it, where err is git's.
func (s *Store) blame(err error) {
	var missing *gitcmd.MissingError
	if _, exited := gitcmd.Status(err); !exited && !errors.As(err, &missing) {
		return
	}
	s.counts.Lock()
	defer s.counts.Unlock()
	s.doubted = true
}

// take takes in the packs that it lacks of those for a tree.
func (s *Store) take(ctx context.Context, tree string, packs []Pack) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	had, err := s.repo.Run(ctx, "for-each-ref", "--count=1", storeRefs)
	if err != nil {
		return fmt.Errorf("look at the sources: %w", err)
	}
	first := 0
	for i, p := range packs {
		if !treeForm.MatchString(p.Tree) {
			return fmt.Errorf("%w: a pack of no tree", ErrJob)
		}
		if s.has(ctx, p.Tree) {
			first = i + 1
		}
	}
	for _, p := range packs[first:] {
		if err := s.add(ctx, p); errors.Is(err, ErrJob) && had != "" {
			s.blame(err)
			// So not the job's, as far as is known.
			return fmt.Errorf("take in sources beside those that are here, which may have rotted: %s", err)
		} else if err != nil {
			return fmt.Errorf("take in sources: %w", err)
		}
	}
	if !s.has(ctx, tree) && ctx.Err() == nil {
		return fmt.Errorf("%w: its sources did not come", ErrJob)
	}
	return nil
}

// add takes a pack in. Git looks into every object: what is none, or has a name
// in it that leads out of a folder, or into .git, is refused.
func (s *Store) add(ctx context.Context, p Pack) (err error) {
	in, err := p.Open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	refused := func(err error) error {
		if _, exited := gitcmd.Status(err); exited {
			return fmt.Errorf("%w: %w", ErrJob, err)
		}
		return err
	}
	if _, err := s.repo.RunInput(ctx, in, "index-pack", "--stdin", "--fix-thin", "--strict", "--max-input-size="+strconv.Itoa(maxPack)); err != nil {
		return refused(err)
	}
	commit, err := commitOf(ctx, s.repo, p.Tree)
	if err != nil {
		return err
	}
	// All that it leads to is there.
	if _, err := s.repo.Run(ctx, "rev-list", "--objects", "--quiet", commit, "--not", "--all"); err != nil {
		return refused(err)
	}
	_, err = s.repo.Run(ctx, "update-ref", storeRefs+p.Tree, commit)
	return err
}

// commitName is the file, beside an object tree, that says which commit it is of.
const commitName = "commit"

// Do does a job of another machine's: it builds into the new folder dir, which
// gets files of EntryFiles. The error wraps ErrJob when it is the job's; sources
// that can't be built are none.
func (b *Builder) Do(ctx context.Context, st *Store, j Job, start []byte, packs []Pack, dir string) (err error) {
	if err := j.check(); err != nil {
		return fmt.Errorf("%w: %w", ErrJob, err)
	}
	if is := digestOf(start); is != j.Start {
		return fmt.Errorf("%w: its config is another one", ErrJob)
	}
	if err := b.makeFolder(b.work); err != nil {
		return err
	}
	leave, err := st.use()
	if err != nil {
		return err
	}
	defer leave()
	defer func() { st.blame(err) }()
	if err := st.take(ctx, j.Tree, packs); err != nil {
		return err
	}
	in := &job{tree: j.Tree, wants: j.Wants, start: start}
	if in.repo, err = gitcmd.Open(ctx, b.home, st.dir); err != nil {
		return err
	}
	if in.commit, err = commitOf(ctx, st.repo, j.Tree); err != nil {
		return err
	}
	if in.compiler, err = b.findCompiler(ctx); err != nil {
		return err
	}
	if in.compiler.id != j.Compiler {
		return fmt.Errorf("the compiler here is now %s", in.compiler.id)
	}
	in.dir = b.storeDir(st)
	away, err := b.takePlace(ctx, in)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, away()) }()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := b.build(ctx, in, dir); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(in.place, commitName), []byte(j.Commit), 0o644)
}

// CompilerID is what Build.Compiler would say of a kernel that is built now. The
// error says what is missing.
func (b *Builder) CompilerID(ctx context.Context) (string, error) {
	if err := b.makeFolder(b.work); err != nil {
		return "", err
	}
	c, err := b.findCompiler(ctx)
	return c.id, err
}

// Commits are those that there are object trees of, from jobs of a store.
func (b *Builder) Commits(st *Store) []string {
	var out []string
	for _, pattern := range []string{"", "*"} { // see takePlace
		// The only error is one of the pattern.
		files, _ := filepath.Glob(filepath.Join(b.storeDir(st), pattern, commitName))
		for _, f := range files {
			if text, err := os.ReadFile(f); err == nil && treeForm.Match(text) {
				out = append(out, string(text))
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// storeDir is the folder of all that is built of a store.
func (b *Builder) storeDir(st *Store) string { return filepath.Join(b.work, "from-"+idOf(st.dir)) }
