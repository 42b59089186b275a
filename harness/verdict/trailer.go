package verdict

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/blockrig/blockrig/harness/console"
)

// TrailerPrefix starts the lines that the host appends to a console log.
const TrailerPrefix = "blockrig: host: "

// GuestPrefix starts what PID 1 wrote to the kernel's log.
const GuestPrefix = "blockrig: guest: "

// Trailer is the line that ends a saved console log: what guest and host
// reported, so that the log alone gives the trial's verdict.
func Trailer(r Report) (string, error) {
	b, err := json.Marshal(r)
	if err != nil {
		return "", fmt.Errorf("write the report into the console log: %w", err)
	}
	return TrailerPrefix + string(b) + "\n", nil
}

// A Mark is a line of blockrig's own in a console log.
type Mark struct {
	Line int    // from 1
	Text string // from "blockrig: " on
}

// Log is what a kernel log holds, as far as a verdict needs it.
type Log struct {
	Findings    []console.Finding
	Marks       []Mark
	KernelLines int // lines that a kernel wrote
}

// ErrNoKernel says that there is nothing of a kernel in a log.
var ErrNoKernel = errors.New("not one line of it is a kernel's")

// JudgeLog judges a log alone. One that blockrig saved is judged as the trial
// was. In any other an I/O error counts as eio, and nothing found is clean.
func JudgeLog(l Log) (Judgement, error) {
	if r, ok, err := reportIn(l.Marks); err != nil {
		return Judgement{}, err
	} else if ok {
		return Judge(l.Findings, r, PhaseOf(l.Marks)), nil
	}
	if l.KernelLines == 0 {
		return Judgement{}, ErrNoKernel
	}
	r := Report{Phase: lastPhase(l.Marks)}
	all := fromFindings(l.Findings, r, PhaseOf(l.Marks))
	for i := range all {
		if all[i].verdict == Degraded {
			all[i].verdict = EIO
		}
	}
	for _, f := range l.Findings {
		if f.Kind == console.KindBoot && !f.Baseline && !f.Consequence {
			// It says that a kernel did not come up, which is no verdict about it.
			all = append(all, evidence{verdict: Error, phase: "boot", why: f.Title, title: f.Title})
		}
	}
	if len(all) == 0 {
		all = []evidence{{verdict: Clean, phase: r.Phase, why: "nothing found"}}
	}
	return judgement(r, all), nil
}

// reportIn finds the host's trailer: the last of blockrig's lines, since
// nothing of the guest comes after it.
func reportIn(marks []Mark) (Report, bool, error) {
	if len(marks) == 0 {
		return Report{}, false, nil
	}
	last := marks[len(marks)-1]
	text, ok := strings.CutPrefix(last.Text, TrailerPrefix)
	if !ok {
		return Report{}, false, nil
	}
	var r Report
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return Report{}, false, fmt.Errorf("line %d: the host's report can't be read: %w", last.Line, err)
	}
	return r, true, nil
}

// PhaseOf tells the phase of a finding from the guest's marks around it.
func PhaseOf(marks []Mark) func(console.Finding) string {
	return func(f console.Finding) string {
		phase := ""
		for _, m := range marks {
			if m.Line > f.Line {
				break
			}
			if p := phaseIn(m.Text); p != "" {
				phase = p
			}
		}
		if phase == "done" {
			phase = "step" // what a kernel says late is the step's doing
		}
		return phase
	}
}

func lastPhase(marks []Mark) string {
	phase := ""
	for _, m := range marks {
		if p := phaseIn(m.Text); p != "" {
			phase = p
		}
	}
	return phase
}

// phaseIn takes the phase out of "blockrig: guest: phase stack: lvcreate …".
func phaseIn(text string) string {
	rest, ok := strings.CutPrefix(text, GuestPrefix+"phase ")
	if !ok {
		return ""
	}
	p, _, _ := strings.Cut(rest, ":")
	return strings.TrimSpace(p)
}
