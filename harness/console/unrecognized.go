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
	"ata#", "sd ", "sr ", "st ", "st#", "ch ", "scsi ", "scsi#", "SCSI error", "ses ", "nvme ", "nvme#", "nvmet", "nvme_", "block ", "blk_", "end_request", "print_req_error", "Buffer I/O",
	"EXT2-fs", "EXT3-fs", "EXT4-fs", "ext4", "jbd2", "JBD", "XFS", "Filesystem \"", "BTRFS", "btrfs", "bcachefs", "bcache", "F2FS-fs", "f2fs", "GFS2", "gfs2", "OCFS2", "ocfs2", "o2net", "o2hb", "o2cb", "dlm: ", "NILFS", "UBIFS", "UBI ", "UBI:", "ubi#", "mtd#", "mtd: ", "nand: ", "spi-nor", "REISERFS", "ReiserFS", "JFS", "exFAT-fs", "FAT-fs", "NTFS-fs", "ntfs3", "ntfs: ", "erofs", "ISOFS", "isofs", "UDF-fs", "hfsplus", "hfs: ", "HFS", "SQUASHFS", "squashfs", "overlayfs", "orangefs", "minix", "VFS: ", "NFS: ", "nfs: ", "nfsd: ", "RPC: ", "CIFS", "cifs", "ksmbd", "9p", "fuse: ", "afs: ", "ecryptfs", "fscrypt", "fs-verity", "cramfs", "romfs", "affs", "befs", "ufs", "sysv", "zonefs", "AFFS", "BeFS", "AFS", "kAFS", "ADFS", "qnx4", "qnx6", "efs: ", "omfs", "hpfs", "HPFS", "jffs2", "JFFS2", "vxfs", "cachefiles", "CacheFiles", "CacheFS", "FS-Cache", "netfs", "lockd", "NFS4", "nfs4", "NFSD", "svc: ", "smb_direct", "ntfs3(", "ntfs(", "virtiofs", "virtio-fs", "virtio_fs", "zisofs", "iso9660", "Quota error", "quota_", "exfat", "nilfs", "eCryptfs",
	"md: ", "md/", "md-", "md#", "raid1", "raid5", "raid6: ", "raid10", "multipath: ", "device-mapper", "dm-", "dm_", "bio: ", "swap_", "Read-error on swap", "Write-error on swap", "zswap", "zram", "loop#", "loop: ", "nbd", "rbd", "libceph", "ceph", "drbd", "vbd ", "xen-blk", "blkfront", "virtio_blk", "virtio_scsi", "virtio_pmem", "zloop", "rtrs", "ps3disk", "ps3rom", "ps3vram", "mtip", "swim", "z2ram", "cdrom", "Dev sd", "Dev nvme", "partition ", "floppy", "pktcdvd", "aoe", "ublk", "rnbd", "skd", "mtip32xx", "rsxx", "null_blk", "brd: ",
	"mmc#", "mmcblk#", "sdhci", "mmci", "dwmmc", "ufshcd", "ufs_", "usb-storage", "uas ", "uas:", "ahci", "acard-ahci", "libahci", "pata_", "pata-", "sata_", "sata-", "ata_", "libata", "nd_", "UFSHCD", "mmc_",
	"megaraid", "megasas", "mpt#sas", "mptbase", "mptscsih", "mptsas", "hpsa", "smartpqi", "aacraid", "aic7", "aic94", "arcmsr", "3w-", "3ware", "qla2xxx", "qla4xxx", "qedf", "qedi", "bnx2i", "bnx2fc", "be2iscsi", "lpfc", "bfa", "fnic", "snic", "csiostor", "cxgb", "fcoe", "libfc", "host#: ", "rport-", "session#", "connection#", "iscsi", "iSCSI", "isert", "iser", "ib_srp", "ib_isert", "srp", "sas: ", "mvsas", "pm80xx", "isci ", "hisi_sas", "hptiop", "ips ", "ips#", "gdth", "dpt_i2o", "stex", "esas2r", "mpi3mr", "cciss", "hv_storvsc", "storvsc", "vmw_pvscsi", "PVSCSI", "ibmvscsi", "ibmvfc", "zfcp", "dasd", "scm_block", "xpram", "nd_", "pmem", "dax", "ndbus", "libnvdimm", "target_core", "TARGET_CORE", "LIO", "tcm_", "iblock", "rd_",
	"[0000:", "[0001:", "ipr ", "ipr: ", "ipr #:", "mvumi", "wd719x", "myrb", "myrs", "elx", "efct", "be2iscsi", "beiscsi", "sym53c8xx", "sym#", "esp: ", "scsi(", "SCSI subsystem", "aic", "ahd_", "ahc_", "aha1", "pmcraid", "mesh: ", "53c700", "qlogicpti", "fdomain", "atp870u", "dc395x", "nsp32", "BusLogic", "initio", "advansys", "xen-pvscsi", "xen-scsi", "scsifront", "libsas", "libsrp", "scsi_", "target", "transport_", "vhost_scsi", "sbp_target", "pSCSI", "PSCSI", "FILEIO", "tcmu", "svcrdma", "rpcrdma", "xprt", "libfcoe", "ufs-",
	"ZFS", "zfs: ", "zio ", "SPL", "spl: ", "LustreError", "Lustre", "LDISKFS-fs", "LNet", "vdo", "kvdo", "scini", "DRBD", "beegfs", "mmfs", "VxVM", "vxvm", "oracleasm",
}

