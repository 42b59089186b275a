package hunt

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/blockrig/blockrig/results"
	"github.com/blockrig/blockrig/scenarios"
)

// ErrNotAgain says that a failing trial did not fail again in the same way.
var ErrNotAgain = errors.New("it does not fail again as it was recorded")

// A Minimiser makes a failing trial smaller.
type Minimiser struct {
	// Shows says whether a case fails as the trial did.
	Shows func(context.Context, scenarios.Case) (bool, error)
	// Say is told each case that is smaller and fails.
	Say func(what string)

	tried map[string]bool
	best  draft
}

// A draft is a scenario of one case that may be written.
type draft struct {
	name, about string
	allow       []string
	setup       scenarios.Setup
	steps       []scenarios.Step

	source string // what it was written as
}

// write writes a draft, and reads it again: what the language refuses is none.
func (d *draft) write() (scenarios.Case, error) {
	src, err := scenario(d.name, d.about, d.setup, d.steps)
	if err != nil {
		return scenarios.Case{}, err
	}
	if len(d.allow) > 0 {
		list, err := flow(d.allow)
		if err != nil {
			return scenarios.Case{}, err
		}
		src += "\nallow: " + list + "\n"
	}
	d.source = src
	return parse(d.name, src)
}

// Minimise gives the smallest scenario it can find whose only case still fails:
// with the fewest steps, then layers and disks, then the simplest I/O. It is
// ErrNotAgain where the case itself does not fail.
func (m *Minimiser) Minimise(ctx context.Context, c scenarios.Case) (source string, err error) {
	m.tried = map[string]bool{}
	m.best = draft{name: c.Scenario.Name + "-small", about: c.Scenario.About, allow: c.Scenario.Allow, setup: c.Setup, steps: c.Steps}
	whole, err := m.best.write()
	if err != nil {
		return "", fmt.Errorf("write down the case %s: %w", c.ID, err)
	}
	m.tried[m.best.source] = true
	ok, err := m.Shows(ctx, whole)
	if err != nil {
		return "", err
	}
	if !ok {
		return "", ErrNotAgain
	}
	for again := true; again; {
		again = false
		for _, stage := range []func(context.Context) (bool, error){m.fewerSteps, m.fewerLayers, m.fewerDisks, m.simplerIO} {
			smaller, err := stage(ctx)
			if err != nil {
				return m.best.source, err
			}
			again = again || smaller
		}
	}
	return m.best.source, nil
}

// try takes a draft in place of the best one, if it can be and fails as well.
func (m *Minimiser) try(ctx context.Context, d draft) (bool, error) {
	c, err := d.write()
	if err != nil || m.tried[d.source] {
		return false, nil
	}
	m.tried[d.source] = true
	ok, err := m.Shows(ctx, c)
	if err != nil || !ok {
		return false, err
	}
	m.best = d
	if m.Say != nil {
		m.Say(fmt.Sprintf("%d steps, %d layers, %d disks", len(d.steps), len(d.setup.Stack), len(d.setup.Disks)))
	}
	return true, nil
}

// fewerSteps leaves out runs of steps, long ones first, and the lists of
// parallel ones.
func (m *Minimiser) fewerSteps(ctx context.Context) (smaller bool, err error) {
	for size := len(m.best.steps) / 2; size >= 1; size /= 2 {
		for at := len(m.best.steps) - size; at >= 0; at-- {
			if at+size > len(m.best.steps) {
				continue
			}
			d := m.best
			d.steps = slices.Delete(slices.Clone(d.steps), at, at+size)
			if len(d.steps) == 0 {
				continue
			}
			ok, err := m.try(ctx, d)
			if err != nil {
				return smaller, err
			}
			smaller = smaller || ok
		}
	}
	for i := 0; i < len(m.best.steps); i++ {
		p := m.best.steps[i].Parallel
		if p == nil {
			continue
		}
		for _, group := range p.Groups { // one list in place of all
			d := m.best
			d.steps = slices.Concat(d.steps[:i:i], group, d.steps[i+1:])
			ok, err := m.try(ctx, d)
			if err != nil {
				return smaller, err
			}
			if ok {
				return true, nil
			}
		}
	}
	return smaller, nil
}

// fewerLayers leaves out one layer, or two that are one above the other; what lay
// on them lies on what they lay on.
func (m *Minimiser) fewerLayers(ctx context.Context) (smaller bool, err error) {
	for i := len(m.best.setup.Stack) - 1; i >= 0; i-- {
		for n := 1; n <= 2; n++ {
			if i+n > len(m.best.setup.Stack) {
				continue
			}
			ok, err := m.try(ctx, m.best.withoutLayers(i, n))
			if err != nil {
				return smaller, err
			}
			smaller = smaller || ok
		}
	}
	return smaller, nil
}

