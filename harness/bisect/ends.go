package bisect

import (
	"context"
	"fmt"
	"strings"

	"github.com/blockrig/blockrig/scenarios"
)

const (
	learnBoots = 8   // boots of the failing end before its failure counts as known
	learnRuns  = 2   // trials in each of them
	learnHits  = 12  // failures to see when it doesn't fail every time
	learnMost  = 200 // trials without a failure after which there is none to look for
)

// ends finds out which end fails and how, and that the other ends do not.
func (s *search) ends(ctx context.Context) ([]Record, error) {
	next, err := s.history.Replay(ctx, s.cfg.New, s.cfg.Old, nil)
	if err != nil {
		return nil, err
	}
	bases, err := s.history.MergeBases(ctx, s.cfg.New, s.cfg.Old)
	if err != nil {
		return nil, err
	}
	// Marks that may be wrong: the steps, the ends, parent and culprit.
	s.alpha = (1 - s.cfg.Confidence) / float64(steps(next.Left)+len(s.cfg.Old)+len(bases)+3)

	failing, err := s.learn(ctx)
	if err != nil {
		return nil, err
	}
	s.trust(failing, stateFails)

	var list []end
	list = append(list, end{s.cfg.New, "new end", s.newFails, StopWrongEnd})
	for _, o := range s.cfg.Old {
		list = append(list, end{o, "old end", !s.newFails, StopWrongEnd})
	}
	for _, b := range bases {
		list = append(list, end{b, "merge base", !s.newFails, StopMergeBase})
	}
	// The failing end that taught us comes last: whether its failures are
	// false ones shows only beside the others' rate.
	var records []Record
	var last *end
	for i := range list {
		e := &list[i]
		k, err := s.kernel(ctx, Subject{Commit: e.commit})
		if err != nil {
			return nil, err
		}
		if k == failing && e.fails {
			if last == nil {
				last = e
				continue
			}
		}
		r, err := s.end(ctx, *e)
		if err != nil {
			return nil, err
		}
		records = append(records, r)
	}
	r, err := s.end(ctx, *last)
	if err != nil {
		return nil, err
	}
	return append(records, r), nil
}

type end struct {
	commit string
	name   string
	fails  bool
	kind   string // of the stop when it is not as expected
}

func (s *search) end(ctx context.Context, e end) (Record, error) {
	s.stage(e.name, e.commit)
	k, j, err := s.judgeCommit(ctx, e.commit, s.alpha)
	if err != nil {
		return Record{}, err
	}
	r := s.record(e.commit, k, j)
	want := statePasses
	if e.fails {
		want = stateFails
	}
	if j.state == want {
		s.trust(k, j.state)
		s.cfg.Progress(Event{Stage: e.name, Commit: e.commit, Record: &r})
		return r, nil
	}
	stop := &StopError{Kind: e.kind, Seen: []Record{r}}
	name := e.name + " " + short(e.commit)
	counts := r.Seen()
	if e.kind == StopMergeBase && s.mark(j.state) == Skip {
		// As git does: continue, and say so in the answer.
		s.cfg.Progress(Event{Stage: e.name, Commit: e.commit, Record: &r})
		return r, nil
	}
	switch j.state {
	case stateFails:
		stop.Why = fmt.Sprintf("the %s should pass, but shows %s too (%s)", name, s.target.Signature, counts)
		if e.kind == StopMergeBase {
			stop.Why = fmt.Sprintf("the %s fails, the old end does not: the bug was fixed between them, so there is no regression to find; bisect for the fix instead, with this one as the old end", name)
		}
	case statePasses:
		stop.Why = fmt.Sprintf("the %s should fail, but passes (%s)", name, counts)
	case stateOther:
		stop.Why = fmt.Sprintf("the %s fails too, in another way: %s", name, j.why)
	default:
		stop.Why = fmt.Sprintf("the %s can't be tried: %s", name, j.why)
		if j.trouble {
			stop.Kind = StopTrouble
		}
		if strings.HasPrefix(j.why, undecided) {
			stop.Kind = StopInconclusive
			stop.Why = fmt.Sprintf("nothing shows that the %s differs from the other end: %s; failures that both ends show are no mark of the bug (--bad-when can name what is)", name, j.why)
		}
	}
	return Record{}, stop
}

