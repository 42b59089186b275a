package bisect

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
)

// lineOf is what is left of a line of so many commits.
func lineOf(n int) (left []Left) {
	for i := range n {
		l := Left{Commit: fmt.Sprint("c", i)}
		if i > 0 {
			l.Parents = []int{i - 1}
		}
		left = append(left, l)
	}
	return left
}

// Given a line, then the commits chosen divide it into parts of equal length,
// but for the rounding, and no more of them are chosen than tell something.
func TestALineIsDividedEvenly(t *testing.T) {
	for _, n := range []int{2, 3, 4, 5, 6, 7, 10, 17, 100, 1000, 1 << 14} {
		for _, k := range []int{1, 2, 3, 4, 8, 16} {
			if n > 1000 && k != 4 {
				continue
			}
			p := newPart(lineOf(n), map[string]Mark{fmt.Sprint("c", n-1): New}, nil)
			var places []int
			for _, c := range p.choose(k) {
				places = append(places, p.at[c])
			}
			slices.Sort(places)
			if len(places) != min(k, n-1) {
				t.Errorf("%d of %d: %v", k, n, places)
				continue
			}
			before, slack := -1, 1+n/mostChoices
			shortest, longest := n, 0
			for _, at := range append(places, n-1) {
				shortest, longest = min(shortest, at-before), max(longest, at-before)
				before = at
			}
			if longest-shortest > 2*slack {
				t.Errorf("%d of %d: %v: parts of %d to %d", k, n, places, shortest, longest)
			}
		}
	}
}

// Given two branches, then the commits chosen are on both, and an old commit of
// one is not expected to say anything of the other.
func TestBranchesAreDividedJointly(t *testing.T) {
	// base - a0 … a99 - merge, base - b0 … b99 - merge
	left := []Left{{Commit: "base"}}
	for _, branch := range []string{"a", "b"} {
		parent := 0
		for i := range 100 {
			left = append(left, Left{fmt.Sprint(branch, i), []int{parent}})
			parent = len(left) - 1
		}
	}
	left = append(left, Left{"merge", []int{100, 200}})
	p := newPart(left, map[string]Mark{"merge": New}, nil)
	for k, parts := range map[int][]int{2: {67, 66, 69}, 4: {40, 40, 40, 40, 42}} {
		c := &choice{part: p}
		got := p.choose(k)
		var picked []int
		for i, name := range got {
			c.list = append(c.list, p.at[name])
			c.below = append(c.below, p.below(p.at[name]))
			picked = append(picked, i)
		}
		most := 0.
		for _, n := range parts {
			most -= entropy(n)
		}
		most += entropy(len(left))
		if told := c.told(picked); told < .97*most {
			t.Errorf("%v tell %.4g of %.4g bits", got, told/float64(len(left)), most/float64(len(left)))
		}
	}
}

// Given commits that can't be tried, then those chosen keep off them, and are
// none of them, and where nothing can be tried, there are none.
func TestSkipsAreKeptOff(t *testing.T) {
	left := lineOf(200)
	marks := map[string]Mark{"c199": New, "c99": Skip, "c101": Skip}
	for _, k := range []int{1, 2, 4} {
		p := newPart(left, marks, nil)
		for _, c := range p.choose(k) {
			if at := p.at[c]; math.Abs(float64(at-100)) < 6 {
				t.Errorf("%d: c%d is chosen beside two skips", k, at)
			}
		}
	}
	for i := range 199 {
		marks[fmt.Sprint("c", i)] = Skip
	}
	if got := newPart(left, marks, nil).choose(4); len(got) > 0 {
		t.Errorf("got %v", got)
	}
}

// Given that the first new commit is below each of two, of which the history
// knows one, then only what is below both is looked at; once one is left, it and
// its parents are tried.
func TestWhatTheHistoryDoesNotKnow(t *testing.T) {
	left := lineOf(100)
	set := map[string]bool{}
	for i := range 10 {
		set[fmt.Sprint("c", i)] = true
	}
	marks := map[string]Mark{"c99": New}
	for _, c := range newPart(left, marks, []map[string]bool{set}).choose(3) {
		if !set[c] {
			t.Errorf("%s can't be the first", c)
		}
	}
	got := newPart(left, marks, []map[string]bool{set, {"c7": true}}).choose(3)
	if slices.Sort(got); !slices.Equal(got, []string{"c6", "c7"}) {
		t.Errorf("got %v", got)
	}
	// Two that contradict each other: the first counts.
	for _, c := range newPart(left, marks, []map[string]bool{set, {"c50": true}}).choose(3) {
		if !set[c] {
			t.Errorf("%s can't be the first", c)
		}
	}
}

