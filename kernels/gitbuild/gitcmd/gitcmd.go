// Package gitcmd runs git on a repository of the user's so that nothing of
// the caller's environment, and nothing that the repository brings along,
// changes what git does: no GIT_* variables, no hooks, no file-system monitor,
// no pager, no editor, no prompt, no remote helper. Names that come from a
// person are checked here before git sees them.
package gitcmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
	"unicode"
)

// A Repo is a repository or one of its worktrees.
type Repo struct {
	dir string
	own bool // dir must itself be a worktree, not a folder in one
}

// An Error is a git command that exited with a status other than 0.
type Error struct {
	Args   []string // without the settings that every call gets
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
	return fmt.Sprintf("git %s: exit status %d: %s", what, e.Status, Printable(msg))
}

// Status gives the exit status of a git command that failed with err.
func Status(err error) (int, bool) {
	var e *Error
	if errors.As(err, &e) {
		return e.Status, true
	}
	return 0, false
}

// Open checks that path is a local repository or worktree. A URL, a transport
// helper ("ext::…") and anything that looks like an option are refused.
func Open(ctx context.Context, path string) (*Repo, error) {
	switch {
	case path == "":
		return nil, errors.New("no repository given")
	case strings.HasPrefix(path, "-"):
		return nil, fmt.Errorf("repository %q looks like an option; write ./%s if it is a folder", path, Printable(path))
	case strings.Contains(path, "::"), strings.Contains(path, "://"):
		return nil, fmt.Errorf("repository %q is no local folder: clone it first and give the clone", path)
	case hasControl(path):
		return nil, fmt.Errorf("repository %q has control characters in its name", path)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("repository %q: %w", path, err)
	}
	fi, err := os.Stat(abs)
	if err != nil {
		return nil, fmt.Errorf("repository %q: %w", path, err)
	}
	if !fi.IsDir() {
		return nil, fmt.Errorf("repository %q is not a folder", path)
	}
	r := &Repo{dir: abs}
	if _, err := r.Run(ctx, "rev-parse", "--git-dir"); err != nil {
		return nil, fmt.Errorf("repository %q: %w", path, err)
	}
	return r, nil
}

// Dir is the absolute path that the repository was opened with.
func (r *Repo) Dir() string { return r.dir }

// At gives another worktree of a repository. When dir is not the top of one,
// its commands fail, also if a repository is around it.
func (r *Repo) At(dir string) *Repo { return &Repo{dir: dir, own: true} }

// Resolve turns the name of a commit into its full hash. Options, ranges and
// control characters are refused.
func (r *Repo) Resolve(ctx context.Context, rev string) (string, error) {
	if err := CheckRev(rev); err != nil {
		return "", err
	}
	out, err := r.Run(ctx, "rev-parse", "--verify", "--quiet", "--end-of-options", rev+"^{commit}")
	if err != nil {
		if _, ok := Status(err); ok {
			return "", fmt.Errorf("no commit %q in %s", rev, Printable(r.dir))
		}
		return "", err
	}
	hash := strings.TrimSpace(out)
	if !IsHash(hash) {
		return "", fmt.Errorf("revision %q is not a single commit", rev)
	}
	return hash, nil
}

// CheckRev refuses what can't be the name of one commit.
func CheckRev(rev string) error {
	switch {
	case rev == "":
		return errors.New("no revision given")
	case strings.HasPrefix(rev, "-"):
		return fmt.Errorf("revision %q looks like an option", rev)
	case strings.HasPrefix(rev, "^"), strings.Contains(rev, ".."):
		return fmt.Errorf("revision %q is a range; one commit is needed", rev)
	case strings.Contains(rev, "::"):
		return fmt.Errorf("revision %q looks like a transport helper", rev)
	case hasControl(rev):
		return fmt.Errorf("revision %q has control characters in it", rev)
	case len(rev) > 1000:
		return fmt.Errorf("revision %.40q… is too long", rev)
	}
	return nil
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
func (r *Repo) RunInput(ctx context.Context, stdin []byte, args ...string) (string, error) {
	cmd := r.command(ctx, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if stdin != nil {
		cmd.Stdin = bytes.NewReader(stdin)
	}
	// The parent-death signal belongs to the thread that starts the process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := cmd.Run()
	if ctx.Err() != nil {
		return "", fmt.Errorf("git %s: %w", args[0], ctx.Err())
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return stdout.String(), &Error{Args: args, Status: exit.ExitCode(), Stderr: stderr.String()}
	}
	if err != nil {
		return "", fmt.Errorf("run git: %w", err)
	}
	return stdout.String(), nil
}

// settings come before every command: each turns off something that would run
// a program named by the repository or the user, or start work in the
// background.
var settings = [...]string{
	"--no-pager",
	"-c", "core.hooksPath=/dev/null",
	"-c", "core.fsmonitor=false",
	"-c", "core.editor=false",
	"-c", "core.askPass=false",
	"-c", "credential.helper=",
	"-c", "protocol.ext.allow=never",
	"-c", "diff.external=",
	"-c", "checkout.workers=1", // files are written by the one process that dies with us
	"-c", "gc.auto=0",
	"-c", "maintenance.auto=false",
	"-c", "submodule.recurse=false",
	"-c", "commit.gpgSign=false",
	"-c", "log.showSignature=false",
	"-c", "color.ui=false",
	"-c", "core.quotePath=true",
	"-c", "advice.detachedHead=false",
}

func (r *Repo) command(ctx context.Context, args ...string) *exec.Cmd {
	all := append([]string{"-C", r.dir}, settings[:]...)
	cmd := exec.CommandContext(ctx, "git", append(all, args...)...)
	cmd.Env = Environ(os.Environ())
	if r.own {
		cmd.Env = append(cmd.Env, "GIT_CEILING_DIRECTORIES="+filepath.Dir(r.dir))
	}
	// A group of its own: git's own children end with it, and a Ctrl-C at
	// the terminal reaches git through the context only. A git that outlived
	// us would go on writing into a worktree that the next one takes for its
	// own.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error {
		err := syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		if errors.Is(err, syscall.ESRCH) {
			return os.ErrProcessDone
		}
		return err
	}
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// Environ is the part of an environment that git may see, and what it must.
func Environ(environ []string) []string {
	var out []string
	for _, kv := range environ {
		name, _, _ := strings.Cut(kv, "=")
		switch name {
		case "PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "XDG_CONFIG_HOME":
			out = append(out, kv)
		}
	}
	return append(out,
		"LC_ALL=C", "TZ=UTC",
		"GIT_TERMINAL_PROMPT=0", "GIT_OPTIONAL_LOCKS=0", "GIT_PAGER=cat",
		"GIT_EDITOR=false", "GIT_ASKPASS=false", "SSH_ASKPASS=false")
}

// Printable makes text of unknown origin safe to show: control characters but
// line feeds become their escapes.
func Printable(s string) string {
	var b strings.Builder
	for _, c := range s {
		if c != '\n' && !unicode.IsPrint(c) {
			fmt.Fprintf(&b, "\\x%02x", c)
			continue
		}
		b.WriteRune(c)
	}
	return b.String()
}

func hasControl(s string) bool {
	return strings.ContainsFunc(s, unicode.IsControl)
}
