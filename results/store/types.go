package store

import (
	"cmp"
	"fmt"
	"time"

	"github.com/blockrig/blockrig/harness/console"
	"github.com/blockrig/blockrig/harness/stats"
	"github.com/blockrig/blockrig/harness/verdict"
	"github.com/blockrig/blockrig/scenarios"
)

// A Run is what one command did.
type Run struct {
	ID       string    `json:"id"`
	Command  []string  `json:"command"`           // with its arguments
	Verb     string    `json:"verb,omitempty"`    // of the request; "" of a run that can't be resumed
	Started  time.Time `json:"started"`           // UTC
	Finished time.Time `json:"finished,omitzero"` // zero: it is under way, or its process died
	Night    string    `json:"night"`             // UTC date of Started: "2026-11-25"
	Asked    int       `json:"asked"`             // trials that were asked for; 0: not known
	// Problem is the first of so many Problems with the run's files: what can't
	// be read, or is not what was recorded. "" when there are none.
	Problem  string `json:"problem,omitempty"`
	Problems int    `json:"problems,omitempty"`
	Digest   string `json:"trials_sha256,omitempty"` // of the trials of a run that has ended
	Counts
}

// Counts are how many trials ended how.
type Counts struct {
	Trials   int `json:"trials"` // all of them, errors included
	Failures int `json:"failures"`
	Errors   int `json:"errors"` // no verdict about the kernel
}

// Judged is the number of trials with a verdict about the kernel: what a
// failure rate is of.
func (c Counts) Judged() int { return c.Trials - c.Errors }

// A Kernel is one that trials ran on.
type Kernel struct {
	Ref     string `json:"ref"`               // as the user wrote it
	Exact   string `json:"exact,omitempty"`   // a reference that gives this very kernel again; "" when not recorded
	Release string `json:"release,omitempty"` // uname -r
	Digest  string `json:"digest,omitempty"`  // of image, config and modules; "" when not recorded
	Commit  string `json:"commit,omitempty"`  // full hash, of a git: kernel
}

// Name is what people call it: its release, or where it never came up, its
// reference.
func (k Kernel) Name() string { return cmp.Or(k.Release, k.Ref) }

// A Trial is one case on one kernel, once.
type Trial struct {
	Run     string    `json:"run"`
	Task    int       `json:"task"` // its place in what the run was asked for, from 0; one trial of a run has it
	Line    int       `json:"line"` // in the run's trials.jsonl, from 1: the order in which they ended
	Started time.Time `json:"started"`

	Kernel   Kernel `json:"kernel"`
	Scenario string `json:"scenario"`
	Case     string `json:"case"` // "length=4096,memory_offset=32"; "" of a scenario without parameters

	Verdict   scenarios.Verdict   `json:"verdict"`
	Also      []scenarios.Verdict `json:"also"`
	Signature verdict.Signature   `json:"signature"` // Signature.Failure() is what two failures are compared by
	Titles    []string            `json:"titles"`    // of the signature
	Phase     string              `json:"phase"`
	Reason    string              `json:"reason"`  // one line: why this verdict
	Outcome   string              `json:"outcome"` // what the step said: "4096 bytes", "EINVAL", "no answer"
	Errno     string              `json:"errno"`   // of the step; "" when it did not fail
	Bytes     int64               `json:"bytes"`   // that the step gave

	Accel    string `json:"accel"` // kvm or tcg
	CPUs     int    `json:"cpus"`  // of the guest
	Warm     bool   `json:"warm"`  // from a saved machine
	BootID   string `json:"boot_id"`
	BootMS   int64  `json:"boot_ms"`  // wall time until the stack was ready, milliseconds
	TrialMS  int64  `json:"trial_ms"` // wall time of the last attempt, milliseconds
	GuestMS  int64  `json:"guest_ms"` // guest time from its boot to the answer, milliseconds
	TookMS   int64  `json:"took_ms"`  // wall time of all attempts, milliseconds
	Attempts int    `json:"attempts"`

	Worker Worker `json:"worker,omitzero"` // the zero value: it was made where it was recorded
	WaitMS int64  `json:"wait_ms"`         // that it waited for the worker, milliseconds

	// Dir is the name of the trial's folder in its run's; "" when none was
	// kept, since one with the same signature is.
	Dir string `json:"dir"`

	Findings []Finding `json:"findings,omitempty"` // only where they were asked for
}

// Name is what commands call the trial: RUN/NUMBER.
func (t Trial) Name() string { return TrialName(t.Run, t.Task) }

// TrialName is the name of a run's trial by its place.
func TrialName(run string, task int) string { return fmt.Sprintf("%s/%d", run, task+1) }

// A Finding is something that the console of a trial showed.
type Finding struct {
	Kind  console.Kind `json:"kind"`
	Title string       `json:"title"`
	Place string       `json:"place"`
	Line  int          `json:"line"` // in console.log, from 1
}

