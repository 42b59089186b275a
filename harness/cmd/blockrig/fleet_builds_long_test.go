//go:build vm && long

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/blockrig/blockrig"
	"github.com/blockrig/blockrig/harness/bisect"
	"github.com/blockrig/blockrig/harness/fleet"
	"github.com/blockrig/blockrig/harness/qemu"
	"github.com/blockrig/blockrig/harness/trial"
	"github.com/blockrig/blockrig/harness/verdict"
	"github.com/blockrig/blockrig/kernels/gitbuild"
	"github.com/blockrig/blockrig/kernels/gitbuild/smalltree"
	"github.com/blockrig/blockrig/scenarios"
)

// mark is in the image of a kernel that has the bug.
const mark = "the bug is here"

// buggyHistory makes a repository in which one of many commits brings a bug, and
// one before it does not compile.
func buggyHistory(t *testing.T) (g *smalltree.Repo, base, culprit string) {
	g = smalltree.New(t)
	base = g.Commit("how an image is made", map[string]string{"image.sh": smalltree.Files["image.sh"] +
		"grep -q 1000 \"$(dirname \"$0\")/block/bio.c\" && printf '" + mark + "' | dd of=\"$out\" bs=1 seek=1500 conv=notrunc 2>/dev/null\ntrue\n"})
	for i := range 16 {
		if i == 9 {
			culprit = g.Commit("the culprit", map[string]string{"block/bio.c": "#include \"head.h\"\nint bio(void) { return VALUE + 1000; }\n"})
		}
		end := ";"
		if i == 7 {
			end = "" // until the next one
		}
		g.Commit(fmt.Sprint("commit ", i), map[string]string{"main.c": fmt.Sprintf("#include \"head.h\"\nint main(void) { return VALUE + %d%s }\n", i, end)})
	}
	return g, base, culprit
}

// looks is a trial that looks for the mark in the image. No machine is booted.
func looks(_ context.Context, g fleet.Given) (o trial.Outcome, err error) {
	image, err := os.ReadFile(g.Image)
	if err != nil {
		return o, err
	}
	o = trial.Outcome{
		Judgement: verdict.Judgement{Verdict: scenarios.Pass, Phase: scenarios.PhaseDone},
		Report:    verdict.Report{Phase: string(scenarios.PhaseDone), Step: "pread"},
		Release:   "7.2.0", BootID: fmt.Sprintf("%.12s-%d", g.Job.Kernel.Digest, g.Job.Boot), Started: time.Now(),
	}
	o.Report.Returned = true
	if bytes.Contains(image, []byte(mark)) {
		o.Verdict = scenarios.EIO
	}
	o.Attempts = []trial.Attempt{{Verdict: o.Verdict}}
	return o, os.Mkdir(g.Dir, 0o700)
}

// A buildSite is a hub whose workers build really, and make trials by looking.
type buildSite struct {
	t    *testing.T
	addr string
	keys *fleet.Keys

	mu    sync.Mutex
	now   int            // builds under way
	most  int            // at once
	built map[string]int // by worker
}

