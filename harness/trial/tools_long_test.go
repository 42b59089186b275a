//go:build vm && long

package trial

import (
	"strings"
	"testing"

	"github.com/blockrig/blockrig/scenarios"
)

// Given encrypted devices with arguments of their own for each tool, when they
// are written, then they are what was asked for, also after the power was cut.
func TestArgumentsOfEncryptedDevices(t *testing.T) {
	r := trialOf(t, `
disks: [{id: a, size: 64MiB}, {id: b, size: 64MiB}]
stack:
  - crypt:
      name: luks
      on: [a]
      format: [--cipher, aes-xts-plain64be, --key-size, "256", --pbkdf, argon2id, --pbkdf-memory, "1024", --pbkdf-parallel, "1", --pbkdf-force-iterations, "4", --label, mine]
      args: [--allow-discards, --perf-no_write_workqueue]
  - crypt: {name: bare, on: [b], type: plain, args: [--cipher, aes-xts-plain, --key-size, "256", --offset, "2048"]}
steps:
`+writeAndRead("luks", "bare")+`
  - exec: [cryptsetup, luksDump, "{a}"]
  - io: {op: fsync, on: luks}
  - io: {op: fsync, on: bare}
  - power_cut: now
  - check: {data: luks}
  - check: {data: bare}
`)
	wantPass(t, r)
	wantProof(t, r, "crypt aes-xts-plain64be - 0 8:", "allow_discards no_write_workqueue", "crypt aes-xts-plain - 0 8:")
	dump := ""
	for _, b := range r.Report.Before {
		dump += b.Output
	}
	for _, want := range []string{"argon2id", "Memory:     1024"} {
		if !strings.Contains(dump, want) {
			t.Errorf("the header says nothing of %s:\n%s\n%s", want, dump, show(r))
		}
	}
}

// Given an act whose tool waits for I/O that does not end, and can be killed, when
// its time is over, then that is neither the failure that was expected nor a task
// that hangs, but the step's verdict.
func TestAToolThatIsKilledDidNotFail(t *testing.T) {
	r := trialOf(t, `
disks: [{id: a}]
stack:
  - dm: {name: late, table: ["0 {a.sectors} delay {a} 0 600000"]}
  - dm: {name: top, table: ["0 {late.sectors} linear {late} 0"]}
steps:
  - run: |
      dd if={top} of=/dev/null bs=4096 count=1 &
      sleep 1
  - act: {do: suspend, to: top, expect: failure, verdict: degraded}
`)
	if r.Verdict != scenarios.Degraded || !strings.Contains(r.Reason, "suspend --noudevsync top: it was killed: not done after 1m0s") || r.Report.Stuck != nil {
		t.Errorf("%s: %s\n%s", r.Verdict, r.Reason, show(r))
	}
}
