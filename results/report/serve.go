package report

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/blockrig/blockrig/harness/bisect"
	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/results"
	"github.com/blockrig/blockrig/results/store"
)

// A Server shows the page of a report that changes. It only reads.
type Server struct {
	load  func(context.Context) (Report, error)
	files fs.FS
	hosts []string // names that it is asked by; nil: any
	mux   http.ServeMux

	mu        sync.Mutex
	shown     *pageData // nil: to be loaded
	listeners map[chan struct{}]bool
}

// NewServer shows what load gives; consoles come from files.
func NewServer(load func(context.Context) (Report, error), files fs.FS) *Server {
	s := &Server{load: load, files: files, listeners: map[chan struct{}]bool{}}
	s.mux.HandleFunc("GET /{$}", s.page)
	s.mux.HandleFunc("GET /data", s.data)
	s.mux.HandleFunc("GET /console", s.console)
	s.mux.HandleFunc("GET /events", s.events)
	return s
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy(true)+"; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	// A page of somebody else may have its own name lead here.
	if host := hostOf(r.Host); s.hosts != nil && !slices.Contains(s.hosts, host) {
		http.Error(w, "this server has another name", http.StatusMisdirectedRequest)
		return
	}
	s.mux.ServeHTTP(w, r)
}

func hostOf(hostport string) string {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	return strings.Trim(host, "[]")
}

// current is what pages show, which nobody changes: loaded where something has
// changed.
func (s *Server) current(ctx context.Context) (*pageData, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shown == nil {
		r, err := s.load(ctx)
		if err != nil {
			return nil, err
		}
		if s.shown, err = livePage(r, s.files); err != nil {
			return nil, err
		}
	}
	return s.shown, nil
}

// changed has the report loaded again, and tells pages that are open.
func (s *Server) changed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shown = nil
	for l := range s.listeners {
		select {
		case l <- struct{}{}:
		default: // it is told already
		}
	}
}

// follow takes note of changes until ctx ends or there are no more.
func (s *Server) follow(ctx context.Context, changes <-chan struct{}) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case _, more := <-changes:
			if !more {
				return nil
			}
			s.changed()
		}
	}
}

func (s *Server) page(w http.ResponseWriter, r *http.Request) {
	s.answer(w, r, "text/html; charset=utf-8", func(b *bytes.Buffer, p *pageData) error {
		return p.write(b, nil, true)
	})
}

func (s *Server) data(w http.ResponseWriter, r *http.Request) {
	s.answer(w, r, "application/json", func(b *bytes.Buffer, p *pageData) error {
		return json.NewEncoder(b).Encode(p)
	})
}

// errNoTrial says that the report does not tell of a trial.
var errNoTrial = errors.New("no such trial")

func (s *Server) console(w http.ResponseWriter, r *http.Request) {
	s.answer(w, r, "text/plain; charset=utf-8", func(b *bytes.Buffer, p *pageData) error {
		t := p.trial(r.URL.Query().Get("trial"))
		if t == nil || t.Folder == "" {
			return errNoTrial
		}
		c, err := readConsole(s.files, *t)
		if err != nil {
			return err
		}
		b.WriteString(c.text)
		return nil
	})
}

// answer writes what write makes of what pages show, whole or not at all.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, kind string, write func(*bytes.Buffer, *pageData) error) {
	p, err := s.current(r.Context())
	var b bytes.Buffer
	if err == nil {
		err = write(&b, p)
	}
	switch {
	case errors.Is(err, errNoTrial) || errors.Is(err, fs.ErrNotExist):
		http.Error(w, "not found", http.StatusNotFound)
		return
	case err != nil:
		http.Error(w, text.OneLine(err.Error()), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", kind)
	_, _ = w.Write(b.Bytes()) // who asked may have gone
}

// beat is how often a page that is open is sent something, so that one that is
// gone is noticed.
const beat = 20 * time.Second

// events tells a page, for as long as it is open, that something has changed
// (server-sent events).
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	told := make(chan struct{}, 1)
	s.mu.Lock()
	s.listeners[told] = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.listeners, told)
		s.mu.Unlock()
	}()
	w.Header().Set("Content-Type", "text/event-stream")
	out := http.NewResponseController(w)
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	message := ": hello\n\n"
	for {
		if _, err := w.Write([]byte(message)); err != nil || out.Flush() != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-told:
			message = "event: changed\ndata: {}\n\n"
		case <-ticker.C:
			message = ": still here\n\n"
		}
	}
}

// A Service is a server for what is recorded in a results folder.
type Service struct {
	Root   string // results folder
	Listen string // address and port: 127.0.0.1:8080; port 0 is any that is free
	Words  []string
	Since  string
	Title  string
	Tool   string
	// More is served beside the report, by the pattern of an http.ServeMux.
	More map[string]http.HandlerFunc
	// Say is for people: where it listens, and what is wrong with the index.
	Say func(format string, args ...any)
}

