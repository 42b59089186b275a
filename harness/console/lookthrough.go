package console

import "strings"

// lookThrough are functions that stand between a fault and the code to
// blame: report and panic code, allocators, locks, string functions, and the
// code in which every sleeper sleeps. A name that ends in "*" stands for all
// that begin so.
var lookThrough = []string{
	// Reports and panics.
	"dump_stack*", "__dump_stack", "show_stack*", "show_trace*", "dump_backtrace*", "show_regs*", "__warn*", "warn_slowpath*", "warn_bogus*",
	"report_bug*", "handle_bug*", "exc_*", "asm_exc_*", "do_error_trap", "do_trap*", "do_invalid_op", "invalid_op", "do_general_protection",
	"general_protection", "page_fault*", "do_page_fault*", "__do_page_fault", "do_user_addr_fault", "do_kern_addr_fault", "bad_area*",
	"__bad_area*", "no_context", "oops_end", "oops_begin", "die", "die_*", "__die*", "panic*", "vpanic", "nmi_panic*", "check_panic_on_warn", "page_fault_oops",
	"fixup_bug*", "kernelmode_fixup_or_oops", "do_int3*", "int3", "bust_spinlocks", "print_report", "print_address_description*", "print_memory_metadata",
	"kasan_*", "__kasan_*", "__asan_*", "__hwasan_*", "check_memory_region*", "end_report", "kmsan_*", "__msan_*", "kcsan_*", "__kcsan_*", "__tsan_*", "kfence_*", "__kfence_*",
	"ubsan_*", "__ubsan_*", "val_to_string*", "handle_overflow", "fortify_panic", "__fortify_*", "__fortify_panic", "usercopy_abort", "__check_object_size*", "check_heap_object",
	"debug_print_object", "__debug_check_no_obj_freed", "debug_check_no_obj_freed", "debug_object_*", "__debug_object_*",
	"refcount_*", "__refcount_*", "kref_get", "kref_put", "__list_add_valid*", "__list_del_entry*", "__list_del_entry_valid*", "__list_add",
	"list_add", "list_add_tail", "list_del", "list_del_init", "list_move*", "__list_*", "report_cfi_failure", "handle_cfi_failure",
	"el1_*", "el1h_*", "el1t_*", "do_el1_*", "do_mem_abort", "do_translation_fault", "do_sync_exception_handler", "__do_kernel_fault", "arm64_*", "brk_handler", "bug_handler",
	"do_debug_exception", "__exception_text*", "__dabt_svc", "__pabt_svc", "__und_svc", "do_DataAbort", "do_PrefetchAbort", "do_undefinstr", "ret_from_exception", "do_trap_*", "handle_exception", "_new_vmalloc_restore_context_a0",
	"rust_begin_unwind", "rust_helper_BUG", "rust_panic*", "_RNv*4core9panicking*", "core::panicking::*", "_RNvNtCs*_4core9panicking*",
	"might_resched", "__might_sleep", "___might_sleep", "__might_resched*", "might_fault", "__might_fault",
	"lockdep_rcu_suspicious", "print_circular_bug*", "print_bad_irq_dependency", "print_irq_inversion_bug*", "print_usage_bug*", "print_deadlock_bug", "print_unlock_imbalance_bug*",
	"print_lock_invalid_wait_context", "print_freed_lock_bug", "print_held_locks_bug", "check_*lock*", "check_prev_add", "check_prevs_add", "check_noncircular", "check_deadlock", "check_irq_usage", "check_wait_context",
	"validate_chain", "mark_lock*", "mark_usage", "mark_held_locks", "valid_state", "check_usage*", "__lock_acquire*", "lock_acquire*", "lock_release*", "__lock_release*", "lock_is_held*", "lockdep_*", "__lockdep_*", "register_lock_class", "assign_lock_key", "look_up_lock_class",
	"debug_check_no_locks_freed", "debug_check_no_locks_held", "print_unlock_*", "lock_sync",
	"spin_bug", "spin_dump", "rwlock_bug", "do_raw_spin_*", "do_raw_read_*", "do_raw_write_*", "check_preemption_disabled", "debug_smp_processor_id", "__this_cpu_preempt_check",
	"bad_page*", "free_page_is_bad*", "check_new_page*", "slab_err*", "slab_bug*", "object_err*", "check_bytes_and_report*", "check_object*", "check_slab*", "slab_fix", "print_trailer", "free_debug_processing", "alloc_debug_processing", "on_freelist", "free_to_partial_list", "__slab_err",
	"__schedule_bug", "schedule_debug", "stack_trace_save*", "save_stack*", "set_track*", "unwind_*", "stack_depot_*", "arch_stack_walk",
	"__report_bad_irq", "note_interrupt", "handle_irq_event*", "nmi_*", "__nmi_*", "trigger_*", "sched_show_task", "show_state_filter", "watchdog*", "rcu_dump_*", "rcu_check_*", "print_cpu_stall*", "print_other_cpu_stall*", "check_cpu_stall*", "rcu_pending", "rcu_sched_clock_irq", "check_hung_*", "arch_trigger_*",
	"__stack_chk_fail",

	// Interrupts and timers, on the way to a report of a stall.
	"asm_sysvec_*", "sysvec_*", "__sysvec_*", "apic_timer_interrupt", "smp_apic_timer_interrupt", "__irq_exit_rcu", "irq_exit*", "hrtimer_interrupt", "irqentry_exit", "__hrtimer_run_queues", "tick_*", "update_process_times",
	"common_interrupt", "asm_common_interrupt", "ret_from_intr", "native_apic_*", "x2apic_*", "local_apic_timer_interrupt", "generic_smp_call_function*", "__sysvec_call_function*", "csd_lock_wait*", "smp_call_function*", "on_each_cpu*", "default_send_IPI*", "smp_text_poke*", "text_poke*",

	// Padding before a function, which a stale return address may name.
	"__pfx_*", "__cfi_*",

	// Allocators.
	"kmemleak_*", "kfree*", "__kfree*", "kmalloc*", "__kmalloc*", "kzalloc*", "krealloc*", "__krealloc*", "kvmalloc*", "__kvmalloc*", "kvfree*", "vmalloc*", "__vmalloc*", "vfree*", "vzalloc*", "kmem_cache_*", "__kmem_cache_*", "slab_*", "__slab_*", "___slab_*", "do_slab_free", "alloc_pages*", "__alloc_pages*", "__alloc_frozen_pages*", "alloc_frozen_pages*", "get_page_from_freelist", "prep_new_page", "post_alloc_hook", "__free_pages*", "free_pages*", "free_unref_*", "__free_frozen_pages", "free_frozen_pages", "folio_alloc*", "__folio_alloc*", "mempool_*", "memdup_user*", "kmemdup*", "kstrdup*", "kcalloc*", "qlist_free_all", "qlink_free", "cache_free*", "poison_slab_object", "poison_kmalloc_redzone", "new_slab", "allocate_slab", "alloc_slab_page", "alloc_from_pcs", "free_to_pcs", "sheaf_*",

	// Locks.
	"mutex_lock*", "__mutex_lock*", "mutex_unlock*", "__mutex_unlock*", "mutex_trylock*", "ww_mutex_*", "__ww_mutex*", "rt_mutex_*", "__rt_mutex*", "rwbase_*", "rtlock_*", "rt_spin_*", "rt_read_*", "rt_write_*", "down_read*", "down_write*", "__down_*", "down", "down_interruptible", "down_killable", "down_timeout", "up_read*", "up_write*", "up", "rwsem_*", "__up_*", "_raw_spin_*", "__raw_spin_*", "_raw_read_*", "_raw_write_*", "__raw_read_*", "__raw_write_*", "native_queued_*", "queued_spin_*", "queued_read_*", "queued_write_*", "__pv_queued_*", "pv_wait*", "osq_lock", "spin_lock*", "spin_unlock*", "read_lock*", "write_lock*", "percpu_down_*", "percpu_up_*", "__percpu_down_*", "percpu_rwsem_*", "lock_sock*", "__lock_sock", "release_sock", "local_bh_*", "__local_bh_*", "lock_page*", "__lock_page*", "folio_lock*", "__folio_lock*", "bit_wait*", "__wait_on_bit*", "out_of_line_wait_on_bit*", "wait_on_bit*", "seqcount_*", "lock_buffer", "__lock_buffer", "console_lock", "console_unlock", "vprintk*", "printk", "_printk", "pcpu_spin_*", "class_*_destructor", "class_*_constructor",

	// Sleeping.
	"__schedule*", "schedule*", "preempt_schedule*", "__cond_resched", "_cond_resched", "io_schedule*", "context_switch", "__switch_to*", "__wait_for_common", "wait_for_common*", "do_wait_for_common", "wait_for_completion*", "__wait_for_completion*", "__synchronize_srcu", "synchronize_rcu*", "synchronize_srcu*", "synchronize_sched*", "__wait_rcu_gp", "wait_rcu_exp_gp", "exp_funnel_lock", "rcu_barrier*", "msleep*", "do_nanosleep", "usleep_range*", "ssleep", "prepare_to_wait*", "wait_woken", "__wait_event*", "wait_on_page_*", "wait_on_page*", "folio_wait_*", "__folio_wait*", "__wait_on_buffer", "wait_on_buffer", "blk_io_schedule", "__wait_on_freeing_inode", "flush_work*", "__flush_work*", "flush_workqueue*", "__flush_workqueue*", "start_flush_work", "cancel_work_sync*", "__cancel_work*", "cancel_delayed_work_sync*", "drain_workqueue", "kthread_stop*", "kthread_park*", "submit_bio_wait", "rq_qos_wait", "__refrigerator", "freezing_slow_path", "read_hpet", "delay_tsc", "__delay", "__const_udelay", "__udelay", "udelay",

	// Queues, timers and buffers, which only carry what others gave them.
	"work_is_static_object", "insert_work", "__queue_work", "queue_work_on", "__queue_delayed_work", "queue_delayed_work_on", "mod_delayed_work_on", "mod_timer*", "__mod_timer", "add_timer*", "del_timer*", "timer_delete*", "timer_shutdown*", "enqueue_timer", "detach_if_pending", "call_timer_fn", "__run_timers", "run_timer_softirq", "skb_pull*", "skb_push*", "skb_put*", "__skb_*", "skb_over_panic", "skb_under_panic", "skb_panic", "kfree_skb*", "consume_skb",

	// Strings, memory and generic leaf code.
	"memcpy*", "__memcpy*", "memset*", "__memset*", "memmove*", "__memmove*", "memcmp*", "memchr*", "strlen*", "strnlen*", "strcpy*", "strscpy*", "strlcpy*", "strncpy*", "sized_strscpy*", "strcmp*", "strncmp*", "strcat*", "strchr*", "strstr*", "copy_page*", "clear_page*", "copy_user_*", "copy_to_user*", "copy_from_user*", "_copy_to_user*", "_copy_from_user*", "__copy_user*", "rep_movs_alternative", "rep_stos_alternative", "_copy_from_iter*", "_copy_to_iter*", "csum_partial*", "atomic_*", "arch_atomic_*", "raw_atomic_*", "instrument_atomic_*", "__read_once*", "test_bit", "set_bit", "clear_bit", "arch_test_bit", "_test_bit", "srso_*", "__x86_return_thunk", "retbleed_*", "__x86_indirect_thunk_*", "entry_ibpb", "__fentry__", "ftrace_*", "trace_event_raw_*", "__sanitizer_cov_*", "write_comp_data", "percpu_ref_*", "__rcu_read_*", "rcu_read_*", "rcu_is_watching", "list_empty*", "bitmap_*", "_find_*", "find_next_bit*", "native_*", "arch_local_*", "paravirt_*", "pv_*", "kcsan_setup_watchpoint", "__bpf_trace_*",
}

// Guilty gives the function to blame of a stack, the innermost first, without
// what compilers add to its name; "" when there is none. It is the one that a
// finding's title would name.
func Guilty(stack []string) string {
	look := compiled().look
	for _, fn := range stack {
		if fn = baseName(fn); fn != "" && !look.has(fn) {
			return fn
		}
	}
	return ""
}

// A nameSet finds a function in lookThrough without going through it all.
type nameSet struct {
	exact  map[string]bool
	prefix map[string][]string // by the first three bytes
}

func newNameSet(names []string) *nameSet {
	s := &nameSet{exact: map[string]bool{}, prefix: map[string][]string{}}
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
	if s.exact[fn] {
		return true
	}
	for _, n := range s.prefix[fn[:min(3, len(fn))]] {
		if glob(n, fn) {
			return true
		}
	}
	for _, n := range s.prefix[""] {
		if glob(n, fn) {
			return true
		}
	}
	return false
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
	for j := 0; j <= len(fn); j++ {
		if glob(p, fn[j:]) {
			return true
		}
	}
	return false
}
