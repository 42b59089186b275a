package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// A build is what a release is made of.
type build struct {
	version  string // such as 1.2.3, as packages have it
	revision string // the commit
	dirty    bool   // there are changes that are not committed
	made     time.Time
}

// buildOf asks git what is checked out.
func buildOf(ctx context.Context) (b build, err error) {
	git := func(args ...string) string {
		var out string
		if err == nil {
			out, err = b.run(ctx, "git", args...)
		}
		return strings.TrimSpace(out)
	}
	hash := git("rev-parse", "HEAD")
	at := git("show", "-s", "--format=%ct", "HEAD")
	b.dirty = git("status", "--porcelain", "--untracked-files=no") != ""
	if err != nil {
		return b, fmt.Errorf("a release is made of a commit: %w", err)
	}
	// With tags there is a last one, or none (status 128).
	described, err := b.run(ctx, "git", "tag", "--merged", "HEAD", "--list", "v[0-9]*", "--sort=-version:refname")
	if err != nil {
		return b, err
	}
	tag, _, _ := strings.Cut(described, "\n")
	after := ""
	if tag != "" {
		if after, err = b.run(ctx, "git", "rev-list", "--count", tag+"..HEAD"); err != nil {
			return b, err
		}
	}
	// What sets all times of the release, for those who make it again.
	if epoch := os.Getenv("SOURCE_DATE_EPOCH"); epoch != "" {
		at = epoch
	}
	seconds, err := strconv.ParseInt(at, 10, 64)
	if err != nil {
		return b, fmt.Errorf("SOURCE_DATE_EPOCH %q: want seconds since 1970", at)
	}
	b.made = time.Unix(seconds, 0).UTC()
	b.revision = hash[:12]
	b.version = versionOf(tag, strings.TrimSpace(after), b.revision, b.made)
	if b.dirty {
		b.revision += "-dirty"
		b.version += ".dirty"
	}
	return b, nil
}

// versionOf is that of a commit that comes so many commits after a tag: one
// that packages of both kinds may have, and greater than those before.
func versionOf(tag, after, revision string, made time.Time) string {
	switch {
	case tag == "":
		return "0.0.0+" + made.Format("20060102.150405") + ".g" + revision
	case after == "0":
		return strings.ReplaceAll(strings.TrimPrefix(tag, "v"), "-", "~") // 1.0-rc1 comes before 1.0
	}
	return strings.ReplaceAll(strings.TrimPrefix(tag, "v"), "-", "~") + "+" + after + ".g" + revision
}

// env is what the commands of the build find in their environment.
func (b build) env() []string {
	return []string{
		"CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOAMD64=v1", "GOFLAGS=-trimpath -buildvcs=false", "GOEXPERIMENT=", "GODEBUG=",
		"TZ=UTC", "LC_ALL=C", "SOURCE_DATE_EPOCH=" + strconv.FormatInt(b.made.Unix(), 10),
	}
}

// make makes the release in the folder out. What it takes to make it lies in
// work.
func (b build) make(ctx context.Context, work, out string) error {
	if _, err := b.run(ctx, "go", "run", "./initramfs/guest/program/build"); err != nil {
		return err
	}
	files, err := b.files(ctx, work)
	if err != nil {
		return err
	}
	if err := b.packages(ctx, files, work, out); err != nil {
		return err
	}
	name := "blockrig-" + b.version + "-linux-amd64"
	if err := writeArchive(filepath.Join(out, name+".tar.zst"), name, files, b.made); err != nil {
		return err
	}
	recipe, err := os.ReadFile("contrib/Containerfile")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(out, "Containerfile"), recipe, 0o644); err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(out, "docs"), 0o755); err != nil {
		return err
	}
	for _, f := range files {
		page, ok := strings.CutPrefix(f.to, docs+"verbs/")
		if !ok {
			continue
		}
		data, err := os.ReadFile(f.from)
		if err == nil {
			err = os.WriteFile(filepath.Join(out, "docs", page), data, 0o644)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// goBuild builds blockrig, with the verbs of a tag too.
func (b build) goBuild(ctx context.Context, to, tags string) error {
	_, err := b.run(ctx, "go", "build", "-tags", tags,
		"-ldflags", fmt.Sprintf("-s -w -X main.version=%s -X main.revision=%s", b.version, b.revision),
		"-o", to, "./harness/cmd/blockrig")
	return err
}
