package kernels

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/blockrig/blockrig/kernels/internal/decompress"
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

func (s *Store) direct(ctx context.Context, k Kernel) (string, error) {
	const name = "vmlinux"
	e, err := s.unpacked.Get(ctx, k.Digest, func(_ context.Context, dir string) error {
		out, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		return errors.Join(unpackImage(k.Image, out), out.Close())
	})
	if err != nil {
		return "", err
	}
	return filepath.Join(e.Path(), name), e.Close()
}

// payloads are the beginnings of what kernels are packed with
// (arch/x86/boot/compressed/Makefile). All but gzip's are followed by four
// bytes that say how long the kernel is; gzip's own last four do.
var payloads = []payload{
	{"\x1f\x8b", ".gz"},
	{"\xfd7zXZ\x00", ".xz"},
	{"\x28\xb5\x2f\xfd", ".zst"},
	{"BZh", ".bz2"},
	{"\x5d\x00\x00", ".lzma"},
	{"\x02\x21\x4c\x18", ".lz4"},
}

type payload struct{ begin, suffix string }

// maxKernel bounds an unpacked kernel, in bytes: those of Debian have 70 MB.
const maxKernel = 1 << 30

// unpackImage writes the ELF file inside a bzImage to out.
func unpackImage(image string, out *os.File) error {
	f, err := os.Open(image)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if _, err := checkImage(f, info.Size()); err != nil {
		return fmt.Errorf("%w: %w", ErrImage, err)
	}
	err = unpackPayload(f, out)
	if host := new(fs.PathError); errors.As(err, &host) {
		return err // of the disk, not of the kernel
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoDirect, err)
	}
	notes, err := readNotes(out)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoDirect, err)
	}
	if !slices.ContainsFunc(notes, hasPVH) {
		return fmt.Errorf("%w: it has no PVH entry (CONFIG_PVH)", ErrNoDirect)
	}
	return nil
}

func unpackPayload(f io.ReaderAt, out io.Writer) error {
	var head [headSize]byte
	if _, err := f.ReadAt(head[:], 0); err != nil {
		return err
	}
	le := binary.LittleEndian
	at, length := setupSize(head[:])+int64(le.Uint32(head[offPayload:])), int64(le.Uint32(head[offPayloadLen:]))
	var begin [8]byte
	var size uint32
	err := errors.Join(readAt(f, uint64(at), &begin), readAt(f, uint64(at+length-4), &size))
	if err != nil {
		return fmt.Errorf("it has no payload: %w", err)
	}
	i := slices.IndexFunc(payloads, func(p payload) bool { return strings.HasPrefix(string(begin[:]), p.begin) })
	if i < 0 {
		return errors.New("how it is packed is not known")
	}
	if payloads[i].suffix != ".gz" {
		length -= 4
	}
	r, err := decompress.Reader(payloads[i].suffix, bufio.NewReader(io.NewSectionReader(f, at, length)))
	if err != nil {
		return err
	}
	n, err := io.Copy(out, decompress.AtMost(r, maxKernel))
	if err := errors.Join(err, r.Close()); err != nil {
		return err
	}
	if n != int64(size) {
		return fmt.Errorf("it unpacks to %d bytes, and says it has %d", n, size)
	}
	return nil
}

// hasPVH looks for the note XEN_ELFNOTE_PHYS32_ENTRY.
func hasPVH(notes []byte) bool {
	order := binary.LittleEndian
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
