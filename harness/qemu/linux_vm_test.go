//go:build vm

package qemu_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/blockrig/blockrig/harness/qemu"
	"github.com/blockrig/blockrig/initramfs"
	"github.com/blockrig/blockrig/kernels"
	"github.com/blockrig/blockrig/scenarios"
)

// linuxImages are a real kernel and an initramfs with testdata/diskguest.
var linuxImages = sync.OnceValues(func() (images [2]string, err error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return images, err
	}
	cache = filepath.Join(cache, "blockrig")
	store, err := kernels.Open(context.Background(), cache, nil)
	if err != nil {
		return images, err
	}
	k, err := store.Resolve(context.Background(), "debian:6.18")
	if err != nil {
		return images, err
	}
	modules, err := k.Closure([]scenarios.Need{
		{Option: "CONFIG_SATA_AHCI", Module: "ahci"},
		{Option: "CONFIG_BLK_DEV_SD", Module: "sd_mod"},
		{Option: "CONFIG_VIRTIO_PCI", Module: "virtio_pci"},
		{Option: "CONFIG_VIRTIO_BLK", Module: "virtio_blk"},
		{Option: "CONFIG_SCSI_VIRTIO", Module: "virtio_scsi"},
		{Option: "CONFIG_BLK_DEV_NVME", Module: "nvme"},
	})
	if err != nil {
		return images, err
	}
	b := &initramfs.Builder{Cache: filepath.Join(cache, "initramfs")}
	var paths []string
	for _, exe := range []func([]string) (string, error){
		// The first image says where the modules are.
		func([]string) (string, error) { return buildDiskGuest(nil) }, buildDiskGuest,
	} {
		init, err := exe(paths)
		if err != nil {
			return images, err
		}
		img, err := b.Build(context.Background(), initramfs.Request{Exe: init, Kernel: k, Modules: modules})
		if err := os.Remove(init); err != nil {
			return images, err
		}
		if err != nil {
			return images, err
		}
		paths, images = img.Modules, [2]string{k.Image, img.Path}
	}
	return images, nil
})

func buildDiskGuest(modules []string) (string, error) {
	f, err := os.CreateTemp("", "blockrig-diskguest-")
	if err != nil {
		return "", err
	}
	if err := f.Close(); err != nil {
		return "", err
	}
	cmd := exec.Command("go", "build", "-o", f.Name(), "-trimpath", "-ldflags", "-X main.modules="+strings.Join(modules, ","), "./testdata/diskguest")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build diskguest: %w: %s", err, out)
	}
	return f.Name(), nil
}

// linuxSpec is a machine with a real kernel and disks of 16 MiB.
func linuxSpec(t testing.TB, disks ...qemu.Disk) qemu.Spec {
	t.Helper()
	images, err := linuxImages()
	if err != nil {
		t.Fatal(err)
	}
	spec := qemu.Spec{
		Accel: qemu.TCG, CPUs: 1, MemoryMiB: 384, Dir: t.TempDir(),
		Kernel: images[0], Initrd: images[1], Append: "console=ttyS0 quiet panic=-1",
	}
	for _, d := range disks {
		made, err := qemu.CreateDisk(t.Context(), spec.Dir, d.ID, 16<<20, qemu.Raw)
		if err != nil {
			t.Fatal(err)
		}
		d.Serial, d.Path, d.Format = made.Serial, made.Path, made.Format
		spec.Disks = append(spec.Disks, d)
	}
	return spec
}

// A linux is a machine that runs testdata/diskguest.
type linux struct {
	*qemu.Machine
	t       testing.TB
	console *console

	mu      sync.Mutex
	next    int
	waiting map[int]chan said
	ready   chan struct{}
}

// ask is a command of testdata/diskguest.
type ask struct {
	ID     int
	Do     string
	Disk   string
	Name   string
	Offset int64
	Length int
	Byte   byte
	Sync   bool
}

// said is its answer.
type said struct {
	ID    int
	Text  string
	Errno string
	MS    int64
}

func (s said) String() string { return s.Text + s.Errno }

