// Package gitcmd runs git for the work on a repository of the user's so that
// nothing of that repository runs, and nothing is written to it.
//
// A repository is more than data: its config, hooks and attributes name
// programs that git starts (filters, merge drivers, file-system monitors,
// transports for objects that a partial clone lacks, …). So git never runs
// there. It runs in a repository of our own that borrows the objects and has
// a copy of the references, with a config and an environment that we wrote.
// What is in the sources' .gitattributes stays without effect: no program is
// configured under the names in it. Objects that the user's repository lacks
// are an error, a [MissingError]. Who owns the user's repository does not
// matter.
//
// Names that come from a person are checked here before git sees them.
package gitcmd

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"unicode"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/blockrig/blockrig/harness/child"
	"github.com/blockrig/blockrig/harness/text"
)

// A Repo is a repository of our own.
type Repo struct {
	dir    string // the user's repository as it was opened, or our worktree
	gitDir string
	tree   string // our worktree; "" is none
	from   *lender

	// Public lets everyone read what git writes, whatever the umask of this
	// process is.
	Public bool
}

// A RequestError is about a repository or revision that is not there, or can't
// be the name of one.
type RequestError struct{ err error }

func (e *RequestError) Error() string { return e.err.Error() }

func (e *RequestError) Unwrap() error { return e.err }

func wrong(format string, args ...any) error { return &RequestError{fmt.Errorf(format, args...)} }

// An Error is a git command that exited with a status other than 0.
type Error struct {
	Args   []string
	Status int
	Stderr string
}

func (e *Error) Error() string {
	what := e.Args[0]
	if len(e.Args) > 1 && !strings.HasPrefix(e.Args[1], "-") {
		what += " " + e.Args[1]
	}
	msg := strings.TrimSpace(e.Stderr)
	if msg == "" {
		msg = "no message"
	}
	return fmt.Sprintf("git %s: exit status %d: %s", what, e.Status, text.OneLine(msg))
}

// ofTheMachine are errors that git may end with, and that are nothing of what it
// was asked.
var ofTheMachine = []syscall.Errno{
	syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EIO, syscall.ENOMEM, syscall.EMFILE, syscall.ENFILE, syscall.EACCES,
}

// Unwrap gives the error of this machine's that git ended with, where it says so.
func (e *Error) Unwrap() error {
	for line := range strings.Lines(e.Stderr) {
		for _, errno := range ofTheMachine { // in C and in Go they are called the same, but for capitals
			if strings.HasSuffix(strings.ToLower(strings.TrimSpace(line)), ": "+errno.Error()) {
				return errno
			}
		}
	}
	return nil
}

// Status gives the exit status of a git command that failed with err.
func Status(err error) (int, bool) {
	var e *Error
	if errors.As(err, &e) {
		return e.Status, true
	}
	return 0, false
}

// A MissingError is an object that the user's repository lacks.
type MissingError struct {
	Object  string // its hash
	Repo    string // git folder of the repository
	Partial bool   // the repository is a partial clone
}

func (e *MissingError) Error() string {
	msg := fmt.Sprintf("object %s is missing in %s", e.Object, text.Escape(e.Repo))
	if e.Partial {
		msg += ", a partial clone, and blockrig fetches nothing: complete it with git fetch --refetch --no-filter"
	}
	return msg
}

// Init makes a repository of our own that borrows from none, or opens one that
// was made so. Its git folder is gitDir; a tree of "" is no worktree.
func Init(gitDir, tree string) (*Repo, error) {
	r := &Repo{dir: cmp.Or(tree, gitDir), gitDir: gitDir, tree: tree}
	for _, dir := range []string{"objects", "refs"} {
		if err := os.MkdirAll(filepath.Join(gitDir, dir), 0o755); err != nil {
			return nil, fmt.Errorf("make a repository: %w", err)
		}
	}
	files := map[string]string{"config": fmt.Sprintf(config, "sha1"), "HEAD": "ref: refs/heads/main\n"}
	if _, err := os.Stat(filepath.Join(gitDir, "HEAD")); err == nil {
		delete(files, "HEAD")
	}
	if err := r.write(files); err != nil {
		return nil, fmt.Errorf("make a repository: %w", err)
	}
	return r, nil
}

// Dir is the absolute path that the user's repository was opened with, or of
// our worktree.
func (r *Repo) Dir() string { return r.dir }

