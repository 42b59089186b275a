//go:build vm

package trial

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/blockrig/blockrig/harness/console"
	"github.com/blockrig/blockrig/harness/qemu"
	"github.com/blockrig/blockrig/harness/verdict"
	"github.com/blockrig/blockrig/scenarios"
)

// midStep runs a warm trial and does something to its machine once the guest
// has said that the step begins.
func midStep(t *testing.T, do func(ctx context.Context, m *qemu.Machine)) Result {
	t.Helper()
	base := sharedBase(t)
	spec := mirrorSpec(t, aligned)
	ctx := testContext(t)
	s := newSession(spec)
	did := false
	s.spec.Progress = func(phase, _ string) {
		if phase == scenarios.PhaseStep && !did {
			did = true
			do(ctx, s.m)
		}
	}
	if err := s.resume(ctx, base); err != nil {
		t.Fatal(err)
	}
	_ = s.step(ctx) // whatever it was is in the result
	r := s.end()
	if !did {
		t.Fatalf("the step never began\n%s", show(r))
	}
	wantNothingLeft(t, spec.Dir)
	return r
}

func killMachine(t testing.TB, pid int, signal syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, signal); err != nil {
		t.Error(err)
	}
}

func TestGuestThatSpinsWithInterruptsOffHangs(t *testing.T) {
	r := midStep(t, func(ctx context.Context, m *qemu.Machine) { replaceTimerHandler(t, ctx, m, spinCode) })
	if r.Verdict != verdict.Hang || r.Phase != scenarios.PhaseStep || r.Report.Silent == "" || r.Report.Host != "" {
		t.Errorf("want a hang of a guest that is silent\n%s", show(r))
	}
	t.Logf("%s; after %v", r.Reason, r.Trial)
}

func TestGuestThatPanicsInTheStepIsABug(t *testing.T) {
	r := midStep(t, func(ctx context.Context, m *qemu.Machine) { replaceTimerHandler(t, ctx, m, panicCode) })
	panics := func(f console.Finding) bool { return f.Kind == console.KindPanic && !f.Baseline }
	if r.Verdict != verdict.Bug || r.Phase != scenarios.PhaseStep || !slices.ContainsFunc(r.Findings, panics) || r.Report.Host != "" {
		t.Errorf("want a bug, and a panic among the findings\n%s", show(r))
	}
	t.Logf("%s; after %v", r.Reason, r.Trial)
}

func TestSilentQEMUIsNoVerdict(t *testing.T) {
	r := midStep(t, func(_ context.Context, m *qemu.Machine) { killMachine(t, m.PID(), syscall.SIGSTOP) })
	if r.Verdict != verdict.Error || !strings.Contains(r.Reason, "QEMU") || r.Report.Host == "" {
		t.Errorf("want an error that blames QEMU\n%s", show(r))
	}
	t.Logf("%s; after %v", r.Reason, r.Trial)
}

func TestQEMUKilledInATrialIsTriedAgain(t *testing.T) {
	v := newSchedule(t, sharedShelf(t), aligned, aligned)
	var once sync.Once
	v.Progress = func(_ int, phase, _ string) {
		if phase == scenarios.PhaseStep {
			once.Do(func() { killMachine(t, machines(t)[0], syscall.SIGKILL) })
		}
	}

	v.run(t)

	first, second := v.got[0], v.got[1]
	if a := first.Attempts; len(a) != 2 || a[0].Verdict != verdict.Error || !strings.Contains(a[0].Reason, "signal: killed") ||
		a[0].Phase != scenarios.PhaseStep || a[1].Verdict != verdict.Pass || first.Verdict != verdict.Pass || !first.Warm {
		t.Errorf("attempts %+v, want an error that says that QEMU was killed, and a warm pass\n%s", a, show(first))
	}
	if second.Verdict != verdict.Pass || len(second.Attempts) != 1 || !second.Warm {
		t.Errorf("the next trial: want a warm pass at once\n%s", show(second))
	}
	if first.BootID != second.BootID || second.BootID != sharedBase(t).BootID {
		t.Errorf("boots %s and %s, want the shared one: %s", first.BootID, second.BootID, sharedBase(t).BootID)
	}
	wantNothingLeft(t, v.dir)
}

func TestQEMUKilledWhileLoading(t *testing.T) {
	base := sharedBase(t)
	spec := mirrorSpec(t, aligned)
	var killed sync.WaitGroup
	spec.Progress = func(_, what string) {
		if !strings.HasPrefix(what, "load") {
			return
		}
		killed.Go(func() {
			for {
				if pids := machines(t); len(pids) > 0 {
					killMachine(t, pids[0], syscall.SIGKILL)
					return
				}
				time.Sleep(100 * time.Microsecond)
			}
		})
	}
	r, err := RunWarm(testContext(t), spec, base)
	killed.Wait()
	if !errors.Is(err, qemu.ErrRestore) || !strings.Contains(err.Error(), "signal: killed") {
		t.Errorf("error %v, want one of loading that says that QEMU was killed", err)
	}
	if r.Verdict != verdict.Error || !strings.Contains(r.Reason, "signal: killed") {
		t.Errorf("want the reason in the result, too\n%s", show(r))
	}
	wantNothingLeft(t, spec.Dir)
	// The base has come to no harm.
	if r := warmTrial(t, aligned); r.Verdict != verdict.Pass {
		t.Errorf("the next trial\n%s", show(r))
	}
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

func TestFullDiskWhileSavingMakesTrialsCold(t *testing.T) {
	dir := os.Getenv(playSmall)
	if dir == "" {
		again(t, &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		}, playSmall+"="+t.TempDir())
		return
	}
	if err := syscall.Mount("small", dir, "tmpfs", 0, "size=16m"); err != nil {
		t.Fatal(err)
	}
	v := newSchedule(t, dir, aligned)
	v.run(t)
	wantColdPass(t, v, "no space left on device")
}

