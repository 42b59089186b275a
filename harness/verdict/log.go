package verdict

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/blockrig/blockrig/harness/console"
	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/initramfs/protocol"
	"github.com/blockrig/blockrig/scenarios"
)

// trailer is what the host appends to a saved console log: what guest and
// host reported, so that the log alone gives the trial's verdict.
type trailer struct {
	Report
	// Log names the log that it was written for; "" where an older blockrig
	// wrote it.
	Log string `json:"log,omitempty"`
}

// Trailer is the line that ends the console log of that name (see
// protocol.LogSum).
func Trailer(r Report, log string) (string, error) {
	line, err := text.JSONLine(trailer{r, log})
	if err != nil {
		return "", fmt.Errorf("write the report into the console log: %w", err)
	}
	return protocol.HostLine(line), nil
}

// Log is what a kernel log holds, as far as a verdict needs it.
type Log struct {
	Findings    []console.Finding
	Marks       []console.Mark
	KernelLines int // lines that a kernel wrote
	Trailers    []protocol.Trailer
}

// ErrNoKernel says that there is nothing of a kernel in a log.
var ErrNoKernel = errors.New("not one line of it is a kernel's")

// JudgeLog judges a log alone. One that blockrig saved is judged as the trial
// was. In any other an I/O error counts as eio, what blockrig's guest says of
// wrong data or a task that can't be killed counts as that, and nothing found is
// clean.
func JudgeLog(l Log) (Judgement, error) {
	if r, ok, err := l.report(); err != nil {
		return Judgement{}, err
	} else if ok {
		return Judge(l.Findings, r, PhaseOf(l.Marks)), nil
	}
	if l.KernelLines == 0 {
		return Judgement{}, ErrNoKernel
	}
	r := Report{Phase: phaseAt(l.Marks, -1)}
	all := fromFindings(l.Findings, r, PhaseOf(l.Marks))
	for i := range all {
		if all[i].verdict == scenarios.Degraded {
			all[i].verdict = scenarios.EIO
		}
	}
	for _, f := range l.Findings {
		if f.Kind == console.KindBoot && !f.Baseline && !f.Consequence {
			// It says that a kernel did not come up, which is no verdict about it.
			all = append(all, evidence{verdict: scenarios.Error, phase: scenarios.PhaseBoot, why: f.Title, title: f.Title})
		}
	}
	said, returned := l.guestSays()
	all = append(all, said...)
	if len(all) == 0 {
		why := cleanReason(l.Findings)
		if returned {
			why += "; whether the steps ended as they should is not in it"
		}
		all = []evidence{{verdict: scenarios.Clean, phase: r.Phase, why: why}}
	}
	return judgement(r, all), nil
}

// guestSays gives the failures that the guest told by itself, and whether it
// did anything.
func (l Log) guestSays() (out []evidence, returned bool) {
	for _, m := range l.Marks {
		g, _ := protocol.ParseGuestLine(m.Text)
		returned = returned || g.Returned != nil || g.End != nil
		if g.Shows != nil {
			out = append(out, evidence{verdict: g.Shows.Verdict, phase: scenarios.PhaseStep, why: g.Shows.Why})
		}
	}
	return out, returned
}

// report gives what the host says of the trial, when it is this log's: the
// one line at its end that was written for it. What was put behind it from
// another log does not count.
func (l Log) report() (Report, bool, error) {
	var old *Report
	var unread error
	for i := len(l.Trailers) - 1; i >= 0; i-- {
		t := l.Trailers[i]
		var said trailer
		err := json.Unmarshal(t.Text, &said)
		switch {
		case !t.Last:
		case err != nil && len(l.Trailers) == 1:
			unread = fmt.Errorf("line %d: the host's report can't be read: %w", t.Line, err)
		case err != nil:
		case said.Log == t.After:
			return said.Report, true, nil
		case said.Log == "" && l.agrees(said.Report):
			old = &said.Report // the first one: others were put behind it
		}
	}
	if old != nil {
		return *old, true, nil
	}
	return Report{}, false, unread
}

// agrees says whether a report that does not name its log can be this one's,
// by what the guest itself wrote into it.
func (l Log) agrees(r Report) bool {
	spoke := false
	var returned *protocol.Returned
	for _, m := range l.Marks {
		g, ok := protocol.ParseGuestLine(m.Text)
		spoke = spoke || ok
		if ok && g.Returned != nil {
			returned = g.Returned
		}
	}
	switch {
	case r.Phase == "":
		return false
	case r.Phase == scenarios.PhaseInfra || r.Phase == scenarios.PhaseBoot && !spoke:
		// It asked nothing of the kernel: only of a log that says nothing either.
		return !spoke && len(l.Findings) == 0
	case !spoke:
		return false
	case returned == nil:
		return !r.Returned
	default:
		// A call that failed has given no bytes, whatever the guest wrote.
		return r.Returned && r.Errno == returned.Errno && r.Bytes == max(0, returned.Bytes)
	}
}

// PhaseOf tells the phase of a finding from the guest's lines around it.
func PhaseOf(marks []console.Mark) func(console.Finding) string {
	return func(f console.Finding) string {
		phase := phaseAt(marks, f.Line)
		if phase == scenarios.PhaseDone {
			phase = scenarios.PhaseStep // what a kernel says late is the step's doing
		}
		return phase
	}
}

// phaseAt gives the phase in which a line was written; -1 is the end.
func phaseAt(marks []console.Mark, line int) (phase string) {
	for _, m := range marks {
		if line >= 0 && m.Line > line {
			break
		}
		if g, ok := protocol.ParseGuestLine(m.Text); ok && g.Phase != nil {
			phase = g.Phase.Name
		}
	}
	return phase
}

// cleanReason says how clean a log is: what storage complained of and no row
// of the tables knows may be trouble all the same.
func cleanReason(findings []console.Finding) string {
	n, first := int64(0), 0
	for _, f := range findings {
		if f.Kind == console.KindUnrecognized && !f.Baseline {
			n += f.Count
			first = cmp.Or(first, f.Line)
		}
	}
	switch n {
	case 0:
		return "nothing found"
	case 1:
		return fmt.Sprintf("no known trouble, but a complaint of storage that is not recognised (line %d)", first)
	}
	return fmt.Sprintf("no known trouble, but %d complaints of storage that are not recognised (from line %d on)", n, first)
}
