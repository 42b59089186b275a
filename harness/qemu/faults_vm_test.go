//go:build vm

package qemu_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/blockrig/blockrig/harness/qemu"
)

// faultDisks are one disk of each bus, with faults to come.
func faultDisks() []qemu.Disk {
	return []qemu.Disk{
		{ID: "a", Filter: true},
		{ID: "b", Bus: qemu.VirtioBlk, Filter: true},
		{ID: "c", Bus: qemu.VirtioSCSI, Filter: true},
		{ID: "d", Bus: qemu.NVMe, Filter: true},
	}
}

func inject(t *testing.T, l *linux, faults ...qemu.Fault) {
	t.Helper()
	if err := l.Inject(faults...); err != nil {
		t.Fatal(err)
	}
}

func heal(t *testing.T, l *linux) {
	t.Helper()
	if err := l.Heal(); err != nil {
		t.Fatal(err)
	}
}

func TestFaultsReachTheGuest(t *testing.T) {
	l := startLinux(t, linuxSpec(t, faultDisks()...))
	for _, d := range faultDisks() {
		t.Run(string(d.ID)+" "+string(d.Bus), func(t *testing.T) {
			l.t = t
			disk := d.ID
			if got := l.write(disk, 0, 16384, 'x') + l.flush(disk); got != "" {
				t.Fatal(got)
			}
			for _, tt := range []struct {
				name  string
				fault qemu.Fault
				do    func() string
				want  string
			}{
				{"read error", qemu.Fault{Do: qemu.FailRequest, Op: qemu.ReadOp}, func() string { return l.read(disk, 0, 4096) }, failure(d)},
				{"write error", qemu.Fault{Do: qemu.FailRequest, Op: qemu.WriteOp}, func() string { return l.write(disk, 0, 4096, 'y') }, failure(d)},
				{"error elsewhere", qemu.Fault{Do: qemu.FailRequest, Offset: 1 << 20, Length: 4096}, func() string { return l.read(disk, 0, 4096) }, "4096x"},
				{"flush error", qemu.Fault{Do: qemu.FailRequest, Op: qemu.FlushOp}, func() string { return l.write(disk, 1<<20, 4096, 'x') + l.flush(disk) }, failure(d)},
				{"stale", qemu.Fault{Do: qemu.StaleRead}, func() string { return l.write(disk, 4096, 4096, 'y') + l.read(disk, 0, 16384) }, "16384x"},
				{"lost", qemu.Fault{Do: qemu.LoseWrite, Op: qemu.WriteOp}, func() string { return l.write(disk, 4096, 4096, 'z') + l.read(disk, 0, 16384) }, "4096x 4096y 8192x"},
				{"torn", qemu.Fault{Do: qemu.TearWrite, Op: qemu.WriteOp, Offset: 4096, Length: 1, Seed: 1}, func() string { return l.write(disk, 4096, 2048, 'z') + l.read(disk, 4096, 4096) }, "512z 3584y"},
				{"slow", qemu.Fault{Do: qemu.SlowRequest, Delay: 50 * time.Millisecond}, func() string {
					if s := l.do(ask{Do: "read", Disk: disk, Length: 4096}); s.MS < 40 {
						t.Errorf("read in %d ms", s.MS)
					}
					return ""
				}, ""},
			} {
				tt.fault.Disk = disk
				inject(t, l, tt.fault)
				got := tt.do()
				heal(t, l)
				if got != tt.want {
					t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
				}
			}
			if got := l.read(disk, 0, 16384); got != "4096x 512z 3584y 8192x" {
				t.Errorf("after all: %q", got)
			}
		})
	}
	for _, h := range l.Hits() {
		if h.Hit == 0 != (h.Fault.Offset == 1<<20) {
			t.Errorf("%+v", h)
		}
	}
}

// failure is what the guest makes of EIO: QEMU's NVMe only says that the medium
// is bad.
func failure(d qemu.Disk) string {
	if d.Bus == qemu.NVMe {
		return "ENODATA"
	}
	return "EIO"
}

func BenchmarkReadThroughFilter(b *testing.B) {
	for _, bus := range qemu.Buses() {
		for _, filter := range []bool{false, true} {
			if bus == qemu.NVMe && !filter {
				continue // it always has one
			}
			b.Run(fmt.Sprintf("%s, filter %v", bus, filter), func(b *testing.B) {
				l := startLinux(b, linuxSpec(b, qemu.Disk{ID: "a", Bus: bus, Filter: filter}))
				for b.Loop() {
					const reads = 1000
					s := l.do(ask{Do: "many", Disk: "a", Length: reads * 4096})
					if s.Errno != "" {
						b.Fatal(s)
					}
					b.ReportMetric(float64(s.MS*1000)/reads, "µs/read")
				}
			})
		}
	}
}

func TestMachineEndsWhileARequestIsHeld(t *testing.T) {
	l := startLinux(t, linuxSpec(t, qemu.Disk{ID: "a", Filter: true}))
	inject(t, l, qemu.Fault{Disk: "a", Do: qemu.StallRequest})
	l.begin(ask{Do: "read", Disk: "a", Length: 4096})
	ctx := testContext(t)
	for l.Held() == 0 {
		select {
		case <-ctx.Done():
			t.Fatal("no request was held")
		case <-time.After(time.Millisecond):
		}
	}
	if err := l.Save(ctx, t.TempDir()+"/saved"); err == nil || !strings.Contains(err.Error(), "holds a request") {
		t.Errorf("save: %v, want a refusal", err)
	}
	if left := children(t); len(left) > 0 {
		t.Errorf("processes left behind: %v", left)
	}
	if h := l.Hits(); len(h) != 1 || h[0].Hit != 1 {
		t.Errorf("%+v, want one hit", h)
	}
}
