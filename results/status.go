package results

import (
	"github.com/blockrig/blockrig/scenarios"
)

// Exit statuses of every verb but step.
const (
	ExitOK      = 0 // all passed, or what was asked was done
	ExitFailure = 1 // a verdict other than pass, whatever else happened
	ExitUsage   = 2 // the request was wrong
	ExitError   = 3 // no failure, but some verdict could not be had
)

// ExitStatus gives the exit status for the verdicts of all trials that were
// asked for. Without any, no verdict could be had.
func ExitStatus(verdicts ...scenarios.Verdict) int {
	status := ExitOK
	if len(verdicts) == 0 {
		status = ExitError
	}
	for _, v := range verdicts {
		switch {
		case v == scenarios.Pass || v == scenarios.Clean:
		case v.Known() && v.Failure():
			return ExitFailure
		default:
			status = ExitError
		}
	}
	return status
}

// ExitStatusOf is ExitStatus of the records' verdicts.
func ExitStatusOf(records []Record) int {
	verdicts := make([]scenarios.Verdict, len(records))
	for i, r := range records {
		verdicts[i] = r.Verdict
	}
	return ExitStatus(verdicts...)
}
