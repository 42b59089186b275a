//go:build vm

package trial

import (
	"context"
	"encoding/json"
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
	"testing"
	"time"

	"github.com/blockrig/blockrig/harness/qemu"
	"github.com/blockrig/blockrig/initramfs"
	"github.com/blockrig/blockrig/kernels"
	"github.com/blockrig/blockrig/scenarios/language"
)

// Variables that make this test binary play another part.
const (
	playUser = "BLOCKRIG_TEST_USER" // run trials from the saved machines in this folder
	playJob  = "BLOCKRIG_TEST_JOB"  // run the job in this file
	playExe  = "BLOCKRIG_TEST_EXE"  // the blockrig to use, built by the parent
)

// withBug is a kernel that shows every verdict by length alone.
const withBug = "debian:6.18"

// limit ends a test whose machine does not do what is waited for. No test
// depends on how long it is.
const limit = 5 * time.Minute

// shared is what all tests of the binary use: it takes seconds to make.
var shared struct {
	dir string // removed at the end

	prep func() (*Preparer, error)
	base func() (*Base, error) // of the mirror on withBug; it ends with the process
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
	shared.dir = dir
	shared.prep = sync.OnceValues(makePreparer)
	shared.base = sync.OnceValues(makeSharedBase)
	for variable, play := range map[string]func(string) error{playUser: useCache, playJob: runJob} {
		if arg := os.Getenv(variable); arg != "" {
			if err := play(arg); err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
			return 0
		}
	}
	return m.Run()
}

// makePreparer has real kernels, real tools, and a real static blockrig.
func makePreparer() (*Preparer, error) {
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
	store, err := kernels.Open(context.Background(), cache, log)
	if err != nil {
		return nil, err
	}
	return &Preparer{
		Kernels: store, Initramfs: &initramfs.Builder{Cache: filepath.Join(cache, "initramfs"), Log: log},
		Exe: exe, ToolsFrom: initramfs.FromDebian, CPUs: 1,
		Accelerate: func(context.Context, kernels.Kernel) (qemu.Accel, error) { return qemu.TCG, nil },
	}, nil
}

// realJob is a trial of a case of a shipped scenario on a real kernel, under
// TCG, which behaves the same everywhere.
func realJob(ctx context.Context, ref, scenario, id string) (Local, error) {
	prep, err := shared.prep()
	if err != nil {
		return Local{}, err
	}
	sc, err := language.Load(scenario)
	if err != nil {
		return Local{}, err
	}
	c, err := language.OneCase(sc, id)
	if err != nil {
		return Local{}, err
	}
	k, err := prep.Prepare(ctx, ref, c)
	if err != nil {
		return Local{}, err
	}
	j, err := prep.Job(ctx, k, c, 0)
	if err != nil {
		return Local{}, err
	}
	files, err := prep.Find(ctx, j)
	return Local{Job: j, Files: files, attempt: 1}, err
}

// Cases of lvm-mirror-dio-read and what they show on withBug.
const (
	aligned   = "length=4096,memory_offset=0"  // pass
	oneSector = "length=512,memory_offset=32"  // eio
	twoPages  = "length=8192,memory_offset=32" // hang
	oneBlock  = "length=4096,memory_offset=32" // hang, mostly with an oops
)

const mirror = "lvm-mirror-dio-read"

// mirrorJob is a trial of a case of the mirror scenario on withBug, with a
// folder of its own.
func mirrorJob(t testing.TB, id string) Local {
	t.Helper()
	l, err := realJob(t.Context(), withBug, mirror, id)
	if err != nil {
		t.Fatal(err)
	}
	l.Dir = t.TempDir()
	return l
}

func makeSharedBase() (*Base, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	l, _, err := takeFrom(ctx, filepath.Join(shared.dir, "bases"))
	return l, err
}

// takeFrom takes the base for the mirror on withBug from a cache, and says
// whether it had to be made.
func takeFrom(ctx context.Context, cache string) (_ *Base, made bool, err error) {
	l, err := realJob(ctx, withBug, mirror, aligned)
	if err != nil {
		return nil, false, err
	}
	l.Dir, err = os.MkdirTemp(shared.dir, "boot-")
	if err != nil {
		return nil, false, err
	}
	base, err := (&BaseCache{Dir: cache}).get(ctx, l.baseKey(), func(ctx context.Context, dir string) error {
		made = true
		return makeBase(ctx, l, dir)
	})
	return base, made, err
}

