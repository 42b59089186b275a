package console

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// shown1 is a finding in one line.
func shown1(f Finding) string {
	s := fmt.Sprintf("%s %s", f.Kind, f.Title)
	if f.Place != "" {
		s += " @" + f.Place
	}
	if f.Consequence {
		s += " (follows)"
	}
	return s
}

// Given what people put into bug reports, each in its smallest form, when it
// is read, then it says what went wrong.
func TestPublicReports(t *testing.T) {
	for _, c := range []struct {
		name, log string
		want      []string
	}{
		// Storage.
		{"ZFS", "VERIFY3(zfs_rs_get_end(rs, rt) >= end) failed (498722471936 >= 498724454400)\nPANIC at range_tree.c:503:zfs_range_tree_remove_impl()\nShowing stack for process 812\nCPU: 3 PID: 812 Comm: txg_sync Tainted: P           O       6.8.12-4-pve #1\nCall Trace:\n <TASK>\n dump_stack_lvl+0x76/0xa0\n spl_panic+0x102/0x120 [spl]\n zfs_range_tree_remove_impl+0x1/0x2 [zfs]\n metaslab_alloc_dva+0x1/0x2 [zfs]\n", []string{"bug ZFS PANIC in zfs_range_tree_remove_impl @range_tree.c:503"}},
		{"a driver that no row knows", "Linux version 6.1.0 (a@b) #1\n[   10.000000] mvumi 0000:01:00.0: up\n[   11.000000] pm80xx 0000:05:00.0: pm80xx_chip_post_init failed\n", []string{"unrecognized not recognised: pm80xx DEV: pm80xx_chip_post_init failed"}},
		// First lines.
		{"WARN of a module, RHEL 6", "WARNING: at include/net/mac80211.h:3618 rate_control_send_low+0x23e/0x250 [mac80211]()\n", []string{"warn WARNING in rate_control_send_low @include/net/mac80211.h:3618"}},
		{"WARN, place only", "WARNING: at arch/powerpc/platforms/pseries/eeh.c:390\nCall Trace:\n[c0000001e2b3f8c0] [c00000000003a5b4] .eeh_dn_check_failure+0x1f4/0x390\n", []string{"warn WARNING in eeh_dn_check_failure @arch/powerpc/platforms/pseries/eeh.c:390"}},
		{"WARN of the newest kernels", "WARNING: fs/ext4/xattr.c:1058 at 0x0, CPU#0: fio/5982\nRIP: 0010:ext4_xattr_inode_update_ref+0x4f/0x60\n", []string{"warn WARNING in ext4_xattr_inode_update_ref @fs/ext4/xattr.c:1058"}},
		{"LoongArch", "CPU 3 Unable to handle kernel paging request at virtual address 0000000000000008, era == 9000000000e0e1d4, ra == 9000000000e0e1c0\nOops[#1]:\nCPU: 3 PID: 812 Comm: fio Not tainted 6.10.0 #1\npc 9000000000e0e1d4 ra 9000000000e0e1c0 tp 9000000100000000 sp 9000000100003c00\n   ra: 9000000000e0e1c0 bio_endio+0x20/0x100\n  ERA: 9000000000e0e1d4 bio_put+0x14/0x80\n", []string{"bug BUG: unable to handle kernel paging request in bio_put"}},
		{"MIPS", "CPU 0 Unable to handle kernel paging request at virtual address 00000014, epc == 80106b40, ra == 80106b38\nOops[#1]:\nepc   : 80106b40 bio_put+0x10/0x30\n", []string{"bug BUG: unable to handle kernel paging request in bio_put"}},
		{"a segment's fault", "segment-related general protection fault: beec [#2] PREEMPT SMP\nRIP: 0010:bio_put+0x1/0x2\n", []string{"bug general protection fault in bio_put"}},
		{"divide_error", "divide_error: 0000 [#1] SMP\nRIP: 0010:bio_put+0x1/0x2\n", []string{"bug divide error in bio_put"}},
		{"objects left", "BUG sas_task: Objects remaining on kmem_cache_close()\n", []string{"bug BUG: slab: Objects remaining on kmem_cache_close()"}},
		{"locks held", "[ BUG: fio/31761 still has locks held! ]\n3.10.0 #1 Not tainted\n1 lock held by fio/31761:\n #0:  (&p->lock){+.+.+.}, at: [<ffffffff81234567>] seq_read+0x3c/0x3e0\n", []string{"warn BUG: still has locks held"}},
		{"KASAN, of two kinds", "BUG: KASAN: double-free or invalid-free in F+0x15/0x20\n", []string{"bug KASAN: invalid-free in F"}},
		{"PA-RISC", "Kernel Fault: Code=15 (Data TLB miss fault) at addr 0000000000000010\nCPU: 0 PID: 12 Comm: fio Not tainted 6.1.0 #1\nIAOQ[0]: bio_endio+0x30/0x50\n", []string{"bug Kernel Fault in bio_endio"}},
		{"Alpha", "Unable to handle kernel paging request at virtual address 0000000000000000\nfio(123): Oops 0\npc is at elv_rqhash_find+0x30/0x90\n", []string{"bug BUG: unable to handle kernel paging request in elv_rqhash_find"}},
		// A report without its head.
		{"arm64's registers alone", "pc : f2fs_allocate_data_block+0x1a8/0x1000\nlr : f2fs_allocate_data_block+0x1a0/0x1000\nCall trace:\n f2fs_allocate_data_block+0x1a8/0x1000\n do_write_page+0x1/0x2\n", []string{"warn part of a report in f2fs_allocate_data_block"}},
		{"a trace alone", "[  100.000001] Call Trace:\n[  100.000002]  bio_put+0x1/0x20\n[  100.000003]  clone_endio+0x1/0x20 [dm_mod]\n", []string{"warn part of a report in bio_put"}},
		{"what sysrq was asked for", "[  100.000000] sysrq: Show Blocked State\n[  100.000000] task:fio state:D stack:0 pid:12 ppid:1 flags:0x0\n[  100.000001] Call Trace:\n[  100.000002]  bio_put+0x1/0x20\n", nil},
		{"MIPS's registers alone", "epc   : 80106b40 bio_put+0x10/0x30\nra    : 80106b38 bio_endio+0x1/0x2\n", []string{"warn part of a report in bio_put"}},
		{"who ran and where", "Modules linked in: nvme dm_mod\nCPU: 3 PID: 12 Comm: fio Tainted: G        W  OE     5.4.0 #1\nHardware name: X\nRIP: 0010:bio_put+0x1/0x20\n", []string{"warn part of a report in bio_put"}},
		{"the end of a trace alone", "[   12.000000]  clone_endio+0x1/0x20 [dm_mod]\n[   12.000001]  blk_mq_end_request+0x1/0x20\n[   12.000003] ---[ end trace 0123456789abcdef ]---\n", []string{"warn part of a report"}},
		{"the end of a trace, and a panic", "[   12.000003] ---[ end trace 0123456789abcdef ]---\n[   12.000004] Kernel panic - not syncing: Fatal exception\n", []string{"warn part of a report", "panic kernel panic: Fatal exception"}},
		{"a second end of a trace", "[   12.000003] WARNING: CPU: 0 PID: 1 at fs/f.c:1 f+0x1/0x2\n[   12.000003] ---[ end trace 0123456789abcdef ]---\n[   12.000004] ---[ end trace 0123456789abcdef ]---\n", []string{"warn WARNING in f @fs/f.c:1"}},
		// Lines that a mail program or a pager broke.
		{"an I/O error, wrapped", "[ 1000.123456] blk_update_request: I/O error, dev nvme0n1, sector\n1234567890 op 0x1:(WRITE) flags 0x800 phys_seg 16 prio class 0\n", []string{"io I/O error, WRITE @nvme0n1"}},
		{"a file system's, wrapped in a mail", "> Jun 14 18:08:32 host kernel: EXT4-fs error (device sda1):\n> ext4_find_entry:1455: inode #2: comm ls: reading directory lblock 0\n", []string{"io EXT4-fs error in ext4_find_entry @sda1"}},
		{"an I/O error, cut by a pager", "[ 1000.123456] blk_update_request: I/O error, dev sda, sector 1>\n", []string{"io I/O error @sda"}},
		{"a file system's, cut by a pager", "[ 1000.123456] EXT4-fs error (device sda1): ext4_find_ent>\n", []string{"io EXT4-fs error @sda1"}},
		// Titles without prefixes, times, addresses and devices.
		{"a collector's time", "[2024-06-14T23:37:24.858812Z] [19732.858812] I/O error, dev nvme0n1, sector 8 op 0x1:(WRITE) flags 0x0\n", []string{"io I/O error, WRITE @nvme0n1"}},
		{"a bare kernel:", "kernel: blk_update_request: I/O error, dev sda, sector 8 op 0x0:(READ) flags 0x0\n", []string{"io I/O error, READ @sda"}},
		{"an unknown prefix", "host1 | kern | blk_update_request: I/O error, dev sda, sector 8 op 0x0:(READ) flags 0x0\n", nil},
		// The function to blame.
		{"a sleep of ZFS's", "INFO: task txg_sync:812 blocked for more than 120 seconds.\nCall Trace:\n __schedule+0x1/0x2\n schedule+0x1/0x2\n cv_wait_common+0x1/0x2 [spl]\n __cv_wait+0x1/0x2 [spl]\n zio_wait+0x1/0x2 [zfs]\n dsl_pool_sync_mos+0x1/0x2 [zfs]\n", []string{"hang INFO: task hung in dsl_pool_sync_mos"}},
		{"a sleep of 2.6's", "INFO: task fio:812 blocked for more than 120 seconds.\nCall Trace:\n [<ffffffff81234567>] io_schedule+0x1/0x2\n [<ffffffff81234567>] sync_page+0x1/0x2\n [<ffffffff81234567>] __wait_on_bit_lock+0x1/0x2\n [<ffffffff81234567>] __lock_page+0x1/0x2\n [<ffffffff81234567>] write_cache_pages+0x1/0x2\n", []string{"hang INFO: task hung in write_cache_pages"}},
		{"a file system's own lock", "INFO: task fio:12 blocked for more than 120 seconds.\nCall Trace:\n [<ffffffff81234567>] schedule+0x29/0x70\n [<ffffffff81234567>] xfs_buf_lock+0x1/0x2 [xfs]\n", []string{"hang INFO: task hung in xfs_buf_lock"}},
		{"a 32-bit ioctl of one device", "watchdog: BUG: soft lockup - CPU#3 stuck for 26s! [fio:99]\nRIP: 0010:bio_put+0x1/0x2\nCall Trace:\n dm_ctl_ioctl+0x1/0x2\n compat_SyS_ioctl+0x1/0x2\n do_fast_syscall_32+0x1/0x2\n", []string{"hang BUG: soft lockup in dm_ctl_ioctl"}},
		{"guesses only", "INFO: task fio:812 blocked for more than 120 seconds.\nCall Trace:\n ? __schedule+0x1/0x2\n ? __split_and_process_bio+0x1/0x2\n ? schedule+0x1/0x2\n ? io_schedule+0x1/0x2\n ? ext4_mpage_readpages+0x1/0x2\n", []string{"hang INFO: task hung in ext4_mpage_readpages"}},
		{"a stall with RCU's thread starved", "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:\nrcu: \t1-...!: (0 ticks this GP) idle=1/1/0\nrcu: rcu_preempt kthread starved for 10502 jiffies! g1 f0x0 RCU_GP_WAIT_FQS(5) ->state=0x0 ->cpu=1\nrcu: RCU grace-period kthread stack dump:\ntask:rcu_preempt state:R running task stack:0 pid:10\nCall Trace:\n __schedule+0x1/0x2\n rcu_gp_fqs_loop+0x1/0x2\n rcu_gp_kthread+0x1/0x2\nrcu: Stack dump where RCU GP kthread last ran:\nSending NMI from CPU 0 to CPUs 1:\nNMI backtrace for cpu 1\nRIP: 0010:native_queued_spin_lock_slowpath+0x1/0x2\nCall Trace:\n _raw_spin_lock+0x1/0x2\n dm_get_live_table+0x1/0x2\n dm_blk_ioctl+0x1/0x2\n blkdev_ioctl+0x1/0x2\n", []string{"hang INFO: rcu detected stall in dm_blk_ioctl"}},
		{"scheduling while atomic", "BUG: scheduling while atomic: fio/812/0x00000002\nCall Trace:\n dump_stack+0x1/0x2\n __schedule_bug+0x1/0x2\n __schedule+0x1/0x2\n schedule+0x1/0x2\n exit_to_user_mode_prepare+0x1/0x2\n raid5_make_request+0x1/0x2\n", []string{"bug BUG: scheduling while atomic in raid5_make_request"}},
		{"a helper that prints", "general protection fault: 0000 [#1] SMP\nRIP: 0010:string_nocheck+0x1/0x2\nCall Trace:\n string+0x1/0x2\n vsnprintf+0x1/0x2\n dm_table_print+0x1/0x2\n", []string{"bug general protection fault in dm_table_print"}},
		// No alarm.
		{"no discard, before 5.17", "blk_update_request: operation not supported error, dev vdb, sector 826298624 op 0x9:(WRITE_ZEROES) flags 0x800 phys_seg 0 prio class 0\n", nil},
		{"no floppy", "blk_update_request: I/O error, dev fd0, sector 0 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 0\nBuffer I/O error on dev fd0, logical block 0, async page read\n", nil},
		{"a disk that refuses to discard", "[   10.000000] sd 0:0:0:0: [sda] tag#3 FAILED Result: hostbyte=DID_OK driverbyte=DRIVER_OK cmd_age=0s\n[   10.000001] sd 0:0:0:0: [sda] tag#3 Sense Key : Illegal Request [current] \n[   10.000002] sd 0:0:0:0: [sda] tag#3 Add. Sense: Invalid field in cdb\n[   10.000003] sd 0:0:0:0: [sda] tag#3 CDB: Unmap/Read sub-channel 42 00 00 00 00 00 00 00 18 00\n[   10.000004] critical target error, dev sda, sector 2048 op 0x3:(DISCARD) flags 0x800 phys_seg 1 prio class 2\n", nil},
		{"a disk that refuses to read", "[   10.000000] sd 0:0:0:0: [sda] tag#3 FAILED Result: hostbyte=DID_OK driverbyte=DRIVER_OK cmd_age=0s\n[   10.000001] sd 0:0:0:0: [sda] tag#3 Sense Key : Illegal Request [current] \n[   10.000002] sd 0:0:0:0: [sda] tag#3 Add. Sense: Logical block address out of range\n[   10.000003] sd 0:0:0:0: [sda] tag#3 CDB: Read(10) 28 00 00 00 00 00 00 00 18 00\n", []string{"io SCSI command FAILED @sda"}},
		{"a reader without a card", "[   10.000000] sd 6:0:0:0: [sdb] tag#0 FAILED Result: hostbyte=DID_OK driverbyte=DRIVER_OK cmd_age=0s\n[   10.000001] sd 6:0:0:0: [sdb] tag#0 Sense Key : Not Ready [current] \n[   10.000002] sd 6:0:0:0: [sdb] tag#0 Add. Sense: Medium not present\n", nil},
		{"a stick that was pulled out", "[   10.000000] usb 1-1: USB disconnect, device number 5\n[   10.000001] FAT-fs (sdb1): Volume was not properly unmounted. Some data may be corrupt. Please run fsck.\n[   10.000002] sd 6:0:0:0: [sdb] Synchronizing SCSI cache\n", nil},
		// One event, one finding.
		{"what WARN says after its place", "WARNING: at lib/list_debug.c:53 __list_del_entry+0xa1/0xd0()\nHardware name: X\nlist_del corruption. prev->next should be ffff8801d5ba8d80, but was dead000000100100\nCall Trace:\n warn_slowpath_fmt+0x1/0x2\n __list_del_entry+0x1/0x2\n dm_io_done+0x1/0x2\n", []string{"warn WARNING in dm_io_done @lib/list_debug.c:53"}},
		{"an oops shown twice", "kern  :alert : [   10.000001] BUG: unable to handle page fault for address: 0000000000000010\nkern  :alert : [   10.000002] #PF: supervisor read access in kernel mode\n\nthe whole of it:\nas it was:\nhere:\n[   10.000001] BUG: unable to handle page fault for address: 0000000000000010\n[   10.000002] #PF: supervisor read access in kernel mode\n[   10.000003] Oops: 0000 [#1] SMP\n[   10.000004] RIP: 0010:bio_put+0x1/0x2\n[   10.000005] Call Trace:\n[   10.000006]  clone_endio+0x1/0x2\n[   10.000007] ---[ end trace 0000000000000000 ]---\n", []string{"bug BUG: unable to handle kernel paging request in bio_put"}},
		{"a hang after an oops", "[   10.000001] BUG: kernel NULL pointer dereference, address: 0000000000000010\n[   10.000004] RIP: 0010:bio_put+0x1/0x2\n[   10.000007] ---[ end trace 0000000000000000 ]---\n[  130.000000] INFO: task fio:812 blocked for more than 120 seconds.\n", []string{"bug BUG: unable to handle kernel NULL pointer dereference in bio_put", "hang INFO: task hung (follows)"}},
		// Titles that say enough.
		{"the disk that md kicks", "md/raid:md2: Disk failure on sdb6, disabling device.\n", []string{"io md/raid: Disk failure, disabling device @sdb6 of md2"}},
		{"what BTRFS says", "BTRFS error (device sda1): bdev /dev/sda1 errs: wr 1, rd 0, flush 0, corrupt 0, gen 0\nBTRFS error (device sda1): parent transid verify failed on 12345 wanted 7 found 5\n", []string{"io BTRFS error: bdev DEV errs: wr NUM, rd NUM, flush NUM, corrupt NUM, gen NUM @sda1", "io BTRFS error: parent transid verify failed on NUM wanted NUM found NUM @sda1"}},
		// Frames.
		{"32-bit Arm", "INFO: task fio:812 blocked for more than 120 seconds.\n[<80a87848>] (__schedule) from [<80a88018>] (schedule+0x3c/0xa0)\n[<80a88018>] (schedule) from [<80123456>] (jbd2_log_wait_commit+0x3c/0xa0)\n[<80123456>] (jbd2_log_wait_commit) from [<80123456>] (ext4_sync_file+0x3c/0xa0)\n[<80123456>] (ext4_sync_file) from [<80123456>] (do_fsync+0x3c/0xa0)\n", []string{"hang INFO: task hung in ext4_sync_file"}},
		{"RHEL 5", "INFO: task kjournald:812 blocked for more than 120 seconds.\nCall Trace:\n [<ffffffff80064c6f>] io_schedule+0x3f/0x67\n [<ffffffff88034ea9>] :jbd:journal_commit_transaction+0x543/0x1066\n", []string{"hang INFO: task hung in journal_commit_transaction"}},
		{"RHEL 5's registers", "Unable to handle kernel NULL pointer dereference at 0000000000000018 RIP: \n [<ffffffff8803a1b2>] :ext3:ext3_ordered_writepage+0x42/0x198\nOops: 0000 [1] SMP \nPid: 412, comm: pdflush Not tainted 2.6.18-8.el5 #1\nRIP: 0010:[<ffffffff8803a1b2>]  [<ffffffff8803a1b2>] :ext3:ext3_ordered_writepage+0x42/0x198\nCall Trace:\n [<ffffffff8001bbd7>] mpage_writepages+0x1bf/0x37d\n", []string{"bug BUG: unable to handle kernel NULL pointer dereference in ext3_ordered_writepage"}},
		{"PANIC with a sanitizer", "BUG: KASAN: slab-use-after-free in bio_put+0x1/0x2\nRead of size 8 at addr ffff8801d5ba8d80 by task fio/812\n", []string{"bug KASAN: slab-use-after-free Read in bio_put"}},
	} {
		var got []string
		for _, f := range scan([]byte(c.log)).Findings() {
			got = append(got, shown1(f))
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
	}
}

// Given RHEL's lines of who ran, when they are read, then the release and the
// command are theirs alone.
func TestWhoRan(t *testing.T) {
	f := scan([]byte("BUG: unable to handle page fault for address: 0\nCPU: 1 PID: 812 Comm: su Kdump: loaded Tainted: G           OE    --------- -  - 4.18.0-240.el8.x86_64 #1\nRIP: 0010:bio_put+0x1/0x2\n")).Findings()
	if len(f) != 1 || f[0].Comm != "su" || f[0].Release != "4.18.0-240.el8.x86_64" || f[0].Tainted != "G OE" {
		t.Errorf("%+v", f)
	}
	f = scan([]byte("BUG: unable to handle page fault for address: 0\nCPU: 1 PID: 812 Comm: fio Kdump: loaded Tainted: P           OE    --------- -t - 4.18.0-372.el8.x86_64 #1\nRIP: 0010:bio_put+0x1/0x2\n")).Findings()
	if len(f) != 1 || f[0].Release != "4.18.0-372.el8.x86_64" || f[0].Tainted != "P OE" {
		t.Errorf("%+v", f)
	}
}

// Given what the rate limit left out before the first line that it shows, when
// that is another row of the same function, then it counts there.
func TestSuppressedBeforeAnotherRow(t *testing.T) {
	f := scan([]byte("blk_update_request: 144 callbacks suppressed\nblk_update_request: I/O error, dev sda, sector 8\n")).Findings()
	if len(f) != 1 || f[0].Count != 145 {
		t.Errorf("%+v", f)
	}
	f = scan([]byte("Buffer I/O error on device sda1, logical block 5\n__ratelimit: 12 callbacks suppressed\nquiet_error: 5 callbacks suppressed\n")).Findings()
	if len(f) != 1 || f[0].Count != 18 {
		t.Errorf("%+v", f)
	}
}

// No title holds a time, an address, a device or a prefix.
func TestTitlesAreStable(t *testing.T) {
	for in, want := range map[string]string{
		"device error on sdb1 at 0xffff8801d5ba8d80": "device error on DEV at ADDR",
		"nvme0n1p2: bad 12 of 0000:03:00.0":          "DEV: bad NUM of DEV",
		"foo+0x12/0x34 failed with -5":               "foo failed with -NUM",
	} {
		if got := normalise(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	if strings.Contains(normalise("/dev/mapper/vg-lv: x"), "mapper") {
		t.Error("a path stays")
	}
}

// Given an oops of i386 before 2.6.25, when it is read, then the release is
// known from the line of the flags.
func TestReleaseBesideTheFlags(t *testing.T) {
	f := scan([]byte("Unable to handle kernel paging request at virtual address 00100104\nOops: 0002 [#1]\nEFLAGS: 00010206   (2.6.18-8.el5 #1) \nEIP is at raid1d+0x2c/0x1a0 [raid1]\n")).Findings()
	if len(f) != 1 || f[0].Release != "2.6.18-8.el5" {
		t.Errorf("%+v", f)
	}
}

// Given 32-bit Arm's lines of who ran, of kernels before 3.10, when they are
// read, then the release, the command and its number are known.
func TestWhoRanOnOldArm(t *testing.T) {
	for _, line := range []string{"CPU: 2    Tainted: G        W  O  (3.4.67 #1)", "CPU: 0    Not tainted  (3.4.67 #1)"} {
		f := scan([]byte("Unable to handle kernel NULL pointer dereference at virtual address 00000010\nInternal error: Oops: 5 [#1] PREEMPT SMP ARM\n" + line + "\nPC is at mmc_blk_rw+0x20/0x400\nProcess mount (pid: 13186, stack limit = 0xc8c14238)\n")).Findings()
		if len(f) != 1 || f[0].Release != "3.4.67" || f[0].Comm != "mount" || f[0].PID != 13186 {
			t.Errorf("%s: %+v", line, f)
		}
	}
}
