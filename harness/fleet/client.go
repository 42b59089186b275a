package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/blockrig/blockrig"
	"github.com/blockrig/blockrig/harness/cachedir"
	"github.com/blockrig/blockrig/harness/qemu"
	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/harness/trial"
	"github.com/blockrig/blockrig/harness/verdict"
	"github.com/blockrig/blockrig/scenarios"
)

// A Client has jobs done by a hub's workers. It implements trial.Fleet. Connect
// makes one; the exported fields are set, all but Work if at all, before it is
// used.
type Client struct {
	// Work is a folder for what comes back, until it is recorded.
	Work string
	// Find gives the files that a job names, the kernel as a bzImage; nil where
	// jobs have none.
	Find func(context.Context, trial.Job) (trial.Files, error)
	// Say is for people; nil for nobody.
	Say func(format string, args ...any)
	// Started is told that a worker has begun a job; nil for nobody.
	Started func(n int, worker string)
	Log     *slog.Logger

	conn  *conn
	sums  sums
	class ClassOf

	mu   sync.Mutex
	sent map[string]bool // digests that the hub has
}

// Connect connects to a hub.
func Connect(ctx context.Context, addr string, key Key, log *slog.Logger) (*Client, error) {
	if key.Role != RoleClient {
		return nil, fmt.Errorf("%w that has trials made: it is a worker's", ErrKey)
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	c := &Client{Log: log, sent: map[string]bool{}}
	var err error
	c.conn, err = dial(ctx, addr, key, func() { c.resend() })
	return c, err
}

// resend has artefacts sent again: it may be another hub.
func (c *Client) resend() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent = map[string]bool{}
}

// Close ends the connection.
func (c *Client) Close() { c.conn.close() }

func (c *Client) say(format string, args ...any) {
	if c.Say != nil {
		c.Say(format, args...)
	}
}

// Class gives the class of machines that all jobs are for: of those that there
// are with the accelerator that is asked for and, unless it is "", that build of
// QEMU, the one with the most room. It waits while there is none, and says so.
func (c *Client) Class(ctx context.Context, accel qemu.Accel, build string) (ClassOf, error) {
	said := false
	for {
		var a classAnswer
		err := until(ctx, func() (err error) {
			a, err = ask(ctx, c.conn, "classes", struct{}{}, func(a classAnswer) string { return a.Error })
			return err
		})
		if err != nil {
			return ClassOf{}, err
		}
		others := 0
		a.Classes = slices.DeleteFunc(a.Classes, func(of ClassOf) bool { return of.builds() })
		for _, of := range a.Classes {
			switch {
			case accel != qemu.Auto && accel != of.Accel, build != "" && build != of.QEMU:
			case of.Guest != blockrig.GuestSources():
				others += of.Workers
			default:
				c.class = of
				return of, nil
			}
		}
		if !said {
			said = true
			why := "no worker is there"
			switch {
			case others > 0:
				why = fmt.Sprintf("%d workers are there, of another version of blockrig", others)
			case len(a.Classes) > 0:
				why = "no worker is there with such a QEMU and accelerator"
			}
			c.say("%s: waiting for one", why)
		}
		select {
		case <-ctx.Done():
			return ClassOf{}, fmt.Errorf("wait for a worker: %w", context.Cause(ctx))
		case <-time.After(time.Second):
		}
	}
}

// Begin implements trial.Fleet.
func (c *Client) Begin(ctx context.Context) (trial.Batch, error) {
	b, err := c.begin(ctx, "trial")
	if err != nil {
		return nil, err
	}
	jobs := map[int]trial.Job{}
	b.make, b.started = func(ctx context.Context, n int) (Task, error) { return c.task(ctx, jobs[n]) }, c.Started
	return &trialBatch{b, jobs, time.Now()}, nil
}

func (c *Client) begin(ctx context.Context, one string) (*clientBatch, error) {
	const prefix = "batch-"
	if err := cachedir.Sweep(ctx, c.Work, prefix, nil); err != nil {
		return nil, err
	}
	dir, err := cachedir.Scratch(ctx, c.Work, prefix)
	if err != nil {
		return nil, err
	}
	return &clientBatch{c: c, dir: dir, lost: map[int]int{}, id: newID(), one: one, open: map[int]Task{}, held: map[int]bool{}}, nil
}

