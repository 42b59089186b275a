package initramfs

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"testing"
)

// An elfImage describes a small ELF file as a linker would lay it out, with
// program headers and without section headers.
type elfImage struct {
	machine elf.Machine // 0: x86-64
	typ     elf.Type    // 0: ET_DYN
	interp  string
	needed  []string
	rpath   string
	runpath string
	extra   string // content, so that files differ
}

func (e elfImage) bytes(t testing.TB) []byte {
	t.Helper()
	if e.machine == 0 {
		e.machine = elf.EM_X86_64
	}
	if e.typ == 0 {
		e.typ = elf.ET_DYN
	}
	strs := []byte{0}
	str := func(s string) uint64 {
		at := uint64(len(strs))
		strs = append(append(strs, s...), 0)
		return at
	}
	var dyn []elf.Dyn64
	for _, n := range e.needed {
		dyn = append(dyn, elf.Dyn64{Tag: int64(elf.DT_NEEDED), Val: str(n)})
	}
	if e.rpath != "" {
		dyn = append(dyn, elf.Dyn64{Tag: int64(elf.DT_RPATH), Val: str(e.rpath)})
	}
	if e.runpath != "" {
		dyn = append(dyn, elf.Dyn64{Tag: int64(elf.DT_RUNPATH), Val: str(e.runpath)})
	}
	const ehdr, phdr, base = 64, 56, 0x400000
	progs := []elf.Prog64{{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X), Vaddr: base}}
	n := 1
	if e.interp != "" {
		n++
	}
	if len(dyn) > 0 {
		n++
	}
	off := uint64(ehdr + phdr*n)
	var body []byte
	if e.interp != "" {
		progs = append(progs, elf.Prog64{
			Type: uint32(elf.PT_INTERP), Off: off, Vaddr: base + off, Filesz: uint64(len(e.interp) + 1),
		})
		body = append(append(body, e.interp...), 0)
	}
	if len(dyn) > 0 {
		strAt := off + uint64(len(body))
		body = append(body, strs...)
		dyn = append(
			dyn,
			elf.Dyn64{Tag: int64(elf.DT_STRTAB), Val: base + strAt},
			elf.Dyn64{Tag: int64(elf.DT_STRSZ), Val: uint64(len(strs))},
			elf.Dyn64{},
		)
		dynAt := off + uint64(len(body))
		var b bytes.Buffer
		encode(t, &b, dyn)
		progs = append(progs, elf.Prog64{
			Type: uint32(elf.PT_DYNAMIC), Off: dynAt, Vaddr: base + dynAt, Filesz: uint64(b.Len()),
		})
		body = append(body, b.Bytes()...)
	}
	body = append(body, e.extra...)
	progs[0].Filesz = off + uint64(len(body))
	progs[0].Memsz = progs[0].Filesz
	var out bytes.Buffer
	head := elf.Header64{
		Type: uint16(e.typ), Machine: uint16(e.machine), Version: 1, Phoff: ehdr,
		Ehsize: ehdr, Phentsize: phdr, Phnum: uint16(len(progs)), Shentsize: 64,
	}
	copy(head.Ident[:], elf.ELFMAG)
	head.Ident[elf.EI_CLASS], head.Ident[elf.EI_DATA], head.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), 1
	encode(t, &out, head)
	encode(t, &out, progs)
	out.Write(body)
	return out.Bytes()
}

func encode(t testing.TB, b *bytes.Buffer, v any) {
	t.Helper()
	if err := binary.Write(b, binary.LittleEndian, v); err != nil {
		t.Fatal(err)
	}
}
