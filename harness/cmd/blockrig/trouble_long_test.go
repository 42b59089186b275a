//go:build vm && long

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
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

	"golang.org/x/sys/unix"
)

// troubleTrials is how many trials each kind of trouble gets.
var troubleTrials = flag.Int("trouble.trials", 6, "trials for each kind of trouble of the host")

// What cases of lvm-mirror-dio-read show on a quiet host.
var knownAnswers = map[string]map[string]string{
	"debian:6.17": {"length=4096,memory_offset=0": "pass", "length=512,memory_offset=32": "pass", "length=4096,memory_offset=32": "pass"},
	"debian:6.18": {"length=4096,memory_offset=0": "pass", "length=512,memory_offset=32": "eio", "length=4096,memory_offset=32": "hang"},
}

// A trouble is something that a host does to a blockrig that runs on it.
type trouble struct {
	name string
	// make goes on until ctx ends; pid is blockrig's.
	make func(ctx context.Context, pid int) error
}

var troubles = []trouble{
	{name: "QEMU is stopped for 0.1 to 3 s, again and again", make: stopping(machinesOf, 100*time.Millisecond, 3*time.Second)},
	{name: "QEMU is stopped for 5 to 60 s, now and then", make: stopping(machinesOf, 5*time.Second, time.Minute)},
	{name: "blockrig is stopped for 0.1 to 20 s", make: stopping(func(pid int) []int { return []int{pid} }, 100*time.Millisecond, 20*time.Second)},
	{name: "all is frozen for 0.1 to 20 s", make: freezing(100*time.Millisecond, 20*time.Second)},
	{name: "a CPU quota of 8 to 20 percent", make: restricted("cpu", func() [][2]string {
		quota := 8000 + rand.IntN(12000)
		return [][2]string{{"cpu.cfs_period_us", "100000"}, {"cpu.cfs_quota_us", strconv.Itoa(quota)}, {"cpu.max", strconv.Itoa(quota) + " 100000"}}
	})},
	{name: "a disk of 100 requests a second", make: restricted("blkio", func() [][2]string {
		dev := cacheDisk()
		return [][2]string{
			{"blkio.throttle.read_iops_device", dev + " 100"},
			{"blkio.throttle.write_iops_device", dev + " 100"},
			{"io.max", dev + " riops=100 wiops=100"},
		}
	})},
	{name: "a disk of 5 MB a second, and no page cache", make: slowDisk},
	{name: "four busy loops for each CPU", make: busyLoops},
	{name: "little memory", make: restricted("memory", func() [][2]string {
		return [][2]string{{"memory.limit_in_bytes", "500M"}, {"memory.high", "500M"}}
	})},
}

// Given a host that does something bad at random moments, when trials of
// known answer run on it, then no verdict is another one, and few have none.
func TestTroubleOfTheHostChangesNoVerdict(t *testing.T) {
	exe := filepath.Join(command, "blockrig")
	all, none := 0, 0
	for _, tr := range troubles {
		t.Run(tr.name, func(t *testing.T) {
			wrong, errors, n := troubled(t, exe, tr)
			all, none = all+n, none+errors
			t.Logf("%d trials, %d without a verdict, %d wrong", n, errors, wrong)
		})
	}
	t.Logf("in all: %d trials, %d without a verdict", all, none)
	if none*20 > all {
		t.Errorf("%d of %d trials have no verdict; at most 5 percent may", none, all)
	}
}

