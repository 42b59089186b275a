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

// Given a seed and numbers, then what is drawn by them alone is what the
// generator gives behind its pairs.
func TestWhatIsDrawnIsBehindThePairs(t *testing.T) {
	g := NewGenerator(1 << 63)
	var want []Program
	for n := range 50 {
		want = append(want, g.Program(g.Pairs()+20+n))
	}
	drawn := Set{Drawn: &Drawn{Seed: 1 << 63, First: 20, Count: 50}}
	if diff := cmp.Diff(want, drawn.All()); diff != "" || drawn.Len() != 50 {
		t.Error(diff)
	}
	for what, s := range map[string]Set{"drawn": drawn, "as they are": {Programs: want}} {
		if diff := cmp.Diff(want[7:9], s.Slice(7, 9).All()); diff != "" {
			t.Errorf("a slice of what is %s: %s", what, diff)
		}
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
