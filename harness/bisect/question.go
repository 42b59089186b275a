package bisect

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A question is one thing that the failing end shows, and what the search
// knows of where it began. All questions are answered by the same trials: each
// looks at them through a lens of its own.
type question struct {
	target Target
	times  int // trials of the failing end that showed it
	of     int // of so many
	most   int // trials of one commit before it counts as undecided

	view
	narrow *view // of the search before, when the symptom grew

	single    bool  // other failures are known to be other bugs
	reverted  state // of the last kernel with a commit taken back
	absent    bool  // there was nothing to take back
	there     bool  // where a revert is not possible: some of the change is at the failing end yet
	unsettled bool  // the marks still changed when it was given up

	unchecked  bool // the other ends were not tried for it
	endRecords []Record
	records    []Record         // of the search under way, in order
	placed     map[string]place // of those commits
	edge       []string         // the commit found and its parents
	answer     *Answer
}

const (
	askedTimes = 3   // to be seen at the failing end, before it is asked on its own where a commit comes from
	alsoMost   = 256 // trials of one commit, for a question that is not the first
)

// LooksFor says in a sentence what a search by these rules looks for, before
// anything was tried.
func (r Rules) LooksFor() string {
	switch {
	case r.AnyFailure:
		return "looking for any failure"
	case r.BadWhen != nil:
		return "looking for trials in which " + r.BadWhen.String()
	case r.SameTitle:
		return "looking for the failure of the failing end, by verdict and title"
	case len(r.For) > 0:
		return "looking for " + namesOf(r.For)
	}
	return "looking for each thing that the failing end shows and the other end does not"
}

// together says what a search looks for, once its failing end was tried.
func together(list []*question) string {
	var parts []string
	for _, q := range list {
		parts = append(parts, fmt.Sprintf("%s (in %d of %d trials)", &q.target, q.times, q.of))
	}
	what := "looking for the commit of "
	if len(parts) > 1 {
		what += "each of "
	}
	return what + strings.Join(parts, "; ")
}

// questions are what the failing end's trials ask, the most frequent first.
func (s *search) questions(k *kernel) ([]*question, error) {
	rules := s.cfg.Rules
	end := short(k.subject.Commit)
	var of int
	for _, o := range k.outcomes {
		if o.Kind == KindVerdict {
			of++
		}
	}
	if !rules.each() {
		counts := countFailures(k.outcomes, rules.Fails)
		if len(counts) == 0 {
			return nil, fmt.Errorf("the end %s failed without a signature", end)
		}
		t := Target{Signature: counts[0].Signature, Others: counts[1:]}
		t.Titles = titles(k.outcomes, func(o Outcome) bool { return rules.Fails(o) && o.Signature() == t.Signature })
		return []*question{s.ask(t, counts[0].Times, of)}, nil
	}
	counts := countShown(k.outcomes)
	groups := s.alternatives(k, counts)
	var list []*question
	var seldom []string
	for _, c := range counts {
		if c.Signature.among(s.before) || !s.wanted(k, c.Signature) {
			continue
		}
		t := Target{Signature: c.Signature}
		times := c.Times
		if i := slices.IndexFunc(groups, func(g []Count) bool { return slices.Contains(g, c) }); i >= 0 {
			if c != groups[i][0] {
				continue
			}
			times = 0
			for _, g := range groups[i] {
				t.Signatures = append(t.Signatures, g.Signature)
				times += g.Times
			}
		}
		if len(list) > 0 && times < askedTimes && len(rules.For) == 0 {
			seldom = append(seldom, fmt.Sprintf("%s in %d of %d trials", &t, times, of))
			continue
		}
		for _, o := range counts {
			if !o.Signature.among(t.wants()) {
				t.Others = append(t.Others, o)
			}
		}
		t.Titles = s.titlesOf(k, t, counts)
		list = append(list, s.ask(t, times, of))
	}
	if len(list) == 0 {
		return nil, &StopError{Kind: StopNotShown, Why: s.notShown(k)}
	}
	if len(seldom) > 0 {
		s.note("seen too seldom to be looked for unless --for names it: %s", strings.Join(seldom, ", "))
	}
	slices.SortStableFunc(list, func(a, b *question) int { return b.times - a.times })
	// What others hide most of the time can't be looked for.
	var open []*question
	var ways []string
	for _, q := range list {
		s.question = q
		ways = append(ways, fmt.Sprintf("%s %d times", &q.target, q.times))
		if e := s.evidenceOf(k, 0); e.otherRuns <= e.runs() {
			open = append(open, q)
		}
	}
	if len(open) == 0 {
		return nil, &StopError{
			Kind: StopSeveral,
			Why:  fmt.Sprintf("the end %s fails in several ways that hide each other (%s): take --any-failure, or say with --bad-when what counts", end, strings.Join(ways, ", ")),
		}
	}
	return open, nil
}

