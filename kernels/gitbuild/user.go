package gitbuild

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	osuser "os/user"
	"path/filepath"
	"strconv"
	"strings"

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

// view is what an enclosed make of a job sees: the system, the folders that
// tools come from, with what belongs to them, and the job's.
func (b *Builder) view(j *job, src, obj string) child.View {
	v := child.View{{Path: src}, {Path: obj, Writable: true}, {Path: j.home(), Writable: true}, {Path: j.ccache(), Writable: true}}
	for _, dir := range b.sees {
		v = append(v, child.Folder{Path: dir})
	}
	dirs := filepath.SplitList(b.path())
	compiler := filepath.Dir(j.compiler.path)
	if real, err := filepath.EvalSymlinks(j.compiler.path); err == nil {
		dirs = append(dirs, filepath.Dir(real))
	}
	for _, dir := range append(dirs, compiler) {
		// Beside a bin folder are the libraries of what is in it.
		if up := filepath.Dir(dir); up != "/" && strings.HasSuffix(dir, "bin") {
			dir = up
		}
		if dir != "/" && b.reachable(dir) {
			v = append(v, child.Folder{Path: dir})
		}
	}
	return v
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