// troubled runs the cases beside a trouble.
func troubled(t *testing.T, exe string, tr trouble) (wrong, errors, n int) {
	t.Helper()
	args := []string{"run", "lvm-mirror-dio-read", "--format", "json", "--results", t.TempDir()}
	cases := 0
	for ref, answers := range knownAnswers {
		args = append(args, "-k", ref)
		for id := range answers {
			if cases++; !slices.Contains(args, id) {
				args = append(args, "--case", id)
			}
		}
	}
	args = append(args, "--repeat", strconv.Itoa(max(1, *troubleTrials/cases)))
	cmd := exec.CommandContext(t.Context(), exe, args...)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	defer end()
	made := make(chan error, 1)
	go func() { made <- tr.make(ctx, cmd.Process.Pid) }()
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var r struct {
			Kernel          struct{ Ref string }
			Case            string
			Verdict, Reason string
			Attempts        []any
		}
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Fatalf("%v: %s", err, lines.Text())
		}
		n++
		switch want := knownAnswers[r.Kernel.Ref][r.Case]; {
		case r.Verdict == "error":
			errors++
			t.Logf("%s %s: no verdict: %s", r.Kernel.Ref, r.Case, r.Reason)
		case r.Verdict != want:
			wrong++
			t.Errorf("%s %s: %s instead of %s: %s", r.Kernel.Ref, r.Case, r.Verdict, want, r.Reason)
		}
	}
	_ = cmd.Wait() // its status is that of the verdicts
	end()
	if err := <-made; err != nil {
		t.Errorf("this trouble was not made: %v", err)
	}
	if n == 0 {
		t.Errorf("no trial at all:\n%s", said.String())
	}
	return wrong, errors, n
}

// machinesOf are the QEMUs of a blockrig.
func machinesOf(pid int) []int {
	var out []int
	for _, k := range childrenOf(pid) {
		if name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", k)); err == nil && strings.HasPrefix(string(name), "qemu-") {
			out = append(out, k)
		}
	}
	return out
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

// between is a time drawn evenly.
func between(least, most time.Duration) time.Duration {
	return least + time.Duration(rand.Int64N(int64(most-least)))
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
func stopping(of func(pid int) []int, least, most time.Duration) func(context.Context, int) error {
	return func(ctx context.Context, pid int) error {
		for rest(ctx, between(50*time.Millisecond, least+most/2)) {
			for _, p := range of(pid) {
				if syscall.Kill(p, syscall.SIGSTOP) != nil {
					continue // it has ended
				}
				rest(ctx, between(least, most))
				_ = syscall.Kill(p, syscall.SIGCONT)
			}
		}
		return nil
	}
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
func restricted(controller string, limits func() [][2]string) func(context.Context, int) error {
	return func(ctx context.Context, pid int) error {
		dir, leave, err := join(controller, pid)
		defer leave()
		if err != nil {
			return err
		}
		for {
			if err := set(dir, limits()); err != nil {
				return err
			}
			if !rest(ctx, 5*time.Second) {
				return nil
			}
		}
	}
}

// freezing freezes blockrig with all its children, as a suspended container is.
func freezing(least, most time.Duration) func(context.Context, int) error {
	return func(ctx context.Context, pid int) error {
		dir, leave, err := join("freezer", pid)
		defer leave()
		if err != nil {
			return err
		}
		freeze, thaw := [][2]string{{"freezer.state", "FROZEN"}, {"cgroup.freeze", "1"}}, [][2]string{{"freezer.state", "THAWED"}, {"cgroup.freeze", "0"}}
		for rest(ctx, between(least, most/2)) {
			if err := set(dir, freeze); err != nil {
				return err
			}
			rest(ctx, between(least, most))
			if err := set(dir, thaw); err != nil {
				return err
			}
		}
		return nil
	}
}

// slowDisk limits what is read, and drops the page cache of the saved machines.
func slowDisk(ctx context.Context, pid int) error {
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
	return restricted("blkio", func() [][2]string {
		dev := cacheDisk()
		return [][2]string{{"blkio.throttle.read_bps_device", dev + " 5000000"}, {"io.max", dev + " rbps=5000000"}}
	})(ctx, pid)
}

// dropSavedMachines makes the next reader of saved machines read the disk.
func dropSavedMachines() {
	cache, err := os.UserCacheDir()
	if err != nil {
		return
	}
	_ = filepath.WalkDir(filepath.Join(cache, "blockrig"), func(path string, e os.DirEntry, err error) error {
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
func busyLoops(ctx context.Context, _ int) error {
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
