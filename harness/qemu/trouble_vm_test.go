//go:build vm

package qemu_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blockrig/blockrig/harness/cachedir"
	"github.com/blockrig/blockrig/harness/child/childtest"
	"github.com/blockrig/blockrig/harness/qemu"
)

func TestFullHostDiskIsHostTrouble(t *testing.T) {
	dir := childtest.OnSmallDisk(t, 4<<20)
	if dir == "" {
		return
	}
	for _, format := range []qemu.Format{qemu.Raw, qemu.Qcow2} {
		// Given a disk that has more room than the host,
		spec := guestSpec(t, format)
		d, err := qemu.CreateDisk(t.Context(), dir, "c", 8<<20, format)
		if err != nil {
			t.Fatal(err)
		}
		spec.Disks[1] = d
		ctx := testContext(t)
		g := boot(t, ctx, spec)

		// when the guest fills it,
		g.send("b1")
		select {
		case <-g.Troubled():
		case <-ctx.Done():
			t.Fatal("no trouble")
		}

		// then the host is blamed, by name, and the guest is not told.
		err = g.Trouble()
		if !errors.Is(err, qemu.ErrHost) || !strings.Contains(err.Error(), "disk c") || !strings.Contains(err.Error(), "No space left") {
			t.Errorf("%s: trouble %v, want one of disk c without space", format, err)
		}
		if status, err := g.Status(ctx); err != nil || status != "io-error" {
			t.Errorf("%s: status %q, %v; want io-error", format, status, err)
		}
		if err := errors.Join(g.Close(), os.Remove(d.Path)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFullHostDiskUnderAFilterIsHostTrouble(t *testing.T) {
	dir := childtest.OnSmallDisk(t, 4<<20)
	if dir == "" {
		return
	}
	// Given a disk that has more room than the host, and faults that reach the
	// guest,
	spec := guestSpec(t, qemu.Raw)
	d, err := qemu.CreateDisk(t.Context(), dir, "c", 8<<20, qemu.Raw)
	if err != nil {
		t.Fatal(err)
	}
	d.Filter = true
	spec.Disks[1] = d
	ctx := testContext(t)
	g := boot(t, ctx, spec)
	if err := g.Inject(qemu.Fault{Disk: "c", Do: qemu.FailRequest, Errno: "ENOSPC", Count: 1}); err != nil {
		t.Fatal(err)
	}
	if got := g.do("w1x", "w1x"); got != "!." {
		t.Errorf("answers %q, want the fault, then none", got)
	}
	if err := g.Trouble(); err != nil {
		t.Errorf("the fault was taken for trouble of the host: %v", err)
	}

	// when the guest fills it,
	g.send("b1")
	select {
	case <-g.Troubled():
	case <-ctx.Done():
		t.Fatal("no trouble")
	}

	// then the host is blamed, by name, and the guest waits.
	err = g.Trouble()
	if !errors.Is(err, qemu.ErrHost) || !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "disk c") {
		t.Errorf("trouble %v, want one of disk c without space", err)
	}
	if g.Pending() == 0 || g.Held() != 0 {
		t.Errorf("pending for %v, %d held; want that the request waits for the host", g.Pending(), g.Held())
	}
}

func TestCreateDiskOnFullHostDisk(t *testing.T) {
	dir := childtest.OnSmallDisk(t, 8<<10)
	if dir == "" {
		return
	}
	_, err := qemu.CreateDisk(t.Context(), dir, "a", 8<<20, qemu.Qcow2)
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("error %v, want no space left", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestMachineDiesWithItsProcess(t *testing.T) {
	// Given a process with a machine,
	ctx := testContext(t)
	root := t.TempDir()
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Env = append(os.Environ(), playOrphan+"="+root)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err, cmd.Wait())
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, 0); err != nil {
		t.Fatalf("QEMU %d: %v", pid, err)
	}
	if err := cachedir.Sweep(ctx, root, "machine-", nil); err != nil {
		t.Fatal(err)
	}
	if dirs, err := filepath.Glob(filepath.Join(root, "machine-*")); err != nil || len(dirs) != 1 {
		t.Fatalf("folders %v, %v; want one that is in use", dirs, err)
	}

	// when that process is killed,
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed

	// then QEMU ends too, and a sweep clears up.
	gone(t, ctx, pid)
	if err := cachedir.Sweep(ctx, root, "machine-", nil); err != nil {
		t.Fatal(err)
	}
	if dirs, err := filepath.Glob(filepath.Join(root, "machine-*")); err != nil || len(dirs) != 0 {
		t.Errorf("left behind: %v, %v", dirs, err)
	}
}

func TestSilentQMPEndsWithItsContext(t *testing.T) {
	g := boot(t, testContext(t), guestSpec(t, qemu.Raw))
	if err := syscall.Kill(g.PID(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := g.Status(ctx)
		done <- err
	}()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("status of a stopped QEMU: %v, want canceled", err)
	}

	if err := syscall.Kill(g.PID(), syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if status, err := g.Status(testContext(t)); err != nil || status != "running" {
		t.Errorf("status %q, %v; want running", status, err)
	}
}

func TestQEMURunsInItsSandbox(t *testing.T) {
	g := boot(t, testContext(t), guestSpec(t, qemu.Raw))
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", g.PID()))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(status), "Seccomp:\t2\n") {
		t.Errorf("no seccomp filter:\n%s", status)
	}
}

func TestDomainSeesDisksWithTheirFormats(t *testing.T) {
	g := boot(t, testContext(t), guestSpec(t, qemu.Qcow2))
	d, err := g.Domain()
	if err != nil {
		t.Fatal(err)
	}
	devices, err := d.BlockDevices()
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range devices {
		if b.Inserted.Driver != "qcow2" {
			t.Errorf("disk %+v, want format qcow2", b)
		}
	}
	if len(devices) != 2 {
		t.Errorf("%d disks, want 2", len(devices))
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if _, err := g.Status(t.Context()); err != nil {
		t.Errorf("after the Domain's end: %v", err)
	}
}

// Given a machine, when one of QEMU's threads that is neither a virtual CPU nor
// the main one is stopped by a debugger, then that is seen, and that it goes on.
func TestAThreadOfQEMUThatIsTracedIsSeen(t *testing.T) {
	g := boot(t, testContext(t), guestSpec(t, qemu.Raw))
	// The first thread besides the main one is that of RCU, which is there all
	// the time.
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", g.PID()))
	if err != nil || len(tasks) < 2 {
		t.Fatalf("threads %q, %v", tasks, err)
	}
	var ids []int
	for _, task := range tasks {
		id, err := strconv.Atoi(filepath.Base(task))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	slices.Sort(ids)
	tid := ids[1]
	until := func(stopped bool) {
		t.Helper()
		for ctx := testContext(t); ; {
			th, err := g.Threads()
			if err != nil {
				t.Fatal(err)
			}
			if th.Stopped() == stopped {
				return
			}
			select {
			case <-ctx.Done():
				t.Fatalf("threads %+v; want that one is stopped: %v", th, stopped)
			case <-time.After(time.Millisecond):
			}
		}
	}

	runtime.LockOSThread() // what asks for a thread must be what attached to it
	defer runtime.UnlockOSThread()
	until(false)
	if err := errors.Join(unix.PtraceSeize(tid), unix.PtraceInterrupt(tid)); err != nil {
		t.Fatal(err)
	}
	var status unix.WaitStatus
	if _, err := unix.Wait4(tid, &status, unix.WALL, nil); err != nil {
		t.Fatal(err)
	}
	until(true)
	if err := unix.PtraceDetach(tid); err != nil {
		t.Fatal(err)
	}
	until(false)
	if a := g.do("r0"); len(a) != 1 {
		t.Errorf("the guest answers %q afterwards", a)
	}
}
