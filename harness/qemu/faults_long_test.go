//go:build vm && long

package qemu_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/blockrig/blockrig/harness/qemu"
)

// A guest that gives a request up resets the controller, for which QEMU waits
// until the request has its answer.
func TestGuestGivesUpAStalledRequest(t *testing.T) {
	l := startLinux(t, linuxSpec(t, qemu.Disk{ID: "a", Filter: true}))
	if got := l.do(ask{Do: "put", Disk: "a", Name: "device/timeout", Byte: '2'}).String(); got != "" {
		t.Fatal(got)
	}
	inject(t, l, qemu.Fault{Disk: "a", Do: qemu.StallRequest, Op: qemu.ReadOp, Count: 1})
	if got := l.read("a", 0, 4096); got != "40960" {
		t.Errorf("read: %s, want what is there, by the second try", got)
	}
	if h := l.Hits()[0]; h.Hit != 1 || h.Seen < 2 {
		t.Errorf("%+v, want one hit, and a second try", h)
	}
	if err := l.Trouble(); err != nil {
		t.Error(err)
	}
}

func TestStalledRequestIsHeldUntilItIsLetGo(t *testing.T) {
	l := startLinux(t, linuxSpec(t, faultDisks()...))
	for _, d := range faultDisks() {
		inject(t, l, qemu.Fault{Disk: d.ID, Do: qemu.StallRequest, Op: qemu.ReadOp, Count: 1})
		stuck := l.begin(ask{Do: "read", Disk: d.ID, Length: 4096})
		ctx := testContext(t)
		for l.Held() == 0 {
			select {
			case <-ctx.Done():
				t.Fatal("no request was held")
			case <-time.After(time.Millisecond):
			}
		}
		if got := l.read(d.ID, 8192, 512); got != "5120" {
			t.Errorf("%s: another read: %s", d.ID, got)
		}
		select {
		case s := <-stuck:
			t.Errorf("%s: it was answered: %v", d.ID, s)
		default:
		}
		heal(t, l)
		if s := <-stuck; s.String() != "40960" {
			t.Errorf("%s: %v", d.ID, s)
		}
	}
}

func TestSavedMachineHasDisksOfEveryBus(t *testing.T) {
	spec := linuxSpec(t, qemu.Disk{ID: "a"}, qemu.Disk{ID: "b", Bus: qemu.VirtioBlk}, qemu.Disk{ID: "c", Bus: qemu.VirtioSCSI, RotationRate: 1},
		qemu.Disk{ID: "d", Filter: true}, qemu.Disk{ID: "e", Bus: qemu.VirtioBlk, Filter: true, Removable: true}, qemu.Disk{ID: "f", Bus: qemu.VirtioSCSI, Filter: true})
	disks := []string{"a", "b", "c", "d", "e", "f"}
	l := startLinux(t, spec)
	for _, d := range disks {
		if got := l.write(d, 4096, 4096, d[0]) + l.flush(d); got != "" {
			t.Fatalf("disk %s: %s", d, got)
		}
	}
	if err := l.Inject(qemu.Fault{Disk: "d", Do: qemu.StaleRead}); err != nil { // what is written later is in another layer
		t.Fatal(err)
	}
	if got := l.write("d", 0, 4096, 'D'); got != "" {
		t.Fatal(got)
	}
	from := filepath.Join(t.TempDir(), "saved")
	if err := l.Save(testContext(t), from); err != nil {
		t.Fatal(err)
	}
	for _, filter := range [][]string{nil, {"a", "b", "c"}} {
		l := startLinux(t, qemu.Spec{From: from, Dir: t.TempDir(), Filter: filter})
		for _, d := range disks {
			if got, want := l.read(d, 4096, 4096), "4096"+d; got != want {
				t.Errorf("disk %s: %s, want %s", d, got, want)
			}
			if got := l.write(d, 4096, 512, 'z') + l.flush(d) + l.read(d, 4096, 4096); got != "512z 3584"+d {
				t.Errorf("disk %s: %s", d, got)
			}
		}
		if got := l.read("d", 0, 4096); got != "4096D" {
			t.Errorf("disk d: %s, want what was written last", got)
		}
		for _, d := range filter {
			inject(t, l, qemu.Fault{Disk: d, Do: qemu.FailRequest, Op: qemu.WriteOp})
			if got := l.write(d, 0, 4096, 'e'); got != "EIO" {
				t.Errorf("disk %s: write with a fault: %q", d, got)
			}
		}
	}
}

func TestSavedMachineIsRecorded(t *testing.T) {
	l := startLinux(t, linuxSpec(t, qemu.Disk{ID: "a", Filter: true}))
	if got := l.write("a", 0, 4096, 'x') + l.flush("a"); got != "" {
		t.Fatal(got)
	}
	from := t.TempDir() + "/saved"
	if err := l.Save(testContext(t), from); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	l = startLinux(t, qemu.Spec{From: from, Dir: dir, Paused: true})
	rec, err := l.Record()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Cont(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := l.write("a", 512, 512, 'y') + l.flush("a") + l.write("a", 1024, 512, 'z'); got != "" {
		t.Fatal(got)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("the machine's folder has %v, %v; a dead process would leave it", left, err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	moments := rec.Moments()
	for lose, want := range map[qemu.Loss]string{qemu.LoseAll: "xyxx", qemu.LoseNone: "xyzx"} {
		after, err := rec.Image(t.Context(), moments[len(moments)-1], qemu.Choice{Lose: lose}, t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		p, err := os.ReadFile(after[0].Path)
		if err != nil || string([]byte{p[0], p[512], p[1024], p[1536]}) != want {
			t.Errorf("lose %s: %q, %v; want %s", lose, p[:2048], err, want)
		}
	}
	if err := rec.Close(); err != nil {
		t.Error(err)
	}
}
