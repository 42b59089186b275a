package bundle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/blockrig/blockrig/harness/trial"
	"github.com/blockrig/blockrig/results"
)

// ErrNotKept says that what a bundle is made of was not kept of a trial.
var ErrNotKept = errors.New("it can't be bundled")

// Of gives what the bundle of a recorded trial is made of. say is told what is
// not as it was then. Its kernel is fetched or built where it is not in the
// cache; the error says so where it can't be had any more.
func Of(ctx context.Context, r results.Recorded, p *trial.Preparer, say func(format string, args ...any)) (Content, error) {
	c, err := of(ctx, r, p, say)
	if err != nil {
		return Content{}, fmt.Errorf("bundle %s: %w", r.Name(), err)
	}
	return c, nil
}

func of(ctx context.Context, r results.Recorded, p *trial.Preparer, say func(format string, args ...any)) (Content, error) {
	if r.Dir == "" {
		return Content{}, fmt.Errorf("%w: its folder was not kept, since another trial showed the same; bundle that one", ErrNotKept)
	}
	if r.Job.Initramfs == "" || r.Job.Kernel.Exact == "" {
		return Content{}, fmt.Errorf("%w: its job was not kept: an older blockrig recorded it, or it never ran", ErrNotKept)
	}
	files, ready, err := p.Again(ctx, r.Job, r.Case)
	if err != nil {
		return Content{}, err
	}
	c := Content{Record: r.Record, Job: r.Job, Kernel: files.Image, Initrd: files.Initrd, Console: filepath.Join(r.Dir, results.ConsoleFile)}
	if ready != nil {
		say("the initramfs of the trial is not in the cache any more: the bundle has one that was made now")
		c.Job.Initramfs, c.Job.Modules = ready.Initrd.Digest, ready.Modules
	}
	if c.Programs, err = trial.Programs(r.Case); err != nil {
		return Content{}, err
	}
	events, err := os.Open(filepath.Join(r.Dir, results.EventsFile))
	if err != nil {
		return Content{}, err
	}
	defer events.Close() // only read from
	c.Script, err = c.Job.Script(io.LimitReader(events, maxEvents))
	if errors.Is(err, trial.ErrNeedsHost) {
		c.Why = err.Error()
		say("%s can't make the trial again: %s", fileScript, c.Why)
		err = nil
	}
	return c, err
}

// maxEvents bounds what is read of events, in bytes.
const maxEvents = 256 << 20
