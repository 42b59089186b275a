package console

import (
	"bytes"
	"regexp"
	"strings"
)

// speakers are how the messages of storage begin: drivers, stacks of block
// devices and file systems, as in the first words of what dev_err, pr_err and
// their like print. "#" stands for a number.
var speakers = []string{
	"ata#", "sd ", "sr ", "st ", "st#", "ch ", "scsi ", "scsi#", "SCSI error", "ses ", "nvme ", "nvme#", "nvmet", "block ", "blk_", "end_request", "print_req_error", "Buffer I/O",
	"EXT2-fs", "EXT3-fs", "EXT4-fs", "ext4", "jbd2", "JBD", "XFS", "Filesystem \"", "BTRFS", "btrfs", "bcachefs", "bcache", "F2FS-fs", "f2fs", "GFS2", "OCFS2", "ocfs2", "o2net", "o2hb", "o2cb", "dlm: ", "NILFS", "UBIFS", "UBI ", "UBI:", "ubi#", "mtd#", "nand: ", "spi-nor", "REISERFS", "ReiserFS", "JFS", "exFAT-fs", "FAT-fs", "NTFS-fs", "ntfs3", "ntfs: ", "erofs", "ISOFS", "isofs", "UDF-fs", "hfsplus", "hfs: ", "HFS", "SQUASHFS", "squashfs", "overlayfs", "orangefs", "minix", "VFS: ", "NFS: ", "nfs: ", "nfsd: ", "RPC: ", "CIFS", "cifs", "ksmbd", "9p", "fuse: ", "afs: ", "ecryptfs", "fscrypt", "fs-verity", "cramfs", "romfs", "affs", "befs", "ufs", "sysv", "zonefs",
	"md: ", "md/", "md#", "raid1", "raid5", "raid6: ", "raid10", "multipath: ", "device-mapper", "dm-", "dm_", "bio: ", "swap_", "Read-error on swap", "Write-error on swap", "zswap", "zram", "loop#", "loop: ", "nbd", "rbd", "libceph", "ceph", "drbd", "vbd ", "xen-blk", "blkfront", "virtio_blk", "virtio_scsi", "floppy", "pktcdvd", "aoe", "ublk", "rnbd", "skd", "mtip32xx", "rsxx", "null_blk", "brd: ",
	"mmc#", "mmcblk#", "sdhci", "mmci", "dwmmc", "ufshcd", "ufs_", "usb-storage", "uas ", "uas:", "ahci ", "ahci:", "pata_", "sata_", "ata_", "libata",
	"megaraid", "megasas", "mpt#sas", "mptbase", "mptscsih", "mptsas", "hpsa", "smartpqi", "aacraid", "aic7", "aic94", "arcmsr", "3w-", "3ware", "qla2xxx", "qla4xxx", "qedf", "qedi", "bnx2i", "bnx2fc", "be2iscsi", "lpfc", "bfa", "fnic", "snic", "csiostor", "cxgb", "fcoe", "libfc", "host#: ", "rport-", "session#", "connection#", "iscsi", "iSCSI", "isert", "iser", "ib_srp", "ib_isert", "srp", "sas: ", "mvsas", "pm80xx", "isci ", "hisi_sas", "hptiop", "ips ", "ips#", "gdth", "dpt_i2o", "stex", "esas2r", "mpi3mr", "cciss", "hv_storvsc", "storvsc", "vmw_pvscsi", "PVSCSI", "ibmvscsi", "ibmvfc", "zfcp", "dasd", "scm_block", "xpram", "nd_", "pmem", "dax", "ndbus", "libnvdimm", "target_core", "TARGET_CORE", "LIO", "tcm_", "iblock", "rd_",
	"ZFS", "zfs: ", "zio ", "SPL", "spl: ", "LustreError", "Lustre", "LDISKFS-fs", "LNet", "vdo", "kvdo", "scini", "DRBD",
}

// stems are in each of the complaints: to look for them is cheaper.
var stems = []string{
	"error", "Error", "ERROR", "failed", "Failed", "FAILED", "failin", "Failin", "failur", "Failur", "FAILUR", "timed", "Timed", "TIMED", "timeo", "Timeo", "TIMEO",
	"corrupt", "Corrupt", "CORRUPT", "offlin", "Offlin", "OFFLIN", "abort", "Abort", "ABORT", "fatal", "Fatal", "FATAL", " hung", " dead",
}

// complaints are the words of trouble.
var complaints = regexp.MustCompile(`(?i)\b(io_?|i/o )?(error|errors|failed|failing|failure|timed out|timedout|timeout|corrupt(ed|ion)?|offline[d]?|offlining|abort(ed|ing|s)?|fatal|hung|dead)\b`)

// sameTrouble is how many lines after an error that a row knows others may
// stand that only say more of it.
const sameTrouble = 50

// maxUnrecognized bounds the different complaints that are kept.
const maxUnrecognized = 50

// A speaker is one of speakers, cut at its number.
type speaker struct {
	head, tail string
	number     bool
}

// speaks reports whether a message begins as one of storage does.
func (t *tables) speaks(text []byte) bool {
	list := t.speakers[text[0]]
	for i := range list {
		sp := &list[i]
		n := len(sp.head)
		if len(text) < n || text[1] != sp.head[1] || string(text[:n]) != sp.head {
			continue
		}
		if !sp.number {
			return true
		}
		from := n
		for n < len(text) && isDigit(text[n]) {
			n++
		}
		if n > from && len(text)-n >= len(sp.tail) && string(text[n:n+len(sp.tail)]) == sp.tail {
			return true
		}
	}
	return false
}

// complaint takes a line that no row knows, if it is plainly storage's and
// plainly about trouble.
func (s *Scanner) complaint(m *message) {
	text := trimBlanks(m.text)
	if len(text) < 12 || len(text) > 1000 || m.origin == originUser || bytes.IndexByte(text, ':') < 0 {
		return
	}
	word := complaints.FindIndex(text)
	if word == nil || word[1] < len(text) && text[word[1]] == '=' { // "errors=remount-ro"
		return
	}
	if s.harmless(text) {
		return
	}
	title := "not recognised: " + normalise(printable(text))
	if len(title) > maxTitle {
		title = strings.ToValidUTF8(title[:maxTitle], "")
	}
	f := Finding{Kind: KindUnrecognized, Title: title, Line: s.lines, LastLine: s.lines, Count: 1}
	if s.unknown >= maxUnrecognized && s.index[string(s.key(&f, -1, s.boot))] == nil {
		return
	}
	if e, isNew := s.add(f, -1, when{m.usec, m.precise}, s.boot, s.quoteOfSeen(m, text)); e != nil {
		s.last = e
		if isNew {
			s.unknown++
			if s.onFinding != nil {
				s.onFinding(e.Finding)
			}
		}
	}
}
