package gitbuild

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/blockrig/blockrig/harness/child"
	"github.com/blockrig/blockrig/kernels"
	"github.com/blockrig/blockrig/kernels/config"
	"github.com/blockrig/blockrig/kernels/gitbuild/smalltree"
)

func open(t *testing.T, cache string, opts Options) *Builder {
	t.Helper()
	b, err := Open(context.Background(), cache, opts)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// forget drops what is known of a spec.
func (b *Builder) forget(ctx context.Context, spec Spec) error {
	j, err := b.job(ctx, spec)
	if err != nil {
		return err
	}
	return b.entries.Remove(ctx, j.key)
}

func TestBuildIsDoneOnce(t *testing.T) {
	g := smalltree.New(t)
	phases := 0
	b := open(t, smalltree.OpenDir(t), Options{Progress: func(string, int) { phases++ }})
	ctx := context.Background()
	spec := Spec{Repo: g.Dir(), Rev: "HEAD"}
	first, err := b.BuildSpec(ctx, spec)
	if err != nil {
		t.Fatal(err)
	}
	if first.Cached || first.Release != "7.2.0" || first.Files != 2 || phases == 0 {
		t.Errorf("%+v, %d calls of progress", first, phases)
	}
	if first.Exact != "git:"+g.Dir()+"@"+g.Git("rev-parse", "HEAD") {
		t.Errorf("exact reference %s", first.Exact)
	}
	for _, file := range []string{first.Image, first.Config, first.Map, first.Log, first.Sources} {
		if _, err := os.Stat(file); err != nil {
			t.Error(err)
		}
	}
	again, err := b.BuildSpec(ctx, spec)
	if err != nil || !again.Cached || again.Image256 != first.Image256 || again.Digest != first.Digest {
		t.Errorf("%+v, %v", again, err)
	}
	// Another commit with the same tree is the same kernel.
	g.Git("-c", "user.name=A", "-c", "user.email=a@example.org", "commit", "-q", "--allow-empty", "-m", "nothing")
	same, err := b.BuildSpec(ctx, spec)
	if err != nil || !same.Cached || same.Commit == first.Commit {
		t.Errorf("%+v, %v", same, err)
	}
	k, err := b.Build(ctx, kernels.GitRef{Repo: g.Dir(), Rev: "HEAD"})
	if err != nil || k.Digest != first.Digest {
		t.Errorf("by reference: %+v, %v", k, err)
	}
	if err := b.forget(ctx, spec); err != nil {
		t.Fatal(err)
	}
	anew, err := b.BuildSpec(ctx, spec)
	if err != nil || anew.Cached || anew.Image256 != first.Image256 || anew.Files != 0 {
		t.Errorf("after it was forgotten: %+v, %v", anew, err)
	}
}

func TestBuildGoesOnFromTheLast(t *testing.T) {
	g := smalltree.New(t)
	b := open(t, smalltree.OpenDir(t), Options{})
	ctx := context.Background()
	one, err := b.BuildSpec(ctx, Spec{Repo: g.Dir(), Rev: "HEAD"})
	if err != nil {
		t.Fatal(err)
	}
	g.Commit("change one file", map[string]string{"block/bio.c": "#include \"head.h\"\nint bio(void) { return VALUE + 1; }\n"})
	two, err := b.BuildSpec(ctx, Spec{Repo: g.Dir(), Rev: "HEAD"})
	if err != nil {
		t.Fatal(err)
	}
	if two.Files != 1 || two.Image256 == one.Image256 {
		t.Errorf("%d files compiled, images equal %v", two.Files, two.Image256 == one.Image256)
	}
	g.Commit("change no code", map[string]string{"block/unused.c": "int unused2;\n"})
	three, err := b.BuildSpec(ctx, Spec{Repo: g.Dir(), Rev: "HEAD"})
	if err != nil {
		t.Fatal(err)
	}
	if three.Files != 0 || three.Image256 != two.Image256 || three.Cached {
		t.Errorf("%+v", three)
	}
	hit, err := three.Compiled([]string{"block/unused.c", "block/bio.c", "head.h", "block/Makefile", "fs/Makefile", "drivers/Kconfig", "Makefile", "README", "relative.h"})
	if err != nil || !slices.Equal(hit, []string{"block/bio.c", "head.h", "block/Makefile", "Makefile", "relative.h"}) {
		t.Errorf("compiled: %v, %v", hit, err)
	}
}

func TestFailedBuildIsRemembered(t *testing.T) {
	g := smalltree.New(t)
	b := open(t, smalltree.OpenDir(t), Options{})
	ctx := context.Background()
	g.Commit("break it", map[string]string{"block/bio.c": "int bio(void) { return VALUE }\n"})
	for _, cached := range []bool{false, true} {
		_, err := b.BuildSpec(ctx, Spec{Repo: g.Dir(), Rev: "HEAD"})
		var failed *FailedError
		if !errors.As(err, &failed) || failed.Cached != cached || !strings.HasPrefix(failed.Why, "block/bio.c:1:") {
			t.Fatalf("%v", err)
		}
		if log, err := os.ReadFile(failed.Log); err != nil || !strings.Contains(string(log), "error:") {
			t.Errorf("log: %v", err)
		}
	}
	// It does not spoil the next one.
	g.Commit("mend it", map[string]string{"block/bio.c": smalltree.Files["block/bio.c"]})
	if _, err := b.BuildSpec(ctx, Spec{Repo: g.Dir(), Rev: "HEAD"}); err != nil {
		t.Error(err)
	}
}

func TestHostTroubleIsNotRemembered(t *testing.T) {
	g := smalltree.New(t)
	b := open(t, smalltree.OpenDir(t), Options{})
	for _, c := range []struct{ extra, image, want string }{
		{"cc1: fatal error: error writing to x.s: No space left on device\n", "exit 1\n", "the disk is full"},
		{"\n", "kill -9 $$\n", "a program of the build was killed"}, // as the OOM killer does
		{"\n", "sh -c 'kill -9 $$'; exit $?\n", "a program of the build was killed"},
		{"\n", "no-such-tool </dev/null\n", "no-such-tool is missing here"},
		{"ld: final link failed: memory exhausted\n", "exit 1\n", "not enough memory"},
	} {
		g.Commit("trouble", map[string]string{"extra": c.extra, "image.sh": c.image})
		_, err := b.BuildSpec(context.Background(), Spec{Repo: g.Dir(), Rev: "HEAD"})
		var failed *FailedError
		if err == nil || errors.As(err, &failed) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q, %q: %v", c.extra, c.image, err)
		}
		if left, err := b.entries.Keys(); err != nil || len(left) != 0 {
			t.Errorf("left %v, %v", left, err)
		}
	}
}

func TestLostOptionsAreNamed(t *testing.T) {
	g := smalltree.New(t)
	b := open(t, smalltree.OpenDir(t), Options{})
	g.Commit("drop options", map[string]string{"drop": "CONFIG_DM_MIRROR CONFIG_EXT4_FS\n"})
	_, err := b.BuildSpec(context.Background(), Spec{Repo: g.Dir(), Rev: "HEAD"})
	var failed *FailedError
	if !errors.As(err, &failed) {
		t.Fatal(err)
	}
	for _, want := range []string{
		"CONFIG_DM_MIRROR=y (dm-mirror.config:", "depends on BLK_DEV_DM && NEW_THING",
		"CONFIG_EXT4_FS=y (ext4.config:", "which this tree does not know",
	} {
		if !strings.Contains(failed.Why, want) {
			t.Errorf("%q lacks %q", failed.Why, want)
		}
	}
	if strings.Contains(failed.Why, "no one") {
		t.Errorf("the help text is in %q", failed.Why)
	}
}

