//go:build vm && long

package trial

import "testing"

// Given a partition under a mounted file system, when it grows, then what lies on
// it can grow, too, and both are as large after the power was cut.
func TestAPartitionInUseGrows(t *testing.T) {
	wantPass(t, trialOf(t, `
disks: [{id: a, size: 128MiB}, {id: b, size: 64MiB}]
stack:
  - partition: {name: p, on: [a], size: 32MiB}
  - fs: {type: ext4, on: [p]}
  - file: 1MiB
  - partition: {name: q, on: [b], start: 2MiB, size: 16MiB}
steps:
  - act: {do: hold, to: q}
  - act: {do: grow, to: q}
  - check: {file: "{q.sys}/size", is: "126943"}
  - io: {op: pwrite, on: q, direct: true, offset: 32MiB, length: 64KiB}
  - io: {op: fsync, on: q}
  - parallel:
      - - io: {op: pwrite, on: file, direct: true, length: 64KiB, count: 16, seconds: 3}
      - - act: {do: grow, to: p, size: 96MiB}
        - act: {do: grow, to: fs}
  - check: {file: "{p.sys}/size", is: "196608"}
  - io: {op: pwrite, on: file, length: 48MiB}
  - io: {op: fsync, on: file}
  - power_cut: now
  - check: {file: "{p.sys}/size", is: "196608"}
  - check: {file: "{q.sys}/size", is: "126943"}
  - check: {data: file}
  - check: {data: q}
  - check: {fsck: fs}
`))
}

// Given several disks of scsi_debug, when they are written, then each has its own
// data.
func TestSeveralDisksOfScsiDebug(t *testing.T) {
	r := trialOf(t, `
stack:
  - scsi_debug: {name: one, size: 16MiB}
  - scsi_debug: {name: two, size: 16MiB}
  - scsi_debug: {name: three, size: 16MiB}
  - md: {name: r, on: [two, three], level: raid1}
steps:
`+writeAndRead("one", "r")+`
  - act: {do: wait-idle, to: r}
  - check: {agree: r}
  - act: {do: fail, to: r, member: two}
  - io: {op: pread, on: r, direct: true, offset: 64KiB, length: 64KiB}
  - check: {data: one}
`)
	wantPass(t, r)
	wantProof(t, r, "three is sd", "r is md0 (9:0) on three, two")
}

// Given a volume, when an act makes snapshots of it and steps read and write
// them by name, then each has its own data, also once one is merged.
func TestSnapshotsThatActsMake(t *testing.T) {
	wantPass(t, trialOf(t, `
disks: [{id: a, size: 256MiB}]
stack: [lvm: {name: v, type: linear, size: 32MiB}]
steps:
  - io: {op: pwrite, on: v, direct: true, length: 1MiB}
  - act: {do: snapshot, to: v, snapshot: before}
  - io: {op: pwrite, on: v, direct: true, length: 512KiB}
  - io: {op: pread, on: before, direct: true, length: 1MiB}
  - io: {op: pwrite, on: before, direct: true, offset: 256KiB, length: 64KiB}
  - act: {do: snapshot, to: v, snapshot: later}
  - check: {data: before}
  - check: {data: later}
  - check: {data: v}
  - exec: [dmsetup, status, "{before}"]
  - queue: {of: before, read_ahead_kb: 0}
  - exec: [lvm, lvremove, -y, v/later]
  - act: {do: merge, to: v, snapshot: before}
  - io: {op: pread, direct: true, length: 1MiB}
`))
}
