package console

import (
	"strings"
	"sync"
)

// lookThrough are functions that stand between a fault and the code to
// blame: report and panic code, allocators, locks, string functions, and the
// like. "*" stands for anything. The choice is syzbot's where there is one, so
// that a title is found in its list of bugs (google/syzkaller,
// pkg/report/linux.go).
var lookThrough = []string{
	// Reports and panics.
	"*dump_stack*", "*show_stack*", "*walk_stack*", "*show_trace*", "*dump_backtrace*", "show_regs*", "*__warn*", "*warn_slowpath*", "*warn_bogus*", "*warn_alloc*",
	"*report_bug*", "handle_bug*", "exc_*", "asm_exc_*", "*do_error*", "*_trap", "*invalid_op*", "do_general_protection*", "do_undefinstr", "do_debug_exception",
	"general_protection", "page_fault*", "do_page_fault*", "__do_page_fault*", "do_user_addr_fault", "do_kern_addr_fault", "bad_area*", "__bad_area*", "no_context", "*mmu_fault*",
	"oops_end", "oops_begin", "die", "die_*", "__die*", "*panic*", "*fixup_bug*", "kernelmode_fixup_or_oops", "do_int3*", "int3", "bust_spinlocks", "*print_report*", "*print_address_description*", "print_memory_metadata",
	"*kasan*", "*__asan*", "*hwasan*", "*check_memory_region*", "end_report", "*kmsan*", "*__msan*", "*kcsan*", "__tsan_*", "*kfence*",
	"*ubsan*", "handle_overflow", "*fortify*", "usercopy_abort", "*check_object*", "*check_heap_object*",
	"*debug_object*", "debug_print_object", "*debug_check_no_obj_freed*", "timer_is_static_object", "work_is_static_object",
	"refcount_*", "__refcount_*", "kref_*", "*ref_tracker*", "*list_add*", "*list_del*", "*list_replace*", "*list_move*", "*list_splice*", "__list_*", "rb_*", "__rb_*", "klist_*", "*cfi_failure*", "__cfi_check*",
	"el1_*", "el1h_*", "el1t_*", "do_el1_*", "*do_mem_abort*", "*do_translation_fault*", "*do_kernel_fault*", "do_tag_check_fault", "do_tag_recovery", "do_sync_exception_handler", "arm64_*", "brk_handler", "*bug_handler", "bug_brk_handler", "call_break_hook", "call_el1_break_hook", "do_el1_brk64",
	"__exception_text*", "__dabt_svc", "__pabt_svc", "__und_svc", "do_DataAbort", "do_PrefetchAbort", "ret_from_exception", "handle_exception", "*program_check_exception*", "*program_check_common*", "handle_reserved", "do_bp", "do_ri", "die_if_kernel",
	"*rust_begin_unwind*", "rust_helper_BUG",
	"*might_resched*", "*might_sleep*", "*might_fault*", "*lockdep*", "print_circular_bug*", "print_bad_irq_dependency", "print_irq_inversion_bug*", "*print_usage_bug*", "print_deadlock_bug", "*imbalance_bug*", "*print_unlock*", "print_lock_invalid_wait_context",
	"print_freed_lock_bug", "print_held_locks_bug", "check_*lock*", "check_prev_add", "check_prevs_add", "check_noncircular", "check_deadlock", "check_irq_usage", "check_wait_context", "validate_chain", "*mark_lock*", "mark_usage", "*mark_held_locks*", "*reacquire_held_locks*", "valid_state", "check_usage*",
	"*lock_acquire*", "*lock_release*", "lock_is_held*", "*lock_class*", "assign_lock_key", "debug_check_no_locks_freed", "debug_check_no_locks_held", "lock_sync", "*trace_hardirq*", "*trace_softirq*",
	"spin_bug", "spin_dump", "rwlock_bug", "do_raw_read_*", "do_raw_write_*", "check_preemption_disabled", "debug_smp_processor_id", "__this_cpu_preempt_check",
	"bad_page*", "free_page_is_bad*", "check_new_page*", "object_err*", "check_bytes_and_report*", "check_slab*", "print_trailer", "free_debug_processing", "alloc_debug_processing", "on_freelist", "free_to_partial_list",
	"__schedule_bug", "schedule_debug", "*stack_trace_save*", "stack_trace_consume_entry", "save_stack*", "set_track*", "unwind_*", "stack_depot_*", "*arch_stack_walk*", "print_tainted*", "get_taint", "*hex_dump*",
	"__report_bad_irq", "note_interrupt", "handle_irq_event*", "nmi_*", "__nmi_*", "trigger_*", "sched_show_task", "_sched_show_task", "dump_cpu_task", "show_state_filter", "watchdog*", "*watchdog_overflow_callback*", "__perf_event_overflow", "perf_event_overflow", "intel_pmu_handle_irq*", "perf_event_nmi_handler*", "*perf_trace*",
	"rcu_dump_*", "rcu_check_*", "print_cpu_stall*", "print_other_cpu_stall*", "check_cpu_stall*", "rcu_pending", "__rcu_pending", "rcu_sched_clock_irq", "check_hung_*", "arch_trigger_*", "__stack_chk_fail", "assfail*", "*assertfail*", "xfs_error_report*", "ext4_handle_error*",
	"spl_dumpstack*", "lbug_with_loc*", "libcfs_debug_dumpstack*", "libcfs_call_trace*",

	// Interrupts and timers, on the way to a report of a stall.
	"asm_sysvec_*", "sysvec_*", "__sysvec_*", "instr_sysvec_*", "apic_timer_interrupt", "smp_apic_timer_interrupt", "__irq_exit_rcu", "irq_exit*", "hrtimer_interrupt", "irqentry_exit", "__hrtimer_run_queues", "tick_*", "update_process_times",
	"common_interrupt", "asm_common_interrupt", "ret_from_intr", "x2apic_*", "local_apic_timer_interrupt", "generic_smp_call_function*", "csd_lock_wait*", "default_send_IPI*", "exit_to_user_mode_prepare", "exit_to_user_mode_loop", "exit_to_usermode_loop", "prepare_exit_to_usermode", "syscall_exit_to_user_mode*", "irqentry_exit_to_user_mode",

	// Padding before a function, which a stale return address may name.
	"__pfx_*", "__cfi_*",

	// Allocators.
	"kmemleak_*", "kfree", "kvfree", "free", "__kfree*", "kfree_skb*", "*malloc*", "*zalloc*", "*calloc*", "*krealloc*", "vfree*", "*kmem_cache*", "*slab_*", "*alloc_page*", "*alloc_frozen_pages*", "get_page_from_freelist", "prep_new_page", "post_alloc_hook", "__free_pages*", "free_pages*", "free_unref_*", "__free_frozen_pages", "free_frozen_pages",
	"*folio_alloc*", "*folio_unlock*", "*filemap_alloc_folio*", "*__filemap_get_folio*", "*find_or_create_page*", "*do_read_cache_folio*", "*read_cache_page*", "*pagecache_get_page*", "*grab_cache_page_write_begin*", "mempool_*", "*memdup*", "*strdup*", "*strndup*", "qlist_free_all", "qlink_free", "cache_free*", "new_slab", "*allocate_slab*", "alloc_from_pcs", "free_to_pcs", "sheaf_*",

	// Locks.
	"mutex_*", "__mutex_*", "ww_mutex_*", "__ww_mutex*", "rt_mutex_*", "__rt_mutex*", "rwbase_*", "rtlock_*", "*down_read*", "*down_write*", "down", "__down*", "down_interruptible", "down_killable", "down_timeout", "*down_trylock*", "*up_read*", "*up_write*", "up", "__up", "rwsem_*", "*raw_spin_rq*", "*spin_lock*", "*spin_trylock*", "*spin_unlock*", "*read_lock*", "*read_trylock*", "*write_lock*", "*write_trylock*", "*read_unlock*", "*write_unlock*", "native_queued_*", "queued_spin_*", "queued_read_*", "queued_write_*", "__pv_queued_*", "pv_wait*", "*owner_on_cpu*", "*osq_lock*", "*osq_unlock*", "percpu_down_*", "percpu_up_*", "__percpu_down_*", "percpu_rwsem_*",
	"*bh_enable*", "*bh_disable*", "lock_page*", "unlock_page*", "__lock_page*", "*seqprop_assert*", "console_lock", "console_unlock", "*printk*", "pcpu_spin_*", "class_*_destructor", "class_*_constructor", "rt_spin_*",

	// Waking and sleeping.
	"*__wake_up*", "wake_up_bit", "complete", "complete_all", "*wait_for_completion*", "*finish_wait*", "__schedule", "schedule", "preempt_schedule*", "*cond_resched*", "io_schedule*", "context_switch", "__switch_to*", "read_hpet", "delay_tsc", "__delay", "__const_udelay", "__udelay", "udelay",

	// Queues and timers, which only carry what others gave them.
	"*flush_work*", "__cancel_work*", "*cancel_work_sync*", "*try_to_grab_pending*", "*drain_workqueue*", "*destroy_workqueue*", "*queue_work*", "*queue_delayed_work*", "*insert_work*", "mod_delayed_work_on", "*kthread_stop*", "*del_timer*", "timer_delete*", "__timer_delete*", "*__mod_timer*", "*lock_timer_base*", "*sk_stop_timer_sync*",

	// Devices, which come and go through the same code.
	"*kobject_*", "*add_uevent_var*", "*get_device_parent*", "*device_add*", "*device_del*", "*device_unregister*", "*device_destroy*", "*device_release*", "*devres_release_all*", "*hwrng_unregister*", "*i2c_del_adapter*", "*__unregister_client*", "*device_for_each_child*", "*rollback_registered*", "*unregister_netdev*", "*sysfs_remove*", "*device_remove_file*", "*tty_unregister_device*", "*dummy_urb_enqueue*", "*usb_kill_urb*", "*usb_kill_anchored_urbs*", "*usb_control_msg*", "*usb_hcd_submit_urb*", "*usb_submit_urb*", "put_device", "dev_info*", "_dev_info*", "*dev_notice*", "*dev_warn*", "*dev_err*", "*dev_alert*", "*dev_crit*", "*dev_emerg*",

	// Strings, memory, registers and generic leaf code.
	"*memcpy*", "*memset*", "*memmove*", "*memcmp*", "*memchr*", "*strlen*", "*strnlen*", "*strcpy*", "*strscpy*", "*strlcpy*", "*strncpy*", "*strcmp*", "*strncmp*", "*strcat*", "*strchr*", "*strstr*", "*strnstr*", "*string*", "*pointer*", "*snprintf*", "*scnprintf*", "*kasprintf*", "*kvasprintf*", "*va_format*",
	"copy_page*", "clear_page*", "copy_user_*", "*copy_to_user*", "*copy_from_user*", "__copy_user*", "rep_movs_alternative", "rep_stos_alternative", "*copy_to_iter*", "*copy_from_iter*", "*copy_page_to_iter*", "*copy_page_from_iter*", "*copy_folio_to_iter*", "copyin", "copyout", "*put_user*", "*get_user*", "*read_word_at_a_time*", "*read_once*nocheck*", "*write_once*nocheck*", "__read_once*",
	"csum_partial*", "crc*", "atomic_*", "*atomic_dec*", "*atomic_inc*", "*atomic_read*", "*atomic_set*", "*atomic_xchg*", "*atomic_cmpxchg*", "*atomic_try*", "*atomic_add*", "*atomic_sub*", "*atomic64_*", "arch_atomic_*", "raw_atomic_*", "instrument_atomic_*", "*test_bit*", "*set_bit*", "*clear_bit*", "*change_bit*",
	"*readb", "*readw", "*readl", "*readq", "*writeb", "*writew", "*writel", "*writeq", "*logic_in*", "*logic_out*", "ioread8*", "ioread16*", "ioread32*", "iowrite8*", "iowrite16*", "iowrite32*", "__raw_read*", "__raw_write*",
	"srso_*", "__x86_return_thunk", "retbleed_*", "*_indirect_thunk_*", "entry_ibpb", "__fentry__", "ftrace_*", "trace_event_raw_*", "*__sanitizer*", "write_comp_data", "__rcu_read_*", "rcu_is_watching", "_find_*", "find_next_bit*", "native_save_fl", "native_irq_*", "arch_local_*", "__bpf_trace_*",
	"*xas_start*", "*xas_load*", "*xas_find*", "*find_lock_entries*", "*truncate_inode_pages_range*", "*__phys_addr*", "*cleanup_srcu_struct*", "*rhashtable_lookup*", "*extract_user_to_sg*", "*extract_iter_to_sg*", "*drop_nlink*", "*ida_free*", "*dput*", "iput", "iput_final", "ihold",
}

