package main

import (
	"fmt"
	"strings"
)

// A change is one replacement in one file.
type change struct {
	file     string
	old, new string
	every    bool // where old stands; else it must stand there once
}

// A role is what a commit is for.
type role string

// Roles.
const (
	roleFirst   role = "first"    // takes a part of the fix back; nothing is seen of it yet
	roleSecond  role = "second"   // another one
	roleCulprit role = "culprit"  // the last one: the failure is there
	roleOwn     role = "own"      // changes the culprit's own functions
	roleOther   role = "other"    // changes block, md, iomap or ext4
	roleBuild   role = "no build" // does not compile
	roleBoot    role = "no boot"  // does not boot
	roleRevert  role = "revert"   // of one of the two
	roleWarn    role = "warns"    // warns at boot
	roleBreaks  role = "breaks"   // breaks another scenario
	roleWarnDIO role = "warn"     // warns of every direct read: another thing than the culprit's
	roleNoMem   role = "ENOMEM"   // has longer direct reads answer ENOMEM, for a while
	roleSlow    role = "slow"     // has longer direct reads take as long as they are told
	roleRewrite role = "rewrite"  // changes a line of the culprit's, so that it can't be reverted whole
)

// An edit is a commit to be.
type edit struct {
	role    role
	title   string
	changes []change
}

const (
	directIO = "fs/iomap/direct-io.c"
	dmIO     = "drivers/md/dm-io.c"
	dmRaid1  = "drivers/md/dm-raid1.c"
	ext4File = "fs/ext4/file.c"
)

// The three that take the fix back (14b007e17881, 62dc37a819a5 and
// 47a5e62f3987 of Linus's tree), each a part of it.
var (
	countAsError = edit{
		title:   "dm-io: count EINVAL as an error",
		changes: []change{{file: dmIO, old: "if (error == BLK_STS_NOTSUPP || error == BLK_STS_INVAL)", new: "if (error == BLK_STS_NOTSUPP)"}},
	}
	asMediaError = edit{
		title:   "dm raid1: treat EINVAL as a media error",
		changes: []change{{file: dmRaid1, old: "if (*error == BLK_STS_NOTSUPP || *error == BLK_STS_INVAL)", new: "if (*error == BLK_STS_NOTSUPP)"}},
	}
	// Every caller in the file: newer kernels have a second one, for simple
	// reads.
	noMask = edit{
		title:   "iomap: pass no alignment mask to the page extraction",
		changes: []change{{file: directIO, old: "bdev_dma_alignment(bio->bi_bdev),", new: "0,", every: true}},
	}
)

// counter changes the code of a function and not what it does: it counts how
// often the place before a statement is passed.
func counter(r role, title, name, file, before string) edit {
	indent := before[:len(before)-len(strings.TrimLeft(before, "\t"))]
	code := fmt.Sprintf("%[1]s{\n%[1]s\tstatic unsigned long nr_%[2]s;\n\n%[1]s\tWRITE_ONCE(nr_%[2]s, READ_ONCE(nr_%[2]s) + 1);\n%[1]s}\n", indent, name)
	return edit{role: r, title: title, changes: []change{{file: file, old: before, new: code + before}}}
}

