package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"github.com/spf13/pflag"

	"github.com/blockrig/blockrig/harness/cachedir"
	"github.com/blockrig/blockrig/harness/qemu"
	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/harness/trial"
	"github.com/blockrig/blockrig/initramfs"
	"github.com/blockrig/blockrig/kernels"
	"github.com/blockrig/blockrig/results"
	"github.com/blockrig/blockrig/scenarios"
)

// labOptions are the flags of every verb that runs trials.
type labOptions struct {
	accel  string
	cpus   int
	jobs   int
	cold   bool
	tools  string
	cache  string // size of the cache of saved machines
	boots  int
	until  string
	timing bool
	build  buildOptions
}

func (o *labOptions) flags(f *pflag.FlagSet) {
	o.machineFlags(f)
	f.IntVar(&o.jobs, "jobs", 0, "trials at a time (default: what cores and memory carry)")
	f.BoolVar(&o.cold, "cold", false, "start every trial from power-on, not from a saved machine")
	f.StringVar(&o.cache, "cache-size", "8GiB", "disk for saved machines; the least recently used go first")
	f.BoolVar(&o.timing, "timing", false, "say where the time of each trial went")
}

// machineFlags are those about one machine.
func (o *labOptions) machineFlags(f *pflag.FlagSet) {
	f.StringVar(&o.accel, "accel", "auto", "acceleration: auto, kvm or tcg")
	f.IntVar(&o.cpus, "cpus", 0, "virtual CPUs of the guest (default 1 under tcg, 2 under kvm)")
	f.StringVar(&o.tools, "guest-tools", initramfs.FromAuto, "where lvm, mke2fs and mdadm of the guest come from: debian, host, or auto (debian where apt can fetch it, else host)")
}

func (o labOptions) check() error {
	switch {
	case o.cpus < 0 || o.cpus > 64:
		return fmt.Errorf("--cpus %d: want 1 to 64", o.cpus)
	case o.jobs < 0:
		return fmt.Errorf("--jobs %d: want 1 or more", o.jobs)
	case o.boots < 0:
		return fmt.Errorf("--boots %d: want 1 or more", o.boots)
	case o.until != "" && o.until != "FAIL":
		return fmt.Errorf("--until %s: want FAIL", o.until)
	case o.accel != string(qemu.Auto) && o.accel != string(qemu.KVM) && o.accel != string(qemu.TCG):
		return fmt.Errorf("--accel %s: want auto, kvm or tcg", o.accel)
	case o.tools != initramfs.FromAuto && o.tools != initramfs.FromDebian && o.tools != initramfs.FromHost:
		return fmt.Errorf("--guest-tools %s: want auto, debian or host", o.tools)
	}
	return nil
}

// needQEMU says that QEMU is missing before anything is fetched for it.
func needQEMU() error {
	if _, err := exec.LookPath(qemu.DefaultBinary); err != nil {
		return fmt.Errorf("QEMU is missing: %s is not on PATH; install it (Debian: apt install qemu-system-x86)", qemu.DefaultBinary)
	}
	return nil
}

// preparer gets ready what jobs are made of.
func (a *app) preparer(o labOptions, p *progress) (*trial.Preparer, error) {
	cache, err := cacheDir()
	if err != nil {
		return nil, err
	}
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find blockrig's own executable, which is the guest's /init: %w", err)
	}
	store, err := kernels.Open(cache, a.log)
	if err != nil {
		return nil, err
	}
	store.Progress, store.Builder = p.fetch, building{cache: cache, say: p.fetch, with: o.build, log: a.log}
	return &trial.Preparer{
		Kernels:   store,
		Initramfs: &initramfs.Builder{Cache: filepath.Join(cache, "initramfs"), Log: a.log},
		Exe:       exe, ToolsFrom: o.tools,
		CPUs: o.cpus, Cold: o.cold, Timing: o.timing,
		Accelerate: func(ctx context.Context, k kernels.Kernel) (qemu.Accel, error) {
			return a.accelerate(ctx, qemu.Accel(o.accel), k)
		},
	}, nil
}

// done is what came of tasks.
type done struct {
	asked   int              // trials
	records []results.Record // of those that ended, in the order of the tasks
	run     string           // ID; "" when nothing was recorded
	dir     string           // of the run
}

