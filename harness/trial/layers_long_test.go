//go:build vm && long

package trial

import (
	"testing"
)

// Given each file system, when a file on it is written, then the data are right,
// after it was mounted again, too, and nothing of it is damaged.
func TestFileSystems(t *testing.T) {
	r := trialOf(t, `
machine: {memory: 768MiB}
disks: [{id: a, size: 512MiB}, {id: b, size: 512MiB}, {id: c, size: 512MiB}, {id: d, size: 64MiB, discard: true}]
stack:
  - fs: {name: x, type: xfs, on: [a], block_size: 4096, options: noatime}
  - file: {name: xfile, on: [x], size: 1MiB}
  - fs: {name: f, type: f2fs, on: [b]}
  - file: {name: ffile, on: [f], size: 1MiB}
  - fs: {name: bt, type: btrfs, on: [c]}
  - file: {name: bfile, on: [bt], size: 1MiB}
  - fs: {name: e, type: ext4, on: [d], block_size: 1024, mkfs: [-O, ^has_journal]}
  - file: {name: efile, on: [e], size: 1MiB, sparse: true}
steps:
`+writeAndRead("xfile", "ffile", "bfile", "efile")+`
  - act: {do: umount, to: x}
  - act: {do: mount, to: x}
  - check: {data: xfile}
  - act: {do: fstrim, to: e}
  - act: {do: remount, to: e, args: [ro]}
  - io: {op: pwrite, on: efile, direct: true, expect: {aligned: [EROFS]}}
  - check: {fsck: x}
  - check: {fsck: f}
  - check: {fsck: bt}
  - check: {fsck: e}
  - check: {data: ffile}
`)
	wantPass(t, r)
	wantProof(t, r, "/mnt/x is xfs with blocks of 4096", "/mnt/f is f2fs", "/mnt/bt is btrfs", "/mnt/e is ext4 with blocks of 1024")
}

// Given a volume of each type, when it is written, then it is what was asked
// for and holds the data.
func TestLayersOfLVM(t *testing.T) {
	r := trialOf(t, `
machine: {memory: 512MiB}
disks: [{id: a}, {id: b}, {id: c}, {id: d}]
stack:
  - lvm: {name: five, on: [a, b, c], type: raid5, stripes: 2, stripe_size: 64KiB, size: 40MiB}
  - loop: {on: [five], direct: true}
  - lvm: {name: thin, on: [loop], type: thin, size: 8MiB, extra: 8MiB, chunk: 64KiB}
  - brd: 64MiB
  - lvm: {name: cached, on: [d, brd], type: cache, size: 16MiB, extra: 8MiB}
steps:
`+writeAndRead("thin", "cached")+`
  - act: {do: scrub, to: five}
  - check: {legs: five}
`)
	wantPass(t, r)
	wantProof(t, r, "raid raid5", "16384 thin ", "32768 cache ")
}

// Given a stack of layers on the guest's memory and of what lies on those, when
// each is written and read, then each is proven to be what was asked for, and
// the data are right.
func TestLayersOnMemory(t *testing.T) {
	r := trialOf(t, `
disks: [{id: a}]
stack:
  - brd: 64MiB
  - brd: {name: brd2, size: 64MiB}
  - zram: {size: 32MiB, algorithm: lz4}
  - null_blk: {size: 32MiB, block_size: 4096, write_cache: true, discard: true}
  - scsi_debug: {size: 16MiB, sector_size: 4096, args: [lbpu=1]}
  - partition: {on: [brd2], start: 2MiB, size: 16MiB}
  - loop: {on: [brd], direct: true, block_size: 4096}
  - loop: {name: loop2, on: [partition]}
  - dm: {on: [zram, a], table: ["0 {a.sectors} linear {a} 0", "{a.sectors} 32768 linear {zram} 0"]}
  - bcache: {on: [dm, loop], mode: writethrough}
  - crypt: {on: [bcache], type: plain, sector_size: 4096}
steps:
`+writeAndRead("null_blk", "scsi_debug", "loop2", "crypt")+`
  - io: {op: discard, on: null_blk, length: 64KiB, offset: 64KiB}
  - io: {op: zeroes, on: scsi_debug, length: 64KiB, offset: 64KiB}
  - check: {data: null_blk}
  - check: {data: scsi_debug}
`)
	wantPass(t, r)
	wantProof(t, r, "brd of 67108864 bytes", "zram of 33554432", "null_blk of 33554432", "scsi_debug of 16777216", "partition is ram1p1",
		"over /dev/ram0, direct true", "dm table: 0 262144 linear", "dm table: 262144 32768 linear", "writethrough by loop", "dm table: 0 ")
}

