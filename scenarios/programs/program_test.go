package programs

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Given a seed, when its programs are made twice, then they are the same;
// another seed gives others.
func TestTheSameSeedGivesTheSamePrograms(t *testing.T) {
	a, b, c := NewGenerator(1), NewGenerator(1), NewGenerator(2)
	same := 0
	for n := range a.Pairs() + 200 {
		if diff := cmp.Diff(a.Program(n), b.Program(n)); diff != "" {
			t.Fatalf("program %d: %s", n, diff)
		}
		if a.Program(n).String() == c.Program(n).String() {
			same++
		}
	}
	if same > 60 {
		t.Errorf("%d programs of two seeds are the same", same)
	}
}

// Given programs as they are, and what they are drawn by, then a part of both is
// the same.
func TestAPartOfASet(t *testing.T) {
	g := NewGenerator(1 << 63)
	d := g.Drawn(g.Pairs()-20, 50)
	var guest Generator
	all := d.Programs(&guest)
	if len(all) != 50 || all[20].String() != g.Program(g.Pairs()).String() {
		t.Errorf("drawn: %v", all)
	}
	drawn, is := Set{Drawn: &d}, Set{Programs: all}
	if drawn.Len() != is.Len() || drawn.Slice(7, 30).Len() != 23 {
		t.Errorf("%d and %d programs, of which a part is %d", drawn.Len(), is.Len(), drawn.Slice(7, 30).Len())
	}
	for _, at := range [][2]int{{7, 30}, {25, 30}, {3, 4}} {
		for _, g := range []*Generator{g, &guest, {}, NewGenerator(7)} {
			if diff := cmp.Diff(is.Slice(at[0], at[1]).Programs, drawn.Slice(at[0], at[1]).Drawn.Programs(g)); diff != "" {
				t.Error(diff)
			}
		}
	}
}

func BenchmarkPairs(b *testing.B) {
	for range b.N {
		pairwise(1)
	}
}

// Among the first programs, every two values of two dimensions meet.
func TestEachTwoValuesMeet(t *testing.T) {
	g := NewGenerator(3)
	for _, op := range operations {
		for _, length := range lengths {
			if op == "fsync" || op == "fdatasync" {
				continue
			}
			found := false
			for n := range g.Pairs() {
				o := g.Program(n)[0]
				found = found || o.Op == op && o.Length == length
			}
			if !found {
				t.Errorf("no %s of %d bytes", op, length)
			}
		}
	}
	singles := 1
	for _, c := range choices {
		singles *= c
	}
	if n := g.Pairs(); n > singles/50 {
		t.Errorf("%d programs for pairs, of %d", n, singles)
	}
}
