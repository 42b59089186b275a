package guest

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

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

// step has the child do one I/O, watches it, and reports what came of it.
func (g *guest) step(s protocol.Step) error {
	g.link.setTrial(s.Trial)
	g.enter(scenarios.PhaseStep, "")
	if g.setup.Stack.File == nil {
		return g.wrap(s.Op, errors.New("the stack has no file of known content to read"))
	}
	if err := addEntropy(s.Entropy); err != nil {
		return g.wrap("add entropy", err)
	}
	if g.child == nil {
		c, err := startChild()
		if err != nil {
			return g.wrap("start the child", err)
		}
		g.child = c
	}
	c := g.child
	g.child = nil // it does one step in its life
	before, err := g.counts()
	if err != nil {
		return g.wrap("read the disks' I/O counters", err)
	}
	stop := make(chan struct{})
	defer close(stop)
	signs, err := watchSigns(stop)
	if err != nil {
		return g.wrap("watch the kernel's log", err)
	}
	g.kmsg.say("step %s of %d bytes at offset %d, memory offset %d, direct %t", s.Op, s.Length, s.Offset, s.MemoryOffset, s.Direct)
	g.link.send(protocol.FromGuest{Started: &protocol.Started{PID: c.cmd.Process.Pid}})
	t := g.newTicks()
	if err := c.request(ioRequest{File: g.file, Step: s}); err != nil {
		return g.wrap("tell the child", err)
	}
	r, err := g.await(c, s, t, signs)
	if err != nil {
		return err
	}
	r.MS = t.passed().Milliseconds()
	if r.Unkillable == nil {
		g.aftermath()
	}
	g.look(r, before)
	g.report(s, r)
	return nil
}

// await waits until the child has answered, died, or proven unkillable.
func (g *guest) await(c *child, s protocol.Step, t *ticks, signs <-chan sign) (*protocol.Result, error) {
	r := &protocol.Result{}
	limit, idle, reap := ms(s.LimitMS), ms(s.IdleMS), ms(s.WaitMS)
	last, lastChange := g.countsOrNil(), time.Duration(0)
	floods, floodAt := 0, time.Duration(-1)
	killedAt := time.Duration(-1)
	kill := func(why string) {
		if killedAt >= 0 {
			return
		}
		r.Killed = why
		killedAt = t.passed()
		_ = c.cmd.Process.Kill()
		g.kmsg.say("killed the child: %s", why)
	}
	replies := c.replies
	for {
		select {
		case reply, ok := <-replies:
			if !ok {
				replies = nil
				continue
			}
			return r, g.answered(r, s.Op, reply)
		case err := <-c.waited:
			// Its answer may still be in the pipe.
			for reply := range c.replies {
				if err := g.answered(r, s.Op, reply); err != nil {
					return nil, err
				}
			}
			if !r.Returned && killedAt < 0 {
				r.Died = "exit status 0"
				if err != nil {
					r.Died = err.Error()
				}
			}
			return r, nil
		case sg, ok := <-signs:
			if !ok {
				signs = nil
				continue
			}
			switch sg {
			case signDead:
				reap = ms(s.ReapMS)
				kill("the kernel reported a bug")
			case signIO:
				floods++
				if floods >= floodLines && floodAt < 0 {
					reap = ms(s.ReapMS)
					floodAt = t.passed()
				}
			}
		case <-time.After(tick):
		}
		now := t.passed()
		if n := g.countsOrNil(); changed(last, n) {
			last, lastChange = n, now
		}
		switch {
		case killedAt >= 0 && now-killedAt > reap:
			u := describeTask(c.cmd.Process.Pid, c.tid)
			u.MS = (now - killedAt).Milliseconds()
			r.Unkillable = &u
			return r, nil
		case killedAt >= 0:
		case floodAt >= 0 && now-floodAt > floodGrace:
			kill("a flood of I/O errors")
		case now-lastChange > idle:
			kill(fmt.Sprintf("no I/O in flight and none done for %v", idle))
		case now > limit:
			kill(fmt.Sprintf("not done after %v", limit))
		}
	}
}

// answered puts the child's answer into the result.
func (g *guest) answered(r *protocol.Result, op string, reply ioReply) error {
	if reply.Fail != "" {
		return g.wrap(op, errors.New(reply.Fail))
	}
	killed := r.Killed // it may have answered all the same
	r.Observation = reply.Observation
	r.Killed = killed
	return nil
}

// changed says whether a disk did something, or has something to do.
func changed(a, b map[string]ioCounts) bool {
	if b == nil {
		return true // not known: the step's limit decides
	}
	for id, c := range b {
		if c.inFlight != 0 || c != a[id] {
			return true
		}
	}
	return false
}

func ms(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

func (g *guest) counts() (map[string]ioCounts, error) {
	out := map[string]ioCounts{}
	for _, d := range g.disks {
		c, err := d.counts()
		if err != nil {
			return nil, fmt.Errorf("disk %s: %w", d.ID, err)
		}
		out[d.ID] = c
	}
	return out, nil
}

// countsOrNil is counts where a failure only means that nothing can be told:
// the step's limit still ends it.
func (g *guest) countsOrNil() map[string]ioCounts {
	c, err := g.counts()
	if err != nil {
		return nil
	}
	return c
}

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
func (g *guest) look(r *protocol.Result, before map[string]ioCounts) {
	after, err := g.counts()
	if err != nil {
		r.DisksError = err.Error()
		after = before
	}
	for _, d := range g.disks {
		r.Disks = append(r.Disks, protocol.DiskIO{
			ID: d.ID, Reads: after[d.ID].reads - before[d.ID].reads, Writes: after[d.ID].writes - before[d.ID].writes,
		})
	}
	if r.Unkillable != nil {
		g.showBlocked()
	}
	got := make(chan struct{})
	var legs []scenarios.Leg
	go g.guard(func() {
		defer close(got)
		legs, _, err = g.legs()
	})
	for t := g.newTicks(); t.passed() <= legsLimit; {
		select {
		case <-got:
			r.Legs = legs
			if err != nil {
				r.LegsError = err.Error()
			}
			return
		case <-time.After(tick):
		}
	}
	r.LegsError = fmt.Sprintf("the kernel did not answer within %v", legsLimit)
}

// report gives a result to the log and to the host. By the line "end of trial"
// the host knows that the log is complete up to here.
func (g *guest) report(s protocol.Step, r *protocol.Result) {
	switch {
	case r.Unkillable != nil:
		u := r.Unkillable
		g.kmsg.say("%s: pid %d is not reaped %d ms after SIGKILL, state %s, wchan %s", s.Op, u.PID, u.MS, u.State, u.Wchan)
		for _, f := range u.Stack {
			g.kmsg.say("stack: %s", f)
		}
	case r.Returned:
		n := r.Bytes
		if r.Errno != "" {
			n = -1
		}
		g.kmsg.write(protocol.GuestLine{Returned: &protocol.Returned{Op: s.Op, Bytes: n, Errno: r.Errno}})
	case r.Died != "":
		g.kmsg.say("%s: the child died: %s", s.Op, r.Died)
	default:
		g.kmsg.say("%s did not return, but its task could be killed", s.Op)
	}
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
