package bisect

import (
	"context"
	"slices"
)

// tried is a commit that was tried in a round.
type tried struct {
	commit string
	left   int // commits left after it, about
	k      *kernel
	judgement
	place
}

// A place is where a mark stands beside the others of its round.
type place struct {
	implied bool            // the history has no use for it
	below   map[string]bool // one of these is the first new commit, which the history does not know
}

// round tries the commits that together tell most: as many as there are
// builders, and the one that the history names where there is one builder. Its
// marks go to the history in their order.
func (s *search) round(ctx context.Context, new string, next Next) ([]tried, error) {
	s.rounds++
	p, commits, err := s.choose(ctx, new, next)
	if err != nil {
		return nil, err
	}
	left := next.Left
	if len(commits) > 1 {
		left = 2 * left / (len(commits) + 1)
	}
	subs := make([]Subject, len(commits))
	for i, c := range commits {
		subs[i] = Subject{Commit: c}
		s.cfg.Progress(Event{Stage: "step", Commit: c, Left: left})
	}
	kernels, err := s.prepare(ctx, subs...)
	if err != nil {
		return nil, err
	}
	list := make([]*judging, len(commits))
	for i, k := range kernels {
		list[i] = &judging{k: k, alpha: s.stepAlpha()}
	}
	if err := s.judgeAll(ctx, list); err != nil {
		return nil, err
	}
	if len(commits) > 1 {
		if commits, list, err = s.agreeing(ctx, p, commits, list); err != nil {
			return nil, err
		}
	}
	out := make([]tried, len(commits))
	for i, c := range commits {
		out[i] = tried{commit: c, left: left, k: list[i].k, judgement: list[i].judgement}
	}
	if len(commits) > 1 {
		s.inOrder(p, out)
	}
	return out, nil
}

// choose names the commits of a round.
func (s *search) choose(ctx context.Context, new string, next Next) (*part, []string, error) {
	h, ok := s.history.(Chooser)
	if !ok || s.cfg.Builders == 1 {
		return nil, []string{next.Commit}, nil
	}
	left, err := h.Left(ctx)
	if err != nil {
		return nil, nil, err
	}
	marks := map[string]Mark{new: New}
	var below []map[string]bool
	for _, r := range s.records {
		marks[r.Commit] = r.Mark
		if set := s.placed[r.Commit].below; set != nil {
			below = append(below, set)
		}
	}
	p := newPart(left, marks, below)
	// A merge base is tried first.
	if _, isLeft := p.at[next.Commit]; isLeft {
		if commits := p.choose(s.cfg.Builders); len(commits) > 0 {
			return p, commits, nil
		}
	}
	return p, []string{next.Commit}, nil
}

// agreeing are those commits of a round that don't contradict each other: the
// change is not in one that is above another one that has it. Those that do are
// tried until they are as certain as the ends; of two that still do, the more
// certain one stays.
func (s *search) agreeing(ctx context.Context, p *part, commits []string, list []*judging) ([]string, []*judging, error) {
	contradict := func() (pairs [][2]int) {
		for i, old := range list {
			for j, new := range list {
				if s.mark(old.state) == Old && s.mark(new.state) == New && p.below(p.at[commits[i]]).has(p.at[commits[j]]) {
					pairs = append(pairs, [2]int{i, j})
				}
			}
		}
		return pairs
	}
	again := make(map[int]bool)
	for _, pair := range contradict() {
		again[pair[0]], again[pair[1]] = true, true
	}
	if len(again) == 0 {
		return commits, list, nil
	}
	var more []*judging
	for i, q := range list {
		if again[i] {
			s.stage("again", commits[i])
			q.alpha, q.judgement = s.alpha, judgement{}
			more = append(more, q)
		}
	}
	if err := s.judgeAll(ctx, more); err != nil {
		return nil, nil, err
	}
	for {
		pairs := contradict()
		if len(pairs) == 0 {
			return commits, list, nil
		}
		drop := pairs[0][0]
		if other := pairs[0][1]; list[other].p < list[drop].p {
			drop = other
		}
		commits, list = slices.Delete(commits, drop, drop+1), slices.Delete(list, drop, drop+1)
	}
}

// inOrder brings the commits of a round into the order in which the history
// gets their marks: of those that have the change the one that leaves least,
// then those that do not have it, then those that can't be tried. The others
// follow from these, or say what the history has no mark for: that the first
// new commit is below each of two.
func (s *search) inOrder(p *part, list []tried) {
	at := func(t tried) int { return p.at[t.commit] }
	rank := func(t tried) int { return slices.Index([]Mark{New, Old, Skip}, s.mark(t.state)) }
	leaves := func(t tried) int { return p.may.common(p.below(at(t))) }
	slices.SortStableFunc(list, func(a, b tried) int {
		if d := rank(a) - rank(b); d != 0 || s.mark(a.state) != New {
			return d
		}
		return leaves(a) - leaves(b)
	})
	for i := range list {
		t := &list[i]
		switch s.mark(t.state) {
		case New:
			t.implied = i > 0
			if below := p.below(at(*t)); i > 0 && !below.has(at(list[0])) {
				t.below = make(map[string]bool)
				for j, c := range p.left {
					if below.has(j) {
						t.below[c.Commit] = true
					}
				}
			}
		case Old:
			t.implied = slices.ContainsFunc(list, func(o tried) bool {
				return o.commit != t.commit && s.mark(o.state) == Old && p.below(at(o)).has(at(*t))
			})
		}
	}
}
