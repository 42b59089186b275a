package bisect

import (
	"context"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/blockrig/blockrig/scenarios"
)

// A world is a history with one bug in it, and kernels that show it more or
// less often.
type world struct {
	shape   string
	graph   *Graph
	new     string
	old     []string
	culprit string
	fails   map[string]bool // commits that have the bug
	broken  map[string]Kind // commits that can't be tried

	rate, corr           float64 // of failing kernels: mean, correlation within a boot
	falseRate, falseCorr float64 // of passing ones
	otherRate            float64 // failures of another kind, on every kernel
	// Another bug at the same step, between two commits, that hides this one
	// or is an earlier form of it; whether a commit can be taken back.
	hides, until int
	otherBug     float64 // its rate
	reverts      bool
	alone        bool // where it can't be taken back, its change shows alone on the good end
	// drift is by how much the rate of one commit may differ from that of
	// another, as a part of it.
	drift float64
}

// worldOf makes one from a seed.
func worldOf(seed uint64) *world {
	r := rand.New(rand.NewPCG(seed, 17))
	w := &world{graph: NewGraph(), fails: make(map[string]bool), broken: make(map[string]Kind)}
	w.shape = []string{"linear", "merges", "goods", "skips", "beside", "allskip", "hidden", "grows"}[r.IntN(8)]
	n := 8 + r.IntN(200)
	add := func(name string, parents ...string) {
		if err := w.graph.Add(name, parents...); err != nil {
			panic(err)
		}
	}
	name := func(i int) string { return "c" + strconv.Itoa(i) }
	add(name(0))
	tips := []string{name(0)}
	for i := 1; i < n; i++ {
		switch {
		case w.shape != "merges" && w.shape != "goods":
			add(name(i), name(i-1))
			tips = []string{name(i)}
		case i == n-1 || len(tips) > 1 && r.IntN(8) == 0:
			parents := tips
			if i < n-1 {
				parents = tips[:2]
			}
			add(name(i), parents...)
			tips = append([]string{name(i)}, tips[len(parents):]...)
		case len(tips) < 4 && r.IntN(10) == 0:
			add(name(i), name(r.IntN(i)))
			tips = append(tips, name(i))
		default:
			t := r.IntN(len(tips))
			add(name(i), tips[t])
			tips[t] = name(i)
		}
	}
	w.new, w.old = name(n-1), []string{name(0)}
	culprit := 1 + r.IntN(n-1)
	w.culprit = name(culprit)
	for i := range n {
		if w.graph.ancestors(nil, i)[culprit] {
			w.fails[name(i)] = true
		}
	}
	if w.shape == "goods" {
		for range 2 {
			if c := name(r.IntN(n - 1)); !w.fails[c] && !slices.Contains(w.old, c) {
				w.old = append(w.old, c)
			}
		}
	}
	for i := 1; i < n-1; i++ {
		var p float64
		switch w.shape {
		case "skips":
			p = .06
		case "beside":
			if d := i - culprit; d == -1 || d == 0 || d == 1 {
				p = .6
			}
		case "allskip":
			p = .95
		}
		if r.Float64() < p {
			w.broken[name(i)] = []Kind{KindBuild, KindBoot, KindError}[r.IntN(3)]
		}
	}
	w.reverts = r.IntN(2) == 0
	w.alone = seed%3 > 0
	switch w.shape {
	case "hidden":
		w.hides = 1 + r.IntN(culprit)
		w.until = culprit + r.IntN(n-culprit)
	case "grows":
		// It begins with the culprit, in another form.
		w.hides, w.until = culprit, culprit+r.IntN(n-culprit)
	}
	w.otherBug = 1
	if r.IntN(2) == 0 {
		w.otherBug = .05 + .95*r.Float64()
	}
	w.rate = .05 + .95*r.Float64()
	w.corr = []float64{0, .05, .15, .3, .5}[r.IntN(5)]
	if r.IntN(4) == 0 {
		w.rate, w.corr = 1, 0
	}
	if r.IntN(2) == 0 {
		w.falseRate = .05 * r.Float64()
		w.falseCorr = []float64{0, .1, .3}[r.IntN(3)]
	}
	if r.IntN(4) == 0 {
		w.otherRate = .05 * r.Float64()
	}
	if r.IntN(4) == 0 {
		w.drift = .3
	}
	return w
}

