package fleet

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/harness/trial"
	"github.com/blockrig/blockrig/harness/verdict"
	"github.com/blockrig/blockrig/scenarios"
)

// Options of a Hub.
type Options struct {
	Keys  *Keys
	State string // folder for the queue
	Files string // folder for artefacts and what comes back
	NATS  string // URL of a server that keeps the queue; "": one within the hub
	Log   *slog.Logger

	lease  time.Duration // LeaseTime, but in tests
	gone   time.Duration // after which a client that is silent has gone
	linger time.Duration // that a request for a lease is held while there is none
	settle time.Duration // that workers have after a restart to say what they are at
	still  time.Duration // after which a queue that gives nothing stands still
}

// A Hub has the queue.
type Hub struct {
	opt   Options
	bus   *bus
	nc    *nats.Conn // to workers and clients
	qc    *nats.Conn // to the queue
	queue *queue
	files *files
	ctx   context.Context
	stop  context.CancelFunc
	work  sync.WaitGroup

	mu      sync.Mutex
	more    wakeup // there may be something to lease
	batches map[string]*batch
	groups  map[string]*group
	workers map[string]*worker
	orphans map[string]time.Time // batches in the queue whose client has not said anything since the hub's start
	grace   time.Time            // until when a batch that nobody knows may still be sent again
	settled time.Time            // from when on jobs are given
	asking  map[string]int       // requests under way, by ID
	dry     map[string]time.Time // groups that should give jobs and don't, since when
	rebuilt int                  // times that the queue was made again
}

// A batch is what one command wants done.
type batch struct {
	id     string
	client string
	jobs   map[int]*job
	groups map[*group]bool
	whole  bool       // the client has sent all that it wants
	news   pollAnswer // what the client is to be told
	told   wakeup     // there is some, or the batch is no more
	seen   time.Time
}

type jobState int

const (
	coming jobState = iota // on its way into the queue
	queued
	leased
	came // its result waits for the client
	over // recorded, or not wanted
)

type job struct {
	place
	group   *group
	state   jobState
	by      string // ID of the worker that has it
	until   time.Time
	since   time.Time       // the hub has it
	waited  time.Duration   // from then until it was last leased
	again   string          // JetStream has given it once more, while it was leased
	backs   int             // times that it was given back unharmed
	unable  int             // of these, since a worker could not do it
	refused map[string]bool // by which workers
	result  Came
	verdict string // of the result, for a second one
}

// set changes a job's state. The caller holds h.mu.
func (j *job) set(s jobState) {
	if j.state == queued {
		j.group.queued--
	}
	if s == queued {
		j.group.queued++
	}
	if j.state = s; s != leased {
		j.by = ""
	}
}

// refuse notes that a worker could not do it. The caller holds h.mu.
func (j *job) refuse(worker string) {
	j.unable++
	if j.refused == nil {
		j.refused = map[string]bool{}
	}
	j.refused[worker] = true
	j.group.unable[worker] = time.Now()
}

// A group is jobs that go on from one saved machine, or are the same build.
type group struct {
	id      string
	class   Class
	near    []string // of a build: see Task
	queued  int
	taking  int                  // of these, that are just being leased
	since   time.Time            // of the last lease, or of the first job
	holders map[string]time.Time // workers that have the machine, and when they were last given one of its jobs
	unable  map[string]time.Time // workers that could not do one of its jobs, and when
}

// A worker as the hub knows it.
type worker struct {
	About
	id     string
	seen   time.Time
	asked  time.Time // for a lease
	builds time.Time // when it asked for builds
	since  time.Time
	leases map[place]time.Time // since when
	busy   time.Duration       // of ended leases
	jobs   int                 // that it gave an outcome of
	errors int                 // of these without a verdict
	lost   int                 // that it did not come back from
}

