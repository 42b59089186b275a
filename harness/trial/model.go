package trial

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/blockrig/blockrig/initramfs/protocol"
	"github.com/blockrig/blockrig/scenarios"
)

// A model knows what may stand where a trial's steps write. What was never
// written by them may be anything, and so may what lies below a layer that
// they write to.
type model struct {
	setup scenarios.Setup
	parts map[string]spans
	saved map[string]spans   // of layers with a snapshot
	snaps map[string]string  // by name, the layer that each is a snapshot of
	past  []map[string]spans // what would be kept had the power been cut after each mark, before any other end of a step
	last  uint32             // generation of the newest write
}

// spans are in order, of which none is empty and no two overlap.
type spans []span

// A span is a part of a layer or disk, in bytes.
type span struct {
	from, to int64
	now      values // what a read may give
	kept     values // what may be there after the power was cut
}

// values are what may stand in a sector.
type values struct {
	any         bool     // it is not known
	zero        bool     // zeroes
	generations []uint32 // sorted
	mixed       []uint32 // sorted; of writes whose buffer was changed: any mix of a generation and the next one
	whole       uint32   // not 0: the span is one write that is done as a whole or not at all
}

func (v values) equal(w values) bool {
	return v.any == w.any && v.zero == w.zero && v.whole == w.whole && slices.Equal(v.generations, w.generations) && slices.Equal(v.mixed, w.mixed)
}

// or is what may stand where either may.
func (v values) or(w values) values {
	both := func(a, b []uint32) []uint32 {
		all := slices.Concat(a, b)
		slices.Sort(all)
		return slices.Compact(all)
	}
	v.generations, v.mixed = both(v.generations, w.generations), both(v.mixed, w.mixed)
	v.any, v.zero = v.any || w.any, v.zero || w.zero
	if v.whole != w.whole {
		v.whole = 0
	}
	return v
}

// newModel is what stands in a stack that is ready.
func newModel(s scenarios.Setup) *model {
	m := &model{setup: s, parts: map[string]spans{}, saved: map[string]spans{}, snaps: map[string]string{}}
	for _, l := range s.Stack {
		if l.File == nil {
			continue
		}
		v := values{zero: l.File.Sparse}
		if !l.File.Sparse {
			v.generations = []uint32{0}
		}
		m.parts[l.Name] = spans{{0, int64(l.File.Size), v, v}}
	}
	return m
}

// target is the layer or disk that an I/O goes to.
func (m *model) target(on string) string {
	if on != "" {
		return on
	}
	if top := m.setup.Top(); top != nil {
		return top.Name
	}
	if len(m.setup.Disks) > 0 {
		return m.setup.Disks[len(m.setup.Disks)-1].ID
	}
	return ""
}

// of is the layer that a snapshot is of, which lies where that lies; any other name
// is its own.
func (m *model) of(name string) string { return cmp.Or(m.snaps[name], name) }

// extent is a range of bytes.
type extent struct{ from, to int64 }

// ranges are what an I/O touches, in order and without overlap. At most bytes
// of each of its transfers count.
func ranges(o scenarios.IO, bytes int64) []extent {
	var out []extent
	for at := range o.Places() {
		if bytes > 0 {
			out = append(out, extent{at, at + bytes})
		}
	}
	slices.SortFunc(out, func(a, b extent) int { return int(min(1, max(-1, a.from-b.from))) })
	merged := out[:0]
	for _, r := range out {
		if n := len(merged); n > 0 && r.from <= merged[n-1].to {
			merged[n-1].to = max(merged[n-1].to, r.to)
			continue
		}
		merged = append(merged, r)
	}
	return merged
}

// change replaces what is in ranges by what f makes of it.
func (c spans) change(where []extent, f func(span) span) spans {
	var out spans
	put := func(s span) {
		if s.from >= s.to {
			return
		}
		if n := len(out); n > 0 && out[n-1].to == s.from && out[n-1].now.equal(s.now) && out[n-1].kept.equal(s.kept) {
			out[n-1].to = s.to
			return
		}
		out = append(out, s)
	}
	unknown := values{any: true}
	for _, r := range where {
		for len(c) > 0 && c[0].from < r.from {
			s := c[0]
			if s.to <= r.from {
				put(s)
				c = c[1:]
				continue
			}
			s.to = r.from
			put(s)
			c = slices.Clone(c)
			c[0].from = r.from
		}
		at := r.from
		for len(c) > 0 && c[0].from < r.to {
			s := c[0]
			put(f(span{at, s.from, unknown, unknown}))
			if s.to > r.to {
				s.to = r.to
				c = slices.Clone(c)
				c[0].from = r.to
			} else {
				c = c[1:]
			}
			put(f(s))
			at = s.to
		}
		put(f(span{at, r.to, unknown, unknown}))
	}
	for _, s := range c {
		put(s)
	}
	return out
}

