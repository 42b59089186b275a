package qemu

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/digitalocean/go-qemu/qemu"
	"github.com/digitalocean/go-qemu/qmp"
)

const greeting = `{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": "test"}, "capabilities": ["oob"]}}` + "\r\n"

// A peer is QEMU's end of a connection, played by a test.
type peer struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

// A command is what a peer was told.
type command struct {
	Execute   string          `json:"execute"`
	ID        string          `json:"id"`
	Arguments json.RawMessage `json:"arguments"`
}

// newPeer gives a Monitor and its peer, on real sockets.
func newPeer(t *testing.T) (*Monitor, *peer) {
	t.Helper()
	near, far, err := socketPair("test")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.FileConn(far)
	if err := errors.Join(err, far.Close()); err != nil {
		t.Fatal(err)
	}
	m := NewMonitor(near)
	t.Cleanup(func() {
		if err := m.Disconnect(); err != nil {
			t.Error(err)
		}
		_ = conn.Close() // a test may have closed it
	})
	return m, &peer{t: t, conn: conn, in: bufio.NewReader(conn)}
}

// say writes to the Monitor; a connection that the Monitor has given up is
// for the test to notice.
func (p *peer) say(format string, args ...any) {
	_, _ = fmt.Fprintf(p.conn, format+"\r\n", args...)
}

func (p *peer) hear() (c command, err error) {
	line, err := p.in.ReadBytes('\n')
	if err != nil {
		return c, err
	}
	return c, json.Unmarshal(line, &c)
}

// serve greets and then answers commands in a goroutine, until answer returns
// false or the connection ends.
func (p *peer) serve(answer func(command) bool) {
	done := make(chan struct{})
	p.t.Cleanup(func() {
		_ = p.conn.Close()
		<-done
	})
	go func() {
		defer close(done)
		p.say("%s", strings.TrimSpace(greeting))
		for {
			c, err := p.hear()
			if err != nil {
				return
			}
			if c.Execute == "qmp_capabilities" {
				p.ok(c, "{}")
			} else if !answer(c) {
				return
			}
		}
	}()
}

func (p *peer) ok(c command, value string) { p.say(`{"return": %s, "id": %q}`, value, c.ID) }

func connected(t *testing.T, answer func(p *peer, c command) bool) (*Monitor, *peer) {
	t.Helper()
	m, p := newPeer(t)
	p.serve(func(c command) bool { return answer(p, c) })
	if err := m.ConnectContext(bounded(t)); err != nil {
		t.Fatal(err)
	}
	return m, p
}

// bounded ends a test that would wait for ever.
func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func TestMonitorMatchesRepliesToCommands(t *testing.T) {
	// Given a peer that answers pairs of commands in reverse order, with
	// events and the reply to nobody's command in between,
	var first *command
	m, _ := connected(t, func(p *peer, c command) bool {
		if first == nil {
			first = &c
			return true
		}
		p.say(`{"event": "RTC_CHANGE", "data": {"offset": 1}, "timestamp": {"seconds": 1, "microseconds": 2}}`)
		p.ok(c, string(c.Arguments))
		p.say(`{"return": "late", "id": "blockrig-999999"}`)
		p.ok(*first, string(first.Arguments))
		first = nil
		return true
	})

	// when many goroutines give commands,
	const pairs = 100
	var wg sync.WaitGroup
	for i := range 2 * pairs {
		wg.Go(func() {
			var got struct{ N int }
			err := m.Execute(bounded(t), "echo", map[string]int{"n": i}, &got)
			// then each gets its own reply.
			if err != nil || got.N != i {
				t.Errorf("echo %d: %d, %v", i, got.N, err)
			}
		})
	}
	wg.Wait()
}

