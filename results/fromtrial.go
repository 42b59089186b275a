package results

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/blockrig/blockrig/harness/trial"
)

// FromTrial makes the record of a trial.
func FromTrial(spec trial.Spec, r trial.Result) Record {
	rec := Record{
		Scenario: spec.Case.Scenario.Name, Case: spec.Case.ID,
		Kernel:  Kernel{Ref: spec.Kernel.Ref, Release: r.Release},
		Verdict: r.Verdict, Also: r.Also, Signature: r.Signature, Phase: r.Phase,
		Errno: r.Report.Errno, Bytes: r.Report.Bytes, Legs: r.Report.Legs, Findings: Findings(r.Findings),
		Accel: string(r.Accel), CPUs: r.CPUs, Warm: r.Warm, BootID: r.BootID,
		BootMS: r.Boot.Milliseconds(), TrialMS: r.Wall.Milliseconds(),
		Reason: r.Reason, Outcome: r.Report.Outcome(), Started: r.Started.UTC(),
		GuestMS: r.Guest.Milliseconds(),
	}
	if rec.Kernel.Release == "" {
		rec.Kernel.Release = spec.Kernel.Release
	}
	for _, a := range r.Attempts {
		rec.Attempts = append(rec.Attempts, Attempt{Verdict: a.Verdict, Reason: a.Reason, MS: a.WallMS})
	}
	return rec
}

// Keep moves what a trial wrote into the trial's folder. The logs of attempts
// before the last one are kept as console-attempt-N.log.
func (t *Trial) Keep(spec trial.Spec, r trial.Result) error {
	for _, f := range []struct{ from, to string }{{r.Console, ConsoleFile}, {r.Events, EventsFile}} {
		if f.from == "" {
			continue
		}
		if err := os.Rename(f.from, filepath.Join(t.Dir, f.to)); err != nil {
			return fmt.Errorf("keep a trial's files: %w", err)
		}
	}
	for n := 1; n < len(r.Attempts); n++ {
		from := r.Attempts[n-1].Console
		if from == "" {
			continue
		}
		to := filepath.Join(t.Dir, fmt.Sprintf("console-attempt-%d.log", n))
		if err := os.Rename(from, to); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("keep a trial's files: %w", err)
		}
	}
	args := strings.Join(r.Args, "\n")
	if args != "" {
		args += "\n"
	}
	if err := os.WriteFile(filepath.Join(t.Dir, ArgsFile), []byte(args), 0o666); err != nil {
		return fmt.Errorf("keep a trial's files: %w", err)
	}
	if err := os.WriteFile(filepath.Join(t.Dir, ScenarioFile), spec.Case.Scenario.Source, 0o666); err != nil {
		return fmt.Errorf("keep a trial's files: %w", err)
	}
	return nil
}