// historyOf is one of so many commits, a line or with merges, and where it
// broke.
func historyOf(seed uint64, n int, merges bool) *world {
	r := rand.New(rand.NewPCG(seed, 23))
	w := &world{shape: "linear", graph: NewGraph(), fails: make(map[string]bool), reverts: true, rate: 1}
	name := func(i int) string { return "c" + strconv.Itoa(i) }
	tips := []int{0}
	for i := range n {
		var parents []string
		switch t := r.IntN(len(tips)); {
		case i == 0:
		case merges && i < n-1 && len(tips) < 6 && r.IntN(30) == 0: // a branch from some way back
			parents = []string{name(max(0, i-1-r.IntN(300)))}
			tips = append(tips, i)
		case i == n-1 || len(tips) > 1 && r.IntN(40) == 0:
			for _, t := range tips {
				parents = append(parents, name(t))
			}
			tips = []int{i}
		default:
			parents = []string{name(tips[t])}
			tips[t] = i
		}
		if err := w.graph.Add(name(i), parents...); err != nil {
			panic(err)
		}
	}
	w.new, w.old = name(n-1), []string{name(0)}
	culprit := 1 + r.IntN(n-1)
	w.culprit = name(culprit)
	// Above it are those with a parent that is.
	above := make([]bool, n)
	for i := range n {
		above[i] = i == culprit || slices.ContainsFunc(w.graph.parents[i], func(p int) bool { return above[p] })
		if above[i] {
			w.fails[name(i)] = true
		}
	}
	return w
}

// Given histories of 2^14 commits, when K are tried at once, then a search takes
// about the logarithm to the base K+1 of rounds, and names the commit.
func TestRoundsOfBuilders(t *testing.T) {
	const commits = 1 << 14
	g := newGrids()
	kinds := []bool{false}
	if roundsHistories > 1 { // the long test
		kinds = append(kinds, true)
	}
	for _, merges := range kinds {
		before := math.Inf(1)
		for _, k := range []int{1, 2, 4, 8} {
			var rounds, built, trials, boots int
			for seed := range uint64(roundsHistories) {
				w := historyOf(seed, commits, merges)
				m := &manyTesters{w: w, seed: seed, of: map[Subject]*simTester{}}
				n := 0
				cfg := Config{New: w.new, Old: w.old, Direction: Regression, Builders: k, Progress: func(e Event) {
					if e.Stage == "step" && e.Record == nil {
						n++
					}
				}}
				a, err := run(context.Background(), cfg, w.graph, m, g)
				if err != nil {
					t.Fatal(err)
				}
				if a.First == nil || a.First.Hash != w.culprit || a.Grade != Proven {
					t.Errorf("%d builders, merges %v, seed %d: %v %s %q, want %s", k, merges, seed, a.First, a.Grade, a.Why, w.culprit)
				}
				if k > 1 {
					n = a.Rounds
				}
				tried, booted := m.sum()
				rounds, built, trials, boots = rounds+n, built+m.prepared, trials+tried, boots+booted
			}
			mean := func(n int) float64 { return float64(n) / roundsHistories }
			ideal := math.Log2(commits) / math.Log2(float64(k+1))
			t.Logf("merges %-5v  K=%d: %.1f rounds (log: %.1f), %.1f kernels built, %.0f trials in %.0f boots",
				merges, k, mean(rounds), ideal, mean(built), mean(trials), mean(boots))
			if got := mean(rounds); got > ideal*1.25+1 || got >= before {
				t.Errorf("%d builders, merges %v: %.1f rounds, want about %.1f and fewer than %.1f", k, merges, got, ideal, before)
			}
			before = mean(rounds)
		}
	}
}