// NewHub starts a hub. Close ends it.
func NewHub(ctx context.Context, o Options) (_ *Hub, err error) {
	o.lease = cmp.Or(o.lease, LeaseTime)
	o.gone = cmp.Or(o.gone, 2*time.Minute)
	o.linger = cmp.Or(o.linger, 5*time.Second)
	o.settle = cmp.Or(o.settle, 3*time.Second)
	o.still = cmp.Or(o.still, LeaseTime+15*time.Second)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	h := &Hub{
		opt: o, more: make(wakeup), batches: map[string]*batch{}, groups: map[string]*group{},
		workers: map[string]*worker{}, orphans: map[string]time.Time{}, dry: map[string]time.Time{},
		asking: map[string]int{}, grace: time.Now().Add(o.gone),
	}
	h.ctx, h.stop = context.WithCancel(ctx)
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("start the hub: %w", err), h.Close())
		}
	}()
	if h.files, err = openFiles(h.ctx, o.Files, o.Log); err != nil {
		return nil, err
	}
	dir := o.State
	if o.NATS != "" {
		dir = ""
	}
	if h.bus, err = startBus(o.Keys, dir); err != nil {
		return nil, err
	}
	if h.nc, err = h.bus.connect(); err != nil {
		return nil, err
	}
	h.qc = h.nc
	name := queueName
	if o.NATS != "" {
		name += "-" + o.Keys.fingerprint[:16] // another hub may use the same server
		if h.qc, err = nats.Connect(o.NATS, nats.MaxReconnects(-1), nats.Name("blockrig hub")); err != nil {
			return nil, fmt.Errorf("connect to the server that is to keep the queue: %w", err) // its URL may have a password
		}
	}
	if h.queue, err = openQueue(h.ctx, h.qc, name, o.lease); err != nil {
		return nil, err
	}
	old, err := h.queue.batches(h.ctx)
	if err != nil {
		return nil, err
	}
	if err := h.queue.free(h.ctx); err != nil {
		return nil, err
	}
	for b := range old {
		h.orphans[b] = time.Now()
		h.settled = time.Now().Add(o.settle)
	}
	for role, ops := range map[Role]map[string]func(*Hub, string, []byte) any{
		RoleWorker: {"lease": (*Hub).lease, "extend": (*Hub).extend, "done": (*Hub).done, "back": (*Hub).back},
		RoleClient: {"classes": (*Hub).classes, "submit": (*Hub).submit, "poll": (*Hub).poll, "cancel": (*Hub).cancel, "end": (*Hub).end},
	} {
		for op, do := range ops {
			if err := h.serve(role, op, do); err != nil {
				return nil, err
			}
		}
	}
	h.work.Go(h.keep)
	return h, nil
}

// queueName is what the queue is called in JetStream.
const queueName = "BLOCKRIG"

// Close ends the hub. What was leased goes on: the next hub takes it up.
func (h *Hub) Close() error {
	h.stop()
	if h.nc != nil {
		h.nc.Close()
	}
	h.work.Wait()
	if h.qc != nil {
		h.qc.Close()
	}
	if h.bus != nil {
		h.bus.close()
	}
	return h.files.close()
}

// atOnce bounds the requests of one worker or client that are answered at a time.
const atOnce = mostHeld + 64

// serve answers requests of a kind, each by its own goroutine.
func (h *Hub) serve(role Role, op string, do func(*Hub, string, []byte) any) error {
	_, err := h.nc.Subscribe(opSubject(role, op, "*"), func(m *nats.Msg) {
		id := m.Subject[strings.LastIndexByte(m.Subject, '.')+1:]
		// Only to whom it came from: another's inbox is not answered.
		if !strings.HasPrefix(m.Reply, inboxOf(id)+".") {
			return
		}
		if !h.ask(id, 1) {
			return // who floods the hub waits in vain
		}
		h.work.Go(func() {
			defer h.ask(id, -1)
			answer, err := json.Marshal(do(h, id, m.Data))
			if err == nil {
				err = h.nc.Publish(m.Reply, answer)
			}
			if err != nil && h.ctx.Err() == nil {
				h.opt.Log.Warn("a request is not answered", "op", op, "error", err)
			}
		})
	})
	return err
}

// ask counts requests under way, and says whether there may be so many.
func (h *Hub) ask(id string, n int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n > 0 && (h.asking[id] >= atOnce || h.ctx.Err() != nil) {
		return false
	}
	if h.asking[id] += n; h.asking[id] == 0 {
		delete(h.asking, id)
	}
	return true
}

// find gives the job at a place, and its batch; nil when the hub does not know
// it. The caller holds h.mu.
func (h *Hub) find(p place) (*batch, *job) {
	b := h.batches[p.Batch]
	if b == nil || b.jobs[p.N] == nil {
		return nil, nil
	}
	return b, b.jobs[p.N]
}

// waits says whether a job that the hub does not know may still be sent again
// by its client. The caller holds h.mu.
func (h *Hub) waits(batch string) bool {
	if b := h.batches[batch]; b != nil {
		return !b.whole
	}
	return time.Now().Before(h.grace)
}

// read reads a request.
func read[T any](data []byte, check func(T) error) (r T, err error) {
	if err = json.Unmarshal(data, &r); err == nil {
		err = check(r)
	}
	if err != nil {
		err = fmt.Errorf("a request that is none: %s", text.Cut(text.OneLine(err.Error()), 200))
	}
	return r, err
}

// trouble is an answer when the hub itself can't do something now: whoever asked
// tries again.
func (h *Hub) trouble(err error) failure {
	if h.ctx.Err() == nil {
		h.opt.Log.Warn("a request can't be answered yet", "reason", err)
	}
	return failed(errTryAgain)
}

func failed(err error) failure { return failure{text.OneLine(err.Error())} }

// A wakeup is closed when what is waited for may have come.
type wakeup chan struct{}

// wake wakes who waits for it. The caller holds h.mu.
func (s *wakeup) wake() {
	close(*s)
	*s = make(wakeup)
}

