//go:build vm && long

package trial

import (
	"slices"
	"strings"
	"testing"

	"github.com/blockrig/blockrig/scenarios"
)

// Given a machine of two CPUs, when queues, parameters and a CPU are set while
// an array takes another shape, then each says what it was set to, the array
// becomes what was asked for, and its data are right.
func TestSettingsAndReshape(t *testing.T) {
	l, err := jobOfText(t.Context(), withBug, `
disks: [{id: a, size: 32MiB}, {id: b, size: 32MiB}, {id: c, size: 32MiB}, {id: d, size: 32MiB}]
stack:
  - md: {level: raid5, on: [a, b, c], chunk: 64KiB}
steps:
  - io: {op: pwrite, direct: true, length: 256KiB, count: 32}
  - queue: {of: a, scheduler: bfq, nr_requests: 16, max_sectors_kb: 64, read_ahead_kb: 128, nomerges: 2, rq_affinity: 2, io_timeout: 20000, write_cache: false}
  - queue: {of: b, scheduler: kyber, wbt_lat_usec: 0}
  - queue: {of: c, scheduler: none}
  - queue: {of: md, read_ahead_kb: 0}
  - queue: {of: a, max_sectors_kb: 2, expect: EINVAL}
  - sysctl: {key: dev.raid.speed_limit_max, value: 300000}
  - sysctl: {key: vm.drop_caches, value: 1}
  - sysctl: {key: kernel.printk, value: 7 4 1 7}
  - sysctl: {key: vm.swappiness, value: 2000, expect: EINVAL}
  - cpu: {offline: 1}
  - act: {do: add, to: md, member: d}
  - act: {do: reshape, to: md, level: raid6, devices: 4}
  - io: {op: pwrite, direct: true, length: 64KiB, count: 16, offset: 1MiB}
  - cpu: {online: 1}
  - wait: {in_sync: md, limit: 120s}
  - check: {data: md}
  - check: {legs: md}
  - check: {file: "{md.sys}/md/level", is: raid6}
  - act: {do: reshape, to: md, chunk: 32KiB}
  - act: {do: wait-idle, to: md}
  - check: {file: "{md.sys}/md/chunk_size", is: 32768}
  - check: {data: md}
  - act: {do: check, to: md}
  - check: {file: "{md.sys}/md/mismatch_cnt", is: 0}
`)
	if err != nil {
		t.Fatal(err)
	}
	l.CPUs, l.Dir = 2, t.TempDir()
	wantPass(t, ran{runAttempts(testContext(t), l, run), l.Dir})
}

// Given a mirror one leg of which another disk has replaced, when it is waited
// for, then it is in sync, whether or not what was replaced is still there.
func TestInSyncAfterAReplacement(t *testing.T) {
	wantPass(t, trialOf(t, `
disks: [{id: a, size: 16MiB}, {id: b, size: 16MiB}, {id: c, size: 16MiB}]
stack:
  - md: {level: raid1, on: [a, b], bitmap: internal}
steps:
  - io: {op: pwrite, direct: true, length: 1MiB}
  - act: {do: add, to: md, member: c}
  - act: {do: replace, to: md, member: a}
  - wait: {in_sync: md}
  - check: {legs: md}
  - act: {do: remove, to: md, member: a}
  - wait: {in_sync: md}
  - act: {do: add, to: md, member: a}
  - wait: {in_sync: md}
  - act: {do: fail, to: md, member: b}
  - wait: {in_sync: md}
  - check: {agree: md}
  - check: {data: md}
`))
}

// Given a device without requests of its own, when their number is set, then
// the trial says what it takes, once.
func TestASettingThatAKernelDoesNotHave(t *testing.T) {
	r := trialOf(t, `
disks: [{id: a, size: 16MiB}, {id: b, size: 16MiB}]
stack: [md: raid1]
steps:
  - io: {op: pread, direct: true}
  - queue: {of: md, rq_affinity: 2}
`)
	// What the host spoils is tried again.
	same := slices.DeleteFunc(r.Attempts, func(a Attempt) bool { return !strings.Contains(a.Reason, "rq_affinity") })
	if len(same) != 1 {
		t.Errorf("it was tried again: %+v", r.Attempts)
	}
	if r.Verdict != scenarios.Error || !strings.Contains(r.Reason, "md0/queue/rq_affinity") {
		t.Errorf("%s", show(r))
	}
}
