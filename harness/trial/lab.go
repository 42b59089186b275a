package trial

import (
	"context"
	"errors"
	"fmt"

	"github.com/blockrig/blockrig/harness/qemu"
	"github.com/blockrig/blockrig/initramfs"
	"github.com/blockrig/blockrig/initramfs/protocol"
	"github.com/blockrig/blockrig/kernels"
	"github.com/blockrig/blockrig/scenarios"
)

// A Lab has what trials are made of: kernels and the initramfs builder.
type Lab struct {
	Kernels   *kernels.Store
	Initramfs *initramfs.Builder
	Exe       string // blockrig's own static executable, /init of the guest
	ToolsFrom string // initramfs.FromAuto, FromDebian or FromHost
}

// A Bench is a kernel prepared for the cases of one scenario.
type Bench struct {
	Kernel   kernels.Kernel
	Scenario *scenarios.Scenario
	Initrd   initramfs.Initramfs
	Modules  []protocol.Module
}

// Prepare fetches the kernel and builds its initramfs. An error that wraps
// one of the kernels room's (ErrRef, ErrNotFound, ErrImage, ErrModules,
// ErrNeed) means that the request can't be met as it is.
func (l *Lab) Prepare(ctx context.Context, ref string, sc *scenarios.Scenario) (Bench, error) {
	k, err := l.Kernels.Resolve(ctx, ref)
	if err != nil {
		return Bench{}, err
	}
	return l.PrepareKernel(ctx, k, sc, false)
}

// PrepareKernel is Prepare for a kernel that is there. With shell the
// initramfs has u-root's shell and core commands too.
func (l *Lab) PrepareKernel(ctx context.Context, k kernels.Kernel, sc *scenarios.Scenario, shell bool) (Bench, error) {
	modules, err := k.Closure(sc.Needs())
	if err != nil {
		return Bench{}, fmt.Errorf("kernel %s for scenario %s: %w", k.Ref, sc.Name, err)
	}
	img, err := l.Initramfs.Build(ctx, initramfs.Request{
		Exe: l.Exe, Tools: sc.Tools(), ToolsFrom: l.ToolsFrom, Shell: shell, Kernel: k, Modules: modules,
	})
	if err != nil {
		return Bench{}, fmt.Errorf("kernel %s for scenario %s: %w", k.Ref, sc.Name, err)
	}
	b := Bench{Kernel: k, Scenario: sc, Initrd: img}
	for i, path := range img.Modules {
		b.Modules = append(b.Modules, protocol.Module{Path: path, Optional: modules[i].Soft})
	}
	return b, nil
}

// Spec is a trial of one case on the bench; accelerator, CPUs and folder are
// left to the caller.
func (b Bench) Spec(c scenarios.Case) Spec {
	return Spec{Kernel: b.Kernel, Initrd: b.Initrd.Path, InitrdDigest: b.Initrd.Digest, Modules: b.Modules, Case: c}
}

// image gives the file that QEMU is to start: under emulation the unpacked
// kernel, where it has an entry for that.
func (l *Lab) image(ctx context.Context, k kernels.Kernel, accel qemu.Accel) (string, error) {
	if accel != qemu.TCG {
		return k.Image, nil
	}
	path, err := l.Kernels.Direct(ctx, k)
	if errors.Is(err, kernels.ErrNoDirect) {
		return k.Image, nil
	}
	return path, err
}