// GitDir is the git folder of our own repository.
func (r *Repo) GitDir() string { return r.gitDir }

// Resolve turns the name of a commit into its full hash. Options, ranges and
// control characters are refused. The error is a [RequestError] when the
// name is wrong.
func (r *Repo) Resolve(ctx context.Context, rev string) (_ string, err error) {
	if err := CheckRev(rev); err != nil {
		return "", err
	}
	if strings.Contains(rev, "@{") {
		unlock, failed := r.copyLogs(ctx)
		if failed != nil {
			return "", fmt.Errorf("look %q up: %w", rev, failed)
		}
		defer func() { err = errors.Join(err, unlock()) }()
	}
	out, err := r.Run(ctx, "rev-parse", "--verify", "--quiet", "--end-of-options", rev+"^{commit}")
	if err != nil {
		var errno syscall.Errno
		if _, ok := Status(err); ok && !errors.As(err, &errno) {
			return "", wrong("no commit %q in %s%s", rev, text.Escape(r.dir), r.Shallow())
		}
		return "", err
	}
	hash := strings.TrimSpace(out)
	if !IsHash(hash) {
		return "", wrong("revision %q is not a single commit", rev)
	}
	return hash, nil
}

// Shallow ends a sentence on what is not in the repository, where that is a
// shallow clone and so may lack it; else it is "".
func (r *Repo) Shallow() string {
	if info, err := os.Stat(filepath.Join(r.gitDir, "shallow")); err != nil || info.Size() == 0 {
		return ""
	}
	return ", a shallow clone: get its whole history with git fetch --unshallow"
}

// copyLogs copies what the user's repository remembers of where its references
// were, in the place of what was copied before. They are there until unlock:
// then others may copy them again.
func (r *Repo) copyLogs(ctx context.Context) (unlock func() error, err error) {
	if r.from == nil {
		return func() error { return nil }, nil
	}
	if unlock, err = r.lock(ctx); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, unlock())
		}
	}()
	if err := os.RemoveAll(filepath.Join(r.gitDir, "logs")); err != nil {
		return nil, err
	}
	copied := map[string]bool{}
	for _, dir := range []string{r.from.gitDir, r.from.common} {
		err := filepath.WalkDir(filepath.Join(dir, "logs"), func(p string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return nil // as if there were none
			}
			name, err := filepath.Rel(dir, p)
			if copied[name] || err != nil {
				return err
			}
			copied[name] = true
			text, err := readFile(p)
			if errors.Is(err, fs.ErrNotExist) {
				return nil // removed meanwhile
			}
			if err == nil {
				err = os.MkdirAll(filepath.Join(r.gitDir, filepath.Dir(name)), 0o755)
			}
			if err != nil {
				return err
			}
			return r.write(map[string]string{name: string(text)})
		})
		if err != nil {
			return nil, err
		}
	}
	return unlock, nil
}

// CheckRev refuses what can't be the name of one commit. The error is a
// [RequestError].
func CheckRev(rev string) error {
	why := ""
	switch {
	case rev == "":
		return wrong("no revision given")
	case strings.HasPrefix(rev, "-"):
		why = "looks like an option"
	case strings.HasPrefix(rev, "^"), strings.Contains(rev, ".."), strings.Contains(rev, "^@"), strings.Contains(rev, "^!"), strings.Contains(rev, "^-"):
		why = "is a range; one commit is needed"
	case strings.Contains(rev, "::"):
		why = "looks like a transport helper"
	case hasControl(rev):
		why = "has control characters in it"
	case len(rev) > 1000:
		return wrong("revision %.40q… is too long", rev)
	default:
		return nil
	}
	return wrong("revision %q %s", rev, why)
}

