package compare

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/blockrig/blockrig/harness/stats"
	"github.com/blockrig/blockrig/harness/verdict"
	"github.com/blockrig/blockrig/results"
	"github.com/blockrig/blockrig/results/store"
	"github.com/blockrig/blockrig/scenarios"
)

// tally is one of trials in boots of their own: passes and failures by what
// they showed, such as "pass 4096 bytes", "hang".
func tally(seen map[string]int) store.Tally {
	var t store.Tally
	for what, n := range seen {
		word, said, _ := strings.Cut(what, " ")
		v := scenarios.Verdict(word)
		t.Trials += n
		boot := stats.Boot{Trials: 1}
		switch {
		case v == scenarios.Error:
			t.Errors += n
		case v.Failure():
			t.Failures += n
			boot.Failures = 1
		}
		for i := 0; i < n && v != scenarios.Error; i++ {
			t.Boots = append(t.Boots, boot)
		}
		t.Outcomes = append(t.Outcomes, store.Outcome{Signature: verdict.Signature{Phase: "step", Step: "pread", Verdict: v}, Verdict: v, Said: said, Trials: n})
	}
	return store.Merge(t)
}

func TestWhatChangedInACase(t *testing.T) {
	type seen = map[string]int
	for name, tt := range map[string]struct {
		a, b  seen
		asked bool
		want  Change
		why   string
	}{
		"passes alike":               {seen{"pass x": 3}, seen{"pass x": 1}, true, Same, "x"},
		"another allowed result":     {seen{"pass x": 3}, seen{"pass y": 3}, true, Changed, "y, was x"},
		"fewer of the results":       {seen{"pass x": 3, "pass y": 1}, seen{"pass x": 3}, true, Same, ""},
		"fails":                      {seen{"pass x": 3}, seen{"hang": 3}, true, NewFailure, "hang in step pread"},
		"fails once of a hundred":    {seen{"pass x": 100}, seen{"pass x": 99, "eio": 1}, true, NewFailure, "eio in step pread"},
		"does not fail any more":     {seen{"hang": 1}, seen{"pass x": 1}, true, Fixed, "was hang"},
		"a rare one is not seen":     {seen{"hang": 1, "pass x": 99}, seen{"pass x": 5}, true, NoAnswer, "it failed 1 of 100 times: 5 passes may be chance"},
		"a common one is not seen":   {seen{"hang": 30, "pass x": 30}, seen{"pass x": 40}, true, Fixed, "was hang"},
		"fails as before":            {seen{"hang": 3}, seen{"hang": 1}, true, StillFailing, "hang"},
		"fails in another way":       {seen{"hang": 3}, seen{"corrupt": 3}, true, AnotherFailure, "not seen before: corrupt in step pread"},
		"fails in another way, too":  {seen{"hang": 3}, seen{"hang": 3, "bug": 1}, true, AnotherFailure, "not seen before: bug"},
		"fails with another errno":   {seen{"errno ENOMEM": 3}, seen{"errno ENOSPC": 3}, true, AnotherFailure, "not seen before: errno in step pread (ENOSPC)"},
		"fails behind a warning":     {seen{"warn x": 3}, seen{"warn EIO": 3}, true, AnotherFailure, "not seen before: warn in step pread (EIO)"},
		"an oops at another moment":  {seen{"bug -": 3}, seen{"bug died": 3}, true, StillFailing, "bug"},
		"fails more often":           {seen{"hang": 2, "pass x": 60}, seen{"hang": 40, "pass x": 20}, true, RateChanged, "more often"},
		"fails less often":           {seen{"hang": 40, "pass x": 20}, seen{"hang": 2, "pass x": 60}, true, RateChanged, "less often"},
		"fails about as often":       {seen{"hang": 20, "pass x": 20}, seen{"hang": 22, "pass x": 18}, true, StillFailing, "hang"},
		"has only errors":            {seen{"hang": 1}, seen{"error": 2}, true, NoAnswer, "2 trials ended in error"},
		"had only errors, and fails": {seen{"error": 2}, seen{"hang": 1}, true, Appeared, "no verdict before; now hang"},
		"is new":                     {nil, seen{"pass x": 1}, true, Appeared, "x"},
		"is new, and fails":          {nil, seen{"hang": 1}, true, Appeared, "hang"},
		"was not run":                {seen{"hang": 1}, nil, true, NotRun, ""},
		"is gone":                    {seen{"pass x": 1}, nil, false, Disappeared, ""},
	} {
		c := compare(stats.ComparisonGrid(), key{}, tally(tt.a), tally(tt.b), tt.asked)
		if c.Change != tt.want || !strings.Contains(c.Why, tt.why) {
			t.Errorf("%s: %s (%s), want %s (%s)", name, c.Change, c.Why, tt.want, tt.why)
		}
		worse := tt.want == NewFailure || tt.want == AnotherFailure || name == "is new, and fails" || name == "had only errors, and fails"
		if c.Worse() != worse {
			t.Errorf("%s: worse %t", name, c.Worse())
		}
	}
}

