package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/blockrig/blockrig/harness/stats"
	"github.com/blockrig/blockrig/harness/verdict"
	"github.com/blockrig/blockrig/scenarios"
)

var began = time.Date(2026, 11, 25, 22, 0, 0, 0, time.UTC)

func opened(t *testing.T, folder string) *Store {
	t.Helper()
	s, err := Open(t.Context(), folder)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func hours(n int) time.Time { return began.Add(time.Duration(n) * time.Hour) }

// run is one of some trials, which get lines and places in their order.
func run(id string, started time.Time, trials ...Trial) Part {
	for i := range trials {
		trials[i].Run, trials[i].Line, trials[i].Task = id, i+1, i
		trials[i].Started = started.Add(time.Duration(i) * time.Second)
	}
	return Part{
		Run:    Run{ID: id, Command: []string{"blockrig", "run"}, Started: started, Night: NightOf(started), Asked: len(trials)},
		Trials: trials, To: Mark{Bytes: int64(100 * len(trials)), Lines: len(trials), State: "read"},
	}
}

var (
	old   = Kernel{Ref: "debian:6.17", Release: "6.17.13+deb13-amd64", Digest: "d617"}
	newer = Kernel{Ref: "git:/linux@main", Exact: "git:/linux@0123456789abcdef0123456789abcdef01234567", Release: "7.2.0", Digest: "d720", Commit: "0123456789abcdef0123456789abcdef01234567"}
)

func trial(k Kernel, v scenarios.Verdict, boot, said string, titles ...string) Trial {
	return Trial{
		Kernel: k, Scenario: "mirror", Case: "length=512", Verdict: v, Outcome: said, BootID: boot, Dir: "0001-x",
		Signature: verdict.Signature{Phase: "step", Step: "pread", Verdict: v, Titles: titles}, Titles: titles,
		Accel: "tcg", CPUs: 1, Warm: true, BootMS: 1, TrialMS: 2, GuestMS: 3, TookMS: 4, Attempts: 1, Bytes: 512, Phase: "step", Reason: "why",
	}
}

func add(t *testing.T, s *Store, parts ...Part) {
	t.Helper()
	for _, p := range parts {
		if err := s.Add(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
}

func trials(t *testing.T, s *Store, f Filter) (out []Trial) {
	t.Helper()
	for tr, err := range s.Trials(t.Context(), f) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, tr)
	}
	return out
}

func TestATrialIsReadAsItWasWritten(t *testing.T) {
	s := opened(t, filepath.Join(t.TempDir()))
	want := trial(newer, scenarios.Hang, "b1", "no answer", "BUG: a; b", "WARNING in c")
	want.Also = []scenarios.Verdict{scenarios.Warn, scenarios.Degraded}
	want.Worker, want.WaitMS = Worker{"big", "A CPU"}, 20
	want.Findings = []Finding{{Kind: "warn", Title: "WARNING in c", Place: "c.c:1", Line: 7}, {Kind: "bug", Title: "BUG: a; b", Line: 3}}
	p := run("R1", began, trial(old, scenarios.Pass, "b0", "512 bytes"), want)
	add(t, s, p)

	got, err := s.Trial(t.Context(), "R1/2")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(p.Trials[1], got); diff != "" {
		t.Errorf("another trial (-want +got):\n%s", diff)
	}
	if got.Name() != "R1/2" {
		t.Errorf("it is named %s", got.Name())
	}
	for _, none := range []string{"", "R1", "R1/", "R1/0", "R1/3", "R2/1", "R1/x", "R1/-1"} {
		if _, err := s.Trial(t.Context(), none); !errors.Is(err, ErrNone) {
			t.Errorf("trial %q: %v, want ErrNone", none, err)
		}
	}
}

func TestAFilterTakesWhatFitsAllOfIt(t *testing.T) {
	s := opened(t, t.TempDir())
	other := trial(old, scenarios.Bug, "b3", "EIO")
	other.Case, other.Dir = "length=4096", ""
	add(t, s,
		run("R1", began, trial(old, scenarios.Pass, "b0", "512 bytes"), trial(newer, scenarios.Hang, "b1", "no answer", "x")),
		run("R2", hours(3), trial(newer, scenarios.Error, "", ""), other))
	text := func(s string) *string { return &s }
	for name, tt := range map[string]struct {
		f    Filter
		want string
	}{
		"all":        {Filter{}, "R1/1 R1/2 R2/1 R2/2"},
		"newest":     {Filter{Newest: true, Limit: 3}, "R2/2 R2/1 R1/2"},
		"run":        {Filter{Runs: []string{"R2", "R3"}}, "R2/1 R2/2"},
		"night":      {Filter{Nights: []string{"2026-11-26"}}, "R2/1 R2/2"},
		"kernel":     {Filter{Kernels: []Kernel{old, {Ref: "none"}}}, "R1/1 R2/2"},
		"scenario":   {Filter{Scenario: "mirror"}, "R1/1 R1/2 R2/1 R2/2"},
		"case":       {Filter{Case: text("length=4096")}, "R2/2"},
		"both":       {Filter{Scenario: "other", Case: text("length=4096")}, ""},
		"since":      {Filter{Since: hours(3)}, "R2/1 R2/2"},
		"before":     {Filter{Before: began.Add(time.Second)}, "R1/1"},
		"verdict":    {Filter{Verdicts: []scenarios.Verdict{scenarios.Error, scenarios.Pass}}, "R1/1 R2/1"},
		"failures":   {Filter{Failures: true}, "R1/2 R2/2"},
		"signature":  {Filter{Signature: &verdict.Signature{Phase: "step", Step: "pread", Verdict: scenarios.Hang, Titles: []string{"y"}}}, "R1/2"},
		"kept":       {Filter{Kept: true, Failures: true}, "R1/2"},
		"everything": {Filter{Runs: []string{"R1"}, Nights: []string{"2026-11-26"}}, ""},
	} {
		var got []string
		for _, tr := range trials(t, s, tt.f) {
			got = append(got, tr.Name())
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s: %v, want %s", name, got, tt.want)
		}
	}
	for tr := range s.Trials(t.Context(), Filter{}) { // a reader may stop
		if tr.Name() != "R1/1" {
			t.Errorf("the first is %s", tr.Name())
		}
		break
	}
}

func TestAHistoryCountsTrialsByBootAndOutcome(t *testing.T) {
	s := opened(t, t.TempDir())
	add(t, s,
		run("R1", began, trial(old, scenarios.Pass, "b0", "512 bytes"), trial(old, scenarios.Pass, "b0", "EINVAL"), trial(newer, scenarios.Hang, "b1", "no answer", "x")),
		run("R2", hours(3), trial(newer, scenarios.Hang, "b1", "no answer", "y"), trial(newer, scenarios.Pass, "b2", "512 bytes"),
			trial(newer, scenarios.Error, "", ""), trial(newer, scenarios.Pass, "", "512 bytes")))

	got, err := s.Histories(t.Context(), Filter{}, ByKernel)
	if err != nil {
		t.Fatal(err)
	}
	sig := func(v scenarios.Verdict) verdict.Signature {
		return verdict.Signature{Phase: "step", Step: "pread", Verdict: v}
	}
	want := []History{{Scenario: "mirror", Case: "length=512", Points: []Point{
		{Kernel: old, Tally: Tally{
			Counts: Counts{Trials: 2}, First: began, Last: began.Add(time.Second), TookMS: 8, Boots: []stats.Boot{{Trials: 2}},
			Outcomes: []Outcome{{sig("pass"), "pass", "512 bytes", 1, "R1/1"}, {sig("pass"), "pass", "EINVAL", 1, "R1/2"}},
		}},
		{Kernel: newer, Tally: Tally{
			Counts: Counts{Trials: 5, Failures: 2, Errors: 1}, First: began.Add(2 * time.Second), Last: hours(3).Add(3 * time.Second), TookMS: 20,
			Boots: []stats.Boot{{Failures: 2, Trials: 2}, {Trials: 1}, {Trials: 1}},
			Outcomes: []Outcome{
				{sig("hang"), "hang", "no answer", 2, "R2/1"},
				{sig("pass"), "pass", "512 bytes", 2, "R2/4"},
				{sig("error"), "error", "", 1, "R2/3"},
			},
		}},
	}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("by kernel (-want +got):\n%s", diff)
	}
	for by, want := range map[By]string{
		ByNight:          "2026-11-25:1/3 2026-11-26:1/3",
		ByRun:            "R1:1/3 R2:1/3",
		ByNightAndKernel: "2026-11-25debian:6.17:0/2 2026-11-25git:/linux@main:1/1 2026-11-26git:/linux@main:1/3",
	} {
		got, err := s.Histories(t.Context(), Filter{}, by)
		if err != nil {
			t.Fatal(err)
		}
		var points []string
		for _, p := range got[0].Points {
			points = append(points, fmt.Sprintf("%s%s%s:%d/%d", p.Night, p.Run, p.Kernel.Ref, p.Failures, p.Judged()))
		}
		if strings.Join(points, " ") != want {
			t.Errorf("by %d: %v, want %s", by, points, want)
		}
	}
}

// Given trials that workers of a hub made, and one that was made here, then each
// worker has its own.
func TestWorkersHaveTheTrialsThatTheyMade(t *testing.T) {
	s := opened(t, t.TempDir())
	by := func(w Worker, v scenarios.Verdict, tookMS, waitMS int64, attempts int) Trial {
		out := trial(old, v, "b1", "said")
		out.Worker, out.TookMS, out.WaitMS, out.Attempts = w, tookMS, waitMS, attempts
		return out
	}
	big, small := Worker{"big", "A CPU"}, Worker{"small", ""}
	add(t, s, run("R1", began, by(big, scenarios.Pass, 500, 10, 1), by(Worker{}, scenarios.Bug, 100, 0, 1), by(small, scenarios.Error, 900, 5, 3), by(big, scenarios.EIO, 2000, 40, 1)),
		run("R2", hours(1), by(small, scenarios.Pass, 100, 7, 1)))
	got, err := s.Workers(t.Context(), Filter{})
	if err != nil {
		t.Fatal(err)
	}
	want := []WorkerUse{
		{Worker: big, Counts: Counts{Trials: 2, Failures: 1}, First: began, Last: began.Add(5 * time.Second), TookMS: 2500, WaitMS: 50, MostWait: 40},
		{Worker: small, Counts: Counts{Trials: 2, Errors: 1}, First: began.Add(2 * time.Second), Last: hours(1).Add(100 * time.Millisecond), TookMS: 1000, WaitMS: 12, MostWait: 7, Again: 1},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("other workers (-want +got):\n%s", diff)
	}
	if got, err := s.Workers(t.Context(), Filter{Runs: []string{"R2"}}); err != nil || len(got) != 1 || got[0].Trials != 1 {
		t.Errorf("of one run: %+v, %v", got, err)
	}
}

func TestAWordStandsForARunANightAKernelOrACommit(t *testing.T) {
	s := opened(t, t.TempDir())
	if _, err := s.Select(t.Context(), "last"); !errors.Is(err, ErrNone) {
		t.Errorf("in an empty store: %v", err)
	}
	add(t, s, run("20261125T220000.000Z-aaaaaaaa", began, trial(old, scenarios.Pass, "b0", "")), run("20261126T010000.000Z-bbbbbbbb", hours(3), trial(newer, scenarios.Pass, "b1", "")))
	for word, want := range map[string]Filter{
		"last":                          {Runs: []string{"20261126T010000.000Z-bbbbbbbb"}},
		"20261125T220000.000Z-aaaaaaaa": {Runs: []string{"20261125T220000.000Z-aaaaaaaa"}},
		"20261125":                      {Runs: []string{"20261125T220000.000Z-aaaaaaaa"}},
		"2026-11-26":                    {Nights: []string{"2026-11-26"}},
		"debian:6.17":                   {Kernels: []Kernel{old}},
		"6.17.13+deb13-amd64":           {Kernels: []Kernel{old}},
		"0123456":                       {Kernels: []Kernel{newer}},
		newer.Exact:                     {Kernels: []Kernel{newer}},
	} {
		got, err := s.Select(t.Context(), word)
		if err != nil {
			t.Errorf("%s: %v", word, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", word, diff)
		}
	}
	for word, say := range map[string]string{
		"2026": "the beginning of 2 runs", "2026-11-24": "the last night is 2026-11-26",
		"6.17.13+deb13-amd46": "did you mean 6.17.13+deb13-amd64?", "": "no run, night", "fedcba987": "no run, night",
	} {
		if _, err := s.Select(t.Context(), word); !errors.Is(err, ErrNone) || !strings.Contains(err.Error(), say) {
			t.Errorf("%q: %v, want one that says %q", word, err, say)
		}
	}
}

func TestARunIsAddedToOnlyWhereItEnds(t *testing.T) {
	s := opened(t, t.TempDir())
	p := run("R1", began, trial(old, scenarios.Bug, "b0", ""))
	add(t, s, p)
	if err := s.Add(t.Context(), p); !errors.Is(err, ErrOther) {
		t.Errorf("the same part again: %v, want ErrOther", err)
	}
	more := trial(old, scenarios.Error, "", "")
	more.Run, more.Line, more.Task, more.Started = "R1", 2, 1, hours(1)
	p.From, p.To, p.Trials = p.To, Mark{Bytes: 200, Lines: 2, State: "grown"}, []Trial{more}
	p.Run.Finished = hours(2)
	add(t, s, p)

	got, err := s.Run(t.Context(), "R1")
	if err != nil || got.Counts != (Counts{Trials: 2, Failures: 1, Errors: 1}) || !got.Finished.Equal(hours(2)) {
		t.Errorf("the run is %+v, %v", got, err)
	}
	marks, err := s.Marks(t.Context())
	if diff := cmp.Diff(map[string]Mark{"R1": p.To}, marks); diff != "" || err != nil {
		t.Errorf("marks (-want +got):\n%s%v", diff, err)
	}
	if err := s.Drop(t.Context(), "R1"); err != nil {
		t.Fatal(err)
	}
	if left := trials(t, s, Filter{}); len(left) > 0 {
		t.Errorf("after the run was dropped there are %v", left)
	}
}

func TestAStoreThatCantBeReadIsNoticed(t *testing.T) {
	folder := t.TempDir()
	s, err := Open(t.Context(), folder)
	if err != nil {
		t.Fatal(err)
	}
	add(t, s, run("R1", began, trial(old, scenarios.Bug, "b0", "")))
	if err := Remove(folder); !errors.Is(err, ErrInUse) {
		t.Errorf("removing an open store: %v, want ErrInUse", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(folder, File)
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]func() error{
		"text":     func() error { return os.WriteFile(path, []byte(strings.Repeat("no database\n", 1000)), 0o600) },
		"cut":      func() error { return os.WriteFile(path, sound[:5000], 0o600) },
		"a folder": func() error { return errors.Join(os.RemoveAll(path), os.Mkdir(path, 0o700)) },
	} {
		if err := errors.Join(os.RemoveAll(path), damage()); err != nil {
			t.Fatal(err)
		}
		s, err := Open(t.Context(), folder)
		if err == nil {
			_, err = s.Marks(t.Context())
			err = errors.Join(err, s.Close())
		}
		if !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v, want ErrCorrupt", name, err)
		}
		if err := Remove(folder); err != nil {
			t.Fatal(err)
		}
	}
	if s := opened(t, folder); len(trials(t, s, Filter{})) > 0 {
		t.Error("a new store has trials")
	}
}

func TestAStoreOfANewerBlockrigIsLeftAlone(t *testing.T) {
	folder := t.TempDir()
	s := opened(t, folder)
	if _, err := s.db.Exec("PRAGMA user_version = 99"); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), folder); !errors.Is(err, ErrNewer) {
		t.Errorf("%v, want ErrNewer", err)
	}
}

func TestAFolderMayHaveAnyName(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "a?b=c&d #%25 é")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	opened(t, folder)
	if _, err := os.Stat(filepath.Join(folder, File)); err != nil {
		t.Error(err)
	}
}

