package cachedir

import (
	"cmp"
	"context"
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
)

// Options of a Dir.
type Options struct {
	What    string        // an entry, for messages: "kernel"
	Limit   int64         // bytes of disk, holes not counted; 0: no limit
	Keep    int           // entries; 0: no limit
	MinAge  time.Duration // what was used within that time stays
	Durable bool          // sync what is made: it took too long to make it again
	Log     *slog.Logger  // is told of damage; nil for none
	// Later is a folder of an entry, slashed, with many files of which few are
	// used: they are compared with what was stored when they are named.
	Later string
	// Waiting, if not nil, is told that somebody else makes an entry that is
	// waited for.
	Waiting func(key string)

	// Irreplaceable, if not nil, tells which entries nobody can make again:
	// they stay until Remove, even when they are damaged.
	Irreplaceable func(key string) bool
}

// A Dir is a cache of entries. New makes one; its methods may be called by
// several goroutines, and several processes may share the folder.
type Dir struct {
	path string
	opt  Options
	seen sync.Map // path of a file that was found to be right -> identity
}

// New gives the cache in the folder at path, which is made when something is
// put into it.
func New(path string, o Options) *Dir {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.What = cmp.Or(o.What, "entry")
	if o.Irreplaceable == nil {
		o.Irreplaceable = func(string) bool { return false }
	}
	return &Dir{path: path, opt: o}
}

// Path is the cache's folder.
func (d *Dir) Path() string { return d.path }

// An Entry is the right to use an entry. Close gives it up.
type Entry struct {
	dir  *Dir
	key  string
	path string
	lock *flock.Flock
	is   fs.FileInfo // of the lock: another entry in its place has another

	discard  sync.Once // later, another entry's lock may have the same inode
	once     sync.Once
	manifest *manifest
	bad      error // of reading it
}

// Path is the entry's folder. Nobody writes to what is in it.
func (e *Entry) Path() string { return e.path }

// Key is the entry's name.
func (e *Entry) Key() string { return e.key }

// Close gives up the entry. A nil one is none.
func (e *Entry) Close() error {
	if e == nil {
		return nil
	}
	return e.lock.Close()
}

// Open gives the entry of that key, when it is there and undamaged: all of
// it, or these files. Else the error wraps fs.ErrNotExist. A damaged one is
// removed; when it is irreplaceable it stays, and the error wraps ErrDamaged.
func (d *Dir) Open(ctx context.Context, key string, files ...string) (_ *Entry, err error) {
	defer wrap(&err, "open "+d.name(key))
	e, err := d.lease(ctx, key)
	if err != nil {
		return nil, err
	}
	if err = e.Verify(ctx, files...); err == nil {
		return e, nil
	}
	if !errors.Is(err, ErrDamaged) || d.opt.Irreplaceable(key) {
		return nil, errors.Join(err, e.Close())
	}
	if err := e.Discard(ctx, err); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("%w: it was damaged", fs.ErrNotExist)
}

// lease takes the entry for use, whatever is in it.
func (d *Dir) lease(ctx context.Context, key string) (*Entry, error) {
	path, err := d.pathOf(key)
	if err != nil {
		return nil, err
	}
	for {
		if info, err := os.Lstat(path); err != nil {
			return nil, err
		} else if !info.IsDir() {
			if err := d.clear(ctx, key, damaged("it is no folder")); err != nil {
				return nil, err
			}
			continue
		} else if info, err := os.Lstat(filepath.Join(path, lockName)); err == nil && !info.Mode().IsRegular() {
			if err := d.clear(ctx, key, damaged("its lock is no file")); err != nil {
				return nil, err
			}
			continue
		}
		lock := flock.New(filepath.Join(path, lockName))
		if err := wait(ctx, lock, lock.TryRLockContext); missing(err) {
			continue // removed meanwhile
		} else if err != nil {
			return nil, err
		}
		if info := isOf(lock, path); info != nil {
			used(path)
			return &Entry{dir: d, key: key, path: path, lock: lock, is: info}, nil
		}
		if err := lock.Close(); err != nil {
			return nil, err
		}
	}
}

// clear removes what can't be an entry, unless it may be the rest of one that
// nobody can make again.
func (d *Dir) clear(ctx context.Context, key string, why error) error {
	if d.opt.Irreplaceable(key) {
		return why
	}
	return d.setAside(ctx, key, nil, why)
}

