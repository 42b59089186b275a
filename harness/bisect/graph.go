package bisect

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
)

// A Graph is a history held in memory. It halves what is left as git does,
// steps aside from skipped commits as git does (not to the very same ones),
// and ends like git. Commits are added parents first.
type Graph struct {
	names   []string
	index   map[string]int
	parents [][]int
	first   map[int]bool // those tried before all others

	new   int
	old   []int
	marks map[int]Mark
	log   []Marked
	ends  Marked
	goods []string
}

// NewGraph gives an empty history.
func NewGraph() *Graph {
	return &Graph{index: make(map[string]int)}
}

// Add puts a commit on top of its parents.
func (g *Graph) Add(name string, parents ...string) error {
	if _, ok := g.index[name]; ok {
		return fmt.Errorf("commit %q is there already", name)
	}
	var ps []int
	for _, p := range parents {
		i, ok := g.index[p]
		if !ok {
			return fmt.Errorf("commit %q comes before its parent %q", name, p)
		}
		ps = append(ps, i)
	}
	g.index[name] = len(g.names)
	g.names = append(g.names, name)
	g.parents = append(g.parents, ps)
	return nil
}

// set has true for each commit in it.
type set []bool

func (s set) count() (n int) {
	for _, is := range s {
		if is {
			n++
		}
	}
	return n
}

// ancestors are the commits and everything below them, but not what stop has.
func (g *Graph) ancestors(stop set, of ...int) set {
	into := make(set, len(g.names))
	for todo := slices.Clone(of); len(todo) > 0; {
		c := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if into[c] || stop != nil && stop[c] {
			continue
		}
		into[c] = true
		todo = append(todo, g.parents[c]...)
	}
	return into
}

func (g *Graph) find(name string) (int, error) {
	i, ok := g.index[name]
	if !ok {
		return 0, fmt.Errorf("no commit %q", name)
	}
	return i, nil
}

// Replay implements History.
func (g *Graph) Replay(ctx context.Context, new string, old []string, marks []Marked) (Next, error) {
	n, err := g.find(new)
	if err != nil {
		return Next{}, err
	}
	g.new, g.old, g.marks, g.log = n, nil, make(map[int]Mark), nil
	g.ends, g.goods = Marked{new, New}, old
	for _, o := range old {
		i, err := g.find(o)
		if err != nil {
			return Next{}, err
		}
		g.old = append(g.old, i)
	}
	for _, m := range marks {
		if err := g.mark(m); err != nil {
			return Next{}, err
		}
	}
	return g.next()
}

// Mark implements History.
func (g *Graph) Mark(ctx context.Context, m Marked) (Next, error) {
	if err := g.mark(m); err != nil {
		return Next{}, err
	}
	return g.next()
}

func (g *Graph) mark(m Marked) error {
	i, err := g.find(m.Commit)
	if err != nil {
		return err
	}
	switch m.Mark {
	case New:
		g.new = i
	case Old:
		g.old = append(g.old, i)
	case Skip:
		g.marks[i] = Skip
	default:
		return fmt.Errorf("no mark %q", m.Mark)
	}
	g.log = append(g.log, m)
	return nil
}

