package initramfs

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
)

// maxExecutable bounds what is read into memory for /init, bytes.
const maxExecutable = 256 << 20

// ErrDynamic says that an executable needs an interpreter or libraries, which
// /init must not: nothing else is there when the kernel starts it.
var ErrDynamic = errors.New("is dynamically linked, so it can't be the guest's /init: build blockrig with CGO_ENABLED=0")

// A fileID tells a file that was not touched since from one that was.
type fileID struct {
	Dev   uint64 `json:"dev"`
	Ino   uint64 `json:"ino"`
	Size  int64  `json:"size"`
	Mtime int64  `json:"mtime"` // ns
	Ctime int64  `json:"ctime"` // ns; catches a change that put mtime back
}

// settled tells whether the file is old enough to be remembered: one that is
// changed twice within a tick of the kernel's clock looks like one that was
// changed once.
func (id fileID) settled() bool { return time.Since(time.Unix(0, id.Ctime)) > 100*time.Millisecond }

func idOf(fi os.FileInfo) (fileID, error) {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return fileID{}, fmt.Errorf("stat %s: no inode number", fi.Name())
	}
	return fileID{
		Dev: uint64(st.Dev), Ino: st.Ino, Size: st.Size,
		Mtime: st.Mtim.Nano(), Ctime: st.Ctim.Nano(),
	}, nil
}

// statID is the identity of the file at path, links followed.
func statID(path string) (fileID, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return fileID{}, err
	}
	if !fi.Mode().IsRegular() {
		return fileID{}, fmt.Errorf("%s is no regular file", path)
	}
	return idOf(fi)
}

// readExecutable reads the executable that becomes /init and checks that a
// kernel can start it with nothing else around.
func readExecutable(path string) ([]byte, fileID, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fileID{}, fmt.Errorf("open executable: %w", err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, fileID{}, fmt.Errorf("stat executable: %w", err)
	}
	if !fi.Mode().IsRegular() {
		return nil, fileID{}, fmt.Errorf("executable %s is no regular file", path)
	}
	if fi.Size() > maxExecutable {
		return nil, fileID{}, fmt.Errorf("executable %s has %d bytes, more than the %d an initramfs may get", path, fi.Size(), maxExecutable)
	}
	id, err := idOf(fi)
	if err != nil {
		return nil, fileID{}, err
	}
	data, err := io.ReadAll(f)
	if err != nil {
		return nil, fileID{}, fmt.Errorf("read executable: %w", err)
	}
	if int64(len(data)) != fi.Size() {
		return nil, fileID{}, fmt.Errorf("executable %s changed while it was read: try again", path)
	}
	if err := checkStatic(data); err != nil {
		return nil, fileID{}, fmt.Errorf("%s %w", path, err)
	}
	return data, id, nil
}

// CheckExecutable says why a file can't be the guest's /init. The error wraps
// ErrDynamic when it is not static.
func CheckExecutable(path string) error {
	_, _, err := readExecutable(path)
	return err
}

func checkStatic(data []byte) error {
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("is no ELF executable: %w", err)
	}
	if f.Class != elf.ELFCLASS64 || f.Machine != elf.EM_X86_64 || (f.Type != elf.ET_EXEC && f.Type != elf.ET_DYN) {
		return fmt.Errorf("is no x86-64 executable (%v, %v, %v): build blockrig with GOOS=linux GOARCH=amd64", f.Class, f.Machine, f.Type)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return ErrDynamic
		}
	}
	dyn, err := readDynamic(f)
	if err != nil {
		return fmt.Errorf("is broken: %w", err)
	}
	if len(dyn[elf.DT_NEEDED]) > 0 {
		return ErrDynamic
	}
	return nil
}

// strip returns an executable without what the kernel doesn't map: debug
// information, symbols and the section table. A third of a Go executable is
// that, and the guest would unpack it at every cold boot. Go's stack traces
// don't need it. What can't be stripped is returned as it is.
func strip(data []byte) []byte {
	const (
		ehdrSize = 64
		shoff    = 40 // offsets in Elf64_Ehdr
		shnum    = 60
		shstrndx = 62
	)
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil || f.Class != elf.ELFCLASS64 || f.Data != elf.ELFDATA2LSB {
		return data
	}
	end := uint64(ehdrSize)
	// Program headers lie behind the ELF header in every linker's output,
	// but nothing demands it.
	phoff := binary.LittleEndian.Uint64(data[32:])
	phent := uint64(binary.LittleEndian.Uint16(data[54:]))
	phnum := uint64(binary.LittleEndian.Uint16(data[56:]))
	end = max(end, phoff+phent*phnum)
	for _, p := range f.Progs {
		end = max(end, p.Off+p.Filesz)
	}
	if end >= uint64(len(data)) {
		return data
	}
	out := bytes.Clone(data[:end])
	binary.LittleEndian.PutUint64(out[shoff:], 0)
	binary.LittleEndian.PutUint16(out[shnum:], 0)
	binary.LittleEndian.PutUint16(out[shstrndx:], 0)
	return out
}

func hexSum(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// keyOf is the digest of what a member is made from. Lengths keep apart
// parts that would run together.
func keyOf(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s\n", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil))
}
