//go:build vm && long

package trial

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/blockrig/blockrig/scenarios"
	"github.com/blockrig/blockrig/scenarios/language"
)

// threeKernels are one before the bug of the mirror, one with it, and one
// after the fix.
var threeKernels = []string{"debian:6.17", withBug, "debian:newest"}

// A fullAnswer is an answer and the health of the legs. Which leg it is that
// fails changes from run to run, how many do does not.
type fullAnswer struct {
	Answer answer
	Legs   []string
}

func fullAnswerOf(r ran) fullAnswer {
	a := fullAnswer{Answer: answerOf(r)}
	if r.Verdict == scenarios.Hang {
		return a // a hung kernel may not say
	}
	for _, l := range r.Report.Legs {
		a.Legs = append(a.Legs, l.Health)
	}
	slices.Sort(a.Legs)
	return a
}

func TestColdAndWarmTrialsOfAllScenariosAgree(t *testing.T) {
	all, err := language.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	cache := &BaseCache{Dir: t.TempDir()}
	trials := 0
	// The others speak of certain kernels, and what they do is done once.
	all = slices.DeleteFunc(all, func(sc *scenarios.Scenario) bool { return !strings.Contains(sc.Name, "-dio-read") })
	for _, ref := range threeKernels {
		for _, sc := range all {
			t.Run(strings.TrimPrefix(ref, "debian:")+"/"+sc.Name, func(t *testing.T) {
				if sc.Cold != "" {
					t.Logf("cold by nature: %s", sc.Cold)
					return
				}
				cases, err := language.Cases(sc, nil)
				if err != nil {
					t.Fatal(err)
				}
				for _, c := range cases {
					cold, warm := bothWays(t, cache, ref, sc.Name, c.ID)
					trials += 2
					if diff := cmp.Diff(fullAnswerOf(cold), fullAnswerOf(warm)); diff != "" {
						t.Errorf("%s (-cold +warm):\n%scold: %s\nwarm: %s", c.ID, diff, show(cold), show(warm))
					}
					t.Logf("%s: %s, also %v cold and %v warm, %s", c.ID, warm.Verdict, cold.Also, warm.Also, warm.Report.Outcome())
					if warm.Verdict == scenarios.Error {
						t.Errorf("%s: no verdict: %s", c.ID, warm.Reason)
					}
				}
			})
		}
	}
	if want := 2 * len(threeKernels) * 6 * 4; trials < want {
		t.Errorf("%d trials, want %d at least", trials, want)
	}
}

// bothWays makes a trial from power-on, and one from a saved machine.
func bothWays(t *testing.T, cache *BaseCache, ref, scenario, id string) (cold, warm ran) {
	t.Helper()
	ctx := testContext(t)
	l, err := realJob(ctx, ref, scenario, id)
	if err != nil {
		t.Fatal(err)
	}
	dir := func(name string) string {
		d := filepath.Join(t.TempDir(), name)
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
		return d
	}
	l.Dir = dir("cold")
	cold = ran{runAttempts(ctx, l, run), l.Dir}

	l.Dir = dir("boot")
	base, err := cache.get(ctx, l.baseKey(), func(ctx context.Context, dir string) error { return makeBase(ctx, l, dir) })
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := base.Close(); err != nil {
			t.Error(err)
		}
	}()
	l.Dir = dir("warm")
	warm = ran{runAttempts(ctx, l, func(ctx context.Context, l Local) Outcome {
		o, err := runWarm(ctx, l, base)
		if err != nil {
			t.Errorf("load: %v", err)
		}
		return o
	}), l.Dir}
	return cold, warm
}

func TestWarmTrialOnAPlainDiskAnswersAsAColdOne(t *testing.T) {
	// A plain disk rejects what the mirror chokes on.
	l, err := realJob(t.Context(), withBug, "plain-dio-read", oneBlock)
	if err != nil {
		t.Fatal(err)
	}
	l.Dir = t.TempDir()
	ctx := testContext(t)
	base, err := (&BaseCache{Dir: t.TempDir()}).get(ctx, l.baseKey(), func(ctx context.Context, dir string) error { return makeBase(ctx, l, dir) })
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := base.Close(); err != nil {
			t.Error(err)
		}
	}()
	want := answer{Verdict: scenarios.Pass, Phase: "done", Also: []scenarios.Verdict{}, Returned: true, Errno: "EINVAL"}

	l.Dir = t.TempDir()
	o, err := runWarm(ctx, l, base)
	if err != nil {
		t.Fatal(err)
	}
	warm := ran{o, l.Dir}
	if diff := cmp.Diff(want, answerOf(warm)); diff != "" {
		t.Errorf("warm (-want +got):\n%s%s", diff, show(warm))
	}
	l.Dir = t.TempDir()
	if cold := (ran{run(ctx, l), l.Dir}); !cmp.Equal(want, answerOf(cold)) {
		t.Errorf("cold (-want +got):\n%s%s", cmp.Diff(want, answerOf(cold)), show(cold))
	}
}

func TestTwoProcessesUseOneCacheOfBases(t *testing.T) {
	cache := t.TempDir()
	var procs [2]*exec.Cmd
	var out [2]bytes.Buffer
	for i := range procs {
		procs[i] = playing(t, playUser+"="+cache)
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
	if left := bases(t, cache); len(left) != 1 {
		t.Errorf("in the cache: %v, want one base", left)
	}
}

func TestWarmTrialsAnswerAsColdOnes(t *testing.T) {
	for _, tt := range []struct {
		name, id string
		want     answer
	}{
		{"aligned", aligned, answer{Verdict: scenarios.Pass, Phase: "done", Also: []scenarios.Verdict{}, Returned: true, Bytes: 4096}},
		{"eio", oneSector, answer{Verdict: scenarios.EIO, Phase: "step", Also: []scenarios.Verdict{scenarios.Degraded}, Returned: true, Errno: "EIO"}},
		{"hang with an oops", oneBlock, answer{Verdict: scenarios.Hang, Phase: "step"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := mirrorJob(t, tt.id)
			cold := ran{run(testContext(t), l), l.Dir}
			if diff := cmp.Diff(tt.want, answerOf(cold)); diff != "" {
				t.Errorf("cold (-want +got):\n%s%s", diff, show(cold))
			}
			warm := warmTrial(t, tt.id)
			if diff := cmp.Diff(tt.want, answerOf(warm)); diff != "" {
				t.Errorf("warm (-want +got):\n%s%s", diff, show(warm))
			}
			if cold.Warm || !warm.Warm || cold.BootID == warm.BootID || warm.BootID != sharedBase(t).BootID {
				t.Errorf("cold: warm %t, boot %s; warm: warm %t, boot %s, of a base %s", cold.Warm, cold.BootID, warm.Warm, warm.BootID, sharedBase(t).BootID)
			}
		})
	}
}
