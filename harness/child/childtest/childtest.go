// Package childtest gives tests mounts that the host does not see. Root can have
// them, and others in a user namespace of their own. Where there is none to be had,
// as in a chroot, sudo makes them.
package childtest

import (
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/blockrig/blockrig/harness/child"
)

// Mounts is what starts a process with mounts of its own, as root of them; nil
// where this user can have none.
func Mounts() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Getuid() == 0 { // it needs no user namespace, and has none in a chroot
		return attr
	}
	if !namespaces() {
		return nil
	}
	attr.Cloneflags |= syscall.CLONE_NEWUSER
	attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
	attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	return attr
}

var namespaces = sync.OnceValue(func() bool {
	cmd := exec.Command("true")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER}
	return cmd.Run() == nil
})

// Sudo begins a command that is run as root by one who can have no mounts of his
// own. A user without a sudo that asks for nothing can't run the test.
func Sudo(t testing.TB) []string {
	t.Helper()
	sudo := []string{"sudo", "-n", "--"}
	if out, err := exec.Command(sudo[0], append(sudo[1:], "true")...).CombinedOutput(); err != nil {
		t.Fatalf("no user namespace can be made here, and there is no sudo without a password: %v\n%s", err, out)
	}
	return sudo
}

// small is the variable that tells a test's child where its small disk is to be.
const small = "BLOCKRIG_TEST_SMALL_DISK"

// OnSmallDisk runs the test that calls it again, in a child with a file system of
// so many bytes of its own, and says in the child where that is. In the parent it
// says "". The child has env in its environment, too.
func OnSmallDisk(t testing.TB, bytes int, env ...string) string {
	t.Helper()
	if dir := os.Getenv(small); dir != "" {
		if err := child.HideMounts(); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mount("small", dir, "tmpfs", 0, "size="+strconv.Itoa(bytes)); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	attr := Mounts()
	if attr == nil {
		return SmallDisk(t, bytes)
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.v", "-test.run", "^"+strings.ReplaceAll(t.Name(), "/", "$/^")+"$")
	cmd.Env = slices.Concat(os.Environ(), env, []string{small + "=" + t.TempDir()})
	cmd.SysProcAttr = attr
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()+" ") {
		t.Errorf("%v\n%s", err, out)
	}
	return ""
}

// SmallDisk mounts a file system of so many bytes with Sudo, until the test is
// over.
func SmallDisk(t testing.TB, bytes int) (dir string) {
	t.Helper()
	dir = t.TempDir()
	run := func(args ...string) {
		args = append(Sudo(t), args...)
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	}
	owner := ",uid=" + strconv.Itoa(os.Getuid()) + ",gid=" + strconv.Itoa(os.Getgid())
	run("mount", "-t", "tmpfs", "-o", "size="+strconv.Itoa(bytes)+owner, "small", dir)
	t.Cleanup(func() { run("umount", dir) })
	return dir
}
