package guest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/blockrig/blockrig/initramfs/protocol"
	"github.com/blockrig/blockrig/scenarios"
)

// prove checks that what the step reads lies on the stack that was asked
// for, down to both disks. A file in the initramfs can be read as well, and
// "4096 bytes" from there is a pass on every kernel.
func (g *guest) prove(r *protocol.Ready) error {
	s := g.setup.Stack
	var st unix.Stat_t
	if err := unix.Stat(g.file, &st); err != nil {
		return fmt.Errorf("stat %s: %w", g.file, err)
	}
	on := st.Dev
	if st.Mode&unix.S_IFMT == unix.S_IFBLK {
		on = st.Rdev
	}
	if on != g.top.devno {
		return fmt.Errorf("%s is on device %d:%d, and the stack's is %s", g.file, unix.Major(on), unix.Minor(on), g.top)
	}
	r.Proof = append(r.Proof, fmt.Sprintf("%s is on %s (%s)", g.file, g.top, g.top.name))

	if s.Ext4 != nil {
		if err := proveMount(mountPoint, g.top); err != nil {
			return err
		}
		var fs unix.Statfs_t
		if err := unix.Statfs(mountPoint, &fs); err != nil {
			return fmt.Errorf("statfs %s: %w", mountPoint, err)
		}
		if fs.Type != unix.EXT4_SUPER_MAGIC || fs.Bsize != int64(s.Ext4.BlockSize) {
			return fmt.Errorf("%s has a file system of type %#x with blocks of %d bytes, not ext4 with %d", mountPoint, fs.Type, fs.Bsize, s.Ext4.BlockSize)
		}
		r.Proof = append(r.Proof, fmt.Sprintf("%s is ext4 with blocks of %d bytes", mountPoint, fs.Bsize))
	}
	if s.File != nil && st.Size != int64(s.File.Size) {
		return fmt.Errorf("%s has %d bytes, not %d", g.file, st.Size, s.File.Size)
	}

	ids, err := g.disksUnder(g.top.devno)
	if err != nil {
		return err
	}
	want := []string{g.disks[0].ID}
	if s.MD != nil || s.LVM != nil && s.LVM.Type != "linear" {
		want = nil
		for _, d := range g.disks {
			want = append(want, d.ID)
		}
	}
	slices.Sort(want)
	if s.LVM != nil && s.LVM.Type == "linear" && len(ids) == 1 {
		want = ids // on either disk, as LVM likes
	}
	if !slices.Equal(ids, want) {
		return fmt.Errorf("%s is on the disks %s, not on %s", g.top.name, strings.Join(ids, ","), strings.Join(want, ","))
	}
	r.Proof = append(r.Proof, fmt.Sprintf("%s is on the disks %s", g.top.name, strings.Join(ids, ", ")))
	return g.proveVolume(r)
}

// proveMount looks for the mount in the kernel's own list, the last one on
// that directory: an earlier one may be covered.
func proveMount(dir string, dev blockDevice) error {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	found := ""
	for line := range strings.Lines(string(b)) {
		// proc_pid_mountinfo(5): id parent major:minor root mount-point …
		if f := strings.Fields(line); len(f) > 4 && f[4] == dir {
			found = f[2]
		}
	}
	if found != dev.String() {
		return fmt.Errorf("mounted on %s is %q, not %s", dir, found, dev)
	}
	return nil
}

// proveVolume checks the table that the kernel runs against the one asked for.
func (g *guest) proveVolume(r *protocol.Ready) error {
	s := g.setup.Stack
	switch {
	case s.MD != nil:
		level, err := os.ReadFile(filepath.Join("/sys/block", g.top.name, "md/level"))
		if err != nil {
			return err
		}
		r.Table = "md " + strings.TrimSpace(string(level))
		if strings.TrimSpace(string(level)) != s.MD.Level {
			return fmt.Errorf("the array has level %s, not %s", strings.TrimSpace(string(level)), s.MD.Level)
		}
		return nil
	case s.LVM == nil:
		return nil
	}
	table, err := dmTargets(g.top.devno, true)
	if err != nil {
		return err
	}
	if len(table) != 1 {
		return fmt.Errorf("the table of the volume has %d targets, not one", len(table))
	}
	t := table[0]
	r.Table = t.String()
	if err := checkTable(t, *s.LVM); err != nil {
		return err
	}
	r.Proof = append(r.Proof, "dm table: "+t.String())
	return nil
}

// checkTable compares a volume's dm table with what was asked for. The
// features of a mirror end its line (dm-raid1.c, parse_features).
func checkTable(t dmTarget, v scenarios.LVM) error {
	want := map[string]string{"mirror": "mirror", "raid1": "raid", "linear": "linear"}[v.Type]
	if t.kind != want {
		return fmt.Errorf("the table has a %s target, not %s: %s", t.kind, want, t)
	}
	f := strings.Fields(t.params)
	switch v.Type {
	case "mirror":
		if len(f) == 0 || f[0] != v.Log {
			return fmt.Errorf("the mirror has no %s log: %s", v.Log, t)
		}
		if v.Log == "disk" && !slices.Contains(f, "handle_errors") {
			return fmt.Errorf("the mirror is without handle_errors: %s", t)
		}
	case "raid1":
		if len(f) == 0 || f[0] != "raid1" {
			return fmt.Errorf("the raid target is no raid1: %s", t)
		}
	}
	return nil
}

// disksUnder gives the sorted IDs of our disks that a device is built on. A
// disk that is none of ours is an error. What lies below is in sysfs.
func (g *guest) disksUnder(devno uint64) ([]string, error) {
	for _, d := range g.disks {
		if d.devno == devno {
			return []string{d.ID}, nil
		}
	}
	dir := fmt.Sprintf("/sys/dev/block/%d:%d", unix.Major(devno), unix.Minor(devno))
	slaves, err := os.ReadDir(filepath.Join(dir, "slaves"))
	if err != nil {
		return nil, err
	}
	if len(slaves) == 0 {
		return nil, fmt.Errorf("device %d:%d is no disk of this machine, and is built on none", unix.Major(devno), unix.Minor(devno))
	}
	var ids []string
	for _, s := range slaves {
		n, err := devnoOf(filepath.Join(dir, "slaves", s.Name(), "dev"))
		if err != nil {
			return nil, err
		}
		below, err := g.disksUnder(n)
		if err != nil {
			return nil, err
		}
		ids = append(ids, below...)
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	if len(ids) == 0 {
		return nil, errors.New("no disk below")
	}
	return ids, nil
}
