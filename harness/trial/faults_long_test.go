//go:build vm && long

package trial

import (
	"context"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

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
