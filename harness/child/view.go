package child

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// A View is what a child sees of the file system besides the folders of the
// system: what is not in it is not there. Its Enter is an Options.OnThread, for
// root.
type View []Folder

// A Folder is seen where it is, with all that is mounted below it. One that
// only is read may be missing.
type Folder struct {
	Path     string // absolute
	Writable bool   // as far as its files' modes allow it
}

// system are the folders that programs come from and live on. Users' own are
// not among them, nor what runs here and what it has stored.
var system = []string{
	"/bin", "/dev", "/etc", "/gnu", "/lib", "/lib32", "/lib64", "/libx32", "/nix", "/opt", "/proc", "/sbin", "/sys", "/usr",
}

// scratch are folders that anyone may write to. They are the child's own and
// vanish with it.
var scratch = []string{"/tmp", "/var/tmp"}

// scratchSize bounds what is in scratch, which is memory.
const scratchSize = "256m"

// CanEnclose tells whether this process may give a child a View: as root with
// all of root's rights (mount_namespaces(7)), from Linux 5.12 on.
var CanEnclose = sync.OnceValue(func() bool {
	return Run(context.Background(), exec.Command("true"), Options{OnThread: View{}.Enter}) == nil
})

// Enter makes the calling thread, and what it starts, see the view alone, in a
// mount namespace of its own. Nothing that the thread starts gets more rights
// than it has, as by set-user-ID programs. Anyone may enter the view's root,
// whatever the mode of the host's is.
func (v View) Enter() (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("enclose a child: %w", err)
		}
	}()
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("make a mount namespace: %w", err)
	}
	trees := make(map[string]int) // by where they are to be seen
	defer func() {
		for _, fd := range trees {
			err = errors.Join(err, unix.Close(fd))
		}
	}()
	links := make(map[string]string)
	for _, dir := range system {
		if to, err := os.Readlink(dir); err == nil { // /bin is usr/bin
			links[dir] = to
		} else {
			v = append(v[:len(v):len(v)], Folder{Path: dir})
		}
	}
	for _, f := range v {
		for dir := range links { // /lib/x is usr/lib/x
			if rest, below := strings.CutPrefix(f.Path, dir+"/"); below {
				if real, err := filepath.EvalSymlinks(dir); err == nil {
					f.Path = filepath.Join(real, rest)
				}
			}
		}
		if trees[f.Path] != 0 || links[f.Path] != "" {
			continue
		}
		fd, err := f.clone()
		if errors.Is(err, fs.ErrNotExist) && !f.Writable {
			continue
		}
		if err != nil {
			return err
		}
		trees[f.Path] = fd
	}
	if err := newRoot(); err != nil {
		return err
	}
	umask := unix.Umask(0o022) // this thread's own since it has its namespace
	defer unix.Umask(umask)
	for _, dir := range scratch {
		if err := errors.Join(os.MkdirAll(dir, 0o755), os.Chmod(dir, 0o777|fs.ModeSticky)); err != nil {
			return err
		}
	}
	for at, to := range links {
		if err := os.Symlink(to, at); err != nil {
			return err
		}
	}
	// A folder comes before those in it, which it would hide.
	for _, at := range slices.Sorted(maps.Keys(trees)) {
		if err := os.MkdirAll(at, 0o755); err != nil {
			return err
		}
		if err := unix.MoveMount(trees[at], "", unix.AT_FDCWD, at, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
			return fmt.Errorf("mount %s: %w", at, err)
		}
	}
	return unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
}

// clone gives the folder and all that is mounted below it.
func (f Folder) clone() (fd int, err error) {
	fd, err = unix.OpenTree(unix.AT_FDCWD, f.Path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return -1, fmt.Errorf("clone the mounts of %s: %w", f.Path, err)
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID, Propagation: unix.MS_SLAVE}
	if !f.Writable {
		attr.Attr_set |= unix.MOUNT_ATTR_RDONLY
	}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &attr); err != nil {
		return -1, errors.Join(fmt.Errorf("set what may be done in %s: %w", f.Path, err), unix.Close(fd))
	}
	return fd, nil
}

// newRoot gives the thread an empty root folder.
func newRoot() error {
	if err := cutOff(); err != nil {
		return err
	}
	if err := unix.Mount("blockrig", "/", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755,size="+scratchSize); err != nil {
		return fmt.Errorf("mount a root folder: %w", err)
	}
	// "/" alone is what lies under the mount.
	if err := errors.Join(unix.Chroot("/.."), unix.Chdir("/")); err != nil {
		return fmt.Errorf("enter the root folder: %w", err)
	}
	return nil
}

// cutOff keeps what is mounted in the thread's mount namespace from the host's.
// The thread's root folder is then that of the namespace.
func cutOff() error {
	self, err := os.Open("/proc/thread-self/ns/mnt")
	if err != nil {
		return fmt.Errorf("open the mount namespace: %w", err)
	}
	defer self.Close()
	// What is mounted must not be seen by the host. In a chroot that can be
	// said only from outside: to enter one's own namespace leads there.
	if err := unix.Setns(int(self.Fd()), unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("enter the mount namespace: %w", err)
	}
	if err := unix.MountSetattr(unix.AT_FDCWD, "/", unix.AT_RECURSIVE, &unix.MountAttr{Propagation: unix.MS_SLAVE}); err != nil {
		return fmt.Errorf("cut mounts off from the host's: %w", err)
	}
	return nil
}

// HideMounts keeps what is mounted from now on in this process's mount
// namespace, which must be one of its own, from the host's.
func HideMounts() error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for ever: it gets another root folder, and ends with the goroutine
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			done <- fmt.Errorf("leave the other threads' folders: %w", err)
			return
		}
		done <- cutOff()
	}()
	return <-done
}
