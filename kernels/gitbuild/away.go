package gitbuild

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/kernels"
	"github.com/blockrig/blockrig/kernels/config"
)

// An Away is other machines that build kernels. Package fleet has the one there
// is.
type Away interface {
	// Build has a job done and puts what came of it into the folder dir: files
	// of EntryFiles. What they say is not believed. Sources that can't be built
	// are no error, but one of the files.
	Build(ctx context.Context, j Job, src *Sources, dir string) error
}

// Files of a build that was done: the first two say what came of it, and one of
// them is there.
const (
	fileImage   = "vmlinuz"
	fileConfig  = "config"
	fileMap     = "System.map"
	fileVmlinux = "vmlinux"
	fileLog     = "build.log"
	fileSources = "sources"
)

// EntryFiles are those that a build can leave.
var EntryFiles = []string{fileBuild, fileFailed, fileImage, fileConfig, fileMap, fileVmlinux, fileLog, fileSources}

// buildAway has a job built elsewhere, into dir, an entry to be.
func (b *Builder) buildAway(ctx context.Context, j *job, dir string) error {
	began := time.Now()
	src := &Sources{Start: j.start, builder: b, job: j, repo: j.repo, tree: j.tree}
	leftOut, err := src.prepare(ctx)
	if err != nil {
		return err
	}
	away := Job{Commit: j.commit, Tree: src.tree, Wants: j.wants, Start: digestOf(j.start), Compiler: j.compiler.id}
	b.opts.Progress("waiting for a worker", 0)
	if err := b.opts.Away.Build(ctx, away, src, dir); err != nil {
		return fmt.Errorf("build by another machine: %w", err)
	}
	build := Build{
		Commit: j.commit, Tree: j.tree, LeftOut: leftOut, Compiler: j.compiler.id,
		Fragments: j.spec.Fragments, ConfigFile: j.spec.ConfigFile, Took: time.Since(began),
	}
	if err := takeIn(dir, j.wants, build); err != nil {
		return fmt.Errorf("what a worker says it built: %w", err)
	}
	return nil
}

// Limits of what a worker says.
const (
	maxSaid = 1 << 20 // of JSON, bytes
	maxWhy  = 4000    // bytes
)

// takeIn makes an entry of the files that came into dir. Of what they say only
// what can't be seen is taken.
func takeIn(dir string, wants []config.Want, build Build) error {
	path := func(name string) string { return filepath.Join(dir, name) }
	build.Log = path(fileLog)
	if _, err := os.Stat(build.Log); err != nil {
		return err
	}
	var failed FailedError
	err := readSaid(path(fileFailed), &failed)
	if err == nil {
		failed.Why = text.Cut(text.OneLine(failed.Why), maxWhy)
		if failed.Why == "" {
			return errors.New("it does not say why it can't be built")
		}
		return store(dir, build, &failed)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var said Build
	if err := readSaid(path(fileBuild), &said); err != nil {
		return err
	}
	build.Files, build.Sources = max(0, said.Files), path(fileSources)
	build.Kernel = kernels.Kernel{Image: path(fileImage), Config: path(fileConfig), Map: path(fileMap)}
	if _, err := os.Stat(path(fileVmlinux)); err == nil {
		build.Vmlinux = path(fileVmlinux)
	}
	for _, name := range []string{build.Map, build.Sources} {
		if _, err := os.Stat(name); err != nil {
			return err
		}
	}
	dotConfig, err := os.ReadFile(build.Config)
	if err != nil {
		return err
	}
	if lost := config.Lost(wants, string(dotConfig)); len(lost) > 0 {
		return fmt.Errorf("its config is not the one that was asked for: %s", lost[0])
	}
	image, err := os.Open(build.Image)
	if err != nil {
		return err
	}
	defer image.Close() // only read from
	sum := sha256.New()
	if _, err := io.Copy(sum, image); err != nil {
		return err
	}
	build.Image256 = hex.EncodeToString(sum.Sum(nil))
	if build.Kernel, err = build.Complete(); err != nil {
		return err
	}
	return store(dir, build, nil)
}

func readSaid(file string, v any) error {
	if info, err := os.Stat(file); err != nil {
		return err
	} else if info.Size() > maxSaid {
		return fmt.Errorf("%s has %d bytes", filepath.Base(file), info.Size())
	}
	return readJSON(file, v)
}
