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
type bareMachine struct {
	memory string // ID of the memory backend, "" for plain memory
}

func (d bareMachine) Cmdline() []string {
	machine := "q35,usb=off,smbus=off,vmport=off,dump-guest-core=off"
	if d.memory != "" {
		machine += ",memory-backend=" + d.memory
	}
	return []string{
		"-nodefaults", "-no-user-config", "-display", "none",
		"-machine", machine,
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
	return "max"
}

// memory is the guest's RAM.
type memory struct{ mib int }

func (d memory) Cmdline() []string { return []string{"-m", strconv.Itoa(d.mib) + "M"} }

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

// ahciDisk is a SATA disk on the board's own AHCI controller. An error of the
// file below it stops the machine and is reported, instead of reaching the
// guest, who could only blame its disk.
type ahciDisk struct {
	Disk
	port int // 0 to 5
}

func (d ahciDisk) Cmdline() []string {
	return []string{
		"-blockdev", jsonArg(map[string]any{
			"driver": string(d.Format), "node-name": nodeName(d.ID),
			"file": map[string]any{"driver": "file", "filename": d.Path, "node-name": nodeName(d.ID) + "-file"},
		}),
		"-device", fmt.Sprintf("ide-hd,id=%s,bus=ide.%d,drive=%s,serial=%s,rerror=stop,werror=stop",
			deviceName(d.ID), d.port, nodeName(d.ID), d.Serial),
	}
}

// ahciPorts is how many disks the board's controller takes.
const ahciPorts = 6

func nodeName(disk string) string   { return "disk-" + disk }
func deviceName(disk string) string { return "ahci-" + disk }

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
