// Command release makes what blockrig is installed from: a package for Debian
// and one for Fedora, an archive, a container's recipe, and a page for each
// verb. It is run in the root of the module, a checkout:
//
//	go run ./contrib/release [DIR]
//
// One commit always makes the same bytes, wherever and by whomever it is run
// with the same Go.
package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// sums is the file that says what a release is made of, for sha256sum -c.
const sums = "SHA256SUMS"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir := "bin/release"
	switch len(os.Args) {
	case 1:
	case 2:
		dir = os.Args[1]
	default:
		fmt.Fprintln(os.Stderr, "usage: release [DIR]")
		os.Exit(2)
	}
	if err := release(ctx, dir); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func release(ctx context.Context, dir string) (err error) {
	if err := checkFolder(dir); err != nil {
		return err
	}
	b, err := buildOf(ctx)
	if err != nil {
		return err
	}
	if b.dirty {
		fmt.Fprintln(os.Stderr, "release: there are changes that are not committed: nobody can make this one again")
	}
	work, err := os.MkdirTemp("", "blockrig-release-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	// Beside its place, where it is moved to once it is whole.
	if err := os.MkdirAll(filepath.Dir(filepath.Clean(dir)), 0o755); err != nil {
		return err
	}
	out, err := os.MkdirTemp(filepath.Dir(filepath.Clean(dir)), ".blockrig-release-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(out)) }()
	if err := b.make(ctx, work, out); err != nil {
		return err
	}
	if err := writeSums(out); err != nil {
		return err
	}
	if err := os.Chmod(out, 0o755); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	return os.Rename(out, dir)
}

// checkFolder refuses a folder with anything in it that is no release's.
func checkFolder(dir string) error {
	ours, err := os.ReadFile(filepath.Join(dir, sums))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var listed []string
	for line := range strings.Lines(string(ours)) {
		if _, name, ok := strings.Cut(strings.TrimSpace(line), "  "); ok {
			listed = append(listed, name)
		}
	}
	files, err := filesIn(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, name := range files {
		if name != sums && !slices.Contains(listed, name) {
			return fmt.Errorf("%s is in the way: no release has it; name an empty folder", filepath.Join(dir, name))
		}
	}
	return nil
}

// filesIn are the regular files below a folder, in order.
func filesIn(dir string) (names []string, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, relErr := filepath.Rel(dir, path)
			names, err = append(names, rel), relErr
		}
		return err
	})
	slices.Sort(names)
	return names, err
}

func writeSums(dir string) error {
	names, err := filesIn(dir)
	if err != nil {
		return err
	}
	var list strings.Builder
	for _, name := range names {
		sum, err := sumOf(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		fmt.Fprintf(&list, "%x  %s\n", sum, name)
	}
	return os.WriteFile(filepath.Join(dir, sums), []byte(list.String()), 0o644)
}

func sumOf(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	sum := sha256.New()
	_, err = io.Copy(sum, f)
	return sum.Sum(nil), err
}

// run runs a command of the build and gives what it prints.
func (b build) run(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), b.env()...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return string(out), nil
}
