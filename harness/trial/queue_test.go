package trial

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/blockrig/blockrig/harness/cachedir"
	"github.com/blockrig/blockrig/harness/qemu"
	"github.com/blockrig/blockrig/harness/verdict"
	"github.com/blockrig/blockrig/kernels"
	"github.com/blockrig/blockrig/scenarios"
)

// A queueTest runs a queue whose trials are a test's own.
type queueTest struct {
	*Schedule
	q   *queue
	log bytes.Buffer

	mu    sync.Mutex
	began []string // tasks in the order in which they began
	boots []string // bases in the order in which they were begun to be made: "kernel/boot"
	ended []string // tasks in the order in which they were recorded
	got   map[int]Outcome
}

// name tells jobs apart: "kernel scenario case repeat".
func name(j Queued) string {
	return fmt.Sprintf("%s %s %s %s", j.Kernel.Ref, j.Scenario, j.Case, j.Seed)
}

// newQueue has jobs ready to run, with trials that pass at once.
func newQueue(t *testing.T, s Schedule, jobs ...Queued) *queueTest {
	t.Helper()
	qt := &queueTest{Schedule: &s, got: map[int]Outcome{}}
	s.Log = slog.New(slog.NewTextHandler(&qt.log, nil))
	if s.Bases != nil {
		s.Bases.Log = s.Log
	}
	s.Find = func(context.Context, Job) (Files, error) { return Files{}, nil }
	s.Begin = func(i int, _ Job) (string, error) {
		qt.mu.Lock()
		defer qt.mu.Unlock()
		qt.began = append(qt.began, name(jobs[i]))
		return os.MkdirTemp(t.TempDir(), "")
	}
	s.Done = func(i int, o Outcome) error {
		qt.ended = append(qt.ended, name(jobs[i])) // one goroutine at a time
		qt.got[i] = o
		return nil
	}
	qt.q = s.queue(jobs)
	qt.q.cold = func(context.Context, Local) Outcome { return passed() }
	qt.q.warm = func(_ context.Context, _ Local, b *Base) (Outcome, error) {
		o := passed()
		o.Warm, o.BootID = true, b.BootID
		return o, nil
	}
	qt.q.boot = qt.boot
	return qt
}

func passed() Outcome {
	return Outcome{Judgement: verdict.Judgement{Verdict: scenarios.Pass, Phase: scenarios.PhaseDone}}
}

// boot makes a base that only says which one it is: "kernel/boot N", N from 1.
func (qt *queueTest) boot(_ context.Context, l Local, dir string) error {
	qt.mu.Lock()
	qt.boots = append(qt.boots, l.Kernel.Ref)
	id := fmt.Sprintf("%s/boot %d", l.Kernel.Ref, len(qt.boots))
	qt.mu.Unlock()
	return putBase(dir, id)
}

// putBase writes the smallest base that there can be.
func putBase(dir, bootID string) error {
	return os.WriteFile(filepath.Join(dir, baseFile), []byte(`{"boot_id": "`+bootID+`", "ready": {}}`), 0o600)
}

func (qt *queueTest) run(t *testing.T) {
	t.Helper()
	if err := qt.q.run(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// jobs gives n jobs of a case on a kernel, as many repeats of it.
func jobs(ref, scenario, id string, n int) (out []Queued) {
	for i := range n {
		out = append(out, Queued{Job: Job{
			Kernel: Kernel{Ref: ref, Digest: "digest of " + ref}, Scenario: scenario, Case: id, Seed: strconv.AppendInt(nil, int64(i), 10),
		}})
	}
	return out
}

// cold has jobs begin from power-on.
func cold(jobs []Queued) []Queued {
	for i := range jobs {
		jobs[i].Cold = true
	}
	return jobs
}

func TestLongestComesFirst(t *testing.T) {
	qt := newQueue(t, Schedule{Workers: 1, Bases: &BaseCache{Dir: t.TempDir()}}, slices.Concat(
		jobs("few", "warm", "x", 1), jobs("many", "warm", "x", 3), cold(jobs("many", "cold", "x", 2)))...)

	qt.run(t)

	want := []string{
		"many warm x 0", // boots, and has the most to do
		"many cold x 0", // each of them boots
		"few warm x 0",
		"many cold x 1",
		"many warm x 1", // needs no boot any more
		"many warm x 2",
	}
	if diff := cmp.Diff(want, qt.began); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"many", "few"}, qt.boots); diff != "" {
		t.Errorf("bases (-want +got):\n%s", diff)
	}
}

