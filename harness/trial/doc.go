// Package trial makes outcomes of jobs.
//
// A [Job] is a plain value: one case on one kernel, with all that went in named
// by digest. A [Preparer] makes jobs of what a user asks for, and finds on this
// machine the files that a job names, whoever made it. A [Schedule] runs jobs,
// several at a time, from saved machines where it can. An [Outcome] is a plain
// value too: what guest, host and console said, and the verdict; its files lie
// beside it. Everything that goes wrong on the way is in the outcome: what the
// harness, QEMU or the tools did is the verdict error with its reason.
//
// A trial waits for what the guest says, never for time to pass. What it
// gives up on, it gives up on in time that the virtual CPU was given (see
// watch), so that a busy host makes nothing hang.
package trial
