//go:build vm && long

package hunt

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/blockrig/blockrig/harness/qemu"
	"github.com/blockrig/blockrig/harness/trial"
	"github.com/blockrig/blockrig/initramfs"
	"github.com/blockrig/blockrig/kernels"
	"github.com/blockrig/blockrig/results"
	"github.com/blockrig/blockrig/scenarios"
)

// seeded are parts that are broken on purpose.
var seeded = map[string]part{
	// A device that changes a byte of what is read.
	"corrupts-byte": table(1, "0 {n} flakey {0} 0 0 60 5 corrupt_bio_byte 224 r 1 0"),
	// One that says that it has written, and has not.
	"drops-writes": table(1, "0 {n} flakey {0} 0 0 60 1 drop_writes"),
	// An array of which one leg is such a device, behind its metadata (data begin at
	// sector 2048 or behind it): what a leg holds is not what the array wrote.
	"drops-leg": array(2, scenarios.MD{Level: "raid1"}).in(func(p *part) {
		p.leg = func() scenarios.Layer {
			return scenarios.Layer{DM: &scenarios.DM{Table: []string{"0 2048 linear {0} 0", "2048 43008 flakey {0} 2048 0 60 1 drop_writes"}}}
		}
	}),
}

// realHunt is a hunt with what real kernels take.
func realHunt(t *testing.T) *Hunt {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	cache = filepath.Join(cache, "blockrig")
	exe := filepath.Join(t.TempDir(), "blockrig")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-o", exe, "github.com/blockrig/blockrig/harness/cmd/blockrig")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build blockrig: %v\n%s", err, out)
	}
	log := slog.New(slog.DiscardHandler)
	store, err := kernels.Open(t.Context(), cache, log)
	if err != nil {
		t.Fatal(err)
	}
	run, err := results.Create(t.Context(), t.TempDir(), results.Request{Command: []string{"hunt"}})
	if err != nil {
		t.Fatal(err)
	}
	return &Hunt{
		Preparer: &trial.Preparer{
			Kernels: store, Initramfs: &initramfs.Builder{Cache: filepath.Join(cache, "initramfs"), Log: log},
			Exe: exe, ToolsFrom: initramfs.FromDebian, CPUs: 1,
			Accelerate: func(context.Context, kernels.Kernel) (qemu.Accel, error) { return qemu.TCG, nil },
		},
		Bases: &trial.BaseCache{Dir: t.TempDir(), Log: log}, Run: run, Scratch: t.TempDir(), Log: log,
		Found: func(f Finding) {
			t.Logf("after %d s, %d trials: %s %s: %s: %s; plain: %s", f.SpentMS/1000, f.Trials, f.Stack, f.Class, f.Says, f.Reason, f.Plain)
		},
	}
}

// huntReally hunts on a real kernel.
func huntReally(t *testing.T, r Request) *State {
	t.Helper()
	h, s := realHunt(t), NewState(r)
	if err := h.Do(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if err := h.Run.Close(); err != nil {
		t.Error(err)
	}
	t.Logf("%d programs, %d operations, %.0f a minute, %.0f to a minute of CPU time; %d findings, %d alike, doubtful: %+v",
		s.Next, s.Operations(), s.Rate(), s.RateOfCPU(), len(s.Findings), s.Alike, s.Doubtful)
	return s
}

// Given a layer that loses data, when it is hunted on, then it is found to, by a
// program of one operation or two, on that layer alone.
func TestSeededFaultsAreFound(t *testing.T) {
	for name, p := range seeded {
		parts[name] = p
		t.Cleanup(func() { delete(parts, name) })
		t.Run(name, func(t *testing.T) {
			s := huntReally(t, Request{Kernel: "debian:6.18", Stacks: []string{"dm-linear+" + name}, Seed: 1, Budget: 3 * time.Minute})
			if len(s.Findings) == 0 {
				t.Fatal("nothing was found")
			}
			f := s.Findings[0]
			if f.Class != LosesData || f.Stack != name || len(f.Program) > 2 || !f.Cold {
				t.Errorf("%s %s: %s, cold %t", f.Stack, f.Class, f.Says, f.Cold)
			}
			for _, f := range s.Findings {
				if f.Stack == Plain || f.Stack == "dm-linear" {
					t.Errorf("the sound %s is blamed: %s: %s", f.Stack, f.Class, f.Says)
				}
			}
		})
	}
}
