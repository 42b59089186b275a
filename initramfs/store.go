package initramfs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// A store is one folder of the cache: finished files under their keys, and,
// only while its lock is held, temporary ones. So whoever gets the lock knows
// that temporary files there were left by a process that died.
type store struct {
	dir string
}

const tempPrefix = ".tmp-"

// lockPoll is how often a lock that another process holds is tried.
const lockPoll = 20 * time.Millisecond

// lock takes the store for writing and sweeps it. Readers need no lock: what
// is there under its key is complete.
func (s store) lock(ctx context.Context) (unlock func() error, err error) {
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return nil, fmt.Errorf("make cache folder: %w", err)
	}
	l := flock.New(filepath.Join(s.dir, ".lock"))
	if _, err := l.TryLockContext(ctx, lockPoll); err != nil {
		return nil, fmt.Errorf("lock cache folder %s: %w", s.dir, err)
	}
	if err := s.sweep(); err != nil {
		return nil, errors.Join(err, l.Unlock())
	}
	return l.Unlock, nil
}

func (s store) sweep() error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return fmt.Errorf("sweep cache folder: %w", err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), tempPrefix) {
			if err := os.RemoveAll(filepath.Join(s.dir, e.Name())); err != nil {
				return fmt.Errorf("sweep cache folder: %w", err)
			}
		}
	}
	return nil
}

func (s store) path(name string) string { return filepath.Join(s.dir, name) }

// create makes name from what write writes; it appears whole or not at all.
// The caller holds the lock.
func (s store) create(name string, write func(io.Writer) error) (err error) {
	f, err := os.CreateTemp(s.dir, tempPrefix)
	if err != nil {
		return fmt.Errorf("make cache file: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ignoreNotExist(f.Close()), ignoreNotExist(os.Remove(f.Name())))
		}
	}()
	if err := write(f); err != nil {
		return err
	}
	if err := f.Chmod(0o644); err != nil {
		return fmt.Errorf("write %s: %w", s.path(name), err)
	}
	// Else a crash of the host could leave the name with the file's length
	// but not its bytes.
	if err := f.Sync(); err != nil {
		return fmt.Errorf("write %s: %w", s.path(name), err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("write %s: %w", s.path(name), err)
	}
	if err := os.Rename(f.Name(), s.path(name)); err != nil {
		return fmt.Errorf("write %s: %w", s.path(name), err)
	}
	return nil
}

func ignoreNotExist(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrClosed) {
		return nil
	}
	return err
}

// createJSON is create for a record.
func (s store) createJSON(name string, v any) error {
	return s.create(name, func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", "\t")
		return e.Encode(v)
	})
}

// readJSON reads a record into v; false when there is none that can be read.
// A record is only ever a shortcut to what can be made again, so one that is
// broken counts as absent.
func (s store) readJSON(name string, v any) bool {
	data, err := os.ReadFile(s.path(name))
	return err == nil && json.Unmarshal(data, v) == nil
}

// use marks name as used now, for keep.
func (s store) use(name string) error {
	now := time.Now()
	return os.Chtimes(s.path(name), now, now)
}

// keep removes all but the n files with this suffix that were used last, and
// their records. What was used in the last hour stays in any case: another
// process may be about to start a machine from it. The caller holds the lock.
func (s store) keep(n int, suffix string) error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return fmt.Errorf("clean cache folder: %w", err)
	}
	type used struct {
		name string
		at   time.Time
	}
	var files []used
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), suffix) || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		fi, err := e.Info()
		if err != nil {
			return fmt.Errorf("clean cache folder: %w", err)
		}
		files = append(files, used{e.Name(), fi.ModTime()})
	}
	slices.SortFunc(files, func(a, b used) int { return b.at.Compare(a.at) })
	for i, f := range files {
		if i < n || time.Since(f.at) < time.Hour {
			continue
		}
		base := strings.TrimSuffix(f.name, suffix)
		// The record first: it is what says that the file is there.
		for _, name := range []string{base + ".json", f.name} {
			if err := os.Remove(s.path(name)); ignoreNotExist(err) != nil {
				return fmt.Errorf("clean cache folder: %w", err)
			}
		}
	}
	return nil
}
