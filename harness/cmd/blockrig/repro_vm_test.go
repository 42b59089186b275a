//go:build vm

package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/blockrig/blockrig/results"
	"github.com/blockrig/blockrig/scenarios"
)

// TestRepro tells the bug's story on real kernels.
func TestRepro(t *testing.T) {
	h := newHost(t)
	o := h.run("--format", "json", "repro")
	if o.status != 0 {
		t.Fatal(o)
	}
	if !strings.Contains(o.stderr, "The story holds: ") {
		t.Errorf("the story is not told: %s", o.stderr)
	}

	// What each kernel must do with each case, in the order of the story.
	type want struct {
		verdict scenarios.Verdict
		also    []scenarios.Verdict // at least one of them, where there are any
		outcome string
	}
	aligned := func(text string) want { return want{scenarios.Pass, nil, text} }
	refused := want{scenarios.Pass, nil, "EINVAL"}
	hang := want{scenarios.Hang, []scenarios.Verdict{scenarios.Warn, scenarios.Bug}, "no answer"}
	healthy := []want{aligned("512 bytes"), refused, aligned("4096 bytes"), refused, aligned("8192 bytes"), refused}
	broken := []want{
		aligned("512 bytes"),
		{scenarios.EIO, []scenarios.Verdict{scenarios.Degraded}, "EIO"},
		aligned("4096 bytes"), hang, aligned("8192 bytes"), hang,
	}
	wants := slices.Concat(healthy, broken, healthy)
	if len(o.records) != len(wants) {
		t.Fatalf("%d records, want %d: %v", len(o.records), len(wants), o)
	}
	traced := map[scenarios.Verdict]int{}
	slices.SortFunc(o.records, func(a, b results.Record) int { return a.Task - b.Task })
	for i, rec := range o.records {
		w := wants[i]
		shares := len(w.also) == 0 && len(rec.Also) == 0
		for _, v := range w.also {
			shares = shares || slices.Contains(rec.Also, v)
		}
		if rec.Verdict != w.verdict || rec.Outcome != w.outcome || !shares {
			t.Errorf("%s %s: %s %v, said %q; want %s with one of %v, %q",
				rec.Kernel.Release, rec.Case, rec.Verdict, rec.Also, rec.Outcome, w.verdict, w.also, w.outcome)
		}
		for _, leg := range rec.Legs {
			if rec.Verdict == scenarios.Pass && !leg.OK {
				t.Errorf("%s %s: pass with a leg that is %s", rec.Kernel.Release, rec.Case, leg.Health)
			}
		}
		h.wantClassifyAgrees(rec)
		// Once for each failure.
		if t := rec.FirstFailed; t.Known() {
			traced[rec.Verdict]++
			if first := t.Failed[0]; first.Layer != "a" || first.Errno != "EINVAL" {
				h.t.Errorf("%s: failed first: %s", rec.Case, t.Text())
			}
		}
	}
	if traced[scenarios.EIO] != 1 || traced[scenarios.Hang] != 1 || len(traced) != 2 {
		t.Errorf("who failed first is known of %v, want one eio and one hang", traced)
	}
	h.wantRuns(1)
	h.wantNothingLeft()

	// The same record, as the user sees it later.
	if o := h.run("results", "list"); o.status != 0 || !strings.Contains(o.stdout, "blockrig --results") {
		t.Error(o)
	}
}

// story is the smallest scenario that can tell the two kernels apart.
const story = `name: small
about: A misaligned read from a mirror, before and with.
machine: {memory: 384MiB}
disks:
  - {id: a, bus: ahci, size: 128MiB}
  - {id: b, bus: ahci, size: 128MiB}
require: {dma_alignment: 511}
stack:
  lvm: {type: mirror, size: 64MiB, log: disk, dmeventd: false}
  ext4: {block_size: 4096}
  file: {size: 1MiB}
step: {op: pread, direct: true, offset: 0, length: 512, memory_offset: 32}
expect: {aligned: [data], misaligned: [EINVAL]}
story:
  kernels:
    - {role: with, ref: "debian:6.18", expect: [{verdict: eio, also: [degraded]}]}
  holds: It fails on ${with}.
`
