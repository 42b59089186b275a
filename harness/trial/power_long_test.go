//go:build vm && long

package trial

import "testing"

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
