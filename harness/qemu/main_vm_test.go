//go:build vm

package qemu_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/blockrig/blockrig/harness/cachedir"
	"github.com/blockrig/blockrig/harness/qemu"
)

// Variables that make this test binary play another part.
const (
	playOrphan = "BLOCKRIG_TEST_ORPHAN" // its value is the root of working folders
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
