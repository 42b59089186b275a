package trial

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/blockrig/blockrig/harness/console"
	"github.com/blockrig/blockrig/harness/qemu"
	"github.com/blockrig/blockrig/harness/verdict"
	"github.com/blockrig/blockrig/initramfs/protocol"
	"github.com/blockrig/blockrig/scenarios"
)

// An Outcome is what came of a job, as a plain value. Its files lie beside it
// under the names below.
type Outcome struct {
	verdict.Judgement

	Report   verdict.Report    `json:"report"`
	Findings []console.Finding `json:"findings,omitempty"`
	Ready    *protocol.Ready   `json:"ready,omitempty"` // nil when the stack did not get ready
	Step     *protocol.Result  `json:"step,omitempty"`  // nil when the step gave no answer

	Release string     `json:"release,omitempty"` // of the kernel that came up; "" when it did not say
	BootID  string     `json:"boot_id,omitempty"`
	CPUs    int        `json:"cpus"`
	Accel   qemu.Accel `json:"accel"`
	Warm    bool       `json:"warm,omitempty"`

	Started time.Time     `json:"started"`
	Boot    time.Duration `json:"boot_ns"`  // from power-on, or from the start of loading a saved machine, until the stack is ready
	Trial   time.Duration `json:"trial_ns"` // from the step's start until its answer
	Wall    time.Duration `json:"wall_ns"`  // of the whole trial
	Guest   time.Duration `json:"guest_ns"` // guest time from boot to answer
	Timing  []Timing      `json:"timing,omitempty"`

	// Traced is who failed first; nil where nobody looked.
	Traced *Traced `json:"traced,omitempty"`

	// Worker made the trial; nil when it was made here.
	Worker *Worker `json:"worker,omitempty"`

	Attempts []Attempt `json:"attempts"` // all that were made; the last one is this outcome
}

// MarshalJSON writes the signature's titles as a list beside it.
func (o Outcome) MarshalJSON() ([]byte, error) {
	type plain Outcome
	return json.Marshal(struct {
		plain
		Titles []string `json:"titles,omitempty"` // of the signature
	}{plain(o), o.Signature.Titles})
}

// UnmarshalJSON implements json.Unmarshaler.
func (o *Outcome) UnmarshalJSON(src []byte) error {
	type plain Outcome
	var p struct {
		plain
		Titles []string `json:"titles"`
	}
	if err := json.Unmarshal(src, &p); err != nil {
		return err
	}
	*o = Outcome(p.plain)
	o.Signature.Titles = p.Titles
	return nil
}

// Timing is how long a part of a trial took.
type Timing struct {
	Phase string        `json:"phase"`
	What  string        `json:"what,omitempty"`
	Took  time.Duration `json:"took_ns"`
}

// An Attempt is one of the trials made to get one outcome.
type Attempt struct {
	Verdict scenarios.Verdict `json:"verdict"`
	Reason  string            `json:"reason"`
	MS      int64             `json:"ms"` // wall time, milliseconds
}

// Files of an outcome, in its folder. One that has nothing to say is not
// there.
const (
	ConsoleFile = "console.log"  // what the kernel said, and the trailer
	EventsFile  = "events.jsonl" // the messages exchanged with the guest
	ArgsFile    = "qemu.args"    // QEMU's command line, an argument a line
)

// AttemptConsole is the console of an attempt before the last one, counted
// from 1.
func AttemptConsole(n int) string { return fmt.Sprintf("console-attempt-%d.log", n) }

// Files of a trial that was made once more to be traced.
const (
	TracedConsole = "console-traced.log"
	TracedEvents  = "events-traced.jsonl"
)

// workDir is where a trial has what it needs while it runs: disks, sockets.
const workDir = "work"

// moveFiles moves an outcome's files, those that there are.
func moveFiles(from, to string) error {
	for _, name := range []string{ConsoleFile, EventsFile, ArgsFile} {
		if err := moveFile(filepath.Join(from, name), filepath.Join(to, name)); err != nil {
			return err
		}
	}
	return nil
}

func moveFile(from, to string) error {
	if err := os.Rename(from, to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("keep a trial's files: %w", err)
	}
	return nil
}

func writeArgs(dir string, args []string) error {
	return os.WriteFile(filepath.Join(dir, ArgsFile), []byte(strings.Join(args, "\n")+"\n"), 0o666)
}
