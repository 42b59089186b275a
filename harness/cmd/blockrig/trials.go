package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/spf13/pflag"

	"github.com/blockrig/blockrig/harness/cachedir"
	"github.com/blockrig/blockrig/harness/progress"
	"github.com/blockrig/blockrig/harness/qemu"
	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/harness/trial"
	"github.com/blockrig/blockrig/initramfs"
	"github.com/blockrig/blockrig/kernels"
	"github.com/blockrig/blockrig/results"
	"github.com/blockrig/blockrig/results/report"
	"github.com/blockrig/blockrig/results/store"
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
	trace  string // when trials are traced
	build  buildOptions
	hub    string // whose workers make the trials; "": this machine does
}

// When the block layer's part in trials is recorded.
const (
	traceAuto   = "auto"
	traceAlways = "always"
	traceNever  = "never"
)

func (o *labOptions) flags(f *pflag.FlagSet) {
	o.machineFlags(f)
	numberVar(f, &o.jobs, "jobs", 0, 1, mostJobs, "trials at a time (default: what cores and memory carry)")
	f.BoolVar(&o.cold, "cold", false, "start every trial from power-on, not from a saved machine")
	o.cacheFlag(f)
	f.BoolVar(&o.timing, "timing", false, "say where the time of each trial went")
}

// cacheFlag is that of a verb that saves machines.
func (o *labOptions) cacheFlag(f *pflag.FlagSet) {
	f.StringVar(&o.cache, "cache-size", results.DefaultCacheSize, "keep at most `SIZE` of saved machines; the least recently used are removed first")
}

// traceFlag is that of a verb whose trials can be traced.
func (o *labOptions) traceFlag(f *pflag.FlagSet) {
	choiceVar(f, &o.trace, "trace", traceAuto, []string{traceAuto, traceAlways, traceNever},
		"record what the block layer does, to name the layer that failed first; auto does it in one more trial for each new failure")
}

// mostJobs bounds --jobs: more machines than any host carries.
const mostJobs = 10_000

// mostCPUs bounds --cpus.
const mostCPUs = 64

// machineFlags are those about one machine.
func (o *labOptions) machineFlags(f *pflag.FlagSet) {
	choiceVar(f, &o.accel, "accel", string(qemu.Auto), []string{string(qemu.Auto), string(qemu.KVM), string(qemu.TCG)}, "acceleration of the machine")
	numberVar(f, &o.cpus, "cpus", 0, 1, mostCPUs, "virtual CPUs of the guest (default 1 under tcg, 2 under kvm)")
	choiceVar(f, &o.tools, "guest-tools", initramfs.FromAuto, []string{initramfs.FromAuto, initramfs.FromDebian, initramfs.FromHost},
		"where lvm, mke2fs and mdadm of the guest come from; auto is debian where apt can fetch it, else host")
}

func (o *labOptions) check() error {
	if o.cache != "" {
		if _, err := scenarios.ParseBytes(o.cache); err != nil {
			return fmt.Errorf("--cache-size: %w", err)
		}
	}
	if o.hub != "" {
		return checkAddress("hub", o.hub)
	}
	return nil
}

// request puts what the flags say into a request.
func (o *labOptions) request(r *results.Request) {
	r.Command = os.Args
	r.Accel, r.CPUs, r.Tools = o.accel, o.cpus, o.tools
	r.Jobs, r.Cold, r.CacheSize, r.Trace = o.jobs, o.cold, o.cache, o.trace
	r.Boots, r.UntilFail = max(1, o.boots), o.until != ""
}

// needQEMU says that QEMU is missing before anything is fetched for it.
func needQEMU() error {
	if _, err := exec.LookPath(qemu.DefaultBinary); err != nil {
		return fmt.Errorf("QEMU is missing: %s is not on PATH; install it (Debian: apt install qemu-system-x86)", qemu.DefaultBinary)
	}
	return nil
}

// preparer gets ready what jobs are made of.
func (a *app) preparer(ctx context.Context, o labOptions) (*trial.Preparer, error) {
	cache, err := cacheDir()
	if err != nil {
		return nil, err
	}
	store, err := kernels.Open(ctx, cache, a.log)
	if err != nil {
		return nil, err
	}
	store.Progress, store.Builder = a.display.Fetched, building{cache: cache, say: a.display.Fetched, with: o.build, log: a.log, away: a.builders}
	p := &trial.Preparer{
		Kernels:   store,
		Initramfs: &initramfs.Builder{Cache: filepath.Join(cache, "initramfs"), Log: a.log},
		ToolsFrom: o.tools,
		CPUs:      o.cpus, Cold: o.cold, Timing: o.timing, Trace: o.trace == traceAlways,
		Accelerate: func(ctx context.Context, k kernels.Kernel) (qemu.Accel, error) {
			return a.accelerate(ctx, qemu.Accel(o.accel), k)
		},
	}
	if a.fleet != nil {
		p.Build = a.class.QEMU
		p.Accelerate = func(context.Context, kernels.Kernel) (qemu.Accel, error) { return a.class.Accel, nil }
		a.fleet.Find = func(ctx context.Context, j trial.Job) (trial.Files, error) {
			j.Direct = false // the worker unpacks it
			return p.Find(ctx, j)
		}
	}
	return p, nil
}