// A Build is how the git: kernels of a run were built.
type Build struct {
	Run       string   `json:"run"`
	Kernel    string   `json:"kernel"`           // reference
	Exact     string   `json:"exact,omitempty"`  // "" when it did not get ready
	Digest    string   `json:"digest,omitempty"` // of what was built
	CC        string   `json:"cc,omitempty"`
	Config    string   `json:"config,omitempty"` // file
	Fragments []string `json:"fragments,omitempty"`
	Patches   []string `json:"patches,omitempty"` // files
}

// A Bisection is a search for what changed an outcome.
type Bisection struct {
	Name     string    `json:"name"` // of its folder in ROOT/bisections
	Started  time.Time `json:"started"`
	Command  []string  `json:"command"`
	Scenario string    `json:"scenario"`
	Case     string    `json:"case"`
	Of       string    `json:"of"` // "commits" or "releases"
	Old      string    `json:"old"`
	New      string    `json:"new"`
	// State is "running" (or its process died), "stopped" (it ended without an
	// answer) or "answered".
	State      string  `json:"state"`
	First      string  `json:"first,omitempty"`   // commit or release; "" without
	Subject    string  `json:"subject,omitempty"` // the commit's first line
	Grade      string  `json:"grade,omitempty"`   // proven, likely, doubtful
	Confidence float64 `json:"confidence,omitempty"`
	Trials     int     `json:"trials"`
}

// A CaseID names a case.
type CaseID struct {
	Scenario string `json:"scenario"`
	Case     string `json:"case"`
}

// Asked is a case that a run was to do on a kernel.
type Asked struct {
	CaseID
	Ref string `json:"ref"` // of the kernel
}

// A KernelUse is a kernel with the trials that ran on it.
type KernelUse struct {
	Kernel
	Counts
	First time.Time `json:"first"` // start of the first of those trials
	Last  time.Time `json:"last"`
}

// A Worker is a hub's that made trials.
type Worker struct {
	Name string `json:"name"`
	CPU  string `json:"cpu"` // of its machine; "" when it does not say
}

// A WorkerUse is a worker with the trials that it made.
type WorkerUse struct {
	Worker
	Counts
	First    time.Time `json:"first"`        // start of the first of those trials
	Last     time.Time `json:"last"`         // end of the last
	TookMS   int64     `json:"took_ms"`      // wall time of all of them together, milliseconds
	WaitMS   int64     `json:"wait_ms"`      // that all of them together waited for it, milliseconds
	MostWait int64     `json:"most_wait_ms"` // that one of them did
	Again    int       `json:"made_again"`   // of which it had to try more than once
}

// A History is what the trials of one case showed, point by point.
type History struct {
	Scenario string  `json:"scenario"`
	Case     string  `json:"case"`
	Points   []Point `json:"points"` // in the order of their first trials
}

// A Point is a part of a history: all trials of a case on a kernel, of a night,
// of a run.
type Point struct {
	Kernel Kernel `json:"kernel,omitzero"` // ByKernel, ByNightAndKernel
	Night  string `json:"night,omitempty"` // ByNight, ByNightAndKernel
	Run    string `json:"run,omitempty"`   // ByRun
	Tally
}

// A Tally counts the trials of a case.
type Tally struct {
	Counts
	First  time.Time `json:"first"` // start of the first trial
	Last   time.Time `json:"last"`
	TookMS int64     `json:"took_ms"` // wall time of all trials together, milliseconds
	// Boots are the trials with a verdict about the kernel, boot by boot, as
	// package stats takes them. A trial that does not name its boot has one of
	// its own.
	Boots []stats.Boot `json:"boots"`
	// Outcomes are what was seen, the most frequent first.
	Outcomes []Outcome `json:"outcomes"`
}

// An Outcome is one way in which trials of a case ended.
type Outcome struct {
	Signature verdict.Signature `json:"signature"` // without titles: what failures are compared by
	Verdict   scenarios.Verdict `json:"verdict"`
	Said      string            `json:"said"` // what the step said: "4096 bytes", "EINVAL", "no answer"
	Trials    int               `json:"trials"`
	Trial     string            `json:"trial"` // name of one of them: one with a folder, where there is one
}

// By says what the points of a history are.
type By int

// Points of a history.
const (
	ByKernel         By = iota
	ByNight             // all kernels together
	ByNightAndKernel    // each kernel of a night by itself
	ByRun
)

// A Filter says which trials are meant: those that fit all that is set.
type Filter struct {
	Runs      []string // IDs
	Nights    []string // "2026-11-25"
	Kernels   []Kernel // that are one of these, field by field
	Scenario  string
	Case      *string // nil: all; "" is the case of a scenario without parameters
	Since     time.Time
	Before    time.Time
	Verdicts  []scenarios.Verdict
	Failures  bool               // only trials that failed
	Signature *verdict.Signature // phase, step and verdict; titles do not count
	Kept      bool               // only trials with a folder

	Newest bool // the newest first; else in the order of their start
	Limit  int  // at most so many; 0: all
}
