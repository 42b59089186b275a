package engine

import "golang.org/x/sys/unix"

// Submitted is how many bytes of requests the block layer has taken from this
// process, of reads and of direct writes (task_io_account_read in submit_bio). Of
// other writes it is what they made dirty in the page cache (folio_account_dirtied).
// It is counted before any device is asked, so that it also shows what a device
// answers out of a map or of memory, which the device's own counters need not:
// since Linux 5.18 a thin volume does not count the read of a hole.
func Submitted() int64 {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return (u.Inblock + u.Oublock) * sectorSize
}