func TestTheExitStatusOfAComparison(t *testing.T) {
	for want, changes := range map[int][]Change{
		0: {Same, Fixed, StillFailing, RateChanged, Changed, Appeared, Disappeared},
		1: {Same, NoAnswer, NewFailure},
		3: {Fixed, NotRun, StillFailing},
	} {
		var cases []Case
		for _, c := range changes {
			cases = append(cases, Case{Change: c})
		}
		if got := ExitStatus(cases); got != want {
			t.Errorf("%v: %d, want %d", changes, got, want)
		}
	}
}

// stub is a store with what two sets show.
type stub struct {
	store.Reader
	histories map[string][]store.History // by run
	asked     []store.Asked
}

func (s stub) Histories(_ context.Context, f store.Filter, _ store.By) ([]store.History, error) {
	return s.histories[f.Runs[0]], nil
}

func (s stub) Asked(context.Context, store.Filter) ([]store.Asked, error) { return s.asked, nil }

// Given hunts in both sets, then what they suspected is not compared.
func TestTrialsOfHuntsAreNotCompared(t *testing.T) {
	hunted := func(program, seen string) store.History {
		return store.History{Scenario: results.Suspects, Case: program, Points: []store.Point{{Tally: tally(map[string]int{seen: 1})}}}
	}
	s := stub{histories: map[string][]store.History{
		"A": {hunted("one", "hang")},
		"B": {hunted("two", "corrupt"), {Scenario: "s", Points: []store.Point{{Tally: tally(map[string]int{"pass": 1})}}}},
	}}
	cases, err := Sets(t.Context(), s, Set{"A", store.Filter{Runs: []string{"A"}}}, Set{"B", store.Filter{Runs: []string{"B"}}})
	if err != nil || len(cases) != 1 || cases[0].Scenario != "s" || ExitStatus(cases) != results.ExitOK {
		t.Errorf("%+v, %v", cases, err)
	}
}

func TestKernelsAreComparedWithThemselvesWhereThereAreSeveral(t *testing.T) {
	history := func(refs map[string]string) []store.History {
		h := store.History{Scenario: "s", Case: "c"}
		for ref, seen := range refs {
			h.Points = append(h.Points, store.Point{Kernel: store.Kernel{Ref: ref}, Tally: tally(map[string]int{seen: 1})})
		}
		return []store.History{h}
	}
	sets := func(a, b map[string]string) string {
		s := stub{histories: map[string][]store.History{"A": history(a), "B": history(b)}, asked: []store.Asked{{CaseID: store.CaseID{Scenario: "s", Case: "c"}, Ref: "k3"}}}
		cases, err := Sets(t.Context(), s, Set{"A", store.Filter{Runs: []string{"A"}}}, Set{"B", store.Filter{Runs: []string{"B"}}})
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, c := range cases {
			out = append(out, c.Ref+":"+string(c.Change))
		}
		return strings.Join(out, " ")
	}
	for _, tt := range []struct {
		a, b map[string]string
		want string
	}{
		{map[string]string{"k1": "pass"}, map[string]string{"k2": "hang"}, ":new failure"},
		{map[string]string{"k1": "pass", "k2": "hang", "k3": "pass"}, map[string]string{"k1": "hang", "k2": "pass"}, "k1:new failure k2:fixed k3:not run"},
		{map[string]string{"k1": "pass", "k2": "pass"}, map[string]string{"k2": "pass"}, "k1:disappeared k2:same"},
		{map[string]string{"k1": "pass", "k2": "hang"}, map[string]string{"k3": "hang", "k4": "hang"}, ":still failing"},
	} {
		if got := sets(tt.a, tt.b); got != tt.want {
			t.Errorf("%v and %v: %s, want %s", tt.a, tt.b, got, tt.want)
		}
	}
}

func TestNothingOfAKernelReachesTheTerminal(t *testing.T) {
	c := Case{Scenario: "s\x1b[31m", Case: "c\x07", Ref: "r\x1b", Change: NewFailure, Why: "hang\x1b]0;x\x07", A: side(tally(map[string]int{"pass": 1})), B: side(tally(map[string]int{"hang": 1}))}
	var out bytes.Buffer
	if err := Table(&out, []Case{c, {Scenario: "t", Change: Same}}, "a\x1b", "b", Style{}); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(out.String(), "\x1b\x07") || !strings.Contains(out.String(), "2 cases: 1 new failure, 1 same") {
		t.Errorf("got %q", out.String())
	}
}
