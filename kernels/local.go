package kernels

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/blockrig/blockrig/harness/cachedir"
)

// Add copies a kernel into the cache, where local:NAME names it. modulesDir
// and config may be "". Of the modules those for disks, file systems and the
// like are kept. A name that is taken is refused.
func (s *Store) Add(ctx context.Context, name, image, modulesDir, config string) (Kernel, error) {
	fail := func(err error) (Kernel, error) { return Kernel{}, fmt.Errorf("add kernel %q: %w", name, err) }
	ref, err := parseReference("local:" + name)
	if err != nil {
		return Kernel{}, err
	}
	// All that can be wrong is found before anything is copied.
	release, err := imageRelease(image)
	if err != nil {
		return fail(err)
	}
	if modulesDir != "" {
		if modulesDir, err = modulesFolder(modulesDir, release); err != nil {
			return fail(err)
		}
	}
	isNew := false
	e, err := s.get(ctx, localPrefix+name, func(ctx context.Context, root *os.Root) (Entry, error) {
		isNew = true
		e := Entry{Version: release, Kernel: Kernel{Exact: ref.text, Release: release, Image: "vmlinuz"}}
		if err := copyFile(root, e.Image, image); err != nil {
			return e, err
		}
		if config != "" {
			e.Config = "config"
			if err := copyFile(root, e.Config, config); err != nil {
				return e, err
			}
		}
		if modulesDir != "" {
			e.Modules = "modules"
			return e, copyModules(ctx, root, modulesDir)
		}
		return e, nil
	})
	if err == nil && !isNew {
		err = fmt.Errorf("there is one of this name; remove it first (local:%s)", name)
	}
	if err != nil {
		return fail(s.sayDamage(name, err))
	}
	return e.Kernel, nil
}

func (s *Store) resolveLocal(ctx context.Context, name string) (Kernel, error) {
	all, err := s.List()
	if err != nil {
		return Kernel{}, err
	}
	if !slices.ContainsFunc(all, func(e Entry) bool { return e.Name == localPrefix+name }) {
		return Kernel{}, fmt.Errorf("%w in the cache; it has %s", ErrNotFound, exacts(all))
	}
	e, err := s.open(ctx, localPrefix+name)
	return e.Kernel, s.sayDamage(name, err)
}

// sayDamage says what to do about a damaged kernel, which may be the only copy
// that there is.
func (s *Store) sayDamage(name string, err error) error {
	name = localPrefix + name
	switch {
	case errors.Is(err, cachedir.ErrNoManifest):
		return fmt.Errorf("%w; its files are in %s: if they are right, add them under another name (blockrig kernels add), then remove it (blockrig kernels rm %s)",
			err, filepath.Join(s.kernels.Path(), name), name)
	case errors.Is(err, cachedir.ErrDamaged):
		return fmt.Errorf("%w; remove it (blockrig kernels rm %s), then add it again", err, name)
	}
	return err
}

// copyModules copies the module files and lists of dir to modules/.
func copyModules(ctx context.Context, root *os.Root, dir string) error {
	from, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrModules, err)
	}
	defer from.Close()
	paths, err := findModules(from)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrModules, err)
	}
	if len(paths) == 0 {
		return fmt.Errorf("%w: there are none (*.ko, *.ko.xz, *.ko.zst, *.ko.gz) in %s", ErrModules, dir)
	}
	for _, name := range []string{"modules.builtin", "modules.builtin.modinfo", "modules.order"} {
		if _, err := from.Stat(name); err == nil {
			paths = append(paths, name)
		}
	}
	for _, p := range paths {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := copyFile(root, path.Join("modules", p), filepath.Join(dir, p)); err != nil {
			return err
		}
	}
	return nil
}

func copyFile(root *os.Root, name, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", from)
	}
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	out, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
