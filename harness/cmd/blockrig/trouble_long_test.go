//go:build vm && long

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blockrig/blockrig/scenarios"
	"github.com/blockrig/blockrig/scenarios/language"
)

// troubleTrials is at least how many trials each kind of trouble gets,
// troubleStories the stories that they tell, and troubleSeed draws the moments
// of trouble and the order of stories.
var (
	troubleTrials  = flag.Int("trouble.trials", 6, "at least so many trials for each kind of trouble of the host")
	troubleStories = flag.String("trouble.stories", theStory, "the stories that are told beside it, as a `pattern` of names; * is any")
	troubleSeed    = flag.Uint64("trouble.seed", 0, "draws the moments of trouble; 0: any")
)

// A trouble is something that a host does to a blockrig that runs on it.
type trouble struct {
	name string
	// make goes on until ctx ends; its moments are drawn from r.
	make func(ctx context.Context, v victim, r *rand.Rand) error
}

// A victim is a blockrig that runs.
type victim struct {
	pid     int
	results string        // its folder of results
	unheard chan struct{} // while something is in it nobody reads what the blockrig says
}

func (v victim) itself() []int { return []int{v.pid} }

// machines are its QEMUs.
func (v victim) machines() []int {
	return slices.DeleteFunc(childrenOf(v.pid), func(pid int) bool {
		name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		return err != nil || !strings.HasPrefix(string(name), "qemu-")
	})
}

func (v victim) all() []int { return append(v.machines(), v.pid) }

var troubles = []trouble{
	{"QEMU is stopped for 0.1 to 3 s, again and again", stopping(victim.machines, 100*time.Millisecond, 3*time.Second)},
	{"QEMU is stopped for 5 to 60 s, now and then", stopping(victim.machines, 5*time.Second, time.Minute)},
	{"blockrig is stopped for 0.1 to 60 s", stopping(victim.itself, 100*time.Millisecond, time.Minute)},
	{"a thread of QEMU is stopped for 0.1 to 60 s", tracing(victim.machines, 100*time.Millisecond, time.Minute)},
	{"a thread of blockrig is stopped for 0.1 to 60 s", tracing(victim.itself, 100*time.Millisecond, time.Minute)},
	{"all is frozen for 0.1 to 20 s", freezing(100*time.Millisecond, 20*time.Second)},
	{"a CPU quota of 8 to 20 percent", quota},
	{"a disk of 100 requests a second", restricted("blkio", func(*rand.Rand) [][2]string {
		dev := cacheDisk()
		return [][2]string{
			{"blkio.throttle.read_iops_device", dev + " 100"},
			{"blkio.throttle.write_iops_device", dev + " 100"},
			{"io.max", dev + " riops=100 wiops=100"},
		}
	})},
	{"a disk of 5 MB a second, and no page cache", slowDisk},
	{"four busy loops for each CPU", busyLoops},
	{"little memory", restricted("memory", func(*rand.Rand) [][2]string {
		return [][2]string{{"memory.limit_in_bytes", "500M"}, {"memory.high", "500M"}}
	})},
	{"a disk that is full now and then", fullDisk},
	{"a clock that steps", steppingClock},
	{"what it says is not read for 0.1 to 60 s", func(ctx context.Context, v victim, r *rand.Rand) error {
		for rest(ctx, between(r, 50*time.Millisecond, 5*time.Second)) {
			v.unheard <- struct{}{}
			rest(ctx, between(r, 100*time.Millisecond, time.Minute))
			<-v.unheard
		}
		return nil
	}},
}

// Given a host that does something bad at random moments, when stories are
// told on it, whose every answer is known, then no verdict is another one, and
// few have none.
// Most kinds of trouble are time that passes: -parallel makes so many at once,
// each of which is some trouble for the others, too.
func TestTroubleOfTheHostChangesNoVerdict(t *testing.T) {
	exe := filepath.Join(command, "blockrig")
	seed := *troubleSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-trouble.seed %d", seed)
	stories, err := storyScenarios(nil, true)
	if err != nil {
		t.Fatal(err)
	}
	stories = slices.DeleteFunc(stories, func(sc *scenarios.Scenario) bool {
		ok, err := filepath.Match(*troubleStories, sc.Name)
		return err != nil || !ok
	})
	if len(stories) == 0 {
		t.Fatalf("no story is named %s", *troubleStories)
	}
	var all, none atomic.Int64
	t.Run("trouble", func(t *testing.T) {
		for i, tr := range troubles {
			t.Run(tr.name, func(t *testing.T) {
				t.Parallel()
				r := rand.New(rand.NewPCG(seed, uint64(i)))
				var got tally
				for got.trials < *troubleTrials {
					for _, at := range r.Perm(len(stories)) {
						if got.trials < *troubleTrials {
							got.add(troubled(t, exe, tr, stories[at], *troubleTrials-got.trials, r))
						}
					}
				}
				if !got.troubled {
					t.Error("there was no moment for this trouble")
				}
				all.Add(int64(got.trials))
				none.Add(int64(got.none))
				t.Logf("%d trials, %d without a verdict, %d wrong", got.trials, got.none, got.wrong)
			})
		}
	})
	t.Logf("in all: %d trials, %d without a verdict", all.Load(), none.Load())
	if none.Load()*20 > all.Load() {
		t.Errorf("%d of %d trials have no verdict; at most 5 percent may", none.Load(), all.Load())
	}
}

