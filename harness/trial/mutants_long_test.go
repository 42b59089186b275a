//go:build vm && long

package trial

import (
	"strings"
	"testing"

	"github.com/blockrig/blockrig/scenarios"
)

const mutantMirror = `
trace: block
disks: [{id: a, size: 16MiB}, {id: b, size: 16MiB}]
stack: [md: {name: r, level: raid1}]
steps:
  - io: {op: pwrite, direct: true, length: 64KiB}
`

const mutantTable = `
trace: block
disks: [{id: a, size: 16MiB}]
stack: [dm: {name: d, on: [a], table: ["0 32768 linear {a} 0"]}]
steps:
  - io: {op: pwrite, direct: true, length: 64KiB, offset: 8MiB}
  - io: {op: pwrite, direct: true, length: 64KiB}
`

// Given a stack in which one thing is wrong, made so by a fault or a table of
// device-mapper, then the oracle for it says so, and the layer is named that
// failed first. A flush that is dropped has a test of its own.
func TestMutantsAreNamed(t *testing.T) {
	for name, tt := range map[string]struct {
		scenario string
		verdict  scenarios.Verdict
		reason   string // a part of it
		first    string // a part of who failed first; "" where no step does I/O that could
	}{
		"a wrong offset": {mutantTable + `
  - act: {do: reload, to: d, args: ["0 16384 linear {a} 16384", "16384 16384 linear {a} 0"]}
  - io: {op: pread, direct: true, length: 64KiB}
`, scenarios.Corrupt, "other-place", "a (sda): other-place at sector 16384, then d"},
		"a stale leg": {mutantMirror + `
  - fault: {disk: b, do: lost, op: write}
  - io: {op: pwrite, direct: true, length: 64KiB}
  - heal: b
  - act: {do: fail, to: r, member: a}
  - io: {op: pread, direct: true, length: 64KiB}
`, scenarios.Corrupt, "stale", "b (sd"},
		"a stale leg that nobody has read": {mutantMirror + `
  - fault: {disk: b, do: lost, op: write}
  - io: {op: pwrite, direct: true, length: 64KiB}
  - heal: b
  - check: {agree: r}
`, scenarios.Corrupt, "differ at byte", ""},
		"a write under the array's feet": {mutantMirror + `
  - io: {op: pwrite, on: b, direct: true, length: 4096, offset: 4MiB}
  - check: {agree: r}
`, scenarios.Corrupt, "differ at byte", ""},
		"a write under the feet of an array with parity": {`
disks: [{id: a, size: 16MiB}, {id: b, size: 16MiB}, {id: c, size: 16MiB}]
stack: [md: {name: r, level: raid5, chunk: 64KiB}]
steps:
  - io: {op: pwrite, direct: true, length: 1MiB}
  - io: {op: pwrite, on: b, direct: true, length: 4096, offset: 4MiB}
  - act: {do: check, to: r}
  - check: {file: "{r.sys}/md/mismatch_cnt", is: 0, verdict: corrupt}
`, scenarios.Corrupt, "mismatch_cnt", ""},
		"a swallowed error": {mutantTable + `
  - fault: {disk: a, do: error, op: write}
  - act: {do: reload, to: d, args: ["0 32768 flakey {a} 0 0 60 1 drop_writes"]}
  - io: {op: pwrite, direct: true, length: 64KiB, expect: {aligned: [EIO]}}
`, scenarios.Errno, "and EIO was expected", "nobody: no device answered with an error"},
		"a leg failed for nothing": {`
trace: block
disks: [{id: a, size: 16MiB}, {id: b, size: 16MiB}]
stack:
  - dm: {name: d, on: [a], table: ["0 20480 linear {a} 0", "20480 8 error", "20488 12280 linear {a} 20488"]}
  - md: {name: r, on: [d, b], level: raid1, assume_clean: true, metadata: "0.90"}
steps:
  - io: {op: pwrite, direct: true, length: 4MiB, offset: 8MiB}
`, scenarios.Degraded, "", "d: EIO at sector "},
		"an error of a disk": {mutantTable + `
  - fault: {disk: a, do: error, op: read}
  - io: {op: pread, direct: true, length: 4096, offset: 4096}
`, scenarios.EIO, "EIO", "a (sda): E"},
		"bytes that a cipher makes unlike": {`
trace: block
disks: [{id: a, size: 16MiB}]
stack: [crypt: {name: k, type: plain}]
steps:
  - io: {op: pwrite, direct: true, length: 64KiB}
  - io: {op: pwrite, on: a, direct: true, length: 4096}
  - io: {op: pread, direct: true, length: 4096}
`, scenarios.Corrupt, "garbage", "k: garbage at sector 0, where what a (sda) has at sector 0 can't be compared"},
		"an answer that no device gave": {`
trace: block
disks: [{id: a, size: 16MiB}]
steps:
  - io: {op: pread, direct: true, length: 4096, unmapped: true}
`, scenarios.Errno, "EFAULT", "nobody: no device was asked"},
	} {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			r := trialOf(t, tt.scenario)
			if r.Verdict != tt.verdict || !strings.Contains(r.Reason, tt.reason) {
				t.Errorf("%s: %s; want %s: …%s\n%s", r.Verdict, r.Reason, tt.verdict, tt.reason, show(r))
			}
			if tt.first != "" && !strings.Contains(r.Traced.Text(), tt.first) {
				t.Errorf("failed first: %q, want …%s\n%+v\n%s", r.Traced.Text(), tt.first, r.Traced, show(r))
			}
			t.Logf("%s: %s; failed first: %s", r.Verdict, r.Reason, r.Traced.Text())
		})
	}
}

// Given an array that a step has stopped, when its legs are asked for, then that
// is no health.
func TestLegsOfWhatWasStoppedAreNotHealthy(t *testing.T) {
	r := trialOf(t, mutantMirror+`
  - act: {do: stop, to: r, expect: any}
  - check: {legs: r, verdict: hang}
`)
	if r.Verdict == scenarios.Pass || !strings.Contains(r.Reason, "r was stopped") {
		t.Errorf("%s: %s; want that it was stopped\n%s", r.Verdict, r.Reason, show(r))
	}
}
