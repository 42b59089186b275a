package gitcmd

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/blockrig/blockrig/harness/child"
)

// newRepo makes a repository, the user's, with one commit that is tagged v1,
// and opens it.
func newRepo(t *testing.T) (*Repo, string) {
	t.Helper()
	dir := t.TempDir()
	theirs, err := Init(filepath.Join(dir, ".git"), dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"-c", "user.name=A", "-c", "user.email=a@example.org", "commit", "-q", "--allow-empty", "-m", "one"},
		{"tag", "v1"},
	} {
		if _, err := theirs.Run(t.Context(), args...); err != nil {
			t.Fatal(err)
		}
	}
	r, err := Open(t.Context(), t.TempDir(), dir)
	if err != nil {
		t.Fatal(err)
	}
	return r, dir
}

func TestOpenRefusesWhatIsNoLocalFolder(t *testing.T) {
	_, dir := newRepo(t)
	cache := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"":                        "no repository",
		"--upload-pack=touch x":   "looks like an option",
		"-c":                      "looks like an option",
		"ext::sh -c true":         "clone it first",
		"https://example.org/a":   "clone it first",
		"a\x1bb":                  "control characters",
		filepath.Join(dir, "no"):  "no such file",
		file:                      "not a folder",
		filepath.Dir(t.TempDir()): "not a git repository",
	} {
		if _, err := Open(t.Context(), cache, path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Open(%q) = %v, want %q", path, err, want)
		}
	}
	if _, err := Open(t.Context(), cache, dir); err != nil {
		t.Error(err)
	}
}

func TestResolveRefusesOptionsAndRanges(t *testing.T) {
	r, _ := newRepo(t)
	for rev, want := range map[string]string{
		"":                        "no revision",
		"--all":                   "looks like an option",
		"-x":                      "looks like an option",
		"^v1":                     "range",
		"v1..main":                "range",
		"ext::sh -c true":         "transport helper",
		"v1\n":                    "control characters",
		"nothing":                 "no commit",
		"HEAD^{tree}":             "no commit",
		strings.Repeat("a", 2000): "too long",
	} {
		if _, err := r.Resolve(context.Background(), rev); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Resolve(%q) = %v, want %q", rev, err, want)
		}
	}
	hash, err := r.Resolve(context.Background(), "v1")
	if err != nil || !IsHash(hash) {
		t.Errorf("Resolve(v1) = %q, %v", hash, err)
	}
}

func TestErrorsAreOneSafeLine(t *testing.T) {
	r, _ := newRepo(t)
	_, err := r.Run(context.Background(), "rev-parse", "--verify", "a\x1b[31m")
	if status, ok := Status(err); !ok || status != 128 {
		t.Errorf("status %d, %v", status, ok)
	}
	if strings.Contains(err.Error(), "\x1b") {
		t.Errorf("control codes in %q", err)
	}
}

// Given a process that is started as git is, when it sets a file's time by any
// system call, then it may not.
func TestTimesCanNotBeSet(t *testing.T) {
	const fileOf = "GITCMD_TEST_FILE"
	if file := os.Getenv(fileOf); file != "" {
		name, err := unix.BytePtrFromString(file)
		if err != nil {
			t.Fatal(err)
		}
		cwd, p := uintptr(1<<64-100), uintptr(unsafe.Pointer(name)) // AT_FDCWD
		for call, args := range map[uintptr][3]uintptr{
			unix.SYS_UTIME: {p}, unix.SYS_UTIMES: {p}, unix.SYS_FUTIMESAT: {cwd, p}, unix.SYS_UTIMENSAT: {cwd, p},
		} {
			if _, _, errno := unix.Syscall6(call, args[0], args[1], args[2], 0, 0, 0); errno != unix.EPERM {
				t.Errorf("system call %d: %v", call, errno)
			}
		}
		runtime.KeepAlive(name)
		return
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), fileOf+"="+file)
	if out, err := child.Output(t.Context(), cmd, child.Options{OnThread: forbidTimes}, 1<<16); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// Given a git at work, when the process that started it is killed, then git
// ends too, so that it does not write into a worktree that someone else has
// taken over.
func TestGitDiesWithItsParent(t *testing.T) {
	const fifoOf = "GITCMD_TEST_FIFO"
	r, dir := newRepo(t)
	if fifo := os.Getenv(fifoOf); fifo != "" {
		// The process that gets killed: git waits for the end of the fifo.
		_, err := r.Run(t.Context(), "hash-object", "--", fifo)
		t.Fatalf("git came to an end: %v", err)
	}
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	parent := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	parent.Env = append(os.Environ(), fifoOf+"="+fifo, "TMPDIR="+dir)
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan string, 1)
	go func() {
		defer close(ended)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if text := lines.Text(); strings.Contains(text, "came to an end") {
				ended <- text
				return
			}
		}
	}()
	kill := func() {
		if err := parent.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Error(err)
		}
		_ = parent.Wait() // killed
		for range ended {
		}
	}
	// Opening fails until there is a reader.
	w := -1
	for w < 0 {
		select {
		case text := <-ended:
			kill()
			t.Fatal(text)
		case <-time.After(10 * time.Millisecond):
		}
		if w, err = syscall.Open(fifo, syscall.O_WRONLY|syscall.O_NONBLOCK, 0); err != nil && !errors.Is(err, syscall.ENXIO) {
			kill()
			t.Fatal(err)
		}
	}
	defer syscall.Close(w)
	kill()
	for range 1000 {
		if _, err = syscall.Write(w, []byte{'\n'}); err != nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if !errors.Is(err, syscall.EPIPE) {
		t.Errorf("git goes on reading: %v", err)
	}
}
