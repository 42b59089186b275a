package trial

import (
	"fmt"
	"time"

	"github.com/blockrig/blockrig/harness/qemu"
)

// vcpu is the part of a machine that tells starved from hung.
type vcpu interface {
	// VCPUTime is summed over all threads that run virtual CPUs.
	VCPUTime() (run, wait time.Duration, err error)
	VCPUThreads() int
}

// watch measures silence in time that the guest was given: wall time less the
// time in which its virtual CPUs waited for one of the host's.
type watch struct {
	cpu       vcpu
	last      time.Time
	run, wait time.Duration // at last
	limits    limits

	// Since the last sign of life.
	given time.Duration // wall less waiting
	ran   time.Duration // on a CPU
	total time.Duration // of wall time
	asked time.Duration // given when QEMU was asked whether it is well; 0: not yet

	pause time.Duration // the longest time in which blockrig itself stood still
}

// limits are how much silence proves something.
type limits struct {
	spinning time.Duration // the virtual CPU runs all the time
	idle     time.Duration // it does not run at all, or now and then
	boot     time.Duration // before PID 1 has spoken
	starved  time.Duration // wall time, whatever of it was given
	phase    time.Duration // in disks and stack, though PID 1 goes on
}

// limitsOf gives the limits for an accelerator. An emulated guest may need
// a while between two beats when it prints an oops.
func limitsOf(a qemu.Accel) limits {
	l := limits{spinning: 2 * time.Second, idle: 10 * time.Second, boot: 120 * time.Second, phase: 300 * time.Second, starved: 20 * time.Minute}
	if a == qemu.KVM {
		l.boot = 60 * time.Second
	}
	return l
}

// maxPoll is what the time between two ticks counts at most. Longer ones are
// pauses of blockrig itself (Ctrl-Z, say), in which it heard nobody.
const maxPoll = time.Second

// minPause is how long blockrig must have stood still to make the words of a
// guest's watchdogs doubtful: QEMU may have been frozen with it. The kernel's
// own limits are longer (20 s by default). What blockrig itself waits for in
// between (qemuWait) is shorter.
const minPause = 10 * time.Second

// paused says that blockrig stood still in between, "" when it did not.
func (w *watch) paused() string {
	if w.pause == 0 {
		return ""
	}
	return fmt.Sprintf("the host stood still for %.0f s", w.pause.Seconds())
}

func newWatch(cpu vcpu, l limits) *watch {
	w := &watch{cpu: cpu, limits: l, last: time.Now()}
	w.run, w.wait, _ = cpu.VCPUTime() // an error is met again at the first tick
	return w
}

// alive notes a sign of life.
func (w *watch) alive() { w.given, w.ran, w.asked, w.total = 0, 0, 0, 0 }

// halted says that the guest's processors do nothing any more: a boot that
// goes on does not rest for so long.
func (w *watch) halted() bool { return w.given > 2*w.limits.idle && w.ran < w.given/50 }

// starved says that the guest has been silent for so long that its host will
// not give it the time to prove anything, "" when not.
func (w *watch) starved() string {
	if w.total > w.limits.starved {
		return fmt.Sprintf("the guest was silent for %.0f s, of which its virtual CPUs were given %.0f s: the host is too busy", w.total.Seconds(), w.given.Seconds())
	}
	return ""
}

// tick brings the account up to date. ok is false when the threads are gone.
func (w *watch) tick() bool {
	now := time.Now()
	elapsed := now.Sub(w.last)
	if elapsed > minPause {
		w.pause = max(w.pause, elapsed)
	}
	run, wait, err := w.cpu.VCPUTime()
	if err != nil {
		return false
	}
	n := time.Duration(max(1, w.cpu.VCPUThreads()))
	w.given += min(maxPoll, max(0, elapsed-(wait-w.wait)/n))
	w.ran += min(maxPoll, (run-w.run)/n)
	w.total += min(maxPoll, elapsed)
	w.last, w.run, w.wait = now, run, wait
	return true
}

// silent says that the guest has been silent for too long, "" when not.
func (w *watch) silent() string {
	spinning := w.ran > w.limits.spinning*9/10
	if spinning && w.given > w.limits.spinning || w.given > w.limits.idle {
		return fmt.Sprintf("the guest stopped answering for %.1f s, in which its virtual CPU ran for %.1f s", w.given.Seconds(), w.ran.Seconds())
	}
	return ""
}
