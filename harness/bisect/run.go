package bisect

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/blockrig/blockrig/harness/stats"
)

// Run searches. The error is a [*StopError] when the search ended without an
// answer.
func Run(ctx context.Context, cfg Config, h History, t Tester) (*Answer, error) {
	return run(ctx, cfg, h, t, newGrids())
}

func run(ctx context.Context, cfg Config, h History, t Tester, g grids) (*Answer, error) {
	s, err := newSearch(cfg, h, t, g)
	if err != nil {
		return nil, err
	}
	list, err := s.ends(ctx)
	if stop, ok := errors.AsType[*StopError](err); ok && stop.Kind == StopInconclusive {
		a := &Answer{Direction: s.direction()}
		a.stop(stop)
		return a, s.finish(ctx, a)
	}
	if err != nil {
		return nil, err
	}
	s.note("%s", together(list))
	var answers []*Answer
	for i, q := range list {
		s.question = q
		a, err := s.answer(ctx, list[:i])
		if err != nil {
			return nil, err
		}
		if a != nil {
			q.answer = a
			answers = append(answers, a)
		}
	}
	a := answers[0]
	a.More = answers[1:]
	for _, m := range a.More {
		if m.Same {
			of := m.sameAs(answers)
			of.Target.Titles = append(of.Target.Titles, m.Target.ownTitles()...)
		}
	}
	a.Trials, a.Boots, a.Seconds = s.trials, len(s.boots), s.seconds
	if s.cfg.Builders > 1 {
		a.Rounds = s.rounds
	}
	return a, nil
}

func (s *search) direction() Direction {
	if s.newFails {
		return Regression
	}
	return Fix
}

// answer looks for the commit of the question at hand, after others were
// answered. It is nil when the question can't be told from those.
func (s *search) answer(ctx context.Context, answered []*question) (*Answer, error) {
	a := &Answer{Direction: s.direction(), Ends: s.endRecords}
	trials, seconds := s.trials, s.seconds
	if s.unchecked {
		fail, pass := s.sides()
		if err := s.trustEnds(ctx, fail[:1], pass); err != nil {
			return nil, err
		}
	}
	same, open, err := s.sameCommit(ctx, a, answered)
	if err == nil && !same && !open && s.unchecked {
		if err = s.otherEnds(ctx, s.failingEnd, s.bases); err != nil {
			if stop, drop := dropped(err); drop {
				s.note("not looked for: %s", stop.Why)
				return nil, nil
			}
		}
		a.Ends, s.unchecked = s.endRecords, false
	}
	switch {
	case err != nil:
		return nil, err
	case open:
		s.note("%s shows too seldom to tell whether it came with the same commit: no question, but --for can name it", &s.target)
		return nil, nil
	case !same:
		if len(answered) > 0 {
			s.note("looking for %s", &s.target)
		}
		err := s.search(ctx, a)
		if stop, ok := errors.AsType[*StopError](err); ok && (stop.Kind == StopSkips || stop.Kind == StopInconclusive) {
			a.stop(stop)
			err = nil
		}
		if err != nil {
			return nil, err
		}
	}
	if err := s.finish(ctx, a); err != nil {
		return nil, err
	}
	a.Trials, a.Seconds = s.trials-trials, s.seconds-seconds
	return a, nil
}

// stop makes it the answer of a search that could not go on.
func (a *Answer) stop(stop *StopError) {
	a.First, a.Among, a.Checks = nil, nil, nil
	a.Stopped = stop.Kind
	a.Why = []string{stop.Why}
	if len(a.Ends) == 0 {
		a.Ends = stop.Seen
	}
}