// A clientBatch is one of a client's.
type clientBatch struct {
	c       *Client
	dir     *cachedir.Folder // of files that came
	id      string
	one     string                                         // of its jobs, for people: trial, build
	make    func(ctx context.Context, n int) (Task, error) // that is sent for a job, whose files the hub has then
	started func(n int, worker string)                     // see Client.Started
	open    map[int]Task                                   // submitted, without an outcome
	results []Came
	held    map[int]bool // results that came and are not confirmed
	lost    map[int]int  // times that the hub had lost the files of a result
	confirm []int
	idle    string
	since   time.Time // of idle
	said    bool
}

// A trialBatch is one of trials. It implements trial.Batch.
type trialBatch struct {
	*clientBatch
	jobs  map[int]trial.Job // without an outcome
	began time.Time
}

// Submit implements trial.Batch.
func (b *trialBatch) Submit(ctx context.Context, jobs map[int]trial.Job) error {
	maps.Copy(b.jobs, jobs)
	return b.submit(ctx, slices.Sorted(maps.Keys(jobs)))
}

// submit sends jobs to the hub, which make knows by their numbers.
func (b *clientBatch) submit(ctx context.Context, numbers []int) (err error) {
	for _, n := range numbers {
		if b.open[n], err = b.make(ctx, n); err != nil {
			return fmt.Errorf("send a job to the hub: %w", err)
		}
	}
	return b.send(ctx, numbers)
}

// Of messages with jobs.
const (
	sendBytes = 600 << 10
	sendJobs  = 400
)

// send sends open jobs to the hub.
func (b *clientBatch) send(ctx context.Context, numbers []int) error {
	for len(numbers) > 0 {
		r := submitRequest{Batch: b.id}
		size := 0
		for len(numbers) > 0 && len(r.Tasks) < sendJobs {
			t := b.open[numbers[0]]
			if size += len(t.Job) + 600 + 50*len(t.Near) + 200*len(t.Packs); size > sendBytes && len(r.Tasks) > 0 {
				break
			}
			r.Tasks = append(r.Tasks, numbered{numbers[0], t})
			numbers = numbers[1:]
		}
		r.Last = len(numbers) == 0
		err := until(ctx, func() error {
			_, err := ask(ctx, b.c.conn, "submit", r, func(a plain) string { return a.Error })
			return err
		})
		if err != nil {
			return fmt.Errorf("send jobs: %w", err)
		}
	}
	return nil
}

// task makes of a job what is sent, and sees to it that the hub has its files.
func (c *Client) task(ctx context.Context, j trial.Job) (t Task, err error) {
	if t.Job, err = json.Marshal(j); err != nil {
		return t, err
	}
	t.Class = c.class.Class
	t.Group = j.BaseKey()
	if c.Find == nil {
		return t, nil
	}
	f, err := c.Find(ctx, j)
	if err != nil {
		return t, err
	}
	if t.Image, err = c.give(ctx, f.Image); err != nil {
		return t, err
	}
	t.Initrd, err = c.give(ctx, f.Initrd)
	return t, err
}

// give sends a file to the hub, unless that has it.
func (c *Client) give(ctx context.Context, path string) (Artefact, error) {
	a, err := c.sums.of(path)
	if err != nil || c.gave(a) {
		return a, err
	}
	f, err := os.Open(path)
	if err != nil {
		return a, err
	}
	defer f.Close() // only read from
	return a, c.giveFrom(ctx, a, path, f)
}

func (c *Client) gave(a Artefact) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sent[a.SHA256]
}

