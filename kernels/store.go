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
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/blockrig/blockrig/harness/cachedir"
	"github.com/blockrig/blockrig/kernels/debian"
	"github.com/blockrig/blockrig/kernels/internal/decompress"
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

	kernels    *cachedir.Dir // Debian's and local ones, by Entry.Name
	unpacked   *cachedir.Dir // see Direct, by Kernel.Digest
	indexes    *cachedir.Dir // of users' folders of modules
	aptDir     string
	log        *slog.Logger
	aptSources []string // instead of the machine's

	progressMu sync.Mutex
	mu         sync.Mutex
	apts       map[string]*debian.Apt // by the time that they look into; "" is now
}

// recently is for how long what was given is not removed to make room: its
// user has no lease of it.
const recently = time.Hour

// Open opens the cache of kernels below cacheDir (blockrig's own cache
// folder), and removes what dead processes left there. It makes no folder.
func Open(ctx context.Context, cacheDir string, log *slog.Logger) (*Store, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	abs, err := filepath.Abs(cacheDir)
	if err != nil {
		return nil, fmt.Errorf("open kernel cache: %w", err)
	}
	dir := filepath.Join(abs, "kernels")
	s := &Store{
		kernels:  cachedir.New(dir, cachedir.Options{What: "kernel", Irreplaceable: isLocal, Later: moduleFolder, Log: log}),
		unpacked: cachedir.New(filepath.Join(dir, "direct"), cachedir.Options{What: "unpacked kernel", Keep: keepDirect, MinAge: recently, Log: log}),
		indexes:  cachedir.New(filepath.Join(dir, "folders"), cachedir.Options{What: "index of modules", Keep: keepIndexes, MinAge: recently, Log: log}),
		aptDir:   filepath.Join(abs, "apt"), log: log, apts: map[string]*debian.Apt{},
	}
	for _, d := range []*cachedir.Dir{s.kernels, s.unpacked, s.indexes} {
		if err := d.Trim(ctx); err != nil && ctx.Err() == nil {
			log.Warn("the kernel cache can't be tidied", "error", err)
		}
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
		k, err = s.resolveLocal(ctx, ref.local)
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
	Damaged string    `json:"damaged,omitempty"` // why it can't be used; then only Name is known
}

// entryFile describes a kernel in its folder. Paths in it are relative to the
// folder, so that the cache can be moved.
const entryFile = "kernel.json"

// Folders of kernels begin with one of these.
const (
	debianPrefix = "debian-"
	localPrefix  = "local-" // that Add put there
)

// isLocal tells whether the user added the kernel of that name.
func isLocal(name string) bool { return strings.HasPrefix(name, localPrefix) }

// List gives the kernels in the cache, ordered by version, and the damaged ones
// first.
func (s *Store) List() ([]Entry, error) { return s.Matching("") }

// Matching is List for the kernels whose version begins with prefix, as for
// Available. The damaged ones are all given, since their version is not known.
func (s *Store) Matching(prefix string) ([]Entry, error) {
	want, err := parsePrefix(prefix)
	if err != nil {
		return nil, err
	}
	keys, err := s.kernels.Keys()
	if err != nil {
		return nil, fmt.Errorf("list kernels: %w", err)
	}
	var all []Entry
	for _, key := range keys {
		if !strings.HasPrefix(key, debianPrefix) && !isLocal(key) {
			continue
		}
		e, err := s.read(key)
		if err != nil {
			if _, gone := os.Lstat(filepath.Join(s.kernels.Path(), key)); gone != nil {
				continue // removed meanwhile
			}
			e = Entry{Name: key, Damaged: err.Error()}
		} else if !s.kernels.Sealed(key) {
			e = Entry{Name: key, Damaged: noChecksums(key)}
		} else if prefix != "" && !want.fits(e.version()) {
			continue
		}
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b Entry) int {
		return cmp.Or(compareKernels(a.Version, a.Package, b.Version, b.Package), cmp.Compare(a.Name, b.Name))
	})
	return all, nil
}

// noChecksums says what it means that a kernel has no checksums.
func noChecksums(name string) string {
	what := "it is fetched again when it is used"
	if isLocal(name) {
		what = "add it again under another name"
	}
	return "it has no checksums, since an older blockrig stored it; " + what
}

// Newest gives the newest kernel of the cache that is undamaged. It fetches
// none; the error wraps fs.ErrNotExist when there is none.
func (s *Store) Newest(ctx context.Context) (Kernel, error) {
	all, err := s.sound()
	if err != nil {
		return Kernel{}, err
	}
	for _, e := range slices.Backward(all) {
		if e, err := s.open(ctx, e.Name); !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, cachedir.ErrDamaged) {
			return e.Kernel, err
		}
	}
	return Kernel{}, fmt.Errorf("no kernel in the cache: %w", fs.ErrNotExist)
}

