package cachedir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// WriteFile puts a file in place in root, whole or not at all; when it
// returns, the file outlives a loss of power. Of several who write the same
// file at once, one is the last.
func WriteFile(root *os.Root, name string, data []byte) (err error) {
	defer wrap(&err, "write "+filepath.Join(root.Name(), name))
	f, temp, err := openAlone(root, filepath.Join(filepath.Dir(name), newPrefix+filepath.Base(name)))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	err = f.Truncate(0) // one that was killed may have left something
	if err == nil {
		_, err = f.Write(data)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = root.Rename(temp, name)
	}
	if err != nil {
		return errors.Join(err, root.Remove(temp))
	}
	d, err := root.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	return errors.Join(syncFolder(d), d.Close())
}

// openAlone opens a temporary file that nobody else has, named first or, while
// others have that, with a number after it.
func openAlone(root *os.Root, first string) (_ *os.File, name string, err error) {
	name = first
	for n := 2; ; {
		f, err := root.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644)
		if err != nil {
			return nil, "", err
		}
		if err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == nil {
			held, err1 := f.Stat()
			now, err2 := root.Lstat(name)
			if err1 == nil && err2 == nil && os.SameFile(held, now) {
				return f, name, nil
			}
			err = err1 // else it has been put in place by now
		} else if errors.Is(err, unix.EWOULDBLOCK) {
			name, err = fmt.Sprintf("%s.%d", first, n), nil
			n++
		}
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, "", err
		}
	}
}

func syncFolder(d *os.File) error {
	err := d.Sync()
	if errors.Is(err, syscall.EINVAL) { // a file system that can't
		return nil
	}
	return err
}

func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(syncFolder(f), f.Close())
}

// syncTree brings a folder and all files and folders in it to the disk.
func syncTree(path string) error {
	err := filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() && !d.Type().IsRegular() {
			return err
		}
		return syncPath(p)
	})
	if err != nil {
		return fmt.Errorf("bring it to the disk: %w", err)
	}
	return nil
}
