package bisect

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
)

// tracing is a tester that keeps a sum of all it was asked for, in order.
type tracing struct {
	Tester
	asked    *strings.Builder
	prepared int
}

func (t *tracing) Prepare(ctx context.Context, s Subject) (Prepared, error) {
	t.prepared++
	fmt.Fprintf(t.asked, "prepare %s\n", s.Full())
	return t.Tester.Prepare(ctx, s)
}

func (t *tracing) Test(ctx context.Context, r Request, record func(Outcome) error) error {
	fmt.Fprintf(t.asked, "try %s, %d boots of %d, not %q\n", r.Subject.Full(), r.Boots, r.Runs, r.Used)
	return t.Tester.Test(ctx, r, record)
}

// decisionsOf is what a search did, one line a history.
func decisionsOf(t *testing.T, seeds int, builders int) string {
	t.Helper()
	g := newGrids()
	var out strings.Builder
	one := func(name string, cfg Config, h History, tester Tester) {
		trace := &tracing{Tester: tester, asked: &strings.Builder{}}
		cfg.Direction = Regression
		a, err := run(t.Context(), cfg, h, trace, g)
		answer, jsonErr := json.Marshal(a)
		if jsonErr != nil {
			t.Fatal(jsonErr)
		}
		sum := fnv.New64a()
		fmt.Fprintf(sum, "%s%s%v", trace.asked, answer, err)
		first, steps, trials := "-", 0, 0
		if a != nil {
			steps, trials = a.Steps, a.Trials
			if a.First != nil {
				first = a.First.Hash
			}
		}
		fmt.Fprintf(&out, "%s: %s, %d steps, %d kernels, %d trials, %016x\n", name, first, steps, trace.prepared, trials, sum.Sum64())
	}
	for seed := range uint64(seeds) {
		w := worldOf(seed)
		one(fmt.Sprint("one cause ", seed), Config{New: w.new, Old: w.old}, w.graph, &simTester{w: w, r: rand.New(rand.NewPCG(seed, 99))})
		several := symptomsOf(seed)
		one(fmt.Sprint("several causes ", seed), Config{New: fmt.Sprint("c", several.n-1), Old: []string{"c0"}}, chain(t, several.n), several)
	}
	return out.String()
}

// Given one builder, then every decision of a search, each kernel it asks for
// and each trial, in their order, and its answer are what they were when there
// was no choice: testdata/decisions.txt, which -update writes anew.
func TestDecisionsOfOneBuilder(t *testing.T) {
	got := decisionsOf(t, 60, 1)
	const name = "testdata/decisions.txt"
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(want), "\n")
	for i, line := range strings.Split(got, "\n") {
		if i >= len(lines) || line != lines[i] {
			t.Errorf("got %q, want line %d", line, i+1)
		}
	}
}
