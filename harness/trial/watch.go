package trial

import (
	"fmt"
	"time"

	"github.com/blockrig/blockrig/harness/qemu"
)

// threads is the part of a machine that tells starved from hung.
type threads interface {
	Threads() (qemu.Threads, error)
	// Pending is how long the guest has waited for this process.
	Pending() time.Duration
}

// watch measures silence in time that the guest was given: wall time less the
// time in which its virtual CPUs waited for the host. They wait for one of its
// CPUs, for storage (a saved machine's memory is a file), or until somebody
// lets QEMU go on; and they wait for QEMU's main thread, which may wait itself.
type watch struct {
	of     threads
	last   time.Time
	then   qemu.Threads // at last
	limits limits

	// Since the last sign of life.
	given time.Duration // wall time less waiting
	ran   time.Duration // on a CPU
	total time.Duration // wall time
	asked time.Duration // given when QEMU was asked whether it is well; 0: not yet

	// Since somebody listens.
	all     time.Duration // given
	lost    time.Duration // wall time in which the guest waited for the host, before that, too
	stopped time.Duration // wall time in which a thread was stopped, without a break until now

	gap   time.Duration // between two looks: the longest of those that ended since gapAge ago
	gapAt time.Time     // the later one
	pause time.Duration // the longest time in which nobody looked: blockrig itself stood still

	broken bool // the kernel has shown that something is wrong with it
}

// limits are how much silence proves something.
type limits struct {
	spinning time.Duration // the virtual CPU runs all the time, of a kernel that is broken
	slow     time.Duration // it runs, of a kernel that has shown nothing: it may only be slow
	idle     time.Duration // it does not run at all, or now and then
	boot     time.Duration // before PID 1 has spoken
	starved  time.Duration // wall time, whatever of it was given
	stopped  time.Duration // wall time in which a thread is stopped
	phase    time.Duration // in disks and stack, though PID 1 goes on
}

// limitsOf gives the limits for an accelerator. An emulated guest may need
// a while between two beats when it prints an oops. What is only slow is given longer than the
// kernel's own watchdog, which tells a soft lockup after 20 to 24 s, and where.
func limitsOf(a qemu.Accel) limits {
	l := limits{spinning: 2 * time.Second, slow: 30 * time.Second, idle: 10 * time.Second, boot: 120 * time.Second, phase: 300 * time.Second, starved: 20 * time.Minute, stopped: 70 * time.Second}
	if a == qemu.KVM {
		l.boot = 60 * time.Second
	}
	return l
}

// maxPoll is what the time between two ticks counts at most. Longer ones are
// pauses of blockrig itself (Ctrl-Z, say), in which it heard nobody.
const maxPoll = time.Second

// minPause is how long the guest must have been without the host to make the
// words of its watchdogs doubtful. The kernel's own limits are longer (20 s by
// default).
const minPause = 10 * time.Second

// paused says that the guest's watchdogs may have seen the host, and not the
// kernel, stand still; "" when they can't have.
func (w *watch) paused() string {
	switch {
	case w.pause > minPause:
		return fmt.Sprintf("the host stood still for %.0f s", w.pause.Seconds())
	case w.lost > minPause:
		return fmt.Sprintf("the guest waited for the host for %.0f s", w.lost.Seconds())
	}
	return ""
}

func newWatch(of threads, l limits) *watch {
	w := &watch{of: of, limits: l, last: time.Now()}
	w.then, _ = of.Threads() // after an error the first tick begins the account
	return w
}

// watchSince is a watch over a machine that has run since began, without anyone
// who looked. Its virtual CPUs had done nothing then.
func watchSince(began time.Time, of threads, l limits) *watch {
	w := newWatch(of, l)
	w.last = began
	clear(w.then.VCPUs)
	return w
}

// listening begins the account anew. Of the time in which nobody listened, only
// what the guest did not get of it counts.
func (w *watch) listening() {
	w.lost, w.pause = 0, 0
	w.tick()
	w.alive()
	w.all = 0
}

// gapAge is how long this process may take to read what came while it stood
// still.
const gapAge = 2 * time.Second

// late is how long what is read now may have waited to be read.
func (w *watch) late() time.Duration {
	if time.Since(w.gapAt) > gapAge {
		return time.Since(w.last)
	}
	return max(w.gap, time.Since(w.last))
}

// over ends the account of a machine that is being ended.
func (w *watch) over() {
	if !w.tick() { // it is gone
		w.pause = max(w.pause, time.Since(w.last))
	}
}

// alive notes a sign of life.
func (w *watch) alive() { w.given, w.ran, w.asked, w.total = 0, 0, 0, 0 }

// halted says that the guest's processors do nothing any more: a boot that
// goes on does not rest for so long.
func (w *watch) halted() bool { return w.given > 2*w.limits.idle && w.ran < w.given/50 }

// starved says that the host will not give the guest the time to prove
// anything, "" when it may.
func (w *watch) starved() string {
	switch {
	case w.stopped > w.limits.stopped:
		return fmt.Sprintf("QEMU has been stopped for %.0f s", w.stopped.Seconds())
	case w.total > w.limits.starved:
		return fmt.Sprintf("the guest was silent for %.0f s, of which the host gave it %.0f s: the host is too busy", w.total.Seconds(), w.given.Seconds())
	}
	return ""
}

// tick brings the account up to date. ok is false when the threads are gone.
func (w *watch) tick() (ok bool) {
	now := time.Now()
	elapsed := now.Sub(w.last)
	threads, err := w.of.Threads()
	if err != nil || len(threads.VCPUs) == 0 {
		return false
	}
	if len(threads.VCPUs) != len(w.then.VCPUs) {
		w.last, w.then = now, threads
		return true
	}
	rested := !threads.Main.Held() && threads.Others == 'S' && elapsed <= maxPoll
	if elapsed >= w.gap || now.Sub(w.gapAt) > gapAge {
		w.gap, w.gapAt = elapsed, now
	}
	w.pause = max(w.pause, elapsed)
	ran, lost := time.Duration(0), time.Duration(0)
	pending := w.of.Pending()
	for i, v := range threads.VCPUs {
		was := w.then.VCPUs[i]
		run := v.Run - was.Run
		ran += run
		// A thread that does nothing waits for the guest to have something to
		// do, if the host can be ruled out.
		idle := max(0, elapsed-run-(v.Wait-was.Wait))
		if rested && !v.Held() && v.Reads == was.Reads {
			idle = max(0, idle-(threads.Main.Wait-w.then.Main.Wait)-pending)
		} else {
			idle = 0
		}
		lost = max(lost, elapsed-run-idle)
	}
	given := min(maxPoll, max(0, elapsed-lost))
	w.given += given
	w.all += given
	w.lost += min(maxPoll, max(0, lost))
	w.ran += min(maxPoll, ran/time.Duration(len(threads.VCPUs)))
	w.total += min(maxPoll, elapsed)
	if threads.Stopped() {
		w.stopped += elapsed
	} else {
		w.stopped = 0
	}
	w.last, w.then = now, threads
	return true
}

// silent says that the guest has been silent for too long, "" when not.
func (w *watch) silent() string {
	limit := w.limits.idle
	switch {
	case w.broken && w.ran > w.limits.spinning*9/10:
		limit = w.limits.spinning
	case !w.broken && w.ran > w.given/10:
		limit = w.limits.slow
	}
	if w.given > limit {
		return fmt.Sprintf("the guest stopped answering for %.1f s, in which its virtual CPU ran for %.1f s", w.given.Seconds(), w.ran.Seconds())
	}
	return ""
}
