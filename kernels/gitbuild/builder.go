package gitbuild

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"github.com/blockrig/blockrig/kernels"
	"github.com/blockrig/blockrig/kernels/config"
	"github.com/blockrig/blockrig/kernels/gitbuild/gitcmd"
)

// Options of a Builder. The zero value builds with gcc on all CPUs.
type Options struct {
	CC       string // the compiler; "" is gcc
	Jobs     int    // of make; 0: one for each CPU
	Nice     int    // of make
	NoCcache bool   // leave ccache alone, though it is there
	// Log, if not nil, is told what was found damaged and is made anew.
	Log *slog.Logger
	// Progress, if not nil, is told what a build does: a phase (lock,
	// checkout, config, build; clean: again without old objects) and how many files were compiled so far.
	Progress func(phase string, files int)

	// Fragments, ConfigFile and Patches are those of kernels that come from
	// a reference (see Spec).
	Fragments  []string
	ConfigFile string
	Patches    []string
}

// A Spec is a kernel to build.
type Spec struct {
	Repo    string   // a local repository
	Rev     string   // a commit in it
	Revert  string   // a commit whose change is taken back; "" is none
	Patches []string // files for git apply; one that does not apply is left out, and said
	Try     []string // more of them, after Patches; one that does not apply is an error (ErrDoesNotApply)
	// Fragments of kernels/config; nil: config.Default().
	Fragments []string
	// ConfigFile is a .config to begin with, cut down: what it has as a
	// module is left out, what the fragments ask for is built in.
	ConfigFile string
}

// A Build is a kernel that was built, now or before.
type Build struct {
	kernels.Kernel
	Commit     string        `json:"commit"`
	Tree       string        `json:"tree"`                  // git's hash of the sources
	Image256   string        `json:"image_sha256"`          // of the image alone
	LeftOut    []string      `json:"left_out,omitempty"`    // patches that do not apply
	Compiler   string        `json:"compiler"`              // its first line of --version
	Log        string        `json:"log"`                   // make's output
	Sources    string        `json:"sources"`               // file that lists what the build read of the source tree
	Took       time.Duration `json:"took"`                  // when it was built
	Files      int           `json:"files"`                 // compiled then
	Cached     bool          `json:"-"`                     // it was not built now
	Fragments  []string      `json:"fragments,omitempty"`   // of the config
	ConfigFile string        `json:"config_file,omitempty"` // it began with
}

// A FailedError is a kernel that can't be built. It is remembered: asking
// again gives the same error without building.
type FailedError struct {
	Why    string `json:"why"` // the first error, with file and line where the compiler says so
	Log    string `json:"log"` // file with make's output
	Cached bool   `json:"-"`

	damaged bool // over a file of the object tree that looks cut short
}

func (e *FailedError) Error() string { return "does not build: " + e.Why }

// ErrDoesNotApply is the error of a change that can't be made to a commit.
var ErrDoesNotApply = errors.New("does not apply")

// A Builder builds kernels, one at a time for each repository; several
// processes may use one cache.
type Builder struct {
	opts  Options
	home  string // blockrig's own cache folder
	cache string // results
	work  string // worktrees, object trees, ccache
	user  *user  // that make runs as; nil: the one we are
	jobs  int

	checked sync.Map // keys of the entries whose images were read and are right
}

// Open prepares the cache below cacheDir (blockrig's own cache folder).
func Open(ctx context.Context, cacheDir string, opts Options) (*Builder, error) {
	abs, err := filepath.Abs(cacheDir)
	if err != nil {
		return nil, fmt.Errorf("open build cache: %w", err)
	}
	opts.CC = cmp.Or(opts.CC, "gcc")
	if strings.HasPrefix(opts.CC, "-") || strings.ContainsAny(opts.CC, " \t\n$'\"\\;&|") {
		return nil, fmt.Errorf("compiler %q: give the name or path of one program", opts.CC)
	}
	b := &Builder{opts: opts, home: abs, cache: filepath.Join(abs, "builds"), work: filepath.Join(abs, "sources"), jobs: opts.Jobs}
	if b.jobs <= 0 {
		b.jobs = runtime.NumCPU()
	}
	if b.opts.Log == nil {
		b.opts.Log = slog.New(slog.DiscardHandler)
	}
	if b.opts.Progress == nil {
		b.opts.Progress = func(string, int) {}
	}
	if os.Geteuid() == 0 {
		if b.user, err = unprivileged(); err != nil {
			return nil, err
		}
		// A cache in root's home can't be reached by anyone else.
		if !reachable(abs) {
			sum := sha256.Sum256([]byte(abs))
			above := "/var/cache/blockrig"
			b.work = filepath.Join(above, "sources-"+hex.EncodeToString(sum[:6]))
			if err := b.makeFolder(above); err != nil {
				return nil, fmt.Errorf("open build cache: %w", err)
			}
		}
	}
	if err := b.makeFolder(b.work); err != nil {
		return nil, fmt.Errorf("open build cache: %w", err)
	}
	if err := os.MkdirAll(b.cache, 0o755); err != nil {
		return nil, fmt.Errorf("open build cache: %w", err)
	}
	return b, nil
}

