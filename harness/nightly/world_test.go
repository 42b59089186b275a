package nightly

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/blockrig/blockrig/harness/hunt"
	"github.com/blockrig/blockrig/harness/verdict"
	"github.com/blockrig/blockrig/kernels"
	"github.com/blockrig/blockrig/results"
	"github.com/blockrig/blockrig/scenarios"
)

// A world is an Executor whose kernels fail as a test says.
type world struct {
	t        *testing.T
	releases []kernels.Version
	down     error // of the mirror
	fails    func(release, scenario, id string, n int) scenarios.Verdict
	trialFor time.Duration
	breaks   func(trial int) error // what goes wrong at the n-th trial of all

	now     time.Time
	elapsed time.Duration

	trials   int
	made     map[string][]results.Record // by run
	requests []results.Request
	searches []Search
	answer   func(Search) (Found, error)

	hunts []Hunt
	hunt  func(Hunt) (*hunt.State, error)
}

func newWorld(t *testing.T, releases ...string) *world {
	w := &world{
		t: t, now: time.Date(2026, 11, 1, 22, 0, 0, 0, time.UTC), trialFor: time.Second,
		made:  map[string][]results.Record{},
		fails: func(string, string, string, int) scenarios.Verdict { return scenarios.Pass },
		answer: func(s Search) (Found, error) {
			return Found{Culprits: []Culprit{{First: "6.18.1", Grade: "likely"}}}, nil
		},
	}
	w.release(releases...)
	return w
}

// release adds versions to Debian's, in the suite sid.
func (w *world) release(versions ...string) {
	for _, v := range versions {
		w.releases = append(w.releases, kernels.Version{Ref: "debian:" + v + "-1", Version: v, Release: v + "-amd64", Suites: []string{"sid"}})
	}
}

func (w *world) clock() Clock {
	return Clock{Now: func() time.Time { return w.now }, Elapsed: func() time.Duration { return w.elapsed }}
}

func (w *world) Releases(context.Context) ([]kernels.Version, error) { return w.releases, w.down }

func (w *world) Choose(_ context.Context, ref string) (kernels.Version, error) {
	if w.down != nil {
		return kernels.Version{}, w.down
	}
	version, _, _ := strings.Cut(strings.TrimPrefix(ref, "debian:"), "@")
	for _, v := range slices.Backward(w.releases) {
		if version == "newest" || strings.HasPrefix(v.Version, version) {
			return v, nil
		}
	}
	return kernels.Version{}, kernels.ErrNotFound
}

func (w *world) Hunt(_ context.Context, h Hunt) (*hunt.State, error) {
	w.hunts = append(w.hunts, h)
	if err := h.Begun(fmt.Sprintf("hunt-%d", len(w.hunts))); err != nil {
		return nil, err
	}
	return w.hunt(h)
}

func (w *world) Commit(_ context.Context, repo, rev string) (string, error) { return rev, nil }

func (w *world) Tags(context.Context, string) ([]string, error) {
	return []string{"v6.17", "v6.17.1", "v6.18-rc1", "v6.18", "v6.17.2"}, nil
}

func (w *world) Bisect(ctx context.Context, s Search) (Found, error) {
	w.searches = append(w.searches, s)
	return w.answer(s)
}

// Run makes trials: what was done of a run that is resumed stays.
func (w *world) Run(ctx context.Context, r Run) (out []results.Record, err error) {
	req := r.Request
	id := r.Resume
	if id == "" {
		id = fmt.Sprintf("run-%d", len(w.made)+1)
		w.requests = append(w.requests, req)
	}
	out = w.made[id]
	defer func() { w.made[id] = out }()
	if r.Begun != nil {
		if err := r.Begun(id); err != nil {
			return nil, err
		}
	}
	tasks, err := req.Tasks()
	if err != nil {
		w.t.Fatal(err)
	}
	for n, task := range tasks[len(out):] {
		if err := ctx.Err(); err != nil {
			return out, err
		}
		w.trials++
		if w.breaks != nil {
			if err := w.breaks(w.trials); err != nil {
				return out, err
			}
		}
		w.elapsed += w.trialFor
		w.now = w.now.Add(w.trialFor)
		release := strings.TrimSuffix(strings.TrimPrefix(task.Ref, "debian:"), "-1") + "-amd64"
		v := w.fails(release, task.Case.Scenario.Name, task.Case.ID, n)
		rec := results.Record{
			Scenario: task.Case.Scenario.Name, Case: task.Case.ID, Kernel: results.Kernel{Ref: task.Ref, Release: release},
			Verdict: v, Task: len(out), TrialMS: w.trialFor.Milliseconds(), Signature: verdict.Signature{Phase: "done", Verdict: v},
			BootID: fmt.Sprintf("%s-%d", id, task.Boot), RunDir: filepath.Join("/records", id, fmt.Sprintf("%04d", n+1)),
		}
		if v.Failure() {
			rec.Signature = verdict.Signature{Phase: "step", Step: "pread", Verdict: v}
		}
		out = append(out, rec)
	}
	return out, nil
}

// worker does nights in the world; more is what the config says besides.
func (w *world) worker(more string) *Worker {
	w.t.Helper()
	c, err := Parse("test.yaml", []byte("name: test\n"+more))
	if err != nil {
		w.t.Fatal(err)
	}
	return &Worker{Config: c, Root: w.t.TempDir(), Exec: w, Clock: w.clock(), Workers: 1}
}

const newestOfPlain = `kernels:
  - kernel: debian:newest
scenarios:
  - {scenario: lvm-mirror-dio-read, cases: ["length=512,memory_offset=32"]}
`

func (w *world) night(k *Worker) *Night {
	w.t.Helper()
	n, err := k.Run(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	w.now = w.now.Add(24 * time.Hour)
	return n
}

func kindsOf(n *Night) string {
	var out []string
	for _, f := range n.Findings {
		if worthSaying(f) {
			out = append(out, string(f.Kind))
		}
	}
	return strings.Join(out, " ")
}

func textOf(t *testing.T, n *Night) string {
	t.Helper()
	var b strings.Builder
	if err := n.WriteText(&b, "test"); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

var errFull = &syscallError{}

type syscallError struct{}

func (*syscallError) Error() string { return "write trials.jsonl: no space left on device" }
func (*syscallError) Unwrap() error { return syscall.ENOSPC }

var errDown = errors.New("mirror.example: connection refused")
