package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/blockrig/blockrig/harness/bisect/trials"
	"github.com/blockrig/blockrig/harness/hunt"
	"github.com/blockrig/blockrig/harness/qemu"
	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/results"
)

func (a *app) huntCommand() *cobra.Command {
	var (
		kernel, resume string
		since          string
		stacks         []string
		known          string
		budget         time.Duration
		seed           int
		faults, cuts   bool
		o              labOptions
	)
	c := &cobra.Command{
		Use:   "hunt --stack NAME,… -k REF",
		Short: "Look for bugs that nobody has reported",
		Long: `Do the same I/O on several storage stacks and on a plain disk, and find what one
of them answers differently, where it loses data, blames a disk, breaks the
kernel or hangs.

All stacks are built in one machine, which is saved. The guest then does short
programs of 1 to 6 operations on each: first single ones in which each two
values (operation, O_DIRECT, offset, length, memory, flags) meet, then any, and
sequences. The same --seed gives the same programs. What breaks something is
tried again by itself, on a stack of its own, made as small as it goes, and
confirmed from power-on. Each finding is written down as a scenario that run,
bisect and the like take as it is, and as a report.

A stack is a part, or several joined by + from the bottom up:
  ` + strings.Join(text.Wrap(strings.Join(hunt.StackNames(), " "), 76), "\n  ") + `
With all, each part is hunted on by itself, and then every two that can lie on
each other, in several machines that share the time. What the kernel lacks, or
can't build, is said and left out. --resume goes on with what was not reached.

From a --budget of 20m on, the release that each finding came with is looked for,
too, as bisect versions does, in up to a third of the time.

With --hub the stacks are still compared here, and the trials of what is found
are made by workers with the same QEMU, under tcg unless --accel says otherwise.

Ctrl-C ends the hunt; --resume goes on with it.`,
		Example: `  blockrig hunt --stack lvm-mirror,lvm-raid1,md-raid1 -k debian:6.18 --budget 10m
  blockrig hunt --stack crypt+md-raid1,lvm-raid1+ext4 -k debian:newest --seed 7
  blockrig hunt --stack md-raid5,lvm-raid1 -k debian:newest --faults --power-cut
  blockrig hunt --stacks all -k debian:newest --budget 8h
  blockrig hunt --resume last --budget 1h`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return badRequest(err)
			}
			var bugs []hunt.Known
			if known == knownSkip {
				var err error
				if bugs, err = hunt.ShippedKnown(); err != nil {
					return err
				}
			}
			if resume != "" {
				return a.resumeHunt(c.Context(), resume, c.Flags().Changed("budget"), budget, bugs, o)
			}
			if kernel == "" || len(stacks) == 0 {
				return badRequest(errors.New("hunt: name stacks with --stack, and a kernel with -k, such as --stack lvm-raid1,md-raid1 -k debian:newest"))
			}
			if _, err := hunt.ParseStacks(stacks, 0); err != nil {
				return badRequest(err)
			}
			if budget <= 0 {
				return badRequest(fmt.Errorf("--budget %v: want a time such as 10m", budget))
			}
			if !c.Flags().Changed("seed") {
				seed = 1 + rand.IntN(1_000_000)
			}
			return a.newHunt(c.Context(), hunt.Request{Kernel: kernel, Since: since, Stacks: stacks, Seed: uint64(seed), Budget: budget, Faults: faults, PowerCut: cuts}, bugs, o)
		},
	}
	f := c.Flags()
	f.StringVarP(&kernel, "kernel", "k", "", "kernel `REF`")
	f.StringVar(&since, "since", "", "try each finding on this kernel `REF`, too: is it new, or always so? And what earlier hunts found on that, on this one: is it fixed?")
	f.StringSliceVar(&stacks, "stack", nil, "`NAME`s of the stacks, with commas, or all; the plain disk is always one")
	f.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if name == "stacks" { // both are said
			name = "stack"
		}
		return pflag.NormalizedName(name)
	})
	f.DurationVar(&budget, "budget", 10*time.Minute, "how long to hunt once the machine is ready, a `TIME` such as 10m")
	numberVar(f, &seed, "seed", 0, 1, 1<<31-1, "`N` that the programs are drawn by (default: any)")
	f.BoolVar(&faults, "faults", false, "also do programs while a disk of a redundant stack fails, each in a trial of its own")
	f.BoolVar(&cuts, "power-cut", false, "also do programs at whose end the power fails, at a moment drawn by seed, each in a trial of its own")
	choiceVar(f, &known, "known", knownSkip, []string{knownSkip, knownReport}, "what becomes of bugs that blockrig knows: they are counted, or looked into as any other")
	f.StringVar(&resume, "resume", "", "go on with the hunt with this `ID` (or its beginning, or last)")
	o.cacheFlag(f)
	o.machineFlags(f)
	o.hubFlag(f)
	o.build.buildFlags(f)
	return c
}

