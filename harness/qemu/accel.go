package qemu

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/blockrig/blockrig/harness/child"
)

// Accel is how QEMU runs the guest's CPU.
type Accel string

// Accelerators.
const (
	// KVM uses the host's virtualisation.
	KVM Accel = "kvm"
	// TCG translates the guest's code: it always works and is many times slower.
	TCG Accel = "tcg"
	// Auto is KVM where it is known to work, else TCG. It is a choice for
	// ChooseAccel, and no accelerator for a Spec.
	Auto Accel = "auto"
)

// ErrNoKVM says that KVM was asked for and can't be used.
var ErrNoKVM = errors.New("KVM can't be used")

// A Probe is how ChooseAccel finds out whether KVM works. That /dev/kvm opens
// proves little: there are hosts on which QEMU then aborts, or stops the machine
// with an internal error before the kernel's first word.
type Probe struct {
	Binary string // QEMU, "" for DefaultBinary
	Kernel string // a kernel to boot, without initrd; it must come up on a sound host
	// Dir is a folder of blockrig's for the machine's files.
	Dir string
	// StateDir keeps what was found; it holds for this boot of the host.
	StateDir string
	Log      *slog.Logger // nil for none
}

// probeLimit bounds the boot of the probe's kernel. Under KVM it takes a
// second or two; one that takes so long is no faster than under TCG.
const probeLimit = 30 * time.Second

// ChooseAccel settles a choice of auto, kvm or tcg, and says why it fell on
// what it did, in words for the user. Auto is KVM only after a guest was seen
// to come up under it on this host. A choice of kvm is ErrNoKVM, with the
// reason, where it does not work.
func ChooseAccel(ctx context.Context, choice Accel, p Probe) (accel Accel, why string, err error) {
	if p.Log == nil {
		p.Log = slog.New(slog.DiscardHandler)
	}
	c := chooser{kvm: openKVM, identify: p.identify, try: p.try, state: filepath.Join(p.StateDir, probeStateFile), log: p.Log}
	accel, why, err = c.choose(ctx, choice)
	if err != nil {
		return "", "", fmt.Errorf("choose accelerator: %w", err)
	}
	return accel, why, nil
}

// A chooser is ChooseAccel's decision, without the world.
type chooser struct {
	kvm      func() error                                    // why /dev/kvm can't even be opened
	identify func(ctx context.Context) (probeKey, error)     // what an outcome depends on
	try      func(ctx context.Context) (probeOutcome, error) // boots a guest under KVM
	state    string                                          // file
	log      *slog.Logger
}

func (c chooser) choose(ctx context.Context, choice Accel) (Accel, string, error) {
	switch choice {
	case TCG:
		return TCG, "asked for", nil
	case KVM, Auto:
	default:
		return "", "", fmt.Errorf("%q: want auto, kvm or tcg", choice)
	}
	reject := func(why string) (Accel, string, error) {
		if choice == KVM {
			return "", "", fmt.Errorf("%w: %s", ErrNoKVM, why)
		}
		return TCG, "KVM can't be used: " + why, nil
	}

	if err := c.kvm(); err != nil {
		return reject(err.Error())
	}
	key, err := c.identify(ctx)
	if err != nil {
		return "", "", err
	}
	outcome, known := recallProbe(c.state, key, c.log)
	if !known || (choice == KVM && !outcome.Works) { // asked for: worth another try
		if outcome, err = c.try(ctx); err != nil {
			return "", "", err
		}
		// A result that can't be kept costs a probe next time, no more.
		if err := rememberProbe(c.state, key, outcome); err != nil {
			c.log.Warn("can't keep whether KVM works", "err", err)
		}
	}
	if !outcome.Works {
		return reject(outcome.Why)
	}
	return KVM, outcome.Why, nil
}

// openKVM says why this process can't use /dev/kvm at all.
func openKVM() error {
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errors.New("this host has no /dev/kvm")
	case errors.Is(err, fs.ErrPermission):
		return errors.New("no permission to open /dev/kvm (join the group kvm)")
	case err != nil:
		return err
	}
	return f.Close()
}

// identify names all that an outcome depends on.
func (p Probe) identify(ctx context.Context) (probeKey, error) {
	binary := p.Binary
	if binary == "" {
		binary = DefaultBinary
	}
	path, err := exec.LookPath(binary)
	if err != nil {
		return probeKey{}, fmt.Errorf("QEMU is missing (Debian: apt install qemu-system-x86): %w", err)
	}
	version, err := child.Output(ctx, exec.Command(path, "--version"), child.Options{}, 64<<10)
	if err != nil {
		return probeKey{}, fmt.Errorf("ask for QEMU's version: %w", err)
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return probeKey{}, err
	}
	kernel, err := os.Stat(p.Kernel)
	if err != nil {
		return probeKey{}, fmt.Errorf("kernel to try KVM with: %w", err)
	}
	line, _, _ := strings.Cut(string(version), "\n")
	return probeKey{
		BootID: strings.TrimSpace(string(boot)),
		QEMU:   path + " " + line,
		CPU:    cpuModel(KVM),
		Kernel: fmt.Sprintf("%s %d %d", p.Kernel, kernel.Size(), kernel.ModTime().UnixNano()),
	}, nil
}

// cameUp are lines of which a kernel without a root file system prints at
// least one once it has come up.
var cameUp = []string{"Unable to mount root fs", "Run /", "Freeing unused kernel"}

// try boots the kernel under KVM. The error is one of the attempt itself.
func (p Probe) try(ctx context.Context) (probeOutcome, error) {
	m, err := Start(ctx, Spec{
		Binary: p.Binary, Accel: KVM, CPUs: 1, MemoryMiB: 256, Dir: p.Dir, Log: p.Log,
		Kernel: p.Kernel, Append: "console=ttyS0 panic=-1",
	})
	if err != nil {
		var ended *ExitError
		if errors.As(err, &ended) {
			return probeOutcome{Why: ended.Error()}, nil
		}
		return probeOutcome{}, err
	}

	up := make(chan bool, 1)
	go func() { // ends with the machine, which is closed below
		up <- readUntil(m.Console(), cameUp)
	}()
	late := time.NewTimer(probeLimit)
	defer late.Stop()
	var out probeOutcome
	began := time.Now()
	select {
	case seen := <-up:
		up <- seen
	case <-m.Troubled():
	case <-m.Done():
	case <-late.C:
		out.Slow = true
	case <-ctx.Done():
	}
	took := time.Since(began)
	trouble := m.Trouble()
	if err := m.Close(); err != nil {
		return probeOutcome{}, err
	}
	if ctx.Err() != nil {
		return probeOutcome{}, context.Cause(ctx)
	}
	switch seen := <-up; {
	case trouble != nil:
		out.Why = trouble.Error()
	case seen:
		out = probeOutcome{Works: true, Why: fmt.Sprintf("a guest came up under KVM in %.1f s", took.Seconds())}
	case out.Slow:
		out.Why = fmt.Sprintf("a guest did not come up under KVM within %v", probeLimit)
	case m.Err() != nil:
		out.Why = m.Err().Error()
	default:
		out.Why = "a guest ended under KVM before it came up"
		if how := m.Shutdown(); how != "" {
			out.Why += " (" + how + ")"
		}
		out.Slow = true // may be the kernel's doing
	}
	return out, nil
}
