//go:build vm && long

package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/blockrig/blockrig/results"
	"github.com/blockrig/blockrig/scenarios"
)

// A fleetSite is a hub and its workers, each a process with a cache of its own.
type fleetSite struct {
	*host
	addr, key string
	hub       *exec.Cmd
}

// newFleet starts a hub. Its address stays the same when it is started again.
func newFleet(t *testing.T) *fleetSite {
	t.Helper()
	return newFleetAt(t, "127.0.0.1:0")
}

func newFleetAt(t *testing.T, addr string) *fleetSite {
	t.Helper()
	f := &fleetSite{host: newHost(t), addr: addr}
	f.startHub()
	t.Cleanup(func() { f.end(f.hub) })
	return f
}

// own is a blockrig with caches of its own, named after it, which gets kernels
// and initramfs images from the hub alone.
func (f *fleetSite) own(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(command, "blockrig"), append([]string{"--results", f.results}, args...)...)
	cmd.Dir = f.root
	cmd.Env = append(os.Environ(), "XDG_CACHE_HOME="+f.cacheOf(name), "XDG_STATE_HOME="+filepath.Join(f.root, "state"), "TMPDIR="+f.tmp, "LC_ALL=C", "BLOCKRIG_HUB_KEY="+f.key)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	return cmd
}

func (f *fleetSite) cacheOf(name string) string { return filepath.Join(f.root, "cache-"+name) }