// effect is what an I/O that changes data may leave.
func (m *model) effect(o scenarios.IO, generation uint32) (values, bool) {
	switch {
	case o.Op == "discard" && m.setup.ForgetsOnDiscard(m.of(m.target(o.On))):
		return values{any: true}, true
	case o.Writes() && o.Changing:
		return values{mixed: []uint32{generation}}, true
	case o.Writes():
		v := values{generations: []uint32{generation}}
		if slices.Contains(o.Flags, "ATOMIC") && o.Count <= 1 {
			v.whole = generation
		}
		return v, true
	case o.Op == "discard", o.Op == "zeroes", o.Op == "fallocate" && (o.Mode == "punch-hole" || o.Mode == "zero-range"):
		return values{zero: true}, true
	}
	return values{}, false
}

// begin notes that a step is about to be done, and gives it in the form that
// the guest is told. From then on it may have been done, wholly or in part.
func (m *model) begin(st scenarios.Step) protocol.Step {
	out := m.number(st)
	readers := 0
	each([]scenarios.Step{st}, func(st scenarios.Step) {
		if st.IO != nil && st.IO.Reads() || st.Check != nil && st.Check.Data != "" {
			readers++
			if st.IO != nil {
				readers += max(1, st.IO.Threads) - 1
			}
		}
	})
	m.expect(&out, mostExtents/max(1, readers))
	return out
}

// number gives all writes of a step their generations.
func (m *model) number(st scenarios.Step) protocol.Step {
	if st.IO != nil && st.IO.Threads > 1 {
		return m.number(inThreads(st))
	}
	out := protocol.Step{Step: st}
	if o := st.IO; o != nil {
		if o.Writes() {
			m.last++
			out.Generation = m.last
			if o.Changing { // one more, which it is changed to
				m.last++
			}
		}
		m.may(*o, out.Generation)
	}
	for _, group := range st.Groups() {
		var steps []protocol.Step
		for _, t := range group {
			steps = append(steps, m.number(t))
		}
		out.Groups = append(out.Groups, steps)
	}
	switch { // what they hold is in Groups
	case st.Parallel != nil:
		out.Step.Parallel = &scenarios.Parallel{}
	case st.Linked != nil:
		out.Step.Linked = &scenarios.Linked{}
	}
	return out
}

// inThreads is a step that does I/O in several threads, as one that does several
// at the same time.
func inThreads(st scenarios.Step) scenarios.Step {
	out := scenarios.Step{Name: st.Op(), Parallel: &scenarios.Parallel{}}
	for i := range st.IO.Threads {
		o := *st.IO
		o.Threads, o.Seed = 1, o.Seed+int64(i)
		out.Parallel.Groups = append(out.Parallel.Groups, []scenarios.Step{{Name: fmt.Sprintf("%s, thread %d", st.Op(), i+1), IO: &o}})
	}
	return out
}

// StepNames are those that reports of a case's trials have for its steps, in
// their order.
func StepNames(c scenarios.Case) (names []string) {
	var add func(of string, st scenarios.Step)
	add = func(of string, st scenarios.Step) {
		if st.IO != nil && st.IO.Threads > 1 {
			st = inThreads(st)
		}
		groups := st.Groups()
		if of != "" && groups == nil {
			names = append(names, within(of, st.Op()))
		}
		for _, t := range slices.Concat(groups...) {
			add(cmp.Or(of, st.Op()), t)
		}
	}
	for _, st := range c.Steps {
		names = append(names, st.Op())
		add("", st)
	}
	return names
}

// within is what reports call a step that is a part of another one.
func within(of, step string) string { return of + ": " + step }

// may notes that an I/O may be done from now on, wholly or in part.
func (m *model) may(o scenarios.IO, generation uint32) {
	v, ok := m.effect(o, generation)
	if !ok {
		return
	}
	to := m.target(o.On)
	for _, parts := range slices.Concat(m.past, []map[string]spans{m.parts}) {
		parts[to] = parts[to].change(ranges(o, o.Length), func(s span) span {
			s.now, s.kept = s.now.or(v), s.kept.or(v)
			s.now.whole, s.kept.whole = v.whole, v.whole
			return s
		})
		m.forget(parts, to)
	}
}

