//go:build vm

package trial

import (
	"context"
	"strings"
	"testing"

	"github.com/blockrig/blockrig/scenarios"
)

// Given a file on a file system and a device, when each kind of I/O is done to
// them, in order, at once, at random and with vectors, then each ends as it
// should and what is read is right.
func TestEveryKindOfIO(t *testing.T) {
	r := trialOf(t, `
disks: [{id: a, size: 256MiB}, {id: b, discard: true}]
stack:
  - fs: {type: ext4, block_size: 4096, on: [a]}
  - file: 4MiB
steps:
  - io: {op: pwrite, direct: true, length: 64KiB, offset: 64KiB}
  - io: {op: pread, direct: true, length: 256KiB}
  - io: {op: pwritev2, direct: true, flags: [DSYNC], length: 12288, vectors: [{memory_offset: 512, length: 4096}, {memory_offset: 1024, length: 8192}]}
  - io: {op: preadv2, direct: true, length: 12288, vectors: [{length: 8192}, {memory_offset: 512, length: 4096}]}
  - io: {op: pwrite, length: 1000, offset: 12345}
  - io: {op: fdatasync}
  - io: {op: reread, length: 64KiB}
  - io: {op: mmap-write, length: 8192, offset: 512KiB}
  - io: {op: mmap-read, length: 64KiB, offset: 512KiB}
  - io: {op: splice-read, length: 128KiB}
  - io: {op: fallocate, mode: punch-hole, offset: 1MiB, length: 64KiB}
  - io: {op: fallocate, mode: zero-range, offset: 2MiB, length: 64KiB}
  - io: {op: fsync}
  - io: {op: libaio-write, direct: true, length: 4096, count: 64, depth: 8, random: true, range: 1MiB, seed: 7}
  - io: {op: libaio-read, direct: true, length: 16384, count: 64, depth: 8}
  - io: {op: io_uring-write, direct: true, length: 4096, count: 64, depth: 16, offset: 1MiB}
  - io: {op: io_uring-read, direct: true, length: 4096, count: 256, depth: 16, random: true, range: 4MiB, seed: 3}
  - io: {op: pread, length: 4096, unmapped: true, expect: {aligned: [EFAULT]}}
  - check: {data: file}
  - io: {op: pwrite, on: b, direct: true, length: 1MiB}
  - io: {op: discard, on: b, length: 64KiB}
  - io: {op: zeroes, on: b, offset: 64KiB, length: 64KiB}
  - io: {op: fsync, on: b}
  - io: {op: pread, on: b, direct: true, length: 2MiB}
  - check: {data: b}
`)
	wantPass(t, r)
	if n := len(r.Report.Before); n != 24 {
		t.Errorf("%d steps are reported before the last\n%s", n, show(r))
	}
}

// Given something under a layer that spoils data, when they are read, then what
// is wrong is named.
func TestSpoiledDataAreNamed(t *testing.T) {
	// One machine for all: it has what each of them loads a table with.
	const spoiled = `
disks: [{id: a}]
stack:
  - brd: 16MiB
  - dm: {name: other, on: [a], table: ["0 8 zero", "8 8 flakey {a} 8 60 0", "16 8 crypt aes-xts-plain64 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff 0 {a} 16"]}
  - dm: {on: [brd], table: ["0 {brd.sectors} linear {brd} 0"]}
steps:
`
	l, err := jobOfText(t.Context(), withBug, spoiled+writeAndRead("dm"))
	if err != nil {
		t.Fatal(err)
	}
	l.Dir = t.TempDir()
	ctx := testContext(t)
	base, err := (&BaseCache{Dir: t.TempDir()}).get(ctx, l.baseKey(), func(ctx context.Context, dir string) error { return makeBase(ctx, l, dir) })
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := base.Close(); err != nil {
			t.Error(err)
		}
	}()
	for name, tt := range map[string]struct{ steps, wrong string }{
		"a write that was dropped": {`
  - io: {op: pwrite, on: dm, direct: true, length: 64KiB}
  - act: {do: reload, to: dm, args: ["0 {brd.sectors} flakey {brd} 0 0 60 1 drop_writes"]}
  - io: {op: pwrite, on: dm, direct: true, length: 64KiB}
  - io: {op: pread, on: dm, direct: true, length: 64KiB}
`, "stale"},
		"a device whose halves are swapped": {`
  - io: {op: pwrite, on: dm, direct: true, length: 16MiB}
  - act: {do: reload, to: dm, args: ["0 16384 linear {brd} 16384", "16384 16384 linear {brd} 0"]}
  - io: {op: pread, on: dm, direct: true, length: 64KiB}
`, "other-place"},
		"another device": {`
  - io: {op: pwrite, on: dm, direct: true, length: 64KiB}
  - act: {do: reload, to: dm, args: ["0 {brd.sectors} zero"]}
  - io: {op: pread, on: dm, direct: true, length: 64KiB}
`, "zero"},
		"a write under its feet": {`
  - io: {op: pwrite, on: dm, direct: true, length: 64KiB}
  - io: {op: pwrite, on: brd, direct: true, length: 4096, offset: 8192}
  - check: {data: dm}
`, "stale"},
		"random bytes": {`
  - io: {op: pwrite, on: dm, direct: true, length: 64KiB}
  - act: {do: reload, to: dm, args: ["0 {brd.sectors} crypt aes-xts-plain64 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff 0 {brd} 0"]}
  - io: {op: pread, on: dm, direct: true, length: 64KiB}
`, "garbage"},
	} {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			l, err := jobOfText(t.Context(), withBug, spoiled+tt.steps)
			if err != nil {
				t.Fatal(err)
			}
			l.Dir = t.TempDir()
			o, err := runWarm(testContext(t), l, base)
			if err != nil {
				t.Fatal(err)
			}
			r := ran{o, l.Dir}
			if r.Verdict != scenarios.Corrupt || r.Report.Wrong != tt.wrong {
				t.Errorf("%s, %q; want %q: %s\n%s", r.Verdict, r.Report.Wrong, tt.wrong, r.Reason, show(r))
			}
		})
	}
}
