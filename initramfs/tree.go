package initramfs

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/u-root/u-root/pkg/cpio"
)

// mergedDirs are the folders of / that are links into /usr in the guest, as
// in every Debian since bookworm. Packages of either layout fit in: a path
// below one of these is moved below usr. Every member of the initramfs must
// agree on this, since the kernel replaces a link by a folder of that name
// when a later member brings one.
var mergedDirs = []string{"bin", "lib", "lib64", "sbin"}

// canonical returns where a file that a package or a host calls name lies in
// the guest: relative, slash separated, below usr where the layouts differ.
func canonical(name string) (string, error) {
	p := cpio.Normalize(name)
	if p == "." || !filepath.IsLocal(p) || strings.ContainsRune(p, 0) {
		return "", fmt.Errorf("path %q leaves the root", name)
	}
	first, _, _ := strings.Cut(p, "/")
	if slices.Contains(mergedDirs, first) {
		p = "usr/" + p
	}
	return p, nil
}

// A tree is the content of one member of the initramfs. The zero value is
// empty and ready.
type tree struct {
	records map[string]cpio.Record
	open    []*os.File // that records read
}

// close closes the files that it was made of.
func (t *tree) close() error {
	var errs []error
	for _, f := range t.open {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

func (t *tree) add(r cpio.Record) error {
	name, err := canonical(r.Name)
	if err != nil {
		return err
	}
	r.Name = name
	if old, ok := t.records[name]; ok && !cpio.Equal(old, cpio.MakeReproducible(r)) {
		return fmt.Errorf("two different files for /%s in the initramfs", name)
	}
	t.put(r)
	return nil
}

func (t *tree) put(r cpio.Record) {
	if t.records == nil {
		t.records = make(map[string]cpio.Record)
	}
	// Not from the host: neither its owners nor its clock.
	t.records[r.Name] = cpio.MakeReproducible(r)
}

func (t *tree) file(name string, perm uint64, data []byte) error {
	return t.add(cpio.StaticRecord(data, cpio.Info{Name: name, Mode: cpio.S_IFREG | perm}))
}

// fileFrom is file with what a file holds, which is read when the tree is
// written; close comes after that.
func (t *tree) fileFrom(name string, perm uint64, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	t.open = append(t.open, f)
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return t.add(cpio.Record{
		ReaderAt: io.NewSectionReader(f, 0, info.Size()), // a writer would close the file
		Info:     cpio.Info{Name: name, Mode: cpio.S_IFREG | perm, FileSize: uint64(info.Size())},
	})
}

func (t *tree) link(name, target string) error {
	return t.add(cpio.Symlink(name, target))
}

// merge adds all of another tree.
func (t *tree) merge(o *tree) error {
	for _, name := range slices.Sorted(maps.Keys(o.records)) {
		if err := t.add(o.records[name]); err != nil {
			return err
		}
	}
	return nil
}

// write writes the tree as one cpio archive: parents before children, sorted
// by name, the same bytes for the same tree.
func (t *tree) write(w io.Writer) error {
	all := maps.Clone(t.records)
	for name := range t.records {
		// The kernel drops a file whose folder isn't there.
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			if r, ok := all[dir]; !ok {
				all[dir] = cpio.MakeReproducible(cpio.Directory(dir, 0o755))
			} else if r.Mode&cpio.S_IFMT != cpio.S_IFDIR {
				return fmt.Errorf("/%s is no folder in the initramfs, but /%s lies in it", dir, name)
			}
		}
	}
	recs := make([]cpio.Record, 0, len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		recs = append(recs, all[name])
	}
	cpio.MakeAllReproducible(recs)
	rw := cpio.Newc.Writer(w)
	if err := cpio.WriteRecords(rw, recs); err != nil {
		return fmt.Errorf("write cpio: %w", err)
	}
	if err := cpio.WriteTrailer(rw); err != nil {
		return fmt.Errorf("write cpio: %w", err)
	}
	return nil
}

// skeleton is what every guest has besides /init: the merged layout, the
// folders that the kernel's file systems are mounted on and that the tools
// expect, and the device nodes needed before devtmpfs is mounted.
func skeleton() (*tree, error) {
	var t tree
	var errs []error
	for _, d := range mergedDirs {
		t.put(cpio.Directory("usr/"+d, 0o755))
		// Put, not added: these are the links that add resolves.
		t.put(cpio.Symlink(d, "usr/"+d))
	}
	for _, d := range []string{
		"dev", "etc", "mnt", "proc", "root", "run", "sys", "var",
	} {
		errs = append(errs, t.add(cpio.Directory(d, 0o755)))
	}
	errs = append(
		errs,
		t.add(cpio.Directory("tmp", 0o1777)),
		t.link("var/run", "../run"),
		t.link("etc/mtab", "../proc/self/mounts"),
		t.file("etc/passwd", 0o644, []byte("root:x:0:0:root:/root:/bin/sh\n")),
		t.file("etc/group", 0o644, []byte("root:x:0:\ndisk:x:6:\n")),
		t.add(cpio.CharDev("dev/console", 0o600, 5, 1)),
		t.add(cpio.CharDev("dev/null", 0o666, 1, 3)),
	)
	return &t, errors.Join(errs...)
}
