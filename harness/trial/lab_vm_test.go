//go:build vm

package trial

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/blockrig/blockrig/harness/qemu"
	"github.com/blockrig/blockrig/initramfs"
	"github.com/blockrig/blockrig/kernels"
	"github.com/blockrig/blockrig/scenarios"
	"github.com/blockrig/blockrig/scenarios/language"
)

// Variables that make this test binary play another part.
const (
	playUser  = "BLOCKRIG_TEST_USER"       // run trials from the base cache in this folder
	playSmall = "BLOCKRIG_TEST_SMALL_DISK" // mount a small file system here
	playExe   = "BLOCKRIG_TEST_EXE"        // the blockrig to use, built by the parent
)

// withBug is a kernel that shows every verdict by length alone.
const withBug = "debian:6.18"

// limit ends a test whose machine does not do what is waited for. No test
// depends on how long it is.
const limit = 5 * time.Minute

// shared is what all tests of the binary use: it takes seconds to make.
var shared struct {
	dir string // removed at the end

	lab  func() (*Lab, error)
	base func() (*Base, error) // of the mirror on withBug; it ends with the process

	mu      sync.Mutex
	benches map[[2]string]Bench // by reference and scenario
}

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) (code int) {
	dir, err := os.MkdirTemp("", "blockrig-trial-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() {
		if err := os.RemoveAll(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}()
	shared.dir, shared.benches = dir, map[[2]string]Bench{}
	shared.lab = sync.OnceValues(makeLab)
	shared.base = sync.OnceValues(makeSharedBase)
	if dir := os.Getenv(playUser); dir != "" {
		if err := useBaseCache(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return 0
	}
	return m.Run()
}

// makeLab has real kernels, real tools, and a real static blockrig.
func makeLab() (*Lab, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, err
	}
	cache = filepath.Join(cache, "blockrig")
	exe := os.Getenv(playExe)
	if exe == "" {
		exe = filepath.Join(shared.dir, "blockrig")
		build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", exe, "github.com/blockrig/blockrig/harness/cmd/blockrig")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build blockrig: %w\n%s", err, out)
		}
	}
	log := slog.New(slog.DiscardHandler)
	store, err := kernels.Open(cache, log)
	if err != nil {
		return nil, err
	}
	return &Lab{
		Kernels: store, Initramfs: &initramfs.Builder{Cache: filepath.Join(cache, "initramfs"), Log: log},
		Exe: exe, ToolsFrom: initramfs.FromDebian,
	}, nil
}

// realSpec is a trial of a case of a shipped scenario on a real kernel, under
// TCG, which behaves the same everywhere.
func realSpec(ctx context.Context, ref, scenario, id string) (Spec, error) {
	lab, err := shared.lab()
	if err != nil {
		return Spec{}, err
	}
	sc, err := language.Load(scenario)
	if err != nil {
		return Spec{}, err
	}
	c, err := language.OneCase(sc, id)
	if err != nil {
		return Spec{}, err
	}
	b, err := bench(ctx, lab, ref, sc)
	if err != nil {
		return Spec{}, err
	}
	spec := b.Spec(c)
	spec.Accel, spec.CPUs = qemu.TCG, 1
	spec.Image, err = lab.image(ctx, b.Kernel, spec.Accel)
	return spec, err
}

// bench prepares a kernel for a scenario, once.
func bench(ctx context.Context, lab *Lab, ref string, sc *scenarios.Scenario) (Bench, error) {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	key := [2]string{ref, sc.Name}
	if b, ok := shared.benches[key]; ok {
		return b, nil
	}
	b, err := lab.Prepare(ctx, ref, sc)
	if err == nil {
		shared.benches[key] = b
	}
	return b, err
}

// Cases of lvm-mirror-dio-read and what they show on withBug.
const (
	aligned   = "length=4096,memory_offset=0"  // pass
	oneSector = "length=512,memory_offset=32"  // eio
	twoPages  = "length=8192,memory_offset=32" // hang
	oneBlock  = "length=4096,memory_offset=32" // hang, mostly with an oops
)

const mirror = "lvm-mirror-dio-read"

// mirrorSpec is a trial of a case of the mirror scenario on withBug, with a
// folder of its own.
func mirrorSpec(t testing.TB, id string) Spec {
	t.Helper()
	spec, err := realSpec(t.Context(), withBug, mirror, id)
	if err != nil {
		t.Fatal(err)
	}
	spec.Dir = t.TempDir()
	return spec
}

func makeSharedBase() (*Base, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	b, _, err := getFrom(ctx, filepath.Join(shared.dir, "bases"))
	return b, err
}

// getFrom gets the base for the mirror on withBug from a cache, and says
// whether it had to be made.
func getFrom(ctx context.Context, cache string) (_ *Base, made bool, err error) {
	spec, err := realSpec(ctx, withBug, mirror, aligned)
	if err != nil {
		return nil, false, err
	}
	spec.Dir, err = os.MkdirTemp(shared.dir, "boot-")
	if err != nil {
		return nil, false, err
	}
	b, err := (&BaseCache{Dir: cache}).get(ctx, spec, 0, func(ctx context.Context, dir string) error {
		made = true
		return MakeBase(ctx, spec, dir)
	})
	return b, made, err
}