// used notes that the entry at path was used now. Only the order of removal
// depends on it: who may not write there is a user all the same.
func used(path string) {
	now := time.Now()
	_ = os.Chtimes(filepath.Join(path, lockName), now, now)
}

// Verify compares these files of the entry, or all of them but for Options.Later,
// with what was stored. The error wraps ErrDamaged when they differ: Discard it then.
func (e *Entry) Verify(ctx context.Context, files ...string) error {
	root, err := os.OpenRoot(e.path)
	if err != nil {
		return gone(err)
	}
	defer root.Close()
	e.once.Do(func() { e.manifest, e.bad = readManifest(root) })
	if e.bad != nil {
		return e.bad
	}
	return e.manifest.check(ctx, root, files, e.dir.opt.Later, &e.dir.seen)
}

// Discard removes the entry, which is of no use, and gives it up; why is said
// in the log. If another one has been made in its place, that one stays. Other
// users of this one find out by themselves. One that was closed can be
// discarded, too, and to do it again does nothing.
func (e *Entry) Discard(ctx context.Context, why error) (err error) {
	defer wrap(&err, "remove "+e.dir.name(e.key))
	e.discard.Do(func() { err = errors.Join(e.dir.setAside(ctx, e.key, e, why), e.Close()) })
	return err
}

// Remove removes an entry that nobody wants any more, even one in use. The
// error wraps fs.ErrNotExist when there is none.
func (d *Dir) Remove(ctx context.Context, key string) (err error) {
	defer wrap(&err, "remove "+d.name(key))
	path, err := d.pathOf(key)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(path); err != nil {
		return err
	}
	return d.setAside(ctx, key, nil, nil)
}

// setAside removes what is at key, if it is still the entry e, for any of
// them when e is nil.
func (d *Dir) setAside(ctx context.Context, key string, e *Entry, why error) error {
	path := filepath.Join(d.path, key)
	unlock, err := lockRoot(ctx, d.path)
	if err != nil {
		return err
	}
	var old string
	now, serr := os.Lstat(filepath.Join(path, lockName))
	if e == nil || serr == nil && os.SameFile(now, e.is) {
		old, err = setAside(path)
	}
	if err = errors.Join(err, unlock()); missing(err) || old == "" && err == nil {
		return nil // somebody was quicker
	}
	if err != nil {
		return err
	}
	if why != nil {
		d.opt.Log.Warn("the "+d.opt.What+" in the cache is of no use and is made again", "key", key, "reason", why)
	}
	return os.RemoveAll(old)
}

// Get gives the entry of that key, undamaged as Open does, or newly made:
// make writes its files into the folder dir, which is empty. One process at a
// time makes an entry. An error of make is given as it is.
func (d *Dir) Get(ctx context.Context, key string, make func(ctx context.Context, dir string) error, files ...string) (*Entry, error) {
	for {
		e, err := d.Open(ctx, key, files...)
		if err == nil || !missing(err) {
			return e, err
		}
		if e, err = d.make(ctx, key, make); e != nil || err != nil {
			return e, err
		}
	}
}

// make gives nothing when there may be something to Open by now.
func (d *Dir) make(ctx context.Context, key string, make func(ctx context.Context, dir string) error) (_ *Entry, err error) {
	path, err := d.pathOf(key)
	if err != nil {
		return nil, err
	}
	f, err := begin(ctx, d.path, key)
	switch {
	case errors.Is(err, fs.ErrExist):
		return nil, nil
	case errors.Is(err, ErrBusy):
		return nil, d.await(ctx, key)
	case err != nil:
		return nil, fmt.Errorf("make %s: %w", d.name(key), err)
	}
	published := false
	defer func() {
		switch {
		case err != nil && !published:
			err = errors.Join(err, f.Remove())
		case err != nil: // others may use it by now
			err = errors.Join(err, f.lock.Close())
		}
	}()
	d.tidy(ctx) // room for it, and what others left
	if err := make(ctx, f.path); err != nil {
		return nil, err
	}
	defer wrap(&err, "store "+d.name(key))
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	if err := seal(ctx, f.path); err != nil {
		return nil, err
	}
	if d.opt.Durable {
		if err := syncTree(f.path); err != nil {
			return nil, err
		}
	}
	// Shared while nobody can take it to make room.
	e := &Entry{dir: d, key: key, path: path, lock: f.lock}
	err = f.publish(ctx, path, func() error {
		published = true
		used(path)
		e.is = isOf(f.lock, path)
		_, err := f.lock.TryRLock()
		return err
	})
	if err != nil {
		return nil, err
	}
	if d.opt.Durable {
		if err := syncPath(d.path); err != nil {
			d.opt.Log.Warn("the "+d.opt.What+" in the cache may not outlive a loss of power", "key", key, "error", err)
		}
	}
	d.tidy(ctx)
	return e, nil
}

