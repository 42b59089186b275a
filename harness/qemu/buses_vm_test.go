//go:build vm

package qemu_test

import (
	"testing"

	"github.com/blockrig/blockrig/harness/qemu"
)

func TestGuestSeesDisksAsTheyAreAskedFor(t *testing.T) {
	l := startLinux(t, linuxSpec(t,
		qemu.Disk{ID: "a"},
		qemu.Disk{ID: "b", PhysicalBlockSize: 4096, RotationRate: 1, WriteCache: qemu.Off, Discard: qemu.Off},
		qemu.Disk{ID: "c", Bus: qemu.VirtioBlk, LogicalBlockSize: 4096},
		qemu.Disk{ID: "d", Bus: qemu.VirtioBlk, WriteCache: qemu.Off, Discard: qemu.Off, Filter: true},
		qemu.Disk{ID: "e", Bus: qemu.VirtioSCSI, RotationRate: 1, Discard: qemu.On, FUA: true},
		qemu.Disk{ID: "f", Bus: qemu.VirtioSCSI, LogicalBlockSize: 4096, RotationRate: 7200, WriteCache: qemu.Off, Discard: qemu.Off},
		qemu.Disk{ID: "g", Bus: qemu.NVMe, LogicalBlockSize: 4096},
		qemu.Disk{ID: "h", Bus: qemu.NVMe, Discard: qemu.Off, Zones: &qemu.Zones{Size: 4 << 20, MaxOpen: 2, MaxActive: 3}},
		qemu.Disk{ID: "i", Filter: true},
		qemu.Disk{ID: "j", Bus: qemu.NVMe, Metadata: 8, Protection: 1},
	))
	for _, tt := range []struct{ disk, name, want string }{
		{"a", "queue/logical_block_size", "512"},
		{"a", "queue/write_cache", "write back"},
		{"a", "queue/rotational", "1"},
		{"b", "queue/physical_block_size", "4096"},
		{"b", "queue/write_cache", "write through"},
		{"b", "queue/rotational", "0"},
		{"b", "queue/discard_max_bytes", "0"},
		{"c", "queue/logical_block_size", "4096"},
		{"c", "queue/write_cache", "write back"},
		{"d", "queue/logical_block_size", "512"},
		{"d", "queue/write_cache", "write through"},
		{"d", "queue/discard_max_bytes", "0"},
		{"e", "queue/rotational", "0"},
		{"e", "queue/fua", "1"},
		{"f", "queue/logical_block_size", "4096"},
		{"f", "queue/rotational", "1"},
		{"f", "queue/write_cache", "write through"},
		{"f", "queue/discard_max_bytes", "0"},
		{"g", "queue/logical_block_size", "4096"},
		{"g", "queue/rotational", "0"},
		{"g", "queue/zoned", "none"},
		{"h", "queue/zoned", "host-managed"},
		{"h", "queue/chunk_sectors", "8192"},
		{"h", "queue/max_open_zones", "2"},
		{"h", "queue/max_active_zones", "3"},
		{"i", "queue/write_cache", "write back"},
		{"j", "integrity/format", "T10-DIF-TYPE1-CRC"},
	} {
		if got := l.attr(tt.disk, tt.name); got != tt.want {
			t.Errorf("disk %s: %s = %q, want %q", tt.disk, tt.name, got, tt.want)
		}
	}
	for _, d := range []string{"a", "c", "e", "g", "i"} {
		if got := l.attr(d, "queue/discard_max_bytes"); got == "0" {
			t.Errorf("disk %s can't be discarded from", d)
		}
	}
	for _, d := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"} {
		if got := l.write(d, 0, 8192, 'x') + l.flush(d) + l.read(d, 0, 8192); got != "8192x" {
			t.Errorf("disk %s: write, flush and read gave %q", d, got)
		}
	}
}
