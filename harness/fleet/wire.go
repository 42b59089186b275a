package fleet

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/blockrig/blockrig/harness/qemu"
	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/harness/trial"
	"github.com/blockrig/blockrig/kernels/gitbuild"
)

// Times of a lease.
const (
	// LeaseTime is how long a worker may be silent before its jobs go to others.
	LeaseTime = time.Minute
	// extendEvery is how often a worker says that it is at work.
	extendEvery = 15 * time.Second
)

// MostDeaths is how many workers a job may take with it.
const MostDeaths = 3

// Limits of what is sent.
const (
	maxMessage = 1 << 20   // of NATS, bytes
	maxJob     = 512 << 10 // one job, bytes
	maxOutcome = 512 << 10 // an outcome within a message, bytes; a longer one is a file
	maxPart    = 4 << 20   // part of a file in one request, bytes
	maxFile    = 2 << 30   // an artefact, bytes
	maxLog     = 300 << 20 // a file of a trial's outcome, bytes
	maxBuilt   = 2 << 30   // a file of a build's, bytes; the largest is a kernel with its symbols
	maxFiles   = 16        // of an outcome
)

// MaxSlots is how many trials a worker may make at a time, and MaxBuilds how
// many kernels it may build.
const (
	MaxSlots  = 256
	MaxBuilds = 16
)

// mostHeld is how many leases a worker may have.
const mostHeld = MaxSlots + MaxBuilds

// A Class is what trials must have in common to be compared, or to be made by
// a worker at all: the language that guest and host speak, the build of QEMU,
// the accelerator, and under KVM the processor. That of builds has a compiler
// instead.
type Class struct {
	Guest    string     `json:"guest,omitempty"` // blockrig.GuestSources
	QEMU     string     `json:"qemu,omitempty"`  // qemu.BuildID
	Accel    qemu.Accel `json:"accel,omitempty"`
	CPU      string     `json:"cpu,omitempty"`
	Compiler string     `json:"compiler,omitempty"` // gitbuild.Build's
}

// builds says that jobs of the class are builds of kernels.
func (c Class) builds() bool { return c.Compiler != "" }

// An Artefact is a file by its content.
type Artefact struct {
	SHA256 string `json:"sha256"` // hex
	Size   int64  `json:"size"`
}

var digestForm = regexp.MustCompile(`^[0-9a-f]{64}$`)

func (a Artefact) check(most int64) error {
	switch {
	case !digestForm.MatchString(a.SHA256):
		return errors.New("a file is not named by a SHA-256")
	case a.Size < 0 || a.Size > most:
		return fmt.Errorf("a file of %d bytes: want %d at most", a.Size, most)
	}
	return nil
}

// A Task is a job with what it takes to do it.
type Task struct {
	Job   json.RawMessage `json:"job"`   // trial.Job or, where the class has a compiler, gitbuild.Job
	Group string          `json:"group"` // jobs that go on from one saved machine, or are the same build
	Class Class           `json:"class"`

	Image  Artefact `json:"image,omitzero"` // bzImage
	Initrd Artefact `json:"initrd,omitzero"`

	Packs  []pack   `json:"packs,omitempty"` // with the sources, each with what those before it lack
	Config Artefact `json:"config,omitzero"` // to begin with
	// Near are commits whose object trees are worth going on from, the best first.
	Near []string `json:"near,omitempty"`
}

// A pack is gitbuild's, sent.
type pack struct {
	Tree string `json:"tree"`
	Artefact
}

// Limits of a build's task.
const (
	maxPacks = 8
	maxNear  = 64
)

var treeForm = regexp.MustCompile(`^[0-9a-f]{40}$`)

var groupForm = regexp.MustCompile(`^[0-9a-zA-Z_-]{1,80}$`)

