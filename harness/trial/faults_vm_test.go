//go:build vm

package trial

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/blockrig/blockrig/harness/console"
	"github.com/blockrig/blockrig/harness/qemu"
	"github.com/blockrig/blockrig/scenarios"
)

// midStep runs a warm trial and does something to its machine once the guest
// has said that the step begins.
func midStep(t *testing.T, do func(ctx context.Context, m *qemu.Machine)) ran {
	t.Helper()
	base := sharedBase(t)
	l := mirrorJob(t, aligned)
	ctx := testContext(t)
	s := newSession(l)
	did := false
	s.Progress = func(phase, _ string) {
		if phase == scenarios.PhaseStep && !did {
			did = true
			do(ctx, s.m)
		}
	}
	if err := s.resume(ctx, base); err != nil {
		t.Fatal(err)
	}
	_ = s.step(ctx, 0) // whatever it was is in the result
	r := ran{s.end(), l.Dir}
	if !did {
		t.Fatalf("the step never began\n%s", show(r))
	}
	wantNothingLeft(t, l.Dir)
	return r
}

func killMachine(t testing.TB, pid int, signal syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, signal); err != nil {
		t.Error(err)
	}
}

func TestGuestThatPanicsInTheStepIsABug(t *testing.T) {
	r := midStep(t, func(ctx context.Context, m *qemu.Machine) { replaceTimerHandler(t, ctx, m, panicCode) })
	panics := func(f console.Finding) bool { return f.Kind == console.KindPanic && !f.Baseline }
	if r.Verdict != scenarios.Bug || r.Phase != scenarios.PhaseStep || !slices.ContainsFunc(r.Findings, panics) || r.Report.Host != "" {
		t.Errorf("want a bug, and a panic among the findings\n%s", show(r))
	}
	t.Logf("%s; after %v", r.Reason, r.Trial)
}

func TestQEMUKilledInATrialIsTriedAgain(t *testing.T) {
	v := newSchedule(t, sharedCache(t), aligned, aligned)
	var once sync.Once
	v.Progress = func(_ int, phase, _ string) {
		if phase == scenarios.PhaseStep {
			once.Do(func() { killMachine(t, machines(t)[0], syscall.SIGKILL) })
		}
	}

	v.run(t)

	first, second := v.got[0], v.got[1]
	if a := first.Attempts; len(a) != 2 || a[0].Verdict != scenarios.Error || !strings.Contains(a[0].Reason, "signal: killed") ||
		a[1].Verdict != scenarios.Pass || first.Verdict != scenarios.Pass || !first.Warm {
		t.Errorf("attempts %+v, want an error that says that QEMU was killed, and a warm pass\n%s", a, show(first))
	}
	if second.Verdict != scenarios.Pass || len(second.Attempts) != 1 || !second.Warm {
		t.Errorf("the next trial: want a warm pass at once\n%s", show(second))
	}
	if first.BootID != second.BootID || second.BootID != sharedBase(t).BootID {
		t.Errorf("boots %s and %s, want the shared one: %s", first.BootID, second.BootID, sharedBase(t).BootID)
	}
	wantNothingLeft(t, v.dir)
}

func TestQEMUKilledWhileLoading(t *testing.T) {
	base := sharedBase(t)
	l := mirrorJob(t, aligned)
	var killed sync.WaitGroup
	l.Progress = func(_, what string) {
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
	o, err := runWarm(testContext(t), l, base)
	r := ran{o, l.Dir}
	killed.Wait()
	if !errors.Is(err, qemu.ErrRestore) || !strings.Contains(err.Error(), "signal: killed") {
		t.Errorf("error %v, want one of loading that says that QEMU was killed", err)
	}
	if r.Verdict != scenarios.Error || !strings.Contains(r.Reason, "signal: killed") {
		t.Errorf("want the reason in the result, too\n%s", show(r))
	}
	wantNothingLeft(t, l.Dir)
	// The base has come to no harm.
	if r := warmTrial(t, aligned); r.Verdict != scenarios.Pass {
		t.Errorf("the next trial\n%s", show(r))
	}
}

// wantColdPass checks that a machine could not be saved, that the log says
// why, and that the trial was made all the same.
func wantColdPass(t *testing.T, v *vmSchedule, why string) {
	t.Helper()
	r := v.got[0]
	if r.Verdict != scenarios.Pass || r.Warm || len(r.Attempts) != 1 {
		t.Errorf("%d attempts, warm %t; want a cold pass at once\n%s", len(r.Attempts), r.Warm, show(r))
	}
	if log := v.log.String(); !strings.Contains(log, why) || !strings.Contains(log, "save the machine") {
		t.Errorf("the log does not say %q:\n%s", why, log)
	}
	if left := bases(t, v.Bases.Dir); len(left) > 0 {
		t.Errorf("left in the cache: %v", left)
	}
	wantNothingLeft(t, v.dir)
}

// flip flips a bit in each of n bytes of a file, all in what is no hole.
func flip(n int) func(path string) error {
	return func(path string) error {
		return edit(path, func(text []byte) {
			rng := rand.New(rand.NewPCG(1, 2))
			for done := 0; done < n; {
				if i := rng.IntN(len(text)); text[i] != 0 || text[i/4096*4096] != 0 {
					text[i] ^= 1 << rng.IntN(8)
					done++
				}
			}
		})
	}
}

func edit(path string, change func([]byte)) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	change(text)
	return os.WriteFile(path, text, 0o600)
}

