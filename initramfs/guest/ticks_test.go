package guest

import (
	"testing"
	"testing/synctest"
	"time"
)

// A host that says every so often what it has given.
type givingHost struct {
	given time.Duration
	words int64
}

// live lets d of the guest's time go by, with a turn of PID 1 every step, of
// which the host gives a part and says so, or nothing.
func (h *givingHost) live(t *ticks, d, step time.Duration, part float64, says bool) {
	for range int(d / step) {
		time.Sleep(step)
		h.given += time.Duration(part * float64(step))
		if says {
			h.words++
		}
		t.passed()
	}
}

func TestTimeIsWhatTheHostGave(t *testing.T) {
	for _, tt := range []struct {
		name     string
		live     func(h *givingHost, t *ticks)
		min, max time.Duration
	}{
		{"all of it", func(h *givingHost, t *ticks) { h.live(t, 10*time.Second, tick, 1, true) }, 9800 * time.Millisecond, 10 * time.Second},
		{"a part", func(h *givingHost, t *ticks) { h.live(t, 10*time.Second, tick, .1, true) }, time.Second, 1500 * time.Millisecond},
		{"none", func(h *givingHost, t *ticks) { h.live(t, time.Hour, tick, 0, true) }, 0, givenLag},
		{"a pause of the machine", func(h *givingHost, t *ticks) { h.live(t, time.Hour, time.Hour, 1, true) }, 0, maxTick},
		{"a kernel thread that spins", func(h *givingHost, t *ticks) { h.live(t, 10*time.Second, 100*time.Millisecond, 1, true) }, 9800 * time.Millisecond, 10 * time.Second},
		{"a host that is not heard for a moment", func(h *givingHost, t *ticks) {
			h.live(t, 4*time.Second, tick, 1, false)
			h.live(t, tick, tick, 1, true)
		}, 3800 * time.Millisecond, 4100 * time.Millisecond},
		{"a host that is not heard any more", func(h *givingHost, t *ticks) { h.live(t, 10*time.Second, tick, 0, false) }, 5 * time.Second, 5500 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &givingHost{given: time.Hour, words: 7}
				clock := startTicks(func() (time.Duration, int64) { return h.given, h.words })
				tt.live(h, clock)
				if got := clock.passed(); got < tt.min || got > tt.max {
					t.Errorf("passed() = %v, want %v to %v", got, tt.min, tt.max)
				}
			})
		})
	}
}

func TestTimeDoesNotGoBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &givingHost{}
		clock := startTicks(func() (time.Duration, int64) { return h.given, h.words })
		h.live(clock, 10*time.Second, tick, 0, false)
		before := clock.passed()
		h.live(clock, tick, tick, 0, true)
		if got := clock.passed(); got < before {
			t.Errorf("passed() = %v after %v", got, before)
		}
	})
}