// drivers are those of disks' and flashes' controllers that speakers does not
// tell by how they begin, as dev_err names them before a device: the .name of
// struct pci_driver and platform_driver in drivers/{ata,mmc,mtd,scsi,ufs}.
var drivers = []string{
	"arasan_cf", "brcm-ahci", "ep93xx-ide", "fsl-sata", "gemini_sata_bridge", "highbank-ahci", "mpc52xx_ata", "octeon-ahci", "palmld-pata", "pdc_adma", "st_ahci", "tegra-ahci", "xgene-ahci",
	"alcor_sdmmc", "atmel_mci", "au1xxx-mmc", "bcm2835-mmc", "brcmstb-sdhci", "cavium", "cqhci", "davinci_mmc", "dw-mmc", "dw_mmc", "dwcmshc-sdhci", "f-sdh30", "jz4740-mmc", "litex-mmc", "loongson2-mmc", "meson-gx-mmc", "meson-mx-sdhc", "meson-mx-sdio", "mmc-bcm2835", "mmc-moxart", "mmc-spi", "mt7621-mmc", "mtk-msdc", "mvsdio", "mxc-mmc", "mxs-mmc", "octeon_mmc", "omap_hsmmc", "owl_mmc", "pic32-sdhci", "pxa2xx-mci", "renesas-sdhi", "renesas_sdhi", "rtsx_pci_sdmmc", "rtsx_usb_sdmmc", "s3c-sdhci", "s3c-sdi", "sdhost-bcm2835", "sdricoh", "sh_mmcif", "sh_mobile_sdhi", "sunxi-mmc", "tifm_sd", "tmio-mmc", "tmio_mmc", "toshsd", "uniphier-sd", "usdhi6rol0", "ushc", "via_sdmmc", "vub300", "wbsd", "wmt-sdhc", "xenon-sdhci",
	"arasan-nand", "atmel-nand", "bcm47xxnflash", "brcmnand", "cadence-nand", "davinci_nand", "denali", "fsl-ifc", "fsl-lbc", "fsmc-nand", "gpmi-nand", "hisi_nand", "hisi504-nand", "ingenic-nand", "intel-nand", "lpc32xx", "marvell-nfc", "meson-nand", "mpc5121_nfc", "mtk-nand", "mtk-ecc", "mxc_nand", "mxic-nfc", "omap2-nand", "omap2-onenand", "onenand", "orion_nand", "pl35x-nand", "pl353-nand", "qcom-nandc", "renesas-nandc", "rockchip-nfc", "sh_flctl", "spi-nand", "st-spi-fsm", "stm32_fmc2_nfc", "sunxi_nand", "tango-nand", "tegra-nand", "vf610_nfc", "physmap-flash", "cfi_flash", "powernv_flash", "block2mtd", "phram", "mtdswap",
	"cdns-ufshcd", "exynos-ufs", "tc-dwc-g210", "ti-j721e-ufs", "mtk-ufs",
}

