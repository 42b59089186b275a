package gitbuild

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"strings"
)

// A loss of power can leave any file that was written in the last half minute
// empty, cut short or full of zeros, with its name and times in place. An
// object tree is too large to be synced after every build, so what it looks
// like is checked when the machine was started anew.

// A damagedError is a build that failed over what an earlier one left in the
// object tree.
type damagedError struct {
	dir string
	err error
}

func (e *damagedError) Error() string {
	return fmt.Sprintf("object tree %s is damaged: %v", e.dir, e.err)
}

func (e *damagedError) Unwrap() error { return e.err }

// damaged is what linkers, shells and make say to files of the object tree
// that are cut short. The sources can be why as well.
var damaged = regexp.MustCompile(`file format not recognized|file truncated|file in wrong format|malformed archive|[Ee]xec format error|cannot execute binary file|NUL character seen|(\.cmd|/auto\.conf|\.d):\d+: \*\*\* `)

// fileBoot is in an object tree and says in which run of the machine it was
// written last.
const fileBoot = ".blockrig-boot"

// bootID is another one each time the machine starts (random(4)).
func bootID() (string, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return string(id), err
}

// survey looks for damaged files in an object tree that was last written
// before the machine was started: empty files that are never empty, and zeros
// where something else begins. It gives a *damagedError.
func (o *objects) survey() error {
	now, err := bootID()
	if err != nil {
		return fmt.Errorf("look through the build's folder: %w", err)
	}
	if was, err := o.root.ReadFile(fileBoot); err == nil && string(was) == now {
		return nil
	}
	err = fs.WalkDir(o.root.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode()&0o111 == 0 && !strings.HasSuffix(p, ".o") && !strings.HasSuffix(p, ".a") && !strings.HasSuffix(p, ".cmd") {
			return nil
		}
		f, err := o.root.Open(p)
		if err != nil {
			return err
		}
		defer f.Close()
		head := make([]byte, 4)
		n, err := io.ReadFull(f, head)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return err
		}
		if len(bytes.Trim(head[:n], "\x00")) == 0 {
			return &damagedError{o.dir, fmt.Errorf("%s is empty", p)}
		}
		return nil
	})
	var bad *damagedError
	if err != nil && !errors.As(err, &bad) {
		return fmt.Errorf("look through the build's folder: %w", err)
	}
	return err
}

// written says that the object tree is of this run of the machine.
func (o *objects) written(owner *user) error {
	id, err := bootID()
	if err == nil {
		err = o.write(fileBoot, id, owner)
	}
	if err != nil {
		return fmt.Errorf("finish the build's folder: %w", err)
	}
	return nil
}
