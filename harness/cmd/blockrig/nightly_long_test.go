//go:build vm && long

package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/blockrig/blockrig/harness/nightly"
)

// nightOf is a config of nights that look at one kernel with one case.
func nightOf(ref, more string) string {
	return `name: two
kernels:
  - kernel: {ref: ` + ref + `, as: stable}
scenarios:
  - {scenario: lvm-mirror-dio-read, cases: ["length=512,memory_offset=32"]}
repeat: 4
confirm: 4
budget: 1h
accel: tcg
` + more
}

// Given two nights on two kernels between which a case broke, then the first
// says nothing new; the second one new failure, confirmed, and bisected over
// the releases; the third, on the same kernel, nothing. As a known failure, it
// expires on the kernel with the fix.
func TestNights(t *testing.T) {
	h := newHost(t)
	h.limit = time.Hour // a night with a bisection, on a busy machine
	night := func(config string, status int) *nightly.Night {
		t.Helper()
		o := h.run("nightly", h.write("nightly.yaml", config), "--format", "json")
		if o.status != status {
			t.Fatal(o)
		}
		n := new(nightly.Night)
		if err := json.Unmarshal([]byte(o.stdout), n); err != nil {
			t.Fatalf("%v: %s", err, o)
		}
		t.Logf("night %d took %.0f s: %s", n.Number, n.Seconds, n.Headline())
		return n
	}
	if n := night(nightOf("debian:6.17.13", ""), 0); n.Number != 1 || len(n.Findings) != 0 {
		t.Errorf("the first night: %+v", n.Findings)
	}
	n := night(nightOf("debian:6.18.15", ""), 1)
	if len(n.Of(nightly.New)) != 1 || len(n.Findings) != 1 {
		t.Fatalf("the second night: %+v", n.Findings)
	}
	f := n.Findings[0]
	if f.Signature != "step/pread/eio" || !strings.HasPrefix(f.BeforeRelease, "6.17.13") || f.Change.Up < .99 {
		t.Errorf("got %+v", f)
	}
	for _, way := range []nightly.Way{nightly.FreshBoots, nightly.PowerOn} {
		if c := f.Confirmed[way]; c.Trials < 4 || c.Failures != c.Trials {
			t.Errorf("from %s: %+v", way, c)
		}
	}
	if b := f.Bisection; b == nil || len(b.Culprits) != 1 || !strings.HasPrefix(b.Culprits[0].First, "6.18.") || b.Unfinished {
		t.Errorf("bisected: %+v", f.Bisection)
	}
	if n := night(nightOf("debian:6.18.15", ""), 0); len(n.Of(nightly.Still)) != 1 || len(n.Findings) != 1 {
		t.Errorf("the third night: %+v", n.Findings)
	}

	known := "known:\n  - {scenario: lvm-mirror-dio-read, signature: step/pread/eio, link: 'https://lore.kernel.org/linux-block/'}\n"
	if n := night(nightOf("debian:6.18.15", known), 0); len(n.Of(nightly.KnownStill)) != 1 || len(n.Findings) != 1 {
		t.Errorf("once it is known: %+v", n.Findings)
	}
	if n := night(nightOf("debian:7.3.4", known), 0); len(n.Of(nightly.Expired)) != 1 || len(n.Findings) != 1 {
		t.Errorf("when it is fixed: %+v", n.Findings)
	}
	h.wantNothingLeft()
}