// Given an object tree that is configured, when a commit changes what options
// there are, then it is configured anew.
func TestConfigFollowsTheCommit(t *testing.T) {
	g := smalltree.New(t)
	b := open(t, smalltree.OpenDir(t), Options{})
	ctx := context.Background()
	if _, err := b.BuildSpec(ctx, Spec{Repo: g.Dir(), Rev: "HEAD"}); err != nil {
		t.Fatal(err)
	}
	g.Commit("drop an option", map[string]string{"drop": "CONFIG_DM_MIRROR\n", "drivers/Kconfig": "config NOTHING\n"})
	_, err := b.BuildSpec(ctx, Spec{Repo: g.Dir(), Rev: "HEAD"})
	var failed *FailedError
	if !errors.As(err, &failed) || !strings.Contains(failed.Why, "CONFIG_DM_MIRROR") {
		t.Fatal(err)
	}
	g.Commit("bring it back", map[string]string{"drop": "", "main.c": "#include \"head.h\"\nint main(void) { return VALUE + 7; }\n"})
	if _, err := b.BuildSpec(ctx, Spec{Repo: g.Dir(), Rev: "HEAD"}); err != nil {
		t.Error(err)
	}
}

func TestPatchesAndReverts(t *testing.T) {
	g := smalltree.New(t)
	dir := smalltree.OpenDir(t)
	b := open(t, dir, Options{})
	ctx := context.Background()
	base, err := b.BuildSpec(ctx, Spec{Repo: g.Dir(), Rev: "HEAD"})
	if err != nil {
		t.Fatal(err)
	}
	culprit := g.Commit("change a value", map[string]string{"head.h": "#define VALUE 2\n"})
	patch := filepath.Join(dir, "mend.patch")
	text := g.Git("format-patch", "--stdout", "-1")
	if err := os.WriteFile(patch, []byte(text+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	changed, err := b.BuildSpec(ctx, Spec{Repo: g.Dir(), Rev: culprit})
	if err != nil || changed.Image256 == base.Image256 {
		t.Fatalf("%v", err)
	}
	end := g.Commit("later", map[string]string{"block/unused.c": "int later;\n"})

	reverted, err := b.BuildSpec(ctx, Spec{Repo: g.Dir(), Rev: end, Revert: culprit})
	if err != nil || reverted.Image256 != base.Image256 {
		t.Errorf("reverted: %v", err)
	}
	patched, err := b.BuildSpec(ctx, Spec{Repo: g.Dir(), Rev: base.Commit, Patches: []string{patch}})
	if err != nil || patched.Image256 != changed.Image256 || len(patched.LeftOut) != 0 {
		t.Errorf("patched: %v", err)
	}
	// It is there already: left out, and said.
	twice, err := b.BuildSpec(ctx, Spec{Repo: g.Dir(), Rev: end, Patches: []string{patch}})
	if err != nil || twice.Image256 != changed.Image256 || !slices.Equal(twice.LeftOut, []string{patch}) {
		t.Errorf("patched twice: %+v, %v", twice.LeftOut, err)
	}
	if _, err := b.BuildSpec(ctx, Spec{Repo: g.Dir(), Rev: end, Try: []string{patch}}); !errors.Is(err, ErrDoesNotApply) || !strings.Contains(err.Error(), patch) {
		t.Errorf("a patch to try: %v", err)
	}
	// One that mends trees that don't build may be there already.
	try := filepath.Join(dir, "try.patch")
	if err := os.WriteFile(try, []byte("--- a/block/bio.c\n+++ b/block/bio.c\n@@ -1,2 +1,2 @@\n #include \"head.h\"\n-int bio(void) { return VALUE; }\n+int bio(void) { return 9; }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	tried, err := b.BuildSpec(ctx, Spec{Repo: g.Dir(), Rev: end, Patches: []string{patch}, Try: []string{try}})
	if err != nil || tried.Image256 == changed.Image256 || !slices.Equal(tried.LeftOut, []string{patch}) {
		t.Errorf("a mend that is left out, and a patch to try: %+v, %v", tried.LeftOut, err)
	}
	conflict := g.Commit("conflict", map[string]string{"head.h": "#define VALUE 3\n"})
	if _, err := b.BuildSpec(ctx, Spec{Repo: g.Dir(), Rev: conflict, Revert: culprit}); !errors.Is(err, ErrDoesNotApply) {
		t.Errorf("a revert that conflicts: %v", err)
	}
	// Of a change to two files, one that changed again, the other's part is
	// taken back; alone, it can be made to what was there before it.
	two := g.Commit("change two", map[string]string{"head.h": "#define VALUE 4\n", "block/bio.c": "#include \"head.h\"\nint bio(void) { return VALUE + 1; }\n"})
	tip := g.Commit("change one of them", map[string]string{"head.h": "#define VALUE 5\n"})
	if _, err := b.BuildSpec(ctx, Spec{Repo: g.Dir(), Rev: tip, Revert: two}); !errors.Is(err, ErrDoesNotApply) || errors.Is(err, ErrChangesNothing) {
		t.Errorf("a revert that conflicts: %v", err)
	}
	partly, err := b.BuildSpec(ctx, Spec{Repo: g.Dir(), Rev: tip, Revert: two, Partly: true})
	if err != nil {
		t.Fatalf("a part of a revert: %v", err)
	}
	left, err := b.BuildSpec(ctx, Spec{Repo: g.Dir(), Rev: g.Commit("the other back", map[string]string{"block/bio.c": "#include \"head.h\"\nint bio(void) { return VALUE; }\n"})})
	if err != nil || partly.Image256 != left.Image256 {
		t.Errorf("a part of a revert is another kernel: %v", err)
	}
	if _, err := b.BuildSpec(ctx, Spec{Repo: g.Dir(), Rev: conflict, Revert: culprit, Partly: true}); !errors.Is(err, ErrDoesNotApply) {
		t.Errorf("no part of a revert applies: %v", err)
	}
	picked, err := b.BuildSpec(ctx, Spec{Repo: g.Dir(), Rev: base.Commit, Pick: culprit})
	if err != nil || picked.Image256 != changed.Image256 {
		t.Errorf("a change alone: %v", err)
	}
	if _, err := b.BuildSpec(ctx, Spec{Repo: g.Dir(), Rev: base.Commit, Pick: two}); !errors.Is(err, ErrDoesNotApply) {
		t.Errorf("a change alone that conflicts: %v", err)
	}
	// Nothing of all that stays in the worktree.
	last, err := b.BuildSpec(ctx, Spec{Repo: g.Dir(), Rev: base.Commit, Fragments: []string{"base"}})
	if err != nil || last.Image256 != base.Image256 {
		t.Errorf("after all: %v", err)
	}
}

// Given a repository in which git takes another file for one of a commit's,
// when the commit is built, then of what its hash stands for: others have the
// same hash, and take the kernel from the cache.
func TestReplacedFilesAreNotBuilt(t *testing.T) {
	g := smalltree.New(t)
	want, err := open(t, smalltree.OpenDir(t), Options{}).BuildSpec(t.Context(), Spec{Repo: g.Dir(), Rev: "HEAD"})
	if err != nil {
		t.Fatal(err)
	}
	g.Commit("another value", map[string]string{"head.h": "#define VALUE 2\n"})
	g.Git("replace", g.Git("rev-parse", "HEAD~1:head.h"), g.Git("rev-parse", "HEAD:head.h"))
	got, err := open(t, smalltree.OpenDir(t), Options{}).BuildSpec(t.Context(), Spec{Repo: g.Dir(), Rev: "HEAD~1"})
	if err != nil || got.Image256 != want.Image256 {
		t.Errorf("another kernel: %v", err)
	}
}

// Given a commit whose parent is replaced, when it is taken back again, then
// to the new parent, and no kernel of before is taken for that.
func TestRevertFollowsAReplacedParent(t *testing.T) {
	g := smalltree.New(t)
	b := open(t, smalltree.OpenDir(t), Options{})
	culprit := g.Commit("change two", map[string]string{"head.h": "#define VALUE 2\n", "block/unused.c": "int two;\n"})
	base := g.Git("rev-parse", "HEAD~1")
	spec := Spec{Repo: g.Dir(), Rev: culprit, Revert: culprit}
	before, err := b.BuildSpec(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	g.Git("checkout", "-q", base)
	between := g.Commit("half of it", map[string]string{"head.h": "#define VALUE 2\n"})
	g.Git("replace", "--graft", culprit, between)
	after, err := b.BuildSpec(t.Context(), spec)
	if err != nil || after.Image256 == before.Image256 {
		t.Errorf("the same kernel: %v", err)
	}
}

// Given a compiler that comes first in root's search path, in a folder that the
// build's user can't come to, when a kernel is built, then with the one that
// the user finds.
func TestToolsAreThoseOfTheBuildsUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("make runs as who we are")
	}
	closed := t.TempDir()
	if err := os.Chmod(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"gcc", "ld"} {
		if err := os.WriteFile(filepath.Join(closed, name), []byte("#!/bin/sh\necho closed\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", closed+":"+os.Getenv("PATH"))
	g := smalltree.New(t)
	build, err := open(t, smalltree.OpenDir(t), Options{}).BuildSpec(t.Context(), Spec{Repo: g.Dir(), Rev: "HEAD"})
	if err != nil || strings.Contains(build.Compiler, "closed") {
		t.Errorf("built with %q: %v", build.Compiler, err)
	}
}

func TestTheUsersTreeIsLeftAlone(t *testing.T) {
	g := smalltree.New(t)
	b := open(t, smalltree.OpenDir(t), Options{})
	base := g.Git("rev-parse", "HEAD")
	g.Commit("next", map[string]string{"head.h": "#define VALUE 5\n"})
	if err := os.WriteFile(filepath.Join(g.Dir(), "main.c"), []byte("unsaved"), 0o644); err != nil {
		t.Fatal(err)
	}
	before := g.Git("status", "--porcelain=v2", "--branch", "--untracked-files=all") + g.Git("for-each-ref")
	if _, err := b.BuildSpec(context.Background(), Spec{Repo: g.Dir(), Rev: base}); err != nil {
		t.Fatal(err)
	}
	if after := g.Git("status", "--porcelain=v2", "--branch", "--untracked-files=all") + g.Git("for-each-ref"); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

func TestBuildRunsUnprivilegedAndInACleanEnvironment(t *testing.T) {
	g := smalltree.New(t)
	t.Setenv("SECRET", "x")
	t.Setenv("MAKEFLAGS", "-n")
	t.Setenv("KCFLAGS", "-Werror")
	b := open(t, smalltree.OpenDir(t), Options{})
	build, err := b.BuildSpec(context.Background(), Spec{Repo: g.Dir(), Rev: "HEAD"})
	if err != nil {
		t.Fatal(err)
	}
	found, err := filepath.Glob(filepath.Join(b.work, "*", "obj-*", "uid"))
	if err != nil || len(found) != 1 {
		t.Fatalf("%v, %v", found, err)
	}
	uid, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprint(os.Geteuid())
	if b.user != nil {
		want = fmt.Sprint(b.user.uid)
	}
	if got := strings.TrimSpace(string(uid)); got != want || got == "0" {
		t.Errorf("make ran as user %s, want %s", got, want)
	}
	env, err := os.ReadFile(filepath.Join(filepath.Dir(found[0]), "env"))
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"SECRET", "KCFLAGS"} {
		if strings.Contains(string(env), bad) {
			t.Errorf("%s reached the build", bad)
		}
	}
	if !strings.Contains(string(env), "KBUILD_BUILD_HOST=blockrig") {
		t.Error("the build's host is not fixed")
	}
	if _, err := os.Stat(build.Image); err != nil {
		t.Error(err)
	}
}

// Given a process of the build's user that has a key, as a worker has, when the
// sources' own scripts look for it, then they may not.
func TestABuildLooksIntoNoOtherProcess(t *testing.T) {
	g := smalltree.New(t)
	b := open(t, smalltree.OpenDir(t), Options{})
	worker := exec.CommandContext(t.Context(), "sleep", "1000")
	worker.Dir, worker.Env = "/", append(os.Environ(), "KEY=sesame")
	if b.user != nil {
		worker.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: b.user.uid, Gid: b.user.gid}}
	}
	if err := worker.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = worker.Process.Kill()
		_ = worker.Wait() // it was killed
	}()
	g.Commit("look for a key", map[string]string{"image.sh": fmt.Sprintf(`test -e /proc/%[1]d || exit 1
cat /proc/%[1]d/environ && exit 1
true < /proc/%[1]d/mem && exit 1
`, worker.Process.Pid) + smalltree.Files["image.sh"]})
	// Without Landlock the script finds the key, and the worker has said so.
	if _, err := b.BuildSpec(t.Context(), Spec{Repo: g.Dir(), Rev: "HEAD"}); (err == nil) != child.CanPart() {
		t.Errorf("can part %t: %v", child.CanPart(), err)
	}
}

// enclosing skips a test where builds are not enclosed.
func enclosing(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 || !child.CanEnclose() {
		t.Skip("builds are not enclosed here")
	}
}

// Given a root folder that none but root may enter, when root builds, then it
// builds.
func TestBuildWhereTheRootFolderIsClosed(t *testing.T) {
	enclosing(t)
	test := exec.Command(os.Args[0], "-test.run=^TestBuildIsDoneOnce$", "-test.v")
	out, err := child.Output(t.Context(), test, child.Options{OnThread: func() error {
		view := child.View{{Path: filepath.Dir(os.Args[0])}, {Path: os.TempDir(), Writable: true}}
		return errors.Join(view.Enter(), os.Chmod("/", 0o700))
	}}, 1<<20)
	if err != nil || !strings.Contains(string(out), "--- PASS: TestBuildIsDoneOnce") {
		t.Errorf("%v:\n%s", err, out)
	}
}

// Given a cache in a folder that none but root may enter, when root builds, then
// sources and objects are there too.
func TestAnEnclosedBuildNeedsNoOpenCache(t *testing.T) {
	enclosing(t)
	g := smalltree.New(t)
	dir := smalltree.OpenDir(t)
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	b := open(t, filepath.Join(dir, "cache"), Options{})
	if _, err := b.BuildSpec(t.Context(), Spec{Repo: g.Dir(), Rev: "HEAD"}); err != nil || !strings.HasPrefix(b.work, dir) {
		t.Errorf("in %s: %v", b.work, err)
	}
}

// Given a file that anyone may read, and a folder that anyone may write to,
// when the sources' own scripts look for them, then they are not there.
func TestAnEnclosedBuildSeesItsOwnFoldersAlone(t *testing.T) {
	enclosing(t)
	g := smalltree.New(t)
	dir := smalltree.OpenDir(t)
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "secret"), nil, 0o644), os.Mkdir(filepath.Join(dir, "open"), 0o755), os.Chmod(filepath.Join(dir, "open"), 0o777)); err != nil {
		t.Fatal(err)
	}
	g.Commit("look around", map[string]string{"image.sh": fmt.Sprintf(`cat %[1]s/secret && exit 1
true > %[1]s/open/file && exit 1
true > "$(dirname "$0")/main.c" && exit 1
ls %[2]s && exit 1
true > /tmp/mine || exit 1
`, dir, g.Dir()) + smalltree.Files["image.sh"]})
	if _, err := open(t, filepath.Join(dir, "cache"), Options{}).BuildSpec(t.Context(), Spec{Repo: g.Dir(), Rev: "HEAD"}); err != nil {
		t.Error(err)
	}
}