// sleeping is the code in which every sleeper sleeps. Modules have their own.
var sleeping = []string{
	"*sched*", "*_lock*", "*_slowlock*", "*down*", "*rwsem*", "*completion*", "*kthread*", "*wait*", "*synchronize*", "*context_switch*", "*__switch_to*", "*cancel_delayed_work*", "*rcu_barrier*",
	"sync_page", "sync_page_killable", "sleep_on_buffer", "sleep_on_page*", "sleep_on_shadow_bh", "sync_buffer", "sync_inode", "msleep*", "usleep_range*", "ssleep", "do_nanosleep", "__refrigerator", "freezing_slow_path", "exp_funnel_lock", "bit_*_io", "ret_from_fork*", "percpu_ref_*",
}

// entries call what runs in the kernel: system calls, workers, softirqs, and
// the operations of files, sockets and faults, which tell drivers apart.
var entries = []string{
	"*process_one_work*", "*process_scheduled_works*", "*do_syscall_*", "*do_fast_syscall_*", "*sysenter_dispatch*", "*tracesys_phase2*", "*el0_svc*", "*invoke_syscall*", "*ret_fast_syscall*", "system_call_fastpath", "*netif_receive_skb*", "*do_softirq*", "handle_softirqs",
	"*call_timer_fn*", "*_run_timers*", "*run_timer_softirq*", "*hrtimer_run*", "*run_ksoftirqd*", "*smpboot_thread_fn*", "kthread", "*start_secondary*", "*cpu_startup_entry*", "*ret_from_fork*",
	"*vfs_write*", "*vfs_read*", "*vfs_iter_read*", "*vfs_iter_write*", "*do_iter_read*", "*do_iter_write*", "*call_read_iter*", "*call_write_iter*", "*new_sync_read*", "*new_sync_write*", "*vfs_ioctl*", "*ksys_ioctl*", "*compat_ioctl*", "*compat_sys_ioctl*", "*blkdev_driver_ioctl*", "*blkdev_ioctl*", "call_mmap*", "*mmap_region*", "*do_mmap*", "*do_dentry_open*", "*vfs_open*",
	"sock_sendmsg*", "sock_recvmsg*", "sock_release*", "__sock_release*", "setsockopt", "*kernel_setsockopt*", "*sock_common_setsockopt*", "listen", "*kernel_listen*", "*sk_common_release*", "sock_mmap*", "accept", "*kernel_accept*", "sock_do_ioctl*", "sock_ioctl*", "compat_sock_ioctl*", "nfnetlink_rcv_msg*", "rtnetlink_rcv_msg*", "netlink_dump*",
	"*__do_fault*", "*do_page_fault*", "page_fault", "*__fput*", "*task_work_run*", "*exit_to_usermode*", "*smp_call_function*", "*tasklet_action*", "*tasklet_hi_action*",
}