// neutral changes generated code in many places. The first of each role are
// taken that fit the sources.
var neutral = []edit{
	counter(roleOwn, "iomap: count the bios of direct I/O", "bios", directIO, "\tbio->bi_write_hint = iter->inode->i_write_hint;\n"),
	counter(roleOwn, "iomap: count where an atomic write would be checked", "atomic", directIO, "\tif ((op & REQ_ATOMIC) && WARN_ON_ONCE("),
	counter(roleOwn, "iomap: count what direct I/O accounts", "accounted", directIO, "\tif (dio->flags & IOMAP_DIO_WRITE)\n\t\ttask_io_account_write(ret);"),
	counter(roleOwn, "iomap: count the bios that can be polled for", "polled", directIO, "\tif (iov_iter_count(dio->submit.iter))\n\t\tdio->iocb->ki_flags &= ~IOCB_HIPRI;"),
	counter(roleOwn, "iomap: count simple reads by their alignment", "aligned", directIO, "\talignment = iomap_dio_alignment(iomi->inode, iomi->iomap.bdev, 0);"),
	counter(roleOwn, "iomap: count the simple reads that begin", "begun", directIO, "\ttrace_iomap_dio_rw_begin(iocb, iter, 0, 0);\n"),
	counter(roleOwn, "iomap: count simple reads by their size", "sized", directIO, "\tsr->size = bio->bi_iter.bi_size;\n"),
	counter(roleOwn, "iomap: count the simple reads that wait", "waiting", directIO, "\tif (is_sync_kiocb(iocb)) {\n\t\tsubmit_bio_wait(bio);"),

	counter(roleOther, "iomap: count the extents of direct I/O", "extents", directIO, "\torig_count = iov_iter_count(dio->submit.iter);\n"),
	counter(roleOther, "block: count the last puts of bios", "puts", "block/bio.c", "\tif (unlikely(bio_flagged(bio, BIO_REFFED))) {"),
	counter(roleOther, "block: count the bios submitted", "submitted", "block/blk-core.c", "\tbio_set_ioprio(bio);\n\tsubmit_bio_noacct(bio);\n"),
	counter(roleOther, "blk-mq: count the bios that become requests", "queued", "block/blk-mq.c", "\tif (unlikely(bio_unaligned(bio, q))) {"),
	counter(roleOther, "dm-io: count completions", "completed", dmIO, "\tif (io->vma_invalidate_size)\n\t\tinvalidate_kernel"),
	counter(roleOther, "dm-io: count callbacks", "callbacks", dmIO, "\tmempool_free(io, &io->client->pool);\n\tfn(error_bits"),
	counter(roleOther, "dm raid1: count retried reads", "retried", dmRaid1, "\tm = bio_get_m(bio);\n\tbio_set_m(bio, NULL);\n\n\tif (likely(!error)) {"),
	counter(roleOther, "dm raid1: count the reads mapped", "mapped", dmRaid1, "\tm = choose_mirror(ms, bio->bi_iter.bi_sector);\n\tif (unlikely(!m))\n\t\treturn DM_MAPIO_KILL;"),
	counter(roleOther, "dm: count the bios of mapped devices", "dm_bios", "drivers/md/dm.c", "\tdm_split_and_process_bio(md, map, bio);\n"),
	counter(roleOther, "ext4: count direct reads", "dio_reads", "fs/ext4/file.c", "\tif (!ext4_should_use_dio(iocb, to)) {"),
	counter(roleOther, "md raid1: count reads", "raid1_reads", "drivers/md/raid1.c", "\tr1_bio->sectors = max_read_sectors;\n"),
}

// Commits that stand in the way of a bisection.
var (
	noBuild = edit{
		role: roleBuild, title: "dm raid1: rename do_reads",
		changes: []change{{file: dmRaid1, old: "static void do_reads(", new: "static void do_all_reads("}},
	}
	noBoot = edit{
		role: roleBoot, title: "block: refuse to work without a class",
		changes: []change{{file: "block/genhd.c", old: "\terror = class_register(&block_class);\n", new: "\tpanic(\"block: no class\");\n\terror = class_register(&block_class);\n"}},
	}
	warns = edit{
		role: roleWarn, title: "block: warn of something else at boot",
		changes: []change{{
			file: "block/bio.c", old: "\tBUILD_BUG_ON(BIO_FLAG_LAST > 8 * sizeof_field(struct bio, bi_flags));\n",
			new: "\tBUILD_BUG_ON(BIO_FLAG_LAST > 8 * sizeof_field(struct bio, bi_flags));\n\tWARN_ON(ARRAY_SIZE(bvec_slabs) > 0);\n",
		}},
	}
	breaks = edit{
		role: roleBreaks, title: "md raid1: warn of reads",
		changes: []change{{
			file: "drivers/md/raid1.c", old: "\trdisk = read_balance(conf, r1_bio, &max_sectors);\n",
			new: "\trdisk = read_balance(conf, r1_bio, &max_sectors);\n\tWARN_ON_ONCE(rdisk >= 0);\n",
		}},
	}
)

// Commits of a history whose failing end shows several things.
var (
	warnOfDIO = edit{
		role: roleWarnDIO, title: "ext4: warn of direct reads",
		changes: []change{{
			file: ext4File, old: "\tif (!iov_iter_count(to))\n\t\treturn 0; /* skip atime */\n",
			new: "\tif (!iov_iter_count(to))\n\t\treturn 0; /* skip atime */\n\n\tWARN_ON_ONCE(iocb->ki_flags & IOCB_DIRECT);\n",
		}},
	}
	noMemory = edit{role: roleNoMem, title: "ext4: limit direct reads", changes: []change{beforeDIO("return -ENOMEM")}}
	short    = edit{role: roleCulprit, title: "ext4: read pages directly", changes: []change{beforeDIO("iov_iter_truncate(to, 4096)")}}
)

