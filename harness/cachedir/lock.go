package cachedir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

// ErrBusy says that another process, or another part of this one, holds it.
var ErrBusy = errors.New("in use by another process")

// Files that are locked: in each folder, and in a root of folders, which may
// be such a folder itself.
const (
	lockName = ".blockrig.lock"
	rootName = ".blockrig.root.lock"
)

// lockPoll is how often a lock that somebody else holds is tried: flock(2)
// can't wait for it and for a context.
const lockPoll = 5 * time.Millisecond

// Lock locks the file at path, which is made if need be, and waits for that
// until ctx ends. The folder must be there.
func Lock(ctx context.Context, path string) (unlock func() error, err error) {
	l := flock.New(path)
	return l.Close, wait(ctx, l, l.TryLockContext)
}

// TryLock is Lock without waiting; the error then wraps ErrBusy.
func TryLock(path string) (unlock func() error, err error) {
	l := flock.New(path)
	return l.Close, try(l)
}

func wait(ctx context.Context, l *flock.Flock, try func(context.Context, time.Duration) (bool, error)) error {
	if _, err := try(ctx, lockPoll); err != nil { // or it has the lock
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return errors.Join(fmt.Errorf("lock %s: %w", l.Path(), err), l.Close())
	}
	return nil
}

func try(l *flock.Flock) error {
	ok, err := l.TryLock()
	if err == nil && !ok {
		err = ErrBusy
	}
	if err != nil {
		return errors.Join(fmt.Errorf("lock %s: %w", l.Path(), err), l.Close())
	}
	return nil
}

// lockRoot keeps others from making, renaming and sweeping folders in root.
func lockRoot(ctx context.Context, root string) (unlock func() error, err error) {
	return Lock(ctx, filepath.Join(root, rootName))
}

// isOf gives what tells the folder at path from another, if a lock that was
// taken is that folder's, and not of one that was there before; else nil.
func isOf(l *flock.Flock, path string) fs.FileInfo {
	held, err1 := l.Stat()
	now, err2 := os.Lstat(filepath.Join(path, lockName))
	if err1 != nil || err2 != nil || !os.SameFile(held, now) {
		return nil
	}
	return held
}

func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
