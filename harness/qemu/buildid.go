package qemu

import (
	"cmp"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
)

// BuildID names a build of QEMU, by what its linker put into the executable
// or, without that, by the digest of the file. binary is "" for
// DefaultBinary.
func BuildID(binary string) (string, error) {
	path, err := exec.LookPath(cmp.Or(binary, DefaultBinary))
	if err != nil {
		return "", fmt.Errorf("QEMU is missing: %w", err)
	}
	if id := noteOf(path); id != "" {
		return id, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("read QEMU: %w", err)
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", fmt.Errorf("read QEMU: %w", err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// noteOf gives the build ID in an ELF file (ld(1), --build-id), "" when there
// is none.
func noteOf(path string) string {
	f, err := elf.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	s := f.Section(".note.gnu.build-id")
	if s == nil || s.Size > 256 {
		return ""
	}
	note, err := s.Data()
	const header = 16 // three words, and the name "GNU"
	if err != nil || len(note) <= header {
		return ""
	}
	return hex.EncodeToString(note[header:])
}
