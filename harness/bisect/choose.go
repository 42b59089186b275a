package bisect

import (
	"cmp"
	"context"
	"math"
	"math/bits"
	"slices"
)

// A Chooser is a history that tells what its marks leave, so that several
// commits can be chosen to be tried at once.
type Chooser interface {
	History
	// Left gives the commits that the marks leave, as [Between] counts them,
	// each after its parents.
	Left(ctx context.Context) ([]Left, error)
}

// A Left commit is one that the marks leave.
type Left struct {
	Commit  string
	Parents []int // those of its parents that are left, too: their places in the list
}

// A part is what is left of a history, and what is known of it.
type part struct {
	left []Left
	at   map[string]int
	// may says of each commit whether it may be the first new one.
	may bitset
	// open says which can be tried: not new, and not skipped.
	open []bool
	// odds says how likely it is that each can be tried, when others near it
	// could not.
	odds []float64
}

// bitset has a bit for each commit that is left.
type bitset []uint64

func newBitset(n int) bitset    { return make(bitset, (n+63)/64) }
func (b bitset) set(i int)      { b[i/64] |= 1 << (i % 64) }
func (b bitset) has(i int) bool { return b[i/64]&(1<<(i%64)) != 0 }
func (b bitset) and(o bitset) (c bitset) {
	c = make(bitset, len(b))
	for i := range b {
		c[i] = b[i] & o[i]
	}
	return c
}

func (b bitset) without(o bitset) (c bitset) {
	c = make(bitset, len(b))
	for i := range b {
		c[i] = b[i] &^ o[i]
	}
	return c
}

func (b bitset) count() (n int) {
	for _, w := range b {
		n += bits.OnesCount64(w)
	}
	return n
}

// common counts what is in both.
func (b bitset) common(o bitset) (n int) {
	for i, w := range b {
		n += bits.OnesCount64(w & o[i])
	}
	return n
}

// A remnant is what answers leave: a set of commits, so many.
type remnant struct {
	set      bitset
	n        int
	from, to int // its words that are not zero are among these
}

func newRemnant(set bitset) remnant {
	c := remnant{set: set, from: len(set)}
	for i, w := range set {
		if w != 0 {
			c.n += bits.OnesCount64(w)
			c.from, c.to = min(c.from, i), i+1
		}
	}
	return c
}

// common counts what of it is in a set.
func (c remnant) common(o bitset) int {
	if c.n == 0 {
		return 0
	}
	return c.set[c.from:c.to].common(o[c.from:c.to])
}

// newPart says what is known of the commits that are left. Those that are
// marked need not be tried again, and one of each of the sets in below is the
// first new commit.
func newPart(left []Left, marks map[string]Mark, below []map[string]bool) *part {
	n := len(left)
	p := &part{left: left, at: make(map[string]int, n), may: newBitset(n), open: make([]bool, n), odds: make([]float64, n)}
	for i, c := range left {
		p.at[c.Commit] = i
		p.may.set(i)
		p.open[i] = marks[c.Commit] == ""
		p.odds[i] = 1
	}
	for _, set := range below {
		in := newBitset(n)
		for i, c := range left {
			if set[c.Commit] {
				in.set(i)
			}
		}
		if both := p.may.and(in); both.count() > 0 { // else they contradict each other
			p.may = both
		}
	}
	// What makes one commit a skip is often there in the ones around it.
	near := 1 + float64(n)/32
	for at, c := range left {
		if marks[c.Commit] != Skip {
			continue
		}
		for i := range p.odds {
			far := math.Abs(float64(i - at))
			p.odds[i] = min(p.odds[i], far/(far+near))
		}
	}
	return p
}

// below are a commit and all below it that are left.
func (p *part) below(i int) bitset {
	in := newBitset(len(p.left))
	in.set(i)
	for todo := []int{i}; len(todo) > 0; {
		c := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, parent := range p.left[c].Parents {
			if !in.has(parent) {
				in.set(parent)
				todo = append(todo, parent)
			}
		}
	}
	return in
}

// mostChoices is how many commits are weighed against each other. Of more, some
// are left out, evenly: beside the best one lies one as good.
const mostChoices = 1024