func TestMonitorReplyIsNotOverwritten(t *testing.T) {
	m, _ := connected(t, func(p *peer, c command) bool {
		p.say(`{"return": "aaaaaaaaaaaaaaaa", "id": %q}`+"\r\n"+`{"event": "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB"}`, c.ID)
		return true
	})
	events, err := m.Events(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	for range 200 {
		reply, err := m.Run([]byte(`{"execute": "x"}`))
		if err != nil {
			t.Fatal(err)
		}
		<-events // the event has been read by now
		if !strings.Contains(string(reply), `"aaaaaaaaaaaaaaaa"`) {
			t.Fatalf("reply %s", reply)
		}
	}
}

func TestMonitorTakesReplyOfAnySize(t *testing.T) {
	big := strings.Repeat("x", 3<<20)
	m, _ := connected(t, func(p *peer, c command) bool {
		p.ok(c, `"`+big+`"`)
		return true
	})
	var got string
	if err := m.Execute(bounded(t), "big", nil, &got); err != nil || got != big {
		t.Errorf("%d bytes, %v; want %d", len(got), err, len(big))
	}
}

func TestMonitorRefusal(t *testing.T) {
	m, _ := connected(t, func(p *peer, c command) bool {
		p.say(`{"error": {"class": "GenericError", "desc": "no\u001b[31m"}, "id": %q}`, c.ID)
		return true
	})
	err := m.Execute(bounded(t), "migrate", nil, nil)
	var refused *CommandError
	if !errors.As(err, &refused) || refused.Class != "GenericError" {
		t.Fatalf("error %v, want a CommandError", err)
	}
	if got, want := err.Error(), `QMP migrate: no\u001b[31m`; got != want {
		t.Errorf("error %q, want %q", got, want)
	}
	if m.Err() != nil {
		t.Errorf("a refusal ended the connection: %v", m.Err())
	}
}

func TestMonitorEventsNeedNoReader(t *testing.T) {
	// Given a subscriber who does not read,
	const sent = 3 * maxEvents
	m, _ := connected(t, func(p *peer, c command) bool {
		for i := range sent {
			p.say(`{"event": "E", "data": {"n": %d}}`, i)
		}
		p.ok(c, "{}")
		return true
	})
	events, err := m.Events(bounded(t))
	if err != nil {
		t.Fatal(err)
	}

	// when more events come than are kept, commands go on,
	if err := m.Execute(bounded(t), "flood", nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := m.Disconnect(); err != nil {
		t.Fatal(err)
	}

	// and the newest can be read after the end.
	n, last := 0, 0.0
	for e := range events {
		n++
		last = e.Data["n"].(float64)
	}
	if n != maxEvents || last != sent-1 {
		t.Errorf("%d events, the last of them %v; want %d, %d", n, last, maxEvents, sent-1)
	}
}

func TestMonitorEventsEndWithTheirContext(t *testing.T) {
	m, _ := connected(t, func(p *peer, c command) bool { p.ok(c, "{}"); return true })
	ctx, cancel := context.WithCancel(t.Context())
	events, err := m.Events(ctx)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	for range events { // ends
	}
	if err := m.Execute(bounded(t), "x", nil, nil); err != nil {
		t.Errorf("command after that: %v", err)
	}
}

func TestMonitorFirstSubscriberGetsWhatCameBefore(t *testing.T) {
	m, _ := connected(t, func(p *peer, c command) bool {
		p.say(`{"event": "STOP"}`)
		p.ok(c, "{}")
		return true
	})
	if err := m.Execute(bounded(t), "stop", nil, nil); err != nil {
		t.Fatal(err)
	}
	events, err := m.Events(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	if e := <-events; e.Event != "STOP" {
		t.Errorf("event %q, want STOP", e.Event)
	}
}

func TestMonitorSilentPeer(t *testing.T) {
	t.Run("before the greeting", func(t *testing.T) {
		m, _ := newPeer(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if err := m.ConnectContext(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("connect: %v, want a deadline exceeded", err)
		}
	})
	t.Run("after a command", func(t *testing.T) {
		// Given a peer that answers the second command only,
		heard := make(chan struct{}, 1)
		n := 0
		m, _ := connected(t, func(p *peer, c command) bool {
			if n++; n == 1 {
				heard <- struct{}{}
				return true
			}
			p.ok(c, "{}")
			return true
		})
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-heard; cancel() }()

		// then the first ends with its context, and the second works.
		if err := m.Execute(ctx, "first", nil, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("first: %v, want canceled", err)
		}
		if err := m.Execute(bounded(t), "second", nil, nil); err != nil {
			t.Errorf("second: %v", err)
		}
	})
	t.Run("who does not even read", func(t *testing.T) {
		m, p := newPeer(t)
		go p.say("%s", strings.TrimSpace(greeting))
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			if c, err := p.hear(); err == nil {
				p.ok(c, "{}")
			}
			_, _ = p.in.ReadByte() // the next command has begun
			cancel()
		}()
		if err := m.ConnectContext(bounded(t)); err != nil {
			t.Fatal(err)
		}
		// More than the socket holds: the write itself has to be given up.
		err := m.Execute(ctx, "x", strings.Repeat("x", 8<<20), nil)
		if err == nil {
			t.Fatal("a command that nobody read worked")
		}
		// Half a command was sent: the connection is of no use any more.
		if err := m.Execute(bounded(t), "y", nil, nil); !errors.Is(err, ErrMonitorClosed) {
			t.Errorf("after half a command: %v, want ErrMonitorClosed", err)
		}
	})
}

func TestMonitorEndOfConnection(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(p *peer)
		want string // in the error
	}{
		{"closed", func(p *peer) { p.conn.Close() }, "connection closed"},
		{"garbage", func(p *peer) { p.say("\x1b[2Jwhat?") }, `not a QMP message: \u001b[2Jwhat?`},
		{"an array", func(p *peer) { p.say("[1]") }, "not a QMP message"},
		{"reply without id", func(p *peer) { p.say(`{"return": {}}`) }, "a reply to nothing"},
		{"second greeting", func(p *peer) { p.say("%s", greeting) }, "a second greeting"},
		{"event of another shape", func(p *peer) { p.say(`{"event": "X", "data": 3}`) }, "not a QMP event"},
		{"cut in a reply", func(p *peer) {
			fmt.Fprint(p.conn, `{"return": {`)
			p.conn.Close()
		}, "not a QMP message"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, _ := connected(t, func(p *peer, _ command) bool {
				tt.end(p)
				return true
			})
			events, err := m.Events(bounded(t))
			if err != nil {
				t.Fatal(err)
			}

			err = m.Execute(bounded(t), "x", nil, nil)

			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\x1b") {
				t.Errorf("command: %v, want %q", err, tt.want)
			}
			for range events { // ends
			}
			<-m.Done()
			if again := m.Execute(bounded(t), "x", nil, nil); again == nil {
				t.Error("a command worked after the end")
			}
		})
	}
}

