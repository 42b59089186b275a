package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"github.com/spf13/pflag"

	"github.com/blockrig/blockrig/harness/fleet"
	"github.com/blockrig/blockrig/harness/qemu"
	"github.com/blockrig/blockrig/harness/trial"
	"github.com/blockrig/blockrig/kernels/gitbuild"
)

// hubKey is the variable that has the key for a hub on another machine.
const hubKey = "BLOCKRIG_HUB_KEY"

// hubFlag is that of a verb whose trials others can make.
func (o *labOptions) hubFlag(f *pflag.FlagSet) {
	f.StringVar(&o.hub, "hub", "", "have the trials made, and git's kernels built, by the workers of the hub at `ADDRESS:PORT` (see \"blockrig help serve\")")
}

// checkAddress refuses what is no ADDRESS:PORT.
func checkAddress(flag, addr string) error {
	_, port, err := net.SplitHostPort(addr)
	n, perr := strconv.Atoi(port)
	if err != nil || perr != nil || n < 0 || n > 65535 {
		return fmt.Errorf("--%s %s: want ADDRESS:PORT, such as 192.0.2.7:7070", flag, addr)
	}
	return nil
}

// stateDir is where what is no cache is kept, but for records.
func stateDir() (string, error) {
	if state := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(state) {
		return filepath.Join(state, "blockrig"), nil
	}
	if home := os.Getenv("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".local", "state", "blockrig"), nil
	}
	return "", errors.New("find the folder for state: neither XDG_STATE_HOME nor HOME is set")
}

// hubDir is where this user's hub keeps its keys and its queue.
func hubDir() (string, error) {
	state, err := stateDir()
	return filepath.Join(state, "hub"), err
}

// Folders of a hub.
const (
	hubKeys  = "keys"
	hubQueue = "queue"
)

// keyFor gives the key for a hub: that in the environment or, for a command of
// this user's, that of the user's own hub.
func keyFor(role fleet.Role) (fleet.Key, error) {
	if text := os.Getenv(hubKey); text != "" {
		k, err := fleet.ParseKey(text)
		if err == nil && k.Role != role {
			err = fmt.Errorf("it is a %s's, and this needs a %s's", k.Role, role)
		}
		if err != nil {
			return k, fmt.Errorf("%s: %w", hubKey, err)
		}
		return k, nil
	}
	none := fmt.Errorf("%s is not set: it is in the line that \"blockrig serve\" prints on the hub (--key %s)", hubKey, role)
	if role != fleet.RoleClient {
		return fleet.Key{}, none
	}
	dir, err := hubDir()
	if err != nil {
		return fleet.Key{}, err
	}
	k, err := fleet.ClientKey(filepath.Join(dir, hubKeys))
	if errors.Is(err, fs.ErrNotExist) {
		err = none
	}
	return k, err
}

// joinHub has trials made by a hub's workers from now on: those of one class,
// with the accelerator and, unless it is "", that build of QEMU.
func (a *app) joinHub(ctx context.Context, addr, accel, build string) error {
	if addr == "" || a.fleet != nil {
		return nil
	}
	key, err := keyFor(fleet.RoleClient)
	if err != nil {
		return badRequest(err)
	}
	cache, err := cacheDir()
	if err != nil {
		return err
	}
	c, err := fleet.Connect(ctx, addr, key, a.log)
	if err != nil {
		return err
	}
	c.Say, c.Work = a.say, filepath.Join(cache, "fleet")
	class, err := c.Class(ctx, qemu.Accel(accel), build)
	if err != nil {
		c.Close()
		return err
	}
	a.fleet, a.class = c, class
	return nil
}

// builders are those of a hub's workers that build kernels, all with one
// compiler; none where this machine builds them. It says once which it is. cc is
// what --cc says.
func (a *app) builders(ctx context.Context, cc string) (compiler string, by gitbuild.Away, err error) {
	if a.fleet == nil {
		return "", nil, nil
	}
	a.built.Lock()
	defer a.built.Unlock()
	if !a.built.asked {
		if cc != "" && cc != gitbuild.DefaultCC {
			a.say("kernels are built here: the hub's workers do not build with %s, but with their %s", cc, gitbuild.DefaultCC)
		} else if compiler, err = a.fleet.Compiler(ctx); err != nil {
			return "", nil, err
		} else if compiler == "" {
			a.say("kernels are built here: none of the hub's workers builds any")
		} else {
			a.say("kernels are built by the hub's workers, with %s", compiler)
		}
		a.built.asked, a.built.compiler = true, compiler
	}
	if a.built.compiler == "" {
		return "", nil, nil
	}
	return a.built.compiler, a.fleet, nil
}

// leaveHub ends the connection to a hub, if there is one.
func (a *app) leaveHub() {
	if a.fleet != nil {
		a.fleet.Close()
		a.fleet = nil
	}
}

// elsewhere is who makes the trials when this machine does not; nil when it
// does.
func (a *app) elsewhere() trial.Fleet {
	if a.fleet == nil {
		return nil
	}
	return a.fleet
}

// needMachines says that there is nothing to make trials with.
func (a *app) needMachines() error {
	if a.fleet != nil {
		return nil
	}
	return needQEMU()
}
