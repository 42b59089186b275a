//go:build vm && long

package main

import (
	"math/rand/v2"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/blockrig/blockrig/results"
	"github.com/blockrig/blockrig/scenarios"
)

// Given a hub and four workers, and at random moments workers that are killed or
// stopped for 40 s, and a hub that is killed, then of some hundred trials on two
// kernels each is recorded once, with the verdict that is right, and nothing is
// left running.
func TestAFleetInTrouble(t *testing.T) {
	const repeat = 75
	f := newFleet(t)
	f.limit = 40 * time.Minute
	t.Setenv("XDG_STATE_HOME", f.root+"/state")
	workers := make([]*exec.Cmd, 4)
	for i := range workers {
		workers[i] = f.startWorker("w" + strconv.Itoa(i))
	}
	p := f.runs("--format", "json", "run", mirrorScenario, "-k", "debian:6.17", "-k", "debian:6.18", "--accel", "tcg", "--trace", "never",
		"--case", "length=4096,memory_offset=0", "--case", "length=512,memory_offset=32", "--repeat", strconv.Itoa(repeat), "--boots", "2")
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
	run, err := results.Show(f.results, "last")
	if err != nil {
		t.Fatal(err)
	}
	if len(run.Problems()) > 0 {
		t.Errorf("the record: %v", run.Problems())
	}
	tasks := map[int]bool{}
	for _, r := range run.Records {
		if tasks[r.Task] {
			t.Errorf("trial %d is recorded twice", r.Task)
		}
		tasks[r.Task] = true
		want := scenarios.Pass
		if r.Case == "length=512,memory_offset=32" && r.Kernel.Ref == "debian:6.18" {
			want = scenarios.EIO
		}
		if r.Verdict != want {
			t.Errorf("trial %d (%s, %s) is %s: %s", r.Task, r.Kernel.Ref, r.Case, r.Verdict, r.Reason)
		}
	}
	if len(tasks) != 4*repeat || o.status != exitFailure {
		t.Errorf("%d of %d trials are recorded: %v", len(tasks), 4*repeat, o)
	}
	f.wantNothingLeft()
}
