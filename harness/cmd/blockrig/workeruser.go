package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	osuser "os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blockrig/blockrig/harness/child"
)

// rootCache is where a worker that was started as root keeps what it needs.
const rootCache = "/var/cache/blockrig-worker"

// nobody is who a worker that was started as root goes on as when it is not
// told otherwise.
const nobody = "nobody"

// nobodyID is nobody's number where that user is missing.
const nobodyID = "65534"

// workerGrace is how long a worker may take to give back what it has.
const workerGrace = 30 * time.Second

// withoutRoot goes on as another user, in a process of its own, when this one
// is root's. as is that user's name or number; "": nobody, or root where nobody
// can't make trials. done says that all is done.
func (a *app) withoutRoot(ctx context.Context, stay bool, as string) (done bool, err error) {
	if stay && as != "" {
		return false, badRequest(errors.New("--as-root and --user: want one of them"))
	}
	who := as
	if who == "" {
		who = nobody
	}
	user, err := credentialOf(who)
	switch {
	case err != nil:
		return false, badRequest(fmt.Errorf("--user %s: %w", who, err))
	case os.Getuid() == int(user.Uid) || as == "" && os.Getuid() != 0 || stay:
		return false, nil
	case os.Getuid() != 0:
		return false, badRequest(fmt.Errorf("--user %s: only root can go on as another user", who))
	}
	cache := rootCache
	if given := os.Getenv("XDG_CACHE_HOME"); filepath.IsAbs(given) {
		cache = filepath.Join(given, filepath.Base(rootCache))
	}
	if as != "" {
		cache += "-" + strconv.FormatUint(uint64(user.Uid), 10) // what is another's, it can't use
	}
	if err := folderFor(cache, user); err != nil {
		return false, fmt.Errorf("give user %s a folder: %w", who, err)
	}
	o := child.Options{Signal: syscall.SIGTERM, Grace: workerGrace}
	if err := reachable(filepath.Dir(cache)); err != nil {
		if !child.CanEnclose() {
			err = fmt.Errorf("user %s can't come to %s (%w), and no mount namespace can be made in which it could; XDG_CACHE_HOME names another place", who, cache, err)
			if as != "" {
				return false, badRequest(err)
			}
			a.say("QEMU will have root's rights: %v", err)
			return false, nil
		}
		o.OnThread = child.View{{Path: cache, Writable: true}}.Enter
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdout, cmd.Stderr = a.stdout, a.stderr
	cmd.Dir = cache
	cmd.Env = append(without(os.Environ(), "HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "TMPDIR"),
		"HOME="+cache, "XDG_CACHE_HOME="+cache, "XDG_STATE_HOME="+cache, "TMPDIR="+cache)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: user}
	err = child.Run(ctx, cmd, o)
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return true, nil // it was told, and has given back what it had
	case errors.As(err, &exit) && exit.ExitCode() > 0:
		return true, status(exit.ExitCode()) // it has said why
	}
	return true, err
}

// credentialOf gives the rights of a user, by its name or number, and of those
// who may use KVM.
func credentialOf(who string) (*syscall.Credential, error) {
	u, err := osuser.Lookup(who)
	if id, perr := strconv.ParseUint(who, 10, 31); err != nil && perr == nil {
		if u, err = osuser.LookupId(who); err != nil { // a number needs no name
			u, err = &osuser.User{Uid: who, Gid: strconv.FormatUint(id, 10)}, nil
		}
	}
	if err != nil && who == nobody {
		u, err = &osuser.User{Uid: nobodyID, Gid: nobodyID}, nil
	}
	if err != nil {
		return nil, err
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	if uid == 0 || gid == 0 {
		return nil, errors.New("it has rights of root's")
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid), Groups: kvmGroup()}, nil
}

// folderFor makes a folder that is a user's alone. One that is another user's
// already is none, nor is a link.
func folderFor(dir string, user *syscall.Credential) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	f, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer f.Close() // only for what it is
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if is, ok := info.Sys().(*syscall.Stat_t); ok && is.Uid != 0 && is.Uid != user.Uid {
		return fmt.Errorf("%s is of user %d: remove it", dir, is.Uid)
	}
	return f.Chown(int(user.Uid), int(user.Gid))
}

// without is an environment without some variables.
func without(env []string, names ...string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(e string) bool {
		name, _, _ := strings.Cut(e, "=")
		return slices.Contains(names, name)
	})
}

// kvmGroup is the group that may use KVM, if there is one.
func kvmGroup() []uint32 {
	info, err := os.Stat("/dev/kvm")
	if err != nil || info.Mode().Perm()&0o060 != 0o060 {
		return nil
	}
	if s, ok := info.Sys().(*syscall.Stat_t); ok && s.Gid != 0 {
		return []uint32{s.Gid}
	}
	return nil
}

// reachable says why not everyone can come to a folder.
func reachable(dir string) error {
	for {
		info, err := os.Stat(dir)
		if err != nil {
			return err
		}
		if info.Mode()&0o001 == 0 {
			return &os.PathError{Op: "enter", Path: dir, Err: syscall.EACCES}
		}
		up := filepath.Dir(dir)
		if up == dir {
			return nil
		}
		dir = up
	}
}
