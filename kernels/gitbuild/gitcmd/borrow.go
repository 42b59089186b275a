package gitcmd

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"

	"github.com/blockrig/blockrig/harness/cachedir"
	"github.com/blockrig/blockrig/harness/text"
)

// A lender is a repository of the user's. Only its files are read, as data: no
// git ever runs with its config.
type lender struct {
	tree    string // its worktree; "" for a bare one
	gitDir  string // of that worktree
	common  string // of all its worktrees
	format  string // of object names: sha1 or sha256
	partial bool   // it has a remote that objects are fetched from when they are needed
}

// find looks for a repository in a folder and in those above it, as git does.
func find(path string) (*lender, error) {
	dir, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, err
	}
	for ; ; dir = filepath.Dir(dir) {
		if l, err := lenderAt(filepath.Join(dir, ".git")); l != nil || err != nil {
			if l != nil {
				l.tree = dir
			}
			return l, err
		}
		if l, err := lenderAt(dir); l != nil || err != nil {
			return l, err
		}
		if dir == filepath.Dir(dir) {
			return nil, errors.New("not a git repository, nor is a folder above it")
		}
	}
}

// lenderAt is the repository whose git folder, or file that points to it, is
// called name; nil when that is none.
func lenderAt(name string) (*lender, error) {
	if info, err := os.Stat(name); err == nil && !info.IsDir() {
		text, err := readFile(name)
		to, ok := strings.CutPrefix(string(text), "gitdir: ")
		if err != nil || !ok {
			return nil, errors.Join(fmt.Errorf("%s points to no repository", name), err)
		}
		if name, err = beside(name, to); err != nil {
			return nil, err
		}
	}
	l := &lender{gitDir: name, common: name}
	if to, err := readFile(filepath.Join(name, "commondir")); err == nil {
		if l.common, err = beside(filepath.Join(name, "HEAD"), string(to)); err != nil {
			return nil, err
		}
	}
	if _, err := os.Lstat(filepath.Join(l.gitDir, "HEAD")); err != nil {
		return nil, nil
	}
	for _, sub := range []string{"objects", "refs"} {
		if info, err := os.Stat(filepath.Join(l.common, sub)); err != nil || !info.IsDir() {
			return nil, nil
		}
	}
	return l, nil
}

// beside is the path that a file of a repository points to.
func beside(file, to string) (string, error) {
	to = strings.TrimRight(to, "\r\n")
	if hasControl(to) {
		return "", fmt.Errorf("%s points to %q", file, to)
	}
	if !filepath.IsAbs(to) {
		to = filepath.Join(filepath.Dir(file), to)
	}
	return filepath.Clean(to), nil
}

// readFile reads a file that may be anything: a pipe does not hold it up, and
// what is huge is refused.
func readFile(name string) ([]byte, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	const most = 512 << 20
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no file", name)
	case info.Size() > most:
		return nil, fmt.Errorf("%s has %d bytes", name, info.Size())
	}
	return io.ReadAll(io.LimitReader(f, most))
}

// readConfig looks up how the repository stores things.
func (r *Repo) readConfig(ctx context.Context) error {
	l := r.from
	l.format = "sha1"
	out, err := r.ask(ctx, filepath.Join(l.common, "config"), "--null", "--get-regexp", `^(extensions\.|remote\..*\.promisor$)`)
	if err != nil {
		return err
	}
	for entry := range strings.SplitSeq(out, "\x00") {
		key, value, _ := strings.Cut(entry, "\n")
		switch key {
		case "":
		case "extensions.objectformat":
			if l.format = value; value != "sha1" && value != "sha256" {
				return fmt.Errorf("its object format %q is not known", value)
			}
		case "extensions.refstorage":
			if value != "files" {
				return fmt.Errorf("its references are stored as %q, which blockrig can't read: git -C %s refs migrate --ref-format=files", value, l.common)
			}
		case "extensions.partialclone":
			l.partial = true
		default:
			l.partial = l.partial || strings.HasPrefix(key, "remote.") && value != "false"
		}
	}
	return nil
}

// ask reads a config file of someone else's as data: what it says does not
// apply to the git that reads it, which has no repository, and files that it
// includes are not read.
func (r *Repo) ask(ctx context.Context, file string, args ...string) (string, error) {
	text, err := readFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	out, err := r.RunInput(ctx, bytes.NewReader(text), append([]string{"--git-dir=/dev/null", "config", "--file", "-", "--no-includes"}, args...)...)
	if status, ok := Status(err); ok && status == 1 {
		return "", nil // it does not say
	}
	return out, err
}