// how a run is done, which may be another way when it is resumed.
type how struct {
	jobs   int // trials at a time; 0: as the request says
	timing bool
	quiet  bool   // nothing of it is printed
	saved  string // folder for saved machines; "" is that of all runs
}

// begun is a run that has been begun, or resumed.
type begun struct {
	run     *results.Run
	req     results.Request
	tasks   []trial.Task
	todo    []int             // places of tasks that are still to be done
	records []*results.Record // of the tasks; nil without
}

// done are the records there are, in the order of the tasks.
func (b *begun) done() []results.Record {
	var out []results.Record
	for _, r := range b.records {
		if r != nil {
			out = append(out, *r)
		}
	}
	return out
}

// An opening begins a run below root, or opens one to resume.
type opening func(root string) (*results.Run, results.Stored, error)

// runTrials does what is to be done of a run, reports all of it, and gives the
// command's exit status.
func (a *app) runTrials(ctx context.Context, h how, open opening) error {
	b, err := a.trialsOf(ctx, h, open)
	if err != nil {
		return err
	}
	if b.req.Verb != results.VerbRepro {
		return exitWith(results.ExitStatusOf(b.done()))
	}
	story, err := b.req.CheckStory(b.done())
	if err != nil {
		return err
	}
	a.say("%s", story.Text)
	return exitWith(story.Status)
}

// trialsOf does what is to be done of a run, and reports all of it.
func (a *app) trialsOf(ctx context.Context, h how, open opening) (*begun, error) {
	root, err := a.sweptRoot(ctx)
	if err != nil {
		return nil, err
	}
	run, stored, err := open(root)
	if err != nil {
		return nil, wrongRun(err)
	}
	b := &begun{run: run, req: stored.Request}
	err = a.doRest(ctx, b, stored, h)
	return b, a.report(ctx, b, h, errors.Join(err, a.endRun(run)))
}

// doRest makes the trials that a run lacks.
func (a *app) doRest(ctx context.Context, b *begun, stored results.Stored, h how) (err error) {
	if b.tasks, err = b.req.Tasks(); err == nil {
		b.todo, b.records, err = stored.Left(b.tasks)
	}
	if err != nil {
		return wrongRun(fmt.Errorf("run %s: %w", stored.ID, err))
	}
	if len(b.todo) == 0 {
		return nil
	}
	if err := a.needMachines(); err != nil {
		return err
	}
	defer a.show()()
	prep, err := a.preparer(ctx, labOptions{
		accel: b.req.Accel, cpus: b.req.CPUs, cold: b.req.Cold, tools: b.req.Tools, timing: h.timing, trace: b.req.Trace, build: buildOptionsOf(b.req.Build),
	})
	if err != nil {
		return err
	}
	left := make([]trial.Task, len(b.todo))
	for n, place := range b.todo {
		left[n] = b.tasks[place]
	}
	jobs, err := prep.Jobs(ctx, left, a.display.Status)
	if err == nil {
		b.req.Seeded(left, jobs)
		err = b.run.Prepared(jobs)
	}
	if err != nil {
		return wrongRun(err)
	}
	return a.schedule(ctx, prep.Find, b, left, jobs, h)
}

// finding gives the files that a job names.
type finding = func(context.Context, trial.Job) (trial.Files, error)

