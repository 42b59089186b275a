package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	osuser "os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/blockrig/blockrig/harness/child"
)

// rootCache is where a worker that was started as root keeps what it needs.
const rootCache = "/var/cache/blockrig-worker"

// nobody is the user that a worker goes on as, whatever it is called here.
const nobody = 65534

// workerGrace is how long a worker may take to give back what it has.
const workerGrace = 30 * time.Second

// withoutRoot goes on as the user nobody, in a process of its own, when this
// one is root's. done says that all is done.
func (a *app) withoutRoot(ctx context.Context, stay bool) (done bool, err error) {
	if os.Getuid() != 0 || stay {
		return false, nil
	}
	cache := rootCache
	if given := os.Getenv("XDG_CACHE_HOME"); filepath.IsAbs(given) {
		cache = filepath.Join(given, "blockrig-worker")
	}
	uid, gid := uint32(nobody), uint32(nobody)
	if u, err := osuser.Lookup("nobody"); err == nil {
		if n, err := strconv.ParseUint(u.Uid, 10, 32); err == nil && n != 0 {
			uid = uint32(n)
		}
		if n, err := strconv.ParseUint(u.Gid, 10, 32); err == nil && n != 0 {
			gid = uint32(n)
		}
	}
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return false, err
	}
	if err := os.Chown(cache, int(uid), int(gid)); err != nil {
		return false, err
	}
	if err := reachable(filepath.Dir(cache)); err != nil {
		a.say("QEMU will have root's rights: the user nobody can't come to %s (%v)", cache, err)
		return false, nil
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdout, cmd.Stderr = a.stdout, a.stderr
	cmd.Dir = cache
	cmd.Env = append(without(os.Environ(), "HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "TMPDIR"),
		"HOME="+cache, "XDG_CACHE_HOME="+cache, "XDG_STATE_HOME="+cache, "TMPDIR="+cache)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid, Groups: kvmGroup()}}
	err = child.Run(ctx, cmd, child.Options{Signal: syscall.SIGTERM, Grace: workerGrace})
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return true, nil // it was told, and has given back what it had
	case errors.As(err, &exit) && exit.ExitCode() > 0:
		return true, status(exit.ExitCode()) // it has said why
	}
	return true, err
}

// without is an environment without some variables.
func without(env []string, names ...string) (out []string) {
	for _, e := range env {
		name, _, _ := strings.Cut(e, "=")
		keep := true
		for _, n := range names {
			keep = keep && n != name
		}
		if keep {
			out = append(out, e)
		}
	}
	return out
}

// kvmGroup is the group that may use KVM, if there is one.
func kvmGroup() []uint32 {
	info, err := os.Stat("/dev/kvm")
	if err != nil {
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
