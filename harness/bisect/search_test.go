package bisect

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/blockrig/blockrig/scenarios"
)

// chain makes a line c0 … c(n-1).
func chain(t *testing.T, n int) *Graph {
	t.Helper()
	g := NewGraph()
	for i := range n {
		var parents []string
		if i > 0 {
			parents = []string{fmt.Sprint("c", i-1)}
		}
		if err := g.Add(fmt.Sprint("c", i), parents...); err != nil {
			t.Fatal(err)
		}
	}
	return g
}

// at gives the number of a commit of a chain.
func at(s Subject) int {
	var n int
	if _, err := fmt.Sscanf(s.Commit, "c%d", &n); err != nil {
		panic(err)
	}
	return n
}

func outcome(v scenarios.Verdict, titles ...string) Outcome {
	return Outcome{Kind: KindVerdict, Verdict: v, Phase: "step", Step: "pread", Titles: titles}
}

var (
	degraded = outcome("degraded", "device-mapper: raid1: Mirror read failed")
	eio      = outcome("eio", "device-mapper: raid1: Mirror read failed")
)

// Given three edits of which the second to come makes legs fail and the third
// makes the read fail, then both changes are named, the first as where it
// began. It is proven when taking that one back takes back all of it.
func TestSymptomThatGrows(t *testing.T) {
	for _, c := range []struct {
		n, began, became int
		reverts          bool
	}{
		{24, 6, 17, true},
		{24, 1, 23, true},
		{24, 11, 12, true},
		{100, 20, 90, true},
		{100, 50, 52, true},
		{24, 6, 17, false},
	} {
		grade := Proven
		if !c.reverts {
			grade = Doubtful
		}
		a, err := Run(context.Background(), Config{New: fmt.Sprint("c", c.n-1), Old: []string{"c0"}}, chain(t, c.n), &scripted{
			does: func(s Subject) Outcome {
				switch {
				case s.Revert == fmt.Sprint("c", c.began):
					return simPass
				case at(s) >= c.became:
					return eio
				case at(s) >= c.began:
					return degraded
				}
				return simPass
			},
			prepared: func(s Subject) Prepared {
				if s.Revert != "" && !c.reverts {
					return Prepared{Failure: KindNone, Reason: "does not apply"}
				}
				return Prepared{}
			},
		})
		if err != nil {
			t.Fatalf("%+v: %v", c, err)
		}
		if a.First == nil || a.Became == nil {
			// With one commit between, it may never have been met.
			if c.became-c.began > 2 || a.First == nil {
				t.Errorf("%+v: found %v, %v", c, a.First, a.Became)
			}
			continue
		}
		if at(Subject{Commit: a.First.Hash}) != c.began || at(Subject{Commit: a.Became.Hash}) != c.became {
			t.Errorf("%+v: began at %s, became at %s", c, a.First.Hash, a.Became.Hash)
		}
		if *a.Began != degraded.Signature() || a.Target.Signature != eio.Signature() || a.Grade != grade {
			t.Errorf("%+v: %v, %v, %s %q", c, a.Began, a.Target, a.Grade, a.Why)
		}
	}
}

