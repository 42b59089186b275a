package fleet

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/blockrig/blockrig/harness/trial"
)

// natsConfig makes of the program of the tests a NATS server with the config of
// that name.
const natsConfig = "BLOCKRIG_TEST_NATS_CONFIG"

func TestMain(m *testing.M) {
	for variable, serve := range map[string]func(string) error{natsConfig: serveNATS, hubFolder: serveHub} {
		if value := os.Getenv(variable); value != "" {
			if err := serve(value); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			return
		}
	}
	os.Exit(m.Run())
}

// serveNATS is what nats-server does.
func serveNATS(config string) error {
	o, err := server.ProcessConfigFile(config)
	if err != nil {
		return err
	}
	s, err := server.NewServer(o)
	if err != nil {
		return err
	}
	s.ConfigureLogger()
	if err := server.Run(s); err != nil {
		return err
	}
	s.WaitForShutdown()
	return nil
}

// A queueServer is a NATS server in a process of its own, as others run it.
type queueServer struct {
	t    *testing.T
	dir  string // of the config and what it keeps
	addr string
	cmd  *exec.Cmd
}

const queuePassword = "not-to-be-seen"

func newQueueServer(t *testing.T) *queueServer {
	t.Helper()
	s := &queueServer{t: t, dir: t.TempDir()}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = l.Addr().String()
	if err := os.WriteFile(s.config(), s.text(), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	s.start()
	t.Cleanup(s.kill)
	return s
}

// text is that of the config.
func (s *queueServer) text() []byte {
	return fmt.Appendf(nil, "listen: %q\njetstream {store_dir: %q, sync_interval: always}\nauthorization {user: hub, password: %q}\n", s.addr, s.store(), queuePassword)
}

func (s *queueServer) store() string  { return filepath.Join(s.dir, "store") }
func (s *queueServer) config() string { return filepath.Join(s.dir, "config") }
func (s *queueServer) url() string {
	return (&url.URL{Scheme: "nats", User: url.UserPassword("hub", queuePassword), Host: s.addr}).String()
}

// start starts the server, and waits until it listens.
func (s *queueServer) start() {
	s.t.Helper()
	s.cmd = exec.Command(os.Args[0])
	s.cmd.Env = append(os.Environ(), natsConfig+"="+s.config())
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var said strings.Builder
	s.cmd.Stderr = &said
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	for end := time.Now().Add(limit); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial("tcp", s.addr)
		if err == nil {
			if err := c.Close(); err != nil {
				s.t.Error(err)
			}
			return
		}
		if time.Now().After(end) {
			s.kill()
			s.t.Fatalf("%v\n%s", err, said.String())
		}
	}
}

func (s *queueServer) kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait() // that is what was done to it
}

// Given a queue in a server of its own that is killed, with and without what it
// keeps, or gives nothing any more, then each job has its outcome once, and
// nothing is left in the queue.
func TestTheQueueIsElsewhere(t *testing.T) {
	for what, trouble := range map[string]func(*queueServer, *site){
		"killed": func(q *queueServer, _ *site) {
			q.kill()
			q.start()
		},
		"killed, and all is lost": func(q *queueServer, s *site) {
			q.kill()
			s.remove(q.store())
			q.start()
		},
		"purged": func(_ *queueServer, s *site) {
			if err := s.hub.queue.current().Purge(s.t.Context()); err != nil {
				s.t.Fatal(err)
			}
		},
	} {
		t.Run(what, func(t *testing.T) {
			q := newQueueServer(t)
			s := newSite(t, func(o *Options) {
				if o.NATS = q.url(); what != "killed" { // what it has kept is waited for
					o.still = time.Second
				}
			})
			trials := hold(t)
			for _, name := range []string{"a", "b"} {
				s.work(name, 2, trials.passes)
			}
			b := begin(t, s.client(), jobsOf(40, 3))
			trouble(q, s)
			trials.letGo()
			got := map[int]trial.Outcome{}
			for len(got) < 40 {
				a := next(t, b)
				if _, twice := got[a.Number]; twice {
					t.Errorf("job %d came twice", a.Number)
				}
				got[a.Number] = a.Outcome
				a.Recorded()
			}
			wantPassed(t, got)
			if err := b.Close(); err != nil {
				t.Error(err)
			}
			left, err := s.hub.queue.batches(t.Context())
			if err != nil || len(left) > 0 {
				t.Errorf("left in the queue: %v, %v", left, err)
			}
			s.hub.mu.Lock()
			defer s.hub.mu.Unlock()
			if kept := what == "killed"; kept && s.hub.rebuilt > 0 || !kept && s.hub.rebuilt == 0 {
				t.Errorf("the queue was made again %d times", s.hub.rebuilt)
			}
			if what == "killed" {
				trials.wantOnce(t)
			}
		})
	}
}

// Given two hubs whose queues are in one server, then neither takes away what is
// the other's.
func TestTwoHubsWithOneServer(t *testing.T) {
	q := newQueueServer(t)
	with := func(o *Options) { o.NATS = q.url() }
	first := newSite(t, with)
	b := begin(t, first.client(), jobsOf(20, 2))
	second := newSite(t, with)
	second.work("second", 2, passes)
	wantPassed(t, all(t, second.client(), jobsOf(20, 2)))
	first.work("first", 2, passes)
	for range 20 {
		next(t, b)
	}
	if first.hub.rebuilt+second.hub.rebuilt > 0 {
		t.Error("a queue was made again")
	}
}

// Given a server that does not let the hub in, or that has no JetStream, then
// the hub says so, and not the password.
func TestAServerThatIsNoneForAQueue(t *testing.T) {
	q := newQueueServer(t)
	keys, err := OpenKeys(filepath.Join(t.TempDir(), "keys"))
	if err != nil {
		t.Fatal(err)
	}
	start := func(url string) error {
		h, err := NewHub(t.Context(), Options{Keys: keys, State: t.TempDir(), Files: t.TempDir(), NATS: url})
		if err == nil {
			err = errors.Join(errors.New("it starts"), h.Close())
		}
		return err
	}
	wrong := strings.Replace(q.url(), queuePassword, queuePassword+"x", 1)
	q.kill()
	down := start(q.url())
	if err := os.WriteFile(q.config(), bytes.ReplaceAll(q.text(), []byte("jetstream"), []byte("# jetstream")), 0o600); err != nil {
		t.Fatal(err)
	}
	q.start()
	for what, got := range map[string]struct {
		err  error
		want string
	}{
		"down":         {down, "connect to the server that is to keep the queue: nats: no servers available"},
		"not let in":   {start(wrong), "Authorization Violation"},
		"no JetStream": {start(q.url()), "open the queue: the server has no JetStream"},
	} {
		if got.err == nil || !strings.Contains(got.err.Error(), got.want) || strings.Contains(got.err.Error(), queuePassword) {
			t.Errorf("%s: %v", what, got.err)
		}
	}
}
