package results

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"

	"github.com/blockrig/blockrig/harness/cachedir"
	"github.com/blockrig/blockrig/results/store"
)

// A Pruned is the folder of a trial that is not needed: what its console shows
// is shown by others of the case on the kernel that are kept.
type Pruned struct {
	Trial string `json:"trial"` // its name
	Dir   string `json:"dir"`
	Bytes int64  `json:"bytes"`
}

// Prune removes folders of trials, with console and events; what is recorded of
// them stays in the run. Of each case on each kernel the first trial, the last,
// and the first with each signature, titles included, keep theirs. A trial that
// began after before is kept. With dry, nothing is removed. What can't be
// removed, or is of a run that is under way, stays; busy are those runs.
func Prune(ctx context.Context, root string, s *store.Store, before time.Time, dry bool) (pruned []Pruned, busy []string, err error) {
	folders, err := os.OpenRoot(root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, folderError(root, err)
	}
	defer folders.Close() // only removed from
	spare, runs, err := notNeeded(ctx, s, before)
	if err != nil {
		return nil, nil, err
	}
	for _, id := range runs {
		done, err := pruneRun(ctx, folders, s, id, spare[id], dry)
		if errors.Is(err, cachedir.ErrBusy) {
			busy = append(busy, id)
			continue
		}
		pruned = append(pruned, done...)
		if err != nil {
			return pruned, busy, fmt.Errorf("prune run %s: %w", id, err)
		}
	}
	return pruned, busy, nil
}

// notNeeded are the trials with a folder that no rule keeps, by their run, and
// those runs in order.
func notNeeded(ctx context.Context, s *store.Store, before time.Time) (map[string][]store.Trial, []string, error) {
	type series struct{ ref, release, scenario, name string }
	type like struct {
		series
		signature, errno string
	}
	firstOf, seen, last := map[series]bool{}, map[like]bool{}, map[series]store.Trial{}
	out := map[string][]store.Trial{}
	var runs []string
	spare := func(t store.Trial) {
		if !t.Started.Before(before) {
			return
		}
		if out[t.Run] == nil {
			runs = append(runs, t.Run)
		}
		out[t.Run] = append(out[t.Run], t)
	}
	for t, err := range s.Trials(ctx, store.Filter{Kept: true}) {
		if err != nil {
			return nil, nil, err
		}
		of := series{t.Kernel.Ref, t.Kernel.Release, t.Scenario, t.Case}
		shows := like{of, t.Signature.String(), t.Errno}
		if !firstOf[of] || !seen[shows] {
			firstOf[of], seen[shows] = true, true
			continue
		}
		if t, ok := last[of]; ok {
			spare(t)
		}
		last[of] = t
	}
	return out, runs, nil
}

// pruneRun removes the folders of some trials of a run.
func pruneRun(ctx context.Context, folders *os.Root, s *store.Store, id string, trials []store.Trial, dry bool) (out []Pruned, err error) {
	held, err := cachedir.Hold(filepath.Join(folders.Name(), id))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, held.Release()) }()
	var dirs []string
	for _, t := range trials {
		dir := path.Join(id, t.Dir)
		size, err := sizeOf(folders, dir)
		if err != nil {
			return out, err
		}
		if !dry {
			// Hidden first: a process that dies leaves no half of a folder to
			// read, and the rest is swept.
			hidden := path.Join(id, tempPrefix+t.Dir)
			if err := errors.Join(folders.Rename(dir, hidden), folders.RemoveAll(hidden)); err != nil {
				return out, err
			}
		}
		dirs = append(dirs, t.Dir)
		out = append(out, Pruned{t.Name(), filepath.Join(folders.Name(), dir), size})
	}
	if dry {
		return out, nil
	}
	return out, s.DropFolders(ctx, id, dirs...)
}

// sizeOf is what the files in a folder take, in bytes.
func sizeOf(folders *os.Root, dir string) (sum int64, err error) {
	err = fs.WalkDir(folders.FS(), dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			sum += info.Size()
		}
		return err
	})
	return sum, err
}
