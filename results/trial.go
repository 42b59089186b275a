package results

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/harness/trial"
)

// Files of a trial's folder.
const (
	ResultFile   = "result.json"
	ConsoleFile  = trial.ConsoleFile
	EventsFile   = trial.EventsFile
	ArgsFile     = trial.ArgsFile
	ScenarioFile = "scenario.yaml"
)

var trialFiles = []string{ResultFile, ConsoleFile, EventsFile, ArgsFile, ScenarioFile}

// A Trial is the folder of a trial that goes on. Store or Discard ends it.
type Trial struct {
	// Dir is where its files (ConsoleFile and so on) are to be written. It
	// has another name once it is stored.
	Dir string

	run    *Run
	number int
}

// Begin makes the folder of a trial.
func (r *Run) Begin() (*Trial, error) {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil, fmt.Errorf("begin a trial: run %s has ended", r.info.ID)
	}
	r.trials++
	number := r.trials
	r.mu.Unlock()

	dir := filepath.Join(r.dir, fmt.Sprintf("%s%04d", tempPrefix, number))
	t := &Trial{Dir: dir, run: r, number: number}
	if err := os.Mkdir(dir, 0o777); err != nil {
		return nil, errors.Join(fmt.Errorf("make the trial's folder: %w", err), t.Discard())
	}
	return t, nil
}

// Discard ends the trial and removes all of it.
func (t *Trial) Discard() error {
	if err := os.RemoveAll(t.Dir); err != nil {
		return fmt.Errorf("discard a trial: %w", err)
	}
	return nil
}

// Record ends the trial and keeps nothing of it but its record.
func (t *Trial) Record(rec Record) (Record, error) {
	rec.RunDir = ""
	err := t.Discard()
	if err == nil {
		err = t.run.Record(rec)
	}
	return rec, err
}

// Store ends the trial: writes its record, brings
// everything to the disk and gives the folder its name. It returns the record
// as it was stored, with RunDir. A file of the folder that was not written,
// since the machine never ran, is stored empty. Where it fails, nothing of the
// trial is left.
func (t *Trial) Store(rec Record) (Record, error) {
	rec.RunDir = filepath.Join(t.run.dir, trialName(t.number, rec))
	if err := t.store(rec); err != nil {
		rec.RunDir = ""
		return rec, errors.Join(fmt.Errorf("store a trial: %w", err), t.Discard())
	}
	return rec, nil
}

func (t *Trial) store(rec Record) error {
	line, err := text.JSONLine(rec)
	if err != nil {
		return err
	}
	if _, err := decode(line); err != nil {
		return err // what could not be read again must not be stored
	}
	if err := writeSynced(filepath.Join(t.Dir, ResultFile), line); err != nil {
		return err
	}
	for _, name := range trialFiles {
		if err := touch(filepath.Join(t.Dir, name)); err != nil {
			return err
		}
	}
	if err := syncFolder(t.Dir); err != nil {
		return err
	}
	t.run.mu.Lock()
	defer t.run.mu.Unlock()
	if t.run.closed {
		return fmt.Errorf("run %s has ended", t.run.info.ID)
	}
	if err := rename(t.Dir, rec.RunDir); err != nil {
		return err
	}
	if err := t.run.append(rec); err != nil {
		return errors.Join(err, os.RemoveAll(rec.RunDir))
	}
	t.run.stored++
	return nil
}

var unsafeName = regexp.MustCompile(`[^A-Za-z0-9._=,+-]+`)

// trialName is the name of a trial's folder. A release comes from a package
// or a guest, so only harmless characters of it stay.
func trialName(number int, rec Record) string {
	name := fmt.Sprintf("%04d-%s-%s", number, kernelName(rec.Kernel), rec.Scenario)
	if rec.Case != "" {
		name += "-" + rec.Case
	}
	name = unsafeName.ReplaceAllString(name, "_")
	// NAME_MAX is 255; leave room for a tar or a web server to add to it.
	return strings.TrimRight(name[:min(len(name), 180)], ".-_,")
}

// touch makes a file where there is none.
func touch(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return f.Close()
}

// writeSynced writes a file and brings it to the disk.
func writeSynced(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o666)
	if err != nil {
		return err
	}
	if _, err = f.Write(data); err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// syncFolder brings the files of a folder, and the folder, to the disk. What
// is no regular file, such as a socket, is removed: it is not worth keeping.
func syncFolder(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if !e.Type().IsRegular() {
			err = os.RemoveAll(path)
		} else {
			err = syncPath(path)
		}
		if err != nil {
			return err
		}
	}
	return syncPath(dir)
}

func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// rename renames and brings the new name to the disk.
func rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return syncPath(filepath.Dir(to))
}
