package trials

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/blockrig/blockrig/harness/bisect"
	"github.com/blockrig/blockrig/kernels/gitbuild/gitcmd"
)

// tagged is a repository with a commit for each tag, in that order; it gives
// its folder and the commits by tag.
func tagged(t *testing.T, tags ...string) (dir string, commits map[string]string) {
	t.Helper()
	dir, commits = t.TempDir(), map[string]string{}
	git := func(args ...string) string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), "git", append([]string{"-C", dir, "-c", "user.name=t", "-c", "user.email=t@t.example"}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("git %s: %v\n%s", args[0], err, out)
		}
		return strings.TrimSpace(string(out))
	}
	git("init", "-q")
	for _, tag := range tags {
		git("commit", "-q", "--allow-empty", "-m", tag)
		git("tag", tag)
		commits[tag] = git("rev-parse", "HEAD")
	}
	return dir, commits
}

// Given ends as a user names them, when they become a request, then it says
// which is old, what is looked for, and in which words; what can't be is a
// wrong request that says so.
func TestEndsOfCommits(t *testing.T) {
	dir, commits := tagged(t, "v1", "v2", "v3")
	repo, err := gitcmd.Open(t.Context(), filepath.Join(t.TempDir(), "cache"), dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name      string
		ends      Ends
		git       GitRequest
		old, new  string
		direction bisect.Direction
		terms     string
		wrong     string
	}{
		{name: "a regression", ends: Ends{Good: []string{"v1"}, Bad: "v3"}, old: "v1", new: "v3", direction: bisect.Regression},
		{name: "two good ends", ends: Ends{Good: []string{"v2", "v1"}, Bad: "v3"}, old: "v2", new: "v3", direction: bisect.Regression},
		{name: "a fix", ends: Ends{Good: []string{"v3"}, Bad: "v1", Fix: true}, old: "v1", new: "v3", direction: bisect.Fix, terms: "broken fixed"},
		{name: "words of the user's", ends: Ends{Good: []string{"v1"}, Bad: "v3"}, git: GitRequest{TermOld: "slow", TermNew: "fast"}, old: "v1", new: "v3", direction: bisect.Either, terms: "slow fast"},
		{name: "turned round", ends: Ends{Good: []string{"v3"}, Bad: "v1"}, wrong: "v1, the end that is bad, comes before v3: give --fix"},
		{name: "a fix turned round", ends: Ends{Good: []string{"v1"}, Bad: "v3", Fix: true}, wrong: "leave --fix away"},
		{name: "one commit", ends: Ends{Good: []string{"v1"}, Bad: "v1"}, wrong: "the same commit"},
		{name: "two fixes", ends: Ends{Good: []string{"v2", "v3"}, Bad: "v1", Fix: true}, wrong: "one --good only"},
		{name: "no such end", ends: Ends{Good: []string{"v0"}, Bad: "v3"}, wrong: "v0"},
		{name: "wrong words", ends: Ends{Good: []string{"v1"}, Bad: "v3"}, git: GitRequest{TermOld: "bad"}, wrong: "the opposite"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var r Request
			err := r.Commits(t.Context(), repo, c.ends, c.git)
			if c.wrong != "" {
				if _, ok := errors.AsType[RequestError](err); !ok || !strings.Contains(err.Error(), c.wrong) || r.Git != nil {
					t.Errorf("%v, %+v; want a wrong request: %s", err, r.Git, c.wrong)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if r.Git.Old[0] != (End{c.old, commits[c.old]}) || r.Git.New != (End{c.new, commits[c.new]}) || r.Direction != c.direction {
				t.Errorf("%+v, a %s", r.Git, r.Direction)
			}
			if got := strings.TrimSpace(r.Git.TermOld + " " + r.Git.TermNew); got != c.terms {
				t.Errorf("git's words are %q, want %q", got, c.terms)
			}
		})
	}
}

// Given paths, then each that names nothing at the ends nor between them is a
// wrong request: beside another one git would take no notice of it.
func TestPathsNameSomething(t *testing.T) {
	dir, _ := tagged(t, "v1")
	git := func(args ...string) {
		t.Helper()
		if out, err := exec.CommandContext(t.Context(), "git", append([]string{"-C", dir, "-c", "user.name=t", "-c", "user.email=t@t.example"}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("git %s: %v\n%s", args[0], err, out)
		}
	}
	commit := func(tag string, files ...string) {
		t.Helper()
		for _, f := range files {
			name := filepath.Join(dir, f)
			if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(tag), 0o644)); err != nil {
				t.Fatal(err)
			}
		}
		git("add", "-A")
		git("commit", "-q", "--allow-empty", "-m", tag)
		git("tag", tag)
	}
	commit("v2", "block/bio.c", "drivers/md/dm.c", "a b/c.c")
	commit("v3", "came/and/went.c")
	git("rm", "-q", "came/and/went.c")
	commit("v4", "block/bio.c", "new/x.c")
	repo, err := gitcmd.Open(t.Context(), filepath.Join(t.TempDir(), "cache"), dir)
	if err != nil {
		t.Fatal(err)
	}
	for path, is := range map[string]bool{
		"block": true, "block/": true, "block/bio.c": true, "a b": true, "drivers/md": true, "came": true, "new/x.c": true, "*.c": true, ":(glob)**/went.c": true, ":!docs": true,
		"blokc": false, "block/bio.h": false, "bloc": false, "*.h": false, "../block": false, "/block": false, "a": false, ":(glop)block": false, "-block": false,
	} {
		var r Request
		err := r.Commits(t.Context(), repo, Ends{Good: []string{"v2"}, Bad: "v4"}, GitRequest{Paths: []string{"block", path}})
		if _, wrong := errors.AsType[RequestError](err); wrong == is || (err == nil) != is {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// Given an answer that leaves a range of commits, when git is to follow, then
// its bisection begins with the range's tags, once; it is resumed from then on.
// A doubtful answer ends it.
func TestCommitsFollowReleases(t *testing.T) {
	repo, commits := tagged(t, "v6.17", "v6.18", "v6.18.5", "v6.18.9")
	begin := func(t *testing.T, repo string) *Search {
		t.Helper()
		s, err := Create(filepath.Join(t.TempDir(), "s"), Request{
			Releases: &ReleaseRequest{Releases: []bisect.Release{{Version: "6.17.13"}, {Version: "6.18.5"}, {Version: "6.18.9"}}}, ThenGit: &GitRequest{Repo: repo}, Criteria: Criteria{BadWhen: "errno == EIO"},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		s.Cache = filepath.Join(t.TempDir(), "cache")
		return s
	}
	found := func(g bisect.Grade, d bisect.Direction) *Outcome {
		return &Outcome{Answer: &bisect.Answer{Grade: g, Direction: d, First: &bisect.Commit{Hash: "6.18.5"}}}
	}

	s := begin(t, repo)
	if next, err := s.Next(t.Context(), found(bisect.Doubtful, bisect.Regression)); next != nil || err != nil {
		t.Errorf("after a doubtful answer: %v, %v", next, err)
	}
	for range 2 {
		all, err := s.Next(t.Context(), found(bisect.Proven, bisect.Fix))
		if err != nil || len(all) != 1 {
			t.Fatalf("%d follow, %v", len(all), err)
		}
		next := all[0]
		g := next.Request.Git
		if g.Old[0] != (End{"v6.17", commits["v6.17"]}) || g.New != (End{"v6.18.5", commits["v6.18.5"]}) || g.TermNew != "fixed" {
			t.Errorf("between %+v", g)
		}
		if r := next.Request; r.Releases != nil || r.ThenGit != nil || r.BadWhen != "errno == EIO" || r.For != nil || next.Dir() != GitAfter(s.Dir()) {
			t.Errorf("in %s: %+v", next.Dir(), r)
		}
		if next.Cache != s.Cache {
			t.Errorf("the cache is %q, want %q", next.Cache, s.Cache)
		}
		if err := next.Close(); err != nil {
			t.Fatal(err)
		}
	}

	// Of several culprits, each range is bisected for what began there.
	s = begin(t, repo)
	s.Request.BadWhen = ""
	several := found(bisect.Proven, bisect.Regression)
	several.Answer.Target.Signature = bisect.Signature{Verdict: "eio"}
	other := func(first string, sig bisect.Signature, same bool) {
		a := found(bisect.Proven, bisect.Regression).Answer
		a.First, a.Target.Signature, a.Same = &bisect.Commit{Hash: first}, sig, same
		several.Answer.More = append(several.Answer.More, a)
	}
	other("6.18.5", bisect.Signature{Verdict: "degraded"}, true)
	other("6.18.9", bisect.Signature{Verdict: "warn", Title: "WARNING in a"}, false)
	all, err := s.Next(t.Context(), several)
	if err != nil || len(all) != 2 {
		t.Fatalf("%d follow, %v", len(all), err)
	}
	for i, want := range [][]string{{"eio", "degraded"}, {`"WARNING in a"`}} {
		if got := all[i].Request.For; !slices.Equal(got, want) || all[i].Dir() != GitAfter(s.Dir())+[]string{"", "-2"}[i] {
			t.Errorf("in %s for %q, want %q", all[i].Dir(), got, want)
		}
		if all[i].Follows != i {
			t.Errorf("%s follows culprit %d, want %d", all[i].Dir(), all[i].Follows, i)
		}
		if err := all[i].Close(); err != nil {
			t.Fatal(err)
		}
	}

	bare, _ := tagged(t, "v6.18")
	s = begin(t, bare)
	_, err = s.Next(t.Context(), found(bisect.Proven, bisect.Regression))
	if _, ok := errors.AsType[RequestError](err); !ok || !strings.Contains(err.Error(), "no tag v6.17") || !strings.Contains(err.Error(), "--good v6.17 --bad v6.18") {
		t.Errorf("without the tags: %v", err)
	}
	if bisect.Begun(GitAfter(s.Dir())) {
		t.Error("it has begun without the tags")
	}
}