// names tells whether an answer names the right commit: the one from which on
// kernels fail as the failing end does, or where an earlier form of that
// began, both of them.
func (w *world) names(a *Answer) bool {
	became := w.culprit
	if w.shape == "grows" {
		became = w.graph.names[max(w.until, w.graph.index[w.culprit])]
	}
	if a.Became == nil {
		return a.First.Hash == became
	}
	if w.shape == "hidden" { // by its own commit, too: the first one either way
		return a.First.Hash == w.culprit
	}
	return a.First.Hash == w.culprit && a.Became.Hash == became
}

// within tells whether the culprit is in a part of the history.
func (w *world) within(b Between) bool {
	var old []int
	for _, o := range b.Old {
		old = append(old, w.graph.index[o])
	}
	left := w.graph.ancestors(w.graph.ancestors(nil, old...), w.graph.index[b.New])
	return left.count() == b.Commits && left[w.graph.index[w.culprit]]
}

// hidden tells whether a kernel has the other bug. Taking back the commit that
// brought that one mends it; one that "grows" is gone with the culprit.
func (w *world) hidden(s Subject) bool {
	i := w.graph.index[s.Commit]
	return w.hides > 0 && i >= w.hides && i < w.until && s.Revert != w.graph.names[w.hides]
}

// rateOf is the rate of one commit.
func (w *world) rateOf(commit string) float64 {
	if w.drift == 0 {
		return w.rate
	}
	h := fnv.New64a()
	h.Write([]byte(commit))
	r := rand.New(rand.NewPCG(h.Sum64(), 5))
	return min(1, w.rate*(1-w.drift+2*w.drift*r.Float64()))
}

var (
	simTarget = Outcome{
		Kind: KindVerdict, Verdict: "hang", Also: []scenarios.Verdict{"warn"}, Phase: "step", Step: "pread", Titles: []string{"WARNING in a"}, NoAnswer: true,
		Shows: []Signature{{Verdict: "hang", Phase: "step", Step: "pread"}, {Verdict: "warn", Phase: "step", Step: "pread", Title: "WARNING in a"}},
	}
	simPass  = Outcome{Kind: KindVerdict, Verdict: "pass", Phase: "done", Step: "pread", Errno: "EINVAL"}
	simOther = Outcome{Kind: KindVerdict, Verdict: "bug", Phase: "step", Step: "pread", Titles: []string{"BUG in b"}, NoAnswer: true}
)

// simTester tries the kernels of a world.
type simTester struct {
	w      *world
	r      *rand.Rand
	boot   int
	trials int
	boots  int
}

func (t *simTester) Prepare(ctx context.Context, s Subject) (Prepared, error) {
	if t.w.broken[s.Commit] == KindBuild {
		return Prepared{Failure: KindBuild, Reason: "does not compile"}, nil
	}
	if s.Revert != "" && !t.w.reverts {
		return Prepared{Failure: KindBuild, Reason: "does not build without it"}, nil
	}
	return Prepared{}, nil
}

func (t *simTester) Test(ctx context.Context, r Request, record func(Outcome) error) error {
	for range r.Boots {
		t.boot++
		t.boots++
		boot := strconv.Itoa(t.boot)
		if k := t.w.broken[r.Subject.Commit]; k != "" {
			if err := record(Outcome{Kind: k, Boot: boot, Reason: "broken"}); err != nil {
				return err
			}
			continue
		}
		q := betaOf(t.r, t.w.falseRate, t.w.falseCorr)
		if t.w.fails[r.Subject.Commit] && (r.Subject.Revert != t.w.culprit || r.Subject.Partly) || t.w.alone && r.Subject.Apply == t.w.culprit {
			q = 1 - (1-q)*(1-betaOf(t.r, t.w.rateOf(r.Subject.Commit), t.w.corr))
		}
		for range r.Runs {
			t.trials++
			o := simPass
			switch {
			case t.w.hidden(r.Subject) && t.r.Float64() < t.w.otherBug:
				o = simOther
			case t.w.shape == "grows" && t.w.hidden(r.Subject): // not in this form yet
			case t.r.Float64() < q:
				o = simTarget
			case t.r.Float64() < t.w.otherRate:
				o = simOther
			}
			o.Boot = boot
			if err := record(o); err != nil {
				return err
			}
		}
	}
	return nil
}

// betaOf draws a boot's rate: mean and correlation as in rate.go.
func betaOf(r *rand.Rand, mean, corr float64) float64 {
	if corr == 0 || mean == 0 || mean == 1 {
		return mean
	}
	scale := (1 - corr) / corr
	a, b := gammaOf(r, mean*scale), gammaOf(r, (1-mean)*scale)
	if a+b == 0 {
		return mean
	}
	return a / (a + b)
}

