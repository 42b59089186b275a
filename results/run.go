package results

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/blockrig/blockrig/harness/cachedir"
	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/harness/trial"
)

// Names inside a run's folder. Those with a dot are hidden from readers.
const (
	infoFile    = "run.json"
	requestFile = "request.json"
	tempPrefix  = ".trial-"
)

// runID is UTC time to the millisecond, which sorts as text, and five random
// characters.
var runID = regexp.MustCompile("^" + idPattern + "$")

const idPattern = `[0-9]{8}T[0-9]{6}\.[0-9]{3}Z-[a-z2-7]{8}`

// idTime is the time in an ID.
const idTime = "20060102T150405.000Z"

// NewID names a run, or a bisection, that begins now: IDs sort by time.
func NewID(now time.Time) string {
	random := make([]byte, 5)
	rand.Read(random) // never fails (crypto/rand)
	return now.UTC().Format(idTime) + "-" + strings.ToLower(base32.StdEncoding.EncodeToString(random))
}

// Info is what run.json says.
type Info struct {
	ID       string    `json:"id"`
	Command  []string  `json:"command"` // with its arguments
	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished,omitzero"` // zero: it is under way, or its process died
	// Of one that has ended: how many trials are in TrialsFile, and the
	// SHA-256 of that file.
	Trials int    `json:"trials,omitempty"`
	Digest string `json:"trials_sha256,omitempty"`
}

var (
	// ErrFolder says that the results folder is none that can be used.
	ErrFolder = errors.New("results folder")
	// ErrUnderWay says that another process is at work on a run.
	ErrUnderWay = errors.New("the run is still under way")
)

// A Run records the trials of one command. Its methods may be called by
// several goroutines at once. Close ends it.
type Run struct {
	folder *cachedir.Folder

	mu      sync.Mutex
	info    Info
	request Request
	folders int // of trials, begun
	stored  int
	places  int // given to trials
	begun   map[int]begun
	kept    map[string]bool // groups of which a folder is kept
	resumed bool
	closed  bool

	index    *follower // nil when it has none
	indexErr error
}

// begun is a trial that is under way.
type begun struct {
	job    trial.Job
	folder *folder // nil when it could not be made
}

// Create begins a run in the store at root, which is made where it is
// missing.
func Create(ctx context.Context, root string, req Request) (*Run, error) {
	now := time.Now().UTC().Truncate(time.Millisecond)
	r := &Run{info: Info{ID: NewID(now), Command: req.Command, Started: now}, request: req}
	r.places, r.begun, r.kept = req.Trials(), map[int]begun{}, map[string]bool{}
	var err error
	r.folder, err = cachedir.Create(ctx, filepath.Join(root, r.info.ID), func(dir string) error {
		err := writeFile(dir, infoFile, r.info)
		if err == nil && req.Verb != "" {
			err = writeFile(dir, requestFile, req)
		}
		return err
	})
	if err != nil {
		return nil, folderError(root, err)
	}
	if !req.Apart {
		r.openIndex(ctx, root)
	}
	return r, nil
}

// folderError says when it is the folder that was named that can't be used.
func folderError(root string, err error) error {
	if info, serr := os.Stat(root); serr == nil && !info.IsDir() {
		err = syscall.ENOTDIR
	}
	for _, of := range []error{syscall.ENOTDIR, syscall.ENOENT, syscall.EACCES, syscall.EPERM, syscall.EROFS, syscall.ELOOP, syscall.ENAMETOOLONG, syscall.EINVAL} {
		if errors.Is(err, of) {
			return fmt.Errorf("%w %s: %w; name another with --results DIR", ErrFolder, root, of)
		}
	}
	return fmt.Errorf("use the results folder: %w", err)
}

// Resume continues a run that has ended, or whose process died: one that Show
// finds by id. It gives what is stored of it, too.
func Resume(ctx context.Context, root, id string) (_ *Run, _ Stored, err error) {
	s, err := Show(root, id)
	if err != nil {
		return nil, s, err
	}
	r := &Run{begun: map[int]begun{}, kept: map[string]bool{}, resumed: true}
	r.folder, err = cachedir.Hold(filepath.Join(root, s.ID))
	if errors.Is(err, cachedir.ErrBusy) {
		err = fmt.Errorf("%w: %s", ErrUnderWay, s.ID)
	}
	if err != nil {
		return nil, s, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("resume run %s: %w", s.ID, err), r.folder.Release())
		}
	}()
	// What a process that died did not finish.
	if err := errors.Join(removeTemps(r.Dir()), cutUnfinishedLine(r.Dir())); err != nil {
		return nil, s, err
	}
	if s, err = Show(root, s.ID); err != nil {
		return nil, s, err
	}
	if s.Damaged != nil {
		return nil, s, fmt.Errorf("%w: %w; begin a new run", ErrCantResume, s.Damaged)
	}
	r.info, r.request = s.Info, s.Request
	r.info.Finished, r.info.Trials, r.info.Digest = time.Time{}, 0, ""
	r.stored, r.folders, r.places = len(s.Records), len(s.Records), s.Request.Trials()
	for _, rec := range s.unlisted {
		if err := r.append(rec); err != nil {
			return nil, s, err
		}
	}
	for _, rec := range s.Records {
		r.kept[groupOf(rec)] = r.kept[groupOf(rec)] || rec.RunDir != ""
	}
	entries, err := os.ReadDir(r.Dir())
	if err != nil {
		return nil, s, err
	}
	for _, e := range entries {
		r.folders = max(r.folders, numberOf(e.Name()))
	}
	if err := writeFile(r.Dir(), infoFile, r.info); err != nil {
		return nil, s, err
	}
	r.openIndex(ctx, root)
	return r, s, nil
}

