package fleet

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/blockrig/blockrig/harness/cachedir"
	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/harness/trial"
	"github.com/blockrig/blockrig/harness/verdict"
	"github.com/blockrig/blockrig/scenarios"
)

// Given is a job with its files on this machine.
type Given struct {
	Job           trial.Job
	Image, Initrd string // bzImage and initramfs, which stay until the job is done
	Dir           string // for the outcome's files; it is not there yet
}

// A Worker does a hub's jobs.
type Worker struct {
	Addr  string
	Key   Key
	About About
	Cache string // folder for artefacts and work
	Log   *slog.Logger
	// Do does a job. What is interrupted gives an error: it goes back.
	Do func(ctx context.Context, g Given) (trial.Outcome, error)
	// Check says what is wrong with a job; nil for nothing.
	Check func(trial.Job) error
	// Build does a build. An error that does not wrap gitbuild.ErrJob is this
	// machine's, and the job goes back. It may be nil where About says that
	// nothing is built.
	Build func(ctx context.Context, g GivenBuild) error
	// Commits are those of which there are object trees; nil for none.
	Commits func() []string
	// Ready is called once the worker is let in; nil for nobody.
	Ready func()

	pause     time.Duration // pause, but in tests
	conn      *conn
	artefacts *cachedir.Dir
	folders   atomic.Int64 // that jobs had

	mu     sync.Mutex
	held   map[place]*holding
	wakeup chan struct{} // leases are to be extended now
}

// A holding is a lease that the worker has.
type holding struct {
	held
	cancel context.CancelCauseFunc
}

// workerArtefacts is how much a worker keeps of what the hub sent, in bytes.
const workerArtefacts = 20 << 30

// errNotWanted says that nobody waits for a job any more.
var errNotWanted = errors.New("nobody wants it any more")

// Run works until ctx ends, which is no error. What is under way then is given
// back.
func (w *Worker) Run(ctx context.Context) (err error) {
	if w.Key.Role != RoleWorker {
		return fmt.Errorf("%w that works: it is a client's", ErrKey)
	}
	if w.Log == nil {
		w.Log = slog.New(slog.DiscardHandler)
	}
	w.pause = cmp.Or(w.pause, pause)
	w.held, w.wakeup = map[place]*holding{}, make(chan struct{}, 1)
	w.artefacts = cachedir.New(filepath.Join(w.Cache, "artefacts"), cachedir.Options{What: "artefact", Limit: workerArtefacts, Log: w.Log})
	root := filepath.Join(w.Cache, "work")
	if err := cachedir.Sweep(ctx, root, "worker-", nil); err != nil {
		return err
	}
	dir, err := cachedir.Scratch(ctx, root, "worker-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.Remove()) }()
	if w.conn, err = dial(ctx, w.Addr, w.Key, w.wake); err != nil {
		return err
	}
	defer w.conn.close()
	if w.Ready != nil {
		w.Ready()
	}
	var jobs, extending sync.WaitGroup
	over, stop := context.WithCancel(context.WithoutCancel(ctx)) // leases are extended until the last job is over
	defer extending.Wait()
	defer stop()
	extending.Go(func() { w.extend(over) })
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return w.lease(gctx, false, w.About.Slots, dir.Path(), &jobs) })
	if w.About.Builds > 0 {
		g.Go(func() error { return w.lease(gctx, true, w.About.Builds, dir.Path(), &jobs) })
	}
	err = g.Wait()
	jobs.Wait()
	return err
}

// about is what the worker says of itself.
func (w *Worker) about() About {
	a := w.About
	if w.Commits != nil {
		a.Commits = w.Commits()
	}
	return a
}

func (w *Worker) wake() {
	select {
	case w.wakeup <- struct{}{}:
	default:
	}
}

