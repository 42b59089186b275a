package results

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/blockrig/blockrig/kernels"
	"github.com/blockrig/blockrig/results/store"
)

// OpenStore opens the index of the results folder at root, brought up to date
// with the run folders: a run or a part of one that is missing is added, one
// whose folder is gone is taken out. An index that can't be read is made anew,
// which is said; where none can be kept (there is no such folder, it can't be
// written to, another process holds a damaged one), a temporary one is made.
// say, which may be nil, is for people.
func OpenStore(ctx context.Context, root string, say func(format string, args ...any)) (*store.Store, error) {
	if say == nil {
		say = func(string, ...any) {}
	}
	switch _, err := os.Stat(root); {
	case errors.Is(err, fs.ErrNotExist):
		return openUpdated(ctx, root, store.OpenTemp)
	case err != nil:
		return nil, folderError(root, err)
	}
	kept := func(ctx context.Context) (*store.Store, error) { return store.Open(ctx, root) }
	s, err := openUpdated(ctx, root, kept)
	if errors.Is(err, store.ErrCorrupt) {
		say("%s; it is made anew from the run folders", err)
		if err = store.Remove(root); err == nil {
			s, err = openUpdated(ctx, root, kept)
		}
	}
	if err == nil || errors.Is(err, ErrFolder) || ctx.Err() != nil {
		return s, err
	}
	say("can't keep an index: %s; what is asked is looked for in the run folders, which takes longer", err)
	return openUpdated(ctx, root, store.OpenTemp)
}

// openUpdated opens a store, and brings it up to date with the folders at root.
func openUpdated(ctx context.Context, root string, open func(context.Context) (*store.Store, error)) (*store.Store, error) {
	s, err := open(ctx)
	if err != nil {
		return nil, err
	}
	if err := updateStore(ctx, s, root); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Reindex makes the index at root anew from the run folders, and gives how many
// runs and trials it has. Others may use it meanwhile, unless it is damaged.
func Reindex(ctx context.Context, root string) (runs, trials int, err error) {
	if _, err := os.Stat(root); err != nil {
		return 0, 0, folderError(root, err)
	}
	// While others use it, it can't be removed, only emptied.
	if err := store.Remove(root); err != nil && !errors.Is(err, store.ErrInUse) {
		return 0, 0, err
	}
	s, err := store.Open(ctx, root)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.Clear(ctx); err != nil {
		return 0, 0, err
	}
	if err := updateStore(ctx, s, root); err != nil {
		return 0, 0, err
	}
	all, err := s.Runs(ctx, store.Filter{})
	for _, r := range all {
		trials += r.Trials
	}
	return len(all), trials, err
}

// updateStore brings a store up to date with the folders at root.
func updateStore(ctx context.Context, s *store.Store, root string) error {
	folders, err := os.OpenRoot(root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return folderError(root, err)
	}
	defer folders.Close() // only read from
	ids, err := runIDs(folders)
	if err != nil {
		return err
	}
	marks, err := s.Marks(ctx)
	if err != nil {
		return err
	}
	for _, id := range ids {
		f := follower{store: s, folders: folders, root: root, id: id}
		if err := f.follow(ctx, marks[id]); err != nil {
			return err
		}
		delete(marks, id)
	}
	for id := range marks {
		if err := s.Drop(ctx, id); err != nil {
			return err
		}
	}
	return updateBisections(ctx, s, folders)
}

// follower reads the folder of a run into a store.
type follower struct {
	store   *store.Store
	folders *os.Root // of all runs
	root    string   // its path, for people
	id      string
}

// mostAtOnce bounds how many trials are in memory.
const mostAtOnce = 1000

// follow adds what the store lacks of the run; mark is where it is.
func (f follower) follow(ctx context.Context, mark store.Mark) error {
	for {
		err := f.add(ctx, mark)
		if !errors.Is(err, store.ErrOther) {
			return err
		}
		// Somebody else, such as the process whose run it is, was faster.
		if mark, err = f.store.Mark(ctx, f.id); err != nil {
			return err
		}
	}
}

// followNow is follow from wherever the store is.
func (f follower) followNow(ctx context.Context) error {
	mark, err := f.store.Mark(ctx, f.id)
	if err != nil {
		return err
	}
	return f.follow(ctx, mark)
}

func (f follower) add(ctx context.Context, mark store.Mark) error {
	files := f.files()
	if files.String() == mark.State {
		return nil
	}
	if mark.State != "" && !files.grewFrom(mark) {
		if err := f.store.Drop(ctx, f.id); err != nil {
			return err
		}
		mark = store.Mark{}
	}
	var info Info
	p := store.Part{From: mark, To: mark}
	p, info = f.head(p)
	p.To.State = files.String()
	file, err := openStored(f.folders, path.Join(f.id, TrialsFile), maxTrials)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return f.addFolders(ctx, p)
	case err != nil:
		f.problem(&p.Run, TrialsFile, err)
		p.To.Problems = p.Run.Problems
		return f.store.Add(ctx, p)
	}
	defer file.Close() // only read from
	if _, err := file.Seek(mark.Bytes, io.SeekStart); err != nil {
		return fmt.Errorf("read %s: %w", file.Name(), err)
	}
	return f.addLines(ctx, p, info, io.LimitReader(file, files.trials.size-mark.Bytes))
}

