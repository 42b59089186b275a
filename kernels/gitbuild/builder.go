package gitbuild

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/blockrig/blockrig/harness/cachedir"
	"github.com/blockrig/blockrig/harness/child"
	"github.com/blockrig/blockrig/kernels"
	"github.com/blockrig/blockrig/kernels/config"
	"github.com/blockrig/blockrig/kernels/gitbuild/gitcmd"
)

// DefaultCC is the compiler of who names none.
const DefaultCC = "gcc"

// Options of a Builder. The zero value builds with gcc on all CPUs.
type Options struct {
	CC   string // the compiler; "" is gcc
	Jobs int    // of make; 0: one for each CPU, shared among the builds at once
	// AtOnce is how many kernels of one repository are built at once; 0: 1.
	AtOnce int
	Nice   int // of make
	// Log, if not nil, is told what was found damaged and is made anew.
	Log *slog.Logger
	// Progress, if not nil, is told what a build does: a phase (lock,
	// checkout, config, build; clean: again without old objects) and how many files were compiled so far.
	Progress func(phase string, files int)

	// Away, if not nil, is who builds instead of this machine, with the compiler
	// that it calls Compiler (see Build.Compiler).
	Away     Away
	Compiler string

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
	Partly  bool     // of Revert, what does not apply any more is left out, as long as some of it does
	Pick    string   // a commit whose change is made; "" is none. With Revert it is an error
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

// ErrChangesNothing is the ErrDoesNotApply of a change that is there already,
// or of a revert of one that is not.
var ErrChangesNothing = fmt.Errorf("%w: it changes nothing here", ErrDoesNotApply)

// ErrNoKernel is the error of a commit that has no kernel's sources, such as one
// of another project's that was merged.
var ErrNoKernel = fmt.Errorf("%w: the commit has no kernel in it: no Makefile", kernels.ErrNotFound)

// A Builder builds kernels, one at a time for each repository unless its options
// say otherwise; several processes may use one cache, and don't wait for each
// other but for the same kernel.
type Builder struct {
	opts    Options
	home    string        // blockrig's own cache folder
	entries *cachedir.Dir // results, by a job's key
	packs   *cachedir.Dir // of sources for other machines, by their trees
	basing  sync.Mutex    // while it is chosen which is whole
	work    string        // worktrees, object trees, ccaches
	user    *user         // that make runs as; nil: the one we are
	// enclosed says that make sees the system, its tools and its own folders
	// alone.
	enclosed bool
	sees     []string // that it sees besides

	turns sync.Map // folder of a repository -> chan struct{}, which has what this Builder builds from it; full: no more
	jobs  int
}

// Open prepares the cache below cacheDir (blockrig's own cache folder).
func Open(ctx context.Context, cacheDir string, opts Options) (*Builder, error) {
	abs, err := filepath.Abs(cacheDir)
	if err != nil {
		return nil, fmt.Errorf("open build cache: %w", err)
	}
	opts.CC = cmp.Or(opts.CC, DefaultCC)
	if strings.Contains(opts.CC, "/") {
		if opts.CC, err = filepath.Abs(opts.CC); err != nil {
			return nil, fmt.Errorf("open build cache: %w", err)
		}
	}
	if strings.HasPrefix(opts.CC, "-") || strings.ContainsAny(opts.CC, " \t\n$'\"\\;&|") {
		return nil, fmt.Errorf("compiler %q: give the name or path of one program", opts.CC)
	}
	b := &Builder{opts: opts, home: abs, work: filepath.Join(abs, "sources"), jobs: opts.Jobs}
	b.opts.AtOnce = max(1, opts.AtOnce)
	if b.jobs <= 0 {
		b.jobs = max(1, runtime.NumCPU()/b.opts.AtOnce)
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
		b.enclosed = child.CanEnclose()
		// A cache in root's home can't be reached by anyone else, unless make has
		// a view of its own.
		if !b.enclosed && !b.reachable(abs) {
			sum := sha256.Sum256([]byte(abs))
			b.work = filepath.Join("/var/cache/blockrig", "sources-"+hex.EncodeToString(sum[:6]))
		}
	}
	b.entries = cachedir.New(filepath.Join(abs, "builds"), cachedir.Options{
		What: "built kernel", Durable: true, Log: b.opts.Log,
		Waiting: func(string) {
			b.opts.Progress("waiting for another build", 0)
			b.opts.Log.Warn("another blockrig builds this kernel; waiting until it is done")
		},
	})
	b.packs = cachedir.New(filepath.Join(abs, "packs"), cachedir.Options{What: "pack of sources", Limit: packsLimit, Log: b.opts.Log})
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
// no such repository, no such commit in it, or not all of it, or (ErrNoKernel)
// the commit has no kernel.
func (b *Builder) BuildSpec(ctx context.Context, spec Spec) (Build, error) {
	build, err := b.buildSpec(ctx, spec)
	var wrong *gitcmd.RequestError
	var missing *gitcmd.MissingError
	if errors.As(err, &wrong) || errors.As(err, &missing) {
		err = fmt.Errorf("%w: %w", kernels.ErrNotFound, err)
	}
	return build, err
}

func (b *Builder) buildSpec(ctx context.Context, spec Spec) (_ Build, err error) {
	j, err := b.job(ctx, spec)
	if err != nil {
		return Build{}, err
	}
	if e, err := b.entries.Open(ctx, j.key); err == nil {
		return b.read(e, j, true)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return Build{}, err
	}
	cached := true
	e, err := b.entries.Get(ctx, j.key, func(ctx context.Context, dir string) (err error) {
		cached = false
		if j.away {
			return b.buildAway(ctx, j, dir)
		}
		leave, err := b.takePlace(ctx, j)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, leave()) }()
		return b.build(ctx, j, dir)
	})
	if err != nil {
		return Build{}, err
	}
	return b.read(e, j, cached)
}

