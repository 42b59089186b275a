package hunt

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/blockrig/blockrig/kernels"
	"github.com/blockrig/blockrig/results"
	"github.com/blockrig/blockrig/scenarios"
)

// Given findings of an earlier hunt, then each is tried once on this kernel: what
// passes is fixed, and would be found anew; what fails is not found again.
func TestFindingsOfEarlierHuntsAreTried(t *testing.T) {
	root := Root(t.TempDir())
	old := NewState(Request{Kernel: "debian:6.17", Stacks: []string{"md-raid1"}, Seed: 1})
	for i, id := range []string{"a-pass", "b-degraded", "c-error", "d-lacks", "e-late", "f-other", "g-needs"} {
		length := int64(512 * (i + 1))
		p := Program{{Op: "pread", Length: length, Direct: true}}
		scenario, _, err := single(id, "A finding.", must(t, "md-raid1"), p, setting{})
		if err != nil {
			t.Fatal(err)
		}
		old.Findings = append(old.Findings, Finding{ID: id, Class: BlamesDisk, Stack: "md-raid1", Hunted: "md-raid1", Says: p.String(), Kernel: "debian:6.17", Scenario: scenario})
	}
	for _, name := range []string{"20261126T000000.000Z-aaaa", "20261126T000001.000Z-aaaa"} { // found twice
		f, err := Create(t.Context(), root, name, old)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if all, err := FoundOn(root, "debian:6.18"); err != nil || len(all) != 0 {
		t.Errorf("on another kernel: %d, %v", len(all), err)
	}
	s := NewState(Request{Kernel: "debian:7.2", Stacks: []string{"md-raid1"}, Seed: 1, Budget: time.Hour})
	var err error
	if s.Earlier, err = FoundOn(root, "debian:6.17"); err != nil || len(s.Earlier) != 7 {
		t.Fatalf("%d findings, %v", len(s.Earlier), err)
	}
	h := &Hunt{}
	if err := h.begin(s); err != nil {
		t.Fatal(err)
	}
	tries, late := 0, 0
	h.try = func(_ context.Context, k kernelRef, c scenarios.Case, _ how) (results.Record, error) {
		tries++
		if k.ref != "debian:7.2" {
			t.Errorf("tried on %s", k.ref)
		}
		switch c.Scenario.Name {
		case "a-pass":
			return results.Record{Verdict: scenarios.Pass}, nil
		case "b-degraded":
			return results.Record{Verdict: scenarios.Degraded}, nil
		case "e-late": // it shows in every second trial
			if late++; late == 2 {
				return results.Record{Verdict: scenarios.Degraded}, nil
			}
			return results.Record{Verdict: scenarios.Pass}, nil
		case "f-other":
			return results.Record{Verdict: scenarios.Hang}, nil
		case "g-needs":
			return results.Record{}, kernels.ErrNeed
		case "d-lacks":
			return results.Record{Verdict: scenarios.Error, Phase: scenarios.PhaseStack, Reason: "the kernel lacks what is needed"}, nil
		}
		return results.Record{Verdict: scenarios.Error}, nil
	}
	for range 2 {
		if err := h.retry(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	got := map[string]string{}
	for _, f := range s.Earlier {
		got[f.ID] = f.Now
	}
	want := map[string]string{"a-pass": Fixed, "b-degraded": Still, "c-error": NotKnown, "d-lacks": NotKnown, "e-late": Still, "f-other": NotKnown, "g-needs": NotKnown}
	if diff := cmp.Diff(want, got); diff != "" || tries != 3+1+1+1+2+1+1 {
		t.Errorf("%d tries (-want +got):\n%s", tries, diff)
	}
	if f := s.Fixed(); len(f) != 1 || len(s.said()) != 6 {
		t.Errorf("%d are fixed, %d are not found again", len(f), len(s.said()))
	}
}
