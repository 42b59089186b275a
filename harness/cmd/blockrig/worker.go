package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/blockrig/blockrig"
	"github.com/blockrig/blockrig/harness/fleet"
	"github.com/blockrig/blockrig/harness/qemu"
	"github.com/blockrig/blockrig/harness/trial"
	"github.com/blockrig/blockrig/kernels"
	"github.com/blockrig/blockrig/results"
)

func (a *app) workerCommand() *cobra.Command {
	var name, user string
	var asRoot bool
	var o labOptions
	c := &cobra.Command{
		Use: "worker --hub ADDRESS:PORT", Short: "Make trials for a hub", Args: cobra.NoArgs,
		Long: `Make trials for the hub at ADDRESS:PORT ("blockrig serve"), until it is ended. The
key is in the variable BLOCKRIG_HUB_KEY, as in the line that the hub prints.

What the hub sends is run in machines alone, and a trial is made only when it is
what its scenario, read anew, gives. Kernels and initramfs images come from the
hub; machines are saved here. Trials go to the workers that have the same QEMU
and accelerator, so that they can be compared.

Started as root, it goes on as the user nobody, or that of --user, so that QEMU
has no rights of root's. What it needs is in /var/cache/blockrig-worker then, or
below XDG_CACHE_HOME; where that user can't come there, it gets a mount namespace
in which it can. Ctrl-C gives back what is under way.`,
		Example: `  BLOCKRIG_HUB_KEY=worker.… blockrig worker --hub 192.0.2.7:7070`,
		RunE: func(c *cobra.Command, _ []string) error {
			if o.hub == "" {
				return badRequest(errors.New("worker: which hub? Name it with --hub ADDRESS:PORT"))
			}
			if err := o.check(); err != nil {
				return badRequest(err)
			}
			if len(name) > 64 {
				return badRequest(errors.New("--name: want 64 characters at most"))
			}
			key, err := keyFor(fleet.RoleWorker)
			if err != nil {
				return badRequest(err)
			}
			if err := needQEMU(); err != nil {
				return err
			}
			if done, err := a.withoutRoot(c.Context(), asRoot, user); done || err != nil {
				return err
			}
			return a.work(c.Context(), key, name, o)
		},
	}
	f := c.Flags()
	f.StringVar(&o.hub, "hub", "", "the hub's `ADDRESS:PORT`")
	f.StringVar(&name, "name", "", "what the hub calls this worker (default: the machine's name)")
	f.BoolVar(&asRoot, "as-root", false, "started as root, stay root")
	f.StringVar(&user, "user", "", "started as root, go on as `USER`, a name or a number (default: nobody)")
	numberVar(f, &o.jobs, "jobs", 0, 1, fleet.MaxSlots, "trials at a time (default: what cores and memory carry)")
	choiceVar(f, &o.accel, "accel", string(qemu.Auto), []string{string(qemu.Auto), string(qemu.KVM), string(qemu.TCG)}, "acceleration that trials are made with; auto: both, where KVM was seen to work")
	o.cacheFlag(f)
	return c
}

// guestMemory is what most guests have, bytes.
const guestMemory = 384 << 20

// work makes trials until ctx ends.
func (a *app) work(ctx context.Context, key fleet.Key, name string, o labOptions) error {
	cache, err := cacheDir()
	if err != nil {
		return err
	}
	store, err := kernels.Open(ctx, cache, a.log)
	if err != nil {
		return err
	}
	bases, err := a.bases(results.Request{CacheSize: o.cache}, "")
	if err != nil {
		return err
	}
	about := fleet.About{Name: name, Slots: o.jobs, CPU: cpuModel()}
	if about.Name == "" {
		if about.Name, err = os.Hostname(); err != nil {
			return fmt.Errorf("find this machine's name: %w; give one with --name", err)
		}
		about.Name = about.Name[:min(len(about.Name), 64)]
	}
	if about.Slots == 0 {
		about.Slots = min(fleet.MaxSlots, trial.Workers(fleet.MaxSlots, guestMemory))
	}
	if about.Classes, err = a.machineClasses(ctx, store, o.accel, about.CPU); err != nil {
		return err
	}
	t := &fleet.Trials{Kernels: store, Bases: bases, Log: a.log, Classes: about.Classes}
	w := &fleet.Worker{
		Addr: o.hub, Key: key, About: about, Cache: filepath.Join(cache, "worker"), Log: a.log, Do: t.Do, Check: t.Check,
		Ready: func() { a.say("%s makes trials for %s, %d at a time", about.Name, o.hub, about.Slots) },
	}
	return w.Run(ctx)
}

// machineClasses are what this machine can make trials of.
func (a *app) machineClasses(ctx context.Context, store *kernels.Store, accel, cpu string) ([]fleet.Class, error) {
	build, err := qemu.BuildID("")
	if err != nil {
		return nil, err
	}
	var out []fleet.Class
	if accel != string(qemu.TCG) {
		// Whether KVM works can only be seen with a kernel.
		k, err := store.Newest(ctx)
		chosen := qemu.TCG
		if err == nil {
			chosen, _, err = a.chooseAccel(ctx, qemu.Accel(accel), k)
		}
		switch {
		case err == nil && chosen == qemu.KVM:
			out = append(out, fleet.Class{Guest: blockrig.GuestSources(), QEMU: build, Accel: qemu.KVM, CPU: cpu})
		case accel == string(qemu.KVM):
			return nil, badRequest(fmt.Errorf("--accel kvm: KVM can't be used here: %w", err))
		}
	}
	if accel != string(qemu.KVM) {
		out = append(out, fleet.Class{Guest: blockrig.GuestSources(), QEMU: build, Accel: qemu.TCG})
	}
	return out, nil
}

// cpuModel is what the host's processor calls itself; "" when it does not say.
func cpuModel() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			value = strings.TrimSpace(value)
			return value[:min(len(value), 100)]
		}
	}
	return ""
}
