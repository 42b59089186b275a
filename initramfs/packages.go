package initramfs

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/blockrig/blockrig/kernels"
	"github.com/blockrig/blockrig/kernels/debian"
)

// maxPackageFile bounds one file that is kept of a package, bytes.
const maxPackageFile = 64 << 20

// maxPackages bounds all that is kept of all packages, bytes: the real ones
// have a tenth of that.
const maxPackages = 512 << 20

// libDir is where Debian's linker looks first.
const libDir = "usr/lib/x86_64-linux-gnu"

// An archive is where packages come from: a debian.Apt.
type archive interface {
	Depends(ctx context.Context, suite string, names ...string) ([]debian.Package, error)
	Download(ctx context.Context, dir string, packages ...debian.Package) ([]string, error)
}

// A packageFS takes tools from Debian packages, which are read and not
// installed. It fetches a package only when a file of it may be needed.
type packageFS struct {
	archive archive
	dir     string                  // temporary: what was read is there and not in memory
	closure []debian.Package        // what the tools depend on, and they themselves
	entries map[string]packageEntry // by canonical path, of the packages that were read
	loaded  map[string]bool         // by name of package
	spooled int64                   // bytes in dir
}

type packageEntry struct {
	pkg    debian.Package
	file   string // in packageFS.dir
	exec   bool
	target string // canonical path that a link leads to; "" for a file
}

// openDebian resolves the tools' packages in Debian's archive. What apt keeps
// is in the folder state.
func (b *Builder) openDebian(ctx context.Context, state string, table toolTable) (*packageFS, error) {
	cfg, err := b.debian(table)
	if err != nil {
		return nil, fmt.Errorf("fetch guest tools: %w", err)
	}
	cfg.CacheDir = state
	apt, err := debian.Open(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("fetch guest tools: %w", err)
	}
	return newPackageFS(ctx, apt, table, state)
}

// debian says where Debian's packages are had.
func (b *Builder) debian(table toolTable) (debian.Config, error) {
	cfg, _, err := kernels.Archive()
	cfg.Suites, cfg.Sources, cfg.Log = []string{table.Suite}, b.sources, b.log()
	return cfg, err
}

func newPackageFS(ctx context.Context, a archive, table toolTable, dir string) (*packageFS, error) {
	names := []string{"libc6"} // the interpreter, which no dependency of a file names
	for _, tool := range table.names() {
		names = append(names, table.Tools[tool].Package)
	}
	closure, err := a.Depends(ctx, table.Suite, names...)
	if err != nil {
		return nil, fmt.Errorf("fetch guest tools: %w", err)
	}
	p := &packageFS{
		archive: a,
		dir:     dir,
		closure: closure,
		entries: make(map[string]packageEntry),
		loaded:  make(map[string]bool),
	}
	return p, p.load(ctx, names...)
}

func (p *packageFS) find(name string) (debian.Package, bool) {
	i := slices.IndexFunc(p.closure, func(d debian.Package) bool { return d.Name == name })
	if i < 0 {
		return debian.Package{}, false
	}
	return p.closure[i], true
}

// load fetches packages and reads the part of them that a tool may need.
func (p *packageFS) load(ctx context.Context, names ...string) error {
	var packages []debian.Package
	for _, name := range names {
		if p.loaded[name] {
			continue
		}
		pkg, ok := p.find(name)
		if !ok {
			return fmt.Errorf("fetch guest tools: the package %s is not among those found", name)
		}
		packages = append(packages, pkg)
		p.loaded[name] = true
	}
	if len(packages) == 0 {
		return nil
	}
	debs, err := p.archive.Download(ctx, p.dir, packages...)
	if err != nil {
		return fmt.Errorf("fetch guest tools: %w", err)
	}
	for i, deb := range debs {
		if err := p.unpack(ctx, packages[i], deb); err != nil {
			return fmt.Errorf("guest tools: %w", err)
		}
	}
	return nil
}

// unpack reads one of them.
func (p *packageFS) unpack(ctx context.Context, pkg debian.Package, deb string) error {
	return debian.ReadDeb(deb, func(hdr *tar.Header, r io.Reader) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		at, err := canonical(hdr.Name)
		if err != nil {
			return err
		}
		if !wantedOfPackage(at) {
			return nil
		}
		e := packageEntry{pkg: pkg}
		switch hdr.Typeflag {
		case tar.TypeReg:
			file, err := p.spool(hdr.Name, r)
			if err != nil {
				return err
			}
			e.file = file
			e.exec = hdr.Mode&0o111 != 0
		case tar.TypeSymlink:
			// From where the package has the link, which may not be where it
			// lies in the merged layout.
			target := hdr.Linkname
			if !path.IsAbs(target) {
				target = path.Join("/", path.Dir(hdr.Name), target)
			}
			if e.target, err = canonical(path.Clean(target)); err != nil {
				return nil // to the root itself: nothing a tool needs
			}
		case tar.TypeLink:
			target, err := canonical(hdr.Linkname)
			if err != nil {
				return err
			}
			e.target = target
		default:
			return nil
		}
		p.entries[at] = e
		return nil
	})
}