// ask makes a question that nothing is known of.
func (s *search) ask(t Target, times, of int) *question {
	q := &question{target: t, times: times, of: of, most: s.cfg.MaxRuns, placed: make(map[string]place)}
	q.view.lens = newLens(s.cfg.Rules, t)
	q.pools.failing.grid, q.pools.passing.grid = s.failing, s.passing
	return q
}

// wanted tells whether one thing that a kernel shows is to be looked for.
func (s *search) wanted(k *kernel, sig Signature) bool {
	if len(s.cfg.Rules.For) == 0 {
		return true
	}
	for i := range k.outcomes {
		o := &k.outcomes[i]
		if sig.among(o.Shows) && s.cfg.Rules.wants(sig, o) {
			return true
		}
	}
	return false
}

// titlesOf are the titles of the trials that show a target, but for those of
// other questions.
func (s *search) titlesOf(k *kernel, t Target, counts []Count) []string {
	all := titles(k.outcomes, func(o Outcome) bool {
		return slices.ContainsFunc(o.Shows, func(s Signature) bool { return s.among(t.wants()) })
	})
	own := t.ownTitles()
	return slices.DeleteFunc(all, func(title string) bool {
		return !slices.Contains(own, title) &&
			(own != nil || slices.ContainsFunc(counts, func(c Count) bool { return c.Signature.Title == title }))
	})
}

// Wanted is what --for names it by.
func (t *Target) Wanted() string {
	switch s := t.Signature; {
	case s.Title != "":
		return `"` + s.Title + `"`
	case s.Errno != "":
		return s.Errno
	default:
		return string(s.Verdict)
	}
}

// ownTitles are the titles that say which failure it is.
func (t *Target) ownTitles() (own []string) {
	for _, w := range t.wants() {
		if w.Title != "" {
			own = append(own, w.Title)
		}
	}
	return own
}

// alternatives finds titles of which each failing trial shows exactly one, now
// this one, now that: they are those of one bug. (Of two bugs that show by
// chance, some trials would show both, and some neither.) Where something
// shows every time, that is looked for first, and they are not needed.
func (s *search) alternatives(k *kernel, counts []Count) [][]Count {
	fails := 0
	for i := range k.outcomes {
		if s.fails(k.outcomes[i]) {
			fails++
		}
	}
	if fails < learnBoots || slices.ContainsFunc(counts, func(c Count) bool { return c.Times >= fails && !c.Signature.among(s.before) }) {
		return nil
	}
	var phases []string
	var groups [][]Count
	for _, c := range counts {
		phase := c.Signature.Phase
		if slices.Contains(phases, phase) {
			continue
		}
		phases = append(phases, phase)
		var group []Count
		sum := 0
		for _, d := range counts {
			if d.Signature.Phase == phase && d.Signature.titled() && d.Times >= max(askedTimes, fails/4) && !d.Signature.among(s.before) {
				group = append(group, d)
				sum += d.Times
			}
		}
		if len(group) < 2 || sum != fails {
			continue
		}
		each := true
		for i := range k.outcomes {
			// Nothing else beside it, or that is what is looked for.
			shows := slices.DeleteFunc(slices.Clone(k.outcomes[i].Shows), func(sig Signature) bool { return sig.among(s.before) })
			each = each && len(shows) <= 1
		}
		if each {
			groups = append(groups, group)
		}
	}
	return groups
}

// fails tells whether a trial shows something that may be looked for.
func (s *search) fails(o Outcome) bool {
	if !s.cfg.Rules.Fails(o) {
		return false
	}
	return len(s.before) == 0 || slices.ContainsFunc(o.shown(), func(sig Signature) bool {
		return !sig.among(s.before) && s.cfg.Rules.wants(sig, &o)
	})
}

// comesWith tells whether a question is a side of another one: seen with that
// only, and more seldom, and nowhere else so far. Such titles are most often
// of one bug, and it may be enough to look at one commit.
func (s *search) comesWith(q *question, others []*question, failing *kernel) bool {
	if len(s.cfg.Rules.For) > 0 || !slices.ContainsFunc(others, func(o *question) bool {
		return o.times > q.times && !slices.ContainsFunc(failing.outcomes, func(t Outcome) bool {
			return q.shownBy(&t) && !o.shownBy(&t)
		})
	}) {
		return false
	}
	for _, k := range s.kernels {
		if k != failing && slices.ContainsFunc(k.outcomes, func(t Outcome) bool { return q.shownBy(&t) }) {
			return false
		}
	}
	return true
}

