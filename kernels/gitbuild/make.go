package gitbuild

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/blockrig/blockrig/harness/child"
	"github.com/blockrig/blockrig/kernels/gitbuild/gitcmd"
)

// objects is an object tree: one for each config and compiler. Its files
// belong to the build's user, who may put anything there, links too: so they
// are reached through root only.
type objects struct {
	dir   string
	root  *os.Root
	fresh bool // nothing is in it yet
}

// fileBoot is in an object tree that can be used again, and says in which run
// of the machine it was written. It is not there while make works, for a make
// that was killed can leave objects that are cut short and look finished; and
// a loss of power can leave any file empty, cut short or full of zeros.
const fileBoot = ".blockrig-boot"

// bootID is another one each time the machine starts (random(4)).
const bootID = "/proc/sys/kernel/random/boot_id"

// objects opens the job's object tree. One that can't be used again is
// cleared: with ccache it is soon filled.
func (b *Builder) objects(j *job) (*objects, error) {
	sum := sha256.Sum256([]byte(j.configText() + string(j.start) + j.compiler.id))
	o := &objects{dir: filepath.Join(j.place, "obj-"+hex.EncodeToString(sum[:6]))}
	boot, err := os.ReadFile(bootID)
	if err != nil {
		return nil, fmt.Errorf("open the build's folder: %w", err)
	}
	if err := b.giveFolders(j.ccache(), j.home()); err != nil {
		return nil, err
	}
	if o.root, err = os.OpenRoot(o.dir); err == nil {
		was, err := o.root.ReadFile(fileBoot)
		if err == nil && bytes.Equal(was, boot) {
			return o, nil
		}
		if err := errors.Join(o.root.Close(), os.RemoveAll(o.dir)); err != nil {
			return nil, fmt.Errorf("clear an interrupted build: %w", err)
		}
	}
	o.fresh = true
	if err := b.giveFolders(o.dir); err != nil {
		return nil, err
	}
	if o.root, err = os.OpenRoot(o.dir); err != nil {
		return nil, fmt.Errorf("open the build's folder: %w", err)
	}
	return o, nil
}

// giveFolders makes folders that the build writes into.
func (b *Builder) giveFolders(dirs ...string) error {
	for _, dir := range dirs {
		if err := b.makeFolder(dir); err != nil {
			return err
		}
		if b.user == nil {
			continue
		}
		if err := os.Chown(dir, int(b.user.uid), int(b.user.gid)); err != nil {
			return fmt.Errorf("give the build's folder to its user: %w", err)
		}
	}
	return nil
}

// write puts a file into the object tree in the place of what is there.
func (o *objects) write(name, text string, owner *user) error {
	err := o.root.Remove(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := o.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err == nil && owner != nil {
		err = f.Chown(int(owner.uid), int(owner.gid))
	}
	return errors.Join(err, f.Close())
}

// compile configures and builds. What make says goes to the log. A
// *FailedError says that the sources are to blame.
func (b *Builder) compile(ctx context.Context, j *job, src *source, obj *objects, log *log) (files int, err error) {
	if err := obj.root.Remove(fileBoot); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("build: %w", err)
	}
	clean := true
	defer func() {
		if !clean {
			return
		}
		boot, bootErr := os.ReadFile(bootID)
		if bootErr == nil {
			bootErr = obj.write(fileBoot, string(boot), b.user)
		}
		err = errors.Join(err, bootErr)
	}()
	b.opts.Progress("config", 0)
	if clean, err = b.configure(ctx, j, src, obj, log); err != nil {
		return 0, err
	}
	b.opts.Progress("build", 0)
	clean, err = b.make(ctx, j, src, obj, log, func(line string) {
		if compiledLine(line) {
			files++
			b.opts.Progress("build", files)
		}
	}, "-j"+strconv.Itoa(b.jobs), "bzImage")
	return files, err
}

// compiledLine tells whether a line of make's output is about an object of the
// kernel.
func compiledLine(line string) bool {
	what, _, _ := strings.Cut(strings.TrimSpace(line), " ")
	return what == "CC" || what == "AS"
}