// Given an array of each level with its options, when it is written, then it is
// what was asked for and holds the data.
func TestLayersOfMD(t *testing.T) {
	r := trialOf(t, `
machine: {memory: 768MiB}
disks: [{id: a}, {id: b}]
stack:
  - brd: 12MiB
  - brd: {name: r2, size: 12MiB}
  - brd: {name: r3, size: 12MiB}
  - brd: {name: r4, size: 12MiB}
  - brd: {name: r5, size: 12MiB}
  - brd: {name: r6, size: 12MiB}
  - brd: {name: r7, size: 12MiB}
  - brd: {name: r8, size: 12MiB}
  - brd: {name: r9, size: 12MiB}
  - brd: {name: r10, size: 12MiB}
  - brd: {name: r11, size: 12MiB}
  - brd: {name: r12, size: 12MiB}
  - brd: {name: r13, size: 12MiB}
  - brd: {name: r14, size: 12MiB}
  - brd: {name: r15, size: 12MiB}
  - brd: {name: r16, size: 12MiB}
  - md: {name: mirror, on: [a, b], level: raid1, bitmap: internal, write_mostly: [1], write_behind: 256, metadata: 1.0, size: 32MiB}
  - md: {name: five, on: [brd, r2, r3], level: raid5, chunk: 64KiB, consistency: ppl}
  - md: {name: six, on: [r4, r5, r6, r7], level: raid6, layout: left-symmetric, missing: [1]}
  - md: {name: ten, on: [r8, r9, r10], level: raid10, layout: n2, spares: 0, bitmap: internal}
  - md: {name: stripe, on: [five, ten], level: raid0, chunk: 64KiB}
  - md: {name: four, on: [r11, r12, r13, r14], level: raid4, spares: 1}

steps:
`+writeAndRead("mirror", "stripe", "six", "four"))
	wantPass(t, r)
	wantProof(t, r, "md0 is an md array of level raid1", "level raid5", "level raid6", "level raid10", "level raid0", "level raid4")
}

// Given an array, when things are done to it, then each ends as it should.
func TestActsOnAnArray(t *testing.T) {
	r := trialOf(t, `
disks: [{id: a, size: 16MiB}, {id: b, size: 16MiB}, {id: c, size: 16MiB}]
stack:
  - md: {level: raid1, on: [a, b], bitmap: internal}
steps:
  - io: {op: pwrite, direct: true, length: 256KiB}
  - check: {legs: md}
  - check: {agree: md}
  - act: {do: fail, to: md, member: b}
  - act: {do: remove, to: md, member: b}
  - io: {op: pwrite, direct: true, length: 256KiB, offset: 128KiB}
  - act: {do: re-add, to: md, member: b}
  - wait: {in_sync: md}
  - check: {agree: md}
  - act: {do: add, to: md, member: c}
  - act: {do: replace, to: md, member: a}
  - wait: 1s
  - wait: {file: "{md.sys}/md/sync_action", is: idle}
  - act: {do: check, to: md}
  - check: {file: "{md.sys}/md/mismatch_cnt", is: "0"}
  - act: {do: stop, to: md}
  - act: {do: assemble, to: md}
  - check: {data: md}
  - write: {to: "{md.sys}/md/sync_action", text: nonsense, expect: EINVAL}
  - exec: [mdadm, --detail, "{md}"]
  - wait: 100ms
  - parallel:
      - - io: {op: pwrite, direct: true, length: 64KiB, count: 16}
        - io: {op: pread, direct: true, length: 64KiB, count: 16}
      - - io: {op: pwrite, direct: true, length: 64KiB, count: 16}
        - write: {to: "{md.sys}/md/sync_action", text: check}
  - wait: {idle: true}
  - check: {data: md}
`)
	wantPass(t, r)
}

// Given a disk of a mirror that fails, when the array is read, then its leg is
// failed for that and nothing is wrong; without the fault it would be.
func TestAFaultExplainsALeg(t *testing.T) {
	r := trialOf(t, `
disks: [{id: a, size: 16MiB}, {id: b, size: 16MiB}]
stack:
  - md: {level: raid1, on: [a, b]}
steps:
  - io: {op: pwrite, direct: true, length: 256KiB}
  - fault: {disk: b, do: error}
  - io: {op: pwrite, direct: true, length: 64KiB}
  - io: {op: pread, direct: true, length: 256KiB}
  - heal: {disk: b}
  - act: {do: remove, to: md, member: b}
  - act: {do: add, to: md, member: b}
  - wait: {in_sync: md}
  - check: {agree: md}
  - check: {data: md}
`)
	wantPass(t, r)
}
