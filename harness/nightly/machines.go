package nightly

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/blockrig/blockrig/harness/bisect"
	"github.com/blockrig/blockrig/harness/bisect/trials"
	"github.com/blockrig/blockrig/harness/text"
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

// Bisect implements Executor.
func (m *Machines) Bisect(ctx context.Context, s Search) (found Found, err error) {
	runner, err := m.Runner(ctx, s.Machine, s.Case.Setup.Machine.Memory)
	if err != nil {
		return found, err
	}
	search, err := m.search(ctx, s, runner)
	if err != nil {
		return found, err
	}
	search.Cache = m.Cache // and so that of those that follow it
	todo := []*trials.Search{search}
	defer func() {
		for _, left := range todo {
			err = errors.Join(err, left.Close())
		}
	}()
	for len(todo) > 0 {
		o, err := m.answer(ctx, todo[0], runner, &found)
		if err != nil || o == nil {
			return found, err
		}
		more, err := todo[0].Next(ctx, o)
		if err != nil { // such as a repository without the releases' tags
			found.Why = text.OneLine(err.Error())
		}
		done := todo[0]
		todo = append(todo[1:], more...)
		if err := done.Close(); err != nil {
			return found, err
		}
	}
	return found, nil
}

// search begins the bisection, or opens the one that was begun.
func (m *Machines) search(ctx context.Context, s Search, runner *trials.Runner) (*trials.Search, error) {
	if bisect.Begun(s.Dir) {
		return trials.Open(s.Dir)
	}
	r := trials.Request{
		Command: m.Command, Scenario: trials.ScenarioOf(s.Case), Machine: s.Machine,
		Criteria: trials.Criteria{Confidence: sureCulprit, For: []string{s.For}}, MaxSkips: mostSkips,
	}
	build := trials.Build{Fragments: s.Fragments}
	ends := trials.Ends{Good: []string{s.Good}, Bad: s.Bad}
	if bad, ok := kernels.CutGit(s.Bad); ok {
		repo, err := gitcmd.Open(ctx, m.Cache, bad.Repo)
		if err != nil {
			return nil, err
		}
		good, _ := kernels.CutGit(s.Good) // see sameKind
		ends.Bad, ends.Good[0] = bad.Rev, good.Rev
		if err := r.Commits(ctx, repo, ends, trials.GitRequest{Build: build}); err != nil {
			return nil, err
		}
	} else {
		if s.ThenRepo != "" {
			r.ThenGit = &trials.GitRequest{Repo: s.ThenRepo, Build: build}
		}
		if err := r.ReleasesBetween(ctx, runner.Preparer.Kernels, ends); err != nil {
			return nil, err
		}
	}
	return trials.Create(s.Dir, r)
}

// Of bisections that nobody watches: how sure a culprit is to be, and how many
// commits may be skipped.
const (
	sureCulprit = .99
	mostSkips   = 20
)

// answer runs a search to its end and adds what it found; it gives none where
// there is no answer.
func (m *Machines) answer(ctx context.Context, s *trials.Search, runner *trials.Runner, found *Found) (*trials.Outcome, error) {
	o, err := s.Run(ctx, runner, func(bisect.Event) {})
	var stop *bisect.StopError
	switch {
	case errors.As(err, &stop) && ctx.Err() == nil:
		found.Why = text.OneLine(stop.Error())
		return nil, nil
	case err != nil:
		return nil, err
	}
	reports, err := s.WriteReports(o)
	if err != nil {
		return nil, err
	}
	err = o.Each(func(i int, a *bisect.Answer, cx bisect.Context) error {
		c := Culprit{Grade: string(a.Grade), Report: reports[i]}
		switch {
		case a.First != nil:
			c.First, c.Title = a.First.Hash, a.First.Title
		case len(a.Among) > 0:
			c.First = fmt.Sprintf("one of %d commits", len(a.Among))
		default:
			c.First = "a change that was not found"
		}
		if cx.Range != nil {
			c.Range = cx.Range.String()
		}
		found.Culprits = append(found.Culprits, c)
		return nil
	})
	return o, err
}
