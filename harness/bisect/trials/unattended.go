package trials

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/blockrig/blockrig/harness/bisect"
	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/kernels"
	"github.com/blockrig/blockrig/kernels/gitbuild/gitcmd"
	"github.com/blockrig/blockrig/scenarios"
)

// Unattended makes bisections that nobody watches: those of a night, and those of
// what a hunt has found.
type Unattended struct {
	Cache   string // blockrig's own cache folder
	Command []string
	// Runner gets ready what a bisection's trials run with.
	Runner func(ctx context.Context, m Machine, memory scenarios.Bytes) (*Runner, error)
}

// Between is what an unattended bisection searches.
type Between struct {
	Dir       string // of the search; one that is there is continued
	Case      scenarios.Case
	Good, Bad string // kernel references of one kind, debian: or git:
	For       string // the verdict that is looked for, of all that the bad one shows
	ThenRepo  string // the commits after the releases; "" for none
	Machine   Machine
	Fragments []string
}

// Found is what came of a search.
type Found struct {
	Culprits   []Culprit `json:"culprits,omitempty"`
	Unfinished bool      `json:"unfinished,omitempty"`
	Why        string    `json:"why,omitempty"` // there is none
}

// A Culprit is the first release or commit with a change.
type Culprit struct {
	First  string `json:"first"` // version, or full hash
	Title  string `json:"title,omitempty"`
	Grade  string `json:"grade"`
	Range  string `json:"range,omitempty"` // of a release: the commits that it brought
	Report string `json:"report,omitempty"`
}

// A Bisection is one that followed a finding.
type Bisection struct {
	Dir  string `json:"dir"`
	Good string `json:"good"`
	Bad  string `json:"bad"`
	Found
}

// Lines say what came of it, for people; none for nil. goesOn says when one that
// is not over goes on beside a command.
func (b *Bisection) Lines(goesOn string) (lines []string) {
	if b == nil {
		return nil
	}
	for _, c := range b.Culprits {
		said := "came with " + strings.TrimSpace(c.First+" "+c.Title)
		if c.Range != "" {
			said += " (" + c.Range + ")"
		}
		lines = append(lines, said+": "+c.Grade)
		if c.Report != "" {
			lines = append(lines, "report: "+c.Report)
		}
	}
	switch {
	case b.Unfinished:
		lines = append(lines, goesOn+": blockrig bisect resume "+b.Dir)
	case b.Why != "":
		lines = append(lines, "not bisected: "+b.Why)
	}
	return lines
}

// Bisect finds what changed a case. Where it is not over when ctx ends, Unfinished
// is set, and the same folder continues it.
func (u *Unattended) Bisect(ctx context.Context, s Between) (found Found, err error) {
	runner, err := u.Runner(ctx, s.Machine, s.Case.Setup.Machine.Memory)
	if err != nil {
		return found, err
	}
	search, err := u.Begin(ctx, s, runner)
	if err != nil {
		return found, err
	}
	search.Cache = u.Cache // and so that of those that follow it
	todo := []*Search{search}
	defer func() {
		for _, left := range todo {
			err = errors.Join(err, left.Close())
		}
	}()
	for len(todo) > 0 {
		o, err := u.answer(ctx, todo[0], runner, &found)
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

// Begin begins the bisection, or opens the one that was begun.
func (u *Unattended) Begin(ctx context.Context, s Between, runner *Runner) (*Search, error) {
	if bisect.Begun(s.Dir) {
		return Open(s.Dir)
	}
	r := Request{
		Command: u.Command, Scenario: ScenarioOf(s.Case), Machine: s.Machine,
		Criteria: Criteria{Confidence: sureCulprit, For: []string{s.For}}, MaxSkips: mostSkips,
	}
	build := Build{Fragments: s.Fragments}
	ends := Ends{Good: []string{s.Good}, Bad: s.Bad}
	if bad, ok := kernels.CutGit(s.Bad); ok {
		repo, err := gitcmd.Open(ctx, u.Cache, bad.Repo)
		if err != nil {
			return nil, err
		}
		good, _ := kernels.CutGit(s.Good) // see sameKind
		ends.Bad, ends.Good[0] = bad.Rev, good.Rev
		if err := r.Commits(ctx, repo, ends, GitRequest{Build: build}); err != nil {
			return nil, err
		}
	} else {
		if s.ThenRepo != "" {
			r.ThenGit = &GitRequest{Repo: s.ThenRepo, Build: build}
		}
		if err := r.ReleasesBetween(ctx, runner.Preparer.Kernels, ends); err != nil {
			return nil, err
		}
	}
	return Create(s.Dir, r)
}

// Of bisections that nobody watches: how sure a culprit is to be, and how many
// commits may be skipped.
const (
	sureCulprit = .99
	mostSkips   = 20
)

// answer runs a search to its end and adds what it found; it gives none where
// there is no answer.
func (u *Unattended) answer(ctx context.Context, s *Search, runner *Runner, found *Found) (*Outcome, error) {
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