// addLines adds the trials of a TrialsFile from where in begins.
func (f follower) addLines(ctx context.Context, p store.Part, info Info, in io.Reader) error {
	sum := sha256.New()
	lines := bufio.NewReaderSize(io.TeeReader(in, sum), 64<<10)
	whole, state := p.From.Bytes == 0, p.To.State
	for {
		line, err := readLine(lines)
		if errors.Is(err, io.EOF) {
			break
		}
		place := fmt.Sprintf("%s:%d", TrialsFile, p.To.Lines+1)
		if err != nil {
			f.problem(&p.Run, place, err)
			break
		}
		p.To.Lines++
		p.To.Bytes += int64(len(line))
		rec, err := decode(line)
		if err != nil {
			f.problem(&p.Run, place, err)
			continue
		}
		p.Trials = append(p.Trials, f.trial(rec, p.To.Lines))
		if len(p.Trials) == mostAtOnce {
			// Not all is there yet: the files still need a look.
			p.To.State, p.To.Problems = "unfinished", p.Run.Problems
			if err := f.store.Add(ctx, p); err != nil {
				return err
			}
			p = store.Part{Run: p.Run, From: p.To, To: p.To}
		}
	}
	if whole {
		if err := info.damage(p.To.Lines, hex.EncodeToString(sum.Sum(nil))); err != nil {
			note(&p.Run, err)
		}
	}
	p.To.State, p.To.Problems = state, p.Run.Problems
	return f.store.Add(ctx, p)
}

// addFolders adds the trials of a run without a TrialsFile: an old one, or one
// that was damaged.
func (f follower) addFolders(ctx context.Context, p store.Part) error {
	for _, rec := range readFolders(f.folders, f.id, func(name string, err error) { f.problem(&p.Run, name, err) }) {
		p.To.Lines++
		p.Trials = append(p.Trials, f.trial(rec, p.To.Lines))
	}
	p.To.Problems = p.Run.Problems
	return f.store.Add(ctx, p)
}

// note counts a problem with a run.
func note(r *store.Run, err error) {
	if r.Problems++; r.Problems == 1 {
		r.Problem = err.Error()
	}
}

func (f follower) problem(r *store.Run, name string, err error) {
	note(r, notReadable(f.root, f.id, name, err))
}

// head adds what the run's own files say of it to a part.
func (f follower) head(p store.Part) (store.Part, Info) {
	r := &p.Run
	info, req, asked := readHead(f.folders, f.id, func(name string, err error) { f.problem(r, name, err) })
	started := info.Started
	if started.IsZero() { // run.json can't be read
		started = startOf(f.id)
	}
	r.ID, r.Command, r.Verb, r.Started, r.Finished = f.id, info.Command, req.Verb, started, info.Finished
	r.Night, r.Asked, r.Digest = store.NightOf(started), asked, info.Digest
	if p.From.State == "" { // else they are in the store
		for _, s := range req.Scenarios {
			for _, c := range s.Cases {
				p.Cases = append(p.Cases, store.CaseID{Scenario: s.Name, Case: c})
			}
		}
	}
	for _, k := range req.Kernels {
		p.Refs = append(p.Refs, k.Ref)
		if !strings.HasPrefix(k.Ref, "git:") {
			continue
		}
		b := req.Build
		p.Builds = append(p.Builds, store.Build{
			Run: f.id, Kernel: k.Ref, Exact: k.Exact, Digest: k.Digest, CC: b.CC, Config: b.Config, Fragments: b.Fragments, Patches: b.Patches,
		})
	}
	return p, info
}