// Build implements kernels.Builder.
func (b *Builder) Build(ctx context.Context, ref kernels.GitRef) (kernels.Kernel, error) {
	build, err := b.BuildSpec(ctx, Spec{
		Repo: ref.Repo, Rev: ref.Rev,
		Fragments: b.opts.Fragments, ConfigFile: b.opts.ConfigFile, Patches: b.opts.Patches,
	})
	return build.Kernel, err
}

// BuildSpec gives a kernel from the cache or builds it. The error is a
// *FailedError when the sources can't be built, and wraps ErrDoesNotApply when
// Revert, or one of Try, does not apply, and kernels.ErrNotFound when there is
// no such repository, no such commit in it, or not all of it.
func (b *Builder) BuildSpec(ctx context.Context, spec Spec) (Build, error) {
	build, err := b.buildSpec(ctx, spec)
	var wrong *gitcmd.RequestError
	var missing *gitcmd.MissingError
	if errors.As(err, &wrong) || errors.As(err, &missing) {
		err = fmt.Errorf("%w: %w", kernels.ErrNotFound, err)
	}
	return build, err
}

func (b *Builder) buildSpec(ctx context.Context, spec Spec) (build Build, err error) {
	j, err := b.job(ctx, spec)
	if err != nil {
		return Build{}, err
	}
	if build, err := b.cached(j); err != nil && !errors.Is(err, errSpoiled) || build.Image != "" {
		return build, err
	}
	unlock, err := b.lock(ctx, filepath.Join(j.dir, "lock"))
	if err != nil {
		return Build{}, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	build, err = b.cached(j)
	if errors.Is(err, errSpoiled) {
		build, err = Build{}, b.drop(j, err)
	}
	if err != nil || build.Image != "" {
		return build, err
	}
	return b.build(ctx, j)
}

// A job is a spec with everything in it resolved.
type job struct {
	spec     Spec
	repo     *gitcmd.Repo
	commit   string
	revert   string
	tree     string
	patches  []patch
	wants    []config.Want
	start    []byte // of ConfigFile
	compiler compiler
	dir      string // of the repository below work
	key      string
}

type patch struct {
	name string
	text []byte
	must bool // apply
}

func (b *Builder) job(ctx context.Context, spec Spec) (*job, error) {
	j := &job{spec: spec}
	var err error
	if j.repo, err = gitcmd.Open(ctx, b.home, spec.Repo); err != nil {
		return nil, err
	}
	if j.commit, err = j.repo.Resolve(ctx, spec.Rev); err != nil {
		return nil, err
	}
	out, err := j.repo.Run(ctx, "rev-parse", "--verify", "--end-of-options", j.commit+"^{tree}")
	if err != nil {
		return nil, err
	}
	j.tree = strings.TrimSpace(out)
	if spec.Revert != "" {
		if j.revert, err = j.repo.Resolve(ctx, spec.Revert); err != nil {
			return nil, fmt.Errorf("revert: %w", err)
		}
	}
	for i, name := range slices.Concat(spec.Patches, spec.Try) {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("patch: %w", err)
		}
		j.patches = append(j.patches, patch{name, text, i >= len(spec.Patches)})
	}
	if spec.Fragments == nil {
		j.spec.Fragments = config.Default()
	}
	if spec.ConfigFile != "" {
		j.spec.Fragments = config.Beside(j.spec.Fragments)
	}
	if j.wants, err = config.Read(j.spec.Fragments); err != nil {
		return nil, err
	}
	if spec.ConfigFile != "" {
		if j.start, err = os.ReadFile(spec.ConfigFile); err != nil {
			return nil, fmt.Errorf("config: %w", err)
		}
		if len(config.Values(string(j.start))) == 0 {
			return nil, fmt.Errorf("config: %s sets no option", spec.ConfigFile)
		}
	}
	if j.compiler, err = b.findCompiler(ctx); err != nil {
		return nil, err
	}
	id := sha256.Sum256([]byte(j.repo.Common()))
	j.dir = filepath.Join(b.work, hex.EncodeToString(id[:8]))
	if err := b.makeFolder(j.dir); err != nil {
		return nil, err
	}
	sum := sha256.New()
	fmt.Fprintf(sum, "blockrig build 1\ntree %s\nrevert %s\nmust %v\n", j.tree, j.revert, len(spec.Try) > 0)
	for _, p := range j.patches {
		what := "patch"
		if p.must {
			what = "try"
		}
		fmt.Fprintf(sum, "%s %x\n", what, sha256.Sum256(p.text))
	}
	fmt.Fprintf(sum, "config %x\n%s", sha256.Sum256(j.start), j.configText())
	fmt.Fprintf(sum, "compiler %s\n", j.compiler.id)
	j.key = hex.EncodeToString(sum.Sum(nil))
	return j, nil
}

