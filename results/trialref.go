package results

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/blockrig/blockrig/harness/trial"
	"github.com/blockrig/blockrig/harness/verdict"
	"github.com/blockrig/blockrig/results/store"
	"github.com/blockrig/blockrig/scenarios"
	"github.com/blockrig/blockrig/scenarios/language"
)

// A Recorded is a trial with all that is kept of it.
type Recorded struct {
	Run    string // ID
	Record Record
	Dir    string // its folder; "" when none was kept
	// Job is what was run. Without a folder, it says no more than the record.
	Job  trial.Job
	Case scenarios.Case
}

// Name is what commands call the trial.
func (r Recorded) Name() string { return store.TrialName(r.Run, r.Record.Task) }

// inLine is the name of a trial in a line of a report.
var inLine = regexp.MustCompile(`\b` + idPattern + `/[0-9]+(-[0-9A-Za-z._=,+-]+)?`)

// noTrial says that a run has no such trial; it is an ErrNoRun.
type noTrial struct{ error }

func (noTrial) Is(target error) bool { return target == ErrNoRun }

// Find gives the trial that a word of the user's names: RUN/TRIAL, where RUN is
// what Show takes and TRIAL what Pick takes, RUN alone where it has one trial,
// or a line of a report, which has a name somewhere. The error is an ErrNoRun.
func Find(root, word string) (Recorded, error) {
	if name := inLine.FindString(word); name != "" {
		word = name
	}
	id, number, named := strings.Cut(word, "/")
	if id == "" {
		return Recorded{}, fmt.Errorf("%w: %q; want RUN/NUMBER", ErrNoRun, word)
	}
	run, err := Show(root, id)
	if err != nil {
		return Recorded{}, err
	}
	var numbers []string
	if named {
		numbers = []string{number}
	}
	at, err := run.Pick(numbers...)
	if err == nil && len(at) != 1 {
		err = fmt.Errorf("it has %d trials; name one: %s/NUMBER", len(at), run.ID)
	}
	if err != nil {
		return Recorded{}, noTrial{fmt.Errorf("run %s: %w", run.ID, err)}
	}
	r := Recorded{Run: run.ID, Record: run.Records[at[0]]}
	if err := r.read(root, run.Request); err != nil {
		return Recorded{}, fmt.Errorf("trial %s: %w", r.Name(), err)
	}
	return r, nil
}

// read reads the job from the trial's folder, or where there is none makes as
// much of it as can be told, and finds the case.
func (r *Recorded) read(root string, req Request) error {
	source, file := "", ""
	for _, s := range req.Scenarios {
		if s.Name == r.Record.Scenario {
			source, file = s.Source, s.File
		}
	}
	k := r.Record.Kernel
	r.Job = trial.Job{Kernel: trial.Kernel{Ref: k.Ref, Exact: k.Exact, Release: k.Release, Digest: k.Digest}, CPUs: r.Record.CPUs, Cold: !r.Record.Warm}
	if r.Record.RunDir != "" {
		r.Dir = filepath.Join(root, r.Run, filepath.Base(r.Record.RunDir))
		folders, err := os.OpenRoot(root)
		if err != nil {
			return folderError(root, err)
		}
		defer folders.Close() // only read from
		dir := path.Join(r.Run, filepath.Base(r.Record.RunDir))
		j, err := readJob(folders, dir)
		switch {
		case err == nil:
			r.Job, source = j, j.Source
		case !errors.Is(err, fs.ErrNotExist):
			return err
		default: // of a blockrig that kept no jobs
			if src, err := readStored(folders, path.Join(dir, ScenarioFile)); err == nil {
				source = string(src)
			}
		}
	}
	if source == "" {
		return errors.New("its scenario was not kept: it is none of a run's, and has no folder")
	}
	sc, err := language.Parse(r.Record.Scenario, []byte(source))
	if err != nil {
		return err
	}
	sc.File = file
	r.Case, err = language.OneCase(sc, r.Record.Case)
	return err
}

// Again says how a trial that was made again compares with what was recorded.
func Again(was, is Record) string {
	now := describeFailure(is)
	switch {
	case is.Verdict == scenarios.Error:
		return fmt.Sprintf("no verdict now; recorded: %s", describeFailure(was))
	case signatureOf(was) == signatureOf(is):
		return fmt.Sprintf("the same as recorded: %s", now)
	default:
		return fmt.Sprintf("recorded: %s; now: %s", describeFailure(was), now)
	}
}

func describeFailure(r Record) string {
	out := string(r.Verdict)
	if r.Verdict.Failure() {
		out = FailureText(r.Signature, r.Verdict)
	}
	if r.Outcome != "" {
		out += " (" + r.Outcome + ")"
	}
	return out
}

// FailureText names a failure in short: "hang in step pread".
func FailureText(s verdict.Signature, v scenarios.Verdict) string {
	text := string(v)
	if s.Phase != "" {
		text += " in " + strings.TrimSpace(s.Phase+" "+s.Step)
	}
	return text
}