func (f *fleetSite) startHub() {
	f.t.Helper()
	f.hub = f.own("hub", "serve", "--listen", f.addr, "--page", "none")
	out, err := f.hub.StdoutPipe()
	if err == nil {
		err = f.hub.Start()
	}
	if err != nil {
		f.t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	words := strings.Fields(line)
	if err != nil || len(words) != 5 {
		f.t.Fatalf("the hub says %q: %v", line, err)
	}
	f.key = strings.TrimPrefix(words[0], "BLOCKRIG_HUB_KEY=")
	f.addr = words[4]
}

// startWorker starts one, which stays who it is.
func (f *fleetSite) startWorker(name string) *exec.Cmd {
	f.t.Helper()
	return f.startWorkerAs(name, "--as-root")
}

// worker is one that is to be started.
func (f *fleetSite) worker(name string, as ...string) *exec.Cmd {
	return f.own(name, append([]string{"worker", "--hub", f.addr, "--name", name, "--jobs", "1", "--accel", "tcg"}, as...)...)
}

func (f *fleetSite) startWorkerAs(name string, as ...string) *exec.Cmd {
	f.t.Helper()
	cmd := f.worker(name, as...)
	if err := cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	return cmd
}

// end ends a process in an orderly way, and waits for it.
func (f *fleetSite) end(cmd *exec.Cmd) {
	_ = cmd.Process.Signal(syscall.SIGCONT)
	_ = cmd.Process.Signal(syscall.SIGTERM)
	_ = cmd.Wait() // one that was killed is no failure
}

// runs has trials made by the hub's workers. The key for that is the one that
// this user's hub has.
func (f *fleetSite) runs(args ...string) *process {
	f.t.Helper()
	p := f.host.start(append(args, "--hub", f.addr)...)
	return p
}

// Given the same run with a hub and without, then what is said and recorded is
// the same: order, verdicts, exit status and files.
func TestARunWithAHubIsTheSame(t *testing.T) {
	f := newFleet(t)
	t.Setenv("XDG_STATE_HOME", filepath.Join(f.root, "state"))
	worker := f.startWorker("w1")
	args := []string{"--format", "json", "run", mirrorScenario, "-k", "debian:6.18", "--accel", "tcg", "--case", "length=4096,memory_offset=0", "--case", "length=512,memory_offset=32"}
	here := f.run(args...)
	away := f.runs(args...).wait()
	f.end(worker)
	if here.status != exitFailure || away.status != here.status || len(away.records) != len(here.records) || len(here.records) != 2 {
		t.Fatalf("here: %v\naway: %v", here, away)
	}
	byCase := map[string]results.Record{}
	for _, r := range here.records {
		byCase[r.Case] = r
	}
	for _, r := range away.records {
		want := byCase[r.Case]
		if r.Verdict != want.Verdict || r.Signature.String() != want.Signature.String() || r.Outcome != want.Outcome || r.Kernel != want.Kernel || r.Accel != want.Accel || r.CPUs != want.CPUs || r.Warm != want.Warm {
			t.Errorf("%s: here %s (%s), away %s (%s)", r.Case, want.Verdict, want.Signature, r.Verdict, r.Signature)
		}
		if want.Worker != nil || r.Worker == nil || r.Worker.Name != "w1" || r.Worker.QEMU == "" {
			t.Errorf("%s: made by %v, and here by %v", r.Case, r.Worker, want.Worker)
		}
		for _, name := range []string{results.ConsoleFile, results.EventsFile, results.ArgsFile, results.JobFile, results.ScenarioFile} {
			if info, err := os.Stat(filepath.Join(r.RunDir, name)); err != nil || info.Size() == 0 {
				t.Errorf("%s: %s: %v", r.Case, name, err)
			}
		}
		f.wantClassifyAgrees(r)
		if (r.FirstFailed == nil) != (want.FirstFailed == nil) {
			t.Errorf("%s: who failed first: here %v, away %v", r.Case, want.FirstFailed, r.FirstFailed)
		}
	}
	f.wantNothingLeft()
}

const mirrorScenario = "lvm-mirror-dio-read"

// Given a worker that root starts, with a cache to which only root can come, then
// it and its QEMU are another user's, without any right of root's, the trial is as
// ever, and they end with the process that root started.
func TestAWorkersQEMUIsNotRoots(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("this is about what root starts")
	}
	f := newFleet(t)
	t.Setenv("XDG_STATE_HOME", filepath.Join(f.root, "state"))
	const user = 41234
	worker := f.startWorkerAs("w1", "--user", strconv.Itoa(user))
	p := f.runs("--format", "json", "run", mirrorScenario, "-k", "debian:6.18", "--accel", "tcg", "--trace", "never",
		"--case", "length=4096,memory_offset=0", "--case", "length=512,memory_offset=32")
	var status string
	p.until("a QEMU was seen", func() bool {
		for _, pid := range f.machines() {
			if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)); err == nil { // or it has ended
				status = string(b)
			}
		}
		return status != ""
	})
	for _, want := range []string{
		"\nUid:\t41234\t41234\t41234\t41234\n", "\nGid:\t41234\t41234\t41234\t41234\n",
		"\nCapPrm:\t0000000000000000\n", "\nCapEff:\t0000000000000000\n", "\nCapAmb:\t0000000000000000\n",
	} {
		if !strings.Contains(status, want) {
			t.Errorf("QEMU has no %q:\n%s", want, status)
		}
	}
	o := p.wait()
	if len(o.records) != 2 || o.status != exitFailure {
		t.Fatal(o)
	}
	for _, r := range o.records {
		if want := map[string]scenarios.Verdict{"length=4096,memory_offset=0": scenarios.Pass, "length=512,memory_offset=32": scenarios.EIO}[r.Case]; r.Verdict != want {
			t.Errorf("%s is %s: %s", r.Case, r.Verdict, r.Reason)
		}
	}
	p = f.runs("--format", "json", "run", mirrorScenario, "-k", "debian:6.18", "--accel", "tcg", "--trace", "never", "--cold", "--case", "length=4096,memory_offset=0")
	p.until("a QEMU was seen", func() bool { return len(f.machines()) > 0 })
	if err := worker.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = worker.Wait() // it was killed
	p.until("its QEMU has ended", func() bool { return len(f.machines()) == 0 })
	p.signal(syscall.SIGTERM)
	p.wait()
	f.wantNothingLeft()
}