// wantColdPass checks that a machine could not be saved, that the log says
// why, and that the trial was made all the same.
func wantColdPass(t *testing.T, v *vmSchedule, why string) {
	t.Helper()
	r := v.got[0]
	if r.Verdict != verdict.Pass || r.Warm || len(r.Attempts) != 1 {
		t.Errorf("%d attempts, warm %t; want a cold pass at once\n%s", len(r.Attempts), r.Warm, show(r))
	}
	if log := v.log.String(); !strings.Contains(log, why) || !strings.Contains(log, "save the machine") {
		t.Errorf("the log does not say %q:\n%s", why, log)
	}
	if left := bases(t, v.Shelf); len(left) > 0 {
		t.Errorf("left on the shelf: %v", left)
	}
	wantNothingLeft(t, v.dir)
}

func TestDamagedBaseIsMadeAgain(t *testing.T) {
	for _, tt := range []struct {
		name, file string
		damage     func(text []byte) []byte
		want       string
	}{
		{"state garbled", "state", func(b []byte) []byte { return bytes.Repeat([]byte("garbage"), len(b)/7+1)[:len(b)] }, "state"},
		{"memory cut short", "ram", func([]byte) []byte { return make([]byte, 4096) }, "4096 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			shelf := t.TempDir()
			copyBase(t, sharedBase(t).Dir, filepath.Join(shelf, filepath.Base(sharedBase(t).Dir)), tt.file, tt.damage)
			v := newSchedule(t, shelf, aligned)

			v.run(t)

			r := v.got[0]
			if r.Verdict != verdict.Pass || !r.Warm || len(r.Attempts) != 1 || r.BootID == sharedBase(t).BootID {
				t.Errorf("%d attempts, warm %t, boot %s; want a warm pass from another boot\n%s", len(r.Attempts), r.Warm, r.BootID, show(r))
			}
			if log := v.log.String(); !strings.Contains(log, "is of no use and is made again") || !strings.Contains(log, tt.want) {
				t.Errorf("the log does not say %q:\n%s", tt.want, log)
			}
			if left := bases(t, v.Shelf); len(left) != 1 {
				t.Errorf("on the shelf: %v, want the new base alone", left)
			}
			wantNothingLeft(t, v.dir)
		})
	}
}

// copyBase makes a base of another one's files, which are only read, and a
// damaged copy of one of them.
func copyBase(t *testing.T, from, to, damaged string, damage func([]byte) []byte) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		at := filepath.Join(to, rel)
		switch {
		case d.IsDir():
			return os.Mkdir(at, 0o700)
		case d.Name() != damaged:
			return os.Link(path, at)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(at, damage(text), 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestTwoProcessesUseOneShelf(t *testing.T) {
	shelf := t.TempDir()
	var procs [2]*exec.Cmd
	var out [2]bytes.Buffer
	for i := range procs {
		procs[i] = playing(t, playUser+"="+shelf)
		procs[i].Stdout, procs[i].Stderr = &out[i], &out[i]
		if err := procs[i].Start(); err != nil {
			t.Fatal(err)
		}
	}
	var said []string
	for i, p := range procs {
		if err := p.Wait(); err != nil {
			t.Errorf("%v\n%s", err, &out[i])
		}
		said = append(said, out[i].String())
	}
	// One made the base, and both had their trial from it.
	slices.Sort(said)
	madeA, restA, _ := strings.Cut(said[0], " ")
	madeB, restB, _ := strings.Cut(said[1], " ")
	if madeA != "false" || madeB != "true" || restA != restB || !strings.HasSuffix(restA, " pass\n") {
		t.Errorf("the processes say %q", said)
	}
	if left := bases(t, &Shelf{Dir: shelf}); len(left) != 1 {
		t.Errorf("on the shelf: %v, want one base", left)
	}
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
			shelf := t.TempDir()
			if tt.warm {
				shelf = sharedShelf(t)
			}
			before := bases(t, &Shelf{Dir: shelf})
			v := newSchedule(t, shelf, aligned, aligned)
			ctx, cancel := context.WithCancelCause(testContext(t))
			enough := errors.New("enough")
			v.Progress = func(i int, phase, what string) {
				if i >= 0 && phase == tt.phase && strings.HasPrefix(what, tt.what) {
					cancel(enough)
				}
			}

			err := v.Run(ctx, v.tasks)

			if !errors.Is(err, enough) {
				t.Errorf("error %v, want %v", err, enough)
			}
			if len(v.got) > 0 {
				t.Errorf("results of what was interrupted: %+v", v.got)
			}
			wantNothingLeft(t, v.dir)
			if after := bases(t, v.Shelf); !slices.Equal(before, after) {
				t.Errorf("on the shelf: %v, want what was there before: %v", after, before)
			}
		})
	}
}
