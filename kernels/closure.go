package kernels

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/blockrig/blockrig/scenarios"
)

// Closure gives the modules to load so that all needs are met, in an order in
// which each comes after what it depends on. What is built in is left out.
//
// Dependencies are the modules' own (.modinfo): depends, and softdep, since a
// guest has no modprobe for what the kernel asks for by name at run time (ext4
// up to 6.13 asks the crypto layer for crc32c). A soft dependency that is
// neither there nor built in is left out.
//
// It fails with ErrNeed, and ErrWithout where the kernel is sure not to have it,
// and the names of the options when a need is neither built in nor a module.
func (k Kernel) Closure(needs []scenarios.Need) ([]Module, error) {
	var options map[string]string
	if k.Config != "" {
		var err error
		if options, err = readOptions(k.Config); err != nil {
			return nil, err
		}
		if lacks := missing(options, needs); len(lacks) > 0 {
			return nil, fmt.Errorf("%w: %s is built without %s", ErrWithout, k.Ref, strings.Join(lacks, ", "))
		}
	}
	c := closure{state: map[string]int{}}
	if k.Modules != "" {
		var err error
		if c.index, err = readIndex(k.Index); err != nil {
			return nil, err
		}
		c.providers = c.index.providers()
	}
	var lacks []string
	for _, need := range needs {
		if need.Module == "" || options[need.Option] == "y" {
			continue
		}
		name := normalise(need.Module)
		if module, ok := c.find(name); ok {
			if err := c.add(module, false); err != nil {
				return nil, fmt.Errorf("%s: %w", k.Ref, err)
			}
			continue
		}
		// Without modules and without a config nothing is known, and the
		// guest will see.
		if c.builtin(name) || k.Modules == "" && options == nil {
			continue
		}
		lacks = append(lacks, fmt.Sprintf("%s (module %s)", need.Option, need.Module))
	}
	switch {
	case len(lacks) == 0:
		return c.order, nil
	case k.Modules == "":
		return nil, fmt.Errorf("%w: %s has as modules, and there is no modules folder: %s", ErrNeed, k.Ref, strings.Join(lacks, ", "))
	case options == nil && !c.index.Listed:
		return nil, fmt.Errorf("%w: %s has no module for %s; if they are built in, name its config (config=FILE)", ErrNeed, k.Ref, strings.Join(lacks, ", "))
	}
	return nil, fmt.Errorf("%w: %s has neither built in nor as a module: %s", ErrWithout, k.Ref, strings.Join(lacks, ", "))
}

type closure struct {
	index     moduleIndex
	providers map[string][]string // alias -> modules
	state     map[string]int      // by name
	order     []Module
}

// States of a module. A hard dependency on one that is in the list softly
// makes it hard.
const (
	beingAdded = iota + 1
	added
)

// providers gives, for each alias, the modules that have it, the preferred
// first: the generic implementation of an algorithm runs on every CPU, one for
// some CPUs can refuse to load.
func (ix moduleIndex) providers() map[string][]string {
	all := map[string][]string{}
	for name, info := range ix.Modules {
		for _, alias := range info.Alias {
			all[alias] = append(all[alias], name)
		}
	}
	for _, names := range all {
		slices.SortFunc(names, func(a, b string) int {
			if ga, gb := strings.HasSuffix(a, "_generic"), strings.HasSuffix(b, "_generic"); ga != gb {
				if ga {
					return -1
				}
				return 1
			}
			return strings.Compare(a, b)
		})
	}
	return all
}

// find gives the module for a name or an alias.
func (c *closure) find(name string) (string, bool) {
	if _, ok := c.index.Modules[name]; ok {
		return name, true
	}
	for _, alias := range []string{name, "crypto_" + name} {
		if names := c.providers[alias]; len(names) > 0 {
			return names[0], true
		}
	}
	return "", false
}

func (c *closure) builtin(name string) bool {
	for _, n := range []string{name, "crypto_" + name} {
		if _, ok := slices.BinarySearch(c.index.Builtin, n); ok {
			return true
		}
	}
	return false
}

func (c *closure) add(name string, soft bool) (err error) {
	switch c.state[name] {
	case beingAdded: // soft dependencies may go round in circles
		return nil
	case added:
		if !soft {
			return c.harden(name)
		}
		return nil
	}
	c.state[name] = beingAdded
	defer func() {
		if err != nil {
			delete(c.state, name)
		}
	}()
	info := c.index.Modules[name]
	for _, soft := range info.Pre {
		if err := c.addSoft(soft); err != nil {
			return err
		}
	}
	for _, dep := range info.Depends {
		if _, ok := c.index.Modules[dep]; !ok {
			if c.builtin(dep) {
				continue
			}
			return fmt.Errorf("%w: %s depends on %s, which is not in the modules folder", ErrModules, name, dep)
		}
		if err := c.add(dep, soft); err != nil {
			return err
		}
	}
	c.state[name] = added
	c.order = append(c.order, Module{Name: name, Path: info.Path, Soft: soft})
	for _, soft := range info.Post {
		if err := c.addSoft(soft); err != nil {
			return err
		}
	}
	return nil
}

// addSoft adds the module for a soft dependency if there is one that can be
// loaded.
func (c *closure) addSoft(name string) error {
	if c.builtin(name) {
		return nil
	}
	module, ok := c.find(name)
	if !ok {
		return nil
	}
	err := c.try(module)
	if errors.Is(err, ErrModules) {
		return nil
	}
	return err
}

// try adds a module softly, and takes back what it added when it can't.
func (c *closure) try(module string) error {
	before := len(c.order)
	err := c.add(module, true)
	if err != nil {
		for _, m := range c.order[before:] {
			delete(c.state, m.Name)
		}
		c.order = c.order[:before]
	}
	return err
}

// harden makes a module, and what it depends on, one that must be loaded.
func (c *closure) harden(name string) error {
	i := slices.IndexFunc(c.order, func(m Module) bool { return m.Name == name })
	if i < 0 || !c.order[i].Soft {
		return nil
	}
	c.order[i].Soft = false
	for _, dep := range c.index.Modules[name].Depends {
		if err := c.harden(dep); err != nil {
			return err
		}
	}
	return nil
}

// OpenModule gives a module, decompressed.
func (k Kernel) OpenModule(m Module) (io.ReadCloser, error) {
	root, err := os.OpenRoot(k.Modules)
	if err != nil {
		return nil, fmt.Errorf("open module %s: %w", m.Name, err)
	}
	r, err := openModule(root, m.Path)
	if err := errors.Join(err, root.Close()); err != nil {
		return nil, fmt.Errorf("open module %s: %w", m.Name, err)
	}
	return r, nil
}
