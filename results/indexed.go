package results

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/blockrig/blockrig/results/store"
)

// openIndex opens the index for a run that has begun. Without one the run goes
// on: whoever opens the index later adds what it lacks.
func (r *Run) openIndex(ctx context.Context, root string) {
	s, err := store.Open(ctx, root)
	if err != nil {
		r.indexErr = err
		return
	}
	folders, err := os.OpenRoot(root)
	if err != nil {
		r.indexErr = errors.Join(err, s.Close())
		return
	}
	r.index = &follower{store: s, folders: folders, root: root, id: r.info.ID}
}

// updateIndex adds what was recorded to the index. What is recorded is so
// whether or not that works, and whether or not anybody still waits for it. The
// caller holds r.mu.
func (r *Run) updateIndex() {
	if r.index == nil {
		return
	}
	if err := r.index.followNow(context.Background()); err != nil {
		r.indexErr = err
		r.closeIndex()
	}
}

// closeIndex ends the use of the index. The caller holds r.mu.
func (r *Run) closeIndex() {
	if r.index == nil {
		return
	}
	if err := errors.Join(r.index.store.Close(), r.index.folders.Close()); err != nil && r.indexErr == nil {
		r.indexErr = err
	}
	r.index = nil
}

// Unindexed says why trials of the run are not in the index, which is nothing
// that a run fails of; nil when they are, or when they are not to be.
func (r *Run) Unindexed() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.indexErr == nil {
		return nil
	}
	return fmt.Errorf("the trials of run %s are recorded, but not in the index: %w (blockrig results reindex --results %s)",
		r.info.ID, r.indexErr, filepath.Dir(r.folder.Path()))
}
