package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A queue is the jobs that wait, and those that are leased, in JetStream. A
// message of jobs.GROUP.BATCH.N is a job; each group has a consumer of its own,
// so that a worker can be given what it has a saved machine for.
type queue struct {
	nc     *nats.Conn
	js     jetstream.JetStream
	name   string
	prefix string // of subjects
	wait   time.Duration

	mu        sync.Mutex
	stream    jetstream.Stream
	consumers map[string]jetstream.Consumer // by group
}

// A queued job.
type item struct {
	place
	task Task
}

// apiWait bounds what is asked of JetStream.
const apiWait = 30 * time.Second

// openQueue gives the queue that there is, or a new one.
func openQueue(ctx context.Context, nc *nats.Conn, name string, wait time.Duration) (*queue, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	q := &queue{nc: nc, js: js, name: name, prefix: strings.ToLower(name), wait: wait}
	return q, q.open(ctx)
}

func (q *queue) open(ctx context.Context) error {
	stream, err := q.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: q.name, Subjects: []string{q.prefix + ".>"}, Retention: jetstream.WorkQueuePolicy, Storage: jetstream.FileStorage,
		MaxMsgSize: maxMessage, AllowAtomicPublish: true,
	})
	if errors.Is(err, nats.ErrNoResponders) {
		err = fmt.Errorf("the server has no JetStream: %w", err)
	}
	if err != nil {
		return fmt.Errorf("open the queue: %w", err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stream, q.consumers = stream, map[string]jetstream.Consumer{}
	return nil
}

// remake throws all of the queue away and begins an empty one.
func (q *queue) remake(ctx context.Context) error {
	if err := q.js.DeleteStream(ctx, q.name); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("make the queue again: %w", err)
	}
	return q.open(ctx)
}

func (q *queue) subject(i item) string {
	return strings.Join([]string{q.prefix, i.task.Group, i.Batch, strconv.Itoa(i.N)}, ".")
}

// Headers of an atomic batch (NATS ADR-50): all of it is stored and synced at
// once, or nothing.
const (
	batchID     = "Nats-Batch-Id"
	batchSeq    = "Nats-Batch-Sequence"
	batchCommit = "Nats-Batch-Commit"
)

// most at once in an atomic batch, messages; the server's limit is 1,000.
const mostAtOnce = 500

// put adds jobs. When it returns, they are on the disk.
func (q *queue) put(ctx context.Context, items []item) error {
	for len(items) > 0 {
		n := min(len(items), mostAtOnce)
		if err := q.putAll(ctx, items[:n]); err != nil {
			return fmt.Errorf("put jobs into the queue: %w", err)
		}
		items = items[n:]
	}
	return nil
}

func (q *queue) putAll(ctx context.Context, items []item) error {
	id := newID()
	for i, it := range items {
		body, err := json.Marshal(it.task)
		if err != nil {
			return err
		}
		m := nats.NewMsg(q.subject(it))
		m.Data = body
		m.Header.Set(batchID, id)
		m.Header.Set(batchSeq, strconv.Itoa(i+1))
		last := i == len(items)-1
		if !last && i > 0 {
			if err := q.nc.PublishMsg(m); err != nil {
				return err
			}
			continue
		}
		if last {
			m.Header.Set(batchCommit, "1")
		}
		ctx, cancel := context.WithTimeout(ctx, apiWait)
		r, err := q.nc.RequestMsgWithContext(ctx, m)
		cancel()
		if err != nil {
			return err
		}
		if len(r.Data) == 0 {
			continue // the first was taken
		}
		var ack struct {
			Error *jetstream.APIError `json:"error"`
		}
		if err := json.Unmarshal(r.Data, &ack); err != nil {
			return err
		}
		if ack.Error != nil {
			return ack.Error
		}
	}
	return nil
}

// there gives the jobs of a batch that are in the queue.
func (q *queue) there(ctx context.Context, batch string) (map[int]bool, error) {
	out := map[int]bool{}
	info, err := q.current().Info(ctx, jetstream.WithSubjectFilter(q.prefix+".*."+batch+".*"))
	if err != nil {
		return nil, fmt.Errorf("look into the queue: %w", err)
	}
	for subject := range info.State.Subjects {
		parts := strings.Split(subject, ".")
		if n, err := strconv.Atoi(parts[len(parts)-1]); err == nil {
			out[n] = true
		}
	}
	return out, nil
}

