//go:build vm

package qemu_test

import (
	"path/filepath"
	"testing"

	"github.com/blockrig/blockrig/harness/qemu"
)

// What comes out depends on the host; that it comes out, is remembered, and
// names a machine that runs does not.
func TestChosenAcceleratorRuns(t *testing.T) {
	ctx := testContext(t)
	p := qemu.Probe{Kernel: filepath.Join("testdata", "guest.bin"), Dir: t.TempDir(), StateDir: t.TempDir()}

	accel, why, err := qemu.ChooseAccel(ctx, qemu.Auto, p)
	if err != nil {
		t.Fatal(err)
	}
	if why == "" {
		t.Errorf("%s for no reason", accel)
	}
	t.Logf("%s: %s", accel, why)
	spec := guestSpec(t, qemu.Raw)
	spec.Accel = accel
	boot(t, ctx, spec)

	again, whyAgain, err := qemu.ChooseAccel(ctx, qemu.Auto, p)
	if err != nil || again != accel || whyAgain != why {
		t.Errorf("second choice %s, %q, %v; want %s, %q", again, whyAgain, err, accel, why)
	}
	if forced, _, err := qemu.ChooseAccel(ctx, qemu.KVM, p); (err == nil) != (accel == qemu.KVM) {
		t.Errorf("choice of kvm: %s, %v, though auto gave %s", forced, err, accel)
	}
}
