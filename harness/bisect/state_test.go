package bisect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/blockrig/blockrig/kernels/gitbuild/gitcmd"

	"github.com/blockrig/blockrig/harness/cachedir"
)

var errCrash = errors.New("crash")

// crashing stops for good before a given trial, as a killed process does.
type crashing struct {
	Tester
	mu   sync.Mutex
	left int
}

func (c *crashing) Prepare(ctx context.Context, s Subject) (Prepared, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left == 0 {
		return Prepared{}, errCrash
	}
	return c.Tester.Prepare(ctx, s)
}

func (c *crashing) Test(ctx context.Context, r Request, record func(Outcome) error) error {
	return c.Tester.Test(ctx, r, func(o Outcome) error {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.left == 0 {
			return errCrash
		}
		c.left--
		return record(o)
	})
}

// steady gives the k-th trial of a commit always the same outcome, whatever
// came in between, so that a search that was stopped can be compared with one
// that was not.
type steady struct {
	w     *world
	mu    sync.Mutex
	done  map[Subject]int
	boots int
}

func (t *steady) Prepare(ctx context.Context, s Subject) (Prepared, error) {
	if t.w.broken[s.Commit] == KindBuild || s.Revert != "" {
		return Prepared{Failure: KindBuild, Reason: "does not compile"}, nil
	}
	return Prepared{Digest: s.String()}, nil
}

func (t *steady) Test(ctx context.Context, r Request, record func(Outcome) error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for range r.Boots {
		t.boots++
		for range r.Runs {
			k := t.done[r.Subject]
			rnd := rand.New(rand.NewPCG(uint64(k), uint64(len(r.Subject.Commit))*1000+uint64(r.Subject.Commit[len(r.Subject.Commit)-1])))
			o := simPass
			if (t.w.fails[r.Subject.Commit] || r.Subject.Apply == t.w.culprit) && rnd.Float64() < t.w.rate {
				o = simTarget
			}
			o.Boot = fmt.Sprint(k / 2)
			if kind := t.w.broken[r.Subject.Commit]; kind != "" {
				o = Outcome{Kind: kind, Reason: "broken", Boot: o.Boot}
			}
			if err := record(o); err != nil {
				return err
			}
			t.done[r.Subject]++
		}
	}
	return nil
}

func steadyWorld(rate float64) *world {
	w := &world{graph: NewGraph(), fails: make(map[string]bool), broken: map[string]Kind{"c16": KindBuild, "c8": KindBoot}, rate: rate, new: "c31", old: []string{"c0"}, culprit: "c13"}
	for i := range 32 {
		var parents []string
		if i > 0 {
			parents = []string{fmt.Sprint("c", i-1)}
		}
		if err := w.graph.Add(fmt.Sprint("c", i), parents...); err != nil {
			panic(err)
		}
		w.fails[fmt.Sprint("c", i)] = i >= 13
	}
	return w
}

type wanted struct {
	New  string   `json:"new"`
	Old  []string `json:"old"`
	Spec string   `json:"spec"`
}

