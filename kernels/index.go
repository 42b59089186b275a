package kernels

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/blockrig/blockrig/kernels/internal/decompress"
)

// indexFormat changes whenever an index written before must not be used.
const indexFormat = 1

// A moduleIndex is what is known of a folder of modules. Reading it takes
// milliseconds, reading all modules many seconds.
type moduleIndex struct {
	Format  int                   `json:"format"`
	Key     string                `json:"key,omitempty"`    // of a user's folder: names, sizes and times
	Digest  string                `json:"digest,omitempty"` // of a user's folder: contents
	Modules map[string]moduleInfo `json:"modules"`          // by normalised name
	Builtin []string              `json:"builtin"`          // normalised names and aliases, sorted
	Listed  bool                  `json:"listed"`           // the folder says what is built in
}

type moduleInfo struct {
	Path    string   `json:"path"`
	Release string   `json:"release,omitempty"` // of vermagic
	Depends []string `json:"depends,omitempty"` // normalised names
	Pre     []string `json:"pre,omitempty"`     // soft dependencies, as written
	Post    []string `json:"post,omitempty"`
	Alias   []string `json:"alias,omitempty"` // those that a name can ask for; no device patterns
}

func readIndex(file string) (moduleIndex, error) {
	var ix moduleIndex
	data, err := os.ReadFile(file)
	if err != nil {
		return ix, fmt.Errorf("read module index: %w", err)
	}
	if err := json.Unmarshal(data, &ix); err != nil {
		return ix, fmt.Errorf("read module index %s: %w", file, err)
	}
	if ix.Format != indexFormat {
		return ix, fmt.Errorf("read module index %s: %w %d", file, errIndexFormat, ix.Format)
	}
	return ix, nil
}

var errIndexFormat = errors.New("unknown format")

// findModules gives the paths of all module files below root, sorted.
func findModules(root *os.Root) ([]string, error) {
	var found []string
	err := fs.WalkDir(root.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		// Links are left alone: "build" and "source" lead out of the folder.
		if d.Type().IsRegular() && moduleName(d.Name()) != "" {
			found = append(found, p)
		}
		return nil
	})
	return found, err
}

// describe reads the .modinfo of the modules at paths below root.
func describe(ctx context.Context, root *os.Root, paths []string, progress func(done int)) (map[string]moduleInfo, error) {
	all := make(map[string]moduleInfo, len(paths))
	done := 0
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for _, p := range paths {
		group.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			info, err := describeModule(root, p)
			if err != nil {
				return fmt.Errorf("%w: %s: %w", ErrModules, p, err)
			}
			mu.Lock()
			defer mu.Unlock()
			all[moduleName(path.Base(p))] = info
			done++
			progress(done)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return all, nil
}

func describeModule(root *os.Root, p string) (info moduleInfo, err error) {
	data, err := readModule(root, p)
	if err != nil {
		return info, err
	}
	entries, err := modinfo(data)
	if err != nil {
		return info, err
	}
	info.Path = p
	for _, e := range entries {
		switch key, value := e[0], e[1]; key {
		case "vermagic":
			info.Release, _, _ = strings.Cut(value, " ")
		case "depends":
			for name := range strings.SplitSeq(value, ",") {
				if name != "" {
					info.Depends = append(info.Depends, normalise(name))
				}
			}
		case "alias":
			// Patterns of devices (pci:v…) are for hotplug; a name asks for
			// none of them.
			if !strings.ContainsAny(value, "*:") {
				info.Alias = append(info.Alias, normalise(value))
			}
		case "softdep":
			pre, post := parseSoftdep(value)
			info.Pre, info.Post = append(info.Pre, pre...), append(info.Post, post...)
		}
	}
	return info, nil
}

// parseSoftdep reads "pre: a b post: c" (modprobe.d(5)).
func parseSoftdep(text string) (pre, post []string) {
	into := (*[]string)(nil)
	for _, word := range strings.Fields(text) {
		switch {
		case word == "pre:":
			into = &pre
		case word == "post:":
			into = &post
		case into != nil:
			*into = append(*into, normalise(word))
		}
	}
	return pre, post
}

func readModule(root *os.Root, p string) ([]byte, error) {
	r, err := openModule(root, p)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(r, maxModule+1))
	if err := errors.Join(err, r.Close()); err != nil {
		return nil, err
	}
	if len(data) > maxModule {
		return nil, fmt.Errorf("it unpacks to more than %d bytes", maxModule)
	}
	return data, nil
}

func openModule(root *os.Root, p string) (io.ReadCloser, error) {
	f, err := root.Open(p)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	suffix := path.Ext(p)
	if suffix == ".ko" {
		suffix = ""
	}
	return decompress.File(suffix, bufferedFile{bufio.NewReader(f), f})
}

// bufferedFile closes the file that it reads.
type bufferedFile struct {
	*bufio.Reader
	io.Closer
}

// readBuiltin gives the names and aliases of what is built in, from
// modules.builtin and modules.builtin.modinfo, and whether there was any.
func readBuiltin(root *os.Root) (names []string, listed bool, err error) {
	data, err := root.ReadFile("modules.builtin")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, false, err
	}
	listed = err == nil
	for line := range strings.Lines(string(data)) {
		if name := moduleName(path.Base(strings.TrimSpace(line))); name != "" {
			names = append(names, name)
		}
	}
	data, err = root.ReadFile("modules.builtin.modinfo")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, false, err
	}
	listed = listed || err == nil
	for entry := range strings.SplitSeq(string(data), "\x00") {
		// "libcrc32c.alias=crypto-crc32c"
		key, value, _ := strings.Cut(entry, "=")
		if name, what, _ := strings.Cut(key, "."); name != "" {
			names = append(names, normalise(name))
			if what == "alias" && !strings.ContainsAny(value, "*:") {
				names = append(names, normalise(value))
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), listed, nil
}
