package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
)

// Format is the format of a disk's file. It is always given to QEMU: one that
// QEMU guesses from the content is one that the guest can choose.
type Format string

// Formats.
const (
	Raw   Format = "raw"
	Qcow2 Format = "qcow2"
)

// SectorSize of all disks, in bytes.
const SectorSize = 512

// A Disk is a regular file that the guest sees as a disk.
type Disk struct {
	ID     string `json:"id"`     // letters, digits, - and _; unique in the machine
	Serial string `json:"serial"` // what the guest knows it by; at most 20 bytes
	Path   string `json:"path"`
	Format Format `json:"format"`
}

var (
	diskID     = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,15}$`)
	diskSerial = regexp.MustCompile(`^[A-Za-z0-9_-]{1,20}$`) // ATA's limit is 20 bytes
)

// CreateDisk makes an empty, sparse disk of the given size in the folder dir.
// Its file is ID.raw or ID.qcow2, its serial number blockrig-ID. A path that
// exists, whatever it is, is refused with an error that is fs.ErrExist.
func CreateDisk(ctx context.Context, dir, id string, bytes int64, format Format) (Disk, error) {
	d := Disk{ID: id, Serial: "blockrig-" + id, Format: format}
	fail := func(err error) (Disk, error) {
		return Disk{}, fmt.Errorf("create disk %q: %w", id, err)
	}
	if err := ctx.Err(); err != nil {
		return fail(err)
	}
	if !diskID.MatchString(id) || !diskSerial.MatchString(d.Serial) {
		return fail(errors.New("an ID is a letter and at most 10 more letters, digits, - or _"))
	}
	if bytes <= 0 || bytes%SectorSize != 0 {
		return fail(fmt.Errorf("%d bytes: a disk is a positive multiple of %d bytes", bytes, SectorSize))
	}
	if format != Raw && format != Qcow2 {
		return fail(fmt.Errorf("format %q: want raw or qcow2", format))
	}

	root, err := os.OpenRoot(dir)
	if err != nil {
		return fail(err)
	}
	defer root.Close()
	name := id + "." + string(format)
	d.Path = filepath.Join(dir, name)

	err = writeNew(root, name, func(f *os.File) error {
		if format == Qcow2 {
			return writeQcow2(f, bytes, "", "")
		}
		return f.Truncate(bytes)
	})
	if err != nil {
		return fail(err)
	}
	return d, nil
}

// writeNew makes a file that did not exist and fills it; on an error there is
// no file.
func writeNew(root *os.Root, name string, fill func(*os.File) error) (err error) {
	// O_EXCL neither opens what is there nor follows a link.
	f, err := root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, root.Remove(name))
		}
	}()
	return errors.Join(fill(f), f.Close())
}

// checkRegular refuses what QEMU must not open: anything that is no regular
// file, above all block devices.
func checkRegular(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s: not a regular file (%v)", path, info.Mode().Type())
	}
	return nil
}
