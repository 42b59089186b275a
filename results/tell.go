package results

import (
	"fmt"
	"strings"

	"github.com/blockrig/blockrig/harness/verdict"
	"github.com/blockrig/blockrig/scenarios"
)

// A Told story is what came of it.
type Told struct {
	Text   string // one sentence when it holds, else a line for each deviation
	Holds  bool
	Status int // exit status
}

// Tell compares the records of a scenario's cases on the kernels of its story
// with what the story says: records are in the order of the story's kernels
// and, for each, of cases.
func Tell(sc *scenarios.Scenario, cases []scenarios.Case, records []Record) Told {
	var off []string
	status := ExitOK
	releases := make([]string, len(sc.Story.Kernels))
	for i, k := range sc.Story.Kernels {
		for j, cs := range cases {
			at := i*len(cases) + j
			if at >= len(records) {
				off = append(off, fmt.Sprintf("%s, %s: not run", k.Ref, cs.ID))
				status = max(status, ExitError)
				continue
			}
			rec := records[at]
			releases[i] = kernelName(rec.Kernel)
			want, ok := k.Expects(cs)
			if !ok || want.Met(string(rec.Verdict), words(rec.Also)) {
				continue
			}
			text := fmt.Sprintf("%s, %s: %s", releases[i], cs.ID, rec.Verdict)
			if len(rec.Also) > 0 {
				text += " (also " + join(rec.Also) + ")"
			}
			text += ", and the story has " + want.Verdict
			if len(want.Also) > 0 {
				text += " with " + strings.Join(want.Also, " or ")
			}
			if rec.Verdict == verdict.Error {
				text += ": " + rec.Reason
				if status == ExitOK {
					status = ExitError
				}
			} else {
				status = ExitFailure
			}
			off = append(off, text)
		}
	}
	if len(off) == 0 {
		return Told{Text: sc.Story.Sentence(releases), Holds: true}
	}
	return Told{Text: "The story does not hold:\n  " + strings.Join(off, "\n  "), Status: status}
}

func words(verdicts []verdict.Verdict) []string {
	out := make([]string, len(verdicts))
	for i, v := range verdicts {
		out[i] = string(v)
	}
	return out
}