func newBuildSite(t *testing.T) *buildSite {
	t.Helper()
	s := &buildSite{t: t, built: map[string]int{}}
	dir := t.TempDir()
	var err error
	if s.keys, err = fleet.OpenKeys(filepath.Join(dir, "keys")); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	hub, err := fleet.NewHub(ctx, fleet.Options{Keys: s.keys, State: filepath.Join(dir, "state"), Files: filepath.Join(dir, "files")})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- hub.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-served, hub.Close()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// work starts a worker with folders of its own. It says that its compiler is
// another one, if that is not "".
func (s *buildSite) work(name, compiler string) {
	s.t.Helper()
	dir := smalltree.OpenDir(s.t)
	b, err := gitbuild.Open(s.t.Context(), dir, gitbuild.Options{})
	if err != nil {
		s.t.Fatal(err)
	}
	if compiler == "" {
		if compiler, err = b.CompilerID(s.t.Context()); err != nil {
			s.t.Fatal(err)
		}
	}
	sources, err := gitbuild.OpenStore(filepath.Join(dir, "sources"))
	if err != nil {
		s.t.Fatal(err)
	}
	builds := &fleet.Builds{Builder: b, Sources: sources}
	ready := make(chan struct{})
	w := &fleet.Worker{
		Addr: s.addr, Key: s.keys.Key(fleet.RoleWorker), Cache: filepath.Join(dir, "worker"), Do: looks, Commits: builds.Commits,
		Build: func(ctx context.Context, g fleet.GivenBuild) error {
			s.mu.Lock()
			s.now++
			s.most = max(s.most, s.now)
			s.built[name]++
			s.mu.Unlock()
			defer func() {
				s.mu.Lock()
				s.now--
				s.mu.Unlock()
			}()
			return builds.Do(ctx, g)
		},
		About: fleet.About{Name: name, Slots: 2, Builds: 1, Classes: []fleet.Class{
			{Guest: blockrig.GuestSources(), QEMU: "q", Accel: qemu.TCG}, {Compiler: compiler},
		}},
		Ready: func() { close(ready) },
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	s.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			s.t.Error(err)
		}
	})
	<-ready
}

// Given a hub with two workers that build and a third with another compiler, when
// a command that has no compiler bisects commits with two builders, then both
// workers build, two commits at a time, and the culprit is named and proven, as by
// a bisection without a hub; the third builds nothing, and nothing is built here.
func TestCommitsAreBuiltByAHubsWorkers(t *testing.T) {
	s := newBuildSite(t)
	g, base, culprit := buggyHistory(t)
	s.work("a", "")
	s.work("b", "")
	s.work("other", "another compiler")
	h := newHost(t)
	cmd := h.command("--format", "json", "bisect", "git", "--repo", g.Dir(), "--good", base, "--bad", "HEAD", "--builders", "2",
		"--hub", s.addr, "--case", "length=512,memory_offset=0", "plain-dio-read")
	cmd.Env = append(cmd.Env, hubKey+"="+s.keys.Key(fleet.RoleClient).String(), "PATH="+withoutCompiler(t))
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s%s", err, out, said.String())
	}
	t.Log(said.String())
	var a bisect.Answer
	if err := json.Unmarshal(out, &a); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if a.First == nil || a.First.Hash != culprit || a.Grade != bisect.Proven {
		t.Errorf("%s: %+v, want %s", a.Grade, a.First, culprit)
	}
	if strings.Count(said.String(), "kernels are built by the hub's workers, with ") != 1 {
		t.Errorf("said: %s", said.String())
	}
	if s.most != 2 || s.built["a"] < 2 || s.built["b"] < 2 || s.built["other"] > 0 {
		t.Errorf("built %v, %d at once", s.built, s.most)
	}
	if left, err := filepath.Glob(filepath.Join(h.cache, "sources", "*", "obj-*")); err != nil || len(left) > 0 {
		t.Errorf("built here: %v, %v", left, err)
	}
	records, err := filepath.Glob(filepath.Join(h.cache, "builds", "*", "build.json"))
	if err != nil || len(records) < 4 {
		t.Errorf("kernels: %v, %v", records, err)
	}
	for _, file := range records {
		if text, err := os.ReadFile(file); err != nil || !strings.Contains(string(text), `"compiler": "gcc`) {
			t.Errorf("%s: %s, %v", file, text, err)
		}
	}
}

