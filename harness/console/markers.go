package console

import "slices"

// A shape says how a report goes on after its first line.
type shape uint8

const (
	shapeLine      shape = iota // the line is all
	shapeTrace                  // registers and a call trace follow
	shapeMessage                // like shapeTrace, but the line that names the place (WARNING, kernel BUG) comes first
	shapeLockdep                // free text, then "stack backtrace:" and a trace
	shapeMemory                 // a sanitizer's: trace, then where the memory came from, up to "====="
	shapeWorkqueue              // lists of what the workqueues do, then traces of busy workers
	shapeStall                  // dumps of several CPUs; the stalled one's counts
)

// A class says which first lines belong to one report.
type class uint8

const (
	classOther  class = iota
	classCut          // a message printed by WARN() or before BUG()
	classAt           // WARNING and kernel BUG lines: they join classCut
	classFault        // what a fault handler says first
	classDie          // "Oops: 0000 [#1]": joins classFault and classAt
	classDetail       // a line that adds its place to an open report, and is nothing alone
	classPanic        // the kernel gives up
)

// A pick says which frame of a report its title names.
type pick uint8

const (
	pickFirst  pick = iota // of the first line, the registers and the trace, the first to blame
	pickTrace              // the same, of the trace alone
	pickNamed              // the function that the report names in words, whatever it is
	pickStall              // of a loop: the one that entered it
	pickHang               // of a sleeper: the one that waits
	pickOrigin             // who allocated the page, if the report says it
	pickBecame             // who made the lock what another use of it forbids
)

// A marker is the first line of something gone wrong: one row, one fact.
type marker struct {
	kind  Kind
	match string // pattern
	title string // {name}: a capture; {func}: the guilty frame
	shape shape
	class class
	// loose patterns match much: only a line that is surely the kernel's counts.
	loose bool
	// timer: the kernel says so when a timer of its own has run out.
	timer bool
	// pick says which frame {func} is, and skip what else than lookThrough is
	// looked through, as globs.
	pick pick
	skip []string
	// sites are the functions whose "N callbacks suppressed" count for this
	// row (printk_ratelimited, lib/ratelimit.c).
	sites []string
}

// rcuKthread is the detail after which a stall shows RCU's own thread.
const rcuKthread = "INFO: rcu kthread starved"

// titleDoubleFault is that of a processor that could not even begin to handle a
// fault.
const titleDoubleFault = "PANIC: double fault in {func}"

// What some kinds of report look through beside lookThrough.
var (
	rcuOwn       = []string{"*rcu*"}
	freeing      = []string{"*slab_*", "*kfree*", "*vunmap*", "*vfree*"}
	workqueueOwn = []string{"process_one_work", "process_scheduled_works", "*flush_workqueue*", "*drain_workqueue*", "*destroy_workqueue*"}
	leakOwn      = []string{"*kmemleak*", "*mmap*", "*kmem*", "*slab*", "*alloc*", "create_object", "idr_get*", "list_lru_init*", "*kasprintf*", "*strdup*", "*strndup*", "*memdup*", "pcpu_create*"}
	pageOwn      = []string{"*free_page*", "*put_page*", "*get_page*", "*update_page*", "*release_page*", "free_unref*", "*folio*", "*truncate_inode_pages*", "page_frag_free", "*alloc*", "*vmap*", "*page_owner*", "prep_*"}
)

// markers in order: the first row that matches a line counts.
var markers = slices.Concat(kernelRows, storageRows)

