package fleet

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// A conn is a connection to a hub. When it breaks it is made again, for as
// long as it takes.
type conn struct {
	addr string
	key  Key
	id   string
	nc   *nats.Conn
	web  *http.Client
	tls  *tls.Config

	mu     sync.Mutex
	unless context.Context // ended when the connection is lost: what was asked has no answer then
	lost   context.CancelFunc
}

// renew begins a connection's life, and ends that of the one before.
func (c *conn) renew() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lost != nil {
		c.lost()
	}
	c.unless, c.lost = context.WithCancel(context.Background())
}

// asking is ctx, but that it ends with the connection, too.
func (c *conn) asking(ctx context.Context) (context.Context, context.CancelFunc) {
	c.mu.Lock()
	unless := c.unless
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, askWait)
	stop := context.AfterFunc(unless, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}

// dialWait bounds how long the hub may take to answer at all.
const dialWait = 20 * time.Second

// ErrHub says that there is no hub at an address, or that it does not let one
// in.
var ErrHub = errors.New("the hub")

// dial connects to the hub at addr. again is called when the connection was
// lost and is there again.
func dial(ctx context.Context, addr string, key Key, again func()) (*conn, error) {
	c := &conn{addr: addr, key: key, id: newID(), tls: key.tls()}
	c.web = &http.Client{Transport: &http.Transport{
		DialTLSContext:  func(ctx context.Context, _, _ string) (net.Conn, error) { return c.secure(ctx) },
		IdleConnTimeout: time.Minute, MaxIdleConnsPerHost: 16, ResponseHeaderTimeout: time.Minute,
	}}
	pair, err := key.pair()
	if err != nil {
		return nil, err
	}
	pub, err := pair.PublicKey()
	if err != nil {
		return nil, err
	}
	first, err := c.open(ctx) // says better than NATS what is wrong
	if err != nil {
		return nil, fmt.Errorf("%w at %s: %w", ErrHub, addr, err)
	}
	c.renew()
	d := &dialer{c: c, first: first}
	c.nc, err = nats.Connect("nats://"+addr, nats.SetCustomDialer(d), nats.Name(c.id), nats.Nkey(pub, pair.Sign),
		nats.CustomInboxPrefix(inboxOf(c.id)), nats.MaxReconnects(-1), nats.ReconnectWait(300*time.Millisecond), nats.ReconnectJitter(700*time.Millisecond, 700*time.Millisecond),
		nats.Timeout(dialWait), nats.PingInterval(10*time.Second), nats.MaxPingsOutstanding(2), nats.IgnoreDiscoveredServers(),
		// A hub that was restarted may not be ready for a moment.
		nats.IgnoreAuthErrorAbort(), nats.ReconnectBufSize(-1),
		nats.DisconnectErrHandler(func(*nats.Conn, error) { c.renew() }),
		nats.ReconnectHandler(func(*nats.Conn) {
			if again != nil {
				again()
			}
		}),
	)
	if err != nil {
		return nil, fmt.Errorf("%w at %s does not let us in: %w", ErrHub, addr, err)
	}
	return c, nil
}

func (c *conn) close() {
	c.nc.Close()
	c.mu.Lock()
	c.lost()
	c.mu.Unlock()
	c.web.CloseIdleConnections()
}

// secure makes a connection to who holds the hub's certificate.
func (c *conn) secure(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialWait)
	defer cancel()
	d := tls.Dialer{Config: c.tls}
	return d.DialContext(ctx, "tcp", c.addr)
}

// open makes a connection to the message server within the hub.
func (c *conn) open(ctx context.Context) (_ net.Conn, err error) {
	conn, err := c.secure(ctx)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, conn.Close())
		}
	}()
	if err := conn.SetDeadline(time.Now().Add(dialWait)); err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: hub\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", upgradePath, upgradeProtocol); err != nil {
		return nil, err
	}
	in := bufio.NewReader(conn)
	answer, err := http.ReadResponse(in, nil)
	if err != nil {
		return nil, fmt.Errorf("it does not answer as a hub: %w", err)
	}
	if answer.StatusCode != http.StatusSwitchingProtocols {
		return nil, fmt.Errorf("it does not answer as a hub: %s", answer.Status)
	}
	return &readerConn{conn, in}, conn.SetDeadline(time.Time{})
}

// A dialer is how NATS connects.
type dialer struct {
	c     *conn
	first net.Conn // made already
}

// Dial implements nats.CustomDialer.
func (d *dialer) Dial(string, string) (net.Conn, error) {
	if first := d.first; first != nil {
		d.first = nil
		return first, nil
	}
	return d.c.open(context.Background())
}

// askWait bounds how long the hub may take for an answer.
const askWait = 30 * time.Second

