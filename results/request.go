package results

import (
	"errors"
	"fmt"

	"github.com/blockrig/blockrig/harness/trial"
	"github.com/blockrig/blockrig/scenarios"
	"github.com/blockrig/blockrig/scenarios/language"
)

// Verbs whose runs can be resumed.
const (
	VerbRun   = "run"
	VerbRepro = "repro"
)

// A Request is all that a run is to do, so that another process can do the
// rest of it: each kernel with each case, so many times.
type Request struct {
	Verb    string   `json:"verb"` // "" of a run that can't be resumed
	Command []string `json:"-"`    // with its arguments, for people; it is in run.json
	// Apart keeps the run out of the index: its trials are not a part of the
	// history, such as those of commits that a bisection makes up.
	Apart bool `json:"-"`

	Scenarios []Scenario        `json:"scenarios"`
	Kernels   []RequestedKernel `json:"kernels"`
	Repeat    int               `json:"repeat"` // trials of each case on each kernel
	Boots     int               `json:"boots"`  // of each kernel, that they are spread over
	UntilFail bool              `json:"until_fail,omitempty"`
	Trust     float64           `json:"trust_rate,omitempty"` // failure rate that passes are to rule out

	Accel     string `json:"accel"`
	CPUs      int    `json:"cpus,omitempty"` // of the guest; 0: the accelerator's default
	Jobs      int    `json:"jobs,omitempty"` // trials at a time; 0: what this machine carries
	Cold      bool   `json:"cold,omitempty"`
	CacheSize string `json:"cache_size,omitempty"` // of saved machines
	Trace     string `json:"trace,omitempty"`      // auto, always or never; "": never
	Tools     string `json:"tools"`                // where the guest tools come from
	Build     Build  `json:"build,omitzero"`       // of git: kernels
	Seed      []byte `json:"seed,omitempty"`       // of the first trial of each case; none: each draws its own
}

// A Scenario is one as it was when the run began, with the cases asked for.
type Scenario struct {
	Name   string   `json:"name"`
	File   string   `json:"file,omitempty"` // where it was read from; "" of one that ships with blockrig
	Source string   `json:"source"`         // YAML
	Cases  []string `json:"cases"`
}

// A RequestedKernel is what a reference stands for.
type RequestedKernel struct {
	Ref string `json:"ref"` // as the user wrote it
	// Known once it was prepared: a reference that gives this very kernel
	// again, and the digest of image, config and modules.
	Exact  string `json:"exact,omitempty"`
	Digest string `json:"digest,omitempty"`
}

// Build is how kernels of git: references are built. Paths are absolute.
type Build struct {
	CC        string   `json:"cc,omitempty"`
	Jobs      int      `json:"jobs,omitempty"` // of make
	Config    string   `json:"config,omitempty"`
	Fragments []string `json:"fragments,omitempty"`
	Patches   []string `json:"patches,omitempty"`
}

// ErrCantResume says that a run is none whose rest can be done.
var ErrCantResume = errors.New("it can't be resumed")

// DefaultCacheSize is the CacheSize where nobody says another.
const DefaultCacheSize = "8GiB"

// ScenariosOf groups cases that follow each other by their scenario.
func ScenariosOf(cases []scenarios.Case) []Scenario {
	var out []Scenario
	var last *scenarios.Scenario
	for _, c := range cases {
		if s := c.Scenario; s != last {
			out = append(out, Scenario{Name: s.Name, File: s.File, Source: string(s.Source)})
			last = s
		}
		of := &out[len(out)-1]
		of.Cases = append(of.Cases, c.ID)
	}
	return out
}

// KernelsOf is the request's list of references.
func KernelsOf(refs ...string) []RequestedKernel {
	out := make([]RequestedKernel, len(refs))
	for i, ref := range refs {
		out[i].Ref = ref
	}
	return out
}

// Parse gives the cases of a stored scenario.
func (s Scenario) Parse() ([]scenarios.Case, error) {
	name := s.File
	if name == "" {
		name = s.Name
	}
	sc, err := language.Parse(name, []byte(s.Source))
	if err != nil {
		return nil, err
	}
	sc.File = s.File
	return language.CasesByID(sc, s.Cases...)
}