// kernelRows are the reports of the kernel itself.
var kernelRows = []marker{
	// Hangs: kernel/hung_task.c, kernel/watchdog.c, kernel/rcu/tree_stall.h, kernel/workqueue.c.
	{kind: KindHang, match: "INFO: task {task*} blocked for more than {_#} seconds", title: "INFO: task hung in {func}", shape: shapeTrace, pick: pickHang},
	{kind: KindHang, match: "INFO: task {task*} blocked in I/O wait for more than {_#} seconds", title: "INFO: task hung in {func}", shape: shapeTrace, pick: pickHang},
	{kind: KindHang, match: "INFO: task {task*} can't die for more than {_#} seconds", title: "INFO: task can't die in {func}", shape: shapeTrace, pick: pickTrace, skip: []string{"*schedule*"}},
	{kind: KindHang, match: "[[NMI watchdog: ]][[watchdog: ]]BUG: soft lockup - CPU#{cpu#} stuck for {_#}s! [{task*}]", title: "BUG: soft lockup in {func}", shape: shapeTrace, pick: pickStall},
	{kind: KindHang, match: "[[NMI watchdog: ]][[watchdog: ]]Watchdog detected hard LOCKUP on cpu {cpu#}", title: "hard LOCKUP in {func}", shape: shapeTrace},
	{kind: KindHang, match: "[[NMI watchdog: ]][[watchdog: ]]CPU{cpu#}: Watchdog detected hard LOCKUP on cpu {_#}", title: "hard LOCKUP in {func}", shape: shapeTrace},
	{kind: KindHang, match: "[[rcu: ]]INFO: {_} self-detected stall on CPU", title: "INFO: rcu detected stall in {func}", shape: shapeStall, pick: pickStall, skip: rcuOwn},
	{kind: KindHang, match: "[[rcu: ]]INFO: {_} detected stalls on CPUs/tasks:", title: "INFO: rcu detected stall in {func}", shape: shapeStall, pick: pickStall, skip: rcuOwn},
	{kind: KindHang, match: "[[rcu: ]]INFO: {_} detected expedited stalls on CPUs/tasks:", title: "INFO: rcu detected stall in {func}", shape: shapeStall, pick: pickStall, skip: rcuOwn},
	{kind: KindHang, match: "[[rcu: ]]INFO: rcu_tasks{_*} detected stalls on tasks:", title: "INFO: rcu detected stall in {func}", shape: shapeStall, pick: pickStall, skip: rcuOwn},
	{kind: KindHang, match: "[[rcu: ]]INFO: {_} detected stall on CPU {cpu#}", title: "INFO: rcu detected stall in {func}", shape: shapeStall, pick: pickStall, skip: rcuOwn},
	{kind: KindHang, match: "[[rcu: ]]{_} kthread starved for {_#} jiffies!", title: rcuKthread, class: classDetail},
	{kind: KindHang, match: "[[rcu: ]]{_} kthread timer wakeup didn't happen for {_#} jiffies!", title: rcuKthread, class: classDetail},
	{kind: KindHang, match: "tasks_rcu_exit_srcu_stall: {_} grace period number {_#} (since boot) {_*}is {_#} jiffies old.", title: "INFO: rcu_tasks grace period stalled"},
	{kind: KindHang, match: "BUG: workqueue lockup - pool {_*} stuck for {_#}s!", title: "BUG: workqueue lockup in {func}", shape: shapeWorkqueue},
	{kind: KindHang, match: "unregister_netdevice: waiting for {_} to become free. Usage count = ", title: "unregister_netdevice: waiting for DEV to become free", shape: shapeLine},

	// Boot: init/main.c, init/do_mounts.c, init/initramfs.c, arch/x86/boot, SeaBIOS.
	{kind: KindBoot, match: "Kernel panic - not syncing: VFS: Unable to mount root fs on ", title: "kernel panic: VFS: Unable to mount root fs", shape: shapeTrace, class: classPanic},
	{kind: KindBoot, match: "Kernel panic - not syncing: No working init found", title: "kernel panic: No working init found", shape: shapeTrace, class: classPanic},
	{kind: KindBoot, match: "Kernel panic - not syncing: No init found", title: "kernel panic: No init found", shape: shapeTrace, class: classPanic},
	{kind: KindBoot, match: "Kernel panic - not syncing: Requested init {_} failed (error {_}).", title: "kernel panic: Requested init failed", shape: shapeTrace, class: classPanic},
	{kind: KindBoot, match: "VFS: Cannot open root device {_*}: error -", title: "VFS: Cannot open root device"},
	{kind: KindBoot, match: "Failed to execute {_} (error -", title: "Failed to execute init"},
	{kind: KindBoot, match: "Initramfs unpacking failed: {why*}", title: "Initramfs unpacking failed: {why}"},
	{kind: KindBoot, match: "{why*} -- System halted", title: "boot: {why}"},
	{kind: KindBoot, match: "This kernel requires the following features not present on the CPU:", title: "boot: CPU lacks features"},
	{kind: KindBoot, match: "This kernel requires an {_} CPU, but only detected an {_} CPU.", title: "boot: wrong CPU"},
	{kind: KindBoot, match: "No bootable device.", title: "boot: No bootable device"},
	{kind: KindBoot, match: "EFI stub: ERROR: {why*}", title: "EFI stub: {why}"},

	// Panics: kernel/panic.c and its callers.
	{kind: KindPanic, match: "Kernel panic - not syncing: Attempted to kill init! exitcode={_$}", title: "kernel panic: Attempted to kill init!", shape: shapeTrace, class: classPanic},
	{kind: KindPanic, match: "Kernel panic - not syncing: stack-protector: Kernel stack is corrupted in: {func}", title: "kernel panic: stack is corrupted in {func}", shape: shapeTrace, class: classPanic},
	{kind: KindPanic, match: "Kernel panic - not syncing: corrupted stack end detected inside scheduler", title: "kernel panic: corrupted stack end in {func}", shape: shapeTrace, class: classPanic, pick: pickStall, skip: []string{"*schedule*", "*retint_kernel*"}},
	{kind: KindPanic, match: "Kernel panic - not syncing: kernel stack overflow", title: "kernel stack overflow in {func}", shape: shapeTrace, class: classPanic, pick: pickStall, skip: []string{"*bad_stack*"}},
	{kind: KindPanic, match: "Kernel panic - not syncing: Couldn't open N_TTY ldisc", title: "kernel panic: Couldn't open N_TTY ldisc", shape: shapeTrace, class: classPanic},
	{kind: KindPanic, match: "Kernel panic - not syncing: {_*}panic_on_warn set", title: "kernel panic: panic_on_warn set", shape: shapeTrace, class: classPanic},
	{kind: KindPanic, match: "Kernel panic - not syncing: {why*}", title: "kernel panic: {why}", shape: shapeTrace, class: classPanic},
	{kind: KindBug, match: "[[traps: ]]PANIC: double fault, error_code: ", title: titleDoubleFault, shape: shapeTrace, class: classFault},

	// Sanitizers: mm/kasan/report.c, mm/kmsan/report.c, kernel/kcsan/report.c, mm/kfence/report.c, lib/ubsan.c.
	{kind: KindBug, match: "BUG: KASAN: double-free or invalid-free in {func}", title: "KASAN: invalid-free in {func}", shape: shapeMemory, skip: freeing},
	{kind: KindBug, match: "BUG: KASAN: double-free in {func}", title: "KASAN: invalid-free in {func}", shape: shapeMemory, skip: freeing},
	{kind: KindBug, match: "BUG: KASAN: invalid-free in {func}", title: "KASAN: invalid-free in {func}", shape: shapeMemory, skip: freeing},
	{kind: KindBug, match: "BUG: KASAN: {type*} in {func}", title: "KASAN: {type} {rw}in {func}", shape: shapeMemory, skip: []string{"*kernel_fault*", "*tag_check*", "*mem_abort*", "el1_*", "el1h_*"}},
	{kind: KindBug, match: "BUG: KASAN: {type} on address ", title: "KASAN: {type} {rw}", shape: shapeMemory},
	{kind: KindBug, match: "BUG: KMSAN: {type} in {func}", title: "KMSAN: {type} in {func}", shape: shapeMemory, skip: []string{"*alloc_skb*", "netlink_ack", "netlink_rcv_skb", "*_encrypt", "crypto_*", "cipher_*", "drbg_*", "rng_*"}},
	{kind: KindBug, match: "BUG: KCSAN: {type} in {func} / {func2}", title: "KCSAN: {type} in {func} / {func2}", shape: shapeMemory},
	{kind: KindBug, match: "BUG: KCSAN: {type*} in {func}", title: "KCSAN: {type} in {func}", shape: shapeMemory},
	{kind: KindBug, match: "BUG: KFENCE: {type*} in {func}", title: "KFENCE: {type} in {func}", shape: shapeMemory},
	{kind: KindBug, match: "UBSAN: {type} in {place}", title: "UBSAN: {type} in {func}", shape: shapeMemory, skip: []string{"*ubsan*", "*overflow*"}},
	{kind: KindBug, match: "UBSAN: Undefined behaviour in {place}", title: "UBSAN: undefined-behaviour in {func}", shape: shapeMemory, skip: []string{"*ubsan*", "*overflow*"}},
	{kind: KindBug, match: "CFI failure at {func} (target: ", title: "CFI failure in {func}", shape: shapeTrace, class: classFault},
	{kind: KindBug, match: "CFI failure (target: ", title: "CFI failure in {func}", shape: shapeMessage, class: classCut},

	// Faults: arch/x86/mm/fault.c, arch/x86/kernel/traps.c, arch/*/mm/fault.c.
	{kind: KindBug, match: "BUG: unable to handle page fault for address: ", title: "BUG: unable to handle kernel paging request in {func}", shape: shapeTrace, class: classFault},
	{kind: KindBug, match: "BUG: unable to handle kernel paging request at ", title: "BUG: unable to handle kernel paging request in {func}", shape: shapeTrace, class: classFault},
	{kind: KindBug, match: "BUG: kernel NULL pointer dereference, address: ", title: "BUG: unable to handle kernel NULL pointer dereference in {func}", shape: shapeTrace, class: classFault},
	{kind: KindBug, match: "BUG: unable to handle kernel NULL pointer dereference", title: "BUG: unable to handle kernel NULL pointer dereference in {func}", shape: shapeTrace, class: classFault},
	{kind: KindBug, match: "BUG: unable to handle kernel {what*} at ", title: "BUG: unable to handle kernel {what} in {func}", shape: shapeTrace, class: classFault},
	{kind: KindBug, match: "Unable to handle kernel NULL pointer dereference", title: "BUG: unable to handle kernel NULL pointer dereference in {func}", shape: shapeTrace, class: classFault},
	{kind: KindBug, match: "Unable to handle kernel access to user memory outside uaccess routines at virtual address ", title: "BUG: unable to handle kernel access to user memory in {func}", shape: shapeTrace, class: classFault},
	{kind: KindBug, match: "Unable to handle kernel {what*} at virtual address ", title: "BUG: unable to handle kernel {what} in {func}", shape: shapeTrace, class: classFault},
	{kind: KindBug, match: "Unable to handle kernel paging request for {_*} at address ", title: "BUG: unable to handle kernel paging request in {func}", shape: shapeTrace, class: classFault},
	{kind: KindBug, match: "Unable to handle kernel pointer dereference in virtual kernel address space", title: "BUG: unable to handle kernel pointer dereference in {func}", shape: shapeTrace, class: classFault},
	{kind: KindBug, match: "BUG: Kernel NULL pointer dereference ", title: "BUG: unable to handle kernel NULL pointer dereference in {func}", shape: shapeTrace, class: classFault},
	{kind: KindBug, match: "BUG: Unable to handle kernel {what*} at ", title: "BUG: unable to handle kernel paging request in {func}", shape: shapeTrace, class: classFault},
	{kind: KindBug, match: "[[Oops: ]]general protection fault{_*}: {_$} [#{_#}]", title: "general protection fault in {func}", shape: shapeTrace, class: classFault},
	{kind: KindBug, match: "Kernel Fault: Code={_#} ({what*}) at addr ", title: "Kernel Fault in {func}", shape: shapeTrace, class: classFault},
	{kind: KindBug, match: "CPU {cpu#} Unable to handle kernel NULL pointer dereference at virtual address ", title: "BUG: unable to handle kernel NULL pointer dereference in {func}", shape: shapeTrace, class: classFault},
	{kind: KindBug, match: "CPU {cpu#} Unable to handle kernel {what*} at virtual address ", title: "BUG: unable to handle kernel {what} in {func}", shape: shapeTrace, class: classFault},
	{kind: KindBug, match: "[[Oops: ]]segment-related general protection fault: {_$} [#{_#}]", title: "general protection fault in {func}", shape: shapeTrace, class: classFault},
	{kind: KindBug, match: "[[Oops: ]]divide error: {_$} [#{_#}]", title: "divide error in {func}", shape: shapeTrace, class: classFault},
	{kind: KindBug, match: "[[Oops: ]]divide_error: {_$} [#{_#}]", title: "divide error in {func}", shape: shapeTrace, class: classFault},
	{kind: KindBug, match: "[[Oops: ]]invalid opcode: {_$} [#{_#}]", title: "invalid opcode in {func}", shape: shapeTrace, class: classDie},
	{kind: KindBug, match: "[[Oops: ]]int3: {_$} [#{_#}]", title: "int3 in {func}", shape: shapeTrace, class: classFault},
	{kind: KindBug, match: "[[Oops: ]]stack segment: {_$} [#{_#}]", title: "stack segment fault in {func}", shape: shapeTrace, class: classFault},
	{kind: KindBug, match: "[[Oops: ]]double fault: {_$} [#{_#}]", title: "double fault in {func}", shape: shapeTrace, class: classDie},
	{kind: KindBug, match: "[[Oops: ]]alignment check: {_$} [#{_#}]", title: "alignment check in {func}", shape: shapeTrace, class: classFault},
	{kind: KindBug, match: "[[Oops: ]]segment not present: {_$} [#{_#}]", title: "segment not present in {func}", shape: shapeTrace, class: classFault},
	{kind: KindBug, match: "[[Oops: ]]control protection fault: {_$} [#{_#}]", title: "control protection fault in {func}", shape: shapeTrace, class: classFault},
	{kind: KindBug, match: "[[Oops: ]]unexpected #VE{_*}: {_$} [#{_#}]", title: "unexpected #VE in {func}", shape: shapeTrace, class: classFault},
	{kind: KindBug, match: "Internal error: synchronous external abort: {_*} [#{_#}]", title: "Internal error in {func}", shape: shapeTrace, class: classDie},
	{kind: KindBug, match: "Internal error: Oops - BUG: {_*} [#{_#}]", title: "kernel BUG in {func}", shape: shapeTrace, class: classDie},
	{kind: KindBug, match: "Internal error: {what*}: {_$} [#{_#}]", title: "Internal error in {func}", shape: shapeTrace, class: classDie},
	{kind: KindBug, match: "Unhandled fault: {what*} ({_$}) at {_$}", title: "Unhandled fault in {func}", shape: shapeTrace, class: classFault},
	{kind: KindBug, match: "Unhandled prefetch abort: {what*} ({_$}) at {_$}", title: "Unhandled prefetch abort in {func}", shape: shapeTrace, class: classFault},
	{kind: KindBug, match: "Alignment trap: ", title: "Alignment trap in {func}", shape: shapeTrace, class: classFault},
	{kind: KindBug, match: "SError Interrupt on CPU{cpu#}, code ", title: "SError Interrupt in {func}", shape: shapeTrace, class: classFault},
	{kind: KindBug, match: "Bad mode in {_*} handler detected{_*}, code ", title: "Bad mode in {func}", shape: shapeTrace, class: classFault},
	{kind: KindBug, match: "Insufficient stack space to handle exception!", title: "kernel stack overflow in {func}", shape: shapeTrace, class: classFault, pick: pickStall, skip: []string{"*bad_stack*"}},
	{kind: KindBug, match: "BUG: [[TASK ]][[IRQ ]]stack guard page was hit at ", title: "BUG: stack guard page was hit in {func}", shape: shapeTrace, class: classFault, pick: pickStall},
	{kind: KindBug, match: "Oops: {_*}[#{_#}]", title: "Oops in {func}", shape: shapeTrace, class: classDie},
	{kind: KindBug, match: "Oops [#{_#}]", title: "Oops in {func}", shape: shapeTrace, class: classDie},
	{kind: KindBug, match: "Kernel BUG [#{_#}]", title: "kernel BUG in {func}", shape: shapeTrace, class: classDie},
	{kind: KindBug, match: "Oops[#{_#}]:", title: "Oops in {func}", shape: shapeTrace, class: classDie},
	{kind: KindBug, match: "Kernel bug detected[#{_#}]:", title: "kernel BUG in {func}", shape: shapeTrace, class: classDie},
	{kind: KindBug, match: "{what&}[#1]:$", title: "{what} in {func}", shape: shapeTrace, class: classDie, loose: true},
	{kind: KindBug, match: "[[Oops: ]]{what&}: {_$} [#1]", title: "{what} in {func}", shape: shapeTrace, class: classDie, loose: true},
	{kind: KindBug, match: "[[Oops: ]]{what&}: {_$} [#2]", title: "{what} in {func}", shape: shapeTrace, class: classDie, loose: true},
	{kind: KindBug, match: "[[Oops: ]]{what&}: {_$} [#3]", title: "{what} in {func}", shape: shapeTrace, class: classDie, loose: true},
	{kind: KindBug, match: "{what*}: {_#} ilc:{_#} [#{_#}]", title: "{what} in {func}", shape: shapeTrace, class: classDie, loose: true},

	// Messages that come before the line with the place.
	{kind: KindBug, match: "list_add corruption. {_*}", title: "BUG: corrupted list in {func}", shape: shapeMessage, class: classCut},
	{kind: KindBug, match: "list_add double add: ", title: "BUG: corrupted list in {func}", shape: shapeMessage, class: classCut},
	{kind: KindBug, match: "list_del corruption{_*}", title: "BUG: corrupted list in {func}", shape: shapeMessage, class: classCut},
	{kind: KindBug, match: "usercopy: Kernel memory {what} attempt detected ", title: "BUG: bad usercopy in {func}", shape: shapeMessage, class: classCut},
	{kind: KindBug, match: "[[fortify: ]]detected buffer overflow in ", title: "BUG: buffer overflow in {func}", shape: shapeMessage, class: classCut},
	{kind: KindBug, match: "rust_kernel: panicked at {place}", title: "Rust panic in {func}", shape: shapeMessage, class: classCut},
	{kind: KindWarn, match: "refcount_t: {_*}", title: "WARNING: refcount bug in {func}", shape: shapeMessage, class: classCut},
	{kind: KindWarn, match: "ODEBUG: {_*} object type: ", title: "WARNING: ODEBUG bug in {func}", shape: shapeMessage, class: classCut},
	{kind: KindWarn, match: "DEBUG_LOCKS_WARN_ON({_*})", title: "WARNING: locking bug in {func}", shape: shapeMessage, class: classCut, skip: []string{"lock_sock*", "release_sock*"}},
	{kind: KindBug, match: "kernel BUG at {place}!", title: "kernel BUG in {func}", shape: shapeTrace, class: classAt, skip: []string{"skb_*"}},
	{kind: KindBug, match: "Kernel BUG at {place}", title: "kernel BUG in {func}", shape: shapeTrace, class: classAt, skip: []string{"skb_*"}},
	{kind: KindBug, match: "Kernel BUG at {_$} [verbose debug info unavailable]", title: "kernel BUG in {func}", shape: shapeTrace, class: classAt, skip: []string{"skb_*"}},
	// CONFIG_DEBUG_BUGVERBOSE_DETAILED puts the condition in brackets before the place.
	{kind: KindWarn, match: "WARNING: CPU: {cpu#} PID: {pid#} at [{_~}] {place} {func}", title: "WARNING in {func}", shape: shapeTrace, class: classAt},
	{kind: KindWarn, match: "WARNING: [{_~}] {place} at {func}, CPU#{cpu#}: {commpid*}", title: "WARNING in {func}", shape: shapeTrace, class: classAt},
	{kind: KindWarn, match: "WARNING: [{_~}] {place} at {func}", title: "WARNING in {func}", shape: shapeTrace, class: classAt},
	{kind: KindWarn, match: "WARNING: CPU: {cpu#} PID: {pid#} at {place} {func}", title: "WARNING in {func}", shape: shapeTrace, class: classAt},
	{kind: KindWarn, match: "WARNING: CPU: {cpu#} PID: {pid#} at {place}", title: "WARNING in {func}", shape: shapeTrace, class: classAt},
	{kind: KindWarn, match: "WARNING: {place} at 0x0, CPU#{cpu#}: {commpid*}", title: "WARNING in {func}", shape: shapeTrace, class: classAt},
	{kind: KindWarn, match: "WARNING: [{_~}] {place} at 0x0, CPU#{cpu#}: {commpid*}", title: "WARNING in {func}", shape: shapeTrace, class: classAt},
	{kind: KindWarn, match: "WARNING: {place} at {func}, CPU#{cpu#}: {commpid*}", title: "WARNING in {func}", shape: shapeTrace, class: classAt},
	{kind: KindWarn, match: "WARNING: {place} at {func}", title: "WARNING in {func}", shape: shapeTrace, class: classAt},
	{kind: KindWarn, match: "WARNING: at {place} {func}", title: "WARNING in {func}", shape: shapeTrace, class: classAt},
	{kind: KindWarn, match: "WARNING: kernel stack regs at {_} in {_*} has bad ", title: "WARNING: kernel stack regs has bad value"},
	{kind: KindWarn, match: "WARNING: kernel stack frame pointer at {_} in {_*} has bad value", title: "WARNING: kernel stack regs has bad value"},
	{kind: KindWarn, match: "WARNING: at {place}", title: "WARNING in {func}", shape: shapeTrace, class: classAt},

	// Lockdep: kernel/locking/lockdep.c, lib/debug_locks.c.
	{kind: KindWarn, match: "WARNING: possible circular locking dependency detected", title: "possible deadlock in {func}", shape: shapeLockdep, skip: workqueueOwn},
	{kind: KindWarn, match: "[ INFO: possible circular locking dependency detected ]", title: "possible deadlock in {func}", shape: shapeLockdep, skip: workqueueOwn},
	{kind: KindWarn, match: "WARNING: possible recursive locking detected", title: "possible deadlock in {func}", shape: shapeLockdep, pick: pickNamed},
	{kind: KindWarn, match: "[ INFO: possible recursive locking detected ]", title: "possible deadlock in {func}", shape: shapeLockdep, pick: pickNamed},
	{kind: KindWarn, match: "WARNING: possible irq lock inversion dependency detected", title: "possible deadlock in {func}", shape: shapeLockdep, pick: pickNamed},
	{kind: KindWarn, match: "[ INFO: possible irq lock inversion dependency detected ]", title: "possible deadlock in {func}", shape: shapeLockdep, pick: pickNamed},
	{kind: KindWarn, match: "WARNING: {_}-safe -> {_}-unsafe lock order detected", title: "possible deadlock in {func}", shape: shapeLockdep, pick: pickBecame},
	{kind: KindWarn, match: "[ INFO: {_}-safe -> {_}-unsafe lock order detected ]", title: "possible deadlock in {func}", shape: shapeLockdep, pick: pickBecame},
	{kind: KindWarn, match: "WARNING: inconsistent lock state", title: "inconsistent lock state in {func}", shape: shapeLockdep, pick: pickTrace},
	{kind: KindWarn, match: "[ INFO: inconsistent lock state ]", title: "inconsistent lock state in {func}", shape: shapeLockdep, pick: pickTrace},
	{kind: KindWarn, match: "WARNING: suspicious RCU usage", title: "WARNING: suspicious RCU usage in {func}", shape: shapeLockdep, pick: pickTrace, skip: []string{"*rcu*", "*kmem*", "*slab*"}},
	{kind: KindWarn, match: "[ INFO: suspicious RCU usage. ]", title: "INFO: suspicious RCU usage in {func}", shape: shapeLockdep, pick: pickTrace, skip: []string{"*rcu*", "*kmem*", "*slab*"}},
	{kind: KindWarn, match: "{place} suspicious rcu_{_} usage!", class: classDetail},
	{kind: KindWarn, match: "WARNING: held lock freed!", title: "WARNING: held lock freed in {func}", shape: shapeLockdep, pick: pickNamed},
	{kind: KindWarn, match: "[ BUG: held lock freed! ]", title: "BUG: held lock freed in {func}", shape: shapeLockdep, pick: pickNamed},
	{kind: KindWarn, match: "WARNING: bad unlock balance detected!", title: "WARNING: bad unlock balance in {func}", shape: shapeLockdep},
	{kind: KindWarn, match: "[ BUG: bad unlock balance detected! ]", title: "BUG: bad unlock balance in {func}", shape: shapeLockdep},
	{kind: KindWarn, match: "WARNING: bad contention detected!", title: "WARNING: bad contention in {func}", shape: shapeLockdep},
	{kind: KindWarn, match: "WARNING: Nested lock was not taken", title: "WARNING: nested lock was not taken in {func}", shape: shapeLockdep},
	{kind: KindWarn, match: "WARNING: lock held when returning to user space!", title: "WARNING: lock held when returning to user space in {func}", shape: shapeLockdep, pick: pickNamed},
	{kind: KindWarn, match: "[ BUG: lock held when returning to user space! ]", title: "BUG: lock held when returning to user space in {func}", shape: shapeLockdep, pick: pickNamed},
	{kind: KindWarn, match: "WARNING: {_*} still has locks held!", title: "WARNING: still has locks held in {func}", shape: shapeLockdep, pick: pickNamed},
	{kind: KindWarn, match: "[ BUG: {_*} still has locks held! ]", title: "BUG: still has locks held in {func}", shape: shapeLockdep, pick: pickNamed},
	{kind: KindWarn, match: "WARNING: lock held at task exit time, still held!", title: "WARNING: lock held at task exit in {func}", shape: shapeLockdep},
	{kind: KindWarn, match: "[ BUG: Invalid wait context ]", title: "WARNING: locking bug in {func}", shape: shapeLockdep, pick: pickTrace, skip: []string{"lock_sock*", "release_sock*"}},
	{kind: KindWarn, match: "INFO: trying to register non-static key.", title: "INFO: trying to register non-static key in {func}", shape: shapeTrace, pick: pickTrace, skip: []string{"*stack*", "*lock*", "*IRQ*"}},

	// BUG lines that are no fault.
	{kind: KindBug, match: "BUG: sleeping function called from invalid context at {place}", title: "BUG: sleeping function called from invalid context in {func}", shape: shapeTrace, pick: pickTrace},
	{kind: KindBug, match: "BUG: scheduling while atomic: {_*}", title: "BUG: scheduling while atomic in {func}", shape: shapeTrace, pick: pickTrace, skip: []string{"*schedule*"}},
	{kind: KindBug, match: "BUG: using {what} in preemptible [{_$}] code: {commpid*}", title: "BUG: using {what} in preemptible code in {func}", shape: shapeTrace, pick: pickTrace, skip: []string{"*preempt*", "*debug_*", "*processor_id*", "*this_cpu*"}},
	{kind: KindBug, match: "BUG: spinlock {what*} on CPU#{cpu#}, {commpid*}", title: "BUG: spinlock {what} in {func}", shape: shapeTrace, pick: pickTrace, skip: []string{"*spin_*", "*_lock*", "*_unlock*"}},
	{kind: KindBug, match: "BUG: rwlock {what*} on CPU#{cpu#}, {commpid*}", title: "BUG: rwlock {what} in {func}", shape: shapeTrace, pick: pickTrace, skip: []string{"*spin_*", "*_lock*", "*_unlock*"}},
	{kind: KindBug, match: "BUG: Bad page state in process {comm*} pfn:", title: "BUG: Bad page state in {func}", shape: shapeTrace, pick: pickOrigin, skip: pageOwn},
	{kind: KindBug, match: "BUG: Bad page map in process {comm*} pte:", title: "BUG: Bad page map", shape: shapeTrace},
	{kind: KindBug, match: "BUG: Bad page cache in process {comm*} pfn:", title: "BUG: Bad page cache in {func}", shape: shapeTrace, pick: pickOrigin, skip: pageOwn},
	{kind: KindBug, match: "BUG: Bad rss-counter state ", title: "BUG: Bad rss-counter state"},
	{kind: KindBug, match: "BUG: non-zero pgtables_bytes on freeing mm: ", title: "BUG: non-zero pgtables_bytes on freeing mm"},
	{kind: KindBug, match: "BUG: non-zero nr_ptes on freeing mm: ", title: "BUG: non-zero nr_ptes on freeing mm"},
	{kind: KindBug, match: "BUG: non-zero nr_pmds on freeing mm: ", title: "BUG: non-zero nr_pmds on freeing mm"},
	{kind: KindBug, match: "BUG: Dentry {_*} still in use ({_}) [unmount of ", title: "BUG: Dentry still in use in unmount", shape: shapeMessage, class: classCut},
	{kind: KindBug, match: "BUG {_*} (Tainted{_*}): {what*}", title: "BUG: slab: {what}", shape: shapeTrace},
	{kind: KindBug, match: "BUG {_*} (Not tainted): {what*}", title: "BUG: slab: {what}", shape: shapeTrace},
	{kind: KindBug, match: "BUG {_}: Objects remaining {what*}()", title: "BUG: slab: Objects remaining {what}()", shape: shapeTrace},
	{kind: KindBug, match: "cache_from_obj: Wrong slab cache. ", title: "BUG: wrong slab cache in {func}", shape: shapeMessage, class: classCut},
	{kind: KindBug, match: "VFS: Close: file count is 0", title: "VFS: Close: file count is zero (use-after-free)"},
	{kind: KindBug, match: "VFS: Busy inodes after unmount of ", title: "VFS: Busy inodes after unmount (use-after-free)"},
	{kind: KindWarn, match: "BUG: memory leak", title: "memory leak in {func}", shape: shapeTrace, pick: pickTrace, skip: leakOwn},
	{kind: KindWarn, match: "kmemleak: {_#} new suspected memory leaks (see ", title: "memory leak"},
	{kind: KindBug, match: "BUG: workqueue leaked lock[[ or atomic]]: {commpid*}", title: "BUG: workqueue leaked lock or atomic in {func}", shape: shapeTrace, pick: pickNamed},
	{kind: KindBug, match: "BUG: workqueue leaked atomic, lock or RCU: {commpid*}", title: "BUG: workqueue leaked lock or atomic in {func}", shape: shapeTrace, pick: pickNamed},
	{kind: KindBug, match: "BUG: {why*}", title: "BUG: {why}", shape: shapeTrace, loose: true},
	{kind: KindWarn, match: "sysfs: cannot create duplicate filename '", title: "sysfs: cannot create duplicate filename in {func}", shape: shapeTrace, pick: pickTrace, skip: []string{"sysfs_*", "internal_create_*", "create_files*", "driver_sysfs_*"}},
	{kind: KindWarn, match: "irq {_#}: nobody cared (try booting with the \"irqpoll\" option)", title: "irq: nobody cared", shape: shapeTrace},
}

