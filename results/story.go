package results

import (
	"errors"
	"fmt"
	"strings"

	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/scenarios"
)

// A StoryCheck says whether a story holds.
type StoryCheck struct {
	Text   string // one sentence when it holds, else a line for each deviation
	Holds  bool
	Status int // exit status

	Kernels []string // their releases, or references where none was seen, in the story's order
}

// CheckStory is the function CheckStory for a run of VerbRepro.
func (r Request) CheckStory(records []Record) (StoryCheck, error) {
	cases, err := r.Cases()
	if err != nil {
		return StoryCheck{}, err
	}
	if len(cases) == 0 || cases[0].Scenario.Story == nil || len(cases[0].Scenario.Story.Kernels) != len(r.Kernels) {
		return StoryCheck{}, errors.New("the run's scenario has no story for its kernels")
	}
	sc := cases[0].Scenario
	for i, k := range r.Kernels {
		sc.Story.Kernels[i].Ref = k.Ref // the user may have named another
	}
	return CheckStory(sc, cases, records), nil
}

// CheckStory compares the records of a scenario's cases on the kernels of its story
// with what the story says. Records may stand in any order; one that is
// missing is a verdict that could not be had.
func CheckStory(sc *scenarios.Scenario, cases []scenarios.Case, records []Record) StoryCheck {
	var off []string
	failed := false
	used := make([]bool, len(records))
	releases := make([]string, len(sc.Story.Kernels))
	for i, k := range sc.Story.Kernels {
		releases[i] = k.Ref
		for _, cs := range cases {
			at := -1
			for j, r := range records {
				if !used[j] && r.Kernel.Ref == k.Ref && r.Scenario == sc.Name && r.Case == cs.ID {
					at = j
					break
				}
			}
			if at < 0 {
				off = append(off, fmt.Sprintf("%s, %s: not run", releases[i], OrDash(cs.ID)))
				continue
			}
			used[at] = true
			rec := records[at]
			releases[i] = kernelName(rec.Kernel)
			if said := deviation(k, cs, rec); said != "" {
				off = append(off, text.Escape(fmt.Sprintf("%s, %s: %s", releases[i], OrDash(cs.ID), said)))
				failed = failed || rec.Verdict != scenarios.Error
			}
		}
	}
	switch {
	case len(off) == 0:
		return StoryCheck{Text: sc.Story.Sentence(releases), Holds: true, Status: ExitOK, Kernels: releases}
	case failed:
		return StoryCheck{Text: notHeld(off), Status: ExitFailure, Kernels: releases}
	default:
		return StoryCheck{Text: notHeld(off), Status: ExitError, Kernels: releases}
	}
}

func notHeld(off []string) string {
	return "The story does not hold:\n  " + strings.Join(off, "\n  ")
}

// deviation says how a record differs from what the story has; "" where it
// does not.
func deviation(k scenarios.StoryKernel, cs scenarios.Case, rec Record) string {
	want, ok := k.Expects(cs)
	if !ok || want.Met(rec.Verdict, rec.Also) {
		return ""
	}
	text := string(rec.Verdict)
	if len(rec.Also) > 0 {
		text += " (also " + join(rec.Also) + ")"
	}
	text += ", and the story has " + string(want.Verdict)
	if len(want.Also) > 0 {
		text += " with " + strings.ReplaceAll(join(want.Also), ",", " or ")
	}
	if rec.Reason != "" {
		text += ": " + rec.Reason
	}
	return text
}
