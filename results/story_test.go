package results

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/blockrig/blockrig/scenarios"
	"github.com/blockrig/blockrig/scenarios/language"
)

func story(t *testing.T) (*scenarios.Scenario, []scenarios.Case, []Record) {
	t.Helper()
	sc, err := language.Load("lvm-mirror-dio-read")
	if err != nil {
		t.Fatal(err)
	}
	cases, err := language.Cases(sc, nil)
	if err != nil {
		t.Fatal(err)
	}
	var records []Record
	for _, k := range sc.Story.Kernels {
		for _, c := range cases {
			want, ok := k.Expects(c)
			if !ok {
				t.Fatalf("the story says nothing of %s", c.ID)
			}
			r := Record{Scenario: sc.Name, Case: c.ID, Kernel: Kernel{Ref: k.Ref, Release: k.Role + "-release"}, Verdict: scenarios.Verdict(want.Verdict), Reason: "because"}
			if len(want.Also) > 0 {
				r.Also = []scenarios.Verdict{scenarios.Verdict(want.Also[0])}
			}
			records = append(records, r)
		}
	}
	return sc, cases, records
}

func TestTell(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func([]Record) []Record
		status int
		want   []string // parts of the text
	}{
		{"as it says", func(r []Record) []Record { return r }, ExitOK, []string{"The story holds: ", "before-release", "with-release", "after-release"}},
		{"in another order", func(r []Record) []Record {
			return append(append([]Record{}, r[5:]...), r[:5]...)
		}, ExitOK, []string{"The story holds: "}},
		{"another verdict", func(r []Record) []Record {
			r[0].Verdict = scenarios.Hang
			return r
		}, ExitFailure, []string{"The story does not hold:\n  before-release, length=512,memory_offset=0: hang, and the story has pass: because"}},
		{"a pass where a failure was expected", func(r []Record) []Record {
			r[7].Verdict, r[7].Also = scenarios.Pass, nil
			return r
		}, ExitFailure, []string{"with-release, length=512,memory_offset=32: pass, and the story has eio with degraded"}},
		{"the verdict alone", func(r []Record) []Record {
			r[9].Also = []scenarios.Verdict{scenarios.Degraded}
			return r
		}, ExitFailure, []string{"length=4096,memory_offset=32: hang (also degraded), and the story has hang with warn or bug"}},
		{"an error", func(r []Record) []Record {
			r[3].Verdict = scenarios.Error
			return r
		}, ExitError, []string{"before-release, length=4096,memory_offset=32: error, and the story has pass: because"}},
		{"an error and a failure", func(r []Record) []Record {
			r[0].Verdict, r[3].Verdict = scenarios.Warn, scenarios.Error
			return r
		}, ExitFailure, []string{"memory_offset=0: warn", "memory_offset=32: error"}},
		{"one is missing", func(r []Record) []Record { return r[:len(r)-1] }, ExitError, []string{"after-release, length=8192,memory_offset=32: not run"}},
		{"a failure, and one is missing", func(r []Record) []Record {
			r[0].Verdict = scenarios.Warn
			return r[:len(r)-1]
		}, ExitFailure, []string{"warn", "not run"}},
		{"none", func([]Record) []Record { return nil }, ExitError, []string{"debian:6.17, length=512,memory_offset=0: not run"}},
		{"a reason with control codes", func(r []Record) []Record {
			r[0].Verdict, r[0].Reason = scenarios.Bug, "\x1b[31mowned\n"
			return r
		}, ExitFailure, []string{`\u001b[31mowned\n`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			sc, cases, records := story(t)
			told := CheckStory(sc, cases, tc.change(records))
			if told.Status != tc.status || told.Holds != (tc.status == ExitOK) {
				t.Errorf("status %d, holds %v, want %d; %s", told.Status, told.Holds, tc.status, told.Text)
			}
			for _, part := range tc.want {
				if !strings.Contains(told.Text, part) {
					t.Errorf("%q is not in %q", part, told.Text)
				}
			}
			if strings.Contains(told.Text, "\x1b") {
				t.Errorf("control codes in %q", told.Text)
			}
		})
	}
}

// Given two roles that the same kernel has, then each is held against what its
// role expects.
func TestTellWithOneKernelInTwoRoles(t *testing.T) {
	sc, cases, records := story(t)
	sc.Story.Kernels[1].Ref = sc.Story.Kernels[0].Ref
	for i := range records {
		records[i].Kernel.Ref = sc.Story.Kernels[i/len(cases)].Ref
		records[i].Verdict, records[i].Also = scenarios.Pass, nil
	}
	told := CheckStory(sc, cases, records)
	var off []string
	for _, line := range strings.Split(told.Text, "\n")[1:] {
		_, line, _ = strings.Cut(strings.TrimSpace(line), ", ")
		id, _, _ := strings.Cut(line, ":")
		off = append(off, id)
	}
	want := []string{"length=512,memory_offset=32", "length=4096,memory_offset=32", "length=8192,memory_offset=32"}
	if diff := cmp.Diff(want, off); diff != "" || told.Status != ExitFailure {
		t.Errorf("status %d (-want +got):\n%s", told.Status, diff)
	}
}