// tidy is Trim where a failure is no reason to do without an entry.
func (d *Dir) tidy(ctx context.Context) {
	if err := d.Trim(ctx); err != nil && ctx.Err() == nil {
		d.opt.Log.Warn("can't make room", "error", err)
	}
}

// await waits until the process that makes the entry of that key has ended or
// given up.
func (d *Dir) await(ctx context.Context, key string) error {
	l := flock.New(filepath.Join(d.path, newPrefix+key, lockName), flock.SetFlag(os.O_RDONLY))
	err := try(l)
	if errors.Is(err, ErrBusy) {
		if d.opt.Waiting != nil {
			d.opt.Waiting(key)
		}
		err = wait(ctx, l, l.TryLockContext)
	}
	if missing(err) {
		return nil
	}
	return errors.Join(err, l.Close())
}

// Keys are those of all entries, sorted.
func (d *Dir) Keys() ([]string, error) {
	entries, err := os.ReadDir(d.path)
	if err != nil && !missing(err) {
		return nil, fmt.Errorf("look into the cache: %w", err)
	}
	var keys []string
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			keys = append(keys, e.Name())
		}
	}
	return keys, nil
}

// Trim removes what dead processes left, and the entries that were used
// longest ago until the others are within the limits. What is in use stays.
func (d *Dir) Trim(ctx context.Context) (err error) {
	defer wrap(&err, "make room in the cache "+d.path)
	if err := Sweep(ctx, d.path, newPrefix, nil); err != nil {
		return err
	}
	if d.opt.Limit <= 0 && d.opt.Keep <= 0 {
		return nil
	}
	keys, err := d.Keys()
	if err != nil {
		return err
	}
	type entry struct {
		key   string
		used  time.Time
		bytes int64
	}
	var all []entry
	var total int64
	for _, key := range keys {
		e := entry{key: key, bytes: bytesOf(filepath.Join(d.path, key))}
		info, err := os.Stat(filepath.Join(d.path, key, lockName))
		if missing(err) { // not of this package: old, at any rate
			info, err = os.Stat(filepath.Join(d.path, key))
		}
		if err == nil {
			e.used = info.ModTime()
		}
		total += e.bytes
		all = append(all, e)
	}
	slices.SortStableFunc(all, func(a, b entry) int { return a.used.Compare(b.used) })
	n := len(all)
	var errs []error
	for _, e := range all {
		if d.opt.Irreplaceable(e.key) {
			continue
		}
		fits := (d.opt.Limit <= 0 || total <= d.opt.Limit) && (d.opt.Keep <= 0 || n <= d.opt.Keep)
		if fits || time.Since(e.used) < d.opt.MinAge {
			break
		}
		gone, err := d.removeUnused(ctx, e.key)
		if gone {
			total -= e.bytes
			n--
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// removeUnused removes an entry unless somebody uses it.
func (d *Dir) removeUnused(ctx context.Context, key string) (gone bool, err error) {
	path := filepath.Join(d.path, key)
	unlock, err := lockRoot(ctx, d.path)
	if err != nil {
		return false, err
	}
	old, err := takeAway(path)
	err = errors.Join(err, unlock())
	switch {
	case errors.Is(err, ErrBusy):
		return false, nil
	case missing(err):
		return true, nil
	case err != nil:
		return false, err
	}
	return true, os.RemoveAll(old)
}

// pathOf refuses keys that are no plain names: a path never leads out of the
// cache.
func (d *Dir) pathOf(key string) (string, error) {
	if key == "" || strings.HasPrefix(key, ".") || strings.ContainsAny(key, "/\x00") || len(key) > 200 {
		return "", fmt.Errorf("%q can't name a %s in the cache", key, d.opt.What)
	}
	return filepath.Join(d.path, key), nil
}

func (d *Dir) name(key string) string { return fmt.Sprintf("%s %s", d.opt.What, key) }
