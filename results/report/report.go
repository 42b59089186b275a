package report

import (
	"cmp"
	"slices"
	"time"

	"github.com/blockrig/blockrig/harness/bisect"
	"github.com/blockrig/blockrig/harness/console"
	"github.com/blockrig/blockrig/harness/stats"
	"github.com/blockrig/blockrig/results"
	"github.com/blockrig/blockrig/results/compare"
	"github.com/blockrig/blockrig/scenarios"
)

// Version of the JSON form.
const Version = 1

// A Report is what there is to tell of some runs.
type Report struct {
	Version int       `json:"version"`
	Title   string    `json:"title"`
	Made    time.Time `json:"made"`
	Tool    string    `json:"tool"` // what made it: "blockrig v1.2"

	Runs       []Run       `json:"runs"`             // oldest first
	Kernels    []Kernel    `json:"kernels"`          // in the order of their first trials
	Cases      []Case      `json:"cases"`            // by scenario and name
	Changes    []Change    `json:"changes"`          // the most important first
	Trials     []Trial     `json:"trials"`           // those that are told in full: one for each way in which a case ended on a kernel
	Bisections []Bisection `json:"bisections"`       // oldest first
	Workers    []Worker    `json:"workers"`          // of a hub, by name
	Problems   []string    `json:"problems"`         // what of the record can't be read
	Hunted     []Hunted    `json:"hunted,omitempty"` // what the hunts of nights found, the worst first

	HuntTrials int `json:"hunt_trials,omitempty"` // that hunts made of what they suspected; they are of no case
}

// Hunted is what a night's hunt found: what nobody has reported.
type Hunted struct {
	Kernel   string   `json:"kernel"` // its release
	Class    string   `json:"class"`  // "loses data"
	Stack    string   `json:"stack"`
	Program  string   `json:"program"` // what is done, in a line
	Answer   string   `json:"answer"`
	Scenario string   `json:"scenario"` // file that shows it, below the results
	Bisected []string `json:"bisected"` // what is known of the release that it came with, in lines
}

// A Run is what one command did.
type Run struct {
	ID       string    `json:"id"`
	Command  string    `json:"command"` // as its user would write it
	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished,omitzero"` // zero: it is under way, or its process died
	Asked    int       `json:"asked"`             // trials that were asked for; 0: not known
	Trials   int       `json:"trials"`
	Failures int       `json:"failures"`
	Errors   int       `json:"errors"` // without a verdict about the kernel
}

// A Worker is one of a hub's, with the trials that it made.
type Worker struct {
	Name     string    `json:"name"`
	CPU      string    `json:"cpu,omitempty"` // of its machine
	Trials   int       `json:"trials"`
	Failures int       `json:"failures"`
	Errors   int       `json:"errors"`     // without a verdict about the kernel
	Again    int       `json:"made_again"` // that were tried more than once there
	First    time.Time `json:"first"`      // start of the first
	Last     time.Time `json:"last"`       // end of the last
	TookMS   int64     `json:"took_ms"`    // wall time of all of them together
	WaitMS   int64     `json:"wait_ms"`    // that one waited for it, on average
	MostWait int64     `json:"most_wait_ms"`
}

// Use is how many trials it made at a time, from the start of the first to the
// end of the last, on average.
func (w Worker) Use() float64 {
	ms := w.Last.Sub(w.First).Milliseconds()
	if ms <= 0 {
		return 0
	}
	return float64(w.TookMS) / float64(ms)
}

// A Kernel is one that trials ran on.
type Kernel struct {
	Ref     string `json:"ref"`              // as the user wrote it
	Release string `json:"release"`          // uname -r; "" of one that never came up
	Commit  string `json:"commit,omitempty"` // full hash, of a git: kernel
	// Stream is what it is one of, from release to release: the pattern of a
	// config of nights, else its reference. Histories go along it.
	Stream string `json:"stream"`
}

// Name is what people call it.
func (k Kernel) Name() string { return cmp.Or(k.Release, k.Ref) }

// A Case is a scenario with its parameters fixed, and what was seen of it.
type Case struct {
	Scenario string  `json:"scenario"`
	Name     string  `json:"name"`    // "length=4096,memory_offset=32"; "" of a scenario without parameters
	Cells    []Cell  `json:"cells"`   // one for each kernel that it ran on
	History  []Point `json:"history"` // one for each night and kernel, oldest first
}