// expect says what a step's reads may give, each in so many extents at most.
func (m *model) expect(s *protocol.Step, most int) {
	switch {
	case s.IO != nil && s.IO.Reads():
		s.Generation = m.last
		s.Data = m.parts[m.target(s.IO.On)].extents(ranges(*s.IO, s.IO.Length), most)
	case s.Check != nil && s.Check.Data != "":
		s.Generation = m.last
		s.Data = m.parts[s.Check.Data].extents(nil, most)
	}
	if s.Linked != nil {
		m = m.clone()
	}
	for _, group := range s.Groups {
		for i := range group {
			m.expect(&group[i], most)
			if s.Linked != nil { // the next one is done only where this one did all
				m.endLink(group[i], allDone(*group[i].IO))
			}
		}
	}
}

// allDone is what an I/O shows that has done all that it was asked.
func allDone(o scenarios.IO) protocol.Result {
	r := protocol.Result{Observation: scenarios.Observation{Returned: true}}
	if o.Transfers() {
		r.Bytes = o.Length * max(1, o.Count)
	}
	return r
}

// endLink notes what an I/O of a chain showed, after those before it: what they
// left it may have changed.
func (m *model) endLink(s protocol.Step, r protocol.Result) {
	m.may(*s.IO, s.Generation)
	m.end(s, r)
}

// mostExtents bounds what the guest is told about the data of one step: a line
// to it has an end.
const mostExtents = 400

// extents are what is known of ranges; of everything without any.
func (c spans) extents(where []extent, most int) []protocol.Extent {
	var known spans
	for _, s := range c {
		if s.now.any {
			continue
		}
		if where == nil {
			known = append(known, s)
		}
		for len(where) > 0 && where[0].to <= s.from {
			where = where[1:]
		}
		for _, r := range where {
			if r.from >= s.to {
				break
			}
			part := s
			part.from, part.to = max(s.from, r.from), min(s.to, r.to)
			known = append(known, part)
		}
	}
	// Neighbours are told as one that may be either. What is told is weaker
	// then, and never wrong.
	for len(known) > most {
		var fewer spans
		for i, s := range known {
			if n := len(fewer); i%2 == 1 && n > 0 && fewer[n-1].to == s.from {
				fewer[n-1].to, fewer[n-1].now = s.to, fewer[n-1].now.or(s.now)
				continue
			}
			fewer = append(fewer, s)
		}
		if len(fewer) == len(known) { // gaps between them, which may hold anything
			fewer = fewer[:most]
		}
		known = fewer
	}
	out := make([]protocol.Extent, 0, len(known))
	for _, s := range known {
		out = append(out, protocol.Extent{
			Offset: s.from, Length: s.to - s.from, Generations: slices.Clone(s.now.generations), Mixed: slices.Clone(s.now.mixed), Zero: s.now.zero, Whole: s.now.whole != 0,
		})
	}
	return out
}

// end notes what a step showed.
func (m *model) end(s protocol.Step, r protocol.Result) {
	if s.Linked != nil {
		m.each(s, r, m.endLink)
		return
	}
	var wrote values // by all that was done at the same time
	m.each(s, r, func(s protocol.Step, _ protocol.Result) {
		if s.IO != nil {
			v, _ := m.effect(*s.IO, s.Generation)
			wrote = wrote.or(v)
		}
	})
	m.each(s, r, func(s protocol.Step, r protocol.Result) {
		switch {
		case s.IO != nil:
			m.endIO(s, r, wrote)
		case s.Zone != nil:
			m.endZone(*s.Zone)
		case s.Act != nil && r.Returned && r.Failed == "" && s.Act.Expect != "failure":
			switch to := s.Act.To; s.Act.Do {
			case "snapshot":
				m.saved[to] = slices.Clone(m.parts[to])
				if name := s.Act.Snapshot; name != "" {
					m.parts[name], m.snaps[name] = slices.Clone(m.parts[to]), m.of(to)
				}
			case "merge":
				m.parts[to] = slices.Clone(m.saved[to])
				if name := s.Act.Snapshot; name != "" { // with what was written to it
					m.parts[to] = m.parts[name]
					delete(m.parts, name)
					delete(m.snaps, name)
				}
				for _, parts := range m.past {
					delete(parts, to)
				}
			}
		}
	})
}

