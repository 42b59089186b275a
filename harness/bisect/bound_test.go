package bisect

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
)

// line is a history c0 … c(n-1) that is halved without looking at each commit.
type line struct {
	n, old, new int
}

func (l *line) Replay(ctx context.Context, new string, old []string, marks []Marked) (Next, error) {
	l.old, l.new = 0, l.n-1
	for _, m := range marks {
		if _, err := l.Mark(ctx, m); err != nil {
			return Next{}, err
		}
	}
	return l.next(), nil
}

func (l *line) next() Next {
	if l.new-l.old == 1 {
		return Next{First: fmt.Sprint("c", l.new)}
	}
	return Next{Commit: fmt.Sprint("c", (l.old+l.new)/2), Left: (l.new - l.old) / 2}
}

func (l *line) Mark(ctx context.Context, m Marked) (Next, error) {
	switch i := at(Subject{Commit: m.Commit}); m.Mark {
	case New:
		l.new = i
	case Old:
		l.old = i
	default:
		return Next{}, fmt.Errorf("%s is %s", m.Commit, m.Mark)
	}
	return l.next(), nil
}

func (l *line) Parents(ctx context.Context, commit string) ([]string, error) {
	return []string{fmt.Sprint("c", at(Subject{Commit: commit})-1)}, nil
}

func (l *line) MergeBases(context.Context, string, []string) ([]string, error) { return nil, nil }

func (l *line) Between(ctx context.Context) (Between, error) {
	return Between{Old: []string{fmt.Sprint("c", l.old)}, New: fmt.Sprint("c", l.new), Commits: l.new - l.old}, nil
}

func (l *line) Describe(ctx context.Context, commit string) (Commit, error) {
	return Commit{Hash: commit}, nil
}
func (l *line) Files(context.Context, string) ([]string, error) { return nil, nil }
func (l *line) Log(context.Context) (string, error)             { return "", nil }

// random fails at a rate from a commit on.
type random struct {
	culprit int
	rate    float64
	r       *rand.Rand
	boot    int
	trials  map[string]int
	stage   *string
}

func (t *random) Prepare(context.Context, Subject) (Prepared, error) { return Prepared{}, nil }

func (t *random) Test(ctx context.Context, r Request, record func(Outcome) error) error {
	for range r.Boots {
		t.boot++
		for range r.Runs {
			o := simPass
			if at(r.Subject) >= t.culprit && r.Subject.Revert != fmt.Sprint("c", t.culprit) && t.r.Float64() < t.rate {
				o = simTarget
			}
			o.Boot = strconv.Itoa(t.boot)
			t.trials[*t.stage]++
			if err := record(o); err != nil {
				return err
			}
		}
	}
	return nil
}

// Given 2^14 commits and a bug that shows at some rate, when it is bisected,
// then the search between the ends takes at most twice the trials that the
// answer's 14 bits need when a trial tells as much as one at that rate can.
func TestTrialsStayWithinTwiceTheInformationBound(t *testing.T) {
	const n, times = 1 << 14, 20
	for _, c := range []struct {
		rate  float64
		bound int
	}{{.5, 43}, {.2, 123}, {.1, 255}, {.05, 519}} {
		r := rand.New(rand.NewPCG(7, uint64(c.rate*100)))
		stage := ""
		tester := &random{rate: c.rate, r: r, trials: map[string]int{}, stage: &stage}
		for range times {
			tester.culprit = 1 + r.IntN(n-1)
			a, err := Run(context.Background(), Config{New: fmt.Sprint("c", n-1), Old: []string{"c0"}, Direction: Regression, BootCost: .01, Progress: func(e Event) {
				if e.Stage != "" {
					stage = e.Stage
				}
			}}, &line{n: n}, tester)
			if err != nil {
				t.Fatal(err)
			}
			if (a.First == nil || a.First.Hash != fmt.Sprint("c", tester.culprit)) && a.Grade == Proven {
				t.Errorf("rate %g: c%d, and found and proven %v", c.rate, tester.culprit, a.First)
			}
		}
		all := 0
		for _, n := range tester.trials {
			all += n
		}
		search := tester.trials["step"] + tester.trials["again"]
		t.Logf("rate %g: %d trials between the ends, %d with the ends and all checks; the bound is %d", c.rate, search/times, all/times, c.bound)
		if search > 2*c.bound*times {
			t.Errorf("rate %g: %d trials, more than twice the bound of %d", c.rate, search/times, c.bound)
		}
	}
}