// troubled tells a story beside a trouble: the only one as often as makes so
// many trials, one of several once. A run that stops is resumed.
func troubled(t *testing.T, exe string, tr trouble, sc *scenarios.Scenario, trials int, r *rand.Rand) (got tally) {
	t.Helper()
	folder := resultsOf(t, tr)
	cases, err := language.Cases(sc, nil)
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"run", sc.Name, "--format", "json", "--results", folder}
	for _, k := range sc.Story.Kernels {
		args = append(args, "-k", k.Ref)
	}
	n := len(sc.Story.Kernels) * len(cases)
	if sc.Name == *troubleStories {
		repeat := (trials + n - 1) / n
		args = append(args, "--repeat", strconv.Itoa(repeat))
		n *= repeat
	}
	got.trials = n
	verdicts := map[int]answer{} // by their place in the run
	for idle := 0; idle < 5; {   // a host that is in trouble all the time does no more
		before := len(verdicts)
		said, err := beside(t, exec.CommandContext(t.Context(), exe, args...), folder, tr, r, verdicts)
		switch {
		case err == nil:
			got.troubled = true
		case !errors.Is(err, errNoMoment):
			t.Errorf("this trouble was not made: %v", err)
		}
		if len(verdicts) == n {
			break
		}
		if idle++; len(verdicts) > before {
			idle = 0
		}
		runs, err := filepath.Glob(filepath.Join(folder, "2*"))
		if err != nil || len(runs) != 1 {
			t.Errorf("%s: %d of %d trials, and %d runs to resume, %v:\n%s", sc.Name, len(verdicts), n, len(runs), err, said)
			break
		}
		t.Logf("%s: %d of %d trials; resuming after: %s", sc.Name, len(verdicts), n, lastLine(said))
		args = []string{"run", "--resume", filepath.Base(runs[0]), "--format", "json", "--results", folder}
	}
	for _, a := range verdicts {
		want := expected(t, sc, cases, a)
		switch {
		case a.Verdict == scenarios.Error:
			got.none++
			t.Logf("%s on %s, %q: no verdict: %s", sc.Name, a.Kernel.Ref, a.Case, a.Reason)
		case !want.Met(a.Verdict, a.Also):
			got.wrong++
			t.Errorf("%s on %s, %q: %s, also %v, instead of %s, also one of %v: %s", sc.Name, a.Kernel.Ref, a.Case, a.Verdict, a.Also, want.Verdict, want.Also, a.Reason)
		}
	}
	got.none += n - len(verdicts) // a trial that was never finished has no verdict either
	return got
}

// A tally counts trials.
type tally struct {
	trials, none, wrong int
	troubled            bool // the trouble was made while they ran
}

func (t *tally) add(o tally) {
	t.trials, t.none, t.wrong = t.trials+o.trials, t.none+o.none, t.wrong+o.wrong
	t.troubled = t.troubled || o.troubled
}

// expected is what the story says of the kernel and the case of an answer.
func expected(t *testing.T, sc *scenarios.Scenario, cases []scenarios.Case, a answer) scenarios.StoryExpect {
	t.Helper()
	k := slices.IndexFunc(sc.Story.Kernels, func(k scenarios.StoryKernel) bool { return k.Ref == a.Kernel.Ref })
	c := slices.IndexFunc(cases, func(c scenarios.Case) bool { return c.ID == a.Case })
	if k < 0 || c < 0 {
		t.Fatalf("%s has no %s, %q", sc.Name, a.Kernel.Ref, a.Case)
	}
	want, ok := sc.Story.Kernels[k].Expects(cases[c])
	if !ok {
		t.Fatalf("%s does not say what %s, %q shows", sc.Name, a.Kernel.Ref, a.Case)
	}
	return want
}

