package hunt

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/blockrig/blockrig/harness/bisect/trials"
	"github.com/blockrig/blockrig/kernels"
	"github.com/blockrig/blockrig/results"
	"github.com/blockrig/blockrig/scenarios"
)

// Given a finding and time, then the release that it came
// with is looked for: from the kernel that it was held against, or else from the
// oldest release that does not show it. What is so on that, too, is said to be so.
func TestTheReleaseOfAFindingIsLookedFor(t *testing.T) {
	for name, tt := range map[string]struct {
		good   string
		old    map[string]scenarios.Verdict
		budget time.Duration
		left   time.Duration
		spent  time.Duration // on bisections
		err    error
		from   string // "": nothing is bisected
		says   string
	}{
		"held against another kernel": {good: "debian:6.12.1-1", budget: time.Hour, left: 10 * time.Minute, from: "debian:6.12.1-1", says: "came with 6.18"},
		"the oldest":                  {old: map[string]scenarios.Verdict{"6.1.1": scenarios.Pass}, budget: time.Hour, left: 10 * time.Minute, from: "debian:6.1.1-1", says: "came with 6.18"},
		"the oldest says nothing":     {old: map[string]scenarios.Verdict{"6.1.1": scenarios.Error, "6.12.1": scenarios.Pass}, budget: time.Hour, left: 10 * time.Minute, from: "debian:6.12.1-1", says: "came with 6.18"},
		"always so":                   {old: map[string]scenarios.Verdict{"6.1.1": scenarios.Degraded}, budget: time.Hour, left: 10 * time.Minute, says: "always so: 6.1.1 does it, too"},
		"another failure":             {old: map[string]scenarios.Verdict{"6.1.1": scenarios.Hang, "6.12.1": scenarios.Hang}, budget: time.Hour, left: 10 * time.Minute, says: "no old kernel is known to be without it"},
		"an end that is wrong":        {good: "debian:6.12.1-1", budget: time.Hour, left: 10 * time.Minute, err: errors.New("both ends are 6.18"), from: "debian:6.12.1-1", says: "not bisected: both ends are 6.18"},
		"its time is spent":           {good: "debian:6.12.1-1", budget: time.Hour, left: 30 * time.Minute, spent: 20 * time.Minute},
		"a small budget":              {good: "debian:6.12.1-1", budget: 10 * time.Minute, left: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			s := NewState(Request{Kernel: "debian:6.18", Exact: "debian:6.18.15-1", Stacks: []string{"md-raid1"}, Seed: 1, Budget: tt.budget})
			s.BisectedMS = tt.spent.Milliseconds()
			s.SpentMS = (tt.budget - tt.left).Milliseconds()
			scenario, _, err := single("hunt-1", "A finding.", must(t, "md-raid1"), Program{{Op: "pread", Length: 512, Direct: true}}, setting{})
			if err != nil {
				t.Fatal(err)
			}
			s.Findings = []Finding{{ID: "hunt-1", Class: BlamesDisk, Verdict: scenarios.Degraded, Release: "6.18.15", Good: tt.good, Scenario: scenario, Cold: true}}
			asked := ""
			h := &Hunt{Bisections: t.TempDir(), Bisect: func(_ context.Context, b trials.Between) (trials.Found, error) {
				asked = b.Good
				if b.Bad != "debian:6.18.15-1" || b.For != "degraded" || b.Case.Scenario.Name != "hunt-1" {
					t.Errorf("asked for %+v", b)
				}
				return trials.Found{Culprits: []trials.Culprit{{First: "6.18", Grade: "likely"}}}, tt.err
			}}
			if err := h.begin(s); err != nil {
				t.Fatal(err)
			}
			h.before = time.Duration(s.SpentMS) * time.Millisecond
			h.releases = func(context.Context) (all []kernels.Version, _ error) {
				for _, v := range []string{"6.1.1", "6.1.2", "6.12.1", "6.18.15"} {
					all = append(all, kernels.Version{Version: v, Ref: "debian:" + v + "-1", Release: v})
				}
				return all, nil
			}
			h.try = func(_ context.Context, k kernelRef, _ scenarios.Case, _ how) (results.Record, error) {
				v := tt.old[strings.TrimSuffix(strings.TrimPrefix(k.ref, "debian:"), "-1")]
				if v == "" {
					t.Errorf("%s is tried", k.ref)
				}
				return results.Record{Verdict: v}, nil
			}
			if err := h.bisectDue(t.Context()); err != nil {
				t.Fatal(err)
			}
			if asked != tt.from {
				t.Errorf("bisected from %q, want %q", asked, tt.from)
			}
			f := s.Findings[0]
			if said := strings.Join(f.Bisection.Lines(goesOn), "\n"); tt.says == "" && said != "" || !strings.Contains(said, tt.says) {
				t.Errorf("it says %q, want %q", said, tt.says)
			}
			if tt.says != "" && !strings.Contains(strings.Join(strings.Fields(f.Report()), " "), tt.says) {
				t.Errorf("its report does not say %q:\n%s", tt.says, f.Report())
			}
		})
	}
}