func (t Task) check() error {
	if len(t.Job) > maxJob {
		return fmt.Errorf("a job of %d bytes: want %d at most", len(t.Job), maxJob)
	}
	if !groupForm.MatchString(t.Group) {
		return errors.New("a job of no group")
	}
	err := t.Class.check()
	files := []Artefact{t.Image, t.Initrd, t.Config}
	for _, p := range t.Packs {
		files = append(files, p.Artefact)
	}
	for _, a := range files {
		if a != (Artefact{}) {
			err = errors.Join(err, a.check(maxFile))
		}
	}
	if len(t.Packs) > maxPacks || len(t.Near) > maxNear || t.Class.builds() && len(t.Packs) == 0 {
		err = errors.Join(err, errors.New("a build of too many sources, or of none"))
	}
	return errors.Join(err, checkCommits(t.Near))
}

func checkCommits(all []string) error {
	for _, c := range all {
		if !treeForm.MatchString(c) {
			return errors.New("a commit that is not named by a hash of git's")
		}
	}
	return nil
}

func (c Class) check() error {
	if c.builds() {
		if c != (Class{Compiler: c.Compiler}) || len(c.Compiler) > 400 {
			return errors.New("it is not said what compiler it is for")
		}
		return nil
	}
	if c.Accel != qemu.TCG && c.Accel != qemu.KVM || len(c.QEMU) > 200 || len(c.Guest) > 200 || len(c.CPU) > 200 {
		return errors.New("it is not said what machine it is for")
	}
	return nil
}

// A File of an outcome.
type File struct {
	Name string `json:"name"`
	Artefact
}

// fileNames are those that an outcome can have, a build's besides those of a
// trial.
var fileNames = append(slices.Clone(trialFiles), gitbuild.EntryFiles...)

var trialFiles = []string{
	trial.ConsoleFile, trial.EventsFile, trial.ArgsFile, trial.AttemptConsole(1), trial.AttemptConsole(2), trial.TracedConsole, trial.TracedEvents,
}

// outcomeFile is an outcome that is too long for a message.
const outcomeFile = "outcome.json"

// A Result is what a worker gives for a job.
type Result struct {
	Outcome json.RawMessage `json:"outcome,omitempty"` // trial.Outcome or built, or in the file of that name
	Files   []File          `json:"files,omitempty"`
}

// built is what a worker says of a build. Its files say more.
type built struct {
	Built string `json:"built"` // builtYes or builtNo
}

const (
	builtYes = "built"
	builtNo  = "not to be built"
)

// check says what in a result can't be, whose files have some of these names.
func (r Result) check(files []string) error {
	if len(r.Outcome) > maxOutcome || len(r.Files) > maxFiles {
		return errors.New("an outcome that is too large")
	}
	names := map[string]bool{}
	for _, f := range r.Files {
		if f.Name != outcomeFile && !slices.Contains(files, f.Name) || names[f.Name] {
			return fmt.Errorf("an outcome has no file %s", text.Cut(text.OneLine(f.Name), 60))
		}
		names[f.Name] = true
		most := int64(maxLog)
		if slices.Contains(gitbuild.EntryFiles, f.Name) {
			most = maxBuilt
		}
		if err := f.check(most); err != nil {
			return err
		}
	}
	if (len(r.Outcome) == 0) != names[outcomeFile] {
		return errors.New("it says nothing, or twice, what came out")
	}
	return nil
}

// place is a job's in a client's batch.
type place struct {
	Batch string `json:"batch"`
	N     int    `json:"n"`
}

// A Lease is a job that a worker was given.
type Lease struct {
	place
	Reply string `json:"reply"` // where JetStream takes what becomes of it
	Token string `json:"token"` // proves that the hub gave it
	Task  Task   `json:"task"`
}

var idForm = regexp.MustCompile(`^[0-9a-f]{32}$`)

func checkID(id string) error {
	if !idForm.MatchString(id) {
		return errors.New("an identity has 32 hex digits")
	}
	return nil
}

func hexOf(b []byte) string { return hex.EncodeToString(b) }

