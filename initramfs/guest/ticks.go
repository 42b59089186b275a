package guest

import "time"

// tick is the unit in which PID 1 waits.
const tick = 20 * time.Millisecond

// maxTick is what a jump of the clock counts at most. A kernel thread that
// spins lets PID 1 run every 100 ms or so; a pause of the whole machine (a
// busy host, a restored snapshot) makes the clock jump by seconds in which no
// task got to run.
const maxTick = 250 * time.Millisecond

// ticks counts guest time in which PID 1 had its turns, so that no deadline
// passes in a pause.
type ticks struct {
	last time.Time
	sum  time.Duration
}

func newTicks() *ticks { return &ticks{last: time.Now()} }

// passed brings the count up to date and gives it.
func (t *ticks) passed() time.Duration {
	now := time.Now()
	t.sum += min(now.Sub(t.last), maxTick)
	t.last = now
	return t.sum
}
