package cachedir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// WriteFile puts a file in place in root, whole or not at all; when it
// returns, the file outlives a loss of power. The caller keeps others from
// writing the same file at once.
func WriteFile(root *os.Root, name string, data []byte) (err error) {
	defer wrap(&err, "write "+filepath.Join(root.Name(), name))
	temp := filepath.Join(filepath.Dir(name), newPrefix+filepath.Base(name))
	f, err := root.OpenFile(temp, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
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
