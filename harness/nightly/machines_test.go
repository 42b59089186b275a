package nightly

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/blockrig/blockrig/harness/bisect"
	"github.com/blockrig/blockrig/harness/bisect/trials"
	"github.com/blockrig/blockrig/scenarios/language"
)

// repository makes one of three commits, tagged v1, v2 and v3 in turn.
func repository(t *testing.T) (dir string, commits []string) {
	t.Helper()
	dir = t.TempDir()
	git := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=T", "-c", "user.email=t@t.example"}, args...)...)
		cmd.Env = append(cmd.Environ(), "GIT_COMMITTER_DATE=2026-01-0"+string(rune('1'+len(commits)))+"T00:00:00Z")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v: %s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	git("init", "-q", "-b", "master")
	for _, tag := range []string{"v1", "v3", "v2"} {
		git("commit", "-q", "--allow-empty", "-m", tag)
		git("tag", tag)
		commits = append(commits, git("rev-parse", "HEAD"))
	}
	return dir, commits
}

// Given a repository, then tags come in the order of their time, and a branch
// is the commit that it is at.
func TestRepository(t *testing.T) {
	dir, commits := repository(t)
	m := &Machines{Cache: t.TempDir()}
	tags, err := m.Tags(t.Context(), dir)
	if err != nil || !slices.Equal(tags, []string{"v1", "v3", "v2"}) {
		t.Errorf("tags: %v, %v", tags, err)
	}
	if hash, err := m.Commit(t.Context(), dir, "master"); err != nil || hash != commits[2] {
		t.Errorf("master: %s, %v", hash, err)
	}
	if _, err := m.Tags(t.Context(), t.TempDir()); err == nil {
		t.Error("a folder that is no repository has tags")
	}
}

// Given two commits of a stream, then what came between them is bisected, and
// a search that was begun goes on.
func TestSearchOfCommits(t *testing.T) {
	dir, commits := repository(t)
	u := &trials.Unattended{Cache: t.TempDir(), Command: []string{"blockrig", "nightly", "x.yaml"}}
	sc, err := language.Load("lvm-mirror-dio-read")
	if err != nil {
		t.Fatal(err)
	}
	c, err := language.OneCase(sc, "length=512,memory_offset=32")
	if err != nil {
		t.Fatal(err)
	}
	s := Search{
		Dir: filepath.Join(t.TempDir(), "search"), Case: c, Good: "git:" + dir + "@" + commits[0], Bad: "git:" + dir + "@" + commits[2],
		For: "eio", Machine: trials.Machine{Accel: "tcg", Tools: "auto"}, Fragments: []string{"debug"},
	}
	for range 2 {
		search, err := u.Begin(t.Context(), s, nil)
		if err != nil {
			t.Fatal(err)
		}
		r := search.Request
		if r.Git == nil || r.Git.New.Commit != commits[2] || r.Git.Old[0].Commit != commits[0] || r.Direction != bisect.Regression ||
			!slices.Equal(r.For, []string{"eio"}) || !slices.Equal(r.Git.Build.Fragments, []string{"debug"}) || r.Scenario.Case != c.ID {
			t.Errorf("got %+v, %+v", r, r.Git)
		}
		if err := search.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s.Dir, s.Good, s.Bad = filepath.Join(t.TempDir(), "backwards"), s.Bad, s.Good
	if search, err := u.Begin(t.Context(), s, nil); err == nil {
		t.Errorf("backwards: %+v", search.Request)
	}
}
