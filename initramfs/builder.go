package initramfs

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/blockrig/blockrig/harness/cachedir"
	"github.com/blockrig/blockrig/initramfs/guest/program"
	"github.com/blockrig/blockrig/kernels"
)

// recipe is part of every key in the cache. It changes with the way members
// are made, so that an older blockrig's are not taken for this one's.
const recipe = "blockrig initramfs 4"

// What each folder of the cache keeps at most, counted by last use.
const (
	keepImages   = 32
	keepModules  = 64
	keepTools    = 16
	keepAllTools = 2
	keepShells   = 2
)

// A Builder makes initramfs images and keeps them in a cache. The zero value
// works, and must not be copied; several Builders and processes may share a
// cache.
type Builder struct {
	// Cache is its folder; "" is $XDG_CACHE_HOME/blockrig/initramfs.
	Cache string
	// Log is told of what takes long; nil is silent.
	Log *slog.Logger

	sources  []string // of apt, instead of the machine's
	mu       sync.Mutex
	dirs     map[string]*cachedir.Dir
	digests  sync.Map  // fileID of an executable -> its digest
	known    sync.Map  // key -> memory
	auto     sync.Once // sets autoFrom
	autoFrom string    // what FromAuto means on this host
}

// A Request says what an initramfs holds.
type Request struct {
	Exe       string           // static executable that becomes /init; "": the guest program in this one, or this one itself
	Tools     []string         // of Tools(); only what the scenario needs
	ToolsFrom string           // FromDebian ("" too), FromHost or FromAuto
	Shell     bool             // add u-root's shell and core commands
	Programs  []Program        // of the scenario's own
	Kernel    kernels.Kernel   // whose modules they are; its Digest and Release count
	Modules   []kernels.Module // in the order to load them
}

// A Program is a static executable that a scenario brings along. In the guest
// it is ProgramsDir/Name.
type Program struct {
	Name string
	Data []byte
}

// ProgramsDir is where a guest has the programs of its scenario.
const ProgramsDir = "/programs"

// An Initramfs is an image in the cache. It stays there for half an hour after
// Build at least.
type Initramfs struct {
	Path    string   // newc cpio, not compressed
	Digest  string   // hex SHA-256 of the file
	Bytes   int64    // of the file
	Modules []string // absolute paths in the guest, one for each of Request.Modules
	Tools   []string // where the tools come from: "lvm2 2.03.31-2", or files of the host
}

// Build returns the image for a request, from the cache when it was made
// before. It fails with ErrDynamic (wrapped) when Exe is not static.
func (b *Builder) Build(ctx context.Context, r Request) (Initramfs, error) {
	const tries = 5
	for try := 1; ; try++ {
		img, err := b.build(ctx, r)
		if err == nil {
			return img, nil
		}
		if try == tries || !errors.Is(err, errReplaced) {
			return Initramfs{}, fmt.Errorf("build initramfs: %w", err)
		}
	}
}

// errReplaced says that what an image is made of was made again meanwhile,
// since the host's tools changed or look different to another process.
var errReplaced = errors.New("a part of it was replaced meanwhile")

// Find gives the image of that digest, which is not made: it has to be in the
// cache, and stays there for an hour at least.
func (b *Builder) Find(ctx context.Context, digest string) (string, error) {
	images, err := b.dir("images", keepImages)
	if err != nil {
		return "", err
	}
	keys, err := images.Keys()
	if err != nil {
		return "", fmt.Errorf("find an initramfs: %w", err)
	}
	for _, key := range keys {
		e, err := images.Open(ctx, key, recordFile)
		if err != nil {
			continue // gone meanwhile, or damaged
		}
		var m member
		if err = readRecord(e, &m); err == nil && m.Digest == digest {
			if err = e.Verify(ctx); err == nil {
				return filepath.Join(e.Path(), archiveFile), e.Close()
			}
		}
		if err := e.Close(); err != nil {
			return "", err
		}
	}
	return "", fmt.Errorf("find an initramfs: none in the cache has the digest %.12s", digest)
}

