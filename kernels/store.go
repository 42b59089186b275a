package kernels

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"github.com/blockrig/blockrig/kernels/debian"
)

// A Builder builds kernels from git. kernels/gitbuild has the one there is.
type Builder interface {
	// Build gives the kernel for ref, from its cache or newly built. All but
	// Ref must be filled in; Kernel.Complete helps.
	Build(ctx context.Context, ref GitRef) (Kernel, error)
}

// A Store is the cache of kernels. Several processes may use it at once, and
// its methods may be called by several goroutines. Open makes one; the
// exported fields are set, if at all, before it is used.
type Store struct {
	// Progress, if not nil, is told how a fetch goes: what is done, and how
	// much of it, in total 0 when that is not known. Calls can come from
	// several goroutines, though not at once.
	Progress func(what string, done, total int64)
	// Builder builds git: references. Without one they are refused.
	Builder Builder

	dir        string // of the kernels
	aptDir     string
	log        *slog.Logger
	aptSources []string // instead of the machine's

	progressMu sync.Mutex
	mu         sync.Mutex
	apt        *debian.Apt
}

// Open opens the cache of kernels below cacheDir (blockrig's own cache
// folder), and removes what dead processes left there.
func Open(cacheDir string, log *slog.Logger) (*Store, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	abs, err := filepath.Abs(cacheDir)
	if err != nil {
		return nil, fmt.Errorf("open kernel cache: %w", err)
	}
	s := &Store{dir: filepath.Join(abs, "kernels"), aptDir: filepath.Join(abs, "apt"), log: log}
	for _, sub := range []string{"", "locks", "folders"} {
		if err := os.MkdirAll(filepath.Join(s.dir, sub), 0o755); err != nil {
			return nil, fmt.Errorf("open kernel cache: %w", err)
		}
	}
	if err := s.sweep(); err != nil {
		return nil, fmt.Errorf("open kernel cache: %w", err)
	}
	return s, nil
}

// Resolve gives the kernel for a reference, fetching it if need be.
func (s *Store) Resolve(ctx context.Context, text string) (Kernel, error) {
	ref, err := parseReference(text)
	if err != nil {
		return Kernel{}, err
	}
	var k Kernel
	switch {
	case ref.debian != nil:
		k, err = s.resolveDebian(ctx, *ref.debian)
	case ref.file != nil:
		k, err = s.resolveFile(ctx, *ref.file)
	case ref.local != "":
		k, err = s.resolveLocal(ref.local)
	case s.Builder == nil:
		err = errors.New("there is nothing here that builds kernels from git")
	default:
		k, err = s.Builder.Build(ctx, *ref.git)
	}
	if err != nil {
		return Kernel{}, fmt.Errorf("%s: %w", text, err)
	}
	k.Ref = text
	return k, nil
}

// An Entry is a kernel in the cache.
type Entry struct {
	Kernel
	Name    string    `json:"name"`              // of its folder
	Version string    `json:"version"`           // as in references: 6.18.15
	Package string    `json:"package,omitempty"` // version of its Debian package
	Suites  []string  `json:"suites,omitempty"`  // that had it when it was fetched
	Bytes   int64     `json:"bytes"`             // of disk
	Added   time.Time `json:"added"`
}

// entryFile describes a kernel in its folder. Paths in it are relative to the
// folder, so that the cache can be moved.
const entryFile = "kernel.json"

// List gives the kernels in the cache, ordered by version.
func (s *Store) List() ([]Entry, error) {
	names, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("list kernels: %w", err)
	}
	var all []Entry
	for _, n := range names {
		if !n.IsDir() || strings.HasPrefix(n.Name(), tmpPrefix) {
			continue
		}
		e, err := s.entry(n.Name())
		if errors.Is(err, fs.ErrNotExist) {
			continue // no kernel's folder, or just removed
		}
		if err != nil {
			return nil, fmt.Errorf("list kernels: %w", err)
		}
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b Entry) int {
		return cmp.Or(compareKernels(a.Version, a.Package, b.Version, b.Package), cmp.Compare(a.Name, b.Name))
	})
	return all, nil
}

// entry reads the kernel in the folder name; the error is fs.ErrNotExist when
// there is none.
func (s *Store) entry(name string) (Entry, error) {
	var e Entry
	dir := filepath.Join(s.dir, name)
	data, err := os.ReadFile(filepath.Join(dir, entryFile))
	if err != nil {
		return e, err
	}
	if err := json.Unmarshal(data, &e); err != nil {
		return e, fmt.Errorf("%s is damaged, remove it: %w", dir, err)
	}
	for _, p := range []*string{&e.Image, &e.Config, &e.Map, &e.Modules, &e.Vmlinux, &e.Index} {
		if *p != "" {
			*p = filepath.Join(dir, *p)
		}
	}
	e.Name, e.Ref = name, e.Exact
	return e, nil
}