func TestWorkersGoOnWhileABaseIsMade(t *testing.T) {
	// Given a kernel that takes long to boot, with the most to do,
	qt := newQueue(t, Schedule{Workers: 2, Bases: &BaseCache{Dir: t.TempDir()}},
		slices.Concat(jobs("slow", "s", "x", 4), jobs("quick", "s", "x", 3))...)
	others := make(chan struct{})
	boot := qt.q.boot
	qt.q.boot = func(ctx context.Context, l Local, dir string) error {
		if l.Kernel.Ref == "slow" {
			<-others
		}
		return boot(ctx, l, dir)
	}
	record, n := qt.Done, 0
	qt.Done = func(i int, r Outcome) error {
		// when the other kernel's tasks are all done,
		if qt.q.jobs[i].Kernel.Ref == "quick" {
			if n++; n == 3 {
				close(others)
			}
		}
		return record(i, r)
	}

	qt.run(t)

	// then nobody has waited for it, and nobody else has made it.
	slices.Sort(qt.boots)
	if diff := cmp.Diff([]string{"quick", "slow"}, qt.boots); diff != "" {
		t.Errorf("bases (-want +got):\n%s", diff)
	}
	if len(qt.got) != 7 {
		t.Errorf("%d tasks done, want 7", len(qt.got))
	}
}

func TestRepeatsAreSpreadOverBoots(t *testing.T) {
	all := slices.Concat(jobs("k", "s", "x", 6), jobs("k", "s", "y", 6))
	for i := range all {
		all[i].Boot = i % 2
	}
	qt := newQueue(t, Schedule{Workers: 3, Bases: &BaseCache{Dir: t.TempDir()}}, all...)

	qt.run(t)

	ids := map[int]map[string]bool{0: {}, 1: {}}
	for i, j := range all {
		ids[j.Boot][qt.got[i].BootID] = true
	}
	if len(ids[0]) != 1 || len(ids[1]) != 1 || cmp.Equal(ids[0], ids[1]) {
		t.Errorf("boots of even repeats %v, of odd ones %v; want one each, and not the same", ids[0], ids[1])
	}
}

func TestWithoutAShelfEveryTrialIsCold(t *testing.T) {
	qt := newQueue(t, Schedule{Workers: 2}, jobs("k", "s", "x", 3)...)
	qt.run(t)
	for i, r := range qt.got {
		if r.Warm {
			t.Errorf("task %d is warm", i)
		}
	}
	if len(qt.boots) > 0 {
		t.Errorf("bases %v, want none", qt.boots)
	}
}

func TestBootThatFailsIsTheTrialAndTheNextOneTriesAgain(t *testing.T) {
	qt := newQueue(t, Schedule{Workers: 2, Bases: &BaseCache{Dir: t.TempDir()}}, jobs("k", "s", "x", 4)...)
	boot, tries := qt.q.boot, 0
	qt.q.boot = func(ctx context.Context, l Local, dir string) error {
		if tries++; tries <= MaxAttempts { // one at a time: others would be a race
			return &NotReadyError{failed(l, fmt.Errorf("boot %d broke", tries))}
		}
		return boot(ctx, l, dir)
	}

	qt.run(t)

	r := qt.got[0]
	var reasons []string
	for _, a := range r.Attempts {
		reasons = append(reasons, a.Reason)
	}
	if diff := cmp.Diff([]string{"boot 1 broke", "boot 2 broke", "boot 3 broke"}, reasons); diff != "" || r.Verdict != scenarios.Error {
		t.Errorf("verdict %s; attempts (-want +got):\n%s", r.Verdict, diff)
	}
	for i := 1; i < 4; i++ {
		if r := qt.got[i]; r.Verdict != scenarios.Pass || !r.Warm {
			t.Errorf("task %d: %s, warm %t; want a warm pass", i, r.Verdict, r.Warm)
		}
	}
}