// lease takes builds, or trials, so many at a time, and starts each.
func (w *Worker) lease(ctx context.Context, builds bool, most int, dir string, jobs *sync.WaitGroup) error {
	slots := make(chan struct{}, most)
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		if err := room(w.Cache); err != nil {
			w.Log.Warn("no jobs are done for now", "reason", err)
			<-slots
			select {
			case <-ctx.Done():
			case <-time.After(w.pause):
			}
			continue
		}
		free := 1 + w.fill(slots)
		a, err := ask(ctx, w.conn, "lease", leaseRequest{w.about(), free, builds}, func(a leaseAnswer) string { return a.Error })
		if ctx.Err() != nil {
			w.giveBack(a.Leases, nil)
			return nil
		}
		var refused *RefusedError
		if errors.As(err, &refused) {
			return err
		}
		for range free - len(a.Leases) {
			<-slots
		}
		if err != nil {
			w.Log.Info("no job", "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
		for _, l := range a.Leases {
			h := w.hold(l)
			if h == nil {
				<-slots
				continue
			}
			work := filepath.Join(dir, strconv.FormatInt(w.folders.Add(1), 10))
			jobs.Go(func() {
				defer func() { <-slots }()
				w.job(ctx, l, h, work)
			})
		}
	}
}

// fill takes the slots that are free, and says how many those were.
func (w *Worker) fill(slots chan struct{}) (n int) {
	for {
		select {
		case slots <- struct{}{}:
			n++
		default:
			return n
		}
	}
}

// hold takes up a lease. It is nil for one of a job that is under way here: a hub
// that was restarted did not hear of that in time.
func (w *Worker) hold(l Lease) *holding {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := held{l.place, l.Reply, l.Token}
	if h := w.held[l.place]; h != nil {
		h.held = now
		return nil
	}
	h := &holding{held: now, cancel: func(error) {}}
	w.held[l.place] = h
	return h
}

// job does one.
func (w *Worker) job(ctx context.Context, l Lease, h *holding, dir string) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w.mu.Lock()
	h.cancel = cancel
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		if w.held[l.place] == h {
			delete(w.held, l.place)
		}
		w.mu.Unlock()
		if err := os.RemoveAll(dir); err != nil {
			w.Log.Warn("a job's folder stays", "error", err)
		}
	}()
	var o any
	var err error
	if l.Task.Class.builds() {
		o, err = w.built(ctx, l, dir)
	} else {
		o, err = w.outcome(ctx, l, dir)
	}
	if ctx.Err() != nil {
		if !errors.Is(context.Cause(ctx), errNotWanted) {
			w.giveBack([]Lease{l}, nil)
		}
		return
	}
	var trouble *troubleError
	if errors.As(err, &trouble) {
		w.Log.Warn("a job can't be done here: it goes back", "reason", err)
		w.giveBack([]Lease{l}, err)
		select {
		case <-ctx.Done():
		case <-time.After(w.pause):
		}
		return
	}
	if err != nil {
		o = errorOutcome(err)
	}
	if err := w.give(ctx, h, o, dir); err != nil {
		switch {
		case errors.Is(context.Cause(ctx), errNotWanted):
			return
		case ctx.Err() != nil:
			w.giveBack([]Lease{l}, nil)
			return
		}
		w.Log.Warn("the hub does not take an outcome", "error", err)
	}
}

// A troubleError is this machine's: another worker may do better.
type troubleError struct{ error }

func (e *troubleError) Unwrap() error { return e.error }

// pause is how long a worker does nothing that can't do anything.
const pause = 15 * time.Second

// leastRoom is what a job may need on the disk, in bytes.
const leastRoom = 1 << 30

// room says why there is no room for another job.
func room(dir string) error {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return &os.PathError{Op: "look for room in", Path: dir, Err: err}
	}
	if free := int64(s.Bavail) * s.Bsize; free < leastRoom {
		return fmt.Errorf("%s has %d MB free: want %d", dir, free/1e6, leastRoom/1_000_000)
	}
	return nil
}

func errorOutcome(err error) trial.Outcome {
	why := text.OneLine(err.Error())
	return trial.Outcome{
		Judgement: verdict.Judgement{Verdict: scenarios.Error, Phase: scenarios.PhaseInfra, Reason: why},
		Report:    verdict.Report{Phase: scenarios.PhaseInfra, Host: why},
		Started:   time.Now(), Attempts: []trial.Attempt{{Verdict: scenarios.Error, Reason: why}},
	}
}

// outcome does a job. What is wrong with the job itself is an error.
func (w *Worker) outcome(ctx context.Context, l Lease, dir string) (o trial.Outcome, err error) {
	if err := l.Task.check(); err != nil {
		return o, err
	}
	g := Given{Dir: dir}
	if err := json.Unmarshal(l.Task.Job, &g.Job); err != nil {
		return o, fmt.Errorf("a job that can't be read: %w", err)
	}
	if w.Check != nil {
		if err := w.Check(g.Job); err != nil {
			return o, fmt.Errorf("this worker does not do such a job: %w", err)
		}
	}
	for _, f := range []struct {
		a  Artefact
		to *string
	}{{l.Task.Image, &g.Image}, {l.Task.Initrd, &g.Initrd}} {
		if f.a.Size == 0 {
			continue // of jobs that have none
		}
		e, err := w.fetched(ctx, f.a)
		if err != nil {
			return o, &troubleError{err}
		}
		defer func() { _ = e.Close() }()
		*f.to = filepath.Join(e.Path(), artefactName)
	}
	if o, err = w.Do(ctx, g); err == nil && o.Verdict == scenarios.Error {
		if full := room(w.Cache); full != nil {
			return o, &troubleError{fmt.Errorf("%w (%s)", full, text.OneLine(o.Reason))}
		}
	}
	return o, err
}

