package initramfs

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/blockrig/blockrig/kernels"
)

// maxModule bounds one unpacked module, bytes. The largest of Debian's is
// below 10 MiB; one with debug information may be ten times that.
const maxModule = 256 << 20

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
// costs less than to do it in the guest.
func collectModules(ctx context.Context, t *tree, k kernels.Kernel, modules []kernels.Module) error {
	paths, err := modulePaths(k, modules)
	if err != nil {
		return err
	}
	// xz is slow, and there are some dozens.
	data := make([][]byte, len(modules))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, m := range modules {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			var err error
			if data[i], err = readModule(k, m); err != nil {
				return fmt.Errorf("kernel %s: module %s: %w", k.Ref, m.Name, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i, p := range paths {
		if err := t.file(p, 0o644, data[i]); err != nil {
			return err
		}
	}
	return nil
}

func readModule(k kernels.Kernel, m kernels.Module) ([]byte, error) {
	r, err := k.OpenModule(m)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	data, err := io.ReadAll(io.LimitReader(r, maxModule+1))
	if err != nil {
		return nil, fmt.Errorf("unpack %s: %w", m.Path, err)
	}
	if len(data) > maxModule {
		return nil, fmt.Errorf("%s unpacks to more than %d bytes", m.Path, maxModule)
	}
	return data, nil
}
