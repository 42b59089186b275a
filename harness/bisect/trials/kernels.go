package trials

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/blockrig/blockrig/harness/bisect"
	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/harness/trial"
	"github.com/blockrig/blockrig/kernels"
	"github.com/blockrig/blockrig/kernels/gitbuild"
	"github.com/blockrig/blockrig/scenarios"
)

// Kernels gives the subjects of a search as kernels.
type Kernels interface {
	// Ref is a reference that the runner's kernel store resolves to the
	// subject's kernel.
	Ref(s bisect.Subject) string
	// Prepare makes the kernel and says what it is, or why there is none. An
	// error means that the search must stop.
	Prepare(ctx context.Context, s bisect.Subject) (bisect.Prepared, error)
}

// failure is why there is no kernel.
func failure(kind bisect.Kind, err error) bisect.Prepared {
	return bisect.Prepared{Failure: kind, Reason: text.OneLine(err.Error())}
}

// usable builds the initramfs of a kernel that is there, and finds out what
// the scenario lacks in it.
func usable(ctx context.Context, p *trial.Preparer, ref string, k kernels.Kernel, c scenarios.Case) (*bisect.Prepared, error) {
	_, err := p.PrepareKernel(ctx, ref, k, c)
	switch {
	case err == nil:
		return nil, nil
	case ctx.Err() != nil:
		return nil, err
	case trial.WrongRequest(err):
		no := failure(bisect.KindBuild, err)
		return &no, nil
	}
	no := failure(bisect.KindError, err)
	return &no, nil
}

// Releases are released kernels, named by their version.
type Releases struct {
	Preparer *trial.Preparer
	Case     scenarios.Case
	Refs     map[string]string // version -> reference
}

// NewReleases are the kernels of a bisection of releases.
func NewReleases(runner *Runner, list []bisect.Release, c scenarios.Case) *Releases {
	r := &Releases{Preparer: runner.Preparer, Case: c, Refs: make(map[string]string)}
	for _, rel := range list {
		r.Refs[rel.Version] = rel.Ref
	}
	return r
}

// Ref implements Kernels.
func (r *Releases) Ref(s bisect.Subject) string { return r.Refs[s.Commit] }

// Prepare implements Kernels: it fetches the kernel.
func (r *Releases) Prepare(ctx context.Context, s bisect.Subject) (bisect.Prepared, error) {
	began := time.Now()
	k, err := r.Preparer.Kernels.Resolve(ctx, r.Ref(s))
	var failed *gitbuild.FailedError
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return bisect.Prepared{}, err
	case trial.WrongRequest(err), errors.As(err, &failed):
		return failure(bisect.KindBuild, err), nil
	default:
		return failure(bisect.KindError, err), nil
	}
	if p, err := usable(ctx, r.Preparer, r.Ref(s), k, r.Case); p != nil || err != nil {
		return deref(p), err
	}
	return bisect.Prepared{Digest: k.Digest, Release: k.Release, Seconds: time.Since(began).Seconds()}, nil
}

func deref(p *bisect.Prepared) bisect.Prepared {
	if p == nil {
		return bisect.Prepared{}
	}
	return *p
}

// Commits are kernels built from a repository. It is the builder of its runner's
// kernel store, so that a commit with another one taken back, or with a patch,
// has a reference too.
type Commits struct {
	Preparer *trial.Preparer
	Case     scenarios.Case
	Builder  *gitbuild.Builder
	Spec     gitbuild.Spec // all but Rev and Revert; Patches make trees build
	Try      []string      // patches under test
	Say      func(format string, args ...any)

	mu       sync.Mutex
	subjects map[string]bisect.Subject // by the revision in their references
	said     map[string]bool           // patches that were left out
}

// Ref implements Kernels.
func (c *Commits) Ref(s bisect.Subject) string {
	rev := s.Full()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.subjects == nil {
		c.subjects = make(map[string]bisect.Subject)
	}
	c.subjects[rev] = s
	return "git:" + c.Spec.Repo + "@" + rev
}

// spec is what to build for a subject.
func (c *Commits) spec(s bisect.Subject) gitbuild.Spec {
	spec := c.Spec
	spec.Rev, spec.Revert, spec.Partly, spec.Pick = s.Commit, s.Revert, s.Partly, s.Apply
	if s.Patched {
		spec.Try = c.Try
	}
	return spec
}

// Build implements kernels.Builder.
func (c *Commits) Build(ctx context.Context, ref kernels.GitRef) (kernels.Kernel, error) {
	if ref.Repo != c.Spec.Repo {
		return kernels.Kernel{}, fmt.Errorf("repository %s is not the one at hand, %s", ref.Repo, c.Spec.Repo)
	}
	c.mu.Lock()
	s, ok := c.subjects[ref.Rev]
	c.mu.Unlock()
	if !ok {
		s.Commit = ref.Rev
	}
	b, err := c.Builder.BuildSpec(ctx, c.spec(s))
	return b.Kernel, err
}

// Prepare implements Kernels: it builds the kernel.
func (c *Commits) Prepare(ctx context.Context, s bisect.Subject) (bisect.Prepared, error) {
	began := time.Now()
	b, err := c.Builder.BuildSpec(ctx, c.spec(s))
	var failed *gitbuild.FailedError
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return bisect.Prepared{}, err
	case errors.As(err, &failed):
		p := failure(bisect.KindBuild, err)
		p.Log, p.Seconds = failed.Log, time.Since(began).Seconds()
		return p, nil
	case errors.Is(err, gitbuild.ErrDoesNotApply):
		p := failure(bisect.KindNone, err)
		p.Absent = s.Revert != "" && errors.Is(err, gitbuild.ErrChangesNothing)
		return p, nil
	case errors.Is(err, gitbuild.ErrNoKernel):
		return failure(bisect.KindBuild, err), nil
	default:
		return failure(bisect.KindError, err), nil
	}
	c.sayLeftOut(s.Commit, b.LeftOut)
	if p, err := usable(ctx, c.Preparer, c.Ref(s), b.Kernel, c.Case); p != nil || err != nil {
		return deref(p), err
	}
	return bisect.Prepared{Digest: b.Image256, Release: b.Release, Seconds: time.Since(began).Seconds()}, nil
}

// sayLeftOut says once of each commit which patches don't apply to it.
func (c *Commits) sayLeftOut(commit string, patches []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.said == nil {
		c.said = map[string]bool{}
	}
	for _, name := range patches {
		if key := commit + name; !c.said[key] && c.Say != nil {
			c.said[key] = true
			c.Say("%s: %s does not apply and is left out", bisect.Subject{Commit: commit}, filepath.Base(name))
		}
	}
}

// Compiled gives those of the paths that the build of a commit read.
func (c *Commits) Compiled(ctx context.Context, s bisect.Subject, paths []string) ([]string, error) {
	b, err := c.Builder.BuildSpec(ctx, c.spec(s))
	if err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		return nil, fmt.Errorf("%w: %w", bisect.ErrNotKnown, err)
	}
	return b.Compiled(paths)
}