// trials runs tasks and records each. What was done before an error is given
// with it.
func (a *app) trials(ctx context.Context, tasks []trial.Task, o labOptions) (_ done, err error) {
	if a.resumed != nil {
		o.timing = a.resumed.timing
		if a.resumed.jobs > 0 {
			o.jobs = a.resumed.jobs
		}
	}
	none := done{asked: len(tasks)}
	if err := o.check(); err != nil {
		return none, badRequest(err)
	}
	if err := needQEMU(); err != nil {
		return none, err
	}
	p := newProgress(a)
	defer p.stop()
	prep, err := a.preparer(o, p)
	if err != nil {
		return none, err
	}
	bases, err := a.bases(o)
	if err != nil {
		return none, err
	}
	run, stored, err := a.openRun(ctx)
	if err != nil {
		return none, err
	}
	defer func() { err = errors.Join(err, run.Close()) }()
	todo, records, err := leftOver(tasks, stored.Records, o.until != "")
	if err != nil {
		return none, badRequest(fmt.Errorf("run %s: %w", run.ID(), err))
	}
	left := make([]trial.Task, len(todo))
	for n, i := range todo {
		left[n] = tasks[i]
		left[n].Boot = tasks[i].Repeat % max(1, o.boots)
	}
	books := newBooks(run, tasks, stored)
	if a.resumed == nil {
		err = run.SetPlan(books.plan)
	} else {
		err = sameKernels(ctx, prep.Kernels, left, stored.Plan)
	}
	if err != nil {
		return none, err
	}
	err = a.schedule(ctx, prep, bases, p, books, left, todo, records, o)
	out := done{asked: len(tasks)}
	for _, r := range records {
		if r != nil {
			out.records = append(out.records, *r)
		}
	}
	if len(out.records) > 0 {
		out.run, out.dir = run.ID(), run.Dir()
	}
	return out, err
}

// schedule does tasks, whose places in the run are in places, and puts their
// records there.
func (a *app) schedule(ctx context.Context, prep *trial.Preparer, bases *trial.BaseCache, p *progress, books *books,
	tasks []trial.Task, places []int, records []*results.Record, o labOptions,
) error {
	if len(tasks) == 0 {
		return nil
	}
	jobs, err := prep.Jobs(ctx, tasks, func(phase, what string) { p.phase(-1, phase, what) })
	if err != nil {
		return err
	}
	workers := a.jobs(o.jobs, tasks)
	p.tasks(tasks, workers, len(records)-len(tasks), newEstimate(tasks, workers, o.boots, o.cold))
	s := &trial.Schedule{
		Find: prep.Find, Workers: workers, Log: a.log, Progress: p.phase, Bases: bases,
		Begin: func(n int, j trial.Job) (string, error) { return books.begin(places[n], j) },
		Done: func(n int, r trial.Outcome) error {
			rec, err := books.end(places[n], r)
			if err != nil {
				return err
			}
			records[places[n]] = &rec
			p.done(n, rec)
			if o.until != "" && rec.Verdict.Failure() {
				for m, j := range jobs {
					if j.Series() == jobs[n].Series() {
						p.drop(m)
					}
				}
			}
			if o.timing {
				a.sayTiming(rec, r)
			}
			if a.format == "json" {
				return results.WriteJSON(a.stdout, rec)
			}
			return nil
		},
	}
	if o.until != "" {
		s.Until = func(r trial.Outcome) bool { return r.Verdict.Failure() }
	}
	err = s.Run(ctx, jobs)
	p.stop()
	return err
}

// jobs is how many trials run at a time: one a core, as far as memory goes.
func (a *app) jobs(asked int, tasks []trial.Task) int {
	if asked > 0 {
		return asked
	}
	jobs := min(runtime.NumCPU(), len(tasks))
	if free, err := availableMemory(); err == nil {
		need := int64(0)
		for _, t := range tasks {
			need = max(need, int64(t.Case.Scenario.Machine.Memory))
		}
		// QEMU itself takes a part, too.
		jobs = min(jobs, int(free/(need+200<<20)))
	}
	return max(1, jobs)
}

// bases is where machines are saved; nil when every trial is to be cold.
func (a *app) bases(o labOptions) (*trial.BaseCache, error) {
	if o.cold {
		return nil, nil
	}
	limit, err := scenarios.ParseBytes(o.cache)
	if err != nil {
		return nil, badRequest(fmt.Errorf("--cache-size: %w", err))
	}
	cache, err := cacheDir()
	if err != nil {
		return nil, err
	}
	return &trial.BaseCache{Dir: filepath.Join(cache, "snapshots"), Limit: int64(limit), Log: a.log}, nil
}

