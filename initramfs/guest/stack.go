package guest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blockrig/blockrig/initramfs/protocol"
	"github.com/blockrig/blockrig/scenarios"
)

// syncWait is the guest time that the legs may take to be in sync, and
// settleWait that for the disks to come to rest.
const (
	syncWait   = 120 * time.Second
	settleWait = 20 * time.Second
	settled    = 100 * time.Millisecond
)

// build does everything before the step and proves it.
func (g *guest) build() (*protocol.Ready, error) {
	s := g.setup

	g.enter(scenarios.PhaseDisks, "load modules")
	if err := g.loadModules(s.Modules); err != nil {
		return nil, g.wrap("load modules", err)
	}
	g.enter(scenarios.PhaseDisks, "find the disks")
	disks, err := g.findDisks(s.Disks)
	if err != nil {
		return nil, g.wrap("find the disks", err)
	}
	g.disks = disks
	if err := require(s.Require, disks); err != nil {
		return nil, g.wrap("check preconditions", err)
	}

	g.enter(scenarios.PhaseStack, "")
	if err := g.volume(); err != nil {
		return nil, err
	}
	if err := g.fileSystem(); err != nil {
		return nil, err
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
	if err := g.prove(ready); err != nil {
		return nil, g.wrap("prove the stack", err)
	}
	g.clearWarnOnce()
	if g.child, err = startChild(); err != nil {
		return nil, g.wrap("start the child", err)
	}
	for _, p := range ready.Proof {
		g.kmsg.say("proof: %s", p)
	}
	return ready, nil
}

func (g *guest) wrap(what string, err error) error {
	var s *setupError
	if errors.As(err, &s) {
		return err
	}
	return &setupError{phase: g.phase, what: what, err: err}
}

// volume builds the layer over the disks.
func (g *guest) volume() error {
	switch s := g.setup.Stack; {
	case s.LVM != nil:
		return g.lvm(*s.LVM)
	case s.MD != nil:
		return g.md(*s.MD)
	default:
		g.top = g.disks[0].blockDevice
		return nil
	}
}

// fileSystem makes and mounts the file system and writes the file; without
// one the step works on the device itself.
func (g *guest) fileSystem() error {
	s := g.setup.Stack
	if s.Ext4 == nil {
		g.file = g.top.node()
		return nil
	}
	// mke2fs zeroes its tables now, not in a kernel thread during the step.
	_, err := g.tool("mke2fs", "-q", "-F", "-t", "ext4", "-b", strconv.Itoa(s.Ext4.BlockSize),
		"-E", "lazy_itable_init=0,lazy_journal_init=0", g.top.node())
	if err != nil {
		return err
	}
	if err := os.MkdirAll(mountPoint, 0o755); err != nil {
		return g.wrap("make the mount point", err)
	}
	if _, err := g.tool(fillName, "mount", g.top.node(), mountPoint); err != nil {
		return err
	}
	if s.File == nil {
		return nil
	}
	g.file = filepath.Join(mountPoint, fileName)
	_, err = g.tool(fillName, "write", g.file, strconv.FormatInt(int64(s.File.Size), 10))
	return err
}

// fillName is the tool that mounts and writes: this executable. It is a
// process of its own since a mount or a write that hangs in PID 1 could not be
// told from one that is slow.
const fillName = childName + "-fill"

// fillMain is the main function of that tool.
func fillMain(args []string) int {
	err := fill(args)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func fill(args []string) error {
	if os.Getppid() != 1 || len(args) != 3 {
		return errors.New("blockrig: " + fillName + " is a part of the guest and runs only there")
	}
	switch args[0] {
	case "mount":
		if err := unix.Mount(args[1], args[2], "ext4", 0, ""); err != nil {
			return fmt.Errorf("mount %s on %s: %w", args[1], args[2], err)
		}
		return nil
	case "write":
		n, err := strconv.ParseInt(args[2], 10, 64)
		if err != nil {
			return err
		}
		if err := writePattern(args[1], n); err != nil {
			return err
		}
		unix.Sync()
		return nil
	default:
		return fmt.Errorf("%s: %q is not known", fillName, args[0])
	}
}

func writePattern(path string, n int64) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	buf := make([]byte, 256<<10)
	for at := int64(0); at < n; {
		b := buf[:min(int64(len(buf)), n-at)]
		for i := range b {
			b[i] = protocol.Pattern(at + int64(i))
		}
		if _, err := f.Write(b); err != nil {
			return err
		}
		at += int64(len(b))
	}
	return f.Sync()
}

// waitInSync waits until every leg is in sync and healthy.
func (g *guest) waitInSync() (legs []scenarios.Leg, err error) {
	ok, err := g.until(syncWait, func(time.Duration) (inSync bool, err error) {
		if legs, inSync, err = g.legs(); err != nil {
			return false, g.wrap("look at the legs", err)
		}
		sick := func(l scenarios.Leg) bool { return !l.OK }
		return inSync && !slices.ContainsFunc(legs, sick), nil
	})
	if err == nil && !ok {
		err = g.wrap("wait until the legs are in sync", fmt.Errorf("not after %v: %s", syncWait, legText(legs)))
	}
	return legs, err
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
	var last map[string]ioCounts
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
