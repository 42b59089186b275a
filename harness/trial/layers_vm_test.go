//go:build vm

package trial

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/blockrig/blockrig/scenarios"
	"github.com/blockrig/blockrig/scenarios/language"
)

// jobOfText is a trial of the only case of a scenario that is written here.
func jobOfText(ctx context.Context, ref, text string) (Local, error) {
	prep, err := shared.prep()
	if err != nil {
		return Local{}, err
	}
	sc, err := language.Parse("test.yaml", []byte("name: test\nabout: A test.\n"+text))
	if err != nil {
		return Local{}, err
	}
	cases, err := language.Cases(sc, nil)
	if err != nil {
		return Local{}, err
	}
	k, err := prep.Prepare(ctx, ref, cases[0])
	if err != nil {
		return Local{}, err
	}
	j, err := prep.Job(ctx, k, cases[0], 0)
	if err != nil {
		return Local{}, err
	}
	files, err := prep.Find(ctx, j)
	return Local{Job: j, Files: files, attempt: 1}, err
}

// trialOf is a cold trial of a scenario that is written here.
func trialOf(t *testing.T, text string) ran {
	t.Helper()
	l, err := jobOfText(t.Context(), withBug, text)
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv(playPrepare) != "" {
		t.Skip("prepared")
	}
	l.Dir = t.TempDir()
	return ran{run(testContext(t), l), l.Dir}
}

// playPrepare is a variable that has a test only prepare what it would boot.
const playPrepare = "BLOCKRIG_TEST_PREPARE"

// wantProof checks that the guest has proven something of its stack.
func wantProof(t *testing.T, r ran, facts ...string) {
	t.Helper()
	if r.Ready == nil {
		t.Errorf("the stack was not ready\n%s", show(r))
		return
	}
	all := strings.Join(r.Ready.Proof, "\n")
	for _, f := range facts {
		if !strings.Contains(all, f) {
			t.Errorf("%q is not proven:\n%s", f, all)
		}
	}
}

func wantPass(t *testing.T, r ran) {
	t.Helper()
	if r.Verdict != scenarios.Pass {
		t.Errorf("%s: %s\n%s", r.Verdict, r.Reason, show(r))
	}
}

// writeAndRead are steps that write to a layer or disk and read it back.
func writeAndRead(names ...string) string {
	var b strings.Builder
	for _, n := range names {
		b.WriteString("  - io: {op: pwrite, on: " + n + ", direct: true, length: 64KiB, offset: 64KiB}\n")
	}
	for _, n := range names {
		b.WriteString("  - check: {data: " + n + "}\n")
	}
	return b.String()
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

// Given disks on each bus, when they are written, then the data are right.
func TestBuses(t *testing.T) {
	r := trialOf(t, `
disks:
  - {id: a}
  - {id: v, bus: virtio-blk, logical_block_size: 4096, physical_block_size: 4096}
  - {id: s, bus: virtio-scsi, discard: true}
  - {id: n, bus: nvme}
steps:
`+writeAndRead("a", "v", "s", "n"))
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
