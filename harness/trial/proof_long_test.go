//go:build vm && long

package trial

import "testing"

// Given stacks that answer out of a map or of memory, when they are read where no
// disk is asked, then the answer is judged, though nothing else was done.
func TestAnswersThatNeedNoDisk(t *testing.T) {
	for name, text := range map[string]string{
		"a discarded range of a thin volume": `
disks: [{id: a, discard: true}]
stack: [lvm: {type: thin, size: 32MiB, extra: 48MiB}]
steps:
  - io: {op: discard, length: 1MiB}
  - io: {op: pread, direct: true, length: 64KiB}
  - io: {op: pread, length: 64KiB, offset: 1MiB}
`,
		"dm-zero, dropped writes, and a leg in memory": `
disks: [{id: a}]
stack:
  - brd: 16MiB
  - dm: {name: none, on: [a], table: ["0 2048 zero", "2048 2048 linear {a} 0"]}
  - dm: {name: drops, on: [a], table: ["0 2048 flakey {a} 0 0 60 1 drop_writes"]}
  - dm: {name: tree, on: [a, brd], table: ["0 2048 linear {brd} 0", "2048 2048 linear {a} 2048"]}
steps:
  - io: {op: pread, on: none, direct: true, length: 64KiB}
  - io: {op: io_uring-read, on: none, direct: true, length: 4096, count: 16, depth: 4}
  - io: {op: pwrite, on: drops, direct: true, length: 64KiB}
  - io: {op: pread, on: tree, direct: true, length: 64KiB}
`,
	} {
		t.Run(name, func(t *testing.T) {
			r := trialOf(t, text)
			wantPass(t, r)
			reads := r.Report.Reads
			for _, b := range r.Report.Before {
				reads += b.Reads
			}
			if reads > 0 {
				t.Errorf("%d reads came to a disk, so the test says nothing\n%s", reads, show(r))
			}
		})
	}
}
