package bisect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/blockrig/blockrig/harness/stats"
	"github.com/blockrig/blockrig/scenarios"
)

// A Direction says which end of a search fails.
type Direction string

// Directions. The zero value finds out which end fails by trying both.
const (
	Either     Direction = ""
	Regression Direction = "regression" // the new end fails: what broke it
	Fix        Direction = "fix"        // the old end fails: what fixed it
)

// Config is what to search for.
type Config struct {
	New        string   // the end that has the change
	Old        []string // ends that do not, at least one
	Direction  Direction
	Rules      Rules
	Confidence float64 // that the answer is right; 0: 0.999
	MaxRuns    int     // trials of one commit before it counts as undecided; 0: 1000
	MaxSkips   int     // commits that can't be tried before the search stops; 0: 20
	BootCost   float64 // cost of a boot in trials, to choose how many trials a boot gets; 0: 8
	Releases   bool    // the history is of releases: none can be taken back, and what went into one is not known
	// Builders is how many kernels the tester prepares, and tries, at once; 0: 1.
	// With more than one, as many commits are tried in each round, where the
	// history is a [Chooser].
	Builders int
	Progress func(Event)
	// TakenBack names the last commit, between the ends, that took back what a
	// commit did, by what the history says; "" where it was not, or was applied
	// again. Nil: that is not known.
	TakenBack func(ctx context.Context, c Commit) string
}

// An Event is what a search does from now on, or what came of it.
type Event struct {
	Stage  string   // "new end", "old end", "step", "check", …; "" with a note
	Note   string   // what is looked for from now on, a sentence
	Commit string   // what is tried
	Left   int      // commits left after this step, about
	Record *Record  // set when a mark was made
	Marks  []Record // with the mark of a step: all marks so far
}

// A StopError ends a search without an answer. Where trials have shown a
// part of the history to hold the change, Run makes a doubtful answer of it.
type StopError struct {
	Kind string   `json:"kind"` // one of the Stop constants
	Why  string   `json:"why"`  // one line
	Seen []Record `json:"seen,omitempty"`

	state state // in which the end was found
}

// Why a search stops.
const (
	StopWrongEnd     = "wrong-end"      // an end is not what it was said to be
	StopNoFailure    = "no-failure"     // the failing end did not fail
	StopMergeBase    = "merge-base"     // the merge base has the change, the old end does not
	StopSkips        = "too-many-skips" // too many commits could not be tried
	StopInconclusive = "inconclusive"   // nothing shows that the ends differ
	StopHistory      = "history"        // between the ends there is no commit to try
	StopTrouble      = "trouble"        // this machine can't build or try kernels now; resume continues
	StopSeveral      = "several"        // the failing end fails in several ways, each of which hides the others
	StopNotShown     = "not-shown"      // the failing end does not show what is to be looked for
)

func (e *StopError) Error() string { return e.Why }

// state is what a kernel was found to do.
type state int

const (
	stateOpen   state = iota // more trials are needed
	stateFails               // shows the failure
	statePasses              // does not
	stateSkip                // can't be tried
	stateOther               // fails in another way
)

// judgement is a state and how far it is trusted.
type judgement struct {
	state   state
	p       float64 // that fails or passes is right
	why     string  // for skip and other
	trouble bool    // for skip: errors of this machine
	other   Signature
}

// search is one search under way.
type search struct {
	cfg     Config
	history History
	tester  Tester

	failing, passing *stats.Grid
	kernels          map[Subject]*kernel
	digests          map[string]*kernel

	newFails bool
	alpha    float64 // share of the allowed error that one mark may take
	ailing   int     // commits in a row that could not be tried for trouble with this machine
	// before is what the failing end shows and a passing end too: no question.
	before     []Signature
	failingEnd *kernel
	bases      []string

	*question // that is looked at

	trials  int
	rounds  int // in which commits were tried at once
	boots   map[string]bool
	seconds float64
}

// grids are the two sets of hypotheses. They hold a cache, so simulations
// share them.
type grids struct{ failing, passing *stats.Grid }

func newGrids() grids { return grids{failingGrid(), passingGrid()} }

