package guest

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blockrig/blockrig/initramfs/guest/layer"
	"github.com/blockrig/blockrig/initramfs/protocol"
	"github.com/blockrig/blockrig/scenarios"
)

// syncWait is the guest time that the legs may take to be in sync, and
// settleWait that for the disks to come to rest.
const (
	syncWait   = 120 * time.Second
	settleWait = 20 * time.Second
	settled    = 100 * time.Millisecond
	// standstill is how long the disks may rest before a resync that is waited
	// for has begun, or while it goes on.
	standstill = 15 * time.Second
)

// build does everything before the first step and proves it.
func (g *guest) build() (*protocol.Ready, error) {
	s := g.setup

	g.enter(scenarios.PhaseDisks, "load modules")
	if err := g.loadModules(s.Modules); err != nil {
		return nil, g.wrap("load modules", err)
	}
	g.enter(scenarios.PhaseDisks, "find the disks")
	if err := g.findDisks(s.Disks); err != nil {
		return nil, g.wrap("find the disks", err)
	}
	if err := g.require(s.Require); err != nil {
		return nil, g.wrap("check preconditions", err)
	}

	g.enter(scenarios.PhaseStack, "")
	for _, l := range s.Stack {
		if err := g.stack.Build(g, l, s.Assemble); err != nil {
			return nil, g.wrap("build the stack", err)
		}
	}
	if s.Assemble {
		return g.assembled()
	}
	g.enter(scenarios.PhaseStack, "wait until the legs are in sync")
	legs, err := g.waitInSync()
	if err != nil {
		return nil, err
	}
	g.enter(scenarios.PhaseStack, "wait until the disks rest")
	if err := g.settle(); err != nil {
		return nil, err
	}
	g.enter(scenarios.PhaseStack, "prove the stack")
	ready := &protocol.Ready{Legs: legs}
	if s.Timing {
		if ready.Boot, err = bootTimes(); err != nil {
			return nil, g.wrap("read the kernel's log", err)
		}
	}
	if ready.Proof, ready.Table, err = g.stack.Prove(); err != nil {
		return nil, g.wrap("prove the stack", err)
	}
	ready.Proof = append(ready.Proof, g.stack.Queues()...)
	if err := g.prepare(); err != nil {
		return nil, err
	}
	for _, p := range ready.Proof {
		g.kmsg.say("proof: %s", p)
	}
	return ready, nil
}

// assembled is the end of build after a power cut. What the stack became was
// proven when it was made; legs may be missing or out of sync now, and arrays
// busy.
func (g *guest) assembled() (*protocol.Ready, error) {
	g.enter(scenarios.PhaseStack, "wait until the disks rest")
	if err := g.settle(); err != nil {
		return nil, err
	}
	legs, _, err := g.stack.Legs()
	if err != nil {
		return nil, g.wrap("look at the legs", err)
	}
	return &protocol.Ready{Legs: legs}, g.prepare()
}

// prepare has all that is left to do before the first step.
func (g *guest) prepare() error {
	g.clearWarnOnce()
	c, err := startChild()
	if err != nil {
		return g.wrap("start the child", err)
	}
	g.idle = append(g.idle, c)
	return nil
}

func (g *guest) wrap(what string, err error) error {
	var s *setupError
	if errors.As(err, &s) {
		return err
	}
	return &setupError{phase: g.phase, what: what, err: err}
}

// The rest is what layers ask of PID 1: guest is a layer.Host.

// Tool runs a tool to its end.
func (g *guest) Tool(name string, args ...string) (string, error) { return g.tool(name, args...) }

// Self runs one of this executable's own tools.
func (g *guest) Self(args ...string) error {
	_, err := g.tool(selfName, args...)
	return err
}

// Until is until.
func (g *guest) Until(limit time.Duration, done func(time.Duration) (bool, error)) (bool, error) {
	return g.until(limit, done)
}

// selfName is the tool that does what layers need system calls for: this
// executable.
const selfName = childName + "-self"

func selfMain(args []string) int {
	err := errors.New("blockrig: " + selfName + " is a part of the guest and runs only there")
	if os.Getppid() == 1 {
		err = layer.Main(args)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// waitInSync waits until every leg is in sync and healthy.
func (g *guest) waitInSync() (legs []scenarios.Leg, err error) {
	var last string
	var since time.Duration
	ok, err := g.until(syncWait, func(now time.Duration) (inSync bool, err error) {
		if legs, inSync, err = g.stack.Legs(); err != nil {
			return false, g.wrap("look at the legs", err)
		}
		sick := func(l scenarios.Leg) bool { return !l.OK }
		if inSync && !slices.ContainsFunc(legs, sick) {
			return true, nil
		}
		if work := g.work(); work != last || work == "" {
			last, since = work, now
		}
		if now-since > standstill {
			err := fmt.Errorf("no disk has been read or written for %v, and they are not: %s", standstill, legText(legs))
			return false, g.wrap("wait until the legs are in sync", err)
		}
		return false, nil
	})
	if err == nil && !ok {
		err = g.wrap("wait until the legs are in sync", fmt.Errorf("not after %v: %s", syncWait, legText(legs)))
	}
	return legs, err
}

// work changes while a resync goes on; "" where that can't be told, since it may
// be one in memory, which no counter shows.
func (g *guest) work() string {
	for _, l := range g.setup.Stack {
		if l.Brd != nil || l.Zram != nil || l.NullBlk != nil || l.SCSIDebug != nil {
			return ""
		}
	}
	text, _ := layer.ReadText("/proc/diskstats")
	return text
}

func legText(legs []scenarios.Leg) string {
	var out []string
	for _, l := range legs {
		out = append(out, l.Name+" "+l.Health)
	}
	return strings.Join(out, ", ")
}

// settle waits until no disk has I/O in flight and none has completed any
// for a while, so that what the step does can be told from what went before.
func (g *guest) settle() error {
	since := time.Duration(0)
	var last map[string]layer.Counts
	ok, err := g.until(settleWait, func(now time.Duration) (bool, error) {
		counts, err := g.counts()
		if err != nil {
			return false, g.wrap("read the disks' I/O counters", err)
		}
		if changed(last, counts) {
			since = now
		}
		last = counts
		return now-since >= settled, nil
	})
	if err == nil && !ok {
		// Not an error: a kernel may keep its disks busy. The counters say
		// less then, and the log says so.
		g.kmsg.say("the disks do not come to rest within %v", settleWait)
	}
	return err
}

// clearWarnOnce lets a WARN_ONCE that the boot has used up speak again.
func (g *guest) clearWarnOnce() {
	err := unix.Mount("debugfs", "/sys/kernel/debug", "debugfs", 0, "")
	if err == nil || errors.Is(err, unix.EBUSY) {
		err = os.WriteFile("/sys/kernel/debug/clear_warn_once", []byte("1"), 0)
	}
	if err != nil {
		g.kmsg.say("clear_warn_once: %v", err)
	}
}
