package trial

import (
	"testing"

	"github.com/blockrig/blockrig/harness/verdict"
	"github.com/blockrig/blockrig/initramfs/protocol"
	"github.com/blockrig/blockrig/scenarios"
)

// Given a snapshot that a step makes, when it is read, then the disks of what it
// is of must have done something.
func TestASnapshotIsAskedAsItsOrigin(t *testing.T) {
	for kind, want := range map[string]verdict.Moves{"linear": verdict.MovesReads, "thin": verdict.MovesTask} {
		read := scenarios.Step{IO: &scenarios.IO{Op: "pread", On: "s", Direct: true, Length: 512}}
		l := Local{Job: Job{
			Setup: scenarios.Setup{Disks: []scenarios.Disk{{ID: "a"}}, Stack: []scenarios.Layer{{Name: "v", On: []string{"a"}, LVM: &scenarios.LVM{Type: kind}}}},
			Steps: []scenarios.Step{{Act: &scenarios.Act{Do: "snapshot", To: "v", Snapshot: "s"}}, read},
		}}
		if got := l.reportOf(read).Moves; got != want || !l.asksDisks() {
			t.Errorf("of a %s volume: it must move %q, want %q", kind, got, want)
		}
	}
}

// Given a layer that drops writes, when one stays in the page cache, then the kernel
// says that it has taken it, and that proves nothing.
func TestAWriteToThePageCacheProvesNothing(t *testing.T) {
	l := Local{Job: Job{Setup: scenarios.Setup{
		Disks: []scenarios.Disk{{ID: "a"}},
		Stack: []scenarios.Layer{{Name: "x", On: []string{"a"}, DM: &scenarios.DM{Table: []string{"0 8 flakey {a} 0 0 60 1 drop_writes"}}}},
	}}}
	took := protocol.Result{Observation: scenarios.Observation{Submitted: 4096}}
	for _, direct := range []bool{true, false} {
		st := scenarios.Step{IO: &scenarios.IO{Op: "pwrite", On: "x", Direct: direct, Length: 4096}}
		if got := l.answeredAlone(st, took); got != direct {
			t.Errorf("direct %t: proven %t", direct, got)
		}
	}
}

// Given a layer over two disks, when it is read and written past the kernel's
// memory, then its disks must have done something, but where the layer may
// answer by itself: then the kernel must have taken the request.
func TestWhatProvesThatAStackWasAsked(t *testing.T) {
	disks := []string{"a", "b"}
	md := func(level string) scenarios.Layer {
		return scenarios.Layer{On: disks, MD: &scenarios.MD{Level: level}}
	}
	lvm := func(kind string) scenarios.Layer {
		return scenarios.Layer{On: disks, LVM: &scenarios.LVM{Type: kind}}
	}
	dm := func(table ...string) scenarios.Layer {
		return scenarios.Layer{On: disks, DM: &scenarios.DM{Table: table}}
	}
	for _, tt := range []struct {
		name        string
		layer       scenarios.Layer
		read, write verdict.Moves
	}{
		{"raid1", md("raid1"), verdict.MovesReads, verdict.MovesWrites},
		{"raid5 has a stripe cache", md("raid5"), verdict.MovesTask, verdict.MovesWrites},
		{"a linear volume", lvm("linear"), verdict.MovesReads, verdict.MovesWrites},
		{"a cache on disks", lvm("cache"), verdict.MovesReads, verdict.MovesWrites},
		{"a hole in a thin volume", lvm("thin"), verdict.MovesTask, verdict.MovesWrites},
		{"zeroes on vdo", lvm("vdo"), verdict.MovesTask, verdict.MovesTask},
		{"dm-zero", dm("0 8 zero", "8 8 linear {a} 0"), verdict.MovesTask, verdict.MovesTask},
		{"dm-flakey drops writes", dm("0 8 flakey {a} 0 0 60 1 drop_writes"), verdict.MovesReads, verdict.MovesTask},
		{"raid1 of dm-raid", dm("0 8 raid raid1 1 0 2 - {a} - {b}"), verdict.MovesReads, verdict.MovesWrites},
		{"raid6 of dm-raid", dm("0 8 raid raid6_zr 1 64 2 - {a} - {b}"), verdict.MovesTask, verdict.MovesWrites},
	} {
		tt.layer.Name = "x"
		above := scenarios.Layer{Name: "y", On: []string{"x"}, DM: &scenarios.DM{Table: []string{"0 8 linear {x} 0"}}}
		l := Local{Job: Job{Setup: scenarios.Setup{Disks: []scenarios.Disk{{ID: "a"}, {ID: "b"}}, Stack: []scenarios.Layer{tt.layer, above}}}}
		for op, want := range map[string]verdict.Moves{"pread": tt.read, "pwrite": tt.write} {
			for _, on := range []string{"x", "y"} {
				st := scenarios.Step{IO: &scenarios.IO{Op: op, On: on, Direct: true, Length: 512}}
				if got := l.reportOf(st).Moves; got != want {
					t.Errorf("%s: a %s of %s must move %q, want %q", tt.name, op, on, got, want)
				}
				took := protocol.Result{Observation: scenarios.Observation{Submitted: 512}}
				if got := l.answeredAlone(st, took); got != (want == verdict.MovesTask) {
					t.Errorf("%s: a %s of %s is answered alone: %v", tt.name, op, on, got)
				}
				if l.answeredAlone(st, protocol.Result{}) {
					t.Errorf("%s: a %s of %s that was never made is answered", tt.name, op, on)
				}
			}
		}
	}
}
