package bisect

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/blockrig/blockrig/kernels/gitbuild/gitcmd"
)

// gitRepo is a repository whose commits are made with plumbing: fast, and
// reproducible hashes.
type gitRepo struct {
	*gitcmd.Repo
	t       *testing.T
	hashes  map[string]string   // name -> hash
	names   map[string]string   // hash -> name
	parents map[string][]string // names
	clock   int
}

func newGitRepo(t *testing.T) *gitRepo {
	t.Helper()
	dir := t.TempDir()
	r, err := gitcmd.Init(filepath.Join(dir, ".git"), dir)
	if err != nil {
		t.Fatal(err)
	}
	return &gitRepo{Repo: r, t: t, hashes: make(map[string]string), names: make(map[string]string), parents: make(map[string][]string)}
}

// commit adds a commit that writes its name to a file called as its first
// letter; every other file is as in the first parent that has it.
func (g *gitRepo) commit(name string, parents ...string) string {
	g.t.Helper()
	blob := g.git(name, "hash-object", "-w", "--stdin")
	files := map[string]string{}
	for i := len(parents) - 1; i >= 0; i-- {
		for _, line := range strings.Split(g.git("", "ls-tree", g.hashes[parents[i]]), "\n") {
			_, path, _ := strings.Cut(line, "\t")
			files[path] = line
		}
	}
	path := fmt.Sprintf("%c.c", name[0])
	files[path] = fmt.Sprintf("100644 blob %s\t%s", blob, path)
	tree := g.git(strings.Join(slices.Collect(maps.Values(files)), "\n")+"\n", "mktree")
	g.clock++
	var b strings.Builder
	fmt.Fprintf(&b, "tree %s\n", tree)
	for _, p := range parents {
		fmt.Fprintf(&b, "parent %s\n", g.hashes[p])
	}
	who := fmt.Sprintf("An Author <author@example.org> %d +0000", 1700000000+g.clock)
	fmt.Fprintf(&b, "author %s\ncommitter %s\n\nsubsystem: change %s\n", who, who, name)
	h := g.git(b.String(), "hash-object", "-t", "commit", "-w", "--stdin")
	g.hashes[name], g.names[h], g.parents[name] = h, name, parents
	g.git("", "update-ref", "refs/heads/main", h)
	return h
}

