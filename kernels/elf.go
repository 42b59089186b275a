package kernels

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// What an ELF file can make blockrig read into memory, in bytes and entries.
// debug/elf bounds neither, and unpacks sections that are compressed.
const (
	maxSection = 4 << 20
	maxHeaders = 1 << 16
)

// readELF reads the header of a 64-bit x86 ELF file.
func readELF(r io.ReaderAt) (head elf.Header64, err error) {
	if err := readAt(r, 0, &head); err != nil {
		return head, fmt.Errorf("not an ELF file: %w", err)
	}
	if string(head.Ident[:4]) != elf.ELFMAG || elf.Class(head.Ident[elf.EI_CLASS]) != elf.ELFCLASS64 ||
		elf.Data(head.Ident[elf.EI_DATA]) != elf.ELFDATA2LSB {
		return head, errors.New("not a 64-bit x86 ELF file")
	}
	return head, nil
}

// readAt reads a value, or a slice of values, in the order of x86.
func readAt(r io.ReaderAt, at uint64, into any) error {
	if at > 1<<62 {
		return errors.New("a place beyond its end")
	}
	return binary.Read(io.NewSectionReader(r, int64(at), int64(binary.Size(into))), binary.LittleEndian, into)
}

// readPart reads size bytes, if that is not too many.
func readPart(r io.ReaderAt, at, size uint64) ([]byte, error) {
	if size > maxSection {
		return nil, fmt.Errorf("a section has %d bytes; the limit is %d", size, maxSection)
	}
	data := make([]byte, size)
	return data, readAt(r, at, data)
}

// readSection reads the section of that name; errNoSection when there is none.
func readSection(r io.ReaderAt, name string) ([]byte, error) {
	head, err := readELF(r)
	if err != nil {
		return nil, err
	}
	count, names := uint64(head.Shnum), uint64(head.Shstrndx)
	var first elf.Section64 // has the numbers that the header has no room for (elf(5))
	if err := readAt(r, head.Shoff, &first); err != nil {
		return nil, fmt.Errorf("read its sections: %w", err)
	}
	if count == 0 {
		count = first.Size
	}
	if names == uint64(elf.SHN_XINDEX) {
		names = uint64(first.Link)
	}
	if head.Shentsize != 64 || count > maxHeaders || names >= count {
		return nil, errors.New("its list of sections is damaged")
	}
	sections := make([]elf.Section64, count)
	if err := readAt(r, head.Shoff, sections); err != nil {
		return nil, fmt.Errorf("read its sections: %w", err)
	}
	text, err := readPart(r, sections[names].Off, sections[names].Size)
	if err != nil {
		return nil, fmt.Errorf("read the names of its sections: %w", err)
	}
	for _, s := range sections {
		if text := text[min(int(s.Name), len(text)):]; len(text) > len(name) && string(text[:len(name)]) == name && text[len(name)] == 0 {
			return readPart(r, s.Off, s.Size)
		}
	}
	return nil, errNoSection
}

var errNoSection = errors.New("there is no such section")

// readNotes reads the notes that a kernel's program headers list.
func readNotes(r io.ReaderAt) (notes [][]byte, err error) {
	head, err := readELF(r)
	if err != nil {
		return nil, err
	}
	progs := make([]elf.Prog64, head.Phnum)
	if err := readAt(r, head.Phoff, progs); err != nil {
		return nil, fmt.Errorf("read its program headers: %w", err)
	}
	for _, p := range progs {
		if elf.ProgType(p.Type) != elf.PT_NOTE {
			continue
		}
		note, err := readPart(r, p.Off, p.Filesz)
		if err != nil {
			return nil, fmt.Errorf("read its notes: %w", err)
		}
		notes = append(notes, note)
	}
	return notes, nil
}
