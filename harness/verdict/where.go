package verdict

import "strings"

// waiting are functions that only wait or schedule: the guilty one is the
// first of the stack that is none of them.
var waiting = map[string]bool{
	"schedule": true, "__schedule": true, "schedule_timeout": true, "io_schedule": true,
	"io_schedule_timeout": true, "blk_io_schedule": true, "schedule_preempt_disabled": true,
	"wait_for_completion": true, "wait_for_completion_io": true, "__wait_for_common": true,
	"folio_wait_bit_common": true, "folio_wait_bit": true, "bit_wait_io": true, "__wait_on_bit": true,
	"out_of_line_wait_on_bit": true, "msleep": true, "usleep_range_state": true, "do_nanosleep": true,
	"preempt_schedule": true, "preempt_schedule_irq": true, "irqentry_exit": true,
	"asm_sysvec_apic_timer_interrupt": true, "sysvec_apic_timer_interrupt": true,
}

// Where gives the guilty function of a stack as /proc/PID/stack shows it:
// lines of "function+0x1/0x2 [module]". "" when there is none.
func Where(stack []string) string {
	for _, line := range stack {
		f, _, _ := strings.Cut(line, "+")
		f = strings.TrimSpace(f)
		for _, suffix := range []string{".isra.", ".constprop.", ".part.", ".cold", ".llvm."} {
			f, _, _ = strings.Cut(f, suffix)
		}
		if f != "" && !strings.HasPrefix(f, "0x") && !waiting[f] {
			return f
		}
	}
	return ""
}
