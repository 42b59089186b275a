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
	if n.sonames, err = f.ImportedLibraries(); err != nil {
		return needs{}, fmt.Errorf("read the libraries %s needs: %w", name, err)
	}
	for _, so := range n.sonames {
		if so == "" || strings.ContainsAny(so, "/\x00") {
			return needs{}, fmt.Errorf("%s needs a library with the name %q, which is no file name", name, so)
		}
	}
	// With a RUNPATH the linker ignores the RPATH.
	for _, tag := range []elf.DynTag{elf.DT_RUNPATH, elf.DT_RPATH} {
		lists, err := f.DynString(tag)
		if err != nil {
			return needs{}, fmt.Errorf("read %v of %s: %w", tag, name, err)
		}
		if len(lists) == 0 {
			continue
		}
		for dir := range strings.SplitSeq(strings.Join(lists, ":"), ":") {
			dir = strings.NewReplacer("$ORIGIN", "/"+path.Dir(name), "${ORIGIN}", "/"+path.Dir(name)).Replace(dir)
			if path.IsAbs(dir) {
				n.dirs = append(n.dirs, path.Clean(dir))
			}
		}
		break
	}
	return n, nil
}