// config is all the config that git sees. Each line turns off something that
// would run a program, write where nothing was asked for, or work in the
// background. For what git starts by default (an editor, a pager) see environ.
const config = `[core]
	repositoryFormatVersion = 1
	bare = false
	hooksPath = /dev/null
	fsmonitor = false
	attributesFile = /dev/null
	excludesFile = /dev/null
	logAllRefUpdates = false
[extensions]
	objectFormat = %s
[protocol]
	allow = never
[checkout]
	workers = 1
[gc]
	auto = 0
[maintenance]
	auto = false
[advice]
	graftFileDeprecated = false
`

var (
	// ofWorktree are references that each worktree has its own of.
	ofWorktree = regexp.MustCompile(`^refs/(bisect|worktree|rewritten)(/|$)`)
	topRef     = regexp.MustCompile(`^[A-Z_]+$`)
	refSyntax  = regexp.MustCompile(`^refs(/[^\x00-\x20\x7f/.~^:?*[\\][^\x00-\x20\x7f/~^:?*[\\]*)+$`)
)

func goodRef(name string) bool {
	return refSyntax.MatchString(name) && !strings.Contains(name, "..") && !strings.Contains(name, "@{") &&
		!strings.HasSuffix(name, ".") && !strings.Contains(name+"/", ".lock/")
}

