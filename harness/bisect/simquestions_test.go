package bisect

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
)

// A cause is a change that makes kernels show something.
type cause struct {
	shows  []Signature // one of them, at random
	began  int
	gone   int // the commit that takes it back; 0 is none
	again  int // the commit that applies it again; 0 is none
	rate   float64
	revert bool // it can be taken back
	partly bool // or a part of it, which helps
	alone  bool // it shows without the commits before it
	blocks bool // the step gives no answer
	mended bool // once it is gone, it comes again without its bug: a part of it can be taken back, and makes no difference
}

// in tells whether a commit has the change.
func (c *cause) in(i int) bool {
	return i >= c.began && (c.gone == 0 || i < c.gone) || c.again > 0 && i >= c.again
}

// symptoms is a line of commits with several causes, of which the failing end
// shows those that are there yet.
type symptoms struct {
	n         int
	causes    []cause
	falseRate float64
	noise     []Signature // what false failures show
	slow      map[string]float64
	r         *rand.Rand
	boot      int
	trials    int
}

func symptomsOf(seed uint64) *symptoms {
	r := rand.New(rand.NewPCG(seed, 41))
	w := &symptoms{n: 8 + r.IntN(200), slow: map[string]float64{}, r: rand.New(rand.NewPCG(seed, 43))}
	rate := func() float64 {
		if r.IntN(2) == 0 {
			return 1
		}
		return .1 + .9*r.Float64()
	}
	results := []Signature{
		{Verdict: "eio"},
		{Verdict: "errno", Errno: "ENOMEM"},
		{Verdict: "errno", Errno: "ENOSPC"},
		{Verdict: "errno", Short: true, Bytes: 4096},
		{Verdict: "errno", Short: true, Bytes: 512},
		{Verdict: "corrupt", Wrong: WrongData, Place: "byte 0"},
		{Verdict: "corrupt", Wrong: WrongData, Place: "byte 4096"},
		{Verdict: "corrupt", Wrong: WrongOverrun, Place: "byte 512"},
	}
	others := []Signature{
		{Verdict: "warn", Title: "WARNING in a"}, {Verdict: "warn", Title: "WARNING in b"}, {Verdict: "bug", Title: "BUG in c"}, {Verdict: "degraded"},
	}
	r.Shuffle(len(results), func(i, j int) { results[i], results[j] = results[j], results[i] })
	r.Shuffle(len(others), func(i, j int) { others[i], others[j] = others[j], others[i] })
	add := func(c cause) *cause {
		c.rate = rate()
		c.revert, c.partly, c.alone = r.IntN(3) > 0, r.IntN(2) == 0, r.IntN(2) == 0
		w.causes = append(w.causes, c)
		return &w.causes[len(w.causes)-1]
	}
	place := func(from int) int { return from + r.IntN(w.n-from) }
	// What is looked for: a result, or a hang with titles of its own.
	main := cause{shows: results[:1], began: place(1)}
	if r.IntN(4) == 0 {
		main.shows, main.blocks = []Signature{{Verdict: "hang"}}, true
	}
	add(main)
	if r.IntN(3) == 0 { // before it, another result came and went
		if m := w.causes[0].began; m > 3 {
			c := cause{shows: results[1:2], began: 1 + r.IntN(m-2)}
			c.gone = c.began + 1 + r.IntN(m-c.began-1) // at m, none could tell
			c.mended = c.began%2 == 0
			if r.IntN(3) == 0 { // the very same one, by another change
				c.shows = main.shows
				c.blocks = main.blocks
			}
			add(c)
		}
	}
	if r.IntN(4) == 0 { // taken back and applied again
		if m := &w.causes[0]; w.n-m.began > 4 {
			m.gone = m.began + 1 + r.IntN(w.n-m.began-2)
			m.again = m.gone + 1 + r.IntN(w.n-m.gone-1)
		}
	}
	for i := range r.IntN(4) { // unrelated things
		c := cause{shows: others[i : i+1], began: place(0)}
		switch r.IntN(5) {
		case 0:
			c.began = 0 // on every kernel
		case 1:
			if w.n-c.began > 2 {
				c.gone = c.began + 1 + r.IntN(w.n-c.began-1)
			}
		}
		add(c)
	}
	if r.IntN(3) == 0 {
		w.falseRate = .04 * r.Float64()
		w.noise = []Signature{main.shows[0], others[3]}
	}
	if r.IntN(3) == 0 {
		for range 1 + w.n/20 {
			w.slow[fmt.Sprint("c", 1+r.IntN(w.n-2))] = .2 + .4*r.Float64()
		}
	}
	return w
}