// lookEvery is how often a service looks for what was recorded.
const lookEvery = time.Second

// ErrListen says that the address of a service can't be listened on.
var ErrListen = errors.New("can't listen")

// Serve serves until ctx ends, which is no error. The error wraps ErrSelect
// where the words are wrong, and ErrListen where the address is.
func (v Service) Serve(ctx context.Context) (err error) {
	host, _, err := net.SplitHostPort(v.Listen)
	if err != nil {
		return fmt.Errorf("%w on %q: want ADDRESS:PORT, such as 127.0.0.1:8080", ErrListen, v.Listen)
	}
	folder, err := os.OpenRoot(v.Root)
	if err != nil {
		return fmt.Errorf("open the results folder: %w", err)
	}
	defer func() { err = errors.Join(err, folder.Close()) }()
	index, err := results.OpenStore(ctx, v.Root, v.Say)
	if err != nil {
		return err
	}
	_, err = Select(ctx, index, v.Words, v.Since)
	if err = errors.Join(err, index.Close()); err != nil && !(errors.Is(err, store.ErrNone) && len(v.Words) == 0) {
		return err
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", v.Listen)
	if err != nil {
		return fmt.Errorf("%w on %s: %w", ErrListen, v.Listen, err)
	}
	looked := &Looked{} // by one load at a time: see Server.current
	s := NewServer(func(ctx context.Context) (Report, error) { return v.load(ctx, Files(folder), looked) }, Files(folder))
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
		s.hosts = []string{"localhost", "127.0.0.1", "::1", host}
	}
	for pattern, handler := range v.More {
		s.mux.HandleFunc(pattern, handler)
	}
	v.Say("the report is at http://%s/", l.Addr())
	return s.serve(ctx, l, folder)
}

// load makes the report of now. Where nothing is recorded yet it is empty.
func (v Service) load(ctx context.Context, files fs.FS, looked *Looked) (_ Report, err error) {
	index, err := results.OpenStore(ctx, v.Root, nil)
	if err != nil {
		return Report{}, err
	}
	defer func() { err = errors.Join(err, index.Close()) }()
	of, err := Select(ctx, index, v.Words, v.Since)
	if errors.Is(err, store.ErrNone) {
		return Report{Title: "No runs yet", Made: time.Now(), Tool: v.Tool}, nil
	}
	if err != nil {
		return Report{}, err
	}
	return Load(ctx, index, files, Options{Of: of, Title: v.Title, Tool: v.Tool, Made: time.Now(), Looked: looked})
}

// serve serves until ctx ends, and looks for what changes meanwhile.
func (s *Server) serve(ctx context.Context, l net.Listener, folder *os.Root) error {
	ctx, stop := context.WithCancel(ctx)
	changes := make(chan struct{})
	var work sync.WaitGroup
	work.Go(func() {
		defer close(changes)
		watch(ctx, folder, changes)
	})
	work.Go(func() { _ = s.follow(ctx, changes) }) // it ends with ctx
	web := &http.Server{
		Handler: s, ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 64 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	ended := context.AfterFunc(ctx, func() { _ = web.Close() })
	err := web.Serve(l)
	ended()
	interrupted := ctx.Err() != nil
	stop()
	work.Wait()
	if interrupted || errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve the report: %w", err)
}

// watch tells when what is recorded has changed.
func watch(ctx context.Context, folder *os.Root, changes chan<- struct{}) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for last := recorded(folder); ; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := recorded(folder)
		if now == last {
			continue
		}
		last = now
		select {
		case <-ctx.Done():
			return
		case changes <- struct{}{}:
		}
	}
}

// mostWatched bounds the runs whose files are looked at: the last ones.
const mostWatched = 50

// recorded names what is recorded: the last runs and bisections, and how far
// they have got.
func recorded(folder *os.Root) string {
	var b strings.Builder
	for _, dir := range []string{".", results.BisectionsDir} {
		entries, err := fs.ReadDir(folder.FS(), dir)
		if err != nil {
			continue // there is none yet
		}
		entries = slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return !e.IsDir() || strings.HasPrefix(e.Name(), ".") })
		fmt.Fprintln(&b, dir, len(entries))
		for _, e := range entries[max(0, len(entries)-mostWatched):] {
			for _, name := range []string{results.TrialsFile, "run.json", bisect.AnswerFile} {
				if info, err := folder.Lstat(path.Join(dir, e.Name(), name)); err == nil {
					fmt.Fprintln(&b, e.Name(), name, info.Size(), info.ModTime().UnixNano())
				}
			}
		}
	}
	return b.String()
}
