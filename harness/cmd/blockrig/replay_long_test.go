//go:build vm && long

package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Given a trial that failed on a real kernel, when it is bundled, then
// reproduce.sh shows the same on the console without blockrig, and replay gives
// the same verdict; on a kernel with the fix, replay passes.
func TestABundleShowsTheFailureAgain(t *testing.T) {
	results := filepath.Join(t.TempDir(), "runs")
	blockrig := func(want int, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), filepath.Join(command, "blockrig"), append([]string{"--results", results}, args...)...)
		out, err := cmd.CombinedOutput()
		if got := cmd.ProcessState.ExitCode(); got != want {
			t.Fatalf("blockrig %v: status %d, %v, want %d\n%s", args, got, err, want, out)
		}
		return string(out)
	}
	blockrig(1, "run", "lvm-mirror-dio-read", "-k", "debian:6.18.15", "--case", "length=512,memory_offset=32")
	dir := t.TempDir()
	one, two := filepath.Join(dir, "one.tar.zst"), filepath.Join(dir, "two.tar.zst")
	blockrig(0, "results", "bundle", "last/1", "-o", one)
	blockrig(0, "results", "bundle", "last/1", "-o", two)
	a, err1 := os.ReadFile(one)
	b, err2 := os.ReadFile(two)
	if err1 != nil || err2 != nil || !bytes.Equal(a, b) {
		t.Errorf("the same trial gives other bytes: %v, %v", err1, err2)
	}

	console := reproduce(t, one, "Mirror read failed", "guest: pread returned -1 (EIO)", "When it was recorded, it showed: eio")
	again := blockrig(1, "classify", console)
	if !strings.Contains(again, "dm-mirror: Mirror read failed") {
		t.Errorf("its console is judged as\n%s", again)
	}

	if said := blockrig(1, "replay", one); !strings.Contains(said, "the same as recorded: eio") {
		t.Errorf("replay says\n%s", said)
	}
	if said := blockrig(0, "replay", one, "-k", "debian:7.3.4"); !strings.Contains(said, "now: pass (EINVAL)") {
		t.Errorf("replay with the fix says\n%s", said)
	}
}

// failing is a scenario in which the host makes disks fail, takes one away, puts
// it back, and cuts the power, all of which QEMU can do by itself.
const failing = `name: failing
about: A mirror that loses both of its legs, after a power cut.
disks: [a, {id: b, bus: virtio-scsi}, {id: v, bus: virtio-blk}, {id: n, bus: nvme}]
stack:
  - md: {level: raid1, on: [a, b]}
steps:
  - io: {op: pwrite, direct: true, length: 64KiB}
  - fault: {disk: v, do: error, op: flush}
  - fault: {disk: v, do: error}
  - heal: v
  - fault: {disk: n, do: remove}
  - wait: 1s
  - heal: n
  - power_cut: {at: now, lose: nothing}
  - io: {op: pread, direct: true, length: 64KiB}
  - fault: {disk: b, do: error}
  - io: {op: pwrite, direct: true, length: 4096, offset: 8192}
  - heal: b
  - io: {op: pread, direct: true, length: 4096, offset: 8192}
  - fault: {disk: a, do: error, op: read}
  - io: {op: pread, direct: true, length: 4096}
`

// unplugged is a scenario in which disks of each bus that has them come and go get
// faults while they are away.
func unplugged() string {
	var b strings.Builder
	b.WriteString(`name: unplugged
about: Disks that are taken away get other faults, and have them when they are back.
disks: [a, {id: s, bus: virtio-scsi}, {id: v, bus: virtio-blk}, {id: n, bus: nvme}]
steps:
`)
	for _, id := range []string{"s", "v", "n"} {
		b.WriteString(strings.ReplaceAll(`
  - io: {op: pwrite, on: @, direct: true, length: 4KiB, offset: 1MiB}
  - fault: {disk: @, do: error, op: flush}
  - fault: {disk: @, do: remove}
  - fault: {disk: @, do: error, op: read, offset: 1MiB, length: 4KiB}
  - heal: @
  - wait: 3s # until the guest has found it
  - io: {op: pread, on: @, direct: true, length: 4KiB, offset: 1MiB, expect: [EIO, ENODATA]}
  - heal: @
  - io: {op: pread, on: @, direct: true, length: 4KiB, offset: 1MiB}
`, "@", id))
	}
	b.WriteString(`
  - fault: {disk: a, do: error, op: read}
  - io: {op: pread, on: a, direct: true, length: 4KiB}
`)
	return b.String()
}