// search finds the change, or both of a symptom that grew.
func (s *search) search(ctx context.Context, a *Answer) error {
	var f found
	var err error
	for old := s.cfg.Old; ; {
		if f, err = s.prove(ctx, a, s.cfg.New, old); err != nil || f.grows != nil {
			break
		}
		by, err := s.takenBack(ctx, a)
		if err != nil || by == "" || slices.Contains(old, by) {
			return err
		}
		s.note("%s is not what %s shows: %s took it back; looking for what came after that", short(a.First.Hash), short(s.cfg.New), short(by))
		old = append(slices.Clip(old), by)
		s.records, s.edge = nil, nil
	}
	if err != nil || f.grows == nil {
		return err
	}
	if err := s.growth(ctx, a, *f.grows); err != nil || a.First == nil || a.Became == nil || s.cfg.Releases {
		return err
	}
	// Is it one bug? Taking back where it began must take back all of it.
	c, err := s.revert(ctx, a.First.Hash)
	if err != nil || c.Result != Fail || s.reverted != stateFails {
		return err
	}
	return s.targetOnly(ctx, a)
}

// takenBack gives the commit that took the change found back, where it is as it
// was before the change, so that another one must have come later; else "".
func (s *search) takenBack(ctx context.Context, a *Answer) (string, error) {
	if a.First == nil || s.cfg.Releases || s.cfg.TakenBack == nil {
		return "", nil
	}
	if _, err := s.revert(ctx, a.First.Hash); err != nil || !s.absent {
		return "", err
	}
	by := s.cfg.TakenBack(ctx, *a.First)
	if by == "" {
		return "", nil
	}
	k, j, err := s.judgeCommit(ctx, by, s.alpha)
	if err != nil || s.mark(j.state) != Old {
		return "", err
	}
	s.trust(k, j.state)
	a.Ends = append(a.Ends, s.record(by, k, j))
	return by, nil
}

// targetOnly looks for the target when the other failure turned out to be another
// bug: then commits with that one can't be tried.
func (s *search) targetOnly(ctx context.Context, a *Answer) error {
	s.note("taking %s back does not fix it, so %s is another bug; looking for %s only", short(a.First.Hash), *a.Began, s.target.Signature)
	a.First, a.Among, a.Checks = nil, nil, nil
	a.Became, a.BecameChecks, a.Began = nil, nil, nil
	s.single, s.narrow, s.records = true, nil, nil
	s.look(newLens(s.cfg.Rules, s.target))
	fail, pass := s.sides()
	if err := s.trustEnds(ctx, fail[:1], pass); err != nil {
		return err
	}
	_, err := s.prove(ctx, a, s.cfg.New, s.cfg.Old)
	return err
}

// sides are the ends that fail and those that pass.
func (s *search) sides() (fail, pass []string) {
	if s.newFails {
		return []string{s.cfg.New}, s.cfg.Old
	}
	return s.cfg.Old, []string{s.cfg.New}
}

// contradictions is how often a search starts over when its checks fail. That
// a mark of a step changes is in the nature of the search.
const contradictions = 20

// prove finds the first new commit and checks it; when the checks
// contradict, marks are tried again.
func (s *search) prove(ctx context.Context, a *Answer, new string, old []string) (found, error) {
	for round := 0; ; round++ {
		f, err := s.find(ctx, new, old)
		stop, _ := errors.AsType[*StopError](err)
		if err != nil && (stop == nil || stop.Kind != StopSkips) || f.grows != nil {
			return f, err
		}
		a.First, a.Among, a.Checks = nil, nil, nil
		if f.first == "" {
			// Every mark says something of what is left.
			s.edge = nil
			changed, settleErr := s.settle(ctx, s.alpha, nil)
			if settleErr != nil {
				return found{}, settleErr
			}
			if changed && round < contradictions {
				continue
			}
			if s.unsettled = s.unsettled || changed; err != nil {
				return found{}, err
			}
			for _, c := range f.among {
				d, err := s.history.Describe(ctx, c)
				if err != nil {
					return found{}, err
				}
				a.Among = append(a.Among, d)
			}
			return f, nil
		}
		d, err := s.history.Describe(ctx, f.first)
		if err != nil {
			return found{}, err
		}
		a.First = &d
		wrong, err := s.confirm(ctx, a, f.first)
		if err != nil {
			return found{}, err
		}
		if wrong {
			if round == contradictions {
				return f, nil
			}
			// What was seen may be enough to change a mark.
			changed, err := s.settle(ctx, s.stepAlpha(), nil)
			if err == nil && !changed {
				err = s.doubt(ctx)
			}
			if err != nil {
				return found{}, err
			}
			continue
		}
		// Both sides of the change are to be certain; all else follows.
		parents, err := s.history.Parents(ctx, f.first)
		if err != nil {
			return found{}, err
		}
		s.edge = append(parents, f.first)
		changed, err := s.settle(ctx, s.alpha, s.edge)
		if err != nil {
			return found{}, err
		}
		if !changed || round == contradictions {
			s.unsettled = s.unsettled || changed
			return f, nil
		}
	}
}