func (g *gitRepo) git(stdin string, args ...string) string {
	g.t.Helper()
	out, err := g.RunInput(context.Background(), strings.NewReader(stdin), args...)
	if err != nil {
		g.t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// line makes a line of n commits, a00, a01, ….
func (g *gitRepo) line(n int) (first, last string) {
	g.t.Helper()
	for i := range n {
		name := fmt.Sprintf("a%02d", i)
		if i == 0 {
			first = g.commit(name)
			last = first
			continue
		}
		last = g.commit(name, fmt.Sprintf("a%02d", i-1))
	}
	return first, last
}

// borrow opens the repository as blockrig does a user's.
func (g *gitRepo) borrow() *gitcmd.Repo {
	g.t.Helper()
	r, err := gitcmd.Open(context.Background(), g.t.TempDir(), g.Dir())
	if err != nil {
		g.t.Fatal(err)
	}
	return r
}

func (g *gitRepo) open(opts GitOptions) *Git {
	g.t.Helper()
	h, err := OpenGit(context.Background(), g.borrow(), filepath.Join(g.t.TempDir(), "worktree"), opts)
	if err != nil {
		g.t.Fatal(err)
	}
	return h
}

// scripted is a tester whose kernels do what a function says, always.
type scripted struct {
	does     func(s Subject) Outcome
	prepared func(s Subject) Prepared
	compiled []string
	mu       sync.Mutex
	boot     int
	tried    []Subject
	requests int
}

func (t *scripted) Prepare(ctx context.Context, s Subject) (Prepared, error) {
	if t.prepared != nil {
		return t.prepared(s), nil
	}
	if s.Revert != "" && !s.Partly {
		return Prepared{Failure: KindBuild, Reason: "does not build without it"}, nil
	}
	return Prepared{Digest: "sha256:" + s.String()}, nil
}

func (t *scripted) Test(ctx context.Context, r Request, record func(Outcome) error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.requests++
	for range r.Boots {
		t.boot++
		for range r.Runs {
			t.tried = append(t.tried, r.Subject)
			sub := r.Subject
			if sub.Apply != "" {
				sub = Subject{Commit: sub.Apply} // alone, it does what it does
			}
			o := t.does(sub)
			o.Boot = fmt.Sprint("boot", t.boot)
			if err := record(o); err != nil {
				return err
			}
			if o.Kind != KindVerdict {
				return nil
			}
		}
	}
	return nil
}

func (t *scripted) Compiled(ctx context.Context, s Subject, paths []string) ([]string, error) {
	if t.compiled == nil {
		return nil, ErrNotKnown
	}
	return slices.DeleteFunc(slices.Clone(paths), func(p string) bool { return !slices.Contains(t.compiled, p) }), nil
}

// failsFrom fails for every commit that has one of the given ones as
// ancestor.
func (g *gitRepo) failsFrom(name string) func(Subject) Outcome {
	bad := make(map[string]bool)
	var below func(string) bool
	below = func(c string) bool {
		return c == name || slices.ContainsFunc(g.parents[c], below)
	}
	for h, c := range g.names {
		bad[h] = below(c)
	}
	return func(s Subject) Outcome {
		if bad[s.Commit] {
			return simTarget
		}
		return simPass
	}
}

func TestGitFindsTheCommit(t *testing.T) {
	repo := newGitRepo(t)
	first, last := repo.line(20)
	// A branch off a05 that is merged at the end.
	repo.commit("b1", "a05")
	repo.commit("b2", "b1")
	merge := repo.commit("m1", "a19", "b2")
	end := repo.commit("a20", "m1")
	for _, c := range []struct {
		name    string
		culprit string
		new     string
		old     []string
		opts    GitOptions
		want    string
		atOnce  bool // with several builders, too
	}{
		{atOnce: true, name: "linear", culprit: "a13", new: last, old: []string{first}},
		{name: "first after the good end", culprit: "a01", new: last, old: []string{first}},
		{name: "the bad end itself", culprit: "a19", new: last, old: []string{first}},
		{name: "neighbours", culprit: "a19", new: last, old: []string{repo.hashes["a18"]}},
		{atOnce: true, name: "in a merged branch", culprit: "b1", new: end, old: []string{first}},
		{name: "in a merge", culprit: "m1", new: end, old: []string{first}},
		{atOnce: true, name: "first parent", culprit: "b1", want: "m1", new: end, old: []string{first}, opts: GitOptions{FirstParent: true}},
		{atOnce: true, name: "several goods", culprit: "a13", new: end, old: []string{first, repo.hashes["b2"], repo.hashes["a10"]}},
		{atOnce: true, name: "paths", culprit: "b2", new: end, old: []string{first}, opts: GitOptions{Paths: []string{"b.c"}}},
		{atOnce: true, name: "good is no ancestor", culprit: "a13", new: last, old: []string{repo.hashes["b2"]}},
		{name: "terms", culprit: "a07", new: last, old: []string{first}, opts: GitOptions{TermOld: "fast", TermNew: "slow"}},
	} {
		for _, builders := range []int{1, 3} {
			if builders > 1 && !c.atOnce {
				continue
			}
			t.Run(fmt.Sprintf("%s, %d builders", c.name, builders), func(t *testing.T) {
				h := repo.open(c.opts)
				a, err := Run(context.Background(), Config{New: c.new, Old: c.old, Builders: builders}, h, &scripted{does: repo.failsFrom(c.culprit), compiled: []string{"a.c", "b.c"}})
				if err != nil {
					t.Fatal(err)
				}
				want := c.want
				if want == "" {
					want = c.culprit
				}
				if a.First == nil || repo.names[a.First.Hash] != want || a.Grade != Proven {
					t.Errorf("found %v, %s %q, want %s; checks %v", a.First, a.Grade, a.Why, want, a.Checks)
				}
				if a.First != nil && a.First.Title != "subsystem: change "+want {
					t.Errorf("title %q", a.First.Title)
				}
				term := c.opts.TermNew
				if term == "" {
					term = "bad"
				}
				if !strings.Contains(a.Log, "# first "+term+" commit: ["+repo.hashes[want]+"]") {
					t.Errorf("log:\n%s", a.Log)
				}
				if _, err := h.Parents(context.Background(), merge); err != nil {
					t.Error(err)
				}
				if a.Rounds > 4 {
					t.Errorf("%d rounds", a.Rounds)
				}
			})
		}
	}
}

// Given what git's marks leave of a history with merges, then the commits are
// those that git counts, each after its parents, with paths those that change
// them.
func TestGitTellsWhatIsLeft(t *testing.T) {
	repo := newGitRepo(t)
	first, _ := repo.line(6)
	repo.commit("b1", "a02")
	repo.commit("b2", "b1")
	end := repo.commit("m1", "a05", "b2")
	for _, c := range []struct {
		opts GitOptions
		want string
	}{
		{GitOptions{}, "a01: a02: a01; a03: a02; a04: a03; a05: a04; b1: a02; b2: b1; m1: a05 b2;"},
		{GitOptions{FirstParent: true}, "a01: a02: a01; a03: a02; a04: a03; a05: a04; m1: a05;"},
		{GitOptions{Paths: []string{"b.c"}}, "b1: b2: b1;"},
	} {
		h := repo.open(c.opts)
		if _, err := h.Replay(t.Context(), end, []string{first}, nil); err != nil {
			t.Fatal(err)
		}
		left, err := h.Left(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		b, err := h.Between(t.Context())
		if err != nil || b.Commits < len(left) {
			t.Errorf("%+v: %d are left, git says %d, %v", c.opts, len(left), b.Commits, err)
		}
		said := map[string]string{}
		for i, l := range left {
			name := repo.names[l.Commit]
			for _, p := range l.Parents {
				if p >= i {
					t.Errorf("%s comes before its parent", name)
				}
				said[name] += " " + repo.names[left[p].Commit]
			}
			if len(l.Parents) > 0 {
				said[name] += ";"
			}
		}
		var got []string
		for _, l := range left {
			name := repo.names[l.Commit]
			got = append(got, name+":"+said[name])
		}
		slices.Sort(got)
		if text := strings.Join(got, " "); text != c.want {
			t.Errorf("%+v: %s, want %s", c.opts, text, c.want)
		}
	}
}

// Given commits after one, then those that may have undone it are those that have
// it and change one of its files.
func TestGitKnowsWhatTouchesTheSameFiles(t *testing.T) {
	repo := newGitRepo(t)
	repo.commit("r0")
	for _, c := range [][2]string{{"a1", "r0"}, {"b1", "a1"}, {"a2", "b1"}, {"c1", "a2"}, {"a9", "r0"}} {
		repo.commit(c[0], c[1])
	}
	repo.commit("m1", "c1", "a9")
	repo.commit("a3", "m1")
	repo.commit("d1", "a3")
	git := repo.open(GitOptions{})
	for of, want := range map[string][]string{"a1": {"a3", "a2"}, "b1": nil, "a2": {"a3"}} {
		list, err := git.Since(context.Background(), repo.hashes[of], repo.hashes["d1"])
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, hash := range list {
			if name := repo.names[hash]; name != "m1" { // as git takes a merge with a side that lacks it
				got = append(got, name)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("since %s: %q, want %q", of, got, want)
		}
	}
}

func TestGitFindsTheFix(t *testing.T) {
	repo := newGitRepo(t)
	first, last := repo.line(12)
	fails := repo.failsFrom("a08")
	h := repo.open(GitOptions{TermOld: "broken", TermNew: "mended"})
	a, err := Run(context.Background(), Config{New: last, Old: []string{first}}, h, &scripted{does: func(s Subject) Outcome {
		if fails(s).Verdict == "pass" {
			return simTarget
		}
		return simPass
	}})
	if err != nil {
		t.Fatal(err)
	}
	if a.Direction != Fix || a.First == nil || repo.names[a.First.Hash] != "a08" || a.Grade != Proven {
		t.Errorf("%s %v %s %q", a.Direction, a.First, a.Grade, a.Why)
	}
	if a.Checks[0].Name != CheckParentFix || a.Checks[1].Name != CheckFix {
		t.Errorf("checks %v", a.Checks)
	}
}

func TestGitLeavesTheUsersTreeAlone(t *testing.T) {
	repo := newGitRepo(t)
	first, last := repo.line(10)
	repo.git("", "checkout", "-q", "main")
	file := filepath.Join(repo.Dir(), "a.c")
	if err := os.WriteFile(file, []byte("unsaved work"), 0o644); err != nil {
		t.Fatal(err)
	}
	repo.git("", "add", "a.c")
	before := repo.git("", "status", "--porcelain=v2", "--branch") + repo.git("", "for-each-ref") + repo.git("", "ls-files", "-s")
	h := repo.open(GitOptions{})
	if _, err := Run(context.Background(), Config{New: last, Old: []string{first}}, h, &scripted{does: repo.failsFrom("a04")}); err != nil {
		t.Fatal(err)
	}
	after := repo.git("", "status", "--porcelain=v2", "--branch") + repo.git("", "for-each-ref") + repo.git("", "ls-files", "-s")
	if before != after {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	if out, err := h.repo.Run(context.Background(), "bisect", "log"); err != nil || !strings.Contains(out, "first bad commit") {
		t.Errorf("git bisect log in the worktree: %v\n%s", err, out)
	}
	if err := h.Remove(); err != nil {
		t.Fatal(err)
	}
	if out := repo.git("", "worktree", "list"); strings.Count(out, "\n") != 0 {
		t.Errorf("worktrees left: %s", out)
	}
	if _, err := os.Stat(h.Dir()); !os.IsNotExist(err) {
		t.Errorf("%s is left: %v", h.Dir(), err)
	}
}

func TestGitSkipsWhatCannotBeTried(t *testing.T) {
	repo := newGitRepo(t)
	first, last := repo.line(16)
	fails := repo.failsFrom("a09")
	for _, c := range []struct {
		name   string
		broken []string
		want   string
		among  []string
		after  string
	}{
		{"away from the culprit", []string{"a03", "a07", "a12"}, "a09", nil, ""},
		{"its parent", []string{"a08"}, "", []string{"a08", "a09"}, "a07"},
		{"the culprit", []string{"a09"}, "", []string{"a09", "a10"}, "a08"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, err := Run(context.Background(), Config{New: last, Old: []string{first}}, repo.open(GitOptions{}), &scripted{
				does: fails,
				prepared: func(s Subject) Prepared {
					if slices.Contains(c.broken, repo.names[s.Commit]) || s.Revert != "" {
						return Prepared{Failure: KindBuild, Reason: "block/bio.c:1: error"}
					}
					return Prepared{Digest: s.Commit}
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			if c.want != "" {
				if a.First == nil || repo.names[a.First.Hash] != c.want {
					t.Errorf("found %v, %v", a.First, a.Why)
				}
				return
			}
			var among []string
			for _, m := range a.Among {
				among = append(among, repo.names[m.Hash])
			}
			slices.Sort(among)
			if !slices.Equal(among, c.among) || a.Grade != Doubtful {
				t.Errorf("among %v, %s, want %v", among, a.Grade, c.among)
			}
			if b := *a.Between; b.Commits != 2 || repo.names[b.New] != c.among[1] || len(b.Old) != 1 || repo.names[b.Old[0]] != c.after {
				t.Errorf("left are %+v, want those after %s up to %s", b, c.after, c.among[1])
			}
		})
	}
}

func TestGitWrongEnds(t *testing.T) {
	repo := newGitRepo(t)
	first, last := repo.line(8)
	repo.commit("b1", "a03")
	side := repo.commit("b2", "b1")
	for _, c := range []struct {
		name     string
		new, old string
		does     func(Subject) Outcome
		kind     string
		want     string
	}{
		{"nothing fails", last, first, func(Subject) Outcome { return simPass }, StopNoFailure, "no failure to look for"},
		{"everything fails", last, first, func(Subject) Outcome { return simTarget }, StopWrongEnd, "should pass, but shows hang in pread too ("},
		{"the good end fails otherwise", last, first, func(s Subject) Outcome {
			if s.Commit == first {
				return simOther
			}
			return simTarget
		}, StopWrongEnd, "in another way: another failure: bug in pread"},
		{"the merge base fails", last, side, func(s Subject) Outcome {
			if repo.names[s.Commit][0] == 'b' {
				return simPass
			}
			return simTarget
		}, StopMergeBase, "the bug was fixed between them"},
		{"the bad end does not boot", last, first, func(Subject) Outcome { return Outcome{Kind: KindBoot, Reason: "no output"} }, StopWrongEnd, "does not boot: no output"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Run(context.Background(), Config{New: c.new, Old: []string{c.old}, Direction: Regression}, repo.open(GitOptions{}), &scripted{does: c.does})
			var stop *StopError
			if !errors.As(err, &stop) || stop.Kind != c.kind || !strings.Contains(stop.Why, c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
	t.Run("paths that nothing changes", func(t *testing.T) {
		_, err := Run(context.Background(), Config{New: last, Old: []string{first}}, repo.open(GitOptions{Paths: []string{"no/such"}}), &scripted{does: func(Subject) Outcome { return simPass }})
		if stop, ok := errors.AsType[*StopError](err); !ok || stop.Kind != StopHistory || !strings.Contains(stop.Why, "changes no/such") {
			t.Error(err)
		}
	})
	t.Run("the wrong way round", func(t *testing.T) {
		_, err := Run(context.Background(), Config{New: first, Old: []string{last}}, repo.open(GitOptions{}), &scripted{does: func(Subject) Outcome { return simPass }})
		if err == nil || !strings.Contains(err.Error(), "ancestor") {
			t.Error(err)
		}
	})
}

// Given a good end on another branch, then git wants the merge base first, and
// how many steps there will be is known all the same.
func TestGitCountsWhatIsLeftBeforeAMergeBase(t *testing.T) {
	repo := newGitRepo(t)
	_, last := repo.line(20)
	repo.commit("b1", "a03")
	side := repo.commit("b2", "b1")
	next, err := repo.open(GitOptions{}).Replay(context.Background(), last, []string{side}, nil)
	if err != nil || repo.names[next.Commit] != "a03" || next.Left != 8 {
		t.Errorf("%+v (%s), %v", next, repo.names[next.Commit], err)
	}
	bases, err := repo.open(GitOptions{}).MergeBases(context.Background(), last, []string{side})
	if err != nil || len(bases) != 1 || repo.names[bases[0]] != "a03" {
		t.Errorf("%v, %v", bases, err)
	}
}

// Given a merge base that does not build, then the search goes on, and says
// that it could not be tried.
func TestGitMergeBaseThatCannotBeTried(t *testing.T) {
	repo := newGitRepo(t)
	_, last := repo.line(20)
	repo.commit("b1", "a03")
	side := repo.commit("b2", "b1")
	a, err := Run(context.Background(), Config{New: last, Old: []string{side}}, repo.open(GitOptions{}), &scripted{
		does: repo.failsFrom("a11"),
		prepared: func(s Subject) Prepared {
			if repo.names[s.Commit] == "a03" || s.Revert != "" {
				return Prepared{Failure: KindBuild, Reason: "no rule to make target"}
			}
			return Prepared{}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if a.First == nil || repo.names[a.First.Hash] != "a11" || a.Grade != Likely || !strings.Contains(strings.Join(a.Why, ""), "merge base") {
		t.Errorf("%v, %s %q", a.First, a.Grade, a.Why)
	}
}

func TestGitTermsAreChecked(t *testing.T) {
	repo := newGitRepo(t)
	repo.line(2)
	for _, o := range []GitOptions{
		{TermOld: "--help"},
		{TermOld: "reset"},
		{TermNew: "good"},
		{TermOld: "x", TermNew: "x"},
		{TermNew: "a b"},
	} {
		if _, err := OpenGit(context.Background(), repo.borrow(), filepath.Join(t.TempDir(), "w"), o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
}

func TestGitWorktreeIsMadeAnewAfterACrash(t *testing.T) {
	repo := newGitRepo(t)
	first, last := repo.line(8)
	dir := filepath.Join(t.TempDir(), "worktree")
	ctx := context.Background()
	h, err := OpenGit(ctx, repo.borrow(), dir, GitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	next, err := h.Replay(ctx, last, []string{first}, nil)
	if err != nil {
		t.Fatal(err)
	}
	// A process that is killed leaves locks.
	if err := os.WriteFile(filepath.Join(h.repo.GitDir(), "HEAD.lock"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	h, err = OpenGit(ctx, repo.borrow(), dir, GitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	again, err := h.Replay(ctx, last, []string{first}, nil)
	if err != nil || again.Commit != next.Commit {
		t.Errorf("%v, then %v, %v", next, again, err)
	}
	// What is not a worktree's is never removed.
	other := filepath.Join(t.TempDir(), "mine")
	if err := os.MkdirAll(filepath.Join(other, "data"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenGit(ctx, repo.borrow(), other, GitOptions{}); err == nil || !strings.Contains(err.Error(), "in the way") {
		t.Error(err)
	}
}