// Cases are those of all scenarios.
func (r Request) Cases() ([]scenarios.Case, error) {
	var out []scenarios.Case
	for _, s := range r.Scenarios {
		cases, err := s.Parse()
		if err != nil {
			return nil, err
		}
		out = append(out, cases...)
	}
	return out, nil
}

// Trials is how many trials are asked for.
func (r Request) Trials() int {
	cases := 0
	for _, s := range r.Scenarios {
		cases += len(s.Cases)
	}
	return len(r.Kernels) * cases * r.Repeat
}

// MaxRepeat bounds Request.Repeat: each trial takes memory from the start.
const MaxRepeat = 100_000

// check says what can't be in a request, which may come from anywhere.
func (r Request) check() error {
	switch r.Verb {
	case VerbRun, VerbRepro:
	case "":
		return errors.New("it was made by an older blockrig, which did not store its request; begin a new run")
	default:
		return fmt.Errorf("verb %q is unknown; begin a new run", r.Verb)
	}
	for _, n := range []struct {
		what            string
		value, min, max int
	}{{"repeat", r.Repeat, 1, MaxRepeat}, {"boots", r.Boots, 1, MaxRepeat}, {"cpus", r.CPUs, 0, 64}, {"jobs", r.Jobs, 0, 10_000}} {
		if n.value < n.min || n.value > n.max {
			return fmt.Errorf("%s is %d: want %d to %d", n.what, n.value, n.min, n.max)
		}
	}
	return nil
}

// Tasks are the trials that are asked for. A trial's place in them is its
// record's Task.
func (r Request) Tasks() ([]trial.Task, error) {
	err := r.check()
	var cases []scenarios.Case
	if err == nil {
		cases, err = r.Cases()
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCantResume, err)
	}
	var out []trial.Task
	for _, k := range r.Kernels {
		for _, c := range cases {
			for n := range r.Repeat {
				out = append(out, trial.Task{Ref: k.Ref, Exact: k.Exact, Case: c, Repeat: n, Boot: n % r.Boots})
			}
		}
	}
	return out, nil
}

// Seeded gives jobs the request's seed: the first of each case on each kernel.
func (r Request) Seeded(tasks []trial.Task, jobs []trial.Queued) {
	for i, t := range tasks {
		if len(r.Seed) > 0 && t.Repeat == 0 {
			jobs[i].Seed = r.Seed
		}
	}
}

// Left gives the places of the tasks that are still to be done, and the
// records of the others at theirs. A case that has failed is over where the
// request says so.
func (s Stored) Left(tasks []trial.Task) (todo []int, records []*Record, err error) {
	records = make([]*Record, len(tasks))
	repeat := max(1, s.Request.Repeat)
	over := map[int]bool{} // repeats of a case
	for _, r := range s.Records {
		if r.Task < 0 || r.Task >= len(tasks) {
			return nil, nil, fmt.Errorf("%w: it has a trial %d, and its request is for %d", ErrCantResume, r.Task, len(tasks))
		}
		t := tasks[r.Task]
		if t.Ref != r.Kernel.Ref || t.Case.ID != r.Case || t.Case.Scenario.Name != r.Scenario {
			return nil, nil, fmt.Errorf("%w: its trial %d is another than was asked for: %s, %s", ErrCantResume, r.Task, r.Kernel.Ref, r.Case)
		}
		records[r.Task] = &r
		if s.Request.UntilFail && r.Verdict.Failure() {
			over[r.Task/repeat] = true
		}
	}
	for i := range tasks {
		if records[i] == nil && !over[i/repeat] {
			todo = append(todo, i)
		}
	}
	return todo, records, nil
}

// note puts in which kernel a reference stands for, and tells whether that is
// new. One that stands for another than before is an error.
func (r *Request) note(k trial.Kernel) (changed bool, err error) {
	for i := range r.Kernels {
		have := &r.Kernels[i]
		switch {
		case have.Ref != k.Ref || k.Exact == "":
		case have.Exact == "":
			have.Exact, have.Digest, changed = k.Exact, k.Digest, true
		case have.Digest != k.Digest:
			return false, fmt.Errorf("%w: kernel %s is another now than when the run began; begin a new run", ErrCantResume, k.Ref)
		}
	}
	return changed, nil
}