// view is how outcomes are looked at, and what is known of the rates so seen.
type view struct {
	lens  *lens
	pools struct{ failing, passing pool }
}

func newSearch(cfg Config, h History, t Tester, g grids) (*search, error) {
	if cfg.Confidence == 0 {
		cfg.Confidence = .999
	}
	if !(cfg.Confidence > .5 && cfg.Confidence < 1) {
		return nil, fmt.Errorf("confidence %v is not between 0.5 and 1", cfg.Confidence)
	}
	if cfg.New == "" || len(cfg.Old) == 0 {
		return nil, errors.New("a search needs a new end and at least one old end")
	}
	if slices.Contains(cfg.Old, cfg.New) {
		return nil, fmt.Errorf("%s is given as both ends", cfg.New)
	}
	if cfg.Rules.Count() > 1 {
		return nil, errors.New("only one of any-failure, same-title, bad-when and for can be asked for")
	}
	switch cfg.Direction {
	case Either, Regression, Fix:
	default:
		return nil, fmt.Errorf("no direction %q", cfg.Direction)
	}
	if cfg.MaxRuns <= 0 {
		cfg.MaxRuns = 1000
	}
	if cfg.MaxSkips <= 0 {
		cfg.MaxSkips = 20
	}
	if cfg.BootCost <= 0 {
		cfg.BootCost = 8
	}
	if cfg.Builders <= 0 {
		cfg.Builders = 1
	}
	if cfg.Progress == nil {
		cfg.Progress = func(Event) {}
	}
	s := &search{
		cfg: cfg, history: h, tester: t,
		failing: g.failing, passing: g.passing,
		question: &question{most: cfg.MaxRuns, placed: make(map[string]place)},
		kernels:  make(map[Subject]*kernel),
		digests:  make(map[string]*kernel),
		boots:    make(map[string]bool),
	}
	s.look(&lens{rules: cfg.Rules})
	return s, nil
}

// note says what is looked for from now on.
func (s *search) note(format string, args ...any) {
	s.cfg.Progress(Event{Note: fmt.Sprintf(format, args...)})
}

// stage says what is tried from now on.
func (s *search) stage(stage, commit string) { s.cfg.Progress(Event{Stage: stage, Commit: commit}) }

// look changes the lens; what is known of rates starts over with it.
func (s *search) look(l *lens) {
	s.lens = l
	s.pools.failing = pool{grid: s.failing}
	s.pools.passing = pool{grid: s.passing}
}

