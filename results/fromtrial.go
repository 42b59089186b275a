package results

import "github.com/blockrig/blockrig/harness/trial"

// FromTrial makes the record of a trial.
func FromTrial(j trial.Job, o trial.Outcome) Record {
	rec := Record{
		Scenario: j.Scenario, Case: j.Case,
		Kernel:  Kernel{Ref: j.Kernel.Ref, Release: o.Release, Exact: j.Kernel.Exact, Digest: j.Kernel.Digest},
		Verdict: o.Verdict, Also: o.Also, Signature: o.Signature, Phase: o.Phase,
		Errno: o.Report.Errno, Bytes: o.Report.Bytes, Legs: o.Report.Legs, Findings: Findings(o.Findings),
		Accel: string(o.Accel), CPUs: o.CPUs, Warm: o.Warm, BootID: o.BootID,
		BootMS: o.Boot.Milliseconds(), TrialMS: o.Wall.Milliseconds(), Attempts: o.Attempts,
		Reason: o.Reason, Outcome: o.Report.Outcome(), Started: o.Started.UTC(),
		GuestMS: o.Guest.Milliseconds(), FirstFailed: o.Traced, Worker: o.Worker,
	}
	if rec.Kernel.Release == "" {
		rec.Kernel.Release = j.Kernel.Release
	}
	return rec
}