// stems are in each of the complaints: to look for them is cheaper.
var stems = []string{
	"error", "Error", "ERROR", "failed", "Failed", "FAILED", "failin", "Failin", "failur", "Failur", "FAILUR", "timed", "Timed", "TIMED", "timeo", "Timeo", "TimeO", "TIMEO",
	"corrupt", "Corrupt", "CORRUPT", "offlin", "Offlin", "OFFLIN", "abort", "Abort", "ABORT", "fatal", "Fatal", "FATAL", " hung", " dead",
	"nable to", "NABLE TO", "annot ", "ANNOT ", "an't ", "could", "Could", "an not ", "nvalid", "NVALID", " bad ", " Bad ", " BAD ", "nexpected", "ismatch", "MISMATCH", "nconsisten", "llegal", "erflow", "verrun", "nderrun", "roken", "stuck", "xceed", "leaked", "ncorrect", "wrong", "Wrong", " lost", "Lost ",
	" fail", " Fail", " FAIL", "Fault", "fault", "alformed", "an out of", "egraded", "DEGRADED", "out of ", "Out of ", "OUT OF ", "respon", "nrecover", "nsufficient", "reject", "Reject", "parity", "Parity", "isconnect", "no space", "No space", "err: -", "err=-", "err -", "ret: -", "ret=-", "ret -", "rc: -", "rc=-E", "rc = -", " rc -", "returned -", "errno", " -EIO", "ot found", "ot enough", "oo many", "refus", "denied", "too la", "too sm", "too sh", "too lo", "too bi", "too hi", "gic BUG", "GIC BUG", " leak", "naligned", "t aligned", "nsupported", "t supported", "onflict", "o memory",
}

// complaints are the words of trouble.
var complaints = regexp.MustCompile(`(?i)\b(io_?|i/o )?(errors?|failed|failing|fails?|failures?|timed out|timedout|timeouts?|corrupt(ed|ion)?|offlined?|offlining|abort(ed|ing|s)?|fatal|hung|dead` +
	`|unable to|cannot|can't|can not|couldn't|could not|invalid|bad|unexpected|mismatch(ed|es)?|inconsisten(t|cy)|illegal|overflow(ed|s)?|overruns?|underruns?|broken|stuck|exceed(s|ed|ing)?|leaked|incorrect|wrong|lost|faults?|malformed` +
	`|(ran|run|is|are) out of|out of (memory|range|order|bounds?|resources|sync|space)|degraded|not respond(ed|ing)|no response|unrecoverable|insufficient|rejected|rejecting|parity|disconnected|disconnecting|no space|not found|not enough|too many|refused|refusing|denied|too (large|small|short|long|big|high)|logic bug|leaks?|unaligned|not aligned|unsupported|not supported|conflicts?|no memory)\b|\b(err|errno|ret|rc|returned)(: |=| = | )-(E[A-Z]+|\d+)\b| -EIO\b`)

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

// isSetting: what follows a word gives it a value, as in "errors=remount-ro";
// a negative one is an errno.
func isSetting(rest []byte) bool {
	return len(rest) > 0 && rest[0] == '=' && !bytes.HasPrefix(rest, []byte("=-"))
}

// complaint takes a line that no row knows, if it is plainly storage's and
// plainly about trouble.
func (s *Scanner) complaint(m *message) {
	text := trimBlanks(m.text)
	if len(text) < 12 || len(text) > 1000 || m.origin == originUser || bytes.IndexByte(text, ':') < 0 {
		return
	}
	word := complaints.FindIndex(text)
	if word == nil || isSetting(text[word[1]:]) {
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