// sayTiming says where the time of a trial went.
func (a *app) sayTiming(rec results.Record, r trial.Outcome) {
	a.say("%s %s: %d ms", rec.Kernel.Release, rec.Case, r.Wall.Milliseconds())
	for _, t := range r.Timing {
		what := t.What
		if n := []rune(what); len(n) > 60 {
			what = string(n[:60]) + "…"
		}
		a.say("  %7d ms  %-6s %s", t.Took.Milliseconds(), t.Phase, what)
	}
}

// openRun begins a run, or goes on with one, of which it gives what is
// stored.
func (a *app) openRun(ctx context.Context) (*results.Run, results.Stored, error) {
	root, err := a.resultsRoot()
	if err != nil {
		return nil, results.Stored{}, err
	}
	if _, err := results.Sweep(ctx, root); err != nil {
		return nil, results.Stored{}, err
	}
	if a.resumed != nil {
		run, stored, err := results.Reopen(ctx, root, a.resumed.id)
		if errors.Is(err, results.ErrGoesOn) {
			err = badRequest(err)
		}
		return run, stored, err
	}
	run, err := results.Create(ctx, root, os.Args)
	return run, results.Stored{}, err
}

func (a *app) resultsRoot() (string, error) {
	if a.results != "" {
		return a.results, nil
	}
	wd, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find a place for results: %w", err)
	}
	return results.DefaultRoot(wd, os.Getenv)
}

// say tells a person something that is not the answer.
func (a *app) say(format string, args ...any) {
	fmt.Fprintln(a.stderr, text.Fold(text.EscapeLines(fmt.Sprintf(format, args...)), a.errWidth))
}

// accelerate chooses the accelerator, and says so when it is not what one
// would hope for.
func (a *app) accelerate(ctx context.Context, choice qemu.Accel, k kernels.Kernel) (qemu.Accel, error) {
	accel, why, err := a.chooseAccel(ctx, choice, k)
	if errors.Is(err, qemu.ErrNoKVM) {
		return "", badRequest(err)
	}
	if err == nil && choice == qemu.Auto && accel == qemu.TCG {
		a.log.Info("running under tcg", "why", why)
		if cache, err := cacheDir(); err != nil || firstTime(filepath.Join(cache, "accel"), why, a.log) {
			a.say("KVM can't be used here (blockrig doctor says why): running under tcg, which is slower")
		}
	}
	return accel, err
}

// toldFile has what was said about the accelerator since the host came up.
const toldFile = "told"

// firstTime tells whether text was not said yet since the host came up, and
// remembers that it is said now. Where that can't be known, it is.
func firstTime(dir, text string, log *slog.Logger) bool {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return true
	}
	now := string(boot) + text + "\n"
	path := filepath.Join(dir, toldFile)
	if old, err := os.ReadFile(path); err == nil && string(old) == now {
		return false
	}
	// Two processes at once say it twice, and no reader minds half a file.
	if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(path, []byte(now), 0o600)); err != nil {
		log.Warn("can't keep that it was said why KVM is not used", "err", err)
	}
	return true
}

// workDir makes a folder in the cache that goes with this process, and removes
// those that blockrigs left that were killed.
func workDir(ctx context.Context) (*cachedir.Folder, error) {
	cache, err := cacheDir()
	if err != nil {
		return nil, err
	}
	root := filepath.Join(cache, "machines")
	if err := cachedir.Sweep(ctx, root, "machine-", nil); err != nil {
		return nil, err
	}
	return cachedir.Scratch(ctx, root, "machine-")
}

// chooseAccel settles the choice of an accelerator, and says why it fell on
// what it did.
func (a *app) chooseAccel(ctx context.Context, choice qemu.Accel, k kernels.Kernel) (_ qemu.Accel, why string, err error) {
	cache, err := cacheDir()
	if err != nil {
		return "", "", err
	}
	dir, err := workDir(ctx)
	if err != nil {
		return "", "", err
	}
	defer func() { err = errors.Join(err, dir.Remove()) }()
	return qemu.ChooseAccel(ctx, choice, qemu.Probe{
		Kernel: k.Image, Dir: dir.Path(), StateDir: filepath.Join(cache, "accel"), Log: a.log,
	})
}
