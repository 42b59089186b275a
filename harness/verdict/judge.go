package verdict

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/blockrig/blockrig/harness/console"
	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/scenarios"
)

// A Judgement is the answer of a trial.
type Judgement struct {
	Verdict   scenarios.Verdict   `json:"verdict"`
	Also      []scenarios.Verdict `json:"also"`
	Phase     string              `json:"phase"`  // where the verdict was earned
	Reason    string              `json:"reason"` // one line: why this verdict
	Signature Signature           `json:"signature"`
	// Shown is all that a failing trial shows, each thing once, the worst first.
	Shown []Shown `json:"shown,omitempty"`
	// Doubtful says that there is no verdict since something else than the
	// kernel may have decided it: the next trial may well end otherwise.
	Doubtful bool `json:"doubtful,omitempty"`
}

// Shown is one thing that a trial shows: what the step answered, a leg that
// failed, one title of the console.
type Shown struct {
	Verdict scenarios.Verdict `json:"verdict"`
	Phase   string            `json:"phase"`
	Title   string            `json:"title,omitempty"` // of a finding, normalised
}

// evidence is one verdict and what speaks for it.
type evidence struct {
	verdict scenarios.Verdict
	phase   string
	why     string
	title   string // normalised, "" when the report alone speaks
	doubt   string // why the host may be to blame for it, "" when it is not
}

// Judge gives the verdict of a trial. findings are those of its console, in
// order of time, with Phase of each told by phaseOf (nil: all in r.Phase).
func Judge(findings []console.Finding, r Report, phaseOf func(console.Finding) string) Judgement {
	if r.Host != "" {
		return judgement(r, []evidence{{verdict: scenarios.Error, phase: r.Phase, why: r.Host}})
	}
	if why := emulatorsDoing(findings, r); why != "" {
		return doubtful(r, r.Phase, why)
	}
	if r.Phase == scenarios.PhaseBoot || r.Phase == scenarios.PhaseInfra {
		// A kernel that does not come up has not been asked yet.
		return judgement(r, []evidence{{verdict: scenarios.Error, phase: r.Phase, why: notUp(findings, r)}})
	}
	var all []evidence
	all = append(all, fromFindings(findings, r, phaseOf)...)
	all = append(all, fromReport(r)...)
	if r.Paused != "" && slices.ContainsFunc(findings, func(f console.Finding) bool { return f.Timer && !f.Baseline }) {
		// What a driver gives up fails for whoever asked for it.
		for i, e := range all {
			if e.verdict == scenarios.EIO || e.verdict == scenarios.Errno || e.verdict == scenarios.Degraded {
				all[i].doubt = r.Paused
			}
		}
	}
	if len(all) > 0 {
		return judgement(r, all)
	}
	if why := notProven(r); why != "" {
		return judgement(r, []evidence{{verdict: scenarios.Error, phase: r.Phase, why: why}})
	}
	return judgement(r, []evidence{{verdict: scenarios.Pass, phase: r.Phase, why: r.Outcome()}})
}

// Doubted says which finding may be the doing of the host, "" when none is: the
// kernel says that something took too long, and the host had stood still.
func Doubted(findings []console.Finding, r Report) string {
	for _, e := range fromFindings(findings, r, nil) {
		if e.doubt != "" {
			return e.doubted()
		}
	}
	return ""
}

// doubted says why a piece of evidence proves nothing.
func (e evidence) doubted() string {
	return e.doubt + ", so this may be no " + string(e.verdict) + ": " + e.why
}

// emulatorsDoing says what shows that QEMU's emulator went wrong. Nothing that
// the kernel did in that machine counts then.
func emulatorsDoing(findings []console.Finding, r Report) string {
	if !r.Emulated {
		return ""
	}
	for _, f := range findings {
		if f.Impossible != "" {
			return fmt.Sprintf("QEMU's emulator went wrong: no processor comes to %s, as %q says", f.Impossible, f.Title)
		}
	}
	return ""
}