// A harmless row is a line that a marker would match but that reports nothing
// wrong, with the reason.
type harmless struct {
	match string // pattern
	why   string
}

// harmlessLines are looked at before the markers.
var harmlessLines = []harmless{
	{"[[blk_update_request: ]][[print_req_error: ]]operation not supported error, dev {_}, sector {_#} op {_$}:(DISCARD)", "a device without discard says so; nothing is lost"},
	{"[[blk_update_request: ]][[print_req_error: ]]operation not supported error, dev {_}, sector {_#} op {_$}:(WRITE_ZEROES)", "the block layer writes zeroes itself then"},
	{"[[blk_update_request: ]][[print_req_error: ]]operation not supported error, dev {_}, sector {_#} op {_$}:(SECURE_ERASE)", "a device without secure erase says so"},
	{"[[blk_update_request: ]][[print_req_error: ]]{_&} error, dev {_}, sector {_#} op {_$}:(DISCARD)", "a target that refuses to discard loses nothing"},
	{"[[blk_update_request: ]][[print_req_error: ]][[end_request: ]]I/O error, dev fd{_#}, sector ", "a floppy drive without a disk, or none at all"},
	{"Buffer I/O error on dev fd{_#}, ", "a floppy drive without a disk, or none at all"},
	{"Buffer I/O error on device fd{_#}, ", "a floppy drive without a disk, or none at all"},
	{"[[blk_update_request: ]][[print_req_error: ]][[end_request: ]]I/O error, dev sr{_#}, sector 0 ", "a drive without a CD is asked for its first sector"},
	{"[[blk_update_request: ]][[print_req_error: ]][[end_request: ]]I/O error, dev sr{_#}, sector 0$", "a drive without a CD is asked for its first sector"},
	{"Buffer I/O error on dev sr{_#}, logical block 0,", "a drive without a CD is asked for its first block"},
	{"Buffer I/O error on device sr{_#}, logical block 0$", "a drive without a CD is asked for its first block"},
	{"device-mapper: thin: {_}: switching pool to write mode", "a pool that is well again"},
	{"device-mapper: cache: {_}: switching cache to write mode", "a cache that is well again"},
	{"device-mapper: ioctl: {_*}", "a tool's request that can't be; the tool says so itself"},
	{"device-mapper: table: {_*}", "a tool's table that can't be; the tool says so itself"},
	{"ata{_}: failed to enable AA (", "a feature that the disk has not"},
	{"ata{_}: READ LOG DMA EXT failed, trying PIO", "read another way then"},
	{"ata{_}: failed to read log page ", "the details of an exception, which follows"},
	{"ata{_}: Read log {_$} page {_$} failed", "a log page that the disk has not"},
	{"ata{_}: failed to get {_*}Log", "a log page that the disk has not"},
	{"ata{_}: failed to get Identify Device Data", "a page that the disk has not"},
	{"ata{_}: configured for {_*} (device error ignored)", "the last line of what was found before"},
	{"ata{_}: error: { {_*}", "the details of an exception"},
	{"Initramfs unpacking failed: Decoding failed", "lz4's filler after the archive; a broken one ends in a panic"},
	{"ata{_}: failed to resume link (SControl 0)", "a port without a disk"},
	{"floppy: error {_} while reading block 0", "a floppy drive without a disk, or none at all"},
	{"sr {_}: [{_}] tag#{_#} FAILED Result: hostbyte=DID_OK", "the sense key follows"},
	{"megaraid_sas {_}: FW provided {_*}timeout", "a setting"},
	{"ata{_}: both IDENTIFYs aborted, assuming NODEV", "a port without a disk"},
	{"sd {_}: alua: transition timeout set to ", "a setting"},
	{"nvme{_#}: {_&}({_$}), {_*} (sct 0x0 / sc 0x{_})", "a command of administration that the disk has not"},
	{"FAT-fs ({_}): Volume was not properly unmounted. Some data may be corrupt. Please run fsck.", "a stick that was pulled out, or a crash before"},
	{"exFAT-fs ({_}): Volume was not properly unmounted. Some data may be corrupt. Please run fsck.", "a stick that was pulled out, or a crash before"},
	{"sd {_}: [{_}] Asking for cache data failed", "a disk that does not say how it caches"},
	{"sd {_}: [{_}] Test WP failed, assume Write Enabled", "a disk that does not say whether it may be written"},
	{"sd {_}: [{_}] Read Capacity({_}) failed: Result: hostbyte=DID_OK", "a reader without a card"},
	{"sd {_}: [{_}] {_*}Add. Sense: ", "the details of a sense key"},
	{"sr {_}: {_*}Add. Sense: ", "the details of a sense key"},
	{"nvme {_}: failed to set APST feature", "a power mode that the disk has not"},
	{"nvme {_}: Shutdown timeout set to ", "a setting"},
	{"EXT4-fs ({_}): error count since last fsck: ", "what an earlier boot saw"},
	{"EXT4-fs ({_}): initial error at time ", "what an earlier boot saw"},
	{"EXT4-fs ({_}): last error at time ", "what an earlier boot saw"},
	{"EXT4-fs ({_}): warning: mounting fs with errors, ", "what an earlier boot saw"},
	{"EXT4-fs ({_}): mounted {_*}", "an option may be called errors"},
	{"EXT4-fs ({_}): re-mounted", "an option may be called errors"},
	{"XFS ({_}): WARNING: Reset corrupted AGFL ", "XFS has repaired it"},
	{"BTRFS info (device {_*}): bdev {_*} errs: wr ", "what was counted before"},
	{"ata{_}: LPM support broken, forcing max_power", "link power management that a disk gets wrong; QEMU's on 6.12"},
	{"nvme {_}: missing or invalid SUBNQN field", "a disk that says no name of its own; the driver makes one"},
	{"ahci {_}: controller can't do ", "what the controller has not is not used"},
	{"ufshcd{_*}: Unable to find {_}-supply regulator, assuming enabled", "a supply that the board does not switch"},
	{"EXT4-fs ({_}): VFS: Can't find ext4 filesystem", "a disk that holds none, tried by mount"},
	{"EXT{_#}-fs ({_}): {_*}ouldn't mount as ext", "another version of the driver mounts it"},
	{"EXT{_#}-fs ({_}): error: couldn't mount because of unsupported optional features", "another version of the driver mounts it"},
	{"F2FS-fs ({_}): Magic Mismatch, ", "a disk that holds none, tried by mount"},
	{"F2FS-fs ({_}): Can't find valid F2FS {_*}superblock", "a disk that holds none, tried by mount"},
	{"FAT-fs ({_}): Can't find a valid FAT filesystem", "a disk that holds none, tried by mount"},
	{"FAT-fs ({_}): invalid media value (", "a disk that holds none, tried by mount"},
	{"ISOFS: Unable to identify CD-ROM format", "a disk that holds none, tried by mount"},
	{"UDF-fs: {_*}Scanning with blocksize {_#} failed", "a disk that holds none, tried by mount"},
	{"hfsplus: unable to find HFS+ superblock", "a disk that holds none, tried by mount"},
	{"hfs: can't find a HFS filesystem on dev ", "a disk that holds none, tried by mount"},
	{"exFAT-fs ({_}): invalid boot record signature", "a disk that holds none, tried by mount"},
	{"exFAT-fs ({_}): failed to recognize exfat type", "a disk that holds none, tried by mount"},
	{"SQUASHFS error: Can't find a SQUASHFS superblock on ", "a disk that holds none, tried by mount"},
	{"zram: Can't change {_} for initialized device", "a tool's request that comes too late"},
	{"spl: module verification failed: ", "a module that is not signed"},
	{"zfs: module verification failed: ", "a module that is not signed"},
	{"drbd: module verification failed: ", "a module that is not signed"},
	{"ses {_}: Failed to get diagnostic page ", "an enclosure that does not say much"},
	{"ses {_}: Failed to bind enclosure ", "an enclosure that does not say much"},
	{"ses {_}: Wrong diagnostic page; ", "an enclosure that does not say much"},
	{"qla2xxx [{_}]-{_}: Failed to load firmware image ", "the one in the adapter's flash is used then"},
	{"NFSD: {_*}nable to find recovery directory ", "what clients had is not kept across boots"},
	{"sd {_}: [{_}] {_*}Sense Key : Illegal Request", "the details of a command that failed; the error follows"},
	{"hv_storvsc {_}: tag#{_#} cmd 0x85 status: ", "what smartd asks a disk that is none of ATA's"},
	{"bcache: register_bcache() error {_*}already registered", "udev says it twice"},
}