// Remove takes a kernel out of the cache. ref is as List gives it (Exact), or
// any reference that fits one kernel in the cache alone.
func (s *Store) Remove(text string) error {
	ref, err := parseReference(text)
	if err != nil {
		return err
	}
	all, err := s.List()
	if err != nil {
		return err
	}
	var fits []Entry
	for _, e := range all {
		switch {
		case e.Exact == text:
			return s.remove(e)
		case ref.debian != nil && e.Package != "" && ref.debian.fits(e.version()):
			fits = append(fits, e)
		}
	}
	switch len(fits) {
	case 1:
		return s.remove(fits[0])
	case 0:
		return fmt.Errorf("%s: %w in the cache; it has %s", text, ErrNotFound, exacts(all))
	}
	return fmt.Errorf("%s: several kernels in the cache fit, name one: %s", text, exacts(fits))
}

func exacts(all []Entry) string {
	if len(all) == 0 {
		return "none"
	}
	var names []string
	for _, e := range all {
		names = append(names, e.Exact)
	}
	return strings.Join(names, ", ")
}

// remove renames first, so that a kernel in the cache is always whole.
func (s *Store) remove(e Entry) error {
	tmp, err := s.newTemp()
	if err != nil {
		return fmt.Errorf("remove %s: %w", e.Exact, err)
	}
	err = os.Rename(filepath.Join(s.dir, e.Name), filepath.Join(tmp.path, "old"))
	if err := errors.Join(err, tmp.drop()); err != nil {
		return fmt.Errorf("remove %s: %w", e.Exact, err)
	}
	return nil
}

// tmpPrefix begins the names of folders that are being made.
const tmpPrefix = ".tmp-"

// A temp is a folder being made. It holds a locked file: a folder whose lock
// is free belongs to a dead process.
type temp struct {
	path  string
	alive *flock.Flock
}

const aliveFile = ".alive"

func (s *Store) newTemp() (*temp, error) {
	path, err := os.MkdirTemp(s.dir, tmpPrefix)
	if err != nil {
		return nil, err
	}
	t := &temp{path, flock.New(filepath.Join(path, aliveFile))}
	if err := t.alive.Lock(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(path))
	}
	return t, os.Chmod(path, 0o755)
}

// drop removes the folder, if it was not kept.
func (t *temp) drop() error {
	if t.path == "" {
		return nil
	}
	return errors.Join(os.RemoveAll(t.path), t.alive.Close())
}

// keep gives the finished folder its name.
func (t *temp) keep(path string) error {
	if err := os.Remove(filepath.Join(t.path, aliveFile)); err != nil {
		return err
	}
	if err := os.Rename(t.path, path); err != nil {
		return err
	}
	t.path = ""
	return t.alive.Close()
}

// sweepAge is how long a folder without a lock is left alone: it may be just
// about to get it, or about to be kept.
const sweepAge = time.Minute

func (s *Store) sweep() error {
	left, err := filepath.Glob(filepath.Join(s.dir, tmpPrefix+"*"))
	if err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(s.dir, "folders", tmpPrefix+"*"))
	if err != nil {
		return err
	}
	left = append(left, files...)
	for _, path := range left {
		info, err := os.Stat(path)
		if err != nil || time.Since(info.ModTime()) < sweepAge {
			continue
		}
		if !info.IsDir() { // what writeJSON did not finish
			if err := os.Remove(path); err != nil {
				return err
			}
			continue
		}
		alive := flock.New(filepath.Join(path, aliveFile), flock.SetFlag(os.O_RDWR|os.O_CREATE))
		if ok, err := alive.TryLock(); err != nil || !ok {
			continue
		}
		s.log.Info("removing what a dead process left", "folder", path)
		if err := errors.Join(os.RemoveAll(path), alive.Close()); err != nil {
			return err
		}
	}
	return nil
}

// lock makes sure that one process at a time makes the kernel of that name.
func (s *Store) lock(ctx context.Context, name string) (unlock func() error, err error) {
	l := flock.New(filepath.Join(s.dir, "locks", name))
	if _, err := l.TryLockContext(ctx, 100*time.Millisecond); err != nil {
		return nil, errors.Join(fmt.Errorf("wait for another process that fetches it: %w", err), l.Close())
	}
	return l.Close, nil
}

func (s *Store) progress(what string, done, total int64) {
	if s.Progress == nil {
		return
	}
	s.progressMu.Lock()
	defer s.progressMu.Unlock()
	s.Progress(what, done, total)
}
