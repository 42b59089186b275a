package gitcmd

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// plain runs git in a folder as a person does, with no config of theirs.
func plain(t *testing.T, dir string, args ...string) string {
	t.Helper()
	c := exec.CommandContext(t.Context(), "git", append([]string{"-C", dir}, args...)...)
	c.Env = append(environ(), "GIT_ALLOW_PROTOCOL=file", "GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@example.org", "GIT_COMMITTER_NAME=A", "GIT_COMMITTER_EMAIL=a@example.org")
	var said strings.Builder
	c.Stderr = &said
	out, err := c.Output()
	if err != nil {
		t.Fatalf("git %q: %v\n%s", args, err, said.String())
	}
	return strings.TrimSpace(string(out))
}

// Given repositories of all forms, when names are looked up in what is
// borrowed from them, then each is the commit that git itself finds there.
func TestNamesAreThoseOfTheRepository(t *testing.T) {
	shapes := map[string]struct {
		init []string
		then func(t *testing.T, dir string) (at string)
		revs []string
	}{
		"loose references":  {},
		"packed references": {then: func(t *testing.T, dir string) string { plain(t, dir, "pack-refs", "--all"); return dir }},
		"packed and changed": {then: func(t *testing.T, dir string) string {
			plain(t, dir, "pack-refs", "--all")
			plain(t, dir, "branch", "-f", "side", "HEAD~3")
			return dir
		}},
		"packed objects": {then: func(t *testing.T, dir string) string { plain(t, dir, "gc", "-q"); return dir }},
		"a detached HEAD": {then: func(t *testing.T, dir string) string {
			plain(t, dir, "checkout", "-q", "--detach", "HEAD~2")
			return dir
		}},
		"SHA-256": {init: []string{"--object-format=sha256"}},
		"a subfolder": {then: func(t *testing.T, dir string) string {
			sub := filepath.Join(dir, "a", "b")
			if err := os.MkdirAll(sub, 0o755); err != nil {
				t.Fatal(err)
			}
			return sub
		}},
		"a bare one": {then: func(t *testing.T, dir string) string {
			plain(t, dir, "clone", "-q", "--bare", ".", "bare")
			return filepath.Join(dir, "bare")
		}},
		"a symbolic link": {then: func(t *testing.T, dir string) string {
			link := filepath.Join(t.TempDir(), "link")
			if err := os.Symlink(dir, link); err != nil {
				t.Fatal(err)
			}
			return link
		}},
		"another worktree": {
			then: func(t *testing.T, dir string) string {
				plain(t, dir, "bisect", "start", "--no-checkout", "HEAD", "HEAD~5")
				tree := filepath.Join(dir, "tree")
				plain(t, dir, "worktree", "add", "-q", "--detach", tree, "HEAD~4")
				return tree
			},
		},
		"while it is bisected": {
			then: func(t *testing.T, dir string) string {
				plain(t, dir, "bisect", "start", "--no-checkout", "HEAD", "HEAD~5")
				return dir
			},
			revs: []string{"BISECT_HEAD", "refs/bisect/bad"},
		},
		"after a fetch": {
			then: func(t *testing.T, dir string) string {
				plain(t, dir, "clone", "-q", ".", "clone")
				clone := filepath.Join(dir, "clone")
				plain(t, clone, "fetch", "-q", "origin", "side")
				return clone
			},
			revs: []string{"FETCH_HEAD", "origin", "origin/HEAD", "origin/side"},
		},
		"borrowing itself": {
			then: func(t *testing.T, dir string) string {
				plain(t, dir, "clone", "-q", "--shared", ".", "one")
				plain(t, dir, "clone", "-q", "--shared", "one", "two")
				two := filepath.Join(dir, "two")
				if err := os.WriteFile(filepath.Join(two, ".git", "objects", "info", "alternates"), []byte("../../../one/.git/objects\n"), 0o644); err != nil {
					t.Fatal(err)
				}
				return two
			},
		},
		"a shallow one": {then: func(t *testing.T, dir string) string {
			plain(t, dir, "clone", "-q", "--depth=3", "file://"+dir, "clone")
			return filepath.Join(dir, "clone")
		}},
		"replaced": {then: func(t *testing.T, dir string) string { plain(t, dir, "replace", "HEAD~1", "HEAD~4"); return dir }},
		"grafted": {then: func(t *testing.T, dir string) string {
			graft := plain(t, dir, "rev-parse", "HEAD") + " " + plain(t, dir, "rev-parse", "HEAD~4") + "\n"
			if err := os.WriteFile(filepath.Join(dir, ".git", "info", "grafts"), []byte(graft), 0o644); err != nil {
				t.Fatal(err)
			}
			return dir
		}},
	}
	for name, c := range shapes {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			plain(t, dir, append([]string{"init", "-q", "-b", "main"}, c.init...)...)
			for range 6 {
				plain(t, dir, "commit", "-q", "--allow-empty", "-m", "x")
			}
			plain(t, dir, "branch", "side", "HEAD~1")
			plain(t, dir, "tag", "-a", "-m", "x", "v1", "HEAD~2")
			plain(t, dir, "tag", "light/one", "HEAD~1")
			if c.then != nil {
				dir = c.then(t, dir)
			}
			r, err := Open(t.Context(), t.TempDir(), dir)
			if err != nil {
				t.Fatal(err)
			}
			for _, rev := range append(c.revs, "HEAD", "main", "side", "v1", "v1~1", "light/one", "HEAD~1", "HEAD~2", "HEAD@{0}", "@") {
				out, _ := exec.CommandContext(t.Context(), "git", "-C", dir, "rev-parse", "--verify", "--quiet", rev+"^{commit}").Output() // nothing when it is none
				want := strings.TrimSpace(string(out))
				if got, err := r.Resolve(t.Context(), rev); got != want || (err == nil) != (want != "") {
					t.Errorf("%s is %q, %v; want %s", rev, got, err, want)
				}
			}
			w, err := r.Borrow(t.Context(), filepath.Join(t.TempDir(), "git"), filepath.Join(t.TempDir(), "tree"))
			if err != nil {
				t.Fatal(err)
			}
			want := plain(t, dir, "rev-list", "HEAD")
			if got, err := w.Run(t.Context(), "rev-list", "HEAD"); err != nil || strings.TrimSpace(got) != want {
				t.Errorf("the history is\n%s%v, want\n%s", got, err, want)
			}
			if got, err := w.Run(t.Context(), "for-each-ref", "refs/bisect"); err != nil || got != "" {
				t.Errorf("a bisection of the user's came along: %s, %v", got, err)
			}
		})
	}
}