// refs reads the references, each with the hash it comes to. Those of one
// worktree only are left out unless own is set.
func (l *lender) refs(own bool) (map[string]string, error) {
	said := map[string]string{} // a hash, or "ref: " and a name
	loose := func(dir, name string) {
		file := filepath.Join(dir, name)
		if to, err := os.Readlink(file); err == nil { // as git did it once
			said[name] = "ref: " + to
			return
		}
		// What can't be read, or is no reference, is none to git either.
		if text, err := readFile(file); err == nil {
			said[name] = strings.TrimSpace(string(text))
		}
	}
	walk := func(dir string, want func(name string) bool) error {
		return filepath.WalkDir(filepath.Join(dir, "refs"), func(p string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // removed meanwhile
			}
			if err != nil || d.IsDir() {
				return err
			}
			if name, err := filepath.Rel(dir, p); err == nil && goodRef(name) && want(name) {
				loose(dir, name)
			}
			return nil
		})
	}
	if err := walk(l.common, func(name string) bool {
		return !ofWorktree.MatchString(name) || own && l.gitDir == l.common
	}); err != nil {
		return nil, err
	}
	if own && l.gitDir != l.common {
		if err := walk(l.gitDir, ofWorktree.MatchString); err != nil {
			return nil, err
		}
	}
	top, err := os.ReadDir(l.gitDir)
	if err != nil {
		return nil, err
	}
	for _, e := range top {
		if topRef.MatchString(e.Name()) && (own || e.Name() == "HEAD") {
			loose(l.gitDir, e.Name())
		}
	}
	// After the loose ones: git packs references, and then removes them, at any
	// time.
	packed, err := readFile(filepath.Join(l.common, "packed-refs"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for line := range bytes.Lines(packed) {
		hash, name, ok := strings.Cut(strings.TrimRight(string(line), "\n"), " ")
		if _, is := said[name]; ok && !is && l.isHash(hash) && goodRef(name) {
			said[name] = hash
		}
	}
	refs := make(map[string]string, len(said))
	for name := range said {
		value := said[name]
		for range 5 {
			if to, ok := strings.CutPrefix(value, "ref:"); ok {
				value = said[strings.TrimSpace(to)]
			}
		}
		value, _, _ = strings.Cut(value, "\t") // FETCH_HEAD says more
		if l.isHash(value) {
			refs[name] = value
		}
	}
	return refs, nil
}

func (l *lender) isHash(s string) bool { return IsHash(s) && (len(s) == 64) == (l.format == "sha256") }

// fill makes the git folder of r one that borrows from the user's repository:
// its objects, through git's alternates, and its references, as they are now.
// What is there already is renewed; others may work with it meanwhile.
func (r *Repo) fill(ctx context.Context, own bool) (err error) {
	for _, dir := range []string{"objects/info", "objects/pack", "refs", "info"} {
		if err := os.MkdirAll(filepath.Join(r.gitDir, dir), 0o755); err != nil {
			return err
		}
	}
	unlock, err := r.lock(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	l := r.from
	if err := r.readConfig(ctx); err != nil {
		return err
	}
	refs, err := l.refs(own)
	if err != nil {
		return err
	}
	files := map[string]string{
		"config":                  fmt.Sprintf(config, l.format),
		"HEAD":                    "ref: refs/heads/none\n", // unless it comes to a commit
		"objects/info/alternates": filepath.Join(l.common, "objects") + "\n",
	}
	if err := r.dropReplaced(ctx, refs, files); err != nil {
		return err
	}
	var packed strings.Builder
	for name, hash := range refs {
		if strings.HasPrefix(name, "refs/") {
			fmt.Fprintf(&packed, "%s %s\n", hash, name)
		} else {
			files[name] = hash + "\n"
		}
	}
	files["packed-refs"] = packed.String()
	for _, name := range []string{"shallow", "info/grafts"} {
		text, err := readFile(filepath.Join(l.common, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		files[name] = string(text)
	}
	top, err := os.ReadDir(r.gitDir)
	if err != nil {
		return err
	}
	for _, e := range top {
		if _, ok := files[e.Name()]; !ok && own && topRef.MatchString(e.Name()) {
			files[e.Name()] = ""
		}
	}
	return r.write(files)
}

// dropReplaced drops refs/replace/* but those of commits. Another parent or
// message makes another history; but when a tree or blob is replaced, a hash of
// sources says no longer what is in them, and builds are kept by that hash.
func (r *Repo) dropReplaced(ctx context.Context, refs, files map[string]string) error {
	const replace = "refs/replace/"
	var replaced []string
	for name := range refs {
		if hash, ok := strings.CutPrefix(name, replace); ok && r.from.isHash(hash) {
			replaced = append(replaced, hash)
		} else if ok {
			delete(refs, name)
		}
	}
	if len(replaced) == 0 {
		return nil
	}
	// What git needs to find the objects.
	first := maps.Clone(files)
	if _, err := os.Stat(filepath.Join(r.gitDir, "HEAD")); err == nil {
		delete(first, "HEAD")
	}
	if err := r.write(first); err != nil {
		return err
	}
	out, err := r.RunInput(ctx, strings.NewReader(strings.Join(replaced, "\n")+"\n"), "--no-replace-objects", "cat-file", "--batch-check")
	if err != nil {
		return err
	}
	for line := range strings.Lines(out) {
		hash, is, _ := strings.Cut(line, " ")
		if !strings.HasPrefix(is, "commit ") {
			delete(refs, replace+hash)
		}
	}
	return nil
}

// lock keeps others from writing into the git folder.
func (r *Repo) lock(ctx context.Context) (unlock func() error, err error) {
	return cachedir.Lock(ctx, filepath.Join(r.gitDir, "blockrig-lock"))
}

// write puts files into the git folder, whole or not at all; an empty one is
// removed.
func (r *Repo) write(files map[string]string) error {
	for name, text := range files {
		file := filepath.Join(r.gitDir, name)
		was, err := os.ReadFile(file)
		switch {
		case err == nil && string(was) == text && text != "":
			continue
		case text == "":
			err = os.Remove(file)
		default:
			tmp := filepath.Join(r.gitDir, "blockrig-new")
			if err = os.WriteFile(tmp, []byte(text), 0o644); err == nil {
				err = os.Rename(tmp, file)
			}
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Open finds the repository that path is, or is in, and gives one of our own
// that borrows its objects and references. It is kept below cache, blockrig's
// own cache folder. A URL, a transport helper ("ext::…") and anything that
// looks like an option are refused. The error is a [RequestError] when
// the path is wrong.
func Open(ctx context.Context, cache, path string) (*Repo, error) {
	bad := func(err error) (*Repo, error) { return nil, wrong("repository %q: %w", path, err) }
	switch {
	case path == "":
		return nil, wrong("no repository given")
	case strings.HasPrefix(path, "-"):
		return bad(fmt.Errorf("it looks like an option; write ./%s if it is a folder", text.Escape(path)))
	case strings.Contains(path, "::"), strings.Contains(path, "://"):
		return bad(errors.New("it is no local folder: clone it first and give the clone"))
	case hasControl(path):
		return bad(errors.New("there are control characters in its name"))
	}
	dir, err := filepath.Abs(path)
	if err != nil {
		return bad(err)
	}
	if info, err := os.Stat(dir); err != nil {
		return bad(err)
	} else if !info.IsDir() {
		return bad(errors.New("it is not a folder"))
	}
	from, err := find(dir)
	if err != nil {
		return bad(err)
	}
	key := sha256.Sum256([]byte(from.gitDir))
	r := &Repo{dir: dir, gitDir: filepath.Join(cache, "git", hex.EncodeToString(key[:8])), from: from}
	if r.gitDir, err = filepath.Abs(r.gitDir); err != nil {
		return nil, fmt.Errorf("repository %q: %w", path, err)
	}
	if err := r.fill(ctx, true); err != nil {
		return nil, fmt.Errorf("repository %q: %w", path, err)
	}
	return r, nil
}

// Borrow gives another repository that borrows from the same one, with a
// worktree, for work that leaves something in it: its git folder is gitDir.
// The index and what git remembers there are kept from one call to the next.
func (r *Repo) Borrow(ctx context.Context, gitDir, tree string) (*Repo, error) {
	w := &Repo{dir: tree, gitDir: gitDir, tree: tree, from: r.from}
	if err := os.MkdirAll(tree, 0o755); err != nil {
		return nil, fmt.Errorf("make a worktree: %w", err)
	}
	if err := w.fill(ctx, false); err != nil {
		return nil, fmt.Errorf("borrow from repository %q: %w", r.dir, err)
	}
	return w, nil
}

// Common is the git folder of the repository that is borrowed from; all its
// worktrees have the same.
func (r *Repo) Common() string { return r.from.common }

// Changed tells whether files of the user's worktree differ from HEAD.
func (r *Repo) Changed(ctx context.Context) (_ bool, err error) {
	if r.from.tree == "" {
		return false, nil
	}
	unlock, err := r.lock(ctx)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if err := r.copyIndex(); err != nil {
		return false, fmt.Errorf("look for changes in %s: %w", r.dir, err)
	}
	// The files' times and owners, which the index knows, may be what differs.
	var status int
	for _, args := range [][]string{{"update-index", "-q", "--refresh", "--ignore-submodules"}, {"diff-index", "--quiet", "--ignore-submodules", "HEAD", "--"}} {
		_, err := r.Run(ctx, append([]string{"--work-tree=" + r.from.tree}, args...)...)
		var failed bool
		if status, failed = Status(err); err != nil && (!failed || status != 1) {
			return false, err
		}
	}
	return status == 1, nil
}

// copyIndex copies the index of the user's worktree, with its time: files that
// were written at that time or later may differ from what it says, and git
// looks into them.
func (r *Repo) copyIndex() error {
	from, to := filepath.Join(r.from.gitDir, "index"), filepath.Join(r.gitDir, "index")
	info, err := os.Stat(from) // before the text: an older time makes git look into more files only
	if err != nil {
		return err
	}
	index, err := readFile(from)
	if err != nil {
		return err
	}
	// A git that was killed leaves its lock.
	if err := r.write(map[string]string{"index": string(index), "index.lock": ""}); err != nil {
		return err
	}
	// What an index that is split (core.splitIndex) goes on from. Their names
	// are hashes of what is in them.
	const shared = "sharedindex."
	wanted := map[string]bool{}
	theirs, err := os.ReadDir(r.from.gitDir)
	if err != nil {
		return err
	}
	for _, e := range theirs {
		if !strings.HasPrefix(e.Name(), shared) {
			continue
		}
		wanted[e.Name()] = true
		if _, err := os.Stat(filepath.Join(r.gitDir, e.Name())); err == nil {
			continue
		}
		text, err := readFile(filepath.Join(r.from.gitDir, e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		}
		if err == nil {
			err = r.write(map[string]string{e.Name(): string(text)})
		}
		if err != nil {
			return err
		}
	}
	ours, err := os.ReadDir(r.gitDir)
	if err != nil {
		return err
	}
	for _, e := range ours {
		if strings.HasPrefix(e.Name(), shared) && !wanted[e.Name()] {
			if err := os.Remove(filepath.Join(r.gitDir, e.Name())); err != nil {
				return err
			}
		}
	}
	return os.Chtimes(to, info.ModTime(), info.ModTime())
}

// User is who git takes the user for, by the repository's config or the
// user's own: a name and an address, "" where they don't say.
func (r *Repo) User(ctx context.Context) (name, address string, err error) {
	files := []string{filepath.Join(r.from.common, "config")}
	if home, err := os.UserHomeDir(); err == nil {
		files = append(files, filepath.Join(home, ".gitconfig"))
	}
	if dir, err := os.UserConfigDir(); err == nil {
		files = append(files, filepath.Join(dir, "git", "config"))
	}
	for _, file := range files {
		for key, value := range map[string]*string{"user.name": &name, "user.email": &address} {
			if *value != "" {
				continue
			}
			out, err := r.ask(ctx, file, "--get", key)
			if err != nil {
				return "", "", fmt.Errorf("look up git's user: %w", err)
			}
			*value = strings.TrimSpace(out)
		}
	}
	return name, address, nil
}
