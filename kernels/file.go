package kernels

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// resolveFile gives the user's own kernel, which is used where it is.
func (s *Store) resolveFile(ctx context.Context, f fileRef) (Kernel, error) {
	k := Kernel{Image: f.image, Config: f.config, Exact: "file:" + f.image}
	var err error
	if k.Release, err = imageRelease(f.image); err != nil {
		return k, err
	}
	if f.config != "" {
		k.Exact += ",config=" + f.config
		if _, err := readOptions(f.config); err != nil {
			return k, err
		}
	}
	contents := ""
	if f.modules != "" {
		k.Exact += ",modules=" + f.modules
		if k.Modules, err = modulesFolder(f.modules, k.Release); err != nil {
			return k, err
		}
		var ix moduleIndex
		if k.Index, ix, err = s.indexFolder(ctx, k.Modules); err != nil {
			return k, err
		}
		if err := ix.check(k.Release); err != nil {
			return k, fmt.Errorf("%s: %w", k.Modules, err)
		}
		contents = ix.Digest
	}
	k.Digest, err = k.digest(contents)
	return k, err
}

// modulesFolder finds the folder of a release's modules: the named one, or
// lib/modules/RELEASE in it, as "make modules_install" leaves it.
func modulesFolder(dir, release string) (string, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrModules, err)
	}
	if !info.IsDir() {
		return "", fmt.Errorf("%w: %s is not a folder", ErrModules, dir)
	}
	installed, err := os.ReadDir(filepath.Join(dir, "lib/modules"))
	if errors.Is(err, fs.ErrNotExist) {
		return dir, nil
	}
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrModules, err)
	}
	var others []string
	for _, e := range installed {
		if e.Name() == release {
			return filepath.Join(dir, "lib/modules", release), nil
		}
		others = append(others, e.Name())
	}
	return "", fmt.Errorf("%w: the image is %s, and %s has %s", ErrModules, release,
		filepath.Join(dir, "lib/modules"), strings.Join(others, ", "))
}

// indexFolder gives the index of a user's modules, from the cache when
// nothing in the folder changed.
func (s *Store) indexFolder(ctx context.Context, dir string) (file string, ix moduleIndex, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", ix, fmt.Errorf("%w: %w", ErrModules, err)
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	paths, err := findModules(root)
	if err != nil {
		return "", ix, fmt.Errorf("%w: %w", ErrModules, err)
	}
	if len(paths) == 0 {
		return "", ix, fmt.Errorf("%w: there are none (*.ko, *.ko.xz, *.ko.zst, *.ko.gz) in %s", ErrModules, dir)
	}
	key := sha256.New()
	for _, p := range append(paths, "modules.builtin", "modules.builtin.modinfo") {
		info, err := root.Stat(p)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", ix, err
		}
		fmt.Fprintf(key, "%q %d %d\n", p, info.Size(), info.ModTime().UnixNano())
	}
	sum := sha256.Sum256([]byte(dir))
	file = filepath.Join(s.dir, "folders", hex.EncodeToString(sum[:16])+".json")
	ix, err = readIndex(file)
	if err == nil && ix.Key == hex.EncodeToString(key.Sum(nil)) {
		return file, ix, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.Debug("a module index is made anew", "error", err)
	}
	ix, err = indexModules(ctx, root, paths, func(done int) { s.progress("reading modules", int64(done), int64(len(paths))) })
	if err != nil {
		return "", ix, err
	}
	ix.Key = hex.EncodeToString(key.Sum(nil))
	return file, ix, writeJSON(file, ix)
}
