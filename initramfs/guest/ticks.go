package guest

import (
	"time"
)

// tick is the unit in which PID 1 waits.
const tick = 20 * time.Millisecond

// maxTick is what a jump of the clock counts at most. A kernel thread that
// spins lets PID 1 run every 100 ms or so; a pause of the whole machine (a
// busy host, a restored snapshot) makes the clock jump by seconds in which no
// task got to run.
const maxTick = 250 * time.Millisecond

const (
	// givenLag is how old the host's word may be when nothing is wrong.
	givenLag = 2 * beatEvery
	// givenLost is how long PID 1 does without it before it takes the control
	// line for broken.
	givenLost = 5 * time.Second
)

// ticks counts time in which the kernel had its chance: PID 1 had its turns,
// and the host let the machine run. No deadline passes in a pause.
type ticks struct {
	host  func() (given time.Duration, words int64) // what the host has said
	last  time.Time
	sum   time.Duration // of PID 1's turns
	count time.Duration // what passed said last
	start time.Duration // given at the start

	words int64         // how many the host had said
	since time.Duration // sum at the last of them
}

func (g *guest) newTicks() *ticks {
	return startTicks(func() (time.Duration, int64) { return ms(g.link.given.Load()), g.link.words.Load() })
}

func startTicks(host func() (given time.Duration, words int64)) *ticks {
	t := &ticks{host: host, last: time.Now()}
	t.start, t.words = host()
	return t
}

// passed brings the count up to date and gives it. It never goes back.
func (t *ticks) passed() time.Duration {
	now := time.Now()
	turn := min(max(0, now.Sub(t.last)), maxTick)
	t.sum += turn
	t.last = now
	given, words := t.host()
	if words != t.words {
		t.words, t.since = words, t.sum
	}
	if t.sum-t.since > givenLost {
		t.count += turn // what was not given before stays so
	} else {
		t.count = max(t.count, min(t.sum, max(0, given-t.start)+givenLag))
	}
	return t.count
}

// until calls done every tick until it is true or fails. It gives false once
// so much time has passed.
func (g *guest) until(limit time.Duration, done func(passed time.Duration) (bool, error)) (bool, error) {
	for t := g.newTicks(); ; time.Sleep(tick) {
		now := t.passed()
		if ok, err := done(now); ok || err != nil {
			return ok, err
		}
		if now > limit {
			return false, nil
		}
	}
}
