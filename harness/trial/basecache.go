package trial

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"

	"github.com/blockrig/blockrig/harness/cachedir"
	"github.com/blockrig/blockrig/harness/qemu"
	"github.com/blockrig/blockrig/initramfs/protocol"
	"github.com/blockrig/blockrig/scenarios"
)

// A BaseCache keeps bases on disk, so that the next run on a kernel starts
// warm. Several processes may use one at once.
type BaseCache struct {
	Dir   string
	Limit int64 // bytes of disk; the least recently used go first. 0: no limit
	Log   *slog.Logger

	once  sync.Once
	cache *cachedir.Dir
}

// baseRecipe is a part of every key. It changes with what a base holds.
const baseRecipe = "blockrig base 3"

func (c *BaseCache) dir() *cachedir.Dir {
	c.once.Do(func() {
		c.cache = cachedir.New(c.Dir, cachedir.Options{What: "saved machine", Limit: c.Limit, Log: c.Log})
	})
	return c.cache
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

// get gives the base for spec, from the cache or newly made by boot, which
// saves it in the empty folder it is given. The caller closes it. An error of
// boot's is given as it is.
//
// Only what the base says of itself is checked here: RunWarm checks the rest
// while QEMU loads it.
func (c *BaseCache) get(ctx context.Context, spec Spec, boot int, make func(ctx context.Context, dir string) error) (*Base, error) {
	key, err := spec.key(boot)
	if err != nil {
		return nil, err
	}
	entry, err := c.dir().Get(ctx, key, make, baseFile)
	if err != nil {
		return nil, err
	}
	b, err := openBase(entry)
	if err != nil {
		return nil, errors.Join(err, entry.Close())
	}
	return b, nil
}
