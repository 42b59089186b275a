package gitbuild

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	osuser "os/user"
	"path/filepath"
	"strconv"
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
func reachable(dir string) bool {
	for {
		info, err := os.Stat(dir)
		if err == nil && info.Mode()&0o001 == 0 || err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false
		}
		up := filepath.Dir(dir)
		if up == dir {
			return true
		}
		dir = up
	}
}
