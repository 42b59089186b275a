package bisect

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/blockrig/blockrig/harness/cachedir"
)

// Files of a state folder.
const (
	fileRequest = "request.json"   // what was asked for; written once, last, when the folder is made
	fileTrials  = "trials.jsonl"   // one line per kernel prepared and per trial, in order
	fileMarks   = "marks.json"     // the marks so far, for people; follows from the trials
	fileLog     = "git-bisect.log" // git bisect's own log; follows from the marks
	fileStop    = "stop.json"      // instead, when it ended without one
	dirWorktree = "worktree"
)

// Files of a state folder that say what the search found.
const (
	AnswerFile = "answer.json" // the Answer
	ReportFile = "report.txt"  // the text to send, what Report gives
)

// A State is a folder that holds a search: it can be stopped at any moment,
// kill -9 and power loss included, and resumed with every trial that was
// finished.
type State struct {
	folder *cachedir.Folder
	root   *os.Root

	// With several builders, kernels are tried at once.
	mu    sync.Mutex
	file  *os.File
	lines map[Subject][]entry // recorded, not yet asked for again
	asked int                 // requests so far
	fail  error               // a write that failed: nothing may follow it
}

// entry is a line of trials.jsonl: a kernel prepared, or a trial.
type entry struct {
	Subject
	// Request numbers what was asked of the tester. Going on, a request
	// gets the lines of one earlier request, so that the search sees its
	// trials in the same portions and takes the same turns.
	Request  int       `json:"request"`
	Prepared *Prepared `json:"prepared,omitempty"`
	Trial    *Outcome  `json:"trial,omitempty"`
}

// CreateState makes a folder for a search that request describes. The folder
// must not exist, or be empty. The error wraps [cachedir.ErrBusy] when another
// process is just making it.
func CreateState(dir string, request any) (*State, error) {
	data, err := json.MarshalIndent(request, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write the request: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make %s: %w", dir, err)
	}
	s, err := holdState(dir)
	if err != nil {
		return nil, err
	}
	fail := func(err error) (*State, error) { return nil, errors.Join(err, s.Close()) }
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fail(fmt.Errorf("look into %s: %w", dir, err))
	}
	if slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.Name() == fileRequest }) {
		return fail(fmt.Errorf("%s holds a bisection already; resume it (bisect resume) or name another folder", dir))
	}
	for _, e := range entries {
		// A folder without a request is one whose making was cut short.
		switch e.Name() {
		case fileTrials, ".blockrig.lock", ".new-" + fileRequest:
		default:
			return fail(fmt.Errorf("%s is not empty", dir))
		}
	}
	s.file, err = s.root.OpenFile(fileTrials, os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fail(fmt.Errorf("make %s: %w", fileTrials, err))
	}
	if err := cachedir.WriteFile(s.root, fileRequest, append(data, '\n')); err != nil {
		return fail(err)
	}
	return s, nil
}

// OpenState resumes a search and reads its request into request. The error
// wraps [cachedir.ErrBusy] when another process has it open.
func OpenState(dir string, request any) (*State, error) {
	if !Begun(dir) {
		return nil, fmt.Errorf("%s holds no bisection (no %s in it)", dir, fileRequest)
	}
	s, err := holdState(dir)
	if err != nil {
		return nil, err
	}
	if err := s.load(request); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func holdState(dir string) (*State, error) {
	f, err := cachedir.Hold(dir)
	if err != nil {
		return nil, fmt.Errorf("bisection in %s: %w", dir, err)
	}
	root, err := os.OpenRoot(f.Path())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", dir, err), f.Release())
	}
	return &State{folder: f, root: root, lines: make(map[Subject][]entry)}, nil
}