func (w *symptoms) has(c *cause, s Subject) bool {
	i := at(s)
	if s.Apply != "" && c.alone && w.by(c, s.Apply) {
		return true
	}
	if !c.in(i) {
		return false
	}
	return s.Revert == "" || !w.by(c, s.Revert) || s.Partly && !c.partly
}

// by tells whether a commit makes the cause's change.
func (w *symptoms) by(c *cause, commit string) bool {
	i := at(Subject{Commit: commit})
	return i == c.began || i == c.again && i > 0
}

// touched is the history, which knows which commits touch the same files.
type touched struct {
	*Graph
	w *symptoms
}

func (h touched) Since(_ context.Context, commit, end string) (list []string, err error) {
	from, n := at(Subject{Commit: commit}), at(Subject{Commit: end})
	for i := range h.w.causes {
		c := &h.w.causes[i]
		if !h.w.by(c, commit) {
			continue
		}
		for _, i := range []int{c.gone, c.again, (from + n + 1) / 2} {
			if name := fmt.Sprint("c", i); i > from && !slices.Contains(list, name) {
				list = append(list, name)
			}
		}
	}
	return list, nil
}

// takenBack is what the messages of commits say, in one of two.
func (w *symptoms) takenBack(_ context.Context, commit Commit) string {
	for i := range w.causes {
		if c := &w.causes[i]; w.by(c, commit.Hash) && !c.in(w.n-1) && c.gone%2 == 0 {
			return fmt.Sprint("c", c.gone)
		}
	}
	return ""
}

func (w *symptoms) Prepare(ctx context.Context, s Subject) (Prepared, error) {
	for i := range w.causes {
		c := &w.causes[i]
		if s.Revert == "" || !w.by(c, s.Revert) {
			continue
		}
		switch there := c.in(at(s)); {
		case c.mended && !there && s.Partly:
		case !c.revert && (!s.Partly || !there), c.mended && !there:
			return Prepared{Failure: KindNone, Reason: "does not apply"}, nil
		case c.revert && !there:
			return Prepared{Failure: KindNone, Reason: "does not apply: it changes nothing here", Absent: true}, nil
		}
	}
	return Prepared{Digest: s.String()}, nil
}

func (w *symptoms) Test(ctx context.Context, r Request, record func(Outcome) error) error {
	for range r.Boots {
		w.boot++
		for range r.Runs {
			w.trials++
			o := w.trial(r.Subject)
			o.Boot = strconv.Itoa(w.boot)
			if err := record(o); err != nil {
				return err
			}
			if o.Kind != KindVerdict {
				return nil
			}
		}
	}
	return nil
}

func (w *symptoms) trial(s Subject) Outcome {
	if w.r.Float64() < w.slow[s.Commit] {
		return Outcome{Kind: KindError, Reason: "too slow"}
	}
	var list []Signature
	for i := range w.causes {
		if c := &w.causes[i]; w.has(c, s) && w.r.Float64() < c.rate {
			list = append(list, c.shows[w.r.IntN(len(c.shows))])
		}
	}
	for _, n := range w.noise {
		if w.r.Float64() < w.falseRate && !slices.Contains(list, n) {
			list = append(list, n)
		}
	}
	// One step has one result, and none if it hangs.
	result := false
	list = slices.DeleteFunc(list, func(s Signature) bool {
		switch s.Verdict {
		case "eio", "errno", "corrupt":
			was := result
			result = true
			return was || slices.ContainsFunc(list, func(s Signature) bool { return s.Verdict == "hang" })
		}
		return false
	})
	return showing(list...)
}

// rightFor are the commits that can be named for something: those of causes
// that the failing end has.
func (w *symptoms) rightFor(t *Target) (right []string) {
	for i := range w.causes {
		c := &w.causes[i]
		if !c.in(w.n - 1) {
			continue
		}
		for _, s := range c.shows {
			s.Phase, s.Step = "step", "pread"
			if s.among(t.wants()) {
				right = append(right, fmt.Sprint("c", c.began))
				if c.again > 0 {
					right = append(right, fmt.Sprint("c", c.again))
				}
			}
		}
	}
	return right
}

// An answered question, and whether what it claims is so.
type claim struct {
	seed  uint64
	what  string
	named bool
	right bool
	grade Grade
	p     float64
	same  bool
}