// learn tries the end that fails, or both to see which one does, until its
// failures are known.
func (s *search) learn(ctx context.Context) (*kernel, error) {
	type candidate struct {
		commit   string
		newFails bool
	}
	var candidates []candidate
	if s.cfg.Direction != Fix {
		candidates = append(candidates, candidate{s.cfg.New, true})
	}
	if s.cfg.Direction != Regression {
		candidates = append(candidates, candidate{s.cfg.Old[0], false})
	}
	var seen []string
	for round, enough := range []int{learnBoots * learnRuns, learnMost} {
		if round > 0 {
			s.note("no failure to look for yet: %s; trying %d times to be sure", strings.Join(seen, ", "), enough)
		}
		seen = seen[:0]
		for _, c := range candidates {
			s.stage("failing end", c.commit)
			k, err := s.kernel(ctx, Subject{Commit: c.commit})
			if err != nil {
				return nil, err
			}
			known, err := s.learnFrom(ctx, k, enough)
			if err != nil {
				return nil, err
			}
			if known {
				s.newFails = c.newFails
				return k, s.teach(k, c.commit)
			}
			seen = append(seen, fmt.Sprintf("%s: %s", short(c.commit), shown(k.outcomes)))
		}
	}
	return nil, &StopError{
		Kind: StopNoFailure,
		Why:  fmt.Sprintf("no failure to look for: %s", strings.Join(seen, ", ")),
	}
}

// shown is what trials came to, none of which counts as bad.
func shown(outcomes []Outcome) string {
	boots := make(map[string]bool)
	times := make(map[scenarios.Verdict]int)
	var n int
	for _, o := range outcomes {
		if o.Kind != KindVerdict {
			continue
		}
		n++
		boots[o.Boot] = true
		times[o.Verdict]++
	}
	var ways []string
	for _, v := range scenarios.Verdicts {
		if times[v] > 0 {
			ways = append(ways, fmt.Sprintf("%s %d times", v, times[v]))
		}
	}
	return fmt.Sprintf("%d trials in %s, none of them bad (%s)", n, inBoots(len(boots)), strings.Join(ways, ", "))
}

// learnFrom tries a kernel until its failures are known (true), or it had
// enough trials without one.
func (s *search) learnFrom(ctx context.Context, k *kernel, enough int) (bool, error) {
	for {
		var fails, passes int
		boots := make(map[string]bool)
		for _, o := range k.outcomes {
			if o.Kind != KindVerdict {
				continue
			}
			boots[o.Boot] = true
			if s.cfg.Rules.Fails(o) {
				fails++
			} else {
				passes++
			}
		}
		e := s.evidenceOf(k, 0)
		switch {
		case e.impossible != "":
			return false, &StopError{Kind: StopWrongEnd, Why: fmt.Sprintf("the end %s can't be built: %s", short(k.subject.Commit), e.impossible)}
		case e.bootFailures > fails+passes:
			return false, &StopError{Kind: StopWrongEnd, Why: fmt.Sprintf("the end %s does not boot: %s", short(k.subject.Commit), e.lastError)}
		case e.errors > fails+passes:
			kind := StopWrongEnd
			if e.hostTrouble() {
				kind = StopTrouble
			}
			return false, &StopError{Kind: kind, Why: fmt.Sprintf("the end %s can't be tried: %s", short(k.subject.Commit), e.lastError)}
		case fails == 0 && passes >= enough:
			return false, nil
		case len(boots) < learnBoots && fails+passes < 4*learnBoots*learnRuns: // should the tester repeat boots
			if err := s.run(ctx, k, learnBoots-len(boots), learnRuns); err != nil {
				return false, err
			}
		case fails > 0 && (passes == 0 || fails >= learnHits || fails+passes >= s.cfg.MaxRuns):
			return true, nil
		default:
			if err := s.run(ctx, k, 1, 8); err != nil {
				return false, err
			}
		}
	}
}

// teach takes the target from the failing end.
func (s *search) teach(k *kernel, commit string) error {
	t, ok := learnTarget(k.outcomes, s.cfg.Rules.Fails)
	if !ok {
		return fmt.Errorf("the end %s failed without a signature", short(commit))
	}
	s.target = t
	s.look(&lens{rules: s.cfg.Rules, target: t})
	e := s.evidenceOf(k, 0)
	if e.otherRuns > e.runs() {
		var ways []string
		for _, c := range append([]Count{{t.Signature, e.hits}}, e.others...) {
			ways = append(ways, fmt.Sprintf("%s %d times", c.Signature, c.Times))
		}
		return &StopError{
			Kind: StopSeveral,
			Why:  fmt.Sprintf("the end %s fails in several ways (%s): say which with --bad-when, or take --any-failure", short(commit), strings.Join(ways, ", ")),
		}
	}
	return nil
}

// steps is how many marks a bisection of so many commits needs, about.
func steps(left int) int {
	n := 1
	for left > 0 {
		left /= 2
		n++
	}
	return n
}
