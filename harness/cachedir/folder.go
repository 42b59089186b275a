package cachedir

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
	newPrefix = ".new-" // of a folder being made
	oldPrefix = ".old-" // of one being removed
)

// A Folder is held by this process. Release or Remove ends that; so does the
// end of the process.
type Folder struct {
	path string
	lock *flock.Flock
}

// Scratch makes a folder with a name of its own in root, which is made if need
// be. Remove removes it; if this process dies, a later Sweep of that prefix.
func Scratch(ctx context.Context, root, prefix string) (_ *Folder, err error) {
	defer wrap(&err, "make a work folder")
	root, err = filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, err
	}
	unlock, err := lockRoot(ctx, root)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	path, err := os.MkdirTemp(root, prefix)
	if err != nil {
		return nil, err
	}
	return Hold(path)
}

// Create makes the folder at path, whose parent is made if need be, and fills
// it with fill. It appears whole, and safely on the disk, or not at all. The
// error wraps fs.ErrExist when there is one already, ErrBusy when another
// process is just making it.
func Create(ctx context.Context, path string, fill func(dir string) error) (_ *Folder, err error) {
	defer wrap(&err, "make the folder "+path)
	path, err = filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	root, name := filepath.Split(path)
	f, err := begin(ctx, root, name)
	if err != nil {
		return nil, err
	}
	err = fill(f.path)
	if err == nil {
		err = syncTree(f.path)
	}
	if err == nil {
		err = f.publish(ctx, path, nil)
	}
	if err == nil {
		err = syncPath(root)
	}
	if err != nil {
		return nil, errors.Join(err, f.Remove())
	}
	return f, nil
}

// begin makes a hidden folder that is to be name in root.
func begin(ctx context.Context, root, name string) (_ *Folder, err error) {
	if err := os.MkdirAll(root, 0o755); err != nil {
		return nil, err
	}
	unlock, err := lockRoot(ctx, root)
	if err != nil {
		return nil, err
	}
	var left string // by a process that died
	defer func() {
		err = errors.Join(err, unlock())
		if left != "" {
			_ = os.RemoveAll(left) // or the next Sweep does
		}
	}()
	switch _, err := os.Lstat(filepath.Join(root, name)); {
	case err == nil:
		return nil, fs.ErrExist
	case !missing(err):
		return nil, err
	}
	path := filepath.Join(root, newPrefix+name)
	err = os.Mkdir(path, 0o755)
	if errors.Is(err, fs.ErrExist) {
		if left, err = takeAway(path); err == nil { // ErrBusy while its process lives
			err = os.Mkdir(path, 0o755)
		}
	}
	if err != nil {
		return nil, err
	}
	return Hold(path)
}

// publish gives a folder its name. Before others can take it, then is called.
func (f *Folder) publish(ctx context.Context, path string, then func() error) error {
	unlock, err := lockRoot(ctx, filepath.Dir(path))
	if err != nil {
		return err
	}
	// rename(2) would replace an empty folder.
	if _, err = os.Lstat(path); err == nil {
		err = fs.ErrExist
	} else if missing(err) {
		err = os.Rename(f.path, path)
	}
	if err == nil {
		f.path = path
		if then != nil {
			err = then()
		}
	}
	return errors.Join(err, unlock())
}

// Hold takes a folder that is there. The error wraps ErrBusy when somebody
// else holds it.
func Hold(path string) (*Folder, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	for {
		f := &Folder{path: path, lock: flock.New(filepath.Join(path, lockName), flock.SetFlag(os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW))}
		if err := try(f.lock); err != nil {
			return nil, err
		}
		if isOf(f.lock, path) != nil {
			return f, nil
		}
		// Who held it has just let go of it.
		if err := f.lock.Close(); err != nil {
			return nil, err
		}
	}
}

// Path is the folder's absolute path.
func (f *Folder) Path() string { return f.path }

// Release lets go of the folder, which stays.
func (f *Folder) Release() error {
	err := os.Remove(filepath.Join(f.path, lockName))
	if missing(err) {
		err = nil
	}
	return errors.Join(err, f.lock.Close())
}

