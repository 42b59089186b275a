package hunt

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/blockrig/blockrig/harness/cachedir"
	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/results"
)

// stateFile has a hunt's State, beside a scenario and a report for each finding.
const stateFile = "hunt.json"

// A Folder is where a hunt keeps what it knows, so that it can be gone on with.
type Folder struct {
	held *cachedir.Folder
}

// Folders has the folders of hunts, in that of the results.
const Folders = "hunts"

// Root is where the folders of hunts are, below that of runs.
func Root(runs string) string { return filepath.Join(runs, Folders) }

// ErrNoHunt says that there is no hunt of that name.
var ErrNoHunt = errors.New("no such hunt")

// Create makes the folder of a new hunt.
func Create(ctx context.Context, root, id string, s *State) (*Folder, error) {
	if err := os.MkdirAll(root, 0o755); err != nil {
		return nil, fmt.Errorf("make the folder of hunts: %w", err)
	}
	held, err := cachedir.Create(ctx, filepath.Join(root, id), func(dir string) error {
		return write(dir, s)
	})
	if err != nil {
		return nil, fmt.Errorf("make the folder of a hunt: %w", err)
	}
	return &Folder{held}, nil
}

// Open takes the folder of a hunt to go on with it: one by its name or the
// beginning of that, or the last one.
func Open(root, name string) (*Folder, *State, error) {
	all, err := names(root)
	if err != nil {
		return nil, nil, err
	}
	found := results.Meant(all, name)
	switch {
	case len(found) == 0:
		return nil, nil, fmt.Errorf("%w: %q%s", ErrNoHunt, name, text.DidYouMean(name, all))
	case len(found) > 1:
		return nil, nil, fmt.Errorf("%w: %q is the beginning of %d", ErrNoHunt, name, len(found))
	}
	held, err := cachedir.Hold(filepath.Join(root, found[0]))
	if err != nil {
		return nil, nil, fmt.Errorf("open hunt %s: %w", found[0], err)
	}
	f := &Folder{held}
	s, err := read(f.Path())
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, s, nil
}

// read gives the state in the folder of a hunt.
func read(dir string) (*State, error) {
	s := &State{}
	src, err := os.ReadFile(filepath.Join(dir, stateFile))
	if err == nil {
		err = json.Unmarshal(src, s)
	}
	if err != nil {
		return nil, fmt.Errorf("open hunt %s: %w", filepath.Base(dir), err)
	}
	s.Tallies, s.Known, s.Twisted, s.Looked = orMade(s.Tallies), orMade(s.Known), orMade(s.Twisted), orMade(s.Looked)
	return s, nil
}

func orMade[M ~map[K]V, K comparable, V any](m M) M {
	if m == nil {
		return M{}
	}
	return m
}

// names gives the names of all hunts, the oldest first.
func names(root string) ([]string, error) {
	entries, err := os.ReadDir(root)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("look for hunts: %w", err)
	}
	var out []string
	for _, e := range entries {
		if _, err := os.Stat(filepath.Join(root, e.Name(), stateFile)); err == nil {
			out = append(out, e.Name())
		}
	}
	slices.Sort(out)
	return out, nil
}

// Path is the folder.
func (f *Folder) Path() string { return f.held.Path() }

// Name is what the hunt is called.
func (f *Folder) Name() string { return filepath.Base(f.Path()) }

// Keep stores a state, with the scenario and the report of each finding.
func (f *Folder) Keep(s *State) error { return write(f.Path(), s) }

// pageFile is the page of a hunt; see State.HTML.
const pageFile = "hunt.html"

// Page stores a page of what was found, and gives its name.
func (f *Folder) Page(s *State, known []Known) (name string, err error) {
	var b bytes.Buffer
	if err := s.HTML(&b, f.Name(), known); err != nil {
		return "", err
	}
	root, err := os.OpenRoot(f.Path())
	if err != nil {
		return "", fmt.Errorf("keep the page of a hunt: %w", err)
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	if err := cachedir.WriteFile(root, pageFile, b.Bytes()); err != nil {
		return "", fmt.Errorf("keep the page of a hunt: %w", err)
	}
	return filepath.Join(f.Path(), pageFile), nil
}

// Close lets others open it.
func (f *Folder) Close() error { return f.held.Release() }

func write(dir string, s *State) (err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("keep a hunt: %w", err)
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	for _, found := range s.Findings {
		for name, text := range map[string]string{found.ID + ".yaml": found.Scenario, found.ID + ".txt": found.Report()} {
			// The report says more once it is bisected.
			old, err := root.ReadFile(name)
			if err == nil && (name == found.ID+".yaml" || string(old) == text) {
				continue
			}
			if err := cachedir.WriteFile(root, name, []byte(text)); err != nil {
				return fmt.Errorf("keep a finding: %w", err)
			}
		}
	}
	src, err := json.MarshalIndent(s, "", "\t")
	if err == nil {
		err = cachedir.WriteFile(root, stateFile, append(src, '\n'))
	}
	if err != nil {
		return fmt.Errorf("keep a hunt: %w", err)
	}
	return nil
}
