package hunt

import (
	"slices"

	"github.com/blockrig/blockrig/scenarios"
	"github.com/blockrig/blockrig/scenarios/programs"
)

// Shrink makes a failing program smaller: fewer operations, then fewer layers,
// then simpler operations with fewer pieces and bytes. shows says whether a
// smaller one still fails in the same way. It gives the smallest that did.
func Shrink(p Program, s Stack, shows func(Program, Stack) (bool, error)) (Program, Stack, error) {
	tried := map[string]bool{}
	try := func(q Program, t Stack) (bool, error) {
		key := t.Name + ": " + q.String()
		if tried[key] || q.String() == p.String() && t.Name == s.Name {
			return false, nil
		}
		tried[key] = true
		ok, err := shows(q, t)
		if ok && err == nil {
			p, s = q, t
		}
		return ok, err
	}
	if len(p) > 1 { // most often one operation does it, and most often the last
		for _, o := range slices.Backward(slices.Clone(p)) {
			if ok, err := try(Program{o}, s); err != nil {
				return p, s, err
			} else if ok {
				break
			}
		}
	}
	for i := len(p) - 1; i >= 0 && len(p) > 1; i-- {
		if _, err := try(slices.Delete(slices.Clone(p), i, i+1), s); err != nil {
			return p, s, err
		}
	}
	for i := len(s.parts) - 1; i >= 0 && len(s.parts) > 1; i-- {
		if _, err := ParseStack(s.without(i).Name); err != nil {
			continue // what is left can't lie on each other
		}
		if _, err := try(p, s.without(i)); err != nil {
			return p, s, err
		}
	}
	for i := range p {
		for again := true; again; {
			again = false
			for _, o := range simpler(p[i]) {
				q := slices.Clone(p)
				q[i] = o
				ok, err := try(q, s)
				if err != nil {
					return p, s, err
				}
				if ok {
					again = true
					break
				}
			}
		}
	}
	return p, s, nil
}

// simpler gives what may do in place of an operation, the simplest first.
func simpler(o scenarios.IO) (out []scenarios.IO) {
	with := func(change func(*scenarios.IO)) {
		n := o
		n.Vectors = slices.Clone(o.Vectors)
		change(&n)
		if programs.Say(n) != programs.Say(o) {
			out = append(out, n)
		}
	}
	plain := map[bool]string{true: "pread", false: "pwrite"}[o.Reads()]
	if o.Transfers() {
		with(func(n *scenarios.IO) { n.Op, n.Flags, n.Vectors, n.MemoryOffset = plain, nil, nil, oddMemory(o) })
		with(func(n *scenarios.IO) { n.Flags = nil })
	}
	if len(o.Vectors) > 2 {
		with(func(n *scenarios.IO) { n.Vectors = joined(o.Vectors) })
	}
	if o.Transfers() && len(o.Vectors) == 0 {
		for _, length := range []int64{512, 4096, 8192, 65536} {
			if length < o.Length {
				with(func(n *scenarios.IO) { n.Length = length })
			}
		}
		if o.MemoryOffset != 0 {
			with(func(n *scenarios.IO) { n.MemoryOffset = 0 })
		}
		if o.MemoryOffset != 0 && o.MemoryOffset != 32 {
			with(func(n *scenarios.IO) { n.MemoryOffset = 32 })
		}
	}
	if o.Offset != 0 {
		with(func(n *scenarios.IO) { n.Offset = 0 })
	}
	return out
}

// oddMemory is the offset of one piece in place of several.
func oddMemory(o scenarios.IO) int64 {
	if slices.ContainsFunc(o.Vectors, oddPiece) {
		return 32
	}
	return o.MemoryOffset
}

// joined has the last two pieces in one.
func joined(v []scenarios.Vector) []scenarios.Vector {
	out := slices.Clone(v[:len(v)-1])
	out[len(out)-1].Length += v[len(v)-1].Length
	return out
}
