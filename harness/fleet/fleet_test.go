package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/blockrig/blockrig"
	"github.com/blockrig/blockrig/harness/qemu"
	"github.com/blockrig/blockrig/harness/trial"
	"github.com/blockrig/blockrig/harness/verdict"
	"github.com/blockrig/blockrig/scenarios"
)

// limit ends a test in which what is waited for never comes.
const limit = 2 * time.Minute

// A site is where a hub of a test has its port and its folders, so that it can
// be restarted.
type site struct {
	t    testing.TB
	dir  string
	keys *Keys
	addr string
	opt  Options

	mu  sync.Mutex
	hub *Hub
	end func()
}

func newSite(t testing.TB, change func(*Options)) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir()}
	var err error
	if s.keys, err = OpenKeys(filepath.Join(s.dir, "keys")); err != nil {
		t.Fatal(err)
	}
	s.opt = Options{
		Keys: s.keys, State: filepath.Join(s.dir, "state"), Files: filepath.Join(s.dir, "files"), Log: slog.New(slog.DiscardHandler),
		linger: 200 * time.Millisecond, settle: 2 * time.Second,
	}
	if change != nil {
		change(&s.opt)
	}
	s.start()
	t.Cleanup(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.end != nil {
			s.end()
		}
	})
	return s
}

// start starts the hub, at the port that it had before.
func (s *site) start() {
	s.t.Helper()
	addr := s.addr
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	var l net.Listener
	var err error
	for range 100 { // a connection of before may still have it
		if l, err = net.Listen("tcp", addr); err == nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	if s.addr == "" { // who connects meanwhile reads it
		s.addr = l.Addr().String()
	}
	ctx, cancel := context.WithCancel(context.Background())
	hub, err := NewHub(ctx, s.opt)
	if err != nil {
		cancel()
		s.t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- hub.Serve(ctx, l) }()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hub = hub
	s.end = func() {
		cancel()
		if err := errors.Join(<-served, hub.Close()); err != nil {
			s.t.Error(err)
		}
		s.end = nil
	}
}

func (s *site) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end()
}

var testClass = Class{Guest: blockrig.GuestSources(), QEMU: "q", Accel: qemu.TCG}

// doing is what a worker of a test does.
type doing = func(ctx context.Context, g Given) (trial.Outcome, error)

// passes is a trial that passes at once.
func passes(_ context.Context, g Given) (trial.Outcome, error) {
	return outcomeOf(g.Job, scenarios.Pass), nil
}

// heldTrials pass once they are let go. They are counted by their case.
type heldTrials struct {
	wait  chan struct{}
	letGo func()
	mu    sync.Mutex
	done  map[string]int
}

// hold holds trials until they are let go, at the latest at the test's end. It
// comes after the site, whose workers end only then.
func hold(t *testing.T) *heldTrials {
	h := &heldTrials{wait: make(chan struct{}), done: map[string]int{}}
	h.letGo = sync.OnceFunc(func() { close(h.wait) })
	t.Cleanup(h.letGo)
	return h
}

func (h *heldTrials) passes(ctx context.Context, g Given) (trial.Outcome, error) {
	<-h.wait
	h.mu.Lock()
	h.done[g.Job.Case]++
	h.mu.Unlock()
	return passes(ctx, g)
}

func (h *heldTrials) wantOnce(t *testing.T) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	for c, n := range h.done {
		if n > 1 {
			t.Errorf("job %s was done %d times", c, n)
		}
	}
}

func outcomeOf(j trial.Job, v scenarios.Verdict) trial.Outcome {
	return trial.Outcome{
		Judgement: verdict.Judgement{Verdict: v, Phase: scenarios.PhaseDone, Reason: j.Case},
		Attempts:  []trial.Attempt{{Verdict: v}}, Accel: j.Accel, CPUs: j.CPUs,
	}
}

// work starts a worker that makes trials. stop ends it in an orderly way.
func (s *site) work(name string, slots int, do doing) (stop func()) {
	s.t.Helper()
	return s.startWorker(&Worker{
		Cache: filepath.Join(s.t.TempDir(), name), Do: do,
		About: About{Name: name, Slots: slots, Classes: []Class{testClass}},
	})
}

func (s *site) startWorker(w *Worker) (stop func()) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	w.Addr, w.Key, w.Ready = s.addr, s.keys.Key(RoleWorker), func() { close(ready) }
	go func() { ended <- w.Run(ctx) }()
	select {
	case <-ready:
	case err := <-ended:
		s.t.Fatal(err)
	}
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-ended; err != nil {
				s.t.Error(err)
			}
		})
	}
	s.t.Cleanup(stop)
	return stop
}

