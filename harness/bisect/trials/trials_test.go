package trials

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/blockrig/blockrig/harness/bisect"
	"github.com/blockrig/blockrig/harness/cachedir"
	"github.com/blockrig/blockrig/harness/trial"
	"github.com/blockrig/blockrig/harness/verdict"
	"github.com/blockrig/blockrig/kernels/gitbuild"
	"github.com/blockrig/blockrig/results"
	"github.com/blockrig/blockrig/scenarios"
	"github.com/blockrig/blockrig/scenarios/language"
)

// Given trials of every kind, when a search gets them, then only a verdict
// says something of the kernel, and a boot that failed is told from trouble of
// the host's.
func TestOutcomes(t *testing.T) {
	for _, c := range []struct {
		name string
		rec  results.Record
		rep  verdict.Report
		want bisect.Outcome
	}{
		{
			"a failure",
			results.Record{Verdict: "hang", Also: []scenarios.Verdict{"warn"}, Phase: "step", BootID: "b", Signature: verdict.Signature{Phase: "step", Step: "pread", Verdict: scenarios.Hang, Titles: []string{"WARNING in a", "task hung in b"}}},
			verdict.Report{Step: "pread"},
			bisect.Outcome{Kind: bisect.KindVerdict, Verdict: "hang", Also: []scenarios.Verdict{"warn"}, Phase: "step", Step: "pread", Titles: []string{"WARNING in a", "task hung in b"}, NoAnswer: true, Boot: "b"},
		},
		{
			"a pass",
			results.Record{Verdict: "pass", Phase: "done", BootID: "b", Errno: "EINVAL", Signature: verdict.Signature{Phase: "done", Step: "pread", Verdict: scenarios.Pass}},
			verdict.Report{Step: "pread"},
			bisect.Outcome{Kind: bisect.KindVerdict, Verdict: "pass", Phase: "done", Step: "pread", Errno: "EINVAL", Boot: "b"},
		},
		{
			"a kernel that does not come up",
			results.Record{Verdict: "error", Phase: "boot", Reason: "the kernel did not come up", Signature: verdict.Signature{Phase: "boot", Step: "pread", Verdict: scenarios.Error}},
			verdict.Report{Step: "pread"},
			bisect.Outcome{Kind: bisect.KindBoot, Verdict: "error", Phase: "boot", Step: "pread", Reason: "the kernel did not come up"},
		},
		{
			"a host that fails while it boots",
			results.Record{Verdict: "error", Phase: "boot", Reason: "disk full", Signature: verdict.Signature{Phase: "boot", Step: "pread", Verdict: scenarios.Error}},
			verdict.Report{Step: "pread", Host: "disk full"},
			bisect.Outcome{Kind: bisect.KindError, Verdict: "error", Phase: "boot", Step: "pread", Reason: "disk full", Host: true},
		},
		{
			"a boot on a machine that was too busy",
			results.Record{Verdict: "error", Phase: "boot", Reason: "no word from it", Signature: verdict.Signature{Phase: "boot", Step: "pread", Verdict: scenarios.Error}},
			verdict.Report{Step: "pread", Doubt: "starved"},
			bisect.Outcome{Kind: bisect.KindError, Verdict: "error", Phase: "boot", Step: "pread", Reason: "no word from it", Host: true},
		},
		{
			"a tool that fails",
			results.Record{Verdict: "error", Phase: "stack", Reason: "lvcreate", BootID: "b", Signature: verdict.Signature{Phase: "stack", Step: "pread", Verdict: scenarios.Error}},
			verdict.Report{Step: "pread"},
			bisect.Outcome{Kind: bisect.KindError, Verdict: "error", Phase: "stack", Step: "pread", Reason: "lvcreate", Boot: "b"},
		},
	} {
		got := outcomeOf(c.rec, trial.Outcome{Report: c.rep}, scenarios.Case{Scenario: &scenarios.Scenario{}})
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
	}
}

// Given names of subjects, then what is built follows from them alone, so that
// a reference in a record gives the kernel again.
func TestSubjectsAsReferences(t *testing.T) {
	c := &Commits{Spec: gitbuild.Spec{Repo: "/a@b/linux", Patches: []string{"mend"}}, Try: []string{"try"}}
	a, b := strings.Repeat("a", 40), strings.Repeat("b", 40)
	for _, tc := range []struct {
		s    bisect.Subject
		want gitbuild.Spec
	}{
		{bisect.Subject{Commit: a}, gitbuild.Spec{Rev: a, Patches: []string{"mend"}}},
		{bisect.Subject{Commit: a, Revert: b}, gitbuild.Spec{Rev: a, Revert: b, Patches: []string{"mend"}}},
		{bisect.Subject{Commit: a, Patched: true}, gitbuild.Spec{Rev: a, Patches: []string{"mend"}, Try: []string{"try"}}},
	} {
		tc.want.Repo = "/a@b/linux"
		ref := c.Ref(tc.s)
		if got := c.spec(tc.s); !cmp.Equal(got, tc.want) {
			t.Errorf("%s: %+v", ref, got)
		}
		i := strings.LastIndexByte(ref, '@') // as references are split
		if got := c.subjects[ref[i+1:]]; ref[:i] != "git:/a@b/linux" || got != tc.s {
			t.Errorf("%s stands for %+v", ref, got)
		}
	}
	if !slices.Equal(c.Spec.Patches, []string{"mend"}) {
		t.Errorf("the patches under test got into every kernel: %v", c.Spec.Patches)
	}
}