// confirm tries the commit and its parents once more, from fresh boots. It is
// true when what they show contradicts the marks.
func (s *search) confirm(ctx context.Context, a *Answer, first string) (bool, error) {
	parents, err := s.history.Parents(ctx, first)
	if err != nil {
		return false, err
	}
	parent, culprit := s.bothSides()
	binary := Check{Name: CheckBinary, Result: Pass}
	if len(parents) == 0 {
		why := "it has no parent"
		parent = Check{parent.Name, NotPossible, why}
		binary = Check{binary.Name, NotPossible, why}
	}
	if err := s.prepareAtOnce(ctx, append([]string{first}, parents...)...); err != nil {
		return false, err
	}
	kf, err := s.kernel(ctx, Subject{Commit: first})
	if err != nil {
		return false, err
	}
	var contradicts bool
	for _, p := range parents {
		kp, err := s.kernel(ctx, Subject{Commit: p})
		if err != nil {
			return false, err
		}
		switch {
		case kp == kf:
			binary = Check{binary.Name, Fail, "the same binary as " + short(p)}
		case binary.Result == Pass && (kp.prepared.Digest == "" || kf.prepared.Digest == ""):
			binary = Check{binary.Name, NotPossible, "the binaries can't be compared"}
		}
		wrong, err := s.fresh(ctx, kp, p, Old, &parent)
		if err != nil {
			return false, err
		}
		contradicts = contradicts || wrong
	}
	wrong, err := s.fresh(ctx, kf, first, New, &culprit)
	if err != nil {
		return false, err
	}
	a.Checks = []Check{parent, culprit, binary}
	return contradicts || wrong, nil
}

// bothSides are the checks of the commit's parents and of the commit, passed
// so far.
func (s *search) bothSides() (parent, culprit Check) {
	if s.newFails {
		return Check{Name: CheckParent, Result: Pass}, Check{Name: CheckCulprit, Result: Pass}
	}
	return Check{Name: CheckParentFix, Result: Pass}, Check{Name: CheckFix, Result: Pass}
}

// fresh judges a kernel by trials of new boots alone and notes a deviation in
// the check. It is true when they say the opposite of the mark.
func (s *search) fresh(ctx context.Context, k *kernel, commit string, want Mark, c *Check) (bool, error) {
	s.stage("check", commit)
	from := len(k.outcomes)
	switch {
	case k.prepared.Failure != "":
		from = 0
	case k.freshFor != nil && k.freshFor != s.question:
		from = k.fresh
	default:
		k.fresh = from
		if err := s.run(ctx, k, 2, s.batch()); err != nil {
			return false, err
		}
	}
	k.freshFor = s.question
	j, err := s.judge(ctx, k, from, max(freshAlpha, s.alpha))
	if err != nil {
		return false, err
	}
	e := s.evidenceOf(k, from)
	saw := short(commit) + ": " + seen(e.hits, e.runs(), len(e.boots))
	switch got := s.mark(j.state); {
	case got == want:
		if c.Result == Pass {
			c.Why = strings.TrimPrefix(c.Why+"; "+saw, "; ")
		}
	case got == Skip:
		if c.Result != Fail {
			c.Result, c.Why = NotPossible, short(commit)+": "+j.why
		}
	default:
		c.Result, c.Why = Fail, saw
		return true, nil
	}
	return false, nil
}

