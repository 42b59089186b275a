// Package bundle puts all that it takes to make a trial again into one file, and
// reads such files, which may come from anybody.
//
// A bundle is a tar, packed with zstd, of one folder:
//
//	blockrig-bundle/
//	    reproduce.sh    makes the trial again, with QEMU and sh alone
//	    SHA256SUMS      of all other files
//	    verdict.json    what was expected, and what was seen (Verdict)
//	    trial.json      the record of the trial
//	    job.json        the job: case, disks, machine, seed
//	    scenario.yaml   the scenario as it was run
//	    programs/NAME   those of the scenario
//	    console.log     the console of the trial
//	    kernel          bzImage
//	    initramfs.cpio  with the modules and the guest program
//	    script.cpio     what follows it for reproduce.sh: all that the host said
//
// The same trial gives the same bytes. Where the host takes part in a trial, by
// faults of disks or power cuts, only replay can make it again: there is no
// script.cpio, and reproduce.sh says so.
//
// reproduce.sh shows the same findings on the console. That a task can't be
// killed is in there, too, but that this is a hang the host has to say: of such a
// console, classify gives the verdict of what the kernel reported, and replay that
// of the trial.
//
// What a bundle holds is data. Names and sizes are checked before anything is
// written, checksums before anything is used; nothing of it runs but in a guest.
package bundle
