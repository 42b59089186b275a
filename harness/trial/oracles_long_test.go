//go:build vm && long

package trial

import (
	"strings"
	"testing"

	"github.com/blockrig/blockrig/scenarios"
)

// Given arrays of each kind of superblock, a thin volume with a file system on
// it, and targets that keep metadata, when these are used and looked at, then
// nothing is wrong, and all goes on.
func TestSoundMetadata(t *testing.T) {
	wantPass(t, trialOf(t, `
machine: {memory: 512MiB}
disks: [{id: a, size: 32MiB}, {id: b, size: 32MiB}, {id: c, size: 32MiB}, {id: d}, {id: m, size: 8MiB}, {id: o, size: 64MiB}, {id: f, size: 32MiB}]
stack:
  - brd: 12MiB
  - brd: {name: r2, size: 12MiB}
  - brd: {name: r3, size: 12MiB}
  - brd: {name: r4, size: 12MiB}
  - brd: {name: r5, size: 12MiB}
  - brd: {name: r6, size: 12MiB}
  - md: {name: one, on: [a, b, c], level: raid1, spares: 1, bitmap: internal}
  - md: {name: old, on: [brd, r2, r3], level: raid5, metadata: "0.90"}
  - md: {name: end, on: [r4, r5], level: raid0, metadata: "1.0"}
  - lvm: {name: thin, on: [d], type: thin, size: 64MiB, extra: 64MiB}
  - fs: {type: ext4, on: [thin]}
  - file: 1MiB
  - dm: {name: cache, table: ["0 131072 cache {m} {f} {o} 128 1 writeback smq 0"]}
  - dm: {name: era, table: ["0 {cache.sectors} era {r6} {cache} 128"]}
steps:
  - io: {op: pwrite, on: one, direct: true, length: 64KiB, count: 8}
  - io: {op: pwrite, on: old, direct: true, length: 64KiB, count: 8}
  - io: {op: pwrite, on: era, direct: true, length: 64KiB, count: 8}
  - io: {op: pwrite, on: file, length: 64KiB, count: 8}
  - check: {metadata: one}
  - check: {metadata: old}
  - check: {metadata: end}
  - check: {metadata: thin}
  - check: {metadata: cache}
  - check: {metadata: era}
  - act: {do: fail, to: one, member: b}
  - check: {metadata: one}
  - wait: {in_sync: one}
  - act: {do: remove, to: one, member: b}
  - act: {do: add, to: one, member: b}
  - check: {metadata: one}
  - io: {op: pwrite, on: file, direct: true, length: 64KiB, count: 8}
  - io: {op: pread, on: era, direct: true, length: 64KiB, count: 8}
  - check: {data: file}
  - check: {fsck: fs}
`))
}