// spool writes a file of a package to the temporary folder.
func (p *packageFS) spool(name string, r io.Reader) (path string, err error) {
	f, err := os.CreateTemp(p.dir, "file-")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	n, err := io.Copy(f, io.LimitReader(r, maxPackageFile+1))
	if err != nil {
		return "", err
	}
	if p.spooled += n; p.spooled > maxPackages {
		return "", fmt.Errorf("the files to choose from have more than %d bytes", maxPackages)
	}
	if n > maxPackageFile {
		return "", fmt.Errorf("%s is larger than %d bytes", name, maxPackageFile)
	}
	return f.Name(), nil
}

// wantedOfPackage tells the files that may be needed from documentation,
// character sets and the like.
func wantedOfPackage(at string) bool {
	switch dir := path.Dir(at); dir {
	case "usr/bin", "usr/sbin", "usr/lib", "usr/lib64", libDir:
		return true
	default:
		return strings.HasPrefix(at, "etc/") || dir == libDir+"/device-mapper" || dir == libDir+"/systemd"
	}
}

// get finds a file, links followed.
func (p *packageFS) get(name string) (found, error) {
	want, err := canonical(name)
	if err != nil {
		return found{}, err
	}
	at := want
	for range 16 {
		e, ok := p.entries[at]
		if !ok {
			return found{}, fmt.Errorf("/%s: %w", at, fs.ErrNotExist)
		}
		if e.target != "" {
			at = e.target
			continue
		}
		data, err := os.ReadFile(e.file)
		if err != nil {
			return found{}, fmt.Errorf("read %s of package %s: %w", at, e.pkg.Name, err)
		}
		return found{name: want, data: data, exec: e.exec, from: e.pkg.Name + " " + e.pkg.Version, owner: e.pkg.Name}, nil
	}
	return found{}, fmt.Errorf("/%s: too many links", want)
}

func (p *packageFS) tool(_ context.Context, name string, spec toolSpec) (found, error) {
	for _, dir := range []string{"usr/sbin", "usr/bin"} {
		f, err := p.get(path.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		return f, err
	}
	pkg, _ := p.find(spec.Package)
	return found{}, fmt.Errorf("it is not in Debian's package %s %s (%s)", spec.Package, pkg.Version, pkg.Suite)
}

func (p *packageFS) read(_ context.Context, name string) (found, error) {
	return p.get(name)
}

func (p *packageFS) library(ctx context.Context, soname string, by found, dirs []string) (found, error) {
	dirs = append(slices.Clone(dirs), libDir, "usr/lib", "usr/lib64")
	look := func() (found, bool) {
		for _, dir := range dirs {
			if f, err := p.get(path.Join(dir, soname)); err == nil {
				return f, true
			}
		}
		return found{}, false
	}
	if f, ok := look(); ok {
		return f, nil
	}
	// Debian's policy has shared libraries in packages named lib…, mostly
	// after the soname, and has the package of every file that needs one
	// depend on it; so it is in the closure.
	if name := oddlyNamed[soname]; name != "" {
		if err := p.load(ctx, name); err != nil {
			return found{}, err
		}
		if f, ok := look(); ok {
			return f, nil
		}
	}
	for _, exact := range []bool{true, false} {
		for _, pkg := range p.closure {
			if p.loaded[pkg.Name] || !strings.HasPrefix(pkg.Name, "lib") || exact != namedAfter(pkg.Name, soname) {
				continue
			}
			if err := p.load(ctx, pkg.Name); err != nil {
				return found{}, err
			}
			if f, ok := look(); ok {
				return f, nil
			}
		}
	}
	return found{}, fmt.Errorf("library %s, which %s needs (%s), is in none of the packages it depends on", soname, path.Base(by.name), by.from)
}

// oddlyNamed are the packages of libraries that are older than that policy, or
// come with others.
var oddlyNamed = map[string]string{"libz.so.1": "zlib1g", "libcrypto.so.3": "libssl3t64"}

// namedAfter tells whether a package has the name that policy wants for the
// library: libaio.so.1 is in libaio1, or libaio1t64,
// which has libaio.so.1t64.
func namedAfter(pkg, soname string) bool {
	plain := strings.NewReplacer(".so.", "", "-", "", "_", "")
	return plain.Replace(strings.TrimSuffix(pkg, "t64")) == plain.Replace(strings.TrimSuffix(strings.ToLower(soname), "t64"))
}

func (p *packageFS) glob(_ context.Context, pattern string, by found) ([]found, error) {
	var all []found
	for _, at := range slices.Sorted(maps.Keys(p.entries)) {
		ok, err := path.Match(path.Join(libDir, pattern), at)
		if err != nil {
			return nil, err
		}
		if !ok || p.entries[at].pkg.Name != by.owner {
			continue
		}
		f, err := p.get(at)
		if err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	return all, nil
}
