package guest

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/blockrig/blockrig/initramfs/guest/engine"
	"github.com/blockrig/blockrig/initramfs/guest/layer"
	"github.com/blockrig/blockrig/initramfs/protocol"
	"github.com/blockrig/blockrig/scenarios"
)

// A sweeper is the child that does programs on one part of the stack. It stays
// for all of them: a process for each program would cost more than the program.
type sweeper struct {
	*child
	part    *layer.Part
	disks   []string
	counter string // file that says what is under way
}

// sweepLook is how far apart looks at the disks' counters are in a sweep. A
// machine with many disks would spend a good part of its time on them.
const sweepLook = 250 * time.Millisecond

// sweep does programs on several parts, and reports on each.
func (g *guest) sweep(s protocol.Sweep) error {
	g.link.setTrial(s.Trial)
	g.enter(scenarios.PhaseStep, fmt.Sprintf("%d programs", s.Len()))
	g.limits = limits{all: ms(s.LimitMS), idle: ms(s.IdleMS), reap: ms(s.ReapMS), wait: ms(s.WaitMS), look: sweepLook}
	before, err := g.health(nil)
	if err != nil {
		return g.wrap("look at the kernel's health", err)
	}
	stop := make(chan struct{})
	defer close(stop)
	if g.signs, err = watchSigns(g.kmsg.f.Name(), stop); err != nil {
		return g.wrap("watch the kernel's log", err)
	}
	some := s.Len()
	if s.Each {
		some = 1
	}
	for from := 0; from < s.Len(); from += some {
		to := min(s.Len(), from+some)
		for i, part := range s.Parts {
			swept, err := g.sweepPart(s, part, from, to)
			if err != nil {
				return err
			}
			if swept.Hung == nil {
				g.settleAfter(s.Each, swept)
			}
			if !swept.Stopped {
				if err := g.compareCopies(g.sweeps[part], s.Space, swept); err != nil {
					return err
				}
			}
			last := to == s.Len() && i == len(s.Parts)-1
			of := g.sweeps[part].part
			if last {
				of = nil
			}
			g.compareHealth(before, of, swept)
			swept.Last = swept.Stopped || last
			g.link.send(protocol.FromGuest{Swept: swept})
			if swept.Stopped {
				return nil
			}
		}
	}
	return nil
}

// settleAfter gives the kernel the time to say and do what follows from a program,
// where that is to be told from what the next one causes.
func (g *guest) settleAfter(each bool, s *protocol.Swept) {
	if each || s.Killed != "" || s.Died != "" {
		g.aftermath()
	}
}

// sweepPart does the programs from one place to another on one part.
func (g *guest) sweepPart(s protocol.Sweep, part string, from, to int) (*protocol.Swept, error) {
	c, err := g.sweeper(part)
	if err != nil {
		return nil, g.wrap("start the child", err)
	}
	out := &protocol.Swept{Part: part, From: from, At: -1}
	w := engine.Sweep{Path: c.part.Path, Space: s.Space, Counter: c.counter, First: from, Set: s.Slice(from, to), Forgets: c.part.ForgetsOnDiscard()}
	if skip := s.Skip[part]; len(skip) > 0 {
		w.Skip = make([]bool, to-from)
		for i := range w.Skip {
			w.Skip[i] = slices.Contains(skip, from+i)
		}
	}
	before := g.countsOrNil()
	t := g.newTicks()
	if err := c.ask(request{Sweep: &w}); err != nil {
		return nil, g.wrap("tell the child", err)
	}
	f := g.watch(t, c.task(), g.limits)
	after := g.countsOrNil()
	for _, id := range c.disks {
		out.Reads += after[id].Reads - before[id].Reads
		out.Writes += after[id].Writes - before[id].Writes
	}
	out.Killed, out.Hung = f.killed, f.stuck
	switch {
	case f.reply != nil && f.reply.Fail != "":
		return nil, g.wrap("sweep "+part, errors.New(f.reply.Fail))
	case f.reply != nil:
		out.Answers = f.reply.Swept
		if f.killed == "" {
			g.awaitIdle(c.child)
			return out, nil
		}
	case f.stuck == nil && f.killed == "":
		out.Died = "exit status 0"
		if f.err != nil {
			out.Died = f.err.Error()
		}
	}
	out.Stopped = true
	if b, err := os.ReadFile(c.counter); err == nil {
		if program, operation, ok := engine.UnderWay(b); ok {
			out.At, out.Operation = program, operation
		}
	}
	if out.Hung != nil {
		g.showBlocked()
	}
	return out, nil
}