func notUp(findings []console.Finding, r Report) string {
	why := "the kernel did not come up"
	if r.Phase == scenarios.PhaseInfra {
		why = "the machine did not start"
	}
	if r.Setup != "" {
		why += ": " + r.Setup
	}
	for _, f := range findings {
		switch f.Kind {
		case console.KindPanic, console.KindBoot, console.KindBug:
			return why + ": " + f.Title
		}
	}
	for _, w := range []string{r.Silent, r.Reset} {
		if w != "" {
			why += ": " + w
		}
	}
	return why
}

// fromFindings gives what the console proves. A boot's baseline and the
// consequences of earlier findings prove nothing.
func fromFindings(findings []console.Finding, r Report, phaseOf func(console.Finding) string) []evidence {
	var out []evidence
	for _, f := range findings {
		if f.Baseline || f.Consequence || scenarios.Allowed(f.Title, r.Allow) {
			continue
		}
		v := Of(f.Kind)
		if v == "" || r.Explained && v == scenarios.Degraded {
			continue
		}
		e := evidence{verdict: v, phase: r.Phase, why: f.Title, title: f.Title}
		if v == scenarios.Hang || f.Timer {
			e.doubt = r.Paused
		}
		if e.phase == scenarios.PhaseDone {
			e.phase = scenarios.PhaseStep
		}
		if phaseOf != nil {
			if p := phaseOf(f); p != "" {
				e.phase = p
			}
		}
		if e.phase == scenarios.PhaseStack && (f.Title == "md: resync interrupted" || f.Title == "md: recovery interrupted") {
			continue // LVM loads another table while it builds: the sync goes on then
		}
		out = append(out, e)
	}
	return out
}

// Of is the verdict that a kind of finding means; "" is none.
func Of(k console.Kind) scenarios.Verdict {
	switch k {
	case console.KindHang:
		return scenarios.Hang
	case console.KindBug, console.KindPanic:
		return scenarios.Bug
	case console.KindWarn:
		return scenarios.Warn
	case console.KindIO:
		return scenarios.Degraded
	default:
		return ""
	}
}

// fromReport gives what the guest and the host prove.
func fromReport(r Report) []evidence {
	var out []evidence
	step := r.Phase
	if step == scenarios.PhaseDone {
		step = scenarios.PhaseStep
	}
	add := func(v scenarios.Verdict, format string, args ...any) {
		out = append(out, evidence{verdict: v, phase: step, why: fmt.Sprintf(format, args...)})
	}
	if r.Mismatch != nil {
		add(scenarios.Corrupt, "byte %d of the data is wrong%s", *r.Mismatch, more(r.Wrong))
	}
	if r.Overrun != nil {
		add(scenarios.Corrupt, "byte %d, outside the asked range, was changed", *r.Overrun)
	}
	if r.Failed != "" && r.FailAs.Failure() {
		e := evidence{verdict: r.FailAs, phase: step, why: r.Step + ": " + r.Failed}
		if r.FailAs == scenarios.Hang {
			e.doubt = cmp.Or(r.Doubt, r.Paused)
		}
		out = append(out, e)
	}
	if s := r.Stuck; s != nil {
		why := fmt.Sprintf("%s can't be killed: state %s, %.1f s after SIGKILL", s.What, s.State, float64(s.MS)/1000)
		if s.Where != "" {
			why += ", in " + s.Where
		}
		out = append(out, evidence{verdict: scenarios.Hang, phase: step, why: why, title: titleOf(s), doubt: r.Doubt})
	}
	if r.Silent != "" {
		add(scenarios.Hang, "%s", r.Silent)
	}
	if r.Reset != "" {
		// PID 1 never ends the machine: a triple fault or a reboot is the kernel's.
		add(scenarios.Bug, "%s", r.Reset)
	}
	if r.Returned && !r.expected() {
		switch {
		case r.Errno == "EIO":
			add(scenarios.EIO, "%s failed with EIO%s", r.Step, more(r.Output))
		case r.Errno != "":
			add(scenarios.Errno, "%s failed with %s%s", r.Step, r.Errno, more(r.Output))
		case r.Bytes < r.Asked:
			add(scenarios.Errno, "%s gave %s of %d", r.Step, text.Count(r.Bytes, "byte"), r.Asked)
		default:
			add(scenarios.Errno, "%s gave %s, and %s was expected", r.Step, text.Count(r.Bytes, "byte"), strings.Join(r.Expect, " or "))
		}
	}
	for _, l := range r.Legs {
		if !l.OK && !l.Known {
			add(scenarios.Degraded, "leg %s (disk %s) is %s", l.Name, l.Disk, l.Health)
		}
	}
	return out
}

