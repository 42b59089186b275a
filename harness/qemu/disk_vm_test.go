//go:build vm

package qemu

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestDisksAreWhatQEMUTakesThemFor(t *testing.T) {
	for _, format := range []Format{Raw, Qcow2} {
		// 512 MiB is what one L2 table covers; 8 TiB need two clusters of L1 table.
		for _, size := range []int64{512, 1 << 20, 512 << 20, 512<<20 + 512, 8 << 40} {
			d, err := CreateDisk(t.Context(), t.TempDir(), "a", size, format)
			if err != nil {
				t.Fatal(err)
			}
			if got := qemuImgSize(t, d.Path, format); got != size {
				t.Errorf("%s: QEMU sees %d bytes, want %d", format, got, size)
			}
		}
	}
}

func TestOverlayShowsWhatIsBelow(t *testing.T) {
	for _, format := range []Format{Raw, Qcow2} {
		t.Run(string(format), func(t *testing.T) {
			// Given a disk with something in its middle,
			below, above := t.TempDir(), t.TempDir()
			d, err := CreateDisk(t.Context(), below, "a", 3<<20, format)
			if err != nil {
				t.Fatal(err)
			}
			qemuIO(t, d.Path, format, "write -P 0x5a 1M 64k")

			// when an overlay is written to,
			before, err := os.ReadFile(d.Path)
			if err != nil {
				t.Fatal(err)
			}
			o, err := overlay(above, d, d.Path)
			if err != nil {
				t.Fatal(err)
			}
			qemuIO(t, o.Path, Qcow2, "write -P 0xa5 1M 4k")

			// then it shows both, and the disk below stays as it was.
			qemuIO(t, o.Path, Qcow2, "read -P 0xa5 1M 4k", "read -P 0x5a 1028k 60k", "read -P 0 2M 64k")
			if got := qemuImgSize(t, o.Path, Qcow2); got != 3<<20 {
				t.Errorf("overlay of %d bytes, want %d", got, 3<<20)
			}
			after, err := os.ReadFile(d.Path)
			if err != nil || string(after) != string(before) {
				t.Errorf("the disk below the overlay changed (%v)", err)
			}
		})
	}
}

func qemuIO(t *testing.T, path string, format Format, commands ...string) {
	t.Helper()
	args := []string{"-f", string(format)}
	for _, c := range commands {
		args = append(args, "-c", c)
	}
	out, err := exec.Command("qemu-io", append(args, path)...).CombinedOutput()
	if err != nil || strings.Contains(string(out), "failed") {
		t.Fatalf("qemu-io %v: %v: %s", commands, err, out)
	}
}

// qemuImgSize has QEMU's own tool check an image and tell its size.
func qemuImgSize(t *testing.T, path string, format Format) int64 {
	t.Helper()
	if format == Qcow2 {
		if out, err := exec.Command("qemu-img", "check", "-f", "qcow2", "--", path).CombinedOutput(); err != nil {
			t.Errorf("qemu-img check: %v: %s", err, out)
		}
	}
	out, err := exec.Command("qemu-img", "info", "-f", string(format), "--output=json", "--", path).Output()
	if err != nil {
		t.Fatalf("qemu-img info: %v", err)
	}
	var info struct {
		Size int64 `json:"virtual-size"`
	}
	if err := json.Unmarshal(out, &info); err != nil {
		t.Fatal(err)
	}
	return info.Size
}
