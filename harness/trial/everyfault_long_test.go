//go:build vm && long

package trial

import (
	"fmt"
	"strings"
	"testing"

	"github.com/blockrig/blockrig/scenarios"
)

// everyBus has a disk on each bus.
const everyBus = `
disks:
  - {id: a, discard: true}
  - {id: v, bus: virtio-blk, discard: true}
  - {id: s, bus: virtio-scsi, discard: true}
  - {id: n, bus: nvme, discard: true}
steps:
`

// Given disks on every bus, when each is made to fail in every way that an
// answer can show, then the guest is told what the reference says, and all is
// right again afterwards.
func TestFaultsOfEveryBusAsTheGuestSeesThem(t *testing.T) {
	var steps strings.Builder
	for _, d := range []struct{ id, read, write string }{{"a", "EIO", "EIO"}, {"v", "EIO", "EIO"}, {"s", "EIO", "EIO"}, {"n", "ENODATA", "ENODATA"}} {
		hits := 6 // Linux tries again five times
		if d.id == "v" {
			hits = 1
		}
		steps.WriteString(strings.NewReplacer("@", d.id, "READ", d.read, "WRITE", d.write, "HITS", fmt.Sprint(hits)).Replace(`
  - io: {op: pwrite, on: @, direct: true, length: 64KiB}
  - fault: {disk: @, do: medium, offset: 8KiB, length: 4KiB}
  - io: {op: pread, on: @, direct: true, length: 8KiB}
  - io: {op: pread, on: @, direct: true, length: 4KiB, offset: 8KiB, expect: [READ]}
  - fault: {disk: @, do: slow, op: write, delay: 20ms, count: 1}
  - io: {op: pwrite, on: @, direct: true, length: 4KiB, offset: 8KiB}
  - io: {op: pread, on: @, direct: true, length: 64KiB}
  - heal: @
  - fault: {disk: @, do: error, op: read, after: 1, count: HITS}
  - io: {op: pread, on: @, direct: true, length: 4KiB}
  - io: {op: pread, on: @, direct: true, length: 4KiB, expect: [READ]}
  - io: {op: pread, on: @, direct: true, length: 4KiB}
  - heal: @
  - fault: {disk: @, do: error, op: write, offset: 64KiB, length: 4KiB}
  - io: {op: pwrite, on: @, direct: true, length: 4KiB, offset: 64KiB, expect: [WRITE]}
  - io: {op: pwrite, on: @, direct: true, length: 4KiB, offset: 68KiB}
  - heal: @
  - fault: {disk: @, do: error, op: write, errno: ENOSPC}
  - io: {op: pwrite, on: @, direct: true, length: 4KiB, offset: 64KiB, expect: [ENOSPC, EIO, ENODATA]}
  - heal: @
  - fault: {disk: @, do: error, op: flush}
  - io: {op: pwrite, on: @, direct: true, length: 4KiB, offset: 64KiB}
  - io: {op: fsync, on: @, expect: [EIO, ENODATA]}
  - heal: @
  - fault: {disk: @, do: error, op: discard}
  - io: {op: discard, on: @, length: 4KiB, offset: 128KiB, expect: [EIO, ENODATA, EREMOTEIO]}
  - heal: @
  - io: {op: discard, on: @, length: 4KiB, offset: 128KiB}
  - fault: {disk: @, do: slow, delay: 50ms, chance: 0.5, seed: 3}
  - io: {op: pread, on: @, direct: true, length: 4KiB, count: 16}
  - heal: @
  - check: {data: @}
`))
	}
	r := trialOf(t, everyBus+steps.String())
	wantPass(t, r)
	for _, s := range stepsOf(r) {
		if s.Errno != "" {
			t.Logf("%s: %s", s.Step, s.Errno)
		}
	}
}

