package gitbuild

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	osuser "os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/blockrig/blockrig/harness/child"
)

// A user is who make runs as.
type user struct{ uid, gid uint32 }

// unprivileged is nobody. Its number is 65534 wherever it is missing.
func unprivileged() (*user, error) {
	u, err := osuser.Lookup("nobody")
	var unknown osuser.UnknownUserError
	if errors.As(err, &unknown) {
		return &user{65534, 65534}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("find a user to build as: %w", err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("find a user to build as: %w", err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("find a user to build as: %w", err)
	}
	if uid == 0 || gid == 0 {
		return nil, errors.New("find a user to build as: nobody is root")
	}
	return &user{uint32(uid), uint32(gid)}, nil
}

// reachable tells whether everyone can come to a folder, as far as it exists.
// An enclosed build has a root folder of its own.
func (b *Builder) reachable(dir string) bool {
	for !b.enclosed || dir != "/" {
		info, err := os.Stat(dir)
		if err == nil && info.Mode()&0o001 == 0 || err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false
		}
		up := filepath.Dir(dir)
		if up == dir {
			break
		}
		dir = up
	}
	return true
}

// asUser has a command run as the build's user, kept apart from what else that one
// runs: a worker's key is in the worker's environment and memory. If it is another
// user, it sees the system, the folders that tools come from, and these.
func (b *Builder) asUser(cmd *exec.Cmd, o *child.Options, compiler string, folders ...child.Folder) {
	if b.user != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: b.user.uid, Gid: b.user.gid}}
	}
	o.OnThread = child.Apart
	if b.enclosed {
		view := append(child.View(folders), b.tools(compiler)...)
		o.OnThread = func() error {
			if err := view.Enter(); err != nil {
				return err
			}
			return child.Apart()
		}
	}
}

// tools are the folders of the build's PATH and of its compiler, each with what
// belongs to it, as far as the build's user can come there.
func (b *Builder) tools(compiler string) (view child.View) {
	dirs := append(filepath.SplitList(b.path()), b.sees...)
	if compiler != "" {
		dirs = append(dirs, filepath.Dir(compiler))
		if real, err := filepath.EvalSymlinks(compiler); err == nil {
			dirs = append(dirs, filepath.Dir(real))
		}
	}
	for _, dir := range dirs {
		// Beside a bin folder are the libraries of what is in it.
		if up := filepath.Dir(dir); up != "/" && (filepath.Base(dir) == "bin" || filepath.Base(dir) == "sbin") {
			dir = up
		}
		if info, err := os.Stat(dir); err == nil && info.IsDir() && dir != "/" && b.reachable(dir) {
			view = append(view, child.Folder{Path: dir})
		}
	}
	return view
}

// makeFolder makes a folder and those above it. The build's user, if it is
// another one, can come there whatever the umask is, also if an earlier run
// made the folder and a strict umask closed it.
func (b *Builder) makeFolder(dir string) error {
	var made []string
	for up := dir; b.user != nil; up = filepath.Dir(up) {
		if _, err := os.Stat(up); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		made = append(made, up)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the build's folder: %w", err)
	}
	if b.user == nil {
		return nil
	}
	for _, d := range append(made, dir) {
		if err := os.Chmod(d, 0o755); err != nil {
			return fmt.Errorf("make the build's folder: %w", err)
		}
	}
	return nil
}