// freshAlpha is the error of what fresh boots alone say: together with what was
// seen before, it is far less.
const freshAlpha = .005

// doubt tries the least certain marks again after a contradiction.
func (s *search) doubt(ctx context.Context) error {
	var marks []Record
	for _, r := range s.records {
		if r.Mark != Skip {
			marks = append(marks, r)
		}
	}
	slices.SortStableFunc(marks, func(a, b Record) int {
		if a.P < b.P {
			return -1
		}
		if a.P > b.P {
			return 1
		}
		return 0
	})
	for _, r := range marks[:min(3, len(marks))] {
		s.stage("again", r.Commit)
		k, err := s.kernel(ctx, Subject{Commit: r.Commit})
		if err != nil {
			return err
		}
		if err := s.run(ctx, k, 2, s.batch()); err != nil {
			return err
		}
		j, err := s.judge(ctx, k, 0, s.alpha)
		if err != nil {
			return err
		}
		s.trust(k, j.state)
	}
	return nil
}

// growth finds both changes of a symptom that may have grown on the way: the
// target's first commit with the earlier form taken as a pass, then, if that
// commit's parent shows the earlier form, the first commit that fails at all.
func (s *search) growth(ctx context.Context, a *Answer, earlier Signature) error {
	failEnds, passEnds := s.sides()
	what := "where %s became %s"
	if !s.newFails {
		what = "where %[2]s became %[1]s"
	}
	s.note("the failure may have changed on the way; looking for "+what+": %[1]s counts as a pass", earlier, s.target.Signature)
	narrowed := newLens(s.cfg.Rules, s.target)
	narrowed.ignore = []Signature{earlier}
	s.look(narrowed)
	if err := s.trustEnds(ctx, failEnds[:1], passEnds); err != nil {
		return err
	}
	s.records = nil
	if _, err := s.prove(ctx, a, s.cfg.New, s.cfg.Old); err != nil {
		return err
	}
	if a.First == nil {
		return nil
	}
	parents, err := s.history.Parents(ctx, a.First.Hash)
	if err != nil {
		return err
	}
	// On the failing side of the change the earlier form must be seen: the
	// parent's for a regression, the commit's own for a fix.
	edge := []string{a.First.Hash}
	if s.newFails {
		edge = parents
	}
	became, checks, marks, sides := a.First, a.Checks, s.records, s.edge

	// Where the failure begins (for a fix: where it ends) in any form.
	narrow := view{s.lens, s.pools}
	wide := newLens(s.cfg.Rules, s.target)
	wide.also = []Signature{earlier}
	s.look(wide)
	// The earlier form may show more seldom, or more often: how often it does,
	// those say in which it was met.
	showed, err := s.showing(ctx, marks)
	if err != nil {
		return err
	}
	if err := s.trustEnds(ctx, showed, passEnds); err != nil {
		return err
	}
	var shows string
	for _, c := range edge {
		_, j, err := s.judgeCommit(ctx, c, s.alpha)
		if err != nil {
			return err
		}
		if j.state == stateFails {
			shows = c
		}
	}
	if shows == "" {
		// The earlier form was another bug, with none of the target's
		// commits beside it.
		s.view = narrow
		return nil
	}
	s.narrow = &narrow
	s.look(wide)
	if err := s.trustEnds(ctx, []string{shows}, passEnds); err != nil {
		return err
	}
	what = "began"
	if !s.newFails {
		what = "ended"
	}
	s.note("it was at %s; looking for where it %s: %s counts as a failure", short(became.Hash), what, earlier)
	new, old := shows, s.cfg.Old
	if !s.newFails {
		new, old = s.cfg.New, []string{shows}
	}
	s.records = nil
	a.Became, a.BecameChecks, a.Began = became, checks, &earlier
	_, err = s.prove(ctx, a, new, old)
	if s.edge != nil {
		s.edge = append(s.edge, sides...)
	}
	for _, r := range marks {
		if !slices.ContainsFunc(s.records, func(o Record) bool { return o.Commit == r.Commit }) {
			s.records = append(s.records, r)
		}
	}
	return err
}