// Given a disk that answers well and lies, when what was written is read, then
// what is wrong is named.
func TestLiesOfDisksAreNamed(t *testing.T) {
	for name, tt := range map[string]struct{ steps, wrong string }{
		"lost": {`
  - fault: {disk: a, do: lost, op: write, count: 1}
  - io: {op: pwrite, on: a, direct: true, length: 4KiB}
  - io: {op: pread, on: a, direct: true, length: 4KiB}
`, "stale"},
		"torn": {`
  - fault: {disk: a, do: torn, seed: 1}
  - io: {op: pwrite, on: a, direct: true, length: 32KiB}
  - io: {op: pread, on: a, direct: true, length: 32KiB}
`, "stale"},
		"stale": {`
  - fault: {disk: a, do: stale}
  - io: {op: pwrite, on: a, direct: true, length: 4KiB}
  - io: {op: pread, on: a, direct: true, length: 4KiB}
`, "stale"},
		"bitflip": {`
  - fault: {disk: a, do: bitflip, op: read, seed: 5, count: 1}
  - io: {op: pread, on: a, direct: true, length: 4KiB}
`, "garbage"},
	} {
		t.Run(name, func(t *testing.T) {
			r := trialOf(t, "disks: [{id: a}]\nsteps:\n  - io: {op: pwrite, on: a, direct: true, length: 64KiB}\n"+tt.steps)
			if r.Verdict != scenarios.Corrupt || r.Report.Wrong != tt.wrong {
				t.Errorf("%s, %q; want corrupt, %q\n%s", r.Verdict, r.Report.Wrong, tt.wrong, show(r))
			}
		})
	}
}

// Given a request that is never answered, and disks that are taken away and put
// back, then the guest gives the one up and tries again, and the others fail and
// come back with what they had.
func TestRequestsNeverAnsweredAndDisksTakenAway(t *testing.T) {
	var steps strings.Builder
	for _, id := range []string{"v", "s", "n"} {
		steps.WriteString(strings.ReplaceAll(`
  - io: {op: pwrite, on: @, direct: true, length: 64KiB}
  - io: {op: fsync, on: @}
  - fault: {disk: @, do: remove}
  - heal: @
  - wait: 3s # until the guest has found it
  - io: {op: pread, on: @, direct: true, length: 64KiB}
  - check: {data: @}
`, "@", id))
	}
	r := trialOf(t, everyBus+`
  - io: {op: pwrite, on: a, direct: true, length: 64KiB}
  - write: {to: "{a.sys}/device/timeout", text: "2"}
  - fault: {disk: a, do: stall, op: read, count: 1}
  - io: {op: pread, on: a, direct: true, length: 4KiB}
  - heal: a
`+steps.String())
	wantPass(t, r)
}

// Given every flag of preadv2 and pwritev2, on a file and a device that can, when
// I/O is done with it, then it goes well or is refused as the man page says.
func TestFlagsOfVectoredIO(t *testing.T) {
	r := trialOf(t, `
disks: [{id: a, size: 64MiB}, {id: n, bus: nvme, poll_queues: 1}]
stack:
  - fs: {type: ext4, on: [a], block_size: 4096}
  - file: 1MiB
  - scsi_debug: {size: 16MiB, args: [atomic_wr=1]}
steps:
  - io: {op: pwritev2, on: file, flags: [SYNC], length: 4096}
  - io: {op: pwritev2, on: file, direct: true, flags: [DSYNC], length: 4096, offset: 4096}
  - io: {op: pwritev2, on: file, flags: [APPEND], length: 5000, offset: 1MiB}
  - io: {op: pwritev2, on: file, flags: [APPEND, DSYNC], length: 5000, offset: 1053576}
  - io: {op: pwritev2, on: file, direct: true, flags: [NOWAIT], length: 4096, expect: [data, EAGAIN]}
  - io: {op: preadv2, on: file, flags: [NOWAIT], length: 4096, expect: [data, EAGAIN]}
  - io: {op: splice-write, on: file, length: 200KiB, offset: 64KiB}
  - io: {op: splice-read, on: file, length: 300KiB}
  - io: {op: preadv2, on: n, direct: true, flags: [HIPRI], length: 4096, count: 16}
  - io: {op: pwritev2, on: n, direct: true, flags: [HIPRI, DSYNC], length: 4096, count: 16}
  - io: {name: atomic on scsi, op: pwritev2, on: scsi_debug, direct: true, flags: [ATOMIC], length: 4096, expect: [data, EOPNOTSUPP, EINVAL]}
  - io: {op: pread, on: scsi_debug, direct: true, length: 4096}
  - io: {name: atomic on nvme, op: pwritev2, on: n, direct: true, flags: [ATOMIC], length: 4096, offset: 1MiB, expect: [EOPNOTSUPP, EINVAL]}
  - io: {op: libaio-write, on: n, direct: true, flags: [DSYNC], length: 4096, count: 8, depth: 4}
  - check: {data: file}
  - check: {data: n}
`)
	wantPass(t, r)
	for _, s := range stepsOf(r) {
		if s.Errno != "" {
			t.Logf("%s: %s", s.Step, s.Errno)
		}
	}
}
