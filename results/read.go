package results

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"

	"github.com/blockrig/blockrig/harness/text"
)

// maxStored is the size of the largest result.json or run.json that is read,
// in bytes.
const maxStored = 4 << 20

// A Stored is a run as it lies in the store.
type Stored struct {
	Info
	Records []Record `json:"-"` // in the order in which they were asked for
	Request Request  `json:"-"` // one without a verb: it has none
	Asked   int      `json:"-"` // trials that were asked for; 0: not known
	Broken  []error  `json:"-"` // what can't be read, and why
	// Damaged says that the trials are not all that were recorded before the
	// run ended, or not what was recorded; nil when they are.
	Damaged error `json:"-"`

	// unlisted are trials whose folder is there, and no line of TrialsFile: the
	// process died between the two.
	unlisted []Record
}

// Problems are all that is wrong with the run as it lies in the store, the
// worst first.
func (s Stored) Problems() []error {
	if s.Damaged != nil {
		return append([]error{s.Damaged}, s.Broken...)
	}
	return s.Broken
}

// ErrNoRun says that the store has no such run.
var ErrNoRun = errors.New("no such run")

// Show reads one run: by its ID, the beginning of its ID where that is enough
// to tell, or "last". A run whose run.json can't be read has its ID and the
// reason in Broken.
func Show(root, id string) (Stored, error) {
	store, err := os.OpenRoot(root)
	if errors.Is(err, fs.ErrNotExist) {
		return Stored{}, fmt.Errorf("%w: there are none in %s", ErrNoRun, root)
	}
	if err != nil {
		return Stored{}, folderError(root, err)
	}
	defer store.Close() // only read from
	ids, err := runIDs(store)
	if err != nil {
		return Stored{}, err
	}
	found, err := pick(ids, id, root)
	if err != nil {
		return Stored{}, err
	}
	return readRun(store, root, found), nil
}

// Meant are those of ids, the oldest first, that a word of the user's may stand
// for: an ID, the beginning of one, or "last".
func Meant(ids []string, word string) (found []string) {
	if word == "last" {
		return ids[max(0, len(ids)-1):]
	}
	for _, id := range ids {
		if word != "" && strings.HasPrefix(id, word) {
			found = append(found, id)
		}
	}
	return found
}

func pick(ids []string, id, root string) (string, error) {
	if len(ids) == 0 {
		return "", fmt.Errorf("%w: there are none in %s", ErrNoRun, root)
	}
	last := ids[len(ids)-1]
	found := Meant(ids, id)
	switch len(found) {
	case 0:
		return "", fmt.Errorf("%w: %q; the last one is %s", ErrNoRun, id, last)
	case 1:
		return found[0], nil
	default:
		return "", fmt.Errorf("%w: %q is the beginning of %d runs; the last of them is %s", ErrNoRun, id, len(found), found[len(found)-1])
	}
}

func runIDs(store *os.Root) ([]string, error) {
	entries, err := fs.ReadDir(store.FS(), ".")
	if err != nil {
		return nil, fmt.Errorf("list runs: %w", err)
	}
	var ids []string
	for _, e := range entries {
		if e.IsDir() && runID.MatchString(e.Name()) {
			ids = append(ids, e.Name())
		}
	}
	slices.Sort(ids)
	return ids, nil
}

func readRun(store *os.Root, root, id string) Stored {
	s := Stored{}
	broken := func(name string, err error) { s.Broken = append(s.Broken, notReadable(root, id, name, err)) }
	s.Info, s.Request, s.Asked = readHead(store, id, broken)
	folders := map[string]Record{}
	for _, rec := range readFolders(store, id, broken) {
		name := rec.RunDir
		rec.RunDir = path.Join(root, id, name)
		folders[name] = rec
		s.Records = append(s.Records, rec)
	}
	s.readTrials(store, folders, broken)
	slices.SortStableFunc(s.Records, func(a, b Record) int { return cmp.Compare(a.Task, b.Task) })
	return s
}

// readFolders reads the trials of a run that have a folder, whose name is their
// RunDir: a store may have been moved, and what it says of its own place is not
// to be believed.
func readFolders(store *os.Root, id string, broken func(name string, err error)) []Record {
	entries, err := fs.ReadDir(store.FS(), id)
	if err != nil {
		broken("", err)
	}
	var out []Record
	for _, e := range entries {
		if !e.IsDir() || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		name := path.Join(e.Name(), ResultFile)
		src, err := readStored(store, path.Join(id, name))
		var rec Record
		if err == nil {
			rec, err = decode(src)
		}
		if err != nil {
			broken(name, err)
			continue
		}
		rec.RunDir = e.Name()
		out = append(out, rec)
	}
	return out
}

