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
	"github.com/blockrig/blockrig/harness/bisect/trials"
	"github.com/blockrig/blockrig/harness/child"
	"github.com/blockrig/blockrig/harness/fleet"
	"github.com/blockrig/blockrig/harness/qemu"
	"github.com/blockrig/blockrig/harness/trial"
	"github.com/blockrig/blockrig/kernels"
	"github.com/blockrig/blockrig/kernels/gitbuild"
	"github.com/blockrig/blockrig/results"
)

func (a *app) workerCommand() *cobra.Command {
	var name, user string
	var asRoot bool
	var builds int
	var o labOptions
	c := &cobra.Command{
		Use: "worker --hub ADDRESS:PORT", Short: "Make trials, and build kernels, for a hub", Args: cobra.NoArgs,
		Long: `Make trials, and build kernels, for the hub at ADDRESS:PORT ("blockrig serve"),
until it is ended. The key is in the variable BLOCKRIG_HUB_KEY, as in the line that
the hub prints.

Trials run what the hub sends in machines alone, and are made only when they are
what their scenario, read anew, gives. Kernels and initramfs images come from the
hub; machines are saved here. Trials go to the workers that have the same QEMU
and accelerator, so that they can be compared.

Where gcc, make and what else a kernel takes are installed ("blockrig doctor"), it
builds commits, too. The hub sends what is missing of the sources, and a build goes
on from the object tree of the one before. It runs the commit's own Makefiles, as
the worker's user, and so whatever who has a client's key of the hub puts there;
with --builds 0 nothing is built. They may not look into the worker, which has its
key, where Linux has Landlock (5.13).

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
			if err := os.Unsetenv(hubKey); err != nil { // QEMU has no use for it
				return err
			}
			return a.work(c.Context(), key, name, o, builds, c.Flags().Changed("builds"))
		},
	}
	f := c.Flags()
	f.StringVar(&o.hub, "hub", "", "the hub's `ADDRESS:PORT`")
	f.StringVar(&name, "name", "", "what the hub calls this worker (default: the machine's name)")
	f.BoolVar(&asRoot, "as-root", false, "started as root, stay root")
	f.StringVar(&user, "user", "", "started as root, go on as `USER`, a name or a number (default: nobody)")
	numberVar(f, &o.jobs, "jobs", 0, 1, fleet.MaxSlots, "trials at a time (default: what cores and memory carry)")
	numberVar(f, &builds, "builds", 1, 0, fleet.MaxBuilds, "kernels to build at a time, if what that takes is installed; 0: none")
	choiceVar(f, &o.accel, "accel", string(qemu.Auto), []string{string(qemu.Auto), string(qemu.KVM), string(qemu.TCG)}, "acceleration that trials are made with; auto: both, where KVM was seen to work")
	o.cacheFlag(f)
	return c
}

// guestMemory is what most guests have, bytes.
const guestMemory = 384 << 20

// work makes trials, and so many builds at a time, until ctx ends. That nothing
// can be built is an error where builds are a must.
func (a *app) work(ctx context.Context, key fleet.Key, name string, o labOptions, builds int, must bool) error {
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
	}
	compiler, err := a.buildsFor(ctx, w, cache, builds)
	if err != nil && must {
		return err
	}
	if err != nil {
		a.log.Info("no kernels are built here", "reason", err)
	}
	w.Ready = func() {
		a.say("%s makes trials for %s, %d at a time", about.Name, o.hub, about.Slots)
		if compiler != "" {
			a.say("it builds kernels with %s, %d at a time", compiler, w.About.Builds)
		}
	}
	return w.Run(ctx)
}

// buildsFor has a worker build so many kernels at a time, if it can; the error
// says why not.
func (a *app) buildsFor(ctx context.Context, w *fleet.Worker, cache string, n int) (compiler string, err error) {
	if n == 0 {
		return "", nil
	}
	b, err := gitbuild.Open(ctx, cache, gitbuild.Options{AtOnce: n, Nice: trials.BuildNice, Log: a.log})
	if err != nil {
		return "", err
	}
	if compiler, err = b.CompilerID(ctx); err != nil {
		return "", err
	}
	if !child.CanPart() {
		a.log.Warn("what is built here can read this worker's key: Linux has no Landlock")
	}
	sources, err := gitbuild.OpenStore(filepath.Join(w.Cache, "sources"))
	if err != nil {
		return "", err
	}
	real := &fleet.Builds{Builder: b, Sources: sources}
	w.Build, w.Commits = real.Do, real.Commits
	w.About.Builds = n
	w.About.Classes = append(w.About.Classes, fleet.Class{Compiler: compiler})
	return compiler, nil
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