// useCache takes a base from a cache as another process does, runs a trial
// from it, and prints whether it made the base, the boot, and the verdict.
func useCache(cache string) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	base, made, err := takeFrom(ctx, cache)
	if err != nil {
		return err
	}
	l, err := realJob(ctx, withBug, mirror, aligned)
	if err != nil {
		return err
	}
	l.Dir = shared.dir
	o, err := runWarm(ctx, l, base)
	fmt.Println(made, o.BootID, o.Verdict)
	return errors.Join(err, base.Close())
}

// runJob runs a job that another process has written, in the folder of its
// file, and prints the outcome.
func runJob(file string) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	prep, err := shared.prep()
	if err != nil {
		return err
	}
	var j Job
	if err := json.Unmarshal(text, &j); err != nil {
		return err
	}
	dir := filepath.Join(filepath.Dir(file), "there")
	s := &Schedule{
		Find:  prep.Find,
		Begin: func(int, Job) (string, error) { return dir, os.Mkdir(dir, 0o700) },
		Done:  func(_ int, o Outcome) error { return json.NewEncoder(os.Stdout).Encode(o) },
	}
	return s.Run(ctx, []Queued{{Job: j}})
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

// sharedCache is where the shared base is.
func sharedCache(t testing.TB) string { return filepath.Dir(sharedBase(t).Path()) }

// warmTrial runs a case of the mirror scenario from the shared base.
func warmTrial(t testing.TB, id string) ran {
	t.Helper()
	b := sharedBase(t)
	l := mirrorJob(t, id)
	o, err := runWarm(testContext(t), l, b)
	if err != nil {
		t.Fatal(err)
	}
	return ran{o, l.Dir}
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return ctx
}

// ran is an outcome and the folder of its files.
type ran struct {
	Outcome
	dir string
}

// show says in a test's failure what the trial was like.
func show(r ran) string {
	text, err := os.ReadFile(filepath.Join(r.dir, ConsoleFile))
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
	records := []string{ConsoleFile, EventsFile, ArgsFile, AttemptConsole(1), AttemptConsole(2), TracedConsole, TracedEvents}
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
	log  *lockedLog
	dir  string // of outcomes
	jobs []Queued
	got  map[int]ran
}

func newSchedule(t testing.TB, cache string, ids ...string) *vmSchedule {
	t.Helper()
	prep, err := shared.prep()
	if err != nil {
		t.Fatal(err)
	}
	sc, err := language.Load(mirror)
	if err != nil {
		t.Fatal(err)
	}
	v := &vmSchedule{log: &lockedLog{}, dir: t.TempDir(), got: map[int]ran{}}
	var tasks []Task
	for n, id := range ids {
		c, err := language.OneCase(sc, id)
		if err != nil {
			t.Fatal(err)
		}
		tasks = append(tasks, Task{Ref: withBug, Case: c, Repeat: n})
	}
	if v.jobs, err = prep.Jobs(t.Context(), tasks, nil); err != nil {
		t.Fatal(err)
	}
	v.Find, v.Workers = prep.Find, 1
	v.Log = slog.New(slog.NewTextHandler(io.MultiWriter(v.log, t.Output()), &slog.HandlerOptions{Level: slog.LevelInfo}))
	v.Bases = &BaseCache{Dir: cache, Log: v.Log}
	v.Begin = func(i int, _ Job) (string, error) {
		dir := v.folder(i)
		return dir, os.Mkdir(dir, 0o700)
	}
	v.Done = func(i int, o Outcome) error {
		v.got[i] = ran{o, v.folder(i)}
		return nil
	}
	return v
}

// folder is that of an outcome.
func (v *vmSchedule) folder(i int) string { return filepath.Join(v.dir, fmt.Sprint(i)) }

func (v *vmSchedule) run(t testing.TB) {
	t.Helper()
	if err := v.Run(testContext(t), v.jobs); err != nil {
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

// playing is this test binary in another part.
func playing(t testing.TB, env ...string) *exec.Cmd {
	t.Helper()
	prep, err := shared.prep()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(testContext(t), "/proc/self/exe")
	cmd.Env = slices.Concat(os.Environ(), []string{playExe + "=" + prep.Exe}, env)
	return cmd
}
