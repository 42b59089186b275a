package results

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/blockrig/blockrig/harness/trial"
	"github.com/blockrig/blockrig/harness/verdict"
	"github.com/blockrig/blockrig/results/store"
	"github.com/blockrig/blockrig/scenarios"
)

// recordRun makes a run of some trials, as a command does.
func recordRun(t *testing.T, root string, verdicts ...scenarios.Verdict) *Run {
	t.Helper()
	run, err := Create(t.Context(), root, aRequest(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	for n, v := range verdicts {
		recordOne(t, run, n, v)
	}
	return run
}

func recordOne(t *testing.T, run *Run, place int, v scenarios.Verdict) Record {
	t.Helper()
	j := trial.Job{Scenario: "plain-dio-read", Case: "length=512", Kernel: trial.Kernel{Ref: "debian:1", Exact: "debian:1.2", Release: "1.2", Digest: "k"}}
	if _, err := run.Begin(place, j); err != nil {
		t.Fatal(err)
	}
	rec, err := run.End(place, trial.Outcome{
		Judgement: verdict.Judgement{Verdict: v, Signature: verdict.Signature{Phase: "step", Step: "pread", Verdict: v}},
		Started:   time.Now(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

// indexAt opens the index and says what was said about it.
func indexAt(t *testing.T, root string) (_ *store.Store, said string) {
	t.Helper()
	s, err := OpenStore(t.Context(), root, func(format string, args ...any) { said += fmt.Sprintf(format, args...) + "\n" })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, said
}

// named are the trials of an index.
func named(t *testing.T, s *store.Store) (out []string) {
	t.Helper()
	for tr, err := range s.Trials(t.Context(), store.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, tr.Name())
	}
	slices.Sort(out)
	return out
}

func closed(t *testing.T, run *Run) *Run {
	t.Helper()
	if err := run.Close(); err != nil {
		t.Fatal(err)
	}
	if err := run.Unindexed(); err != nil {
		t.Error(err)
	}
	return run
}

func TestTheIndexHasWhatIsRecorded(t *testing.T) {
	root := t.TempDir()
	// Given a run that ended and one that goes on.
	first := closed(t, recordRun(t, root, scenarios.Pass, scenarios.Hang))
	second := recordRun(t, root, scenarios.Error)
	want := []string{first.ID() + "/1", first.ID() + "/2", second.ID() + "/1"}

	// Then the recorder itself has added all trials.
	raw, err := store.Open(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	if got := named(t, raw); !slices.Equal(got, want) {
		t.Errorf("without a look at the folders: %v, want %v", got, want)
	}
	if err := raw.Close(); err != nil {
		t.Fatal(err)
	}
	s, said := indexAt(t, root)
	tr, err := s.Trial(t.Context(), first.ID()+"/2")
	if err != nil {
		t.Fatal(err)
	}
	if tr.Verdict != scenarios.Hang || tr.Kernel.Digest != "k" || tr.Signature.Step != "pread" || said != "" {
		t.Errorf("got %+v, %q", tr, said)
	}
	if _, err := os.Stat(filepath.Join(root, tr.Run, tr.Dir, ResultFile)); err != nil {
		t.Errorf("its folder: %v", err)
	}
	runs, err := s.Runs(t.Context(), store.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	if r := runs[0]; r.Counts != (store.Counts{Trials: 2, Failures: 1}) || r.Finished.IsZero() || r.Asked != 4 || r.Verb != VerbRun || r.Problems != 0 {
		t.Errorf("the first run is %+v", r)
	}
	if r := runs[1]; r.Counts != (store.Counts{Trials: 1, Errors: 1}) || !r.Finished.IsZero() {
		t.Errorf("the second run is %+v", r)
	}
	// What is recorded while others read is there when they look again.
	recordOne(t, second, 1, scenarios.Bug)
	if got := named(t, s); !slices.Contains(got, second.ID()+"/2") {
		t.Errorf("got %v", got)
	}
	closed(t, second)
}

func TestTheIndexFollowsTheFolders(t *testing.T) {
	root := t.TempDir()
	one, two := closed(t, recordRun(t, root, scenarios.Pass, scenarios.Bug)), closed(t, recordRun(t, root, scenarios.Hang))
	trials := filepath.Join(one.Dir(), TrialsFile)
	text, err := os.ReadFile(trials)
	if err != nil {
		t.Fatal(err)
	}
	write := func(path, text string) func() error {
		return func() error { return os.WriteFile(path, []byte(text), 0o666) }
	}
	both := []string{one.ID() + "/1", one.ID() + "/2", two.ID() + "/1"}
	for _, tt := range []struct {
		name    string
		change  func() error
		want    []string
		said    string
		problem string // of the first run
	}{
		{"nothing", func() error { return nil }, both, "", ""},
		{"no index", func() error { return os.Remove(filepath.Join(root, store.File)) }, both, "", ""},
		{"an index that is none", write(filepath.Join(root, store.File), strings.Repeat("hello\n", 2000)), both, "the index is damaged", ""},
		{"an index that was cut", func() error { return os.Truncate(filepath.Join(root, store.File), 9000) }, both, "the index is damaged", ""},
		{"a line was lost", write(trials, string(text[:strings.Index(string(text), "\n")+1])), []string{one.ID() + "/1", two.ID() + "/1"}, "", "1 of its 2 trials are left"},
		{"it is back", write(trials, string(text)), both, "", ""},
		{"it was changed", write(trials, strings.Replace(string(text), `"bug"`, `"eio"`, 1)), both, "", "what it says is not what was recorded"},
		{"a line is no record", write(trials, "{}\n"+string(text)), []string{one.ID() + "/1", one.ID() + "/2", two.ID() + "/1"}, "", "trials.jsonl:1: not a result"},
		{"no run.json", func() error {
			return errors.Join(write(trials, string(text))(), os.Remove(filepath.Join(one.Dir(), infoFile)))
		}, both, "", "run.json: no such file"},
		{"a run is gone", func() error { return os.RemoveAll(two.Dir()) }, both[:2], "", "run.json: no such file"},
		{"no trials.jsonl", func() error { return os.Remove(trials) }, both[:2], "", "run.json: no such file"},
	} {
		if err := tt.change(); err != nil {
			t.Fatal(err)
		}
		s, said := indexAt(t, root)
		if got := named(t, s); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
		if (tt.said == "") != (said == "") || !strings.Contains(said, tt.said) {
			t.Errorf("%s: said %q, want %q", tt.name, said, tt.said)
		}
		r, err := s.Run(t.Context(), one.ID())
		if err != nil || (tt.problem == "") != (r.Problems == 0) || !strings.Contains(r.Problem, tt.problem) {
			t.Errorf("%s: problem %q, %v; want %q", tt.name, r.Problem, err, tt.problem)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestARunGoesOnWithoutAnIndex(t *testing.T) {
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, store.File), 0o777); err != nil {
		t.Fatal(err)
	}
	run := recordRun(t, root, scenarios.Pass, scenarios.Bug)
	if err := run.Close(); err != nil {
		t.Error(err)
	}
	if err := run.Unindexed(); err == nil || !strings.Contains(err.Error(), "results reindex") {
		t.Errorf("said %v", err)
	}
	// And one is made as soon as that is possible.
	if runs, trials, err := Reindex(t.Context(), root); err != nil || runs != 1 || trials != 2 {
		t.Errorf("%d runs, %d trials, %v", runs, trials, err)
	}
	s, said := indexAt(t, root)
	if got := named(t, s); len(got) != 2 || said != "" {
		t.Errorf("%v, %q", got, said)
	}
	// Also while it is in use.
	if runs, trials, err := Reindex(t.Context(), root); err != nil || runs != 1 || trials != 2 {
		t.Errorf("while it is in use: %d runs, %d trials, %v", runs, trials, err)
	}
	if got := named(t, s); len(got) != 2 {
		t.Errorf("after that: %v", got)
	}
}

func TestADamagedIndexInUseIsLeftAlone(t *testing.T) {
	root := t.TempDir()
	run := closed(t, recordRun(t, root, scenarios.Pass))
	held, _ := indexAt(t, root)
	if err := os.WriteFile(filepath.Join(root, store.File), []byte(strings.Repeat("hello\n", 2000)), 0o666); err != nil {
		t.Fatal(err)
	}
	s, said := indexAt(t, root)
	if got := named(t, s); !slices.Equal(got, []string{run.ID() + "/1"}) || !strings.Contains(said, "can't keep an index: ") || !strings.Contains(said, "in use by another process") {
		t.Errorf("%v, %q", got, said)
	}
	_ = held.Close()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, said := indexAt(t, root); !slices.Equal(named(t, s), []string{run.ID() + "/1"}) || !strings.Contains(said, "made anew") {
		t.Errorf("afterwards: %q", said)
	}
}

func TestAStoreWithoutAFolderIsEmpty(t *testing.T) {
	root := filepath.Join(t.TempDir(), "none")
	if s, said := indexAt(t, root); len(named(t, s)) > 0 || said != "" {
		t.Errorf("said %q", said)
	}
	if _, err := os.Stat(root); err == nil {
		t.Error("it was made by a reader")
	}
	if err := os.WriteFile(root, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenStore(t.Context(), root, nil); !errors.Is(err, ErrFolder) {
		t.Errorf("of a file: %v, want ErrFolder", err)
	}
}

func TestBisectionsAreIndexed(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, BisectionsDir, "20261125T220000.000Z-abcdefgh-git")
	write := func(name, text string) {
		t.Helper()
		if err := errors.Join(os.MkdirAll(dir, 0o777), os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666)); err != nil {
			t.Fatal(err)
		}
	}
	write("request.json", `{"command":["blockrig","bisect"],"scenario":{"name":"x","case":"a=1"},"git":{"old":[{"name":"v1"},{"name":"v2"}],"new":{"name":"v3"}}}`)
	want := store.Bisection{
		Name: filepath.Base(dir), Started: time.Date(2026, 11, 25, 22, 0, 0, 0, time.UTC), Command: []string{"blockrig", "bisect"},
		Scenario: "x", Case: "a=1", Of: "commits", Old: "v1 v2", New: "v3", State: "running",
	}
	check := func() {
		t.Helper()
		s, _ := indexAt(t, root)
		got, err := s.Bisections(t.Context())
		if diff := cmp.Diff([]store.Bisection{want}, got); diff != "" || err != nil {
			t.Errorf("-want +got:\n%s%v", diff, err)
		}
	}
	check()
	write("answer.json", `{"first":{"hash":"abc","title":"block: x"},"grade":"proven","confidence":0.99,"trials":40}`)
	want.State, want.First, want.Subject, want.Grade, want.Confidence, want.Trials = "answered", "abc", "block: x", "proven", .99, 40
	check()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if s, _ := indexAt(t, root); s != nil {
		if got, err := s.Bisections(t.Context()); err != nil || len(got) > 0 {
			t.Errorf("%v, %v", got, err)
		}
	}
}

// Given four processes that record at once and are killed at any moment, then
// the index has every trial that one of them said was recorded.
func TestWhatWasReportedIsInTheIndexWhateverWasKilled(t *testing.T) {
	if root := os.Getenv("RESULTS_TEST_RECORD_IN"); root != "" {
		run, err := Create(t.Context(), root, aRequest(t, 1))
		if err != nil {
			t.Fatal(err)
		}
		for n := 0; ; n++ {
			recordOne(t, run, n, scenarios.Verdicts[n%len(scenarios.Verdicts)])
			fmt.Printf("recorded %s/%d\n", run.ID(), n+1)
		}
	}
	root := t.TempDir()
	var reported []string
	lines := make(chan string)
	var writers []*exec.Cmd
	for range 4 {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestWhatWasReportedIsInTheIndexWhateverWasKilled$")
		cmd.Env = append(os.Environ(), "RESULTS_TEST_RECORD_IN="+root)
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		writers = append(writers, cmd)
		go func() {
			for in := bufio.NewScanner(out); in.Scan(); {
				lines <- in.Text()
			}
			lines <- ""
		}()
	}
	// Each is killed at another moment, and somebody reads meanwhile.
	killed := 0
	for ended := 0; ended < len(writers); {
		line := <-lines
		if line == "" {
			ended++
			continue
		}
		if name, ok := strings.CutPrefix(line, "recorded "); ok {
			reported = append(reported, name)
		}
		if len(reported) > 40*(killed+1) && killed < len(writers) {
			if err := writers[killed].Process.Kill(); err != nil {
				t.Fatal(err)
			}
			killed++
			s, said := indexAt(t, root)
			if said != "" {
				t.Errorf("said %q", said)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, w := range writers {
		_ = w.Wait() // they were killed
	}
	s, said := indexAt(t, root)
	have := named(t, s)
	for _, name := range reported {
		if _, ok := slices.BinarySearch(have, name); !ok {
			t.Errorf("%s was reported as recorded, and is not in the index", name)
		}
	}
	if len(reported) < 160 || said != "" {
		t.Errorf("%d were reported; said %q", len(reported), said)
	}
}
