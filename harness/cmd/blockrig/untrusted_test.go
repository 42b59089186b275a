package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/blockrig/blockrig/harness/bisect"
	"github.com/blockrig/blockrig/harness/bisect/trials"
	"github.com/blockrig/blockrig/kernels/gitbuild"
	"github.com/blockrig/blockrig/kernels/gitbuild/gitcmd"
)

// A trap is something in a repository, or around it, that makes git run a
// program.
type trap struct {
	group  int // those of one group don't hide each other
	name   string
	config string            // of the repository
	files  map[string]string // in its git folder
	home   map[string]string // in the user's home
	env    map[string]string
	fires  [][]string // git commands of which one sets it off; none: one can't without a network
}

// hooks are all that githooks(5) lists.
var hooks = []string{
	"applypatch-msg", "commit-msg", "fsmonitor-watchman", "p4-changelist", "p4-post-changelist", "p4-pre-submit", "p4-prepare-changelist",
	"post-applypatch", "post-checkout", "post-commit", "post-index-change", "post-merge", "post-receive", "post-rewrite", "post-update",
	"pre-applypatch", "pre-auto-gc", "pre-commit", "pre-merge-commit", "pre-push", "pre-rebase", "pre-receive", "prepare-commit-msg",
	"proc-receive", "push-to-checkout", "reference-transaction", "sendemail-validate", "update",
}

