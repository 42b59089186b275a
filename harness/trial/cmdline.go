package trial

import (
	"fmt"
	"strings"

	"github.com/blockrig/blockrig/scenarios"
)

// kernelParams is the kernel's command line, a reason for each.
var kernelParams = []string{
	"console=ttyS0",            // the log
	"earlyprintk=serial,ttyS0", // what a kernel says that dies early
	"loglevel=6",               // notices and worse; PID 1 turns it up once the boot is over
	"printk.devkmsg=on",        // PID 1's lines are not dropped in a burst
	"panic=0",                  // a panicked guest stays, the host ends it
	"random.trust_cpu=on",      // no wait for entropy at boot
	"no_timer_check",           // the timer is emulated, and works
	"tsc=reliable",             // so is the TSC: no watchdog to outvote it on a busy host
	"8250.nr_uarts=2",          // two ports to probe
	"cryptomgr.notests",        // self-tests of ciphers take seconds under emulation
	"raid=noautodetect",        // arrays are what the scenario makes
}

// commandLine is what the kernel is started with. A module gets its parameters
// when it is loaded; one that is built in, from here.
func commandLine(disks []scenarios.Disk) string {
	text, queues := strings.Join(kernelParams, " "), 0
	for _, d := range disks {
		queues = max(queues, d.PollQueues)
	}
	if queues > 0 {
		text += fmt.Sprintf(" nvme.poll_queues=%d", queues)
	}
	return text
}
