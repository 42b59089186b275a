//go:build vm && long

package trial

import (
	"slices"
	"strings"
	"testing"

	"github.com/blockrig/blockrig/harness/verdict"
	"github.com/blockrig/blockrig/scenarios"
)

// stepsOf are what all steps of a report showed, the last one too.
func stepsOf(r ran) []verdict.StepReport {
	return append(slices.Clone(r.Report.Before), verdict.StepReport{Step: r.Report.Step, Observation: r.Report.Observation})
}

// Given disks that can be polled, when io_uring does I/O to them in every way,
// then all is right, what was to be polled was, and a chain ends with the first
// that fails.
func TestEveryWayOfIOUring(t *testing.T) {
	r := trialOf(t, `
disks: [{id: n, bus: nvme, poll_queues: 1}]
stack:
  - null_blk: {name: ram, size: 16MiB, poll_queues: 1}
  - dm: {name: half, table: ["0 65536 linear {n} 65536"]}
steps:
  - io: {op: io_uring-write, on: n, direct: true, length: 4096, count: 64, depth: 8, fixed: [buffers, files], range: 1MiB}
  - io: {op: io_uring-read, on: n, direct: true, length: 8192, count: 32, depth: 4, fixed: [buffers], range: 256KiB, memory_offset: 512}
  - io: {op: io_uring-read, on: n, length: 12288, fixed: [files], vectors: [{length: 8192}, {memory_offset: 512, length: 4096}]}
  - io: {op: io_uring-write, on: n, direct: true, length: 4096, flags: [DSYNC]}
  - io: {op: io_uring-fsync, on: n}
  - io: {op: io_uring-fdatasync, on: n, fixed: [files]}
  - io: {name: polled write, op: io_uring-write, on: n, direct: true, length: 4096, count: 64, depth: 8, fixed: [buffers, files], polled: true}
  - io: {name: polled read, op: io_uring-read, on: n, direct: true, length: 4096, count: 64, polled: true}
  - io: {name: polled ram, op: io_uring-write, on: ram, direct: true, length: 4096, count: 16, depth: 4, polled: true}
  - io: {op: pread, on: ram, direct: true, length: 64KiB}
  - io: {name: polled linear, op: io_uring-read, on: half, direct: true, length: 4096, polled: true}
  - linked:
      - {op: io_uring-write, on: n, direct: true, length: 64KiB, fixed: [buffers, files]}
      - {op: io_uring-fsync, on: n, fixed: [files]}
      - {op: io_uring-read, on: n, direct: true, length: 64KiB}
      - {op: io_uring-write, on: n, direct: true, length: 64KiB}
      - {op: io_uring-read, on: n, length: 4096, offset: 4096, direct: true}
  - linked:
      - {op: io_uring-write, on: n, direct: true, length: 8192, polled: true}
      - {op: io_uring-read, on: n, direct: true, length: 8192, polled: true}
  - check: {data: n}
  - fault: {disk: n, do: error, op: write}
  - linked:
      - {op: io_uring-read, on: n, direct: true, length: 4096}
      - {op: io_uring-write, on: n, direct: true, length: 4096, expect: [ENODATA, EIO]}
      - {op: io_uring-fsync, on: n, expect: [ECANCELED]}
      - {op: io_uring-read, on: n, direct: true, length: 4096, expect: [ECANCELED]}
  - heal: n
  - check: {data: n}
`)
	wantPass(t, r)
	polled := 0
	for _, s := range stepsOf(r) {
		if s.Polled != "" {
			polled++
			t.Logf("%s: %s", s.Step, s.Polled)
		}
		if strings.HasPrefix(s.Step, "polled") && s.Polled == "" {
			t.Errorf("%s: nothing proves that it was polled", s.Step)
		}
	}
	if polled != 6 { // two of them of a chain
		t.Errorf("%d polled steps, want 6\n%s", polled, show(r))
	}
}

// Given an array over a disk that can be polled, which does not hand it on, when
// polled I/O is asked for, then that is an error that says so and no pass.
func TestPolledIOThatIsNot(t *testing.T) {
	r := trialOf(t, `
disks: [{id: n, bus: nvme, poll_queues: 1}, {id: m, bus: nvme, poll_queues: 1}]
stack: [md: {level: raid1, assume_clean: true}]
steps:
  - io: {op: io_uring-read, direct: true, length: 4096, polled: true}
`)
	if r.Verdict != scenarios.Error || !strings.Contains(r.Reason, "polled") {
		t.Errorf("%s: %s; want an error that says that it was not polled\n%s", r.Verdict, r.Reason, show(r))
	}
	t.Log(r.Reason)
}