// ask asks the hub once. What is wrong with the request is a *RefusedError.
func ask[A any](ctx context.Context, c *conn, op string, request any, failed func(A) string) (answer A, err error) {
	body, err := json.Marshal(request)
	if err != nil {
		return answer, err
	}
	ctx, cancel := c.asking(ctx)
	defer cancel()
	m, err := c.nc.RequestWithContext(ctx, opSubject(c.key.Role, op, c.id), body)
	if err != nil {
		return answer, fmt.Errorf("%w does not answer: %w", ErrHub, err)
	}
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return answer, fmt.Errorf("%w: %w", ErrHub, err)
	}
	if why := failed(answer); why == errTryAgain.Error() {
		return answer, errTryAgain
	} else if why != "" {
		return answer, &RefusedError{why}
	}
	return answer, nil
}

// A RefusedError is what the hub says is wrong with a request.
type RefusedError struct{ Why string }

func (e *RefusedError) Error() string { return "the hub refuses: " + e.Why }

// until does something until it works, for as long as the hub can't be
// reached: it may be restarted. A refusal is an error.
func until(ctx context.Context, do func() error) error {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 3*time.Second) {
		err := do()
		var refused *RefusedError
		if err == nil || errors.As(err, &refused) {
			return err
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// send brings a file to the hub, in parts, and goes on where it broke off.
func (c *conn) send(ctx context.Context, a Artefact, f io.ReaderAt) error {
	return until(ctx, func() error {
		var at int64
		var whole bool
		var err error
		if a.Size > maxPart { // what is one part is sent sooner than asked for
			at, whole, err = c.have(ctx, a.SHA256)
		}
		for err == nil && !whole {
			n := min(maxPart, a.Size-at)
			if n < 0 {
				return &RefusedError{"it has more of a file than there is"}
			}
			at, whole, err = c.sendPart(ctx, a, f, at, n)
		}
		return err
	})
}

func (c *conn) url(digest string) string { return "https://hub/files/" + digest }

func (c *conn) do(ctx context.Context, method, url string, body io.Reader, header map[string]string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+c.id)
	for k, v := range header {
		r.Header.Set(k, v)
	}
	return c.web.Do(r)
}

// have asks how much of a file the hub has.
func (c *conn) have(ctx context.Context, digest string) (n int64, whole bool, err error) {
	answer, err := c.do(ctx, http.MethodHead, c.url(digest), nil, nil)
	if err != nil {
		return 0, false, err
	}
	return c.answered(answer)
}

func (c *conn) sendPart(ctx context.Context, a Artefact, f io.ReaderAt, at, n int64) (int64, bool, error) {
	part := make([]byte, n)
	if _, err := f.ReadAt(part, at); err != nil && !errors.Is(err, io.EOF) {
		return 0, false, &RefusedError{"the file can't be read: " + err.Error()}
	}
	answer, err := c.do(ctx, http.MethodPut, fmt.Sprintf("%s?at=%d&size=%d", c.url(a.SHA256), at, a.Size), bytes.NewReader(part), nil)
	if err != nil {
		return 0, false, err
	}
	return c.answered(answer)
}

// maxWhy bounds what is read of an error.
const maxWhy = 500

func (c *conn) answered(answer *http.Response) (n int64, whole bool, err error) {
	defer answer.Body.Close()
	why, err := io.ReadAll(io.LimitReader(answer.Body, maxWhy))
	switch {
	case err != nil:
		return 0, false, err
	case answer.StatusCode == http.StatusConflict || answer.StatusCode == http.StatusOK:
	case answer.StatusCode == http.StatusUnauthorized || answer.StatusCode >= 500:
		return 0, false, fmt.Errorf("%w: %s: %s", ErrHub, answer.Status, why) // it may get better
	default:
		return 0, false, &RefusedError{string(why)}
	}
	n, err = strconv.ParseInt(answer.Header.Get(haveHeader), 10, 64)
	return n, answer.Header.Get(wholeHeader) != "", err
}

// fetch brings a file from the hub into an empty one, in parts, and goes on
// where it broke off. What comes is checked.
func (c *conn) fetch(ctx context.Context, a Artefact, to *os.File) error {
	sum := newSummer(to)
	err := until(ctx, func() error {
		for sum.n < a.Size || a.Size == 0 && sum.n == 0 {
			if err := c.fetchPart(ctx, a, sum); err != nil {
				return err
			}
			if a.Size == 0 {
				return nil
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("fetch %.12s: %w", a.SHA256, err)
	}
	if sum.hex() != a.SHA256 {
		return fmt.Errorf("fetch %.12s: what came has another digest", a.SHA256)
	}
	return nil
}

func (c *conn) fetchPart(ctx context.Context, a Artefact, to *summer) error {
	if a.Size == 0 {
		return nil
	}
	last := min(a.Size, to.n+maxPart) - 1
	answer, err := c.do(ctx, http.MethodGet, c.url(a.SHA256), nil, map[string]string{"Range": fmt.Sprintf("bytes=%d-%d", to.n, last)})
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	switch answer.StatusCode {
	case http.StatusPartialContent:
	case http.StatusNotFound:
		return &RefusedError{"the hub does not have it"}
	default:
		return fmt.Errorf("%w: %s", ErrHub, answer.Status)
	}
	n, err := io.Copy(to, io.LimitReader(answer.Body, last+1-to.n))
	if err == nil && n == 0 {
		err = io.ErrUnexpectedEOF
	}
	return err
}