// configText is what is asked for; with the compiler it names the object tree.
func (j *job) configText() string {
	var t strings.Builder
	for _, w := range j.wants {
		fmt.Fprintln(&t, w)
	}
	return t.String()
}

func (j *job) exact() string { return "git:" + j.repo.Dir() + "@" + j.commit }

// paths are the fields that are relative to the result's folder on disk.
func (b *Build) paths() []*string {
	return []*string{&b.Image, &b.Config, &b.Map, &b.Vmlinux, &b.Log, &b.Sources}
}

func (b *Builder) build(ctx context.Context, j *job) (Build, error) {
	began := time.Now()
	if err := b.sweep(); err != nil {
		return Build{}, err
	}
	b.opts.Progress("checkout", 0)
	src, err := b.checkout(ctx, j)
	if err != nil {
		return Build{}, err
	}
	leftOut, err := src.change(ctx, j)
	if err != nil {
		return Build{}, err
	}
	if b.user != nil {
		if err := openTo(src.dir); err != nil {
			return Build{}, err
		}
	}
	build, err := b.buildIn(ctx, j, src, began, leftOut, false)
	var bad *damagedError
	if errors.As(err, &bad) {
		b.opts.Log.Warn("the object tree is damaged, as a loss of power leaves it; building from clean", "folder", bad.dir, "err", bad.err)
		b.opts.Progress("clean", 0)
		build, err = b.buildIn(ctx, j, src, began, leftOut, true)
	}
	return build, err
}