// startLinux starts a machine, new or saved, and returns when its guest can
// be asked.
func startLinux(t testing.TB, spec qemu.Spec) *linux {
	t.Helper()
	ctx := testContext(t)
	m, err := qemu.Start(ctx, spec)
	if err != nil {
		t.Fatal(err)
	}
	l := &linux{Machine: m, t: t, console: &console{end: make(chan struct{})}, waiting: map[int]chan said{}, ready: make(chan struct{})}
	var reading sync.WaitGroup
	reading.Go(func() {
		defer close(l.console.end)
		_, _ = io.Copy(l.console, m.Console())
	})
	reading.Go(l.listen)
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		reading.Wait()
		if t.Failed() {
			t.Logf("console: %s\ntrouble: %v", l.console, m.Trouble())
		}
	})
	if spec.From != "" {
		return l
	}
	select {
	case <-l.ready:
	case <-m.Done():
		t.Fatalf("the machine ended: %v\n%s", m.Err(), l.console)
	case <-ctx.Done():
		t.Fatalf("no guest\n%s", l.console)
	}
	return l
}

func (l *linux) listen() {
	dec := json.NewDecoder(bufio.NewReader(l.Control()))
	for {
		var s said
		if err := dec.Decode(&s); err != nil {
			return
		}
		if s.ID == 0 {
			close(l.ready)
			continue
		}
		l.mu.Lock()
		l.waiting[s.ID] <- s
		l.mu.Unlock()
	}
}

// begin gives the guest a command; the answer comes on the channel.
func (l *linux) begin(a ask) <-chan said {
	l.t.Helper()
	c := make(chan said, 1)
	l.mu.Lock()
	l.next++
	a.ID, a.Disk = l.next, "blockrig-"+a.Disk
	l.waiting[a.ID] = c
	text, err := json.Marshal(a)
	if err == nil {
		_, err = l.Control().Write(append(text, '\n'))
	}
	l.mu.Unlock()
	if err != nil {
		l.t.Fatal(err)
	}
	return c
}

// do gives the guest a command and waits for the answer.
func (l *linux) do(a ask) said {
	l.t.Helper()
	c := l.begin(a)
	select {
	case s := <-c:
		return s
	case <-l.Done():
	case <-l.Troubled():
	case <-testContext(l.t).Done():
	}
	l.t.Fatalf("no answer to %+v: %v, %v\n%s", a, l.Err(), l.Trouble(), l.console)
	return said{}
}

func (l *linux) write(disk string, at int64, n int, b byte) string {
	l.t.Helper()
	return l.do(ask{Do: "write", Disk: disk, Offset: at, Length: n, Byte: b}).String()
}

func (l *linux) read(disk string, at int64, n int) string {
	l.t.Helper()
	return l.do(ask{Do: "read", Disk: disk, Offset: at, Length: n}).String()
}

func (l *linux) flush(disk string) string {
	l.t.Helper()
	return l.do(ask{Do: "flush", Disk: disk}).String()
}

func (l *linux) attr(disk, name string) string {
	l.t.Helper()
	return l.do(ask{Do: "attr", Disk: disk, Name: name}).String()
}

// Given nobody who reads the console for a while, as when blockrig is stopped,
// when the kernel logs meanwhile, then nothing of it is lost, and the kernel
// does not wait.
func TestAConsoleThatIsNotReadLosesNothing(t *testing.T) {
	spec := linuxSpec(t, qemu.Disk{ID: "a", Bus: qemu.AHCI})
	spec.Append += " printk.devkmsg=on"
	l := startLinux(t, spec)
	const lines = 2000
	l.console.mu.Lock() // its reader waits
	s := l.do(ask{Do: "log", Disk: "a", Length: lines})
	l.console.mu.Unlock()
	if s.Errno != "" {
		t.Fatal(s)
	}
	line := func(i int) string { return fmt.Sprintf("line %05d %s\r\n", i, strings.Repeat(".", 69)) }
	for !strings.Contains(l.console.String(), line(lines-1)) { // some kernels print later
		select {
		case <-testContext(t).Done():
			t.Fatalf("its last line did not come; the last ones are %q", l.console.String()[max(0, len(l.console.String())-200):])
		case <-time.After(10 * time.Millisecond):
		}
	}
	text := l.console.String()
	for i := range lines {
		if !strings.Contains(text, line(i)) {
			t.Fatalf("line %d is not there whole", i)
		}
	}
	t.Logf("%d lines in %d ms", lines, s.MS)
}