// showing are the commits of some marks that show in most of their trials what
// the lens looks for.
func (s *search) showing(ctx context.Context, marks []Record) ([]string, error) {
	var out []string
	for _, r := range marks {
		k, err := s.kernel(ctx, Subject{Commit: r.Commit})
		if err != nil {
			return nil, err
		}
		if e := s.evidenceOf(k, 0); e.hits > e.passes {
			out = append(out, r.Commit)
		}
	}
	return out, nil
}

// trustEnds gives a new lens its first members.
func (s *search) trustEnds(ctx context.Context, fail, pass []string) error {
	for i, c := range slices.Concat(fail, pass) {
		k, err := s.kernel(ctx, Subject{Commit: c})
		if err != nil {
			return err
		}
		if i < len(fail) {
			s.trust(k, stateFails)
		} else {
			s.trust(k, statePasses)
		}
	}
	return nil
}

// finish does the checks that need no trial of parent or commit, and grades.
func (s *search) finish(ctx context.Context, a *Answer) error {
	a.Target = s.target
	a.Marks = s.records
	a.Steps = len(s.records)
	if a.First == nil {
		b, err := s.history.Between(ctx)
		if err != nil {
			return err
		}
		a.Between = &b
	} else if !s.cfg.Releases {
		proofs, err := s.proofs(ctx, a.First.Hash)
		if err != nil {
			return err
		}
		compiled, err := s.compiled(ctx, a.First.Hash)
		if err != nil {
			return err
		}
		a.Checks = slices.Concat(a.Checks, proofs, []Check{compiled})
	}
	a.Confidence = 1
	for _, r := range s.records {
		if r.Mark != Skip && (s.edge == nil || slices.Contains(s.edge, r.Commit)) {
			a.Confidence *= r.P
		}
		if r.Other != nil {
			a.AnotherBugs = append(a.AnotherBugs, r)
		}
	}
	if a.Stopped == StopInconclusive {
		a.Confidence = 0 // of what is left, nothing is ruled out
	}
	a.FailRate = s.pooled(&s.pools.failing)
	a.FalseRate = s.pooled(&s.pools.passing)
	a.PassesNeeded = s.passesNeeded()
	a.Trials, a.Boots, a.Seconds = s.trials, len(s.boots), s.seconds
	var err error
	if a.Log, err = s.history.Log(ctx); err != nil {
		return err
	}
	s.grade(a)
	return nil
}

func (s *search) pooled(p *pool) Rate {
	r := p.grid.Rate(p.weightsWithout(s, nil))
	for _, m := range p.members {
		e := s.evidenceOf(m, 0)
		r.Hits += e.hits
		r.Runs += e.runs()
		r.Boots += len(e.boots)
	}
	return r
}

// passesNeeded counts the passes that make a commit trusted to pass at the
// rates known by now.
func (s *search) passesNeeded() int {
	n := s.batch()
	lf := s.pools.failing.weightsWithout(s, nil)
	lp := s.pools.passing.weightsWithout(s, nil)
	f, p := s.failing.None(), s.passing.None()
	for runs := n; runs < s.cfg.MaxRuns; runs += n {
		f.Add(s.failing.LogLikelihood(stats.Boot{Trials: n}))
		p.Add(s.passing.LogLikelihood(stats.Boot{Trials: n}))
		if lf.Predict(f)-lp.Predict(p) < -logOdds(s.alpha) {
			return runs
		}
	}
	return s.cfg.MaxRuns
}

