package report

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/blockrig/blockrig/harness/console"
	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/results"
)

// Bounds of what is read of a trial's folder, in bytes and in number.
const (
	maxConsole = 32 << 20
	maxEvents  = 4 << 20
	mostEvents = 500
	mostFrames = 40
)

// Files are those below a results folder: regular ones, without a link that
// leads out of it.
func Files(root *os.Root) fs.FS { return files{root} }

type files struct{ root *os.Root }

// Open implements fs.FS.
func (f files) Open(name string) (fs.File, error) {
	file, err := f.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: name, Err: errors.New("it is no regular file")}
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// ReadDir implements fs.ReadDirFS.
func (f files) ReadDir(name string) ([]fs.DirEntry, error) { return fs.ReadDir(f.root.FS(), name) }

// readFile reads at most limit bytes of a file.
func readFile(files fs.FS, name string, limit int64) ([]byte, error) {
	f, err := files.Open(name)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, limit))
	return data, errors.Join(err, f.Close())
}

// look adds to a trial what only its folder says: findings with their traces,
// and events. A file that is not there says nothing.
func (t *Trial) look(files fs.FS) error {
	if t.Folder == "" {
		return nil
	}
	rerr := t.addRecord(files)
	src, err := readFile(files, path.Join(t.Folder, results.EventsFile), maxEvents)
	if err == nil {
		t.Events = events(src)
	}
	if len(t.Findings) == 0 {
		return t.troubles(rerr, err)
	}
	log, lerr := readFile(files, path.Join(t.Folder, results.ConsoleFile), maxConsole)
	if lerr == nil {
		t.addTraces(log)
		t.addKernel(src, log)
	}
	return t.troubles(rerr, err, lerr)
}

// troubles gives the first of the errors that says more than that there is no file.
func (t *Trial) troubles(errs ...error) error {
	for _, e := range errs {
		if e != nil && !errors.Is(e, fs.ErrNotExist) {
			return fmt.Errorf("trial %s: %w", text.Escape(t.Name), e)
		}
	}
	return nil
}

// addRecord adds what only the trial's own record says.
func (t *Trial) addRecord(files fs.FS) error {
	src, err := readFile(files, path.Join(t.Folder, results.ResultFile), maxEvents)
	if err != nil {
		return err
	}
	var rec results.Record
	if err := json.Unmarshal(src, &rec); err != nil {
		return err
	}
	t.Legs, t.Attempts = rec.Legs, rec.Attempts
	if who := rec.FirstFailed.Text(); who != "" {
		t.First = &First{Who: who}
		for _, a := range rec.FirstFailed.Failed[:min(len(rec.FirstFailed.Failed), mostFrames)] {
			t.First.Answers = append(t.First.Answers, fmt.Sprintf("%.3f ms: %s (%s) answered %s at sector %d with %s", float64(a.US)/1000, a.Device, a.Layer, a.Op, a.Sector, a.Errno))
		}
	}
	return nil
}

// addTraces gives the findings their ends and traces.
func (t *Trial) addTraces(src []byte) {
	log, err := console.ReadAll(bytes.NewReader(src))
	if err != nil {
		return // of what can't be read as a log there are no findings either
	}
	at := map[int]console.Finding{}
	for _, f := range log.Findings {
		at[f.Line] = f
	}
	for i := range t.Findings {
		f, ok := at[t.Findings[i].Line]
		if !ok {
			continue
		}
		t.Findings[i].LastLine = f.LastLine
		for _, frame := range f.Trace[:min(len(f.Trace), mostFrames)] {
			t.Findings[i].Trace = append(t.Findings[i].Trace, frameText(frame))
		}
	}
}

var kernelTime = regexp.MustCompile(`^(?:<\d+>)?\[ *(\d+)\.(\d{3})\d*\]`)

