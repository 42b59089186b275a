package trials

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/blockrig/blockrig/harness/bisect"
	"github.com/blockrig/blockrig/harness/verdict"
	"github.com/blockrig/blockrig/kernels/gitbuild/gitcmd"
	"github.com/blockrig/blockrig/results"
	"github.com/blockrig/blockrig/scenarios"
	"github.com/blockrig/blockrig/scenarios/language"
)

// sources is a git repository that a test writes.
type sources struct {
	t   *testing.T
	dir string
}

func newSources(t *testing.T) *sources {
	s := &sources{t, filepath.Join(t.TempDir(), "linux")}
	if err := os.Mkdir(s.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s.git("init", "-q", "-b", "main")
	return s
}

func (s *sources) git(args ...string) string {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), "git", append([]string{"-C", s.dir, "-c", "user.name=Cora Committer", "-c", "user.email=cora@example.org"}, args...)...)
	cmd.Env = append(os.Environ(), "GIT_AUTHOR_NAME=Arthur Author", "GIT_AUTHOR_EMAIL=arthur@example.org", "GIT_CONFIG_GLOBAL=/dev/null")
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("git %s: %v\n%s", args[0], err, out)
	}
	return strings.TrimSpace(string(out))
}

// commit writes a file and gives the commit.
func (s *sources) commit(file, text, message string) string {
	s.t.Helper()
	path := filepath.Join(s.dir, file)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
	s.git("add", ".")
	s.git("commit", "-q", "--allow-empty", "-m", message)
	return s.git("rev-parse", "HEAD")
}

// A told search has trials that a test tells it.
type toldSearch struct {
	*Search
	t      *testing.T
	trials []byte
	n      int
}

func newTold(t *testing.T, r Request) *toldSearch {
	t.Helper()
	s, err := Create(filepath.Join(t.TempDir(), "state"), r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	s.Cache = t.TempDir()
	return &toldSearch{Search: s, t: t}
}

// trial records one with its folder.
func (s *toldSearch) trial(commit string, o bisect.Outcome, console ...string) {
	s.t.Helper()
	s.n++
	o.Kind, o.Phase, o.Step, o.Boot = bisect.KindVerdict, "step", "pread", fmt.Sprint("boot ", s.n/2)
	o.Where = filepath.Join(dirRuns, "r", fmt.Sprintf("%04d", s.n))
	rec := results.Record{
		Scenario: "s", Verdict: o.Verdict, Also: o.Also, Phase: o.Phase, Errno: o.Errno, Bytes: o.Bytes, Outcome: o.Errno,
		Kernel: results.Kernel{Ref: "git:x@" + commit, Release: "6.0.0-rc1"}, Accel: "tcg", CPUs: 1,
		Signature: verdict.Signature{Phase: o.Phase, Step: o.Step, Verdict: o.Verdict, Titles: o.Titles},
		Legs:      []scenarios.Leg{{Name: "253:1", Disk: "a", Health: "D", OK: o.Errno != "EIO"}},
	}
	if rec.Outcome == "" {
		rec.Outcome = fmt.Sprintf("%d bytes", o.Bytes)
	}
	for i, line := range console {
		for _, title := range o.Titles {
			if strings.Contains(line, title) {
				rec.Findings = append(rec.Findings, results.Finding{Title: title, Line: i + 1})
			}
		}
	}
	dir := filepath.Join(s.Dir(), o.Where)
	data, err := json.Marshal(rec)
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, results.ResultFile), data, 0o644)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, results.ConsoleFile), []byte(strings.Join(console, "\n")+"\n"), 0o644)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	line, err := json.Marshal(map[string]any{"commit": commit, "request": s.n, "trial": o})
	if err != nil {
		s.t.Fatal(err)
	}
	s.trials = append(append(s.trials, line...), '\n')
}