// numberOf is that which the name of a trial's folder begins with.
func numberOf(name string) int {
	digits := len(name) - len(strings.TrimLeft(name, "0123456789"))
	n, err := strconv.Atoi(name[:digits])
	if err != nil {
		return 0
	}
	return n
}

// writeFile puts v into a file, whole or not at all.
func writeFile(dir, name string, v any) (err error) {
	line, err := text.JSONLine(v)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	return cachedir.WriteFile(root, name, line)
}

// ID names the run; IDs sort by time.
func (r *Run) ID() string { return r.info.ID }

// Dir is the run's folder, absolute.
func (r *Run) Dir() string { return r.folder.Path() }

// Places gives the first of n places for trials that the request does not
// have, such as those of a bisection.
func (r *Run) Places(n int) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.places += n
	return r.places - n
}

// Prepared notes which kernels the references of the request stand for. The
// error wraps ErrCantResume when one of them is not what it was before.
func (r *Run) Prepared(jobs []trial.Queued) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	changed := false
	for _, j := range jobs {
		if j.Err != nil {
			continue
		}
		is, err := r.request.note(j.Kernel)
		if err != nil {
			return err
		}
		changed = changed || is
	}
	if !changed || r.request.Verb == "" {
		return nil
	}
	if err := writeFile(r.Dir(), requestFile, r.request); err != nil {
		return fmt.Errorf("keep the run's request: %w", err)
	}
	return nil
}

// Begin gives the folder for what a trial writes. Its place is that among
// those that were asked for, or one of Places.
func (r *Run) Begin(place int, j trial.Job) (dir string, err error) {
	f, err := r.newFolder()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.begun[place] = begun{j, f}
	if err != nil {
		return "", err
	}
	return f.dir, nil
}

// End records a trial that has begun. Of the repeats of a case that ended
// alike, only the first keeps its folder.
func (r *Run) End(place int, o trial.Outcome) (Record, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b, ok := r.begun[place]
	if !ok {
		return Record{}, fmt.Errorf("record trial %d: it did not begin", place)
	}
	delete(r.begun, place)
	rec := FromTrial(b.job, o)
	rec.Task = place
	group := groupOf(rec)
	var err error
	switch {
	case r.closed:
		err = errors.New("the run has ended")
	case b.folder == nil:
		err = r.append(rec)
	case r.request.Repeat > 1 && r.kept[group]:
		if err = b.folder.discard(); err == nil {
			err = r.append(rec)
		}
	default:
		if err = b.folder.keep(b.job); err == nil {
			rec, err = b.folder.store(rec)
		}
		r.kept[group] = err == nil
	}
	if err != nil {
		return rec, fmt.Errorf("record a trial: %w", err)
	}
	r.stored++
	r.updateIndex()
	return rec, nil
}

// Close ends the run. A new one without a single stored trial leaves nothing
// behind.
func (r *Run) Close() (err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil
	}
	r.closed = true
	defer r.closeIndex()
	switch {
	case r.stored == 0 && r.resumed:
		return r.folder.Release()
	case r.stored == 0:
		return r.folder.Remove()
	}
	r.info.Finished = time.Now().UTC().Truncate(time.Millisecond)
	r.info.Trials = r.stored
	if r.info.Digest, err = sumFile(filepath.Join(r.Dir(), TrialsFile)); err == nil {
		err = writeFile(r.Dir(), infoFile, r.info)
	}
	r.updateIndex()
	if err = errors.Join(err, removeTemps(r.Dir()), r.folder.Release()); err != nil {
		return fmt.Errorf("end run %s: %w", r.info.ID, err)
	}
	return nil
}

// removeTemps removes the hidden folders of trials that nobody finished.
func removeTemps(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), tempPrefix) {
			errs = append(errs, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(errs...)
}

// Sweep removes from the store at root what processes that died left: folders
// of trials that were not finished, and runs that stored none. It leaves
// alone what a living process holds.
func Sweep(ctx context.Context, root string) error {
	err := cachedir.Sweep(ctx, root, "", func(f *cachedir.Folder) error {
		if !runID.MatchString(filepath.Base(f.Path())) {
			return f.Release()
		}
		if err := removeTemps(f.Path()); err != nil {
			return errors.Join(err, f.Release())
		}
		entries, err := os.ReadDir(f.Path())
		if err != nil {
			return errors.Join(err, f.Release())
		}
		for _, e := range entries {
			if e.IsDir() || e.Name() == TrialsFile {
				return f.Release()
			}
		}
		return f.Remove()
	})
	if err != nil {
		return folderError(root, err)
	}
	return nil
}
