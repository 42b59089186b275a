package guest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/blockrig/blockrig/initramfs/guest/layer"
	"github.com/blockrig/blockrig/initramfs/protocol"
)

// loadModules loads modules in the order given; the host has resolved what
// depends on what.
func (g *guest) loadModules(modules []protocol.Module) error {
	for _, m := range modules {
		name, _, _ := strings.Cut(filepath.Base(m.Path), ".")
		err := loadModule(m.Path, layer.ModuleParameters(strings.ReplaceAll(name, "-", "_"), g.setup.Disks, g.setup.Stack))
		if err != nil && m.Optional {
			g.kmsg.say("module %s does not load, and need not: %v", m.Path, err)
			continue
		}
		if err != nil {
			return fmt.Errorf("load module %s: %w", m.Path, err)
		}
	}
	return nil
}

func loadModule(path, parameters string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	// async_probe: do not wait for the links of empty SATA ports before the
	// next module is loaded (kernel/module/main.c, do_init_module). What is
	// waited for is the disks.
	err = unix.FinitModule(int(f.Fd()), strings.TrimSpace("async_probe "+parameters), 0)
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	return err
}
