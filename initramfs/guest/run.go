package guest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/blockrig/blockrig/initramfs/protocol"
)

// toolLimit is the guest time a tool may take, and toolReap the guest time
// after SIGKILL at which one counts as unkillable that builds the stack.
const (
	toolLimit = 60 * time.Second
	toolReap  = 3 * time.Second
)

// tool runs a tool to its end, and gives what it printed. A tool that can't be
// killed is an unkillable error.
func (g *guest) tool(name string, args ...string) (string, error) {
	return g.runTool(nil, name, args...)
}

func (g *guest) runTool(prepare func(*exec.Cmd), name string, args ...string) (string, error) {
	what := strings.TrimSpace(strings.TrimPrefix(name+" "+strings.Join(args, " "), selfName+" "))
	path := "/proc/self/exe"
	if name != selfName {
		var err error
		if path, err = lookTool(name); err != nil {
			return "", &setupError{phase: g.phase, what: what, err: fmt.Errorf("the guest has no %s: %w", name, err)}
		}
	}
	g.enter(g.phase, what)
	cmd := exec.Command(path, args...)
	cmd.Args[0] = name
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	// There is no udev that libdevmapper could wait for. LVM is told so by its
	// configuration.
	if name == "cryptsetup" {
		cmd.Env = append(os.Environ(), noUdev)
	}
	cmd.WaitDelay = time.Second // a daemon that the tool leaves behind may hold the pipe
	if prepare != nil {
		prepare(cmd)
	}
	if err := cmd.Start(); err != nil {
		return "", &setupError{phase: g.phase, what: what, err: err}
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	l := limits{all: toolLimit, reap: toolReap, wait: toolReap}
	if g.signs != nil {
		l.reap, l.wait = g.limits.reap, g.limits.wait
	}
	f := g.watch(g.newTicks(), task{pid: cmd.Process.Pid, tid: cmd.Process.Pid, kill: cmd.Process.Kill, ended: done}, l)
	if f.stuck != nil {
		g.showBlocked()
		return "", &setupError{phase: g.phase, what: what, hung: f.stuck, err: errors.New("can't be killed")}
	}
	text := oneLine(out.String())
	if text != "" {
		g.kmsg.say("%s says: %s", name, text)
	}
	err := f.err
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil
	}
	if f.killed != "" {
		err = fmt.Errorf("%w: %s", errKilled, f.killed)
	}
	if err != nil {
		if text != "" {
			err = fmt.Errorf("%w: %s", err, text)
		}
		return out.String(), &setupError{phase: g.phase, what: what, err: err}
	}
	return out.String(), nil
}

// errKilled is that of a tool that did not end by itself.
var errKilled = errors.New("it was killed")

// noUdev has libdevmapper make its nodes itself.
const noUdev = "DM_DISABLE_UDEV=1"

// lookTool finds a tool by its name, or by one of its other names.
func lookTool(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil {
		return path, nil
	}
	for prefix, tool := range map[string]string{"lv": "lvm", "vg": "lvm", "pv": "lvm", "mkfs.ext": "mke2fs", "fsck.ext": "e2fsck"} {
		if strings.HasPrefix(name, prefix) {
			if path, err := exec.LookPath(tool); err == nil {
				return path, nil // it looks at the name that it is called by
			}
		}
	}
	return "", err
}

// A task is a process that PID 1 watches.
type task struct {
	pid, tid int // tid: the thread that is looked at
	kill     func() error
	ended    <-chan error // once it was reaped
	said     <-chan reply // nil for one that does not answer; closed when it has ended
}

// limits bound a task, in guest time that the host gave.
type limits struct {
	all  time.Duration // after it the task is killed whatever it does
	idle time.Duration // after as much without disk activity it is killed; 0: never
	reap time.Duration // after SIGKILL, when it counts as unkillable if the kernel is broken
	wait time.Duration // the same, if nothing shows that the kernel is broken
	look time.Duration // how far apart looks at the disks' counters are, if more than a tick

	explained bool // I/O errors are the scenario's doing, however many there are
}

// A fate is what became of a task.
type fate struct {
	reply  *reply // nil where it gave none
	err    error  // of its end
	killed string // why it was sent SIGKILL
	stuck  *protocol.Unkillable
}

// watch waits until a task has answered, ended, or proven unkillable.
func (g *guest) watch(t *ticks, k task, l limits) (f fate) {
	reap := l.wait
	last, lastChange := g.countsOrNil(), t.passed()
	looked := lastChange
	var floodsBefore int64
	if g.signs != nil {
		floodsBefore = g.signs.io.Load()
	}
	start, floodAt, killedAt := lastChange, time.Duration(-1), time.Duration(-1)
	kill := func(why string) {
		f.killed, killedAt = why, t.passed()
		_ = k.kill()
		g.kmsg.say("killed pid %d: %s", k.pid, why)
	}
	said := k.said
	for {
		select {
		case r, ok := <-said:
			if !ok {
				said = nil
				continue
			}
			if r.Idle {
				continue
			}
			f.reply = &r
			return f
		case f.err = <-k.ended:
			if k.said == nil {
				return f
			}
			for r := range k.said { // its answer may still be in the pipe
				if !r.Idle {
					f.reply = &r
				}
			}
			return f
		case <-time.After(tick):
		}
		now := t.passed()
		if now-looked >= l.look {
			looked = now
			if n := g.countsOrNil(); changed(last, n) {
				last, lastChange = n, now
			}
		}
		if g.signs != nil {
			if dead := g.signs.dead.Load(); dead && reap != l.reap {
				reap = l.reap
				if killedAt < 0 {
					kill("the kernel reported a bug")
				}
			}
			if !l.explained && g.signs.io.Load()-floodsBefore >= floodLines && floodAt < 0 {
				reap, floodAt = l.reap, now
			}
		}
		switch {
		case killedAt >= 0 && now-killedAt > reap:
			u := describeTask(k.pid, k.tid)
			u.MS = (now - killedAt).Milliseconds()
			f.stuck = &u
			return f
		case killedAt >= 0:
		case floodAt >= 0 && now-floodAt > floodGrace && k.said != nil:
			kill("a flood of I/O errors")
		case l.idle > 0 && now-lastChange > l.idle:
			kill(fmt.Sprintf("no I/O in flight and none done for %v", l.idle))
		case now-start > l.all:
			kill(fmt.Sprintf("not done after %v", l.all))
		}
	}
}

// describeTask says where a task is. What can't be read stays empty.
func describeTask(pid, tid int) protocol.Unkillable {
	u := protocol.Unkillable{PID: pid}
	dir := filepath.Join("/proc", fmt.Sprint(pid), "task", fmt.Sprint(tid))
	if b, err := os.ReadFile(filepath.Join(dir, "stat")); err == nil {
		// The command may hold spaces and brackets: the state is after the last one.
		if i := bytes.LastIndexByte(b, ')'); i >= 0 && i+2 < len(b) {
			u.State = string(b[i+2])
		}
	}
	if b, err := os.ReadFile(filepath.Join(dir, "wchan")); err == nil && string(b) != "0" {
		u.Wchan = string(b)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "stack")); err == nil {
		for line := range strings.Lines(string(b)) {
			if _, f, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
				u.Stack = append(u.Stack, f)
			}
		}
	}
	return u
}

// showBlocked has the kernel log its blocked tasks (sysrq-w).
func (g *guest) showBlocked() {
	if err := os.WriteFile("/proc/sysrq-trigger", []byte("w"), 0); err != nil {
		g.kmsg.say("sysrq-w: %v", err)
	}
}
