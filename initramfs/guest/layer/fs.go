package layer

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/blockrig/blockrig/scenarios"
)

var (
	_ = register("fs", func(l scenarios.Layer) kind { return fs{l.FS} })
	_ = register("file", func(l scenarios.Layer) kind { return file{l.File} })
)

// xfsLeast is the size of the smallest xfs that mkfs.xfs makes unasked, bytes.
const xfsLeast = 300 << 20

// fs is a mounted file system.
type fs struct{ *scenarios.FS }

func (f fs) build(h Host, p *Part) error {
	args := map[string][]string{
		// mke2fs zeroes its tables now, not in a kernel thread during a step.
		"ext4":  {"mke2fs", "-q", "-F", "-t", "ext4", "-E", "lazy_itable_init=0,lazy_journal_init=0"},
		"xfs":   {"mkfs.xfs", "-q", "-f"},
		"btrfs": {"mkfs.btrfs", "-q", "-f"},
		"f2fs":  {"mkfs.f2fs", "-q", "-f"},
	}[f.Type]
	if args == nil {
		return fmt.Errorf("this guest can't make a %s", f.Type)
	}
	if len(p.On) == 0 || len(p.On) > 1 && f.Type != "btrfs" {
		return fmt.Errorf("a %s lies on one device, not on %d", f.Type, len(p.On))
	}
	if n := strconv.Itoa(f.BlockSize); f.BlockSize > 0 {
		args = append(args, map[string][]string{
			"ext4": {"-b", n}, "xfs": {"-b", "size=" + n}, "btrfs": {"-s", n}, "f2fs": {"-w", n},
		}[f.Type]...)
	}
	size, err := p.On[0].Bytes()
	if err != nil {
		return err
	}
	if f.Type == "xfs" && size < xfsLeast {
		args = append(args, "--unsupported")
	}
	if f.Profile != "" {
		args = append(args, "-d", f.Profile, "-m", f.Profile)
	}
	args = append(args, f.Mkfs...)
	if _, err := h.Tool(args[0], append(args[1:], p.nodes()...)...); err != nil {
		return err
	}
	return f.mountFirst(h, p)
}

// mountFirst mounts a file system that this boot has not mounted yet.
func (f fs) mountFirst(h Host, p *Part) error {
	p.Mount = filepath.Join("/mnt", p.Name)
	if err := os.MkdirAll(p.Mount, 0o755); err != nil {
		return err
	}
	p.Device = p.On[0].Device
	if f.Type == "btrfs" && len(p.On) > 1 {
		// There is no udev to tell the kernel of the others (btrfs(5)).
		if _, err := h.Tool("btrfs", append([]string{"device", "scan"}, p.nodes()...)...); err != nil {
			return err
		}
	}
	return p.MountIt(h)
}

// assemble mounts it, which recovers it: each of these file systems promises
// that it can be mounted after a power cut.
func (f fs) assemble(h Host, p *Part) error {
	if len(p.On) == 0 {
		return fmt.Errorf("a %s lies on a device", f.Type)
	}
	err := f.mountFirst(h, p)
	// The kernel's own no, not one that waited too long or died.
	if said := (*exec.ExitError)(nil); errors.As(err, &said) && said.ExitCode() > 0 && p.Device.Name != "" {
		return fmt.Errorf("%w: %w", ErrBroken, err)
	}
	if err != nil {
		return err
	}
	return p.proveMount()
}

// MountIt mounts a part that is a file system, with the options of its layer.
func (p *Part) MountIt(h Host) error {
	f := p.Layer.FS
	return h.Self("mount", p.Device.Node(), p.Mount, f.Type, f.Options)
}

// magic numbers of statfs(2).
var magic = map[string]int64{"ext4": unix.EXT4_SUPER_MAGIC, "xfs": unix.XFS_SUPER_MAGIC, "btrfs": unix.BTRFS_SUPER_MAGIC, "f2fs": unix.F2FS_SUPER_MAGIC}

func (f fs) prove(p *Part) ([]string, error) {
	if err := p.proveMount(); err != nil {
		return nil, err
	}
	var st unix.Statfs_t
	if err := unix.Statfs(p.Mount, &st); err != nil {
		return nil, fmt.Errorf("statfs %s: %w", p.Mount, err)
	}
	if int64(st.Type) != magic[f.Type] {
		return nil, fmt.Errorf("%s has a file system of type %#x, not %s", p.Mount, st.Type, f.Type)
	}
	if f.BlockSize > 0 && st.Bsize != int64(f.BlockSize) {
		return nil, fmt.Errorf("%s has blocks of %d bytes, not of %d", p.Mount, st.Bsize, f.BlockSize)
	}
	facts := []string{fmt.Sprintf("%s is %s with blocks of %d bytes on %s", p.Mount, f.Type, st.Bsize, p.On[0].Name)}
	if f.Type != "btrfs" || len(p.On) == 1 && f.Profile == "" {
		return facts, nil
	}
	more, err := f.proveBtrfs(p)
	return append(facts, more...), err
}