// Remove removes the folder and all that is in it. The lock goes last:
// whenever this process dies, a Sweep can do the rest.
func (f *Folder) Remove() (err error) {
	defer wrap(&err, "remove a work folder")
	if err := f.empty(); err != nil {
		return errors.Join(err, f.lock.Close())
	}
	return errors.Join(os.RemoveAll(f.path), f.lock.Close())
}

// empty removes what is in the folder, but for its lock.
func (f *Folder) empty() error {
	entries, err := os.ReadDir(f.path)
	if missing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() != lockName {
			if err := os.RemoveAll(filepath.Join(f.path, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// Sweep takes each folder in root whose name begins with prefix and whose
// process died, and hands it to end, which ends with Release or Remove; a nil
// end removes it. What was being made or removed by a process that died is
// removed. Anything else stays, such as a folder that nobody ever held. A root
// that is not there is clean.
func Sweep(ctx context.Context, root, prefix string, end func(*Folder) error) (err error) {
	defer wrap(&err, "sweep "+root)
	left, err := abandoned(ctx, root, prefix)
	errs := []error{err}
	for _, f := range left {
		if end == nil || strings.HasPrefix(filepath.Base(f.path), newPrefix) {
			errs = append(errs, f.Remove())
		} else {
			errs = append(errs, end(f))
		}
	}
	return errors.Join(errs...)
}

// abandoned takes the folders of dead processes, and removes what they were
// removing.
func abandoned(ctx context.Context, root, prefix string) (left []*Folder, err error) {
	entries, err := os.ReadDir(root)
	if missing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	unlock, err := lockRoot(ctx, root)
	if err != nil {
		return nil, err
	}
	var errs []error
	var old []string
	for _, e := range entries {
		path := filepath.Join(root, e.Name())
		making := strings.HasPrefix(e.Name(), newPrefix)
		switch {
		case !e.IsDir(): // a link is no folder of ours, whatever its name
		case strings.HasPrefix(e.Name(), oldPrefix):
			old = append(old, path)
		case making || strings.HasPrefix(e.Name(), prefix):
			f, err := takeAbandoned(path, making || prefix != "")
			if f != nil {
				left = append(left, f)
			}
			errs = append(errs, err)
		}
	}
	errs = append(errs, unlock())
	for _, path := range old {
		if ctx.Err() != nil {
			errs = append(errs, context.Cause(ctx))
			break
		}
		errs = append(errs, os.RemoveAll(path))
	}
	return left, errors.Join(errs...)
}

// takeAbandoned holds the folder at path if its process died, else gives nil.
func takeAbandoned(path string, ours bool) (*Folder, error) {
	switch info, err := os.Lstat(filepath.Join(path, lockName)); {
	case missing(err):
		// Never held, or all but removed: then it is empty. One that is not is
		// not ours.
		if ours {
			if err := os.Remove(path); err != nil && !errors.Is(err, syscall.ENOTEMPTY) && !missing(err) {
				return nil, err
			}
		}
		return nil, nil
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, nil
	}
	f, err := Hold(path)
	if errors.Is(err, ErrBusy) || missing(err) {
		return nil, nil
	}
	return f, err
}

// setAside gives a folder a name under which it is removed. The root is
// locked; it should not be any more when a large folder is removed.
func setAside(path string) (old string, err error) {
	old = filepath.Join(filepath.Dir(path), fmt.Sprintf("%s%s-%d", oldPrefix, filepath.Base(path), time.Now().UnixNano()))
	return old, os.Rename(path, old)
}

// takeAway is setAside unless somebody holds the folder; then it is ErrBusy.
func takeAway(path string) (old string, err error) {
	f, err := Hold(path)
	if err != nil {
		return "", err
	}
	old, err = setAside(path)
	return old, errors.Join(err, f.lock.Close())
}

func wrap(err *error, what string) {
	if *err != nil {
		*err = fmt.Errorf("%s: %w", what, *err)
	}
}
