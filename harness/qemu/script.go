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
// output and whose second serial port leads nowhere.
func ScriptOf(s Spec) Script {
	parts := []device{
		bareMachine{},
		sandbox{},
		stayDown{},
		ownMemory{s.MemoryMiB},
		consolePort{},
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

// ScriptConsole is the file in which a machine of a Script keeps its console.
const ScriptConsole = "console.reproduced.log"

// consolePort are the two serial ports of a machine without a host.
type consolePort struct{}

func (consolePort) Cmdline() []string {
	return []string{
		"-chardev", "stdio,id=ttyS0,signal=on,logfile=" + ScriptConsole + ",logappend=off", "-serial", "chardev:ttyS0",
		"-chardev", "null,id=ttyS1", "-serial", "chardev:ttyS1",
	}
}
