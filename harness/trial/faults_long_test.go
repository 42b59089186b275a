//go:build vm && long

package trial

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/blockrig/blockrig/harness/child/childtest"
	"github.com/blockrig/blockrig/harness/qemu"
	"github.com/blockrig/blockrig/scenarios"
)

func TestSilentQEMUIsNoVerdict(t *testing.T) {
	r := midStep(t, func(_ context.Context, m *qemu.Machine) { killMachine(t, m.PID(), syscall.SIGSTOP) })
	if r.Verdict != scenarios.Error || !strings.Contains(r.Reason, "QEMU") || r.Report.Host == "" {
		t.Errorf("want an error that blames QEMU\n%s", show(r))
	}
	t.Logf("%s; after %v", r.Reason, r.Trial)
}

func TestQEMUKilledWhileSavingMakesTrialsCold(t *testing.T) {
	v := newSchedule(t, t.TempDir(), aligned)
	v.Progress = func(_ int, phase, _ string) {
		if phase == "save" {
			killMachine(t, machines(t)[0], syscall.SIGKILL)
		}
	}
	v.run(t)
	wantColdPass(t, v, "signal: killed")
}

// Given a QEMU that is stopped while the guest does the step, when it goes on,
// then the answer is the one that it would have been.
func TestAStoppedQEMUAnswersWhenItGoesOn(t *testing.T) {
	for _, stop := range []time.Duration{time.Second, 12 * time.Second, 25 * time.Second} {
		t.Run(stop.String(), func(t *testing.T) {
			var going sync.WaitGroup
			r := midStep(t, func(ctx context.Context, m *qemu.Machine) {
				killMachine(t, m.PID(), syscall.SIGSTOP)
				going.Go(func() {
					select {
					case <-time.After(stop):
					case <-ctx.Done():
					}
					killMachine(t, m.PID(), syscall.SIGCONT)
				})
			})
			going.Wait()
			if r.Verdict != scenarios.Pass {
				t.Errorf("want a pass\n%s", show(r))
			}
			t.Logf("%s; after %v", r.Reason, r.Trial)
		})
	}
}

func TestDamagedBaseIsMadeAgain(t *testing.T) {
	for _, tt := range []int{1, 4, 6} {
		t.Run(rot[tt].what, func(t *testing.T) {
			c := copyBase(t, rot[tt].file, rot[tt].damage)
			v := newSchedule(t, c.Dir, aligned)

			v.run(t)

			r := v.got[0]
			if r.Verdict != scenarios.Pass || !r.Warm || len(r.Attempts) != 1 || r.BootID == sharedBase(t).BootID {
				t.Errorf("%d attempts, warm %t, boot %s; want a warm pass from another boot\n%s", len(r.Attempts), r.Warm, r.BootID, show(r))
			}
			log := v.log.String()
			if n := strings.Count(log, "is of no use and is made again"); n != 1 || !strings.Contains(log, "the content of "+rot[tt].file) && !strings.Contains(log, rot[tt].file+" has") {
				t.Errorf("said %d times, want once, with what is damaged:\n%s", n, log)
			}
			if left := bases(t, c.Dir); len(left) != 1 {
				t.Errorf("in the cache: %v, want the new base alone", left)
			}
			wantNothingLeft(t, v.dir)
		})
	}
}

func TestFullDiskWhileSavingMakesTrialsCold(t *testing.T) {
	prep, err := shared.prep()
	if err != nil {
		t.Fatal(err)
	}
	dir := childtest.OnSmallDisk(t, 16<<20, playExe+"="+prep.Exe)
	if dir == "" {
		return
	}
	v := newSchedule(t, dir, aligned)
	v.run(t)
	wantColdPass(t, v, "no space left on device")
}

func TestInterruptedTrialLeavesNothing(t *testing.T) {
	for _, tt := range []struct {
		name, phase, what string
		warm              bool
	}{
		{"while it boots", scenarios.PhaseBoot, "", false},
		{"while modules are loaded", scenarios.PhaseDisks, "load modules", false},
		{"while the stack is built", scenarios.PhaseStack, "mke2fs", false},
		{"while the machine is saved", "save", "", false},
		{"while a saved machine is loaded", scenarios.PhaseInfra, "load", true},
		{"in the step", scenarios.PhaseStep, "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cache := t.TempDir()
			if tt.warm {
				cache = sharedCache(t)
			}
			before := bases(t, cache)
			v := newSchedule(t, cache, aligned, aligned)
			ctx, cancel := context.WithCancelCause(testContext(t))
			enough := errors.New("enough")
			v.Progress = func(i int, phase, what string) {
				if i >= 0 && phase == tt.phase && strings.HasPrefix(what, tt.what) {
					cancel(enough)
				}
			}

			err := v.Run(ctx, v.jobs)

			if !errors.Is(err, enough) {
				t.Errorf("error %v, want %v", err, enough)
			}
			if len(v.got) > 0 {
				t.Errorf("results of what was interrupted: %+v", v.got)
			}
			wantNothingLeft(t, v.dir)
			if after := bases(t, v.Bases.Dir); !slices.Equal(before, after) {
				t.Errorf("in the cache: %v, want what was there before: %v", after, before)
			}
		})
	}
}

// Given a device that holds each request for some seconds in the guest's own
// kernel, when it is read, then the read is slow and right, and no hang.
func TestSlowButRightIsNoHang(t *testing.T) {
	r := trialOf(t, `
disks: [{id: a}]
stack:
  - dm: {name: slow, table: ["0 {a.sectors} delay {a} 0 3000"]}
  - dm: {name: slower, table: ["0 {slow.sectors} delay {slow} 0 9000"]}
steps:
  - io: {op: pread, on: slow, direct: true, length: 4096}
  - io: {op: pread, on: slower, direct: true, length: 4096}
`)
	wantPass(t, r)
}

func TestGuestThatSpinsWithInterruptsOffHangs(t *testing.T) {
	r := midStep(t, func(ctx context.Context, m *qemu.Machine) { replaceTimerHandler(t, ctx, m, spinCode) })
	if r.Verdict != scenarios.Hang || r.Phase != scenarios.PhaseStep || r.Report.Silent == "" || r.Report.Host != "" {
		t.Errorf("want a hang of a guest that is silent\n%s", show(r))
	}
	t.Logf("%s; after %v", r.Reason, r.Trial)
}