// report is the text about an answer.
func (s *toldSearch) report(a *bisect.Answer) string {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.Dir(), "trials.jsonl"), s.trials, 0o644); err != nil {
		s.t.Fatal(err)
	}
	h, err := s.git(s.t.Context(), s.Request.Git.Repo)
	if err != nil {
		s.t.Fatal(err)
	}
	c, err := s.Case()
	if err != nil {
		s.t.Fatal(err)
	}
	first, err := h.Describe(s.t.Context(), a.First.Hash)
	if err != nil {
		s.t.Fatal(err)
	}
	a.First = &first
	cx, err := s.context(s.t.Context(), a, c, h, noKernels{repo: s.Request.Git.Repo})
	if err != nil {
		s.t.Fatal(err)
	}
	return bisect.Report(a, cx)
}

// wantIn wants parts of a text.
func wantIn(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q is not in\n%s", part, text)
		}
	}
}

func requestFor(t *testing.T, repo, id, old, new string) Request {
	t.Helper()
	sc, err := language.Load("lvm-mirror-dio-read")
	if err != nil {
		t.Fatal(err)
	}
	c, err := language.OneCase(sc, id)
	if err != nil {
		t.Fatal(err)
	}
	return Request{
		Command:  []string{"/opt/x/blockrig", "bisect", "git", "--repo", repo, "--good", "v6.0", "--bad", "v6.1", "--results=/home/u/r", "lvm-mirror-dio-read", "--case", id, "-o", "/home/u/report", "--apply", "/home/u/mend.patch"},
		Scenario: ScenarioOf(c), Machine: Machine{Accel: "tcg", CPUs: 2}, Direction: bisect.Regression,
		Git: &GitRequest{Repo: repo, Old: []End{{"v6.0", old}}, New: End{"v6.1", new}},
	}
}

const mirrorMaintainers = "DEVICE-MAPPER\nM:\tAlasdair Kergon <agk@example.org>\nL:\tdm-devel@lists.linux.dev\nF:\tdrivers/md/dm*\n"

// Given a search whose bad end shows more than what was looked for, when its
// report is written, then it is about the culprit: what its own trials and its
// parent's show, by a source that others have, to the people that it concerns.
func TestTheReportIsAboutTheCulprit(t *testing.T) {
	src := newSources(t)
	src.commit("MAINTAINERS", mirrorMaintainers, "Linux 6.0")
	old := src.git("rev-parse", "HEAD")
	src.git("tag", "v6.0")
	parent := src.commit("kernel/x.c", "1", "x: warn")
	first := src.commit("drivers/md/dm-raid1.c", "1", "dm: count all errors\n\nWords.\n\nSigned-off-by: Arthur Author <arthur@example.org>\nSigned-off-by: Cora Committer <cora@example.org>")
	src.git("tag", "v6.1-rc1")
	src.git("revert", "--no-edit", first)
	again := src.commit("drivers/md/dm-raid1.c", "1", "Reapply \"dm: count all errors\"\n\nThis reverts commit "+src.git("rev-parse", "HEAD")+".")
	src.git("tag", "v6.1")

	r := requestFor(t, src.dir, "length=4096,memory_offset=32", old, again)
	r.BadWhen = "errno == EIO"
	s := newTold(t, r)
	warn := []string{"------------[ cut here ]------------", "WARNING in unrelated", "trace of it", "---[ end trace 0 ]---", "device-mapper: raid1: Mirror read failed", "Buffer I/O error"}
	for range 2 {
		s.trial(again, bisect.Outcome{Verdict: "warn", Also: []scenarios.Verdict{"eio"}, Errno: "EIO", Titles: []string{"WARNING in unrelated", "WARNING in later"}}, "WARNING in unrelated", "WARNING in later")
		s.trial(first, bisect.Outcome{Verdict: "warn", Also: []scenarios.Verdict{"eio"}, Errno: "EIO", Titles: []string{"WARNING in unrelated", "Mirror read failed"}}, warn...)
		s.trial(parent, bisect.Outcome{Verdict: "warn", Errno: "EINVAL", Titles: []string{"WARNING in unrelated"}}, warn[:4]...)
	}
	text := s.report(&bisect.Answer{
		Direction: bisect.Regression, First: &bisect.Commit{Hash: first}, Grade: bisect.Proven,
		Target: bisect.Target{Signature: bisect.Signature{Verdict: "warn", Phase: "step", Step: "pread"}, Titles: []string{"WARNING in unrelated", "WARNING in later"}},
	})
	wantIn(t, text,
		"Subject: [REGRESSION] misaligned direct read on dm-mirror returns EIO\n and marks a leg failed (since "+first[:12]+")\n",
		"To: Alasdair Kergon <agk@example.org>\n",
		"Cc: Arthur Author <arthur@example.org>,\n Cora Committer <cora@example.org>, dm-devel@lists.linux.dev,\n regressions@lists.linux.dev\n",
		"(\"dm: count all errors\", first in v6.1-rc1), a\npread of 4096 bytes",
		"With its parent it\nreturns EINVAL.\n",
		"  with the commit: 2 of 2 trials failed in 2 boots\n  with its parent: 0 of 2 trials failed",
		"  looked for: errno == EIO\n",
		"In the kernel's log with the failure only:\n  Mirror read failed\n\n",
		"| device-mapper: raid1: Mirror read failed\n| Buffer I/O error\n",
		"#regzbot introduced: "+first+"\n",
		"    -k git:linux@"+parent+" \\\n      -k git:linux@"+first+"\n",
		"      --case length=4096,memory_offset=32 \\\n      --cpus 2 \\\n      --accel tcg \\\n",
		again[:12]+" (\"Reapply \"dm: count all errors\"\") applies it\nv6.1 has the one of "+again[:12]+".\n",
		"      --bad v6.1 lvm-mirror-dio-read \\\n      --case length=4096,memory_offset=32 \\\n      --apply mend.patch\n",
	)
	for _, no := range []string{src.dir, "/home/u", "WARNING in", "trace of it", "warn in pread"} {
		if strings.Contains(text, no) {
			t.Errorf("%q is in it\n%s", no, text)
		}
	}
}

