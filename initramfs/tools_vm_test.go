//go:build vm

package initramfs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/blockrig/blockrig/kernels"
	"github.com/blockrig/blockrig/scenarios"
)

// These tests need QEMU, the network or a filled cache, and, for the shell,
// the Go toolchain. What is missing fails them.

var allTools = []string{"dmeventd", "dmsetup", "lvm", "mdadm", "mke2fs"}

var stackNeeds = []scenarios.Need{
	{Option: "CONFIG_SATA_AHCI", Module: "ahci"},
	{Option: "CONFIG_BLK_DEV_SD", Module: "sd_mod"},
	{Option: "CONFIG_DM_MIRROR", Module: "dm-mirror"},
	{Option: "CONFIG_DM_RAID", Module: "dm-raid"},
	{Option: "CONFIG_MD_RAID1", Module: "raid1"},
	{Option: "CONFIG_EXT4_FS", Module: "ext4"},
}

func realKernel(t *testing.T, ref string) (kernels.Kernel, []kernels.Module) {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	store, err := kernels.Open(t.Context(), filepath.Join(cache, "blockrig"), nil)
	if err != nil {
		t.Fatal(err)
	}
	k, err := store.Resolve(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	modules, err := k.Closure(stackNeeds)
	if err != nil {
		t.Fatal(err)
	}
	return k, modules
}

// toolinit builds the tests' /init.
func toolinit(t *testing.T, plan string, modules []string) string {
	t.Helper()
	exe := filepath.Join(t.TempDir(), "toolinit")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", exe,
		"-ldflags", "-X main.plan="+plan+" -X main.modules="+strings.Join(modules, ","), "./testdata/toolinit")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build toolinit: %v: %s", err, out)
	}
	return exe
}

type stepReport struct {
	Step, Output, Error string
	MS                  int64
}

// boot runs a guest to its end and returns what its /init reported.
func boot(t *testing.T, k kernels.Kernel, img Initramfs) []stepReport {
	t.Helper()
	dir := t.TempDir()
	reports, console := filepath.Join(dir, "reports"), filepath.Join(dir, "console")
	args := []string{
		"-machine", "q35", "-accel", "tcg", "-m", "512", "-smp", "1", "-nodefaults", "-no-user-config", "-display", "none",
		"-no-reboot", "-sandbox", "on", "-serial", "file:" + console, "-serial", "file:" + reports,
		"-kernel", k.Image, "-initrd", img.Path, "-append", "console=ttyS0 panic=-1",
	}
	for i := range 4 {
		disk := filepath.Join(dir, fmt.Sprintf("disk%d", i))
		if err := os.WriteFile(disk, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(disk, 128<<20); err != nil {
			t.Fatal(err)
		}
		args = append(args,
			"-drive", fmt.Sprintf("file=%s,format=raw,if=none,id=d%d", disk, i),
			"-device", fmt.Sprintf("ide-hd,drive=d%d,bus=ide.%d", i, i))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "qemu-system-x86_64", args...).CombinedOutput()
	log, _ := os.ReadFile(console)
	if err != nil {
		t.Fatalf("qemu: %v: %s\n%s", err, out, log)
	}
	data, err := os.ReadFile(reports)
	if err != nil {
		t.Fatal(err)
	}
	var all []stepReport
	for line := range bytes.Lines(data) {
		var r stepReport
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatalf("report %q: %v", line, err)
		}
		t.Logf("%6d ms  %s\n%s%s", r.MS, r.Step, r.Output, r.Error)
		if r.Error != "" {
			t.Errorf("%s: %s: %s", r.Step, r.Error, r.Output)
		}
		all = append(all, r)
	}
	if len(all) == 0 {
		t.Fatalf("the guest reported nothing:\n%s", log)
	}
	return all
}

func outputOf(t *testing.T, all []stepReport, step string) string {
	t.Helper()
	i := slices.IndexFunc(all, func(r stepReport) bool { return strings.HasPrefix(r.Step, step) })
	if i < 0 {
		t.Errorf("the guest did not get to %s", step)
		return ""
	}
	return all[i].Output
}

// Ctrl-C while compilers run ends them and leaves nothing.
func TestAnInterruptedShellBuildLeavesNothing(t *testing.T) {
	b := &Builder{Cache: t.TempDir()}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := b.shell(ctx)
		done <- err
	}()
	dir := filepath.Join(b.Cache, "shell")
	deadline := time.Now().Add(5 * time.Minute)
	for { // until u-root's builder has written what it compiles
		if found, err := filepath.Glob(filepath.Join(dir, ".new-*", "build-*", "work", "builder*", "src", "*")); err != nil {
			t.Fatal(err)
		} else if len(found) > 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the build did not start")
		}
		time.Sleep(10 * time.Millisecond)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if left := list(t, dir); len(left) > 0 {
		t.Errorf("there is %q", left)
	}
	// No compiler works on in the folder that is gone.
	procs, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range procs {
		if cwd, err := os.Readlink(p); err == nil && strings.HasPrefix(cwd, dir) {
			cmd, _ := os.ReadFile(filepath.Join(filepath.Dir(p), "cmdline"))
			t.Errorf("%s still runs in %s", bytes.ReplaceAll(cmd, []byte{0}, []byte(" ")), cwd)
		}
	}
}

func TestTheShellRunsInTheGuest(t *testing.T) {
	k, _ := realKernel(t, "debian:6.18")
	b := new(Builder)
	img, err := b.Build(t.Context(), Request{Exe: toolinit(t, "shell", nil), Tools: []string{"lvm"}, Shell: true})
	if err != nil {
		t.Fatal(err)
	}
	all := boot(t, k, img)
	got := outputOf(t, all, "/bin/sh")
	for _, want := range []string{"bbin", "usr", "said", "LVM version"} {
		if !strings.Contains(got, want) {
			t.Errorf("the shell says %q, want %q", got, want)
		}
	}
}

// Unpacking the modules of a scenario, which is done once for each kernel.
func BenchmarkColdModules(b *testing.B) {
	cache, err := os.UserCacheDir()
	if err != nil {
		b.Fatal(err)
	}
	store, err := kernels.Open(b.Context(), filepath.Join(cache, "blockrig"), nil)
	if err != nil {
		b.Fatal(err)
	}
	k, err := store.Resolve(b.Context(), "debian:6.18")
	if err != nil {
		b.Fatal(err)
	}
	modules, err := k.Closure(stackNeeds)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(len(modules)), "modules")
	for b.Loop() {
		var t tree
		if err := collectModules(b.Context(), &t, k, modules, b.TempDir()); err != nil {
			b.Fatal(err)
		}
	}
}
