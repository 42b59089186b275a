package trial

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/blockrig/blockrig/harness/qemu"
	"github.com/blockrig/blockrig/scenarios"
)

// Given flushes of two disks, then a moment is after each that had something to
// flush, and of very many as many as are tried, the first and the last among
// them.
func TestMomentsAreThoseAfterFlushes(t *testing.T) {
	at := func(n int, op qemu.Operation, disk string) moment {
		return moment{Moment: qemu.Moment{At: n, Op: op, Disk: disk}}
	}
	recorded := []moment{
		at(1, "", ""), at(2, qemu.FlushOp, "a"), at(3, qemu.WriteOp, "a"), at(4, qemu.WriteOp, "b"),
		at(5, qemu.FlushOp, "a"), at(6, qemu.FlushOp, "b"), at(7, qemu.FlushOp, "b"), at(8, "", ""), at(9, qemu.DiscardOp, "b"), at(10, qemu.FlushOp, "b"),
	}
	some, all := flushes(recorded)
	var got []int
	for _, m := range some {
		got = append(got, m.At)
	}
	if diff := cmp.Diff([]int{5, 6, 10}, got); diff != "" || all != 3 {
		t.Errorf("%d in all (-want +got):\n%s", all, diff)
	}

	var many []moment
	for i := range 500 {
		many = append(many, at(2*i, qemu.WriteOp, "a"), at(2*i+1, qemu.FlushOp, "a"))
	}
	some, all = flushes(many)
	if len(some) != mostMoments || all != 500 || some[0].At != 1 || some[mostMoments-1].At != 999 {
		t.Errorf("%d of %d, from %d to %d", len(some), all, some[0].At, some[len(some)-1].At)
	}
}

func TestAMomentIsSaid(t *testing.T) {
	m := moment{Moment: qemu.Moment{Disk: "b"}}
	for want, got := range map[string]string{
		"the power was cut after a flush of disk b, number 2 of 3":                                momentText(1, 3, 3, m),
		"the power was cut after a flush of disk b, number 1 of the 64 of all 500 that are tried": momentText(0, 64, 500, m),
		"the power was cut after the last step":                                                   momentText(3, 3, 3, m),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// Given a model that was cloned, when the power is cut in one, and more is
// written, then the other knows what it knew.
func TestAClonedModelIsOfItsOwn(t *testing.T) {
	setup := scenarios.Setup{Disks: []scenarios.Disk{{ID: "a", Size: 1 << 20}}}
	m := newModel(setup)
	m.mark()
	s := m.begin(write("a", 0, 4096))
	m.end(s, did(4096))
	m.mark()
	before := fmt.Sprintf("%+v", *m)

	c := m.clone()
	c.begin(write("a", 0, 4096))
	c.cut(1)

	if after := fmt.Sprintf("%+v", *m); after != before {
		t.Errorf("it knew\n%s\nand now\n%s", before, after)
	}
	if fmt.Sprintf("%+v", c.parts) == fmt.Sprintf("%+v", m.parts) {
		t.Error("the clone knows the same after a cut")
	}
}