// kernel prepares a subject, once.
func (s *search) kernel(ctx context.Context, sub Subject) (*kernel, error) {
	list, err := s.prepare(ctx, sub)
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

// prepare prepares subjects, each once, as many at once as there are builders.
func (s *search) prepare(ctx context.Context, subs ...Subject) ([]*kernel, error) {
	var missing []Subject
	for _, sub := range subs {
		if s.kernels[sub] == nil && !slices.Contains(missing, sub) {
			missing = append(missing, sub)
		}
	}
	prepared := make([]Prepared, len(missing))
	seconds := make([]float64, len(missing))
	err := s.atOnce(ctx, len(missing), func(ctx context.Context, i int) (err error) {
		prepared[i], seconds[i], err = s.prepareOne(ctx, missing[i])
		return err
	})
	if err != nil {
		return nil, err
	}
	for i, sub := range missing {
		s.seconds += seconds[i]
		s.prepared(sub, prepared[i])
	}
	list := make([]*kernel, len(subs))
	for i, sub := range subs {
		list[i] = s.kernels[sub]
	}
	return list, nil
}

// prepareAtOnce prepares commits that will be needed one after the other; with
// one builder it leaves them until they are.
func (s *search) prepareAtOnce(ctx context.Context, commits ...string) error {
	if s.cfg.Builders == 1 {
		return nil
	}
	var subs []Subject
	for _, c := range commits {
		subs = append(subs, Subject{Commit: c})
	}
	_, err := s.prepare(ctx, subs...)
	return err
}

func (s *search) prepareOne(ctx context.Context, sub Subject) (p Prepared, seconds float64, err error) {
	for try := 1; ; try++ {
		if p, err = s.tester.Prepare(ctx, sub); err != nil {
			return p, seconds, fmt.Errorf("prepare %s: %w", sub, err)
		}
		seconds += p.Seconds
		if p.Failure != KindError || try == tries {
			return p, seconds, nil
		}
	}
}

// prepared takes a kernel that was prepared, or why there is none.
func (s *search) prepared(sub Subject, p Prepared) {
	k := &kernel{subject: sub, seen: make(map[evidenceKey]*evidence), prepared: p}
	switch {
	case p.Failure == KindError:
		k.outcomes = append(k.outcomes, Outcome{Kind: KindError, Reason: p.Reason, Host: true})
	case p.Failure != "":
		k.outcomes = append(k.outcomes, Outcome{Kind: KindBuild, Reason: p.Reason, Where: p.Log})
	case p.Digest != "":
		if same := s.digests[p.Digest]; same != nil {
			s.kernels[sub] = same
			return
		}
		s.digests[p.Digest] = k
	}
	s.kernels[sub] = k
}

// atOnce does n things, as many at once as there are builders, and waits for
// all of them.
func (s *search) atOnce(ctx context.Context, n int, do func(ctx context.Context, i int) error) error {
	if n == 1 {
		return do(ctx, 0)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(s.cfg.Builders)
	for i := range n {
		g.Go(func() error { return do(ctx, i) })
	}
	return g.Wait()
}

// tries is how often something that may go away is tried before it counts. A
// trial without a verdict was tried as often before it is an outcome.
const tries = 3

// run adds trials to a kernel.
func (s *search) run(ctx context.Context, k *kernel, boots, runs int) error {
	return s.runAll(ctx, []moreTrials{{k, boots, runs}})
}

// moreTrials are trials to add to a kernel.
type moreTrials struct {
	k           *kernel
	boots, runs int
}

// runAll adds trials to kernels, at once.
func (s *search) runAll(ctx context.Context, list []moreTrials) error {
	outcomes := make([][]Outcome, len(list))
	err := s.atOnce(ctx, len(list), func(ctx context.Context, i int) (err error) {
		outcomes[i], err = s.trialsOf(ctx, list[i])
		return err
	})
	if err != nil {
		return err
	}
	for i, l := range list {
		for _, o := range outcomes[i] {
			l.k.outcomes = append(l.k.outcomes, o)
			s.trials++
			s.seconds += o.Seconds
			if o.Boot != "" {
				s.boots[o.Boot] = true
			}
		}
	}
	return nil
}

// trialsOf asks for trials of one kernel.
func (s *search) trialsOf(ctx context.Context, l moreTrials) (outcomes []Outcome, err error) {
	r := Request{Subject: l.k.subject, Boots: l.boots, Runs: l.runs, Used: l.k.boots()}
	err = s.tester.Test(ctx, r, func(o Outcome) error {
		if o.Kind == KindVerdict && o.Boot == "" {
			return errors.New("a trial came without the boot it was done in")
		}
		if o.Shows == nil { // of an older version
			o.Shows = o.shown()
			o.NoAnswer = o.NoAnswer || slices.ContainsFunc(o.Shows, func(s Signature) bool {
				return s.Verdict == scenarios.Hang || s.Verdict == scenarios.Bug
			})
		}
		outcomes = append(outcomes, o)
		return nil
	})
	if err == nil && len(outcomes) == 0 {
		err = errors.New("the tester recorded nothing")
	}
	if err != nil {
		return nil, fmt.Errorf("try %s: %w", l.k.subject, err)
	}
	return outcomes, nil
}

// chance is the probability that a kernel fails rather than passes, each being
// as likely beforehand: a bisection halves what is left.
func (s *search) chance(k *kernel, e *evidence) float64 {
	lf := s.pools.failing.weightsWithout(s, k).Predict(e.failing)
	lp := s.pools.passing.weightsWithout(s, k).Predict(e.passing)
	return 1 / (1 + math.Exp(lp-lf))
}

// decide says what a kernel's outcomes mean by now.
func (s *search) decide(k *kernel, from int, alpha float64) judgement {
	e := s.evidenceOf(k, from)
	runs := e.runs()
	switch {
	case e.impossible != "":
		return judgement{state: stateSkip, why: e.impossible}
	case e.bootFailures > runs+e.otherRuns:
		return judgement{state: stateSkip, why: "does not boot: " + e.lastError}
	case e.errors > runs+e.otherRuns:
		return judgement{state: stateSkip, why: "error: " + e.lastError, trouble: e.hostTrouble()}
	case e.otherRuns >= 3 && e.otherRuns > runs:
		o := e.others[0]
		return judgement{state: stateOther, why: fmt.Sprintf("another failure: %s in %d of %d trials", o.Signature, o.Times, runs+e.otherRuns), other: o.Signature}
	}
	if runs == 0 {
		return judgement{}
	}
	p := s.chance(k, e)
	j := judgement{p: p}
	switch {
	case e.hits > 0 && e.passes > 0 && runs < mixed && alpha < stepAlpha:
		// Rates may differ from commit to commit more than the pools know.
	case p >= 1-alpha:
		j.state = stateFails
	case p <= alpha:
		j.state, j.p = statePasses, 1-p
	case runs+e.otherRuns >= s.most:
		j.state = stateSkip
		j.why = fmt.Sprintf(undecided+" after %d trials, %d of them failed", runs, e.hits)
	}
	return j
}

// mixed is how many trials it takes at least when some fail and some pass.
const mixed = 12

// undecided begins the reason of a skip for want of a difference.
const undecided = "undecided"

// batch chooses how many trials a boot gets: with a cost of boots and a
// correlation within them, the least cost for the most knowledge is at
// sqrt(cost*(1-corr)/corr) trials a boot.
func (s *search) batch() int {
	mean, between := s.failing.Mean(s.pools.failing.weightsWithout(s, nil))
	if mean > .99 {
		return 2
	}
	n := math.Sqrt(s.cfg.BootCost * (1 - between) / max(between, 1e-3))
	// A boot whose trials can't be expected to show one failure is no use
	// cut short.
	return int(min(max(n, 2), 16))
}

// judgeCommit judges the kernel of a commit by all its trials.
func (s *search) judgeCommit(ctx context.Context, commit string, alpha float64) (*kernel, judgement, error) {
	k, err := s.kernel(ctx, Subject{Commit: commit})
	if err != nil {
		return nil, judgement{}, err
	}
	j, err := s.judge(ctx, k, 0, alpha)
	return k, j, err
}

// judge tries a kernel until its state is known. With from > 0 only outcomes
// from that one on count, of boots that were not there before.
func (s *search) judge(ctx context.Context, k *kernel, from int, alpha float64) (judgement, error) {
	q := &judging{k: k, from: from, alpha: alpha}
	if err := s.judgeAll(ctx, []*judging{q}); err != nil {
		return judgement{}, err
	}
	return q.judgement, nil
}

// judging is a kernel that is tried until its state is known.
type judging struct {
	k     *kernel
	from  int
	alpha float64
	judgement

	idle int // requests that brought no boot that was not there before
	fed  int // requests for the ends that brought no verdict
}

// judgeAll tries kernels until the states of all are known, all at once. Each
// is judged by what was known of the others before.
func (s *search) judgeAll(ctx context.Context, list []*judging) error {
	for {
		var requests []moreTrials
		var after []func()
		for _, q := range list {
			if q.state != stateOpen {
				continue
			}
			r, then := s.nextTrials(q)
			if q.state != stateOpen {
				continue
			}
			after = append(after, then)
			// Several may want more of one end, or be the same kernel.
			if !slices.ContainsFunc(requests, func(o moreTrials) bool { return o.k == r.k }) {
				requests = append(requests, r)
			}
		}
		if len(requests) == 0 {
			return nil
		}
		if err := s.runAll(ctx, requests); err != nil {
			return err
		}
		for _, then := range after {
			then()
		}
	}
}

// nextTrials decides what a kernel is, or says what is to be tried next to know it,
// and what is to be done once it was.
func (s *search) nextTrials(q *judging) (r moreTrials, then func()) {
	if q.judgement = s.decide(q.k, q.from, q.alpha); q.state != stateOpen {
		return moreTrials{}, nil
	}
	if less := s.lessKnown(q.k, q.from); less != nil && q.fed < tries {
		before := s.evidenceOf(less, 0).runs()
		return moreTrials{less, 1, s.batch()}, func() {
			if q.fed++; s.evidenceOf(less, 0).runs() > before {
				q.fed = 0
			}
		}
	}
	if q.idle == tries {
		q.judgement = judgement{state: stateSkip, why: "there were no further boots"}
		return moreTrials{}, nil
	}
	e := s.evidenceOf(q.k, q.from)
	runs := s.batch()
	if e.otherRuns+e.errors+e.bootFailures > e.runs() {
		runs = 2 // look again, no more than needed
	}
	had, before := len(q.k.boots()), len(q.k.outcomes)
	return moreTrials{q.k, 1, runs}, func() {
		q.idle++
		if len(q.k.boots()) > had || q.k.outcomes[before].Kind != KindVerdict {
			q.idle = 0
		}
	}
}

// lessKnown is a kernel that one without a decision so far is
// compared with, and of which much less is known: one more trial of it then
// says more than one more of the kernel that is judged.
func (s *search) lessKnown(k *kernel, from int) *kernel {
	have := s.evidenceOf(k, from).runs()
	if have < enoughToCompare {
		return nil
	}
	for _, p := range []*pool{&s.pools.failing, &s.pools.passing} {
		runs := 0
		var first *kernel
		for _, m := range p.members {
			if m != k {
				runs += s.evidenceOf(m, 0).runs()
				if first == nil {
					first = m
				}
			}
		}
		if first != nil && runs < have/2 && s.evidenceOf(first, 0).runs() < s.most {
			return first
		}
	}
	return nil
}

// enoughToCompare is how many trials of a kernel without a decision show that
// it may be the others of which too little is known.
const enoughToCompare = 64

// trust adds a judged kernel to what is known of its kind.
func (s *search) trust(k *kernel, st state) {
	s.pools.failing.remove(k)
	s.pools.passing.remove(k)
	switch st {
	case stateFails:
		s.pools.failing.add(k)
	case statePasses:
		s.pools.passing.add(k)
	}
}

func (s *search) mark(st state) Mark {
	switch st {
	case stateFails:
		if s.newFails {
			return New
		}
		return Old
	case statePasses:
		if s.newFails {
			return Old
		}
		return New
	}
	return Skip
}

// found is where a walk through the history ended.
type found struct {
	first string
	among []string
	grows *Signature // an earlier form of the failure was met
}

// walk follows the history from the ends until the first new commit is found.
// It replays the marks that still hold.
func (s *search) walk(ctx context.Context, new string, old []string) (found, error) {
	var held []Marked
	var records []Record
	for _, r := range s.records {
		k, err := s.kernel(ctx, Subject{Commit: r.Commit})
		if err != nil {
			return found{}, err
		}
		j := s.decide(k, 0, s.stepAlpha())
		if j.state == stateOpen || s.mark(j.state) != r.Mark {
			break
		}
		if !s.placed[r.Commit].implied {
			held = append(held, Marked{r.Commit, r.Mark})
		}
		records = append(records, r)
	}
	s.records = records
	next, err := s.history.Replay(ctx, new, old, held)
	if err != nil {
		return found{}, err
	}
	for next.Commit != "" {
		tried, err := s.round(ctx, new, next)
		if err != nil {
			return found{}, err
		}
		for _, m := range tried {
			s.trust(m.k, m.state)
			if !m.trouble {
				s.ailing = 0
			} else if s.ailing++; s.ailing == 2 {
				// Every other one would be skipped for it as well.
				return found{}, &StopError{
					Kind: StopTrouble, Seen: s.records,
					Why: fmt.Sprintf("%s can't be tried, nor could the one before it: %s", short(m.commit), m.why),
				}
			}
			r := s.record(m.commit, m.k, m.judgement)
			s.records = append(s.records, r)
			s.placed[m.commit] = m.place
			step := Event{Stage: "step", Commit: m.commit, Left: m.left, Record: &r, Marks: slices.Clone(s.records)}
			if g := s.grown(false); g != nil {
				return found{grows: g}, nil
			}
			if n := countSkips(s.records); n > s.cfg.MaxSkips {
				return found{}, &StopError{
					Kind: StopSkips, Seen: s.records,
					Why: fmt.Sprintf("%d commits could not be tried (last %s: %s); name paths, other ends or --max-skips", n, short(r.Commit), r.Why),
				}
			}
			if !m.implied {
				if next, err = s.history.Mark(ctx, Marked{m.commit, r.Mark}); err != nil {
					return found{}, err
				}
			}
			s.cfg.Progress(step)
		}
	}
	if len(next.Among) > 0 {
		if g := s.grown(true); g != nil {
			return found{grows: g}, nil
		}
	}
	return found{first: next.First, among: next.Among}, nil
}

// grown tells whether commits were skipped for a failure that may be an
// earlier form of the one looked for: at the same step, and not only once
// (unless nothing but skipped commits is left).
func (s *search) grown(stuck bool) *Signature {
	if s.single || !s.cfg.Rules.each() || len(s.lens.also)+len(s.lens.ignore) > 0 {
		return nil
	}
	var counts []Count
	for _, r := range s.records {
		if r.Other == nil || !r.Other.samePlace(s.target.Signature) {
			continue
		}
		var i int
		if counts, i = counted(counts, *r.Other); stuck || counts[i].Times >= 2 {
			return r.Other
		}
	}
	return nil
}

func countSkips(records []Record) int {
	n := 0
	for _, r := range records {
		if r.Mark == Skip {
			n++
		}
	}
	return n
}

// stepAlpha is the error that a mark may have while the search lasts. A wrong
// one does no harm for long: the search ends beside it, and the checks of the
// commit and its parents, which have to be far more certain, contradict it.
// What lies beyond those follows from them.
func (s *search) stepAlpha() float64 { return stepAlpha }

const stepAlpha = .04

// settle looks at marks again with all that is known by now, the least certain
// first. It is true when one changed. Of marks that are given (the others are
// looked at while the search lasts), all are.
func (s *search) settle(ctx context.Context, alpha float64, only []string) (bool, error) {
	type open struct {
		i int
		p float64
	}
	var list []open
	for i := range s.records {
		r := &s.records[i]
		if r.Mark == Skip || only != nil && !slices.Contains(only, r.Commit) {
			continue
		}
		k, err := s.kernel(ctx, Subject{Commit: r.Commit})
		if err != nil {
			return false, err
		}
		p := s.chance(k, s.evidenceOf(k, 0))
		if s.mark(stateFails) != r.Mark {
			p = 1 - p
		}
		r.P = p
		if p < 1-alpha {
			list = append(list, open{i, p})
		}
	}
	slices.SortStableFunc(list, func(a, b open) int { return cmp.Compare(a.p, b.p) })
	for _, o := range list {
		r := s.records[o.i]
		s.stage("again", r.Commit)
		k, j, err := s.judgeCommit(ctx, r.Commit, alpha)
		if err != nil {
			return false, err
		}
		s.trust(k, j.state)
		now := s.record(r.Commit, k, j)
		now.Retried = true
		if now.Mark != r.Mark {
			return true, nil
		}
		s.records[o.i] = now
	}
	return false, nil
}

// find walks and settles until the marks stand.
func (s *search) find(ctx context.Context, new string, old []string) (found, error) {
	for round := 0; ; round++ {
		f, err := s.walk(ctx, new, old)
		if err != nil || f.grows != nil {
			return f, err
		}
		changed, err := s.settle(ctx, s.stepAlpha(), nil)
		if err != nil {
			return found{}, err
		}
		if !changed || round == 20 {
			s.unsettled = s.unsettled || changed
			return f, nil
		}
	}
}

// short is a commit's name for people: a hash is cut to 12 digits.
func short(commit string) string {
	if len(commit) == 40 || len(commit) == 64 {
		return commit[:12]
	}
	return commit
}
