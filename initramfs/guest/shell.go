package guest

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"github.com/blockrig/blockrig/initramfs/protocol"
)

// shellPath is u-root's shell in the base that has one.
const shellPath = "/bbin/gosh"

// shell runs an interactive shell on the console until it ends.
func (g *guest) shell() error {
	g.kmsg.say("ready")
	g.link.send(protocol.FromGuest{Ready: &protocol.Ready{}})
	tty, err := os.OpenFile("/dev/ttyS0", os.O_RDWR, 0)
	if err != nil {
		return g.wrap("open the console", err)
	}
	defer tty.Close()
	cmd := exec.Command(shellPath)
	cmd.Env = []string{"PATH=/bbin:/sbin:/usr/sbin:/bin:/usr/bin", "HOME=/", "TERM=" + os.Getenv("TERM"), "PS1=blockrig# "}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	err = cmd.Run()
	g.enter(protocol.PhaseDone, "")
	g.link.send(protocol.FromGuest{Result: &protocol.Result{Returned: true}})
	if err != nil {
		return g.wrap("run the shell", fmt.Errorf("%s: %w", shellPath, err))
	}
	return nil
}
