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
func (s *Store) resolveFile(ctx context.Context, f fileRef) (k Kernel, err error) {
	k = Kernel{Image: f.image, Config: f.config, Exact: "file:" + f.image}
	if err := k.check(); err != nil {
		return k, err
	}
	if f.config != "" {
		k.Exact += ",config=" + f.config
	}
	contents := ""
	if f.modules != "" {
		k.Exact += ",modules=" + f.modules
		if k.Modules, err = modulesFolder(f.modules, k.Release); err != nil {
			return k, err
		}
		if k.Index, err = s.indexFolder(ctx, k.Modules); err != nil {
			return k, err
		}
		ix, err := readIndex(k.Index)
		if err != nil {
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

// check refuses an image that is none, and a config that can't be read. It
// sets Release.
func (k *Kernel) check() (err error) {
	if k.Release, err = imageRelease(k.Image); err != nil || k.Config == "" {
		return err
	}
	_, err = readOptions(k.Config)
	return err
}

// Complete fills in what follows from the files of a kernel that was made
// elsewhere (see Builder) and has no modules: Release and Digest. It refuses
// what Store.Resolve refuses (ErrImage).
func (k Kernel) Complete() (_ Kernel, err error) {
	if err := k.check(); err != nil {
		return k, err
	}
	k.Digest, err = k.digest("")
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

// keepIndexes is how many indexes of users' folders are kept, of some 100 KB.
const keepIndexes = 64

// indexFolder gives the file with the index of a user's modules, from the
// cache when nothing in the folder changed.
func (s *Store) indexFolder(ctx context.Context, dir string) (file string, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrModules, err)
	}
	defer root.Close()
	paths, err := findModules(root)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrModules, err)
	}
	if len(paths) == 0 {
		return "", fmt.Errorf("%w: there are none (*.ko, *.ko.xz, *.ko.zst, *.ko.gz) in %s", ErrModules, dir)
	}
	key := sha256.New()
	fmt.Fprintf(key, "%d %q\n", indexFormat, dir)
	for _, p := range append(paths, "modules.builtin", "modules.builtin.modinfo") {
		info, err := root.Stat(p)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		fmt.Fprintf(key, "%q %d %d\n", p, info.Size(), info.ModTime().UnixNano())
	}
	const name = "modules.json"
	e, err := s.indexes.Get(ctx, hex.EncodeToString(key.Sum(nil)[:16]), func(ctx context.Context, dir string) error {
		ix, err := indexModules(ctx, root, paths, func(done int) { s.progress("reading modules", int64(done), int64(len(paths))) })
		if err != nil {
			return err
		}
		into, err := os.OpenRoot(dir)
		if err != nil {
			return err
		}
		return errors.Join(writeJSON(into, name, ix), into.Close())
	})
	if err != nil {
		return "", err
	}
	return filepath.Join(e.Path(), name), e.Close()
}

// indexModules reads the modules at paths below root.
func indexModules(ctx context.Context, root *os.Root, paths []string, progress func(done int)) (moduleIndex, error) {
	ix := moduleIndex{Format: indexFormat}
	contents := sha256.New()
	for _, p := range paths {
		if err := addDigest(contents, root, p, p); err != nil {
			return ix, err
		}
	}
	ix.Digest = hex.EncodeToString(contents.Sum(nil))
	var err error
	if ix.Modules, err = describe(ctx, root, paths, progress); err != nil {
		return ix, err
	}
	ix.Builtin, ix.Listed, err = readBuiltin(root)
	return ix, err
}

// digest gives the digest of image and config, and of modules whose own is
// given.
func (k Kernel) digest(modules string) (string, error) {
	sum := sha256.New()
	for _, file := range []struct{ name, path string }{{"vmlinuz", k.Image}, {"config", k.Config}} {
		if file.path == "" {
			continue
		}
		root, err := os.OpenRoot(filepath.Dir(file.path))
		if err != nil {
			return "", err
		}
		err = addDigest(sum, root, file.name, filepath.Base(file.path))
		if err := errors.Join(err, root.Close()); err != nil {
			return "", err
		}
	}
	fmt.Fprintf(sum, "modules %s\n", modules)
	return hex.EncodeToString(sum.Sum(nil)), nil
}
