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
