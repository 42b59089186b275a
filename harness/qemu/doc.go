// Package qemu runs one machine: its devices, its command line, its process,
// its QMP connection and its saved states. It knows nothing about trials.
//
// A machine is a q35 PC with disks and two serial ports, and nothing else: no network, no display, no folder shared with the host. QEMU runs in
// its seccomp sandbox. Kernel console (ttyS0), control port (ttyS1) and QMP are
// inherited descriptors, so that a machine has no name on the host and leaves
// none behind.
//
//	dir, err := cachedir.Scratch(ctx, root, "machine-")
//	disk, err := qemu.CreateDisk(ctx, dir.Path(), "a", 64<<20, qemu.Raw)
//	m, err := qemu.Start(ctx, qemu.Spec{
//		Accel: qemu.TCG, CPUs: 1, MemoryMiB: 512,
//		Kernel: "/boot/vmlinuz", Initrd: "initramfs.cpio", Append: "console=ttyS0",
//		Disks: []qemu.Disk{disk}, Dir: dir.Path(),
//	})
//	defer m.Close()
//	go io.Copy(log, m.Console())
//
// Save writes a machine to a folder, from which any number of machines start
// in some 50 ms, at the same time if need be:
//
//	err = m.Save(ctx, saved)                                  // ends m; an entry of a cachedir.Dir
//	m, err = qemu.Start(ctx, qemu.Spec{From: saved, Dir: dir.Path()})
//	if errors.Is(err, qemu.ErrRestore) { … }                  // make a new one
//
// The folder holds the guest's memory as a flat file, which every machine maps
// copy-on-write, the disks, over which every machine has its own overlays, and
// the state of CPUs and devices, some 240 kB. The guest's clocks continue where
// they stopped: a machine that is continued late has not missed a tick, and
// knows nothing of the time in between.
//
// Of four ways to do this it was the quickest. A Debian kernel under TCG, median
// milliseconds until the guest runs, and until it has answered and read a disk:
// this 55 and 157; a state file that holds the memory too 177 and 283;
// snapshot-load in the same QEMU, whose guest then sees its clock jump, 206 and
// 290; -loadvm of copied disks 409 and 522.
//
// What ends a machine:
//
//   - Close: asks QEMU to quit, then insists; nothing is left when it returns.
//   - The context of Start: the same, as if Close were called.
//   - The end of this process, even by SIGKILL: the kernel kills QEMU
//     (PR_SET_PDEATHSIG).
//   - QEMU itself: the guest reset or powered off, or QEMU failed. Done and
//     Err report it; the truth comes from wait(2), not from QMP.
//
// Trouble of the host is not the guest's: when a disk's file can't be
// read or written (no space left, say), QEMU stops the machine instead of
// handing the guest an I/O error, and Trouble reports it. A starved virtual CPU
// shows in Threads.
//
// # Faults and power cuts
//
// The image of a disk with Filter is served to QEMU by this process, as an NBD
// server over an inherited descriptor. A read of 4 KiB takes 5 to 70% longer
// then (TCG; AHCI 0.31 and 0.38 ms). What it tells the guest is always meant:
//
//	m, err := qemu.Start(ctx, qemu.Spec{Disks: []qemu.Disk{a, b}, …}) // a.Filter is true
//	err = m.Inject(qemu.Fault{Disk: "a", Do: qemu.FailRequest, Op: qemu.WriteOp, After: 2, Count: 6})
//	…                                                                 // the third write fails, also when the guest tries again
//	err = m.Heal("a")
//	m.Hits()                                                          // how often it was met
//
// Spec.Filter gives filters to a saved machine that had none. Trouble of the
// host with such a file is reported as ever, and the request is not answered.
//
// A request that a fault holds (Held) keeps QEMU from being paused or saved.
// When QEMU itself waits for one, because the guest gave it up and reset its
// controller, it is aborted. QEMU has 16 requests of a disk under way at most:
// with as many held, the others wait too.
//
// A Recording has what the guest wrote, to make the disks of what the next boot
// sees after a power cut:
//
//	rec, err := m.Record()                      // before the guest runs, or at any time
//	rec.Mark("step 3 done")                     // what the guest has said
//	err = m.Close()
//	for _, at := range rec.Moments() { // after each write, discard, flush and mark
//		disks, err := rec.Image(ctx, at, qemu.Choice{Lose: qemu.LoseSome, Torn: true, Seed: 7}, dir)
//		…                                   // qemu.Start with these disks
//	}
//	err = rec.Close()
//
// What was written before the recording counts as durable.
package qemu