// token signs a lease of a worker's.
func (h *Hub) token(worker string, p place, reply string) string {
	mac := hmac.New(sha256.New, h.opt.Keys.lease)
	fmt.Fprintf(mac, "%s %s %d %s", worker, p.Batch, p.N, reply)
	return hexOf(mac.Sum(nil))
}

func (h *Hub) checkHeld(worker string, l held) error {
	if !hmac.Equal([]byte(h.token(worker, l.place, l.Reply)), []byte(l.Token)) {
		return errors.New("the hub gave this worker no such lease")
	}
	return nil
}

// worker gives who asks, whom it is the first time of. The caller holds h.mu.
func (h *Hub) worker(id string, a About) *worker {
	w := h.workers[id]
	if w == nil {
		w = &worker{id: id, since: time.Now(), leases: map[place]time.Time{}}
		h.workers[id] = w
		h.opt.Log.Info("a worker has come", "name", a.Name, "slots", a.Slots)
	}
	w.About, w.seen = a, time.Now()
	return w
}

// lease gives a worker jobs, all of one group. It waits for a while when there
// are none.
func (h *Hub) lease(id string, data []byte) any {
	r, err := read(data, func(r leaseRequest) error {
		if r.Want < 1 || r.Want > MaxSlots {
			return errors.New("how many?")
		}
		return r.About.check()
	})
	if err != nil {
		return leaseAnswer{failure: failed(err)}
	}
	timer := time.NewTimer(h.opt.linger)
	defer timer.Stop()
	for {
		h.mu.Lock()
		w := h.worker(id, r.About)
		var g *group
		room := r.Slots + 1
		if r.Builds {
			w.builds, room = w.seen, r.About.Builds
			g = h.chooseBuild(w, w.seen)
		} else {
			w.asked = w.seen
			g = h.choose(w, w.seen)
		}
		want := min(r.Want, room-h.under(w, r.Builds))
		more := h.more
		if g != nil && want > 0 {
			want = min(want, g.queued-g.taking)
			g.taking += want // for others that choose meanwhile
		}
		h.mu.Unlock()
		if g != nil && want > 0 {
			leases, err := h.take(id, g, want)
			if err != nil && len(leases) == 0 {
				return leaseAnswer{failure: h.trouble(err)}
			}
			if len(leases) > 0 {
				return leaseAnswer{Leases: leases}
			}
		}
		select {
		case <-more:
		case <-timer.C:
			return leaseAnswer{}
		case <-h.ctx.Done():
			return leaseAnswer{failure: failed(errTryAgain)}
		}
	}
}

// Of sharing out.
const (
	// forgotten is how long jobs wait before they go first, while nobody is at one
	// like them.
	forgotten = 45 * time.Second
	// asleep is how long a worker may be silent before its saved machines count
	// for nothing.
	asleep = 40 * time.Second
	// worthABoot is how many jobs a worker must have before it that another one
	// boots a machine of its own to help with.
	worthABoot = 8
)

// choose gives the group that a worker's next job is of; nil for none. A worker
// goes on with what it has a saved machine for. It begins what nobody has one
// for, and helps others with what they have many jobs of. What has waited for
// long goes first. What it just could not do is left to others, if there are.
// The caller holds h.mu.
func (h *Hub) choose(w *worker, now time.Time) *group {
	if now.Before(h.settled) {
		return nil
	}
	var best *group
	rank := -1
	for _, g := range h.groups {
		if g.class.builds() || !h.free(g, w, now) {
			continue
		}
		_, mine := g.holders[w.id]
		others, under := 0, false // under way: somebody makes one, or boots a machine for it
		for id := range g.holders {
			o := h.workers[id]
			if o == nil {
				continue
			}
			at := o.at(g, h)
			under = under || at
			// One that neither asks nor is at work on this makes nobody wait.
			if id != w.id && (at || now.Sub(o.asked) < h.opt.linger+time.Second) {
				others++
			}
		}
		r := 0
		switch {
		case now.Sub(g.since) > forgotten && !under:
			r = 4
		case mine:
			r = 3
		case others == 0:
			r = 2
		case g.queued > worthABoot*others:
			r = 1
		default:
			continue
		}
		if r > rank || r == rank && (g.queued > best.queued || g.queued == best.queued && g.id < best.id) {
			best, rank = g, r
		}
	}
	return best
}

// free says whether a group has jobs for a worker. The caller holds h.mu.
func (h *Hub) free(g *group, w *worker, now time.Time) bool {
	if g.queued-g.taking <= 0 || !slices.Contains(w.Classes, g.class) {
		return false
	}
	since, ok := g.unable[w.id]
	return !ok || now.Sub(since) >= forgotten || !h.anotherFor(g, func(id string) bool { return !g.unable[id].IsZero() })
}