// rot is what can happen to a base; names are below its folder.
var rot = []struct {
	what, file string
	damage     func(path string) error
}{
	{"300 flips in memory", "machine/ram", flip(300)},
	{"3,000 flips in memory", "machine/ram", flip(3000)},
	{"30,000 flips in memory", "machine/ram", flip(30000)},
	{"2 % of memory zeroed", "machine/ram", func(path string) error {
		return edit(path, func(text []byte) {
			for at := 0; at+4096 <= len(text); at += 50 * 4096 {
				clear(text[at : at+4096])
			}
		})
	}},
	{"one flip on a disk", "machine/disk-a.raw", flip(1)},
	{"the state garbled", "machine/state", func(path string) error {
		return edit(path, func(text []byte) { copy(text, bytes.Repeat([]byte("garbage"), len(text)/7)) })
	}},
	{"a line added to the console", "console.log", func(path string) error {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			return err
		}
		_, err = f.WriteString("[    9.000000] BUG: kernel NULL pointer dereference, address: 0000000000000008\n")
		return errors.Join(err, f.Close())
	}},
	{"memory cut short", "machine/ram", func(path string) error { return os.Truncate(path, 4096) }},
	{"an empty disk", "machine/disk-b.raw", func(path string) error { return os.Truncate(path, 0) }},
	{"no machine.json", "machine/machine.json", os.Remove},
	{"another machine.json", "machine/machine.json", flip(1)},
	{"another base.json", "base.json", flip(1)},
	{"one file more", "machine/more", func(path string) error { return os.WriteFile(path, nil, 0o600) }},
	{"another manifest", ".blockrig.manifest", flip(1)},
	{"no manifest", ".blockrig.manifest", os.Remove},
}

func TestRotInABaseNeverBecomesAVerdict(t *testing.T) {
	l := mirrorJob(t, aligned)
	for _, tt := range rot {
		t.Run(tt.what, func(t *testing.T) {
			c := copyBase(t, tt.file, tt.damage)
			anew := errors.New("made anew")
			b, err := c.get(t.Context(), l.baseKey(), func(context.Context, string) error { return anew })
			if errors.Is(err, anew) {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			l.Dir = t.TempDir()
			if o, err := runWarm(testContext(t), l, b); !errors.Is(err, qemu.ErrRestore) || o.Verdict != scenarios.Error {
				t.Errorf("error %v, want that the base is of no use\n%s", err, show(ran{o, l.Dir}))
			}
			wantNothingLeft(t, l.Dir)
		})
	}
}

// copyBase makes a cache with a copy of the shared base, whose file of that
// name is damaged. The others are only read, and are the same files.
func copyBase(t *testing.T, damaged string, damage func(path string) error) *BaseCache {
	t.Helper()
	from := sharedBase(t).Path()
	c := &BaseCache{Dir: t.TempDir()}
	to := filepath.Join(c.Dir, filepath.Base(from))
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
		case d.Name() == ".blockrig.lock":
			return nil
		case rel != damaged:
			return os.Link(path, at)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(at, text, 0o600)
	})
	if err := errors.Join(err, damage(filepath.Join(to, damaged))); err != nil {
		t.Fatal(err)
	}
	return c
}