// Given a bisection that is killed in the middle, and workers with another compiler
// that have come meanwhile and are more, when it is resumed, then it goes on with the
// compiler that it began with.
func TestAResumedBisectionKeepsItsCompiler(t *testing.T) {
	s := newBuildSite(t)
	g, base, culprit := buggyHistory(t)
	s.work("a", "")
	h := newHost(t)
	state := filepath.Join(h.root, "state")
	run := func(args ...string) *process {
		p := &process{host: h, cmd: h.command(args...), ended: make(chan error, 1)}
		p.cmd.Env = append(p.cmd.Env, hubKey+"="+s.keys.Key(fleet.RoleClient).String(), "PATH="+withoutCompiler(t))
		p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
		if err := p.cmd.Start(); err != nil {
			t.Fatal(err)
		}
		go func() { p.ended <- p.cmd.Wait() }()
		return p
	}
	first := run("bisect", "git", "--repo", g.Dir(), "--good", base, "--bad", "HEAD", "--state", state, "--hub", s.addr, "--case", "length=512,memory_offset=0", "plain-dio-read")
	first.until("it has made trials of both ends", func() bool {
		text, _ := os.ReadFile(filepath.Join(state, "trials.jsonl")) // it is not there yet
		return bytes.Count(text, []byte("\n")) > 12
	})
	if err := first.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	first.wait()
	s.work("other", "another compiler")
	s.work("another", "another compiler")
	o := run("--format", "json", "bisect", "resume", state).wait()
	var a bisect.Answer
	if err := json.Unmarshal([]byte(o.stdout), &a); err != nil {
		t.Fatalf("%v: %v", err, o)
	}
	if a.First == nil || a.First.Hash != culprit || a.Grade != bisect.Proven {
		t.Errorf("%s: %+v, want %s", a.Grade, a.First, culprit)
	}
	if s.built["other"]+s.built["another"] > 0 {
		t.Errorf("built %v", s.built)
	}
}

// Given workers that root starts, with caches to which only root can come, one of
// them with builds turned off, then the other builds as another user, whose failure
// the command tells; without it, this machine builds, and that is said.
func TestAWorkersBuildIsNotRoots(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("this is about what root starts")
	}
	// Before anything is started: to run git ends threads, and with them what they
	// have started (Pdeathsig).
	g := smalltree.New(t)
	g.Commit("who builds", map[string]string{"Makefile": strings.Replace(smalltree.Files["Makefile"], "bzImage:", "bzImage: who", 1) +
		"who:\n\t@echo \"main.c:1:1: error: built by user $$(id -u)\"; exit 1\n"})
	// What does not build is remembered, so there is a commit for each time.
	var commits []string
	for i := range 50 {
		commits = append(commits, g.Commit(fmt.Sprint(i), map[string]string{"README": fmt.Sprintln(i)}))
	}
	f := newFleet(t)
	t.Setenv("XDG_STATE_HOME", filepath.Join(f.root, "state"))
	builds := func(commit string) (o outcome, said string) {
		t.Helper()
		o = f.runs("run", "plain-dio-read", "-k", "git:"+g.Dir()+"@"+commit, "--accel", "tcg", "--case", "length=512,memory_offset=0").wait()
		if o.status != exitError {
			t.Fatal(o)
		}
		return o, o.stdout + o.stderr
	}
	const none = "kernels are built here: none of the hub's workers builds any"
	idle := f.startWorkerAs("idle", "--builds", "0")
	t.Cleanup(func() { f.end(idle) })
	if o, said := builds(commits[0]); !strings.Contains(said, none) || !strings.Contains(said, "built by user 65534") {
		t.Fatalf("without a worker that builds: %v", o)
	}
	worker := f.startWorkerAs("w1", "--user", "41234")
	t.Cleanup(func() { f.end(worker) })
	o, said := builds(commits[1])
	for _, commit := range commits[2:] {
		if !strings.Contains(said, none) {
			break
		}
		time.Sleep(100 * time.Millisecond) // it is not there yet
		o, said = builds(commit)
	}
	if !strings.Contains(said, "kernels are built by the hub's workers, with gcc") || !strings.Contains(said, "built by user 41234") {
		t.Error(o)
	}
	f.wantNothingLeft()
}

// withoutCompiler is a PATH with all but what builds kernels.
func withoutCompiler(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, from := range filepath.SplitList(os.Getenv("PATH")) {
		programs, err := os.ReadDir(from)
		if err != nil {
			continue
		}
		for _, p := range programs {
			if name := p.Name(); name == "gcc" || name == "make" {
				continue
			}
			if err := os.Symlink(filepath.Join(from, p.Name()), filepath.Join(dir, p.Name())); err != nil && !errors.Is(err, os.ErrExist) {
				t.Fatal(err)
			}
		}
	}
	return dir
}