// each calls f for a step, or for those that it holds.
func (m *model) each(s protocol.Step, r protocol.Result, f func(protocol.Step, protocol.Result)) {
	if len(s.Groups) == 0 {
		f(s, r)
		return
	}
	for i, group := range s.Groups {
		for j, t := range group {
			one := protocol.Result{} // it was not done
			if i < len(r.Groups) && j < len(r.Groups[i]) {
				one = r.Groups[i][j]
			}
			m.each(t, one, f)
		}
	}
}

func (m *model) endIO(s protocol.Step, r protocol.Result, wrote values) {
	o, to := *s.IO, m.target(s.IO.On)
	well := r.Returned && r.Errno == "" && r.Overrun == nil
	synced := well && (slices.Contains(o.Flags, "DSYNC") || slices.Contains(o.Flags, "SYNC") || o.Op == "mmap-write")
	if v, ok := m.effect(o, s.Generation); ok && well {
		bytes := o.Length
		if o.Writes() && r.Bytes < o.Length*max(1, o.Count) {
			if bytes = r.Bytes; o.Count > 1 {
				bytes = 0 // which ones were done is not known
			}
		}
		m.parts[to] = m.parts[to].change(ranges(o, bytes), func(s span) span {
			if o.Op == "discard" {
				return s // it is a hint: what stood there may stay
			}
			s.now.any = false
			s.now.zero = s.now.zero && wrote.zero
			s.now.generations = inBoth(s.now.generations, wrote.generations)
			s.now.mixed = inBoth(s.now.mixed, wrote.mixed)
			s.now.whole = 0
			s.kept.whole = v.whole
			if synced {
				s.kept = s.now
			}
			return s
		})
	}
	if well && (strings.HasSuffix(o.Op, "fsync") || strings.HasSuffix(o.Op, "fdatasync")) {
		m.parts[to] = slices.Clone(m.parts[to])
		for i := range m.parts[to] {
			m.parts[to][i].kept = m.parts[to][i].now
		}
	}
}

// endZone notes what is not known any more. What a reset leaves is the device's
// choice, and it may have been done though it failed.
func (m *model) endZone(z scenarios.Zone) {
	size := m.zoneSize(z.On)
	unknown := extent{z.Zone * size, (z.Zone + z.Count) * size}
	switch {
	case z.Do == "reset-all" || z.Do == "reset" && size == 0:
		unknown = extent{0, math.MaxInt64}
	case z.Do != "reset":
		return
	}
	for _, parts := range slices.Concat(m.past, []map[string]spans{m.parts}) {
		parts[z.On] = parts[z.On].change([]extent{unknown}, func(s span) span {
			s.now, s.kept = values{any: true}, values{any: true}
			return s
		})
		m.forget(parts, z.On)
	}
}

// zoneSize is that of what a zoned disk or layer lies on, 0 where that is not
// known.
func (m *model) zoneSize(name string) int64 {
	if i := slices.IndexFunc(m.setup.Disks, func(d scenarios.Disk) bool { return d.ID == name }); i >= 0 && m.setup.Disks[i].Zones.Size > 0 {
		return int64(m.setup.Disks[i].Zones.Size)
	}
	l := m.setup.Layer(name)
	switch {
	case l != nil && l.NullBlk != nil:
		return int64(max(l.NullBlk.ZoneSize, 1<<20))
	case l != nil && len(l.On) == 1:
		return m.zoneSize(l.On[0])
	}
	return 0
}

func inBoth(a, b []uint32) []uint32 {
	return slices.DeleteFunc(slices.Clone(a), func(g uint32) bool { return !slices.Contains(b, g) })
}

// mark begins a part of the past to which the power can be cut back.
func (m *model) mark() { m.past = append(m.past, maps.Clone(m.parts)) }

// clone is a model of its own that knows the same. Spans are never changed in
// place.
func (m *model) clone() *model {
	out := *m
	out.parts, out.saved, out.snaps, out.past = maps.Clone(m.parts), maps.Clone(m.saved), maps.Clone(m.snaps), nil
	for _, parts := range m.past {
		out.past = append(out.past, maps.Clone(parts))
	}
	return &out
}

// cut notes that the power was cut between a mark, counted from 0, and the
// next one.
func (m *model) cut(mark int) {
	m.parts, m.past = m.past[mark], nil
	for name, c := range m.parts {
		c = slices.Clone(c)
		for i := range c {
			c[i].now = c[i].kept
		}
		m.parts[name] = c
	}
}

// forget drops what was known of all that lies below a layer.
func (m *model) forget(parts map[string]spans, name string) {
	l := m.setup.Layer(m.of(name))
	if l == nil {
		return
	}
	for _, below := range l.On {
		delete(parts, below)
		m.forget(parts, below)
	}
}
