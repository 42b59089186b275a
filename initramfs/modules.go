package initramfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/blockrig/blockrig/kernels"
)

// maxModule bounds one unpacked module, bytes. The largest of Debian's is
// below 10 MiB; one with debug information may be ten times that.
const maxModule = 256 << 20

// maxModules bounds all modules of one image, unpacked, bytes.
const maxModules = 1 << 30

var releaseRE = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+~-]*$`)

// modulePath is where a module lies in the guest.
func modulePath(release string, m kernels.Module) (string, error) {
	if !releaseRE.MatchString(release) {
		return "", fmt.Errorf("kernel release %q is no file name", release)
	}
	p := m.Path
	for _, ext := range []string{".xz", ".zst", ".gz"} {
		p = strings.TrimSuffix(p, ext)
	}
	if !filepath.IsLocal(p) || !strings.HasSuffix(p, ".ko") {
		return "", fmt.Errorf("module %q: %q is no path of a module below the kernel's folder", m.Name, m.Path)
	}
	return "/lib/modules/" + release + "/" + filepath.ToSlash(filepath.Clean(p)), nil
}

// modulePaths are the paths of modules in the guest, one for each.
func modulePaths(k kernels.Kernel, modules []kernels.Module) ([]string, error) {
	if len(modules) > 0 && k.Digest == "" {
		return nil, fmt.Errorf("kernel %s has no digest, so its modules can't be told from another's", k.Ref)
	}
	from := make(map[string]string)
	paths := make([]string, 0, len(modules))
	for _, m := range modules {
		p, err := modulePath(k.Release, m)
		if err != nil {
			return nil, fmt.Errorf("kernel %s: %w", k.Ref, err)
		}
		if old, ok := from[p]; ok && old != m.Path {
			return nil, fmt.Errorf("kernel %s: modules %s and %s have the same name when unpacked", k.Ref, old, m.Path)
		}
		from[p] = m.Path
		paths = append(paths, p)
	}
	return paths, nil
}

// collectModules adds modules to the tree, unpacked: the kernel of an
// initramfs without modprobe takes them as they are, and to unpack them here
// costs less than to do it in the guest. They are unpacked into files in tmp,
// since nothing bounds what a kernel of somebody's needs but maxModules.
func collectModules(ctx context.Context, t *tree, k kernels.Kernel, modules []kernels.Module, tmp string) error {
	paths, err := modulePaths(k, modules)
	if err != nil {
		return err
	}
	// xz is slow, and there are some dozens.
	files := make([]string, len(modules))
	left := new(atomic.Int64)
	left.Store(maxModules)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, m := range modules {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			files[i] = filepath.Join(tmp, strconv.Itoa(i))
			if err := unpackModule(k, m, files[i], left); err != nil {
				return fmt.Errorf("kernel %s: module %s: %w", k.Ref, m.Name, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i, p := range paths {
		if err := t.fileFrom(p, 0o644, files[i]); err != nil {
			return err
		}
	}
	return nil
}

// unpackModule writes a module to the file to. All together may have as many
// bytes as are left.
func unpackModule(k kernels.Kernel, m kernels.Module, to string, left *atomic.Int64) (err error) {
	r, err := k.OpenModule(m)
	if err != nil {
		return err
	}
	defer r.Close()
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	n, err := io.Copy(f, io.LimitReader(r, maxModule+1))
	if err != nil {
		return fmt.Errorf("unpack %s: %w", m.Path, err)
	}
	if n > maxModule {
		return fmt.Errorf("%s unpacks to more than %d bytes", m.Path, maxModule)
	}
	if left.Add(-n) < 0 {
		return fmt.Errorf("the modules unpack to more than %d bytes", maxModules)
	}
	return nil
}
