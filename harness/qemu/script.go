package qemu

import "strconv"

// Script is a machine's command line for a shell: without a process of
// blockrig's at the other end of its lines. The kernel, the initrd and the disks
// are named as they are in s, and are not looked at; the folder is not used.
type Script struct {
	Common []string           // for every accelerator
	Accels map[Accel][]string // what is to be added for each
}

// ScriptOf gives the command line of a machine whose console is QEMU's standard
// output. Its second serial port and QMP are the FIFOs of PortFIFOs in the folder
// ports; with "" there is no QMP, and the port leads nowhere.
func ScriptOf(s Spec, ports string) Script {
	parts := []device{
		bareMachine{},
		sandbox{},
		stayDown{},
		ownMemory{s.MemoryMiB},
		scriptPorts{ports},
		linux{kernel: s.Kernel, initrd: s.Initrd, cmdline: s.Append},
	}
	slots := newSlots(s.Disks)
	for i, d := range s.Disks {
		parts = append(parts, plainImage{d}, slots.of[i])
	}
	out := Script{Accels: map[Accel][]string{}}
	for _, p := range parts {
		out.Common = append(out.Common, p.Cmdline()...)
	}
	for _, a := range []Accel{TCG, KVM} {
		out.Accels[a] = processor{accel: a, cpus: s.CPUs}.Cmdline()
	}
	return out
}

// ownMemory is memory that QEMU allocates itself.
type ownMemory struct{ mib int }

func (d ownMemory) Cmdline() []string {
	size := strconv.Itoa(d.mib) + "M"
	return []string{"-m", size, "-object", "memory-backend-ram,id=" + memoryID + ",size=" + size}
}

// ScriptConsole is the file to which a machine of a Script adds its console.
const ScriptConsole = "console.reproduced.log"

// PortFIFOs are the names of the FIFOs of a Script, by what goes through them.
var PortFIFOs = struct{ ToGuest, FromGuest, ToQEMU, FromQEMU string }{"ttyS1.in", "ttyS1.out", "qmp.in", "qmp.out"}

// scriptPorts are the two serial ports of a machine of a Script, and QMP.
type scriptPorts struct{ dir string }

func (d scriptPorts) Cmdline() []string {
	control := "null,id=ttyS1"
	var qmp []string
	if d.dir != "" {
		control = "pipe,id=ttyS1,path=" + d.dir + "/ttyS1"
		qmp = []string{"-chardev", "pipe,id=qmp,path=" + d.dir + "/qmp", "-mon", "chardev=qmp,mode=control"}
	}
	return append([]string{
		"-chardev", "stdio,id=ttyS0,signal=on,logfile=" + ScriptConsole + ",logappend=on", "-serial", "chardev:ttyS0",
		"-chardev", control, "-serial", "chardev:ttyS1",
	}, qmp...)
}