// addKernel puts the findings on the time line of guest and host. The kernel's
// clock is the guest's, which the guest's messages have beside the host's.
func (t *Trial) addKernel(messages, log []byte) {
	var ahead int64 // of the guest's clock, milliseconds
	known := false
	for line := range bytes.Lines(messages) {
		var m struct {
			MS   int64  `json:"ms"`
			From string `json:"from"`
			What struct {
				MS int64 `json:"ms"`
			} `json:"what"`
		}
		if json.Unmarshal(line, &m) == nil && m.From == "guest" && m.What.MS > 0 {
			ahead, known = m.What.MS-m.MS, true
			break
		}
	}
	if !known || len(t.Findings) == 0 {
		return
	}
	n := 0
	at := map[int]int64{}
	for line := range bytes.Lines(log) {
		n++
		if m := kernelTime.FindSubmatch(line); m != nil {
			s, err1 := strconv.ParseInt(string(m[1]), 10, 32)
			ms, err2 := strconv.ParseInt(string(m[2]), 10, 32)
			if err1 == nil && err2 == nil {
				at[n] = 1000*s + ms
			}
		}
	}
	for _, f := range t.Findings[:min(len(t.Findings), mostEvents)] {
		if guest, ok := at[f.Line]; ok {
			t.Events = append(t.Events, Event{MS: max(0, guest-ahead), From: "kernel", What: f.Title})
		}
	}
	slices.SortStableFunc(t.Events, func(a, b Event) int { return cmp.Compare(a.MS, b.MS) })
}

func frameText(f console.Frame) string {
	s := f.Func
	if !f.Reliable {
		s = "? " + s
	}
	if f.Offset > 0 || f.Size > 0 {
		s += fmt.Sprintf("+%#x/%#x", f.Offset, f.Size)
	}
	if f.Module != "" {
		s += " [" + f.Module + "]"
	}
	if f.File != "" {
		s += fmt.Sprintf(" (%s:%d)", f.File, f.SrcLine)
	}
	return s
}

// events reads an events.jsonl. What is no event is left out.
func events(src []byte) []Event {
	out := []Event{}
	lines := bufio.NewScanner(bytes.NewReader(src))
	lines.Buffer(nil, maxEvents)
	for lines.Scan() && len(out) < mostEvents {
		var line struct {
			MS   int64                      `json:"ms"`
			From string                     `json:"from"`
			What map[string]json.RawMessage `json:"what"`
		}
		if json.Unmarshal(lines.Bytes(), &line) != nil || line.From == "" {
			continue
		}
		out = append(out, Event{MS: line.MS, From: text.OneLine(line.From), What: saying(line.What)})
	}
	slices.SortStableFunc(out, func(a, b Event) int { return cmp.Compare(a.MS, b.MS) })
	return out
}

// mostSaid bounds what is said of an event, in bytes.
const mostSaid = 160

// unsaid are keys of messages that tell people nothing.
var unsaid = map[string]bool{"ms": true, "trial": true, "seed": true, "entropy": true, "index": true}

// saying is a message in a few words: its kind, which is the key of its only
// object, and the plain values in it.
func saying(what map[string]json.RawMessage) string {
	var words []string
	for _, key := range slices.Sorted(maps.Keys(what)) {
		if unsaid[key] {
			continue
		}
		said := strings.Join(values(what[key]), ", ")
		if said != "" {
			said = ": " + said
		}
		words = append(words, key+said)
	}
	return text.Excerpt([]byte(strings.Join(words, ", ")), mostSaid)
}

// values are the plain values in one, those that name it first.
func values(v json.RawMessage) []string {
	var object map[string]json.RawMessage
	if json.Unmarshal(v, &object) != nil {
		if s, ok := plain(v); ok && s != "" {
			return []string{s}
		}
		return nil
	}
	var names, words []string
	for _, key := range slices.Sorted(maps.Keys(object)) {
		s, ok := plain(object[key])
		switch {
		case unsaid[key] || strings.HasSuffix(key, "_ms") || ok && s == "":
		case ok && (key == "op" || key == "name"):
			names = append(names, s)
		case ok:
			words = append(words, key+" "+s)
		case key == "io" || key == "unkillable":
			words = append(words, values(object[key])...)
		}
	}
	return append(names, words...)
}

// plain is a value that is no list and no object. False, zero and "" are not
// worth saying.
func plain(v json.RawMessage) (string, bool) {
	var any any
	if json.Unmarshal(v, &any) != nil {
		return "", false
	}
	switch x := any.(type) {
	case string:
		if len(x) > 40 && !strings.Contains(x, " ") {
			return "", true // a digest or noise
		}
		return x, true
	case float64:
		if x == 0 {
			return "", true
		}
		return strings.TrimSpace(string(v)), true
	case bool:
		if x {
			return "yes", true
		}
		return "", true
	case nil:
		return "", true
	}
	return "", false
}
