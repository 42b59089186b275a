package trial

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/blockrig/blockrig/scenarios"
)

// MaxAttempts is how often a trial is made that ends in error, whoever asks
// for it. Nobody else tries again what ended so.
const MaxAttempts = 3

// runAttempts makes a trial, and makes it again when it says nothing about
// the kernel (error), at most MaxAttempts times, but for an error that is certain
// to come again: a precondition that does not hold, a missing tool. Each attempt has a work folder
// of its own; what is to be kept of it goes into the outcome's folder.
func runAttempts(ctx context.Context, l Local, run func(context.Context, Local) Outcome) Outcome {
	work := filepath.Join(l.Dir, workDir)
	var all []Attempt
	for n := 1; ; n++ {
		one := l
		one.attempt, one.Dir = n, filepath.Join(work, fmt.Sprintf("attempt-%d", n))
		var o Outcome
		if err := clearDir(one.Dir); err != nil {
			o = failed(one, err)
		} else {
			o = run(ctx, one)
		}
		all = append(all, attemptOf(o))
		o.Attempts = all
		last := o.Verdict != scenarios.Error || n == MaxAttempts || o.certain() || ctx.Err() != nil
		var err error
		if last {
			err = errors.Join(moveFiles(one.Dir, l.Dir), os.RemoveAll(work))
		} else {
			err = moveFile(filepath.Join(one.Dir, ConsoleFile), filepath.Join(l.Dir, AttemptConsole(n)))
		}
		switch {
		case err != nil:
			o = failed(one, err)
			o.Attempts = all
			return o
		case last:
			return o
		}
		l.log().Info("a trial said nothing about the kernel and is made again", "attempt", n, "phase", o.Phase, "reason", o.Reason)
	}
}

// certain says whether an error must come again, whoever tries, and is not of the
// host's.
func (o Outcome) certain() bool { return o.Report.Certain && o.Report.Host == "" }

func attemptOf(o Outcome) Attempt {
	return Attempt{Verdict: o.Verdict, Reason: o.Reason, MS: o.Wall.Milliseconds()}
}

// clearDir gives an empty folder. What a guest writes to its disks is nobody
// else's business.
func clearDir(dir string) error {
	err := os.RemoveAll(dir)
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return fmt.Errorf("make the folder of an attempt: %w", err)
	}
	return nil
}
