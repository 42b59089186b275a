package gitbuild

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/blockrig/blockrig/harness/cachedir"
)

// An entry of the cache has one of these files, and those that it names.
const (
	fileBuild  = "build.json"
	fileFailed = "failed.json"
)

// paths are the fields that are relative to the entry's folder on disk.
func (b *Build) paths() []*string {
	return []*string{&b.Image, &b.Config, &b.Map, &b.Vmlinux, &b.Log, &b.Sources}
}

// read gives what an entry says, and gives up the entry: the cache has no
// limit, so it stays.
func (b *Builder) read(e *cachedir.Entry, j *job, cached bool) (_ Build, err error) {
	defer func() { err = errors.Join(err, e.Close()) }()
	var failed FailedError
	err = readJSON(filepath.Join(e.Path(), fileFailed), &failed)
	if err == nil {
		failed.Log, failed.Cached = filepath.Join(e.Path(), failed.Log), cached
		return Build{}, &failed
	}
	var build Build
	if errors.Is(err, fs.ErrNotExist) {
		err = readJSON(filepath.Join(e.Path(), fileBuild), &build)
	}
	if err != nil {
		return Build{}, fmt.Errorf("read a build in the cache: %w", err)
	}
	for _, p := range build.paths() {
		if *p != "" {
			*p = filepath.Join(e.Path(), *p)
		}
	}
	build.Cached, build.Commit, build.Exact, build.Ref = cached, j.commit, j.exact(), j.exact()
	return build, nil
}

// store writes what came out of a build beside the files that it is about.
func store(dir string, build Build, failed *FailedError) error {
	var what any = &build
	name := fileBuild
	if failed != nil {
		failed.Log = filepath.Base(build.Log)
		name, what = fileFailed, failed
	}
	for _, p := range build.paths() {
		if *p != "" {
			*p = filepath.Base(*p)
		}
	}
	data, err := json.MarshalIndent(what, "", "  ")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name), append(data, '\n'), 0o644)
	}
	if err != nil {
		return fmt.Errorf("store a build: %w", err)
	}
	return nil
}

func readJSON(file string, v any) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, v)
}

// Failed says whether what a build left in a folder is why the sources can't be
// built.
func Failed(dir string) (bool, error) {
	_, err := os.Stat(filepath.Join(dir, fileFailed))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
