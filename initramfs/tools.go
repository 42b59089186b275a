package initramfs

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

//go:embed tools.yaml
var toolsYAML []byte

//go:embed lvm.conf
var lvmConf []byte

// Where guest tools come from.
const (
	FromDebian = "debian" // packages of the suite in tools.yaml
	FromHost   = "host"   // the machine blockrig runs on
	FromAuto   = "auto"   // Debian, or the host where no Debian mirror is known or no apt is there
)

// A toolSpec is an entry of tools.yaml.
type toolSpec struct {
	Package   string   `yaml:"package"`
	Plugins   []string `yaml:"plugins"`
	Libraries []string `yaml:"libraries"`
	Files     []string `yaml:"files"`
	LVMConf   bool     `yaml:"lvm_conf"`
}

type toolTable struct {
	Suite string              `yaml:"suite"`
	Tools map[string]toolSpec `yaml:"tools"`
}

func readToolTable() (toolTable, error) {
	var t toolTable
	d := yaml.NewDecoder(bytes.NewReader(toolsYAML))
	d.KnownFields(true)
	if err := d.Decode(&t); err != nil {
		return toolTable{}, fmt.Errorf("read tools.yaml: %w", err)
	}
	return t, nil
}

func (t toolTable) names() []string { return slices.Sorted(maps.Keys(t.Tools)) }

// Tools are the names of the guest tools there are, sorted.
func Tools() ([]string, error) {
	t, err := readToolTable()
	if err != nil {
		return nil, err
	}
	return t.names(), nil
}

// check returns the wanted tools sorted and each once.
func (t toolTable) check(wanted []string) ([]string, error) {
	for _, name := range wanted {
		if _, ok := t.Tools[name]; !ok {
			return nil, fmt.Errorf("no guest tool %q: there are %s", name, strings.Join(t.names(), ", "))
		}
	}
	wanted = slices.Clone(wanted)
	slices.Sort(wanted)
	return slices.Compact(wanted), nil
}

// A rootFS is a system that tools are taken from: unpacked packages, or the
// host. Names are as that system has them and may be absolute. What is found
// is returned under the name asked for with all links followed, so that the
// initramfs needs none.
type rootFS interface {
	// tool finds the executable of a tool.
	tool(ctx context.Context, name string, spec toolSpec) (found, error)
	// read reads one file; fs.ErrNotExist when it isn't there.
	read(ctx context.Context, name string) (found, error)
	// library finds what the linker would for a soname that the file by asks
	// for; dirs are searched before the system's own.
	library(ctx context.Context, soname string, by found, dirs []string) (found, error)
	// glob finds files below the libraries' folder. A link whose target is
	// missing is an error.
	glob(ctx context.Context, pattern string, by found) ([]found, error)
}

// A found is a file of a rootFS.
type found struct {
	name string // where it goes in the guest, canonical
	data []byte
	exec bool

	from  string // package and version, or path on the host: for messages and records
	owner string // package, if it is of one
}

// A toolFiles is a tool with everything it needs to start: its interpreter
// and libraries, what it opens at run time, its configuration.
type toolFiles struct {
	tree    *tree
	sources []string // where the files come from, sorted
}

// A collector gathers one tool from a system.
type collector struct {
	root    rootFS
	tree    *tree
	sources map[string]bool
	linkers map[string]bool // base names of the interpreters in the tree
}

func collect(ctx context.Context, root rootFS, name string, spec toolSpec) (toolFiles, error) {
	c := &collector{root: root, tree: new(tree), sources: make(map[string]bool), linkers: make(map[string]bool)}
	if err := c.tool(ctx, name, spec); err != nil {
		return toolFiles{}, fmt.Errorf("guest tool %s: %w", name, err)
	}
	return toolFiles{tree: c.tree, sources: slices.Sorted(maps.Keys(c.sources))}, nil
}

func (c *collector) tool(ctx context.Context, name string, spec toolSpec) error {
	exe, err := c.root.tool(ctx, name, spec)
	if err != nil {
		return err
	}
	exe.name = "usr/sbin/" + name
	todo := []found{exe}
	for _, pattern := range spec.Plugins {
		plugins, err := c.root.glob(ctx, pattern, exe)
		if err != nil {
			return fmt.Errorf("plugins %s: %w", pattern, err)
		}
		if len(plugins) == 0 {
			return fmt.Errorf("its plugins %s are not where the linker finds them (%s)", pattern, exe.from)
		}
		todo = append(todo, plugins...)
	}
	for _, so := range spec.Libraries {
		lib, err := c.root.library(ctx, so, exe, nil)
		if err != nil {
			return err
		}
		todo = append(todo, lib)
	}
	if err := c.addWithNeeds(ctx, todo); err != nil {
		return err
	}
	for _, file := range spec.Files {
		f, err := c.root.read(ctx, file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		c.sources[f.from] = true
		if err := c.tree.file(f.name, 0o644, f.data); err != nil {
			return err
		}
	}
	return nil
}

// configure adds what blockrig itself writes for these tools.
func (t toolTable) configure(tr *tree, wanted []string) error {
	for _, name := range wanted {
		if t.Tools[name].LVMConf {
			return tr.file("etc/lvm/lvm.conf", 0o644, lvmConf)
		}
	}
	return nil
}

// addWithNeeds adds ELF files and, over and over, what they need.
func (c *collector) addWithNeeds(ctx context.Context, todo []found) error {
	queued := make(map[string]bool)
	// Nearly all files need libc: one copy of it is enough.
	enqueue := func(f found) {
		if !queued[f.name] {
			queued[f.name] = true
			todo = append(todo, f)
		}
	}
	for len(todo) > 0 {
		f := todo[0]
		todo = todo[1:]
		if _, done := c.tree.records[f.name]; done {
			continue
		}
		n, err := readNeeds(f.name, f.data)
		if err != nil {
			return fmt.Errorf("%s: %w", f.from, err)
		}
		c.sources[f.from] = true
		perm := uint64(0o644)
		if f.exec {
			perm = 0o755
		}
		if err := c.tree.file(f.name, perm, strip(f.data)); err != nil {
			return err
		}
		if n.interp != "" {
			ld, err := c.root.read(ctx, n.interp)
			if err != nil {
				return fmt.Errorf("the interpreter of %s: %w", path.Base(f.name), err)
			}
			ld.exec = true
			c.linkers[path.Base(n.interp)] = true
			enqueue(ld)
		}
		for _, so := range n.sonames {
			// libc names the interpreter too, which is there by then.
			if c.linkers[so] {
				continue
			}
			lib, err := c.root.library(ctx, so, f, n.dirs)
			if err != nil {
				return err
			}
			enqueue(lib)
		}
	}
	return nil
}
