package bisect

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/scenarios"
)

const (
	learnBoots = 8   // boots of the failing end before its failure counts as known
	learnRuns  = 2   // trials in each of them
	learnHits  = 12  // failures to see when it doesn't fail every time
	learnMore  = 64  // the same, of an end that shows something else
	learnMost  = 200 // trials without a failure after which there is none to look for
)

// ends finds out which end fails and what it shows, and that the other ends do
// not show it: the questions to answer. What another end shows too is none.
// Where the error is inconclusive, the question is the one at hand.
func (s *search) ends(ctx context.Context) ([]*question, error) {
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

	if err := s.prepareAtOnce(ctx, slices.Concat([]string{s.cfg.New}, s.cfg.Old, bases)...); err != nil {
		return nil, err
	}

	var why *StopError // of the first question that was dropped
	var whose *question
	for {
		failing, err := s.learn(ctx)
		if stop, ok := errors.AsType[*StopError](err); ok && stop.Kind == StopNoFailure && why != nil {
			s.question = whose
			return nil, why
		}
		if err != nil {
			return nil, err
		}
		asked, err := s.questions(failing)
		if err != nil {
			return nil, err
		}
		var list []*question
		var notes []string
		more := true
		for _, q := range asked {
			s.question = q
			if len(list) > 0 && len(s.cfg.Rules.For) == 0 {
				q.most = min(q.most, alsoMost)
			}
			if s.comesWith(q, list, failing) {
				q.unchecked = true
				list = append(list, q)
				continue
			}
			err := s.otherEnds(ctx, failing, bases)
			stop, drop := dropped(err)
			switch {
			case err == nil:
				list = append(list, q)
			case !drop || !s.cfg.Rules.each():
				return nil, err
			default:
				notes = append(notes, fmt.Sprintf("not looked for: %s", stop.Why))
				more = more && (stop.state == stateFails || stop.Kind == StopInconclusive)
				s.before = append(s.before, q.target.wants()...)
				if why == nil {
					why, whose = stop, q
				}
			}
		}
		if len(list) > 0 {
			s.failingEnd, s.bases = failing, bases
			for _, n := range notes {
				s.note("%s", n)
			}
			return list, nil
		}
		if !more {
			s.question = whose
			return nil, why
		}
		// It may show something else, more seldom.
	}
}

// otherEnds judges the ends for the question at hand.
func (s *search) otherEnds(ctx context.Context, failing *kernel, bases []string) error {
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
	var last *end
	for i := range list {
		e := &list[i]
		k, err := s.kernel(ctx, Subject{Commit: e.commit})
		if err != nil {
			return err
		}
		if k == failing && e.fails {
			if last == nil {
				last = e
				continue
			}
		}
		r, err := s.end(ctx, *e)
		if err != nil {
			return err
		}
		s.endRecords = append(s.endRecords, r)
	}
	r, err := s.end(ctx, *last)
	s.endRecords = append(s.endRecords, r)
	return err
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
	stop := &StopError{Kind: e.kind, Seen: []Record{r}, state: j.state}
	name := e.name + " " + short(e.commit)
	counts := r.Seen()
	if e.kind == StopMergeBase && s.mark(j.state) == Skip {
		// As git does: continue, and say so in the answer.
		s.cfg.Progress(Event{Stage: e.name, Commit: e.commit, Record: &r})
		return r, nil
	}
	switch j.state {
	case stateFails:
		stop.Why = fmt.Sprintf("the %s should pass, but shows %s too (%s)", name, &s.target, counts)
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
	rounds := []int{learnBoots * learnRuns, learnMost}
	if len(s.before)+len(s.cfg.Rules.For) > 0 {
		rounds[1] = learnMore // it shows something, if not what is looked for
	}
	var seen []string
	for round, enough := range rounds {
		if round > 0 && len(s.before) == 0 {
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
				return k, nil
			}
			seen = append(seen, fmt.Sprintf("%s: %s", short(c.commit), shown(k.outcomes)))
		}
	}
	stop := &StopError{Kind: StopNoFailure, Why: fmt.Sprintf("no failure to look for: %s", strings.Join(seen, ", "))}
	if k := s.kernels[Subject{Commit: candidates[0].commit}]; len(s.cfg.Rules.For) > 0 && len(s.before) == 0 && k != nil {
		stop.Kind, stop.Why = StopNotShown, s.notShown(k)
	}
	return nil, stop
}

// notShown says what an end shows instead of what is looked for.
func (s *search) notShown(k *kernel) string {
	var shows []string
	for _, c := range countShown(k.outcomes) {
		shows = append(shows, fmt.Sprintf("%s %d times", c.Signature, c.Times))
	}
	if shows == nil {
		shows = []string{"no failure"}
	}
	return fmt.Sprintf("the end %s does not show %s: %d trials show %s", short(k.subject.Commit), namesOf(s.cfg.Rules.For), len(k.outcomes), strings.Join(shows, ", "))
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
	return fmt.Sprintf("%d trials in %s, none of them bad (%s)", n, text.Count(len(boots), "boot"), strings.Join(ways, ", "))
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
			if s.fails(o) {
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

// steps is how many marks a bisection of so many commits needs, about.
func steps(left int) int {
	n := 1
	for left > 0 {
		left /= 2
		n++
	}
	return n
}
