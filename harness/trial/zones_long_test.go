//go:build vm && long

package trial

import (
	"strings"
	"testing"

	"github.com/blockrig/blockrig/scenarios"
)

// zoned has a zoned disk and a zoned device in memory, each of 4 zones that are
// not wholly writable.
const zoned = `
allow: ["NVMe I/O Error", "I/O error*", "open zones exceeded*"] # what must be refused
disks: [{id: n, bus: nvme, size: 16MiB, zones: {size: 4MiB, capacity: 3MiB, max_open: 2, max_active: 3}}]
stack:
  - null_blk: {name: z, size: 16MiB, zoned: true, zone_size: 4MiB, zone_capacity: 3MiB, max_open: 2, max_active: 3, conventional: 1}
  - dm: {name: l, table: ["0 16384 linear {n} 16384"]}
steps:
`

// Given zoned devices, when their zones are opened, written, closed, finished
// and reset, then they are in what they must be in, and what was written is
// there.
func TestZones(t *testing.T) {
	var steps strings.Builder
	for _, on := range []string{"n", "z"} {
		steps.WriteString(strings.ReplaceAll(`
  - zone: {do: report, on: @, zone: 1, count: 3, condition: empty, write_pointer: 0}
  - io: {op: pwrite, on: @, direct: true, offset: 4MiB, length: 64KiB, count: 4}
  - zone: {do: report, on: @, zone: 1, condition: implicit-open, write_pointer: 256KiB}
  - zone: {do: close, on: @, zone: 1, condition: closed, write_pointer: 256KiB}
  - zone: {do: open, on: @, zone: 2, condition: explicit-open}
  - io: {op: pwrite, on: @, direct: true, offset: 8MiB, length: 4096}
  - io: {name: past the pointer, op: pwrite, on: @, direct: true, offset: 8200KiB, length: 4096, expect: [EIO]}
  - zone: {do: finish, on: @, zone: 2, condition: full}
  - io: {name: to a full zone, op: pwrite, on: @, direct: true, offset: 8196KiB, length: 4096, expect: [EIO, ENOSPC]}
  - check: {data: @}
  - zone: {do: reset, on: @, zone: 2, condition: empty, write_pointer: 0}
  - check: {data: @}
  - io: {op: pwrite, on: @, direct: true, offset: 8MiB, length: 8192}
  - io: {op: pread, on: @, direct: true, offset: 8MiB, length: 8192}
  - zone: {do: open, on: @, zone: 1}
  - zone: {do: open, on: @, zone: 2}
  - zone: {name: one too many, do: open, on: @, zone: 3, expect: any}
  - zone: {do: report, on: @, zone: 3, condition: empty}
  - zone: {do: reset-all, on: @}
  - zone: {do: report, on: @, zone: 1, count: 3, condition: empty, write_pointer: 0}
`, "@", on))
	}
	r := trialOf(t, zoned+steps.String()+`
  - zone: {do: report, on: z, condition: not-write-pointer}
  - io: {op: pwrite, on: l, direct: true, length: 8192}
  - zone: {do: report, on: l, condition: implicit-open, write_pointer: 8KiB}
  - zone: {do: report, on: n, zone: 2, write_pointer: 8KiB}
  - zone: {do: reset, on: l, condition: empty}
`)
	wantPass(t, r)
	for _, s := range stepsOf(r) {
		if s.Errno != "" || s.Output != "" {
			t.Logf("%s: %s %s", s.Step, s.Errno, s.Output)
		}
	}
}

// Given a zone that is not in what a step says, then that is the step's verdict,
// and what it is in is told.
func TestZoneThatIsNotAsItMustBe(t *testing.T) {
	r := trialOf(t, zoned+`
  - io: {op: pwrite, on: n, direct: true, length: 8192}
  - zone: {do: close, on: n, condition: closed, write_pointer: 4KiB, verdict: corrupt}
`)
	if r.Verdict != scenarios.Corrupt || !strings.Contains(r.Reason, "zone 0 is closed, its write pointer at 8192") {
		t.Errorf("%s: %s\n%s", r.Verdict, r.Reason, show(r))
	}
}
