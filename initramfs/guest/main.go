package guest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blockrig/blockrig/initramfs/guest/blktrace"
	"github.com/blockrig/blockrig/initramfs/guest/layer"
	"github.com/blockrig/blockrig/initramfs/protocol"
	"github.com/blockrig/blockrig/scenarios"
)

// childName is argv[0] of the process that does the I/O.
const childName = "blockrig-io"

// Enter does what the guest's processes are there for, and does not return
// from it. It returns when args are not those of such a process. PID 1 of a
// container, where blockrig may be the only process, is none: the kernel starts
// its own as /init.
func Enter(args []string) {
	switch {
	case os.Getpid() == 1 && args[0] == "/init":
		pid1()
	case args[0] == childName:
		os.Exit(childMain())
	case args[0] == selfName:
		os.Exit(selfMain(args[1:]))
	}
}

// pid1 never returns: a PID 1 that exits panics the kernel, and that would look
// like the kernel's fault.
func pid1() {
	// The guest has little memory to spare and lives for seconds.
	debug.SetGCPercent(400)
	g := &guest{start: time.Now()}
	g.guard(func() {
		err := g.run()
		if g.link != nil && g.link.script {
			g.leave(err)
		}
		if err != nil {
			g.fail(err)
		}
	})
	select {}
}

type guest struct {
	start  time.Time
	link   *link
	kmsg   *kmsg
	setup  protocol.Setup
	phase  string
	stack  layer.Stack
	signs  *signsSeen       // since the step began; nil before it
	limits limits           // of the step
	tracer *blktrace.Tracer // nil until a step is traced
	sweeps map[string]*sweeper
	held   held

	mu   sync.Mutex
	idle []*child    // that have no I/O to do
	rest atomic.Bool // waiting for the host, who does not listen: no beats
}

// A setupError is something the guest needs that did not work.
type setupError struct {
	phase, what string
	hung        *protocol.Unkillable
	err         error
}

func (e *setupError) Error() string { return e.phase + ": " + e.what + ": " + e.err.Error() }
func (e *setupError) Unwrap() error { return e.err }

func (g *guest) run() error {
	// The kernel gives PID 1 no PATH.
	if err := os.Setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin:/bbin"); err != nil {
		return err
	}
	if err := mountBasics(); err != nil {
		return err
	}
	k, err := openKmsg()
	if err != nil {
		return err
	}
	g.kmsg = k
	uts := unix.Utsname{}
	if err := unix.Uname(&uts); err != nil {
		return fmt.Errorf("uname: %w", err)
	}
	release := unix.ByteSliceToString(uts.Release[:])
	g.kmsg.say("hello from PID 1 on Linux %s", release)
	// What the boot says below "notice" is not worth the time that a serial
	// line takes; from here on everything but debug is.
	if err := unix.Klogset(unix.SYSLOG_ACTION_CONSOLE_LEVEL, 7); err != nil {
		g.kmsg.say("console log level stays as it is: %v", err)
	}
	if g.link, err = openScript(protocol.ScriptFile); errors.Is(err, fs.ErrNotExist) {
		g.link, err = openLink(controlPort)
	}
	if err != nil {
		g.kmsg.say("fail: no control line: %v", err)
		return err
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return fmt.Errorf("read the boot id: %w", err)
	}
	g.link.send(protocol.FromGuest{Hello: &protocol.Hello{
		Release: release, CPUs: runtime.NumCPU(), BootID: string(bytes.TrimSpace(boot)),
	}})
	go g.guard(g.beat)

	msg, err := g.link.receive()
	if err != nil {
		return fmt.Errorf("wait for the setup: %w", err)
	}
	if msg.Setup == nil {
		return errors.New("wait for the setup: the host sent something else")
	}
	g.setup = *msg.Setup
	ready, err := g.build()
	if err != nil {
		return err
	}
	if g.setup.Shell {
		return g.shell()
	}
	g.kmsg.write(protocol.GuestLine{Ready: true})
	// A snapshot taken now has no half of a message in it.
	g.rest.Store(true)
	g.link.send(protocol.FromGuest{Ready: ready})
	for {
		msg, err := g.link.receive()
		g.rest.Store(false)
		if err != nil {
			return fmt.Errorf("wait for the step: %w", err)
		}
		switch {
		case msg.Step != nil:
			err = g.step(*msg.Step)
		case msg.Sweep != nil:
			err = g.sweep(*msg.Sweep)
		case msg.Ask > 0:
			if err = ask(msg.Ask); err != nil {
				err = g.wrap("have the host do its part", err)
			}
		default:
			err = errors.New("wait for the step: the host sent something else")
		}
		if err != nil {
			return err
		}
	}
}

