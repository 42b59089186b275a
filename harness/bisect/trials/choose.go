package trials

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/blockrig/blockrig/harness/bisect"
	"github.com/blockrig/blockrig/results"
	"github.com/blockrig/blockrig/scenarios"
)

// errNoCase says that no case of a scenario fails where it should.
var errNoCase = errors.New("no case fails")

// Choose puts the case to bisect with into the request, where the user named
// none: the first that fails on the failing end and passes on the passing one,
// by a trial of each. The error is a RequestError when the kernels say that
// there is none; trouble with this machine says nothing of them.
func (r *Request) Choose(ctx context.Context, t *Tester, cases []scenarios.Case) error {
	rules, err := r.Rules()
	if err != nil {
		return err
	}
	old, new := r.ends()
	bad, good := new, old
	if r.Direction == bisect.Fix {
		bad, good = old, new
	}
	c, err := choose(ctx, t, cases, bad, good, rules)
	if errors.Is(err, errNoCase) && r.Direction == bisect.Either {
		c, err = choose(ctx, t, cases, good, bad, rules)
	}
	if err != nil {
		return err
	}
	r.Scenario = ScenarioOf(c)
	return nil
}

// ends are the first old end and the new one.
func (r *Request) ends() (old, new bisect.Subject) {
	if r.Git != nil {
		return bisect.Subject{Commit: r.Git.Old[0].Commit}, bisect.Subject{Commit: r.Git.New.Commit}
	}
	return bisect.Subject{Commit: r.Releases.Old.Commit}, bisect.Subject{Commit: r.Releases.New.Commit}
}

func choose(ctx context.Context, t *Tester, cases []scenarios.Case, bad, good bisect.Subject, rules bisect.Rules) (scenarios.Case, error) {
	failing, err := t.tryEach(ctx, cases, bad)
	if err != nil {
		return scenarios.Case{}, err
	}
	var hits []scenarios.Case
	var seen []string
	var spoilt bool // a trial by this machine
	for _, c := range cases {
		if o := failing[c.ID]; rules.Fails(o) {
			hits = append(hits, c)
		} else {
			spoilt = spoilt || o.Host
			seen = append(seen, c.ID+": "+said(o))
		}
	}
	none := func(why error) (scenarios.Case, error) {
		if spoilt {
			return scenarios.Case{}, fmt.Errorf("which case to bisect with is not known, for trouble with this machine: %w", why)
		}
		return scenarios.Case{}, RequestError{why}
	}
	if len(hits) == 0 {
		return none(fmt.Errorf("%w on %s (%s)", errNoCase, bad, strings.Join(seen, "; ")))
	}
	passing, err := t.tryEach(ctx, hits, good)
	if err != nil {
		return scenarios.Case{}, err
	}
	seen = nil
	var differs []scenarios.Case
	for _, c := range hits {
		o := passing[c.ID]
		if o.Kind == bisect.KindVerdict && !rules.Fails(o) {
			return c, nil
		}
		if rules.Differ(failing[c.ID], o) {
			differs = append(differs, c)
		}
		spoilt = spoilt || o.Host
		seen = append(seen, c.ID+": "+said(o))
	}
	if len(differs) > 0 { // it fails on both, and shows more on one
		return differs[0], nil
	}
	return none(fmt.Errorf("every case that fails on %s does not pass on %s either (%s)", bad, good, strings.Join(seen, "; ")))
}

func said(o bisect.Outcome) string {
	if o.Kind == bisect.KindVerdict {
		return string(o.Verdict)
	}
	return string(o.Kind) + ": " + o.Reason
}

// tryEach makes one trial of each case.
func (t *Tester) tryEach(ctx context.Context, cases []scenarios.Case, s bisect.Subject) (map[string]bisect.Outcome, error) {
	p, err := t.Prepare(ctx, s)
	if err != nil {
		return nil, err
	}
	if p.Failure != "" {
		err := fmt.Errorf("%s: %s", s.String(), p.Reason)
		if p.Failure == bisect.KindError {
			return nil, err
		}
		return nil, RequestError{err}
	}
	out := map[string]bisect.Outcome{}
	err = t.try(ctx, bisect.Request{Subject: s, Boots: 1, Runs: 1}, cases, func(r results.Record, o bisect.Outcome) error {
		out[r.Case] = o
		return nil
	})
	return out, err
}