// Given a search that is killed before its k-th trial, for every k, when it
// goes on, then it ends with the same answer, and no trial was done twice.
func TestResumeAfterACrashAtEveryTrial(t *testing.T) {
	for _, c := range []struct {
		rate     float64
		builders int
	}{{1, 1}, {.6, 1}, {1, 3}, {.6, 3}} {
		rate := c.rate
		w := steadyWorld(rate)
		if c.builders > 1 {
			// A request that has no verdict may end early, so it is not made up for.
			delete(w.broken, "c8")
		}
		cfg := Config{New: w.new, Old: w.old, Builders: c.builders}
		want, err := Run(context.Background(), cfg, w.graph, &steady{w: w, done: make(map[Subject]int)})
		if err != nil {
			t.Fatal(err)
		}
		if want.First == nil || want.First.Hash != w.culprit {
			t.Fatalf("found %v", want.First)
		}
		stride := 1
		if rate < 1 || c.builders > 1 {
			stride = 7 * c.builders
		}
		for k := 0; k < want.Trials; k += stride {
			dir := filepath.Join(t.TempDir(), "state")
			tester := &steady{w: w, done: make(map[Subject]int)}
			s, err := CreateState(dir, wanted{w.new, w.old, "x"})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Run(context.Background(), cfg, steadyWorld(rate).graph, &crashing{Tester: tester, left: k}); !errors.Is(err, errCrash) {
				t.Fatalf("crash before trial %d: %v", k, err)
			}
			// What a crash in the middle of a write leaves.
			if _, err := s.file.WriteString(`{"commit":"c16","tri`); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			var req wanted
			s, err = OpenState(dir, &req)
			if err != nil {
				t.Fatal(err)
			}
			if req.New != w.new || req.Spec != "x" {
				t.Errorf("request %+v", req)
			}
			got, err := s.Run(context.Background(), cfg, steadyWorld(rate).graph, tester)
			if err != nil {
				t.Fatal(err)
			}
			done := 0
			for _, n := range tester.done {
				done += n
			}
			if done != got.Trials {
				t.Errorf("crash before trial %d: %d trials done, %d in the answer", k, done, got.Trials)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("crash before trial %d: %s", k, diff)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Given a finished search, when it is opened again, then the answer comes
// from the record without a trial.
func TestFinishedStateNeedsNoTrial(t *testing.T) {
	w := steadyWorld(1)
	dir := filepath.Join(t.TempDir(), "state")
	s, err := CreateState(dir, wanted{})
	if err != nil {
		t.Fatal(err)
	}
	want, err := s.Run(context.Background(), Config{New: w.new, Old: w.old}, w.graph, &steady{w: w, done: make(map[Subject]int)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenState(dir, &wanted{}); !errors.Is(err, cachedir.ErrBusy) {
		t.Errorf("a second process: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := CreateState(dir, wanted{}); err == nil || !strings.Contains(err.Error(), "resume") {
		t.Errorf("made twice: %v", err)
	}
	s, err = OpenState(dir, &wanted{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	got, err := s.Run(context.Background(), Config{New: w.new, Old: w.old}, w.graph, &crashing{Tester: &steady{w: w}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	var saved Answer
	data, err := os.ReadFile(filepath.Join(dir, AnswerFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &saved); err != nil || saved.First.Hash != w.culprit {
		t.Errorf("%s: %v %v", AnswerFile, saved.First, err)
	}
}

// several stands for a tester that does trials side by side: one without a
// verdict ends the request, and others that were under way come after it.
type several struct {
	Tester
	asked int
	rare  *rand.Rand
}

func (s *several) Test(ctx context.Context, r Request, record func(Outcome) error) error {
	s.asked++
	left := -1
	return s.Tester.Test(ctx, r, func(o Outcome) error {
		if left == 0 {
			return nil
		}
		left--
		if left < 0 && s.rare.IntN(8) == 0 {
			left = 1
			o = Outcome{Kind: KindError, Reason: "QEMU died"}
		}
		return record(o)
	})
}

// Given trials side by side of which some end without a verdict, when the
// finished search is opened again, then nothing is tried.
func TestFinishedStateOfTrialsSideBySideNeedsNoTrial(t *testing.T) {
	for seed := range uint64(8) {
		w := steadyWorld(.6)
		dir := filepath.Join(t.TempDir(), "state")
		s, err := CreateState(dir, wanted{})
		if err != nil {
			t.Fatal(err)
		}
		cfg := Config{New: w.new, Old: w.old}
		tester := &several{Tester: &steady{w: w, done: make(map[Subject]int)}, rare: rand.New(rand.NewPCG(seed, 1))}
		want, err := s.Run(context.Background(), cfg, w.graph, tester)
		if err := errors.Join(err, s.Close()); err != nil {
			t.Fatal(err)
		}
		if s, err = OpenState(dir, &wanted{}); err != nil {
			t.Fatal(err)
		}
		asked := tester.asked
		got, err := s.Run(context.Background(), cfg, w.graph, tester)
		if err := errors.Join(err, s.Close()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" || tester.asked != asked {
			t.Errorf("seed %d: %d more requests, %s", seed, tester.asked-asked, diff)
		}
	}
}

// ailing stands for a machine in trouble: nothing can be built or tried.
type ailing struct {
	Tester
	builds, trials bool // that go wrong
	well           int  // trials before that
}

func (a *ailing) Prepare(ctx context.Context, s Subject) (Prepared, error) {
	if a.builds {
		return Prepared{Failure: KindError, Reason: "no space left on device"}, nil
	}
	return a.Tester.Prepare(ctx, s)
}

func (a *ailing) Test(ctx context.Context, r Request, record func(Outcome) error) error {
	if a.trials && a.well <= 0 {
		return record(Outcome{Kind: KindError, Reason: "no space left on device", Host: true})
	}
	return a.Tester.Test(ctx, r, func(o Outcome) error {
		a.well--
		return record(o)
	})
}

// Given a machine in trouble, when a search stops for it and goes on after it
// was mended, then it comes to the same answer, and does not count as ended
// before.
func TestTroubleWithTheMachineIsForgotten(t *testing.T) {
	w := steadyWorld(1)
	cfg := Config{New: w.new, Old: w.old}
	for _, trouble := range []ailing{{builds: true}, {trials: true}, {trials: true, well: 24}} {
		dir := filepath.Join(t.TempDir(), "state")
		s, err := CreateState(dir, wanted{})
		if err != nil {
			t.Fatal(err)
		}
		trouble.Tester = &steady{w: w, done: make(map[Subject]int)}
		_, err = s.Run(context.Background(), cfg, w.graph, &trouble)
		stop, ok := errors.AsType[*StopError](err)
		if !ok || stop.Kind != StopTrouble || !strings.Contains(stop.Why, "no space left") || Ended(dir) {
			t.Fatalf("%+v: ended %v: %v", trouble, Ended(dir), err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if s, err = OpenState(dir, &wanted{}); err != nil {
			t.Fatal(err)
		}
		a, err := s.Run(context.Background(), cfg, w.graph, trouble.Tester)
		if err := errors.Join(err, s.Close()); err != nil {
			t.Fatal(err)
		}
		if a.First == nil || a.First.Hash != w.culprit || a.Grade != Proven || !Ended(dir) {
			t.Errorf("%+v: %v, %s %q", trouble, a.First, a.Grade, a.Why)
		}
	}
}

// Given a search whose ends are wrong, when it has stopped, then its folder
// says why, and that there is nothing to go on with.
func TestStoppedStateHasEnded(t *testing.T) {
	w := steadyWorld(1)
	dir := filepath.Join(t.TempDir(), "state")
	s, err := CreateState(dir, wanted{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if Ended(dir) {
		t.Error("it has ended before it began")
	}
	_, err = s.Run(context.Background(), Config{New: w.new, Old: w.old, Direction: Fix}, w.graph, &steady{w: w, done: make(map[Subject]int)})
	stop, ok := errors.AsType[*StopError](err)
	if !ok || !Ended(dir) {
		t.Fatalf("ended %v: %v", Ended(dir), err)
	}
	var saved StopError
	data, err := os.ReadFile(filepath.Join(dir, fileStop))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &saved); err != nil || saved.Why != stop.Why || saved.Kind != StopNoFailure {
		t.Errorf("%s: %+v %v", fileStop, saved, err)
	}
}

func TestStateNamesTheBrokenLine(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	s, err := CreateState(dir, wanted{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, fileTrials)
	good := `{"commit":"a","request":1,"prepared":{}}` + "\n"
	for _, bad := range []string{"{}\n", "null\n", `{"commit":"a","x":1}` + "\n", "\x00\x00\n"} {
		if err := os.WriteFile(file, []byte(good+bad+good), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenState(dir, &wanted{}); err == nil || !strings.Contains(err.Error(), fileTrials+":2:") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := OpenState(t.TempDir(), &wanted{}); err == nil || !strings.Contains(err.Error(), "holds no bisection") {
		t.Error(err)
	}
}

// TestHelperSearch is the process that TestResumeAfterKill kills.
func TestHelperSearch(t *testing.T) {
	dir, repo := os.Getenv("BISECT_TEST_STATE"), os.Getenv("BISECT_TEST_REPO")
	if dir == "" {
		return // run by itself it has nothing to do
	}
	ctx := context.Background()
	var req wanted
	s, err := OpenState(dir, &req)
	if err != nil {
		t.Fatal(err)
	}
	r, err := gitcmd.Open(ctx, dir+"-cache", repo)
	if err != nil {
		t.Fatal(err)
	}
	h, err := OpenGit(ctx, r, s.Worktree(), GitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	bad := make(map[string]bool)
	for _, c := range strings.Fields(req.Spec) {
		bad[c] = true
	}
	a, err := s.Run(ctx, Config{New: req.New, Old: req.Old}, h, &scripted{boot: os.Getpid() * 1000, does: func(s Subject) Outcome {
		time.Sleep(2 * time.Millisecond)
		if bad[s.Commit] {
			return simTarget
		}
		return simPass
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	fmt.Println("trials", a.Trials)
}

// Given a search over a real repository in a process that is killed again and
// again with SIGKILL, after each few trials, when the last one ends, then the
// answer is right and no more trials were done than without.
func TestResumeAfterKill(t *testing.T) {
	repo := newGitRepo(t)
	first, last := repo.line(9)
	fails := repo.failsFrom("a05")
	var bad []string
	for h := range repo.names {
		if fails(Subject{Commit: h}).Failed() {
			bad = append(bad, h)
		}
	}
	dir := filepath.Join(t.TempDir(), "state")
	s, err := CreateState(dir, wanted{last, []string{first}, strings.Join(bad, " ")})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	lines := func() int {
		data, err := os.ReadFile(filepath.Join(dir, fileTrials))
		if err != nil {
			t.Fatal(err)
		}
		return strings.Count(string(data), `"trial":`)
	}
	kills := 0
	for done := false; !done; {
		cmd := exec.Command(os.Args[0], "-test.run=^TestHelperSearch$", "-test.v")
		cmd.Env = append(os.Environ(), "BISECT_TEST_STATE="+dir, "BISECT_TEST_REPO="+repo.Dir())
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		var out strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		exited := make(chan error, 1)
		go func() { exited <- cmd.Wait() }()
		before := lines()
		for running := true; running; {
			select {
			case err := <-exited:
				if err != nil {
					t.Fatalf("%v: %s", err, out.String())
				}
				done, running = true, false
			case <-time.After(time.Millisecond):
				if lines() >= before+6 {
					if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); err != nil {
						t.Fatal(err)
					}
					<-exited
					kills++
					running = false
				}
			}
		}
		if done && !strings.Contains(out.String(), "trials "+strconv.Itoa(lines())) {
			t.Errorf("%d trials recorded, but: %s", lines(), out.String())
		}
	}
	if kills < 4 {
		t.Errorf("killed %d times only", kills)
	}
	var a Answer
	data, err := os.ReadFile(filepath.Join(dir, AnswerFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &a); err != nil {
		t.Fatal(err)
	}
	if a.First == nil || repo.names[a.First.Hash] != "a05" || a.Grade != Proven {
		t.Errorf("%v %s %v", a.First, a.Grade, a.Why)
	}
}
