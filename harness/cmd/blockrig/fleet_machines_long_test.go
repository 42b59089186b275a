//go:build vm && long

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blockrig/blockrig/results"
	"github.com/blockrig/blockrig/scenarios"
)

// siteNet is the network between hub and workers: of those for benchmarks of
// networks (RFC 2544), which nobody else has.
const siteNet = "198.18.77."

// A space is a network namespace with a way to this machine's own.
type space struct {
	t    *testing.T
	name string
}

// newSpace makes the n-th one.
func newSpace(t *testing.T, n int) *space {
	t.Helper()
	s := &space{t: t, name: fmt.Sprintf("blockrig-%d-%d", os.Getpid(), n)}
	outer := fmt.Sprintf("br%d-%d", os.Getpid(), n)
	s.ip("netns", "add", s.name)
	t.Cleanup(func() { s.ip("netns", "del", s.name) }) // and what connects it
	s.ip("link", "add", outer, "type", "veth", "peer", "name", "veth0", "netns", s.name)
	inner := siteNet + strconv.Itoa(10+n)
	s.ip("addr", "add", siteNet+"1/32", "dev", outer)
	s.ip("link", "set", outer, "up")
	s.ip("route", "add", inner+"/32", "dev", outer)
	s.ip("-n", s.name, "addr", "add", inner+"/24", "dev", "veth0")
	s.up()
	return s
}

func (s *space) ip(args ...string) {
	s.t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		s.t.Errorf("ip %v (needs root): %v: %s", args, err, out)
	}
}

func (s *space) up()   { s.ip("-n", s.name, "link", "set", "veth0", "up") }
func (s *space) down() { s.ip("-n", s.name, "link", "set", "veth0", "down") }

// startWorkerIn starts a worker in a network namespace.
func (f *fleetSite) startWorkerIn(s *space, name string) *exec.Cmd {
	f.t.Helper()
	cmd := f.worker(name, "--as-root")
	inside := exec.Command("nsenter", append([]string{"--net=/run/netns/" + s.name}, cmd.Args...)...)
	inside.Dir, inside.Env, inside.SysProcAttr = cmd.Dir, cmd.Env, cmd.SysProcAttr
	if err := inside.Start(); err != nil {
		f.t.Fatal(err)
	}
	return inside
}

// smallDisk gives a worker's cache a small disk of its own.
func (f *fleetSite) smallDisk(name string) (dir string) {
	f.t.Helper()
	dir = f.cacheOf(name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		f.t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=3g"); err != nil {
		f.t.Fatalf("mount a small disk (needs root): %v", err)
	}
	f.t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			f.t.Error(err)
		}
	})
	return dir
}

// fill fills a disk, and gives what makes room again.
func fill(dir string) (free func() error, err error) {
	f, err := os.Create(filepath.Join(dir, "ballast"))
	if err != nil {
		return nil, err
	}
	free = func() error { return errors.Join(f.Close(), os.Remove(f.Name())) }
	for size := int64(1 << 30); size >= 1<<12; size /= 2 {
		for {
			at, err := f.Seek(0, 2)
			if err == nil {
				err = unix.Fallocate(int(f.Fd()), 0, at, size)
			}
			if errors.Is(err, unix.ENOSPC) {
				break
			}
			if err != nil {
				return free, errors.Join(err, free())
			}
		}
	}
	return free, nil
}