// startOf is when the run of an ID began.
func startOf(id string) time.Time {
	text, _, _ := strings.Cut(id, "-")
	t, err := time.Parse(idTime, text)
	if err != nil {
		return time.Time{}
	}
	return t
}

// trial is a record as it is in the store. Where its folder is gone, it has
// none.
func (f follower) trial(r Record, line int) store.Trial {
	t := store.Trial{
		Run: f.id, Task: r.Task, Line: line, Started: r.Started,
		Kernel:   store.Kernel{Ref: r.Kernel.Ref, Exact: r.Kernel.Exact, Release: r.Kernel.Release, Digest: r.Kernel.Digest, Commit: commitOf(r.Kernel.Exact)},
		Scenario: r.Scenario, Case: r.Case,
		Verdict: r.Verdict, Also: r.Also, Signature: r.Signature, Titles: r.Signature.Titles, Phase: r.Phase,
		Reason: r.Reason, Outcome: r.Outcome, Errno: r.Errno, Bytes: r.Bytes,
		Accel: r.Accel, CPUs: r.CPUs, Warm: r.Warm, BootID: r.BootID,
		BootMS: r.BootMS, TrialMS: r.TrialMS, GuestMS: r.GuestMS, TookMS: r.Took().Milliseconds(), Attempts: len(r.Attempts),
	}
	if r.Worker != nil {
		t.Worker, t.WaitMS = store.Worker{Name: r.Worker.Name, CPU: r.Worker.CPU}, r.Worker.WaitMS
	}
	if dir := r.RunDir; isTrialDir(dir) {
		if info, err := f.folders.Lstat(path.Join(f.id, dir)); err == nil && info.IsDir() {
			t.Dir = dir
		}
	}
	for _, g := range r.Findings {
		t.Findings = append(t.Findings, store.Finding(g))
	}
	return t
}

// isTrialDir tells whether a name that was read can be that of a trial's folder.
func isTrialDir(name string) bool {
	return name != "" && filepath.IsLocal(name) && !strings.ContainsAny(name, "/\\") && name[0] != '.'
}

// commitOf is the full hash at the end of a reference to a commit; "" without.
func commitOf(exact string) string {
	if git, ok := kernels.CutGit(exact); ok && fullHash.FindString(git.Rev) == git.Rev {
		return git.Rev
	}
	return ""
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// fileState names a file as it is.
type fileState struct{ size, changed int64 } // nanoseconds since 1970

func (s fileState) String() string { return fmt.Sprintf("%d.%d", s.size, s.changed) }

// runFiles are those of a run that the index is made of.
type runFiles struct{ info, request, trials fileState }

func (r runFiles) String() string {
	return fmt.Sprintf("%s %s %s", r.info, r.request, r.trials)
}

// grewFrom tells whether nothing has happened to the trials since the mark but
// that lines were added.
func (r runFiles) grewFrom(mark store.Mark) bool {
	switch {
	case mark.Problems > 0 || mark.Bytes == 0 || r.trials.size < mark.Bytes:
		return false
	case r.trials.size > mark.Bytes:
		return true
	}
	_, before, _ := cutLast(mark.State, " ")
	return before == r.trials.String()
}

func (f follower) files() runFiles {
	state := func(name string) (s fileState) {
		if info, err := f.folders.Lstat(path.Join(f.id, name)); err == nil {
			s.size, s.changed = info.Size(), info.ModTime().UnixNano()
		}
		return s
	}
	return runFiles{state(infoFile), state(requestFile), state(TrialsFile)}
}