// buildIn builds what is checked out in the object tree, or, from clean, in
// an empty one. A *damagedError says that it must be from clean.
func (b *Builder) buildIn(ctx context.Context, j *job, src *source, began time.Time, leftOut []string, clean bool) (build Build, err error) {
	obj, err := b.objects(j, clean)
	if err != nil {
		return Build{}, err
	}
	defer func() { err = errors.Join(err, obj.root.Close()) }()
	if !obj.fresh {
		if err := obj.survey(); err != nil {
			return Build{}, err
		}
	}
	tmp, err := os.MkdirTemp(b.cache, "tmp-")
	if err != nil {
		return Build{}, fmt.Errorf("store a build: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	if err := os.Chmod(tmp, 0o755); err != nil {
		return Build{}, fmt.Errorf("store a build: %w", err)
	}
	log, err := os.Create(filepath.Join(tmp, "build.log"))
	if err != nil {
		return Build{}, fmt.Errorf("store a build: %w", err)
	}
	files, err := b.compile(ctx, j, src, obj, log)
	if err := errors.Join(err, log.Close()); err != nil {
		var failed *FailedError
		if !errors.As(err, &failed) || ctx.Err() != nil {
			return Build{}, err
		}
		if err := src.intact(ctx); err != nil {
			return Build{}, err
		}
		if failed.damaged && !obj.fresh {
			return Build{}, &damagedError{obj.dir, err}
		}
		failed.Log = "build.log"
		if err := writeJSON(filepath.Join(tmp, fileFailed), failed); err != nil {
			return Build{}, err
		}
		if err := b.keep(tmp, j); err != nil {
			return Build{}, err
		}
		failed.Log = filepath.Join(b.cache, j.key, "build.log")
		return Build{}, failed
	}
	build = Build{
		Kernel: kernels.Kernel{Image: filepath.Join(tmp, "vmlinuz"), Config: filepath.Join(tmp, "config"), Map: filepath.Join(tmp, "System.map")},
		Commit: j.commit, Tree: j.tree, LeftOut: leftOut, Compiler: j.compiler.id, Log: filepath.Join(tmp, "build.log"),
		Sources: filepath.Join(tmp, "sources"), Files: files, Fragments: j.spec.Fragments, ConfigFile: j.spec.ConfigFile,
	}
	for from, to := range map[string]string{
		"arch/x86/boot/bzImage": build.Image, ".config": build.Config, "System.map": build.Map,
	} {
		if err := copyFile(obj.root, from, to); err != nil {
			return Build{}, err
		}
	}
	dotConfig, err := os.ReadFile(build.Config)
	if err != nil {
		return Build{}, fmt.Errorf("store a build: %w", err)
	}
	if config.Values(string(dotConfig))["CONFIG_DEBUG_INFO"] == "y" {
		build.Vmlinux = filepath.Join(tmp, "vmlinux")
		if err := copyFile(obj.root, "vmlinux", build.Vmlinux); err != nil {
			return Build{}, err
		}
	}
	if err := writeSources(build.Sources, obj, src.dir); err != nil {
		return Build{}, err
	}
	if build.Image256, err = digestFile(build.Image); err != nil {
		return Build{}, err
	}
	if build.Kernel, err = build.Complete(); err != nil {
		if !obj.fresh && ctx.Err() == nil {
			err = &damagedError{obj.dir, err}
		}
		return Build{}, err
	}
	if err := src.intact(ctx); err != nil {
		return Build{}, err
	}
	build.Took = time.Since(began)
	if err := storeEntry(tmp, build); err != nil {
		return Build{}, err
	}
	if err := b.keep(tmp, j); err != nil {
		return Build{}, err
	}
	b.checked.Store(j.key, true)
	build, err = b.cached(j)
	build.Cached = false
	return build, err
}

// Forget drops what is known of a spec, so that it is built anew.
func (b *Builder) Forget(ctx context.Context, spec Spec) error {
	j, err := b.job(ctx, spec)
	if err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(b.cache, j.key)); err != nil {
		return fmt.Errorf("forget a build: %w", err)
	}
	return nil
}

// sweep removes results that dead processes left half made.
func (b *Builder) sweep() error {
	old, err := filepath.Glob(filepath.Join(b.cache, "tmp-*"))
	if err != nil {
		return fmt.Errorf("sweep the build cache: %w", err)
	}
	for _, dir := range old {
		info, err := os.Stat(dir)
		if err != nil || time.Since(info.ModTime()) < 24*time.Hour {
			continue // another process, for another repository, may be at it
		}
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("sweep the build cache: %w", err)
		}
	}
	return nil
}

func (b *Builder) lock(ctx context.Context, file string) (func() error, error) {
	l := flock.New(file)
	if ok, err := l.TryLock(); err == nil && !ok {
		b.opts.Progress("waiting for another build", 0)
		b.opts.Log.Warn("another blockrig builds from the same repository; waiting until it is done")
	}
	if _, err := l.TryLockContext(ctx, 200*time.Millisecond); err != nil {
		return nil, fmt.Errorf("wait for another build: %w", err)
	}
	return l.Unlock, nil
}

func copyFile(root *os.Root, from, to string) error {
	in, err := root.Open(from)
	if err != nil {
		return fmt.Errorf("store a build: %w", err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("store a build: %w", err)
	}
	_, err = io.Copy(out, in)
	if err := errors.Join(err, out.Close()); err != nil {
		return fmt.Errorf("store a build: %w", err)
	}
	return nil
}

func digestFile(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", fmt.Errorf("digest of an image: %w", err)
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", fmt.Errorf("digest of an image: %w", err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

var _ kernels.Builder = (*Builder)(nil)