// gammaOf draws from a gamma distribution (Marsaglia and Tsang, 2000).
func gammaOf(r *rand.Rand, shape float64) float64 {
	if shape < 1 {
		return gammaOf(r, shape+1) * math.Pow(r.Float64(), 1/shape)
	}
	d := shape - 1./3
	c := 1 / math.Sqrt(9*d)
	for {
		x := r.NormFloat64()
		v := math.Pow(1+c*x, 3)
		if v > 0 && math.Log(r.Float64()) < x*x/2+d-d*v+d*math.Log(v) {
			return d * v
		}
	}
}

// ending is how a bisection came out.
type ending struct {
	two                  bool // it names two commits, and says that they may be two bugs
	named, right         bool // the culprit, alone; the culprit, maybe among others
	whole                bool // every commit of its history can be tried, and there is no other bug
	doubtful, proven     bool
	stop                 string
	trials, boots, steps int
}

// manyTesters are a tester of its own for each kernel, so that what each shows
// does not depend on which is tried first.
type manyTesters struct {
	w    *world
	seed uint64

	mu       sync.Mutex
	of       map[Subject]*simTester
	prepared int
}

func (m *manyTesters) tester(s Subject) *simTester {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.of[s] == nil {
		h := fnv.New64a()
		h.Write([]byte(s.Full()))
		m.of[s] = &simTester{w: m.w, r: rand.New(rand.NewPCG(m.seed, h.Sum64()))}
	}
	return m.of[s]
}

func (m *manyTesters) Prepare(ctx context.Context, s Subject) (Prepared, error) {
	t := m.tester(s)
	m.mu.Lock()
	m.prepared++
	m.mu.Unlock()
	return t.Prepare(ctx, s)
}

func (m *manyTesters) Test(ctx context.Context, r Request, record func(Outcome) error) error {
	return m.tester(r.Subject).Test(ctx, r, func(o Outcome) error {
		if o.Boot != "" {
			o.Boot = r.Subject.Full() + " " + o.Boot
		}
		return record(o)
	})
}

func (m *manyTesters) sum() (trials, boots int) {
	for _, t := range m.of {
		trials, boots = trials+t.trials, boots+t.boots
	}
	return trials, boots
}

func simulate(t testing.TB, seed uint64, g grids, builders int) ending {
	w := worldOf(seed)
	cfg := Config{New: w.new, Old: w.old, Direction: Regression, Builders: builders}
	var a *Answer
	var err error
	var e ending
	if builders > 1 {
		m := &manyTesters{w: w, seed: seed, of: map[Subject]*simTester{}}
		a, err = run(context.Background(), cfg, w.graph, m, g)
		e.trials, e.boots = m.sum()
	} else {
		tester := &simTester{w: w, r: rand.New(rand.NewPCG(seed, 99))}
		a, err = run(context.Background(), cfg, w.graph, tester, g)
		e.trials, e.boots = tester.trials, tester.boots
	}
	if err != nil {
		t.Errorf("seed %d: %v", seed, err)
		return e
	}
	e.whole = len(w.broken) == 0 && w.hides == 0
	e.steps = a.Steps
	e.proven = a.Grade == Proven
	e.doubtful = a.Grade == Doubtful
	e.stop = a.Stopped
	switch {
	case a.First != nil:
		e.two = a.Became != nil
		e.named = w.names(a)
		e.right = e.named || a.Became != nil && a.Became.Hash == w.culprit
	case len(a.Among) > 0:
		e.right = slices.ContainsFunc(a.Among, func(c Commit) bool { return c.Hash == w.culprit })
	default:
		e.right = w.within(*a.Between)
	}
	return e
}

// plain is `git bisect run` with ten repeats of the test at each step: bad
// when one of them fails, skip when it can't be tried.
func plain(seed uint64) ending {
	w := worldOf(seed)
	tester := &simTester{w: w, r: rand.New(rand.NewPCG(seed, 98))}
	ctx := context.Background()
	var e ending
	next, err := w.graph.Replay(ctx, w.new, w.old, nil)
	for err == nil && next.Commit != "" {
		m := Old
		p, _ := tester.Prepare(ctx, Subject{Commit: next.Commit})
		if p.Failure != "" {
			m = Skip
		} else {
			_ = tester.Test(ctx, Request{Subject: Subject{Commit: next.Commit}, Boots: 10, Runs: 1}, func(o Outcome) error {
				switch {
				case o.Kind != KindVerdict:
					m = Skip
				case o.Failed():
					m = New
				}
				return nil
			})
		}
		e.steps++
		next, err = w.graph.Mark(ctx, Marked{next.Commit, m})
	}
	e.trials, e.boots = tester.trials, tester.boots
	e.named = err == nil && next.First == w.culprit
	e.right = err == nil && (e.named || slices.Contains(next.Among, w.culprit))
	return e
}

