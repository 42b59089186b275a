package language

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/scenarios"
)

// ErrUnknown says that there is no scenario of that name.
var ErrUnknown = errors.New("no such scenario")

// Names lists the scenarios that ship with blockrig, sorted.
func Names() ([]string, error) {
	files, err := fs.Glob(scenarios.Shipped, "*.yaml")
	if err != nil {
		return nil, fmt.Errorf("list shipped scenarios: %w", err)
	}
	files = slices.DeleteFunc(files, func(file string) bool { return file == scenarios.KnownFile })
	for i, file := range files {
		files[i] = strings.TrimSuffix(file, ".yaml")
	}
	slices.Sort(files)
	return files, nil
}

// Embedded gives the scenarios that ship with blockrig, sorted by name.
func Embedded() ([]*scenarios.Scenario, error) {
	names, err := Names()
	if err != nil {
		return nil, err
	}
	all := make([]*scenarios.Scenario, len(names))
	for i, name := range names {
		if all[i], err = loadShipped(name); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func loadShipped(name string) (*scenarios.Scenario, error) {
	src, err := scenarios.Shipped.ReadFile(name + ".yaml")
	if err != nil {
		return nil, fmt.Errorf("read shipped scenario: %w", err)
	}
	return Parse(name+".yaml", src)
}

// Load reads a scenario: one that ships with blockrig, by its name, or else a
// file, by its path. What is wrong inside a file is an *Error.
func Load(arg string) (*scenarios.Scenario, error) {
	names, err := Names()
	if err != nil {
		return nil, err
	}
	if slices.Contains(names, arg) {
		return loadShipped(arg)
	}
	src, err := ReadFile(arg, scenarioFile.name)
	if errors.Is(err, fs.ErrNotExist) && !looksLikePath(arg) {
		guesses := text.Near(arg, names)
		if len(guesses) == 0 {
			return nil, fmt.Errorf("%w: %s; there are: %s; a file is named by its path", ErrUnknown, quote(arg), keyList(names))
		}
		return nil, fmt.Errorf("%w: %s; did you mean %s?", ErrUnknown, quote(arg), strings.Join(guesses, " or "))
	}
	if err != nil {
		return nil, err
	}
	s, err := Parse(arg, src)
	if err != nil {
		return nil, err
	}
	s.File = arg
	return s, nil
}

func looksLikePath(arg string) bool {
	ext := filepath.Ext(arg)
	return strings.ContainsRune(arg, filepath.Separator) || ext == ".yaml" || ext == ".yml"
}

// ReadFile reads the text of a regular file, up to the size that Read takes, and
// nothing else: a FIFO would block, and a device must not be opened. kind is
// what such a file is called in messages.
func ReadFile(path, kind string) ([]byte, error) {
	src, err := func() ([]byte, error) {
		info, err := os.Stat(path)
		switch {
		case err != nil:
			return nil, err
		case info.IsDir():
			return nil, fmt.Errorf("it is a directory; a %s is a .yaml file", kind)
		case !info.Mode().IsRegular():
			return nil, fmt.Errorf("it is no regular file; a %s is a .yaml file", kind)
		}
		f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		// One byte more than is allowed, so that Parse can tell.
		return io.ReadAll(io.LimitReader(f, maxSource+1))
	}()
	if err != nil {
		return nil, fmt.Errorf("read %s %s: %w", kind, quote(path), cause(err))
	}
	return src, nil
}

// cause is the error without the path, which the message has already.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
