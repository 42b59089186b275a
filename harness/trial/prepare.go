package trial

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/blockrig/blockrig/harness/qemu"
	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/initramfs"
	"github.com/blockrig/blockrig/initramfs/protocol"
	"github.com/blockrig/blockrig/kernels"
	"github.com/blockrig/blockrig/scenarios"
)

// A Task is one trial that is asked for: a case on a kernel that is still
// only a reference.
type Task struct {
	Ref    string
	Exact  string // a reference that gives the very kernel that Ref once stood for; "": Ref itself
	Case   scenarios.Case
	Repeat int // from 0
	Boot   int // which of the kernel's boots it goes on from, from 0
}

// A Preparer makes jobs: it fetches kernels and builds what they boot with,
// each once. And it finds on this machine what a job names by digest. Its
// methods may be called by several goroutines at once.
type Preparer struct {
	Kernels   *kernels.Store
	Initramfs *initramfs.Builder
	Exe       string // static executable that becomes /init; "": see initramfs.Request
	ToolsFrom string // initramfs.FromAuto, FromDebian or FromHost
	Shell     bool   // the initramfs has u-root's shell and core commands, too

	// Accelerate chooses how the machines run. It is asked once, with the
	// first kernel that is there.
	Accelerate func(ctx context.Context, k kernels.Kernel) (qemu.Accel, error)
	Binary     string // QEMU; "" for the one in PATH
	Build      string // of QEMU (qemu.BuildID), where jobs are for other machines; "": this one's
	CPUs       int    // of the guest; 0: one under TCG, two under KVM
	Cold       bool   // no trial goes on from a saved machine
	Timing     bool   // each boot says what its time went into
	Trace      bool   // every trial is traced, whatever its scenario says

	mu       sync.Mutex
	prepared map[request]preparation
	accel    qemu.Accel
	build    string           // qemu.BuildID
	files    map[string]noted // by digest; of an unpacked kernel with directSuffix
}

// request is what a preparation depends on, within one process.
type request struct{ ref, needs string }

// A preparation is what was prepared, and for which case.
type preparation struct {
	Prepared
	of scenarios.Case
}

// directSuffix follows the digest of a kernel that is unpacked.
const directSuffix = " unpacked"

// Prepared is a kernel that is ready for cases of a scenario.
type Prepared struct {
	Kernel  kernels.Kernel
	Initrd  initramfs.Initramfs
	Modules []protocol.Module
}

// Prepare fetches a kernel and builds its initramfs. An error for which
// WrongRequest is true means that the request can't be met as it is.
func (p *Preparer) Prepare(ctx context.Context, ref string, c scenarios.Case) (Prepared, error) {
	p.mu.Lock()
	done, ok := p.prepared[requestOf(ref, c)]
	ok = ok && p.files[done.Initrd.Digest].same() && p.files[done.Kernel.Digest].same()
	p.mu.Unlock()
	if ok {
		return done.Prepared, nil
	}
	k, err := p.Kernels.Resolve(ctx, ref)
	if err != nil {
		return Prepared{}, err
	}
	return p.PrepareKernel(ctx, ref, k, c)
}

