package initramfs

import (
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"strings"

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

// modulePaths are the paths of modules in the guest, in their order, each once.
func modulePaths(k kernels.Kernel, modules []kernels.Module) ([]string, error) {
	seen := make(map[string]string)
	var paths []string
	for _, m := range modules {
		p, err := modulePath(k.Release, m)
		if err != nil {
			return nil, fmt.Errorf("kernel %s: %w", k.Ref, err)
		}
		if old, ok := seen[p]; ok {
			if old != m.Path {
				return nil, fmt.Errorf("kernel %s: modules %s and %s have the same name when unpacked", k.Ref, old, m.Path)
			}
			continue
		}
		seen[p] = m.Path
		paths = append(paths, p)
	}
	return paths, nil
}

// collectModules adds modules to the tree, unpacked: the kernel of an
// initramfs without modprobe takes them as they are, and to unpack them here
// costs less than to do it in the guest.
func collectModules(t *tree, open func(kernels.Module) (io.ReadCloser, error), k kernels.Kernel, modules []kernels.Module) error {
	done := make(map[string]bool)
	for _, m := range modules {
		p, err := modulePath(k.Release, m)
		if err != nil {
			return fmt.Errorf("kernel %s: %w", k.Ref, err)
		}
		if done[p] {
			continue
		}
		done[p] = true
		data, err := readModule(open, m)
		if err != nil {
			return fmt.Errorf("kernel %s: module %s: %w", k.Ref, m.Name, err)
		}
		if err := t.file(p, 0o644, data); err != nil {
			return err
		}
	}
	return nil
}

func readModule(open func(kernels.Module) (io.ReadCloser, error), m kernels.Module) ([]byte, error) {
	r, err := open(m)
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
