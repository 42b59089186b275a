package hunt

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/blockrig/blockrig/scenarios"
	"github.com/blockrig/blockrig/scenarios/language"
)

func caseOf(t *testing.T, src string) scenarios.Case {
	t.Helper()
	c, err := parse("x", src)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Given a trial of many steps on many layers, of which a write and a stop of the
// power on a mirror are needed, then those are left, and what the language has.
func TestMinimiseLeavesWhatIsNeeded(t *testing.T) {
	c := caseOf(t, `
name: long
about: Much of it does not matter.
disks: [{id: a}, {id: b}, {id: spare}]
stack:
  - md: {name: r, level: raid1, on: [a, b]}
  - crypt: {name: k, on: [r]}
  - fs: {name: x, type: ext4, on: [k]}
  - file: {name: f, size: 8MiB, on: [x]}
steps:
  - io: {op: pread, length: 64KiB}
  - wait: {time: 500ms}
  - parallel:
      - - io: {op: pwritev2, flags: [DSYNC], direct: true, length: 64KiB, count: 8, name: many}
      - - act: {do: check, to: r}
  - io: {op: fsync}
  - run: "true"
  - power_cut: {at: any, lose: some, seed: 7}
  - check: {data: f}
`)
	trials := 0
	m := Minimiser{Shows: func(_ context.Context, c scenarios.Case) (bool, error) {
		trials++
		wrote := slices.IndexFunc(c.Steps, func(s scenarios.Step) bool {
			if s.Parallel != nil {
				return true
			}
			return s.IO != nil && s.IO.Writes()
		})
		cut := slices.IndexFunc(c.Steps, func(s scenarios.Step) bool { return s.PowerCut != nil })
		mirror := slices.ContainsFunc(c.Setup.Stack, func(l scenarios.Layer) bool { return l.MD != nil && len(l.On) == 2 })
		return wrote >= 0 && cut > wrote && mirror, nil
	}}
	source, err := m.Minimise(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	small := caseOf(t, source)
	if len(small.Steps) != 2 || len(small.Setup.Stack) != 1 || len(small.Setup.Disks) != 2 {
		t.Errorf("after %d trials:\n%s", trials, source)
	}
	if o := small.Steps[0].IO; o == nil || o.Op != "pwrite" || o.Length != 512 || o.Count != 1 || o.On != "r" {
		t.Errorf("the I/O is not simple:\n%s", source)
	}
	if trials > 60 {
		t.Errorf("it took %d trials", trials)
	}
}

// Given a trial that does not fail again, or that can't be made for the host's
// sake, then that is the answer.
func TestMinimiseOfWhatDoesNotFail(t *testing.T) {
	c := caseOf(t, "name: x\nabout: It passes.\ndisks: [{id: a}]\nsteps:\n  - io: {op: pread}\n")
	m := Minimiser{Shows: func(context.Context, scenarios.Case) (bool, error) { return false, nil }}
	if _, err := m.Minimise(t.Context(), c); !errors.Is(err, ErrNotAgain) {
		t.Errorf("%v", err)
	}
	stop := errors.New("the host is in trouble")
	m = Minimiser{Shows: func(context.Context, scenarios.Case) (bool, error) { return false, stop }}
	if _, err := m.Minimise(t.Context(), c); !errors.Is(err, stop) {
		t.Errorf("%v", err)
	}
}

// What is written of a case means the same: all scenarios that ship, each case.
func TestCasesAreWrittenAsTheyWere(t *testing.T) {
	all, err := language.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	for _, sc := range all {
		cases, err := language.Cases(sc, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range cases {
			d := draft{name: sc.Name, about: sc.About, allow: sc.Allow, setup: c.Setup, steps: c.Steps}
			got, err := d.write()
			if err != nil {
				t.Errorf("%s %s: %v\n%s", sc.Name, c.ID, err, d.source)
				continue
			}
			if diff := cmp.Diff(c.Setup, got.Setup) + cmp.Diff(c.Steps, got.Steps); diff != "" {
				t.Errorf("%s %s (-as it was +as it was written):\n%s", sc.Name, c.ID, diff)
			}
			if strings.TrimSpace(got.Scenario.About) != strings.TrimSpace(sc.About) {
				t.Errorf("%s: about %q", sc.Name, got.Scenario.About)
			}
		}
	}
}