const beatEvery = protocol.BeatEvery * 3 / 4

// leave ends a machine without a host. err is why the script's end was not
// reached, io.EOF when it was.
func (g *guest) leave(err error) {
	if !errors.Is(err, io.EOF) {
		g.fail(err)
	}
	time.Sleep(lastWords)
	// At once: a kernel that hangs would not come to a restart of its own. QEMU,
	// which is told not to reboot, ends.
	if err := os.WriteFile("/proc/sysrq-trigger", []byte("b"), 0); err != nil {
		g.kmsg.say("sysrq-b: %v", err)
		_ = unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
	}
}

// lastWords is how long the console gets to say what the kernel has logged.
const lastWords = time.Second

// beat tells the host that PID 1 is alive.
func (g *guest) beat() {
	for {
		time.Sleep(beatEvery)
		if g.rest.Load() {
			continue
		}
		g.link.send(protocol.FromGuest{Beat: &protocol.Beat{}})
	}
}

// enter says that a phase, or an action in it, begins.
func (g *guest) enter(phase, what string) {
	if g.phase != phase { // steps that run at the same time are in one
		g.phase = phase
	}
	p := &protocol.Phase{Name: phase, What: what}
	g.kmsg.write(protocol.GuestLine{Phase: p})
	g.link.send(protocol.FromGuest{Phase: p})
}

func (g *guest) fail(err error) {
	f := &protocol.Fail{Phase: g.phase, Why: err.Error()}
	if f.Phase == "" {
		f.Phase = scenarios.PhaseBoot
	}
	var s *setupError
	if errors.As(err, &s) {
		f = &protocol.Fail{Phase: s.phase, What: s.what, Why: s.err.Error(), Hung: s.hung}
	}
	f.Certain = f.Hung == nil && certain(err)
	f.Broken = f.Hung == nil && errors.Is(err, layer.ErrBroken)
	f.What, f.Why = short(f.What), short(f.Why)
	if g.kmsg != nil {
		g.kmsg.say("fail in %s: %s: %s", f.Phase, f.What, f.Why)
	} else {
		fmt.Fprintln(os.Stderr, protocol.GuestLine{Text: fmt.Sprintf("fail in %s: %s", f.Phase, f.Why)})
	}
	if g.link != nil {
		g.link.send(protocol.FromGuest{Fail: f})
	}
}

// errPrecondition is that of a precondition that does not hold.
var errPrecondition = errors.New("a precondition does not hold")

// certain says whether the same must come of another try: what is not there, or
// is another thing, in this kernel and this initramfs.
func certain(err error) bool {
	for _, e := range []error{errPrecondition, layer.ErrCannot, exec.ErrNotFound} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// short bounds what a tool may have printed, so that the message stays a line
// that the host takes.
func short(s string) string {
	const most = 4 << 10
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

// guard runs a goroutine of PID 1. A panic in it is told to the host; one that
// ended PID 1 would be the kernel's panic.
func (g *guest) guard(f func()) {
	defer func() {
		if r := recover(); r != nil {
			g.fail(fmt.Errorf("blockrig's own fault in the guest: %v", r))
			select {}
		}
	}()
	f()
}

func mountBasics() error {
	for _, m := range []struct{ fs, dir, opts string }{
		{"devtmpfs", "/dev", "mode=0755"},
		{"proc", "/proc", ""},
		{"sysfs", "/sys", ""},
		{"tmpfs", "/run", "mode=0755"},
		{"tmpfs", "/tmp", "mode=1777"},
	} {
		if err := os.MkdirAll(m.dir, 0o755); err != nil {
			return fmt.Errorf("make %s: %w", m.dir, err)
		}
		err := unix.Mount(m.fs, m.dir, m.fs, 0, m.opts)
		if err != nil && !errors.Is(err, unix.EBUSY) { // devtmpfs may be mounted by the kernel
			return fmt.Errorf("mount %s on %s: %w", m.fs, m.dir, err)
		}
	}
	// LVM locks live here.
	if err := os.MkdirAll("/run/lock/lvm", 0o755); err != nil {
		return fmt.Errorf("make /run/lock/lvm: %w", err)
	}
	return nil
}

// oneLine makes a tool's output fit one line.
func oneLine(s string) string {
	return strings.Join(strings.FieldsFunc(strings.TrimSpace(s), func(r rune) bool { return r == '\n' || r == '\r' }), " | ")
}
