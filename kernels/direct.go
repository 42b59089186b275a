package kernels

import (
	"bytes"
	"cmp"
	"context"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/u-root/u-root/pkg/boot/bzimage"
)

// ErrNoDirect says that a kernel can only be started as a bzImage.
var ErrNoDirect = errors.New("no direct boot")

// keepDirect is how many unpacked kernels are kept, of 50 to 70 MB each.
const keepDirect = 12

// Direct gives the kernel inside k's bzImage, unpacked, which QEMU starts by
// its PVH entry (Documentation/arch/x86/boot, xen/interface/elfnote.h): the
// same code, without the second that its own unpacking takes under emulation
// and without the randomised address that the unpacking chooses. It is kept
// in the cache. A kernel without such an entry is ErrNoDirect.
func (s *Store) Direct(ctx context.Context, k Kernel) (string, error) {
	path, err := s.direct(ctx, k)
	if err != nil {
		return "", fmt.Errorf("unpack kernel %s: %w", k.Ref, err)
	}
	return path, nil
}

func (s *Store) direct(ctx context.Context, k Kernel) (_ string, err error) {
	dir := filepath.Join(s.dir, "direct")
	path := filepath.Join(dir, k.Digest+".elf")
	now := time.Now()
	if os.Chtimes(path, now, now) == nil {
		return path, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	unlock, err := s.lock(ctx, "direct")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if os.Chtimes(path, now, now) == nil {
		return path, nil // another process was faster
	}
	code, err := unpackImage(k.Image)
	if err != nil {
		return "", err
	}
	if err := makeRoom(dir); err != nil {
		return "", err
	}
	temp := filepath.Join(dir, tmpPrefix+k.Digest)
	if err := os.WriteFile(temp, code, 0o644); err != nil {
		return "", errors.Join(err, os.Remove(temp))
	}
	return path, os.Rename(temp, path)
}

// unpackImage gives the ELF file inside a bzImage.
func unpackImage(image string) ([]byte, error) {
	data, err := os.ReadFile(image)
	if err != nil {
		return nil, err
	}
	if _, err := checkImage(bytes.NewReader(data), int64(len(data))); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrImage, err)
	}
	// The package takes a signature off, with a warning to standard error; it
	// looks for one behind these two letters.
	data[0], data[1] = 0, 0
	var b bzimage.BzImage
	if err := b.UnmarshalBinary(data); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoDirect, err)
	}
	f, err := elf.NewFile(bytes.NewReader(b.KernelCode))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoDirect, err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type != elf.PT_NOTE || p.Filesz > 1<<20 {
			continue
		}
		notes := make([]byte, p.Filesz)
		if _, err := p.ReadAt(notes, 0); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrNoDirect, err)
		}
		if hasPVH(notes, f.ByteOrder) {
			return b.KernelCode, nil
		}
	}
	return nil, fmt.Errorf("%w: it has no PVH entry (CONFIG_PVH)", ErrNoDirect)
}

// hasPVH looks for the note XEN_ELFNOTE_PHYS32_ENTRY.
func hasPVH(notes []byte, order binary.ByteOrder) bool {
	const phys32Entry = 18
	for len(notes) >= 12 {
		name, desc, kind := order.Uint32(notes), order.Uint32(notes[4:]), order.Uint32(notes[8:])
		notes = notes[12:]
		n, d := (uint64(name)+3)&^3, (uint64(desc)+3)&^3
		if n+d > uint64(len(notes)) {
			return false
		}
		if kind == phys32Entry && bytes.Equal(notes[:name], []byte("Xen\x00")) {
			return true
		}
		notes = notes[n+d:]
	}
	return false
}

// makeRoom removes the least recently used, and what was not finished.
func makeRoom(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	type file struct {
		path string
		used time.Time
	}
	var files []file
	var errs []error
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		info, err := e.Info()
		switch {
		case err != nil: // gone meanwhile
		case filepath.Ext(path) != ".elf":
			errs = append(errs, os.Remove(path))
		default:
			files = append(files, file{path, info.ModTime()})
		}
	}
	slices.SortFunc(files, func(a, b file) int { return cmp.Compare(b.used.UnixNano(), a.used.UnixNano()) })
	for _, f := range files[min(keepDirect-1, len(files)):] {
		errs = append(errs, os.Remove(f.path))
	}
	return errors.Join(errs...)
}
