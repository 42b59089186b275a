package guest

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/blockrig/blockrig/initramfs/protocol"
	"github.com/blockrig/blockrig/scenarios"
)

// shellPath is u-root's shell in the base that has one.
const shellPath = "/bbin/gosh"

// shell runs a shell on the console until it ends: a person's, or one that
// runs the script of the setup.
func (g *guest) shell() error {
	tty, err := os.OpenFile("/dev/ttyS0", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		return g.wrap("open the console", err)
	}
	defer tty.Close()
	if s := g.setup; s.Rows > 0 && s.Cols > 0 {
		// A serial line has no size of its own.
		if err := unix.IoctlSetWinsize(int(tty.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: s.Rows, Col: s.Cols}); err != nil {
			return g.wrap("set the size of the console", err)
		}
	}
	g.kmsg.write(protocol.GuestLine{Ready: true})
	g.link.send(protocol.FromGuest{Ready: &protocol.Ready{}})
	cmd := exec.Command(shellPath)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/bbin:/sbin:/usr/sbin:/bin:/usr/bin", "HOME=/", "TERM=" + os.Getenv("TERM"), "PS1=blockrig# "}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	said := &lineEnder{w: tty}
	if g.setup.Script != "" {
		cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(g.setup.Script), said, said
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	}
	r := &protocol.Result{Observation: scenarios.Observation{Returned: true}}
	if err := cmd.Run(); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			return g.wrap("run "+shellPath, err)
		}
		r.Returned, r.Died = false, err.Error()
	}
	if err := said.end(); err != nil {
		return g.wrap("write to the console", err)
	}
	// What the kernel prints does not wait for what was written to the
	// terminal (tcdrain(3)).
	if err := unix.IoctlSetInt(int(tty.Fd()), unix.TCSBRK, 1); err != nil {
		g.kmsg.say("the shell's last words may be missing: %v", err)
	}
	g.enter(scenarios.PhaseDone, "")
	g.kmsg.write(protocol.GuestLine{End: new(uint64)})
	g.link.send(protocol.FromGuest{Result: r})
	return nil
}

// A lineEnder knows whether what was written to it ended in the middle of a
// line, to which the kernel would add its next message.
type lineEnder struct {
	w      io.Writer
	inLine bool
}

func (l *lineEnder) Write(p []byte) (int, error) {
	if len(p) > 0 {
		l.inLine = p[len(p)-1] != '\n'
	}
	return l.w.Write(p)
}

func (l *lineEnder) end() error {
	if !l.inLine {
		return nil
	}
	_, err := io.WriteString(l.w, "\n")
	return err
}