// chooseBuild gives the build that a worker is to make next; nil for none: the
// one that it has the nearest object tree for, unless a worker that waits for
// work has a nearer one and nothing better to do. The caller holds h.mu.
func (h *Hub) chooseBuild(w *worker, now time.Time) *group {
	if now.Before(h.settled) {
		return nil
	}
	return h.nearest(w, now, func(g *group) bool { return !h.leaves(w, g, now) })
}

// nearest gives the build that a worker has the nearest object tree for, of those
// that may be taken. The caller holds h.mu.
func (h *Hub) nearest(w *worker, now time.Time, may func(*group) bool) (best *group) {
	for _, g := range h.groups {
		if g.class.builds() && h.free(g, w, now) && (best == nil || w.before(g, best)) && may(g) {
			best = g
		}
	}
	return best
}

// leaves says whether a worker leaves a build to another one. The caller holds
// h.mu.
func (h *Hub) leaves(w *worker, g *group, now time.Time) bool {
	for _, o := range h.workers {
		waits := now.Sub(o.builds) < h.opt.linger+time.Second && h.under(o, true) < o.Builds
		if o != w && waits && o.far(g) < w.far(g) && h.nearest(o, now, func(*group) bool { return true }) == g {
			return true
		}
	}
	return false
}

// far is how far a worker's best object tree is from a build: its place in the
// order of all.
func (w *worker) far(g *group) int {
	for i, c := range g.near {
		if slices.Contains(w.Commits, c) {
			return i
		}
	}
	return len(g.near)
}

// before says which of two builds a worker had better make.
func (w *worker) before(a, b *group) bool {
	return cmp.Or(cmp.Compare(w.far(a), w.far(b)), a.since.Compare(b.since), cmp.Compare(a.id, b.id)) < 0
}

// under counts the builds, or the trials, that a worker has. The caller holds
// h.mu.
func (h *Hub) under(w *worker, builds bool) (n int) {
	for p := range w.leases {
		_, j := h.find(p)
		if builds == (j != nil && j.group.class.builds()) {
			n++
		}
	}
	return n
}

// anotherFor says whether there is a worker for a group other than those left
// out. The caller holds h.mu.
func (h *Hub) anotherFor(g *group, leftOut func(id string) bool) bool {
	for id, w := range h.workers {
		if !leftOut(id) && time.Since(w.seen) < asleep && slices.Contains(w.Classes, g.class) {
			return true
		}
	}
	return false
}

// at says whether a worker has jobs of a group. The caller holds h.mu.
func (w *worker) at(g *group, h *Hub) bool {
	if time.Since(w.seen) > asleep {
		return false
	}
	for p := range w.leases {
		if _, j := h.find(p); j != nil && j.group == g {
			return true
		}
	}
	return false
}

// take leases jobs of a group for a worker.
func (h *Hub) take(id string, g *group, want int) ([]Lease, error) {
	got, err := h.queue.take(h.ctx, g.id, want)
	h.mu.Lock()
	defer h.mu.Unlock()
	g.taking -= want
	var out []Lease
	w, now := h.workers[id], time.Now()
	for _, t := range got {
		b, j := h.find(t.place)
		if j == nil {
			if !h.waits(t.Batch) {
				h.work.Go(func() { _ = h.queue.drop(h.ctx, t.Batch, t.N) }) // without h.mu
			}
			continue
		}
		switch {
		case j.state == came || j.state == over:
			_ = h.queue.tell(t.reply, ackDone) // or it comes again
			continue
		case j.state == leased && now.Before(j.until):
			j.again = t.reply // the one who has it goes on
			continue
		}
		if deaths := t.times - 1 - j.backs; deaths >= MostDeaths {
			h.kill(b, j, fmt.Sprintf("%d workers did not come back from this %s: it is not tried again", MostDeaths, g.what()))
			_ = h.queue.tell(t.reply, ackDone) // or it comes again
			continue
		}
		j.set(leased)
		j.by, j.until, j.again, j.waited = id, h.lost(now), "", now.Sub(j.since)
		if w != nil {
			w.leases[j.place] = now
			b.news.Started = append(b.news.Started, Started{t.N, w.Name})
		}
		out = append(out, Lease{place: t.place, Reply: t.reply, Token: h.token(id, j.place, t.reply), Task: t.task})
	}
	if len(out) > 0 && g.class.builds() {
		h.more.wake() // who left others to this worker
	} else if len(out) > 0 {
		g.holders[id], g.since = now, now
	}
	if g.queued-g.taking > 0 && len(got) == 0 {
		if h.dry[g.id].IsZero() {
			h.dry[g.id] = now
		}
	} else {
		delete(h.dry, g.id)
	}
	return out, err
}

// what a job of the group is, for people.
func (g *group) what() string {
	if g.class.builds() {
		return "build"
	}
	return "trial"
}