// proofs try the failing end without the commit's change and, where that is
// not possible, what else can show that it is this change: the failing end
// without what still applies of it, and the change alone. The latter says
// nothing of the failing end, so that a part of the change must be there yet, and
// no commit since may have undone it.
func (s *search) proofs(ctx context.Context, first string) ([]Check, error) {
	revert, err := s.revert(ctx, first)
	if err != nil || revert.Result != NotPossible || s.absent {
		return []Check{revert}, err
	}
	parents, err := s.history.Parents(ctx, first)
	if err != nil || len(parents) == 0 {
		return []Check{revert}, err
	}
	partly := proof{CheckPartly, Subject{Commit: s.cfg.New, Revert: first, Partly: true}, statePasses}
	alone := proof{CheckAlone, Subject{Commit: s.cfg.Old[0], Apply: first}, stateFails}
	if !s.newFails {
		partly.name, partly.want = CheckPartlyFix, stateFails
		alone.name, alone.want = CheckAloneFix, statePasses
	}
	checks := []Check{revert}
	whole, err := s.kernel(ctx, Subject{Commit: s.cfg.New, Revert: first})
	if err != nil {
		return nil, err
	}
	s.there = whole.prepared.Failure != KindNone // it applied, if no more
	if !s.there {
		c, k, err := s.try(ctx, partly)
		if err != nil {
			return nil, err
		}
		checks = append(checks, c)
		s.there = k.prepared.Failure == "" || k.prepared.Failure == KindBuild
		if c.Result == Pass {
			return checks, nil
		}
	}
	c, _, err := s.try(ctx, alone)
	checks = append(checks, c)
	if err != nil || c.Result != Pass || len(checks) < 3 || !s.there {
		return checks, err
	}
	since, err := s.since(ctx, first)
	return append(checks, since), err
}

// since tries the commits that may have undone a change, as they touch its
// files: where the failure stays with each, no other change has to show it.
func (s *search) since(ctx context.Context, first string) (Check, error) {
	c := Check{Name: CheckSince, Result: NotPossible, Why: "which those are is not known"}
	if !s.newFails {
		c.Name = CheckSinceFix
	}
	h, ok := s.history.(Toucher)
	if !ok || s.unchecked {
		return c, nil
	}
	list, err := h.Since(ctx, first, s.cfg.New)
	switch {
	case err != nil:
		return c, err
	case len(list) == 0:
		return c, nil
	case len(list) > mostSince:
		c.Why = fmt.Sprintf("there are %d, too many to try", len(list))
		return c, nil
	}
	for _, commit := range list {
		s.stage("since", commit)
		k, j, err := s.judgeCommit(ctx, commit, s.alpha)
		if err != nil {
			return c, err
		}
		e := s.evidenceOf(k, 0)
		c.Why = short(commit) + ": " + seen(e.hits, e.runs(), len(e.boots))
		switch s.mark(j.state) {
		case Old:
			c.Result = Fail
			return c, nil
		case Skip:
			c.Why = short(commit) + ": " + j.why
			return c, nil
		}
	}
	c.Result, c.Why = Pass, fmt.Sprintf("%d of %d", len(list), len(list))
	return c, nil
}

// mostSince is how many commits are tried for it: each is a build.
const mostSince = 8

// A proof is a kernel that shows whether a change is what is looked for.
type proof struct {
	name string
	sub  Subject
	want state
}

// revert tries the failing end without the commit's change (for a fix: the
// fixed end without it). Of a merge, all that it brought to its first parent
// is taken back.
func (s *search) revert(ctx context.Context, first string) (Check, error) {
	p := proof{CheckRevert, Subject{Commit: s.cfg.New, Revert: first}, statePasses}
	if !s.newFails {
		p.name, p.want = CheckRevertFix, stateFails
	}
	parents, err := s.history.Parents(ctx, first)
	if err != nil {
		return Check{}, err
	}
	if len(parents) == 0 {
		return Check{p.name, NotPossible, "a first commit has no change to take back"}, nil
	}
	s.stage("revert", first)
	c, k, err := s.try(ctx, p)
	if err != nil {
		return c, err
	}
	s.absent = k.prepared.Absent
	if k.prepared.Failure == KindNone && !s.absent && s.cfg.TakenBack != nil {
		// What came later may be why it conflicts.
		d, err := s.history.Describe(ctx, first)
		if err != nil {
			return c, err
		}
		if by := s.cfg.TakenBack(ctx, d); by != "" {
			s.absent = true
			c.Why += ", and " + short(by) + " took it back"
		}
	}
	return c, nil
}