// batches gives the batches that have jobs in the queue.
func (q *queue) batches(ctx context.Context) (map[string]bool, error) {
	out := map[string]bool{}
	info, err := q.current().Info(ctx, jetstream.WithSubjectFilter(q.prefix+".>"))
	if err != nil {
		return nil, fmt.Errorf("look into the queue: %w", err)
	}
	for subject := range info.State.Subjects {
		if parts := strings.Split(subject, "."); len(parts) == 4 {
			out[parts[2]] = true
		}
	}
	return out, nil
}

func (q *queue) current() jetstream.Stream {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.stream
}

func (q *queue) consumer(ctx context.Context, group string) (jetstream.Consumer, error) {
	q.mu.Lock()
	c, stream := q.consumers[group], q.stream
	q.mu.Unlock()
	if c != nil {
		return c, nil
	}
	c, err := stream.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
		Durable: group, FilterSubject: q.prefix + "." + group + ".>", AckPolicy: jetstream.AckExplicitPolicy,
		AckWait: q.wait, MaxDeliver: -1, MaxAckPending: -1, InactiveThreshold: 24 * time.Hour,
		MemoryStorage: true, // a hub that starts frees what was leased (see free)
	})
	if err != nil {
		return nil, fmt.Errorf("open group %s of the queue: %w", group, err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.consumers[group] = c
	return c, nil
}

// A taken job is one that JetStream has leased.
type taken struct {
	place
	task  Task
	reply string
	times int // that it was leased, this one counted
}

// take leases jobs of a group, at most n. There may be none.
func (q *queue) take(ctx context.Context, group string, n int) ([]taken, error) {
	c, err := q.consumer(ctx, group)
	if err != nil {
		return nil, err
	}
	got, err := c.FetchNoWait(n)
	if err != nil {
		q.lose(group, c)
		return nil, fmt.Errorf("take from the queue: %w", err)
	}
	var out []taken
	for m := range got.Messages() {
		t := taken{reply: m.Reply(), times: 1}
		parts := strings.Split(m.Subject(), ".")
		if meta, err := m.Metadata(); err == nil {
			t.times = int(meta.NumDelivered)
		}
		err := json.Unmarshal(m.Data(), &t.task)
		if err == nil && len(parts) == 4 {
			t.Batch = parts[2]
			t.N, err = strconv.Atoi(parts[3])
		}
		if err != nil || len(parts) != 4 {
			if err := m.Term(); err != nil { // nothing of ours
				return out, err
			}
			continue
		}
		out = append(out, t)
	}
	if err := got.Error(); err != nil && !errors.Is(err, nats.ErrTimeout) {
		q.lose(group, c)
		return out, fmt.Errorf("take from the queue: %w", err)
	}
	return out, nil
}

// lose forgets a consumer that does not answer: it may be gone.
func (q *queue) lose(group string, c jetstream.Consumer) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.consumers[group] == c {
		delete(q.consumers, group)
	}
}

// What becomes of a lease (JetStream's acknowledgements).
const (
	ackDone   = "+ACK"
	ackExtend = "+WPI"
	ackBack   = "-NAK"
)

// tell says what becomes of a lease. If that is lost, the job comes again.
func (q *queue) tell(reply, what string) error { return q.nc.Publish(reply, []byte(what)) }

// drop removes the jobs of a batch, or only one of them.
func (q *queue) drop(ctx context.Context, batch string, n int) error {
	which := "*"
	if n >= 0 {
		which = strconv.Itoa(n)
	}
	if err := q.current().Purge(ctx, jetstream.WithPurgeSubject(q.prefix+".*."+batch+"."+which)); err != nil {
		return fmt.Errorf("remove jobs from the queue: %w", err)
	}
	return nil
}

// free makes what was leased to be had at once: a hub that has just started
// does not know by whom.
func (q *queue) free(ctx context.Context) error {
	names := q.current().ConsumerNames(ctx)
	for name := range names.Name() {
		if err := q.current().DeleteConsumer(ctx, name); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
			return fmt.Errorf("free the queue: %w", err)
		}
	}
	if err := names.Err(); err != nil {
		return fmt.Errorf("free the queue: %w", err)
	}
	return nil
}

// forget removes the consumer of a group that has no jobs.
func (q *queue) forget(ctx context.Context, group string) {
	q.mu.Lock()
	stream := q.stream
	delete(q.consumers, group)
	q.mu.Unlock()
	_ = stream.DeleteConsumer(ctx, group) // or it goes when nobody has used it for a day
}