// make runs make. It is clean when make came to an end by itself.
func (b *Builder) make(ctx context.Context, j *job, src *source, obj *objects, log *log, line func(string), args ...string) (clean bool, err error) {
	// The shell is the init of the build's processes, which make can't be: it
	// could not end itself by a signal. It outlives make, and says how it ended.
	all := []string{"-c", `trap : TERM; "$@"; exit $?`, "sh"}
	if b.opts.Nice > 0 {
		all = append(all, "nice", "-n", strconv.Itoa(b.opts.Nice))
	}
	all = append(all, "make", "-C", src.dir, "O="+obj.dir, "ARCH=x86_64", "CC="+j.compiler.command, "HOSTCC="+j.compiler.command, "LOCALVERSION=", "KBUILD_VERBOSE=0")
	cmd := exec.Command("sh", append(all, args...)...)
	cmd.Dir = obj.dir
	cmd.Env = b.environ(j)
	log.line, log.last = line, nil
	cmd.Stdout, cmd.Stderr = log, log
	// Time for make to remove its unfinished targets.
	opt := child.Options{Grace: 20 * time.Second, Contain: true}
	b.asUser(cmd, &opt, j.compiler.path, child.Folder{Path: src.dir}, child.Folder{Path: obj.dir, Writable: true},
		child.Folder{Path: j.home(), Writable: true}, child.Folder{Path: j.ccache(), Writable: true})
	p, err := child.Start(ctx, cmd, opt)
	if err != nil {
		return true, err
	}
	err = p.Wait()
	log.endLine()
	if !child.CanContain() {
		if left := j.endLeftSoon(ctx); left != nil {
			return false, errors.Join(err, left)
		}
	}
	status := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		status = exit.ExitCode()
	}
	// On SIGTERM make removes its unfinished targets before it goes.
	const terminated = 128 + int(syscall.SIGTERM)
	switch {
	case ctx.Err() != nil:
		return err == nil || status == 2 || status == terminated, fmt.Errorf("build: %w", ctx.Err())
	case err == nil:
		return true, nil
	case status != 1 && status != 2:
		return false, fmt.Errorf("make died: %w", err)
	}
	return true, diagnose(log.last, src.dir)
}

// home is a folder that is the home of what the job's build starts, and of
// nothing else.
func (j *job) home() string { return filepath.Join(j.place, "tmp") }

// ccache is a compiler cache of the repository's own: a build may write
// anything there.
func (j *job) ccache() string { return filepath.Join(j.dir, "ccache") }

// endLeftSoon is endLeft that waits for a few seconds more after a cancel.
func (j *job) endLeftSoon(ctx context.Context) error {
	const grace = 5 * time.Second
	end, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	unhook := context.AfterFunc(ctx, func() { time.AfterFunc(grace, stop) })
	defer unhook()
	return j.endLeft(end)
}