// try does one proof. What was seen of the question at hand stays in
// reverted.
func (s *search) try(ctx context.Context, p proof) (Check, *kernel, error) {
	c := Check{Name: p.name, Result: NotPossible}
	s.reverted = stateOpen
	if s.unchecked && s.kernels[p.sub] == nil {
		c.Why = "not tried for this"
		return c, &kernel{prepared: Prepared{Failure: KindNone}}, nil
	}
	k, err := s.kernel(ctx, p.sub)
	if err != nil {
		return c, nil, err
	}
	if k.prepared.Failure != "" {
		c.Why = k.prepared.Reason
		return c, k, nil
	}
	if s.unchecked { // a side of another question is worth no trial of its own
		if j := s.decide(k, 0, s.alpha); j.state == stateOpen {
			e := s.evidenceOf(k, 0)
			c.Why = "too few trials to tell: " + seen(e.hits, e.runs(), len(e.boots))
			return c, k, nil
		}
	}
	j, err := s.judge(ctx, k, 0, s.alpha)
	if err == nil && j.state == stateOther && s.target.Signature.result() {
		// What the kernel says instead is no matter: the step's answer is there.
		defer func(l *lens) { s.lens = l }(s.lens)
		s.lens = s.lens.besides(k.outcomes)
		j, err = s.judge(ctx, k, 0, s.alpha)
	}
	if err != nil {
		return c, nil, err
	}
	if s.narrow != nil && j.state == p.want && p.want == statePasses {
		// Neither form may be there, and each has a rate of its own.
		wide := s.view
		s.view = *s.narrow
		defer func() { s.view = wide }()
		if j, err = s.judge(ctx, k, 0, s.alpha); err != nil {
			return c, nil, err
		}
	}
	e := s.evidenceOf(k, 0)
	c.Why = seen(e.hits, e.runs(), len(e.boots))
	s.reverted = j.state
	switch j.state {
	case p.want:
		c.Result = Pass
	case stateFails, statePasses:
		c.Result = Fail
	default:
		c.Why = j.why
	}
	return c, k, nil
}

// compiled asks whether the change touches anything that is in the kernel.
func (s *search) compiled(ctx context.Context, first string) (Check, error) {
	c := Check{Name: CheckCompiled, Result: NotPossible}
	inspector, ok := s.tester.(Inspector)
	if !ok {
		c.Why = "what went into this kernel is not known"
		return c, nil
	}
	files, err := s.history.Files(ctx, first)
	if err != nil {
		return c, err
	}
	if len(files) == 0 {
		c.Why = "it changes no file"
		return c, nil
	}
	hit, err := inspector.Compiled(ctx, Subject{Commit: first}, files)
	switch {
	case errors.Is(err, ErrNotKnown):
		c.Why = err.Error()
	case err != nil:
		return c, err
	case len(hit) == 0:
		c.Result = Fail
		c.Why = fmt.Sprintf("none of its %d files is read by the build", len(files))
	default:
		c.Result = Pass
		c.Why = strings.Join(hit[:min(3, len(hit))], ", ")
		if len(hit) > 3 {
			c.Why += fmt.Sprintf(" and %d more", len(hit)-3)
		}
	}
	return c, nil
}

// ErrNotKnown is returned by an Inspector that can't tell.
var ErrNotKnown = errors.New("not known")

// otherProofs are the checks that stand in for a revert.
var otherProofs = []string{CheckAlone, CheckPartly, CheckAloneFix, CheckPartlyFix}

