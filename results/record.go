package results

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/blockrig/blockrig/harness/console"
	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/harness/trial"
	"github.com/blockrig/blockrig/harness/verdict"
	"github.com/blockrig/blockrig/scenarios"
)

// A Record is what is known of one trial: one case on one kernel, once.
type Record struct {
	Scenario  string              `json:"scenario"`
	Case      string              `json:"case"` // "length=4096,memory_offset=32"; "" when the scenario has no parameters
	Kernel    Kernel              `json:"kernel"`
	Verdict   scenarios.Verdict   `json:"verdict"`
	Also      []scenarios.Verdict `json:"also"`
	Signature verdict.Signature   `json:"signature"`
	Phase     string              `json:"phase"`
	Errno     string              `json:"errno"` // of the step: EINVAL; "" when it did not fail
	Bytes     int64               `json:"bytes"` // that the step gave
	Legs      []scenarios.Leg     `json:"legs"`
	Findings  []Finding           `json:"findings"`
	Accel     string              `json:"accel"` // kvm or tcg
	CPUs      int                 `json:"cpus"`  // of the guest
	Warm      bool                `json:"warm"`  // from a snapshot
	BootID    string              `json:"boot_id"`
	BootMS    int64               `json:"boot_ms"`  // wall time from power-on or load until the stack was ready, milliseconds
	TrialMS   int64               `json:"trial_ms"` // wall time of all of the trial, milliseconds
	Attempts  []Attempt           `json:"attempts"` // all that were made, the last one being this record's
	RunDir    string              `json:"run_dir"`  // the trial's folder; "" when it was not stored

	// Worker made the trial, of a hub's; nil where this machine did.
	Worker *trial.Worker `json:"worker,omitempty"`

	// FirstFailed is who failed first, of a trial of which that was looked for.
	FirstFailed *trial.Traced `json:"first_failed,omitempty"`

	Reason  string    `json:"reason"`  // one line: why this verdict
	Outcome string    `json:"outcome"` // what the step said: "4096 bytes", "EINVAL", "no answer"
	Started time.Time `json:"started"`
	Task    int       `json:"task"`     // its place in what the run was asked for, from 0
	GuestMS int64     `json:"guest_ms"` // the guest's own time from its boot to the answer, milliseconds; 0 when there was none
}

// Kernel is the kernel that a trial ran on.
type Kernel struct {
	Ref     string `json:"ref"`              // as the user wrote it
	Release string `json:"release"`          // uname -r
	Exact   string `json:"exact,omitempty"`  // a reference that gives this very kernel again
	Digest  string `json:"digest,omitempty"` // of image, config and modules
}

// A Finding is what the console showed, without its trace.
type Finding struct {
	Kind  console.Kind `json:"kind"`
	Title string       `json:"title"`
	Place string       `json:"place"`
	Line  int          `json:"line"` // in console.log, from 1
}

// An Attempt is one try to get a verdict. One that ends in error is tried
// again.
type Attempt = trial.Attempt

// Took is how long all attempts took.
func (r Record) Took() time.Duration {
	var ms int64
	for _, a := range r.Attempts {
		ms += a.MS
	}
	if ms == 0 {
		ms = r.TrialMS
	}
	return time.Duration(ms) * time.Millisecond
}

// Findings are those of a console that count for a trial: not the boot's
// baseline.
func Findings(all []console.Finding) []Finding {
	out := []Finding{}
	for _, f := range all {
		if !f.Baseline {
			out = append(out, Finding{Kind: f.Kind, Title: f.Title, Place: f.Place, Line: f.Line})
		}
	}
	return out
}

// MarshalJSON writes the signature's titles as a list beside it, and empty
// lists as [], so that a reader need not tell them from null.
func (r Record) MarshalJSON() ([]byte, error) {
	type plain Record
	p := plain(r)
	p.Also = OrEmpty(p.Also)
	p.Legs = OrEmpty(p.Legs)
	p.Findings = OrEmpty(p.Findings)
	p.Attempts = OrEmpty(p.Attempts)
	return json.Marshal(struct {
		plain
		Titles []string `json:"titles"` // of the signature
	}{p, OrEmpty(r.Signature.Titles)})
}

// UnmarshalJSON implements json.Unmarshaler. A record from before there was a
// list of titles has those of its findings.
func (r *Record) UnmarshalJSON(src []byte) error {
	type plain Record
	var p struct {
		plain
		Titles *[]string `json:"titles"`
	}
	if err := json.Unmarshal(src, &p); err != nil {
		return err
	}
	var titles []string
	if p.Titles != nil {
		titles = *p.Titles
	} else {
		for _, f := range p.Findings {
			titles = append(titles, f.Title)
		}
		slices.Sort(titles)
		titles = slices.Compact(titles)
	}
	if *r = Record(p.plain); len(titles) > 0 {
		r.Signature.Titles = titles
	}
	return nil
}

// OrEmpty is a list as it stands in JSON, where one without elements is no null.
func OrEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// WriteJSON writes one object a line for each record.
func WriteJSON(w io.Writer, records ...Record) error {
	for _, r := range records {
		line, err := text.JSONLine(r)
		if err != nil {
			return err
		}
		if _, err := w.Write(line); err != nil {
			return fmt.Errorf("write results: %w", err)
		}
	}
	return nil
}

// WriteSummaries writes one object a line for each summary.
func WriteSummaries(w io.Writer, all ...Summary) error {
	for _, s := range all {
		line, err := text.JSONLine(s)
		if err != nil {
			return err
		}
		if _, err := w.Write(line); err != nil {
			return fmt.Errorf("write summaries: %w", err)
		}
	}
	return nil
}

// decode reads a record that was stored, and refuses one that can't be a
// trial's.
func decode(src []byte) (Record, error) {
	var r Record
	dec := json.NewDecoder(bytes.NewReader(src))
	if err := dec.Decode(&r); err != nil {
		return Record{}, fmt.Errorf("not a result: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return Record{}, errors.New("not a result: there is more after it")
	}
	if !r.Verdict.Known() {
		return Record{}, fmt.Errorf("not a result: unknown verdict %q", r.Verdict)
	}
	for _, v := range r.Also {
		if !v.Known() {
			return Record{}, fmt.Errorf("not a result: unknown verdict %q", v)
		}
	}
	if r.Scenario == "" {
		return Record{}, errors.New("not a result: it names no scenario")
	}
	return r, nil
}
