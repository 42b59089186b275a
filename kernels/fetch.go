package kernels

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/blockrig/blockrig/kernels/debian"
)

// resolveDebian gives the kernel that r means, from the cache or fetched.
func (s *Store) resolveDebian(ctx context.Context, r debianRef) (Kernel, error) {
	cached, err := s.List()
	if err != nil {
		return Kernel{}, err
	}
	// What names one kernel alone needs no network when that is there.
	for _, e := range cached {
		if v := e.version(); e.Package != "" && r.suite == "" && (r.version == v.Package || r.version == v.Release) {
			return e.Kernel, nil
		}
	}
	v, err := s.choose(ctx, r, cached)
	if err != nil {
		return Kernel{}, err
	}
	name := v.folder()
	e, err := s.entry(name)
	if errors.Is(err, fs.ErrNotExist) {
		e, err = s.fetch(ctx, v)
	}
	return e.Kernel, err
}

// choose finds the version that r means. When Debian can't be asked, one in
// the cache has to do.
func (s *Store) choose(ctx context.Context, r debianRef, cached []Entry) (Version, error) {
	known, err := s.versions(ctx, false)
	if err == nil {
		if v, pickErr := r.pick(known); pickErr == nil && r.exactly(v) {
			return v, nil // newer lists would say the same
		}
		if known, err = s.versions(ctx, true); err == nil {
			return r.pick(known)
		}
	}
	if ctx.Err() != nil {
		return Version{}, err
	}
	var have []Version
	for _, e := range cached {
		if e.Package != "" {
			have = append(have, e.version())
		}
	}
	v, pickErr := r.pick(have)
	if pickErr != nil {
		return Version{}, err
	}
	s.log.Warn("Debian can't be asked which kernels there are, so one in the cache is taken", "kernel", v.Ref, "error", err)
	return v, nil
}

// folder names the kernel's folder in the cache, by what it is made of.
func (v Version) folder() string {
	sum := sha256.New()
	for _, p := range v.packages {
		fmt.Fprintf(sum, "%s %s\n", p.Name, p.SHA256)
	}
	if v.packages == nil { // one in the cache, see choose
		return v.name
	}
	return fmt.Sprintf("debian-%s-%s-%x", v.Version, strings.ReplaceAll(v.Package, ":", "_"), sum.Sum(nil)[:4])
}

