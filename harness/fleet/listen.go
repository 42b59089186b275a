package fleet

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"
)

// Of connections that become NATS's own.
const (
	upgradePath     = "/nats"
	upgradeProtocol = "blockrig-nats"
)

// Serve serves workers and clients at a listener until ctx ends, which is no
// error.
func (h *Hub) Serve(ctx context.Context, l net.Listener) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+upgradePath, h.upgrade)
	for _, method := range []string{"HEAD", "GET", "PUT"} {
		mux.HandleFunc(method+" /files/{digest}", h.file)
	}
	web := &http.Server{
		Handler: mux, ReadHeaderTimeout: 20 * time.Second, IdleTimeout: 5 * time.Minute, MaxHeaderBytes: 16 << 10,
		ReadTimeout: 10 * time.Minute, WriteTimeout: 30 * time.Minute,
		ErrorLog:    slog.NewLogLogger(h.opt.Log.Handler(), slog.LevelDebug),
		BaseContext: func(net.Listener) context.Context { return ctx },
		TLSConfig: &tls.Config{
			MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{h.opt.Keys.cert},
			NextProtos: []string{"http/1.1"}, // a connection is to be taken over
		},
	}
	ended := context.AfterFunc(ctx, func() { _ = web.Close() })
	defer ended()
	err := web.ServeTLS(l, "", "")
	if ctx.Err() != nil || errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve: %w", err)
}

// upgrade makes a connection one to the message server, which asks who it is.
func (h *Hub) upgrade(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") != upgradeProtocol {
		http.Error(w, "this is for blockrig worker", http.StatusUpgradeRequired)
		return
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, "not possible", http.StatusInternalServerError)
		return
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Time{})
	if _, err := fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", upgradeProtocol); err != nil {
		return
	}
	// Until the end of the connection, which it comes to by itself, or the hub's.
	over := context.AfterFunc(h.ctx, func() { _ = conn.Close() })
	defer over()
	if err := h.bus.carry(&readerConn{conn, buffered.Reader}); err != nil {
		h.opt.Log.Debug("a connection ended", "error", err)
	}
}

// A readerConn is a connection of which something was read already.
type readerConn struct {
	net.Conn
	in io.Reader
}

func (c *readerConn) Read(p []byte) (int, error) { return c.in.Read(p) }

// file answers requests for files, from who has proved who it is.
func (h *Hub) file(w http.ResponseWriter, r *http.Request) {
	id, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	role := h.bus.gate.role(id)
	if !ok || role == "" {
		http.Error(w, "who is it?", http.StatusUnauthorized)
		return
	}
	h.files.serve(w, r, id, role)
}