// fetched gives an artefact, from the cache or the hub.
func (w *Worker) fetched(ctx context.Context, a Artefact) (*cachedir.Entry, error) {
	return w.artefacts.Get(ctx, a.SHA256, func(ctx context.Context, dir string) error {
		f, err := os.Create(filepath.Join(dir, artefactName))
		if err != nil {
			return err
		}
		return errors.Join(w.conn.fetch(ctx, a, f), f.Close())
	})
}

// giveTries bounds how often an outcome is sent whose files the hub has lost.
const giveTries = 5

// give gives an outcome to the hub, its files first.
func (w *Worker) give(ctx context.Context, h *holding, o any, dir string) error {
	for try := 1; ; try++ {
		r, err := w.result(ctx, o, dir)
		if err != nil {
			return err
		}
		err = until(ctx, func() error {
			w.mu.Lock()
			lease := h.held
			w.mu.Unlock()
			_, err := ask(ctx, w.conn, "done", doneRequest{lease, w.about(), r}, func(a plain) string { return a.Error })
			return err
		})
		var refused *RefusedError
		if err == nil || !errors.As(err, &refused) || try == giveTries {
			return err
		}
	}
}

// result makes of an outcome what is sent, and sends its files.
func (w *Worker) result(ctx context.Context, o any, dir string) (r Result, err error) {
	body, err := json.Marshal(o)
	if err != nil {
		return r, err
	}
	if len(body) <= maxOutcome {
		r.Outcome = body
	} else {
		a := artefactOfBytes(body)
		if err := w.conn.send(ctx, a, bytes.NewReader(body)); err != nil {
			return r, fmt.Errorf("send an outcome: %w", err)
		}
		r.Files = append(r.Files, File{outcomeFile, a})
	}
	there, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return r, err
	}
	for _, e := range there {
		name := e.Name()
		if !slices.Contains(fileNames, name) {
			continue
		}
		path := filepath.Join(dir, name)
		a, err := artefactOf(path)
		if err != nil {
			return r, err
		}
		f, err := os.Open(path)
		if err != nil {
			return r, err
		}
		if err := errors.Join(w.conn.send(ctx, a, f), f.Close()); err != nil {
			return r, fmt.Errorf("send %s: %w", name, err)
		}
		r.Files = append(r.Files, File{name, a})
	}
	return r, nil
}

// giveBack gives back what is not done. If the hub does not hear of it, the
// lease ends by itself.
func (w *Worker) giveBack(leases []Lease, why error) {
	if len(leases) == 0 {
		return
	}
	var r backRequest
	if why != nil {
		r.Why = text.Cut(text.OneLine(why.Error()), 300)
	}
	for _, l := range leases {
		r.Leases = append(r.Leases, held{l.place, l.Reply, l.Token})
	}
	ctx, cancel := context.WithTimeout(context.Background(), endWait)
	defer cancel()
	if _, err := ask(ctx, w.conn, "back", r, func(a plain) string { return a.Error }); err != nil {
		w.Log.Info("the hub does not know that jobs are given back", "error", err)
	}
}

// extend extends the leases from time to time.
func (w *Worker) extend(ctx context.Context) {
	ticker := time.NewTicker(extendEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-w.wakeup:
		}
		r := extendRequest{About: w.about()}
		w.mu.Lock()
		for _, h := range w.held {
			r.Leases = append(r.Leases, h.held)
		}
		w.mu.Unlock()
		a, err := ask(ctx, w.conn, "extend", r, func(a extendAnswer) string { return a.Error })
		if err != nil {
			w.Log.Info("leases are not extended", "error", err)
			continue
		}
		w.mu.Lock()
		for _, p := range a.Drop {
			if h := w.held[p]; h != nil {
				h.cancel(errNotWanted)
			}
		}
		w.mu.Unlock()
	}
}