// Given a compiler in a folder of its own, reached by a link, with something
// beside it that it needs, when root builds with it, then both are found.
func TestACompilerBringsWhatLiesBesideIt(t *testing.T) {
	enclosing(t)
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skip("there is no gcc here")
	}
	g := smalltree.New(t)
	dir := smalltree.OpenDir(t)
	script := "#!/bin/sh\nexec \"$(dirname \"$(readlink -f \"$0\")\")/../lib/real\" \"$@\"\n"
	if err := errors.Join(os.MkdirAll(filepath.Join(dir, "tools", "bin"), 0o755), os.Mkdir(filepath.Join(dir, "tools", "lib"), 0o755), os.Mkdir(filepath.Join(dir, "links"), 0o755),
		os.WriteFile(filepath.Join(dir, "tools", "bin", "cc"), []byte(script), 0o755),
		os.Symlink(gcc, filepath.Join(dir, "tools", "lib", "real")),
		os.Symlink("../tools/bin/cc", filepath.Join(dir, "links", "cc"))); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, filepath.Join(dir, "cache"), Options{CC: filepath.Join(dir, "links", "cc")}).BuildSpec(t.Context(), Spec{Repo: g.Dir(), Rev: "HEAD"}); err != nil {
		t.Error(err)
	}
}

// Given a compiler that only root can come to, or one that needs something that
// the build does not see, when root builds with it, then that is said, and no
// commit is to blame.
func TestACompilerThatTheBuildCantRun(t *testing.T) {
	enclosing(t)
	g := smalltree.New(t)
	dir := smalltree.OpenDir(t)
	closed, far := filepath.Join(dir, "closed"), filepath.Join(dir, "far")
	if err := errors.Join(os.Mkdir(closed, 0o700), os.Mkdir(far, 0o755),
		os.WriteFile(filepath.Join(closed, "cc"), []byte("#!/bin/sh\necho 1\n"), 0o755),
		os.WriteFile(filepath.Join(far, "cc"), []byte("#!/bin/sh\nexec "+dir+"/real \"$@\"\n"), 0o755),
		os.WriteFile(filepath.Join(dir, "real"), []byte("#!/bin/sh\necho 1\n"), 0o755)); err != nil {
		t.Fatal(err)
	}
	for _, cc := range []string{filepath.Join(closed, "cc"), filepath.Join(far, "cc")} {
		_, err := open(t, filepath.Join(dir, "cache"), Options{CC: cc}).BuildSpec(t.Context(), Spec{Repo: g.Dir(), Rev: "HEAD"})
		var failed *FailedError
		if err == nil || errors.As(err, &failed) || !strings.Contains(err.Error(), cc) || !strings.Contains(err.Error(), "root builds as nobody") {
			t.Errorf("%s: %v", cc, err)
		}
	}
}