// Given trials in which disks fail and the power is cut, when they are bundled,
// then reproduce.sh, with QEMU and sh alone, shows what was recorded.
func TestABundleMakesDisksFailAndCutsThePower(t *testing.T) {
	h := newHost(t)
	h.limit = 30 * time.Minute
	for _, tt := range []struct {
		scenario, kernel string
		says             []string
		classify         string
	}{
		{h.write("failing.yaml", failing), "debian:6.18.15", []string{
			"[the host: error of disk v]", "[the host: heal of disk v]", "[the host: remove of disk n]", "[the host: power_cut]", "Disk failure on ",
			"it showed: eio: pread failed with EIO", "  pread returned -1 (EIO)",
		}, "eio, phase step"},
		{h.write("unplugged.yaml", unplugged()), "debian:6.18.15", []string{
			"[the host: remove of disk s]", "[the host: error of disk v]", "[the host: heal of disk n]", "[the host: error of disk a]", "it showed: eio: pread failed with EIO", "  pread returned -1 (EIO)",
		}, "eio, phase step"},
		{"museum-dm-writecache-fua-lost", "debian:6.12.116", []string{
			"[the host: power_cut]", "it showed: corrupt: byte 0 of the data is wrong: stale", "  shows corrupt: pread: byte 0 of the data is wrong: stale",
		}, "corrupt, phase step: pread: byte 0 of the data is wrong: stale"},
	} {
		if o := h.run("run", tt.scenario, "-k", tt.kernel); o.status != 1 {
			t.Fatal(o)
		}
		file := filepath.Join(t.TempDir(), "b.tar.zst")
		if o := h.run("results", "bundle", "last/1", "-o", file); o.status != 0 || strings.Contains(o.stderr, "can't make the trial again") {
			t.Fatal(o)
		}
		if o := h.run("classify", reproduce(t, file, tt.says...)); o.status != 1 || !strings.Contains(o.stdout, tt.classify) {
			t.Error(o)
		}
	}
	h.wantNothingLeft()
}

// Given a bundle, when its reproduce.sh is interrupted in the first moments of a real
// QEMU, then no process, FIFO or folder is left.
func TestAReproductionThatIsInterruptedLeavesNothing(t *testing.T) {
	h := newHost(t)
	h.limit = 30 * time.Minute
	if o := h.run("run", h.write("failing.yaml", failing), "-k", "debian:6.18.15"); o.status != 1 {
		t.Fatal(o)
	}
	file := filepath.Join(t.TempDir(), "b.tar.zst")
	if o := h.run("results", "bundle", "last/1", "-o", file); o.status != 0 {
		t.Fatal(o)
	}
	dir := unpacked(t, file)
	// From the moment that the folder is there on, ever later.
	for wait := time.Duration(0); wait < 2*time.Second; wait = wait*3/2 + time.Millisecond {
		out := filepath.Join(t.TempDir(), "out")
		said, err := os.Create(out)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), "sh", filepath.Join(dir, "reproduce.sh"))
		cmd.Stdout, cmd.Stderr = said, said
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := errors.Join(cmd.Start(), said.Close()); err != nil {
			t.Fatal(err)
		}
		for ctx := t.Context(); ctx.Err() == nil; time.Sleep(time.Millisecond) {
			if _, err := os.Stat(filepath.Join(dir, "work")); err == nil {
				break
			}
		}
		time.Sleep(wait)
		if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGINT); err != nil { // as Ctrl-C
			t.Fatal(err)
		}
		err = cmd.Wait()
		text, _ := os.ReadFile(out) // for people
		if cmd.ProcessState.ExitCode() != 130 {
			t.Errorf("after %v: %v\n%s", wait, err, text)
		}
		if left, err := exec.CommandContext(t.Context(), "pgrep", "-l", "-s", strconv.Itoa(cmd.Process.Pid)).Output(); err == nil {
			t.Errorf("after %v it left\n%s", wait, left)
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		}
		if _, err := os.Stat(filepath.Join(dir, "work")); err == nil {
			t.Fatalf("after %v it left its folder\n%s", wait, text)
		}
	}
	h.wantNothingLeft()
}

// unpacked unpacks a bundle beside it, and gives its folder.
func unpacked(t *testing.T, bundle string) (dir string) {
	t.Helper()
	dir = filepath.Dir(bundle)
	if out, err := exec.CommandContext(t.Context(), "tar", "-C", dir, "-xf", bundle).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return filepath.Join(dir, "blockrig-bundle")
}

// reproduce unpacks a bundle beside it, runs its reproduce.sh, which must show all of
// want, and gives the file with the console.
func reproduce(t *testing.T, bundle string, want ...string) (console string) {
	t.Helper()
	dir := unpacked(t, bundle)
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "sh", filepath.Join(dir, "reproduce.sh")).CombinedOutput()
	if err != nil {
		t.Fatalf("reproduce.sh: %v\n%s", err, out)
	}
	for _, w := range want {
		if !strings.Contains(string(out), w) {
			t.Errorf("reproduce.sh does not show %q:\n%s", w, out)
		}
	}
	return filepath.Join(dir, "console.reproduced.log")
}
