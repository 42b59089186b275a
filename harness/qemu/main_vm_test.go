//go:build vm

package qemu_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/blockrig/blockrig/harness/cachedir"
	"github.com/blockrig/blockrig/harness/child"
	"github.com/blockrig/blockrig/harness/child/childtest"
	"github.com/blockrig/blockrig/harness/qemu"
)

// Variables that make this test binary play another part.
const (
	playOrphan = "BLOCKRIG_TEST_ORPHAN"     // its value is the root of working folders
	playSmall  = "BLOCKRIG_TEST_SMALL_DISK" // its value is where a small file system is mounted
)

func TestMain(m *testing.M) {
	if root := os.Getenv(playOrphan); root != "" {
		if err := orphan(root); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// orphan is a process that starts a machine, tells its process ID, and waits
// to be killed.
func orphan(root string) error {
	dir, err := cachedir.Scratch(context.Background(), root, "machine-")
	if err != nil {
		return err
	}
	m, err := qemu.Start(context.Background(), qemu.Spec{
		Accel: qemu.TCG, CPUs: 1, MemoryMiB: 64, Dir: dir.Path(), Kernel: "testdata/guest.bin",
	})
	if err != nil {
		return err
	}
	// Threads end while the machine runs: none of them may take it along.
	for range 50 {
		done := make(chan struct{})
		go func() {
			defer close(done)
			runtime.LockOSThread() // and never unlocked: the thread ends
		}()
		<-done
	}
	r := bufio.NewReader(m.Control())
	if b, err := r.ReadByte(); err != nil || b != 'R' {
		return fmt.Errorf("guest said %q, %w", b, err)
	}
	fmt.Println(m.PID())
	select {}
}

// onSmallDisk runs the test that calls it again, in a child with a file
// system of so many bytes of its own, and says in the child where that is.
// In the parent it says "".
func onSmallDisk(t *testing.T, bytes int) string {
	t.Helper()
	if dir := os.Getenv(playSmall); dir != "" {
		if err := child.HideMounts(); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mount("small", dir, "tmpfs", 0, "size="+strconv.Itoa(bytes)); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	attr := childtest.Mounts()
	if attr == nil {
		return childtest.SmallDisk(t, bytes)
	}
	cmd := exec.CommandContext(testContext(t), "/proc/self/exe", "-test.v", "-test.run", "^"+strings.ReplaceAll(t.Name(), "/", "$/^")+"$")
	cmd.Env = append(os.Environ(), playSmall+"="+t.TempDir())
	cmd.SysProcAttr = attr
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()+" ") {
		t.Errorf("%v\n%s", err, out)
	}
	return ""
}

// gone waits until a process is no more, or only its parent's to wait for.
func gone(t *testing.T, ctx context.Context, pid int) {
	t.Helper()
	for {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("process %d is still there", pid)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// children are the process IDs of this process's children.
func children(t *testing.T) (pids []int) {
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
			if pid, err := strconv.Atoi(f); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}
