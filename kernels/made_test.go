package kernels

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// madeImage gives a small bzImage that says it is of that release.
func madeImage(release string) []byte {
	const sects, paragraphs = 1, 100
	b := make([]byte, (sects+1)*512+paragraphs*paragraph)
	le := binary.LittleEndian
	b[offSetupSects] = sects
	le.PutUint32(b[offSyssize:], paragraphs)
	le.PutUint16(b[offBootFlag:], 0xaa55)
	copy(b[offMagic:], "HdrS")
	le.PutUint16(b[offVersion:], 0x020f)
	le.PutUint16(b[offKernel:], 0x100)
	b[offLoadFlags] = loadedHigh
	le.PutUint16(b[offXLoadFlags:], kernel64)
	le.PutUint32(b[offPayload:], 16)
	le.PutUint32(b[offPayloadLen:], 1000)
	copy(b[0x300:], release+" (nobody@nowhere) #1 SMP\x00")
	return b
}

// imageOf is a bzImage with that payload.
func imageOf(release string, payload []byte) []byte {
	image := append(madeImage(release)[:1024:1024], payload...)
	le := binary.LittleEndian
	le.PutUint32(image[offSyssize:], uint32(len(payload)/paragraph))
	le.PutUint32(image[offPayload:], 0)
	le.PutUint32(image[offPayloadLen:], uint32(len(payload)))
	return image
}

// madeVmlinux gives a small ELF file with one note.
func madeVmlinux(t testing.TB, note []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	for _, part := range []any{
		elf.Header64{
			Ident: [16]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
			Type:  uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: 1, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 1,
		},
		elf.Prog64{Type: uint32(elf.PT_NOTE), Off: 64 + 56, Filesz: uint64(len(note))},
		note,
	} {
		if err := binary.Write(&b, binary.LittleEndian, part); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

// madeModule gives a small ELF file with these key=value pairs as .modinfo.
func madeModule(t testing.TB, modinfo ...string) []byte {
	t.Helper()
	info := strings.Join(modinfo, "\x00") + "\x00"
	const names = "\x00.modinfo\x00.shstrtab\x00"
	const headers = 64
	body := []byte(info + names)
	var b bytes.Buffer
	section := func(name, kind uint32, off, size int) elf.Section64 {
		return elf.Section64{Name: name, Type: kind, Off: uint64(off), Size: uint64(size), Addralign: 1}
	}
	for _, part := range []any{
		elf.Header64{
			Ident: [16]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
			Type:  uint16(elf.ET_REL), Machine: uint16(elf.EM_X86_64), Version: 1,
			Shoff: uint64(headers + len(body)), Ehsize: 64, Shentsize: 64, Shnum: 3, Shstrndx: 2,
		},
		body,
		elf.Section64{},
		section(1, uint32(elf.SHT_PROGBITS), headers, len(info)),
		section(10, uint32(elf.SHT_STRTAB), headers+len(info), len(names)),
	} {
		if err := binary.Write(&b, binary.LittleEndian, part); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func writeAll(t testing.TB, dir string, files map[string][]byte) {
	t.Helper()
	for name, data := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
