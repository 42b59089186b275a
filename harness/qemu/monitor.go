package qemu

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/digitalocean/go-qemu/qmp"
	"golang.org/x/sys/unix"

	"github.com/blockrig/blockrig/harness/text"
)

const (
	// RunLimit bounds a command of Run, which has no context of its own.
	RunLimit = 30 * time.Second

	// maxReply bounds one line from QEMU: what QEMU says can depend on the guest.
	maxReply = 64 << 20

	// maxEvents is how many events are kept for a subscriber who does not
	// read them; the oldest go first.
	maxEvents = 1024
)

// ErrMonitorClosed says that the QMP connection has ended: QEMU closed it,
// or Disconnect was called.
var ErrMonitorClosed = errors.New("QMP connection closed")

// A CommandError is QEMU's refusal of a command.
type CommandError struct {
	Command string
	Class   string // GenericError, CommandNotFound, …
	Desc    string // QEMU's words, control codes made harmless
}

func (e *CommandError) Error() string {
	return fmt.Sprintf("QMP %s: %s", e.Command, e.Desc)
}

// A Monitor is one QMP connection. It implements qmp.Monitor, so that
// go-qemu's Domain works on top of it, and differs from qmp.SocketMonitor in
// what a harness depends on: a reply of any size arrives in memory of its
// own, replies are matched by id, every wait ends with its context, and
// commands do not wait for somebody to read events.
//
// Its methods may be called from several goroutines.
type Monitor struct {
	conn net.Conn
	turn chan struct{} // holds a token while nobody writes

	mu      sync.Mutex
	started bool
	hello   chan struct{} // closed when the greeting is in
	version qmp.Version
	next    uint64
	waiting map[string]chan reply
	queues  map[*eventQueue]struct{}
	kept    []qmp.Event // for the first subscriber
	err     error       // why the connection ended

	done   chan struct{} // closed when the connection has ended
	owned  sync.WaitGroup
	closed sync.Once
}

var _ qmp.Monitor = (*Monitor)(nil)

type reply struct {
	line []byte
	err  error
}

// NewMonitor makes a Monitor of a connection, which it owns from now on.
// Nothing is written or read before Connect.
func NewMonitor(conn net.Conn) *Monitor {
	m := &Monitor{
		conn:    conn,
		turn:    make(chan struct{}, 1),
		hello:   make(chan struct{}),
		waiting: make(map[string]chan reply),
		queues:  make(map[*eventQueue]struct{}),
		done:    make(chan struct{}),
	}
	m.turn <- struct{}{}
	return m
}

// Connect is ConnectContext bounded by RunLimit.
func (m *Monitor) Connect() error {
	ctx, cancel := context.WithTimeout(context.Background(), RunLimit)
	defer cancel()
	return m.ConnectContext(ctx)
}

// ConnectContext waits for QEMU's greeting and leaves negotiation mode.
func (m *Monitor) ConnectContext(ctx context.Context) error {
	m.mu.Lock()
	if m.started {
		m.mu.Unlock()
		return errors.New("QMP: connected twice")
	}
	m.started = true
	m.mu.Unlock()

	m.owned.Go(m.read)

	select {
	case <-m.hello:
	case <-m.done:
		return fmt.Errorf("QMP greeting: %w", m.Err())
	case <-ctx.Done():
		return fmt.Errorf("QMP greeting: %w", context.Cause(ctx))
	}
	return m.Execute(ctx, "qmp_capabilities", nil, nil)
}

// Version is QEMU's version, as its greeting said; zero before Connect.
func (m *Monitor) Version() qmp.Version {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.version
}

// Disconnect closes the connection and waits for all the Monitor's
// goroutines. Commands that still wait end with ErrMonitorClosed.
func (m *Monitor) Disconnect() error {
	m.fail(ErrMonitorClosed)
	m.owned.Wait()
	return nil
}

// Done is closed when the connection has ended; Err says why.
func (m *Monitor) Done() <-chan struct{} { return m.done }

// Err is why the connection ended, nil while it is up.
func (m *Monitor) Err() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.err
}

// Run sends one command, a JSON object, and returns QEMU's whole reply. An
// id in it is replaced. It waits at most RunLimit.
func (m *Monitor) Run(command []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), RunLimit)
	defer cancel()
	return m.RunContext(ctx, command)
}

