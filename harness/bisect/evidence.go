package bisect

import (
	"cmp"
	"slices"

	"github.com/blockrig/blockrig/harness/stats"
)

// A kernel is all that is known of one subject. Subjects with the same binary
// share one.
type kernel struct {
	subject  Subject
	prepared Prepared
	outcomes []Outcome
	seen     map[evidenceKey]*evidence
	bootIDs  []string
	counted  int // outcomes whose boots are among bootIDs
	// A check tried it from fresh boots: from which outcome on, and for which
	// question. Another question takes them for its own.
	fresh    int
	freshFor *question
}

// boots are the IDs of the boots that the kernel was tried in.
func (k *kernel) boots() []string {
	for ; k.counted < len(k.outcomes); k.counted++ {
		b := k.outcomes[k.counted].Boot
		if b != "" && !slices.Contains(k.bootIDs, b) {
			k.bootIDs = append(k.bootIDs, b)
		}
	}
	return slices.Clip(k.bootIDs)
}

type evidenceKey struct {
	lens *lens
	from int // first outcome that counts
}

// evidence is what a kernel's outcomes say through a lens.
type evidence struct {
	upto   int             // outcomes looked at
	before map[string]bool // boots that came before the outcomes that count
	boots  map[string]*stats.Boot
	others []Count
	hits, passes,
	otherRuns, errors, bootFailures int
	hostErrors int    // of errors
	impossible string // why there is no kernel
	lastError  string
	// log-likelihood of the hits and passes at each point of the grids
	failing, passing stats.Weights
}

func (e *evidence) runs() int { return e.hits + e.passes }

// hostTrouble tells whether most errors are this machine's.
func (e *evidence) hostTrouble() bool { return 2*e.hostErrors > e.errors }

// evidenceOf brings the evidence up to date with the outcomes.
func (s *search) evidenceOf(k *kernel, from int) *evidence {
	key := evidenceKey{s.lens, from}
	e := k.seen[key]
	if e == nil {
		e = &evidence{
			upto:    from,
			boots:   make(map[string]*stats.Boot),
			failing: s.failing.None(),
			passing: s.passing.None(),
			before:  make(map[string]bool),
		}
		for _, o := range k.outcomes[:from] {
			if o.Boot != "" {
				e.before[o.Boot] = true
			}
		}
		k.seen[key] = e
	}
	for e.upto < len(k.outcomes) {
		// Outcomes of one boot stand together.
		boot := k.outcomes[e.upto].Boot
		t := e.boots[boot]
		was := stats.Boot{}
		if t != nil {
			was = *t
		}
		now := was
		for ; e.upto < len(k.outcomes) && k.outcomes[e.upto].Boot == boot; e.upto++ {
			if e.before[boot] {
				continue // not from a fresh boot
			}
			e.count(s.lens, &k.outcomes[e.upto], &now)
		}
		if now == was {
			continue
		}
		if t != nil {
			e.failing.Sub(s.failing.LogLikelihood(was))
			e.passing.Sub(s.passing.LogLikelihood(was))
		}
		e.boots[boot] = &now
		e.failing.Add(s.failing.LogLikelihood(now))
		e.passing.Add(s.passing.LogLikelihood(now))
	}
	return e
}

func (e *evidence) count(l *lens, o *Outcome, t *stats.Boot) {
	switch class, sig := l.class(o); class {
	case classHit:
		e.hits++
		t.Failures++
		t.Trials++
	case classPass:
		e.passes++
		t.Trials++
	case classOther:
		e.otherRuns++
		e.others, _ = counted(e.others, sig)
		slices.SortStableFunc(e.others, func(a, b Count) int { return cmp.Compare(b.Times, a.Times) })
	case classVoid:
		switch o.Kind {
		case KindBoot:
			e.bootFailures++
			e.lastError = o.Reason
		case KindBuild, KindNone:
			e.impossible = o.Reason
		default:
			e.errors++
			if o.Host {
				e.hostErrors++
			}
			e.lastError = o.Reason
		}
	}
}

// pool is what is known of failing and of passing kernels: the evidence of
// the ends and of every commit with a mark. A kernel is never judged by its
// own evidence, so it is left out of the pool it is compared with.
type pool struct {
	grid    *stats.Grid
	members []*kernel
}

func (p *pool) add(k *kernel) {
	if k != nil && !slices.Contains(p.members, k) {
		p.members = append(p.members, k)
	}
}

func (p *pool) remove(k *kernel) {
	p.members = slices.DeleteFunc(p.members, func(m *kernel) bool { return m == k })
}

// weightsWithout is the posterior from all members but one.
func (p *pool) weightsWithout(s *search, without *kernel) stats.Weights {
	w := slices.Clone(p.grid.Prior())
	for _, m := range p.members {
		if m == without {
			continue
		}
		e := s.evidenceOf(m, 0)
		if p.grid == s.failing {
			w.Add(e.failing)
		} else {
			w.Add(e.passing)
		}
	}
	return w
}