// An answer is what a run says of a trial.
type answer struct {
	Task         *int
	Kernel       struct{ Ref string }
	Case, Reason string
	Verdict      scenarios.Verdict
	Also         []scenarios.Verdict
}

// beside runs a command beside a trouble, adds its answers to verdicts, and
// gives what it said on stderr. An error means that the trouble was not made.
func beside(t *testing.T, cmd *exec.Cmd, folder string, tr trouble, r *rand.Rand, verdicts map[int]answer) (string, error) {
	t.Helper()
	v := victim{results: folder, unheard: make(chan struct{}, 1)}
	out, err := heard(cmd.StdoutPipe, v.unheard)
	if err != nil {
		t.Fatal(err)
	}
	report, err := heard(cmd.StderrPipe, v.unheard)
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	v.pid = cmd.Process.Pid
	ctx, end := context.WithCancel(t.Context())
	defer end()
	made := make(chan error, 1)
	go func() { made <- tr.make(ctx, v, r) }()
	var said strings.Builder
	var reading sync.WaitGroup
	reading.Go(func() { _, _ = io.Copy(&said, report) })
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var a answer
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
			t.Fatalf("%v: %s", err, lines.Text())
		}
		if a.Task == nil {
			t.Fatalf("an answer to an unknown question: %s", lines.Text())
		}
		verdicts[*a.Task] = a
	}
	reading.Wait()
	_ = cmd.Wait() // its status is that of the verdicts
	end()
	return said.String(), <-made
}

// heard reads from a pipe that holds as little as one can, but not while
// something is in unheard.
func heard(pipe func() (io.ReadCloser, error), unheard chan struct{}) (io.Reader, error) {
	r, err := pipe()
	if err != nil {
		return nil, err
	}
	f, ok := r.(*os.File)
	if !ok {
		return nil, fmt.Errorf("the pipe is a %T", r)
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETPIPE_SZ, os.Getpagesize()); err != nil {
		return nil, err
	}
	return readerFunc(func(p []byte) (int, error) {
		unheard <- struct{}{}
		<-unheard
		return f.Read(p)
	}), nil
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return lines[len(lines)-1]
}

func childrenOf(pid int) []int {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	var out []int
	for _, f := range files {
		text, _ := os.ReadFile(f)
		for _, w := range strings.Fields(string(text)) {
			if n, err := strconv.Atoi(w); err == nil {
				out = append(out, n)
			}
		}
	}
	return out
}

// between is a time drawn evenly over its logarithm: many short ones, few long.
func between(r *rand.Rand, least, most time.Duration) time.Duration {
	return time.Duration(float64(least) * math.Pow(float64(most)/float64(least), r.Float64()))
}