func TestMachineThatCannotBeSavedMakesTrialsCold(t *testing.T) {
	qt := newQueue(t, Schedule{Workers: 2, Bases: &BaseCache{Dir: t.TempDir()}}, jobs("k", "s", "x", 4)...)
	boots := 0
	qt.q.boot = func(_ context.Context, l Local, _ string) error {
		boots++
		return errors.New("save the machine: no space left on device")
	}

	qt.run(t)

	for i := range 4 {
		if r := qt.got[i]; r.Verdict != scenarios.Pass || r.Warm || len(r.Attempts) != 1 {
			t.Errorf("task %d: %s, warm %t, %d attempts; want a cold pass at once", i, r.Verdict, r.Warm, len(r.Attempts))
		}
	}
	if boots != 1 {
		t.Errorf("%d machines were to be saved, want 1", boots)
	}
	if !strings.Contains(qt.log.String(), "no space left on device") {
		t.Errorf("the log does not say why: %s", &qt.log)
	}
}

func TestBaseThatIsOfNoUseIsMadeAgainOnce(t *testing.T) {
	// Given two workers that find out at the same time,
	cache := &BaseCache{Dir: t.TempDir()}
	qt := newQueue(t, Schedule{Workers: 2, Bases: cache}, jobs("k", "s", "x", 4)...)
	var both sync.WaitGroup
	both.Add(2)
	warm := qt.q.warm
	qt.q.warm = func(ctx context.Context, l Local, b *Base) (Outcome, error) {
		if b.BootID == "k/boot 1" {
			both.Done()
			both.Wait()
			return passed(), fmt.Errorf("%w: it is garbled", qemu.ErrRestore)
		}
		return warm(ctx, l, b)
	}

	qt.run(t)

	// then it is made again once, every task has its trial, the reason is
	// logged, and nobody keeps a base to himself.
	if len(qt.boots) != 2 {
		t.Errorf("%d bases were made, want 2", len(qt.boots))
	}
	for i := range 4 {
		if r := qt.got[i]; r.Verdict != scenarios.Pass || r.BootID != "k/boot 2" || len(r.Attempts) != 1 {
			t.Errorf("task %d: %s on %q, %d attempts; want a pass on the second boot", i, r.Verdict, r.BootID, len(r.Attempts))
		}
	}
	if got := strings.Count(qt.log.String(), "it is garbled"); got != 1 {
		t.Errorf("the reason is logged %d times, want once: %s", got, &qt.log)
	}
	wantFree(t, cache)
}

