package fleet

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// roleHub is the hub's own.
const roleHub Role = "hub"

// newID is a name that nobody else can guess.
func newID() string {
	b := make([]byte, 16)
	rand.Read(b) // never fails (crypto/rand)
	return hexOf(b)
}

// A gate lets in who has one of the hub's keys, and gives each the subjects
// that its role may use. Who connects names itself by an ID of its own that it
// tells nobody but the hub.
type gate struct {
	roles map[string]Role // by public nkey

	mu   sync.Mutex
	seen map[string]Role // by ID
}

// mostSeen bounds the IDs that are remembered.
const mostSeen = 100_000

// Check implements server.Authentication.
func (g *gate) Check(c server.ClientAuthentication) bool {
	o := c.GetOpts()
	role, ok := g.roles[o.Nkey]
	if !ok {
		return false
	}
	sig, err := base64.RawURLEncoding.DecodeString(o.Sig)
	if err != nil {
		return false
	}
	pub, err := nkeys.FromPublicKey(o.Nkey)
	if err != nil || pub.Verify(c.GetNonce(), sig) != nil {
		return false
	}
	if role == roleHub {
		c.RegisterUser(&server.User{Username: "hub"})
		return true
	}
	id := o.Name
	if checkID(id) != nil {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	was, ok := g.seen[id]
	if ok && was != role {
		return false
	}
	if !ok && len(g.seen) >= mostSeen {
		for other := range g.seen { // any: it proves again who it is when it connects
			delete(g.seen, other)
			break
		}
	}
	g.seen[id] = role
	c.RegisterUser(&server.User{Username: id, Permissions: &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: []string{opSubject(role, "*", id)}},
		Subscribe: &server.SubjectPermission{Allow: []string{inboxOf(id) + ".>"}},
	}})
	return true
}

// role is what the holder of an ID has proved to be; "" for nothing.
func (g *gate) role(id string) Role {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.seen[id]
}

func inboxOf(id string) string { return "_INBOX_" + id }

func opSubject(r Role, op, id string) string { return "fleet." + string(r) + "." + op + "." + id }

// A bus is the NATS server within the hub. It listens nowhere: connections are
// brought to it.
type bus struct {
	server *server.Server
	gate   *gate
	hub    nkeys.KeyPair
}

// startBus starts the server, which keeps the queue in the folder dir, if any.
func startBus(k *Keys, dir string) (*bus, error) {
	own, err := nkeys.CreateUser()
	if err != nil {
		return nil, err
	}
	b := &bus{hub: own, gate: &gate{roles: map[string]Role{}, seen: map[string]Role{}}}
	add := func(pair nkeys.KeyPair, r Role) error {
		pub, err := pair.PublicKey()
		b.gate.roles[pub] = r
		return err
	}
	if err := add(own, roleHub); err != nil {
		return nil, err
	}
	for _, r := range []Role{RoleWorker, RoleClient} {
		pair, err := k.Key(r).pair()
		if err == nil {
			err = add(pair, r)
		}
		if err != nil {
			return nil, err
		}
	}
	b.server, err = server.NewServer(&server.Options{
		ServerName: "blockrig", DontListen: true, NoSigs: true, NoLog: true, MaxPayload: maxMessage, MaxPending: 64 << 20,
		MaxConn: 10_000, AuthTimeout: 30, WriteDeadline: 30 * time.Second, PingInterval: 20 * time.Second, MaxPingsOut: 2,
		CustomClientAuthentication: b.gate, AlwaysEnableNonce: true,
		JetStream: dir != "", StoreDir: dir, SyncAlways: true,
	})
	if err != nil {
		return nil, fmt.Errorf("start the message server: %w", err)
	}
	b.server.Start()
	if !b.server.ReadyForConnections(time.Minute) {
		b.close()
		return nil, errors.New("start the message server: it does not get ready")
	}
	return b, nil
}

func (b *bus) close() {
	b.server.Shutdown()
	b.server.WaitForShutdown()
}

// connect is the hub's own connection.
func (b *bus) connect() (*nats.Conn, error) {
	pub, err := b.hub.PublicKey()
	if err != nil {
		return nil, err
	}
	return nats.Connect("", nats.InProcessServer(b.server), nats.Nkey(pub, b.hub.Sign), nats.MaxReconnects(-1))
}

// carry brings a connection to the server, until one of the two ends it.
func (b *bus) carry(from net.Conn) error {
	to, err := b.server.InProcessConn()
	if err != nil {
		return err
	}
	return join(from, to)
}

// join copies between two connections until one of them ends, and closes both.
func join(a, b net.Conn) error {
	var copies sync.WaitGroup
	var errs [2]error
	move := func(err *error, to, from net.Conn) {
		_, *err = io.Copy(to, from)
		_, _ = to.Close(), from.Close() // the other copy ends with that
	}
	copies.Go(func() { move(&errs[0], a, b) })
	move(&errs[1], b, a)
	copies.Wait()
	return errors.Join(errs[:]...)
}
