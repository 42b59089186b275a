package guest

import "time"

// tick is the unit in which PID 1 waits.
const tick = 20 * time.Millisecond

// ticks counts guest time in which PID 1 itself was running. A pause of the
// whole machine (a busy host, a restored snapshot) makes the clock jump by
// seconds while no task got to run; a jump counts as three ticks at most, so
// that it makes no deadline pass.
type ticks struct {
	last time.Time
	sum  time.Duration
}

func newTicks() *ticks { return &ticks{last: time.Now()} }

// passed brings the count up to date and gives it.
func (t *ticks) passed() time.Duration {
	now := time.Now()
	t.sum += min(now.Sub(t.last), 3*tick)
	t.last = now
	return t.sum
}
