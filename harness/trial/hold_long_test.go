//go:build vm && long

package trial

import (
	"strings"
	"testing"

	"github.com/blockrig/blockrig/scenarios"
)

// failedHole is a hole that the device can't punch, over a buffered write.
const failedHole = `
disks: [{id: a, size: 64MiB}]
stack:
  - dm: ["0 {a.sectors} linear {a} 0"]
steps:
  - io: {op: pwrite, direct: true, length: 128KiB}
  - act: {do: hold, to: dm}
  - io: {op: pwrite, offset: 64KiB, length: 4096}
  - io: {op: fallocate, mode: punch-hole, offset: 64KiB, length: 4096, expect: [ENOTSUP]}
  - check: {data: dm}
`

// Given a device that is held open over several steps, when a hole can't be
// punched, then the buffered write before it is lost, as it is not where the
// write's own close has written it back.
func TestADeviceThatIsHeldIsNotWrittenBack(t *testing.T) {
	if r := trialOf(t, failedHole); r.Verdict != scenarios.Corrupt {
		t.Errorf("held:\n%s", show(r))
	}
	wantPass(t, trialOf(t, strings.Replace(failedHole, "  - act: {do: hold, to: dm}\n", "", 1)))
	released := strings.Replace(failedHole, "  - io: {op: fallocate", "  - act: {do: release, to: dm}\n  - io: {op: fallocate", 1)
	wantPass(t, trialOf(t, released))
}
