//go:build vm && long

package main

import (
	"strings"
	"testing"

	"github.com/blockrig/blockrig/scenarios"
)

func TestMountThatFails(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.withTool("package main\n\nfunc main() {}\n")
	o := h.run("--format", "json", "run", "--guest-tools", "host", h.write("plain.yaml", plain("384MiB")), "-k", "debian:newest")
	rec := h.one(o, scenarios.Error, "stack")
	if !strings.Contains(rec.Reason, "mount /dev/sda /mnt/tmp") {
		t.Errorf("reason %q", rec.Reason)
	}
	h.wantClassifyAgrees(rec)
	h.wantNothingLeft()
}

func TestNoSpaceOnHost(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.inside = "mkdir " + h.results + "; mount -t tmpfs -o size=1m,mode=1777 small " + h.results
	o := h.run("--format", "json", "run", "--cold", h.write("plain.yaml", plain("384MiB")), "-k", "debian:newest")
	rec := h.one(o, scenarios.Error, "stack")
	if !strings.Contains(rec.Reason, "QEMU can't write the file of disk a") || !strings.Contains(rec.Reason, "No space left") {
		t.Errorf("reason %q", rec.Reason)
	}
	h.wantNothingLeft()
}

func TestMkfsThatFails(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.withTool("package main\n\nfunc main() { println(\"no, I won't\"); panic(1) }\n")
	o := h.run("--format", "json", "run", "--guest-tools", "host", h.write("plain.yaml", plain("384MiB")), "-k", "debian:newest")
	rec := h.one(o, scenarios.Error, "stack")
	if !strings.Contains(rec.Reason, "mke2fs") || !strings.Contains(rec.Reason, "no, I won't") {
		t.Errorf("reason %q", rec.Reason)
	}
	h.wantClassifyAgrees(rec)
	h.wantNothingLeft()
}
