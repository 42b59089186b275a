//go:build vm

package trial

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/blockrig/blockrig/harness/console"
	"github.com/blockrig/blockrig/harness/verdict"
	"github.com/blockrig/blockrig/initramfs/protocol"
)

const powerOnDisk = `
disks: [{id: a, size: 64MiB}]
stack: [fs: ext4, file: 1MiB]
steps:
`

const powerOnMirror = `
disks: [{id: a, size: 64MiB}, {id: b, size: 64MiB}]
stack: [md: {level: raid1, bitmap: internal}, fs: ext4, file: 1MiB]
steps:
`

const flushedAndCut = `
  - io: {op: pwrite, direct: true, length: 64KiB}
  - io: {op: fsync}
  - power_cut: {at: now, lose: all}
  - io: {op: pread, direct: true, length: 1MiB}
`

// Given a write that was acknowledged and flushed, when the power is cut, then
// the next boot of the same stack has it.
func TestPowerCutKeepsWhatWasFlushed(t *testing.T) {
	for name, stack := range map[string]string{"a disk": powerOnDisk, "a mirror": powerOnMirror} {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			r := trialOf(t, stack+flushedAndCut)
			wantPass(t, r)
			wantSecondBoot(t, r)
		})
	}
}

// wantSecondBoot checks that the saved log has more than one boot and is judged
// as the trial was.
func wantSecondBoot(t *testing.T, r ran) {
	t.Helper()
	f, err := os.Open(filepath.Join(r.dir, ConsoleFile))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var sum protocol.LogSum
	log, err := console.ReadAll(f, &sum)
	if err != nil {
		t.Fatal(err)
	}
	sum.Close()
	j, err := verdict.JudgeLog(verdict.Log{Findings: log.Findings, Marks: log.Marks, KernelLines: log.KernelLines, Trailers: sum.Trailers()})
	if err != nil || log.Boots < 2 || j.Verdict != r.Verdict || j.Reason != r.Reason {
		t.Errorf("%d boots; the log alone says %s: %s (%v)\n%s", log.Boots, j.Verdict, j.Reason, err, show(r))
	}
	wantNothingLeft(t, r.dir)
}