func TestMonitorLineWithoutEnd(t *testing.T) {
	r := bufio.NewReaderSize(strings.NewReader(strings.Repeat("x", 100)), 16)
	if _, err := readLine(r, 50); err == nil {
		t.Error("a line of 100 bytes passed a limit of 50")
	}
}

func TestMonitorBadCommand(t *testing.T) {
	m, _ := connected(t, func(p *peer, c command) bool { p.ok(c, "{}"); return true })
	for _, bad := range []string{``, `x`, `[]`, `{}`, `{"execute": 3}`} {
		if _, err := m.Run([]byte(bad)); err == nil {
			t.Errorf("Run(%q) worked", bad)
		}
	}
	if err := m.Connect(); err == nil {
		t.Error("Connect worked twice")
	}
	fresh, _ := newPeer(t)
	if _, err := fresh.Run([]byte(`{"execute": "x"}`)); err == nil {
		t.Error("Run worked before Connect")
	}
}

func TestMonitorSendsFiles(t *testing.T) {
	m, _ := connected(t, func(p *peer, c command) bool { p.ok(c, `"`+c.Execute+`"`); return true })
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := m.SendFile(bounded(t), "x", f); err != nil {
		t.Error(err)
	}
}

func TestDomainWorksOnMonitor(t *testing.T) {
	m, _ := connected(t, func(p *peer, c command) bool {
		p.say(`{"event": "STOP"}`)
		p.ok(c, `[{"device": "disk-a", "inserted": {"file": "a"}}]`)
		return true
	})
	d, err := qemu.NewDomain(lentMonitor{m}, "test")
	if err != nil {
		t.Fatal(err)
	}
	devices, err := d.BlockDevices()
	if err != nil || len(devices) != 1 || devices[0].Device != "disk-a" {
		t.Errorf("block devices %v, %v", devices, err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if _, err := m.Run([]byte(`{"execute": "query-block"}`)); err != nil {
		t.Errorf("after the Domain's end: %v", err)
	}
}

var _ qmp.Monitor = lentMonitor{}
