package gitbuild

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// An entry of the cache is a folder, named by a job's key, with one of these
// files and what it names.
const (
	fileBuild  = "build.json"
	fileFailed = "failed.json"
)

// entry is what is in build.json.
type entry struct {
	Build
	Sizes map[string]int64 `json:"sizes,omitempty"` // of the files, in bytes
}

// errSpoiled is the error of an entry that a loss of power, or someone, cut
// short. It counts as none.
var errSpoiled = errors.New("damaged")

// cached gives a result from the cache; an empty Build when there is none.
func (b *Builder) cached(j *job) (Build, error) {
	dir := filepath.Join(b.cache, j.key)
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return Build{}, nil
	}
	var failed FailedError
	switch err := readJSON(filepath.Join(dir, fileFailed), &failed); {
	case err == nil && failed.Why == "":
		return Build{}, fmt.Errorf("read the cache: %s: %w: it does not say why", dir, errSpoiled)
	case err == nil:
		failed.Log, failed.Cached = filepath.Join(dir, failed.Log), true
		return Build{}, &failed
	case !errors.Is(err, fs.ErrNotExist):
		return Build{}, fmt.Errorf("read the cache: %s: %w", dir, err)
	}
	var e entry
	err := readJSON(filepath.Join(dir, fileBuild), &e)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: %w", errSpoiled, err)
	}
	if err == nil {
		err = b.checkEntry(dir, j.key, &e)
	}
	if err != nil {
		return Build{}, fmt.Errorf("read the cache: %s: %w", dir, err)
	}
	build := e.Build
	for _, p := range build.paths() {
		if *p != "" {
			*p = filepath.Join(dir, *p)
		}
	}
	build.Cached = true
	build.Commit = j.commit
	build.Exact = j.exact()
	build.Ref = build.Exact
	now := time.Now()
	// For a cache that drops what was not used for long. A reader without
	// the right to do so is no error.
	_ = os.Chtimes(dir, now, now)
	return build, nil
}

// checkEntry compares files with what was stored: their sizes always, the
// image's digest, which takes longer, once.
func (b *Builder) checkEntry(dir, key string, e *entry) error {
	if e.Image == "" || e.Image256 == "" {
		return fmt.Errorf("%w: %s names no image", errSpoiled, fileBuild)
	}
	for _, p := range e.paths() {
		if *p == "" {
			continue
		}
		info, err := os.Stat(filepath.Join(dir, *p))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("%w: %w", errSpoiled, err)
		case err != nil:
			return err
		}
		if want, ok := e.Sizes[*p]; ok && info.Size() != want {
			return fmt.Errorf("%w: %s has %d bytes, not %d", errSpoiled, *p, info.Size(), want)
		}
	}
	if _, ok := b.checked.Load(key); ok {
		return nil
	}
	sum, err := digestFile(filepath.Join(dir, e.Image))
	if err != nil {
		return err
	}
	if sum != e.Image256 {
		return fmt.Errorf("%w: %s is not the image that was built", errSpoiled, e.Image)
	}
	b.checked.Store(key, true)
	return nil
}

// drop removes a spoiled entry. The lock is held.
func (b *Builder) drop(j *job, why error) error {
	b.opts.Log.Warn("a kernel in the cache is damaged; building it again", "err", why)
	if err := os.RemoveAll(filepath.Join(b.cache, j.key)); err != nil {
		return fmt.Errorf("clear the cache: %w", err)
	}
	return nil
}

// storeEntry writes build.json beside the files that it is about.
func storeEntry(tmp string, build Build) error {
	e := entry{Build: build, Sizes: make(map[string]int64)}
	for _, p := range e.paths() {
		if *p == "" {
			continue
		}
		info, err := os.Stat(*p)
		if err != nil {
			return fmt.Errorf("store a build: %w", err)
		}
		*p = filepath.Base(*p)
		e.Sizes[*p] = info.Size()
	}
	return writeJSON(filepath.Join(tmp, fileBuild), e)
}

// keep moves a finished result into place, once it is on the disk whole.
func (b *Builder) keep(tmp string, j *job) error {
	files, err := os.ReadDir(tmp)
	if err != nil {
		return fmt.Errorf("store a build: %w", err)
	}
	for _, f := range files {
		if err := toDisk(filepath.Join(tmp, f.Name())); err != nil {
			return err
		}
	}
	if err := toDisk(tmp); err != nil {
		return err
	}
	err = os.Rename(tmp, filepath.Join(b.cache, j.key))
	if errors.Is(err, fs.ErrExist) {
		return nil // built from another repository with the same sources meanwhile
	}
	if err != nil {
		return fmt.Errorf("store a build: %w", err)
	}
	return toDisk(b.cache)
}

// toDisk brings a file or folder to the disk.
func toDisk(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("store a build: %w", err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("store a build: %w", err)
	}
	return nil
}

func writeJSON(file string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err == nil {
		err = os.WriteFile(file, append(data, '\n'), 0o644)
	}
	if err != nil {
		return fmt.Errorf("store a build: %w", err)
	}
	return nil
}

// readJSON wraps errSpoiled when the file is there and not whole.
func readJSON(file string, v any) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%w: %s: %w", errSpoiled, filepath.Base(file), err)
	}
	return nil
}
