package fleet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/blockrig/blockrig/harness/trial"
	"github.com/blockrig/blockrig/scenarios"
)

// quick has leases of a second, so that what is lost is missed soon.
func quick(o *Options) { o.lease = time.Second }

// begin submits jobs.
func begin(t *testing.T, c *Client, jobs map[int]trial.Job) trial.Batch {
	t.Helper()
	b, err := c.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := b.Submit(t.Context(), jobs); err != nil {
		t.Fatal(err)
	}
	return b
}

func next(t *testing.T, b trial.Batch) trial.Away {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	a, err := b.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// Given a worker that takes a job and is never heard of again, then another one
// gets it.
func TestALostWorkersJobGoesToAnother(t *testing.T) {
	s := newSite(t, quick)
	b := begin(t, s.client(), jobsOf(1, 1))
	lost := leaseOne(t, s.asks(RoleWorker))
	other := s.asks(RoleWorker)
	again := leaseOne(t, other)
	if again.place != lost.place {
		t.Fatalf("leased %v, want %v", again.place, lost.place)
	}
	if err := give(t, other, again, scenarios.Pass); err != nil {
		t.Fatal(err)
	}
	if a := next(t, b); a.Outcome.Verdict != scenarios.Pass {
		t.Error(a.Outcome.Verdict)
	}
}

// Given a job that no worker comes back from, then after three it is an error
// that says so, and the others are done.
func TestAJobThatKillsWorkersIsAnError(t *testing.T) {
	s := newSite(t, quick)
	b := begin(t, s.client(), jobsOf(1, 1))
	for range MostDeaths {
		leaseOne(t, s.asks(RoleWorker))
	}
	s.work("sound", 1, func(ctx context.Context, g Given) (trial.Outcome, error) {
		t.Error("it was tried once more")
		return passes(ctx, g)
	})
	a := next(t, b)
	if a.Outcome.Verdict != scenarios.Error || !strings.Contains(a.Outcome.Reason, "3 workers did not come back") {
		t.Errorf("%s: %s", a.Outcome.Verdict, a.Outcome.Reason)
	}
}

// Given a worker that ends in an orderly way, as often as it likes, then its job
// goes to another at once and no death is counted.
func TestWhatIsGivenBackCountsForNothing(t *testing.T) {
	s := newSite(t, nil) // with leases of a minute, which nobody waits for
	b := begin(t, s.client(), jobsOf(1, 1))
	for range MostDeaths + 1 {
		begun := make(chan struct{})
		stop := s.work("leaves", 1, func(ctx context.Context, g Given) (trial.Outcome, error) {
			close(begun)
			<-ctx.Done()
			return trial.Outcome{}, context.Cause(ctx)
		})
		<-begun
		stop()
	}
	s.work("stays", 1, passes)
	if a := next(t, b); a.Outcome.Verdict != scenarios.Pass {
		t.Errorf("%s: %s", a.Outcome.Verdict, a.Outcome.Reason)
	}
}

// Given a worker that was taken for lost and comes back with another verdict,
// then the first one counts, and the second is said.
func TestASecondVerdictIsSaid(t *testing.T) {
	s := newSite(t, quick)
	c := s.client()
	var mu sync.Mutex
	var said []string
	c.Say = func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		said = append(said, fmt.Sprintf(format, args...))
	}
	jobs := jobsOf(2, 1)
	b := begin(t, c, jobs)
	slow, other := s.asks(RoleWorker), s.asks(RoleWorker)
	first := leaseOne(t, slow)
	var again Lease
	for again.place != first.place {
		again = leaseOne(t, other)
	}
	if err := errors.Join(give(t, other, again, scenarios.Pass), give(t, slow, first, scenarios.Hang), give(t, slow, first, scenarios.Pass)); err != nil {
		t.Fatal(err)
	}
	if a := next(t, b); a.Outcome.Verdict != scenarios.Pass || a.Number != first.N {
		t.Errorf("job %d: %s", a.Number, a.Outcome.Verdict)
	}
	s.work("rest", 1, passes)
	next(t, b)
	mu.Lock()
	defer mu.Unlock()
	if len(said) != 1 || !strings.Contains(said[0], "hang on by hand; the first, which counts, is pass") {
		t.Errorf("said: %q", said)
	}
}

