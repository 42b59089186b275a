//go:build vm && long

package main

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/blockrig/blockrig/scenarios"
	"github.com/blockrig/blockrig/scenarios/language"
)

// Given a trial that failed, of steps and layers that do not matter to it, when
// it is made small, then the I/O that does it is left, on the layer that does
// it; and what is given fails when it is run.
func TestMinimiseOfARealFailure(t *testing.T) {
	h := newHost(t)
	h.limit = 20 * time.Minute
	small := filepath.Join(h.root, "small.yaml")
	long := h.write("long.yaml", `
name: long
about: A mirror is read to memory that is not aligned.
disks: [{id: a, size: 48MiB}, {id: b, size: 48MiB}]
require: {dma_alignment: 511}
stack:
  - md: {name: r, level: raid1, on: [a, b]}
steps:
  - io: {op: pwrite, direct: true, length: 64KiB}
  - io: {op: fsync}
  - wait: {time: 200ms}
  - io: {op: preadv2, direct: true, length: 512, memory_offset: 32, expect: {misaligned: [data, EINVAL]}}
  - io: {op: pread, direct: true, length: 4096}
`)
	if o := h.run("run", long, "-k", "debian:6.18"); o.status != exitFailure {
		t.Fatal(o)
	}
	if o := h.run("minimise", "last/1", "-o", small); o.status != exitPass {
		t.Fatal(o)
	}
	sc, err := language.Load(small)
	if err != nil {
		t.Fatal(err)
	}
	c, err := language.OneCase(sc, "")
	if err != nil {
		t.Fatal(err)
	}
	var steps []scenarios.IO
	for _, st := range c.Steps {
		if st.IO != nil {
			steps = append(steps, *st.IO)
		}
	}
	if len(c.Steps) != 1 || len(steps) != 1 || steps[0].Op != "pread" || steps[0].MemoryOffset%512 == 0 || len(c.Setup.Stack) != 1 || c.Setup.Stack[0].MD == nil {
		t.Errorf("not small:\n%s", sc.Source)
	}
	if o := h.run("run", small, "-k", "debian:6.18"); o.status != exitFailure {
		t.Error("it does not fail:", o)
	}
	h.wantNothingLeft()
}
