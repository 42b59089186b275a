package results

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"github.com/blockrig/blockrig/harness/text"
)

// Names inside a store and its runs. Those with a dot are hidden from readers.
const (
	infoFile   = "run.json"
	lockFile   = ".lock"
	newPrefix  = ".new-"
	tempPrefix = ".trial-"
)

// runID is UTC time to the millisecond, which sorts as text, and five random
// characters.
var runID = regexp.MustCompile(`^[0-9]{8}T[0-9]{6}\.[0-9]{3}Z-[a-z2-7]{8}$`)

func newRunID(now time.Time) string {
	random := make([]byte, 5)
	rand.Read(random) // never fails (crypto/rand)
	return now.UTC().Format("20060102T150405.000Z") + "-" + strings.ToLower(base32.StdEncoding.EncodeToString(random))
}

// Info is what run.json says.
type Info struct {
	ID       string    `json:"id"`
	Command  []string  `json:"command"` // with its arguments
	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished,omitzero"` // zero: it still goes on, or died
}

// A Run is what one command does, while it does it. Its methods may be called
// by several goroutines at once.
type Run struct {
	dir  string
	lock *flock.Flock

	mu     sync.Mutex
	info   Info
	trials int // begun
	stored int
	closed bool
}

// Create begins a run in the store at root, which is made where it is
// missing. Close ends it.
func Create(ctx context.Context, root string, command []string) (*Run, error) {
	if err := os.MkdirAll(root, 0o777); err != nil {
		return nil, fmt.Errorf("make the results folder: %w", err)
	}
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, fmt.Errorf("find the results folder: %w", err)
	}
	// While the store is locked nobody sweeps, so nobody takes the new folder
	// for a dead process's before its own lock is held.
	store, err := lockStore(ctx, root)
	if err != nil {
		return nil, err
	}
	defer store.Close() // gives up the lock; nothing was written to it

	now := time.Now().UTC().Truncate(time.Millisecond)
	r := &Run{info: Info{ID: newRunID(now), Command: command, Started: now}}
	r.dir = filepath.Join(root, r.info.ID)
	temp := filepath.Join(root, newPrefix+r.info.ID)
	if err := os.Mkdir(temp, 0o777); err != nil {
		return nil, fmt.Errorf("make the run's folder: %w", err)
	}
	if err := r.start(temp); err != nil {
		return nil, errors.Join(err, os.RemoveAll(temp))
	}
	return r, nil
}

// lockStore waits until nobody else creates a run in the store or sweeps it.
func lockStore(ctx context.Context, root string) (*flock.Flock, error) {
	store := flock.New(filepath.Join(root, lockFile))
	if _, err := store.TryLockContext(ctx, 10*time.Millisecond); err != nil {
		return nil, fmt.Errorf("lock the results folder: %w", errors.Join(err, store.Close()))
	}
	return store, nil
}

func (r *Run) start(temp string) error {
	r.lock = flock.New(filepath.Join(temp, lockFile))
	held, err := r.lock.TryLock()
	if err != nil || !held {
		return fmt.Errorf("lock the run's folder: %w", errors.Join(err, r.lock.Close()))
	}
	err = writeInfo(temp, r.info)
	if err == nil {
		err = rename(temp, r.dir)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("begin the run: %w", err), r.lock.Close())
	}
	return nil
}

func writeInfo(dir string, info Info) error {
	line, err := text.JSONLine(info)
	if err != nil {
		return err
	}
	temp := filepath.Join(dir, "."+infoFile)
	if err := writeSynced(temp, line); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	return rename(temp, filepath.Join(dir, infoFile))
}

// ID names the run; IDs sort by time.
func (r *Run) ID() string { return r.info.ID }

// Dir is the run's folder, absolute.
func (r *Run) Dir() string { return r.dir }

// Close ends the run. One without a single stored trial leaves nothing
// behind.
func (r *Run) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil
	}
	r.closed = true
	var err error
	if r.stored == 0 {
		err = os.RemoveAll(r.dir)
	} else {
		r.info.Finished = time.Now().UTC().Truncate(time.Millisecond)
		err = errors.Join(removeTemps(r.dir), writeInfo(r.dir, r.info), os.Remove(filepath.Join(r.dir, lockFile)))
	}
	if err = errors.Join(err, r.lock.Close()); err != nil {
		return fmt.Errorf("end run %s: %w", r.info.ID, err)
	}
	return nil
}

// removeTemps removes the hidden folders of trials that nobody finished.
func removeTemps(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), tempPrefix) {
			errs = append(errs, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(errs...)
}

// Sweep removes from the store at root what processes that died left: folders
// of trials that were not finished, and runs that stored none. It leaves
// alone what a living process holds, and gives what it removed.
func Sweep(ctx context.Context, root string) (removed []string, err error) {
	if _, err := os.Stat(root); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	store, err := lockStore(ctx, root)
	if err != nil {
		return nil, err
	}
	defer store.Close() // gives up the lock; nothing was written to it
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, fmt.Errorf("sweep results: %w", err)
	}
	var errs []error
	for _, e := range entries {
		path := filepath.Join(root, e.Name())
		switch {
		case !e.IsDir():
		case strings.HasPrefix(e.Name(), newPrefix) && runID.MatchString(strings.TrimPrefix(e.Name(), newPrefix)):
			errs = append(errs, os.RemoveAll(path))
			removed = append(removed, path)
		case runID.MatchString(e.Name()):
			gone, err := sweepRun(path)
			removed = append(removed, gone...)
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return removed, fmt.Errorf("sweep results: %w", err)
	}
	return removed, nil
}

func sweepRun(dir string) (removed []string, err error) {
	// A run that was closed has no lock file.
	if _, err := os.Lstat(filepath.Join(dir, lockFile)); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return nil, err
	}
	lock := flock.New(filepath.Join(dir, lockFile), flock.SetFlag(os.O_RDWR))
	held, err := lock.TryLock()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // closed in between
	}
	if err != nil || !held {
		return nil, errors.Join(err, lock.Close())
	}
	defer lock.Close() // the file goes, or is only a lock
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // its owner closed it in between, and it was empty
	}
	if err != nil {
		return nil, err
	}
	stored := 0
	for _, e := range entries {
		switch {
		case strings.HasPrefix(e.Name(), tempPrefix):
			removed = append(removed, filepath.Join(dir, e.Name()))
		case e.IsDir() || e.Name() == TrialsFile:
			stored++
		}
	}
	if stored == 0 {
		return []string{dir}, os.RemoveAll(dir)
	}
	err = os.Remove(filepath.Join(dir, lockFile))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil // its owner closed it in between
	}
	return removed, errors.Join(removeTemps(dir), err)
}