// traps use PROGRAM for what must not run.
func traps() []trap {
	status := [][]string{{"status"}}
	checkout := [][]string{{"checkout", "-q", "HEAD~2"}}
	attributes := "* filter=t merge=t diff=t\n"
	list := []trap{
		{group: 1, name: "smudge", config: "[filter \"t\"]\nsmudge = PROGRAM", fires: checkout},
		{group: 3, name: "clean", config: "[filter \"t\"]\nclean = PROGRAM\nrequired", fires: [][]string{{"add", "--renormalize", "."}}},
		{group: 2, name: "filter process", config: "[filter \"t\"]\nprocess = PROGRAM\nrequired", fires: checkout},
		{group: 4, name: "info/attributes", config: "[filter \"u\"]\nsmudge = PROGRAM", files: map[string]string{"info/attributes": "* filter=u\n"}, fires: checkout},
		{group: 5, name: "core.attributesFile", config: "[core]\nattributesFile = GITDIR/more\n[filter \"u\"]\nsmudge = PROGRAM", files: map[string]string{"more": "* filter=u\n", "info/attributes": "#\n"}, fires: [][]string{{"archive", "HEAD"}}},
		{group: 1, name: "merge driver", config: "[merge \"t\"]\ndriver = PROGRAM %A", fires: [][]string{{"revert", "--no-edit", "HEAD~2"}}},
		{group: 3, name: "merge.default", config: "[merge]\ndefault = u\n[merge \"u\"]\ndriver = PROGRAM %A", files: map[string]string{"info/attributes": "* !merge\n"}, fires: [][]string{{"revert", "--no-edit", "HEAD~2"}}},
		{group: 1, name: "textconv", config: "[diff \"t\"]\ntextconv = PROGRAM", fires: [][]string{{"show"}}},
		{group: 2, name: "diff driver", config: "[diff \"t\"]\ncommand = PROGRAM", fires: [][]string{{"diff", "HEAD~1"}}},
		{group: 3, name: "diff.external", config: "[diff]\nexternal = PROGRAM", files: map[string]string{"info/attributes": "* !diff\n"}, fires: [][]string{{"diff", "HEAD~1"}}},
		{group: 1, name: "fsmonitor", config: "[core]\nfsmonitor = PROGRAM", fires: status},
		{group: 2, name: "core.hooksPath", config: "[core]\nhooksPath = GITDIR/others", files: map[string]string{"others/post-checkout": "PROGRAM", "others/reference-transaction": "PROGRAM"}, fires: checkout},
		{group: 2, name: "include", config: "[include]\npath = more", files: map[string]string{"more": "[core]\nfsmonitor = PROGRAM"}, fires: status},
		{group: 3, name: "includeIf", config: "[includeIf \"gitdir:**\"]\npath = more", files: map[string]string{"more": "[core]\nfsmonitor = PROGRAM"}, fires: status},
		{group: 2, name: "config.worktree", config: "[core]\nrepositoryFormatVersion = 1\n[extensions]\nworktreeConfig", files: map[string]string{"config.worktree": "[core]\nfsmonitor = PROGRAM"}, fires: status},
		{group: 1, name: "gpg.program", config: "[gpg]\nprogram = PROGRAM\n[log]\nshowSignature\n[commit]\ngpgSign", fires: [][]string{{"commit", "--allow-empty", "-m", "x"}}},
		{group: 1, name: "core.editor", config: "[core]\neditor = PROGRAM", fires: [][]string{{"commit", "--allow-empty"}}},
		{group: 1, name: "core.pager", config: "[core]\npager = PROGRAM\n[pager]\nshow = PROGRAM\nconfig = PROGRAM"}, // git has a pager on a terminal only
		{group: 1, name: "alias", config: "[alias]\nx = !PROGRAM\nbisect = !PROGRAM\nreset = !PROGRAM", fires: [][]string{{"x"}}},
		{group: 1, name: "remote.*.uploadpack", config: "[remote \"origin\"]\nurl = GITDIR\nuploadpack = PROGRAM", fires: [][]string{{"fetch", "origin"}}},
		{group: 2, name: "core.sshCommand", config: "[core]\nsshCommand = PROGRAM\n[remote \"origin\"]\nurl = ssh://h.invalid/r", fires: [][]string{{"fetch", "origin"}}},
		{group: 3, name: "core.gitProxy", config: "[core]\ngitProxy = PROGRAM\n[remote \"origin\"]\nurl = git://h.invalid/r", fires: [][]string{{"fetch", "origin"}}},
		{group: 4, name: "remote.*.vcs", config: "[remote \"origin\"]\nvcs = ext\nurl = PROGRAM\n[protocol]\nallow = always", fires: [][]string{{"fetch", "origin"}}},
		{group: 5, name: "url.*.insteadOf", config: "[url \"ext::PROGRAM \"]\ninsteadOf = x\n[remote \"origin\"]\nurl = x\n[protocol]\nallow = always", fires: [][]string{{"fetch", "origin"}}},
		{group: 4, name: "credential and askPass", config: "[credential]\nhelper = !PROGRAM\n[core]\naskPass = PROGRAM\n[remote \"origin\"]\nurl = https://u@h.invalid/r", fires: [][]string{{"credential", "fill"}}},
		{group: 1, name: "uploadpack.packObjectsHook", config: "[uploadpack]\npackObjectsHook = PROGRAM"}, // git heeds it in the user's own config only
		{group: 4, name: "core.alternateRefsCommand", config: "[core]\nalternateRefsCommand = PROGRAM", files: map[string]string{"objects/info/alternates": "OTHER\n"}, fires: [][]string{{"fetch", "GITDIR", "HEAD"}}},
		{group: 3, name: "submodule", config: "[submodule]\nrecurse\n[submodule \"m\"]\nactive\nurl = GITDIR\nupdate = !PROGRAM", fires: [][]string{{"-c", "protocol.file.allow=always", "submodule", "update"}}},
		{group: 6, name: "the user's config", home: map[string]string{".gitconfig": "[core]\nfsmonitor = PROGRAM\nhooksPath = GITDIR/others"}, files: map[string]string{"others/reference-transaction": "PROGRAM"}, fires: status},
		{group: 7, name: "the user's attributes", home: map[string]string{".config/git/attributes": "* filter=u\n", ".config/git/config": "[filter \"u\"]\nsmudge = PROGRAM"}, files: map[string]string{"info/attributes": "#\n"}, fires: [][]string{{"archive", "HEAD"}}},
		{group: 8, name: "templates", home: map[string]string{".gitconfig": "[init]\ntemplateDir = GITDIR/template"}, files: map[string]string{"template/hooks/post-checkout": "PROGRAM", "template/hooks/reference-transaction": "PROGRAM"}, fires: [][]string{{"clone", "GITDIR", "GITDIR/clone"}}},
		{group: 9, name: "GIT_CONFIG_COUNT", env: map[string]string{"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "core.fsmonitor", "GIT_CONFIG_VALUE_0": "PROGRAM"}, fires: status},
		{group: 9, name: "GIT_CONFIG_PARAMETERS", env: map[string]string{"GIT_CONFIG_PARAMETERS": "'core.fsmonitor=PROGRAM'"}, fires: status},
		{group: 9, name: "GIT_EXTERNAL_DIFF", env: map[string]string{"GIT_EXTERNAL_DIFF": "PROGRAM"}, fires: [][]string{{"diff", "HEAD~1"}}},
		{group: 9, name: "GIT_EXEC_PATH", env: map[string]string{"GIT_EXEC_PATH": "GITDIR/exec"}, files: map[string]string{"exec/git-bisect": "PROGRAM", "exec/git-sh-setup": "PROGRAM", "exec/git-x": "PROGRAM"}, fires: [][]string{{"x"}}},
		{group: 9, name: "GIT_TEMPLATE_DIR", env: map[string]string{"GIT_TEMPLATE_DIR": "GITDIR/template"}, files: map[string]string{"template/hooks/post-checkout": "PROGRAM", "template/hooks/reference-transaction": "PROGRAM"}, fires: [][]string{{"clone", "GITDIR", "GITDIR/clone"}}},
		{group: 9, name: "GIT_SSH_COMMAND and editors", env: map[string]string{"GIT_SSH_COMMAND": "PROGRAM", "GIT_EDITOR": "PROGRAM", "GIT_PAGER": "PROGRAM", "GIT_ASKPASS": "PROGRAM", "GIT_PROXY_COMMAND": "PROGRAM"}, fires: [][]string{{"commit", "--allow-empty"}}},
		{group: 9, name: "GIT_TRACE", env: map[string]string{"GIT_TRACE": "MARK"}, fires: status}, // writes what it is told to
	}
	for i := range list {
		if list[i].files["info/attributes"] == "" {
			if list[i].files == nil {
				list[i].files = map[string]string{}
			}
			list[i].files["info/attributes"] = attributes
		}
	}
	all := map[string]string{"info/attributes": attributes}
	for _, h := range hooks {
		all["hooks/"+h] = "PROGRAM"
	}
	list = append(list, trap{group: 1, name: "hooks", files: all, fires: checkout})
	for _, h := range []string{"post-checkout", "post-index-change", "reference-transaction"} { // git's own bisect runs these
		list = append(list, trap{group: 4, name: h, files: map[string]string{"info/attributes": attributes, "hooks/" + h: "PROGRAM"}, fires: checkout})
	}
	return list
}

// untrusted is a repository of a tree that fails to build, with a history six
// commits. It gives them, the oldest first.
func untrusted(t *testing.T) (dir string, commits []string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "repo")
	r, err := gitcmd.Init(filepath.Join(dir, ".git"), dir)
	if err != nil {
		t.Fatal(err)
	}
	git := func(args ...string) string {
		t.Helper()
		out, err := r.Run(t.Context(), append([]string{"-c", "user.name=A", "-c", "user.email=a@example.org"}, args...)...)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(out)
	}
	lines := strings.SplitAfter(strings.Repeat("int v;\n//\n//\n//\n//\n//\n", 6), "\n")
	for i := range 6 {
		lines[6*i] = "int v = 1;\n"
		for name, text := range map[string]string{
			"a.c": strings.Join(lines, ""), ".gitattributes": "*.c filter=t merge=t diff=t\n",
			"Makefile": "%:\n\t@echo no; exit 1\n", ".gitmodules": "[submodule \"m\"]\npath = m\nurl = ./m\n",
		} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		git("add", ".")
		if i > 0 {
			git("update-index", "--add", "--cacheinfo", "160000,"+commits[0]+",m")
		}
		git("commit", "-q", "-m", fmt.Sprint("change ", i))
		commits = append(commits, git("rev-parse", "HEAD"))
	}
	git("tag", "-a", "-m", "first", "v1", commits[0])
	// What a person's repository has.
	if err := os.WriteFile(filepath.Join(dir, ".git", "config"), []byte("[core]\n\tbare = false\n[user]\n\tname = A\n\temail = a@example.org\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir, commits
}

// set puts a trap up; the program leaves the file mark.
func (tr trap) set(t *testing.T, dir string) (mark string) {
	t.Helper()
	tmp, gitDir := t.TempDir(), filepath.Join(dir, ".git")
	mark = filepath.Join(tmp, "mark")
	program := filepath.Join(tmp, "program")
	home := filepath.Join(tmp, "home")
	other := filepath.Join(tmp, "other")
	fill := strings.NewReplacer("PROGRAM", program, "GITDIR", gitDir, "MARK", mark, "OTHER", filepath.Join(other, "objects")).Replace
	put := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if text == "PROGRAM" {
			text = "#!/bin/sh\nexec PROGRAM\n"
		}
		f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o755)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.WriteString(fill(text))
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := gitcmd.Init(other, ""); err != nil {
		t.Fatal(err)
	}
	put(program, "#!/bin/sh\n: >"+mark+"\n")
	put(filepath.Join(home, "here"), "")
	put(filepath.Join(gitDir, "config"), tr.config+"\n")
	for name, text := range tr.files {
		put(filepath.Join(gitDir, name), text)
	}
	for name, text := range tr.home {
		put(filepath.Join(home, name), text)
	}
	t.Setenv("HOME", home)
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(home, ".config"))
	for name, value := range tr.env {
		t.Setenv(name, fill(value))
	}
	return mark
}

// snapshot is all that can be seen of a folder: what is in it, and when it was
// written.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	seen := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		what := fmt.Sprint(info.Mode(), info.ModTime())
		if info.Mode().IsRegular() {
			text, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			what += fmt.Sprintf(" %x", sha256.Sum256(text))
		}
		seen[p] = what
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return seen
}