// Given a worker that has as many trials and builds as one may have, then it can
// extend all of them, and give them back.
func TestAllThatAWorkerMayHaveIsExtended(t *testing.T) {
	w := newSite(t, nil).asks(RoleWorker)
	for n, fine := range map[int]bool{MaxSlots + MaxBuilds: true, MaxSlots + MaxBuilds + 1: false} {
		all := make([]held, n)
		_, extended := ask(t.Context(), w, "extend", extendRequest{about, all}, func(a extendAnswer) string { return a.Error })
		_, back := ask(t.Context(), w, "back", backRequest{Leases: all}, func(a plain) string { return a.Error })
		if (extended == nil) != fine || (back == nil) != fine {
			t.Errorf("%d leases: %v; %v", n, extended, back)
		}
	}
}

// Given leases that are extended, then they are nobody else's, however long.
func TestALeaseThatIsExtendedStays(t *testing.T) {
	s := newSite(t, func(o *Options) { o.lease = 400 * time.Millisecond })
	b := begin(t, s.client(), jobsOf(1, 1))
	mine, other := s.asks(RoleWorker), s.asks(RoleWorker)
	l := leaseOne(t, mine)
	for range 20 {
		a, err := ask(t.Context(), mine, "extend", extendRequest{about, []held{l.hold()}}, func(a extendAnswer) string { return a.Error })
		if err != nil || len(a.Drop) > 0 {
			t.Fatal(err, a)
		}
		got, err := ask(t.Context(), other, "lease", leaseRequest{About: about, Want: 1}, func(a leaseAnswer) string { return a.Error })
		if err != nil || len(got.Leases) > 0 {
			t.Fatal(err, got)
		}
	}
	if err := give(t, mine, l, scenarios.Pass); err != nil {
		t.Fatal(err)
	}
	next(t, b)
}

// Given a hub that is restarted in the middle, then what was leased goes on,
// and each job has its outcome once.
func TestAHubIsRestarted(t *testing.T) {
	for what, lose := range map[string]func(*site){
		"with its queue":    func(*site) {},
		"without its queue": func(s *site) { s.remove(s.opt.State) },
		"without its files": func(s *site) { s.remove(s.opt.Files) },
	} {
		t.Run(what, func(t *testing.T) {
			s := newSite(t, nil)
			trials := hold(t)
			s.work("a", 2, trials.passes)
			b := begin(t, s.client(), jobsOf(20, 2))
			s.stop()
			lose(s)
			s.start()
			trials.letGo()
			got := map[int]trial.Outcome{}
			for len(got) < 20 {
				a := next(t, b)
				got[a.Number] = a.Outcome
				a.Recorded()
			}
			wantPassed(t, got)
			if what == "with its queue" {
				trials.wantOnce(t)
			}
		})
	}
}

// has says whether a file of an outcome is at the hub.
func (s *site) has(a Artefact) bool {
	s.hub.files.mu.Lock()
	defer s.hub.files.mu.Unlock()
	return s.hub.files.has(a)
}