// RunContext is Run bounded by a context. A command given up on may still be
// carried out; its reply is dropped, and the connection stays usable.
func (m *Monitor) RunContext(ctx context.Context, command []byte) ([]byte, error) {
	return m.run(ctx, command, nil)
}

// SendFile gives QEMU a copy of an open file's descriptor, under a name for
// later commands (getfd). The file stays the caller's.
func (m *Monitor) SendFile(ctx context.Context, name string, file *os.File) error {
	command, err := json.Marshal(qmp.Command{Execute: "getfd", Args: map[string]string{"fdname": name}})
	if err != nil {
		return fmt.Errorf("QMP getfd: %w", err)
	}
	_, err = m.run(ctx, command, file)
	return err
}

func (m *Monitor) run(ctx context.Context, command []byte, file *os.File) ([]byte, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(command, &fields); err != nil {
		return nil, fmt.Errorf("QMP command is no JSON object: %w", err)
	}
	var name string
	if err := json.Unmarshal(fields["execute"], &name); err != nil {
		return nil, fmt.Errorf("QMP command without execute: %w", err)
	}

	answer := make(chan reply, 1)
	m.mu.Lock()
	switch {
	case m.err != nil:
		err := m.err
		m.mu.Unlock()
		return nil, fmt.Errorf("QMP %s: %w", name, err)
	case !m.started:
		m.mu.Unlock()
		return nil, fmt.Errorf("QMP %s: not connected", name)
	}
	m.next++
	id := fmt.Sprintf("blockrig-%d", m.next)
	m.waiting[id] = answer
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		delete(m.waiting, id)
		m.mu.Unlock()
	}()

	fields["id"], _ = json.Marshal(id) // a string always marshals
	line, err := json.Marshal(fields)
	if err != nil {
		return nil, fmt.Errorf("QMP %s: %w", name, err)
	}
	if err := m.write(ctx, append(line, '\n'), file); err != nil {
		return nil, fmt.Errorf("QMP %s: %w", name, err)
	}

	select {
	case r := <-answer:
		if r.err != nil {
			var refused *CommandError
			if errors.As(r.err, &refused) {
				refused.Command = name
				return nil, refused
			}
			return nil, fmt.Errorf("QMP %s: %w", name, r.err)
		}
		return r.line, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("QMP %s: no answer: %w", name, context.Cause(ctx))
	}
}

// Execute runs one command. args becomes its arguments unless nil, and what
// it returns is stored in out unless nil.
func (m *Monitor) Execute(ctx context.Context, name string, args, out any) error {
	command, err := json.Marshal(qmp.Command{Execute: name, Args: args})
	if err != nil {
		return fmt.Errorf("QMP %s: %w", name, err)
	}
	line, err := m.RunContext(ctx, command)
	if err != nil {
		return err
	}
	if out == nil {
		return nil
	}
	var r struct {
		Return json.RawMessage `json:"return"`
	}
	if err := json.Unmarshal(line, &r); err != nil {
		return fmt.Errorf("QMP %s: %w", name, err)
	}
	if err := json.Unmarshal(r.Return, out); err != nil {
		return fmt.Errorf("QMP %s: unexpected reply: %w", name, err)
	}
	return nil
}

// Events streams QEMU's events until ctx or the connection ends; then the
// channel is closed. The first subscriber also gets what came before. An
// unread channel holds up nothing: beyond 1024 events the oldest are lost.
func (m *Monitor) Events(ctx context.Context) (<-chan qmp.Event, error) {
	return m.subscribe(ctx), nil
}

func (m *Monitor) subscribe(ctx context.Context) <-chan qmp.Event {
	q := newEventQueue()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.kept {
		q.put(e)
	}
	m.kept = nil
	if m.err != nil {
		q.end()
		return q.out
	}
	m.queues[q] = struct{}{}
	context.AfterFunc(ctx, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.queues, q)
		q.end()
	})
	return q.out
}