func simulateSeveral(t testing.TB, seed uint64, confidence float64, g grids) (claims []claim, trials int) {
	w := symptomsOf(seed)
	graph := NewGraph()
	for i := range w.n {
		var parents []string
		if i > 0 {
			parents = []string{fmt.Sprint("c", i-1)}
		}
		if err := graph.Add(fmt.Sprint("c", i), parents...); err != nil {
			t.Fatal(err)
		}
	}
	cfg := Config{New: fmt.Sprint("c", w.n-1), Old: []string{"c0"}, Direction: Regression, Confidence: confidence, TakenBack: w.takenBack}
	a, err := run(context.Background(), cfg, touched{graph, w}, w, g)
	if err != nil {
		return nil, w.trials
	}
	for _, a := range append([]*Answer{a}, a.More...) {
		c := claim{seed: seed, what: a.Target.String(), named: a.First != nil, grade: a.Grade, p: a.Confidence, same: a.Same}
		if c.named {
			right := w.rightFor(&a.Target)
			c.right = slices.Contains(right, a.First.Hash) || a.Became != nil && slices.Contains(right, a.Became.Hash)
		}
		claims = append(claims, c)
	}
	return claims, w.trials
}

// Given failing ends with several symptoms, which may have been there before,
// have come and gone, or have been taken back and applied again, with results
// that differ in errno, bytes or place only, false failures and commits too
// slow to be tried each time, when they are bisected, then at most one in a
// thousand answers is wrong and called proven.
func TestSimulatedQuestions(t *testing.T) {
	// A part is done again, less sure, to see whether what is claimed is true.
	n := simulations
	confidences := []float64{0, .7, .9, .97, .99}
	more := n / 5
	all := make([][]claim, n+more*(len(confidences)-1))
	trials := make([]int, len(all))
	g := newGrids()
	var wg sync.WaitGroup
	work := make(chan int)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := range work {
				seed, confidence := i, confidences[0]
				if i >= n {
					seed, confidence = (i-n)%more, confidences[1+(i-n)/more]
				}
				all[i], trials[i] = simulateSeveral(t, uint64(seed), confidence, g)
			}
		})
	}
	for i := range all {
		work <- i
	}
	close(work)
	wg.Wait()

	count := map[Grade]int{}
	right := map[Grade]int{}
	bins := []float64{0, .5, .8, .9, .95, .98, .99, .999, 1.01}
	type bin struct {
		n, right int
		sum      float64
	}
	table := make([]bin, len(bins))
	questions, unanswered, stopped, total := 0, 0, 0, 0
	for i, claims := range all {
		asked := i < n // as it is by default
		if asked {
			total += trials[i]
			if claims == nil {
				stopped++
			}
		}
		for _, c := range claims {
			if asked {
				questions++
			}
			switch {
			case !c.named && asked:
				unanswered++
				continue
			case !c.named:
				continue
			case asked:
				count[c.grade]++
				if c.right {
					right[c.grade]++
				}
			}
			if !c.right && c.grade == Proven {
				t.Logf("seed %d: %s: wrong and proven (same %v)", c.seed, c.what, c.same)
			}
			// A change that does not help when it is taken back claims no more
			// than that kernels differ.
			if c.grade != Proven && c.p >= .95 {
				continue
			}
			for b := range bins {
				if c.p < bins[b] {
					table[b].n++
					table[b].sum += c.p
					if c.right {
						table[b].right++
					}
					break
				}
			}
		}
	}
	t.Logf("%d histories: %d questions, %d without a commit; %d without an answer; %d trials a history", n, questions, unanswered, stopped, total/n)
	for _, grade := range []Grade{Proven, Likely, Doubtful} {
		t.Logf("%s: %d, %d of them wrong", grade, count[grade], count[grade]-right[grade])
	}
	for b := 1; b < len(bins); b++ {
		if c := table[b]; c.n > 0 {
			t.Logf("claimed %.3g to %.3g (mean %.4f): %d named, %.4f of them right", bins[b-1], min(1, bins[b]), c.sum/float64(c.n), c.n, float64(c.right)/float64(c.n))
		}
	}
	if wrong := count[Proven] - right[Proven]; wrong*1000 > n {
		t.Errorf("%d of %d histories have an answer that is wrong and called proven, more than 0.1%%", wrong, n)
	}
	if count[Proven]*2 < questions {
		t.Errorf("%d of %d questions are answered and proven", count[Proven], questions)
	}
}
