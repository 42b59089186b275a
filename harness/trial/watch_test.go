package trial

import (
	"cmp"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/blockrig/blockrig/harness/qemu"
)

// A fakeCPU is the threads of a machine whose accounts a test keeps.
type fakeCPU struct {
	threads   int
	run, wait time.Duration // of all that run virtual CPUs
	reads     int64
	state     byte        // of those; 0: asleep
	main      qemu.Thread // State 0: asleep
	others    byte        // 0: asleep
	pending   time.Duration
	err       error
}

func (c *fakeCPU) Pending() time.Duration { return c.pending }

func (c *fakeCPU) Threads() (t qemu.Threads, err error) {
	n := max(1, c.threads)
	for range n {
		t.VCPUs = append(t.VCPUs, qemu.Thread{
			Run: c.run / time.Duration(n), Wait: c.wait / time.Duration(n), Reads: c.reads, State: cmp.Or(c.state, 'S'),
		})
	}
	t.Main, t.Others = c.main, cmp.Or(c.others, 'S')
	t.Main.State = cmp.Or(t.Main.State, 'S')
	return t, c.err
}

// pass lets d go by in steps of the poll's, of which the virtual CPU ran and
// waited a part each.
func pass(t *testing.T, w *watch, c *fakeCPU, d time.Duration, run, wait float64) {
	t.Helper()
	for range int(d / pollEvery) {
		time.Sleep(pollEvery)
		c.run += time.Duration(run * float64(pollEvery))
		c.wait += time.Duration(wait * float64(pollEvery))
		if !w.tick() {
			t.Fatal("the accounts can't be read")
		}
	}
}

// Given a virtual CPU that does nothing for a minute, when it may be the host
// that keeps it from running, then the guest is not silent; else it is.
func TestAVirtualCPUThatTheHostKeepsFromRunningProvesNothing(t *testing.T) {
	for name, tt := range map[string]struct {
		hold   func(c *fakeCPU) // before each step of the poll's
		silent bool
	}{
		"asleep":                           {func(*fakeCPU) {}, true},
		"waits for this process":           {func(c *fakeCPU) { c.pending += pollEvery }, false},
		"reads memory from storage":        {func(c *fakeCPU) { c.reads++ }, false},
		"waits for storage":                {func(c *fakeCPU) { c.state = 'D' }, false},
		"stopped":                          {func(c *fakeCPU) { c.state, c.main.State = 'T', 'T' }, false},
		"traced":                           {func(c *fakeCPU) { c.state = 't' }, false},
		"ready to run":                     {func(c *fakeCPU) { c.state = 'R' }, false},
		"QEMU's main thread in storage":    {func(c *fakeCPU) { c.main.State = 'D' }, false},
		"QEMU's main thread without a CPU": {func(c *fakeCPU) { c.main.Wait += pollEvery }, false},
		"another thread stopped":           {func(c *fakeCPU) { c.others = 't' }, false},
		"another thread waits for storage": {func(c *fakeCPU) { c.others = 'D' }, false},
		"QEMU's main thread at work":       {func(c *fakeCPU) { c.main.Run += pollEvery / 10 }, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &fakeCPU{}
				w := newWatch(c, limitsOf("tcg"))
				for range int(time.Minute / pollEvery) {
					tt.hold(c)
					pass(t, w, c, pollEvery, 0, 0)
				}
				if why := w.silent(); (why != "") != tt.silent {
					t.Errorf("silent() = %q, want silent: %t", why, tt.silent)
				}
				if (w.paused() != "") == tt.silent {
					t.Errorf("paused() = %q: the guest's watchdogs had %v", w.paused(), w.all)
				}
			})
		})
	}
}

// Given a QEMU that is stopped for some time and goes on, then a guest that
// stays silent is silent only for what it was given; one that stays stopped is
// given up.
func TestAStoppedQEMUIsWaitedForForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &fakeCPU{}
		w := newWatch(c, limitsOf("tcg"))
		stop := func(d time.Duration) {
			c.state, c.main.State = 'T', 'T'
			pass(t, w, c, d, 0, 0)
		}
		for range 5 {
			stop(40 * time.Second)
			if why := w.starved(); why != "" {
				t.Fatalf("starved() = %q", why)
			}
			c.state, c.main.State = 0, 0
			pass(t, w, c, time.Second, 0.1, 0)
		}
		if why := w.silent(); why != "" {
			t.Errorf("silent() = %q", why)
		}
		stop(3 * time.Minute)
		if why := w.starved(); !strings.Contains(why, "stopped") {
			t.Errorf("starved() = %q after 3 min", why)
		}
	})
}

