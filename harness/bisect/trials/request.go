package trials

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/blockrig/blockrig/harness/bisect"
	"github.com/blockrig/blockrig/harness/console"
	"github.com/blockrig/blockrig/harness/trial"
	"github.com/blockrig/blockrig/scenarios"
	"github.com/blockrig/blockrig/scenarios/language"
)

// A Request is a bisection as it was asked for. It is all that its folder
// needs to be resumed: files of the user's are in it, not named by it, and names of
// commits and kernels are resolved.
type Request struct {
	Command  []string `json:"command"`
	Scenario Scenario `json:"scenario"`
	Machine  Machine  `json:"machine"`

	Direction bisect.Direction `json:"direction"`
	Criteria
	MaxSkips int `json:"max_skips,omitempty"`

	Git      *GitRequest     `json:"git,omitempty"`
	Releases *ReleaseRequest `json:"releases,omitempty"`
	// ThenGit is where commits are bisected once releases have left a range;
	// its ends follow from that.
	ThenGit *GitRequest `json:"then_git,omitempty"`
}

// Scenario is a scenario with the case to bisect with.
type Scenario struct {
	Name   string `json:"name"`
	File   string `json:"file,omitempty"` // where it was read from; "" of one that ships with blockrig
	Source string `json:"source"`
	Case   string `json:"case"`
}

// Machine is how the machines of a bisection run.
type Machine struct {
	Accel string `json:"accel"`
	CPUs  int    `json:"cpus,omitempty"`
	Jobs  int    `json:"jobs,omitempty"`
	Tools string `json:"tools"` // where the guest tools come from
	Cold  bool   `json:"cold,omitempty"`
	// Hub has workers that make the trials, all with this build of QEMU
	// (qemu.BuildID), so that kernels are compared and not machines.
	Hub  string `json:"hub,omitempty"`
	QEMU string `json:"qemu,omitempty"`
}

// An End is a commit or a release where a bisection begins.
type End struct {
	Name   string `json:"name"`   // as the user gave it
	Commit string `json:"commit"` // full hash, or the release's version
}

// A GitRequest is what a bisection of commits needs.
type GitRequest struct {
	Repo string `json:"repo"` // absolute
	Old  []End  `json:"old"`
	New  End    `json:"new"`

	FirstParent bool     `json:"first_parent,omitempty"`
	Paths       []string `json:"paths,omitempty"`
	TermOld     string   `json:"term_old,omitempty"`
	TermNew     string   `json:"term_new,omitempty"`

	Build Build `json:"build"`
}

// Build is how kernels are built.
type Build struct {
	CC        string   `json:"cc,omitempty"`
	Jobs      int      `json:"jobs,omitempty"`
	Config    *File    `json:"config,omitempty"`
	Fragments []string `json:"fragments,omitempty"` // besides the default ones
	Builders  int      `json:"builders,omitempty"`  // builds at once, of as many commits; 0: 1
	Patches   []File   `json:"patches,omitempty"`
	// Compiler has workers of the hub build, all with this one
	// (gitbuild.Build.Compiler), so that kernels are compared and not compilers.
	Compiler string `json:"compiler,omitempty"`
}

// A File is one of the user's, with its content.
type File struct {
	Name string `json:"name"`
	Text []byte `json:"text"`
}

// A ReleaseRequest is what a bisection of releases needs.
type ReleaseRequest struct {
	Releases []bisect.Release `json:"releases"`
	Old      End              `json:"old"`
	New      End              `json:"new"`
}

// maxFile bounds patches and configs, in bytes.
const maxFile = 32 << 20

// ReadFile takes a file into a request, unpacked: archives have mailboxes as
// .mbox.gz, and a kernel its config as config.gz.
func ReadFile(what, path string) (File, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return File{}, fmt.Errorf("%s: %w", what, err)
	case !info.Mode().IsRegular():
		return File{}, fmt.Errorf("%s %s is no regular file", what, path)
	case info.Size() > maxFile:
		return File{}, fmt.Errorf("%s %s has %d bytes, more than one can have", what, path, info.Size())
	}
	f, err := os.Open(path)
	if err != nil {
		return File{}, fmt.Errorf("%s: %w", what, err)
	}
	defer f.Close()
	r, done, err := console.Unpack(f)
	defer done()
	var text []byte
	if err == nil {
		text, err = io.ReadAll(io.LimitReader(r, maxFile+1))
	}
	switch {
	case err != nil:
		return File{}, fmt.Errorf("%s %s: %w", what, path, err)
	case len(text) > maxFile:
		return File{}, fmt.Errorf("%s %s has more than %d bytes when it is unpacked, more than one can have", what, path, maxFile)
	}
	return File{Name: filepath.Base(path), Text: text}, nil
}

// ScenarioOf takes a case into a request.
func ScenarioOf(c scenarios.Case) Scenario {
	s := c.Scenario
	return Scenario{Name: s.Name, File: s.File, Source: string(s.Source), Case: c.ID}
}

// scenarioCase reads the request's case.
func (r *Request) scenarioCase() (scenarios.Case, error) {
	sc, err := language.Parse(r.Scenario.Name, []byte(r.Scenario.Source))
	if err != nil {
		return scenarios.Case{}, fmt.Errorf("the bisection's scenario: %w", err)
	}
	sc.File = r.Scenario.File
	return language.OneCase(sc, r.Scenario.Case)
}

// Criteria say what counts as the failure, and how sure an answer is to be.
type Criteria struct {
	AnyFailure bool    `json:"any_failure,omitempty"`
	SameTitle  bool    `json:"same_title,omitempty"`
	BadWhen    string  `json:"bad_when,omitempty"` // see [bisect.Expr]
	Confidence float64 `json:"confidence,omitempty"`
	// For is what is looked for of all that the failing end shows; see
	// [bisect.ParseWanted].
	For []string `json:"for,omitempty"`
}

// Rules reads them. The error names the flag that is wrong.
func (c Criteria) Rules() (bisect.Rules, error) {
	rules := bisect.Rules{AnyFailure: c.AnyFailure, SameTitle: c.SameTitle}
	if c.BadWhen != "" {
		var err error
		if rules.BadWhen, err = bisect.ParseExpr(c.BadWhen); err != nil {
			return rules, wrong("--bad-when: %w", err)
		}
	}
	for _, text := range c.For {
		w, err := bisect.ParseWanted(text)
		if err != nil {
			return rules, wrong("--for: %w", err)
		}
		rules.For = append(rules.For, w)
	}
	if rules.Count() > 1 {
		return rules, wrong("--for, --any-failure, --same-title and --bad-when: give one of them")
	}
	if c.Confidence != 0 && !(c.Confidence > .5 && c.Confidence < 1) {
		return rules, wrong("--confidence %v: want more than 0.5 and less than 1", c.Confidence)
	}
	return rules, nil
}

// CheckCases refuses a condition on steps that none of the cases has.
func (c Criteria) CheckCases(cases ...scenarios.Case) error {
	rules, err := c.Rules()
	if err != nil || rules.BadWhen == nil {
		return err
	}
	var steps []string
	for _, c := range cases {
		for _, name := range trial.StepNames(c) {
			if !slices.Contains(steps, name) {
				steps = append(steps, name)
			}
		}
	}
	if err := rules.BadWhen.CheckSteps(steps); err != nil {
		return wrong("--bad-when: %w", err)
	}
	return nil
}

// Check says what in a request can't be.
func (r *Request) Check() error {
	if _, err := r.Rules(); err != nil {
		return err
	}
	if (r.Git == nil) == (r.Releases == nil) {
		return errors.New("neither commits nor releases to bisect")
	}
	return nil
}