// Given a merge whose parents are the same binary, then the trials of that are
// counted once.
func TestTheReportCountsABinaryOnce(t *testing.T) {
	src := newSources(t)
	old := src.commit("MAINTAINERS", mirrorMaintainers, "Linux 6.0")
	src.git("tag", "v6.0")
	src.git("checkout", "-q", "-b", "side")
	side := src.commit("side", "1", "x: a side")
	src.git("checkout", "-q", "main")
	parent := src.commit("kernel/x.c", "1", "x: something")
	src.git("merge", "-q", "--no-edit", "side")
	merge := src.git("rev-parse", "HEAD")

	s := newTold(t, requestFor(t, src.dir, "length=512,memory_offset=0", old, merge))
	for range 2 {
		s.trial(parent, bisect.Outcome{Verdict: "pass"})
		s.trial(merge, bisect.Outcome{Verdict: "eio", Errno: "EIO"})
	}
	text := s.report(&bisect.Answer{
		Direction: bisect.Regression, First: &bisect.Commit{Hash: merge}, Grade: bisect.Proven,
		Target: bisect.Target{Signature: bisect.Signature{Verdict: "eio", Phase: "step", Step: "pread"}},
		Marks:  []bisect.Record{{Commit: parent}, {Commit: side, SameAs: parent}},
	})
	wantIn(t, text, "  with the commit: 2 of 2 trials failed in 2 boots\n  with its parent: 0 of 2 trials failed in 2 boots\n")
}

