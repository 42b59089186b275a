package guest

import (
	"fmt"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/blockrig/blockrig/initramfs/guest/layer"
	"github.com/blockrig/blockrig/initramfs/protocol"
	"github.com/blockrig/blockrig/scenarios"
)

const (
	// floodLines of I/O errors in one step are no answer any more but a
	// flood. The block layer prints ten in five seconds
	// (DEFAULT_RATELIMIT_BURST) and counts the rest.
	floodLines = 10
	// floodGrace is what the child gets to return by itself after it.
	floodGrace = 300 * time.Millisecond
	// aftermathLimit is how long disks may go on after the I/O has returned.
	aftermathLimit = 500 * time.Millisecond
	// legsLimit is how long a look at the legs may take: a dead worker can
	// hold the locks that it needs.
	legsLimit = 2 * time.Second
)

// step does one step, watches it, and reports what came of it.
func (g *guest) step(s protocol.Step) error {
	g.link.setTrial(s.Trial)
	g.enter(scenarios.PhaseStep, "")
	g.limits = limits{all: ms(s.LimitMS), idle: ms(s.IdleMS), reap: ms(s.ReapMS), wait: ms(s.WaitMS), explained: s.Explained}
	if err := addEntropy(s.Entropy); err != nil {
		return g.wrap("add entropy", err)
	}
	if err := g.haveIdle(children(s)); err != nil {
		return g.wrap("start the child", err)
	}
	if err := g.stack.Refresh(); err != nil {
		return g.wrap("find the disks", err)
	}
	before, err := g.counts()
	if err != nil {
		return g.wrap("read the disks' I/O counters", err)
	}
	stop := make(chan struct{})
	defer close(stop)
	if g.signs, err = watchSigns(g.kmsg.f.Name(), stop); err != nil {
		return g.wrap("watch the kernel's log", err)
	}
	var trace *tracing
	if s.Trace {
		trace = g.startTrace()
	}
	t := g.newTicks()
	r, err := g.do(s)
	if err != nil {
		return err
	}
	r.MS = t.passed().Milliseconds()
	if !r.anyStuck() {
		g.aftermath()
	}
	g.look(&r.Result, before)
	if trace != nil { // its own reads are none of the step's
		r.Trace = g.endTrace(trace, s, r)
	}
	g.report(s, &r.Result)
	return nil
}

