//go:build vm && long

package trial

import (
	"strings"
	"testing"
)

// Given writes and reads by several threads and for some time, and writes whose
// buffer is changed while they run, then what is read is what may stand there,
// and the copies of an array with parity agree with it.
func TestLoadAndChangingBuffers(t *testing.T) {
	r := trialOf(t, `
disks: [{id: a, size: 32MiB}, {id: b, size: 32MiB, bus: virtio-blk}, {id: c, size: 32MiB, bus: virtio-scsi}, {id: d, size: 64MiB}]
stack:
  - md: {name: r, on: [a, b, c], level: raid5, chunk: 64KiB, assume_clean: true}
  - fs: {on: [d], type: ext4}
  - file: 4MiB
steps:
  - io: {op: pwrite, on: r, direct: true, length: 1MiB}
  - io: {op: pwrite, on: r, direct: true, length: 16KiB, count: 16, threads: 4}
  - io: {op: libaio-write, on: r, direct: true, length: 4096, count: 64, depth: 8, random: true, range: 1MiB, threads: 3}
  - io: {op: pread, on: r, direct: true, length: 64KiB, count: 16, threads: 2}
  - parallel:
      - - io: {name: writer, op: pwrite, on: r, direct: true, length: 16KiB, count: 16, seconds: 2, threads: 2}
      - - io: {name: reader, op: io_uring-read, on: r, direct: true, length: 64KiB, count: 16, depth: 4, seconds: 2}
  - io: {name: changing one, op: pwrite, on: r, direct: true, length: 256KiB, count: 4, changing: true}
  - io: {name: changing two, op: io_uring-write, on: r, direct: true, length: 64KiB, count: 16, depth: 4, offset: 2MiB, changing: true}
  - io: {name: changing three, op: mmap-write, on: file, length: 256KiB, count: 4, changing: true}
  - io: {op: fsync, on: file}
  - check: {data: r}
  - check: {data: file}
  - io: {op: pread, on: r, direct: true, length: 1MiB}
  - act: {do: check, to: r}
  - act: {do: wait-idle, to: r}
  - check: {file: "{r.sys}/md/mismatch_cnt", is: 0, verdict: corrupt}
`)
	wantPass(t, r)
	for _, s := range stepsOf(r) {
		if s.More > 0 || s.Changed > 0 {
			t.Logf("%s: %d more, changed %d times", s.Step, s.More, s.Changed)
		}
		if strings.HasPrefix(s.Step, "changing") && s.Changed == 0 {
			t.Errorf("%s: the buffer was not changed", s.Step)
		}
		if strings.Contains(s.Step, "reader") && s.More == 0 {
			t.Errorf("%s: it was done once in two seconds", s.Step)
		}
	}
}
