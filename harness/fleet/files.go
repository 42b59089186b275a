package fleet

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/blockrig/blockrig/harness/cachedir"
)

// files are what a hub has of others, by digest: artefacts, which clients send
// and workers fetch, and what comes back, the other way round.
type files struct {
	folder    *cachedir.Folder // of what comes back, and of parts
	artefacts *cachedir.Dir

	mu    sync.Mutex
	parts map[string]*part // by owner and digest
	back  map[string]*kept // by digest
	owned map[string]int64 // bytes that an owner has sent, and not given an outcome for
}

// A part is the beginning of a file.
type part struct {
	owner string
	size  int64 // of the whole file

	mu   sync.Mutex
	file *os.File
	sum  hash.Hash
	n    int64
	last time.Time
	over bool // it is whole, or was removed
}

// kept is a file that came back.
type kept struct {
	size int64
	refs int                  // outcomes that have it
	by   map[string]time.Time // who has sent it for an outcome to come, and when
}

// Limits of what a hub keeps.
const (
	artefactsLimit = 40 << 30         // bytes
	ownLimit       = 8 << 30          // of what one worker or client has sent for nothing, bytes
	mostParts      = 1000             // of files under way
	partAge        = 10 * time.Minute // after which a part is not gone on with
	backAge        = time.Hour        // after which a file's outcome does not come
	maxFileOutcome = 64 << 20         // an outcome that is a file, bytes
)

// artefactName is the file in an entry of the cache of artefacts.
const artefactName = "file"

func openFiles(ctx context.Context, dir string, log *slog.Logger) (*files, error) {
	root := filepath.Join(dir, "back")
	if err := cachedir.Sweep(ctx, root, "hub-", nil); err != nil {
		return nil, err
	}
	folder, err := cachedir.Scratch(ctx, root, "hub-")
	if err != nil {
		return nil, err
	}
	return &files{
		folder: folder, parts: map[string]*part{}, back: map[string]*kept{}, owned: map[string]int64{},
		artefacts: cachedir.New(filepath.Join(dir, "artefacts"), cachedir.Options{What: "artefact", Limit: artefactsLimit, MinAge: time.Hour, Log: log}),
	}, nil
}

func (s *files) close() error {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.parts {
		_ = p.file.Close() // what is half sent goes with the folder
	}
	return s.folder.Remove()
}

func (s *files) path(digest string) string { return filepath.Join(s.folder.Path(), digest) }

// has says whether a file has come back. The caller holds s.mu.
func (s *files) has(a Artefact) bool {
	k := s.back[a.SHA256]
	return k != nil && k.size == a.Size
}

// errNotHere says that a file was not sent.
var errNotHere = errors.New("it is not here: send it first")

// read gives a file that came back, when it is not too long.
func (s *files) read(a Artefact, most int64) ([]byte, error) {
	if a.Size > most {
		return nil, fmt.Errorf("a file of %d bytes: want %d at most", a.Size, most)
	}
	s.mu.Lock()
	here := s.has(a)
	s.mu.Unlock()
	if !here {
		return nil, errNotHere
	}
	return os.ReadFile(s.path(a.SHA256))
}

// claim makes files those of an outcome: all of them, or where one is not here,
// none.
func (s *files) claim(owner string, all []File) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range all {
		if !s.has(f.Artefact) {
			return fmt.Errorf("file %s of the outcome: %w", f.Name, errNotHere)
		}
	}
	for _, f := range all {
		k := s.back[f.SHA256]
		k.refs++
		s.disown(owner, k)
	}
	return nil
}

// disown takes a file from who has sent it. The caller holds s.mu.
func (s *files) disown(owner string, k *kept) {
	if _, ok := k.by[owner]; ok {
		delete(k.by, owner)
		s.own(owner, -k.size)
	}
}

// drop takes a file from an outcome, and removes it when it was the last.
func (s *files) drop(a Artefact) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.back[a.SHA256]; k != nil {
		k.refs--
		s.dropUnused(a.SHA256, k)
	}
}

func (s *files) dropUnused(digest string, k *kept) {
	if k.refs <= 0 && len(k.by) == 0 {
		delete(s.back, digest)
		_ = os.Remove(s.path(digest)) // or it goes with the folder
	}
}