// Given a result that the client has heard of, and whose files the hub has lost
// before the client had them, then the trial is made again.
func TestAHubIsRestartedBeforeItsFilesAreFetched(t *testing.T) {
	s := newSite(t, nil)
	b := begin(t, s.client(), jobsOf(3, 1))
	w := s.asks(RoleWorker)
	l := leaseOne(t, w)
	a := artefactOfBytes([]byte("console"))
	if err := w.send(t.Context(), a, strings.NewReader("console")); err != nil {
		t.Fatal(err)
	}
	if err := give(t, w, l, scenarios.Pass, File{trial.ConsoleFile, a}); err != nil {
		t.Fatal(err)
	}
	for batch := b.(*trialBatch); len(batch.results) == 0; {
		if err := batch.poll(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	s.stop()
	s.start()
	s.work("w", 1, passes)
	got := map[int]trial.Outcome{}
	for range 3 {
		a := next(t, b)
		got[a.Number] = a.Outcome
		if err := a.Files(t.Context(), t.TempDir()); err != nil {
			t.Error(err)
		}
		a.Recorded()
	}
	if len(got) != 3 {
		t.Errorf("outcomes of %d trials", len(got))
	}
	wantPassed(t, got)
}

func (s *site) remove(dir string) {
	s.t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		s.t.Fatal(err)
	}
}

// Given a queue that gives nothing though jobs wait, then the hub makes it
// again, and clients send what is not done.
func TestAQueueThatStandsStillIsMadeAgain(t *testing.T) {
	s := newSite(t, func(o *Options) { o.still = 300 * time.Millisecond })
	b := begin(t, s.client(), jobsOf(30, 3))
	if err := s.hub.queue.current().Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.work("a", 2, passes)
	got := map[int]trial.Outcome{}
	for len(got) < 30 {
		a := next(t, b)
		got[a.Number] = a.Outcome
	}
	wantPassed(t, got)
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	if s.hub.rebuilt == 0 {
		t.Error("it was not made again")
	}
}

// Given a job that a worker is given before the hub knows that it is in the queue,
// then it is made all the same, and is not taken for one that is over.
func TestAJobThatIsLeasedAtOnce(t *testing.T) {
	s := newSite(t, nil)
	b := begin(t, s.client(), jobsOf(1, 1))
	w := s.asks(RoleWorker)
	first := leaseOne(t, w)
	h := s.hub
	second := first.place
	second.N = 1
	h.mu.Lock()
	of, j := h.find(first.place)
	of.jobs[second.N] = &job{place: second, group: j.group}
	j.group.taking++ // as for whom lease chooses the group
	h.mu.Unlock()
	if err := h.queue.put(t.Context(), []item{{second, first.Task}}); err != nil {
		t.Fatal(err)
	}
	got, err := h.take(w.id, j.group, 1)
	if err != nil || len(got) != 1 || got[0].place != second {
		t.Errorf("leased: %v, %v", got, err)
	}
	if err := give(t, w, first, scenarios.Pass); err != nil {
		t.Error(err)
	}
	next(t, b)
}

// Given a worker that can't keep what it is sent, as on a full disk, then its
// jobs go to others; where there are none, they are an error that says why.
func TestAWorkerThatCantGivesItBack(t *testing.T) {
	s := newSite(t, nil)
	c := s.client()
	image := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(image, []byte("image"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.Find = func(context.Context, trial.Job) (trial.Files, error) {
		return trial.Files{Image: image, Initrd: image}, nil
	}
	broken := t.TempDir()
	if err := os.WriteFile(filepath.Join(broken, "artefacts"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	w := &Worker{
		Addr: s.addr, Key: s.keys.Key(RoleWorker), Cache: broken, Do: passes, pause: time.Millisecond,
		About: About{Name: "broken", Slots: 1, Classes: []Class{testClass}},
	}
	go func() { ended <- w.Run(ctx) }()
	b := begin(t, c, jobsOf(1, 1))
	if a := next(t, b); a.Outcome.Verdict != scenarios.Error || !strings.Contains(a.Outcome.Reason, "no worker can make this trial; the last one said: ") {
		t.Errorf("%s: %s", a.Outcome.Verdict, a.Outcome.Reason)
	}
	s.work("sound", 1, func(ctx context.Context, g Given) (trial.Outcome, error) {
		if text, err := os.ReadFile(g.Initrd); err != nil || string(text) != "image" {
			t.Errorf("the initramfs is %q: %v", text, err)
		}
		return passes(ctx, g)
	})
	more := jobsOf(100, 5)
	b2 := begin(t, c, more)
	for range more {
		if a := next(t, b2); a.Outcome.Verdict != scenarios.Pass {
			t.Errorf("%s: %s", a.Outcome.Verdict, a.Outcome.Reason)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// Given a client that goes away without a word, then its jobs do.
func TestASilentClientsJobsAreDropped(t *testing.T) {
	s := newSite(t, func(o *Options) { o.gone = 300 * time.Millisecond })
	c, err := Connect(t.Context(), s.addr, s.keys.Key(RoleClient), nil)
	if err != nil {
		t.Fatal(err)
	}
	c.class.Class, c.Work = testClass, t.TempDir()
	b, err := c.Begin(t.Context())
	if err == nil {
		err = b.Submit(t.Context(), jobsOf(10, 2))
	}
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	for {
		left, err := s.hub.queue.batches(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if len(left) == 0 {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Given a job that has its outcome, with a file, and is not wanted any more, then
// the hub keeps nothing of it, and does not give it to the client.
func TestWhatIsDroppedIsNotKept(t *testing.T) {
	s := newSite(t, nil)
	c, w := s.client(), s.asks(RoleWorker)
	b := begin(t, c, jobsOf(1, 1))
	l := leaseOne(t, w)
	a := artefactOfBytes([]byte("console"))
	if err := w.send(t.Context(), a, strings.NewReader("console")); err != nil {
		t.Fatal(err)
	}
	if err := give(t, w, l, scenarios.Pass, File{trial.ConsoleFile, a}); err != nil {
		t.Fatal(err)
	}
	if err := b.Drop(t.Context(), []int{l.N}); err != nil {
		t.Fatal(err)
	}
	if s.has(a) {
		t.Error("its file is kept")
	}
	got, err := ask(t.Context(), c.conn, "poll", pollRequest{Batch: l.Batch}, func(a pollAnswer) string { return a.Error })
	if err != nil || len(got.Results) > 0 {
		t.Errorf("given: %v, %v", got.Results, err)
	}
}

// Given a result that the client has, and has not recorded yet, then it is not
// told again at once, which would be again and again; to who has lost it, it is.
func TestWhatTheClientHasIsNotToldAgain(t *testing.T) {
	s := newSite(t, nil)
	c, w := s.client(), s.asks(RoleWorker)
	b := begin(t, c, jobsOf(2, 1))
	l := leaseOne(t, w)
	if err := give(t, w, l, scenarios.Pass); err != nil {
		t.Fatal(err)
	}
	got := next(t, b)
	poll := func(held ...int) []Came {
		t.Helper()
		a, err := ask(t.Context(), c.conn, "poll", pollRequest{Batch: l.Batch, Held: held}, func(a pollAnswer) string { return a.Error })
		if err != nil {
			t.Fatal(err)
		}
		return a.Results
	}
	if again := poll(got.Number); len(again) > 0 {
		t.Errorf("told again: %v", again)
	}
	if again := poll(); len(again) != 1 {
		t.Errorf("told to who has lost it: %v", again)
	}
	polls := make(chan struct{})
	go func() {
		defer close(polls)
		next(t, b) // the second
	}()
	s.work("rest", 1, passes)
	<-polls
	got.Recorded()
}

// Given jobs of two saved machines and two workers, then each worker keeps to
// one of them, as long as there is enough of it.
func TestJobsGoToWhoHasTheMachine(t *testing.T) {
	s := newSite(t, nil)
	b := begin(t, s.client(), jobsOf(60, 2))
	a, c := s.asks(RoleWorker), s.asks(RoleWorker)
	seen := map[*conn]map[string]int{a: {}, c: {}}
	for range 20 {
		for _, w := range []*conn{a, c} {
			l := leaseOne(t, w)
			seen[w][l.Task.Group]++
			if err := give(t, w, l, scenarios.Pass); err != nil {
				t.Fatal(err)
			}
			next(t, b).Recorded()
		}
	}
	if len(seen[a]) != 1 || len(seen[c]) != 1 {
		t.Errorf("groups of each worker: %v", seen)
	}
	// When one of them is done, its worker helps with what is left, if that is much.
	s.work("rest", 1, passes)
	for range 20 {
		next(t, b).Recorded()
	}
}

// Given jobs that wait behind a long row of another machine's, then they are
// not left waiting.
func TestNobodyStarves(t *testing.T) {
	h := &Hub{groups: map[string]*group{}, workers: map[string]*worker{}}
	now := time.Now()
	w := &worker{About: about, id: "w", seen: now}
	h.workers["w"] = w
	mine := &group{id: "mine", class: testClass, queued: 1000, since: now, holders: map[string]time.Time{"w": now}}
	other := &group{id: "other", class: testClass, queued: 1, since: now, holders: map[string]time.Time{}}
	h.groups["mine"], h.groups["other"] = mine, other
	if g := h.choose(w, now); g != mine {
		t.Errorf("first %s", g.id)
	}
	mine.since = now.Add(forgotten)
	if g := h.choose(w, now.Add(forgotten+time.Second)); g != other {
		t.Errorf("after a while %s", g.id)
	}
	// Somebody has begun with it: a slow machine boots for longer than that.
	o := &worker{About: about, id: "o", seen: time.Now(), leases: map[place]time.Time{{"b", 0}: now}}
	h.workers["o"], other.holders["o"] = o, now
	h.batches = map[string]*batch{"b": {jobs: map[int]*job{0: {group: other}}}}
	if g := h.choose(w, now.Add(forgotten+time.Second)); g != mine {
		t.Errorf("beside another that is at it %s", g.id)
	}
	delete(other.holders, "o")
	other.class.QEMU = "another"
	if g := h.choose(w, now.Add(forgotten+time.Second)); g != mine {
		t.Errorf("of another class: %v", g)
	}
}

// Given who has no key, another hub's, or that of the other role, then it is not
// let in, or may not do what is not its own.
func TestKeys(t *testing.T) {
	s := newSite(t, nil)
	others, err := OpenKeys(filepath.Join(t.TempDir(), "keys"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dial(t.Context(), s.addr, others.Key(RoleWorker), nil); !errors.Is(err, ErrOtherHub) {
		t.Errorf("another hub's key: %v", err)
	}
	mixed := others.Key(RoleWorker)
	mixed.cert = s.keys.fingerprint
	if c, err := dial(t.Context(), s.addr, mixed, nil); err == nil {
		c.close()
		t.Error("a key of another hub's was let in")
	}
	worker := s.asks(RoleWorker)
	for _, op := range []string{"submit", "classes", "end"} {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		_, err := worker.nc.RequestWithContext(ctx, opSubject(RoleClient, op, worker.id), []byte("{}"))
		cancel()
		if err == nil {
			t.Errorf("a worker may %s", op)
		}
	}
	other := s.asks(RoleWorker)
	for _, subject := range []string{">", inboxOf(other.id) + ".>", "$JS.>", "blockrig.>", opSubject(RoleWorker, "*", other.id)} {
		refused := make(chan error, 1)
		worker.nc.SetErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			select {
			case refused <- err:
			default:
			}
		})
		if _, err := worker.nc.SubscribeSync(subject); err != nil {
			t.Fatal(err)
		}
		if err := worker.nc.Flush(); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-refused:
			if !errors.Is(err, nats.ErrPermissionViolation) {
				t.Errorf("subscribe to %s: %v", subject, err)
			}
		case <-time.After(limit):
			t.Fatalf("a worker may subscribe to %s", subject)
		}
	}
	js, err := jetstream.New(worker.nc)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := js.Stream(ctx, "BLOCKRIG"); err == nil {
		t.Error("a worker may look into the queue")
	}
}

// Given a worker that says what no honest one would, then the hub refuses it and
// the job is still to be done.
func TestAWorkerIsAStranger(t *testing.T) {
	s := newSite(t, nil)
	b := begin(t, s.client(), jobsOf(1, 1))
	w, thief := s.asks(RoleWorker), s.asks(RoleWorker)
	l := leaseOne(t, w)
	good, err := json.Marshal(outcomeOf(trial.Job{Case: "0"}, scenarios.Pass))
	if err != nil {
		t.Fatal(err)
	}
	a := artefactOfBytes([]byte("console"))
	done := func(c *conn, h held, r Result) error {
		_, err := ask(t.Context(), c, "done", doneRequest{h, about, r}, func(a plain) string { return a.Error })
		return err
	}
	stolen := l.hold()
	forged := l.hold()
	forged.N = 7
	for what, err := range map[string]error{
		"another's lease":          done(thief, stolen, Result{Outcome: good}),
		"a forged lease":           done(w, forged, Result{Outcome: good}),
		"no outcome":               done(w, l.hold(), Result{}),
		"no verdict":               done(w, l.hold(), Result{Outcome: json.RawMessage(`{}`)}),
		"a verdict that is none":   done(w, l.hold(), Result{Outcome: json.RawMessage(`{"verdict":"nice"}`)}),
		"a path":                   done(w, l.hold(), Result{Outcome: good, Files: []File{{"../../etc/passwd", a}}}),
		"a file of the record's":   done(w, l.hold(), Result{Outcome: good, Files: []File{{"result.json", a}}}),
		"a file that was not sent": done(w, l.hold(), Result{Outcome: good, Files: []File{{trial.ConsoleFile, a}}}),
		"a file that is too large": done(w, l.hold(), Result{Outcome: good, Files: []File{{trial.ConsoleFile, Artefact{a.SHA256, maxLog + 1}}}}),
		"a digest that is a path":  done(w, l.hold(), Result{Outcome: good, Files: []File{{trial.ConsoleFile, Artefact{"../x", 1}}}}),
		"the same file twice":      done(w, l.hold(), Result{Outcome: good, Files: []File{{trial.ConsoleFile, a}, {trial.ConsoleFile, a}}}),
		"a worker without a slot": func() error {
			_, err := ask(t.Context(), w, "lease", leaseRequest{About: About{Name: "x"}, Want: 1}, func(a leaseAnswer) string { return a.Error })
			return err
		}(),
		"more jobs than anyone has": func() error {
			_, err := ask(t.Context(), w, "lease", leaseRequest{About: about, Want: 1 << 20}, func(a leaseAnswer) string { return a.Error })
			return err
		}(),
	} {
		var refused *RefusedError
		if !errors.As(err, &refused) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := w.send(t.Context(), a, strings.NewReader("console")); err != nil {
		t.Fatal(err)
	}
	if err := done(w, l.hold(), Result{Outcome: good, Files: []File{{trial.ConsoleFile, a}}}); err != nil {
		t.Fatal(err)
	}
	got := next(t, b)
	dir := t.TempDir()
	if err := got.Files(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, trial.ConsoleFile)); err != nil || string(text) != "console" {
		t.Errorf("%q, %v", text, err)
	}
}

// Given an outcome that the client can't take for one, then the trial is an
// error that names the worker.
func TestWhatIsNoOutcomeIsAnError(t *testing.T) {
	j := jobsOf(1, 1)[0]
	for what, o := range map[string]string{
		"tried too often":     `{"verdict":"pass","attempts":[{"verdict":"pass"},{"verdict":"pass"},{"verdict":"pass"},{"verdict":"pass"}]}`,
		"never tried":         `{"verdict":"pass"}`,
		"another accelerator": `{"verdict":"pass","accel":"kvm","attempts":[{"verdict":"pass"}]}`,
		"also what is not":    `{"verdict":"pass","also":["x"],"attempts":[{"verdict":"pass"}]}`,
		"not JSON of one":     `{"verdict":"pass","attempts":7}`,
		"one of a build":      `{"built":"built"}`,
	} {
		got := (&Client{}).outcome(j, Came{Worker: "w\x1b[2J", Result: Result{Outcome: json.RawMessage(o)}}, "")
		if got.Verdict != scenarios.Error || !strings.Contains(got.Reason, "is no outcome") || strings.Contains(got.Reason, "\x1b") {
			t.Errorf("%s: %s %q", what, got.Verdict, got.Reason)
		}
	}
}

// Given a file of several parts whose way to the hub, and from it, breaks in the
// middle, then it is gone on with, and what comes is what was sent.
func TestFilesAreGoneOnWith(t *testing.T) {
	s := newSite(t, nil)
	client, worker := s.asks(RoleClient), s.asks(RoleWorker)
	content := bytes.Repeat([]byte("0123456789abcdef"), 3*maxPart/16)
	a := artefactOfBytes(content)
	r := bytes.NewReader(content)
	if n, whole, err := client.sendPart(t.Context(), a, r, 0, maxPart); err != nil || whole || n != maxPart {
		t.Fatal(n, whole, err)
	}
	client.web.CloseIdleConnections()
	if err := client.send(t.Context(), a, r); err != nil {
		t.Fatal(err)
	}
	to, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	sum := newSummer(to)
	if err := worker.fetchPart(t.Context(), a, sum); err != nil || sum.n != maxPart {
		t.Fatal(sum.n, err)
	}
	worker.web.CloseIdleConnections()
	for sum.n < a.Size {
		if err := worker.fetchPart(t.Context(), a, sum); err != nil {
			t.Fatal(err)
		}
	}
	if sum.hex() != a.SHA256 {
		t.Error("another file came")
	}
}

// Given a worker whose clock is wrong, then what it says of the time that a trial
// began counts only as far as it can be.
func TestAWorkersClockIsWrong(t *testing.T) {
	now := time.Now()
	b := &trialBatch{began: now.Add(-time.Minute)}
	for what, c := range map[string]struct{ says, want time.Duration }{
		"right":       {-30 * time.Second, -30 * time.Second},
		"a day ahead": {24 * time.Hour, -10 * time.Second},
		"a day late":  {-24 * time.Hour, -10 * time.Second},
	} {
		if got := b.begunAt(trial.Outcome{Started: now.Add(c.says), Wall: 10 * time.Second}, now).Sub(now); got != c.want {
			t.Errorf("%s: %v from now, want %v", what, got, c.want)
		}
	}
	for _, wall := range []time.Duration{-time.Hour, 1000 * time.Hour} {
		if got := b.begunAt(trial.Outcome{Wall: wall}, now); got.Before(b.began) || got.After(now) {
			t.Errorf("a trial that took %v began at %v", wall, got.Sub(now))
		}
	}
}

// Given files that are not what they are said to be, or too many, or for others,
// then the hub refuses them.
func TestFilesAreChecked(t *testing.T) {
	s := newSite(t, nil)
	client, worker := s.asks(RoleClient), s.asks(RoleWorker)
	a := artefactOfBytes([]byte("right"))
	var refused *RefusedError
	if err := client.send(t.Context(), a, strings.NewReader("wrong")); !errors.As(err, &refused) {
		t.Errorf("another digest: %v", err)
	}
	if _, whole, err := client.have(t.Context(), a.SHA256); whole || err != nil {
		t.Errorf("it is there: %v", err)
	}
	if err := worker.send(t.Context(), Artefact{a.SHA256, maxBuilt + 1}, strings.NewReader("")); !errors.As(err, &refused) {
		t.Errorf("too large: %v", err)
	}
	if err := worker.send(t.Context(), a, strings.NewReader("right")); err != nil {
		t.Fatal(err)
	}
	if err := worker.fetch(t.Context(), a, nil); !errors.As(err, &refused) {
		t.Errorf("a worker got what came from a worker: %v", err)
	}
	for what, change := range map[string]func(*http.Request){
		"nobody":   func(r *http.Request) { r.Header.Del("Authorization") },
		"a guess":  func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+newID()) },
		"the bare": func(r *http.Request) { r.Header.Set("Authorization", "Bearer ") },
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, client.url(a.SHA256), nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+client.id)
		change(r)
		got, err := client.web.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := got.Body.Close(); err != nil || got.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: %s, %v", what, got.Status, err)
		}
	}
}

// Given files that come in halves, twice at once, of another size than was said,
// or for an outcome that does not come, then what an owner has sent is counted for what it is, and no more.
func TestWhatAnOwnerHasSentIsCounted(t *testing.T) {
	s := newSite(t, nil)
	w := s.asks(RoleWorker)
	f := s.hub.files
	wantOwned := func(want int64) {
		t.Helper()
		f.mu.Lock()
		defer f.mu.Unlock()
		if got := f.owned[w.id]; got != want {
			t.Errorf("%d bytes are the worker's, want %d", got, want)
		}
	}
	content := strings.NewReader("content")
	a := artefactOfBytes([]byte("content"))
	half := func(a Artefact, at int64) error {
		_, _, err := w.sendPart(t.Context(), a, content, at, 1)
		return err
	}
	if err := half(a, 0); err != nil {
		t.Fatal(err)
	}
	wantOwned(a.Size)
	var refused *RefusedError
	if err := half(Artefact{a.SHA256, maxLog}, 1); !errors.As(err, &refused) {
		t.Errorf("another size: %v", err)
	}
	after := func(d time.Duration) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.dropOld(time.Now().Add(d))
	}
	after(partAge)
	wantOwned(0)
	sent := make(chan error)
	for range 8 {
		go func() { sent <- w.send(t.Context(), a, content) }()
	}
	for range 8 {
		if err := <-sent; err != nil {
			t.Error(err)
		}
	}
	wantOwned(a.Size)
	if err := f.claim(w.id, []File{{trial.ConsoleFile, a}}); err != nil {
		t.Error(err)
	}
	wantOwned(0)
	f.drop(a)
	if err := w.send(t.Context(), a, content); err != nil {
		t.Fatal(err)
	}
	after(backAge - time.Minute)
	wantOwned(a.Size)
	after(backAge)
	wantOwned(0)
	if s.has(a) {
		t.Error("a file whose outcome did not come is kept")
	}
}

// Given a hub whose disk takes nothing for a moment, then a file that comes meanwhile is
// not refused, and is sent again.
func TestTheHubsDiskIsFull(t *testing.T) {
	s := newSite(t, nil)
	w := s.asks(RoleWorker)
	a := artefactOfBytes([]byte("content"))
	content := strings.NewReader("content")
	if _, _, err := w.sendPart(t.Context(), a, content, 0, 1); err != nil {
		t.Fatal(err)
	}
	f := s.hub.files
	f.mu.Lock()
	p := f.parts[w.id+a.SHA256]
	f.mu.Unlock()
	p.mu.Lock()
	unwritable, err := os.Open(p.file.Name()) // as good as a full disk, and the same file: it is removed
	err = errors.Join(err, p.file.Close())
	p.file = unwritable
	p.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	var refused *RefusedError
	if _, _, err := w.sendPart(t.Context(), a, content, 1, a.Size-1); err == nil || errors.As(err, &refused) || !strings.Contains(err.Error(), "the hub can't: write") {
		t.Fatalf("with a full disk: %v", err)
	}
	if err := w.send(t.Context(), a, content); err != nil {
		t.Fatal(err)
	}
	if !s.has(a) {
		t.Error("the file is not there")
	}
}

// Given a text that is no key, then that is said.
func TestParseKey(t *testing.T) {
	keys, err := OpenKeys(filepath.Join(t.TempDir(), "keys"))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []Role{RoleWorker, RoleClient} {
		k := keys.Key(r)
		if got, err := ParseKey(k.String() + "\n"); err != nil || got != k {
			t.Errorf("%v, %v", got, err)
		}
	}
	good := keys.Key(RoleWorker)
	for _, bad := range []string{"", "x", "worker.x." + good.cert, "hub." + good.seed + "." + good.cert, "worker." + good.seed, "worker." + good.seed + ".00"} {
		if _, err := ParseKey(bad); !errors.Is(err, ErrKey) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// Given keys that others can read, then the hub does not take them.
func TestKeysThatOthersCanRead(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	was, err := OpenKeys(dir)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := OpenKeys(dir); err != nil || again.Key(RoleWorker) != was.Key(RoleWorker) {
		t.Errorf("other keys at the second start: %v", err)
	}
	if err := os.Chmod(filepath.Join(dir, workerFile), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenKeys(dir); err == nil || !strings.Contains(err.Error(), "others can read it") {
		t.Errorf("got %v", err)
	}
}

// Given workers that are lost, frozen and restarted at any moment, and a hub
// that is restarted, then each job has one outcome, the right one, and nothing
// is left in the queue.
func TestTrouble(t *testing.T) {
	s := newSite(t, func(o *Options) { quick(o); o.lease = 2 * time.Second })
	var stops []func()
	for i := range 4 {
		name := fmt.Sprint("w", i)
		stops = append(stops, s.work(name, 4, func(ctx context.Context, g Given) (trial.Outcome, error) {
			select {
			case <-time.After(time.Duration(rand.IntN(20)) * time.Millisecond):
			case <-ctx.Done():
				return trial.Outcome{}, context.Cause(ctx)
			}
			return passes(ctx, g)
		}))
	}
	ctx, cancel := context.WithCancel(t.Context())
	var trouble sync.WaitGroup
	trouble.Go(func() { // workers that die with a job in hand
		for ctx.Err() == nil {
			c, err := dial(ctx, s.addr, s.keys.Key(RoleWorker), nil)
			if err == nil {
				_, _ = ask(ctx, c, "lease", leaseRequest{About: about, Want: 2}, func(a leaseAnswer) string { return a.Error })
				c.close()
			}
			time.Sleep(time.Duration(rand.IntN(300)) * time.Millisecond)
		}
	})
	trouble.Go(func() {
		for range 3 {
			time.Sleep(300 * time.Millisecond)
			s.stop()
			s.start()
		}
		stops[0]()
	})
	got := all(t, s.client(), jobsOf(400, 6))
	cancel()
	trouble.Wait()
	killed := 0
	for n, o := range got {
		if o.Verdict == scenarios.Error && strings.Contains(o.Reason, "did not come back") {
			killed++ // it met the dying ones three times
		} else if o.Verdict != scenarios.Pass || o.Reason != fmt.Sprint(n) {
			t.Errorf("job %d: %s: %s", n, o.Verdict, o.Reason)
		}
	}
	if killed > 20 {
		t.Errorf("%d jobs met only dying workers", killed)
	}
	left, err := s.hub.queue.batches(t.Context())
	if err != nil || len(left) > 0 {
		t.Errorf("left in the queue: %v, %v", left, err)
	}
}
