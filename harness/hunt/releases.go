package hunt

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/blockrig/blockrig/harness/bisect/trials"
	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/harness/trial"
	"github.com/blockrig/blockrig/kernels"
	"github.com/blockrig/blockrig/scenarios"
)

const (
	// leastToBisect is the smallest budget of which some is for bisections: one
	// takes minutes, for it fetches kernels.
	leastToBisect = 20 * time.Minute
	// forBisections is the part of it that is: a third.
	forBisections = 3
	// oldEnds is how many old kernels are tried as one without a finding, where
	// the oldest gives no verdict.
	oldEnds = 3
)

// toBisect is what is left of the budget for bisections.
func (h *Hunt) toBisect() time.Duration {
	budget := h.state.Request.Budget
	if h.Bisect == nil || budget < leastToBisect {
		return 0
	}
	return min(h.left(), budget/forBisections-time.Duration(h.state.BisectedMS)*time.Millisecond)
}

// bisectDue looks for the releases that findings came with, the worst first, as
// long as there is time for that.
func (h *Hunt) bisectDue(ctx context.Context) error {
	for _, f := range Worst(h.state.Findings) {
		if h.toBisect() <= 0 {
			return nil
		}
		if f.Bisection != nil && !f.Bisection.Unfinished {
			continue
		}
		h.stop() // the memory is for the trials
		began := time.Now()
		err := h.bisect(ctx, &f)
		h.state.BisectedMS += time.Since(began).Milliseconds()
		if err != nil {
			return err
		}
		i := slices.IndexFunc(h.state.Findings, func(g Finding) bool { return g.ID == f.ID })
		h.state.Findings[i] = f
		for _, said := range f.Bisection.Lines(goesOn) {
			h.say(f.ID + ": " + said)
		}
		if err := h.keep(); err != nil {
			return err
		}
		if f.Bisection.Unfinished {
			return nil // the time is up
		}
	}
	return nil
}

func (h *Hunt) say(line string) {
	if h.Say != nil {
		h.Say(text.OneLine(line))
	}
}

// bisect finds the release that brought a finding, as far as there is time. What
// stops it is said in the finding.
func (h *Hunt) bisect(ctx context.Context, f *Finding) error {
	b := f.Bisection
	if b == nil {
		b = &trials.Bisection{Bad: h.state.Request.Exact, Dir: trials.NewFolder(h.Bisections)}
		if b.Bad == "" {
			b.Bad = h.state.Request.Kernel
		}
	}
	f.Bisection = b
	if !strings.HasPrefix(b.Bad, "debian:") {
		b.Why = b.Bad + " is no release of Debian's"
		return nil
	}
	if b.Good == "" {
		good, why, err := h.without(ctx, f)
		if err != nil {
			return err
		}
		if b.Good, b.Why = good, why; good == "" {
			return nil
		}
	}
	c, err := parse(f.ID, f.Scenario)
	if err != nil {
		return err
	}
	h.status("bisect", fmt.Sprintf("%s, between %s and %s", f.ID, b.Good, b.Bad))
	timed, cancel := context.WithTimeout(ctx, h.toBisect())
	defer cancel()
	found, err := h.Bisect(timed, trials.Between{Dir: b.Dir, Case: c, Good: b.Good, Bad: b.Bad, For: string(f.Verdict)})
	switch {
	case ctx.Err() != nil:
		return err
	case timed.Err() != nil:
		found.Unfinished = true
	case err != nil:
		found.Why = text.OneLine(err.Error())
	}
	b.Found = found
	return nil
}

// without finds an old kernel that does not show a finding: the one that it was
// held against, or the oldest release that gives a verdict. Where that shows it,
// too, why says so.
func (h *Hunt) without(ctx context.Context, f *Finding) (good, why string, err error) {
	if f.Good != "" {
		return f.Good, "", nil
	}
	all, err := h.releases(ctx)
	if err != nil {
		return "", text.OneLine(err.Error()), ctx.Err()
	}
	all = slices.DeleteFunc(slices.Clone(all), func(v kernels.Version) bool { return v.Missing != "" || v.RC })
	c, err := parse(f.ID, f.Scenario)
	if err != nil {
		return "", "", err
	}
	why = "there is no older release"
	tried, series := 0, ""
	for _, v := range all {
		parts := strings.SplitN(v.Version, ".", 3)
		of := strings.Join(parts[:min(2, len(parts))], ".")
		if of == series || v.Release == f.Release {
			continue
		}
		if series = of; tried == oldEnds || h.toBisect() <= 0 {
			break
		}
		tried++
		h.status("bisect", f.ID+" on "+v.Ref)
		r, err := h.try(ctx, kernelRef{v.Ref, v.Ref}, c, how{})
		if trial.WrongRequest(err) && ctx.Err() == nil { // it can't be had
			why = text.OneLine(err.Error())
			continue
		}
		if err != nil {
			return "", "", err
		}
		switch class := classOf(r); {
		case class == f.Class:
			return "", "always so: " + v.Version + " does it, too", nil
		case class == "" && r.Verdict == scenarios.Pass:
			return v.Ref, "", nil
		}
		why = fmt.Sprintf("no old kernel is known to be without it: %s says %s: %s", v.Version, r.Verdict, text.OneLine(r.Reason))
	}
	return "", why, nil
}

// goesOn is what is said of a bisection that is not over.
const goesOn = "the bisection is not over, and goes on with"