// choose names the commits, at most k, that together tell most of which commit
// is the first new one, those first that tell more. What they tell is the
// entropy of what they leave: each of the answers that they can give is to be
// as likely. None tells anything when there is none.
func (p *part) choose(k int) []string {
	c := &choice{part: p}
	var open []int
	for i := range p.left {
		if p.open[i] {
			open = append(open, i)
		}
	}
	take := min(len(open), mostChoices)
	for i := range take {
		at := open[i*len(open)/take]
		c.list = append(c.list, at)
		c.below = append(c.below, p.below(at))
	}
	best := c.improve(c.spread(k))
	if other := c.improve(c.greedy(k)); c.told(other) > c.told(best)+small {
		best = other
	}
	alone := c.split(nil)
	slices.SortStableFunc(best, func(a, b int) int { return cmp.Compare(c.gain(b, alone), c.gain(a, alone)) })
	var names []string
	for _, i := range best {
		names = append(names, p.left[c.list[i]].Commit)
	}
	if len(names) == 0 {
		names = p.edge(k)
	}
	return names
}

// edge are the commits to try when only one can be the first new one, by what
// is known of others: it, and its parents.
func (p *part) edge(k int) (names []string) {
	if p.may.count() != 1 || len(p.left) == 1 {
		return nil
	}
	for i := range p.left {
		if !p.may.has(i) {
			continue
		}
		for _, c := range append([]int{i}, p.left[i].Parents...) {
			if p.open[c] && len(names) < k {
				names = append(names, p.left[c].Commit)
			}
		}
	}
	return names
}

// small is what a choice must be better by.
const small = 1e-9

// A choice is made among these commits.
type choice struct {
	*part
	list  []int    // their places among those left
	below []bitset // what is below each
}

// entropy of n commits, times n.
func entropy(n int) float64 {
	if n < 2 {
		return 0
	}
	return float64(n) * math.Log2(float64(n))
}

// gain is what the i-th commit tells when answers so far leave one of these
// remnants, in bits times commits, and how likely it is to tell it.
func (c *choice) gain(i int, remnants []remnant) float64 {
	g := 0.
	for _, r := range remnants {
		if in := r.common(c.below[i]); in > 0 && in < r.n {
			g += entropy(r.n) - entropy(in) - entropy(r.n-in)
		}
	}
	return g * c.odds[c.list[i]]
}

// split is what the answers of some commits leave: one of these remnants.
func (c *choice) split(picked []int) []remnant {
	remnants := []remnant{newRemnant(c.may)}
	for _, i := range picked {
		var finer []remnant
		for _, whole := range remnants {
			for _, set := range []bitset{whole.set.and(c.below[i]), whole.set.without(c.below[i])} {
				if part := newRemnant(set); part.n > 1 { // of one, nothing is left to be told
					finer = append(finer, part)
				}
			}
		}
		remnants = finer
	}
	return remnants
}

// told is what some commits tell together.
func (c *choice) told(picked []int) (sum float64) {
	for n, i := range picked {
		sum += c.gain(i, c.split(picked[:n]))
	}
	return sum
}

// bestBeside is the commit that tells most when those picked are tried, too;
// -1 where none tells anything.
func (c *choice) bestBeside(picked []int) int {
	remnants := c.split(picked)
	best, most := -1, small
	for i := range c.list {
		if g := c.gain(i, remnants); g > most+small {
			best, most = i, g
		}
	}
	return best
}

// greedy picks one after the other.
func (c *choice) greedy(k int) (picked []int) {
	for len(picked) < k {
		i := c.bestBeside(picked)
		if i < 0 {
			break
		}
		picked = append(picked, i)
	}
	return picked
}

// spread picks those that have a third, two thirds and so on of all below them:
// on a line, the best ones.
func (c *choice) spread(k int) (picked []int) {
	total := c.may.count()
	for j := 1; j <= k; j++ {
		want := float64(total) * float64(j) / float64(k+1)
		best, off := -1, math.Inf(1)
		for i := range c.list {
			d := math.Abs(float64(c.may.common(c.below[i])) - want)
			if d < off-small && !slices.Contains(picked, i) && c.odds[c.list[i]] > .5 {
				best, off = i, d
			}
		}
		if best >= 0 {
			picked = append(picked, best)
		}
	}
	return picked
}

// improve puts a better commit in the place of each, as long as there is one,
// and drops those that tell nothing beside the others.
func (c *choice) improve(picked []int) []int {
	for range 20 {
		better := false
		for n := 0; n < len(picked); n++ {
			others := slices.Delete(slices.Clone(picked), n, n+1)
			i := c.bestBeside(others)
			switch remnants := c.split(others); {
			case i < 0:
				picked, better = others, true
				n--
			case c.gain(i, remnants) > c.gain(picked[n], remnants)+small:
				picked[n], better = i, true
			}
		}
		if !better {
			break
		}
	}
	return picked
}
