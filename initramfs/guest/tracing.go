package guest

import (
	"errors"
	"time"

	"github.com/blockrig/blockrig/initramfs/guest/blktrace"
	"github.com/blockrig/blockrig/initramfs/guest/engine"
	"github.com/blockrig/blockrig/initramfs/guest/layer"
	"github.com/blockrig/blockrig/initramfs/protocol"
	"github.com/blockrig/blockrig/scenarios"
)

// traceLimit is how long it may take to read a trace, and to look at what the
// devices hold.
const traceLimit = 10 * time.Second

// mostFailed bounds the devices of which a result tells.
const mostFailed = 32

// A tracing is the trace of one step.
type tracing struct {
	names map[uint64]layer.Named
	err   error // why there is none
}

// startTrace begins to record what the block layer does.
func (g *guest) startTrace() *tracing {
	t := &tracing{}
	if g.tracer == nil {
		g.tracer, t.err = blktrace.New()
	}
	if t.err == nil {
		t.names, t.err = g.stack.Names()
	}
	if t.err == nil {
		t.err = g.tracer.Start()
	}
	return t
}

// endTrace says what was recorded of a step, and what it has to do with what
// the step showed.
func (g *guest) endTrace(t *tracing, s protocol.Step, r *result) *scenarios.Trace {
	out := &scenarios.Trace{}
	if t.err != nil {
		out.Error = short(oneLine(t.err.Error()))
		return out
	}
	var rec blktrace.Record
	names := t.names
	err := g.inTime(traceLimit, func() (err error) {
		if rec, err = g.tracer.Stop(); err != nil {
			return err
		}
		// Devices that the step itself has made.
		now, err := g.stack.Names()
		for dev, n := range now {
			if _, known := names[dev]; !known {
				names[dev] = n
			}
		}
		return err
	})
	if err != nil {
		out.Error = short(oneLine(err.Error()))
		return out
	}
	g.link.send(protocol.FromGuest{Trace: &protocol.TraceText{Lines: bound(rec.Lines)}})
	out.Unseen, out.Lost = g.tracer.Missing, rec.Lost
	for _, e := range rec.Flow {
		if e.Kind == blktrace.Queued {
			out.Asked++
		}
	}
	first := rec.First()
	for _, a := range first[:min(len(first), mostFailed)] {
		n := names[a.Dev]
		out.Failed = append(out.Failed, scenarios.Answer{
			Layer: n.Layer, Device: nameOf(n, a.Dev), Op: a.Op, Errno: a.Errno, Sector: a.Sector, US: (a.At - rec.Errors[0].At).Microseconds(),
		})
	}
	if of, at, ok := wrongByte(s, &r.Result); ok && !r.anyStuck() {
		if out.Wrong, err = g.whereWrong(of, at, rec.Flow, names); err != nil {
			g.kmsg.say("where the wrong byte comes from: %v", err)
		}
	}
	return out
}

// bound keeps what fits into one line of the link, with much to spare.
func bound(lines []string) []string {
	sum := 0
	for i, l := range lines {
		if sum += len(l); sum > protocol.MaxLine/4 {
			return lines[:i]
		}
	}
	return lines
}

func nameOf(n layer.Named, dev uint64) string {
	if n.Device != "" {
		return n.Device
	}
	return layer.Device{No: dev}.String()
}

// wrongByte is the step, and the place in what it went to, of the first byte
// that was wrong.
func wrongByte(s protocol.Step, r *protocol.Result) (protocol.Step, int64, bool) {
	switch {
	case r.Mismatch != nil && s.IO != nil:
		return s, s.IO.Offset + *r.Mismatch, true
	case r.Mismatch != nil && s.Check != nil:
		return s, *r.Mismatch, true
	}
	for i, group := range r.Groups {
		for j := range group {
			if of, at, ok := wrongByte(s.Groups[i][j], &group[j]); ok {
				return of, at, true
			}
		}
	}
	return s, 0, false
}

// whereWrong follows a wrong byte down through the stack.
func (g *guest) whereWrong(s protocol.Step, at int64, flow []blktrace.Event, names map[uint64]layer.Named) ([]scenarios.Holding, error) {
	const sector = 512
	name := ""
	if s.IO != nil {
		name = s.IO.On
	} else {
		name = s.Check.Data
	}
	p, err := g.stack.Target(name)
	if err != nil {
		return nil, err
	}
	at -= at % sector
	top, place, err := g.stack.Place(p, at)
	if err != nil {
		return nil, err
	}
	size, err := p.Bytes()
	if err != nil {
		size = 0 // of a file: what lies beyond is not looked for
	}
	way := blktrace.Way(flow, blktrace.Spot{Dev: top.No, Sector: place / sector}, func(dev uint64) uint64 { return names[dev].Whole })
	look := &engine.Look{At: at, Size: size, Generation: s.Generation, Data: s.Data}
	var out []scenarios.Holding
	encoded := false
	for _, spot := range way {
		n := names[spot.Dev]
		out = append(out, scenarios.Holding{Layer: n.Layer, Device: nameOf(n, spot.Dev), Sector: spot.Sector})
		if !encoded {
			look.Places = append(look.Places, engine.Place{Path: n.Node, Offset: spot.Sector * sector})
		}
		encoded = encoded || n.Encodes
	}
	c, err := g.takeChild()
	if err != nil {
		return nil, err
	}
	if err := c.ask(request{Look: look}); err != nil {
		return nil, err
	}
	f := g.watch(g.newTicks(), c.task(), limits{all: traceLimit, reap: toolReap, wait: toolReap, explained: true})
	if f.reply != nil && f.killed == "" {
		defer g.giveBack(c)
	}
	switch {
	case f.reply == nil:
		return out, errors.New("the devices could not be looked at")
	case f.reply.Fail != "":
		return out, errors.New(f.reply.Fail)
	}
	for i, holds := range f.reply.Holds {
		out[i].Holds = holds
	}
	return out, nil
}
