package results

import (
	"cmp"
	"slices"
	"strings"

	"github.com/blockrig/blockrig/harness/stats"
	"github.com/blockrig/blockrig/harness/trial"
	"github.com/blockrig/blockrig/harness/verdict"
	"github.com/blockrig/blockrig/scenarios"
)

// A Summary is what several trials of one case on one kernel say together.
type Summary struct {
	Scenario string                    `json:"scenario"`
	Case     string                    `json:"case"`
	Kernel   Kernel                    `json:"kernel"`
	Verdicts map[scenarios.Verdict]int `json:"verdicts"` // trials per verdict, error included
	Titles   map[string]int            `json:"titles"`   // trials whose console showed it
	// Flaky: the trials do not agree, be it in a failure or in whether there
	// is one. Errors do not count.
	Flaky bool `json:"flaky"`

	Groups []Group `json:"signatures"` // the most frequent first

	Failures int   `json:"failures"`
	Trials   int   `json:"trials"` // with a verdict about the kernel
	Boots    int   `json:"boots"`
	PerBoot  []int `json:"per_boot"` // trials of each boot

	Rate         float64        `json:"rate"`          // 0 without trials
	Independent  stats.Interval `json:"independent"`   // as if every trial had a boot of its own
	Interval     stats.Interval `json:"interval"`      // with boots respected
	Between      *float64       `json:"between_boots"` // part of the variance; null when it can't be known
	BootsToTrust int            `json:"boots_to_trust"`
	RunsToTrust  int            `json:"runs_to_trust"`
}

// A Group is the trials of a case that ended alike: with one signature.
type Group struct {
	Signature verdict.Signature `json:"signature"`
	Verdict   scenarios.Verdict `json:"verdict"`
	Outcome   string            `json:"outcome"` // what the step said, the first time
	Reason    string            `json:"reason"`  // for the verdict, the first time
	Trials    int               `json:"trials"`
	RunDir    string            `json:"run_dir"` // the first trial of which a folder was kept; "" without
	Titles    []string          `json:"titles"`  // of the signature
	// FirstFailed is who failed first in the first trial of which that was
	// looked for.
	FirstFailed *trial.Traced `json:"first_failed,omitempty"`
}

// Trust is what a pass is held against: how rare a failure is to be found,
// and how surely.
type Trust struct{ Rate, Confidence float64 }

// Summarize groups records by kernel, scenario and case, in the order of
// their first records.
func Summarize(records []Record, trust Trust) []Summary {
	type key struct {
		kernel         Kernel
		scenario, name string
	}
	var order []key
	groups := map[key][]Record{}
	for _, r := range records {
		k := key{r.Kernel, r.Scenario, r.Case}
		if _, ok := groups[k]; !ok {
			order = append(order, k)
		}
		groups[k] = append(groups[k], r)
	}
	out := make([]Summary, len(order))
	for i, k := range order {
		out[i] = summarize(groups[k], trust)
		out[i].Kernel, out[i].Scenario, out[i].Case = k.kernel, k.scenario, k.name
	}
	return out
}

func summarize(records []Record, trust Trust) Summary {
	s := Summary{Verdicts: map[scenarios.Verdict]int{}, Titles: map[string]int{}, PerBoot: []int{}}
	var ids []string
	var boots []stats.Boot
	signatures := map[string]bool{}
	s.Groups = groups(records)
	for _, r := range records {
		s.Verdicts[r.Verdict]++
		seen := map[string]bool{}
		for _, f := range r.Findings {
			if !seen[f.Title] {
				seen[f.Title] = true
				s.Titles[f.Title]++
			}
		}
		if !r.Verdict.Failure() && r.Verdict != scenarios.Pass {
			continue
		}
		signatures[signatureOf(r)] = true
		// A trial that does not name its boot has one of its own.
		b := -1
		if r.BootID != "" {
			b = slices.Index(ids, r.BootID)
		}
		if b < 0 {
			b = len(boots)
			ids = append(ids, r.BootID)
			boots = append(boots, stats.Boot{})
		}
		boots[b].Trials++
		if r.Verdict.Failure() {
			boots[b].Failures++
		}
	}
	s.Flaky = len(signatures) > 1
	s.Failures, s.Trials = stats.Total(boots)
	s.Boots = len(boots)
	for _, b := range boots {
		s.PerBoot = append(s.PerBoot, b.Trials)
	}
	if s.Trials > 0 {
		s.Rate = float64(s.Failures) / float64(s.Trials)
	}
	s.Independent = stats.Wilson(s.Failures, s.Trials)
	s.Interval = stats.ByBoot(boots)
	icc, known := stats.Correlation(boots)
	if known {
		s.Between = &icc
	}
	perBoot := 1
	if s.Boots > 0 {
		perBoot = max(1, s.Trials/s.Boots)
	}
	if !known && perBoot > 1 {
		icc = 1 // see ByBoot
	}
	s.BootsToTrust, s.RunsToTrust = stats.BootsToTrust(trust.Rate, trust.Confidence, icc, perBoot)
	return s
}

// groupOf tells the trials of a case on a kernel apart that are worth keeping:
// by all of the signature, titles too, and errno.
func groupOf(r Record) string {
	return strings.Join([]string{r.Kernel.Ref, r.Kernel.Release, r.Scenario, r.Case, string(r.Verdict), r.Errno, r.Signature.String()}, "\x00")
}

func groups(records []Record) []Group {
	at := map[string]int{}
	out := []Group{}
	for _, r := range records {
		key := groupOf(r)
		i, ok := at[key]
		if !ok {
			i = len(out)
			at[key] = i
			out = append(out, Group{Signature: r.Signature, Verdict: r.Verdict, Outcome: r.Outcome, Reason: r.Reason, Titles: OrEmpty(r.Signature.Titles)})
		}
		out[i].Trials++
		if out[i].FirstFailed == nil {
			out[i].FirstFailed = r.FirstFailed
		}
		if out[i].RunDir == "" {
			out[i].RunDir = r.RunDir
		}
	}
	slices.SortStableFunc(out, func(a, b Group) int { return cmp.Compare(b.Trials, a.Trials) })
	return out
}

// signatureOf is by what two results are the same: phase, step,
// verdict and errno, but not the titles, since one bug can show several.
func signatureOf(r Record) string {
	return r.Signature.Failure().String() + "/" + string(r.Verdict) + "/" + r.Errno
}