// Given a bug that shows now and then in a commit that nobody else has, then
// the report says how often to try, and the source is what the same change is
// called where others have it.
func TestTheReportNamesWhatOthersHave(t *testing.T) {
	src := newSources(t)
	src.commit("MAINTAINERS", mirrorMaintainers, "Linux 6.0")
	old := src.git("rev-parse", "HEAD")
	src.git("tag", "v6.0")
	upstream := src.commit("drivers/md/dm-raid1.c", "1", "dm: count all errors")
	src.git("tag", "v6.1")
	src.git("checkout", "-q", "-b", "mine", old)
	parent := src.commit("mine", "1", "mine: something")
	src.git("cherry-pick", upstream)
	first := src.git("rev-parse", "HEAD")

	r := requestFor(t, src.dir, "length=8192,memory_offset=0", old, first)
	r.Command = append(r.Command[:11], "--set", "length=8192", "--set=memory_offset=0")
	r.Command[8], r.Git.New.Name = "mine", "mine" // a branch that others do not have
	s := newTold(t, r)
	target := bisect.Signature{Verdict: "errno", Phase: "step", Step: "pread", Short: true, Bytes: 4096}
	for i := range 20 {
		o := bisect.Outcome{Verdict: "pass", Bytes: 8192}
		s.trial(parent, o)
		if i < 3 {
			o = bisect.Outcome{Verdict: "errno", Bytes: 4096}
		}
		s.trial(first, o)
	}
	text := s.report(&bisect.Answer{
		Direction: bisect.Regression, First: &bisect.Commit{Hash: first}, Grade: bisect.Likely,
		Target: bisect.Target{Signature: target}, FailRate: bisect.Rate{Hits: 3, Runs: 20},
	})
	wantIn(t, text,
		"Subject: [REGRESSION] 8192-byte direct read on dm-mirror returns 4096\n bytes (since "+upstream[:12]+")\n",
		"Probably since commit",
		"between v6.0 and "+first[:12]+",",
		"  blockrig bisect git \\\n      --repo linux \\\n      --good v6.0 \\\n      --bad "+first+" lvm-mirror-dio-read \\\n      --set length=8192 \\\n      --set=memory_offset=0\n",
		"With its parent it returns 8192 bytes.\n",
		"3 of 20 trials failed", "0 of 20 trials failed",
		"The kernel's log says nothing about it.\n",
		"is in no release tag; upstream, the same change is", upstream,
		"#regzbot introduced: "+upstream+"\n",
		"      --set length=8192 \\\n      --set memory_offset=0 \\\n      --repeat 29 \\\n",
		"      -k git:linux@"+upstream+"^ \\\n      -k git:linux@"+upstream+"\n",
		"29 trials show it with a\nprobability of 99 %.\n",
	)
}

// Given what a commit's message says, then that is where it comes from, and
// what became of its change follows from the commits around it.
func TestOriginOfACommit(t *testing.T) {
	src := newSources(t)
	old := src.commit("f", "0", "Linux 6.0")
	src.git("tag", "v6.0")
	up := strings.Repeat("ab", 20)
	backport := src.commit("g", "1", "dm: a fix\n\n[ Upstream commit "+up+" ]\n\nWords.")
	second := src.commit("g", "2", "dm: another\n\ncommit "+up+" upstream.\n\nWords.")
	third := src.commit("g", "3", "dm: a third\n\n(cherry picked from commit "+up[:12]+")")
	src.git("tag", "v6.0.1")
	src.git("tag", "later-by-someone")
	change := src.commit("f", "1", "f: change")
	src.git("revert", "--no-edit", change)
	undo := src.git("rev-parse", "HEAD")
	redo := src.commit("f", "1", "f: change") // by the change alone
	tip := src.commit("h", "1", "Revert \"f: change\", they said")

	// Whether it is gone is said for the end of the search, not for today.
	for end, want := range map[string]string{undo: undo, redo: "", tip: ""} {
		s := &Search{Cache: t.TempDir(), Request: Request{Git: &GitRequest{Repo: src.dir, Old: []End{{Commit: old}}, New: End{Commit: end}}}}
		if by := s.takenBack(t.Context(), bisect.Commit{Hash: change, Title: "f: change"}); by != want {
			t.Errorf("up to %s, %q took it back, want %q", end, by, want)
		}
	}

	repo := sourceOf(t, src)
	for _, tc := range []struct {
		commit, upstream, in, near string
		story                      string
	}{
		{backport, up, "v6.0.1", "", ""},
		{second, up, "v6.0.1", "", ""},
		{third, up[:12], "v6.0.1", "", ""},
		{change, "", "", "v6.0.1-1-g" + change[:12], "+" + change + " -" + undo + " +" + redo},
		{redo, "", "", "v6.0.1-3-g" + redo[:12], "+" + change + " -" + undo + " +" + redo},
		// A revert that does the harm: what it reverts was there before.
		{undo, "", "", "v6.0.1-2-g" + undo[:12], "+" + undo + " -" + redo},
		{tip, "", "", "v6.0.1-4-g" + tip[:12], ""},
	} {
		o := repo.originOf(t.Context(), bisect.Commit{Hash: tc.commit, Title: src.git("show", "-s", "--format=%s", tc.commit)}, []string{old}, tip)
		var story []string
		for _, ch := range o.Story {
			story = append(story, map[bool]string{false: "+", true: "-"}[ch.Reverts]+ch.Hash)
		}
		if o.Upstream != tc.upstream || o.In != tc.in || o.Near != tc.near || o.Same || strings.Join(story, " ") != tc.story {
			t.Errorf("%s: %+v", src.git("show", "-s", "--format=%h %s", tc.commit), o)
		}
	}
}