// everyUse does all that blockrig does with a repository: bisect git, step,
// try-patch, and builds with a commit taken back and patches.
func everyUse(t *testing.T, dir string, commits []string) error {
	t.Helper()
	ctx, tmp := t.Context(), t.TempDir()
	// Root's builds are in the cache itself only where everyone can come to it.
	cache, err := os.MkdirTemp("", "untrusted-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(cache); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(cache, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("XDG_CACHE_HOME", cache)
	t.Chdir(dir)
	var all error
	check := func(what string, err error) {
		if err != nil {
			all = errors.Join(all, fmt.Errorf("%s: %w", what, err))
		}
	}
	first, last := commits[0], commits[len(commits)-1]

	a := &app{stdout: io.Discard, stderr: io.Discard}
	_, at, err := a.bisected(ctx)
	check("step", err)
	if at != last && err == nil {
		t.Errorf("step is at %s, want %s", at, last)
	}
	repo, err := openRepo(ctx, dir)
	check("open", err)
	if err != nil {
		return all
	}
	var request trials.Request
	err = request.Commits(ctx, repo, trials.Ends{Good: []string{"v1"}, Bad: "HEAD"}, trials.GitRequest{})
	check("bisect git", err)
	if err == nil && (request.Git.Old[0].Commit != first || request.Git.New.Commit != last) {
		t.Errorf("the ends are %+v", request.Git)
	}
	who, err := gitUser(ctx, repo)
	check("try-patch", err)
	if who != "A <a@example.org>" {
		t.Errorf("the user is %q", who)
	}
	patch := "--- a/a.c\n+++ b/a.c\n@@ -1,3 +1,3 @@\n-int v = 1;\n+int v = 2;\n //\n //\n"
	mail := trials.File{Name: "mail", Text: []byte("From 0123456789012345678901234567890123456789 Mon Sep 17 00:00:00 2001\nFrom: A <a@a.example>\nSubject: x\n\n---\n" + patch + "-- \n2.39\n")}
	patches, _, err := trials.Patches(ctx, repo, mail, filepath.Join(tmp, "patch"))
	check("try-patch", err)
	check("try-patch", trials.CheckApply(ctx, repo, last, nil, patches, filepath.Join(tmp, "check")))
	var try []string
	for _, p := range patches {
		try = append(try, p.Path)
	}

	h, err := bisect.OpenGit(ctx, repo, filepath.Join(tmp, "bisection"), bisect.GitOptions{Paths: []string{"a.c"}, At: last})
	check("bisect git", err)
	if err == nil {
		next, err := h.Replay(ctx, last, []string{first}, nil)
		check("bisect git", err)
		if err == nil {
			_, err = h.Mark(ctx, bisect.Marked{Commit: next.Commit, Mark: bisect.Old})
			check("bisect git", err)
			_, err = h.Replay(ctx, last, []string{first}, []bisect.Marked{{Commit: next.Commit, Mark: bisect.New}})
			check("bisect git", err)
		}
		_, err = h.Between(ctx)
		check("bisect git", err)
		_, err = h.MergeBases(ctx, last, []string{first})
		check("bisect git", err)
		_, err = h.Parents(ctx, last)
		check("bisect git", err)
		c, err := h.Describe(ctx, first)
		check("bisect git", err)
		if !slices.Contains(c.Tags, "v1") {
			t.Errorf("%+v has no tag", c)
		}
		_, err = h.Files(ctx, last)
		check("bisect git", err)
		check("bisect git", h.Remove())
	}

	blockrigs, err := cacheDir()
	check("kernels build", err)
	b, err := gitbuild.Open(ctx, blockrigs, gitbuild.Options{})
	check("kernels build", err)
	for _, spec := range []gitbuild.Spec{
		{Rev: "HEAD~1"},
		{Rev: "HEAD", Revert: commits[3], Patches: try},
		{Rev: commits[2], Try: try},
	} {
		spec.Repo = dir
		_, err = b.BuildSpec(ctx, spec)
		var failed *gitbuild.FailedError
		if !errors.As(err, &failed) {
			check("kernels build", fmt.Errorf("%v, want it to fail in make: %w", spec, err))
		}
	}
	return all
}

// Given a repository that makes git run programs, when blockrig does all that
// it does with repositories, then none is run, and nothing of the repository is
// changed.
func TestNothingOfARepositoryRuns(t *testing.T) {
	dir, commits := untrusted(t)
	groups := map[int][]trap{}
	for _, tr := range traps() {
		groups[tr.group] = append(groups[tr.group], tr)
	}
	for group, traps := range groups {
		t.Run(fmt.Sprint("group ", group), func(t *testing.T) {
			dir := copyOf(t, dir)
			marks := map[string]string{}
			for _, tr := range traps {
				marks[tr.name] = tr.set(t, dir)
			}
			before := snapshot(t, dir)
			if err := everyUse(t, dir, commits); err != nil {
				t.Error(err)
			}
			for name, mark := range marks {
				if exists(mark) {
					t.Errorf("the program of %q ran", name)
				}
			}
			if diff := cmp.Diff(before, snapshot(t, dir)); diff != "" {
				t.Errorf("the repository was changed:\n%s", diff)
			}
		})
	}
}

// Given each of the traps, when a person works with git there, then it works.
func TestTrapsAreTraps(t *testing.T) {
	dir, _ := untrusted(t)
	for _, tr := range traps() {
		t.Run(tr.name, func(t *testing.T) {
			dir := copyOf(t, dir)
			mark := tr.set(t, dir)
			for _, args := range tr.fires {
				for i := range args {
					args[i] = strings.ReplaceAll(args[i], "GITDIR", filepath.Join(dir, ".git"))
				}
				c := exec.CommandContext(t.Context(), "git", append([]string{"-C", dir}, args...)...)
				c.Stdin = strings.NewReader("protocol=https\nhost=h.invalid\n\n")
				if out, _ := c.CombinedOutput(); !exists(mark) { // it may fail
					t.Errorf("git %q did not run the program:\n%s", args, out)
				}
			}
		})
	}
}

func copyOf(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "repo")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// Given a partial clone that lacks an object, when it is needed, then it is
// named, and not fetched.
func TestObjectsOfAPartialCloneAreNotFetched(t *testing.T) {
	dir, commits := untrusted(t)
	for _, config := range []string{
		"[remote \"origin\"]\npromisor\npartialclonefilter = blob:none\nurl = GITDIR\nuploadpack = PROGRAM",
		"[core]\nrepositoryFormatVersion = 1\nsshCommand = PROGRAM\n[extensions]\npartialClone = origin\n[remote \"origin\"]\nurl = ssh://h.invalid/r",
	} {
		dir := copyOf(t, dir)
		r, err := gitcmd.Open(t.Context(), t.TempDir(), dir)
		if err != nil {
			t.Fatal(err)
		}
		blob, err := r.Run(t.Context(), "rev-parse", "HEAD~1:a.c")
		if err != nil {
			t.Fatal(err)
		}
		blob = strings.TrimSpace(blob)
		if err := os.Remove(filepath.Join(dir, ".git", "objects", blob[:2], blob[2:])); err != nil {
			t.Fatal(err)
		}
		tr := trap{config: config}
		mark := tr.set(t, dir)
		before := snapshot(t, dir)
		err = everyUse(t, dir, commits)
		var missing *gitcmd.MissingError
		if !errors.As(err, &missing) || missing.Object != blob || !missing.Partial || !strings.Contains(err.Error(), "a partial clone") {
			t.Errorf("%v", err)
		}
		if _, err := os.Lstat(mark); err == nil {
			t.Error("the program ran")
		}
		if diff := cmp.Diff(before, snapshot(t, dir)); diff != "" {
			t.Errorf("the repository was changed:\n%s", diff)
		}
		c := exec.CommandContext(t.Context(), "git", "-C", dir, "cat-file", "-p", blob)
		if out, _ := c.CombinedOutput(); !exists(mark) {
			t.Errorf("git does not fetch it:\n%s", out)
		}
	}
}

func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}

// Given a repository of another user's, which git refuses, when it is used,
// then that needs no setting of the user's.
func TestRepositoriesOfOthersAreRead(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	dir, commits := untrusted(t)
	trap{}.set(t, dir)
	err := filepath.WalkDir(dir, func(p string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(p, 12345, 12345))
	})
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "git", "-C", dir, "status").CombinedOutput(); err == nil || !strings.Contains(string(out), "dubious ownership") {
		t.Fatalf("git does not refuse it: %v\n%s", err, out)
	}
	if err := everyUse(t, dir, commits); err != nil {
		t.Error(err)
	}
}
