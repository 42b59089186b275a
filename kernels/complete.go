package kernels

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Complete fills in what follows from a kernel's files, for one that was made
// elsewhere (see Builder): Release and Digest, and Index when it has Modules.
// The index is written to indexFile. It refuses what Store.Resolve refuses: an
// image that is none (ErrImage), a folder without modules, and modules of
// another kernel (ErrModules).
func (k Kernel) Complete(ctx context.Context, indexFile string) (_ Kernel, err error) {
	if k.Release, err = imageRelease(k.Image); err != nil {
		return k, err
	}
	if k.Config != "" {
		if _, err := readOptions(k.Config); err != nil {
			return k, err
		}
	}
	contents := ""
	if k.Modules != "" {
		root, err := os.OpenRoot(k.Modules)
		if err != nil {
			return k, fmt.Errorf("%w: %w", ErrModules, err)
		}
		defer root.Close()
		paths, err := findModules(root)
		if err != nil {
			return k, fmt.Errorf("%w: %w", ErrModules, err)
		}
		ix, err := indexModules(ctx, root, paths, func(int) {})
		if err != nil {
			return k, err
		}
		if err := ix.check(k.Release); err != nil {
			return k, fmt.Errorf("%s: %w", k.Modules, err)
		}
		if err := writeJSON(indexFile, ix); err != nil {
			return k, fmt.Errorf("write module index: %w", err)
		}
		k.Index, contents = indexFile, ix.Digest
	}
	k.Digest, err = k.digest(contents)
	return k, err
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
