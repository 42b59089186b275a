package trial

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/gofrs/flock"

	"github.com/blockrig/blockrig/harness/qemu"
	"github.com/blockrig/blockrig/initramfs/protocol"
	"github.com/blockrig/blockrig/scenarios"
)

// A Shelf keeps bases on disk, so that the next run on a kernel starts warm.
// Several processes may use one at once.
//
// A base NAME has two locks beside it. NAME.lock is held shared while the base
// is used, and exclusively by whoever removes it to make room; its time is that
// of the last use. NAME.making.lock is held by the one who makes the base, or
// finds that it is of no use: users of one that is gone are in nobody's way.
type Shelf struct {
	Dir   string
	Limit int64 // bytes of disk; the least recently used go first. 0: no limit
	Log   *slog.Logger
}

const (
	newPrefix    = ".new-"
	lockSuffix   = ".lock"
	makingSuffix = ".making.lock"
	lockPoll     = 20 * time.Millisecond
	// baseRecipe is a part of every key. It changes with what a base holds.
	baseRecipe = "blockrig base 2"
)

// A lease is the right to use a base.
type lease struct {
	*Base
	lock *flock.Flock
}

func (l *lease) release() error {
	if l == nil {
		return nil
	}
	return l.lock.Close()
}

// key names all that a base depends on. boot tells several boots of one
// kernel apart.
func (spec Spec) key(boot int) (string, error) {
	binary := spec.Binary
	if binary == "" {
		binary = qemu.DefaultBinary
	}
	path, err := exec.LookPath(binary)
	if err != nil {
		return "", fmt.Errorf("QEMU is missing: %w", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	sc := spec.Case.Scenario
	text, err := json.Marshal(struct {
		Recipe, Kernel, Image, Initrd, Append, QEMU string
		Modules                                     []protocol.Module
		Accel                                       qemu.Accel
		CPUs                                        int
		Machine                                     scenarios.Machine
		Disks                                       []scenarios.Disk
		Require                                     scenarios.Require
		Stack                                       scenarios.Stack
	}{
		baseRecipe, spec.Kernel.Digest, filepath.Ext(spec.Image), spec.InitrdDigest, commandLine(),
		fmt.Sprintf("%s %d %d", path, info.Size(), info.ModTime().UnixNano()),
		spec.Modules, spec.Accel, spec.CPUs, sc.Machine, sc.Disks, sc.Require, sc.Stack,
	})
	if err != nil {
		return "", fmt.Errorf("name a saved machine: %w", err)
	}
	sum := sha256.Sum256(text)
	return fmt.Sprintf("%s-%d", hex.EncodeToString(sum[:16]), boot), nil
}

// take gives the base for spec, from the shelf or newly made by boot, which
// makes it in the folder it is given. A result instead of a base is boot's.
func (sh *Shelf) take(ctx context.Context, spec Spec, boot int, make func(dir string) (*Base, *Result)) (*lease, *Result, error) {
	name, err := spec.key(boot)
	if err != nil {
		return nil, nil, err
	}
	if err := os.MkdirAll(sh.Dir, 0o700); err != nil {
		return nil, nil, fmt.Errorf("make the folder of saved machines: %w", err)
	}
	dir := filepath.Join(sh.Dir, name)
	for made := false; ; made = true {
		l, err := sh.open(ctx, dir)
		if l != nil && made {
			// Room for it; it is in use, and stays.
			if err := sh.Trim(); err != nil {
				return nil, nil, errors.Join(err, l.release())
			}
		}
		if l != nil || err != nil {
			return l, nil, err
		}
		// Opened again when it is there: another process may have removed it in
		// between, to make room.
		r, err := sh.fill(ctx, dir, make)
		if r != nil || err != nil {
			return nil, r, err
		}
	}
}

// open gives the base in dir, nil when there is none. One that can't be read
// is removed, and the reason logged.
func (sh *Shelf) open(ctx context.Context, dir string) (*lease, error) {
	lock := flock.New(dir + lockSuffix)
	if ok, err := lock.TryRLockContext(ctx, lockPoll); err != nil || !ok {
		return nil, errors.Join(fmt.Errorf("lock a saved machine: %w", err), lock.Close())
	}
	b, err := OpenBase(dir)
	if err == nil {
		now := time.Now()
		_ = os.Chtimes(dir+lockSuffix, now, now) // only the order of removal depends on it
		return &lease{b, lock}, nil
	}
	if cerr := lock.Close(); cerr != nil {
		return nil, cerr
	}
	if errors.Is(err, fs.ErrNotExist) {
		if _, serr := os.Lstat(dir); errors.Is(serr, fs.ErrNotExist) {
			return nil, nil
		}
	}
	return nil, sh.discard(ctx, dir, "", err)
}

// lockMaking keeps others from making the base in dir.
func lockMaking(ctx context.Context, dir string) (*flock.Flock, error) {
	lock := flock.New(dir + makingSuffix)
	if ok, err := lock.TryLockContext(ctx, lockPoll); err != nil || !ok {
		return nil, errors.Join(fmt.Errorf("lock a saved machine: %w", err), lock.Close())
	}
	return lock, nil
}

// fill makes the base in dir unless it is there by now.
func (sh *Shelf) fill(ctx context.Context, dir string, make func(dir string) (*Base, *Result)) (_ *Result, err error) {
	lock, err := lockMaking(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if _, err := OpenBase(dir); err == nil {
		return nil, nil
	}
	// What one that died while it made this base left behind.
	if err := removeAll(sh.Dir, newPrefix+filepath.Base(dir)+"-"); err != nil {
		return nil, err
	}
	if err := sh.Trim(); err != nil {
		return nil, err
	}
	_, r := make(dir)
	return r, nil
}

// discard removes a base that is of no use, and says why, unless another one
// has been made in its place. bootID tells them apart; it is "" when the base
// does not say. Others who use it find out the next time that they try.
func (sh *Shelf) discard(ctx context.Context, dir, bootID string, why error) (err error) {
	lock, err := lockMaking(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil // somebody was quicker
	}
	if b, err := OpenBase(dir); err == nil && b.BootID != bootID {
		return nil // and has made a new one
	}
	if sh.Log != nil {
		sh.Log.Warn("a saved machine is of no use and is made again", "machine", filepath.Base(dir), "reason", why)
	}
	// At once, so that nobody meets a half of it.
	temp, err := os.MkdirTemp(sh.Dir, newPrefix+filepath.Base(dir)+"-*")
	if err == nil {
		err = os.Rename(dir, filepath.Join(temp, "old"))
		err = errors.Join(err, os.RemoveAll(temp))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove a saved machine: %w", err)
	}
	return nil
}

// Trim removes what dead processes left, and the least recently used bases
// until the rest is within the limit. What is in use stays.
func (sh *Shelf) Trim() error {
	entries, err := os.ReadDir(sh.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at the saved machines: %w", err)
	}
	type base struct {
		dir   string
		used  time.Time
		bytes int64
	}
	var all []base
	var total int64
	var errs []error
	for _, e := range entries {
		path := filepath.Join(sh.Dir, e.Name())
		switch {
		case strings.HasPrefix(e.Name(), newPrefix):
			if owner, ok := ownerOf(e.Name()); ok {
				errs = append(errs, removeIfFree(filepath.Join(sh.Dir, owner)+makingSuffix, path))
			}
		case e.IsDir():
			b := base{dir: path}
			if info, err := os.Stat(path + lockSuffix); err == nil {
				b.used = info.ModTime()
			}
			b.bytes = onDisk(path)
			total += b.bytes
			all = append(all, b)
		}
	}
	slices.SortFunc(all, func(a, b base) int { return cmp.Compare(a.used.UnixNano(), b.used.UnixNano()) })
	for _, b := range all {
		if sh.Limit <= 0 || total <= sh.Limit {
			break
		}
		if err := removeIfFree(b.dir+lockSuffix, b.dir); err != nil {
			errs = append(errs, err)
			continue
		}
		if _, err := os.Lstat(b.dir); errors.Is(err, fs.ErrNotExist) {
			total -= b.bytes
		}
	}
	return errors.Join(errs...)
}

// ownerOf takes the name of a base out of that of its temporary folder:
// .new-KEY-BOOT-RANDOM.
func ownerOf(temp string) (string, bool) {
	name := strings.TrimPrefix(temp, newPrefix)
	i := strings.LastIndexByte(name, '-')
	if i < 0 {
		return "", false
	}
	return name[:i], true
}

// removeIfFree removes path unless somebody holds the lock.
func removeIfFree(lockFile, path string) (err error) {
	lock := flock.New(lockFile)
	ok, err := lock.TryLock()
	if err != nil {
		return errors.Join(fmt.Errorf("lock a saved machine: %w", err), lock.Close())
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if !ok {
		return nil
	}
	if err := os.RemoveAll(path); err != nil {
		return fmt.Errorf("remove a saved machine: %w", err)
	}
	return nil
}

func removeAll(dir, prefix string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("look at the saved machines: %w", err)
	}
	var errs []error
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) {
			errs = append(errs, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(errs...)
}

// onDisk is what a folder takes on the disk, holes not counted, in bytes.
func onDisk(dir string) int64 {
	var sum int64
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // gone meanwhile
		}
		if info, err := d.Info(); err == nil {
			if st, ok := info.Sys().(*syscall.Stat_t); ok {
				sum += st.Blocks * 512
			}
		}
		return nil
	})
	return sum
}
