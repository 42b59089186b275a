//go:build vm

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/blockrig/blockrig/harness/child/childtest"
	"github.com/blockrig/blockrig/harness/verdict"
	"github.com/blockrig/blockrig/kernels"
	"github.com/blockrig/blockrig/results"
	"github.com/blockrig/blockrig/scenarios"
)

// limit ends a test in which what is waited for never comes. No test depends
// on how long it is.
const limit = 8 * time.Minute

// A host is where blockrig runs in a test: kernels and the members of
// initramfs images are the user's, since they take long to fetch, and
// everything else is the test's own.
type host struct {
	t       *testing.T
	root    string // of all that is the test's own
	results string
	tmp     string // TMPDIR
	cache   string // blockrig's
	path    string // PATH; "" for the test's
	inside  string // shell commands to be run first, in mount and user namespaces of their own
	limit   time.Duration
}

func newHost(t *testing.T) *host {
	t.Helper()
	root := t.TempDir()
	h := &host{
		t: t, root: root, results: filepath.Join(root, "results"), tmp: filepath.Join(root, "tmp"),
		cache: filepath.Join(root, "cache", "blockrig"), limit: limit,
	}
	user, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"kernels", "apt", "initramfs", "accel"} {
		shared := filepath.Join(user, "blockrig", name)
		for _, dir := range []string{shared, h.cache, h.tmp} {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Symlink(shared, filepath.Join(h.cache, name)); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

func (h *host) command(args ...string) *exec.Cmd {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), h.limit)
	h.t.Cleanup(cancel)
	args = append([]string{filepath.Join(command, "blockrig"), "--results", h.results}, args...)
	env := append(os.Environ(), "XDG_CACHE_HOME="+filepath.Dir(h.cache), "TMPDIR="+h.tmp, "LC_ALL=C")
	if h.path != "" {
		env = append(env, "PATH="+h.path)
	}
	if h.inside != "" {
		unshare := []string{"unshare", "--mount", "--propagation", "unchanged"}
		run := "exec \"$@\""
		switch {
		case childtest.Mounts() == nil:
			unshare = slices.Concat(childtest.Sudo(h.t), []string{"env"}, env, unshare)
			run = fmt.Sprintf("exec setpriv --reuid=%d --regid=%d --clear-groups -- \"$@\"", os.Getuid(), os.Getgid())
		case os.Getuid() != 0:
			unshare = append(unshare, "--map-root-user")
		}
		// The host must not see what is mounted. In a chroot that can be said only
		// from outside: to enter one's own namespace leads there.
		private := "nsenter --mount=/proc/self/ns/mnt mount --make-rslave /\n"
		args = slices.Concat(unshare, []string{"sh", "-euc", private + h.inside + "\n" + run, "sh"}, args)
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = h.root
	cmd.Env = env
	return cmd
}

// An outcome is what a command came to.
type outcome struct {
	status         int
	stdout, stderr string
	records        []results.Record // in stdout, where it is JSON
}

func (o outcome) String() string {
	return fmt.Sprintf("exit status %d\nstdout:\n%sstderr:\n%s", o.status, o.stdout, o.stderr)
}

// run runs blockrig to its end.
func (h *host) run(args ...string) outcome {
	h.t.Helper()
	return h.start(args...).wait()
}

// A process is a blockrig that runs.
type process struct {
	*host
	cmd            *exec.Cmd
	stdout, stderr bytes.Buffer
	ended          chan error
}

func (h *host) start(args ...string) *process {
	h.t.Helper()
	p := &process{host: h, cmd: h.command(args...), ended: make(chan error, 1)}
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	if err := p.cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	go func() { p.ended <- p.cmd.Wait() }()
	return p
}

func (p *process) wait() outcome {
	p.t.Helper()
	err := <-p.ended
	p.ended <- err
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	o := outcome{status: p.cmd.ProcessState.ExitCode(), stdout: p.stdout.String(), stderr: p.stderr.String()}
	for line := range strings.Lines(o.stdout) {
		var rec results.Record
		if json.Unmarshal([]byte(line), &rec) == nil && rec.Scenario != "" {
			o.records = append(o.records, rec)
		}
	}
	return o
}

// until waits for something to come about while the process runs.
func (p *process) until(what string, there func() bool) {
	p.t.Helper()
	for !there() {
		select {
		case err := <-p.ended:
			p.ended <- err
			p.t.Fatalf("blockrig ended before %s: %v", what, p.wait())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// trialFile gives the content of files of the trial that is going on, name
// being a pattern below its work folder: attempt-1/console.log.
func (h *host) trialFile(name string) string {
	found, err := filepath.Glob(filepath.Join(h.results, "*", ".trial-*", "work", name))
	if err != nil {
		h.t.Fatal(err)
	}
	var all strings.Builder
	for _, f := range found {
		if b, err := os.ReadFile(f); err == nil { // or it has gone since
			all.Write(b)
		}
	}
	return all.String()
}

// machines gives the QEMUs that run for this host.
func (h *host) machines() []int { return h.processes("qemu-system") }

// processes gives the processes whose command line names a program and a
// folder of this host.
func (h *host) processes(program string) []int {
	h.t.Helper()
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		h.t.Fatal(err)
	}
	var out []int
	for _, f := range lines {
		b, err := os.ReadFile(f)
		if err != nil || !bytes.Contains(b, []byte(program)) || !bytes.Contains(b, []byte(h.root)) {
			continue
		}
		var pid int
		if _, err := fmt.Sscanf(f, "/proc/%d/", &pid); err != nil {
			h.t.Fatal(err)
		}
		out = append(out, pid)
	}
	return out
}

// wantNothingLeft fails when a process or a temporary file is left.
func (h *host) wantNothingLeft() {
	h.t.Helper()
	for _, program := range []string{"qemu-system", "apt-get"} {
		if pids := h.processes(program); len(pids) > 0 {
			h.t.Errorf("%s is left: %v", program, pids)
		}
	}
	var left []string
	snapshots := filepath.Join(h.cache, "snapshots")
	for _, dir := range []string{h.tmp, filepath.Join(h.cache, "machines"), snapshots, h.results} {
		err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			base := filepath.Base(path)
			temporary := strings.HasPrefix(base, ".trial-") || strings.HasPrefix(base, ".new-") || strings.HasPrefix(base, "machine-")
			disk := strings.HasSuffix(base, ".raw") && dir != snapshots // of a saved machine
			if temporary || disk || filepath.Dir(path) == h.tmp {
				left = append(left, path)
			}
			return nil
		})
		if err != nil {
			h.t.Error(err)
		}
	}
	if len(left) > 0 {
		h.t.Errorf("left behind: %s", strings.Join(left, " "))
	}
}

// wantRuns fails unless there are so many runs.
func (h *host) wantRuns(n int) {
	h.t.Helper()
	runs, err := filepath.Glob(filepath.Join(h.results, "2*"))
	if err != nil {
		h.t.Fatal(err)
	}
	if len(runs) != n {
		h.t.Errorf("%d runs are there, want %d: %v", len(runs), n, runs)
	}
}

// wantClassifyAgrees fails unless the console log of a record alone gives the
// record's verdict.
func (h *host) wantClassifyAgrees(rec results.Record) {
	h.t.Helper()
	o := h.run("--format", "json", "classify", filepath.Join(rec.RunDir, results.ConsoleFile))
	var j struct {
		verdict.Judgement
		Titles []string `json:"titles"`
	}
	if err := json.Unmarshal([]byte(o.stdout), &j); err != nil {
		h.t.Errorf("classify %s: %v: %v", rec.RunDir, err, o)
		return
	}
	if j.Verdict != rec.Verdict || !slices.Equal(j.Also, rec.Also) || j.Signature.String() != rec.Signature.Failure().String() || !slices.Equal(j.Titles, rec.Signature.Titles) || j.Phase != rec.Phase {
		h.t.Errorf("%s %s: the trial is %s %v (%s), its console log %s %v (%s)",
			rec.Kernel.Release, rec.Case, rec.Verdict, rec.Also, rec.Signature, j.Verdict, j.Also, j.Signature)
	}
	want := results.ExitStatus(rec.Verdict)
	if o.status != want {
		h.t.Errorf("classify of %s: exit status %d, want %d", rec.Verdict, o.status, want)
	}
}

// kernel gives a kernel of the cache, fetched if need be.
func (h *host) kernel(ref string) kernels.Kernel {
	h.t.Helper()
	o := h.run("--format", "json", "kernels", "fetch", ref)
	var k kernels.Kernel
	if err := json.Unmarshal([]byte(o.stdout), &k); err != nil {
		h.t.Fatalf("fetch %s: %v: %v", ref, err, o)
	}
	return k
}

// write makes a file of the test's own.
func (h *host) write(name, content string) string {
	h.t.Helper()
	path := filepath.Join(h.root, name)
	if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
		h.t.Fatal(err)
	}
	return path
}

// one fails unless there is exactly one record with that verdict and phase,
// and the exit status that belongs to it.
func (h *host) one(o outcome, want scenarios.Verdict, phase string) results.Record {
	h.t.Helper()
	if len(o.records) != 1 || o.records[0].Verdict != want || o.records[0].Phase != phase || o.status != results.ExitStatus(want) {
		h.t.Fatalf("want one %s in phase %s: %v", want, phase, o)
	}
	return o.records[0]
}

// wantOneLine fails unless blockrig refused in one line on stderr that holds
// all of words.
func (h *host) wantOneLine(o outcome, status int, words ...string) {
	h.t.Helper()
	if o.status != status || o.stdout != "" || strings.Count(o.stderr, "\n") != 1 || !strings.HasPrefix(o.stderr, "blockrig: ") {
		h.t.Errorf("want exit status %d and one line on stderr: %v", status, o)
	}
	for _, w := range words {
		if !strings.Contains(o.stderr, w) {
			h.t.Errorf("stderr has no %q: %s", w, o.stderr)
		}
	}
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}
