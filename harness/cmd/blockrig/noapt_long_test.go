//go:build vm && long

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/blockrig/blockrig/harness/qemu"
	"github.com/blockrig/blockrig/scenarios"
)

// A host such as Fedora: QEMU is there, and tools; apt is not.
func TestAHostWithoutApt(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	k := h.kernel("debian:newest")
	machine, err := exec.LookPath(qemu.DefaultBinary)
	if err != nil {
		t.Fatal(err)
	}
	h.path = filepath.Join(h.root, "bin")
	if err := os.Mkdir(h.path, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(machine, filepath.Join(h.path, qemu.DefaultBinary)); err != nil {
		t.Fatal(err)
	}
	scenario := h.write("plain.yaml", plain("384MiB"))

	// A kernel of one's own is run, with the host's mke2fs, and that is said.
	o := h.run("--format", "json", "run", "--cold", "--repeat", "2", scenario, "-k", "file:"+k.Image+",modules="+k.Modules+",config="+k.Config)
	if o.status != 0 || len(o.records) != 2 || o.records[0].Verdict != scenarios.Pass {
		t.Fatalf("%v", o)
	}
	if n := strings.Count(o.stderr, "the guest's tools are this host's"); n != 1 {
		t.Errorf("it is said %d times, want once: %v", n, o)
	}
	// There are none of Debian.
	o = h.run("--format", "json", "run", scenario, "-k", "debian:5.10")
	if o.status != 3 || !strings.Contains(o.stdout, "there are no kernels of Debian here") {
		t.Errorf("%v", o)
	}
	h.wantNothingLeft()
}
