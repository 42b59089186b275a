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
//	    script-2.cpio   the same of the boot after the first power cut, and so on
//
// The same trial gives the same bytes.
//
// What the host does in a trial reproduce.sh has QEMU do, when the guest asks for
// it on its second serial port: requests that fail (blkdebug), disks that are taken
// away and put back, and power cuts in which no disk loses what it has said it has.
// What takes blockrig's own disk server only replay can make again (late, lost,
// torn, stale or flipped data, a bad medium, writes that a power cut loses or tears):
// there is no script.cpio then, and reproduce.sh says so and ends with status 2.
//
// reproduce.sh shows the same findings on the console, and what the guest says of
// the last step. Of such a console classify gives the verdict of what the kernel
// reported, of wrong data and of tasks that can't be killed. What an answer or a leg
// is worth, and which I/O errors a fault explains, the host has to say: replay gives
// the verdict of the trial.
//
// What a bundle holds is data. Names and sizes are checked before anything is
// written, checksums before anything is used; nothing of it runs but in a guest.
package bundle
