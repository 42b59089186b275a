package initramfs

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// A hostFS takes tools from a running system. It only reads: nothing of the
// host is run, so a broken tool shows in the guest and not here.
type hostFS struct {
	root string            // "/", but for tests
	seen map[string]fileID // every file that was looked for, by its path on the host; zero: it was not there
	conf []string          // folders that ld.so.conf adds; nil before it was read
}

func newHostFS(root string) *hostFS {
	return &hostFS{root: root, seen: make(map[string]fileID)}
}

var (
	hostToolDirs = []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"}
	// The folders that linkers of the distributions search without being told.
	linkerDirs = []string{"/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib"}
)

func (h *hostFS) tool(ctx context.Context, name string, spec toolSpec) (found, error) {
	for _, dir := range hostToolDirs {
		f, err := h.read(ctx, path.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		f.exec = true
		return f, err
	}
	return found{}, fmt.Errorf("%s is not on this host (looked in %s): install the package %s, or take the tools from Debian (--guest-tools debian)",
		name, strings.Join(hostToolDirs, ", "), spec.Package)
}

func (h *hostFS) read(_ context.Context, name string) (found, error) {
	at := filepath.Join(h.root, filepath.Clean("/"+name))
	data, err := os.ReadFile(at)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			h.seen[at] = fileID{} // where it appears, it comes before what is taken now
		}
		return found{}, fmt.Errorf("read from the host: %w", err)
	}
	id, err := statID(at)
	if err != nil {
		return found{}, fmt.Errorf("read from the host: %w", err)
	}
	to, err := canonical(name)
	if err != nil {
		return found{}, err
	}
	h.seen[at] = id
	return found{name: to, data: data, from: path.Clean("/" + name)}, nil
}

func (h *hostFS) library(ctx context.Context, soname string, by found, dirs []string) (found, error) {
	dirs = append(slices.Clone(dirs), linkerDirs...)
	for _, dir := range dirs {
		f, ok, err := h.libraryIn(ctx, dir, soname)
		if err != nil {
			return found{}, err
		}
		if ok {
			return f, nil
		}
	}
	conf, err := h.confDirs()
	if err != nil {
		return found{}, err
	}
	for _, dir := range conf {
		f, ok, err := h.libraryIn(ctx, dir, soname)
		if err != nil {
			return found{}, err
		}
		if !ok {
			continue
		}
		// The guest has no ld.so.cache, so its linker looks only where it
		// does by itself: where libc is.
		libc, err := h.library(ctx, "libc.so.6", by, nil)
		if err != nil {
			return found{}, err
		}
		f.name = path.Join(path.Dir(libc.name), soname)
		return f, nil
	}
	return found{}, fmt.Errorf("library %s, which %s needs, is not on this host: take the tools from Debian (--guest-tools debian)", soname, by.from)
}

// libraryIn looks into one folder. A library for another processor is passed
// over, as the linker does.
func (h *hostFS) libraryIn(ctx context.Context, dir, soname string) (found, bool, error) {
	f, err := h.read(ctx, path.Join(dir, soname))
	if errors.Is(err, fs.ErrNotExist) {
		return found{}, false, nil
	}
	if err != nil {
		return found{}, false, err
	}
	if _, err := readNeeds(f.name, f.data); err != nil {
		return found{}, false, nil
	}
	return f, true, nil
}

// confDirs are the folders of /etc/ld.so.conf and what it includes.
func (h *hostFS) confDirs() ([]string, error) {
	if h.conf != nil {
		return h.conf, nil
	}
	h.conf = []string{}
	files := []string{"/etc/ld.so.conf"}
	for i := 0; i < len(files); i++ {
		data, err := os.ReadFile(filepath.Join(h.root, files[i]))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read the linker's configuration: %w", err)
		}
		for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
			line, _, _ := strings.Cut(lines.Text(), "#")
			words := strings.Fields(line)
			if len(words) == 2 && words[0] == "include" {
				pattern := words[1]
				if !path.IsAbs(pattern) {
					pattern = path.Join(path.Dir(files[i]), pattern)
				}
				more, err := filepath.Glob(filepath.Join(h.root, pattern))
				if err != nil {
					return nil, fmt.Errorf("read the linker's configuration: %s: %w", files[i], err)
				}
				for _, m := range more {
					rel, err := filepath.Rel(h.root, m)
					if err != nil {
						return nil, fmt.Errorf("read the linker's configuration: %w", err)
					}
					if !slices.Contains(files, "/"+rel) {
						files = append(files, "/"+rel)
					}
				}
				continue
			}
			for _, dir := range words {
				if path.IsAbs(dir) {
					h.conf = append(h.conf, path.Clean(dir))
				}
			}
		}
	}
	return h.conf, nil
}

func (h *hostFS) glob(ctx context.Context, pattern string, _ found) ([]found, error) {
	var all []found
	seen := make(map[string]bool)
	for _, dir := range linkerDirs {
		names, err := filepath.Glob(filepath.Join(h.root, dir, pattern))
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			rel, err := filepath.Rel(h.root, name)
			if err != nil {
				return nil, err
			}
			f, err := h.read(ctx, rel)
			if err != nil {
				return nil, err
			}
			// /lib and /usr/lib are often one.
			if !seen[f.name] {
				seen[f.name] = true
				all = append(all, f)
			}
		}
	}
	return all, nil
}