// write sends one line. A line sent in part would garble all that follow, so
// then the connection is given up.
func (m *Monitor) write(ctx context.Context, line []byte, file *os.File) error {
	select {
	case <-m.turn:
	case <-m.done:
		return m.Err()
	case <-ctx.Done():
		return fmt.Errorf("not sent: %w", context.Cause(ctx))
	}
	defer func() { m.turn <- struct{}{} }()

	expired := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(expired)
		_ = m.conn.SetWriteDeadline(time.Unix(1, 0)) // fails only when it is closed
	})
	n, err := m.send(line, file)
	if !stop() {
		<-expired
		_ = m.conn.SetWriteDeadline(time.Time{}) // it is not for the next line
	}
	switch {
	case err == nil:
		return nil
	case n == 0 && ctx.Err() != nil:
		return fmt.Errorf("not sent: %w", context.Cause(ctx))
	default:
		m.fail(fmt.Errorf("%w: write: %w", ErrMonitorClosed, err))
		return m.Err()
	}
}

func (m *Monitor) send(line []byte, file *os.File) (n int, err error) {
	if file != nil {
		conn, ok := m.conn.(*net.UnixConn)
		if !ok {
			return 0, errors.New("only a Unix socket takes files")
		}
		if n, _, err = conn.WriteMsgUnix(line, unix.UnixRights(int(file.Fd())), nil); err != nil {
			return n, err
		}
		line = line[n:]
		if len(line) == 0 {
			return n, nil
		}
	}
	rest, err := m.conn.Write(line)
	return n + rest, err
}

// fail ends the connection once, with the first reason given.
func (m *Monitor) fail(reason error) {
	m.closed.Do(func() {
		m.mu.Lock()
		m.err = reason
		for id, answer := range m.waiting {
			answer <- reply{err: reason}
			delete(m.waiting, id)
		}
		for q := range m.queues {
			q.end()
		}
		m.mu.Unlock()
		close(m.done)
		_ = m.conn.Close() // the reason is known already
	})
}

// read sorts everything QEMU sends, until the connection ends.
func (m *Monitor) read() {
	r := bufio.NewReaderSize(m.conn, 64<<10)
	for {
		line, err := readLine(r, maxReply)
		if err == nil || errors.Is(err, io.EOF) {
			if line = bytes.TrimSpace(line); len(line) > 0 {
				if bad := m.take(line); bad != nil {
					m.fail(bad)
					return
				}
			}
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				m.fail(ErrMonitorClosed)
			} else {
				m.fail(fmt.Errorf("%w: read: %w", ErrMonitorClosed, err))
			}
			return
		}
	}
}

// take handles one line, which the callee may keep.
func (m *Monitor) take(line []byte) error {
	var msg struct {
		QMP *struct {
			Version qmp.Version `json:"version"`
		} `json:"QMP"`
		Event string          `json:"event"`
		ID    *string         `json:"id"`
		Ret   json.RawMessage `json:"return"`
		Error *struct {
			Class string `json:"class"`
			Desc  string `json:"desc"`
		} `json:"error"`
	}
	if err := json.Unmarshal(line, &msg); err != nil {
		return fmt.Errorf("QMP: not a QMP message: %s: %w", text.Excerpt(line, 80), err)
	}
	switch {
	case msg.QMP != nil:
		m.mu.Lock()
		defer m.mu.Unlock()
		select {
		case <-m.hello:
			return errors.New("QMP: a second greeting")
		default:
		}
		m.version = msg.QMP.Version
		close(m.hello)
		return nil

	case msg.Event != "":
		var e qmp.Event
		if err := json.Unmarshal(line, &e); err != nil {
			return fmt.Errorf("QMP: not a QMP event: %s: %w", text.Excerpt(line, 80), err)
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		if len(m.queues) == 0 {
			m.kept = append(m.kept, e)
			if len(m.kept) > maxEvents {
				m.kept = m.kept[1:]
			}
		}
		for q := range m.queues {
			q.put(e)
		}
		return nil

	case msg.ID == nil:
		// Replies carry the id of their command, except to what QEMU could
		// not parse; every command we send is JSON.
		return fmt.Errorf("QMP: a reply to nothing: %s", text.Excerpt(line, 200))
	}

	r := reply{line: line}
	if msg.Error != nil {
		r.err = &CommandError{Class: msg.Error.Class, Desc: text.Excerpt([]byte(msg.Error.Desc), 1000)}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if answer, ok := m.waiting[*msg.ID]; ok { // else: given up on
		answer <- r
		delete(m.waiting, *msg.ID)
	}
	return nil
}

// readLine reads up to and including a newline, into memory of its own.
func readLine(r *bufio.Reader, limit int) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > limit {
			return nil, fmt.Errorf("a line of more than %d bytes", limit)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}
