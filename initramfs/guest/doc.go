// Package guest is what runs inside the virtual machine: PID 1 and the child
// that does the I/O. Both are blockrig's own executable.
//
// PID 1 loads modules, finds the disks by their serial numbers, builds the
// storage stack with the real tools (lvm, mke2fs, mdadm), proves that the
// file it is going to read lies on that stack, and waits for a step. The
// child, started before, then makes the one system call, so that PID 1 can
// say that the child can't be killed. PID 1 never exits; the host ends the
// machine.
//
// What PID 1 reports goes to ttyS1 as messages of package protocol and, for
// people and for the saved console log, to /dev/kmsg.
package guest
