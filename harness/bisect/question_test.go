package bisect

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/blockrig/blockrig/scenarios"
)

// showing is an outcome that shows these things at the step.
func showing(list ...Signature) Outcome {
	o := simPass
	o.Errno = ""
	for _, s := range list {
		s.Phase, s.Step = "step", "pread"
		o.Shows = append(o.Shows, s)
	}
	slices.SortStableFunc(o.Shows, func(a, b Signature) int { return a.Verdict.Rank() - b.Verdict.Rank() })
	for i, s := range o.Shows {
		if i == 0 {
			o.Verdict, o.Phase = s.Verdict, "step"
		} else if !slices.Contains(o.Also, s.Verdict) && s.Verdict != o.Verdict {
			o.Also = append(o.Also, s.Verdict)
		}
		if s.Title != "" {
			o.Titles = append(o.Titles, s.Title)
		}
		o.NoAnswer = o.NoAnswer || s.Verdict == scenarios.Hang
		if s.Verdict == scenarios.EIO {
			o.Errno = "EIO"
		}
		if s.Errno != "" {
			o.Errno = s.Errno
		}
	}
	return o
}

var (
	showsEIO  = Signature{Verdict: "eio"}
	showsWarn = Signature{Verdict: "warn", Title: "WARNING in a"}
	showsHang = Signature{Verdict: "hang"}
	showsLeg  = Signature{Verdict: "degraded"}
)

// began is what a kernel shows when each thing began with a commit, which can
// be taken back.
func began(s Subject, from map[Signature]int) Outcome {
	var list []Signature
	for sig, c := range from {
		if at(s) >= c && s.Revert != fmt.Sprint("c", c) {
			list = append(list, sig)
		}
	}
	slices.SortFunc(list, compareSignatures)
	return showing(list...)
}

// revertible makes a kernel of everything.
func revertible(s Subject) Prepared { return Prepared{Digest: s.String()} }

// reverting makes a kernel of everything but reverts, of which it makes this.
func reverting(p Prepared) func(s Subject) Prepared {
	return func(s Subject) Prepared {
		if s.Revert != "" {
			return p
		}
		return revertible(s)
	}
}

// failsFrom fails from a commit on.
func failsFrom(first int) func(s Subject) Outcome {
	return func(s Subject) Outcome {
		if at(s) >= first {
			return simTarget
		}
		return simPass
	}
}

// foundOf is what an answer says of each question: its commit and grade, with
// "same" where it is another question's.
func foundOf(a *Answer) map[string]string {
	out := map[string]string{}
	for _, a := range append([]*Answer{a}, a.More...) {
		what := "nothing"
		if a.First != nil {
			what = a.First.Hash
		}
		if a.Same {
			what += " same"
		}
		out[a.Target.String()] = what + " " + string(a.Grade)
	}
	return out
}

