package qemu

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// A device is a part of the machine.
type device interface {
	// Cmdline is the device's share of QEMU's command line.
	Cmdline() []string
}

// bareMachine is a q35 PC without what QEMU would add of its own accord: a
// device that is not there takes no time to probe.
type bareMachine struct{}

func (bareMachine) Cmdline() []string {
	return []string{
		"-nodefaults", "-no-user-config", "-display", "none",
		"-machine", "q35,usb=off,smbus=off,vmport=off,dump-guest-core=off,suppress-vmdesc=on,memory-backend=" + memoryID,
	}
}

// sandbox keeps a guest that breaks out of the device model from doing more.
type sandbox struct{}

func (sandbox) Cmdline() []string {
	return []string{"-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"}
}

// stayDown ends QEMU when the guest resets: a kernel that comes up a second
// time must not be taken for the first.
type stayDown struct{}

func (stayDown) Cmdline() []string { return []string{"-no-reboot"} }

// processor is the virtual CPUs and what runs them.
type processor struct {
	accel Accel
	cpus  int
}

func (d processor) Cmdline() []string {
	accel := "kvm"
	if d.accel == TCG {
		accel = "tcg,thread=multi"
		if d.cpus == 1 {
			accel = "tcg,thread=single"
		}
	}
	return []string{"-accel", accel, "-cpu", cpuModel(d.accel), "-smp", strconv.Itoa(d.cpus)}
}

// cpuModel is the CPU that the guest sees. The probe of ChooseAccel uses the
// same one, since whether KVM works depends on it.
func cpuModel(a Accel) string {
	if a == KVM {
		return "host"
	}
	// Page tables of five levels would only make every miss of TCG's TLB dearer.
	// Told that moving single bytes is fast, the kernel copies and clears memory
	// byte by byte, which is what TCG then does: a tenth of a boot.
	return "max,la57=off,erms=off,fsrm=off"
}

// memory is the guest's RAM, in an inherited file: shared, so that it can be
// saved from outside when the machine has ended, or copied on write, so that
// many machines can start from one saved file.
type memory struct {
	mib    int
	fd     int
	shared bool
}

// memoryID is the RAM's object in QEMU. It is part of the saved state.
const memoryID = "ram"

func (d memory) Cmdline() []string {
	share := "off"
	if d.shared {
		share = "on"
	}
	return []string{
		"-m", strconv.Itoa(d.mib) + "M",
		"-object", fmt.Sprintf("memory-backend-file,id=%s,size=%dM,mem-path=/proc/self/fd/%d,share=%s,dump=off,merge=off",
			memoryID, d.mib, d.fd, share),
	}
}

// linux is a kernel that QEMU itself loads, with no boot loader or boot disk.
type linux struct{ kernel, initrd, cmdline string }

func (d linux) Cmdline() []string {
	args := []string{"-kernel", d.kernel}
	if d.initrd != "" {
		args = append(args, "-initrd", d.initrd)
	}
	if d.cmdline != "" {
		args = append(args, "-append", d.cmdline)
	}
	return args
}

// console is ttyS0, a 16550A at QEMU's standard input and output. These are pipes: a
// socket is full after a few hundred bytes that come one by one, and a kernel
// does not wait for long where its console does not take them.
type console struct{}

func (console) Cmdline() []string {
	return []string{"-chardev", "stdio,id=ttyS0,signal=off", "-serial", "chardev:ttyS0"}
}

// serialPort is a 16550A whose other end is an inherited descriptor.
type serialPort struct {
	id string
	fd int
}

func (d serialPort) Cmdline() []string {
	return []string{
		"-chardev", fmt.Sprintf("socket,id=%s,fd=%d", d.id, d.fd),
		"-serial", "chardev:" + d.id,
	}
}

// qmpPort is a QMP connection over an inherited descriptor: no path that
// could stay behind, none that could be longer than 107 bytes.
type qmpPort struct{ fd int }

func (d qmpPort) Cmdline() []string {
	return []string{
		"-chardev", fmt.Sprintf("socket,id=qmp,fd=%d", d.fd),
		"-mon", "chardev=qmp,mode=control",
	}
}

// jsonArg writes an option as JSON, which, unlike key=value, has no trouble
// with commas in paths.
func jsonArg(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings, numbers and maps of them always marshal
	}
	return string(text)
}

// waitForCont leaves the virtual CPUs stopped.
type waitForCont struct{}

func (waitForCont) Cmdline() []string { return []string{"-S"} }

// fromState waits for a saved state before anything runs.
type fromState struct{}

func (fromState) Cmdline() []string { return []string{"-incoming", "defer"} }