// Commits of a history whose culprit can't be reverted: a later one has changed
// a line of it. Its other half, which does nothing, still can be.
var (
	shortAndMore = edit{role: roleCulprit, title: "ext4: read pages directly, and count them", changes: []change{
		beforeDIO("iov_iter_truncate(to, 4096)"),
		counter(roleOwn, "", "dio_pages", ext4File, "\tif (!ext4_should_use_dio(iocb, to)) {").changes[0],
	}}
	rewritten = edit{role: roleRewrite, title: "ext4: read pages of any size directly", changes: []change{
		{file: ext4File, old: "iov_iter_truncate(to, 4096)", new: "iov_iter_truncate(to, PAGE_SIZE)"},
	}}
)

// offByOne is a bug to be hunted: what begins behind the first page goes to the
// sector behind its own, and what crosses that place does not.
var offByOne = edit{role: roleCulprit, title: "dm linear: leave a sector behind the first page", changes: []change{{
	file: "drivers/md/dm-linear.c", old: "return lc->start + dm_target_offset(ti, bi_sector);",
	new: "return lc->start + dm_target_offset(ti, bi_sector) + (dm_target_offset(ti, bi_sector) > 8);",
}}}

// slowReads has longer direct reads of ext4 take their time, in the way and for
// the milliseconds that are written to /sys/module/ext4/parameters/slow, or for
// ever.
var slowReads = edit{role: roleSlow, title: "ext4: take time for direct reads", changes: []change{
	{file: ext4File, old: "static ssize_t ext4_dio_read_iter(", new: `#include <linux/module.h>
#include <linux/delay.h>
static int slow[2];
module_param_array(slow, int, NULL, 0644);
static noinline void ext4_slow(void)
{
	static DEFINE_MUTEX(lock);
	struct completion done;
	ktime_t end = ktime_add_ms(ktime_get(), slow[1] ? slow[1] : 1000000000);
	unsigned long flags;

	init_completion(&done);
	switch (slow[0]) {
	case 1: /* sleep */
		msleep(slow[1]);
		break;
	case 2: /* wait with a timeout */
		wait_for_completion_io_timeout(&done, msecs_to_jiffies(slow[1]));
		break;
	case 3: /* spin, and let others run */
		while (ktime_before(ktime_get(), end))
			cond_resched();
		break;
	case 4: /* spin, and let no other task run */
		preempt_disable();
		while (ktime_before(ktime_get(), end))
			cpu_relax();
		preempt_enable();
		break;
	case 5: /* not even interrupts */
		local_irq_save(flags);
		while (ktime_before(ktime_get(), end))
			cpu_relax();
		local_irq_restore(flags);
		break;
	case 6: /* sleep, wake up, and sleep again */
		while (ktime_before(ktime_get(), end))
			msleep(100);
		break;
	case 7: /* wait for what never comes */
		wait_for_completion_io(&done);
		break;
	case 8: /* a lock that it holds itself */
		mutex_lock(&lock);
		mutex_lock(&lock);
		break;
	}
}

static ssize_t ext4_dio_read_iter(`},
	beforeDIO("ext4_slow()"),
}}

// beforeDIO does something else before a longer direct read.
func beforeDIO(what string) change {
	const read = "\tif (iocb->ki_flags & IOCB_DIRECT)\n\t\treturn ext4_dio_read_iter(iocb, to);\n"
	return change{file: ext4File, old: read, new: "\tif (iocb->ki_flags & IOCB_DIRECT && iov_iter_count(to) > 4096)\n\t\t" + what + ";\n" + read}
}

// revert is the commit that takes another one back.
func revert(e edit) edit {
	m := edit{role: roleRevert, title: "Revert \"" + e.title + "\""}
	for _, c := range e.changes {
		m.changes = append(m.changes, change{file: c.file, old: c.new, new: c.old})
	}
	return m
}

// apply makes an edit's changes to the files, or none of them.
func (e edit) apply(files map[string]string) error {
	done := map[string]string{}
	for _, c := range e.changes {
		text, ok := done[c.file]
		if !ok {
			text, ok = files[c.file]
		}
		n := strings.Count(text, c.old)
		switch {
		case !ok:
			return fmt.Errorf("%q: there is no %s", e.title, c.file)
		case n == 0 || n > 1 && !c.every:
			return fmt.Errorf("%q: %s has the place to change %d times", e.title, c.file, n)
		}
		done[c.file] = strings.ReplaceAll(text, c.old, c.new)
	}
	for file, text := range done {
		files[file] = text
	}
	return nil
}