// Given a failing end that shows several things, then each is a question of
// its own: one search names the commit of each, whichever came first, and
// which of them is worse makes no difference.
func TestEachThingThatTheEndShowsIsAQuestion(t *testing.T) {
	const eio, warn, leg, hang = "eio in pread", `warn in pread ("WARNING in a")`, "degraded in pread", "hang in pread"
	for name, c := range map[string]struct {
		from map[Signature]int
		want map[string]string
	}{
		"an unrelated warning came before": {map[Signature]int{showsWarn: 7, showsEIO: 20}, map[string]string{eio: "c20 proven", warn: "c7 proven"}},
		"an unrelated warning came later":  {map[Signature]int{showsWarn: 20, showsEIO: 7}, map[string]string{eio: "c7 proven", warn: "c20 proven"}},
		"it came with the same commit":     {map[Signature]int{showsWarn: 11, showsEIO: 11}, map[string]string{eio: "c11 same proven", warn: "c11 proven"}},
		"neighbours":                       {map[Signature]int{showsWarn: 11, showsEIO: 12}, map[string]string{eio: "c12 proven", warn: "c11 proven"}},
		"three":                            {map[Signature]int{showsWarn: 3, showsLeg: 12, showsEIO: 12}, map[string]string{eio: "c12 proven", warn: "c3 proven", leg: "c12 same proven"}},
		"the good end warns too":           {map[Signature]int{showsWarn: 0, showsEIO: 12}, map[string]string{eio: "c12 proven"}},
		"a hang hides nothing before it":   {map[Signature]int{showsWarn: 5, showsHang: 25}, map[string]string{warn: "c5 proven", hang: "c25 proven"}},
	} {
		tester := &scripted{does: func(s Subject) Outcome { return began(s, c.from) }, prepared: revertible}
		a, err := Run(context.Background(), Config{New: "c31", Old: []string{"c0"}}, chain(t, 32), tester)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := foundOf(a)
		if len(got) != len(c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
		for q, want := range c.want {
			if got[q] != want {
				t.Errorf("%s: %s came with %q, want %q", name, q, got[q], want)
			}
		}
		if len(a.More) != len(c.want)-1 || a.Trials != len(tester.tried) {
			t.Errorf("%s: %d more, %d trials of %d", name, len(a.More), a.Trials, len(tester.tried))
		}
	}
}

// Given a bug that shows one of two titles at random beside a hang, then it is
// one culprit, said once for each title, and costs hardly more than the hang
// alone.
func TestTitlesAtRandomAreOneBug(t *testing.T) {
	search := func(titles ...Signature) (*Answer, int) {
		n := 0
		tester := &scripted{prepared: revertible, does: func(s Subject) Outcome {
			if at(s) < 20 || s.Revert == "c20" {
				return simPass
			}
			n++
			if len(titles) == 0 {
				return showing(showsHang)
			}
			return showing(showsHang, titles[(n*7/3)%len(titles)])
		}}
		a, err := Run(context.Background(), Config{New: "c1023", Old: []string{"c0"}}, chain(t, 1024), tester)
		if err != nil {
			t.Fatal(err)
		}
		return a, len(tester.tried)
	}
	_, alone := search()
	a, both := search(showsWarn, Signature{Verdict: "bug", Title: "BUG in b"})
	if a.Grade != Proven || len(a.Culprits()) != 1 || len(a.With(a)) != 2 {
		t.Errorf("%v", foundOf(a))
	}
	for _, title := range []string{"WARNING in a", "BUG in b"} {
		if !slices.Contains(a.Target.Titles, title) {
			t.Errorf("the titles are %q", a.Target.Titles)
		}
	}
	if both > alone+50 {
		t.Errorf("%d trials with titles at random, %d without", both, alone)
	}

	// Without anything that shows each time, the titles are one question.
	n := 0
	tester := &scripted{prepared: revertible, does: func(s Subject) Outcome {
		if at(s) < 20 || s.Revert == "c20" {
			return simPass
		}
		n++
		return showing([]Signature{showsWarn, {Verdict: "bug", Title: "BUG in b"}}[n*7/3%2])
	}}
	a, err := Run(context.Background(), Config{New: "c31", Old: []string{"c0"}}, chain(t, 32), tester)
	if err != nil {
		t.Fatal(err)
	}
	if got := foundOf(a); len(got) != 1 || a.Grade != Proven || a.First.Hash != "c20" || !strings.Contains(a.Target.String(), " or ") {
		t.Errorf("%v", got)
	}
	// Whichever of them is asked for, also the one that shows more seldom.
	for _, title := range []string{"WARNING in a", "BUG in b"} {
		w, err := ParseWanted(title)
		if err != nil {
			t.Fatal(err)
		}
		a, err := Run(context.Background(), Config{New: "c31", Old: []string{"c0"}, Rules: Rules{For: []Wanted{w}}}, chain(t, 32), tester)
		if err != nil || a.First == nil || a.First.Hash != "c20" {
			t.Errorf("%s: %+v, %v", title, a, err)
		}
	}
}

// Given a check by revert after which an old unrelated warning remains, then
// it asks about what is looked for, and that is proven.
func TestRevertIsAskedAboutTheQuestion(t *testing.T) {
	wrong := Signature{Verdict: "corrupt", Wrong: WrongData, Place: "byte 0"}
	for name, from := range map[string]map[Signature]int{
		"the good end warns too":   {showsWarn: 0, wrong: 12},
		"the range brought a WARN": {showsWarn: 4, wrong: 12},
	} {
		for _, wanted := range []string{"", "corrupt"} {
			cfg := Config{New: "c31", Old: []string{"c0"}}
			if wanted != "" {
				w, err := ParseWanted(wanted)
				if err != nil {
					t.Fatal(err)
				}
				cfg.Rules.For = []Wanted{w}
			}
			a, err := Run(context.Background(), cfg, chain(t, 32), &scripted{does: func(s Subject) Outcome { return began(s, from) }, prepared: revertible})
			if err != nil {
				t.Fatal(err)
			}
			got := foundOf(a)
			if got["corrupt in pread at byte 0"] != "c12 proven" || wanted != "" && len(got) != 1 {
				t.Errorf("%s, for %q: %v", name, wanted, got)
			}
		}
	}
}

// Given a revert that conflicts, then what else can prove is tried: the change
// alone, and what still applies of the revert. Without any of them the answer
// is likely at most.
func TestWhatElseProves(t *testing.T) {
	for name, c := range map[string]struct {
		alone  bool
		partly string // what a part of the revert does: "" is nothing, as none applies
		want   Grade
		checks []string
	}{
		"alone":                    {true, "fails", Likely, []string{CheckAlone}},
		"alone, and not there":     {true, "", Likely, []string{CheckAlone}},
		"partly":                   {true, "passes", Proven, []string{CheckPartly}},
		"neither, and it is there": {false, "fails", Likely, nil},
		"nothing":                  {false, "", Likely, nil},
	} {
		a, err := Run(context.Background(), Config{New: "c15", Old: []string{"c0"}}, chain(t, 16), &scripted{
			prepared: func(s Subject) Prepared {
				if s.Revert != "" && !s.Partly || s.Partly && c.partly == "" || s.Apply != "" && !c.alone {
					return Prepared{Failure: KindNone, Reason: "does not apply"}
				}
				return Prepared{Digest: s.String()}
			},
			does: func(s Subject) Outcome {
				if at(s) >= 9 && !(s.Partly && c.partly == "passes") {
					return simTarget
				}
				return simPass
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		var passed []string
		for _, k := range a.Checks {
			if slices.Contains(otherProofs, k.Name) && k.Result == Pass {
				passed = append(passed, k.Name)
			}
		}
		if !slices.Equal(passed, c.checks) {
			t.Errorf("%s: %q proves it, want %q", name, passed, c.checks)
		}
		if a.Grade != c.want {
			t.Errorf("%s: %s %q, %+v", name, a.Grade, a.Why, a.Checks)
		}
	}
}

// Given a commit of two things, one of which shows seldom, when taking it back
// helps against the other one, then the few trials of that prove nothing of the
// one that shows seldom: here it is another commit's, too.
func TestAProofIsOfOneQuestion(t *testing.T) {
	trials := map[Subject]int{}
	tester := &scripted{prepared: revertible, does: func(s Subject) Outcome {
		var list []Signature
		if at(s) >= 11 && s.Revert != "c11" {
			list = append(list, showsWarn)
		}
		if trials[s]++; at(s) >= 11 && trials[s]%3 == 0 {
			list = append(list, showsEIO)
		}
		return showing(list...)
	}}
	a, err := Run(context.Background(), Config{New: "c31", Old: []string{"c0"}}, chain(t, 32), tester)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := foundOf(a), map[string]string{`warn in pread ("WARNING in a")`: "c11 proven", "eio in pread": "c11 same likely"}; !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// Given a change that was taken back, then came again without its bug, and
// another one that shows the same later, then what can be taken back of the
// first makes no difference: that it shows alone proves nothing of the end.
func TestAChangeThatCameAgainWithoutItsBug(t *testing.T) {
	a, err := Run(context.Background(), Config{New: "c31", Old: []string{"c0"}}, chain(t, 32), &scripted{
		prepared: func(s Subject) Prepared {
			if s.Revert == "c5" && !s.Partly {
				return Prepared{Failure: KindNone, Reason: "does not apply"}
			}
			return Prepared{Digest: s.String()}
		},
		does: func(s Subject) Outcome {
			if i := at(s); i == 5 || i >= 7 || s.Apply == "c5" {
				return simTarget
			}
			return simPass
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if a.First == nil || a.First.Hash != "c5" || a.Grade == Proven {
		t.Errorf("%+v is %s: %+v", a.First, a.Grade, a.Checks)
	}
}

// knows is a history that knows which commits touch the files of others.
type knows struct {
	*Graph
	since map[string][]string
}

func (h knows) Since(_ context.Context, commit, end string) ([]string, error) {
	return h.since[commit+" "+end], nil
}

// Given a change of which nothing that still applies makes a difference, and that
// shows alone, then it is proven once every commit that may have undone it shows
// the failure, too; one that does not says that another change came later.
func TestCommitsThatMayHaveUndoneAChange(t *testing.T) {
	for name, c := range map[string]struct {
		since  []string
		passes int // a commit that the bisection does not try
		broken string
		want   Grade
		check  Result
	}{
		"all fail":    {[]string{"c28", "c30"}, 0, "", Proven, Pass},
		"one passes":  {[]string{"c28", "c30"}, 28, "", Doubtful, Fail},
		"one broken":  {[]string{"c28", "c30"}, 0, "c30", Likely, NotPossible},
		"none":        {nil, 0, "", Likely, NotPossible},
		"a great lot": {[]string{"c20", "c21", "c22", "c23", "c24", "c25", "c26", "c27", "c28"}, 0, "", Likely, NotPossible},
	} {
		h := knows{chain(t, 32), map[string][]string{"c5 c31": c.since}}
		a, err := Run(context.Background(), Config{New: "c31", Old: []string{"c0"}}, h, &scripted{
			prepared: func(s Subject) Prepared {
				switch {
				case s.Revert != "" && !s.Partly:
					return Prepared{Failure: KindNone, Reason: "does not apply"}
				case s.Commit == c.broken:
					return Prepared{Failure: KindBuild, Reason: "does not build"}
				}
				return Prepared{Digest: s.String()}
			},
			does: func(s Subject) Outcome {
				if i := at(s); i >= 5 && (c.passes == 0 || i != c.passes) {
					return simTarget
				}
				return simPass
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		at := slices.IndexFunc(a.Checks, func(k Check) bool { return k.Name == CheckSince })
		if a.First == nil || a.First.Hash != "c5" || a.Grade != c.want || at < 0 || a.Checks[at].Result != c.check {
			t.Errorf("%s: %+v is %s: %q, %+v", name, a.First, a.Grade, a.Why, a.Checks)
		}
	}
}

// Given a revert that does not build, then the change is there, and what it
// shows alone proves it.
func TestARevertThatDoesNotBuild(t *testing.T) {
	for _, fails := range []Prepared{{Failure: KindBuild, Reason: "does not build: undeclared"}, {Digest: "no boot"}} {
		a, err := Run(context.Background(), Config{New: "c15", Old: []string{"c0"}}, chain(t, 16), &scripted{
			prepared: reverting(fails),
			does: func(s Subject) Outcome {
				switch {
				case s.Revert != "":
					return Outcome{Kind: KindBoot, Reason: "no word from it"}
				case at(s) >= 9 || s.Apply == "c9":
					return simTarget
				}
				return simPass
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		if a.First == nil || a.First.Hash != "c9" || a.Grade != Proven {
			t.Errorf("%+v is %s: %q, %+v", a.First, a.Grade, a.Why, a.Checks)
		}
	}
}

// Given a revert that mends the failure and brings another symptom, then it is
// the failure that is asked about; where the symptom may be another form of it,
// or hides it, the revert says nothing, and what else can prove is tried.
func TestARevertThatBringsAnotherSymptom(t *testing.T) {
	enomem := Signature{Verdict: "errno", Errno: "ENOMEM"}
	for name, c := range map[string]struct {
		target, brings Signature
		alone          bool
		revert         Result
		want           Grade
	}{
		"a warning":            {showsEIO, showsWarn, false, Pass, Proven},
		"a leg that fails":     {enomem, showsLeg, false, Pass, Proven},
		"another errno":        {showsEIO, enomem, false, NotPossible, Likely},
		"a hang":               {showsEIO, showsHang, false, NotPossible, Likely},
		"a hang, but alone":    {showsEIO, showsHang, true, NotPossible, Proven},
		"another title":        {showsWarn, Signature{Verdict: "warn", Title: "WARNING in b"}, false, NotPossible, Likely},
		"a warning for a hang": {showsHang, showsWarn, false, NotPossible, Likely},
	} {
		a, err := Run(context.Background(), Config{New: "c15", Old: []string{"c0"}}, chain(t, 16), &scripted{
			prepared: func(s Subject) Prepared {
				if s.Apply != "" && !c.alone {
					return Prepared{Failure: KindNone, Reason: "does not apply"}
				}
				return Prepared{Digest: s.String()}
			},
			does: func(s Subject) Outcome {
				switch {
				case s.Revert != "":
					return showing(c.brings)
				case at(s) >= 9:
					return showing(c.target)
				}
				return simPass
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		at := slices.IndexFunc(a.Checks, func(k Check) bool { return k.Name == CheckRevert })
		if a.First == nil || a.First.Hash != "c9" || a.Grade != c.want || at < 0 || a.Checks[at].Result != c.revert {
			t.Errorf("%s: %+v is %s: %q, %+v", name, a.First, a.Grade, a.Why, a.Checks)
		}
	}
}

// Given what the user wants looked for, then only that is, and what the end
// does not show is refused with what it shows.
func TestFor(t *testing.T) {
	from := map[Signature]int{showsWarn: 7, showsEIO: 20, {Verdict: "warn", Title: "WARNING in bio_add_page"}: 25}
	unnamed := map[Signature]int{showsWarn: 7, {Verdict: "errno", Errno: "errno 524"}: 11}
	run := func(t *testing.T, texts ...string) (*Answer, error) {
		cfg := Config{New: "c31", Old: []string{"c0"}}
		for _, text := range texts {
			w, err := ParseWanted(text)
			if err != nil {
				t.Fatal(err)
			}
			cfg.Rules.For = append(cfg.Rules.For, w)
		}
		shows := from
		if texts[0] == "errno 524" {
			shows = unnamed
		}
		return Run(context.Background(), cfg, chain(t, 32), &scripted{does: func(s Subject) Outcome { return began(s, shows) }, prepared: revertible})
	}
	for _, c := range []struct {
		texts []string
		want  []string
	}{
		{[]string{"errno 524"}, []string{"c11"}}, // the kernel's own ENOTSUPP
		{[]string{"eio"}, []string{"c20"}},
		{[]string{"EIO"}, []string{"c20"}},
		{[]string{"bio_add_page"}, []string{"c25"}},
		{[]string{`"WARNING in a"`}, []string{"c7"}},
		{[]string{"warn"}, []string{"c25", "c7"}},
		{[]string{"eio", "in a"}, []string{"c20", "c7"}},
	} {
		a, err := run(t, c.texts...)
		if err != nil {
			t.Errorf("%q: %v", c.texts, err)
			continue
		}
		var got []string
		for _, a := range append([]*Answer{a}, a.More...) {
			got = append(got, a.First.Hash)
		}
		slices.Sort(got)
		if !slices.Equal(got, c.want) {
			t.Errorf("%q: found %q, want %q", c.texts, got, c.want)
		}
	}
	_, err := run(t, "hang")
	if stop, ok := errors.AsType[*StopError](err); !ok || stop.Kind != StopNotShown || !strings.Contains(stop.Why, "does not show hang: 64 trials show ") || !strings.Contains(stop.Why, "eio in pread 64 times") {
		t.Errorf("%v", err)
	}
	for text, want := range map[string]string{
		"EIOO": `"EIOO" is no errno`, "errno 5": "has the name EIO", "errno 99999": "is no errno", "corupt": "did you mean corrupt?", "pass": "is no failure", "": "want a verdict", `""`: "empty title", "wran": "did you mean warn?",
	} {
		if _, err := ParseWanted(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// Given a case with several steps of one name, then the same answer of another
// one is another failure, as is one that ends a trial before the step in
// question: neither is a mark for it.
func TestAnswersOfSeveralSteps(t *testing.T) {
	of := func(o Outcome, nth int, done ...string) Outcome {
		for i := range o.Shows {
			if o.Shows[i].Step = "pread"; o.Shows[i].titled() {
				o.Shows[i].Step = ""
			} else {
				o.Shows[i].Nth = nth
			}
		}
		o.Step, o.Nth, o.Done = "pread", nth, done
		return o
	}
	for name, c := range map[string]struct {
		does func(i int) Outcome
		want map[string]string
	}{
		"the first one failed on the way": {func(i int) Outcome {
			switch {
			case i >= 5 && i < 9:
				return of(showing(showsEIO), 1)
			case i >= 21:
				return of(showing(showsEIO), 2, "pread")
			}
			return simPass
		}, map[string]string{"eio in 2nd pread": "c21 proven"}},
		"a warning, and then an error ends it earlier": {func(i int) Outcome {
			switch {
			case i >= 21:
				return of(showing(showsWarn, showsEIO), 1)
			case i >= 5:
				o := of(showing(showsWarn), 2, "pread")
				return o
			}
			return simPass
		}, map[string]string{"eio in 1st pread": "c21 proven", `warn ("WARNING in a")`: "c5 proven"}},
	} {
		tester := &scripted{prepared: revertible, does: func(s Subject) Outcome {
			if i := at(s); s.Revert != "" {
				for j := 31; j >= 0; j-- {
					if s.Revert == fmt.Sprint("c", j) {
						with, without := c.does(j), c.does(j-1)
						o := c.does(i)
						o.Shows = slices.DeleteFunc(slices.Clone(o.Shows), func(g Signature) bool { return g.among(with.Shows) && !g.among(without.Shows) })
						if len(o.Shows) == 0 {
							return simPass
						}
						o.Verdict, o.Also = o.Shows[0].Verdict, nil
						return o
					}
				}
			}
			return c.does(at(s))
		}}
		a, err := Run(context.Background(), Config{New: "c31", Old: []string{"c0"}}, chain(t, 32), tester)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := foundOf(a); !maps.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	eio, corrupt := Signature{Verdict: "eio", Phase: "step", Step: "pwrite"}, Signature{Verdict: "corrupt", Phase: "step", Step: "pread", Nth: 2}
	l := newLens(Rules{}, Target{Signature: corrupt, Others: []Count{{eio, askedTimes}, {Signature{Verdict: "hang", Phase: "step", Step: "fsync"}, askedTimes}}})
	for name, c := range map[string]struct {
		o    Outcome
		want class
	}{
		"before it":      {Outcome{Verdict: "eio", Phase: "step", Step: "pwrite", Done: []string{"pread"}}, classOther},
		"after it":       {Outcome{Verdict: "eio", Phase: "step", Step: "pwrite", Errno: "EIO", Done: []string{"pread", "pread"}}, classPass},
		"a hang after":   {Outcome{Verdict: "hang", Phase: "step", Step: "fsync", Done: []string{"pread", "pread"}, NoAnswer: true}, classPass},
		"the other read": {Outcome{Verdict: "corrupt", Phase: "step", Step: "pread", Nth: 1}, classOther},
		"it":             {Outcome{Verdict: "corrupt", Phase: "step", Step: "pread", Nth: 2, Done: []string{"pread"}}, classHit},
	} {
		c.o.Kind = KindVerdict
		if got, _ := l.class(&c.o); got != c.want {
			t.Errorf("an outcome %s is %v, want %v", name, got, c.want)
		}
	}
}

// Given wrong data at the same place each time, then the place is part of the
// failure; where it is another one each time, it is none.
func TestPlaceOfWrongData(t *testing.T) {
	n := 0
	wrong := func(place string) Outcome {
		return showing(Signature{Verdict: "corrupt", Wrong: WrongData, Place: place})
	}
	for name, c := range map[string]struct {
		before, after func() Outcome
		want          string
	}{
		"another place before": {func() Outcome { return wrong("byte 0") }, func() Outcome { return wrong("byte 512") }, "c26"},
		"any place": {
			func() Outcome { return simPass },
			func() Outcome { n++; return wrong(fmt.Sprint("byte ", n%5)) }, "c26",
		},
	} {
		a, err := Run(context.Background(), Config{New: "c31", Old: []string{"c0"}}, chain(t, 32), &scripted{prepared: revertible, does: func(s Subject) Outcome {
			switch n := at(s); {
			case n >= 15 && n < 17:
				return c.before()
			case n >= 26 && s.Revert != "c26":
				return c.after()
			}
			return simPass
		}})
		if err != nil {
			t.Fatal(err)
		}
		if a.First == nil || a.First.Hash != c.want || a.Grade != Proven {
			t.Errorf("%s: %v %s %q", name, a.First, a.Grade, a.Why)
		}
	}
}

// Given trials of older versions, which do not say what each title belongs to,
// then what they show is told by their verdicts.
func TestOlderOutcomes(t *testing.T) {
	o := Outcome{Kind: KindVerdict, Verdict: "warn", Also: []scenarios.Verdict{"eio"}, Phase: "step", Step: "pread", Errno: "EIO", Titles: []string{"WARNING in a", "WARNING in b"}}
	got := o.shown()
	want := []Signature{
		{Verdict: "warn", Phase: "step", Step: "pread", Title: "WARNING in a"},
		{Verdict: "warn", Phase: "step", Step: "pread", Title: "WARNING in b"},
		{Verdict: "eio", Phase: "step", Step: "pread"},
	}
	if !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
	untitled := Signature{Verdict: "warn", Phase: "step", Step: "pread"}
	if !untitled.same(want[0]) || want[0].same(want[1]) {
		t.Error("a title that is not known is that of any")
	}
}

// Given a step that is told what to look for, then a commit that shows only
// something else is good, unless that hides it.
func TestStepFor(t *testing.T) {
	eio, err := ParseWanted("eio")
	if err != nil {
		t.Fatal(err)
	}
	warn, err := ParseWanted("WARNING in a")
	if err != nil {
		t.Fatal(err)
	}
	oops := showing(Signature{Verdict: "bug", Title: "BUG in b"})
	oops.NoAnswer = true
	for name, c := range map[string]struct {
		shows Outcome
		want  Wanted
		mark  int
	}{
		"EIO behind a warning":         {showing(showsWarn, showsEIO), eio, StepBad},
		"only a warning":               {showing(showsWarn), eio, StepGood},
		"another result":               {showing(Signature{Verdict: "errno", Errno: "ENOMEM"}), eio, StepSkip},
		"no result":                    {showing(showsHang), eio, StepSkip},
		"a warning that goes with EIO": {showing(showsWarn, showsEIO), warn, StepBad},
		"EIO without the warning":      {showing(showsEIO), warn, StepGood},
		"an oops before the warning":   {oops, warn, StepSkip},
		"pass":                         {simPass, warn, StepGood},
	} {
		got, why := Step([]Outcome{c.shows}, Rules{For: []Wanted{c.want}}, nil, 1)
		if got != c.mark {
			t.Errorf("%s: %d (%s), want %d", name, got, why, c.mark)
		}
	}
	if _, why := Step([]Outcome{showing(showsWarn, showsEIO)}, Rules{}, nil, 1); !strings.Contains(why, "eio in pread in 1 of 1 trials") || !strings.Contains(why, "WARNING in a") {
		t.Errorf("without it: %q", why)
	}
}

// Given a search for several things that is killed now and then, when it is
// resumed, then no trial is made twice, and each has the same answer.
func TestSeveralQuestionsAreResumed(t *testing.T) {
	does := func(s Subject) Outcome { return began(s, map[Signature]int{showsWarn: 7, showsEIO: 20, showsLeg: 20}) }
	cfg := Config{New: "c31", Old: []string{"c0"}}
	whole := &scripted{does: does, prepared: revertible}
	want, err := Run(context.Background(), cfg, chain(t, 32), whole)
	if err != nil {
		t.Fatal(err)
	}
	for every := 5; every < len(whole.tried); every += 9 {
		dir := filepath.Join(t.TempDir(), "state")
		s, err := CreateState(dir, wanted{})
		if err != nil {
			t.Fatal(err)
		}
		for run := 0; ; run++ {
			tester := &scripted{does: does, prepared: revertible, boot: 1000 * run}
			a, err := s.Run(context.Background(), cfg, chain(t, 32), &crashing{Tester: tester, left: every})
			if closeErr := s.Close(); closeErr != nil {
				t.Fatal(closeErr)
			}
			if err == nil {
				if got := foundOf(a); !maps.Equal(got, foundOf(want)) {
					t.Errorf("every %d: %v, want %v", every, got, foundOf(want))
				}
				break
			}
			if !errors.Is(err, errCrash) {
				t.Fatal(err)
			}
			if s, err = OpenState(dir, &wanted{}); err != nil {
				t.Fatal(err)
			}
		}
		trials, err := Trials(dir)
		if err != nil {
			t.Fatal(err)
		}
		made := 0
		for _, list := range trials {
			made += len(list)
		}
		if made != len(whole.tried) {
			t.Errorf("every %d: %d trials, %d without a crash", every, made, len(whole.tried))
		}
	}
}
