package kernels

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"
)

// localPrefix begins the folder names of kernels that Add put into the cache.
const localPrefix = "local-"

// Add copies a kernel into the cache, where local:NAME names it. modulesDir
// and config may be "". Of the modules those for disks, file systems and the
// like are kept. A name that is taken is refused.
func (s *Store) Add(ctx context.Context, name, image, modulesDir, config string) (k Kernel, err error) {
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
	unlock, err := s.lock(ctx, localPrefix+name)
	if err != nil {
		return fail(err)
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if _, err := s.entry(localPrefix + name); err == nil {
		return fail(fmt.Errorf("there is one of this name; remove it first (local:%s)", name))
	}
	tmp, err := s.newTemp()
	if err != nil {
		return fail(err)
	}
	defer func() { err = errors.Join(err, tmp.drop()) }()
	root, err := os.OpenRoot(tmp.path)
	if err != nil {
		return fail(err)
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	e := Entry{
		Name: localPrefix + name, Version: release, Added: time.Now().UTC().Truncate(time.Second),
		Kernel: Kernel{Exact: ref.text, Release: release, Image: "vmlinuz"},
	}
	if err := copyFile(root, "vmlinuz", image); err != nil {
		return fail(err)
	}
	if config != "" {
		e.Config = "config"
		if err := copyFile(root, e.Config, config); err != nil {
			return fail(err)
		}
	}
	if modulesDir != "" {
		e.Modules = "modules"
		if err := copyModules(ctx, root, modulesDir); err != nil {
			return fail(err)
		}
	}
	if err := s.finish(ctx, root, &e); err != nil {
		return fail(err)
	}
	if err := tmp.keep(filepath.Join(s.dir, e.Name)); err != nil {
		return fail(err)
	}
	return s.resolveLocal(name)
}

func (s *Store) resolveLocal(name string) (Kernel, error) {
	e, err := s.entry(localPrefix + name)
	if errors.Is(err, fs.ErrNotExist) {
		all, err := s.List()
		if err != nil {
			return Kernel{}, err
		}
		return Kernel{}, fmt.Errorf("%w in the cache; it has %s", ErrNotFound, exacts(all))
	}
	return e.Kernel, err
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