// A job is a spec with everything in it resolved.
type job struct {
	spec   Spec
	repo   *gitcmd.Repo
	commit string
	tree   string
	// turn is what is done with a commit's change, for errors ("revert 0123…"),
	// turnTrees the sources before and after it. The parent is the one that
	// replacements and grafts of the repository say.
	turn      string
	turnTrees [2]string
	patches   []patch
	wants     []config.Want
	start     []byte // of ConfigFile
	compiler  compiler
	away      bool   // another machine builds it
	dir       string // of the repository below work
	place     string // for the sources and objects of this job: see takePlace
	key       string
}

type patch struct {
	name string
	text []byte
	must bool // apply
}

func (b *Builder) job(ctx context.Context, spec Spec) (*job, error) {
	j := &job{spec: spec}
	err := b.makeFolder(b.work) // before others make what is above it by their umask
	if err != nil {
		return nil, err
	}
	if j.repo, err = gitcmd.Open(ctx, b.home, spec.Repo); err != nil {
		return nil, err
	}
	if j.commit, err = j.repo.Resolve(ctx, spec.Rev); err != nil {
		return nil, err
	}
	if j.tree, err = treeOf(ctx, j.repo, j.commit); err != nil {
		return nil, err
	}
	if err := j.resolveTurn(ctx); err != nil {
		return nil, err
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
	j.away = b.opts.Away != nil && treeForm.MatchString(j.tree)
	if j.away {
		j.compiler.id = b.opts.Compiler
	} else if j.compiler, err = b.findCompiler(ctx); err != nil {
		return nil, err
	}
	j.dir = filepath.Join(b.work, idOf(j.repo.Common()))
	sum := sha256.New()
	turn := ""
	if j.turn != "" {
		turn = strings.Join(j.turnTrees[:], " ")
	}
	fmt.Fprintf(sum, "blockrig build 1\ntree %s\nrevert %s\nmust %v\n", j.tree, turn, len(spec.Try) > 0)
	if spec.Partly {
		fmt.Fprintln(sum, "partly")
	}
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

// idOf names the folder of what is built from a repository.
func idOf(repo string) string {
	id := sha256.Sum256([]byte(repo))
	return hex.EncodeToString(id[:8])
}

// resolveTurn finds the commit whose change is taken back or made.
func (j *job) resolveTurn(ctx context.Context) error {
	what, rev := "revert", j.spec.Revert
	switch {
	case j.spec.Pick != "" && rev != "":
		return errors.New("a change to take back and one to make: a build can have one of them")
	case j.spec.Pick != "":
		what, rev = "apply", j.spec.Pick
	case rev == "":
		return nil
	}
	hash, err := j.repo.Resolve(ctx, rev)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	j.turn = what + " " + hash[:12]
	trees := []string{hash, hash + "^1"}
	if what == "apply" {
		slices.Reverse(trees)
	}
	for i, rev := range trees {
		if j.turnTrees[i], err = treeOf(ctx, j.repo, rev); err != nil {
			return fmt.Errorf("%s: %w", j.turn, err)
		}
	}
	return nil
}

// treeOf is git's hash of a commit's sources.
func treeOf(ctx context.Context, repo *gitcmd.Repo, rev string) (string, error) {
	out, err := repo.Run(ctx, "rev-parse", "--verify", "--end-of-options", rev+"^{tree}")
	if _, failed := gitcmd.Status(err); failed {
		return "", fmt.Errorf("%s is not there: %w", rev, err)
	}
	return strings.TrimSpace(out), err
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

// build builds a job into dir, an entry to be.
func (b *Builder) build(ctx context.Context, j *job, dir string) error {
	began := time.Now()
	if !child.CanContain() { // of one whose blockrig was killed
		if err := j.endLeft(ctx); err != nil {
			return err
		}
	}
	b.opts.Progress("checkout", 0)
	src, err := b.checkout(ctx, j)
	if err != nil {
		return err
	}
	leftOut, err := src.change(ctx, j)
	if err != nil {
		return err
	}
	build := Build{
		Commit: j.commit, Tree: j.tree, LeftOut: leftOut, Compiler: j.compiler.id,
		Fragments: j.spec.Fragments, ConfigFile: j.spec.ConfigFile,
	}
	err = b.buildIn(ctx, j, src, dir, &build)
	var bad *damagedError
	if errors.As(err, &bad) {
		b.opts.Log.Warn("the object tree is damaged; building from clean", "folder", bad.dir, "err", bad.err)
		b.opts.Progress("clean", 0)
		if err := os.RemoveAll(bad.dir); err != nil {
			return fmt.Errorf("clear a damaged build: %w", err)
		}
		err = b.buildIn(ctx, j, src, dir, &build)
	}
	var failed *FailedError
	if err != nil && (!errors.As(err, &failed) || ctx.Err() != nil) {
		return err
	}
	if err := src.intact(ctx); err != nil {
		return err
	}
	build.Took = time.Since(began)
	return store(dir, build, failed)
}

// buildIn builds what is checked out, and puts what is kept of it into dir. A
// *FailedError says that the sources are to blame; a *damagedError, that what
// an earlier build left may be.
func (b *Builder) buildIn(ctx context.Context, j *job, src *source, dir string, build *Build) (err error) {
	obj, err := b.objects(j)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, obj.root.Close()) }()
	damaged := func(err error) error {
		if obj.fresh || ctx.Err() != nil {
			return err
		}
		return &damagedError{obj.dir, err}
	}
	build.Log, build.Sources = filepath.Join(dir, "build.log"), filepath.Join(dir, "sources")
	log, err := createLog(build.Log)
	if err != nil {
		return fmt.Errorf("store a build: %w", err)
	}
	build.Files, err = b.compile(ctx, j, src, obj, log)
	if err := errors.Join(err, log.Close()); err != nil {
		if failed, ok := errors.AsType[*FailedError](err); ok && failed.damaged {
			return damaged(err)
		}
		return err
	}
	build.Kernel = kernels.Kernel{Image: filepath.Join(dir, "vmlinuz"), Config: filepath.Join(dir, "config"), Map: filepath.Join(dir, "System.map")}
	if build.Image256, err = copyFile(obj.root, "arch/x86/boot/bzImage", build.Image); err != nil {
		return damaged(err)
	}
	for from, to := range map[string]string{".config": build.Config, "System.map": build.Map} {
		if _, err := copyFile(obj.root, from, to); err != nil {
			return err
		}
	}
	dotConfig, err := os.ReadFile(build.Config)
	if err != nil {
		return fmt.Errorf("store a build: %w", err)
	}
	if config.Values(string(dotConfig))["CONFIG_DEBUG_INFO"] == "y" {
		build.Vmlinux = filepath.Join(dir, "vmlinux")
		if _, err := copyFile(obj.root, "vmlinux", build.Vmlinux); err != nil {
			return err
		}
	}
	if err := writeSources(build.Sources, obj, src.dir); err != nil {
		return err
	}
	if build.Kernel, err = build.Complete(); err != nil {
		return damaged(err)
	}
	return nil
}

// takePlace gives the job a folder for its sources and objects: the
// repository's own, which has those of earlier builds, or while another build
// is there one beside it.
func (b *Builder) takePlace(ctx context.Context, j *job) (leave func() error, err error) {
	// Who builds several kernels is soonest done where the last one was built.
	all, _ := b.turns.LoadOrStore(j.dir, make(chan struct{}, b.opts.AtOnce))
	turn := all.(chan struct{})
	select {
	case turn <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for another build: %w", context.Cause(ctx))
	}
	for n := 1; ; n++ {
		j.place = j.dir
		if n > 1 {
			j.place = filepath.Join(j.dir, strconv.Itoa(n))
			b.opts.Log.Info("another build from the same repository is under way, so this one begins in a folder of its own", "folder", j.place)
		}
		var unlock func() error
		if err = b.makeFolder(j.place); err == nil {
			unlock, err = cachedir.TryLock(filepath.Join(j.place, "lock"))
		}
		if err == nil {
			// The next one in this process is to find the place free.
			return func() error { defer func() { <-turn }(); return unlock() }, nil
		}
		if !errors.Is(err, cachedir.ErrBusy) {
			<-turn
			return nil, fmt.Errorf("make the build's folder: %w", err)
		}
	}
}

// copyFile copies a file out of the object tree and gives its SHA-256.
func copyFile(root *os.Root, from, to string) (digest string, err error) {
	in, err := root.Open(from)
	if err != nil {
		return "", fmt.Errorf("store a build: %w", err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return "", fmt.Errorf("store a build: %w", err)
	}
	sum := sha256.New()
	_, err = io.Copy(io.MultiWriter(out, sum), in)
	if err := errors.Join(err, out.Close()); err != nil {
		return "", fmt.Errorf("store a build: %w", err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

var _ kernels.Builder = (*Builder)(nil)
