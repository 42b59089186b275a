//go:build vm

package qemu_test

import (
	"path/filepath"
	"testing"

	"github.com/blockrig/blockrig/harness/qemu"
)

// save boots a guest, has it write x to disk a and count to 1, and saves it.
func save(t testing.TB, format qemu.Format) string {
	t.Helper()
	ctx := testContext(t)
	g := boot(t, ctx, guestSpec(t, format))
	if got := g.do("w0x", "c"); got != ".1" {
		t.Fatalf("answers %q, want .1", got)
	}
	dir := filepath.Join(t.TempDir(), "saved")
	if err := g.Save(ctx, dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestSavedMachineContinuesManyTimes(t *testing.T) {
	for _, format := range []qemu.Format{qemu.Raw, qemu.Qcow2} {
		t.Run(string(format), func(t *testing.T) {
			from := save(t, format)
			for range 3 {
				g := start(t, testContext(t), qemu.Spec{From: from, Dir: t.TempDir()})

				// Memory and disks are as they were saved, whatever the one before did.
				if got, want := g.do("c", "r0", "w0y", "w1z", "r0", "r1", "c"), "2x..yz3"; got != want {
					t.Errorf("answers %q, want %q", got, want)
				}
			}
		})
	}
}