// PrepareKernel is Prepare for a kernel that is there: the one that ref stands
// for from now on.
func (p *Preparer) PrepareKernel(ctx context.Context, ref string, k kernels.Kernel, c scenarios.Case) (Prepared, error) {
	modules, err := k.Closure(c.Needs())
	if err != nil {
		return Prepared{}, fmt.Errorf("kernel %s for scenario %s: %w", k.Ref, c.Scenario.Name, err)
	}
	if err := p.Kernels.Verify(ctx, k, modules); err != nil {
		return Prepared{}, fmt.Errorf("kernel %s for scenario %s: %w", k.Ref, c.Scenario.Name, err)
	}
	programs, err := Programs(c)
	if err != nil {
		return Prepared{}, err
	}
	img, err := p.Initramfs.Build(ctx, initramfs.Request{
		Exe: p.Exe, Tools: c.Tools(), ToolsFrom: p.ToolsFrom, Shell: p.Shell || c.Shell(), Programs: programs, Kernel: k, Modules: modules,
	})
	if err != nil {
		return Prepared{}, fmt.Errorf("kernel %s for scenario %s: %w", k.Ref, c.Scenario.Name, err)
	}
	k.Ref = ref
	done := Prepared{Kernel: k, Initrd: img}
	for i, path := range img.Modules {
		done.Modules = append(done.Modules, protocol.Module{Path: path, Optional: modules[i].Soft})
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.prepared == nil {
		p.prepared = map[request]preparation{}
	}
	p.prepared[requestOf(ref, c)] = preparation{done, c}
	p.note(k.Digest, k.Image)
	p.note(img.Digest, img.Path)
	return done, nil
}

func requestOf(ref string, c scenarios.Case) request {
	needs := fmt.Sprint(c.Needs(), c.Tools(), c.Shell())
	programs, err := Programs(c)
	for _, p := range programs {
		needs += fmt.Sprintf(" %s %x", p.Name, sha256.Sum256(p.Data))
	}
	if err != nil {
		needs += err.Error() // it is said when they are prepared
	}
	return request{ref, needs}
}

// Programs reads the programs that lie beside a case's scenario and that its
// steps run in the guest. They are never run here.
func Programs(c scenarios.Case) (out []initramfs.Program, err error) {
	var names []string
	each(c.Steps, func(st scenarios.Step) {
		if st.Exec != nil && st.Exec.File != "" && !slices.Contains(names, st.Exec.File) {
			names = append(names, st.Exec.File)
		}
	})
	if len(names) == 0 {
		return nil, nil
	}
	if c.Scenario.File == "" {
		return nil, fmt.Errorf("scenario %s: it was read from no file, beside which %s could lie", c.Scenario.Name, names[0])
	}
	root, err := os.OpenRoot(filepath.Dir(c.Scenario.File))
	if err != nil {
		return nil, fmt.Errorf("read the programs of scenario %s: %w", c.Scenario.Name, err)
	}
	defer root.Close()
	for _, name := range names {
		info, err := root.Stat(name)
		if err == nil && (!info.Mode().IsRegular() || info.Size() > maxProgram) {
			err = fmt.Errorf("it is no regular file of at most %d bytes", maxProgram)
		}
		var data []byte
		if err == nil {
			data, err = root.ReadFile(name)
		}
		if err != nil {
			return nil, fmt.Errorf("read program %s of scenario %s: %w", name, c.Scenario.Name, err)
		}
		out = append(out, initramfs.Program{Name: name, Data: data})
	}
	return out, nil
}

// maxProgram bounds a program of a scenario, bytes.
const maxProgram = 64 << 20

// note keeps where a file is. The caller holds p.mu.
func (p *Preparer) note(digest, path string) {
	if p.files == nil {
		p.files = map[string]noted{}
	}
	info, err := os.Stat(path)
	if err != nil {
		info = nil // it will not be taken for the same
	}
	p.files[digest] = noted{path, info}
}

// noted is a file as it was when its digest was known. A user's own kernel may
// be built again under the same name.
type noted struct {
	path string
	info os.FileInfo
}

func (n noted) same() bool {
	now, err := os.Stat(n.path)
	return err == nil && n.info != nil && now.Mode().IsRegular() && os.SameFile(now, n.info) &&
		now.Size() == n.info.Size() && now.ModTime().Equal(n.info.ModTime())
}

// Job is a trial of one case on a prepared kernel; boot says which of the
// kernel's boots it goes on from.
func (p *Preparer) Job(ctx context.Context, k Prepared, c scenarios.Case, boot int) (Job, error) {
	accel, build, err := p.machine(ctx, k.Kernel)
	if err != nil {
		return Job{}, err
	}
	j := jobOf(Task{Ref: k.Kernel.Ref, Case: c})
	j.Kernel = Kernel{Ref: k.Kernel.Ref, Exact: k.Kernel.Exact, Release: k.Kernel.Release, Digest: k.Kernel.Digest}
	j.Initramfs, j.Modules = k.Initrd.Digest, k.Modules
	j.QEMU, j.Accel, j.CPUs, j.Timing = build, accel, cpus(p.CPUs, accel), p.Timing
	j.Trace = p.Trace || c.Scenario.Trace != ""
	if j.Cold = p.Cold || c.Scenario.Cold != "" || !j.savable(); !j.Cold {
		j.Boot = boot
	}
	j.Seed = make([]byte, 32)
	_, _ = rand.Read(j.Seed) // never fails (crypto/rand)
	j.Direct, err = p.direct(ctx, k.Kernel, accel)
	return j, err
}

// jobOf is as much of a job as a task says.
func jobOf(t Task) Job {
	sc := t.Case.Scenario
	return Job{
		Kernel: Kernel{Ref: t.Ref}, Scenario: sc.Name, Source: string(sc.Source), Case: t.Case.ID,
		Setup: t.Case.Setup, Steps: t.Case.Steps, Allow: sc.Allow,
	}
}

// machine says what the machines run with, which is chosen once.
func (p *Preparer) machine(ctx context.Context, k kernels.Kernel) (accel qemu.Accel, build string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if build, err = p.qemu(); err != nil {
		return "", "", err
	}
	if p.accel == "" {
		if p.accel, err = p.Accelerate(ctx, k); err != nil {
			return "", "", err
		}
	}
	return p.accel, build, nil
}

// qemu names this machine's QEMU. The caller holds p.mu.
func (p *Preparer) qemu() (_ string, err error) {
	if p.Build != "" {
		return p.Build, nil
	}
	if p.build == "" {
		p.build, err = qemu.BuildID(p.Binary)
	}
	return p.build, err
}

// direct says whether QEMU is to start what is inside a kernel's image, and
// unpacks it: under emulation, where it has an entry for that.
func (p *Preparer) direct(ctx context.Context, k kernels.Kernel, accel qemu.Accel) (bool, error) {
	p.mu.Lock()
	known := p.files[k.Digest+directSuffix]
	p.mu.Unlock()
	if accel != qemu.TCG || known.same() {
		return accel == qemu.TCG, nil
	}
	path, err := p.Kernels.Direct(ctx, k)
	if errors.Is(err, kernels.ErrNoDirect) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.note(k.Digest+directSuffix, path)
	return true, nil
}

// cpus is how many virtual CPUs a guest gets. Under TCG more than one is slow
// and now and then dies early in the boot with nothing wrong in the kernel.
func cpus(asked int, accel qemu.Accel) int {
	switch {
	case asked > 0:
		return asked
	case accel == qemu.KVM:
		return 2
	default:
		return 1
	}
}

// A Queued is a job for a Schedule, or why there is none.
type Queued struct {
	Job
	Err      error     // of its preparation; the job says no more than its task then
	Attempts []Attempt // at the preparation, with Err
}

// unprepared is the outcome of a trial that has an Err.
func (q Queued) unprepared(l Local) Outcome {
	o := failed(l, q.Err)
	if len(q.Attempts) > 0 {
		o.Attempts = q.Attempts
	}
	return o
}

// Jobs prepares tasks, each kernel once. A task that can't be prepared, in as
// many attempts as a trial has, has its reason in Err; so has one whose kernel
// is built without what its stack takes. Another request that can't be met as it
// is (see WrongRequest), or for which no machine can run, is an error for all.
// progress, which may be nil, is told what is done.
func (p *Preparer) Jobs(ctx context.Context, tasks []Task, progress func(phase, what string)) ([]Queued, error) {
	if progress == nil {
		progress = func(string, string) {}
	}
	out := make([]Queued, len(tasks))
	type tried struct {
		Prepared
		err      error
		attempts []Attempt
	}
	done := map[request]tried{}
	for i, t := range tasks {
		key := requestOf(t.Ref, t.Case)
		k, ok := done[key]
		if !ok {
			progress("fetch", t.Ref)
			k.attempts, k.err = attempts(ctx, func() (err error) {
				k.Prepared, err = p.Prepare(ctx, cmp.Or(t.Exact, t.Ref), t.Case)
				return err
			})
			k.Kernel.Ref = t.Ref
		}
		if !ok && k.err == nil {
			progress("accelerator", "")
			if _, _, err := p.machine(ctx, k.Kernel); err != nil {
				return nil, err
			}
		}
		if k.err == nil {
			k.attempts, k.err = attempts(ctx, func() (err error) {
				out[i].Job, err = p.Job(ctx, k.Prepared, t.Case, t.Boot)
				return err
			})
		}
		if ctx.Err() != nil || WrongRequest(k.err) && !errors.Is(k.err, kernels.ErrWithout) {
			return nil, cmp.Or(k.err, context.Cause(ctx))
		}
		if done[key] = k; k.err != nil {
			out[i] = Queued{jobOf(t), k.err, k.attempts}
		}
	}
	return out, nil
}

// attempts prepares something until it is there, in MaxAttempts at most: a
// download that broke off may go through a moment later. They are what failed.
func attempts(ctx context.Context, prepare func() error) (all []Attempt, err error) {
	for len(all) < MaxAttempts {
		began := time.Now()
		if err = prepare(); err == nil {
			return nil, nil
		}
		all = append(all, Attempt{Verdict: scenarios.Error, Reason: text.OneLine(err.Error()), MS: time.Since(began).Milliseconds()})
		if ctx.Err() != nil || WrongRequest(err) {
			break
		}
	}
	return all, err
}

// WrongRequest says whether an error of a preparation means that the request
// can't be met as it is, as opposed to something that broke.
func WrongRequest(err error) bool {
	for _, e := range []error{kernels.ErrRef, kernels.ErrNotFound, kernels.ErrImage, kernels.ErrModules, kernels.ErrNeed} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// Files are what a machine is started with.
type Files struct {
	Image  string // what QEMU starts: a bzImage, or what was in one
	Initrd string
}

// Find gives the files that a job names. What this process has not prepared
// itself it looks for in the caches; what it has, and is not there any more, it
// makes again.
func (p *Preparer) Find(ctx context.Context, j Job) (Files, error) {
	image := j.Kernel.Digest
	if j.Direct {
		image += directSuffix
	}
	p.mu.Lock()
	build, err := p.qemu()
	kernel, initrd := p.files[image], p.files[j.Initramfs]
	f := Files{kernel.path, initrd.path}
	p.mu.Unlock()
	switch {
	case err != nil:
		return Files{}, err
	case build != j.QEMU:
		return Files{}, fmt.Errorf("the job is for another QEMU than this machine's: build %.12s, not %.12s", j.QEMU, build)
	}
	if !kernel.same() {
		if f.Image, err = p.findKernel(ctx, j); err != nil {
			return Files{}, fmt.Errorf("find the kernel %s: %w", cmp.Or(j.Kernel.Exact, j.Kernel.Ref), err)
		}
	}
	if !initrd.same() {
		if f.Initrd, err = p.findInitramfs(ctx, j.Initramfs); err != nil {
			return Files{}, err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.note(image, f.Image)
	p.note(j.Initramfs, f.Initrd)
	return f, nil
}

// findInitramfs gives an image of that digest. Another process that uses the
// cache may have removed it: no age keeps it there when a clock is set.
func (p *Preparer) findInitramfs(ctx context.Context, digest string) (string, error) {
	path, err := p.Initramfs.Find(ctx, digest)
	if err == nil || ctx.Err() != nil {
		return path, err
	}
	var made preparation
	p.mu.Lock()
	for _, one := range p.prepared {
		if one.Initrd.Digest == digest {
			made = one
		}
	}
	p.mu.Unlock()
	if made.Initrd.Digest == "" {
		return "", err
	}
	again, err := p.PrepareKernel(ctx, made.Kernel.Ref, made.Kernel, made.of)
	switch {
	case err != nil:
		return "", err
	case again.Initrd.Digest != digest:
		return "", fmt.Errorf("the initramfs %.12s is not in the cache any more, and was made again as another one, %.12s", digest, again.Initrd.Digest)
	}
	return again.Initrd.Path, nil
}

// Again gives the bzImage and the initramfs of a job that was run, by whatever
// QEMU. Where the initramfs is not in the cache any more, one is made, and ready
// says which; else ready is nil.
func (p *Preparer) Again(ctx context.Context, j Job, c scenarios.Case) (f Files, ready *Prepared, err error) {
	j.Direct = false
	if f.Image, err = p.findKernel(ctx, j); err != nil {
		return Files{}, nil, fmt.Errorf("find the kernel %s: %w", cmp.Or(j.Kernel.Exact, j.Kernel.Ref), err)
	}
	if f.Initrd, err = p.Initramfs.Find(ctx, j.Initramfs); err == nil || ctx.Err() != nil {
		return f, nil, err
	}
	made, err := p.Prepare(ctx, j.Kernel.Exact, c)
	if err != nil {
		return Files{}, nil, err
	}
	f.Initrd = made.Initrd.Path
	return f, &made, nil
}

func (p *Preparer) findKernel(ctx context.Context, j Job) (string, error) {
	k, err := p.Kernels.Resolve(ctx, j.Kernel.Exact)
	switch {
	case err != nil:
		return "", err
	case k.Digest != j.Kernel.Digest:
		return "", errors.New("it is another one than the job is for")
	case j.Direct:
		return p.Kernels.Direct(ctx, k)
	}
	return k.Image, nil
}