// wantFree checks that nobody uses a base: then there can be made room.
func wantFree(t *testing.T, c *BaseCache) {
	t.Helper()
	if err := cachedir.New(c.Dir, cachedir.Options{Limit: 1}).Trim(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := bases(t, c.Dir); len(left) > 0 {
		t.Errorf("somebody still uses %v", left)
	}
}

func TestBaseIsGivenUpWhenItsTasksAreDone(t *testing.T) {
	// Given room for one base,
	cache := &BaseCache{Dir: t.TempDir(), Limit: 1}
	var all []Queued
	for _, ref := range []string{"a", "b", "c", "d"} {
		all = append(all, jobs(ref, "s", "x", 1)...)
	}
	qt := newQueue(t, Schedule{Workers: 1, Bases: cache}, all...)

	// when one kernel comes after the other,
	qt.run(t)

	// then each base has made room for the next.
	if left := bases(t, cache.Dir); len(left) != 1 {
		t.Errorf("bases %v, want only the last one", left)
	}
	wantFree(t, cache)
}

func TestBaseThatIsNeverOfUseIsAnErrorWithItsReason(t *testing.T) {
	qt := newQueue(t, Schedule{Workers: 1, Bases: &BaseCache{Dir: t.TempDir()}}, jobs("k", "s", "x", 1)...)
	qt.q.warm = func(ctx context.Context, l Local, b *Base) (Outcome, error) {
		// As the real one does it, from a folder that is no machine's.
		return runWarm(ctx, l, b)
	}
	qt.run(t)
	r := qt.got[0]
	if r.Verdict != scenarios.Error || len(r.Attempts) != MaxAttempts {
		t.Fatalf("%s after %d attempts, want error after %d", r.Verdict, len(r.Attempts), MaxAttempts)
	}
	for n, a := range r.Attempts {
		if !strings.Contains(a.Reason, "console log of a saved machine") {
			t.Errorf("attempt %d: reason %q, want what is missing", n+1, a.Reason)
		}
	}
}

func TestUntilEndsTheRepeatsOfItsCaseOnly(t *testing.T) {
	all := slices.Concat(jobs("k", "s", "bad", 5), jobs("k", "s", "good", 5), jobs("other", "s", "bad", 5))
	qt := newQueue(t, Schedule{Workers: 1, Bases: &BaseCache{Dir: t.TempDir()}}, all...)
	qt.Until = func(r Outcome) bool { return r.Verdict.Failure() }
	qt.q.warm = func(_ context.Context, l Local, _ *Base) (Outcome, error) {
		r := passed()
		if l.Case == "bad" && l.Kernel.Ref == "k" {
			r.Verdict = scenarios.Hang
		}
		return r, nil
	}

	qt.run(t)

	count := map[string]int{}
	for i := range qt.got {
		count[all[i].Kernel.Ref+" "+all[i].Case]++
	}
	if diff := cmp.Diff(map[string]int{"k bad": 1, "k good": 5, "other bad": 5}, count); diff != "" {
		t.Errorf("trials (-want +got):\n%s", diff)
	}
}

func TestEndOfContextRecordsWhatIsDone(t *testing.T) {
	reason := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cache := &BaseCache{Dir: t.TempDir()}
	qt := newQueue(t, Schedule{Workers: 2, Bases: cache}, jobs("k", "s", "x", 20)...)
	warm := qt.q.warm
	qt.q.warm = func(ctx context.Context, l Local, b *Base) (Outcome, error) {
		qt.mu.Lock()
		n := len(qt.began)
		qt.mu.Unlock()
		if n < 5 {
			return warm(ctx, l, b)
		}
		cancel(reason)
		<-ctx.Done()
		return failed(l, context.Cause(ctx)), nil
	}

	err := qt.q.run(ctx)

	if !errors.Is(err, reason) {
		t.Errorf("error %v, want %v", err, reason)
	}
	if len(qt.began) > 7 {
		t.Errorf("%d tasks were begun after the end", len(qt.began))
	}
	for i, r := range qt.got {
		if r.Verdict != scenarios.Pass {
			t.Errorf("task %d, which was interrupted, is recorded as %s", i, r.Verdict)
		}
	}
	wantFree(t, cache)
}

func TestErrorOfDoneEndsTheQueue(t *testing.T) {
	full := errors.New("the disk is full")
	qt := newQueue(t, Schedule{Workers: 3}, jobs("k", "s", "x", 50)...)
	n := 0
	qt.Done = func(int, Outcome) error {
		if n++; n == 4 {
			return full
		}
		return nil
	}
	if err := qt.q.run(t.Context()); !errors.Is(err, full) {
		t.Errorf("error %v, want %v", err, full)
	}
	if n != 4 {
		t.Errorf("%d results were handed over, want none after the error at 4", n)
	}
}

func TestBrokenTaskDoesNotStopTheOthers(t *testing.T) {
	all := slices.Concat(jobs("k", "broken", "x", 2), jobs("k", "s", "x", 3))
	all[0].Err = errors.New("no tools for it")
	all[1].Err = fmt.Errorf("%w: it is built without CONFIG_X", kernels.ErrWithout)
	s := Schedule{Workers: 2, Bases: &BaseCache{Dir: t.TempDir()}}
	qt := newQueue(t, s, all...)
	qt.run(t)
	for i, task := range all {
		r := qt.got[i]
		phase := scenarios.PhaseInfra
		if i == 1 { // it is the kernel's
			phase = scenarios.PhaseStack
		}
		if task.Err != nil && (r.Verdict != scenarios.Error || !strings.Contains(r.Reason, task.Err.Error()) || r.Report.Phase != phase) {
			t.Errorf("%s: %s in phase %s (%s), want an error in phase %s that says why", name(task), r.Verdict, r.Report.Phase, r.Reason, phase)
		}
		if task.Err == nil && r.Verdict != scenarios.Pass {
			t.Errorf("%s: %s (%s), want pass", name(task), r.Verdict, r.Reason)
		}
	}
}

// Given an error that must come again, when the trial is made, then once; but
// not where the host may be to blame for it.
func TestACertainErrorIsNotTriedAgain(t *testing.T) {
	for _, tt := range []struct {
		report verdict.Report
		want   int
	}{
		{verdict.Report{Setup: "in the guest: check preconditions", Certain: true}, 1},
		{verdict.Report{Setup: "in the guest: find the disks"}, MaxAttempts},
		{verdict.Report{Setup: "in the guest: check preconditions", Certain: true, Host: "the host's disk is full"}, MaxAttempts},
	} {
		n := 0
		runAttempts(t.Context(), Local{Dir: t.TempDir()}, func(_ context.Context, l Local) Outcome {
			n++
			if err := os.WriteFile(filepath.Join(l.Dir, ConsoleFile), nil, 0o600); err != nil {
				t.Error(err)
			}
			return Outcome{Report: tt.report, Judgement: verdict.Judge(nil, tt.report, nil)}
		})
		if n != tt.want {
			t.Errorf("%+v: tried %d times, want %d", tt.report, n, tt.want)
		}
	}
}

func TestOnlyAnErrorIsTriedAgain(t *testing.T) {
	for _, tt := range []struct {
		name string
		each []scenarios.Verdict
		want int
	}{
		{"pass", []scenarios.Verdict{scenarios.Pass}, 1},
		{"hang", []scenarios.Verdict{scenarios.Hang}, 1},
		{"error that goes away", []scenarios.Verdict{scenarios.Error, scenarios.Hang}, 2},
		{"error that stays", []scenarios.Verdict{scenarios.Error, scenarios.Error, scenarios.Error, scenarios.Pass}, MaxAttempts},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			n := 0
			r := runAttempts(t.Context(), Local{Dir: dir}, func(_ context.Context, l Local) Outcome {
				n++
				if l.attempt != n {
					t.Errorf("attempt %d, want %d", l.attempt, n)
				}
				if err := os.WriteFile(filepath.Join(l.Dir, ConsoleFile), fmt.Append(nil, "attempt ", n), 0o600); err != nil {
					t.Error(err)
				}
				return Outcome{Judgement: verdict.Judgement{Verdict: tt.each[n-1]}}
			})
			// Each attempt's console is kept, and nothing else.
			want := map[string]string{ConsoleFile: fmt.Sprint("attempt ", tt.want)}
			for m := 1; m < tt.want; m++ {
				want[AttemptConsole(m)] = fmt.Sprint("attempt ", m)
			}
			if diff := cmp.Diff(want, contents(t, dir)); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
			var got []scenarios.Verdict
			for _, a := range r.Attempts {
				got = append(got, a.Verdict)
			}
			if diff := cmp.Diff(tt.each[:tt.want], got); diff != "" || r.Verdict != tt.each[tt.want-1] {
				t.Errorf("verdict %s; attempts (-want +got):\n%s", r.Verdict, diff)
			}
		})
	}
}

// contents are the files of a folder.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out[e.Name()] = string(text)
	}
	return out
}