// schedule makes the trials of tasks, and records each.
func (a *app) schedule(ctx context.Context, find finding, b *begun, tasks []trial.Task, jobs []trial.Queued, h how) error {
	bases, err := a.bases(b.req, h.saved)
	if err != nil {
		return err
	}
	var memory scenarios.Bytes
	shown := make([]progress.Trial, len(tasks))
	for n, t := range tasks {
		sc := t.Case.Scenario
		memory = max(memory, t.Case.Setup.Machine.Memory)
		shown[n] = progress.Trial{Kernel: t.Ref, Scenario: sc.Name, Case: t.Case.ID, Boot: t.Boot, Cold: b.req.Cold || sc.Cold != ""}
	}
	workers := cmp.Or(h.jobs, b.req.Jobs)
	switch {
	case a.fleet != nil:
		workers = a.class.Slots
		a.fleet.Started = func(n int, worker string) { a.display.Phase(n, "on "+worker, "") }
	case workers == 0:
		workers = trial.Workers(len(tasks), int64(memory))
	}
	a.display.Trials(shown, workers, len(b.tasks)-len(tasks))
	s := &trial.Schedule{
		Find: find, Workers: workers, Log: a.log, Progress: a.display.Phase, Bases: bases,
		Fleet: a.elsewhere(), Fresh: h.saved != "",
		Begin: func(n int, j trial.Job) (string, error) { return b.run.Begin(b.todo[n], j) },
		Done: func(n int, o trial.Outcome) error {
			rec, err := b.run.End(b.todo[n], o)
			if err != nil {
				return err
			}
			b.records[b.todo[n]] = &rec
			a.display.Done(n, rec.Verdict, rec.Took())
			if b.req.UntilFail && rec.Verdict.Failure() {
				for m, j := range jobs {
					if j.Series() == jobs[n].Series() {
						a.display.Drop(m)
					}
				}
			}
			if h.timing {
				a.sayTiming(rec, o)
			}
			if a.format == "json" && !h.quiet {
				return results.WriteJSON(a.stdout, rec)
			}
			return nil
		},
	}
	if b.req.Trace == traceAuto {
		s.Trace = trial.OncePerFailure()
	}
	if b.req.UntilFail {
		s.Until = func(o trial.Outcome) bool { return o.Verdict.Failure() }
	}
	return s.Run(ctx, jobs)
}

// bases is where machines are saved, in dir or, without, where all runs save
// theirs; nil when every trial is to be cold.
func (a *app) bases(req results.Request, dir string) (*trial.BaseCache, error) {
	if req.Cold {
		return nil, nil
	}
	limit, err := scenarios.ParseBytes(req.CacheSize)
	if err != nil {
		return nil, badRequest(fmt.Errorf("--cache-size: %w", err))
	}
	cache, err := cacheDir()
	if err != nil {
		return nil, err
	}
	return &trial.BaseCache{Dir: cmp.Or(dir, filepath.Join(cache, "snapshots")), Limit: int64(limit), Log: a.log}, nil
}

// sayTiming says where the time of a trial went.
func (a *app) sayTiming(rec results.Record, r trial.Outcome) {
	a.say("%s %s: %d ms", rec.Kernel.Release, rec.Case, r.Wall.Milliseconds())
	for _, t := range r.Timing {
		a.say("  %7d ms  %-6s %s", t.Took.Milliseconds(), t.Phase, text.Cut(t.What, 61))
	}
}

// openRun begins a run that can't be resumed.
func (a *app) openRun(ctx context.Context) (*results.Run, error) {
	root, err := a.sweptRoot(ctx)
	if err != nil {
		return nil, err
	}
	run, err := results.Create(ctx, root, results.Request{Command: os.Args})
	return run, wrongRun(err)
}

// endRun ends a run, and says what it could not add to the index.
func (a *app) endRun(run *results.Run) error {
	err := run.Close()
	if missing := run.Unindexed(); missing != nil {
		a.say("blockrig: %s", missing)
	}
	return err
}

// sweptRoot is the results folder, without what blockrigs left there that
// were killed.
func (a *app) sweptRoot(ctx context.Context) (string, error) {
	root, err := a.resultsRoot()
	if err != nil {
		return "", err
	}
	return root, wrongRun(results.Sweep(ctx, root))
}

// wrongRun makes those errors of the record the user's that are.
func wrongRun(err error) error {
	for _, of := range []error{results.ErrFolder, results.ErrNoRun, store.ErrNone, report.ErrSelect, report.ErrListen, results.ErrUnderWay, results.ErrCantResume} {
		if errors.Is(err, of) {
			return badRequest(err)
		}
	}
	return err
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

// show begins to show on a terminal what is being done, until stop.
func (a *app) show() (stop func()) {
	if a.errTerm {
		a.display = progress.New(a.stderr)
	}
	return a.display.Stop
}

// say tells a person something that is not the answer.
func (a *app) say(format string, args ...any) {
	said := text.Fold(text.EscapeLines(fmt.Sprintf(format, args...)), a.errWidth)
	a.display.Over(func() { fmt.Fprintln(a.stderr, said) })
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

// saidFile has what was said about the accelerator since the host came up.
const saidFile = "said"

// firstTime tells whether text was not said yet since the host came up, and
// remembers that it is said now. Where that can't be known, it is.
func firstTime(dir, text string, log *slog.Logger) bool {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return true
	}
	now := string(boot) + text + "\n"
	path := filepath.Join(dir, saidFile)
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