// release removes what was sent for outcomes that do not come.
func (s *files) release(owner string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for digest, k := range s.back {
		s.disown(owner, k)
		s.dropUnused(digest, k)
	}
}

// Headers of answers about files.
const (
	haveHeader  = "Blockrig-Have"  // bytes that are there
	wholeHeader = "Blockrig-Whole" // it is there
)

// serve answers requests for /files/DIGEST from whom it came, who has the
// role: HEAD says how much is there, PUT adds a part, GET gives it.
func (s *files) serve(w http.ResponseWriter, r *http.Request, owner string, role Role) {
	digest := r.PathValue("digest")
	if !digestForm.MatchString(digest) {
		http.Error(w, "no digest", http.StatusBadRequest)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	var err error
	switch r.Method {
	case http.MethodHead:
		s.head(w, r, owner, role, digest)
		return
	case http.MethodPut:
		err = s.put(w, r, owner, role, digest)
	default:
		err = s.get(w, r, role, digest)
	}
	var status *statusError
	switch {
	case errors.As(err, &status):
		http.Error(w, status.Error(), status.code)
	case errors.Is(err, fs.ErrNotExist):
		http.Error(w, "not here", http.StatusNotFound)
	case err != nil:
		http.Error(w, "the hub can't: "+err.Error(), http.StatusInternalServerError)
	}
}

// A statusError is an HTTP status with its reason.
type statusError struct {
	code int
	why  string
}

func (e *statusError) Error() string { return e.why }

func (s *files) head(w http.ResponseWriter, r *http.Request, owner string, role Role, digest string) {
	s.mu.Lock()
	p, k := s.parts[owner+digest], s.back[digest]
	if role == RoleWorker && k != nil {
		s.keepFor(owner, k)
	}
	s.mu.Unlock()
	n := int64(0)
	switch {
	case role == RoleWorker && k != nil:
		n = k.size
		w.Header().Set(wholeHeader, "1")
	case role == RoleClient && s.hasArtefact(r.Context(), digest):
		w.Header().Set(wholeHeader, "1")
	case p != nil:
		p.mu.Lock()
		n = p.n
		p.mu.Unlock()
	}
	w.Header().Set(haveHeader, strconv.FormatInt(n, 10))
}

func (s *files) hasArtefact(ctx context.Context, digest string) bool {
	e, err := s.artefacts.Open(ctx, digest)
	return err == nil && e.Close() == nil
}

func (s *files) put(w http.ResponseWriter, r *http.Request, owner string, role Role, digest string) error {
	at, err1 := strconv.ParseInt(r.URL.Query().Get("at"), 10, 64)
	size, err2 := strconv.ParseInt(r.URL.Query().Get("size"), 10, 64)
	most := int64(maxBuilt)
	if role == RoleClient {
		most = maxFile
	}
	if errors.Join(err1, err2) != nil || at < 0 || size < 0 || size > most || r.ContentLength < 0 || r.ContentLength > maxPart || at+r.ContentLength > size {
		return &statusError{http.StatusBadRequest, "a part that can't be one"}
	}
	p, err := s.part(owner, digest, size)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over { // since it was asked for
		return &statusError{http.StatusServiceUnavailable, "try again"}
	}
	if p.n != at {
		w.Header().Set(haveHeader, strconv.FormatInt(p.n, 10))
		return &statusError{http.StatusConflict, "another part is next"}
	}
	in := &failedReader{in: io.LimitReader(r.Body, r.ContentLength)}
	n, err := io.Copy(io.MultiWriter(p.file, p.sum), in)
	p.n += n
	p.last = time.Now()
	if err != nil && in.err == nil { // the disk is full: what is there of it can't be gone on with
		s.mu.Lock()
		s.dropPart(owner+digest, p)
		s.mu.Unlock()
		return err
	}
	if err != nil || n < r.ContentLength {
		return errors.Join(err, &statusError{http.StatusBadRequest, "the part is not whole"})
	}
	w.Header().Set(haveHeader, strconv.FormatInt(p.n, 10))
	if p.n < size {
		return nil
	}
	p.over = true
	s.mu.Lock()
	delete(s.parts, owner+digest)
	s.mu.Unlock()
	name := p.file.Name()
	err = p.file.Close()
	if err == nil && hexOf(p.sum.Sum(nil)) != digest {
		err = &statusError{http.StatusUnprocessableEntity, "it has another digest"}
	}
	if err == nil {
		err = s.store(r.Context(), owner, role, digest, size, name)
	}
	s.mu.Lock()
	s.own(owner, -size) // of the part
	s.mu.Unlock()
	if err != nil {
		return errors.Join(err, os.Remove(name))
	}
	w.Header().Set(wholeHeader, "1")
	return nil
}

// part gives the beginning of a file that is being sent, or begins one.
func (s *files) part(owner, digest string, size int64) (*part, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.parts[owner+digest]; p != nil {
		if p.size != size {
			return nil, &statusError{http.StatusBadRequest, "a part of a file of another size"}
		}
		return p, nil
	}
	s.dropOld(time.Now())
	if s.owned[owner]+size > ownLimit || len(s.parts) >= mostParts {
		return nil, &statusError{http.StatusInsufficientStorage, "too much of it is here already"}
	}
	f, err := os.CreateTemp(s.folder.Path(), "part-")
	if err != nil {
		return nil, err
	}
	p := &part{owner: owner, size: size, file: f, sum: sha256.New(), last: time.Now()}
	s.parts[owner+digest] = p
	s.own(owner, size)
	return p, nil
}

// A failedReader keeps the error of what it reads from, so that it can be told
// from one of where that is written to.
type failedReader struct {
	in  io.Reader
	err error
}

func (r *failedReader) Read(p []byte) (int, error) {
	n, err := r.in.Read(p)
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}

// dropPart removes the beginning of a file. The caller holds s.mu and p.mu.
func (s *files) dropPart(key string, p *part) {
	p.over = true
	delete(s.parts, key)
	s.own(p.owner, -p.size)
	_, _ = p.file.Close(), os.Remove(p.file.Name()) // or it goes with the folder
}

// dropOld removes what nobody goes on with: beginnings of files, and files whose
// outcome did not come. The caller holds s.mu.
func (s *files) dropOld(now time.Time) {
	for key, p := range s.parts {
		if !p.mu.TryLock() {
			continue // it is being gone on with
		}
		if now.Sub(p.last) > partAge {
			s.dropPart(key, p)
		}
		p.mu.Unlock()
	}
	for digest, k := range s.back {
		for owner, at := range k.by {
			if now.Sub(at) > backAge {
				s.disown(owner, k)
			}
		}
		s.dropUnused(digest, k)
	}
}

// keepFor keeps a file until the outcome comes that it was sent for. The caller
// holds s.mu.
func (s *files) keepFor(owner string, k *kept) {
	if _, ok := k.by[owner]; !ok {
		s.own(owner, k.size)
	}
	k.by[owner] = time.Now()
}

// own counts bytes that an owner has sent. The caller holds s.mu.
func (s *files) own(owner string, n int64) {
	if s.owned[owner] += n; s.owned[owner] == 0 {
		delete(s.owned, owner)
	}
}

// store keeps a file that is whole and right.
func (s *files) store(ctx context.Context, owner string, role Role, digest string, size int64, name string) error {
	if role == RoleClient {
		e, err := s.artefacts.Get(ctx, digest, func(_ context.Context, dir string) error {
			return os.Rename(name, filepath.Join(dir, artefactName))
		})
		if err != nil {
			return err
		}
		_ = os.Remove(name) // somebody else was quicker
		return e.Close()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := os.Rename(name, s.path(digest)); err != nil {
		return err
	}
	k := s.back[digest]
	if k == nil {
		k = &kept{size: size, by: map[string]time.Time{}}
		s.back[digest] = k
	}
	s.keepFor(owner, k)
	return nil
}

func (s *files) get(w http.ResponseWriter, r *http.Request, role Role, digest string) error {
	path := s.path(digest)
	if role == RoleWorker {
		e, err := s.artefacts.Open(r.Context(), digest)
		if err != nil {
			return err
		}
		defer e.Close()
		path = filepath.Join(e.Path(), artefactName)
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close() // only read from
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", time.Time{}, f)
	return nil
}