// Given histories of every shape, rates from 5% to 100% that vary between
// boots, and false failures of up to 5%, and rates that drift by 30% from commit to commit in
// some, when they are bisected at the default
// confidence, then at least 99.5% of the answers are right or call themselves
// doubtful, and at most 0.1% call a wrong one proven.
func TestSimulatedBisections(t *testing.T) {
	simulated(t, simulations, 1)
}

// Given the same histories, when several commits are tried at once, then the
// answers are as good.
func TestSimulatedBisectionsAtOnce(t *testing.T) {
	simulated(t, simulationsAtOnce, 4)
}

func simulated(t *testing.T, n, builders int) {
	t.Helper()
	endings := make([]ending, n)
	g := newGrids()
	var wg sync.WaitGroup
	work := make(chan int)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := range work {
				endings[i] = simulate(t, uint64(i), g, builders)
			}
		})
	}
	for i := range n {
		work <- i
	}
	close(work)
	wg.Wait()

	var named, whole, lost, proven, doubtful, missed, wrong, wrongProven, trials, boots, steps int
	stops := make(map[string]int)
	for i, e := range endings {
		trials, boots, steps = trials+e.trials, boots+e.boots, steps+e.steps
		if e.stop != "" {
			stops[e.stop]++
		}
		if e.named {
			named++
		}
		if e.whole {
			whole++
			if !e.named {
				lost++
			}
		}
		if e.proven && e.right {
			proven++
		}
		if e.doubtful {
			doubtful++
			if !e.right && !e.two {
				missed++
			}
		}
		if !e.right && !e.doubtful {
			wrong++
			w := worldOf(uint64(i))
			if e.proven {
				wrongProven++
			}
			t.Logf("seed %d: wrong, proven %v: %s, %d commits, rate %.2f corr %.2f, false %.3f corr %.2f, other %.2f",
				i, e.proven, w.shape, len(w.graph.names), w.rate, w.corr, w.falseRate, w.falseCorr, w.otherRate)
		}
	}
	var plainNamed, plainRight, plainTrials, plainBoots int
	for i := range n {
		e := plain(uint64(i))
		plainTrials, plainBoots = plainTrials+e.trials, plainBoots+e.boots
		if e.named {
			plainNamed++
		}
		if e.right {
			plainRight++
		}
	}
	per := func(k int) string { return fmt.Sprintf("%.2f%%", 100*float64(k)/float64(n)) }
	mean := func(k int) string { return fmt.Sprintf("%.0f", float64(k)/float64(n)) }
	t.Logf("%d bisections by %d builders: %s named the commit, %s proven it, %s doubtful (%s with the commit not among those it left; could not go on: %v), %s wrong, %s wrong and proven; a bisection took %s trials in %s boots, %s steps; of the %d where every commit can be tried, %d did not name it",
		n, builders, per(named), per(proven), per(doubtful), per(missed), stops, per(wrong), per(wrongProven), mean(trials), mean(boots), mean(steps), whole, lost)
	t.Logf("git bisect run with 10 repeats: %s named the commit, %s with those that had it among the ones left; %s trials in %s boots", per(plainNamed), per(plainRight), mean(plainTrials), mean(plainBoots))
	if wrong*1000 > 5*n {
		t.Errorf("%d of %d answers are wrong and not called doubtful, more than 0.5%%", wrong, n)
	}
	if wrongProven*1000 > n {
		t.Errorf("%d of %d answers are wrong and called proven, more than 0.1%%", wrongProven, n)
	}
	if missed*1000 > 5*n {
		t.Errorf("%d of %d doubtful answers rule the right commit out, more than 0.5%%", missed, n)
	}
	if lost*100 > 3*whole || proven*20 < 9*n {
		t.Errorf("%d of %d commits are not named though every commit could be tried; %d of %d are proven; %v", lost, whole, proven, n, stops)
	}
}

// The cost of deciding, without any trial's own.
func BenchmarkBisection(b *testing.B) {
	g := newGrids()
	for i := range b.N {
		simulate(b, uint64(i%100), g, 1)
	}
}