// endLeft kills what a build left running, where it can't be held in a PID
// namespace. It is known by its environment (proc(5)). In the middle of a disk's
// work a process does not end before that is done.
func (j *job) endLeft(ctx context.Context) error {
	for {
		found, err := filepath.Glob("/proc/[0-9]*/environ")
		if err != nil {
			return fmt.Errorf("end what the build left running: %w", err)
		}
		left := false
		for _, file := range found {
			environ, err := os.ReadFile(file)
			if err != nil || !slices.Contains(strings.Split(string(environ), "\x00"), "HOME="+j.home()) {
				continue // another user's, or gone
			}
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			if err != nil {
				continue
			}
			left = syscall.Kill(pid, syscall.SIGKILL) == nil || left
		}
		if !left {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("end what the build left running: %w", context.Cause(ctx))
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// environ is all that the build sees of the environment. Fixed time, user,
// host and version make the same source give the same image.
func (b *Builder) environ(j *job) []string {
	return []string{
		"PATH=" + b.path(),
		"HOME=" + j.home(), "TMPDIR=" + j.home(),
		"LC_ALL=C", "TZ=UTC",
		"KBUILD_BUILD_TIMESTAMP=Thu Jan  1 00:00:00 UTC 1970", "SOURCE_DATE_EPOCH=0",
		"KBUILD_BUILD_USER=blockrig", "KBUILD_BUILD_HOST=blockrig", "KBUILD_BUILD_VERSION=1",
		"GIT_CEILING_DIRECTORIES=" + j.place, "GIT_DIR=/nonexistent", // scripts/setlocalversion asks git
		"CCACHE_DIR=" + j.ccache(), "CCACHE_BASEDIR=" + b.work, "CCACHE_MAXSIZE=5G",
		"CCACHE_COMPILERCHECK=content", "CCACHE_NOHASHDIR=1",
	}
}

// path is where the build looks for tools. With a folder that its user can't
// come to, a missing tool would be one that it may not start.
func (b *Builder) path() string {
	path := gitcmd.Path(os.Getenv("PATH"))
	if b.user == nil {
		return path
	}
	return strings.Join(slices.DeleteFunc(filepath.SplitList(path), func(dir string) bool { return !b.reachable(dir) }), string(filepath.ListSeparator))
}

// look finds a program as the build does; "" when it is not there.
func (b *Builder) look(name string) string {
	if strings.Contains(name, "/") {
		if _, err := exec.LookPath(name); err != nil {
			return ""
		}
		return name
	}
	for _, dir := range filepath.SplitList(b.path()) {
		if found, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return found
		}
	}
	return ""
}

// A compiler, and what of it changes what it makes.
type compiler struct {
	path    string
	command string // for make's CC
	id      string
}

// tools that a kernel's build needs, and Debian's packages that have them.
var tools = []struct{ name, pkg string }{
	{"make", "make"},
	{"flex", "flex"},
	{"bison", "bison"},
	{"bc", "bc"},
	{"ld", "binutils"},
}

func (b *Builder) findCompiler(ctx context.Context) (compiler, error) {
	var lacks, packages []string
	for _, t := range tools {
		if b.look(t.name) == "" {
			lacks, packages = append(lacks, t.name), append(packages, t.pkg)
		}
	}
	path := b.look(b.opts.CC)
	if path == "" {
		lacks = append(lacks, b.opts.CC)
		if b.opts.CC == "gcc" {
			packages = append(packages, "gcc")
		}
	}
	if len(lacks) > 0 {
		hint := ""
		if len(packages) > 0 {
			hint = "; apt-get install " + strings.Join(packages, " ") + " libelf-dev"
		}
		return compiler{}, fmt.Errorf("kernels can't be built here: %s is missing%s", strings.Join(lacks, ", "), hint)
	}
	c := compiler{path: path, command: path}
	if ccache := b.look("ccache"); ccache != "" {
		c.command = ccache + " " + path
	}
	for _, prog := range []string{path, b.look("ld")} {
		cmd := exec.Command(prog, "--version")
		cmd.Env = []string{"PATH=" + b.path(), "LC_ALL=C"}
		var opt child.Options
		b.asUser(cmd, &opt, path)
		out, err := child.Output(ctx, cmd, opt, 1<<20)
		if err != nil && ctx.Err() == nil && b.user != nil {
			err = fmt.Errorf("%w (root builds as nobody, who sees the system's folders, those on PATH and the compiler's, where everyone may enter them)", err)
		}
		if err != nil {
			return compiler{}, fmt.Errorf("ask %s for its version: %w", prog, err)
		}
		first, _, _ := strings.Cut(string(out), "\n")
		if c.id != "" {
			c.id += "; "
		}
		c.id += strings.TrimSpace(first)
	}
	return c, nil
}

var cmdDeps = regexp.MustCompile(`^\s*(?:\$\(wildcard )?([^\s)\\]+)\)?\s*\\?$`)

// writeSources lists the files of the source tree that the build read, from
// the .cmd files that kbuild leaves beside each object. Paths in them are
// absolute, or relative to the object tree (ccache makes them so).
func writeSources(file string, obj *objects, src string) error {
	seen := make(map[string]bool)
	prefix := src + "/"
	err := fs.WalkDir(obj.root.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || !strings.HasPrefix(d.Name(), ".") || !strings.HasSuffix(d.Name(), ".cmd") {
			return err
		}
		// Objects that are no longer made leave theirs behind.
		if _, err := obj.root.Stat(filepath.Join(filepath.Dir(p), strings.TrimSuffix(d.Name()[1:], ".cmd"))); err != nil {
			return nil
		}
		data, err := obj.root.ReadFile(p)
		if err != nil {
			return err
		}
		scan := bufio.NewScanner(bytes.NewReader(data))
		scan.Buffer(nil, 1<<22)
		for scan.Scan() {
			line := scan.Text()
			if name, value, ok := strings.Cut(line, " := "); ok && strings.HasPrefix(name, "source_") {
				line = value
			}
			m := cmdDeps.FindStringSubmatch(line)
			if m == nil {
				continue
			}
			path := m[1]
			if strings.HasPrefix(path, "include/config/") {
				continue // options: most lines are these
			}
			if !filepath.IsAbs(path) {
				path = obj.dir + "/" + path
			}
			if rel, ok := strings.CutPrefix(filepath.Clean(path), prefix); ok {
				seen[rel] = true
			}
		}
		return scan.Err()
	})
	if err != nil {
		return fmt.Errorf("list what the build read: %w", err)
	}
	return writeLines(file, seen)
}