// lost is when a lease that is given or extended now is taken for lost: a bit
// later than JetStream does, so that the job is to be had then.
func (h *Hub) lost(now time.Time) time.Time { return now.Add(h.opt.lease + h.opt.lease/12) }

// mostUnable is how often a job may come back from workers that can't do it.
const mostUnable = 9

// kill ends a job that can't be done.
func (h *Hub) kill(b *batch, j *job, why string) {
	o := trial.Outcome{
		Judgement: verdict.Judgement{Verdict: scenarios.Error, Phase: scenarios.PhaseInfra, Reason: why},
		Report:    verdict.Report{Phase: scenarios.PhaseInfra, Host: why},
		Started:   time.Now(), Attempts: []trial.Attempt{{Verdict: scenarios.Error, Reason: why}},
	}
	body, err := json.Marshal(o)
	if err != nil {
		h.opt.Log.Error("an outcome can't be written", "error", err)
		return
	}
	h.result(b, j, Came{N: j.N, Result: Result{Outcome: body}}, string(scenarios.Error))
}

// result takes the first result of a job. The caller holds h.mu.
func (h *Hub) result(b *batch, j *job, c Came, v string) {
	j.set(came)
	j.result, j.verdict = c, v
	b.news.Results = append(b.news.Results, c)
	b.told.wake()
}

// extend goes on with leases.
func (h *Hub) extend(id string, data []byte) any {
	r, err := read(data, func(r extendRequest) error {
		if len(r.Leases) > mostHeld {
			return errors.New("too many leases")
		}
		return r.About.check()
	})
	if err != nil {
		return extendAnswer{failure: failed(err)}
	}
	var a extendAnswer
	h.mu.Lock()
	w := h.worker(id, r.About)
	now := time.Now()
	var alive []string
	for _, l := range r.Leases {
		if h.checkHeld(id, l) != nil {
			continue
		}
		_, j := h.find(l.place)
		switch {
		case j == nil && h.waits(l.Batch):
			// The client will come, if it still wants it.
			alive = append(alive, l.Reply)
		case j == nil || j.state == came || j.state == over:
			a.Drop = append(a.Drop, l.place)
			delete(w.leases, l.place)
		case j.state == leased && j.by != id:
			// Another one was given it meanwhile. Who is ready first counts.
		default:
			if j.state == queued {
				j.set(leased)
				j.by = id
				w.leases[l.place] = now
			}
			j.group.holders[id] = now
			j.until = h.lost(now)
			alive = append(alive, l.Reply)
		}
	}
	h.mu.Unlock()
	for _, reply := range alive {
		if err := h.queue.tell(reply, ackExtend); err != nil {
			a.failure = h.trouble(err)
		}
	}
	return a
}

// done takes a worker's outcome.
func (h *Hub) done(id string, data []byte) any {
	r, err := read(data, func(r doneRequest) error {
		return errors.Join(h.checkHeld(id, r.held), r.Result.check(fileNames), r.About.check())
	})
	if err != nil {
		return plain{failed(err)}
	}
	v, err := h.verdictOf(r.Result)
	if err != nil {
		return plain{failed(err)}
	}
	h.mu.Lock()
	w, now := h.worker(id, r.About), time.Now()
	b, j := h.find(r.place)
	first := j != nil && j.state != came && j.state != over
	if first {
		if err := h.files.claim(id, r.Result.Files); err != nil {
			h.mu.Unlock()
			return plain{failed(err)}
		}
	}
	if since, ok := w.leases[r.place]; ok {
		w.busy += now.Sub(since)
		delete(w.leases, r.place)
	}
	if j == nil {
		waits := h.waits(r.Batch)
		h.mu.Unlock()
		if waits {
			return plain{failed(errTryAgain)}
		}
		return plain{} // nobody wants it any more
	}
	if !first {
		if j.verdict != "" && j.verdict != v {
			b.news.Second = append(b.news.Second, Second{N: r.N, First: j.verdict, Verdict: v, Worker: w.Name})
			b.told.wake()
		}
		h.mu.Unlock()
		return plain{}
	}
	w.jobs++
	if v == string(scenarios.Error) {
		w.errors++
	}
	h.result(b, j, Came{N: r.N, Result: r.Result, Worker: w.Name, CPU: w.CPU, WaitMS: j.waited.Milliseconds()}, v)
	h.mu.Unlock()
	if err := h.queue.tell(r.Reply, ackDone); err != nil {
		// It is taken out when it comes again.
		h.opt.Log.Warn("a job that is done stays in the queue", "error", err)
	}
	return plain{}
}

// errTryAgain says that a request will do in a moment.
var errTryAgain = errors.New("not yet: try again")

