//go:build vm && long

package trial

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/blockrig/blockrig/scenarios"
)

// Given every layer that can lie on disks, when the power is cut, then all are
// put together again and hold what was flushed.
func TestEveryLayerSurvivesAPowerCut(t *testing.T) {
	r := trialOf(t, `
disks: [{id: a, size: 64MiB}, {id: b, size: 64MiB}, {id: c, size: 64MiB}, {id: d, size: 64MiB}, {id: e, size: 64MiB}]
stack:
  - partition: {on: [a]}
  - md: {name: r, level: raid5, on: [partition, b, c], chunk: 64KiB}
  - dm: {name: lin, on: [r], table: ["0 204800 linear {r} 8192"]}
  - lvm: {name: v, type: linear, size: 48MiB, on: [lin]}
  - crypt: {name: k, on: [v]}
  - fs: {name: x, type: ext4, on: [k]}
  - file: {name: f, size: 8MiB, on: [x]}
  - loop: {name: lo, on: [f]}
  - bcache: {name: bc, mode: writeback, on: [d, e]}
steps:
  - io: {op: pwrite, on: bc, direct: true, length: 64KiB}
  - io: {op: fsync, on: bc}
  - io: {op: pwrite, on: lo, direct: true, length: 64KiB}
  - io: {op: fsync, on: lo}
  - power_cut: {at: now, lose: all}
  - io: {op: pread, on: bc, direct: true, length: 64KiB}
  - io: {op: pread, on: lo, direct: true, length: 64KiB}
`)
	wantPass(t, r)
	wantSecondBoot(t, r)
}

// Given writes of which the last were not flushed, when the power is cut twice,
// at moments of the past, too, then each read gives what may stand there.
func TestPowerCutMayTakeWhatWasNotFlushed(t *testing.T) {
	for name, stack := range map[string]string{"a disk": powerOnDisk, "a mirror": powerOnMirror} {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			r := trialOf(t, stack+`
  - io: {op: pwrite, direct: true, length: 64KiB}
  - io: {op: fsync}
  - io: {op: pwrite, direct: true, length: 64KiB, offset: 32KiB}
  - io: {op: pwrite, length: 4096, offset: 512KiB}
  - power_cut: {at: now, lose: all}
  - io: {op: pread, direct: true, length: 1MiB}
  - io: {op: pwrite, direct: true, length: 64KiB}
  - io: {op: fsync}
  - io: {op: pwrite, direct: true, length: 64KiB}
  - power_cut: {at: any, lose: some, seed: 3}
  - io: {op: pread, direct: true, length: 1MiB}
  - check: {data: file}
  - check: {fsck: fs}
`)
			wantPass(t, r)
			wantSecondBoot(t, r)
		})
	}
}

// Given a file system that the disk has lost, when the power is cut, then that
// it can't be mounted is the finding.
func TestFileSystemThatDoesNotSurviveAPowerCutIsCorrupt(t *testing.T) {
	r := trialOf(t, powerOnDisk+`
  - io: {op: pwrite, on: a, direct: true, length: 64KiB}
  - io: {op: fsync, on: a}
  - power_cut: {at: now, lose: all}
  - io: {op: pread, direct: true, length: 4096}
`)
	if r.Verdict != scenarios.Corrupt || !strings.Contains(r.Reason, "mount /dev/sda") {
		t.Errorf("%s: %s; want corrupt\n%s", r.Verdict, r.Reason, show(r))
	}
	wantSecondBoot(t, r)
}

const flushedTwice = `
  - io: {op: pwrite, direct: true, length: 64KiB}
  - io: {op: fsync}
  - io: {op: pwrite, direct: true, length: 64KiB, offset: 32KiB}
  - io: {op: fsync}
  - power_cut: {every: flush, lose: all}
  - io: {op: pread, direct: true, length: 1MiB}
  - io: {op: pwrite, direct: true, length: 4096}
  - check: {data: file}
`

// Given writes that were flushed one after the other, when the power is cut
// after each flush, then every boot finds what it must, each with the steps
// that follow.
func TestPowerCutAfterEachFlush(t *testing.T) {
	for name, stack := range map[string]string{"a disk": powerOnDisk, "a mirror": powerOnMirror} {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			r := trialOf(t, stack+flushedTwice)
			wantPass(t, r)
			wantSecondBoot(t, r)
			if boots := strings.Count(consoleOf(t, r), "hello from PID 1"); boots < 4 || r.Report.Moment != "the power was cut after the last step" {
				t.Errorf("%d boots, at last: %q; want one after each of two flushes or more, and one at the end", boots, r.Report.Moment)
			}
			if n := len(r.Report.Before); n != 7 {
				t.Errorf("%d steps before the last, want those of the last moment\n%s", n, show(r))
			}
		})
	}
}

// Given a disk that does its first flush and says so of all others, when the
// power is cut after each, then the moment at which something is missed is
// named.
func TestAFlushThatWasNoneIsMissedAtItsMoment(t *testing.T) {
	r := trialOf(t, powerOnDisk+`
  - fault: {disk: a, do: lost, op: flush, after: 1}
`+flushedTwice)
	if r.Verdict != scenarios.Corrupt || !strings.Contains(r.Reason, "the power was cut after ") {
		t.Errorf("%s: %s; want corrupt, with the moment\n%s", r.Verdict, r.Reason, show(r))
	}
	wantSecondBoot(t, r)
}

func consoleOf(t *testing.T, r ran) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(r.dir, ConsoleFile))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Given a disk that says that it flushed and did not, when the power is cut,
// then the write that was acknowledged and flushed is missed.
func TestPowerCutShowsAFlushThatWasNone(t *testing.T) {
	r := trialOf(t, powerOnDisk+`
  - fault: {disk: a, do: lost, op: flush}
`+flushedAndCut)
	if r.Verdict != scenarios.Corrupt || r.Report.Mismatch == nil {
		t.Errorf("%s: %s; want corrupt\n%s", r.Verdict, r.Reason, show(r))
	}
	wantSecondBoot(t, r)
}