func sourceOf(t *testing.T, src *sources) source {
	t.Helper()
	repo, err := gitcmd.Open(t.Context(), t.TempDir(), src.dir)
	if err != nil {
		t.Fatal(err)
	}
	return source{repo}
}

// Given an answer with two culprits, then each has a text of its own.
func TestEachCulpritHasAReport(t *testing.T) {
	s := newTold(t, requestFor(t, "/r", "length=512,memory_offset=0", "old", "new"))
	culprit := func(verdict scenarios.Verdict, hash string) *bisect.Answer {
		return &bisect.Answer{Direction: bisect.Regression, First: &bisect.Commit{Hash: hash}, Grade: bisect.Proven, Target: bisect.Target{Signature: bisect.Signature{Verdict: verdict, Phase: "step", Step: "pread"}}}
	}
	first := culprit("eio", strings.Repeat("a", 40))
	same := culprit("warn", first.First.Hash)
	same.Same = true
	first.More = []*bisect.Answer{same, culprit("hang", strings.Repeat("b", 40))}
	o := &Outcome{Answer: first, Contexts: []bisect.Context{{Also: []string{same.Target.Does(nil)}}, {}}}
	paths, err := s.WriteReports(o)
	if err != nil || len(paths) != 2 || filepath.Base(paths[0]) != "report.txt" || filepath.Base(paths[1]) != "report-2.txt" {
		t.Fatalf("%v, %v", paths, err)
	}
	for i, want := range []string{"returns EIO (since aaaaaaaaaaaa)", "hangs (since bbbbbbbbbbbb)"} {
		text, err := os.ReadFile(paths[i])
		if err != nil || !strings.Contains(string(text), want) || strings.Contains(string(text), "it triggers a kernel warning") != (i == 0) {
			t.Errorf("%v\n%s", err, text)
		}
	}
	for name, want := range map[string]string{"a": "a-2", "/x/r.txt": "/x/r-2.txt"} {
		if got := Numbered(name, 1); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestRepeats(t *testing.T) {
	for _, c := range []struct {
		hits, runs int
		all        bisect.Rate
		want       int
	}{
		{12, 12, bisect.Rate{}, 0},
		{12, 12, bisect.Rate{Hits: 30, Runs: 30}, 0},
		{1, 2, bisect.Rate{}, 7},
		{3, 3, bisect.Rate{Hits: 10, Runs: 100}, 44}, // it was luck
		{0, 12, bisect.Rate{Hits: 1, Runs: 100}, 0},
	} {
		if got := repeats(&bisect.Seen{Hits: c.hits, Runs: c.runs}, c.all); got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
	}
	if repeats(nil, bisect.Rate{}) != 0 {
		t.Error("repeats of nothing")
	}
}