// Given a strict umask, when root builds, then the user that make runs as can
// come to the sources and the objects: in a new cache, in one that was used
// before without and with it, and with files that a patch makes.
func TestBuildUnderAStrictUmask(t *testing.T) {
	// The umask is the whole process's, so this is one of its own.
	const childOf = "GITBUILD_TEST_UMASK"
	if os.Getenv(childOf) == "" {
		for _, umask := range []string{"027", "077"} {
			test := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
			test.Env = append(os.Environ(), childOf+"="+umask)
			if out, err := test.CombinedOutput(); err != nil {
				t.Errorf("umask %s: %v\n%s", umask, err, out)
			}
		}
		return
	}
	umask, err := strconv.ParseInt(os.Getenv(childOf), 8, 0)
	if err != nil {
		t.Fatal(err)
	}
	g := smalltree.New(t)
	base := g.Git("rev-parse", "HEAD")
	dir := smalltree.OpenDir(t)
	more := map[string]string{"block/bio.c": "#include \"head.h\"\n#include \"new/more.h\"\nint bio(void) { return MORE; }\n", "new/more.h": "#define MORE 3\n"}
	next := g.Commit("a new file", more)
	patch := filepath.Join(dir, "new.patch")
	if err := os.WriteFile(patch, []byte(g.Git("format-patch", "--stdout", "-1")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	used := filepath.Join(dir, "used")
	if _, err := open(t, used, Options{}).BuildSpec(t.Context(), Spec{Repo: g.Dir(), Rev: base}); err != nil {
		t.Fatal(err)
	}
	syscall.Umask(int(umask))
	for _, cache := range []string{used, filepath.Join(dir, "new", "cache")} {
		b := open(t, cache, Options{})
		for _, spec := range []Spec{{Rev: next}, {Rev: base}, {Rev: base, Patches: []string{patch}}} {
			spec.Repo = g.Dir()
			if _, err := b.BuildSpec(t.Context(), spec); err != nil {
				t.Errorf("%s: %v", cache, err)
			}
			if err := b.forget(t.Context(), spec); err != nil {
				t.Error(err)
			}
		}
		// As an earlier run may have left it.
		found, err := filepath.Glob(filepath.Join(b.work, "*"))
		if err != nil || len(found) != 1 {
			t.Fatal(found, err)
		}
		for _, d := range append(found, filepath.Join(found[0], "ccache"), b.work) {
			if err := os.Chmod(d, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := open(t, cache, Options{}).BuildSpec(t.Context(), Spec{Repo: g.Dir(), Rev: next}); err != nil {
			t.Errorf("%s, closed: %v", cache, err)
		}
	}
}

// A build can put links where results are expected; what they point to must
// not get into the cache.
func TestLinksInTheBuildLeadNowhere(t *testing.T) {
	g := smalltree.New(t)
	dir := smalltree.OpenDir(t)
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, smalltree.Image(), 0o600); err != nil {
		t.Fatal(err)
	}
	g.Commit("link", map[string]string{"image.sh": "rm -f $1; ln -s " + secret + " $1\n"})
	b := open(t, dir, Options{})
	if _, err := b.BuildSpec(context.Background(), Spec{Repo: g.Dir(), Rev: "HEAD"}); err == nil {
		t.Error("a link was followed out of the object tree")
	}
}

// Given a build under way, when it is cancelled, then nothing of it runs on,
// nothing is kept but what make had finished, and the next one is not
// disturbed.
func TestCancelledBuildLeavesNothingRunning(t *testing.T) {
	g := smalltree.New(t)
	dir := smalltree.OpenDir(t)
	fifo := openFifo(t, dir)
	g.Commit("slow", map[string]string{"image.sh": "exec 9>" + fifo.name + "\nsleep 1000 & echo started >&9; wait\n"})
	b := open(t, dir, Options{})
	b.sees = []string{dir}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := b.BuildSpec(ctx, Spec{Repo: g.Dir(), Rev: "HEAD"})
		done <- err
	}()
	// A build that can't begin would leave nobody to open the other end.
	opened := make(chan struct{})
	go func() {
		defer close(opened)
		fifo.open(t)
	}()
	select {
	case <-opened:
	case err := <-done:
		t.Fatalf("the build ended before it began: %v", err)
	}
	fifo.expect(t, "started\n", nil)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	fifo.expect(t, "", io.EOF)
	if left, err := b.entries.Keys(); err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
	g.Commit("fast", map[string]string{"image.sh": smalltree.Files["image.sh"]})
	if next, err := b.BuildSpec(context.Background(), Spec{Repo: g.Dir(), Rev: "HEAD"}); err != nil || next.Files != 0 {
		t.Errorf("%d files compiled again, %v", next.Files, err)
	}
}

// A fifo is held open by what a build starts, as long as it runs.
type fifo struct {
	name string
	*os.File
}

func openFifo(t *testing.T, dir string) *fifo {
	t.Helper()
	f := &fifo{name: filepath.Join(dir, "fifo")}
	if err := errors.Join(syscall.Mkfifo(f.name, 0o666), os.Chmod(f.name, 0o666)); err != nil {
		t.Fatal(err)
	}
	return f
}

// open waits for the first who writes.
func (f *fifo) open(t *testing.T) {
	t.Helper()
	var err error
	if f.File, err = os.Open(f.name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
}

func (f *fifo) expect(t *testing.T, want string, wantErr error) {
	t.Helper()
	if err := f.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	if n, err := f.Read(buf); string(buf[:n]) != want || !errors.Is(err, wantErr) {
		t.Fatalf("%q, %v; want %q, %v", buf[:n], err, want, wantErr)
	}
}

func TestBuildAfterAKilledOne(t *testing.T) {
	g := smalltree.New(t)
	b := open(t, smalltree.OpenDir(t), Options{})
	ctx := context.Background()
	first, err := b.BuildSpec(ctx, Spec{Repo: g.Dir(), Rev: "HEAD"})
	if err != nil {
		t.Fatal(err)
	}
	// What kill -9 leaves: half an object tree, git's lock.
	objs, err := filepath.Glob(filepath.Join(b.work, "*", "obj-*"))
	if err != nil || len(objs) != 1 {
		t.Fatal(objs, err)
	}
	if err := os.Remove(filepath.Join(objs[0], fileBoot)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(objs[0]), "git", "index.lock"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(objs[0], "main.o"), []byte("half"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := b.forget(ctx, Spec{Repo: g.Dir(), Rev: "HEAD"}); err != nil {
		t.Fatal(err)
	}
	again, err := b.BuildSpec(ctx, Spec{Repo: g.Dir(), Rev: "HEAD"})
	if err != nil || again.Image256 != first.Image256 || again.Files != 2 {
		t.Errorf("%d files, %v", again.Files, err)
	}
}

// Given a build, when something else writes into its worktree meanwhile (a git
// that a dead process left running), then nothing of it is kept, neither as a
// kernel nor as a failure, and the next build is of the commit again.
func TestBuildOfAnotherTreeIsNotKept(t *testing.T) {
	g := smalltree.New(t)
	ctx := context.Background()
	spec := Spec{Repo: g.Dir(), Rev: "HEAD"}
	want, err := open(t, smalltree.OpenDir(t), Options{}).BuildSpec(ctx, spec)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ file, text string }{
		"a file of another commit": {"block/bio.c", "int bio(void) { return 7; }\n"},
		"one that does not build":  {"block/bio.c", "int bio(void) { return }\n"},
		"one more file":            {"block/more.c", "int more;\n"},
	} {
		t.Run(name, func(t *testing.T) {
			cache, meddle := smalltree.OpenDir(t), true
			b := open(t, cache, Options{Progress: func(phase string, files int) {
				if phase != "build" || files > 0 || !meddle {
					return
				}
				found, err := filepath.Glob(filepath.Join(cache, "sources", "*", "worktree"))
				if err != nil || len(found) != 1 {
					t.Fatal(found, err)
				}
				file := filepath.Join(found[0], c.file)
				if err := os.WriteFile(file, []byte(c.text), 0o644); err != nil {
					t.Fatal(err)
				}
			}})
			_, err := b.BuildSpec(ctx, spec)
			var failed *FailedError
			if err == nil || errors.As(err, &failed) || !strings.Contains(err.Error(), "something else wrote") || !strings.Contains(err.Error(), c.file) {
				t.Fatalf("%v", err)
			}
			if left, err := b.entries.Keys(); err != nil || len(left) != 0 {
				t.Errorf("left %v, %v", left, err)
			}
			meddle = false
			got, err := b.BuildSpec(ctx, spec)
			if err != nil || got.Cached || got.Image256 != want.Image256 {
				t.Errorf("the next build: %+v, %v", got, err)
			}
		})
	}
}

// Given an object tree with files that are empty or zeros, or one from before
// the machine was started, where a loss of power may have left such, when the
// next kernel is built, then it is that of a clean tree.
func TestDamagedObjectsAreMadeAnew(t *testing.T) {
	ctx := context.Background()
	link := "ld -r -o /dev/null \"$2\" \"$3\" || exit 1\n" + smalltree.Files["image.sh"]
	for _, c := range []struct {
		name, file, text string
		image            string // image.sh
		newBoot          bool   // the machine was started since
		files            int    // compiled again
		found            string // in the log
	}{
		{"zeros that the linker sees", "main.o", strings.Repeat("\x00", 900), link, false, 2, "file format not recognized"},
		{"zeros that no one sees", "main.o", strings.Repeat("\x00", 900), smalltree.Files["image.sh"], true, 2, ""},
		{"an empty image", "arch/x86/boot/bzImage", "", "[ -e \"$1\" ] && exit 0\n" + smalltree.Files["image.sh"], false, 2, "bzImage"},
		{"an empty config", ".config", "", smalltree.Files["image.sh"], false, 2, ""},
		{"nothing", "", "", smalltree.Files["image.sh"], true, 2, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := smalltree.New(t)
			g.Commit("link", map[string]string{"image.sh": c.image + "\n", "Makefile": smalltree.Files["Makefile"] + "\t@printf x > $(obj)/tool; chmod 755 $(obj)/tool\n"})
			var log strings.Builder
			b := open(t, smalltree.OpenDir(t), Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
			spec := Spec{Repo: g.Dir(), Rev: "HEAD"}
			want, err := b.BuildSpec(ctx, spec)
			if err != nil {
				t.Fatal(err)
			}
			config, err := os.ReadFile(want.Config)
			if err != nil {
				t.Fatal(err)
			}
			objs, err := filepath.Glob(filepath.Join(b.work, "*", "obj-*"))
			if err != nil || len(objs) != 1 {
				t.Fatal(objs, err)
			}
			put := func(name, text string) {
				t.Helper()
				file := filepath.Join(objs[0], name)
				info, err := os.Stat(file)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
				if err := os.Chtimes(file, time.Time{}, info.ModTime()); err != nil {
					t.Fatal(err)
				}
			}
			if c.file != "" {
				put(c.file, c.text)
			}
			if c.newBoot {
				put(fileBoot, "another")
			}
			if err := b.forget(ctx, spec); err != nil {
				t.Fatal(err)
			}
			got, err := b.BuildSpec(ctx, spec)
			if err != nil {
				t.Fatal(err)
			}
			if got.Image256 != want.Image256 || got.Files != c.files {
				t.Errorf("%d files, images equal %v", got.Files, got.Image256 == want.Image256)
			}
			if now, err := os.ReadFile(got.Config); err != nil || string(now) != string(config) {
				t.Errorf("another config: %v", err)
			}
			if !strings.Contains(log.String(), c.found) || (c.found != "") != strings.Contains(log.String(), "building from clean") {
				t.Errorf("log: %s", log.String())
			}
		})
	}
}

// Given an entry of the cache that was cut short, when it is asked for, then it
// is made anew, once, and that is said.
func TestSpoiledEntriesAreMadeAnew(t *testing.T) {
	g := smalltree.New(t)
	ctx := context.Background()
	good := g.Git("rev-parse", "HEAD")
	bad := g.Commit("break it", map[string]string{"block/bio.c": "int bio(void) { return VALUE }\n"})
	flipped := smalltree.Image()
	flipped[4000] ^= 1
	for _, c := range []struct{ name, rev, file, text string }{
		{"an empty build.json", good, fileBuild, ""},
		{"half a build.json", good, fileBuild, `{"ref": "git:`},
		{"a build.json of nothing", good, fileBuild, "{}"},
		{"no build.json", good, fileBuild, "gone"},
		{"an empty image", good, "vmlinuz", ""},
		{"an image of another kernel", good, "vmlinuz", string(flipped)},
		{"no image", good, "vmlinuz", "gone"},
		{"an empty config", good, "config", ""},
		{"an empty list of sources", good, "sources", ""},
		{"no checksums", good, ".blockrig.manifest", "gone"},
		{"an empty failed.json", bad, fileFailed, ""},
		{"a failed.json of nothing", bad, fileFailed, "{}"},
		{"no failed.json", bad, fileFailed, "gone"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := smalltree.OpenDir(t)
			spec := Spec{Repo: g.Dir(), Rev: c.rev}
			want, wantErr := open(t, dir, Options{}).BuildSpec(ctx, spec)
			found, err := filepath.Glob(filepath.Join(dir, "builds", "*", c.file))
			if err != nil || len(found) != 1 {
				t.Fatal(found, err)
			}
			if c.text == "gone" {
				err = os.Remove(found[0])
			} else {
				err = os.WriteFile(found[0], []byte(c.text), 0o644)
			}
			if err != nil {
				t.Fatal(err)
			}
			var log strings.Builder
			b := open(t, dir, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
			for _, cached := range []bool{false, true} {
				got, err := b.BuildSpec(ctx, spec)
				var failed *FailedError
				if errors.As(err, &failed) {
					got.Cached = failed.Cached
				}
				if fmt.Sprint(err) != fmt.Sprint(wantErr) || got.Image256 != want.Image256 || got.Cached != cached {
					t.Errorf("%+v, %v", got, err)
				}
			}
			if n := strings.Count(log.String(), "is made again"); n != 1 || (c.name == "no checksums") != strings.Contains(log.String(), "older blockrig") {
				t.Errorf("said %d times: %s", n, log.String())
			}
		})
	}
}

// Given two repositories with the same sources, when both are built at once,
// then one of them is, and both have it.
func TestTwoRepositoriesWithTheSameSources(t *testing.T) {
	dir := smalltree.OpenDir(t)
	var built atomic.Int32
	b := open(t, dir, Options{Progress: func(phase string, files int) {
		if phase == "checkout" {
			built.Add(1)
		}
	}})
	var builds [2]Build
	var group errgroup.Group
	for i := range builds {
		g := smalltree.New(t)
		group.Go(func() (err error) {
			builds[i], err = b.BuildSpec(t.Context(), Spec{Repo: g.Dir(), Rev: "HEAD"})
			return err
		})
	}
	if err := group.Wait(); err != nil || builds[0].Image != builds[1].Image || built.Load() != 1 {
		t.Errorf("%v: %s, %s; %d builds", err, builds[0].Image, builds[1].Image, built.Load())
	}
}

// Given a build under way, when another process wants another kernel of the same
// repository, then it builds it at once, and when it wants the same kernel, it
// says that it waits, and has it when it is there.
func TestOthersBuildAtTheSameTimeButTheSameKernel(t *testing.T) {
	g := smalltree.New(t)
	dir := smalltree.OpenDir(t)
	fifo := openFifo(t, dir)
	fast := g.Git("rev-parse", "HEAD")
	slow := g.Commit("slow", map[string]string{"image.sh": "read x <" + fifo.name + "\n" + smalltree.Files["image.sh"]})
	building := make(chan struct{})
	first := open(t, dir, Options{Progress: func(phase string, files int) {
		if files == 2 { // all but the image
			close(building)
		}
	}})
	first.sees = []string{dir}
	type result struct {
		build Build
		err   error
	}
	start := func(b *Builder, rev string) chan result {
		out := make(chan result, 1)
		go func() {
			build, err := b.BuildSpec(t.Context(), Spec{Repo: g.Dir(), Rev: rev})
			out <- result{build, err}
		}()
		return out
	}
	one := start(first, slow)
	select {
	case <-building:
	case r := <-one:
		t.Fatalf("the build ended before its end: %v", r.err)
	}
	another, err := open(t, dir, Options{}).BuildSpec(t.Context(), Spec{Repo: g.Dir(), Rev: fast})
	if err != nil || another.Cached {
		t.Errorf("another kernel: %v", err)
	}
	waiting := make(chan struct{})
	two := start(open(t, dir, Options{Progress: func(phase string, files int) {
		if phase == "waiting for another build" {
			close(waiting)
		}
	}}), slow)
	select {
	case <-waiting:
	case r := <-two:
		t.Fatalf("it did not wait: %v", r.err)
	}
	if err := os.WriteFile(fifo.name, []byte("go on\n"), 0); err != nil {
		t.Fatal(err)
	}
	a, b := <-one, <-two
	if a.err != nil || b.err != nil || a.build.Cached || !b.build.Cached || a.build.Image != b.build.Image {
		t.Errorf("the same kernel: %v and %v, cached %v and %v", a.err, b.err, a.build.Cached, b.build.Cached)
	}
}

// Given a Builder of several at once and a build under way, when it is to build
// another kernel of the same repository, then it does so at once, in a folder of
// its own, and the image is what it is elsewhere.
func TestSeveralAreBuiltAtOnce(t *testing.T) {
	g := smalltree.New(t)
	dir := smalltree.OpenDir(t)
	fifo := openFifo(t, dir)
	fast := g.Git("rev-parse", "HEAD")
	slow := g.Commit("slow", map[string]string{"image.sh": "read x <" + fifo.name + "\n" + smalltree.Files["image.sh"]})
	building := make(chan struct{}, 10)
	b := open(t, dir, Options{AtOnce: 2, Progress: func(phase string, files int) {
		if files == 2 { // all but the image
			building <- struct{}{}
		}
	}})
	b.sees = []string{dir}
	done := make(chan error, 1)
	go func() {
		_, err := b.BuildSpec(t.Context(), Spec{Repo: g.Dir(), Rev: slow})
		done <- err
	}()
	select {
	case <-building:
	case err := <-done:
		t.Fatalf("the build ended before its end: %v", err)
	}
	another, err := b.BuildSpec(t.Context(), Spec{Repo: g.Dir(), Rev: fast})
	if err != nil || another.Cached {
		t.Errorf("another kernel: %v", err)
	}
	if err := os.WriteFile(fifo.name, []byte("go on\n"), 0); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	alone, err := open(t, smalltree.OpenDir(t), Options{}).BuildSpec(t.Context(), Spec{Repo: g.Dir(), Rev: fast})
	if err != nil || alone.Image256 != another.Image256 {
		t.Errorf("alone the image is %s, beside another %s: %v", alone.Image256, another.Image256, err)
	}
}

// Given a Makefile that prints without bounds, when it is built, then the log
// has the beginning, the end with the error, and says how much is left out.
func TestLogIsBounded(t *testing.T) {
	g := smalltree.New(t)
	b := open(t, smalltree.OpenDir(t), Options{})
	g.Commit("print", map[string]string{"image.sh": "echo first words\nyes filler | head -c 28000000\necho 'main.c:7: error: last words'\nexit 1\n"})
	_, err := b.BuildSpec(t.Context(), Spec{Repo: g.Dir(), Rev: "HEAD"})
	var failed *FailedError
	if !errors.As(err, &failed) || !strings.Contains(failed.Why, "last words") {
		t.Fatalf("%v", err)
	}
	text, err := os.ReadFile(failed.Log)
	if err != nil {
		t.Fatal(err)
	}
	if len(text) < 2*logHalf || len(text) > 2*logHalf+1000 {
		t.Errorf("the log has %d bytes", len(text))
	}
	for _, want := range []string{"CC      main.o", "first words\nfiller\n", "\nmain.c:7: error: last words\n"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the log lacks %q", want)
		}
	}
	m := regexp.MustCompile(`\n\[blockrig: (\d+) bytes are left out here\]\n`).FindSubmatch(text)
	if m == nil {
		t.Fatal("the log does not say what is left out")
	}
	if cut, err := strconv.Atoi(string(m[1])); err != nil || cut < 28000000-2*logHalf-1000 || cut > 28000000-2*logHalf+1000 {
		t.Errorf("%s bytes are left out, %v", m[1], err)
	}
}

// Given Makefiles that leave something running, in its own session, without
// its parent, and with make's output still open, when make has ended, well or
// not, then that has ended too.
func TestNothingOutlivesABuild(t *testing.T) {
	for name, end := range map[string]string{"a good build": smalltree.Files["image.sh"], "a bad build": "exit 1\n"} {
		t.Run(name, func(t *testing.T) {
			g := smalltree.New(t)
			dir := smalltree.OpenDir(t)
			fifo := openFifo(t, dir)
			// Each holds the pipe open as long as it lives.
			g.Commit("daemons", map[string]string{"image.sh": "exec 9>" + fifo.name + "\nsetsid sh -c 'sleep 1000 & sleep 1000' &\n(setsid nohup sleep 1000 >/dev/null 2>&1 &)\n(trap '' TERM HUP INT; sleep 1000) &\n" + end})
			done := make(chan error, 1)
			b := open(t, dir, Options{})
			b.sees = []string{dir}
			go func() {
				_, err := b.BuildSpec(t.Context(), Spec{Repo: g.Dir(), Rev: "HEAD"})
				done <- err
			}()
			fifo.open(t)
			var failed *FailedError
			if err := <-done; err != nil && !errors.As(err, &failed) {
				t.Fatal(err)
			}
			fifo.expect(t, "", io.EOF)
		})
	}
}

// Given a process with a build's environment that left its session, when the
// rest of the build is ended without PID namespaces, then it is, and others are
// not.
func TestWhatABuildLeftIsEnded(t *testing.T) {
	j := &job{place: t.TempDir()}
	start := func(home string) *exec.Cmd {
		t.Helper()
		c := exec.Command("sleep", "1000")
		c.Env = []string{"A=1", "HOME=" + home}
		c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		return c
	}
	runtime.LockOSThread() // the death signal is this thread's
	defer runtime.UnlockOSThread()
	left, other := start(j.home()), start(j.home()+"2")
	if err := j.endLeft(t.Context()); err != nil {
		t.Error(err)
	}
	if err := left.Wait(); err == nil || left.ProcessState.Exited() {
		t.Errorf("%v", err)
	}
	if err := other.Process.Kill(); err != nil {
		t.Errorf("another process has ended: %v", err)
	}
	_ = other.Wait() // killed
}

// Given a commit that itself makes an object no linker takes, when it is built
// from clean and fails again, then that is a failure of the commit.
func TestBadObjectsOfACommitAreItsFailure(t *testing.T) {
	g := smalltree.New(t)
	ctx := context.Background()
	b := open(t, smalltree.OpenDir(t), Options{})
	if _, err := b.BuildSpec(ctx, Spec{Repo: g.Dir(), Rev: "HEAD"}); err != nil {
		t.Fatal(err)
	}
	g.Commit("bad object", map[string]string{"image.sh": "head -c 900 /dev/zero > $2; ld -r -o /dev/null $2\n"})
	for _, cached := range []bool{false, true} {
		_, err := b.BuildSpec(ctx, Spec{Repo: g.Dir(), Rev: "HEAD"})
		var failed *FailedError
		if !errors.As(err, &failed) || failed.Cached != cached || !strings.Contains(failed.Why, "file format not recognized") {
			t.Errorf("%v", err)
		}
	}
}

func TestDistributionConfigIsCutDown(t *testing.T) {
	g := smalltree.New(t)
	dir := smalltree.OpenDir(t)
	start := filepath.Join(dir, "config-distribution")
	if err := os.WriteFile(start, []byte(strings.Join([]string{
		"CONFIG_SMP=y", "CONFIG_SOUND=m", "CONFIG_DM_MIRROR=m", "CONFIG_LOCALVERSION=\"-amd64\"", "CONFIG_HZ=250",
		"CONFIG_SYSTEM_TRUSTED_KEYS=\"debian/certs/x.pem\"", "CONFIG_DEBUG_INFO_BTF=y", "# CONFIG_FOO is not set", "CONFIG_MODULES=y", "CONFIG_CGROUPS=y", "CONFIG_NR_CPUS=8192", "",
	}, "\n")), 0o644); err != nil {
		t.Fatal(err)
	}
	build, err := open(t, dir, Options{}).BuildSpec(context.Background(), Spec{Repo: g.Dir(), Rev: "HEAD", ConfigFile: start})
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(build.Config)
	if err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]bool{
		"CONFIG_SMP=y": true, "CONFIG_HZ=250": true, "CONFIG_DM_MIRROR=y": true, "# CONFIG_SOUND is not set": true, "# CONFIG_FOO is not set": true,
		"CONFIG_LOCALVERSION=\"\"": true, "CONFIG_SYSTEM_TRUSTED_KEYS=\"\"": true, "# CONFIG_MODULES is not set": true, "CONFIG_DEBUG_INFO_NONE=y": true,
		"CONFIG_CGROUPS=y": true, "CONFIG_NR_CPUS=8192": true, "CONFIG_DEBUG_INFO_BTF=y": false, "CONFIG_NR_CPUS=8": false,
		"CONFIG_DM_MIRROR=m": false, "CONFIG_MODULES=y": false, "CONFIG_LOCALVERSION=\"-amd64\"": false,
	} {
		if slices.Contains(strings.Split(string(data), "\n"), line) != want {
			t.Errorf("%s is there: %v", line, !want)
		}
	}
}

// Given a distribution's config with its kind of debug information, when a
// fragment asks for one, then that is taken, else none.
func TestCutDownTakesOneKindOfDebugInformation(t *testing.T) {
	start := "CONFIG_DEBUG_INFO=y\n# CONFIG_DEBUG_INFO_NONE is not set\nCONFIG_DEBUG_INFO_DWARF5=y\nCONFIG_DEBUG_INFO_BTF=y\n"
	for _, c := range []struct {
		more []string
		want []string
	}{
		{nil, []string{"CONFIG_DEBUG_INFO_NONE=y"}},
		{[]string{"debug"}, []string{"CONFIG_DEBUG_INFO_DWARF_TOOLCHAIN_DEFAULT=y"}},
	} {
		wants, err := config.Read(config.With(c.more))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for line := range strings.Lines(cutDown(start, wants)) {
			if strings.Contains(line, "DEBUG_INFO") {
				got = append(got, strings.TrimSpace(line))
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("with %q: %q, want %q", c.more, got, c.want)
		}
	}
}

func TestBadRequests(t *testing.T) {
	g := smalltree.New(t)
	b := open(t, smalltree.OpenDir(t), Options{})
	empty := smalltree.OpenDir(t)
	for _, c := range []struct {
		want     string
		notFound bool // there is no such kernel
		spec     Spec
	}{
		{"looks like an option", true, Spec{Repo: g.Dir(), Rev: "--output=/tmp/x"}},
		{"is a range", true, Spec{Repo: g.Dir(), Rev: "HEAD~1..HEAD"}},
		{"no revision given", true, Spec{Repo: g.Dir()}},
		{"no such file or directory", true, Spec{Repo: "/nonexistent", Rev: "HEAD"}},
		{"clone it first", true, Spec{Repo: "ext::sh -c true", Rev: "HEAD"}},
		{"not a git repository", true, Spec{Repo: empty, Rev: "HEAD"}},
		{"no commit", true, Spec{Repo: g.Dir(), Rev: "v9"}},
		{"has no kernel in it", true, Spec{Repo: g.Dir(), Rev: bare(g)}},
		{"no commit \"HEAD~99\"", true, Spec{Repo: g.Dir(), Rev: "HEAD~99"}},
		{"no config fragment", false, Spec{Repo: g.Dir(), Rev: "HEAD", Fragments: []string{"ahci2"}}},
		{"no such file", false, Spec{Repo: g.Dir(), Rev: "HEAD", Patches: []string{"/nowhere/p"}}},
		{"sets no option", false, Spec{Repo: g.Dir(), Rev: "HEAD", ConfigFile: "/dev/null"}},
	} {
		_, err := b.BuildSpec(t.Context(), c.spec)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") || errors.Is(err, kernels.ErrNotFound) != c.notFound {
			t.Errorf("%+v: %v, want %q", c.spec, err, c.want)
		}
	}
	for _, cc := range []string{"gcc -fplugin=x", "-x", "gcc;id", "$(id)"} {
		if _, err := Open(context.Background(), smalltree.OpenDir(t), Options{CC: cc}); err == nil {
			t.Errorf("compiler %q was taken", cc)
		}
	}
	b = open(t, smalltree.OpenDir(t), Options{CC: "no-such-compiler"})
	if _, err := b.BuildSpec(context.Background(), Spec{Repo: g.Dir(), Rev: "HEAD"}); err == nil || !strings.Contains(err.Error(), "no-such-compiler is missing") {
		t.Error(err)
	}
}

// bare is a commit without files.
func bare(g *smalltree.Repo) string {
	tree := g.Git("hash-object", "-t", "tree", "-w", "--stdin")
	return g.Git("-c", "user.name=A", "-c", "user.email=a@example.org", "commit-tree", "-m", "empty", tree)
}

func TestDiagnose(t *testing.T) {
	for _, c := range []struct {
		lines  []string
		want   string
		failed bool
	}{
		{[]string{"  CC      drivers/md/dm.o", "/src/drivers/md/dm.c:12:3: error: expected ';' before '}' token", "make[3]: *** [x] Error 1"}, "drivers/md/dm.c:12:3: error: expected", true},
		{[]string{"../src/fs/iomap/direct-io.c:272:33: error: expected '='"}, "fs/iomap/direct-io.c:272:33: error: expected '='", true},
		{[]string{"ld: vmlinux.o: in function `f':", "bio.c:(.text+0x1): undefined reference to `bio_x'", "make: *** [vmlinux] Error 1"}, "ld: vmlinux.o", true},
		{[]string{"make[1]: *** No rule to make target 'x.o'.  Stop."}, "No rule to make target", true},
		{[]string{"/src/x.c:1:1: error: x", "virtual memory exhausted: Cannot allocate memory"}, "not enough memory", false},
		{[]string{"gcc: fatal error: Killed signal terminated program cc1"}, "not enough memory", false},
		{[]string{"make[6]: *** [scripts/Makefile.build:295: drivers/acpi/acpica/psutils.o] Quit", "make: *** [Makefile:260: __sub-make] Error 2"}, "by a signal", false},
		{[]string{"make[6]: *** [scripts/Makefile.build:295: fs/Quit] Error 1"}, "fs/Quit] Error 1", true},
		{[]string{"<stdin>:1:10: fatal error: gelf.h: No such file or directory"}, "libelf-dev", false},
		{[]string{"include/linux/compiler-gcc.h:90:1: fatal error: linux/compiler-gcc12.h: No such file or directory"}, "too new for this tree", true},
		{[]string{"./include/linux/stddef.h:11:9: error: cannot use keyword 'false' as enumeration constant"}, "too new for this tree (gcc 15", true},
		{[]string{"make[3]: *** [scripts/Makefile.build:250: fs/ext4/inode.o] Error 137"}, "was killed", false},
		{[]string{"make[3]: *** [scripts/Makefile.build:250: fs/ext4/inode.o] Error 143"}, "was killed", false},
		{[]string{"make[3]: *** [scripts/Makefile.build:250: fs/ext4/inode.o] Error 1"}, "inode.o] Error 1", true},
		{[]string{"Killed", "make[1]: *** [x] Error 1"}, "was killed", false},
		{[]string{"scripts/link-vmlinux.sh: line 49: 12345 Killed                  ${LD} -o x", "make[1]: *** [vmlinux] Error 1"}, "was killed", false},
		{[]string{"Killed_by is no member", "make[1]: *** [x] Error 1"}, "Error 1", true},
		{[]string{"collect2: fatal error: ld terminated with signal 9 [Killed]"}, "not enough memory", false},
		{[]string{"/bin/sh: 1: bc: not found", "make[1]: *** [include/generated/timeconst.h] Error 127"}, "bc is missing here", false},
		{[]string{"/bin/bash: line 1: gzip: command not found", "make[1]: *** [x.gz] Error 127"}, "gzip is missing here", false},
		{[]string{"make[1]: bc: No such file or directory", "make[1]: *** [timeconst.h] Error 127"}, "bc is missing here", false},
		{[]string{"/usr/bin/env: 'python2': No such file or directory", "make[1]: *** [x] Error 127"}, "python2 is missing here", false},
		{[]string{"/bin/sh: 1: scripts/gone.sh: not found", "make[1]: *** [x] Error 127"}, "Error 127", true},
		{[]string{"/bin/sh: 1: -E: not found", "make[1]: *** [x] Error 127"}, "Error 127", true},
		{[]string{"/bin/sh: 1: bc: not found", "/src/x.c:1:1: error: x", "make[1]: *** [x] Error 1"}, "x.c:1:1: error: x", true},
		{[]string{"gcc: internal compiler error: Segmentation fault signal terminated program cc1"}, "the compiler crashed", false},
		{[]string{"/src/x.c:9:1: internal compiler error: Segmentation fault"}, "the compiler crashed", false},
		{[]string{"gcc: internal compiler error: Killed signal terminated program cc1"}, "not enough memory", false},
		{[]string{"/src/x.c:9:1: internal compiler error: in expand_expr, at expr.c:1", "The bug is not reproducible, so it is likely a hardware or OS problem."}, "the compiler crashed", false},
		{[]string{"/src/x.c:9:1: internal compiler error: in expand_expr, at expr.c:1", "make: *** [x.o] Error 1"}, "x.o] Error 1", true},
		{[]string{"gcc: error: x.c: Too many open files"}, "ulimit -n", false},
		{[]string{"/src/x.c:3:1: error: expected ';'", `    3 | "No space left on device")`, "      | ^ Killed", "make: *** [x.o] Error 1"}, "expected ';'", true},
		{[]string{"\x1b[31mstrange"}, `\u001b[31mstrange`, true},
		{nil, "without a word", true},
	} {
		err := diagnose(c.lines, "/src")
		var failed *FailedError
		if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "src/") || errors.As(err, &failed) != c.failed {
			t.Errorf("%q: %v", c.lines, err)
		}
	}
}