// rest waits, and says whether there is more to do.
func rest(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// stopping stops processes at random for a time drawn from least to most.
func stopping(of func(victim) []int, least, most time.Duration) func(context.Context, victim, *rand.Rand) error {
	return func(ctx context.Context, v victim, r *rand.Rand) error {
		for rest(ctx, between(r, 50*time.Millisecond, 5*time.Second)) {
			for _, p := range of(v) {
				if syscall.Kill(p, syscall.SIGSTOP) != nil {
					continue // it has ended
				}
				rest(ctx, between(r, least, most))
				_ = syscall.Kill(p, syscall.SIGCONT)
			}
		}
		return nil
	}
}

// errNoMoment is that of a trouble whose moment did not come before the end.
var errNoMoment = errors.New("it came too late")

// tracing stops one thread of a process after the other, as a debugger does.
func tracing(of func(victim) []int, least, most time.Duration) func(context.Context, victim, *rand.Rand) error {
	return func(ctx context.Context, v victim, r *rand.Rand) error {
		// All requests for a thread come from the one that has attached to it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		stops, last := 0, errors.New("there was none")
		for rest(ctx, between(r, 50*time.Millisecond, 5*time.Second)) {
			var threads []int
			for _, p := range of(v) {
				tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", p)) // none: it has ended
				for _, task := range tasks {
					tid, _ := strconv.Atoi(task.Name())
					threads = append(threads, tid)
				}
			}
			if len(threads) == 0 {
				continue
			}
			if err := stopThread(ctx, threads[r.IntN(len(threads))], between(r, least, most)); err != nil {
				last = err // one that has just ended can't be stopped
			} else {
				stops++
			}
		}
		if stops == 0 {
			return fmt.Errorf("%w: no thread was stopped: %w", errNoMoment, last)
		}
		return nil
	}
}

// stopThread stops one thread for some time.
func stopThread(ctx context.Context, tid int, d time.Duration) error {
	if err := unix.PtraceSeize(tid); err != nil {
		return err
	}
	// A thread that ends while it is traced ends for its parent only once it was
	// waited for here.
	ended := func(err error) error {
		for range 500 {
			var status unix.WaitStatus
			pid, err := unix.Wait4(tid, &status, unix.WALL|unix.WNOHANG, nil)
			if err != nil || pid == tid && (status.Exited() || status.Signaled()) {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		return err
	}
	if err := unix.PtraceInterrupt(tid); err != nil {
		return ended(err)
	}
	var status unix.WaitStatus
	if _, err := unix.Wait4(tid, &status, unix.WALL, nil); err != nil {
		return err
	}
	if status.Exited() || status.Signaled() {
		return nil
	}
	rest(ctx, d)
	// A signal that it got meanwhile stays for it; one at which it stopped would
	// be lost.
	signal := 0
	if status.StopSignal() != unix.SIGTRAP {
		signal = int(status.StopSignal())
	}
	if _, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_DETACH, uintptr(tid), 0, uintptr(signal), 0, 0); errno != 0 {
		return ended(errno)
	}
	return nil
}

// group is a control group of the test's own, of version 1 or 2.
func group(controller string) (string, error) {
	dirs := []string{filepath.Join("/sys/fs/cgroup", controller), "/sys/fs/cgroup"}
	var last error
	for _, d := range dirs {
		if _, err := os.Stat(filepath.Join(d, "cgroup.procs")); err != nil {
			last = err
			continue
		}
		dir := filepath.Join(d, fmt.Sprintf("blockrig-test-%d-%d", os.Getpid(), rand.Uint32()))
		return dir, os.Mkdir(dir, 0o755)
	}
	return "", fmt.Errorf("no control groups for %s: %w", controller, last)
}

// join puts a process and what it starts from now on into a group, and gives
// what takes it out again and removes the group.
func join(controller string, pid int) (dir string, leave func(), err error) {
	if dir, err = group(controller); err != nil {
		return "", func() {}, err
	}
	add := func(dir string, pid int) error {
		return os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0)
	}
	for _, p := range append(childrenOf(pid), pid) {
		if err := add(dir, p); err != nil && p == pid {
			return "", func() { _ = os.Remove(dir) }, err
		}
	}
	return dir, func() {
		for range 100 {
			procs, _ := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
			for _, p := range strings.Fields(string(procs)) {
				n, _ := strconv.Atoi(p)
				_ = add(filepath.Dir(dir), n)
			}
			if os.Remove(dir) == nil {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
	}, nil
}

// set writes those settings that the group has.
func set(dir string, settings [][2]string) error {
	done := 0
	for _, s := range settings {
		if _, err := os.Stat(filepath.Join(dir, s[0])); err != nil {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, s[0]), []byte(s[1]), 0); err != nil {
			return err
		}
		done++
	}
	if done == 0 {
		return fmt.Errorf("the control group has none of %v", settings)
	}
	return nil
}

// restricted puts blockrig into a group with limits, drawn anew now and then.
func restricted(controller string, limits func(*rand.Rand) [][2]string) func(context.Context, victim, *rand.Rand) error {
	return func(ctx context.Context, v victim, r *rand.Rand) error {
		dir, leave, err := join(controller, v.pid)
		defer leave()
		if err != nil {
			return err
		}
		for {
			if err := set(dir, limits(r)); err != nil {
				return err
			}
			if !rest(ctx, 5*time.Second) {
				return nil
			}
		}
	}
}

// quota gives blockrig and what it starts 8 to 20 percent of a CPU: by a
// control group or, where none can be had, by stopping and continuing them.
func quota(ctx context.Context, v victim, r *rand.Rand) error {
	err := restricted("cpu", func(r *rand.Rand) [][2]string {
		quota := 8000 + r.IntN(12000)
		return [][2]string{{"cpu.cfs_period_us", "100000"}, {"cpu.cfs_quota_us", strconv.Itoa(quota)}, {"cpu.max", strconv.Itoa(quota) + " 100000"}}
	})(ctx, v, r)
	if err == nil {
		return nil
	}
	fmt.Fprintf(os.Stderr, "no control group for the CPU (%v): stopping and continuing it in its place\n", err)
	const period = 100 * time.Millisecond
	for ctx.Err() == nil {
		part := .08 + .12*r.Float64()
		for range 50 {
			for _, p := range v.all() {
				_ = syscall.Kill(p, syscall.SIGSTOP) // it may have ended
			}
			more := rest(ctx, time.Duration((1-part)*float64(period)))
			for _, p := range v.all() {
				_ = syscall.Kill(p, syscall.SIGCONT)
			}
			if !more || !rest(ctx, time.Duration(part*float64(period))) {
				return nil
			}
		}
	}
	return nil
}

// freezing freezes blockrig with all its children, as a suspended container is.
func freezing(least, most time.Duration) func(context.Context, victim, *rand.Rand) error {
	return func(ctx context.Context, v victim, r *rand.Rand) error {
		dir, leave, err := join("freezer", v.pid)
		defer leave()
		if err != nil {
			return err
		}
		freeze, thaw := [][2]string{{"freezer.state", "FROZEN"}, {"cgroup.freeze", "1"}}, [][2]string{{"freezer.state", "THAWED"}, {"cgroup.freeze", "0"}}
		for rest(ctx, between(r, least, 5*time.Second)) {
			if err := set(dir, freeze); err != nil {
				return err
			}
			rest(ctx, between(r, least, most))
			if err := set(dir, thaw); err != nil {
				return err
			}
		}
		return nil
	}
}

// resultsOf is the folder for the results of a run beside a trouble: for a full
// disk it is a small one.
func resultsOf(t *testing.T, tr trouble) string {
	t.Helper()
	dir := t.TempDir()
	if !strings.Contains(tr.name, "full") {
		return dir
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=256m"); err != nil {
		t.Fatalf("mount a small disk (needs root): %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fullDisk fills the disk that results go to, and with them the disks of the
// guests, for a moment now and then.
func fullDisk(ctx context.Context, v victim, r *rand.Rand) error {
	ballast := filepath.Join(v.results, "ballast")
	defer os.Remove(ballast)
	for rest(ctx, between(r, 10*time.Second, time.Minute)) {
		f, err := os.Create(ballast)
		if err != nil {
			continue // it is full already
		}
		chunk := make([]byte, 1<<20)
		for err == nil {
			_, err = f.Write(chunk)
		}
		full := errors.Is(err, unix.ENOSPC)
		if !full {
			return errors.Join(err, f.Close())
		}
		more := rest(ctx, between(r, 100*time.Millisecond, 5*time.Second))
		if err := errors.Join(f.Close(), os.Remove(ballast)); err != nil {
			return err
		}
		if !more {
			return nil
		}
	}
	return nil
}

// slowDisk limits what is read, and drops the page cache of the saved machines.
func slowDisk(ctx context.Context, v victim, r *rand.Rand) error {
	ctx, end := context.WithCancel(ctx)
	defer end()
	var dropping sync.WaitGroup
	defer dropping.Wait()
	defer end()
	dropping.Go(func() {
		for rest(ctx, time.Second) {
			dropSavedMachines()
		}
	})
	return restricted("blkio", func(*rand.Rand) [][2]string {
		dev := cacheDisk()
		return [][2]string{{"blkio.throttle.read_bps_device", dev + " 5000000"}, {"io.max", dev + " rbps=5000000"}}
	})(ctx, v, r)
}

// dropSavedMachines makes the next reader of saved machines read the disk.
func dropSavedMachines() {
	cache, err := os.UserCacheDir()
	if err != nil {
		return
	}
	_ = filepath.WalkDir(filepath.Join(cache, "blockrig", "snapshots"), func(path string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return nil
		}
		f, err := os.Open(path)
		if err != nil {
			return nil
		}
		defer f.Close()
		_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
		return nil
	})
}

// cacheDisk is the device number of the disk that the caches are on.
func cacheDisk() string {
	var st unix.Stat_t
	cache, err := os.UserCacheDir()
	if err == nil {
		err = unix.Stat(cache, &st)
	}
	if err != nil {
		return "0:0"
	}
	dev := fmt.Sprintf("%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev))
	// A partition's limits are its disk's.
	if whole, err := os.ReadFile(filepath.Join("/sys/dev/block", dev, "../dev")); err == nil {
		return strings.TrimSpace(string(whole))
	}
	return dev
}

// busyLoops keeps the CPUs busy.
func busyLoops(ctx context.Context, _ victim, _ *rand.Rand) error {
	cpus := unix.CPUSet{}
	if err := unix.SchedGetaffinity(0, &cpus); err != nil {
		return err
	}
	var loops []*exec.Cmd
	defer func() {
		for _, l := range loops {
			_ = l.Process.Kill()
			_ = l.Wait()
		}
	}()
	for range 4 * cpus.Count() {
		// A session of its own: all of one session share one share of the CPU.
		l := exec.CommandContext(ctx, "sh", "-c", "while kill -0 $PPID; do :; done")
		l.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := l.Start(); err != nil {
			return err
		}
		loops = append(loops, l)
	}
	<-ctx.Done()
	return nil
}
