package kernels

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
)

// Offsets and flags of the x86 boot header (Documentation/arch/x86/boot.rst).
const (
	headSize        = 0x268 // up to and with the fields that are read here
	offPE           = 0x3c  // of the PE header, in kernels with an EFI stub
	offSetupSects   = 0x1f1
	offSyssize      = 0x1f4
	offBootFlag     = 0x1fe
	offMagic        = 0x202
	offVersion      = 0x206
	offKernel       = 0x20e // pointer to the version string, less 0x200
	offLoadFlags    = 0x211
	offXLoadFlags   = 0x236
	offPayload      = 0x248
	offPayloadLen   = 0x24c
	loadedHigh      = 1 // a bzImage, not a zImage
	kernel64        = 1
	protocol64      = 0x020c // the first with xloadflags
	paragraph       = 16
	maxVersionBytes = 512
)

var releaseRE = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+~-]*$`)

// imageRelease checks that the file at path is a whole 64-bit x86 bzImage and
// gives the release (uname -r) it says it is. Else the error is ErrImage.
func imageRelease(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrImage, err)
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%w: %s is not a regular file", ErrImage, path)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrImage, err)
	}
	defer f.Close()
	release, err := checkImage(f, info.Size())
	if err != nil {
		return "", fmt.Errorf("%w: %s: %w", ErrImage, path, err)
	}
	return release, nil
}

func checkImage(f io.ReaderAt, size int64) (string, error) {
	head := make([]byte, headSize)
	n, err := f.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return "", err
	}
	if what := otherFormat(head[:n]); what != "" {
		return "", fmt.Errorf("it is %s; give an x86-64 bzImage (arch/x86/boot/bzImage, /boot/vmlinuz-…)", what)
	}
	if n < headSize {
		return "", fmt.Errorf("it has %d bytes, too few for a kernel", n)
	}
	le := binary.LittleEndian
	if le.Uint16(head[offBootFlag:]) != 0xaa55 || string(head[offMagic:offMagic+4]) != "HdrS" {
		return "", fmt.Errorf("it has no x86 boot header (no \"HdrS\" at 0x202)")
	}
	protocol := le.Uint16(head[offVersion:])
	if protocol < protocol64 || head[offLoadFlags]&loadedHigh == 0 || le.Uint16(head[offXLoadFlags:])&kernel64 == 0 {
		return "", fmt.Errorf("it is no 64-bit bzImage (boot protocol %d.%02d)", protocol>>8, protocol&0xff)
	}
	setup := setupSize(head)
	// syssize is rounded up, so the last paragraph need not be whole.
	code := int64(le.Uint32(head[offSyssize:])) * paragraph
	payload := int64(le.Uint32(head[offPayload:])) + int64(le.Uint32(head[offPayloadLen:]))
	signature, err := signatureEnd(f, int64(le.Uint32(head[offPE:])), setup)
	if err != nil {
		return "", err
	}
	if want := setup + max(code-paragraph+1, payload, signature-setup); size < want {
		return "", fmt.Errorf("it is truncated: %d bytes, its header says at least %d", size, want)
	}
	version := make([]byte, maxVersionBytes)
	at := int64(le.Uint16(head[offKernel:])) + 0x200
	n, err = f.ReadAt(version, at)
	if err != nil && err != io.EOF {
		return "", err
	}
	text, _, ok := bytes.Cut(version[:n], []byte{0})
	release, _, _ := strings.Cut(string(text), " ")
	if !ok || at >= setup || !releaseRE.MatchString(release) {
		return "", fmt.Errorf("its header does not say which release it is")
	}
	return release, nil
}

// setupSize gives the bytes before the protected-mode code.
func setupSize(head []byte) int64 {
	sects := int64(head[offSetupSects])
	if sects == 0 {
		sects = 4
	}
	return (sects + 1) * 512
}

// signatureEnd gives where the signature ends that follows a kernel signed for
// secure boot, 0 when there is none: the PE header, at pe, lists it as the
// certificate table (PE format, optional header data directories).
func signatureEnd(f io.ReaderAt, pe, setup int64) (int64, error) {
	const (
		optional     = 24 // size of what comes before the optional header
		pe32plus     = 0x20b
		certificates = optional + 112 + 4*8
	)
	if pe < 0x40 || pe+certificates+8 > setup {
		return 0, nil
	}
	header := make([]byte, certificates+8)
	if _, err := f.ReadAt(header, pe); err != nil {
		return 0, err
	}
	le := binary.LittleEndian
	if string(header[:4]) != "PE\x00\x00" || le.Uint16(header[optional:]) != pe32plus {
		return 0, nil
	}
	return int64(le.Uint32(header[certificates:])) + int64(le.Uint32(header[certificates+4:])), nil
}

// otherFormat names what people hand over instead of a bzImage.
func otherFormat(head []byte) string {
	has := func(at int, magic string) bool {
		return len(head) >= at+len(magic) && string(head[at:at+len(magic)]) == magic
	}
	switch {
	case len(head) == 0:
		return "empty"
	case has(0, "\x7fELF"):
		return "an ELF file, such as vmlinux"
	case has(0x38, "ARM\x64"):
		return "an arm64 kernel"
	case has(0x30, "RISCV\x00\x00\x00") || has(0x38, "RSC\x05"):
		return "a RISC-V kernel"
	case has(0, "\x1f\x8b"), has(0, "\xfd7zXZ\x00"), has(0, "\x28\xb5\x2f\xfd"):
		return "a compressed file"
	case has(0, "!<arch>\n"):
		return "a package"
	}
	return ""
}
