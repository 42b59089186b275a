package language

import (
	"fmt"
	"math"
	"strings"

	"github.com/blockrig/blockrig/scenarios"
)

// snapshots adds those that steps make to what can be named.
func (s *stack) snapshots() {
	var inside func(path string, steps []scenarios.Step)
	inside = func(path string, steps []scenarios.Step) {
		for i, st := range steps {
			at := fmt.Sprintf("%s[%d].%s", path, i, st.Kind())
			if st.Act != nil && st.Act.Snapshot != "" {
				s.failAt(at+".snapshot", "it is there from a step on; put that step beside the others, neither into parallel nor into repeat")
			}
			s.within(at, st, inside)
		}
	}
	for i, st := range s.body.Steps {
		at := fmt.Sprintf("steps[%d].%s", i, st.Kind())
		a := st.Act
		switch {
		case st.PowerCut != nil:
			for _, d := range s.devices {
				if d.kind == "snapshot" {
					d.until = min(d.until, i)
				}
			}
		case a == nil || a.Snapshot == "":
			s.within(at, st, inside)
		case a.Do == "snapshot":
			s.makes(at, *a, i)
		case a.Do == "merge":
			d := s.devices[a.Snapshot]
			if d == nil || d.kind != "snapshot" || d.until < i {
				s.failAt(at+".snapshot", "no step before it makes a snapshot %s", quote(a.Snapshot))
				return
			}
			if d.of != a.To {
				s.failAt(at+".snapshot", "%s is a snapshot of %s, not of %s", a.Snapshot, d.of, a.To)
			}
			d.until = i
		}
	}
}

// within calls f for the lists of steps that a step holds.
func (s *stack) within(path string, st scenarios.Step, f func(path string, steps []scenarios.Step)) {
	if st.Repeat != nil {
		f(path+".steps", st.Repeat.Steps)
	}
	if st.Parallel != nil {
		for g, group := range st.Parallel.Groups {
			f(fmt.Sprintf("%s.groups[%d]", path, g), group)
		}
	}
}

// makes adds the snapshot that a step makes.
func (s *stack) makes(path string, a scenarios.Act, i int) {
	if s.devices[a.Snapshot] != nil || a.Snapshot == "lvol0" || a.Snapshot == "pool" || a.Snapshot == "cache" {
		s.failAt(path+".snapshot", "%s is the name of another disk, layer or volume, too", a.Snapshot)
		return
	}
	for _, begins := range []string{"snapshot", "pvmove"} { // lvm(8), VALID NAMES; its _lvname_has_reserved_prefix
		if strings.HasPrefix(a.Snapshot, begins) {
			s.failAt(path+".snapshot", "%s is not allowed; lvm keeps names that begin with %s for itself", quote(a.Snapshot), begins)
			return
		}
	}
	d := device{path: path, kind: "snapshot", from: i, until: math.MaxInt, of: a.To}
	if of := s.devices[a.To]; of != nil && of.kind == "lvm" {
		d.size, d.exact = of.size, of.exact
	}
	s.add(a.Snapshot, d)
}

// inTime refuses to name a snapshot before it is made or after it is gone.
func (s *stack) inTime(ref reference) {
	names := []string{ref.value}
	if ref.kind == "ARGUMENT" || ref.kind == "PATH" {
		names = nil
		for _, p := range scenarios.Placeholders(ref.value) {
			names = append(names, p.Name)
		}
	}
	step := -1
	if _, err := fmt.Sscanf(ref.path, "steps[%d]", &step); err != nil {
		step = -1 // the stack
	}
	for _, name := range names {
		d := s.devices[name]
		switch {
		case d == nil || d.kind != "snapshot":
		case step <= d.from:
			s.failAt(ref.path, "the snapshot %s is only there once steps[%d] has made it", name, d.from)
		case step >= d.until:
			s.failAt(ref.path, "the snapshot %s is gone with steps[%d]", name, d.until)
		}
	}
}

// snapshot holds the key of an act against the act.
func (s *stack) snapshot(path string, a *scenarios.Act) {
	s.only(path, "snapshot", a.Do == "snapshot" || a.Do == "merge", "only snapshot and merge have it")
	if s.said(path+".snapshot") && a.Expect != "ok" {
		s.failAt(path+".expect", "%s is not allowed; what makes a snapshot that has a name, or ends it, must end well", a.Expect)
	}
}
