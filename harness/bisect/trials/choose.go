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

// ErrNoCase says that no case of a scenario fails where it should.
var ErrNoCase = errors.New("no case fails")

// Choose gives the case to bisect with, where the user named none: the first
// that fails on the failing end and passes on the passing one, by a trial of
// each.
func Choose(ctx context.Context, t *Tester, cases []scenarios.Case, bad, good bisect.Subject, rules bisect.Rules) (scenarios.Case, error) {
	if len(cases) == 1 {
		return cases[0], nil
	}
	failing, err := t.tryEach(ctx, cases, bad)
	if err != nil {
		return scenarios.Case{}, err
	}
	var hits []scenarios.Case
	var seen []string
	for _, c := range cases {
		if o := failing[c.ID]; o.Kind == bisect.KindVerdict && fails(rules, o) {
			hits = append(hits, c)
		} else {
			seen = append(seen, c.ID+": "+said(o))
		}
	}
	if len(hits) == 0 {
		return scenarios.Case{}, fmt.Errorf("%w on %s (%s)", ErrNoCase, bad.String(), strings.Join(seen, "; "))
	}
	passing, err := t.tryEach(ctx, hits, good)
	if err != nil {
		return scenarios.Case{}, err
	}
	seen = nil
	for _, c := range hits {
		o := passing[c.ID]
		if o.Kind == bisect.KindVerdict && !fails(rules, o) {
			return c, nil
		}
		seen = append(seen, c.ID+": "+said(o))
	}
	return scenarios.Case{}, fmt.Errorf("every case that fails on %s does not pass on %s either (%s)",
		bad.String(), good.String(), strings.Join(seen, "; "))
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
		return nil, fmt.Errorf("%s: %s", s.String(), p.Reason)
	}
	one := *t
	one.Cases = cases
	var last results.Record
	one.Each = func(r results.Record) { last = r }
	out := map[string]bisect.Outcome{}
	err = one.Test(ctx, bisect.Request{Subject: s, Boots: 1, Runs: 1}, func(o bisect.Outcome) error {
		out[last.Case] = o
		return nil
	})
	return out, err
}

// fails says whether a trial is one that is looked for, before it is known
// what exactly that is.
func fails(r bisect.Rules, o bisect.Outcome) bool {
	if r.BadWhen != nil {
		return r.BadWhen.Holds(o)
	}
	return o.Failed()
}