// notReadable is the error of a file of a run.
func notReadable(root, id, name string, err error) error {
	return fmt.Errorf("read %s: %w", text.Escape(path.Join(root, id, name)), err)
}

// readHead reads what a run's own files say of it. What can't be read is empty.
func readHead(store *os.Root, id string, broken func(name string, err error)) (info Info, req Request, asked int) {
	if err := readJSON(store, path.Join(id, infoFile), &info); err != nil {
		info = Info{}
		broken(infoFile, err)
	}
	info.ID = id // the folder's name is what counts
	if err := readJSON(store, path.Join(id, requestFile), &req); err == nil {
		asked, req.Command = req.Trials(), info.Command
	} else if !errors.Is(err, fs.ErrNotExist) {
		req = Request{}
		broken(requestFile, err)
	}
	if asked == 0 { // of blockrigs before requests were stored
		var plan struct{ Tasks int }
		if err := readJSON(store, path.Join(id, "plan.json"), &plan); err == nil {
			asked = plan.Tasks
		}
	}
	return info, req, asked
}

// damage says that a run's trials are not what was recorded before it ended:
// so many are left, in a file with that SHA-256. nil: they are, or it has not
// ended.
func (i Info) damage(listed int, sum string) error {
	switch {
	case i.Digest == "" || i.Digest == sum:
		return nil
	case listed < i.Trials:
		return fmt.Errorf("%s of run %s was damaged after the run ended: %d of its %d trials are left in it", TrialsFile, i.ID, listed, i.Trials)
	default:
		return fmt.Errorf("%s of run %s was changed after the run ended: what it says is not what was recorded", TrialsFile, i.ID)
	}
}

// readTrials adds the trials that are only in TrialsFile: those whose folder
// was not kept, or can't be read.
func (s *Stored) readTrials(store *os.Root, folders map[string]Record, broken func(string, error)) {
	var listed []Record
	var sum string
	f, err := openStored(store, path.Join(s.ID, TrialsFile), maxTrials)
	if err == nil {
		listed, sum = readTrials(f, func(line int, err error) { broken(fmt.Sprintf("%s:%d", TrialsFile, line), err) })
		err = f.Close()
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		broken(TrialsFile, err)
	}
	lines := map[string]bool{}
	for _, rec := range listed {
		if _, ok := folders[rec.RunDir]; ok && rec.RunDir != "" {
			lines[rec.RunDir] = true
			continue
		}
		rec.RunDir = ""
		s.Records = append(s.Records, rec)
	}
	for _, name := range slices.Sorted(maps.Keys(folders)) {
		if !lines[name] {
			s.unlisted = append(s.unlisted, folders[name])
		}
	}
	s.Damaged = s.damage(len(listed), sum)
	for _, rec := range listed {
		kept, ok := folders[rec.RunDir]
		if !ok || s.Damaged != nil || s.Digest == "" {
			continue
		}
		if rec.RunDir = kept.RunDir; !equal(rec, kept) {
			s.Damaged = fmt.Errorf("%s was changed after the run ended: %s says something else", path.Join(kept.RunDir, ResultFile), TrialsFile)
		}
	}
}

// equal tells whether two records say the same.
func equal(a, b Record) bool {
	x, err1 := text.JSONLine(a)
	y, err2 := text.JSONLine(b)
	return err1 == nil && err2 == nil && string(x) == string(y)
}

func readJSON(store *os.Root, name string, to any) error {
	src, err := readStored(store, name)
	if err != nil {
		return err
	}
	return json.Unmarshal(src, to)
}

// readStored reads a regular file that is not too large. os.Root keeps links
// from leading out of the store.
func readStored(store *os.Root, name string) ([]byte, error) {
	f, err := openStored(store, name, maxStored)
	if err != nil {
		return nil, err
	}
	defer f.Close() // only read from
	src, err := io.ReadAll(io.LimitReader(f, maxStored))
	if err != nil {
		return nil, cause(err)
	}
	return src, nil
}

func openStored(store *os.Root, name string, limit int64) (*os.File, error) {
	f, err := store.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, cause(err)
	}
	info, err := f.Stat()
	switch {
	case err != nil:
		err = cause(err)
	case !info.Mode().IsRegular():
		err = errors.New("it is no regular file")
	case info.Size() > limit:
		err = fmt.Errorf("it has %d bytes, more than a result can have", info.Size())
	default:
		return f, nil
	}
	return nil, errors.Join(err, f.Close())
}

// cause is the error without the path, which the message has already.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