// sound gives the kernels that List gives, but for the damaged ones.
func (s *Store) sound() ([]Entry, error) {
	all, err := s.List()
	return slices.DeleteFunc(all, func(e Entry) bool { return e.Damaged != "" }), err
}

// read reads what the folder of that name says of its kernel, which it need
// not be true: see open.
func (s *Store) read(name string) (e Entry, err error) {
	dir := filepath.Join(s.kernels.Path(), name)
	root, err := os.OpenRoot(dir)
	if err != nil {
		return e, err
	}
	defer root.Close()
	f, err := openRegular(root, entryFile)
	if err != nil {
		return e, err
	}
	defer f.Close()
	if err := json.NewDecoder(decompress.AtMost(f, 1<<20)).Decode(&e); err != nil {
		return e, fmt.Errorf("%s: %w", entryFile, err)
	}
	ref, err := parseReference(e.Exact)
	if err != nil || e.Name != name || ref.debian == nil && localPrefix+ref.local != name || e.Image == "" {
		return e, fmt.Errorf("%s is of another kernel", entryFile)
	}
	for _, p := range []*string{&e.Image, &e.Config, &e.Map, &e.Modules, &e.Vmlinux, &e.Index} {
		if *p == "" {
			continue
		}
		if !filepath.IsLocal(*p) {
			return e, fmt.Errorf("%s has a path that leads out of its folder", entryFile)
		}
		*p = filepath.Join(dir, *p)
	}
	e.Ref, e.Damaged = e.Exact, ""
	return e, nil
}

// open gives the kernel in the folder of that name, undamaged; the error is
// fs.ErrNotExist when there is none. A damaged one is removed, but for one that
// the user added: then it is cachedir.ErrDamaged.
func (s *Store) open(ctx context.Context, name string) (Entry, error) {
	lease, err := s.kernels.Open(ctx, name)
	if err != nil {
		return Entry{}, err
	}
	e, err := s.read(name)
	return e, errors.Join(err, lease.Close())
}

// moduleFolder is where an entry has its modules, of which few are used.
const moduleFolder = "modules/kernel"

// Verify compares modules of a kernel in the cache with what was stored. Where they
// differ the kernel is removed, and Resolve fetches it anew; the error is that of
// open, and says what to do about a kernel that the user added.
func (s *Store) Verify(ctx context.Context, k Kernel, modules []Module) error {
	var names []string
	name, folder := "", ""
	if in, err := filepath.Rel(s.kernels.Path(), k.Modules); err == nil && filepath.IsLocal(in) {
		name, folder, _ = strings.Cut(filepath.ToSlash(in), "/")
	}
	for _, m := range modules {
		names = append(names, path.Join(folder, m.Path))
	}
	if folder == "" || len(names) == 0 { // it has none, or they lie elsewhere
		return nil
	}
	lease, err := s.kernels.Open(ctx, name, names...)
	if err != nil {
		return fmt.Errorf("modules of %s: %w", k.Ref, s.sayDamage(strings.TrimPrefix(name, localPrefix), err))
	}
	return lease.Close()
}

// get is open, or fill makes the kernel in the empty folder root.
func (s *Store) get(ctx context.Context, name string, fill func(ctx context.Context, root *os.Root) (Entry, error)) (Entry, error) {
	lease, err := s.kernels.Get(ctx, name, func(ctx context.Context, dir string) error {
		root, err := os.OpenRoot(dir)
		if err != nil {
			return err
		}
		e, err := fill(ctx, root)
		if err == nil {
			e.Name, e.Added = name, time.Now().UTC().Truncate(time.Second)
			err = s.finish(ctx, root, &e)
		}
		return errors.Join(err, root.Close())
	})
	if err != nil {
		return Entry{}, err
	}
	e, err := s.read(name)
	return e, errors.Join(err, lease.Close())
}

// Remove takes a kernel out of the cache. ref is as List gives it (Exact, or
// the Name of a damaged one), or any reference that fits one kernel in the
// cache alone.
func (s *Store) Remove(ctx context.Context, text string) error {
	all, err := s.List()
	if err != nil {
		return err
	}
	i := slices.IndexFunc(all, func(e Entry) bool { return e.Exact == text || e.Name == text })
	if i >= 0 {
		return s.kernels.Remove(ctx, all[i].Name)
	}
	ref, err := parseReference(text)
	if err != nil {
		return err
	}
	var fits []Entry
	for _, e := range all {
		if ref.debian != nil && e.Package != "" && ref.debian.fits(e.version()) {
			fits = append(fits, e)
		}
	}
	switch len(fits) {
	case 1:
		return s.kernels.Remove(ctx, fits[0].Name)
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
		names = append(names, cmp.Or(e.Exact, e.Name))
	}
	return strings.Join(names, ", ")
}

func (s *Store) progress(what string, done, total int64) {
	if s.Progress == nil {
		return
	}
	s.progressMu.Lock()
	defer s.progressMu.Unlock()
	s.Progress(what, done, total)
}