// Requests and answers. Every answer has an error instead, if any.
type (
	failure struct {
		Error string `json:"error,omitempty"`
	}
	// About is what a worker says of itself.
	About struct {
		Name    string  `json:"name"`  // of the machine, for people
		Slots   int     `json:"slots"` // trials at a time
		Classes []Class `json:"classes"`
		Version string  `json:"version"` // of QEMU, for people
		CPU     string  `json:"cpu"`     // of the host, for people
		// Builds are kernels that it builds at a time, and Commits those that it has
		// object trees of.
		Builds  int      `json:"builds,omitempty"`
		Commits []string `json:"commits,omitempty"`
	}
	leaseRequest struct {
		About
		Want   int  `json:"want"`
		Builds bool `json:"want_builds,omitempty"` // not trials
	}
	leaseAnswer struct {
		failure
		Leases []Lease `json:"leases,omitempty"`
	}
	// held names a lease without its task.
	held struct {
		place
		Reply string `json:"reply"`
		Token string `json:"token"`
	}
	extendRequest struct {
		About
		Leases []held `json:"leases"`
	}
	extendAnswer struct {
		failure
		Drop []place `json:"drop,omitempty"` // nobody wants these any more
	}
	doneRequest struct {
		held
		About
		Result Result `json:"result"`
	}
	backRequest struct {
		Why    string `json:"why,omitempty"` // the worker can't do it; "": it ends
		Leases []held `json:"leases"`
	}
	plain struct{ failure }

	classAnswer struct {
		failure
		Classes []ClassOf `json:"classes"`
	}
	numbered struct {
		N int `json:"n"`
		Task
	}
	submitRequest struct {
		Batch string     `json:"batch"`
		Tasks []numbered `json:"tasks"`
		Last  bool       `json:"last"` // that is all that the client wants for now
	}
	pollRequest struct {
		Batch   string `json:"batch"`
		Confirm []int  `json:"confirm,omitempty"` // recorded
		Held    []int  `json:"held,omitempty"`    // of these the client has the result, and has not recorded it
	}
	pollAnswer struct {
		failure
		Unknown bool      `json:"unknown,omitempty"` // the hub has lost the batch: submit again what is not done
		Results []Came    `json:"results,omitempty"`
		Second  []Second  `json:"second,omitempty"`
		Started []Started `json:"started,omitempty"`
		Idle    string    `json:"idle,omitempty"` // why nobody does it, for people
	}
	cancelRequest struct {
		Batch string `json:"batch"`
		Which []int  `json:"which"`
	}
)

// ClassOf says how many workers are of a class.
type ClassOf struct {
	Class
	Workers int      `json:"workers"`
	Slots   int      `json:"slots"`             // trials, or builds, at a time
	Commits []string `json:"commits,omitempty"` // that there are object trees of
}

// Came is a result that has come.
type Came struct {
	N      int    `json:"n"`
	Result Result `json:"result"`
	Worker string `json:"worker"`
	CPU    string `json:"cpu,omitempty"`
	WaitMS int64  `json:"wait_ms,omitempty"` // from when the hub had the job until the worker took it
}

// Second is a verdict that came after the first, and differs.
type Second struct {
	N       int    `json:"n"`
	First   string `json:"first"`
	Verdict string `json:"verdict"`
	Worker  string `json:"worker"`
}

// Started is a job that a worker has begun.
type Started struct {
	N      int    `json:"n"`
	Worker string `json:"worker"`
}

func (a About) check() error {
	if a.Slots < 1 || a.Slots > MaxSlots || len(a.Classes) == 0 || len(a.Classes) > 8 || len(a.Name) > 100 || len(a.Version) > 200 || len(a.CPU) > 200 {
		return errors.New("a worker that does not say what it is")
	}
	if a.Builds < 0 || a.Builds > MaxBuilds || len(a.Commits) > maxNear {
		return errors.New("a worker that does not say what it builds")
	}
	for _, c := range a.Classes {
		if err := c.check(); err != nil {
			return err
		}
	}
	return checkCommits(a.Commits)
}