// Given a commit without a kernel, such as one of another project's history that
// was merged, then that is the commit's and no trouble with this machine.
func TestCommitWithoutAKernel(t *testing.T) {
	dir, commits := tagged(t, "v1")
	b, err := gitbuild.Open(t.Context(), t.TempDir(), gitbuild.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := &Commits{Builder: b, Spec: gitbuild.Spec{Repo: dir}}
	p, err := c.Prepare(t.Context(), bisect.Subject{Commit: commits["v1"]})
	if err != nil || p.Failure != bisect.KindBuild || !strings.Contains(p.Reason, "no Makefile") {
		t.Errorf("%+v, %v", p, err)
	}
}

// Given a trial's folder, when step is to look for its failure, then that is
// its signature and titles; a pass is no failure to look for.
func TestTargetOf(t *testing.T) {
	dir := t.TempDir()
	put := func(text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, results.ResultFile), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	put(`{"scenario": "s", "verdict": "hang", "signature": "step/pread/hang: WARNING in a; BUG in b", "titles": ["WARNING in a", "BUG in b"]}`)
	got, err := TargetOf(dir)
	want := &bisect.Target{Signature: bisect.Signature{Verdict: "hang", Phase: "step", Step: "pread"}, Titles: []string{"WARNING in a", "BUG in b"}}
	if err != nil || !cmp.Equal(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	// One that warns is the same as those with its title, and no other.
	put(`{"scenario": "s", "verdict": "warn", "signature": "step/pread/warn: I/O error; WARNING in a; WARNING in b", "titles": ["I/O error", "WARNING in a", "WARNING in b"],
		"findings": [{"kind": "warn", "title": "WARNING in a"}, {"kind": "io", "title": "I/O error"}, {"kind": "warn", "title": "WARNING in b"}, {"kind": "warn", "title": "WARNING allowed"}]}`)
	if got, err = TargetOf(dir); err != nil {
		t.Fatal(err)
	}
	for title, want := range map[string]int{"WARNING in a": bisect.StepBad, "WARNING in b": bisect.StepBad, "WARNING in c": bisect.StepSkip, "WARNING allowed": bisect.StepSkip} {
		o := bisect.Outcome{
			Kind: bisect.KindVerdict, Verdict: "warn", Phase: "step", Step: "pread", Titles: []string{title},
			Shows: []bisect.Signature{{Verdict: "warn", Phase: "step", Step: "pread", Title: title}},
		}
		if status, why := bisect.Step([]bisect.Outcome{o}, bisect.Rules{}, got, 3); status != want {
			t.Errorf("%s: %d, %s", title, status, why)
		}
	}
	for _, bad := range []string{`{"scenario": "s", "verdict": "pass", "signature": "done/pread/pass"}`, `{"verdict": "hang", "signature": "hang"}`, `nothing`} {
		put(bad)
		if got, err := TargetOf(dir); err == nil {
			t.Errorf("%s: %+v", bad, got)
		}
	}
	if _, err := TargetOf(filepath.Join(dir, "nowhere")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestOverall(t *testing.T) {
	for _, c := range []struct {
		effects []bisect.Effect
		want    bisect.Effect
	}{
		{[]bisect.Effect{bisect.Nothing, bisect.Nothing}, bisect.Nothing},
		{[]bisect.Effect{bisect.Nothing, bisect.Helps}, bisect.Helps},
		{[]bisect.Effect{bisect.Helps, bisect.Unclear}, bisect.Unclear},
		{[]bisect.Effect{bisect.Helps, bisect.Harms, bisect.Unclear}, bisect.Harms},
	} {
		var cases []CaseResult
		for _, e := range c.effects {
			cases = append(cases, CaseResult{PatchResult: bisect.PatchResult{Effect: e}})
		}
		if got := overall(cases); got != c.want {
			t.Errorf("%v: %s, want %s", c.effects, got, c.want)
		}
	}
}

// Given a request, when its folder is opened again, then it is the same, and
// its case too, though the scenario's file is gone.
func TestRequestOutlivesItsFiles(t *testing.T) {
	sc, err := language.Load("lvm-mirror-dio-read")
	if err != nil {
		t.Fatal(err)
	}
	c, err := language.OneCase(sc, "length=512,memory_offset=32")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "state")
	want := Request{
		Command: []string{"blockrig"}, Scenario: ScenarioOf(c), Machine: Machine{Accel: "tcg", Tools: "debian"},
		Direction: bisect.Fix, Criteria: Criteria{BadWhen: "verdict == eio", Confidence: .99},
		Git: &GitRequest{Repo: "/r", Old: []End{{"a", "b"}}, New: End{"c", "d"}, Build: Build{Patches: []File{{"../../p", []byte{0, 255}}}}},
	}
	s, err := Create(dir, want)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); !errors.Is(err, cachedir.ErrBusy) {
		t.Errorf("opened twice: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if !Unfinished(dir) {
		t.Error("it is not unfinished")
	}
	if s, err = Open(dir); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, s.Request); d != "" {
		t.Error(d)
	}
	if got, err := s.Case(); err != nil || got.ID != c.ID || !reflect.DeepEqual(got.Steps, c.Steps) {
		t.Errorf("%+v, %v", got, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// A name in it leads nowhere else.
	if _, err := putFile(filepath.Join(dir, "files"), "0001-../../p", nil); err == nil {
		t.Error("a file was written outside of its folder")
	}
}

// Given a console with several findings, then what is shown begins with what
// is about the failure, without what the kernel says anyway and what the host
// adds.
func TestExcerpt(t *testing.T) {
	dir := t.TempDir()
	var lines []string
	for range 200 {
		lines = append(lines, "quiet")
	}
	copy(lines[49:], []string{"---[ cut here ]---", "WARNING: anyway", "its trace", "---[ end trace 0 ]---"})
	lines[99], lines[103] = "Mirror read failed", "blockrig: host: {}"
	copy(lines[109:], []string{"------------[ cut here ]------------", "WARNING: anyway", "its trace", "---[ end trace 0 ]---"})
	if err := os.WriteFile(filepath.Join(dir, "console.log"), []byte(strings.Join(lines, "\n")+"\n\n"+"blockrig: host: {}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	rec := results.Record{Findings: []results.Finding{
		{Title: "WARNING: anyway", Line: 51}, {Title: "new", Line: 81}, {Title: "Mirror read failed", Line: 100}, {Title: "WARNING: anyway", Line: 111}, {Title: "beyond", Line: 9999},
	}}
	for _, tc := range []struct {
		name   string
		about  []string
		others []string
		first  string
		not    []string
	}{
		{"what the failure shows", []string{"WARNING: anyway", "Mirror read failed"}, []string{"WARNING: anyway"}, "Mirror read failed", []string{"anyway", "its trace", "cut here"}},
		{"only that is new", nil, []string{"WARNING: anyway", "Mirror read failed"}, "quiet", []string{"anyway", "Mirror"}},
		{"nothing else was there", []string{"WARNING: anyway"}, nil, "WARNING: anyway", nil},
	} {
		got, err := excerpt(dir, "console.log", rec, tc.about, tc.others)
		at := strings.Split(got, "\n")
		if err != nil || at[excerptBefore] != tc.first || len(at) > excerptBefore+excerptAfter+1 || strings.Contains(got, "blockrig: host") {
			t.Errorf("%s: %v: %q", tc.name, err, got)
		}
		for _, no := range tc.not {
			if strings.Contains(got, no) {
				t.Errorf("%s: %q is in %q", tc.name, no, got)
			}
		}
	}
	if got, err := excerpt(dir, "console.log", rec, nil, []string{"WARNING: anyway", "new", "Mirror read failed"}); got != "" || err != nil {
		t.Errorf("of what shows anyway there is %q, %v", got, err)
	}
	if _, err := excerpt(dir, "../console.log", rec, nil, nil); err == nil {
		t.Error("it read outside of the folder")
	}
	if got, err := excerpt(dir, "none", rec, nil, nil); got != "" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func TestCommandLine(t *testing.T) {
	got := commandLine([]string{"/usr/bin/blockrig", "run", "--case", "a=1,b=2", "-k", "debian:6.1-1~bpo", "it's", "~x", ""})
	if want := `blockrig run --case a=1,b=2 -k debian:6.1-1~bpo 'it'\''s' '~x' ''`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// Given folders of bisections that came to different ends, then those are
// unfinished of which something is left to do.
func TestUnfinished(t *testing.T) {
	const then = `{"releases": {"releases": [{"Version": "6.17"}, {"Version": "6.18"}]}, "then_git": {"repo": "/r"}}`
	const found = `{"first": {"hash": "6.18"}, "grade": "proven"}`
	const doubtful = `{"first": {"hash": "6.18"}, "grade": "doubtful"}`
	for name, tc := range map[string]struct {
		files map[string]string
		want  bool
	}{
		"empty":                         {nil, false},
		"begun":                         {map[string]string{"s/request.json": "{}"}, true},
		"answered":                      {map[string]string{"s/request.json": "{}", "s/answer.json": `{"grade": "proven"}`}, false},
		"wrong ends":                    {map[string]string{"s/request.json": "{}", "s/stop.json": "{}"}, false},
		"commits to come":               {map[string]string{"s/request.json": then, "s/answer.json": found}, true},
		"commits to come, but doubtful": {map[string]string{"s/request.json": then, "s/answer.json": doubtful}, false},
		"commits begun":                 {map[string]string{"s/request.json": then, "s/answer.json": found, "s-git/request.json": "{}"}, false},
	} {
		dir := t.TempDir()
		for file, text := range tc.files {
			path := filepath.Join(dir, file)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got := Unfinished(filepath.Join(dir, "s") + "/"); got != tc.want {
			t.Errorf("%s: unfinished %v", name, got)
		}
	}
}
