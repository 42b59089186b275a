package report_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/blockrig/blockrig/harness/console"
	"github.com/blockrig/blockrig/harness/hunt"
	"github.com/blockrig/blockrig/harness/nightly"
	"github.com/blockrig/blockrig/harness/stats"
	"github.com/blockrig/blockrig/harness/verdict"
	"github.com/blockrig/blockrig/results"
	"github.com/blockrig/blockrig/results/report"
	"github.com/blockrig/blockrig/results/store"
	"github.com/blockrig/blockrig/scenarios"
)

// A recorded trial: scenario md-raid1-dio-read, of so many of them with a
// folder the first.
type recorded struct {
	name    string // of the case
	kernel  results.Kernel
	verdict scenarios.Verdict
	trials  int
}

// record writes a run of a night as results would.
func record(t *testing.T, root, night, id string, all ...recorded) {
	t.Helper()
	dir := filepath.Join(root, strings.ReplaceAll(night, "-", "")+"T220000.000Z-"+id)
	began, err := time.Parse(time.DateOnly, night)
	if err != nil {
		t.Fatal(err)
	}
	began = began.Add(22 * time.Hour)
	var lines bytes.Buffer
	n := 0
	for _, r := range all {
		for i := range r.trials {
			n++
			rec := results.Record{
				Scenario: "md-raid1-dio-read", Case: r.name, Kernel: r.kernel, Verdict: r.verdict, Phase: "step", Outcome: "4096 bytes",
				Signature: verdict.Signature{Phase: "step", Step: "pread", Verdict: r.verdict},
				Accel:     "tcg", CPUs: 1, BootID: fmt.Sprintf("%s-%d", id, n), TrialMS: 500, Started: began.Add(time.Duration(n) * time.Second), Task: n - 1,
			}
			if r.verdict.Failure() {
				rec.Reason, rec.Outcome = "pread can't be killed", "no answer"
				rec.Findings = []results.Finding{{Kind: console.KindBug, Title: "BUG: unable to handle kernel paging request in bio_add_page", Line: 103}}
			}
			if i == 0 {
				rec.RunDir = fmt.Sprintf("%04d-trial", n)
				write(t, filepath.Join(dir, rec.RunDir, "result.json"), rec)
				for _, name := range []string{"console.log", "events.jsonl"} {
					src, err := os.ReadFile(filepath.Join("testdata", name))
					if err == nil {
						err = os.WriteFile(filepath.Join(dir, rec.RunDir, name), src, 0o644)
					}
					if err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := results.WriteJSON(&lines, rec); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "trials.jsonl"), lines.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	info := fmt.Sprintf(`{"id":%q,"command":["/usr/bin/blockrig","run","it's"],"started":%q,"finished":%q}`, filepath.Base(dir), began.Format(time.RFC3339), began.Add(time.Hour).Format(time.RFC3339))
	if err := os.WriteFile(filepath.Join(dir, "run.json"), []byte(info), 0o644); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path string, rec results.Record) {
	t.Helper()
	var b bytes.Buffer
	err := results.WriteJSON(&b, rec)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o755)
	}
	if err == nil {
		err = os.WriteFile(path, b.Bytes(), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// twoNights are of a kernel series whose second release breaks a case, mends
// another and leaves the third as it was.
func twoNights(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	old, newer := results.Kernel{Ref: "debian:newest", Release: "6.17.13"}, results.Kernel{Ref: "debian:newest", Release: "6.18.15"}
	record(t, root, "2026-11-24", "aaaaaaaa",
		recorded{"length=4096", old, scenarios.Pass, 20}, recorded{"length=512", old, scenarios.Hang, 20}, recorded{"length=8192", old, scenarios.Pass, 20})
	record(t, root, "2026-11-25", "bbbbbbbb",
		recorded{"length=4096", newer, scenarios.Hang, 20}, recorded{"length=512", newer, scenarios.Pass, 20}, recorded{"length=8192", newer, scenarios.Pass, 20})
	return root
}

func open(t *testing.T, root string) *store.Store {
	t.Helper()
	s, err := results.OpenStore(context.Background(), root, t.Logf)
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

func loaded(t *testing.T, root string, words ...string) report.Report {
	t.Helper()
	s := open(t, root)
	of, err := report.Select(context.Background(), s, words, "")
	if err != nil {
		t.Fatal(err)
	}
	folder, err := os.OpenRoot(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { folder.Close() })
	r, err := report.Load(context.Background(), s, report.Files(folder), report.Options{Of: of, Made: time.Unix(1.8e9, 0)})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// opened counts the files of trials that are opened.
type opened struct {
	fs.FS
	n int
}

func (o *opened) Open(name string) (fs.File, error) {
	if strings.Contains(name, "-trial/") {
		o.n++
	}
	return o.FS.Open(name)
}

// Given a report that is made again, then no trial's folder is read twice, new
// ones are read, and what it says is the same.
func TestFoldersAreReadOnceForReportsThatFollow(t *testing.T) {
	root := twoNights(t)
	looked := &report.Looked{}
	load := func(looked *report.Looked) (report.Report, int) {
		s := open(t, root)
		files := &opened{FS: os.DirFS(root)}
		r, err := report.Load(t.Context(), s, files, report.Options{Made: time.Unix(1.8e9, 0), Looked: looked})
		if err != nil || len(r.Problems) > 0 {
			t.Fatal(err, r.Problems)
		}
		return r, files.n
	}
	if _, n := load(looked); n == 0 {
		t.Fatal("no trial was read")
	}
	r, n := load(looked)
	if n != 0 {
		t.Errorf("%d files were read again", n)
	}
	want, all := load(nil)
	if diff := cmp.Diff(want, r); diff != "" {
		t.Errorf("it differs (-want +got):\n%s", diff)
	}
	record(t, root, "2026-11-26", "cccccccc", recorded{"length=8192", results.Kernel{Ref: "debian:newest", Release: "6.18.15"}, scenarios.Hang, 1})
	if _, n := load(looked); n == 0 || n >= all {
		t.Errorf("%d files were read after a further trial, of all %d before", n, all)
	}
}

func TestTheLastNightIsComparedWithTheOneBefore(t *testing.T) {
	r := loaded(t, twoNights(t))
	if len(r.Runs) != 1 || len(r.Problems) != 0 || r.Title != "Kernel storage, 2026-11-25" || r.Runs[0].Command != `blockrig run 'it'\''s'` {
		t.Errorf("it is %q of %+v, with %q", r.Title, r.Runs, r.Problems)
	}
	var got []string
	for _, c := range r.Changes {
		got = append(got, fmt.Sprintf("%s: %s, %s to %s, sure %t", c.Case, c.Kind, r.Kernels[c.Before.Kernel].Release, r.Kernels[c.After.Kernel].Release, c.Probability > .9))
	}
	want := []string{"length=4096: new failure, 6.17.13 to 6.18.15, sure true", "length=512: fixed, 6.17.13 to 6.18.15, sure true"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("changes are %q, want %q", got, want)
	}
	if c := r.Cases[0]; len(c.History) != 2 || len(c.Cells) != 1 || c.Cells[0].Failures != 20 || c.Cells[0].MS != 500 || c.Cells[0].Interval.Low < .8 {
		t.Errorf("the first case is %+v", c)
	}
}

// Given nights of a pattern that stands for another reference each time, then
// its kernels are one history, and what the night said counts.
func TestWhatNightsSaidCounts(t *testing.T) {
	root := t.TempDir()
	old, newer := results.Kernel{Ref: "debian:6.17.13-1", Release: "6.17.13"}, results.Kernel{Ref: "debian:6.18.15-1", Release: "6.18.15"}
	record(t, root, "2026-11-24", "aaaaaaaa", recorded{"length=4096", old, scenarios.Pass, 3}, recorded{"length=512", old, scenarios.Hang, 3})
	record(t, root, "2026-11-25", "bbbbbbbb", recorded{"length=4096", newer, scenarios.Hang, 3}, recorded{"length=512", newer, scenarios.Hang, 3})
	of := func(name string) nightly.CaseName { return nightly.CaseName{Scenario: "md-raid1-dio-read", Case: name} }
	for n, night := range []nightly.Night{
		{Kernels: []nightly.Kernel{{Stream: "newest", Ref: old.Ref}}, Plan: []nightly.Batch{{Run: "20261124T220000.000Z-aaaaaaaa"}}},
		{
			Kernels: []nightly.Kernel{{Stream: "newest", Ref: newer.Ref}}, Plan: []nightly.Batch{{Run: "20261125T220000.000Z-bbbbbbbb"}},
			Findings: []nightly.Finding{
				{
					Kind: nightly.New, Ref: newer.Ref, CaseName: of("length=4096"), Change: stats.Change{Up: .98}, Bisection: &nightly.Bisection{Dir: "/elsewhere/bisections/b1"},
					Elsewhere: []nightly.Where{{Release: "7.2", CaseName: of("length=8192"), Fails: stats.Boot{Failures: 2, Trials: 3}, Same: true}},
				},
				{Kind: nightly.KnownStill, Ref: newer.Ref, CaseName: of("length=512"), Link: "https://bugs.example.org/7"},
			},
			Hunt: &nightly.Hunted{Hunt: "h1", Ref: newer.Ref, Findings: []hunt.Finding{
				{ID: "hunt-1", Class: hunt.BlamesDisk, Stack: "lvm-raid1", Says: "pread direct 512@0 <memory+32>", Release: "6.18.15"},
				{ID: "hunt-2", Class: hunt.LosesData, Stack: "md-raid1", Says: "pwrite", Release: "6.18.15", Outcome: "EIO", Bisection: &nightly.Bisection{Found: nightly.Found{Culprits: []nightly.Culprit{{First: "6.18", Grade: "likely"}}}}},
			}},
		},
	} {
		src, err := json.Marshal(night)
		if err == nil {
			err = os.MkdirAll(filepath.Join(root, "nightly", "lab"), 0o755)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(root, "nightly", "lab", fmt.Sprintf("%06d.json", n+1)), src, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	r := loaded(t, root)
	if len(r.Changes) != 2 || len(r.Problems) > 0 {
		t.Fatalf("changes are %+v, problems %q", r.Changes, r.Problems)
	}
	c := r.Changes[0]
	if c.Kind != report.NewFailure || c.Before.Night != "2026-11-24" || c.Probability != .98 || c.Bisection != "b1" || fmt.Sprint(c.Elsewhere) != "[7.2: md-raid1-dio-read length=8192, 2 of 3]" {
		t.Errorf("the new failure is %+v", c)
	}
	if c := r.Changes[1]; c.Known == nil || c.Known.Link != "https://bugs.example.org/7" || c.Kind != report.StillFailing {
		t.Errorf("the known failure is %+v", c)
	}
	if len(r.Hunted) != 2 || r.Hunted[0].Stack != "md-raid1" || r.Hunted[1].Scenario != "hunts/h1/hunt-1.yaml" || !strings.Contains(r.Headline(), "2 found by a hunt") {
		t.Errorf("%s: it was hunted: %+v", r.Headline(), r.Hunted)
	}
	for format, want := range map[report.Format][]string{
		report.FormatHTML:     {"<h2>Found by a hunt</h2>", "loses data", "pread direct 512@0 &lt;memory&#43;32&gt;", "came with 6.18: likely"},
		report.FormatMarkdown: {"## Found by a hunt", "loses data", "came with 6.18: likely"},
	} {
		var b strings.Builder
		if err := report.Write(&b, format, r, report.Settings{}); err != nil {
			t.Fatal(err)
		}
		for _, w := range want {
			if !strings.Contains(b.String(), w) {
				t.Errorf("%s lacks %q", format, w)
			}
		}
	}
	if err := os.WriteFile(filepath.Join(root, "nightly", "lab", "000003.json"), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if r := loaded(t, root); len(r.Problems) != 1 || len(r.Changes) != 2 {
		t.Errorf("of a damaged night it says %q", r.Problems)
	}
}

func TestATrialIsToldWithWhatItsFolderSays(t *testing.T) {
	r := loaded(t, twoNights(t), "last")
	if len(r.Trials) != 3 || !r.Trials[0].Verdict.Failure() {
		t.Fatalf("%d trials are told, want one of each case, what failed first", len(r.Trials))
	}
	first := r.Trials[0]
	if len(first.Findings) != 1 || len(first.Findings[0].Trace) == 0 || len(first.Events) == 0 {
		t.Errorf("the trial is %+v", first)
	}
	want := "blockrig run md-raid1-dio-read -k debian:newest --case length=4096"
	if len(first.Commands) != 2 || first.Commands[0].Line != want {
		t.Errorf("commands are %+v, want %q first", first.Commands, want)
	}
}

func TestTwoNightsAreBothOfWhatIsAskedFor(t *testing.T) {
	root := twoNights(t)
	r := loaded(t, root, "20261124T", "2026-11-25")
	if len(r.Runs) != 2 || len(r.Kernels) != 2 {
		t.Errorf("runs are %+v on %+v", r.Runs, r.Kernels)
	}
	for word, of := range map[string]error{"2026-11-26": store.ErrNone, "nothing": store.ErrNone} {
		if _, err := report.Select(context.Background(), open(t, root), []string{word}, ""); !errors.Is(err, of) {
			t.Errorf("%s: %v", word, err)
		}
	}
	if _, err := report.Select(context.Background(), open(t, root), nil, "yesterday"); !errors.Is(err, report.ErrSelect) {
		t.Errorf("since yesterday: %v", err)
	}
}

func TestAReportIsWrittenWholeToAFile(t *testing.T) {
	root := twoNights(t)
	path := filepath.Join(t.TempDir(), "night.html")
	if err := report.Make(context.Background(), open(t, root), root, report.Order{Format: report.FormatHTML, Output: path}); err != nil {
		t.Fatal(err)
	}
	src, err := os.ReadFile(path)
	if err != nil || !bytes.HasSuffix(bytes.TrimSpace(src), []byte("</html>")) {
		t.Errorf("%d bytes, %v", len(src), err)
	}
	if err := report.Make(context.Background(), open(t, root), root, report.Order{Format: report.FormatHTML, Output: filepath.Join(root, "none", "x")}); err == nil {
		t.Error("it is written into a folder that is not there")
	}
}

func TestWhatCantBeOrderedIsSaid(t *testing.T) {
	for name, o := range map[string]report.Order{
		"submit a page": {Format: report.FormatHTML, Submit: "https://example.org"},
		"no token":      {Format: report.FormatKCIDB, Settings: report.Settings{Origin: "lab"}, Submit: "https://example.org"},
		"no origin":     {Format: report.FormatKCIDB, Settings: report.Settings{Origin: "My Lab"}},
	} {
		if err := o.Check(); !errors.Is(err, report.ErrSelect) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAConsoleThatIsALinkIsNotFollowed(t *testing.T) {
	root := twoNights(t)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("[    0.0] Linux secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	at := filepath.Join(root, "20261125T220000.000Z-bbbbbbbb", "0001-trial", "console.log")
	if err := errors.Join(os.Remove(at), os.Symlink(secret, at)); err != nil {
		t.Fatal(err)
	}
	r := loaded(t, root)
	if len(r.Trials[0].Findings[0].Trace) > 0 || len(r.Problems) != 1 {
		t.Errorf("problems are %q", r.Problems)
	}
}

// Given a run of which all trials were lost, then a report of its night says so.
func TestALostRunIsNamed(t *testing.T) {
	root := t.TempDir()
	one := results.Kernel{Ref: "debian:6.18", Release: "6.18.15"}
	record(t, root, "2026-11-24", "aaaaaaaa", recorded{"a=1", one, scenarios.Pass, 2})
	record(t, root, "2026-11-25", "bbbbbbbb", recorded{"a=1", one, scenarios.Pass, 2})
	record(t, root, "2026-11-25", "cccccccc", recorded{"a=1", one, scenarios.Hang, 2})
	lost := filepath.Join(root, "20261125T220000.000Z-cccccccc")
	info, err := os.ReadFile(filepath.Join(lost, "run.json"))
	if err != nil {
		t.Fatal(err)
	}
	info = bytes.Replace(info, []byte(`"command"`), []byte(`"trials":2,"trials_sha256":"of the two","command"`), 1)
	if err := errors.Join(os.WriteFile(filepath.Join(lost, "run.json"), info, 0o600), os.WriteFile(filepath.Join(lost, "trials.jsonl"), []byte("{"), 0o600)); err != nil {
		t.Fatal(err)
	}
	s, err := results.OpenStore(t.Context(), root, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for since, want := range map[string]int{"": 1, "2026-11-24": 1, "2026-11-26": 0} {
		of, err := report.Select(t.Context(), s, nil, since)
		if err != nil {
			t.Fatal(err)
		}
		r, err := report.Load(t.Context(), s, os.DirFS(root), report.Options{Of: of})
		if err != nil || len(r.Problems) != want || want > 0 && !strings.Contains(r.Problems[0], "cccccccc was damaged") {
			t.Errorf("since %q: %q, %v; want %d problems", since, r.Problems, err, want)
		}
	}
}

// Given the trials of a hunt, each of a program of its own, then they are no case:
// no failure rate, no new failure, no kernel of the grid, and the totals have
// them apart.
func TestTrialsOfAHuntAreNoCase(t *testing.T) {
	root := t.TempDir()
	record(t, root, "2026-11-25", "aaaaaaaa", recorded{"a=1", results.Kernel{Ref: "debian:6.18", Release: "6.18.15"}, scenarios.Pass, 2})
	record(t, root, "2026-11-25", "bbbbbbbb", recorded{"", results.Kernel{Ref: "debian:6.18.15-1", Release: "6.18.15"}, scenarios.Hang, 2})
	trials := filepath.Join(root, "20261125T220000.000Z-bbbbbbbb", "trials.jsonl")
	src, err := os.ReadFile(trials)
	if err == nil {
		err = os.WriteFile(trials, bytes.ReplaceAll(src, []byte("md-raid1-dio-read"), []byte(results.Suspects)), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	r, err := report.Load(t.Context(), open(t, root), os.DirFS(root), report.Options{})
	if err != nil || len(r.Cases) != 1 || len(r.Changes) != 0 || len(r.Kernels) != 1 || len(r.Runs) != 2 {
		t.Errorf("%d cases, %d changes, kernels %v, %v", len(r.Cases), len(r.Changes), r.Kernels, err)
	}
	const want = "2 trials of 1 case on 1 kernel; 0 failed, 0 without a verdict; 2 more trials of hunts"
	var text, page bytes.Buffer
	if err := errors.Join(report.Markdown(&text, r), report.HTML(&page, r, os.DirFS(root))); err != nil || !strings.Contains(text.String(), want) {
		t.Errorf("%v, want %q\n%s", err, want, text.Bytes())
	}
	for _, want := range []string{"<dt>trials</dt><dd>2</dd>", "<dt>failed</dt><dd>0</dd>", "<dt>trials of hunts</dt><dd>2</dd>"} {
		if !bytes.Contains(page.Bytes(), []byte(want)) {
			t.Errorf("the page has no %q", want)
		}
	}
}