// interrupts are how a watchdog's interrupt stands in a trace.
var interrupts = []string{"*apic_timer_interrupt*", "el1_irq", "el1h_64_irq", "el1_interrupt", "__irq_svc", "timer_interrupt", "decrementer_common*", "handle_riscv_irq", "do_irq"}

// Guilty gives the function to blame of a sleeper's stack, the innermost first, without
// what compilers add to its name; "" when there is none. It is the one that a
// finding's title would name.
func Guilty(stack []string) string {
	names := make([]string, 0, len(stack))
	for _, fn := range stack {
		if fn = baseName(fn); fn != "" {
			names = append(names, fn)
		}
	}
	t := compiled()
	if fn := t.sleeper(names, true); fn != "" && !t.look.has(fn) && !t.sleep.has(fn) {
		return entryName(fn)
	}
	return ""
}

// A nameSet finds a function in lookThrough without going through it all.
type nameSet struct {
	exact  map[string]bool
	prefix map[string][]string // by the first three bytes; "" holds those that begin with "*"

	mu    sync.RWMutex
	known map[string]bool // answers
}

// maxKnown bounds the answers that a nameSet remembers.
const maxKnown = 8192

func newNameSet(names []string) *nameSet {
	s := &nameSet{exact: map[string]bool{}, prefix: map[string][]string{}, known: map[string]bool{}}
	for _, n := range names {
		star := strings.IndexByte(n, '*')
		switch {
		case star < 0:
			s.exact[n] = true
		case star < 3:
			s.prefix[""] = append(s.prefix[""], n)
		default:
			s.prefix[n[:3]] = append(s.prefix[n[:3]], n)
		}
	}
	return s
}

func (s *nameSet) has(fn string) bool {
	s.mu.RLock()
	is, ok := s.known[fn]
	s.mu.RUnlock()
	if ok {
		return is
	}
	is = s.matches(fn)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.known) >= maxKnown {
		clear(s.known)
	}
	s.known[strings.Clone(fn)] = is
	return is
}

func (s *nameSet) matches(fn string) bool {
	if s.exact[fn] {
		return true
	}
	return matchesAny(s.prefix[fn[:min(3, len(fn))]], fn) || matchesAny(s.prefix[""], fn)
}

// glob compares fn with a pattern in which "*" stands for anything.
func glob(p, fn string) bool {
	i := strings.IndexByte(p, '*')
	if i < 0 {
		return p == fn
	}
	if !strings.HasPrefix(fn, p[:i]) {
		return false
	}
	p, fn = p[i+1:], fn[i:]
	if p == "" {
		return true
	}
	if k := len(p) - 1; strings.IndexByte(p, '*') == k {
		return strings.Contains(fn, p[:k])
	}
	for j := 0; j <= len(fn); j++ {
		if glob(p, fn[j:]) {
			return true
		}
	}
	return false
}