// verdictOf reads the verdict of an outcome.
func (h *Hub) verdictOf(r Result) (string, error) {
	body := []byte(r.Outcome)
	for _, f := range r.Files {
		if f.Name == outcomeFile {
			var err error
			if body, err = h.files.read(f.Artefact, maxFileOutcome); err != nil {
				return "", err
			}
		}
	}
	var o struct {
		Verdict scenarios.Verdict `json:"verdict"`
		built
	}
	err := json.Unmarshal(body, &o)
	switch {
	case err == nil && (o.Built == builtYes || o.Built == builtNo):
		return o.Built, nil
	case err != nil || !o.Verdict.Known():
		return "", errors.New("an outcome without a verdict")
	}
	return string(o.Verdict), nil
}

// back takes back what a worker does not do, since it ends.
func (h *Hub) back(id string, data []byte) any {
	r, err := read(data, func(r backRequest) error {
		if len(r.Leases) > mostHeld || len(r.Why) > 1000 {
			return errors.New("too much")
		}
		return nil
	})
	if err != nil {
		return plain{failed(err)}
	}
	for _, l := range r.Leases {
		if h.checkHeld(id, l) != nil {
			continue
		}
		h.mu.Lock()
		if w := h.workers[id]; w != nil {
			delete(w.leases, l.place)
		}
		b, j := h.find(l.place)
		give := j != nil && j.state == leased && j.by == id
		if give {
			j.backs++
			delete(j.group.holders, id)
			if r.Why != "" {
				j.refuse(id)
			}
			// As long as one that has not tried is there, it may do better.
			if j.unable < mostUnable || h.anotherFor(j.group, func(id string) bool { return j.refused[id] }) {
				j.set(queued)
			} else {
				h.kill(b, j, fmt.Sprintf("no worker can make this %s; the last one said: %s", j.group.what(), text.OneLine(r.Why)))
			}
		}
		h.mu.Unlock()
		if give {
			// Where it was killed, it is taken out when it comes.
			if err := h.queue.tell(l.Reply, ackBack); err != nil {
				return plain{failed(err)}
			}
		}
	}
	h.mu.Lock()
	h.more.wake()
	h.mu.Unlock()
	return plain{}
}

// classes says of what classes there are workers.
func (h *Hub) classes(string, []byte) any {
	h.mu.Lock()
	defer h.mu.Unlock()
	return classAnswer{Classes: h.classesNow()}
}

func (h *Hub) classesNow() []ClassOf {
	all := map[Class]*ClassOf{}
	for _, w := range h.workers {
		if time.Since(w.seen) > asleep {
			continue
		}
		for _, c := range w.Classes {
			if all[c] == nil {
				all[c] = &ClassOf{Class: c}
			}
			all[c].Workers++
			if !c.builds() {
				all[c].Slots += w.Slots
				continue
			}
			all[c].Slots += w.Builds
			for _, commit := range w.Commits {
				if of := all[c]; len(of.Commits) < maxNear && !slices.Contains(of.Commits, commit) {
					of.Commits = append(of.Commits, commit)
				}
			}
		}
	}
	out := []ClassOf{}
	for _, c := range slices.SortedFunc(maps.Keys(all), func(a, b Class) int {
		return cmp.Or(cmp.Compare(all[b].Slots, all[a].Slots), cmp.Compare(a.QEMU, b.QEMU), cmp.Compare(a.Accel, b.Accel), cmp.Compare(a.CPU, b.CPU), cmp.Compare(a.Compiler, b.Compiler))
	}) {
		out = append(out, *all[c])
	}
	return out
}

// mostJobs bounds a batch.
const mostJobs = 1_000_000

// submit takes jobs of a client's.
func (h *Hub) submit(id string, data []byte) any {
	r, err := read(data, func(r submitRequest) error {
		for _, t := range r.Tasks {
			if t.N < 0 || t.N >= mostJobs {
				return errors.New("too many jobs")
			}
			if err := t.check(); err != nil {
				return err
			}
		}
		return checkID(r.Batch)
	})
	if err != nil {
		return plain{failed(err)}
	}
	there := map[int]bool{}
	h.mu.Lock()
	b := h.batches[r.Batch]
	_, orphan := h.orphans[r.Batch]
	h.mu.Unlock()
	if b != nil && b.client != id {
		return plain{failed(errors.New("another client's batch"))}
	}
	if orphan { // of before the hub's start: some may still be there
		if there, err = h.queue.there(h.ctx, r.Batch); err != nil {
			return plain{h.trouble(err)}
		}
	}
	var items []item
	var added []*job
	h.mu.Lock()
	if b = h.batches[r.Batch]; b == nil {
		b = &batch{id: r.Batch, client: id, jobs: map[int]*job{}, groups: map[*group]bool{}, told: make(wakeup)}
		h.batches[r.Batch] = b
	}
	b.seen = time.Now()
	for _, t := range r.Tasks {
		p := place{r.Batch, t.N}
		if b.jobs[p.N] != nil {
			continue // sent twice
		}
		g := h.groups[t.Group]
		if g == nil {
			g = &group{id: t.Group, class: t.Class, near: t.Near, since: time.Now(), holders: map[string]time.Time{}, unable: map[string]time.Time{}}
			h.groups[t.Group] = g
		}
		if g.class != t.Class {
			h.mu.Unlock()
			return plain{failed(errors.New("jobs of one group are for one class of machines"))}
		}
		b.jobs[p.N] = &job{place: p, group: g, since: b.seen}
		b.groups[g] = true
		added = append(added, b.jobs[p.N])
		if !there[p.N] {
			items = append(items, item{p, t.Task})
		}
	}
	h.mu.Unlock()
	err = h.queue.put(h.ctx, items)
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, j := range added {
		switch {
		case j.state != coming: // it was leased at once, or is not wanted any more
		case err != nil:
			delete(b.jobs, j.N)
		default:
			j.set(queued)
		}
	}
	if err != nil {
		return plain{h.trouble(err)}
	}
	if b.whole = b.whole || r.Last; b.whole {
		delete(h.orphans, r.Batch)
	}
	h.more.wake()
	return plain{}
}