// What becomes of known bugs.
const (
	knownSkip   = "skip"
	knownReport = "report"
)

// newHunt begins a hunt.
func (a *app) newHunt(ctx context.Context, r hunt.Request, known []hunt.Known, o labOptions) error {
	root, err := a.sweptRoot(ctx)
	if err != nil {
		return err
	}
	s := hunt.NewState(r)
	if r.Since != "" {
		if s.Earlier, err = hunt.FoundOn(hunt.Root(root), r.Since); err != nil {
			return err
		}
	}
	folder, err := hunt.Create(ctx, hunt.Root(root), results.NewID(time.Now().UTC()), s)
	if err != nil {
		return err
	}
	return a.goHunting(ctx, folder, s, known, o)
}

// resumeHunt goes on with one.
func (a *app) resumeHunt(ctx context.Context, name string, more bool, budget time.Duration, known []hunt.Known, o labOptions) error {
	root, err := a.sweptRoot(ctx)
	if err != nil {
		return err
	}
	folder, s, err := hunt.Open(hunt.Root(root), name)
	if errors.Is(err, hunt.ErrNoHunt) {
		return badRequest(err)
	}
	if err != nil {
		return err
	}
	if more {
		s.Request.Budget = time.Duration(s.SpentMS)*time.Millisecond + budget
	}
	return a.goHunting(ctx, folder, s, known, o)
}

// goHunting hunts, and says what was found.
func (a *app) goHunting(ctx context.Context, folder *hunt.Folder, s *hunt.State, known []hunt.Known, o labOptions) (err error) {
	defer func() { err = errors.Join(err, folder.Close()) }()
	if err := needQEMU(); err != nil { // the stacks are compared here
		return err
	}
	if o.hub != "" {
		build, err := qemu.BuildID("")
		if err != nil {
			return err
		}
		if o.accel == string(qemu.Auto) {
			o.accel = string(qemu.TCG) // that there is everywhere
		}
		if err := a.joinHub(ctx, o.hub, o.accel, build); err != nil {
			return err
		}
	}
	err = a.keepHunting(ctx, folder, s, known, o)
	if a.format == "json" {
		err = errors.Join(err, a.printJSON(s.Totals(folder.Name(), known)))
	} else {
		err = errors.Join(err, s.Summary(a.stdout, known, a.outTerm, a.width))
	}
	if err != nil {
		return err
	}
	return exitWith(s.ExitStatus())
}

// keepHunting hunts, and keeps what is found and the page of it.
func (a *app) keepHunting(ctx context.Context, folder *hunt.Folder, s *hunt.State, known []hunt.Known, o labOptions) error {
	run, err := a.openRun(ctx)
	if err != nil {
		return err
	}
	h := &hunt.Hunt{Fleet: a.elsewhere(), Known: known, Run: run, Log: a.log, Keep: folder.Keep, Status: a.display.Status, Say: func(line string) { a.say("%s", line) }, Found: func(f hunt.Finding) { a.found(folder, f) }}
	stop := a.show()
	err = a.huntWith(ctx, h, s, o)
	stop()
	page, bad := folder.Page(s, known)
	if bad == nil {
		a.say("hunt: %s", page)
	}
	return errors.Join(err, a.endRun(run), bad)
}

func (a *app) huntWith(ctx context.Context, h *hunt.Hunt, s *hunt.State, o labOptions) (err error) {
	if h.Preparer, err = a.preparer(ctx, o); err != nil {
		return err
	}
	if h.Bases, err = a.bases(results.Request{CacheSize: o.cache}, ""); err != nil {
		return err
	}
	dir, err := workDir(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.Remove()) }()
	cache, err := cacheDir()
	if err != nil {
		return err
	}
	if h.Bisections, err = a.bisections(); err != nil {
		return err
	}
	bisector := trials.Unattended{Cache: cache, Command: os.Args, Runner: a.runner}
	h.Bisect = func(ctx context.Context, b trials.Between) (trials.Found, error) {
		b.Machine = trials.Machine{Accel: o.accel, CPUs: o.cpus, Tools: o.tools}
		return bisector.Bisect(ctx, b)
	}
	h.Scratch = filepath.Join(dir.Path(), "sweep")
	if err := os.Mkdir(h.Scratch, 0o700); err != nil {
		return err
	}
	return h.Do(ctx, s)
}

// found says a finding when it comes.
func (a *app) found(folder *hunt.Folder, f hunt.Finding) {
	if a.format == "json" {
		a.display.Over(func() { _ = a.printJSON(f) })
		return
	}
	a.say("found: %s %s: %s (%s)", f.Stack, f.Class, f.Says, filepath.Join(folder.Path(), f.ID+".yaml"))
}