// giveFrom sends what is called name in errors.
func (c *Client) giveFrom(ctx context.Context, a Artefact, name string, from io.ReaderAt) error {
	if err := c.conn.send(ctx, a, from); err != nil {
		return fmt.Errorf("send %s: %w", name, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent[a.SHA256] = true
	return nil
}

// Next implements trial.Batch.
func (b *trialBatch) Next(ctx context.Context) (trial.Away, error) {
	r, dir, err := b.next(ctx, trialFiles)
	if err != nil {
		return trial.Away{}, err
	}
	o := b.c.outcome(b.jobs[r.N], r, dir)
	delete(b.jobs, r.N)
	o.Started = b.begunAt(o, time.Now())
	return trial.Away{
		Number: r.N, Outcome: o,
		Files:    func(_ context.Context, to string) error { return move(r.Result, dir, to) },
		Recorded: func() { b.confirm = append(b.confirm, r.N) },
	}, nil
}

// next waits for a result, whose files are in the folder dir: those with these
// names.
func (b *clientBatch) next(ctx context.Context, names []string) (r Came, dir string, err error) {
	for {
		for len(b.results) > 0 {
			r := b.results[0]
			b.results = b.results[1:]
			if _, ok := b.open[r.N]; !ok {
				continue // it was there already, or is not wanted
			}
			dir, err := b.fetch(ctx, r, names)
			var refused *RefusedError
			if errors.As(err, &refused) && b.lost[r.N] < mostLost {
				b.lost[r.N]++
				b.c.Log.Info("the hub has lost what came of a job: it is done again", "reason", err)
				delete(b.held, r.N)
				if err := b.again(ctx); err != nil {
					return r, "", err
				}
				continue
			}
			if err != nil {
				return r, "", fmt.Errorf("fetch what came of a job: %w", err)
			}
			delete(b.open, r.N)
			return r, dir, nil
		}
		if err := b.poll(ctx); err != nil {
			return Came{}, "", err
		}
	}
}

// begunAt is when a trial of which the client hears now began. What its worker
// says counts, unless that can't be: its clock is wrong then.
func (b *trialBatch) begunAt(o trial.Outcome, now time.Time) time.Time {
	if !o.Started.Before(b.began) && !o.Started.After(now) {
		return o.Started
	}
	return now.Add(-min(max(o.Wall, 0), now.Sub(b.began)))
}

// mostLost bounds how often a job is done again since the hub, restarted, has
// lost its files.
const mostLost = 5

// fetch brings the files of a result here. Of one that is none there are none.
func (b *clientBatch) fetch(ctx context.Context, r Came, names []string) (dir string, err error) {
	if r.Result.check(names) != nil {
		return "", nil
	}
	dir = filepath.Join(b.dir.Path(), strconv.Itoa(r.N))
	if err := os.RemoveAll(dir); err != nil { // of an earlier try
		return "", err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	for _, f := range r.Result.Files {
		to, err := os.Create(filepath.Join(dir, f.Name)) // it is one of ours: checked
		if err != nil {
			return "", err
		}
		if err := errors.Join(b.c.conn.fetch(ctx, f.Artefact, to), to.Close()); err != nil {
			return "", fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	return dir, nil
}

// move moves the files of a result, all but the outcome itself, to another
// folder.
func move(r Result, from, to string) error {
	for _, f := range r.Files {
		if f.Name == outcomeFile {
			continue
		}
		if err := copyFile(filepath.Join(from, f.Name), filepath.Join(to, f.Name)); err != nil { // it may be another disk
			return err
		}
	}
	if from == "" {
		return nil
	}
	return os.RemoveAll(from)
}

func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close() // only read from
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// hubPatience is how long the hub may be silent before that is said.
const hubPatience = 15 * time.Second

// patience is how long nobody may be there for the jobs before that is said.
const patience = 5 * time.Second

func (b *clientBatch) poll(ctx context.Context) error {
	var a pollAnswer
	began, silent := time.Now(), false
	err := until(ctx, func() (err error) {
		a, err = ask(ctx, b.c.conn, "poll", pollRequest{b.id, b.confirm, slices.Sorted(maps.Keys(b.held))}, func(a pollAnswer) string { return a.Error })
		if err != nil && time.Since(began) > hubPatience && !silent && ctx.Err() == nil {
			silent = true
			b.c.say("the hub at %s does not answer: waiting for it", b.c.conn.addr)
		}
		return err
	})
	if err != nil {
		return err
	}
	if silent {
		b.c.say("the hub is there again")
	}
	for _, n := range b.confirm {
		delete(b.held, n)
	}
	b.confirm = nil
	for _, s := range a.Started {
		if b.started != nil {
			b.started(s.N, text.OneLine(s.Worker))
		}
	}
	for _, s := range a.Second {
		b.c.say("%s %d was made twice, since a worker was taken for lost, and the second ended otherwise: %s on %s; the first, which counts, is %s",
			b.one, s.N, text.OneLine(s.Verdict), text.OneLine(s.Worker), text.OneLine(s.First))
	}
	if a.Idle == "" {
		b.idle, b.since = "", time.Time{}
	} else if b.since.IsZero() {
		b.since = time.Now()
	} else if time.Since(b.since) > patience && !b.said {
		b.said = true
		b.c.say("%s: waiting for one", text.OneLine(a.Idle))
	}
	b.results = append(b.results, a.Results...)
	for _, r := range a.Results {
		b.held[r.N] = true
	}
	if a.Unknown && len(b.open) > 0 {
		b.c.Log.Info("the hub has lost the jobs: they are sent again", "jobs", len(b.open))
		return b.again(ctx)
	}
	return nil
}

// again sends what has no outcome, to a hub that may have nothing of it.
func (b *clientBatch) again(ctx context.Context) error {
	b.c.resend()
	for _, n := range slices.Sorted(maps.Keys(b.open)) {
		t, err := b.make(ctx, n)
		if err != nil {
			return err
		}
		b.open[n] = t
	}
	return b.send(ctx, slices.Sorted(maps.Keys(b.open)))
}

// Drop implements trial.Batch.
func (b *trialBatch) Drop(ctx context.Context, numbers []int) error {
	for _, n := range numbers {
		delete(b.open, n)
		delete(b.jobs, n)
		delete(b.held, n)
	}
	return until(ctx, func() error {
		_, err := ask(ctx, b.c.conn, "cancel", cancelRequest{b.id, numbers}, func(a plain) string { return a.Error })
		return err
	})
}

// endWait bounds how long a client waits for the hub to hear that it ends.
const endWait = 10 * time.Second

// Close implements trial.Batch. A hub that does not hear of it finds out.
func (b *clientBatch) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), endWait)
	defer cancel()
	if _, err := ask(ctx, b.c.conn, "end", pollRequest{Batch: b.id, Confirm: b.confirm}, func(a plain) string { return a.Error }); err != nil {
		b.c.Log.Info("the hub does not know that this is over", "error", err)
	}
	return b.dir.Remove()
}

// Limits of an outcome's parts: more is no outcome.
const (
	mostFindings = 20_000
	longest      = 64 << 10 // of a text
)

// outcome reads what a worker says; the files of it are in dir. What can't be an
// outcome is an error of the trial, not of the client.
func (c *Client) outcome(j trial.Job, r Came, dir string) trial.Outcome {
	body := []byte(r.Result.Outcome)
	err := r.Result.check(trialFiles)
	for _, f := range r.Result.Files {
		switch {
		case f.Name != outcomeFile || err != nil:
		case f.Size > maxFileOutcome:
			err = errors.New("it is too long")
		default:
			body, err = os.ReadFile(filepath.Join(dir, outcomeFile))
		}
	}
	var o trial.Outcome
	if err == nil {
		err = json.Unmarshal(body, &o)
	}
	if err == nil {
		err = checkOutcome(j, o)
	}
	if err != nil {
		why := text.Cut(text.OneLine(fmt.Sprintf("what worker %s says is no outcome: %v", r.Worker, err)), 500)
		o = trial.Outcome{
			Judgement: verdict.Judgement{Verdict: scenarios.Error, Phase: scenarios.PhaseInfra, Reason: why},
			Report:    verdict.Report{Phase: scenarios.PhaseInfra, Host: why},
			Started:   time.Now(), Attempts: []trial.Attempt{{Verdict: scenarios.Error, Reason: why}},
		}
	}
	o.Accel, o.CPUs = j.Accel, j.CPUs
	o.Worker = &trial.Worker{Name: text.Cut(text.OneLine(r.Worker), 100), QEMU: j.QEMU, CPU: text.Cut(text.OneLine(r.CPU), 100), WaitMS: r.WaitMS}
	return o
}

func checkOutcome(j trial.Job, o trial.Outcome) error {
	switch {
	case !o.Verdict.Known():
		return errors.New("it has no verdict")
	case len(o.Attempts) == 0 || len(o.Attempts) > trial.MaxAttempts:
		return fmt.Errorf("it was tried %d times", len(o.Attempts))
	case len(o.Findings) > mostFindings || len(o.Reason) > longest || len(o.Release) > 200 || len(o.BootID) > 200:
		return errors.New("it says too much")
	case o.Accel != "" && o.Accel != j.Accel:
		return errors.New("it is of another accelerator")
	}
	for _, v := range o.Also {
		if !v.Known() {
			return errors.New("it has a verdict that there is not")
		}
	}
	for _, a := range o.Attempts {
		if !a.Verdict.Known() || len(a.Reason) > longest {
			return errors.New("an attempt says nothing, or too much")
		}
	}
	return nil
}