// Given a repository in which a file, a folder and a commit are replaced, when
// it is opened, for the first time or again, then a hash of sources means what
// is in them, and only the history is the replaced one.
func TestContentIsNotReplaced(t *testing.T) {
	dir, cache := t.TempDir(), t.TempDir()
	plain(t, dir, "init", "-q", "-b", "main")
	for _, text := range []string{"one", "two", "three"} {
		if err := os.WriteFile(filepath.Join(dir, "f"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		plain(t, dir, "add", "f")
		plain(t, dir, "commit", "-q", "-m", text)
	}
	one, tree, third := plain(t, dir, "rev-parse", "HEAD~2:f"), plain(t, dir, "rev-parse", "HEAD~1^{tree}"), plain(t, dir, "rev-parse", "HEAD^{tree}")
	for i, what := range [][2]string{{"HEAD~2:f", "HEAD:f"}, {"HEAD~1^{tree}", "HEAD^{tree}"}, {"HEAD", "HEAD~2"}} {
		plain(t, dir, "replace", plain(t, dir, "rev-parse", what[0]), plain(t, dir, "rev-parse", what[1]))
		r, err := Open(t.Context(), cache, dir)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := r.Run(t.Context(), "cat-file", "blob", one); err != nil || got != "one" {
			t.Errorf("%d: the file has %q, %v", i, got, err)
		}
		if got, err := r.Run(t.Context(), "cat-file", "blob", tree+":f"); err != nil || got != "two" {
			t.Errorf("%d: the folder's file has %q, %v", i, got, err)
		}
		got, err := r.Run(t.Context(), "rev-parse", "HEAD^{tree}")
		if replaced := err == nil && strings.TrimSpace(got) != third; err != nil || replaced != (i == 2) {
			t.Errorf("%d: the commit's tree is %s, %v", i, got, err)
		}
	}
}

// Given names that git would not take, or that are no files, when references
// are copied, then they are left out and do no harm.
func TestWhatIsNoReferenceIsLeftOut(t *testing.T) {
	dir := t.TempDir()
	plain(t, dir, "init", "-q", "-b", "main")
	plain(t, dir, "commit", "-q", "--allow-empty", "-m", "x")
	head := plain(t, dir, "rev-parse", "HEAD")
	refs := filepath.Join(dir, ".git", "refs", "heads")
	for name, text := range map[string]string{
		"a\nb": head, "x.lock": head, ".dot": head, "odd": "no hash", "loop": "ref: refs/heads/loop", "short": head[:39], "packed": head,
	} {
		if err := os.WriteFile(filepath.Join(refs, name), []byte(text+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.CommandContext(t.Context(), "mkfifo", filepath.Join(refs, "fifo")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(refs, "link")); err != nil {
		t.Fatal(err)
	}
	packed := head + " refs/../../x\n" + head + " refs/heads/good\nnonsense\n" + head + " refs/heads/a b\n"
	if err := os.WriteFile(filepath.Join(dir, ".git", "packed-refs"), []byte(packed), 0o644); err != nil {
		t.Fatal(err)
	}
	r, err := Open(t.Context(), t.TempDir(), dir)
	if err != nil {
		t.Fatal(err)
	}
	out, err := r.Run(t.Context(), "for-each-ref", "--format=%(refname)")
	if want := "refs/heads/good\nrefs/heads/main\nrefs/heads/packed\n"; err != nil || out != want {
		t.Errorf("%q, %v; want %q", out, err, want)
	}
}

// Given references that changed since the last time, when the repository is
// opened again, then they are the new ones, and what is gone is gone.
func TestReferencesAreRenewed(t *testing.T) {
	dir, cache := t.TempDir(), t.TempDir()
	plain(t, dir, "init", "-q", "-b", "main")
	for range 4 {
		plain(t, dir, "commit", "-q", "--allow-empty", "-m", "x")
	}
	plain(t, dir, "tag", "v1")
	plain(t, dir, "bisect", "start", "--no-checkout", "HEAD", "HEAD~3")
	if r, err := Open(t.Context(), cache, dir); err != nil {
		t.Fatal(err)
	} else if _, err := r.Resolve(t.Context(), "BISECT_HEAD"); err != nil {
		t.Fatal(err)
	}
	plain(t, dir, "bisect", "reset")
	plain(t, dir, "tag", "-d", "v1")
	plain(t, dir, "commit", "-q", "--allow-empty", "-m", "y")
	r, err := Open(t.Context(), cache, dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, rev := range []string{"BISECT_HEAD", "v1"} {
		if got, err := r.Resolve(t.Context(), rev); err == nil {
			t.Errorf("%s is still %s", rev, got)
		}
	}
	if got, err := r.Resolve(t.Context(), "HEAD"); err != nil || got != plain(t, dir, "rev-parse", "HEAD") {
		t.Errorf("HEAD is %s, %v", got, err)
	}
}

// Given a branch whose name became a folder of branches, or the other way
// round, when a name is looked up in what git remembers, then it is found.
func TestLogsAreRenewed(t *testing.T) {
	dir := t.TempDir()
	plain(t, dir, "init", "-q", "-b", "main")
	plain(t, dir, "config", "core.logAllRefUpdates", "true")
	plain(t, dir, "commit", "-q", "--allow-empty", "-m", "x")
	r, err := Open(t.Context(), t.TempDir(), dir)
	if err != nil {
		t.Fatal(err)
	}
	was := ""
	for _, branch := range []string{"side", "side/one", "side"} {
		if was != "" {
			plain(t, dir, "branch", "-D", was)
		}
		plain(t, dir, "branch", branch)
		was = branch
		if _, err := r.Resolve(t.Context(), "main@{0}"); err != nil {
			t.Errorf("%s: %v", branch, err)
		}
	}
}

// Given several who open the same repository at once, when each looks a name
// up, then none is in another's way.
func TestSeveralMayOpenARepository(t *testing.T) {
	dir, cache := t.TempDir(), t.TempDir()
	plain(t, dir, "init", "-q", "-b", "main", "--object-format=sha256")
	plain(t, dir, "commit", "-q", "--allow-empty", "-m", "x")
	want := plain(t, dir, "rev-parse", "HEAD")
	var group errgroup.Group
	for range 8 {
		group.Go(func() error {
			for range 5 {
				r, err := Open(t.Context(), cache, dir)
				if err != nil {
					return err
				}
				for _, rev := range []string{"HEAD", "main@{0}"} {
					if got, err := r.Resolve(t.Context(), rev); err != nil || got != want {
						return fmt.Errorf("%s is %s, %w", rev, got, err)
					}
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
}

// Given a repository that can't be read as one, then that is said.
func TestDamagedRepositories(t *testing.T) {
	for name, c := range map[string]struct {
		config, want string
	}{
		"a bad config":           {"[core\n", "bad config line 1"},
		"an unknown hash":        {"[extensions]\nobjectFormat = sha3\n", "object format"},
		"references in reftable": {"[extensions]\nrefStorage = reftable\n", "refs migrate"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			plain(t, dir, "init", "-q")
			if err := os.WriteFile(filepath.Join(dir, ".git", "config"), []byte(c.config), 0o644); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(t.Context(), t.TempDir(), dir); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
	dir := t.TempDir()
	for _, text := range []string{"nonsense", "gitdir: /nowhere\n", "gitdir: a\nb\n"} {
		if err := os.WriteFile(filepath.Join(dir, ".git"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		var wrong *RequestError
		if _, err := Open(t.Context(), t.TempDir(), dir); !errors.As(err, &wrong) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// Given a worktree of the user's, when it is asked for changes, then only what
// the files say counts, not when they were written; and its index is not.
func TestChangesOfTheUsersWorktree(t *testing.T) {
	dir := t.TempDir()
	plain(t, dir, "init", "-q", "-b", "main")
	file, index := filepath.Join(dir, "f"), filepath.Join(dir, ".git", "index")
	written := time.Unix(1700000000, 0)
	put := func(text string) {
		t.Helper()
		written = written.Add(time.Hour)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, time.Time{}, written); err != nil {
			t.Fatal(err)
		}
	}
	put("one\n")
	plain(t, dir, "add", "f")
	plain(t, dir, "commit", "-q", "-m", "x")
	put("one\n")
	was, err := os.ReadFile(index)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Open(t.Context(), t.TempDir(), dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		text string
		want bool
	}{{"one\n", false}, {"two\n", true}, {"one\n", false}} {
		put(c.text)
		if got, err := r.Changed(t.Context()); err != nil || got != c.want {
			t.Errorf("%q: %v, %v", c.text, got, err)
		}
	}
	if now, err := os.ReadFile(index); err != nil || string(now) != string(was) {
		t.Errorf("the index was written: %v", err)
	}
}

// Given a file that was changed in the same moment as the index was written, so
// that its size and times are those that the index has, when the worktree is
// asked for changes, once or again, then that one is found.
func TestAChangeInTheIndexsMomentIsFound(t *testing.T) {
	dir := t.TempDir()
	plain(t, dir, "init", "-q", "-b", "main")
	file, index := filepath.Join(dir, "f"), filepath.Join(dir, ".git", "index")
	moment := time.Unix(1700000000, 0)
	put := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, moment, moment); err != nil {
			t.Fatal(err)
		}
		plain(t, dir, "add", "f")
	}
	put("one\n")
	plain(t, dir, "commit", "-q", "-m", "x")
	one := plain(t, dir, "rev-parse", ":f")
	put("two\n")
	// The times of the second with the hash of the first.
	var hashes [2][]byte
	for i, s := range []string{plain(t, dir, "rev-parse", ":f"), one} {
		hash, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		hashes[i] = hash
	}
	data, err := os.ReadFile(index)
	if err != nil {
		t.Fatal(err)
	}
	data = bytes.Replace(data[:len(data)-sha1.Size], hashes[0], hashes[1], 1)
	sum := sha1.Sum(data)
	if err := os.WriteFile(index, append(data, sum[:]...), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(index, moment, moment); err != nil {
		t.Fatal(err)
	}
	r, err := Open(t.Context(), t.TempDir(), dir)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got, err := r.Changed(t.Context()); err != nil || !got {
			t.Errorf("%v, %v", got, err)
		}
	}
}

// Given a worktree whose index is split, when it is asked for changes, before
// and after it is split anew, then they are found.
func TestChangesByASplitIndex(t *testing.T) {
	dir := t.TempDir()
	plain(t, dir, "init", "-q", "-b", "main")
	file := filepath.Join(dir, "f")
	r, err := Open(t.Context(), t.TempDir(), dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"one\n", "three\n"} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		plain(t, dir, "add", "f")
		plain(t, dir, "commit", "-q", "-m", "x")
		plain(t, dir, "update-index", "--no-split-index")
		plain(t, dir, "update-index", "--split-index")
		if r, err = Open(t.Context(), filepath.Dir(filepath.Dir(r.GitDir())), dir); err != nil {
			t.Fatal(err)
		}
		if got, err := r.Changed(t.Context()); err != nil || got {
			t.Errorf("%q: %v, %v", text, got, err)
		}
		if err := os.WriteFile(file, []byte("another\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if got, err := r.Changed(t.Context()); err != nil || !got {
			t.Errorf("changed after %q: %v, %v", text, got, err)
		}
	}
}

// Given a shallow clone, when a commit that it lacks is asked for, then the error
// says that it is one, and what to do.
func TestAShallowCloneIsNamedAsSuch(t *testing.T) {
	dir := t.TempDir()
	plain(t, dir, "init", "-q", "-b", "main")
	for range 3 {
		plain(t, dir, "commit", "-q", "--allow-empty", "-m", "x")
	}
	first := plain(t, dir, "rev-parse", "HEAD~2")
	plain(t, dir, "clone", "-q", "--depth=2", "file://"+dir, "clone")
	for repo, shallow := range map[string]bool{dir: false, filepath.Join(dir, "clone"): true} {
		r, err := Open(t.Context(), t.TempDir(), repo)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Resolve(t.Context(), first); (err != nil) != shallow || shallow && !strings.Contains(err.Error(), "git fetch --unshallow") {
			t.Errorf("%s: %v", repo, err)
		}
		if _, err := r.Resolve(t.Context(), "nosuch"); err == nil || strings.Contains(err.Error(), "shallow") != shallow {
			t.Errorf("%s: %v", repo, err)
		}
	}
}
