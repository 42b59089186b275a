//go:build vm

package qemu_test

import (
	"strings"
	"testing"

	"github.com/blockrig/blockrig/harness/qemu"
)

func TestDiskIsRemovedAndPutBack(t *testing.T) {
	l := startLinux(t, linuxSpec(t,
		qemu.Disk{ID: "a"},
		qemu.Disk{ID: "b", Bus: qemu.VirtioSCSI}, qemu.Disk{ID: "c", Bus: qemu.VirtioSCSI, Filter: true},
		qemu.Disk{ID: "d", Bus: qemu.VirtioBlk, Removable: true}, qemu.Disk{ID: "e", Bus: qemu.NVMe, Removable: true},
		qemu.Disk{ID: "f", Bus: qemu.NVMe},
	))
	ctx := testContext(t)
	for _, disk := range []string{"b", "c", "d", "e"} {
		t.Run(disk, func(t *testing.T) {
			l.t = t
			if got := l.write(disk, 0, 4096, 'x') + l.flush(disk); got != "" {
				t.Fatal(got)
			}
			if err := l.Unplug(ctx, disk); err != nil {
				t.Fatal(err)
			}
			if got := l.do(ask{Do: "gone", Disk: disk}).String(); got != "" {
				t.Fatal(got)
			}
			if err := l.Plug(ctx, disk); err != nil {
				t.Fatal(err)
			}
			if got := l.read(disk, 0, 8192); got != "4096x 40960" {
				t.Errorf("when it is back: %s", got)
			}
		})
	}
	l.t = t
	for _, disk := range []string{"a", "f", "z"} {
		if err := l.Unplug(ctx, disk); err == nil || !strings.Contains(err.Error(), "disk "+disk) {
			t.Errorf("unplug %s: %v, want a refusal", disk, err)
		}
	}
}
