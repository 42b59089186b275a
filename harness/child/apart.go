package child

import (
	"fmt"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// CanPart tells whether Linux can keep children apart: it has Landlock, from 5.13 on
// where that is not turned off.
var CanPart = sync.OnceValue(func() bool {
	_, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	return errno == 0
})

// Apart keeps what the calling thread starts from looking into processes that it did
// not start itself, though they are of the same user: into their memory, their
// environment and their descriptors (ptrace(2), and what of /proc goes by its rules).
// Nothing that the thread starts gets more rights than it has. It is an
// Options.OnThread, and does nothing where CanPart is false.
func Apart() error {
	if !CanPart() {
		return nil
	}
	// A Landlock domain has to forbid something, and what it is for comes with it. No
	// child of ours makes block devices.
	attr := unix.LandlockRulesetAttr{Handled_access_fs: unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK}
	rules, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr.Handled_access_fs), 0)
	if errno != 0 {
		return fmt.Errorf("keep a child apart: %w", errno)
	}
	defer unix.Close(int(rules)) // a ruleset has nothing to write
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("keep a child apart: %w", err)
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, rules, 0, 0); errno != 0 {
		return fmt.Errorf("keep a child apart: %w", errno)
	}
	return nil
}