// mostResults bounds those of one answer; maxAnswer its size, in bytes.
const (
	mostResults = 200
	maxAnswer   = 700 << 10
)

// together is how long a result waits for others to be told with.
const together = 5 * time.Millisecond

// poll gives a client what has come, and waits for a while when nothing has.
// What it gave stays until it is confirmed.
func (h *Hub) poll(id string, data []byte) any {
	r, err := read(data, func(r pollRequest) error { return checkID(r.Batch) })
	if err != nil {
		return pollAnswer{failure: failed(err)}
	}
	held := map[int]bool{}
	for _, n := range r.Held {
		held[n] = true
	}
	timer := time.NewTimer(h.opt.linger)
	defer timer.Stop()
	confirmed := false
	for {
		h.mu.Lock()
		b := h.batches[r.Batch]
		if b == nil || b.client != id {
			h.mu.Unlock()
			return pollAnswer{Unknown: true}
		}
		b.seen = time.Now()
		if !confirmed {
			h.confirm(b, r.Confirm)
			confirmed = true
		}
		a := pollAnswer{Started: b.news.Started, Second: b.news.Second}
		b.news.Started, b.news.Second = nil, nil
		size := 0
		for _, c := range b.news.Results {
			if held[c.N] {
				continue
			}
			if size += len(c.Result.Outcome) + 2000; len(a.Results) > 0 && (size > maxAnswer || len(a.Results) == mostResults) {
				break
			}
			a.Results = append(a.Results, c)
		}
		a.Idle = h.idle(b)
		told := b.told
		h.mu.Unlock()
		if len(a.Results) > 0 || len(a.Second) > 0 || len(a.Started) > 0 {
			return a
		}
		select {
		case <-told:
			// What comes next to it goes with it.
			select {
			case <-time.After(together):
			case <-h.ctx.Done():
			}
		case <-timer.C:
			return a
		case <-h.ctx.Done():
			return pollAnswer{failure: failed(errTryAgain)}
		}
	}
}

// confirm takes out what a client has recorded. The caller holds h.mu.
func (h *Hub) confirm(b *batch, which []int) {
	for _, n := range which {
		if j := b.jobs[n]; j != nil && j.state == came {
			h.discard(j)
		}
	}
	b.forgetOver()
}

// discard ends a job, whose result, if there is one, is not kept any more. The
// caller holds h.mu.
func (h *Hub) discard(j *job) {
	j.set(over)
	for _, f := range j.result.Result.Files {
		h.files.drop(f.Artefact)
	}
	j.result = Came{}
}

// forgetOver takes the results of jobs that are over from what the client is to
// be told. The caller holds h.mu.
func (b *batch) forgetOver() {
	b.news.Results = slices.DeleteFunc(b.news.Results, func(c Came) bool { return b.jobs[c.N].state == over })
}

// idle says why nothing is done for a batch; "" when something is. The caller
// holds h.mu.
func (h *Hub) idle(b *batch) string {
	classes := h.classesNow()
	for g := range b.groups {
		if g.queued > 0 && !slices.ContainsFunc(classes, func(c ClassOf) bool { return c.Class == g.class }) {
			if len(classes) == 0 {
				return "no worker is there"
			}
			if g.class.builds() {
				return "no worker is there that builds kernels with " + g.class.Compiler
			}
			return "no worker is there that has the QEMU, accelerator and CPU that the trials are for"
		}
	}
	return ""
}

// cancel takes out jobs that are not wanted any more.
func (h *Hub) cancel(id string, data []byte) any {
	r, err := read(data, func(r cancelRequest) error {
		if len(r.Which) > mostJobs {
			return errors.New("too many jobs")
		}
		return checkID(r.Batch)
	})
	if err != nil {
		return plain{failed(err)}
	}
	h.mu.Lock()
	b := h.batches[r.Batch]
	if b == nil || b.client != id {
		h.mu.Unlock()
		return plain{}
	}
	var gone []int
	for _, n := range r.Which {
		if j := b.jobs[n]; j != nil && j.state != over {
			h.discard(j)
			gone = append(gone, n)
		}
	}
	b.forgetOver()
	h.mu.Unlock()
	for _, n := range gone {
		if err := h.queue.drop(h.ctx, r.Batch, n); err != nil {
			return plain{h.trouble(err)}
		}
	}
	return plain{}
}