// useBaseCache gets a base from a cache as another process does, runs a trial
// from it, and prints whether it made the base, the boot, and the verdict.
func useBaseCache(cache string) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	b, made, err := getFrom(ctx, cache)
	if err != nil {
		return err
	}
	spec, err := realSpec(ctx, withBug, mirror, aligned)
	if err != nil {
		return err
	}
	spec.Dir = shared.dir
	r, err := RunWarm(ctx, spec, b)
	fmt.Println(made, r.BootID, r.Verdict)
	return errors.Join(err, b.Close())
}

// sharedBase is a machine with the mirror on withBug, for any number of tests.
func sharedBase(t testing.TB) *Base {
	t.Helper()
	b, err := shared.base()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// sharedCache is the folder of the cache that has the shared base.
func sharedCache(t testing.TB) string { return filepath.Dir(sharedBase(t).Path()) }

// warmTrial runs a case of the mirror scenario from the shared base.
func warmTrial(t testing.TB, id string) Result {
	t.Helper()
	b := sharedBase(t)
	r, err := RunWarm(testContext(t), mirrorSpec(t, id), b)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return ctx
}

// show says in a test's failure what the trial was like.
func show(r Result) string {
	text, err := os.ReadFile(r.Console)
	if err != nil {
		text = []byte(err.Error())
	}
	if n := len(text); n > 6000 {
		text = text[n-6000:]
	}
	return fmt.Sprintf("verdict %s, also %v, phase %s: %s\nreport %+v\n…%s", r.Verdict, r.Also, r.Phase, r.Reason, r.Report, text)
}

// machines are the process IDs of the machines of this process.
func machines(t testing.TB) (pids []int) {
	t.Helper()
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, th := range threads {
		text, err := os.ReadFile("/proc/self/task/" + th.Name() + "/children")
		if err != nil {
			continue // that thread has ended
		}
		for _, f := range strings.Fields(string(text)) {
			pid, err := strconv.Atoi(f)
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	return pids
}

// wantNothingLeft checks that no machine is left, and in the folders nothing
// but records.
func wantNothingLeft(t testing.TB, dirs ...string) {
	t.Helper()
	if left := machines(t); len(left) > 0 {
		t.Errorf("processes left behind: %v", left)
	}
	records := []string{"console.log", "events.jsonl"}
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && !slices.Contains(records, d.Name()) {
				t.Errorf("left behind: %s", path)
			}
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	}
}

// schedule is a Schedule of one case of the mirror scenario, as often as
// there are ids, with everything in folders of the test.
type vmSchedule struct {
	Schedule
	log   *lockedLog
	dir   string // of trials
	tasks []Task
	got   map[int]Result
}

func newSchedule(t testing.TB, cache string, ids ...string) *vmSchedule {
	t.Helper()
	lab, err := shared.lab()
	if err != nil {
		t.Fatal(err)
	}
	sc, err := language.Load(mirror)
	if err != nil {
		t.Fatal(err)
	}
	v := &vmSchedule{log: &lockedLog{}, dir: t.TempDir(), got: map[int]Result{}}
	for n, id := range ids {
		c, err := language.OneCase(sc, id)
		if err != nil {
			t.Fatal(err)
		}
		v.tasks = append(v.tasks, Task{Ref: withBug, Case: c, Repeat: n})
	}
	v.Lab, v.CPUs, v.Jobs = lab, 1, 1
	v.Log = slog.New(slog.NewTextHandler(io.MultiWriter(v.log, t.Output()), &slog.HandlerOptions{Level: slog.LevelInfo}))
	v.Accelerate = func(context.Context, kernels.Kernel) (qemu.Accel, error) { return qemu.TCG, nil }
	v.Bases = &BaseCache{Dir: cache, Log: v.Log}
	v.Begin = func(int, Spec) (string, error) { return os.MkdirTemp(v.dir, "") }
	v.Done = func(i int, r Result) error {
		v.got[i] = r
		return nil
	}
	return v
}

func (v *vmSchedule) run(t testing.TB) {
	t.Helper()
	if err := v.Run(testContext(t), v.tasks); err != nil {
		t.Fatal(err)
	}
}

// A lockedLog is a log that several goroutines write.
type lockedLog struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lockedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lockedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// again runs the test that calls it once more, in a process of its own with
// more in its environment, and fails when that one does.
func again(t *testing.T, attr *syscall.SysProcAttr, env ...string) {
	t.Helper()
	cmd := playing(t, env...)
	cmd.Args = append(cmd.Args, "-test.v", "-test.run", "^"+t.Name()+"$")
	cmd.SysProcAttr = attr
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()+" ") {
		t.Errorf("%v\n%s", err, out)
	}
}

// playing is this test binary in another part.
func playing(t testing.TB, env ...string) *exec.Cmd {
	t.Helper()
	lab, err := shared.lab()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(testContext(t), "/proc/self/exe")
	cmd.Env = slices.Concat(os.Environ(), []string{playExe + "=" + lab.Exe}, env)
	return cmd
}