// Title is the case with its scenario.
func (c Case) Title() string { return titleOf(c.Scenario, c.Name) }

func titleOf(scenario, name string) string {
	if name == "" {
		return scenario
	}
	return scenario + " " + name
}

// A Cell is a case on a kernel: all trials of it.
type Cell struct {
	Kernel int `json:"kernel"`
	Tally
	Trial string `json:"trial"` // one that shows its verdict; "" when none is told
}

// A Point is a case on a kernel in one night.
type Point struct {
	Night  string `json:"night"` // UTC date: "2026-11-25"
	Kernel int    `json:"kernel"`
	Tally
}

// A Tally counts trials.
type Tally struct {
	Trials   int `json:"trials"`
	Failures int `json:"failures"`
	Errors   int `json:"errors"` // without a verdict about the kernel
	// Verdict is that of the most trials which failed, or pass or error where
	// none did.
	Verdict  scenarios.Verdict `json:"verdict"`
	Interval stats.Interval    `json:"interval"` // of the failure rate, 95%, with boots respected
	MS       int64             `json:"ms"`       // wall time of one trial, on average
}

// Judged is the number of trials with a verdict about the kernel.
func (t Tally) Judged() int { return t.Trials - t.Errors }

// Rate is the failure rate; 0 without trials.
func (t Tally) Rate() float64 {
	if t.Judged() <= 0 {
		return 0
	}
	return float64(t.Failures) / float64(t.Judged())
}

// Mixed tells whether some trials failed and others did not.
func (t Tally) Mixed() bool { return t.Failures > 0 && t.Failures < t.Judged() }

// A Kind is what became of a case.
type Kind = compare.Change

// Kinds of changes.
const (
	NewFailure     = compare.NewFailure
	AnotherFailure = compare.AnotherFailure
	Changed        = compare.Changed
	RateChanged    = compare.RateChanged
	Fixed          = compare.Fixed
	StillFailing   = compare.StillFailing
	Appeared       = compare.Appeared
	Disappeared    = compare.Disappeared
	NotRun         = compare.NotRun
	NoAnswer       = compare.NoAnswer
)

// Kinds are those that are told, the most important first. That a case passes
// as before is not.
var Kinds = compare.Changes[:slices.Index(compare.Changes, compare.Same)]

// A Change is what became of a case, from one night or kernel to another.
type Change struct {
	Kind     Kind   `json:"kind"`
	Why      string `json:"why,omitempty"` // one line
	Scenario string `json:"scenario"`
	Case     string `json:"case"`
	Before   Side   `json:"before"`
	After    Side   `json:"after"`
	// Probability is that there was a change at all; 0 where it was not
	// computed.
	Probability float64  `json:"probability,omitempty"`
	Known       *Known   `json:"known,omitempty"`     // it is known, and not news
	Elsewhere   []string `json:"elsewhere,omitempty"` // where else it fails
	Bisection   string   `json:"bisection,omitempty"` // name of the one that looked for its cause
	Trial       string   `json:"trial,omitempty"`     // name of one that shows it
}

// Title is the case with its scenario.
func (c Change) Title() string { return titleOf(c.Scenario, c.Case) }

// A Side is one side of a change. Of a side without trials the kernel is -1.
type Side struct {
	Kernel int    `json:"kernel"`
	Night  string `json:"night"`
	Tally
	Said      string `json:"said"`      // what the step said: "4096 bytes", "EINVAL", "no answer"
	Signature string `json:"signature"` // of the most frequent failure; "" without one
}

// Known is a failure that somebody has looked at before.
type Known struct {
	Link string `json:"link"`
	Note string `json:"note,omitempty"`
}