// fetch downloads a kernel's packages and makes an entry of them.
func (s *Store) fetch(ctx context.Context, v Version) (e Entry, err error) {
	name := v.folder()
	unlock, err := s.lock(ctx, name)
	if err != nil {
		return e, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	// Another process may have fetched it while this one waited.
	if e, err = s.entry(name); !errors.Is(err, fs.ErrNotExist) {
		return e, err
	}
	apt, err := s.openApt(ctx)
	if err != nil {
		return e, err
	}
	tmp, err := s.newTemp()
	if err != nil {
		return e, err
	}
	defer func() { err = errors.Join(err, tmp.drop()) }()
	root, err := os.OpenRoot(tmp.path)
	if err != nil {
		return e, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	var debs []string
	// The packages are ten times as large as what is kept of them.
	defer func() {
		for _, deb := range debs {
			err = errors.Join(err, apt.Discard(deb))
		}
	}()
	for _, p := range v.packages {
		deb, err := apt.Download(ctx, p.Name, p.Version, p.Suite)
		if err != nil {
			return e, err
		}
		debs = append(debs, deb)
		if err := s.unpack(ctx, deb, v.Release, root); err != nil {
			return e, err
		}
	}
	e = Entry{
		Name: name, Version: v.Version, Package: v.Package, Suites: v.Suites, Added: time.Now().UTC().Truncate(time.Second),
		Kernel: Kernel{Exact: v.Ref, Release: v.Release, Image: "vmlinuz", Config: "config", Modules: "modules"},
	}
	if err := s.finish(ctx, root, &e); err != nil {
		return e, err
	}
	if err := tmp.keep(filepath.Join(s.dir, name)); err != nil {
		return e, err
	}
	return s.entry(name)
}

// unpack puts what a kernel's package holds where an entry has it. Modules
// are all unpacked; prune drops most of them once their dependencies are
// known.
func (s *Store) unpack(ctx context.Context, deb, release string, root *os.Root) error {
	file, err := os.Open(deb)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	what := "unpacking " + strings.Split(filepath.Base(deb), "_")[0]
	in := &counter{Reader: file, ctx: ctx, tell: func(n int64) { s.progress(what, n, info.Size()) }}
	err = debian.ReadDebFrom(in, func(hdr *tar.Header, r io.Reader) error {
		if hdr.Typeflag != tar.TypeReg {
			return nil
		}
		return debian.Unpack(root, hdr, r, func(name string) string { return placeInEntry(name, release) })
	})
	if err != nil {
		return fmt.Errorf("unpack %s: %w", filepath.Base(deb), err)
	}
	return nil
}

// placeInEntry gives the place of a package's file in an entry, "" for what is
// left out.
func placeInEntry(name, release string) string {
	name = strings.TrimPrefix(name, "usr/")
	switch name {
	case "boot/vmlinuz-" + release, "lib/modules/" + release + "/vmlinuz":
		return "vmlinuz"
	case "boot/config-" + release, "lib/modules/" + release + "/config":
		return "config"
	case "boot/System.map-" + release, "lib/modules/" + release + "/System.map":
		return "System.map"
	}
	rest, ok := strings.CutPrefix(name, "lib/modules/"+release+"/")
	if !ok {
		return ""
	}
	switch rest {
	case "modules.builtin", "modules.builtin.modinfo", "modules.order":
		return "modules/" + rest
	}
	if strings.HasPrefix(rest, "kernel/") && moduleName(path.Base(rest)) != "" {
		return "modules/" + rest
	}
	return ""
}

// keptFolders hold the modules that a machine with disks can need: buses,
// disks, block layer, md and dm, file systems, and what these use.
var keptFolders = []string{
	"arch/x86/crypto", "arch/x86/lib", "block", "crypto", "fs", "lib", "mm",
	"drivers/ata", "drivers/block", "drivers/cdrom", "drivers/crypto/virtio", "drivers/char/hw_random", "drivers/dax",
	"drivers/firmware", "drivers/md", "drivers/message", "drivers/misc", "drivers/mmc", "drivers/mtd", "drivers/nvdimm",
	"drivers/nvme", "drivers/pci", "drivers/scsi", "drivers/target", "drivers/ufs", "drivers/usb/common", "drivers/usb/core",
	"drivers/usb/host", "drivers/usb/storage", "drivers/virtio",
}

// droppedFolders, inside the kept ones, need a network.
var droppedFolders = []string{"fs/afs", "fs/ceph", "fs/nfs", "fs/nfsd", "fs/nfs_common", "fs/lockd", "fs/smb", "fs/coda", "fs/orangefs"}

func kept(p string) bool {
	p, ours := strings.CutPrefix(p, "kernel/")
	if !ours {
		return true // extra/, updates/: somebody put it there on purpose
	}
	in := func(folder string) bool { return strings.HasPrefix(p, folder+"/") }
	return slices.ContainsFunc(keptFolders, in) && !slices.ContainsFunc(droppedFolders, in)
}

// prune describes the modules that are kept, and those that they depend on,
// and removes the rest.
func (s *Store) prune(ctx context.Context, root *os.Root) (moduleIndex, error) {
	ix := moduleIndex{Format: indexFormat, Modules: map[string]moduleInfo{}}
	paths, err := findModules(root)
	if err != nil {
		return ix, err
	}
	byName := map[string]string{}
	var next []string
	for _, p := range paths {
		byName[moduleName(path.Base(p))] = p
		if kept(p) {
			next = append(next, p)
		}
	}
	for len(next) > 0 {
		before, total := len(ix.Modules), len(ix.Modules)+len(next)
		infos, err := describe(ctx, root, next, func(done int) {
			s.progress("reading modules", int64(before+done), int64(total))
		})
		if err != nil {
			return ix, err
		}
		next = nil
		for name, info := range infos {
			ix.Modules[name] = info
		}
		for _, info := range infos {
			for _, name := range slices.Concat(info.Depends, info.Pre, info.Post) {
				p, there := byName[name]
				if _, have := ix.Modules[name]; there && !have && !slices.Contains(next, p) {
					next = append(next, p)
				}
			}
		}
	}
	for name, p := range byName {
		if _, ok := ix.Modules[name]; !ok {
			if err := root.Remove(p); err != nil {
				return ix, err
			}
		}
	}
	if err := removeEmpty(root, "."); err != nil {
		return ix, err
	}
	ix.Builtin, ix.Listed, err = readBuiltin(root)
	return ix, err
}

// removeEmpty removes folders without files.
func removeEmpty(root *os.Root, dir string) error {
	entries, err := fs.ReadDir(root.FS(), dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		sub := path.Join(dir, e.Name())
		if err := removeEmpty(root, sub); err != nil {
			return err
		}
		left, err := fs.ReadDir(root.FS(), sub)
		if err != nil {
			return err
		}
		if len(left) == 0 {
			if err := root.Remove(sub); err != nil {
				return err
			}
		}
	}
	return nil
}

// finish checks what was unpacked into root, prunes the modules, and writes
// the index, the digest and the description.
func (s *Store) finish(ctx context.Context, root *os.Root, e *Entry) error {
	release, err := imageRelease(filepath.Join(root.Name(), e.Image))
	if err != nil {
		return err
	}
	if e.Release == "" {
		e.Release = release
	}
	if release != e.Release {
		return fmt.Errorf("%w: the image says it is %s, not %s", ErrImage, release, e.Release)
	}
	if e.Config != "" {
		if _, err := readOptions(filepath.Join(root.Name(), e.Config)); err != nil {
			return err
		}
	}
	if e.Modules != "" {
		if err := s.finishModules(ctx, root, e); err != nil {
			return err
		}
	}
	// Debian's System.map is a line that says which package has it.
	if info, err := root.Stat("System.map"); err == nil && info.Size() > 4096 {
		e.Map = "System.map"
	} else if err == nil {
		if err := root.Remove("System.map"); err != nil {
			return err
		}
	}
	e.Digest, e.Bytes, err = digestEntry(root)
	if err != nil {
		return err
	}
	return writeJSON(filepath.Join(root.Name(), entryFile), e)
}

func (s *Store) finishModules(ctx context.Context, root *os.Root, e *Entry) error {
	modules, err := root.OpenRoot(e.Modules)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: the package of %s holds none", ErrModules, e.Release)
	}
	if err != nil {
		return err
	}
	defer modules.Close()
	ix, err := s.prune(ctx, modules)
	if err != nil {
		return err
	}
	if err := ix.check(e.Release); err != nil {
		return err
	}
	e.Index = "modules.json"
	return writeJSON(filepath.Join(root.Name(), e.Index), ix)
}

// check refuses an empty folder and modules of another kernel.
func (ix moduleIndex) check(release string) error {
	if len(ix.Modules) == 0 {
		return fmt.Errorf("%w: there are none", ErrModules)
	}
	for name, info := range ix.Modules {
		if info.Release != "" && info.Release != release {
			return fmt.Errorf("%w: the image is %s, the module %s is for %s", ErrModules, release, name, info.Release)
		}
	}
	return nil
}

// digestEntry gives the digest of image, config and modules in an entry's
// folder, and the bytes it takes on disk.
func digestEntry(root *os.Root) (digest string, size int64, err error) {
	sum := sha256.New()
	err = fs.WalkDir(root.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		size += info.Size()
		if p == "vmlinuz" || p == "config" || strings.HasPrefix(p, "modules/") {
			return addDigest(sum, root, p, p)
		}
		return nil
	})
	return hex.EncodeToString(sum.Sum(nil)), size, err
}

// addDigest adds a line with a name and the digest of a file below root.
func addDigest(sum hash.Hash, root *os.Root, name, file string) error {
	f, err := root.Open(file)
	if err != nil {
		return err
	}
	one := sha256.New()
	_, err = io.Copy(one, f)
	fmt.Fprintf(sum, "%s %x\n", name, one.Sum(nil))
	return errors.Join(err, f.Close())
}

// writeJSON replaces a file as a whole.
func writeJSON(file string, v any) (err error) {
	data, err := json.MarshalIndent(v, "", "\t")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(file), tmpPrefix)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(append(data, '\n'))
	if err := errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}

// A counter tells how much was read, and stops with its context.
type counter struct {
	io.Reader
	ctx  context.Context
	n    int64
	tell func(n int64)
}

func (c *counter) Read(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	n, err := c.Reader.Read(p)
	c.n += int64(n)
	c.tell(c.n)
	return n, err
}
