package gitcmd

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func newRepo(t *testing.T) (*Repo, string) {
	t.Helper()
	dir := t.TempDir()
	r := &Repo{dir: dir}
	for _, args := range [][]string{
		{"init", "-q", "-b", "main", "."},
		{"-c", "user.name=A", "-c", "user.email=a@example.org", "commit", "-q", "--allow-empty", "-m", "one"},
		{"tag", "v1"},
	} {
		if _, err := r.Run(context.Background(), args...); err != nil {
			t.Fatal(err)
		}
	}
	return r, dir
}

func TestOpenRefusesWhatIsNoLocalFolder(t *testing.T) {
	_, dir := newRepo(t)
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
		if _, err := Open(context.Background(), path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Open(%q) = %v, want %q", path, err, want)
		}
	}
	if _, err := Open(context.Background(), dir); err != nil {
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

func TestHooksAndEnvironmentDoNotReachGit(t *testing.T) {
	r, dir := newRepo(t)
	ran := filepath.Join(dir, "ran")
	hook := filepath.Join(dir, ".git", "hooks", "post-checkout")
	if err := os.WriteFile(hook, []byte("#!/bin/sh\ntouch "+ran+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GIT_DIR", "/nowhere")
	t.Setenv("GIT_EXTERNAL_DIFF", "touch "+ran)
	if _, err := r.Run(context.Background(), "checkout", "-q", "--detach", "v1"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(ran); !os.IsNotExist(err) {
		t.Errorf("a hook ran: %v", err)
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

func TestAtKeepsOutOfARepositoryAround(t *testing.T) {
	r, dir := newRepo(t)
	inner := filepath.Join(dir, "cache", "worktree")
	if err := os.MkdirAll(inner, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := r.At(inner).Run(context.Background(), "reset", "--hard"); err == nil {
		t.Error("a command reached the repository around the folder")
	}
	if _, err := r.At(dir).Run(context.Background(), "rev-parse", "HEAD"); err != nil {
		t.Error(err)
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
