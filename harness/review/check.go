package review

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/blockrig/blockrig/harness/bisect"
	"github.com/blockrig/blockrig/harness/bisect/trials"
	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/scenarios"
)

// A Status is one of b4's.
type Status string

// Statuses.
const (
	Pass Status = "pass"
	Warn Status = "warn"
	Fail Status = "fail"
)

// A Result is one that b4 shows: an element of the array that it reads.
type Result struct {
	Tool    string `json:"tool"`
	Status  Status `json:"status"`
	Summary string `json:"summary,omitempty"` // one line
	URL     string `json:"url,omitempty"`
	Details string `json:"details,omitempty"` // lines
}

const tool = "blockrig"

// A Try compares the base with and without the series in some cases.
type Try func(ctx context.Context, cases []scenarios.Case) (trials.PatchAnswer, error)

// Check tries cases, a scenario at a time, until all are done or the budget is
// over, and says what came of it. What the series is to blame for is a result;
// an error is of something else.
func Check(ctx context.Context, cases []scenarios.Case, budget time.Duration, try Try) (Result, error) {
	timed, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	var all []trials.PatchAnswer
	left := 0
	for _, group := range byScenario(cases) {
		if timed.Err() != nil {
			left += len(group)
			continue
		}
		a, err := try(timed, group)
		var none *trials.NoKernelError
		switch {
		case ctx.Err() != nil:
			return Result{}, context.Cause(ctx)
		case timed.Err() != nil:
			left += len(group)
			continue
		case errors.As(err, &none):
			return noKernel(none), nil
		case err != nil:
			return Result{}, err
		}
		all = append(all, a)
		if a.SameBinary {
			return Result{Tool: tool, Status: Warn, Summary: "the series touches nothing that is compiled into the kernel that was tried"}, nil
		}
	}
	if ctx.Err() != nil {
		return Result{}, context.Cause(ctx)
	}
	return sumUp(all, left, budget), nil
}

func byScenario(cases []scenarios.Case) [][]scenarios.Case {
	var out [][]scenarios.Case
	at := map[string]int{}
	for _, c := range cases {
		i, ok := at[c.Scenario.Name]
		if !ok {
			i = len(out)
			at[c.Scenario.Name] = i
			out = append(out, nil)
		}
		out[i] = append(out[i], c)
	}
	return out
}

// NotApplied is the result for a series that does not apply to its base.
func NotApplied(err *trials.NotAppliedError) Result {
	return Result{Tool: tool, Status: Fail, Summary: text.OneLine(err.Error())}
}

// Untold is the result where the series can't be checked.
func Untold(err error) Result {
	return Result{Tool: tool, Status: Warn, Summary: text.OneLine(err.Error())}
}

func noKernel(e *trials.NoKernelError) Result {
	r := Result{Tool: tool, Status: Warn, Summary: "the base does not build: " + text.OneLine(e.Why)}
	if e.Patched {
		r.Status, r.Summary = Fail, "it does not build: "+text.OneLine(e.Why)
	}
	if e.Log != "" {
		r.Details = "make's output is in " + text.Escape(e.Log)
	}
	return r
}

// sumUp makes one result of all answers: what is bad weighs most.
func sumUp(all []trials.PatchAnswer, left int, budget time.Duration) Result {
	var cases []trials.CaseResult
	for _, a := range all {
		cases = append(cases, a.Cases...)
	}
	r := Result{Tool: tool, Status: Pass}
	if len(cases) == 0 {
		return Result{Tool: tool, Status: Warn, Summary: fmt.Sprintf("nothing could be tried within %s", budget)}
	}
	sum := trials.PatchAnswer{Cases: cases}
	r.Summary = "the series " + sum.Sentence()
	var lines []string
	for _, c := range cases {
		lines = append(lines, fmt.Sprintf("%s: %d of %d failed without it, %d of %d with it: %s",
			text.Escape(strings.TrimSpace(c.Scenario+" "+c.Case)), c.Base.Fails, c.Base.Runs, c.Patched.Fails, c.Patched.Runs, c.Does()))
		r.Status = worse(r.Status, statusOf(c))
	}
	if left > 0 {
		not := fmt.Sprintf("%d cases were", left)
		if left == 1 {
			not = "1 case was"
		}
		r.Summary += fmt.Sprintf("; %s not tried within %s", not, budget)
		r.Status = worse(r.Status, Warn)
	}
	first := all[0]
	lines = append(lines, fmt.Sprintf("kernel %s, %s, %d CPUs", text.Escape(first.Release), text.Escape(first.Accel), first.CPUs))
	r.Details = strings.Join(lines, "\n")
	return r
}

// statusOf is that of one case: a failure that the base shows, too, is none of
// the series'.
func statusOf(c trials.CaseResult) Status {
	switch {
	case c.Effect == bisect.Harms:
		return Fail
	case c.Effect == bisect.Unclear, c.Base.Runs == 0, c.Patched.Runs == 0:
		return Warn
	}
	return Pass
}

func worse(a, b Status) Status {
	for _, s := range []Status{Fail, Warn} {
		if a == s || b == s {
			return s
		}
	}
	return Pass
}
