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

	"github.com/blockrig/blockrig/kernels/debian"
)

// resolveDebian gives the kernel that r means, from the cache or fetched.
func (s *Store) resolveDebian(ctx context.Context, r debianRef) (Kernel, error) {
	cached, err := s.sound()
	if err != nil {
		return Kernel{}, err
	}
	// What names one kernel alone needs no network when that is there.
	for _, e := range cached {
		if r.names(e) {
			if e, err := s.open(ctx, e.Name); !errors.Is(err, fs.ErrNotExist) {
				return e.Kernel, err
			}
		}
	}
	v, err := s.choose(ctx, r, cached)
	if err != nil {
		return Kernel{}, err
	}
	e, err := s.fetch(ctx, v)
	if errors.Is(err, debian.ErrDownload) && v.at == "" && ctx.Err() == nil {
		// Its mirror may no longer have what older lists name.
		if apt, aptErr := s.openApt(ctx, ""); aptErr == nil && apt.Update(ctx) == nil {
			again, chooseErr := s.choose(ctx, r, cached)
			if chooseErr == nil && (again.folder() != v.folder() || again.at != v.at) {
				e, err = s.fetch(ctx, again)
			}
		}
	}
	return e.Kernel, err
}

// choose finds the version that r means. When Debian can't be asked, one in
// the cache has to do.
func (s *Store) choose(ctx context.Context, r debianRef, cached []Entry) (Version, error) {
	known, err := s.versions(ctx, "", false)
	if err == nil {
		if v, pickErr := r.pick(known); pickErr == nil && r.exactly(v) {
			return v, nil // newer lists would say the same
		}
		if known, err = s.versions(ctx, "", true); err == nil {
			v, err := r.pick(known)
			if err != nil {
				return s.chooseOld(ctx, r, err)
			}
			return v, nil
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

// chooseOld finds the version that r means in a suite as it was. missed says
// why none of now has it.
func (s *Store) chooseOld(ctx context.Context, r debianRef, missed error) (Version, error) {
	cfg, _, err := debianConfiguration()
	if err != nil {
		return Version{}, err
	}
	for _, suite := range cfg.Suites {
		if suite.At == "" || r.suite != "" && r.suite != suite.Name {
			continue
		}
		known, err := s.versions(ctx, suite.At, true)
		if ctx.Err() != nil {
			return Version{}, err
		}
		if err != nil {
			missed = fmt.Errorf("%w (and %s as of %s can't be looked into: %w)", missed, suite.Name, suite.At, err)
			continue
		}
		if v, err := r.pick(known); err == nil {
			return v, nil
		}
	}
	return Version{}, missed
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
	return fmt.Sprintf("%s%s-%s-%x", debianPrefix, v.Version, strings.ReplaceAll(v.Package, ":", "_"), sum.Sum(nil)[:4])
}

// fetch gives the kernel from the cache, or downloads its packages.
func (s *Store) fetch(ctx context.Context, v Version) (Entry, error) {
	return s.get(ctx, v.folder(), func(ctx context.Context, root *os.Root) (Entry, error) {
		if v.packages == nil {
			return Entry{}, fmt.Errorf("%w: %s was in the cache, and was damaged", ErrNotFound, v.Ref)
		}
		apt, err := s.openApt(ctx, v.at)
		if err != nil {
			return Entry{}, err
		}
		// The packages are ten times as large as what is kept of them.
		const debs = "debs"
		if err := root.Mkdir(debs, 0o755); err != nil {
			return Entry{}, err
		}
		files, err := apt.Download(ctx, filepath.Join(root.Name(), debs), v.packages...)
		if err != nil {
			return Entry{}, err
		}
		for _, deb := range files {
			if err := s.unpack(ctx, deb, v.Release, root); err != nil {
				return Entry{}, err
			}
		}
		return Entry{
			Version: v.Version, Package: v.Package, Suites: v.Suites,
			Kernel: Kernel{Exact: v.Ref, Release: v.Release, Image: "vmlinuz", Config: "config", Modules: "modules"},
		}, root.RemoveAll(debs)
	})
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
	in := &counter{Reader: file, ctx: ctx, report: func(n int64) { s.progress(what, n, info.Size()) }}
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
	ix.Builtin, ix.Listed, err = readBuiltin(root)
	return ix, err
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
	return writeJSON(root, entryFile, e)
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
	return writeJSON(root, e.Index, ix)
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

func writeJSON(root *os.Root, name string, v any) error {
	data, err := json.MarshalIndent(v, "", "\t")
	if err != nil {
		return err
	}
	return root.WriteFile(name, append(data, '\n'), 0o644)
}

// A counter reports how much was read, and stops with its context.
type counter struct {
	io.Reader
	ctx    context.Context
	n      int64
	report func(n int64)
}

func (c *counter) Read(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	n, err := c.Reader.Read(p)
	c.n += int64(n)
	c.report(c.n)
	return n, err
}