// more adds what else is known: what stands where data are wrong, or what was
// refused.
func more(what string) string {
	if what == "" {
		return ""
	}
	return ": " + text.OneLine(what)
}

func titleOf(s *Stuck) string {
	if s.Where == "" {
		return ""
	}
	return "task hung in " + s.Where
}

// outcomeName is the outcome as a scenario's expectation names it.
func outcomeName(r Report) string {
	switch {
	case r.Errno != "":
		return r.Errno
	case r.Bytes == r.Asked:
		return "data"
	default:
		return "short"
	}
}

// notProven says what is missing for a pass, "" when nothing is.
func notProven(r Report) string {
	switch {
	case r.Setup != "":
		return r.Setup
	case r.Phase != scenarios.PhaseDone:
		return "the trial ended in phase " + r.Phase + " without an answer"
	case r.Killed != "" && !r.Returned:
		return "the " + r.Step + " did not return and was killed (" + r.Killed + "); its task could be reaped, so it is slow or waits, and does not hang"
	case r.Died != "":
		return "the child died: " + r.Died
	case !r.Returned:
		return "the " + r.Step + " gave no answer"
	case r.LegsError != "":
		return "the health of the legs is not known: " + r.LegsError
	case r.LogError != "":
		return r.LogError
	case r.DiskError != "":
		return "what the disks did is not known: " + r.DiskError
	case r.Failed != "":
		return r.Step + ": " + r.Failed
	}
	return r.unproven()
}

// judgement is what the worst evidence says. Where that is in doubt there is no
// verdict: the next one would be that of another, weaker failure.
func judgement(r Report, all []evidence) Judgement {
	best := all[0]
	for _, e := range all[1:] {
		worse := best.verdict.Rank() - e.verdict.Rank()
		if worse > 0 || worse == 0 && best.doubt != "" && e.doubt == "" {
			best = e
		}
	}
	if best.doubt != "" {
		return doubtful(r, best.phase, best.doubted())
	}
	j := Judgement{Verdict: best.verdict, Also: []scenarios.Verdict{}, Phase: best.phase, Reason: best.why}
	var titles []string
	for _, e := range all {
		if e.doubt != "" {
			continue // it proves nothing
		}
		if e.verdict != best.verdict && !slices.Contains(j.Also, e.verdict) {
			j.Also = append(j.Also, e.verdict)
		}
		if e.title != "" && !slices.Contains(titles, e.title) {
			titles = append(titles, e.title)
		}
		if s := (Shown{e.verdict, e.phase, e.title}); e.verdict.Failure() && !slices.Contains(j.Shown, s) {
			j.Shown = append(j.Shown, s)
		}
	}
	slices.SortStableFunc(j.Shown, func(a, b Shown) int { return a.Verdict.Rank() - b.Verdict.Rank() })
	slices.SortFunc(j.Also, func(a, b scenarios.Verdict) int { return a.Rank() - b.Rank() })
	switch {
	case j.Verdict == scenarios.Pass:
		j.Phase = r.Phase
	case r.Moment != "" && !r.AsExpected():
		j.Reason += " (" + r.Moment + ")"
	}
	slices.Sort(titles)
	j.Signature = Signature{Phase: j.Phase, Step: r.Step, Verdict: j.Verdict, Titles: titles}
	return j
}

// doubtful is no verdict, since the kernel may not be to blame.
func doubtful(r Report, phase, why string) Judgement {
	j := judgement(r, []evidence{{verdict: scenarios.Error, phase: phase, why: why}})
	j.Doubtful = true
	return j
}
