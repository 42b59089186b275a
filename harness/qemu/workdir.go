package qemu

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/gofrs/flock"
)

const (
	// lockFile in a WorkDir is locked as long as the process that made it
	// lives. In the root it is locked while a WorkDir is made or removed, so that
	// a Sweep never meets one that is not locked yet.
	lockFile = ".blockrig.lock"

	workDirPrefix = "machine-"

	lockRetry = 5 * time.Millisecond
)

// A WorkDir is a folder for one machine's files, on which no other process
// lays a hand while this one lives. Whoever makes one calls Remove.
type WorkDir struct {
	root string
	path string
	lock *flock.Flock
}

// NewWorkDir makes a folder in root, which is made if need be.
func NewWorkDir(root string) (*WorkDir, error) {
	d, err := newWorkDir(root)
	if err != nil {
		return nil, fmt.Errorf("make a folder for a machine: %w", err)
	}
	return d, nil
}

func newWorkDir(root string) (_ *WorkDir, err error) {
	root, err = filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, err
	}
	unlock, err := lockRoot(context.Background(), root)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, unlock()) }()

	path, err := os.MkdirTemp(root, workDirPrefix)
	if err != nil {
		return nil, err
	}
	lock := flock.New(filepath.Join(path, lockFile))
	switch ok, err := lock.TryLock(); {
	case err != nil:
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), os.RemoveAll(path))
	case !ok:
		return nil, fmt.Errorf("lock %s: somebody else has locked it", path)
	}
	return &WorkDir{root: root, path: path, lock: lock}, nil
}

// Path is the folder's absolute path.
func (d *WorkDir) Path() string { return d.path }

// Remove removes the folder and all that is in it.
func (d *WorkDir) Remove() error {
	if err := errors.Join(removeLockLast(d.path), d.lock.Close()); err != nil {
		return fmt.Errorf("remove the folder of a machine: %w", err)
	}
	return nil
}

// moveTo makes of it a folder like any other, at a path that must be free and
// is not for a Sweep. After that there is nothing to Remove.
func (d *WorkDir) moveTo(path string) error {
	if err := os.Rename(d.path, path); err != nil {
		return err
	}
	// It is complete: a lock that stays in it does no harm.
	_ = os.Remove(filepath.Join(path, lockFile))
	_ = d.lock.Close()
	return nil
}

// Sweep removes from root the folders of NewWorkDir whose process is dead.
// Anything else in root stays. A root that does not exist is clean.
func Sweep(ctx context.Context, root string) error {
	if err := sweep(ctx, root); err != nil {
		return fmt.Errorf("sweep %s: %w", root, err)
	}
	return nil
}

func sweep(ctx context.Context, root string) (err error) {
	entries, err := os.ReadDir(root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	unlock, err := lockRoot(ctx, root)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()

	var failed []error
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		// A link is no folder of ours, whatever its name.
		if e.IsDir() && strings.HasPrefix(e.Name(), workDirPrefix) {
			failed = append(failed, sweepOne(filepath.Join(root, e.Name())))
		}
	}
	return errors.Join(failed...)
}

func sweepOne(path string) error {
	name := filepath.Join(path, lockFile)
	switch info, err := os.Lstat(name); {
	case errors.Is(err, fs.ErrNotExist):
		// Never locked, or all but removed: then it is empty. One that is not is
		// not ours.
		if err := os.Remove(path); err != nil && !errors.Is(err, syscall.ENOTEMPTY) && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return nil
	}
	lock := flock.New(name, flock.SetFlag(os.O_RDWR)) // without O_CREATE
	ok, err := lock.TryLock()
	if errors.Is(err, fs.ErrNotExist) {
		return nil // its owner was quicker
	}
	if err != nil || !ok {
		return err // in use when !ok
	}
	return errors.Join(removeLockLast(path), lock.Close())
}

// removeLockLast removes a folder such that, whenever this process dies, a
// Sweep can do the rest.
func removeLockLast(path string) error {
	entries, err := os.ReadDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() != lockFile {
			if err := os.RemoveAll(filepath.Join(path, e.Name())); err != nil {
				return err
			}
		}
	}
	return os.RemoveAll(path)
}

func lockRoot(ctx context.Context, root string) (unlock func() error, err error) {
	lock := flock.New(filepath.Join(root, lockFile))
	if _, err := lock.TryLockContext(ctx, lockRetry); err != nil { // or it has the lock
		return nil, fmt.Errorf("lock %s: %w", root, err)
	}
	return lock.Close, nil
}
