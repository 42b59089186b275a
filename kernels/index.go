package kernels

import (
	"bytes"
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
const indexFormat = 2

// A moduleIndex is what is known of a folder of modules. Reading it takes
// milliseconds, reading all modules many seconds.
type moduleIndex struct {
	Format  int                   `json:"format"`
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
	entries, err := readModinfo(root, p)
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

// inMemory is how much of an unpacked module is held in memory, in bytes;
// what is longer goes to a file without a name.
const inMemory = 16 << 20

// readModinfo gives a module's .modinfo. Where that is, is written at the end
// of the module.
func readModinfo(root *os.Root, p string) (_ [][2]string, err error) {
	if path.Ext(p) == ".ko" {
		f, err := openRegular(root, p)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return modinfo(f)
	}
	r, err := openModule(root, p)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var start bytes.Buffer
	if _, err := io.CopyN(&start, r, inMemory); errors.Is(err, io.EOF) {
		return modinfo(bytes.NewReader(start.Bytes()))
	} else if err != nil {
		return nil, err
	}
	long, err := os.CreateTemp("", "blockrig-module-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, long.Close()) }()
	if err := os.Remove(long.Name()); err != nil {
		return nil, err
	}
	if _, err := io.Copy(long, io.MultiReader(&start, r)); err != nil {
		return nil, err
	}
	return modinfo(long)
}

// openModule gives a module, decompressed.
func openModule(root *os.Root, p string) (io.ReadCloser, error) {
	f, err := openRegular(root, p)
	if err != nil {
		return nil, err
	}
	return decompress.File(strings.TrimPrefix(path.Ext(p), ".ko"), f, maxModule)
}

func openRegular(root *os.Root, p string) (*os.File, error) {
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
	return f, nil
}

// maxList bounds a list of what is built in, in bytes: Debian's have 200 KB.
const maxList = 16 << 20

// readBuiltin gives the names and aliases of what is built in, from
// modules.builtin and modules.builtin.modinfo, and whether there was any.
func readBuiltin(root *os.Root) (names []string, listed bool, err error) {
	data, listed, err := readList(root, "modules.builtin")
	if err != nil {
		return nil, false, err
	}
	for line := range strings.Lines(string(data)) {
		if name := moduleName(path.Base(strings.TrimSpace(line))); name != "" {
			names = append(names, name)
		}
	}
	data, there, err := readList(root, "modules.builtin.modinfo")
	if err != nil {
		return nil, false, err
	}
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
	return slices.Compact(names), listed || there, nil
}

// readList reads a file that a folder of modules may have.
func readList(root *os.Root, name string) (data []byte, there bool, err error) {
	f, err := openRegular(root, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	if data, err = io.ReadAll(decompress.AtMost(f, maxList)); err != nil {
		return nil, false, fmt.Errorf("read %s: %w", name, err)
	}
	return data, true, nil
}