// Given a host that stands still, blockrig with it, when it goes on, then the
// watch knows; a short stop is none.
func TestWatchKnowsThatTheHostStoodStill(t *testing.T) {
	for stop, want := range map[time.Duration]string{
		2 * time.Second:  "",
		30 * time.Second: "the host stood still for 30 s",
	} {
		synctest.Test(t, func(t *testing.T) {
			c := &fakeCPU{}
			w := newWatch(c, limitsOf("tcg"))
			pass(t, w, c, time.Second, 1, 0)
			time.Sleep(stop)
			pass(t, w, c, 5*time.Second, .1, 0)
			if got := w.paused(); got != want {
				t.Errorf("after %v: %q, want %q", stop, got, want)
			}
		})
	}
}

func TestSilenceIsCountedInTimeThatTheVirtualCPUWasGiven(t *testing.T) {
	for _, tt := range []struct {
		name      string
		lasts     time.Duration
		run, wait float64 // parts of the time that the virtual CPU ran and waited
		broken    bool    // the kernel has shown it
		silent    bool
	}{
		{"just fallen silent", 1500 * time.Millisecond, 1, 0, true, false},
		{"spinning", 2500 * time.Millisecond, 1, 0, true, true},
		{"slow", 29 * time.Second, 1, 0, false, false},
		{"spinning, and the kernel says nothing", 31 * time.Second, 1, 0, false, true},
		{"slow on a tenth of a CPU", 60 * time.Second, 0.1, 0.9, false, false},
		{"slow now and then", 29 * time.Second, 0.2, 0, false, false},
		{"spinning on half a CPU", 3 * time.Second, 0.5, 0.5, true, false},
		{"spinning on half a CPU for long", 5 * time.Second, 0.5, 0.5, true, true},
		{"starved", time.Hour, 0, 1, true, false},
		{"starved but for a moment now and then", time.Minute, 0.01, 0.99, true, false},
		{"idle for a while", 9 * time.Second, 0, 0, true, false},
		{"idle", 11 * time.Second, 0, 0, false, true},
		{"idle with a timer now and then", 11 * time.Second, 0.05, 0, false, true},
		{"busy with something now and then", 8 * time.Second, 0.2, 0, true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &fakeCPU{run: time.Minute, wait: time.Hour}
				w := newWatch(c, limitsOf("tcg"))
				w.broken = tt.broken
				pass(t, w, c, tt.lasts, tt.run, tt.wait)
				if why := w.silent(); (why != "") != tt.silent {
					t.Errorf("silent() = %q, want silent: %t", why, tt.silent)
				}
			})
		})
	}
}

func TestSignOfLifeEndsSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &fakeCPU{}
		w := newWatch(c, limitsOf("tcg"))
		w.broken = true
		for range 10 {
			pass(t, w, c, 1500*time.Millisecond, 1, 0)
			if why := w.silent(); why != "" {
				t.Fatalf("silent() = %q with a sign of life every 1.5 s", why)
			}
			w.alive()
		}
	})
}

func TestPauseOfBlockrigItselfIsNoSilenceOfTheGuest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// Given a guest that spins,
		c := &fakeCPU{}
		w := newWatch(c, limitsOf("tcg"))
		w.broken = true
		pass(t, w, c, time.Second, 1, 0)

		// when blockrig is stopped for an hour, in which QEMU goes on,
		time.Sleep(time.Hour)
		c.run += time.Hour
		w.tick()

		// then the guest had no chance to be heard in it.
		if why := w.silent(); why != "" {
			t.Errorf("silent() = %q", why)
		}
		if why := w.starved(); why != "" {
			t.Errorf("starved() = %q", why)
		}
	})
}

func TestGuestWithoutTimeIsStarvedInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &fakeCPU{}
		w := newWatch(c, limitsOf("tcg"))
		pass(t, w, c, 19*time.Minute, 0, 1)
		if why := w.starved(); why != "" {
			t.Errorf("starved() = %q after 19 min", why)
		}
		pass(t, w, c, 2*time.Minute, 0, 1)
		if w.starved() == "" || w.silent() != "" {
			t.Errorf("starved() = %q, silent() = %q after 21 min; want it starved, and not silent", w.starved(), w.silent())
		}
		w.alive()
		if why := w.starved(); why != "" {
			t.Errorf("starved() = %q after a sign of life", why)
		}
	})
}

func TestSeveralVirtualCPUsShareTheTime(t *testing.T) {
	for _, tt := range []struct {
		name      string
		lasts     time.Duration
		run, wait float64 // of all four together
		silent    bool
	}{
		{"all spin", 2500 * time.Millisecond, 4, 0, true},
		{"one spins, three rest", 4 * time.Second, 1, 0, false},
		{"one spins, three rest, for long", 11 * time.Second, 1, 0, true},
		{"one host CPU for all", 3 * time.Second, 1, 3, false},
		{"starved", time.Hour, 0, 4, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &fakeCPU{threads: 4}
				w := newWatch(c, limitsOf("kvm"))
				w.broken = true
				pass(t, w, c, tt.lasts, tt.run, tt.wait)
				if why := w.silent(); (why != "") != tt.silent {
					t.Errorf("silent() = %q, want silent: %t", why, tt.silent)
				}
			})
		})
	}
}

func TestMachineThatIsGoneIsNotSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &fakeCPU{}
		w := newWatch(c, limitsOf("kvm"))
		c.err = errors.New("no such thread")
		time.Sleep(time.Hour)
		if w.tick() {
			t.Error("tick() = true without accounts")
		}
		if why := w.silent(); why != "" {
			t.Errorf("silent() = %q", why)
		}
	})
}

// Given a guest that runs while nobody listens to it, when the host stands still in
// that time, or before the machine is ended, then its watchdogs' words are doubtful.
func TestWhatNobodyListenedToCounts(t *testing.T) {
	for name, tt := range map[string]struct {
		before, between, after time.Duration
		want                   bool
	}{
		"all is well":               {time.Second, time.Second, time.Second, false},
		"before anybody listened":   {30 * time.Second, 0, 0, true},
		"between two conversations": {0, 30 * time.Second, 0, true},
		"before the machine ended":  {0, 0, 30 * time.Second, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &fakeCPU{}
				began := time.Now()
				time.Sleep(tt.before)
				w := watchSince(began, c, limitsOf("tcg"))
				doubtful := false
				for _, gap := range []time.Duration{0, tt.between} {
					time.Sleep(gap)
					w.listening()
					pass(t, w, c, time.Second, 1, 0)
					doubtful = doubtful || w.paused() != ""
					if w.all > 2*time.Second || w.given > 2*time.Second {
						t.Errorf("heard of nothing for %v, given %v", w.given, w.all)
					}
				}
				time.Sleep(tt.after)
				w.over()
				doubtful = doubtful || w.paused() != ""
				c.err = errors.New("gone")
				w.over()
				if doubtful = doubtful || w.paused() != ""; doubtful != tt.want {
					t.Errorf("doubtful %t, want %t: %q", doubtful, tt.want, w.paused())
				}
			})
		})
	}
}

// Given a blockrig that stood still, when it reads what came meanwhile, then that
// may have waited for as long; what it reads later has not.
func TestWatchKnowsHowLongAMessageMayHaveWaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &fakeCPU{}
		w := newWatch(c, limitsOf("tcg"))
		pass(t, w, c, time.Second, .1, 0)
		if late := w.late(); late > pollEvery {
			t.Errorf("%v while nothing stands still", late)
		}
		time.Sleep(40 * time.Second)
		if late := w.late(); late != 40*time.Second {
			t.Errorf("%v before the first look, want 40 s", late)
		}
		w.tick()
		pass(t, w, c, time.Second, .1, 0)
		if late := w.late(); late != 40*time.Second {
			t.Errorf("%v a second after it, want 40 s", late)
		}
		pass(t, w, c, 2*time.Second, .1, 0)
		if late := w.late(); late > pollEvery {
			t.Errorf("%v three seconds after it", late)
		}
	})
}