// A site is a place in the source whose reports have a kind of their own,
// whichever words come first: one row, one fact.
type site struct {
	file  string // glob
	fn    string // glob of the function that the report names, "" for any
	kind  Kind
	title string
	skip  []string
}

var sites = []site{
	{file: "lib/refcount.c", kind: KindWarn, title: "WARNING: refcount bug in {func}", skip: []string{"*refcount*", "*kobject_*"}},
	{file: "lib/debugobjects.c", kind: KindWarn, title: "WARNING: ODEBUG bug in {func}", skip: []string{"*debug_*", "*rcu*", "*hrtimer_*", "*timer_*", "*work_*", "*percpu_*", "*vunmap*", "*vfree*", "*__free_*", "*kobject_*"}},
	{file: "mm/usercopy.c", kind: KindWarn, title: "WARNING: bad usercopy in {func}", skip: []string{"*usercopy*", "*__check*"}},
	{file: "lib/kobject.c", kind: KindWarn, title: "WARNING: kobject bug in {func}", skip: []string{"*kobject_*"}},
	{file: "fs/proc/generic.c", fn: "proc_register", kind: KindWarn, title: "WARNING: proc registration bug in {func}", skip: []string{"*proc_*"}},
	{file: "kernel/locking/lockdep.c", fn: "*lock_*", kind: KindWarn, title: "WARNING: locking bug in {func}", skip: []string{"*lock_sock*", "*release_sock*"}},
	{file: "mm/vmalloc.c", fn: "__vmalloc_node*", kind: KindWarn, title: "WARNING: zero-size vmalloc in {func}"},
	{file: "mm/*.c", fn: "k*malloc*", kind: KindWarn, title: "WARNING: kmalloc bug in {func}", skip: []string{"*kmalloc*", "*krealloc*", "*slab*", "*kmem*"}},
	{file: "mm/*.c", fn: "*_kmalloc*", kind: KindWarn, title: "WARNING: kmalloc bug in {func}", skip: []string{"*kmalloc*", "*krealloc*", "*slab*", "*kmem*"}},
	{file: "*", fn: "usb_submit_urb", kind: KindWarn, title: "WARNING in {func}/usb_submit_urb", skip: []string{"*usb_submit_urb*", "*usb_start_wait_urb*", "*usb_bulk_msg*", "*usb_interrupt_msg*", "*usb_control_msg*"}},
	{file: "mm/usercopy.c", kind: KindBug, title: "BUG: bad usercopy in {func}", skip: []string{"*usercopy*", "*__check*"}},
	{file: "lib/list_debug.c", kind: KindBug, title: "BUG: corrupted list in {func}"},
}
