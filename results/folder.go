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
	JobFile      = "job.json"
)

var trialFiles = []string{ResultFile, ConsoleFile, EventsFile, ArgsFile, ScenarioFile, JobFile}

// A folder is that of a trial that is under way. store or discard ends it.
type folder struct {
	dir    string // hidden until it is stored
	run    *Run
	number int
}

// newFolder makes the folder of a trial.
func (r *Run) newFolder() (*folder, error) {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil, fmt.Errorf("begin a trial: run %s has ended", r.info.ID)
	}
	r.folders++
	number := r.folders
	r.mu.Unlock()

	dir := filepath.Join(r.Dir(), fmt.Sprintf("%s%04d", tempPrefix, number))
	f := &folder{dir: dir, run: r, number: number}
	if err := os.Mkdir(dir, 0o777); err != nil {
		return nil, errors.Join(fmt.Errorf("make the trial's folder: %w", err), f.discard())
	}
	return f, nil
}

// discard removes the folder.
func (f *folder) discard() error {
	if err := os.RemoveAll(f.dir); err != nil {
		return fmt.Errorf("discard a trial: %w", err)
	}
	return nil
}

// keep adds what the job was to the files of its outcome.
func (f *folder) keep(j trial.Job) error {
	line, err := text.JSONLine(j)
	if err == nil {
		err = os.WriteFile(filepath.Join(f.dir, JobFile), line, 0o666)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(f.dir, ScenarioFile), []byte(j.Source), 0o666)
	}
	if err != nil {
		return fmt.Errorf("keep a trial's files: %w", err)
	}
	return nil
}

// store ends the trial: writes its record, brings everything to the disk
// and gives the folder its name. It returns the record
// as it was stored, with RunDir. A file of the folder that was not written,
// since the machine never ran, is stored empty. Where it fails, nothing of the
// trial is left. The caller holds run.mu.
func (f *folder) store(rec Record) (Record, error) {
	rec.RunDir = filepath.Join(f.run.Dir(), folderName(f.number, rec))
	if err := f.publish(rec); err != nil {
		rec.RunDir = ""
		return rec, errors.Join(err, f.discard())
	}
	return rec, nil
}

func (f *folder) publish(rec Record) error {
	line, err := encode(rec)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(f.dir, ResultFile), line, 0o666); err != nil {
		return err
	}
	for _, name := range trialFiles {
		if err := touch(filepath.Join(f.dir, name)); err != nil {
			return err
		}
	}
	if err := syncFolder(f.dir); err != nil {
		return err
	}
	if err := os.Rename(f.dir, rec.RunDir); err != nil {
		return err
	}
	err = syncPath(f.run.Dir())
	if err == nil {
		err = f.run.append(rec)
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(rec.RunDir))
	}
	return nil
}

// encode gives a record as a line. What could not be read again must not be
// stored.
func encode(rec Record) ([]byte, error) {
	line, err := text.JSONLine(rec)
	if err == nil {
		_, err = decode(line)
	}
	return line, err
}

var unsafeName = regexp.MustCompile(`[^A-Za-z0-9._=,+-]+`)

// folderName is the name of a trial's folder. A release comes from a package
// or a guest, so only harmless characters of it stay.
func folderName(number int, rec Record) string {
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
