package nightly

import (
	"context"
	"fmt"
	"strings"

	"github.com/blockrig/blockrig/harness/bisect/trials"
	"github.com/blockrig/blockrig/harness/hunt"
	"github.com/blockrig/blockrig/kernels"
	"github.com/blockrig/blockrig/kernels/gitbuild/gitcmd"
	"github.com/blockrig/blockrig/results"
	"github.com/blockrig/blockrig/scenarios"
)

// Machines are the Executor that there is: apt, git and QEMU.
type Machines struct {
	Kernels *kernels.Store
	Cache   string // blockrig's own cache folder
	Command []string
	// Trials makes the trials of a run and records them.
	Trials func(ctx context.Context, r Run) ([]results.Record, error)
	// Hunts does a hunt and keeps what comes of it.
	Hunts func(ctx context.Context, h Hunt) (*hunt.State, error)
	// Runner gets ready what a bisection's trials run with.
	Runner func(ctx context.Context, m trials.Machine, memory scenarios.Bytes) (*trials.Runner, error)
}

// Releases implements Executor.
func (m *Machines) Releases(ctx context.Context) ([]kernels.Version, error) {
	return m.Kernels.Available(ctx, "")
}

// Choose implements Executor.
func (m *Machines) Choose(ctx context.Context, ref string) (kernels.Version, error) {
	return m.Kernels.Choose(ctx, ref)
}

// Commit implements Executor.
func (m *Machines) Commit(ctx context.Context, repo, rev string) (string, error) {
	r, err := gitcmd.Open(ctx, m.Cache, repo)
	if err != nil {
		return "", err
	}
	return r.Resolve(ctx, rev)
}

// Tags implements Executor.
func (m *Machines) Tags(ctx context.Context, repo string) ([]string, error) {
	r, err := gitcmd.Open(ctx, m.Cache, repo)
	if err != nil {
		return nil, err
	}
	out, err := r.Run(ctx, "for-each-ref", "--sort=creatordate", "--format=%(refname:strip=2)", "refs/tags")
	if err != nil {
		return nil, fmt.Errorf("list the tags of %s: %w", repo, err)
	}
	return strings.Fields(out), nil
}

// Run implements Executor.
func (m *Machines) Run(ctx context.Context, r Run) ([]results.Record, error) {
	return m.Trials(ctx, r)
}

// Hunt implements Executor.
func (m *Machines) Hunt(ctx context.Context, h Hunt) (*hunt.State, error) { return m.Hunts(ctx, h) }

// Bisect implements Executor.
func (m *Machines) Bisect(ctx context.Context, s Search) (Found, error) {
	u := trials.Unattended{Cache: m.Cache, Command: m.Command, Runner: m.Runner}
	return u.Bisect(ctx, s)
}
