package child

import (
	"os"
	"os/exec"
	"sync"
	"syscall"
)

// CanContain tells whether this process may make PID namespaces: as root, or
// where users may have namespaces of their own (user_namespaces(7)).
var CanContain = sync.OnceValue(func() bool {
	cmd := exec.Command("true")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	contain(cmd.SysProcAttr)
	return cmd.Run() == nil
})

// contain has the child started in a PID namespace of its own. When its init,
// the child, ends, the kernel kills all that is in it (pid_namespaces(7)).
func contain(attr *syscall.SysProcAttr) {
	attr.Cloneflags |= syscall.CLONE_NEWPID
	if os.Geteuid() == 0 {
		return
	}
	// Only in a user namespace, in which it is who it was.
	attr.Cloneflags |= syscall.CLONE_NEWUSER
	attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Geteuid(), HostID: os.Geteuid(), Size: 1}}
	attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getegid(), HostID: os.Getegid(), Size: 1}}
}