// copiesWait is how long copies may differ: a write may be under way to one and
// not yet to another.
const copiesWait = 2 * time.Second

// compareCopies notes where the copies differ that layers under a part keep, read
// from below them: who reads the part sees one of them only. Of the part itself
// it looks at what programs use.
func (g *guest) compareCopies(c *sweeper, space int64, out *protocol.Swept) error {
	for _, p := range c.part.Under() {
		paths, offsets, length, err := g.stack.Copies(p.Name)
		if err != nil {
			continue // it keeps none, or has lost a leg, which the look at the health tells
		}
		if p == c.part {
			length = min(length, space)
		}
		_, err = g.until(copiesWait, func(time.Duration) (bool, error) {
			if err := c.ask(request{Compare: &engine.Compare{Paths: paths, Offsets: offsets, Length: length}}); err != nil {
				return false, g.wrap("tell the child", err)
			}
			f := g.watch(g.newTicks(), c.task(), g.limits)
			if f.reply == nil || f.killed != "" {
				out.Stopped, out.Killed, out.Hung = true, cmp.Or(f.killed, "it ended while copies were compared"), f.stuck
				return true, nil
			}
			g.awaitIdle(c.child)
			if f.reply.Fail != "" {
				return false, g.wrap("compare the copies of "+p.Name, errors.New(f.reply.Fail))
			}
			out.Differ = f.reply.Failed
			return out.Differ == "", nil
		})
		if err != nil || out.Stopped {
			return err
		}
		if out.Differ != "" {
			out.Differ, out.Stopped = fmt.Sprintf("copies of %s: %s", p.Name, out.Differ), true
			return nil
		}
	}
	return nil
}

// sweeper gives the child for a part, started when it is first needed.
func (g *guest) sweeper(name string) (*sweeper, error) {
	if c := g.sweeps[name]; c != nil {
		return c, nil
	}
	p, err := g.openable(name)
	if err != nil {
		return nil, err
	}
	c := &sweeper{part: p, disks: g.stack.Disks(p), counter: filepath.Join(os.TempDir(), fmt.Sprintf("sweep-%d", len(g.sweeps)))}
	if err := os.WriteFile(c.counter, make([]byte, engine.CounterSize), 0o600); err != nil {
		return nil, err
	}
	if c.child, err = startChild(); err != nil {
		return nil, err
	}
	if g.sweeps == nil {
		g.sweeps = map[string]*sweeper{}
	}
	g.sweeps[name] = c
	return c, nil
}

// awaitIdle waits until a child has closed what it had open.
func (g *guest) awaitIdle(c *child) {
	if r, ok := <-c.replies; ok && !r.Idle {
		g.kmsg.say("the child speaks twice")
	}
}

// A health is what a program must leave as it was.
type health struct {
	taint string // /proc/sys/kernel/tainted
	legs  []scenarios.Leg
}

// health looks at a part and what it lies on, or at all for nil.
func (g *guest) health(of *layer.Part) (h health, err error) {
	b, err := os.ReadFile("/proc/sys/kernel/tainted")
	if err != nil {
		return h, err
	}
	h.taint = strings.TrimSpace(string(b))
	if of == nil {
		h.legs, err = g.legs()
		return h, err
	}
	var legs []scenarios.Leg // not h's: the look may go on
	err = g.inTime(legsLimit, func() (err error) {
		legs, err = g.stack.LegsUnder(of)
		return err
	})
	if err == nil {
		h.legs = legs
	}
	return h, err
}

// compareHealth notes what is not as it was.
func (g *guest) compareHealth(before health, of *layer.Part, s *protocol.Swept) {
	if g.signs.dead.Load() {
		s.Changed = append(s.Changed, "the kernel reported a bug")
	}
	if n := g.signs.io.Load(); n > 0 {
		s.Changed = append(s.Changed, fmt.Sprintf("%d lines about I/O errors", n))
	}
	now, err := g.health(of)
	if err != nil {
		s.Changed = append(s.Changed, "no word on the legs: "+short(err.Error()))
	}
	if now.taint != "" && now.taint != before.taint {
		s.Changed = append(s.Changed, fmt.Sprintf("the kernel is tainted: %s, before %s", now.taint, before.taint))
	}
	if err == nil {
		for _, l := range now.legs {
			if !l.OK && !slices.Contains(before.legs, l) {
				s.Legs = append(s.Legs, l)
				s.Changed = append(s.Changed, fmt.Sprintf("leg %s on disk %s: %s", l.Name, l.Disk, l.Health))
			}
		}
	}
	s.Stopped = s.Stopped || len(s.Changed) > 0
}