func (q *question) shownBy(o *Outcome) bool {
	wants := q.target.wants()
	return slices.ContainsFunc(o.Shows, func(s Signature) bool { return s.among(wants) })
}

// sameCommit finds out whether the commit of an earlier question is that of
// this one too: its parents do not show it, and it does. That takes far less
// than a search of its own. open says that it can't be told.
func (s *search) sameCommit(ctx context.Context, a *Answer, answered []*question) (same, open bool, err error) {
	for _, q := range answered {
		e := q.answer
		if e == nil || e.First == nil || e.Same {
			continue
		}
		parents, err := s.history.Parents(ctx, e.First.Hash)
		if err != nil || len(parents) == 0 {
			return false, false, err
		}
		marks := []Marked{{e.First.Hash, New}}
		for _, p := range parents {
			marks = append(marks, Marked{p, Old})
		}
		// Its other commits show how often this one shows.
		for _, r := range q.records {
			k, err := s.kernel(ctx, Subject{Commit: r.Commit})
			if err != nil {
				return false, false, err
			}
			switch hits := s.evidenceOf(k, 0).hits; {
			case r.Mark == Skip || r.Commit == e.First.Hash || slices.Contains(parents, r.Commit):
			case r.Fails && hits > 0:
				s.trust(k, stateFails)
			case !r.Fails && hits == 0:
				s.trust(k, statePasses)
			}
		}
		records, open, err := s.agree(ctx, marks)
		if err != nil || open {
			return false, open, err
		}
		if records == nil {
			s.look(s.lens)
			fail, pass := s.sides()
			if err := s.trustEnds(ctx, fail[:1], pass); err != nil {
				return false, false, err
			}
			continue
		}
		a.First, a.Same = e.First, true
		s.records = records
		a.Checks = s.sameChecks(records, e.Checks)
		return true, false, nil
	}
	return false, false, nil
}

// agree tries commits until it is known whether these are their marks for the
// question at hand: their records, or nil. open says that one could not be
// decided.
func (s *search) agree(ctx context.Context, marks []Marked) (records []Record, open bool, err error) {
	// What is known by now may do.
	for _, m := range marks {
		k, err := s.kernel(ctx, Subject{Commit: m.Commit})
		if err != nil {
			return nil, false, err
		}
		if j := s.decide(k, 0, s.alpha); j.state != stateOpen && s.mark(j.state) != m.Mark {
			return nil, false, nil
		}
	}
	for _, m := range marks {
		k, j, err := s.judgeCommit(ctx, m.Commit, s.alpha)
		if err != nil {
			return nil, false, err
		}
		if mark := s.mark(j.state); mark != m.Mark {
			return nil, strings.HasPrefix(j.why, undecided), nil
		}
		s.trust(k, j.state)
		records = append(records, s.record(m.Commit, k, j))
	}
	return records, false, nil
}

// sameChecks are the checks of a commit and its parents for another question,
// by the trials that were made of them. What else can be checked is asked again:
// this one may show more seldom.
func (s *search) sameChecks(records []Record, earlier []Check) []Check {
	parent, culprit := s.bothSides()
	culprit.Why = short(records[0].Commit) + ": " + records[0].Seen()
	for _, r := range records[1:] {
		parent.Why = strings.TrimPrefix(parent.Why+"; "+short(r.Commit)+": "+r.Seen(), "; ")
	}
	return slices.Concat([]Check{parent, culprit}, earlier[2:3])
}

// sameAs is the answer whose commit this one's is.
func (a *Answer) sameAs(answers []*Answer) *Answer {
	for _, e := range answers {
		if !e.Same && e.First != nil && e.First.Hash == a.First.Hash {
			return e
		}
	}
	return a
}

// Culprits are the answers with a commit, or a part of the history, of their
// own: it first. What came with a commit (Same) is in with.
func (a *Answer) Culprits() []*Answer {
	list := []*Answer{a}
	for _, m := range a.More {
		if !m.Same {
			list = append(list, m)
		}
	}
	return list
}

// With are what came with an answer's commit too, of all that were asked.
func (a *Answer) With(of *Answer) (with []*Answer) {
	for _, m := range a.More {
		if m.Same && m.sameAs(a.Culprits()) == of {
			with = append(with, m)
		}
	}
	return with
}

// dropped tells whether an end answers a question in a way that makes it none,
// and no other one.
func dropped(err error) (*StopError, bool) {
	stop, ok := errors.AsType[*StopError](err)
	return stop, ok && (stop.Kind == StopInconclusive || stop.state != stateOpen && stop.state != stateSkip)
}
