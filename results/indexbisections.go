package results

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/blockrig/blockrig/results/store"
)

// BisectionsDir is the folder of bisections among those of runs.
const BisectionsDir = "bisections"

// Files of a bisection's folder; package bisect writes them.
const (
	bisectionRequest = "request.json"
	bisectionAnswer  = "answer.json"
	bisectionStop    = "stop.json"
)

// updateBisections brings a store up to date with the folders of bisections.
func updateBisections(ctx context.Context, s *store.Store, folders *os.Root) error {
	entries, err := fs.ReadDir(folders.FS(), BisectionsDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("list bisections: %w", cause(err))
	}
	known, err := s.BisectionStates(ctx)
	if err != nil {
		return err
	}
	for _, e := range entries {
		dir := path.Join(BisectionsDir, e.Name())
		state := ""
		for _, name := range []string{bisectionRequest, bisectionAnswer, bisectionStop} {
			if info, err := folders.Lstat(path.Join(dir, name)); err == nil {
				state += fmt.Sprintf("%s %s ", name, fileState{info.Size(), info.ModTime().UnixNano()})
			}
		}
		if !e.IsDir() || !strings.HasPrefix(state, bisectionRequest) {
			continue // none, or one that is being begun
		}
		had, ok := known[e.Name()]
		delete(known, e.Name())
		if ok && had == state {
			continue
		}
		if err := s.PutBisection(ctx, readBisection(folders, dir), state); err != nil {
			return err
		}
	}
	for name := range known {
		if err := s.DropBisection(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// readBisection reads what a bisection's folder says of it. What can't be read
// is empty: "blockrig bisect list" says what is damaged.
func readBisection(folders *os.Root, dir string) store.Bisection {
	type end struct{ Name, Commit string }
	type ends struct {
		Old []end
		New end
	}
	var req struct {
		Command  []string
		Scenario struct{ Name, Case string }
		Git      *ends
		Releases *struct{ Old, New end }
	}
	var answer struct {
		First      *struct{ Hash, Title string }
		Grade      string
		Confidence float64
		Trials     int
	}
	name := path.Base(dir)
	_ = readJSON(folders, path.Join(dir, bisectionRequest), &req)
	b := store.Bisection{
		Name: name, Started: startOf(strings.TrimSuffix(name, "-git")), Command: req.Command,
		Scenario: req.Scenario.Name, Case: req.Scenario.Case, Of: "releases", State: "running",
	}
	switch {
	case req.Git != nil:
		b.Of, b.New = "commits", req.Git.New.Name
		var old []string
		for _, e := range req.Git.Old {
			old = append(old, e.Name)
		}
		b.Old = strings.Join(old, " ")
	case req.Releases != nil:
		b.Old, b.New = req.Releases.Old.Name, req.Releases.New.Name
	}
	err := readJSON(folders, path.Join(dir, bisectionAnswer), &answer)
	if err == nil {
		b.State, b.Grade, b.Confidence, b.Trials = "answered", answer.Grade, answer.Confidence, answer.Trials
		if answer.First != nil {
			b.First, b.Subject = answer.First.Hash, answer.First.Title
		}
	} else if _, err := folders.Lstat(path.Join(dir, bisectionStop)); err == nil {
		b.State = "stopped"
	}
	return b
}