func ms(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

// aftermath waits, for a moment, until the disks rest: what a kernel does
// about an I/O that went wrong it may do after it has returned.
func (g *guest) aftermath() {
	last := g.countsOrNil()
	time.Sleep(tick)
	_, _ = g.until(aftermathLimit, func(time.Duration) (bool, error) {
		before := last
		last = g.countsOrNil()
		return !changed(before, last), nil
	})
}

// look adds what the step left behind: the disks' counters and the legs.
func (g *guest) look(r *protocol.Result, before map[string]layer.Counts) {
	after, err := g.counts()
	if err != nil {
		r.DisksError = err.Error()
		after = before
	}
	for _, d := range g.disks() {
		a, b := after[d.Name], before[d.Name]
		if _, there := after[d.Name]; !there {
			a = b // it was taken away, and what it did is not known
		}
		r.Disks = append(r.Disks, protocol.DiskIO{ID: d.Name, Reads: a.Reads - b.Reads, Writes: a.Writes - b.Writes, Others: a.Others - b.Others})
	}
	if r.Unkillable != nil {
		g.showBlocked()
	}
	if r.Legs, err = g.legs(); err != nil {
		r.LegsError = err.Error()
	}
}

// legs looks at all legs, nil with an error.
func (g *guest) legs() ([]scenarios.Leg, error) {
	var legs []scenarios.Leg
	err := g.inTime(legsLimit, func() (err error) {
		legs, _, err = g.stack.Legs()
		return err
	})
	if err != nil {
		return nil, err // the look may still go on
	}
	return legs, nil
}

// inTime calls f, which may never return: what a dead worker holds it waits
// for.
func (g *guest) inTime(limit time.Duration, f func() error) error {
	done := make(chan error, 1)
	go g.guard(func() { done <- f() })
	for t := g.newTicks(); t.passed() <= limit; {
		select {
		case err := <-done:
			return err
		case <-time.After(tick):
		}
	}
	return fmt.Errorf("the kernel did not answer within %v", limit)
}

// report gives a result to the log and to the host. By the line "end of trial"
// the host knows that the log is complete up to here.
func (g *guest) report(s protocol.Step, r *protocol.Result) {
	g.tell(s, r)
	if len(r.Legs) > 0 {
		g.kmsg.say("legs: %s", legText(r.Legs))
	}
	if r.LegsError != "" {
		g.kmsg.say("legs: %s", r.LegsError)
	}
	var io []string
	for _, d := range r.Disks {
		io = append(io, fmt.Sprintf("%s %d reads %d writes", d.ID, d.Reads, d.Writes))
	}
	g.kmsg.say("disks: %s", strings.Join(io, ", "))
	g.enter(scenarios.PhaseDone, "")
	g.kmsg.write(protocol.GuestLine{End: &s.Trial})
	g.link.send(protocol.FromGuest{Result: r})
}

// tell gives the answer of one step to the log.
func (g *guest) tell(s protocol.Step, r *protocol.Result) {
	switch op := s.Op(); {
	case r.Unkillable != nil:
		u := r.Unkillable
		g.kmsg.say("%s: pid %d is not reaped %d ms after SIGKILL, state %s, wchan %s", op, u.PID, u.MS, u.State, u.Wchan)
		for _, f := range u.Stack {
			g.kmsg.say("stack: %s", f)
		}
	case r.Returned && (s.IO != nil || s.Write != nil || s.Zone != nil && r.Failed == ""):
		n := r.Bytes
		if r.Errno != "" {
			n = -1
		}
		g.kmsg.write(protocol.GuestLine{Returned: &protocol.Returned{Op: strings.ReplaceAll(op, " ", "-"), Bytes: n, Errno: r.Errno}})
	case r.Failed != "":
		g.kmsg.say("%s: %s", op, r.Failed)
	case r.Returned && r.Errno != "":
		g.kmsg.say("%s: %s", op, oneLine(r.Output))
	case r.Returned:
		g.kmsg.say("%s is done", op)
	case r.Died != "":
		g.kmsg.say("%s: the child died: %s", op, r.Died)
	case r.Killed != "":
		g.kmsg.say("%s did not return, but its task could be killed", op)
	}
	for _, f := range shows(s, r) {
		g.kmsg.write(protocol.GuestLine{Shows: &f})
	}
	for i, group := range r.Groups {
		for j := range group {
			g.tell(s.Groups[i][j], &group[j])
		}
	}
}

// addEntropy credits the host's random bytes to the kernel's pool
// (random(4)), so that trials from one snapshot do not share its state.
func addEntropy(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	fd, err := unix.Open("/dev/urandom", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	// struct rand_pool_info: bits, bytes, data.
	buf := make([]int32, 2+(len(b)+3)/4)
	buf[0], buf[1] = int32(len(b)*8), int32(len(b))
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&buf[2])), len(b)), b)
	const (
		addEntropy = 0x40085203 // RNDADDENTROPY
		reseedCRNG = 0x5207     // RNDRESEEDCRNG
	)
	for _, c := range []struct {
		request uintptr
		arg     unsafe.Pointer
	}{{addEntropy, unsafe.Pointer(&buf[0])}, {reseedCRNG, nil}} {
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), c.request, uintptr(c.arg)); errno != 0 {
			return fmt.Errorf("ioctl %#x on /dev/urandom: %w", c.request, errno)
		}
	}
	return nil
}

// shows are the failures in a result that the guest can tell by itself.
func shows(s protocol.Step, r *protocol.Result) (out []protocol.Shows) {
	add := func(v scenarios.Verdict, format string, args ...any) {
		out = append(out, protocol.Shows{Verdict: v, Why: oneLine(s.Op() + ": " + fmt.Sprintf(format, args...))})
	}
	if r.Mismatch != nil {
		add(scenarios.Corrupt, "byte %d of the data is wrong: %s", *r.Mismatch, r.Wrong)
	}
	if r.Overrun != nil {
		add(scenarios.Corrupt, "byte %d, outside the asked range, was changed", *r.Overrun)
	}
	if v := s.FailAs(); r.Failed != "" && v.Failure() {
		add(v, "%s", r.Failed)
	}
	if u := r.Unkillable; u != nil {
		add(scenarios.Hang, "it can't be killed: state %s, %d ms after SIGKILL", u.State, u.MS)
	}
	return out
}