// Given metadata that were written under the layer's feet, or did not get to a
// disk, when they are looked at, then the trial names what is wrong.
func TestDamagedMetadata(t *testing.T) {
	// An array that was written to is marked clean a moment later: what stood in
	// its superblocks until then is written over.
	const clean = `
  - wait: {file: "{md.sys}/md/array_state", is: clean}
  - wait: {idle: true}`
	for name, tt := range map[string]struct{ scenario, says string }{
		"a member's superblock is overwritten": {`
disks: [{id: a, size: 16MiB}, {id: b, size: 16MiB}]
stack: [md: raid1]
steps:
  - io: {op: pwrite, direct: true}` + clean + `
  - io: {op: pwrite, on: b, direct: true, offset: 4096}
  - check: {metadata: md}
`, "has no superblock"},
		"a byte of a superblock is wrong": {`
disks: [{id: a, size: 16MiB}, {id: b, size: 16MiB}]
stack: [md: raid1]
steps:
  - io: {op: pwrite, direct: true}` + clean + `
  - io: {op: pwrite, on: b, offset: 4128, length: 8}
  - io: {op: fsync, on: b}
  - check: {metadata: md}
`, "wrong checksum"},
		"a superblock is stale": {`
disks: [{id: a, size: 16MiB}, {id: b, size: 16MiB}, {id: c, size: 16MiB}]
stack: [md: raid1]
steps:
  - io: {op: pwrite, direct: true}` + clean + `
  - fault: {disk: b, do: lost, op: write, offset: 4KiB, length: 4KiB}
  - act: {do: fail, to: md, member: c}
  - check: {metadata: md}
`, "disagree"},
		"a thin pool's metadata": {`
disks: [{id: a}]
stack: [lvm: {name: thin, type: thin, size: 64MiB, extra: 64MiB}]
steps:
  - io: {op: pwrite, direct: true, length: 64KiB, count: 16}
  - run: dd if=/dev/urandom of=/dev/mapper/thin-pool_tmeta bs=4096 seek=1 count=64 conv=notrunc oflag=sync
  - check: {metadata: thin}
`, "thin_check"},
		"a cache's metadata": {`
disks: [{id: m, size: 8MiB}, {id: o, size: 64MiB}, {id: f, size: 32MiB}]
stack: [dm: ["0 131072 cache {m} {f} {o} 128 1 writethrough smq 0"]]
steps:
  - io: {op: pwrite, direct: true, length: 64KiB, count: 16}
  - io: {op: pwrite, on: m, direct: true, offset: 4096, length: 64KiB}
  - check: {metadata: dm}
`, "cache_check"},
		"a volume group's metadata": {`
disks: [{id: a}, {id: b}]
stack: [lvm: {name: main, type: raid1, size: 32MiB}]
steps:
  - io: {op: pwrite, direct: true, length: 64KiB}
  - io: {op: pwrite, on: b, offset: 4096, length: 64KiB, direct: true}
  - check: {metadata: main}
`, "vgck"},
	} {
		t.Run(name, func(t *testing.T) {
			r := trialOf(t, tt.scenario)
			if r.Verdict != scenarios.Corrupt || !strings.Contains(r.Reason, tt.says) {
				t.Errorf("it is not named:\n%s", show(r))
			}
		})
	}
}

// Given a btrfs over several disks, when one of them gives other bytes than it
// was told to keep, or errors, then reads are right, the device's counters tell,
// and a scrub mends it.
func TestBtrfsOfSeveralDisks(t *testing.T) {
	r := trialOf(t, `
machine: {memory: 512MiB}
disks: [{id: a, size: 256MiB}, {id: b, size: 256MiB}, {id: c, size: 256MiB}]
stack:
  - fs: {type: btrfs, profile: raid1, on: [a, b, c]}
  - file: 4MiB
steps:
  - io: {op: pwrite, direct: true, length: 64KiB, count: 64}
  - io: {op: fsync}
  - check: {legs: fs}
  - act: {do: scrub, to: fs}
  - fault: {disk: b, do: bitflip, op: read, offset: 1MiB}
  - act: {do: scrub, to: fs, expect: any}
  - io: {op: pread, direct: true, length: 64KiB, count: 64}
  - heal: b
  - act: {do: umount, to: fs}
  - act: {do: mount, to: fs}
  - check: {data: file}
  - check: {fsck: fs}
  - power_cut: {at: now, lose: all}
  - check: {data: file}
`)
	wantPass(t, r)
	wantProof(t, r, "a btrfs of 3 devices", "as raid1")
	r = trialOf(t, `
machine: {memory: 512MiB}
disks: [{id: a, size: 256MiB}, {id: b, size: 256MiB}]
stack:
  - fs: {type: btrfs, profile: raid1, on: [a, b]}
  - file: 4MiB
steps:
  - io: {op: pwrite, direct: true, length: 64KiB, count: 64}
  - io: {op: fsync}
  - fault: {disk: b, do: bitflip, op: read, offset: 1MiB}
  - act: {do: scrub, to: fs, expect: any}
  - check: {legs: fs}
`)
	if r.Verdict != scenarios.Degraded || !strings.Contains(r.Reason, "corruptions") {
		t.Errorf("a device that counts corruptions is not named:\n%s", show(r))
	}
}
