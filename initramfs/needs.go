package initramfs

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
)

// needs is what an ELF file asks the dynamic linker for (ld.so(8)).
type needs struct {
	interp  string   // PT_INTERP; "" for a library or a static executable
	sonames []string // DT_NEEDED, in order
	dirs    []string // DT_RUNPATH, else DT_RPATH, $ORIGIN expanded
}

// errNotELF says that a file is none of the linker's business.
var errNotELF = errors.New("is no ELF file")

// readNeeds reads what the ELF file that lies at name in the guest needs. It
// trusts the file with nothing: names with a slash or a NUL are refused.
func readNeeds(name string, data []byte) (needs, error) {
	if !bytes.HasPrefix(data, []byte(elf.ELFMAG)) {
		return needs{}, fmt.Errorf("/%s %w", name, errNotELF)
	}
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return needs{}, fmt.Errorf("read %s: %w", name, err)
	}
	if f.Class != elf.ELFCLASS64 || f.Machine != elf.EM_X86_64 {
		return needs{}, fmt.Errorf("%s is for another processor (%v, %v), the guest is x86-64", name, f.Class, f.Machine)
	}
	var n needs
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		b, err := io.ReadAll(io.LimitReader(p.Open(), 4096))
		if err != nil {
			return needs{}, fmt.Errorf("read the interpreter's name in %s: %w", name, err)
		}
		n.interp = string(bytes.TrimRight(b, "\x00"))
		if !path.IsAbs(n.interp) {
			return needs{}, fmt.Errorf("%s names an interpreter without a full path: %q", name, n.interp)
		}
	}
	dyn, err := readDynamic(f)
	if err != nil {
		return needs{}, fmt.Errorf("read what %s needs: %w", name, err)
	}
	n.sonames = dyn[elf.DT_NEEDED]
	for _, so := range n.sonames {
		if so == "" || strings.ContainsAny(so, "/\x00") {
			return needs{}, fmt.Errorf("%s needs a library with the name %q, which is no file name", name, so)
		}
	}
	// With a RUNPATH the linker ignores the RPATH.
	lists := dyn[elf.DT_RUNPATH]
	if lists == nil {
		lists = dyn[elf.DT_RPATH]
	}
	origin := strings.NewReplacer("$ORIGIN", "/"+path.Dir(name), "${ORIGIN}", "/"+path.Dir(name))
	for dir := range strings.SplitSeq(strings.Join(lists, ":"), ":") {
		if dir = origin.Replace(dir); path.IsAbs(dir) {
			n.dirs = append(n.dirs, path.Clean(dir))
		}
	}
	return n, nil
}

// maxDynamic bounds the dynamic section and its strings, bytes.
const maxDynamic = 16 << 20

// readDynamic reads the strings of the dynamic section, by their tag. It finds
// the section as the linker does, by program headers: debug/elf needs section
// headers, which a stripped file may not have.
func readDynamic(f *elf.File) (map[elf.DynTag][]string, error) {
	at := func(addr uint64) (io.ReaderAt, uint64) { // file content at an address, and how much of it there is
		for _, p := range f.Progs {
			if p.Type == elf.PT_LOAD && addr >= p.Vaddr && addr-p.Vaddr < p.Filesz {
				off := addr - p.Vaddr
				return io.NewSectionReader(p, int64(off), int64(p.Filesz-off)), p.Filesz - off
			}
		}
		return nil, 0
	}
	var dynamic []byte
	for _, p := range f.Progs {
		if p.Type != elf.PT_DYNAMIC {
			continue
		}
		if p.Filesz > maxDynamic {
			return nil, errors.New("the dynamic section is too large")
		}
		dynamic = make([]byte, p.Filesz)
		if _, err := io.ReadFull(p.Open(), dynamic); err != nil {
			return nil, fmt.Errorf("read the dynamic section: %w", err)
		}
		break
	}
	type entry struct {
		tag elf.DynTag
		val uint64
	}
	var names []entry
	var strtab, strsz uint64
entries:
	for ; len(dynamic) >= 16; dynamic = dynamic[16:] {
		e := entry{elf.DynTag(f.ByteOrder.Uint64(dynamic)), f.ByteOrder.Uint64(dynamic[8:])}
		switch e.tag {
		case elf.DT_NULL:
			break entries
		case elf.DT_STRTAB:
			strtab = e.val
		case elf.DT_STRSZ:
			strsz = e.val
		case elf.DT_NEEDED, elf.DT_RPATH, elf.DT_RUNPATH:
			names = append(names, e)
		}
	}
	if len(names) == 0 {
		return nil, nil
	}
	r, avail := at(strtab)
	if r == nil || strsz > avail || strsz > maxDynamic {
		return nil, errors.New("the dynamic section's strings are not in the file")
	}
	strs := make([]byte, strsz)
	if _, err := r.ReadAt(strs, 0); err != nil {
		return nil, fmt.Errorf("read the dynamic section's strings: %w", err)
	}
	found := make(map[elf.DynTag][]string)
	for _, e := range names {
		if e.val >= strsz {
			return nil, errors.New("the dynamic section names a string outside of its strings")
		}
		s, _, ok := bytes.Cut(strs[e.val:], []byte{0})
		if !ok {
			return nil, errors.New("the dynamic section's last string has no end")
		}
		found[e.tag] = append(found[e.tag], string(s))
	}
	return found, nil
}
