package trial

import (
	"maps"
	"slices"
	"strings"

	"github.com/blockrig/blockrig/harness/verdict"
	"github.com/blockrig/blockrig/initramfs/protocol"
	"github.com/blockrig/blockrig/scenarios"
)

// reportOf is what a report says of a step before it is done.
func (l Local) reportOf(st scenarios.Step) verdict.Report {
	r := verdict.Report{Step: st.Op(), Expect: []string{"data"}, Moves: verdict.MovesNothing, FailAs: st.FailAs()}
	switch {
	case st.IO != nil:
		l.reportIO(&r, *st.IO)
	case st.Write != nil:
		r.Expect = answers(st.Write.Expect)
	case st.Queue != nil:
		r.Expect = answers(st.Queue.Expect)
	case st.CPU != nil:
		r.Expect = answers(st.CPU.Expect)
	case st.Zone != nil:
		r.Expect = answers(st.Zone.Expect)
	case st.Sysctl != nil:
		r.Expect = answers(st.Sysctl.Expect)
	}
	return r
}

// answers are the outcomes that pass of what is written to the kernel's files.
func answers(expect string) []string {
	if expect == "ok" {
		expect = "data"
	}
	return []string{expect}
}

func (l Local) reportIO(r *verdict.Report, o scenarios.IO) {
	r.Expect = o.Outcomes(l.Require.Alignment())
	if o.Transfers() {
		r.Asked = o.Length * max(1, o.Count)
	}
	switch target := newModel(l.Setup).target(o.On); {
	case !o.Direct || !l.reachesDisks(target):
	case l.answersAlone(target, o):
		r.Moves = verdict.MovesTask
	case o.Reads():
		r.Moves = verdict.MovesReads
	case o.Writes():
		r.Moves = verdict.MovesWrites
	}
}

// take copies the guest's answer into the report. Of steps that were done at
// the same time, each is a step of the report, and one that did not end as it
// should is the last.
func (s *session) take(st protocol.Step, r protocol.Result) {
	rep := &s.res.Report
	s.blame.after(st.Step, s.Setup)
	rep.Explained = rep.Explained || s.blame.explains
	for _, d := range r.Disks {
		s.moved = s.moved || d.Reads+d.Writes+d.Others > 0
	}
	s.moved = s.moved || s.answeredAlone(st.Step, r)
	moved := func(rep *verdict.Report) {
		rep.DiskError = r.DisksError
		rep.Reads, rep.Writes = 0, 0
		for _, d := range r.Disks {
			rep.Reads += d.Reads
			rep.Writes += d.Writes
		}
	}
	one := func(r protocol.Result) {
		rep.Observation, rep.Phase = r.Observation, scenarios.PhaseDone
		moved(rep)
		if r.Unkillable != nil {
			rep.Phase = scenarios.PhaseStep
			rep.Stuck = stuck(rep.Step, *r.Unkillable)
		}
	}
	legs := s.blame.legs(st.Step, r.Legs)
	if len(st.Groups) == 0 {
		one(r)
		rep.Legs = legs
		return
	}
	name := rep.Step
	type ended struct {
		verdict.Report
		r protocol.Result
	}
	var well, not []ended
	s.model.each(st, r, func(t protocol.Step, r protocol.Result) {
		s.moved = s.moved || s.answeredAlone(t.Step, r)
		e := ended{s.reportOf(t.Step), r}
		e.Step = within(name, e.Step)
		trial := e.Report
		trial.Observation = r.Observation
		moved(&trial)
		if trial.MayGoOn() {
			well = append(well, e)
		} else {
			not = append(not, e)
		}
	})
	// The worst is the last: a task that can't be killed, then anything else
	// that was done. What was not done at all follows from that.
	slices.SortStableFunc(not, func(a, b ended) int { return rank(a.r) - rank(b.r) })
	for i, e := range append(well, not...) {
		if i > 0 {
			rep.Begin(e.Report)
		} else {
			before := rep.Before
			rep.Begin(e.Report)
			rep.Before = before
		}
		one(e.r)
	}
	rep.Legs, rep.LegsError = legs, r.LegsError
}

// rank orders what steps that were done at the same time showed.
func rank(r protocol.Result) int {
	switch {
	case r.Unkillable != nil:
		return 3
	case r.Mismatch != nil || r.Overrun != nil:
		return 2
	case r.Returned || r.Died != "" || r.Killed != "":
		return 1
	}
	return 0
}

// blame knows what the scenario itself brought about.
type blame struct {
	explains bool            // I/O errors on the console
	all      bool            // whatever becomes of a leg
	disks    map[string]bool // legs on these may fail
	seen     map[string]bool // legs that are known not to be well
}

func (b blame) clone() blame {
	b.disks, b.seen = maps.Clone(b.disks), maps.Clone(b.seen)
	return b
}

// harmless acts break nothing.
var harmless = []string{"grow", "assemble", "check", "repair", "wait-idle", "scrub", "resume", "remount", "fstrim", "mount", "umount", "snapshot", "hold", "release"}

// after notes a step that was done.
func (b *blame) after(st scenarios.Step, setup scenarios.Setup) {
	if b.disks == nil {
		b.disks, b.seen = map[string]bool{}, map[string]bool{}
	}
	switch {
	case st.Fault != nil:
		b.explains, b.disks[st.Fault.Disk] = true, true
	case st.PowerCut != nil:
		b.explains = true
		// Devices may have other names now.
		for id, known := range b.seen {
			if _, disk, _ := strings.Cut(id, " "); known && disk != "" {
				b.disks[disk] = true
			}
		}
	case st.Exec != nil, st.Run != nil, st.Write != nil:
		// What a program does is not known.
		b.explains, b.all = true, true
	case st.Heal != nil:
		delete(b.disks, st.Heal.Disk)
	case st.Act != nil && slices.Contains([]string{"re-add", "add", "online", "rescan"}, st.Act.Do):
		delete(b.disks, st.Act.Member)
		delete(b.disks, st.Act.To)
	case st.Act != nil && !slices.Contains(harmless, st.Act.Do):
		b.explains = true
		for _, name := range []string{st.Act.To, st.Act.Member} {
			b.under(name, setup)
		}
	default:
		for _, group := range st.Groups() {
			for _, t := range group {
				b.after(t, setup)
			}
		}
	}
}

// under blames the disks below a layer that has no legs of its own.
func (b *blame) under(name string, setup scenarios.Setup) {
	l := setup.Layer(name)
	switch {
	case l == nil:
		b.disks[name] = true
	case l.MD == nil && l.LVM == nil:
		for _, below := range l.On {
			b.under(below, setup)
		}
	}
}

// legs says of each leg whether its health is known: it was so before, or the
// scenario made it so.
func (b *blame) legs(st scenarios.Step, legs []scenarios.Leg) []scenarios.Leg {
	out := slices.Clone(legs)
	for i := range out {
		l := &out[i]
		id := l.Name + " " + l.Disk
		if l.OK {
			delete(b.seen, id)
			continue
		}
		l.Known = b.all || b.seen[id] || b.disks[l.Disk] || b.disks[l.Name] || st.Act != nil || hasAct(st)
		b.seen[id] = l.Known
	}
	return out
}

func hasAct(st scenarios.Step) bool {
	return st.Act != nil || slices.ContainsFunc(st.Groups(), func(group []scenarios.Step) bool { return slices.ContainsFunc(group, hasAct) })
}
