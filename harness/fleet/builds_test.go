package fleet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/blockrig/blockrig/kernels/gitbuild"
	"github.com/blockrig/blockrig/kernels/gitbuild/smalltree"
)

// building is what a worker of a test does to build.
type building = func(ctx context.Context, g GivenBuild) error

// builder starts a worker that builds, with folders of its own. It calls its
// compiler as name says, "" for what it is called. wrap makes of the real build
// what is done; nil for that alone.
func (s *site) builder(name, compiler string, wrap func(building) building) (stop func()) {
	s.t.Helper()
	dir := smalltree.OpenDir(s.t)
	b, err := gitbuild.Open(s.t.Context(), dir, gitbuild.Options{})
	if err != nil {
		s.t.Fatal(err)
	}
	sources, err := gitbuild.OpenStore(filepath.Join(dir, "worker", "sources"))
	if err != nil {
		s.t.Fatal(err)
	}
	if compiler == "" {
		compiler = compilerHere(s.t)
	}
	real := &Builds{Builder: b, Sources: sources}
	w := &Worker{
		Cache: filepath.Join(dir, "worker"), Do: passes, Build: real.Do, Commits: real.Commits, pause: 10 * time.Millisecond,
		About: About{Name: name, Slots: 1, Builds: 1, Classes: []Class{testClass, {Compiler: compiler}}},
	}
	if wrap != nil {
		w.Build = wrap(real.Do)
	}
	return s.startWorker(w)
}