// IsHash tells whether s is a full object name (SHA-1 or SHA-256).
func IsHash(s string) bool {
	if len(s) != 40 && len(s) != 64 {
		return false
	}
	for _, c := range s {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// Run runs a git command in the repository and gives its standard output.
func (r *Repo) Run(ctx context.Context, args ...string) (string, error) {
	return r.RunInput(ctx, nil, args...)
}

// RunInput is Run with something on standard input.
func (r *Repo) RunInput(ctx context.Context, stdin io.Reader, args ...string) (string, error) {
	var stdout bytes.Buffer
	err := r.RunTo(ctx, stdin, &stdout, args...)
	if _, exited := Status(err); err != nil && !exited {
		return "", err
	}
	return stdout.String(), err
}

// RunTo is RunInput whose standard output goes to a writer.
func (r *Repo) RunTo(ctx context.Context, stdin io.Reader, stdout io.Writer, args ...string) error {
	cmd := r.command(args...)
	var stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = stdout, &stderr
	cmd.Stdin = stdin
	err := child.Run(ctx, cmd, child.Options{OnThread: r.onThread})
	if ctx.Err() != nil {
		return fmt.Errorf("git %s: %w", args[0], context.Cause(ctx))
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err := &Error{Args: args, Status: exit.ExitCode(), Stderr: stderr.String()}
		if missing := r.missing(ctx, err); missing != nil {
			return missing
		}
		return err
	}
	if err != nil {
		return fmt.Errorf("run git: %w", err)
	}
	return nil
}

var hashes = regexp.MustCompile(`\b[0-9a-f]{40}(?:[0-9a-f]{24})?\b`)

// missing finds an object that git spoke of and that is not there.
func (r *Repo) missing(ctx context.Context, e *Error) error {
	found := hashes.FindAllString(e.Stderr, 100)
	if len(found) == 0 || r.from == nil || e.Args[0] == "cat-file" {
		return nil
	}
	out, err := r.RunInput(ctx, strings.NewReader(strings.Join(found, "\n")+"\n"), "cat-file", "--batch-check")
	if err != nil {
		return nil // git's own message it is
	}
	for line := range strings.Lines(out) {
		if hash, ok := strings.CutSuffix(strings.TrimSpace(line), " missing"); ok {
			return &MissingError{hash, r.from.common, r.from.partial}
		}
	}
	return nil
}

var (
	noTimes = [...]unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}, // the number of the system call
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 4, K: unix.SYS_UTIMENSAT},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 3, K: unix.SYS_UTIME},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 2, K: unix.SYS_UTIMES},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 1, K: unix.SYS_FUTIMESAT},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
	}
	noTimesProgram = unix.SockFprog{Len: uint16(len(noTimes)), Filter: &noTimes[0]}
)

// onThread sets up the thread that starts git.
func (r *Repo) onThread() error {
	if r.Public {
		// A umask belongs to all threads that share a working directory.
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			return fmt.Errorf("start git: %w", err)
		}
		unix.Umask(0o022)
	}
	return forbidTimes()
}

// forbidTimes makes utimensat, and what older C libraries call, fail in this thread and in what it starts: git
// sets the time of objects that it would write and finds in the repository that
// it borrows from, so that git gc there keeps them. Where it may not, it writes
// them into ours. A kernel without seccomp (prctl(2): EINVAL) lets it.
func forbidTimes() error {
	err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	if err == nil {
		err = unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&noTimesProgram)), 0, 0)
	}
	if err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("start git: %w", err)
	}
	return nil
}

func (r *Repo) command(args ...string) *exec.Cmd {
	cmd := exec.Command("git", args...)
	cmd.Dir = r.gitDir
	cmd.Env = append(environ(), "GIT_DIR="+r.gitDir)
	if r.tree != "" {
		cmd.Dir = r.tree
		cmd.Env = append(cmd.Env, "GIT_WORK_TREE="+r.tree)
	}
	return cmd
}

// environ is all the environment that git sees: no GIT_* of the caller's, no
// home with a config in it, and no program that is looked for in the folder
// it is called in.
func environ() []string {
	return []string{
		"PATH=" + Path(os.Getenv("PATH")), "HOME=/nonexistent", "LC_ALL=C", "TZ=UTC",
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_SYSTEM=/dev/null", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_ATTR_NOSYSTEM=1",
		"GIT_NO_LAZY_FETCH=1", "GIT_ALLOW_PROTOCOL=none", "GIT_TERMINAL_PROMPT=0", "GIT_OPTIONAL_LOCKS=0",
		"GIT_PAGER=cat", "GIT_EDITOR=false", "GIT_ASKPASS=false", "SSH_ASKPASS=false",
	}
}

// Path leaves the folders of a search path that don't depend on where one
// stands.
func Path(list string) string {
	var kept []string
	for _, dir := range filepath.SplitList(list) {
		if filepath.IsAbs(dir) {
			kept = append(kept, dir)
		}
	}
	return strings.Join(kept, string(filepath.ListSeparator))
}

func hasControl(s string) bool {
	return strings.ContainsFunc(s, unicode.IsControl)
}
