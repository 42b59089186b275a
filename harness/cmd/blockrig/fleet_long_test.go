//go:build vm && long

package main

import (
	"encoding/json"
	"flag"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/blockrig/blockrig/harness/bisect"
	"github.com/blockrig/blockrig/harness/bisect/trials"
	"github.com/blockrig/blockrig/harness/hunt"
	"github.com/blockrig/blockrig/harness/nightly"
	"github.com/blockrig/blockrig/harness/qemu"
	"github.com/blockrig/blockrig/results"
)

// fleetKernels and fleetRepeat say how much a fleet in trouble has to do. Of the
// kernels only 6.18 is to have the bug of the mail.
var (
	fleetKernels = flag.String("fleet.kernels", "debian:6.17,debian:6.18", "references of the kernels")
	fleetRepeat  = flag.Int("fleet.repeat", 75, "trials of each of two cases on each kernel")
)

// Given a hub and four workers, and at random moments workers that are killed or
// stopped for 40 s, and a hub that is killed, then of some hundred trials on two
// kernels each is recorded once, with the verdict that is right, and nothing is
// left running.
func TestAFleetInTrouble(t *testing.T) {
	f := newFleet(t)
	f.limit = 3 * time.Hour
	t.Setenv("XDG_STATE_HOME", f.root+"/state")
	workers := make([]*exec.Cmd, 4)
	for i := range workers {
		workers[i] = f.startWorker("w" + strconv.Itoa(i))
	}
	args := []string{
		"--format", "json", "run", mirrorScenario, "--accel", "tcg", "--trace", "never",
		"--case", "length=4096,memory_offset=0", "--case", "length=512,memory_offset=32", "--repeat", strconv.Itoa(*fleetRepeat), "--boots", "2",
	}
	kernels := strings.Split(*fleetKernels, ",")
	for _, k := range kernels {
		args = append(args, "-k", k)
	}
	p := f.runs(args...)
	over := make(chan struct{})
	var trouble sync.WaitGroup
	trouble.Go(func() {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		r := rand.New(rand.NewPCG(seed, 0))
		for n := 0; ; n++ {
			select {
			case <-over:
				return
			case <-time.After(time.Duration(10+r.IntN(20)) * time.Second):
			}
			i := r.IntN(len(workers))
			switch n % 4 {
			case 0, 2:
				t.Logf("worker %d is killed", i)
				_ = workers[i].Process.Kill()
				_ = workers[i].Wait() // that is what was done to it
				workers[i] = f.startWorker("w" + strconv.Itoa(i))
			case 1:
				t.Logf("worker %d is stopped for 40 s", i)
				_ = workers[i].Process.Signal(syscall.SIGSTOP)
				select {
				case <-over:
				case <-time.After(40 * time.Second):
				}
				_ = workers[i].Process.Signal(syscall.SIGCONT)
			case 3:
				t.Log("the hub is killed")
				_ = f.hub.Process.Kill()
				_ = f.hub.Wait() // that is what was done to it
				f.startHub()
			}
		}
	})
	o := p.wait()
	close(over)
	trouble.Wait()
	for _, w := range workers {
		f.end(w)
	}
	f.wantEachOnce(o, 2*len(kernels)**fleetRepeat)
	f.wantNothingLeft()
}

// Given a hub and two workers, when a night, a hunt and a bisection have their
// trials made there, then they end as they do without, and every trial was made by
// one of the workers.
func TestOtherVerbsWithAHub(t *testing.T) {
	f := newFleet(t)
	f.limit = 40 * time.Minute
	t.Setenv("XDG_STATE_HOME", filepath.Join(f.root, "state"))
	for _, name := range []string{"w1", "w2"} {
		w := f.startWorker(name)
		defer f.end(w)
	}
	t.Run("nightly", func(t *testing.T) {
		o := f.runs("nightly", f.write("nightly.yaml", nightOf("debian:6.17.13", "")), "--format", "json").wait()
		var n nightly.Night
		if err := json.Unmarshal([]byte(o.stdout), &n); err != nil || o.status != exitPass || len(n.Findings) > 0 {
			t.Fatal(err, o)
		}
		madeByWorkers(t, f.results, 4)
	})
	t.Run("hunt", func(t *testing.T) {
		root := t.TempDir()
		o := f.runs("hunt", "--results", root, "--stack", "lvm-raid1", "-k", "debian:6.18", "--accel", "tcg", "--seed", "1", "--budget", "1m", "--known", "report", "--format", "json").wait()
		first, _, _ := strings.Cut(o.stdout, "\n")
		var found hunt.Finding
		if err := json.Unmarshal([]byte(first), &found); err != nil || o.status != exitFailure || found.Class != hunt.BlamesDisk || !found.Cold {
			t.Fatal(err, o)
		}
		madeByWorkers(t, root, 1)
	})
	t.Run("bisect", func(t *testing.T) {
		build, err := qemu.BuildID("")
		if err != nil {
			t.Fatal(err)
		}
		dir, releases := releaseState(t, trials.Machine{Accel: "tcg", Tools: "debian", Hub: f.addr, QEMU: build}, "debian:6.17", "debian:6.18")
		o := f.run("--format", "json", "bisect", "resume", dir)
		var a bisect.Answer
		if err := json.Unmarshal([]byte(o.stdout), &a); err != nil || a.First == nil || a.First.Hash != releases[1].Version || a.Grade != bisect.Proven {
			t.Fatal(err, o)
		}
		madeByWorkers(t, filepath.Join(dir, "runs"), 4)
	})
	f.wantNothingLeft()
}

// madeByWorkers fails unless there are at least so many trials in a folder of
// runs, all of them made by workers of a hub.
func madeByWorkers(t *testing.T, root string, least int) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "2*", results.TrialsFile))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			var r results.Record
			if err := json.Unmarshal([]byte(line), &r); err != nil {
				t.Fatal(err)
			}
			if r.Worker == nil {
				t.Errorf("%s of %s was made here", r.Case, name)
			}
			n++
		}
	}
	if n < least {
		t.Errorf("%d trials are recorded in %s, want %d at least", n, root, least)
	}
}
