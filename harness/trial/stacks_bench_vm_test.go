//go:build vm

package trial

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/blockrig/blockrig/scenarios"
)

// benchStacks have each kind of layer, each level and each bus that can be
// saved. A machine with nvme disks can't, so that its trials are all cold.
var benchStacks = []struct{ name, disks, stack string }{
	{"disk ahci", "[{id: a}]", ""},
	{"disk virtio-blk", "[{id: a, bus: virtio-blk}]", ""},
	{"disk virtio-scsi", "[{id: a, bus: virtio-scsi}]", ""},
	{"ext4", "[{id: a}]", "[fs: ext4, file: 1MiB]"},
	{"xfs", "[{id: a, size: 512MiB}]", "[fs: xfs, file: 1MiB]"},
	{"btrfs", "[{id: a, size: 512MiB}]", "[fs: btrfs, file: 1MiB]"},
	{"btrfs raid1", "[{id: a, size: 256MiB}, {id: b, size: 256MiB}]", "[fs: {type: btrfs, profile: raid1}, file: 1MiB]"},
	{"f2fs", "[{id: a, size: 512MiB}]", "[fs: f2fs, file: 1MiB]"},
	{"md raid0", "[{id: a}, {id: b}]", "[md: raid0]"},
	{"md raid1", "[{id: a, size: 32MiB}, {id: b, size: 32MiB}]", "[md: {level: raid1, bitmap: internal}]"},
	{"md raid4", "[{id: a, size: 32MiB}, {id: b, size: 32MiB}, {id: c, size: 32MiB}]", "[md: raid4]"},
	{"md raid5", "[{id: a, size: 32MiB}, {id: b, size: 32MiB}, {id: c, size: 32MiB}]", "[md: raid5]"},
	{"md raid6", "[{id: a, size: 32MiB}, {id: b, size: 32MiB}, {id: c, size: 32MiB}, {id: d, size: 32MiB}]", "[md: raid6]"},
	{"md raid10", "[{id: a, size: 32MiB}, {id: b, size: 32MiB}]", "[md: raid10]"},
	{"lvm linear", "[{id: a}]", "[lvm: {type: linear, size: 32MiB}]"},
	{"lvm mirror, dmeventd", "[{id: a}, {id: b}]", "[lvm: {type: mirror, size: 32MiB, log: core, dmeventd: true}]"},
	{"lvm raid1", "[{id: a}, {id: b}]", "[lvm: {type: raid1, size: 32MiB}]"},
	{"lvm raid6", "[{id: a}, {id: b}, {id: c}, {id: d}, {id: e}]", "[lvm: {type: raid6, size: 32MiB}]"},
	{"lvm raid1, integrity", "[{id: a}, {id: b}]", "[lvm: {type: raid1, size: 32MiB, integrity: true}]"},
	{"lvm thin", "[{id: a}]", "[lvm: {type: thin, size: 32MiB, extra: 32MiB}]"},
	{"lvm snapshot", "[{id: a}]", "[lvm: {type: snapshot, size: 32MiB, extra: 32MiB}]"},
	{"lvm cache", "[{id: a}]", "[lvm: {type: cache, size: 32MiB, extra: 16MiB}]"},
	{"lvm writecache", "[{id: a}]", "[lvm: {type: writecache, size: 32MiB, extra: 16MiB}]"},
	{"lvm vdo", "[{id: a, size: 8GiB}]", "[lvm: {type: vdo, size: 64MiB, extra: 6GiB}]"},
	{"crypt luks2", "[{id: a}]", "[crypt: luks2]"},
	{"crypt plain", "[{id: a}]", "[crypt: plain]"},
	{"bcache", "[{id: a}, {id: b}]", "[bcache: writethrough]"},
	{"partition", "[{id: a}]", "[partition: {}]"},
	{"loop", "[{id: a}]", "[fs: ext4, file: {name: image, size: 32MiB}, loop: {direct: true}]"},
	{"brd", "[{id: a}]", "[brd: 16MiB]"},
	{"zram", "[{id: a}]", "[zram: 16MiB]"},
	{"null_blk", "[{id: a}]", "[null_blk: 16MiB]"},
	{"scsi_debug", "[{id: a}]", "[scsi_debug: 16MiB]"},
	{"md on crypt on lvm", "[{id: a}, {id: b}]", "[lvm: {name: l, on: [a], type: linear, size: 32MiB}, crypt: {on: [l], type: plain}, md: {level: raid1, on: [crypt, b], size: 24MiB}, fs: ext4, file: 1MiB]"},
}

// BenchmarkWarmStacks measures a warm trial of one read on each kind of stack:
// its time beyond the step itself, which may be at most 0.6 s on a machine that
// has nothing else to do, and the time of processors that it takes, QEMU's
// included, which another load changes less.
func BenchmarkWarmStacks(b *testing.B) {
	for _, s := range benchStacks {
		b.Run(s.name, func(b *testing.B) {
			text := "machine: {memory: 1GiB}\ndisks: " + s.disks + "\n"
			if s.stack != "" {
				text += "stack: " + s.stack + "\n"
			}
			l, err := jobOfText(b.Context(), withBug, text+"steps: [io: {op: pread, direct: true, length: 4096}]\n")
			if err != nil {
				b.Fatal(err)
			}
			l.Dir = b.TempDir()
			cache := &BaseCache{Dir: filepath.Join(b.TempDir(), "bases")}
			base, err := cache.get(b.Context(), l.baseKey(), func(ctx context.Context, dir string) error { return makeBase(ctx, l, dir) })
			if err != nil {
				b.Fatal(err)
			}
			defer func() {
				if err := base.Close(); err != nil {
					b.Error(err)
				}
			}()
			var beyond []time.Duration
			begun := processorTime(b)
			n := 0
			for b.Loop() {
				if err := os.RemoveAll(l.Dir); err != nil {
					b.Fatal(err)
				}
				if err := os.Mkdir(l.Dir, 0o700); err != nil {
					b.Fatal(err)
				}
				o, err := runWarm(b.Context(), l, base)
				if err != nil || o.Verdict != scenarios.Pass {
					b.Fatal(err, show(ran{o, l.Dir}))
				}
				beyond = append(beyond, o.Wall-time.Duration(o.Step.MS)*time.Millisecond)
				n++
			}
			took := processorTime(b) - begun
			slices.Sort(beyond)
			b.ReportMetric(beyond[len(beyond)/2].Seconds(), "s-median")
			b.ReportMetric(beyond[0].Seconds(), "s-least")
			b.ReportMetric(took.Seconds()/float64(n), "cpu-s/op")
		})
	}
}

// processorTime is what this process and the children that it has waited for
// have taken.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	sum := int64(0)
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if err := syscall.Getrusage(who, &u); err != nil {
			b.Fatal(err)
		}
		sum += u.Utime.Nano() + u.Stime.Nano()
	}
	return time.Duration(sum)
}