func (s *State) load(request any) error {
	data, err := s.root.ReadFile(fileRequest)
	if err != nil {
		return fmt.Errorf("read %s: %w", fileRequest, err)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(request); err != nil {
		return fmt.Errorf("%s: %w", filepath.Join(s.Dir(), fileRequest), err)
	}
	s.file, err = s.root.OpenFile(fileTrials, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("open %s: %w", fileTrials, err)
	}
	r := bufio.NewReader(s.file)
	var good int64
	for n := 1; ; n++ {
		line, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			// A line without an end was being written when the power
			// went: its trial was not finished.
			if len(line) > 0 {
				if err := s.file.Truncate(good); err != nil {
					return fmt.Errorf("cut the unfinished line of %s: %w", fileTrials, err)
				}
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", fileTrials, err)
		}
		good += int64(len(line))
		var e entry
		dec := json.NewDecoder(bytes.NewReader(line))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&e); err != nil {
			return fmt.Errorf("%s:%d: %w", filepath.Join(s.Dir(), fileTrials), n, err)
		}
		if e.Commit == "" || (e.Prepared == nil) == (e.Trial == nil) {
			return fmt.Errorf("%s:%d: neither a kernel nor a trial", filepath.Join(s.Dir(), fileTrials), n)
		}
		s.lines[e.Subject] = append(s.lines[e.Subject], e)
		s.asked = max(s.asked, e.Request)
	}
}

// Dir is the state's folder, an absolute path.
func (s *State) Dir() string { return s.folder.Path() }

// Worktree is the folder for git's own bisect.
func (s *State) Worktree() string { return filepath.Join(s.Dir(), dirWorktree) }

// Close lets go of the folder.
func (s *State) Close() error {
	var err error
	if s.file != nil {
		err = s.file.Close()
	}
	return errors.Join(err, s.root.Close(), s.folder.Release())
}

// append adds a line to the trials; when it returns, the line outlives a
// power loss.
func (s *State) append(e entry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return s.fail
	}
	line, err := json.Marshal(e)
	if err == nil {
		_, err = s.file.Write(append(line, '\n'))
	}
	if err == nil {
		err = s.file.Sync()
	}
	if err != nil {
		// Part of a line may be there; another one after it could not be
		// read again.
		s.fail = fmt.Errorf("record a trial in %s: %w", s.Dir(), err)
	}
	return s.fail
}

// Run searches with the state: trials that it has are not done again, every
// other one is recorded before the next begins.
func (s *State) Run(ctx context.Context, cfg Config, h History, t Tester) (*Answer, error) {
	progress := cfg.Progress
	var failed error
	cfg.Progress = func(e Event) {
		if e.Record != nil && e.Marks != nil {
			failed = errors.Join(failed, s.saveMarks(ctx, e.Marks, h))
		}
		if progress != nil {
			progress(e)
		}
	}
	a, err := Run(ctx, cfg, h, s.tester(t))
	if err = errors.Join(err, failed); err != nil {
		switch stop, ok := errors.AsType[*StopError](err); {
		case ok && stop.Kind == StopTrouble:
			err = errors.Join(err, s.dropErrors())
		case ok:
			err = errors.Join(err, s.saveJSON(fileStop, stop))
		}
		return nil, err
	}
	if err := s.save(a); err != nil {
		return nil, err
	}
	return a, nil
}

// dropErrors takes the trials that this machine spoilt out of the record: the
// search stopped for them, and makes them again when it is resumed.
func (s *State) dropErrors() error {
	data, err := s.root.ReadFile(fileTrials)
	if err != nil {
		return fmt.Errorf("read %s: %w", fileTrials, err)
	}
	var kept []byte
	for line := range bytes.Lines(data) {
		var e entry
		if err := json.Unmarshal(line, &e); err != nil {
			return fmt.Errorf("read %s: %w", fileTrials, err)
		}
		if e.Trial == nil || !e.Trial.Host {
			kept = append(kept, line...)
		}
	}
	return cachedir.WriteFile(s.root, fileTrials, kept)
}

// Begun tells whether dir holds a search, ended or not.
func Begun(dir string) bool { return has(dir, fileRequest) }

// Ended tells whether the search in dir has ended, with an answer or
// without one.
func Ended(dir string) bool { return has(dir, AnswerFile) || has(dir, fileStop) }

func has(dir, name string) bool {
	_, err := os.Stat(filepath.Join(dir, name))
	return err == nil
}

// ReadState reads the request of the search in dir, and its answer: the error
// wraps fs.ErrNotExist where there is none yet. Another process may have it
// open.
func ReadState(dir string, request any) (*Answer, error) {
	a := &Answer{}
	for _, f := range []struct {
		name string
		into any
	}{{fileRequest, request}, {AnswerFile, a}} {
		data, err := os.ReadFile(filepath.Join(dir, f.name))
		if err == nil {
			err = json.Unmarshal(data, f.into)
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", filepath.Join(dir, f.name), err)
		}
	}
	return a, nil
}