func (b *Builder) build(ctx context.Context, r Request) (Initramfs, error) {
	if err := ctx.Err(); err != nil {
		return Initramfs{}, err
	}
	modules, err := modulePaths(r.Kernel, r.Modules)
	if err != nil {
		return Initramfs{}, err
	}
	exe, readInit, err := b.initOf(ctx, r.Exe)
	if err != nil {
		return Initramfs{}, err
	}
	members, err := b.cachedMembers(ctx, r)
	if err != nil {
		return Initramfs{}, err
	}
	digests := []string{recipe, exe, modulesKey(r)}
	for _, p := range r.Programs {
		if err := checkStatic(p.Data); err != nil {
			return Initramfs{}, fmt.Errorf("program %s %w", p.Name, err)
		}
		digests = append(digests, p.Name, hexSum(p.Data))
	}
	var tools []string
	for _, m := range members {
		digests = append(digests, m.Digest)
		tools = append(tools, m.Sources...)
	}
	images, err := b.dir("images", keepImages)
	if err != nil {
		return Initramfs{}, err
	}
	m, err := b.ensure(ctx, images, keyOf(digests...), func(ctx context.Context, w archiveWriter) error {
		if len(r.Modules) > 0 {
			mod, err := b.modules(ctx, r)
			if err != nil {
				return err
			}
			members = append(members, mod)
		}
		if err := writeInit(w, r, readInit); err != nil {
			return err
		}
		for _, m := range members {
			if err := m.appendTo(w); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return Initramfs{}, err
	}
	return Initramfs{Path: m.path, Digest: m.Digest, Bytes: m.Bytes, Modules: modules, Tools: tools}, nil
}

// cachedMembers are the members that must be made before the image's key is
// known, since only their content says what they are.
func (b *Builder) cachedMembers(ctx context.Context, r Request) ([]member, error) {
	var members []member
	if len(r.Tools) > 0 {
		m, err := b.tools(ctx, r)
		if err != nil {
			return nil, err
		}
		members = append(members, m)
	}
	if r.Shell {
		m, err := b.shell(ctx)
		if err != nil {
			return nil, err
		}
		members = append(members, m)
	}
	return members, nil
}

func (b *Builder) log() *slog.Logger {
	if b.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return b.Log
}

// initOf gives what becomes /init: its digest, and how to read it.
func (b *Builder) initOf(ctx context.Context, path string) (digest string, read func() ([]byte, error), err error) {
	if path == "" {
		if exe := program.Executable(); exe != nil {
			return hexSum(exe), func() ([]byte, error) { return exe, nil }, nil
		}
		if path, err = os.Executable(); err != nil {
			return "", nil, fmt.Errorf("find blockrig's own executable, which is the guest's /init: %w", err)
		}
	}
	digest, err = b.executable(ctx, path)
	return digest, func() ([]byte, error) {
		data, _, err := readExecutable(path)
		if err == nil && hexSum(data) != digest {
			err = fmt.Errorf("executable %s changed while it was read: try again", path)
		}
		return data, err
	}, err
}

// executable returns the digest of a static executable. It is remembered, so
// that a warm build need not read the file.
func (b *Builder) executable(ctx context.Context, path string) (digest string, err error) {
	id, err := statID(path)
	if err != nil {
		return "", fmt.Errorf("stat executable: %w", err)
	}
	if !id.settled() {
		data, _, err := readExecutable(path)
		return hexSum(data), err
	}
	if digest, ok := b.digests.Load(id); ok {
		return digest.(string), nil
	}
	d, err := b.dir("executables", keepImages)
	if err != nil {
		return "", err
	}
	e, err := d.Get(ctx, keyOf(recipe, fmt.Sprint(id)), func(_ context.Context, dir string) error {
		data, read, err := readExecutable(path)
		if err == nil && read != id {
			err = fmt.Errorf("executable %s changed while it was read: try again", path)
		}
		if err != nil {
			return err
		}
		return writeRecord(dir, hexSum(data))
	})
	if err != nil {
		return "", err
	}
	err = errors.Join(readRecord(e, &digest), e.Close())
	if err == nil {
		b.digests.Store(id, digest)
	}
	return digest, err
}

// lvmCommands are the names under which a shell's user expects LVM.
var lvmCommands = []string{
	"lvchange", "lvconvert", "lvcreate", "lvdisplay", "lvextend", "lvreduce", "lvremove", "lvrename", "lvs", "lvscan",
	"pvcreate", "pvdisplay", "pvremove", "pvs", "pvscan", "vgchange", "vgcreate", "vgdisplay", "vgmknodes", "vgremove", "vgs", "vgscan",
}

// writeInit writes the first member: the skeleton and /init.
func writeInit(w io.Writer, r Request, read func() ([]byte, error)) error {
	t, err := skeleton()
	if err != nil {
		return err
	}
	data, err := read()
	if err != nil {
		return err
	}
	if err := t.file("init", 0o755, strip(data)); err != nil {
		return err
	}
	for _, p := range r.Programs {
		if err := t.file(strings.TrimPrefix(ProgramsDir, "/")+"/"+p.Name, 0o755, p.Data); err != nil {
			return err
		}
	}
	if r.Shell {
		links := map[string][]string{"lvm": lvmCommands, "mke2fs": {"mkfs.ext4"}}
		for tool, names := range links {
			if !slices.Contains(r.Tools, tool) {
				continue
			}
			for _, name := range names {
				if err := t.link("usr/sbin/"+name, tool); err != nil {
					return err
				}
			}
		}
	}
	return t.write(w)
}

// appendTo copies a member. The kernel takes archives one behind the other when
// each starts at a multiple of four bytes; newc archives end at one. Nothing
// holds the member in the cache, so that another one may have taken its place.
func (m member) appendTo(w io.Writer) error {
	f, err := os.Open(m.path)
	if errors.Is(err, fs.ErrNotExist) {
		return errors.Join(errReplaced, err)
	}
	if err != nil {
		return fmt.Errorf("read cached member: %w", err)
	}
	defer f.Close()
	sum := &summer{w: w, sum: sha256.New()}
	if _, err := io.Copy(sum, f); err != nil {
		return fmt.Errorf("read cached member: %w", err)
	}
	if sum.hex() != m.Digest {
		return fmt.Errorf("%s: %w", m.path, errReplaced)
	}
	return nil
}

func modulesKey(r Request) string {
	parts := []string{recipe, "modules", r.Kernel.Digest, r.Kernel.Release}
	for _, m := range r.Modules {
		parts = append(parts, m.Path)
	}
	return keyOf(parts...)
}

func (b *Builder) modules(ctx context.Context, r Request) (member, error) {
	d, err := b.dir("modules", keepModules)
	if err != nil {
		return member{}, err
	}
	return b.ensure(ctx, d, modulesKey(r), func(ctx context.Context, w archiveWriter) (err error) {
		tmp, err := os.MkdirTemp(w.dir, "modules-")
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
		var t tree
		defer func() { err = errors.Join(err, t.close()) }()
		if err := collectModules(ctx, &t, r.Kernel, r.Modules, tmp); err != nil {
			return err
		}
		return t.write(w)
	})
}