func (s *site) client() *Client {
	s.t.Helper()
	c, err := Connect(s.t.Context(), s.addr, s.keys.Key(RoleClient), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(c.Close)
	c.class.Class, c.Work = testClass, s.t.TempDir()
	return c
}

// jobsOf makes jobs of so many groups.
func jobsOf(n, groups int) map[int]trial.Job {
	out := map[int]trial.Job{}
	for i := range n {
		out[i] = trial.Job{
			Kernel: trial.Kernel{Ref: "k", Digest: fmt.Sprint(i % groups)}, Accel: qemu.TCG, CPUs: 1,
			Scenario: "s", Case: fmt.Sprint(i), QEMU: "q", Seed: []byte("seed"),
		}
	}
	return out
}

// all has jobs done, and gives what came of each. Each must come once.
func all(t testing.TB, c *Client, jobs map[int]trial.Job) map[int]trial.Outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	b, err := c.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}()
	if err := b.Submit(ctx, jobs); err != nil {
		t.Fatal(err)
	}
	got := map[int]trial.Outcome{}
	for len(got) < len(jobs) {
		a, err := b.Next(ctx)
		if err != nil {
			t.Fatalf("after %d of %d: %v", len(got), len(jobs), err)
		}
		if _, twice := got[a.Number]; twice {
			t.Fatalf("job %d came twice", a.Number)
		}
		got[a.Number] = a.Outcome
		a.Recorded()
	}
	return got
}

func wantPassed(t testing.TB, got map[int]trial.Outcome) {
	t.Helper()
	for n, o := range got {
		if o.Verdict != scenarios.Pass || o.Reason != fmt.Sprint(n) {
			t.Errorf("job %d: %s: %s", n, o.Verdict, o.Reason)
		}
	}
}

// Given jobs of several groups and several workers, then each is done once, and
// the queue is empty afterwards.
func TestEachJobIsDoneOnce(t *testing.T) {
	s := newSite(t, nil)
	var done atomic.Int64
	for _, name := range []string{"a", "b", "c"} {
		s.work(name, 4, func(ctx context.Context, g Given) (trial.Outcome, error) {
			done.Add(1)
			return passes(ctx, g)
		})
	}
	wantPassed(t, all(t, s.client(), jobsOf(300, 5)))
	if n := done.Load(); n != 300 {
		t.Errorf("%d jobs were done, want 300", n)
	}
	left, err := s.hub.queue.batches(t.Context())
	if err != nil || len(left) > 0 {
		t.Errorf("left in the queue: %v, %v", left, err)
	}
}

// BenchmarkEmptyJobs is the queue alone: jobs that nobody need do anything for.
func BenchmarkEmptyJobs(b *testing.B) {
	s := newSite(b, func(o *Options) { o.linger = time.Second })
	for i := range 4 {
		s.work(fmt.Sprint(i), 32, passes)
	}
	c := s.client()
	jobs := jobsOf(b.N, 8)
	b.ResetTimer()
	wantPassed(b, all(b, c, jobs))
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
}

// asks is a worker that asks by hand.
func (s *site) asks(role Role) *conn {
	s.t.Helper()
	c, err := dial(s.t.Context(), s.addr, s.keys.Key(role), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(c.close)
	return c
}

var about = About{Name: "by hand", Slots: 8, Classes: []Class{testClass}}

// leaseOne waits for a lease.
func leaseOne(t testing.TB, c *conn) Lease {
	t.Helper()
	for {
		a, err := ask(t.Context(), c, "lease", leaseRequest{About: about, Want: 1}, func(a leaseAnswer) string { return a.Error })
		if err != nil {
			t.Fatal(err)
		}
		if len(a.Leases) > 0 {
			return a.Leases[0]
		}
	}
}

func (l Lease) hold() held { return held{l.place, l.Reply, l.Token} }

func give(t testing.TB, c *conn, l Lease, v scenarios.Verdict, files ...File) error {
	t.Helper()
	body, err := json.Marshal(outcomeOf(trial.Job{Case: fmt.Sprint(l.N)}, v))
	if err != nil {
		t.Fatal(err)
	}
	_, err = ask(t.Context(), c, "done", doneRequest{l.hold(), about, Result{body, files}}, func(a plain) string { return a.Error })
	return err
}
