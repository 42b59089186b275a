package results

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/gofrs/flock"
)

// ErrGoesOn says that a run is still being done by another process.
var ErrGoesOn = errors.New("the run still goes on")

// Reopen goes on with a run that has ended, or whose process died: one that
// Show finds by id. It gives what is stored of it, too.
func Reopen(ctx context.Context, root, id string) (*Run, Stored, error) {
	found, err := Show(root, id)
	if err != nil {
		return nil, Stored{}, err
	}
	root, err = filepath.Abs(root)
	if err != nil {
		return nil, Stored{}, fmt.Errorf("find the results folder: %w", err)
	}
	store, err := lockStore(ctx, root)
	if err != nil {
		return nil, Stored{}, err
	}
	defer store.Close() // gives up the lock; nothing was written to it

	r := &Run{dir: filepath.Join(root, found.ID)}
	r.lock = flock.New(filepath.Join(r.dir, lockFile))
	held, err := r.lock.TryLock()
	if err != nil {
		return nil, Stored{}, fmt.Errorf("lock run %s: %w", found.ID, errors.Join(err, r.lock.Close()))
	}
	if !held {
		return nil, Stored{}, errors.Join(fmt.Errorf("%w: %s", ErrGoesOn, found.ID), r.lock.Close())
	}
	s, err := r.goOn(root, found.ID)
	if err != nil {
		return nil, Stored{}, errors.Join(fmt.Errorf("go on with run %s: %w", found.ID, err), r.lock.Close())
	}
	return r, s, nil
}

// goOn reads the run, whose lock is held now, and takes away what a dead
// process did not finish.
func (r *Run) goOn(root, id string) (Stored, error) {
	if err := errors.Join(removeTemps(r.dir), mendTrials(r.dir)); err != nil {
		return Stored{}, err
	}
	s, err := Show(root, id)
	if err != nil {
		return Stored{}, err
	}
	r.info = s.Info
	r.info.Finished = time.Time{}
	r.stored = len(s.Records)
	r.trials = r.stored
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		return Stored{}, err
	}
	for _, e := range entries {
		number, _, _ := cutNumber(e.Name())
		r.trials = max(r.trials, number)
	}
	return s, writeInfo(r.dir, r.info)
}

// cutNumber takes the number off the name of a trial's folder.
func cutNumber(name string) (number int, rest string, ok bool) {
	i := 0
	for i < len(name) && name[i] >= '0' && name[i] <= '9' {
		i++
	}
	number, err := strconv.Atoi(name[:i])
	if err != nil {
		return 0, name, false
	}
	return number, name[i:], true
}
