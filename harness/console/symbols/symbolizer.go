package symbols

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/blockrig/blockrig/harness/console"
)

// ErrNoDebugInfo says that a file has no line numbers.
var ErrNoDebugInfo = errors.New("no debug information in it (build with CONFIG_DEBUG_INFO, or take the -dbg package)")

// Files are the unstripped files that a log's frames come from.
type Files struct {
	Vmlinux string
	Modules map[string]string // by name, as in a trace ("dm_mirror"): the .ko with debug information
	// Offset is by how much KASLR moved the kernel (console's KernelOffset),
	// for frames that are raw addresses.
	Offset uint64
}

// A Symbolizer resolves frames. It owns a process for each file that it was
// asked for; Close ends them. It is not safe for concurrent use.
type Symbolizer struct {
	files  Files
	tool   tool
	images map[string]*image // by path
}

// New checks the files and finds the tool to execute: the error is
// ErrNoTool, ErrNoDebugInfo or a file's own.
func New(files Files) (*Symbolizer, error) {
	t, err := findTool()
	if err != nil {
		return nil, err
	}
	s := &Symbolizer{files: files, tool: t, images: map[string]*image{}}
	if _, err := s.image(files.Vmlinux); err != nil {
		return nil, err
	}
	for _, path := range files.Modules {
		if _, err := s.image(path); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Close ends the processes.
func (s *Symbolizer) Close() error {
	var errs []error
	for _, i := range s.images {
		if i.process != nil {
			errs = append(errs, i.process.close())
		}
	}
	return errors.Join(errs...)
}

// Resolve returns the findings with files and lines in their traces; a call
// that the compiler inlined becomes a frame of its own, before the one that
// it was inlined into. Frames that the files don't know stay as they are.
func (s *Symbolizer) Resolve(ctx context.Context, findings []console.Finding) ([]console.Finding, error) {
	out := make([]console.Finding, len(findings))
	for i, f := range findings {
		out[i] = f
		out[i].Trace = nil
		for _, fr := range f.Trace {
			frames, err := s.frame(ctx, fr)
			if err != nil {
				return nil, fmt.Errorf("resolve %s: %w", fr.Func, err)
			}
			out[i].Trace = append(out[i].Trace, frames...)
		}
	}
	return out, nil
}

func (s *Symbolizer) frame(ctx context.Context, f console.Frame) ([]console.Frame, error) {
	same := []console.Frame{f}
	if f.Inlined || f.File != "" {
		return same, nil
	}
	path := s.files.Vmlinux
	if f.Module != "" {
		path = s.files.Modules[f.Module]
		if path == "" {
			return same, nil
		}
	}
	img, err := s.image(path)
	if err != nil {
		return nil, err
	}
	addr, ok := img.address(f)
	if raw, err := strconv.ParseUint(strings.TrimPrefix(f.Func, "0x"), 16, 64); !ok && err == nil && strings.HasPrefix(f.Func, "0x") {
		addr, ok = raw-s.files.Offset, true
	}
	if !ok {
		return same, nil
	}
	// A trace has return addresses: the call is before them.
	if f.Offset > 0 {
		addr--
	}
	if img.process == nil {
		if img.process, err = s.tool.start(path, img.relocatable); err != nil {
			return nil, err
		}
	}
	calls, err := img.process.ask(ctx, addr)
	if err != nil {
		return nil, err
	}
	if len(calls) == 0 {
		return same, nil
	}
	var out []console.Frame
	for i, c := range calls {
		fr := console.Frame{Func: c.function, Module: f.Module, Reliable: f.Reliable, File: c.file, SrcLine: c.line, Inlined: true}
		if i == len(calls)-1 {
			fr.Func, fr.Offset, fr.Size, fr.Inlined = f.Func, f.Offset, f.Size, false
			if strings.HasPrefix(f.Func, "0x") && c.function != "" {
				fr.Func = c.function
			}
		}
		out = append(out, fr)
	}
	return out, nil
}

// An image is one file and, once it was asked for, its process.
type image struct {
	functions   map[string][]elf.Symbol
	relocatable bool // a module: addresses count from the start of .text
	process     *process
}

func (s *Symbolizer) image(path string) (*image, error) {
	if i := s.images[path]; i != nil {
		return i, nil
	}
	f, err := elf.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	defer f.Close()
	debug := false
	for _, sec := range f.Sections {
		debug = debug || sec.Name == ".debug_line" || sec.Name == ".zdebug_line"
	}
	if !debug {
		return nil, fmt.Errorf("%s: %w", path, ErrNoDebugInfo)
	}
	syms, err := f.Symbols()
	if err != nil {
		return nil, fmt.Errorf("read the symbols of %s: %w", path, err)
	}
	i := &image{functions: map[string][]elf.Symbol{}, relocatable: f.Type == elf.ET_REL}
	for _, sym := range syms {
		if t := elf.ST_TYPE(sym.Info); t != elf.STT_FUNC && t != elf.STT_NOTYPE || sym.Section == elf.SHN_UNDEF || int(sym.Section) >= len(f.Sections) {
			continue
		}
		if i.relocatable && f.Sections[sym.Section].Name != ".text" {
			continue
		}
		i.functions[sym.Name] = append(i.functions[sym.Name], sym)
	}
	s.images[path] = i
	return i, nil
}

// address is where a frame is in the file. Several functions may have its
// name: the size tells them apart.
func (i *image) address(f console.Frame) (uint64, bool) {
	syms := i.functions[f.Func]
	for _, sym := range syms {
		if sym.Size == f.Size && f.Size > 0 {
			return sym.Value + f.Offset, true
		}
	}
	// The log's size runs to the next symbol, so it may be a little larger.
	if len(syms) == 1 && f.Offset <= max(f.Size, syms[0].Size) {
		return syms[0].Value + f.Offset, true
	}
	return 0, false
}