func (d draft) withoutLayers(at, n int) draft {
	gone := map[string][]string{} // what was below, by name
	left := func(on []string) (out []string) {
		for _, b := range on {
			if below, ok := gone[b]; ok {
				out = append(out, below...)
			} else {
				out = append(out, b)
			}
		}
		return out
	}
	for _, l := range d.setup.Stack[at : at+n] {
		gone[l.Name] = left(l.On)
	}
	d.setup.Stack = slices.Delete(slices.Clone(d.setup.Stack), at, at+n)
	for i := range d.setup.Stack {
		d.setup.Stack[i].On = left(d.setup.Stack[i].On)
	}
	first := func(name string) string {
		if below := gone[name]; len(below) > 0 {
			return below[0]
		}
		return name
	}
	d.steps = slices.Clone(d.steps)
	for i, st := range d.steps {
		switch {
		case st.IO != nil:
			o := *st.IO
			o.On = first(o.On)
			d.steps[i].IO = &o
		case st.Check != nil:
			c := *st.Check
			c.Data = first(c.Data)
			d.steps[i].Check = &c
		case st.Act != nil:
			a := *st.Act
			a.To = first(a.To)
			d.steps[i].Act = &a
		}
	}
	return d
}

// fewerDisks leaves out disks that nothing needs.
func (m *Minimiser) fewerDisks(ctx context.Context) (smaller bool, err error) {
	for i := len(m.best.setup.Disks) - 1; i >= 0; i-- {
		d := m.best
		id := d.setup.Disks[i].ID
		d.setup.Disks = slices.Delete(slices.Clone(d.setup.Disks), i, i+1)
		d.setup.Stack = slices.Clone(d.setup.Stack)
		for j := range d.setup.Stack {
			d.setup.Stack[j].On = slices.DeleteFunc(slices.Clone(d.setup.Stack[j].On), func(on string) bool { return on == id })
		}
		ok, err := m.try(ctx, d)
		if err != nil {
			return smaller, err
		}
		smaller = smaller || ok
	}
	return smaller, nil
}

// simplerIO has less of each I/O.
func (m *Minimiser) simplerIO(ctx context.Context) (smaller bool, err error) {
	for i := 0; i < len(m.best.steps); i++ {
		for again := true; again; {
			again = false
			o := m.best.steps[i].IO
			if o == nil {
				break
			}
			for _, simple := range fewer(*o) {
				d := m.best
				d.steps = slices.Clone(d.steps)
				d.steps[i].IO = &simple
				ok, err := m.try(ctx, d)
				if err != nil {
					return smaller, err
				}
				if ok {
					smaller, again = true, true
					break
				}
			}
		}
	}
	return smaller, nil
}

// fewer gives what may do in place of an I/O, as simpler, and with fewer of it.
func fewer(o scenarios.IO) (out []scenarios.IO) {
	if o.Count > 1 {
		for _, count := range []int64{1, o.Count / 2} {
			n := o
			if n.Count = count; count == 1 {
				n.Range, n.Random, n.Seed = 0, false, 0
			}
			n.Depth = min(n.Depth, int(count))
			out = append(out, n)
		}
	}
	if o.Depth > 1 {
		n := o
		n.Depth = 1
		out = append(out, n)
	}
	for _, n := range simpler(o) {
		n.On, n.Expect = o.On, o.Expect
		out = append(out, n)
	}
	return slices.DeleteFunc(out, func(n scenarios.IO) bool { return n.Count < 1 })
}

// Minimise makes a recorded trial smaller by trials of its own. It says whether
// what it gives was shown from power-on, too.
func (h *Hunt) Minimise(ctx context.Context, was results.Recorded) (source string, cold bool, err error) {
	if !was.Record.Verdict.Failure() {
		return "", false, fmt.Errorf("trial %s did not fail: %s", was.Name(), was.Record.Verdict)
	}
	ref := kernelRef{was.Job.Kernel.Ref, was.Job.Kernel.Exact}
	trials := 0
	shows := func(w how) func(context.Context, scenarios.Case) (bool, error) {
		return func(ctx context.Context, c scenarios.Case) (bool, error) {
			trials++
			h.status("minimise", fmt.Sprintf("trial %d: %d steps on %d layers", trials, len(c.Steps), len(c.Setup.Stack)))
			r, err := h.trial(ctx, ref, c, w)
			if err == nil && trials == 1 && r.Verdict == scenarios.Error {
				err = fmt.Errorf("no verdict could be had: %s", r.Reason)
			}
			return r.Verdict == was.Record.Verdict && r.Phase == was.Record.Phase, err
		}
	}
	m := Minimiser{Shows: shows(how{}), Say: func(what string) { h.status("minimise", "smaller: "+what) }}
	c := was.Case
	about := strings.TrimSpace(c.Scenario.About)
	sc := *c.Scenario
	sc.About = about + fmt.Sprintf("\nMade smaller from a trial that ended as %s on %s.", was.Record.Verdict, was.Record.Kernel.Release)
	c.Scenario = &sc
	if source, err = m.Minimise(ctx, c); err != nil {
		return source, false, err
	}
	last, err := m.best.write()
	if err != nil {
		return source, false, err
	}
	cold, err = shows(how{cold: true})(ctx, last)
	return source, cold, err
}