// end ends a batch, whatever is left of it.
func (h *Hub) end(id string, data []byte) any {
	r, err := read(data, func(r pollRequest) error { return checkID(r.Batch) })
	if err != nil {
		return plain{failed(err)}
	}
	h.mu.Lock()
	b := h.batches[r.Batch]
	mine := b != nil && b.client == id
	if mine {
		h.confirm(b, r.Confirm)
	}
	h.mu.Unlock()
	if mine {
		if err := h.forget(b); err != nil {
			return plain{failed(err)}
		}
	}
	return plain{}
}

// forget forgets a batch.
func (h *Hub) forget(b *batch) error {
	h.mu.Lock()
	delete(h.batches, b.id)
	delete(h.orphans, b.id)
	groups := maps.Clone(b.groups)
	for _, j := range b.jobs {
		h.discard(j)
	}
	for _, other := range h.batches {
		for g := range other.groups {
			delete(groups, g)
		}
	}
	for g := range groups {
		delete(h.groups, g.id)
		delete(h.dry, g.id)
	}
	h.mu.Unlock()
	err := h.queue.drop(h.ctx, b.id, -1)
	for g := range groups {
		h.queue.forget(h.ctx, g.id)
	}
	return err
}

// keep looks after what nobody asks for: leases that were not extended,
// clients that have gone, a queue that stands still.
func (h *Hub) keep() {
	ticker := time.NewTicker(min(time.Second, h.opt.lease/10))
	defer ticker.Stop()
	for {
		select {
		case <-h.ctx.Done():
			return
		case now := <-ticker.C:
			h.look(now)
		}
	}
}

func (h *Hub) look(now time.Time) {
	var gone []*batch
	var lost []string
	still := false
	h.mu.Lock()
	wake := false
	var again []string
	for _, b := range h.batches {
		if now.Sub(b.seen) > h.opt.gone {
			gone = append(gone, b)
			continue
		}
		for _, j := range b.jobs {
			if j.state != leased || now.Before(j.until) {
				continue
			}
			if w := h.workers[j.by]; w != nil {
				w.lost++
				delete(w.leases, j.place)
				h.opt.Log.Warn("a worker does not come back from a "+j.group.what()+": it goes to another", "worker", w.Name)
			}
			delete(j.group.holders, j.by)
			j.set(queued)
			wake = true
			if j.again != "" {
				again = append(again, j.again)
				j.again = ""
			}
		}
	}
	if wake {
		h.more.wake()
	}
	for b, since := range h.orphans {
		if now.Sub(since) > h.opt.gone {
			delete(h.orphans, b)
			lost = append(lost, b)
		}
	}
	for id, since := range h.dry {
		if g := h.groups[id]; g == nil || g.queued == 0 {
			delete(h.dry, id)
		} else if now.Sub(since) > h.opt.still {
			still = true
		}
	}
	for id, w := range h.workers {
		if now.Sub(w.seen) > time.Hour && len(w.leases) == 0 {
			delete(h.workers, id)
			h.files.release(id)
		}
	}
	h.mu.Unlock()
	for _, reply := range again {
		_ = h.queue.tell(reply, ackBack) // or it comes by itself in a minute
	}
	for _, b := range gone {
		h.opt.Log.Warn("a client is silent: what it wanted is not done", "batch", b.id)
		if err := h.forget(b); err != nil {
			h.opt.Log.Warn("what a client wanted stays in the queue", "error", err)
		}
	}
	for _, b := range lost {
		_ = h.queue.drop(h.ctx, b, -1) // or it is dropped when it comes
	}
	if still {
		h.remake()
	}
}

// remake makes the queue again. Clients send what they still want.
func (h *Hub) remake() {
	h.opt.Log.Warn("the queue stands still: it is made again")
	err := h.queue.remake(h.ctx)
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil {
		if h.ctx.Err() == nil {
			h.opt.Log.Error("the queue can't be made again: jobs wait until it can", "error", err)
		}
		h.dry = map[string]time.Time{} // it is tried again when it stands still as long again
		return
	}
	h.rebuilt++
	for _, b := range h.batches {
		for _, j := range b.jobs {
			h.discard(j)
		}
		b.told.wake()
	}
	h.batches, h.groups, h.dry = map[string]*batch{}, map[string]*group{}, map[string]time.Time{}
	h.orphans, h.grace = map[string]time.Time{}, time.Now().Add(h.opt.gone)
	h.more.wake()
}