// RemoveState removes the folder of a search, which nobody may have open.
func RemoveState(dir string) error {
	if !Begun(dir) {
		return fmt.Errorf("%s holds no bisection (no %s in it)", dir, fileRequest)
	}
	f, err := cachedir.Hold(dir)
	if err != nil {
		return fmt.Errorf("bisection in %s: %w", dir, err)
	}
	return f.Remove()
}

func (s *State) saveMarks(ctx context.Context, marks []Record, h History) error {
	if err := s.saveJSON(fileMarks, marks); err != nil {
		return err
	}
	log, err := h.Log(ctx)
	if err != nil {
		return err
	}
	return cachedir.WriteFile(s.root, fileLog, []byte(log))
}

func (s *State) save(a *Answer) error {
	if err := s.saveJSON(fileMarks, a.Marks); err != nil {
		return err
	}
	if err := cachedir.WriteFile(s.root, fileLog, []byte(a.Log)); err != nil {
		return err
	}
	return s.saveJSON(AnswerFile, a)
}

func (s *State) saveJSON(name string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return cachedir.WriteFile(s.root, name, append(data, '\n'))
}

// recorder is a tester that answers from the state as long as it can.
type recorder struct {
	state *State
	Tester
}

// inspectingRecorder is a recorder whose tester is an Inspector.
type inspectingRecorder struct {
	recorder
	Inspector
}

func (s *State) tester(t Tester) Tester {
	r := recorder{s, t}
	if i, ok := t.(Inspector); ok {
		return inspectingRecorder{r, i}
	}
	return r
}

// take gives the next recorded line of a subject if it is of the wanted sort
// and, with a request of more than 0, of that request.
func (s *State) take(sub Subject, prepared bool, request int) (entry, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.lines[sub]
	if len(list) == 0 || (list[0].Prepared != nil) != prepared || request > 0 && list[0].Request != request {
		return entry{}, false
	}
	s.lines[sub] = list[1:]
	return list[0], true
}

// recorded counts the lines of a subject that were not asked for again.
func (s *State) recorded(sub Subject) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.lines[sub])
}

// newRequest numbers a request.
func (s *State) newRequest() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	return s.asked
}

func (r recorder) Prepare(ctx context.Context, sub Subject) (Prepared, error) {
	if e, ok := r.state.take(sub, true, 0); ok {
		return *e.Prepared, nil
	}
	p, err := r.Tester.Prepare(ctx, sub)
	if err != nil {
		return p, err
	}
	if p.Failure == KindError {
		return p, nil // trouble with the machine: another time there may be one
	}
	return p, r.state.append(entry{Subject: sub, Request: r.state.newRequest(), Prepared: &p})
}

func (r recorder) Test(ctx context.Context, req Request, record func(Outcome) error) error {
	left := req.Boots * req.Runs
	// A tester may end a request early when an outcome is no verdict, and
	// others that were under way may come after that one.
	request, void := 0, false
	for left > 0 {
		e, ok := r.state.take(req.Subject, false, request)
		if !ok {
			break
		}
		if err := record(*e.Trial); err != nil {
			return err
		}
		request, void = e.Request, void || e.Trial.Kind != KindVerdict
		if e.Trial.Boot != "" && !slices.Contains(req.Used, e.Trial.Boot) {
			req.Used = append(slices.Clip(req.Used), e.Trial.Boot)
		}
		left--
	}
	// What comes next was recorded for a later request.
	if left == 0 || request > 0 && (void || r.state.recorded(req.Subject) > 0) {
		return nil
	}
	if request == 0 {
		request = r.state.newRequest()
	}
	// What is missing of a boot that was cut short is made up for by a boot
	// of its own.
	keep := func(o Outcome) error {
		void = void || o.Kind != KindVerdict
		if o.Boot != "" && !slices.Contains(req.Used, o.Boot) {
			req.Used = append(slices.Clip(req.Used), o.Boot)
		}
		if err := r.state.append(entry{Subject: req.Subject, Request: request, Trial: &o}); err != nil {
			return err
		}
		return record(o)
	}
	for _, part := range []struct{ boots, runs int }{{1, left % req.Runs}, {left / req.Runs, req.Runs}} {
		if part.boots*part.runs == 0 || void {
			continue
		}
		part := Request{Subject: req.Subject, Boots: part.boots, Runs: part.runs, Used: req.Used}
		if err := r.Tester.Test(ctx, part, keep); err != nil {
			return err
		}
	}
	return nil
}