func (g *Graph) next() (Next, error) {
	clean := g.ancestors(nil, g.old...)
	if clean[g.new] {
		return Next{}, fmt.Errorf("%s is new, but an old commit descends from it", g.names[g.new])
	}
	left := g.ancestors(clean, g.new)
	n := left.count()
	if n == 1 {
		return Next{First: g.names[g.new]}, nil
	}
	type scored struct{ i, score int }
	var list []scored
	reaches := make([]int, len(g.names))
	for i := range g.names {
		if i == g.new || !left[i] {
			continue
		}
		// Parents come first, and of one alone it is one more.
		if ps := g.parents[i]; len(ps) == 1 {
			reaches[i] = reaches[ps[0]] + 1
		} else {
			reaches[i] = g.ancestors(clean, i).count()
		}
		list = append(list, scored{i, min(reaches[i], n-reaches[i])})
	}
	slices.SortStableFunc(list, func(a, b scored) int { return cmp.Compare(b.score, a.score) })
	var open []scored
	for _, c := range list {
		if g.marks[c.i] != Skip {
			open = append(open, c)
		}
	}
	if len(open) == 0 {
		among := []string{g.names[g.new]}
		for _, c := range list {
			among = append(among, g.names[c.i])
		}
		slices.Sort(among)
		return Next{Among: among}, nil
	}
	pick := open[0]
	if i := slices.IndexFunc(open, func(c scored) bool { return g.first[c.i] }); i >= 0 {
		return Next{Commit: g.names[open[i].i], Left: n / 2}, nil
	}
	if pick.i != list[0].i {
		// The best one was skipped: its neighbours may well be as bad, so
		// go some way off, differently for each number of candidates.
		u := math.Mod(float64(len(open))*0.6180339887498949, 1)
		pick = open[int(float64(len(open))*u*math.Sqrt(u))]
	}
	return Next{Commit: g.names[pick.i], Left: n / 2}, nil
}

// Left implements Chooser.
func (g *Graph) Left(ctx context.Context) ([]Left, error) {
	in := g.ancestors(g.ancestors(nil, g.old...), g.new)
	place := make(map[int]int)
	var list []Left
	for i, name := range g.names { // parents first
		if !in[i] {
			continue
		}
		l := Left{Commit: name}
		for _, parent := range g.parents[i] {
			if in[parent] {
				l.Parents = append(l.Parents, place[parent])
			}
		}
		place[i] = len(list)
		list = append(list, l)
	}
	return list, nil
}

// Between implements History.
func (g *Graph) Between(ctx context.Context) (Between, error) {
	b := Between{New: g.names[g.new], Commits: g.ancestors(g.ancestors(nil, g.old...), g.new).count()}
	for _, o := range g.tops(g.old) {
		b.Old = append(b.Old, g.names[o])
	}
	return b, nil
}

// tops are those commits that are below no other of them, each once.
func (g *Graph) tops(commits []int) (out []int) {
	for _, c := range commits {
		if !slices.Contains(out, c) && !slices.ContainsFunc(commits, func(d int) bool { return d != c && g.ancestors(nil, d)[c] }) {
			out = append(out, c)
		}
	}
	return out
}

// Parents implements History.
func (g *Graph) Parents(ctx context.Context, commit string) ([]string, error) {
	i, err := g.find(commit)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, p := range g.parents[i] {
		out = append(out, g.names[p])
	}
	return out, nil
}

// MergeBases implements History.
func (g *Graph) MergeBases(ctx context.Context, new string, old []string) ([]string, error) {
	n, err := g.find(new)
	if err != nil {
		return nil, err
	}
	below := g.ancestors(nil, n)
	var out []string
	for _, o := range old {
		i, err := g.find(o)
		if err != nil {
			return nil, err
		}
		if below[i] {
			continue
		}
		var common []int
		for c, mine := range g.ancestors(nil, i) {
			if mine && below[c] {
				common = append(common, c)
			}
		}
		for _, c := range g.tops(common) {
			if !slices.Contains(out, g.names[c]) {
				out = append(out, g.names[c])
			}
		}
	}
	return out, nil
}

// Describe implements History.
func (g *Graph) Describe(ctx context.Context, commit string) (Commit, error) {
	if _, err := g.find(commit); err != nil {
		return Commit{}, err
	}
	return Commit{Hash: commit, Title: commit}, nil
}

// Files implements History: a graph knows none.
func (g *Graph) Files(ctx context.Context, commit string) ([]string, error) { return nil, nil }

// Log implements History.
func (g *Graph) Log(ctx context.Context) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "start new %s old %s\n", g.ends.Commit, strings.Join(g.goods, " "))
	for _, m := range g.log {
		fmt.Fprintf(&b, "%s %s\n", m.Mark, m.Commit)
	}
	return b.String(), nil
}