// proveMount looks for the mount in the kernel's own list, the last one on
// that directory: an earlier one may be covered.
func (p *Part) proveMount() error {
	source, _, err := mountedOn(p.Mount)
	if err != nil {
		return err
	}
	for _, b := range p.On {
		if source == b.Node() {
			return nil
		}
	}
	return fmt.Errorf("mounted on %s is %q, not %s", p.Mount, source, p.Device.Node())
}

// mountedOn gives the device mounted on a folder, and the device number that
// its files have; "" and 0 for none.
func mountedOn(dir string) (source string, dev uint64, err error) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", 0, err
	}
	for line := range strings.Lines(string(b)) {
		// proc_pid_mountinfo(5): id parent major:minor root mount-point options …
		// - type source super-options
		f := strings.Fields(line)
		if len(f) < 5 || f[4] != dir {
			continue
		}
		_, rest, _ := strings.Cut(line, " - ")
		if g := strings.Fields(rest); len(g) > 1 {
			source = g[1]
		}
		if dev, err = parseDevno(f[2]); err != nil {
			return "", 0, err
		}
	}
	return source, dev, nil
}

// file is a file of known content.
type file struct{ *scenarios.File }

func (f file) build(h Host, p *Part) error {
	if len(p.On) != 1 || p.On[0].Mount == "" {
		return fmt.Errorf("a file lies on one file system")
	}
	p.Path = filepath.Join(p.On[0].Mount, p.Name)
	op := "write"
	if f.Sparse {
		op = "hole"
	}
	return h.Self(op, p.Path, strconv.FormatInt(int64(f.Size), 10))
}

// assemble looks for the file: it was there, and flushed, before the first
// step.
func (f file) assemble(_ Host, p *Part) error {
	if len(p.On) != 1 || p.On[0].Mount == "" {
		return fmt.Errorf("a file lies on one file system")
	}
	p.Path = filepath.Join(p.On[0].Mount, p.Name)
	info, err := os.Stat(p.Path)
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, unix.EUCLEAN), errors.Is(err, unix.EIO):
		return fmt.Errorf("%w: %w", ErrBroken, err)
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%w: %s is no file any more", ErrBroken, p.Path)
	}
	return nil
}

func (f file) prove(p *Part) ([]string, error) {
	var st unix.Stat_t
	if err := unix.Stat(p.Path, &st); err != nil {
		return nil, fmt.Errorf("stat %s: %w", p.Path, err)
	}
	_, dev, err := mountedOn(p.On[0].Mount)
	if err != nil {
		return nil, err
	}
	if p.On[0].Layer.FS.Type == "btrfs" {
		// Each of its subvolumes shows another device than the mount does. That
		// of the root is mounted there, as was proven.
		var root unix.Stat_t
		if err := unix.Stat(p.On[0].Mount, &root); err != nil {
			return nil, fmt.Errorf("stat %s: %w", p.On[0].Mount, err)
		}
		dev = root.Dev
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Size != int64(f.Size) {
		return nil, fmt.Errorf("%s is no file of %d bytes", p.Path, int64(f.Size))
	}
	if st.Dev != dev {
		return nil, fmt.Errorf("%s is on device %d:%d, and the file system's is %d:%d", p.Path,
			unix.Major(st.Dev), unix.Minor(st.Dev), unix.Major(dev), unix.Minor(dev))
	}
	return []string{fmt.Sprintf("%s is on %s (%s)", p.Path, p.On[0].Name, p.On[0].Device.Name)}, nil
}

// act does what is done to a file system.
func (f fs) act(h Host, _ *Stack, p *Part, a scenarios.Act) error {
	switch a.Do {
	case "mount":
		return p.MountIt(h)
	case "umount":
		return h.Self("umount", p.Mount)
	case "remount":
		return h.Self("remount", p.Mount, strings.Join(a.Args, ","))
	case "fstrim":
		return h.Self("trim", p.Mount)
	case "grow":
		switch f.Type {
		case "xfs":
			_, err := h.Tool("xfs_growfs", append(a.Args, p.Mount)...)
			return err
		case "ext4":
			_, err := h.Tool("resize2fs", append([]string{p.Device.Node()}, a.Args...)...)
			return err
		}
	case "scrub":
		if f.Type == "btrfs" {
			_, err := h.Tool("btrfs", "scrub", "start", "-B", p.Mount)
			return err
		}
	}
	return p.cannot(a)
}

// fsck are the tools that look for damage and mend nothing.
var fsck = map[string][]string{
	"ext4": {"e2fsck", "-f", "-n"}, "xfs": {"xfs_repair", "-n"}, "btrfs": {"btrfs", "check", "--readonly"}, "f2fs": {"fsck.f2fs", "--dry-run"},
}

// Fsck unmounts a file system, looks for damage, and mounts it again.
func (s *Stack) Fsck(h Host, name string) error {
	p, err := s.Part(name)
	if err != nil || p.Mount == "" {
		return fmt.Errorf("%w: %s is no file system", ErrCannot, name)
	}
	if source, _, err := mountedOn(p.Mount); err != nil {
		return err
	} else if source != "" {
		if err := h.Self("umount", p.Mount); err != nil {
			return err
		}
	}
	tool := fsck[p.Layer.FS.Type]
	if _, err := h.Tool(tool[0], append(tool[1:], p.Device.Node())...); err != nil {
		return damage(tool[0], err)
	}
	return damage("mount", p.MountIt(h))
}