// Given an unrelated bug that hides where the failure begins, when it is
// bisected, then what is named is not called more than doubtful.
func TestAnotherBugThatHidesTheFirstCommit(t *testing.T) {
	for _, reverts := range []bool{false, true} {
		a, err := Run(context.Background(), Config{New: "c63", Old: []string{"c0"}}, chain(t, 64), &scripted{
			does: func(s Subject) Outcome {
				switch {
				case s.Revert == "c10":
					return simPass
				case at(s) >= 6 && at(s) <= 14 && s.Revert == "":
					return eio
				case at(s) >= 10:
					return simTarget
				}
				return simPass
			},
			prepared: func(s Subject) Prepared {
				if s.Revert != "" && !reverts {
					return Prepared{Failure: KindNone, Reason: "does not apply"}
				}
				return Prepared{}
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		// With the commit taken back and the failure still there, they are
		// two bugs, and what lies under the other one can't be told.
		among := slices.ContainsFunc(a.Among, func(c Commit) bool { return c.Hash == "c10" })
		if a.Grade != Doubtful || reverts && (a.First != nil || a.Became != nil || !among) {
			t.Errorf("reverts %v: found %v, became %v, %s %q", reverts, a.First, a.Became, a.Grade, a.Why)
		}
	}
}

// Given a symptom that shrinks until it is fixed, then the fix is what ended
// it, and where it shrank is named.
func TestSymptomThatShrinks(t *testing.T) {
	var goals []string
	progress := func(e Event) {
		if e.Note != "" {
			goals = append(goals, e.Note)
		}
	}
	a, err := Run(context.Background(), Config{New: "c39", Old: []string{"c0"}, Direction: Fix, Progress: progress}, chain(t, 40), &scripted{does: func(s Subject) Outcome {
		switch {
		case at(s) >= 30:
			return simPass
		case at(s) >= 9:
			return degraded
		}
		return eio
	}})
	if err != nil {
		t.Fatal(err)
	}
	if a.First == nil || a.First.Hash != "c30" || a.Became == nil || a.Became.Hash != "c9" {
		t.Errorf("fixed at %v, shrank at %v", a.First, a.Became)
	}
	// It may as well be two bugs, of which the second came before the first
	// was fixed.
	if a.Grade != Doubtful {
		t.Errorf("%s %q", a.Grade, a.Why)
	}
	if text := Report(a, exampleContext()); !strings.Contains(strings.Join(strings.Fields(text), " "), `Before that, "eio in pread" had become "degraded in pread" with c9.`) {
		t.Error(text)
	}
	want := []string{
		"looking for the commit of eio in pread (in 16 of 16 trials)",
		"the failure may have changed on the way; looking for where eio in pread became degraded in pread: degraded in pread counts as a pass",
		"it was at c9; looking for where it ended: degraded in pread counts as a failure",
	}
	if !slices.Equal(goals, want) {
		t.Errorf("it says %q, want %q", goals, want)
	}
}

// Given another bug that came and went before the culprit, then it is listed,
// and the culprit found.
func TestAnotherBugOnTheWay(t *testing.T) {
	for _, c := range []struct{ from, to, culprit int }{
		{8, 30, 45}, {28, 34, 20}, {30, 33, 50}, {31, 31, 10},
	} {
		other := simOther
		a, err := Run(context.Background(), Config{New: "c63", Old: []string{"c0"}}, chain(t, 64), &scripted{does: func(s Subject) Outcome {
			switch {
			case at(s) >= c.from && at(s) <= c.to:
				return other
			case at(s) >= c.culprit:
				return simTarget
			}
			return simPass
		}})
		if err != nil {
			t.Fatalf("%+v: %v", c, err)
		}
		if a.First == nil || at(Subject{Commit: a.First.Hash}) != c.culprit {
			t.Errorf("%+v: found %v, became %v, %s %q", c, a.First, a.Became, a.Grade, a.Why)
		}
	}
}

// Given commits that fail in another phase, then they are skipped and listed,
// and the search goes round them.
func TestAnotherPhaseIsSkipped(t *testing.T) {
	stack := Outcome{Kind: KindVerdict, Verdict: "bug", Phase: "stack", Titles: []string{"BUG in lvcreate"}}
	a, err := Run(context.Background(), Config{New: "c31", Old: []string{"c0"}}, chain(t, 32), &scripted{does: func(s Subject) Outcome {
		switch n := at(s); {
		case n >= 14 && n <= 16:
			return stack
		case n >= 22:
			return simTarget
		}
		return simPass
	}})
	if err != nil {
		t.Fatal(err)
	}
	if a.First.Hash != "c22" || len(a.AnotherBugs) == 0 || a.AnotherBugs[0].Other.Phase != "stack" {
		t.Errorf("found %v, others %v", a.First, a.AnotherBugs)
	}
	for _, r := range a.AnotherBugs {
		if r.Mark != Skip || !strings.Contains(r.Why, "another failure: bug in stack") {
			t.Errorf("%+v", r)
		}
	}
}

// Given reads that answer ENOMEM from one commit on, which is reverted soon
// after, and short reads from a later one on, when they are bisected, then the
// later one is named: the errno and the bytes are part of the failure.
func TestAnotherErrnoIsAnotherFailure(t *testing.T) {
	nomem := Outcome{Kind: KindVerdict, Verdict: "errno", Phase: "step", Step: "pread", Errno: "ENOMEM"}
	short := Outcome{Kind: KindVerdict, Verdict: "errno", Phase: "step", Step: "pread", Bytes: 4096}
	for name, c := range map[string]struct{ before, after Outcome }{
		"errno, then bytes": {nomem, short},
		"bytes, then errno": {short, nomem},
		"other bytes":       {Outcome{Kind: KindVerdict, Verdict: "errno", Phase: "step", Step: "pread", Bytes: 512}, short},
		"other wrong data": {
			Outcome{Kind: KindVerdict, Verdict: "corrupt", Phase: "step", Step: "pread", Wrong: WrongOverrun},
			Outcome{Kind: KindVerdict, Verdict: "corrupt", Phase: "step", Step: "pread", Wrong: WrongData},
		},
	} {
		for from := 10; from < 24; from++ { // wherever the search meets the earlier one
			a, err := Run(context.Background(), Config{New: "c31", Old: []string{"c0"}}, chain(t, 32), &scripted{does: func(s Subject) Outcome {
				switch n := at(s); {
				case n >= from && n < from+2:
					return c.before
				case n >= 26 && s.Revert != "c26":
					return c.after
				}
				return simPass
			}})
			if err != nil {
				t.Fatal(err)
			}
			if a.First == nil || a.First.Hash != "c26" || a.Grade != Proven || a.Target.Signature != c.after.Signature() {
				t.Errorf("%s, from c%d: %v, %s %q, looked for %s", name, from, a.First, a.Grade, a.Why, a.Target.Signature)
			}
		}
	}
}

// Given a change that is accused though the failing end does not have it any
// more, then the answer is doubtful, whatever its trials showed.
func TestAbsentChangeIsNoCulprit(t *testing.T) {
	a, err := Run(context.Background(), Config{New: "c15", Old: []string{"c0"}}, chain(t, 16), &scripted{
		prepared: reverting(Prepared{Failure: KindNone, Reason: "does not apply: it changes nothing here", Absent: true}),
		does:     failsFrom(9),
	})
	if err != nil {
		t.Fatal(err)
	}
	if a.First == nil || a.First.Hash != "c9" || a.Grade != Doubtful || !strings.Contains(strings.Join(a.Why, "; "), "not in c15 any more") {
		t.Errorf("%v, %s %q", a.First, a.Grade, a.Why)
	}
}

// Given a change that the history says was taken back, and a revert that
// conflicts with what came later, then it is as absent as one that reverts to
// nothing; one that applies is there, whatever the history says.
func TestChangeThatTheHistoryTookBack(t *testing.T) {
	for reason, want := range map[Kind]Grade{KindNone: Doubtful, KindBuild: Proven} {
		asked := ""
		cfg := Config{New: "c15", Old: []string{"c0"}, TakenBack: func(_ context.Context, c Commit) string {
			asked = c.Hash
			return "c12"
		}}
		a, err := Run(context.Background(), cfg, chain(t, 16), &scripted{
			prepared: reverting(Prepared{Failure: reason, Reason: "no"}),
			does:     failsFrom(9),
		})
		if err != nil {
			t.Fatal(err)
		}
		if a.First == nil || a.First.Hash != "c9" || a.Grade != want {
			t.Errorf("%s: %v, %s %q, %+v", reason, a.First, a.Grade, a.Why, a.Checks)
		}
		says := slices.ContainsFunc(a.Checks, func(c Check) bool { return c.Name == CheckRevert && c.Why == "no, and c12 took it back" })
		if gone := reason == KindNone; (asked == "c9") != gone || says != gone {
			t.Errorf("%s: asked of %q, %+v", reason, asked, a.Checks)
		}
	}
}

// Given a change that was taken back, and another one that shows the same later,
// when the search comes to the first, then it goes on after the commit that took
// it back, whether the revert of the first conflicts or changes nothing.
func TestWhatCameAfterAChangeWasTakenBack(t *testing.T) {
	for _, absent := range []bool{false, true} {
		cfg := Config{New: "c31", Old: []string{"c0"}, TakenBack: func(_ context.Context, c Commit) string {
			return map[string]string{"c5": "c6"}[c.Hash]
		}}
		a, err := Run(context.Background(), cfg, chain(t, 32), &scripted{
			prepared: func(s Subject) Prepared {
				if s.Revert == "c5" {
					return Prepared{Failure: KindNone, Reason: "does not apply", Absent: absent}
				}
				return Prepared{Digest: s.String()}
			},
			does: func(s Subject) Outcome {
				if i := at(s); s.Revert != "c7" && (i == 5 || i >= 7) {
					return simTarget
				}
				return simPass
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		if a.First == nil || a.First.Hash != "c7" || a.Grade != Proven {
			t.Errorf("%v, %s %q, %+v", a.First, a.Grade, a.Why, a.Checks)
		}
		if !slices.ContainsFunc(a.Ends, func(r Record) bool { return r.Commit == "c6" && r.Mark == Old }) || strings.Contains(a.Log, "c5") {
			t.Errorf("%+v\n%s", a.Ends, a.Log)
		}
	}
}

func TestRules(t *testing.T) {
	// c10 brings a warning, c20 the hang.
	does := func(s Subject) Outcome {
		switch n := at(s); {
		case n >= 20:
			return outcome("hang", "WARNING in a", "INFO: task hung in b")
		case n >= 10:
			return outcome("hang", "INFO: task hung in c")
		case n >= 5:
			return outcome("warn", "WARNING in x")
		}
		return simPass
	}
	expr := func(s string) *Expr {
		e, err := ParseExpr(s)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	for _, c := range []struct {
		name  string
		rules Rules
		want  string
	}{
		{"any failure", Rules{AnyFailure: true}, "c5"},
		{"expression", Rules{BadWhen: expr(`verdict == hang`)}, "c10"},
		{"expression on titles", Rules{BadWhen: expr(`verdict == hang && title =~ "in [ab]$"`)}, "c20"},
	} {
		a, err := Run(context.Background(), Config{New: "c29", Old: []string{"c0"}, Rules: c.rules}, chain(t, 30), &scripted{does: does})
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if a.First == nil || a.First.Hash != c.want || a.Grade != Proven {
			t.Errorf("%s: %v %s", c.name, a.First, a.Grade)
		}
	}
	t.Run("same title", func(t *testing.T) {
		a, err := Run(context.Background(), Config{New: "c29", Old: []string{"c0"}, Rules: Rules{SameTitle: true}}, chain(t, 30), &scripted{does: func(s Subject) Outcome {
			if n := at(s); n == 14 || n == 13 {
				return outcome("hang", "INFO: task hung in c")
			} else if n >= 20 {
				return outcome("hang", "WARNING in a")
			}
			return simPass
		}})
		if err != nil {
			t.Fatal(err)
		}
		if a.First.Hash != "c20" {
			t.Errorf("found %v", a.First)
		}
	})
	t.Run("drifting titles are listed", func(t *testing.T) {
		a, err := Run(context.Background(), Config{New: "c29", Old: []string{"c0"}}, chain(t, 30), &scripted{does: func(s Subject) Outcome {
			if n := at(s); n >= 25 {
				return outcome("hang", "WARNING in a")
			} else if n >= 10 {
				return outcome("hang", "BUG in b")
			}
			return simPass
		}})
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(a.Marks, func(r Record) bool { return len(r.Drift) > 0 })
		if a.First.Hash != "c10" || i < 0 || a.Marks[i].Drift[0] != "BUG in b" {
			t.Errorf("found %v, marks %+v", a.First, a.Marks)
		}
	})
}

func TestChecks(t *testing.T) {
	check := func(t *testing.T, a *Answer, name string) Check {
		t.Helper()
		i := slices.IndexFunc(a.Checks, func(c Check) bool { return c.Name == name })
		if i < 0 {
			t.Fatalf("no check %q", name)
		}
		return a.Checks[i]
	}
	regression := func(s Subject) Outcome {
		if at(s) >= 9 && s.Revert != "c9" {
			return simTarget
		}
		return simPass
	}
	built := func(s Subject) Prepared { return Prepared{Digest: s.String()} }
	run := func(t *testing.T, tester Tester) *Answer {
		t.Helper()
		a, err := Run(context.Background(), Config{New: "c15", Old: []string{"c0"}}, chain(t, 16), tester)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	t.Run("a revert that helps", func(t *testing.T) {
		a := run(t, &scripted{does: regression, prepared: built})
		if c := check(t, a, CheckRevert); c.Result != Pass || a.Grade != Proven {
			t.Errorf("%+v, %s", c, a.Grade)
		}
	})
	t.Run("a revert that does not help", func(t *testing.T) {
		a := run(t, &scripted{prepared: built, does: func(s Subject) Outcome {
			s.Revert = ""
			return regression(s)
		}})
		if c := check(t, a, CheckRevert); c.Result != Fail || a.Grade != Likely {
			t.Errorf("%+v, %s", c, a.Grade)
		}
	})
	t.Run("a revert that does not apply", func(t *testing.T) {
		a := run(t, &scripted{does: regression, prepared: func(s Subject) Prepared {
			if s.Revert != "" && !s.Partly {
				return Prepared{Failure: KindNone, Reason: "does not apply"}
			}
			return built(s)
		}})
		if c := check(t, a, CheckRevert); c.Result != NotPossible || c.Why != "does not apply" || check(t, a, CheckPartly).Result != Pass || a.Grade != Proven {
			t.Errorf("%+v, %s", a.Checks, a.Grade)
		}
	})
	t.Run("equal binaries share their trials", func(t *testing.T) {
		tester := &scripted{does: regression, prepared: func(s Subject) Prepared {
			d := "old"
			if n := at(s); n >= 9 && s.Revert == "" {
				d = "new"
			} else if n == 0 {
				d = "first"
			}
			return Prepared{Digest: d}
		}}
		a := run(t, tester)
		if a.First.Hash != "c9" || check(t, a, CheckBinary).Result != Pass {
			t.Errorf("%v %v", a.First, a.Checks)
		}
		var kernels []string
		for _, s := range tester.tried {
			if !slices.Contains(kernels, s.Commit) {
				kernels = append(kernels, s.Commit)
			}
		}
		if len(kernels) != 3 {
			t.Errorf("tried %v, want three kernels", kernels)
		}
		if !slices.ContainsFunc(a.Marks, func(r Record) bool { return r.SameAs != "" }) {
			t.Error("no mark says that its kernel was known")
		}
	})
}

// Given more commits that can't be tried than are allowed, when they are
// bisected, then the answer is doubtful and says what is left.
func TestTooManySkips(t *testing.T) {
	a, err := Run(context.Background(), Config{New: "c99", Old: []string{"c0"}, MaxSkips: 5}, chain(t, 100), &scripted{
		does: failsFrom(70),
		prepared: func(s Subject) Prepared {
			if n := at(s); n > 0 && n < 90 {
				return Prepared{Failure: KindBuild, Reason: "drivers/md/dm.c:7: error: expected ;"}
			}
			return Prepared{}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if a.Grade != Doubtful || a.Stopped != StopSkips || a.First != nil || !strings.Contains(strings.Join(a.Why, ""), "expected ;") {
		t.Errorf("%s, %q: %v %q", a.Grade, a.Stopped, a.First, a.Why)
	}
	if n := countSkips(a.Marks); n != 6 {
		t.Errorf("%d commits skipped", n)
	}
	if b := *a.Between; b.Commits < 90 || at(Subject{Commit: b.New}) < 90 || !slices.Equal(b.Old, []string{"c0"}) {
		t.Errorf("left are %+v", b)
	}
}

// Given ends that fail alike, when they are compared, then the answer is
// doubtful, and of what is between them nothing is ruled out.
func TestEndsThatFailAlike(t *testing.T) {
	w := worldOf(0)
	w.graph, w.new, w.old, w.broken = chain(t, 20), "c19", []string{"c0"}, nil
	w.fails = map[string]bool{"c19": true}
	w.rate, w.corr, w.falseRate, w.falseCorr, w.otherRate, w.drift = .06, 0, .05, 0, 0, 0
	a, err := Run(context.Background(), Config{New: w.new, Old: w.old, Direction: Regression}, w.graph, &simTester{w: w, r: rand.New(rand.NewPCG(1, 1))})
	if err != nil {
		t.Fatal(err)
	}
	if a.Grade != Doubtful || a.Stopped != StopInconclusive || a.First != nil || a.Between.Commits != 19 || a.Confidence != 0 {
		t.Errorf("%s, %q: %v %+v %v", a.Grade, a.Stopped, a.First, a.Between, a.Confidence)
	}
}

// lying gives false outcomes for the first trials of one commit.
type lying struct {
	scripted
	commit string
	lies   int
	says   Outcome
}

func (l *lying) Test(ctx context.Context, r Request, record func(Outcome) error) error {
	return l.scripted.Test(ctx, r, func(o Outcome) error {
		if r.Subject.Commit == l.commit && l.lies > 0 {
			l.lies--
			boot := o.Boot
			o = l.says
			o.Boot = boot
		}
		return record(o)
	})
}

// Given a commit that at first shows the opposite of what it is, when the
// checks contradict, then the wrong mark is found, git's log is replayed from
// there, and the answer is right.
func TestContradictionIsMended(t *testing.T) {
	repo := newGitRepo(t)
	first, last := repo.line(17)
	fails := repo.failsFrom("a10")
	for _, c := range []struct {
		name   string
		commit string
		says   Outcome
	}{
		{"a good commit that failed", "a08", simTarget},
		{"a bad commit that passed", "a12", simPass},
	} {
		for _, builders := range []int{1, 4} {
			t.Run(fmt.Sprintf("%s, %d builders", c.name, builders), func(t *testing.T) {
				tester := &lying{scripted: scripted{does: fails}, commit: repo.hashes[c.commit], lies: 2, says: c.says}
				again := 0
				progress := func(e Event) {
					if e.Stage == "again" {
						again++
					}
				}
				a, err := Run(context.Background(), Config{New: last, Old: []string{first}, Builders: builders, Progress: progress}, repo.open(GitOptions{}), tester)
				if err != nil {
					t.Fatal(err)
				}
				if again == 0 && tester.lies == 0 {
					t.Error("no mark was tried again")
				}
				if a.First == nil || repo.names[a.First.Hash] != "a10" {
					t.Errorf("found %v (%s), %s %q\n%s", a.First, repo.names[a.First.Hash], a.Grade, a.Why, a.Log)
				}
			})
		}
	}
}

// Given commits of one round of which some at first show the opposite of what
// they are, so that they contradict each other, then they are tried again before
// any mark is made, and the answer is right.
func TestAContradictionWithinARoundIsMended(t *testing.T) {
	for _, c := range []struct {
		commit string
		says   Outcome
	}{{"c6", simTarget}, {"c9", simTarget}, {"c25", simPass}, {"c22", simPass}} {
		tester := &lying{scripted: scripted{does: func(s Subject) Outcome {
			if at(s) >= 20 {
				return simTarget
			}
			return simPass
		}}, commit: c.commit, lies: 2, says: c.says}
		var events []Event
		a, err := Run(context.Background(), Config{New: "c31", Old: []string{"c0"}, Direction: Regression, Builders: 31, Progress: func(e Event) { events = append(events, e) }}, chain(t, 32), tester)
		if err != nil {
			t.Fatal(err)
		}
		again := slices.IndexFunc(events, func(e Event) bool { return e.Stage == "again" && e.Commit == c.commit })
		marked := slices.IndexFunc(events, func(e Event) bool { return e.Stage == "step" && e.Record != nil })
		if again < 0 || marked < again || a.Rounds != 1 {
			t.Errorf("%s: tried again at event %d, marked at %d, %d rounds", c.commit, again, marked, a.Rounds)
		}
		if a.First == nil || a.First.Hash != "c20" || a.Grade != Proven {
			t.Errorf("%s: found %v, %s %q", c.commit, a.First, a.Grade, a.Why)
		}
	}
}

// Given a change that was taken back and made again, so that commits contradict
// each other for good, then one of both commits is found.
func TestAContradictionThatStays(t *testing.T) {
	for _, builders := range []int{2, 4, 8, 31} {
		a, err := Run(context.Background(), Config{New: "c31", Old: []string{"c0"}, Direction: Regression, Builders: builders}, chain(t, 32), &scripted{does: func(s Subject) Outcome {
			if n := at(s); n >= 20 || n >= 8 && n < 14 {
				return simTarget
			}
			return simPass
		}})
		if err != nil {
			t.Fatal(err)
		}
		if a.First == nil || a.First.Hash != "c20" && a.First.Hash != "c8" {
			t.Errorf("%d builders: found %v, %s %q", builders, a.First, a.Grade, a.Why)
		}
	}
}

// Given several builders, then kernels are prepared at once, as many as there
// are, and never more.
func TestKernelsArePreparedAtOnce(t *testing.T) {
	const builders = 3
	tester := &gathering{scripted: scripted{does: func(s Subject) Outcome {
		if at(s) >= 700 {
			return simTarget
		}
		return simPass
	}}, all: make(chan struct{}), want: builders}
	a, err := Run(t.Context(), Config{New: "c999", Old: []string{"c0"}, Direction: Regression, Builders: builders}, chain(t, 1000), tester)
	if err != nil {
		t.Fatal(err)
	}
	if a.First == nil || a.First.Hash != "c700" || tester.most != builders {
		t.Errorf("found %v, %d at once", a.First, tester.most)
	}
}

// gathering waits once until so many kernels are prepared at once.
type gathering struct {
	scripted
	all        chan struct{}
	want       int
	now, most  int
	preparedMu sync.Mutex
}

func (g *gathering) Prepare(ctx context.Context, s Subject) (Prepared, error) {
	g.preparedMu.Lock()
	g.now++
	if g.now > g.most {
		if g.most = g.now; g.most == g.want {
			close(g.all)
		}
	}
	g.preparedMu.Unlock()
	if n := at(s); n != 0 && n != 999 && s.Revert == "" && s.Apply == "" {
		select { // the first round is of as many; and later ones find it closed
		case <-g.all:
		case <-ctx.Done():
			return Prepared{}, ctx.Err()
		}
	}
	defer func() {
		g.preparedMu.Lock()
		g.now--
		g.preparedMu.Unlock()
	}()
	return g.scripted.Prepare(ctx, s)
}

// shelf has kept one boot of each kernel and gives it first; then it makes new
// ones, as long as it has any to make.
type shelf struct {
	scripted
	left int
}

func (t *shelf) Test(ctx context.Context, r Request, record func(Outcome) error) error {
	kept := "kept " + r.Subject.String()
	if t.left == 0 || !slices.Contains(r.Used, kept) && r.Boots == 1 {
		return t.scripted.Test(ctx, r, func(o Outcome) error {
			o.Boot = kept
			return record(o)
		})
	}
	t.left--
	return t.scripted.Test(ctx, r, record)
}

// Given a tester that keeps boots, when a kernel is tried again, then the
// tester is told which boots were there already, and the checks count none of
// them; when it has no others, the checks are not possible.
func TestBootsAreNotCountedTwice(t *testing.T) {
	does := func(s Subject) Outcome {
		if at(s) >= 9 {
			return simTarget
		}
		return simPass
	}
	search := func(left int) (*Answer, error) {
		return Run(context.Background(), Config{New: "c15", Old: []string{"c0"}}, chain(t, 16), &shelf{scripted: scripted{does: does}, left: left})
	}
	a, err := search(1000)
	if err != nil {
		t.Fatal(err)
	}
	if a.First == nil || a.First.Hash != "c9" || a.Grade != Proven {
		t.Errorf("%v, %s %q", a.First, a.Grade, a.Why)
	}
	kept := func(left int) bool {
		a, err := search(left)
		var stop *StopError
		if errors.As(err, &stop) {
			return strings.Contains(stop.Why, "no further boots")
		}
		if err != nil {
			t.Fatal(err)
		}
		return a.Grade != Proven
	}
	for left := range 4 {
		if !kept(left) {
			t.Errorf("proven with %d boots that were not kept", left)
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	e, err := ParseExpr("verdict == hang")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		cfg  Config
		want string
	}{
		{Config{New: "c1"}, "old end"},
		{Config{Old: []string{"c0"}}, "new end"},
		{Config{New: "c1", Old: []string{"c1"}}, "both ends"},
		{Config{New: "c1", Old: []string{"c0"}, Confidence: 1}, "confidence"},
		{Config{New: "c1", Old: []string{"c0"}, Confidence: .2}, "confidence"},
		{Config{New: "c1", Old: []string{"c0"}, Rules: Rules{AnyFailure: true, BadWhen: e}}, "only one"},
		{Config{New: "c1", Old: []string{"c0"}, Direction: "up"}, "direction"},
		{Config{New: "c9", Old: []string{"c0"}}, "no commit"},
	} {
		if _, err := Run(context.Background(), c.cfg, chain(t, 2), &scripted{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.cfg, err, c.want)
		}
	}
}

func TestCancelEndsTheSearch(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	tester := &canceling{cancel: cancel}
	_, err := Run(ctx, Config{New: "c9", Old: []string{"c0"}}, chain(t, 10), tester)
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

type canceling struct {
	scripted
	cancel context.CancelFunc
}

func (c *canceling) Test(ctx context.Context, r Request, record func(Outcome) error) error {
	c.cancel()
	return ctx.Err()
}
