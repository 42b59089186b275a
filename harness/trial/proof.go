package trial

import (
	"slices"

	"github.com/blockrig/blockrig/initramfs/protocol"
	"github.com/blockrig/blockrig/scenarios"
)

// What must have happened for an I/O to have been one to the stack: mostly a
// request to its disks.

// reachesDisks says whether direct I/O to a layer or disk has to move the
// machine's disks: it lies on some, and nothing between keeps data in memory.
func (l Local) reachesDisks(name string) bool {
	if slices.ContainsFunc(l.Disks, func(d scenarios.Disk) bool { return d.ID == name }) {
		return true
	}
	p := l.Layer(l.origin(name))
	if p == nil || p.Loop != nil && !p.Loop.Direct {
		return false
	}
	return len(p.On) > 0 && !slices.ContainsFunc(p.On, func(b string) bool { return !l.reachesDisks(b) })
}

// asksDisks says whether a step does I/O to what lies on the machine's disks.
func (l Local) asksDisks() bool {
	asks := false
	each(l.Steps, func(st scenarios.Step) {
		asks = asks || st.IO != nil && l.liesOnDisks(newModel(l.Setup).target(st.IO.On))
	})
	return asks
}

func (l Local) liesOnDisks(name string) bool {
	p := l.Layer(l.origin(name))
	if p == nil {
		return slices.ContainsFunc(l.Disks, func(d scenarios.Disk) bool { return d.ID == name })
	}
	return slices.ContainsFunc(p.On, l.liesOnDisks)
}

// origin is the layer that a snapshot is of which an act makes, and any other name
// itself.
func (l Local) origin(name string) string {
	of := name
	each(l.Steps, func(st scenarios.Step) {
		if a := st.Act; a != nil && a.Do == "snapshot" && a.Snapshot == name {
			of = a.To
		}
	})
	return of
}

// answersAlone says whether a layer, or one below it, may do an I/O without
// asking a disk.
func (l Local) answersAlone(name string, o scenarios.IO) bool {
	return l.Any(l.origin(name), func(p scenarios.Layer) bool { return p.AnswersAlone(o.Writes()) })
}

// answeredAlone says whether a step is proven to have come to a stack that needed
// no disk for it: one that may answer by itself, or that keeps data in memory. The
// kernel has taken the request from the task, which had nothing else open. A write
// to the page cache counts as taken before there is a request.
func (l Local) answeredAlone(st scenarios.Step, r protocol.Result) bool {
	if st.IO == nil || r.Submitted <= 0 || st.IO.Writes() && !st.IO.Direct {
		return false
	}
	target := newModel(l.Setup).target(st.IO.On)
	return !l.reachesDisks(target) || l.answersAlone(target, *st.IO)
}
