package gitbuild

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// objects is an object tree: one for each config and compiler. Its files
// belong to the build's user, who may put anything there, links too: so they
// are reached through root only.
type objects struct {
	dir   string
	root  *os.Root
	fresh bool // nothing is in it yet
	clean bool // nothing from before is to be used, ccache's objects neither
}

// fileDirty is in an object tree while make works in it. A make that was
// killed can leave objects that are cut short and look finished, so such a
// tree is not gone on with.
const fileDirty = ".blockrig-dirty"

// objects opens the job's object tree, an empty one for clean.
func (b *Builder) objects(j *job, clean bool) (*objects, error) {
	sum := sha256.Sum256([]byte(j.configText() + string(j.start) + j.compiler.id))
	o := &objects{dir: filepath.Join(j.dir, "obj-"+hex.EncodeToString(sum[:6])), clean: clean}
	if _, err := os.Stat(filepath.Join(o.dir, fileDirty)); err == nil || clean {
		if err := os.RemoveAll(o.dir); err != nil {
			return nil, fmt.Errorf("clear an interrupted build: %w", err)
		}
	}
	if _, err := os.Stat(o.dir); errors.Is(err, fs.ErrNotExist) {
		o.fresh = true
	}
	for _, dir := range []string{o.dir, filepath.Join(b.work, "ccache"), filepath.Join(j.dir, "tmp")} {
		if err := b.makeFolder(dir); err != nil {
			return nil, err
		}
		if b.user == nil {
			continue
		}
		if err := os.Chown(dir, int(b.user.uid), int(b.user.gid)); err != nil {
			return nil, fmt.Errorf("give the build's folder to its user: %w", err)
		}
	}
	var err error
	if o.root, err = os.OpenRoot(o.dir); err != nil {
		return nil, fmt.Errorf("open the build's folder: %w", err)
	}
	return o, nil
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
func (b *Builder) compile(ctx context.Context, j *job, src *source, obj *objects, log io.Writer) (files int, err error) {
	if err := obj.write(fileDirty, "", b.user); err != nil {
		return 0, fmt.Errorf("build: %w", err)
	}
	clean := true
	defer func() {
		if clean {
			err = errors.Join(err, obj.written(b.user), obj.root.Remove(fileDirty))
		}
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
func (b *Builder) make(ctx context.Context, j *job, src *source, obj *objects, log io.Writer, line func(string), args ...string) (clean bool, err error) {
	all := []string{"-C", src.dir, "O=" + obj.dir, "ARCH=x86_64", "CC=" + j.compiler.command, "HOSTCC=" + j.compiler.command, "LOCALVERSION=", "KBUILD_VERBOSE=0"}
	all = append(all, args...)
	name := "make"
	if b.opts.Nice > 0 {
		all = append([]string{"-n", strconv.Itoa(b.opts.Nice), name}, all...)
		name = "nice"
	}
	cmd := exec.CommandContext(ctx, name, all...)
	cmd.Dir = obj.dir
	cmd.Env = b.environ(j, obj)
	// Make dies with us, and with everything that it started.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if b.user != nil {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: b.user.uid, Gid: b.user.gid, NoSetGroups: false}
	}
	cmd.Cancel = func() error { return killGroup(cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	tail := &tail{log: log, line: line}
	cmd.Stdout, cmd.Stderr = tail, tail

	// The parent-death signal belongs to the thread that starts the process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		return true, fmt.Errorf("start make: %w", err)
	}
	err = cmd.Wait()
	tail.flush()
	// What make left running (nothing, as a rule) must not write on.
	if kill := killGroup(cmd.Process.Pid, syscall.SIGKILL); kill != nil && !errors.Is(kill, os.ErrProcessDone) {
		err = errors.Join(err, kill)
	}
	var exit *exec.ExitError
	exited := err == nil || errors.As(err, &exit) && exit.Exited()
	if exit != nil {
		// On SIGTERM make removes its unfinished targets before it goes.
		status, ok := exit.Sys().(syscall.WaitStatus)
		exited = exited || ok && status.Signaled() && status.Signal() == syscall.SIGTERM
	}
	switch {
	case ctx.Err() != nil:
		return exited, fmt.Errorf("build: %w", ctx.Err())
	case err == nil:
		return true, nil
	case !exited:
		return false, fmt.Errorf("make died: %w", err)
	}
	return exited, diagnose(tail.last(), src.dir)
}

func killGroup(pid int, sig syscall.Signal) error {
	err := syscall.Kill(-pid, sig)
	if errors.Is(err, syscall.ESRCH) || errors.Is(err, syscall.EPERM) && sig == syscall.SIGKILL {
		return os.ErrProcessDone
	}
	return err
}

// environ is all that the build sees of the environment. Fixed time, user,
// host and version make the same source give the same image.
func (b *Builder) environ(j *job, obj *objects) []string {
	env := []string{
		"PATH=" + b.path(),
		"HOME=" + filepath.Join(j.dir, "tmp"), "TMPDIR=" + filepath.Join(j.dir, "tmp"),
		"LC_ALL=C", "TZ=UTC",
		"KBUILD_BUILD_TIMESTAMP=Thu Jan  1 00:00:00 UTC 1970", "SOURCE_DATE_EPOCH=0",
		"KBUILD_BUILD_USER=blockrig", "KBUILD_BUILD_HOST=blockrig", "KBUILD_BUILD_VERSION=1",
		"GIT_CEILING_DIRECTORIES=" + j.dir, "GIT_DIR=/nonexistent", // scripts/setlocalversion asks git
		"CCACHE_DIR=" + filepath.Join(b.work, "ccache"), "CCACHE_BASEDIR=" + b.work, "CCACHE_MAXSIZE=5G",
		"CCACHE_COMPILERCHECK=content", "CCACHE_NOHASHDIR=1",
	}
	if obj.clean {
		env = append(env, "CCACHE_RECACHE=1")
	}
	return env
}

// path is where the build looks for tools. With a folder that its user can't
// come to, a missing tool would be one that it may not start.
func (b *Builder) path() string {
	path := os.Getenv("PATH")
	if b.user == nil {
		return path
	}
	return strings.Join(slices.DeleteFunc(filepath.SplitList(path), func(dir string) bool { return !reachable(dir) }), string(filepath.ListSeparator))
}

// tail passes lines on and keeps the last ones.
type tail struct {
	log  io.Writer
	line func(string)
	part []byte
	kept []string
}

const (
	tailLines = 400
	tailWidth = 1000
)

func (t *tail) Write(p []byte) (int, error) {
	if _, err := t.log.Write(p); err != nil {
		return 0, err
	}
	t.part = append(t.part, p...)
	for {
		i := bytes.IndexByte(t.part, '\n')
		if i < 0 {
			break
		}
		t.add(string(t.part[:i]))
		t.part = t.part[i+1:]
	}
	if len(t.part) > 1<<20 {
		t.flush()
	}
	return len(p), nil
}

func (t *tail) flush() {
	if len(t.part) > 0 {
		t.add(string(t.part))
		t.part = nil
	}
}

func (t *tail) add(line string) {
	if len(line) > tailWidth {
		line = line[:tailWidth]
	}
	if t.line != nil {
		t.line(line)
	}
	// Only what may say something of an error, or all would be "CC".
	if compiledLine(line) {
		return
	}
	t.kept = append(t.kept, line)
	if len(t.kept) > tailLines {
		t.kept = t.kept[1:]
	}
}

func (t *tail) last() []string { return t.kept }

// A compiler, and what of it changes what it makes.
type compiler struct {
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
		if _, err := exec.LookPath(t.name); err != nil {
			lacks, packages = append(lacks, t.name), append(packages, t.pkg)
		}
	}
	path, err := exec.LookPath(b.opts.CC)
	if err != nil {
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
	c := compiler{command: path}
	if ccache, err := exec.LookPath("ccache"); err == nil && !b.opts.NoCcache {
		c.command = ccache + " " + path
	}
	for _, prog := range []string{path, "ld"} {
		cmd := exec.CommandContext(ctx, prog, "--version")
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"}
		out, err := cmd.Output()
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