// await waits until so many workers wait for builds, and the hub knows what each
// has built.
func (s *site) await(workers int) {
	s.t.Helper()
	began := time.Now()
	for {
		n := 0
		s.hub.mu.Lock()
		for _, w := range s.hub.workers {
			if w.builds.After(began) && s.hub.under(w, true) == 0 {
				n++
			}
		}
		s.hub.mu.Unlock()
		if n == workers {
			return
		}
		if time.Since(began) > limit {
			s.t.Fatalf("%d workers wait for builds, want %d", n, workers)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// compilerHere is what the compiler of a real build is called.
func compilerHere(t testing.TB) string {
	t.Helper()
	b, err := gitbuild.Open(t.Context(), smalltree.OpenDir(t), gitbuild.Options{})
	if err != nil {
		t.Fatal(err)
	}
	id, err := b.CompilerID(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// from has kernels built by a hub's workers, as a command has.
func (s *site) from(c *Client, compiler string) *gitbuild.Builder {
	s.t.Helper()
	b, err := gitbuild.Open(s.t.Context(), smalltree.OpenDir(s.t), gitbuild.Options{Away: c, Compiler: compiler, AtOnce: 4})
	if err != nil {
		s.t.Fatal(err)
	}
	return b
}

// changes makes so many commits that each change one file.
func changes(g *smalltree.Repo, n int) (revs []string) {
	for i := range n {
		revs = append(revs, g.Commit(fmt.Sprint("change ", i), map[string]string{"block/bio.c": fmt.Sprintf("#include \"head.h\"\nint bio(void) { return VALUE + %d; }\n", i)}))
	}
	return revs
}

// buildAll has commits built, all at once, and gives what came of them.
func buildAll(t *testing.T, b *gitbuild.Builder, g *smalltree.Repo, revs ...string) []gitbuild.Build {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	out := make([]gitbuild.Build, len(revs))
	all, ctx := errgroup.WithContext(ctx)
	for i, rev := range revs {
		all.Go(func() (err error) {
			out[i], err = b.BuildSpec(ctx, gitbuild.Spec{Repo: g.Dir(), Rev: rev})
			return err
		})
	}
	if err := all.Wait(); err != nil {
		t.Fatal(err)
	}
	return out
}

// Given two workers that build and a command with as many builders, then both
// build at the same time, and what comes is what a build here gives, with the
// compiler in its record.
func TestSeveralWorkersBuildAtOnce(t *testing.T) {
	s := newSite(t, nil)
	g := smalltree.New(t)
	revs := changes(g, 2)
	var both sync.WaitGroup
	both.Add(2)
	together := func(real building) building {
		return func(ctx context.Context, g GivenBuild) error {
			both.Done()
			both.Wait() // for ever, if there is only one
			return real(ctx, g)
		}
	}
	s.builder("a", "", together)
	s.builder("b", "", together)
	s.await(2)
	c := s.client()
	compiler, err := c.Compiler(t.Context())
	if err != nil || compiler != compilerHere(t) {
		t.Fatal(compiler, err)
	}
	got := buildAll(t, s.from(c, compiler), g, revs...)
	here, err := gitbuild.Open(t.Context(), smalltree.OpenDir(t), gitbuild.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range buildAll(t, here, g, revs...) {
		if got[i].Digest != want.Digest || got[i].Compiler != compiler || got[i].Cached {
			t.Errorf("%d: got %+v, want %+v", i, got[i], want)
		}
	}
	// The same files in other commits go where their object tree is.
	s.await(2)
	both.Add(2)
	for i, b := range buildAll(t, s.from(c, compiler), g, changes(g, 2)...) {
		if b.Files != 0 {
			t.Errorf("%d: compiled %d files, want none", i, b.Files)
		}
	}
	left, err := s.hub.queue.batches(t.Context())
	if err != nil || len(left) > 0 {
		t.Errorf("left in the queue: %v, %v", left, err)
	}
}

// Given workers with another compiler, or with none, then they get no build of
// those that one compiler is to make.
func TestCompilersAreNotMixed(t *testing.T) {
	s := newSite(t, nil)
	never := func(building) building {
		return func(context.Context, GivenBuild) error {
			t.Error("another compiler was taken")
			return errors.New("no")
		}
	}
	s.work("none", 1, passes)
	c := s.client()
	if compiler, err := c.Compiler(t.Context()); err != nil || compiler != "" {
		t.Errorf("where nobody builds, the compiler is %q: %v", compiler, err)
	}
	s.builder("other", "another compiler 1.0; ld 2", never)
	s.await(1)
	if compiler, err := c.Compiler(t.Context()); err != nil || compiler != "another compiler 1.0; ld 2" {
		t.Errorf("the compiler is %q: %v", compiler, err)
	}
	s.builder("right", "", nil)
	s.await(2)
	g := smalltree.New(t)
	buildAll(t, s.from(c, compilerHere(t)), g, changes(g, 4)...)
	// And classes of machines are those that make trials.
	if class, err := c.Class(t.Context(), "auto", ""); err != nil || class.Class != testClass || class.Workers != 3 {
		t.Errorf("class %+v: %v", class, err)
	}
}

// Given a worker that says what it can't hold, a compiler that is another one
// meanwhile, then the job goes back and, with no other worker, is an error that
// says why.
func TestABuildThatNoWorkerCanMake(t *testing.T) {
	s := newSite(t, nil)
	s.builder("liar", "gcc 99; ld 99", nil)
	g := smalltree.New(t)
	_, err := s.from(s.client(), "gcc 99; ld 99").BuildSpec(t.Context(), gitbuild.Spec{Repo: g.Dir(), Rev: "HEAD"})
	if err == nil || !strings.Contains(err.Error(), "no worker can make this build; the last one said: the compiler here is now gcc") {
		t.Error(err)
	}
}

// Given sources that can't be built, then that is what the command hears.
func TestABuildThatFails(t *testing.T) {
	s := newSite(t, nil)
	s.builder("a", "", nil)
	g := smalltree.New(t)
	g.Commit("break it", map[string]string{"main.c": "int main(void) { return VALUE }\n"})
	_, err := s.from(s.client(), compilerHere(t)).BuildSpec(t.Context(), gitbuild.Spec{Repo: g.Dir(), Rev: "HEAD"})
	var failed *gitbuild.FailedError
	if !errors.As(err, &failed) || !strings.Contains(failed.Why, "main.c:1") {
		t.Fatal(err)
	}
	if log, err := os.ReadFile(failed.Log); err != nil || !strings.Contains(string(log), "main.c") {
		t.Errorf("%q, %v", log, err)
	}
}

// leaseBuild waits for the lease of a build.
func leaseBuild(t testing.TB, c *conn, compiler string) Lease {
	t.Helper()
	a := About{Name: "by hand", Slots: 1, Builds: 1, Classes: []Class{{Compiler: compiler}}}
	for {
		got, err := ask(t.Context(), c, "lease", leaseRequest{About: a, Want: 1, Builds: true}, func(a leaseAnswer) string { return a.Error })
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Leases) > 0 {
			return got.Leases[0]
		}
	}
}

// Given a worker that takes a build and is never heard of again, then another one
// makes it; given three, it is an error that says so.
func TestABuildWhoseWorkersAreLost(t *testing.T) {
	s := newSite(t, quick)
	g := smalltree.New(t)
	revs := changes(g, 2)
	compiler := compilerHere(t)
	b := s.from(s.client(), compiler)
	var all errgroup.Group
	all.Go(func() error {
		_, err := b.BuildSpec(t.Context(), gitbuild.Spec{Repo: g.Dir(), Rev: revs[0]})
		return err
	})
	for range MostDeaths {
		leaseBuild(t, s.asks(RoleWorker), compiler)
	}
	s.builder("sound", "", nil)
	if err := all.Wait(); err == nil || !strings.Contains(err.Error(), "3 workers did not come back from this build") {
		t.Error(err)
	}
	buildAll(t, b, g, revs[1])
}

// Given a worker that ends while it builds, and a hub that is restarted and has
// lost all, then the build is made.
func TestABuildSurvivesItsMachines(t *testing.T) {
	for what, lose := range map[string]func(*site){
		"nothing is lost": func(*site) {},
		"the queue is":    func(s *site) { s.remove(s.opt.State) },
		"files are":       func(s *site) { s.remove(s.opt.Files) },
	} {
		t.Run(what, func(t *testing.T) {
			s := newSite(t, nil)
			g := smalltree.New(t)
			b := s.from(s.client(), compilerHere(t))
			begun := make(chan struct{})
			stop := s.builder("ends", "", func(building) building {
				return func(ctx context.Context, _ GivenBuild) error {
					close(begun)
					<-ctx.Done()
					return context.Cause(ctx)
				}
			})
			var all errgroup.Group
			all.Go(func() error {
				_, err := b.BuildSpec(t.Context(), gitbuild.Spec{Repo: g.Dir(), Rev: "HEAD"})
				return err
			})
			<-begun
			stop()
			s.stop()
			lose(s)
			s.start()
			s.builder("stays", "", nil)
			if err := all.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
}

// Given a pack that is none, then the job is why: it does not go from one worker
// to the next.
func TestAHostilePackIsTheJobs(t *testing.T) {
	s := newSite(t, nil)
	var tried []error
	s.builder("a", "", func(real building) building {
		return func(ctx context.Context, g GivenBuild) error {
			err := real(ctx, g)
			tried = append(tried, err)
			return err
		}
	})
	bad := filepath.Join(t.TempDir(), "pack")
	if err := os.WriteFile(bad, []byte("PACK\x00\x00\x00\x02 and no more"), 0o644); err != nil {
		t.Fatal(err)
	}
	c := s.client()
	b, err := c.begin(t.Context(), "build")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	b.make = func(ctx context.Context, _ int) (Task, error) {
		tree := strings.Repeat("a", 40)
		a, err := c.give(ctx, bad)
		compiler := compilerHere(t)
		job := fmt.Sprintf(`{"commit":%q,"tree":%q,"compiler":%q}`, tree, tree, compiler)
		return Task{Job: []byte(job), Group: "build-x", Class: Class{Compiler: compiler}, Packs: []pack{{tree, a}}}, err
	}
	if err := b.submit(t.Context(), []int{0}); err != nil {
		t.Fatal(err)
	}
	r, _, err := b.next(t.Context(), gitbuild.EntryFiles)
	if err != nil || !strings.Contains(string(r.Result.Outcome), gitbuild.ErrJob.Error()) {
		t.Errorf("%s, %v", r.Result.Outcome, err)
	}
	if len(tried) != 1 || !errors.Is(tried[0], gitbuild.ErrJob) {
		t.Errorf("tried: %v", tried)
	}
}

// Given tasks of builds that can't be, then the hub takes none.
func TestTasksOfBuildsAreChecked(t *testing.T) {
	a := artefactOfBytes([]byte("x"))
	tree := strings.Repeat("a", 40)
	good := Task{Job: []byte("{}"), Group: "build-x", Class: Class{Compiler: "gcc"}, Packs: []pack{{tree, a}}}
	if err := good.check(); err != nil {
		t.Fatal(err)
	}
	for what, spoil := range map[string]func(*Task){
		"no sources":            func(t *Task) { t.Packs = nil },
		"too many":              func(t *Task) { t.Packs = slices.Repeat(t.Packs, maxPacks+1) },
		"a pack that is a path": func(t *Task) { t.Packs = []pack{{tree, Artefact{"../x", 1}}} },
		"a huge pack":           func(t *Task) { t.Packs = []pack{{tree, Artefact{a.SHA256, maxFile + 1}}} },
		"near to a path":        func(t *Task) { t.Near = []string{"../../x"} },
		"near to too many":      func(t *Task) { t.Near = slices.Repeat([]string{tree}, maxNear+1) },
		"a machine and a gcc":   func(t *Task) { t.Class.QEMU = "q" },
		"a long compiler":       func(t *Task) { t.Class.Compiler = strings.Repeat("g", 500) },
	} {
		task := good
		spoil(&task)
		if task.check() == nil {
			t.Errorf("%s: it is taken", what)
		}
	}
}

// Given workers with object trees of several commits, then each build goes to the
// one that has the nearest, those that wait get something, and none waits for a
// worker that does not.
func TestBuildsGoToTheNearestTree(t *testing.T) {
	commit := func(n int) string { return fmt.Sprintf("%040d", n) }
	class := Class{Compiler: "gcc"}
	now := time.Now()
	h := &Hub{groups: map[string]*group{}, workers: map[string]*worker{}, batches: map[string]*batch{"b": {jobs: map[int]*job{}}}}
	h.opt.linger = time.Second
	add := func(id string, commits ...string) *worker {
		w := &worker{id: id, seen: now, builds: now, leases: map[place]time.Time{}, About: About{Name: id, Slots: 1, Builds: 1, Classes: []Class{class}, Commits: commits}}
		h.workers[id] = w
		return w
	}
	build := func(id string, near ...string) *group {
		g := &group{id: id, class: class, near: near, queued: 1, since: now, holders: map[string]time.Time{}, unable: map[string]time.Time{}}
		h.groups[id] = g
		return g
	}
	a, b, fresh := add("a", commit(1)), add("b", commit(2)), add("fresh")
	one := build("one", commit(1), commit(2), commit(3))
	want := func(what string, w *worker, g *group) {
		t.Helper()
		if got := h.chooseBuild(w, now); got != g {
			t.Errorf("%s: %+v", what, got)
		}
	}
	want("the nearest", a, one)
	want("a farther one", b, nil)
	want("one without any", fresh, nil)
	two := build("two", commit(1), commit(3))
	want("the nearest of two, which begins with one", a, one)
	want("one that is as near to nothing", fresh, two)
	// Whose hands are full is not waited for.
	h.batches["b"].jobs[0] = &job{place: place{"b", 0}, group: &group{class: class}}
	a.leases[place{"b", 0}] = now
	want("the next nearest", b, one)
	want("what is left", fresh, two)
	// Nor who does not ask.
	delete(a.leases, place{"b", 0})
	a.builds = now.Add(-time.Minute)
	want("with the nearest silent", b, one)
	a.builds = now
	// Nor who just could not.
	one.unable["a"] = now
	want("with the nearest unable", b, one)
	want("the unable", a, two)
	// Another compiler, and one that makes trials alone, get nothing.
	other := add("other", commit(1))
	other.Classes = []Class{{Compiler: "clang"}, testClass}
	want("another compiler", other, nil)
	if g := h.choose(a, now); g != nil {
		t.Errorf("for trials: %+v", g)
	}
}