func (s *search) grade(a *Answer) {
	result := make(map[string]Result)
	for _, c := range slices.Concat(a.Checks, a.BecameChecks) {
		if was, ok := result[c.Name]; !ok || was == Pass || c.Result == Fail {
			result[c.Name] = c.Result
		}
	}
	doubt := func(why string) {
		a.Grade = Doubtful
		a.Why = append(a.Why, why)
	}
	weaken := func(why string) {
		if a.Grade == Proven {
			a.Grade = Likely
		}
		a.Why = append(a.Why, why)
	}
	a.Grade = Proven
	// Taken back as a whole, if it does not build, it is all there.
	stays := false
	for _, names := range [][2]string{{CheckPartly, CheckSince}, {CheckPartlyFix, CheckSinceFix}} {
		partly, tried := result[names[0]]
		stays = stays || tried && partly != Pass && result[names[1]] != Pass
	}
	proven := slices.ContainsFunc(otherProofs, func(name string) bool { return result[name] == Pass })
	for _, r := range a.Ends {
		if r.Mark == Skip && a.Stopped == "" {
			weaken(fmt.Sprintf("the merge base %s could not be tried: %s", short(r.Commit), r.Why))
		}
	}
	if a.Became != nil && a.Direction == Fix {
		// Taking the fix back brings the last form back, one bug or two.
		doubt(fmt.Sprintf("%s and %s may be two bugs, each with a fix of its own", a.Target.Signature, *a.Began))
	}
	if _, tried := result[CheckRevert]; a.Became != nil && a.Direction != Fix && !tried {
		doubt(fmt.Sprintf("%s and %s may be two bugs: no release can be made without the first change", *a.Began, a.Target.Signature))
	}
	if s.absent {
		// What the end shows can't come from it.
		doubt("the change is not in " + short(s.cfg.New) + " any more")
	}
	if s.unsettled {
		doubt("marks kept changing as trials were added")
	}
	switch {
	case a.Stopped != "":
		a.Grade = Doubtful // and the reason is there
	case a.First == nil:
		doubt(fmt.Sprintf("only commits that can't be tried are left: it is one of %d", len(a.Among)))
	}
	for _, name := range slices.Sorted(maps.Keys(result)) {
		switch r := result[name]; {
		case r == Pass:
		case name == CheckRevert && a.Became != nil:
			// Only this ties the two changes together: what they share
			// otherwise is the step that fails.
			why := "%s and %s may be two bugs: "
			if r == Fail {
				why += "no: " + name
			} else {
				why += name + ": not possible"
			}
			doubt(fmt.Sprintf(why, *a.Began, a.Target.Signature))
		case name == CheckRevert || name == CheckRevertFix:
			switch {
			case r == Fail:
				weaken("no: " + name)
			case proven && !s.there:
				weaken("nothing of the change can be taken back from " + short(s.cfg.New) + ", so it may not be there any more")
			case proven && stays:
				// The rest of it may be what shows, or another change that came later.
				weaken("taking back what still applies of the change does not help, so it may be another one that shows in " + short(s.cfg.New))
			case !proven:
				weaken(name + ": not possible, and nothing else shows that it is this change")
			}
		case slices.Contains(otherProofs, name): // tried where a revert is not possible
		case name == CheckSince || name == CheckSinceFix:
			if r == Fail {
				doubt("no: " + name)
			}
		case name == CheckBinary || name == CheckCompiled:
			if r == Fail {
				doubt("no: " + name)
			}
		case r == Fail:
			doubt("no: " + name)
		default:
			weaken(name + ": not possible")
		}
	}
	switch {
	case a.Confidence < .95:
		doubt(fmt.Sprintf("the commit and its parents are marked right with probability %.3g only", a.Confidence))
	case a.Confidence < s.cfg.Confidence:
		weaken(fmt.Sprintf("the commit and its parents are marked right with probability %.4g, below the %.4g asked for", a.Confidence, s.cfg.Confidence))
	}
}