func TestBuildsFindingsAndBisections(t *testing.T) {
	s := opened(t, t.TempDir())
	one := trial(newer, scenarios.Warn, "b0", "")
	one.Findings = []Finding{{Kind: "warn", Title: "WARNING in a", Line: 1}, {Kind: "warn", Title: "WARNING in a", Line: 9}, {Kind: "io", Title: "I/O error", Line: 2}}
	p := run("R1", began, one)
	p.Builds = []Build{{Run: "R1", Kernel: newer.Ref, Exact: newer.Exact, CC: "gcc", Fragments: []string{"kasan"}, Patches: []string{"/a.patch"}}}
	add(t, s, p, run("R2", hours(1), trial(old, scenarios.Pass, "b1", "")))

	// What of it is only for people who open the database themselves:
	rows := func(query string, row ...any) {
		t.Helper()
		if err := s.each(t.Context(), query, nil, row, func() error { return nil }); err != nil {
			t.Error(err)
		}
	}
	var cc, fragments, patches string
	rows("SELECT cc, fragments, patches FROM builds", &cc, &fragments, &patches)
	if cc != "gcc" || fragments != `["kasan"]` || patches != `["/a.patch"]` {
		t.Errorf("the build is %s %s %s", cc, fragments, patches)
	}
	var title string
	var n int
	rows("SELECT title, count(*) FROM findings WHERE kind = 'warn' GROUP BY title", &title, &n)
	if title != "WARNING in a" || n != 2 {
		t.Errorf("%d warnings %q", n, title)
	}
	want := []Bisection{{Name: "B1", Started: began, Command: []string{"blockrig", "bisect"}, Scenario: "mirror", Of: "commits", Old: "v6.17", New: "v6.18", State: "answered", First: "abc", Grade: "proven", Confidence: .99, Trials: 40}}
	running := want[0]
	running.State, running.First = "running", ""
	for _, b := range []Bisection{running, want[0]} { // what it has become replaces what it was
		if err := s.PutBisection(t.Context(), b, b.State); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.Bisections(t.Context())
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("bisections (-want +got):\n%s%v", diff, err)
	}
	states, err := s.BisectionStates(t.Context())
	if diff := cmp.Diff(map[string]string{"B1": "answered"}, states); diff != "" || err != nil {
		t.Errorf("states (-want +got):\n%s%v", diff, err)
	}
	if err := s.DropBisection(t.Context(), "B1"); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Bisections(t.Context()); err != nil || len(got) > 0 {
		t.Errorf("after it was dropped: %v, %v", got, err)
	}
	runs, err := s.Runs(t.Context(), Filter{Failures: true})
	if err != nil || len(runs) != 1 || runs[0].ID != "R1" {
		t.Errorf("runs with failures: %+v, %v", runs, err)
	}
}