// Given a hub and workers that are machines of their own, one with a clock that is
// wrong by a day, one whose network is down for a while again and again, one whose
// disk is full now and then, and a hub whose clock is set back, then each trial of
// a run is recorded once, with the verdict that is right, at the time that it was
// made, and nothing is left running.
func TestAFleetOnBadMachines(t *testing.T) {
	const repeat = 15
	spaces := []*space{newSpace(t, 0), newSpace(t, 1), newSpace(t, 2)}
	f := newFleetAt(t, siteNet+"1:0")
	f.limit = 40 * time.Minute
	t.Setenv("XDG_STATE_HOME", filepath.Join(f.root, "state"))
	disk := f.smallDisk("full")
	workers := make([]*exec.Cmd, len(spaces))
	for i, name := range []string{"clock", "network", "full"} {
		workers[i] = f.startWorkerIn(spaces[i], name)
	}
	began := time.Now()
	p := f.runs("--format", "json", "run", mirrorScenario, "-k", "debian:6.17", "-k", "debian:6.18", "--accel", "tcg", "--trace", "never",
		"--case", "length=4096,memory_offset=0", "--case", "length=512,memory_offset=32", "--repeat", strconv.Itoa(repeat), "--boots", "2")
	over := make(chan struct{})
	wait := func(d time.Duration) bool {
		select {
		case <-over:
			return false
		case <-time.After(d):
			return true
		}
	}
	var trouble sync.WaitGroup
	made := map[string]int{}
	var mu sync.Mutex
	did := func(what string) {
		t.Log(what)
		mu.Lock()
		defer mu.Unlock()
		made[what]++
	}
	trouble.Go(func() {
		for wait(10 * time.Second) {
			did("the network is down")
			spaces[1].down()
			more := wait(time.Duration(40+10*made["the network is down"]%50) * time.Second)
			spaces[1].up()
			if !more {
				return
			}
		}
	})
	trouble.Go(func() {
		for wait(15 * time.Second) {
			free, err := fill(disk)
			if err != nil {
				t.Error(err)
				return
			}
			did("the disk is full")
			wait(15 * time.Second)
			if err := free(); err != nil {
				t.Error(err)
				return
			}
		}
	})
	trouble.Go(func() {
		// One that reads the clock at that moment is tried again.
		for _, victim := range []struct {
			what  string
			cmd   *exec.Cmd
			steps int64
		}{{"a worker's clock is a day ahead", workers[0], 24 * 3600}, {"the hub's clock is a day behind", f.hub, -24 * 3600}} {
			for wait(500 * time.Millisecond) {
				c, err := takeClock(victim.cmd.Process.Pid)
				if err == nil {
					err = c.step(victim.steps)
				}
				if err == nil {
					did(victim.what)
					break
				}
				if !errors.Is(err, errClockInUse) {
					t.Error(err)
					return
				}
			}
		}
	})
	o := p.wait()
	close(over)
	trouble.Wait()
	for _, w := range workers {
		f.end(w)
	}
	if len(made) != 4 {
		t.Errorf("trouble that was made: %v", made)
	}
	for _, r := range f.wantEachOnce(o, 4*repeat) {
		if r.Started.Before(began) || r.Started.After(time.Now()) {
			t.Errorf("trial %d was made at %v, of a run that began at %v", r.Task, r.Started, began)
		}
	}
	f.wantNothingLeft()
}

// wantEachOnce fails unless each of so many trials of the run of TestAFleetInTrouble
// and the like is recorded once, with the verdict that is right.
func (f *fleetSite) wantEachOnce(o outcome, n int) []results.Record {
	f.t.Helper()
	run, err := results.Show(f.results, "last")
	if err != nil {
		f.t.Fatal(err)
	}
	if len(run.Problems()) > 0 {
		f.t.Errorf("the record: %v", run.Problems())
	}
	tasks := map[int]bool{}
	by := map[string]int{}
	for _, r := range run.Records {
		if tasks[r.Task] {
			f.t.Errorf("trial %d is recorded twice", r.Task)
		}
		tasks[r.Task] = true
		if r.Worker != nil {
			by[r.Worker.Name]++
		}
		want := scenarios.Pass
		if r.Case == "length=512,memory_offset=32" && r.Kernel.Ref == "debian:6.18" {
			want = scenarios.EIO
		}
		if r.Verdict != want {
			f.t.Errorf("trial %d (%s, %s) is %s: %s", r.Task, r.Kernel.Ref, r.Case, r.Verdict, r.Reason)
		}
	}
	f.t.Logf("trials of each worker: %v", by)
	if len(tasks) != n || o.status != exitFailure {
		f.t.Errorf("%d of %d trials are recorded: %v", len(tasks), n, o)
	}
	return run.Records
}
