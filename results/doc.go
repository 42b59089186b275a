// Package results keeps the record of runs: one folder for each run, in it one
// folder for each trial, and what can be read from them: tables, statistics,
// an exit status.
//
// A run's folder:
//
//	RUN/run.json                  what was run, when (Info)
//	RUN/request.json              what it is to do (Request), so that it can be resumed
//	RUN/trials.jsonl              the Record of every trial, one a line
//	RUN/NNNN-KERNEL-SCENARIO-CASE/
//	    result.json               the Record
//	    console.log               the serial console, as it came
//	    events.jsonl              what guest and host said, in order of time
//	    qemu.args                 the command line of the machine
//	    scenario.yaml             the scenario as it was run
//	    job.json                  the job: all that went in, by digest, and the seed
//
// Of many repeats of a case only the first of each signature has a folder;
// the others are in trials.jsonl alone. Resume continues a run. Once a run has
// ended, run.json has the number of its trials and the digest of trials.jsonl,
// so that what is lost or changed later is noticed.
//
// Beside the runs lies the index (package store), a database made of them, for
// questions about more than one run. OpenStore brings it up to date with the
// folders: what the process that recorded a trial could not add is added then.
//
// A trial's folder is made under a hidden name and renamed once all of it is
// on the disk, so it is there whole or not at all. A process that dies leaves
// hidden folders behind; it held its run (package cachedir) until then, and
// Sweep removes what nobody holds. What is stored is read as untrusted: names,
// sizes and contents are checked, and no link leads out of the store.
package results