// A Trial is one case on one kernel, once.
type Trial struct {
	Name     string    `json:"name"` // RUN/NUMBER
	Kernel   int       `json:"kernel"`
	Scenario string    `json:"scenario"`
	Case     string    `json:"case"`
	Started  time.Time `json:"started"`

	Verdict   scenarios.Verdict   `json:"verdict"`
	Also      []scenarios.Verdict `json:"also"`
	Signature string              `json:"signature"`
	Phase     string              `json:"phase"`
	Reason    string              `json:"reason"`
	Outcome   string              `json:"outcome"`
	Errno     string              `json:"errno"`
	Legs      []scenarios.Leg     `json:"legs"`
	Findings  []Finding           `json:"findings"`
	Attempts  []results.Attempt   `json:"attempts"`

	Accel   string `json:"accel"`
	CPUs    int    `json:"cpus"`
	Warm    bool   `json:"warm"` // from a saved machine
	BootID  string `json:"boot_id"`
	BootMS  int64  `json:"boot_ms"`
	TrialMS int64  `json:"trial_ms"`
	GuestMS int64  `json:"guest_ms"`

	// Folder is the trial's, below the results' root, with slashes; "" when
	// none was kept.
	Folder   string    `json:"folder"`
	Events   []Event   `json:"events"`
	First    *First    `json:"first,omitempty"` // who failed first
	Commands []Command `json:"commands"`        // to see it again
}

// Title is the case with its scenario.
func (t Trial) Title() string { return titleOf(t.Scenario, t.Case) }

// A Finding is what the console showed.
type Finding struct {
	Kind     console.Kind `json:"kind"`
	Title    string       `json:"title"`
	Place    string       `json:"place"`
	Line     int          `json:"line"` // in console.log, from 1
	LastLine int          `json:"last_line,omitempty"`
	Trace    []string     `json:"trace,omitempty"` // functions, the innermost first; "?" before one that is not certain
}

// An Event is what guest, host or kernel said.
type Event struct {
	MS   int64  `json:"ms"`   // since the trial began, of the host's clock
	From string `json:"from"` // guest or host
	What string `json:"what"` // in a few words
}

// First is who failed first, by a trace of the block layer.
type First struct {
	Who     string   `json:"who"`
	Answers []string `json:"answers,omitempty"` // of devices that failed, in the order of time
}

// A Command is one to type.
type Command struct {
	Does string `json:"does"`
	Line string `json:"line"`
}

// A Bisection is a search for the commit or release that changed a case.
type Bisection struct {
	Name       string         `json:"name"` // of its folder
	Scenario   string         `json:"scenario"`
	Case       string         `json:"case"`
	Of         string         `json:"of"` // commits or releases
	Old        string         `json:"old"`
	New        string         `json:"new"`
	State      string         `json:"state"` // running, stopped, answered
	Direction  string         `json:"direction"`
	First      *bisect.Commit `json:"first,omitempty"`
	Grade      bisect.Grade   `json:"grade,omitempty"`
	Confidence float64        `json:"confidence,omitempty"`
	Why        []string       `json:"why"`    // it is not proven
	Checks     []bisect.Check `json:"checks"` // of the answer
	Steps      []Step         `json:"steps"`  // in the order in which they were taken
	Trials     int            `json:"trials"`
	Text       string         `json:"text,omitempty"` // the report that was written of it
}

// Title is the case with its scenario.
func (b Bisection) Title() string { return titleOf(b.Scenario, b.Case) }

// A Step is a commit or release that was tried.
type Step struct {
	Commit  string      `json:"commit"`
	Mark    bisect.Mark `json:"mark"`
	Fails   bool        `json:"fails"`
	End     bool        `json:"end"` // it is one of the ends
	Hits    int         `json:"hits"`
	Runs    int         `json:"runs"`
	P       float64     `json:"p,omitempty"`   // that the mark is right
	Why     string      `json:"why,omitempty"` // of a skip
	Release string      `json:"release,omitempty"`
}

// kernel is the one at a place; a zero one where there is none.
func (r Report) kernel(at int) Kernel {
	if at < 0 || at >= len(r.Kernels) {
		return Kernel{}
	}
	return r.Kernels[at]
}

// bisection is the one of that name; nil without.
func (r Report) bisection(name string) *Bisection {
	for i := range r.Bisections {
		if name != "" && r.Bisections[i].Name == name {
			return &r.Bisections[i]
		}
	}
	return nil
}

// trial is the one of that name; nil without.
func (r Report) trial(name string) *Trial {
	for i := range r.Trials {
		if name != "" && r.Trials[i].Name == name {
			return &r.Trials[i]
		}
	}
	return nil
}

// history is that of a case.
func (r Report) history(scenario, name string) []Point {
	for _, c := range r.Cases {
		if c.Scenario == scenario && c.Name == name {
			return c.History
		}
	}
	return nil
}
