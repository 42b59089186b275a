package nightly

import (
	"context"
	"time"

	"github.com/blockrig/blockrig/harness/bisect/trials"
	"github.com/blockrig/blockrig/harness/hunt"
	"github.com/blockrig/blockrig/kernels"
	"github.com/blockrig/blockrig/results"
)

// An Executor is what a night needs of the world: archives, repositories, machines.
type Executor interface {
	// Releases are Debian's kernels, oldest first.
	Releases(ctx context.Context) ([]kernels.Version, error)
	// Choose gives the kernel that a debian: reference means now.
	Choose(ctx context.Context, ref string) (kernels.Version, error)
	// Commit is the full hash of a repository's revision.
	Commit(ctx context.Context, repo, rev string) (string, error)
	// Tags are those of a repository, the oldest first.
	Tags(ctx context.Context, repo string) ([]string, error)
	// Run makes the trials that are asked for and records them. What was
	// recorded is given also with an error.
	Run(ctx context.Context, r Run) ([]results.Record, error)
	// Hunt hunts, and gives what is known of the hunt, also with an error.
	Hunt(ctx context.Context, h Hunt) (*hunt.State, error)
	// Bisect finds what changed a case. Where it is not over when ctx ends,
	// Unfinished is set, and the same folder continues it.
	Bisect(ctx context.Context, b Search) (Found, error)
}

// A Run is one that a night makes.
type Run struct {
	Request results.Request
	// Resume is the run to resume instead, by its ID.
	Resume string
	// Fresh says that no machine is to be taken that was saved before.
	Fresh bool
	// Begun gets the run's ID before its first trial.
	Begun func(id string) error
}

// A Hunt is one that a night makes.
type Hunt struct {
	Request hunt.Request
	// Resume is the hunt to go on with instead, by its name.
	Resume string
	// Begun gets the hunt's name before anything is done.
	Begun func(name string) error
	// Earlier is what is not to be found again.
	Earlier []hunt.Finding
	Machine trials.Machine
}

// Of bisections; see package trials.
type (
	Search    = trials.Between
	Found     = trials.Found
	Culprit   = trials.Culprit
	Bisection = trials.Bisection
)

// A Clock tells the time. The two are apart because a wall clock can be set
// while a night runs.
type Clock struct {
	Now     func() time.Time
	Elapsed func() time.Duration // since some moment; never goes back
}

// SystemClock is that of the machine.
func SystemClock() Clock {
	began := time.Now()
	return Clock{Now: time.Now, Elapsed: func() time.Duration { return time.Since(began) }}
}
