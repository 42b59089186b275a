package trial

import (
	"fmt"
	"time"
)

// clockCheck holds the guest's clock against the host's. A kernel finds out at
// boot how fast its TSC runs, by other clocks; on a busy host that goes wrong
// now and then ("tsc: PIT calibration deviates from HPET"), its seconds are
// then many times too short, and no deadline in guest time means anything.
type clockCheck struct {
	guest time.Duration
	host  time.Time
	late  time.Duration
}

// newClockCheck begins with the guest's clock, in milliseconds, as a message
// said it that may have waited to be read for late.
func newClockCheck(ms int64, late time.Duration) clockCheck {
	return clockCheck{time.Duration(ms) * time.Millisecond, time.Now(), late}
}

// clockSlack is what messages may take, and clockDrift what clocks may differ
// by: a factor.
const (
	clockSlack = time.Second
	clockDrift = 1.5
)

// wrong says that the guest's clock goes wrong, "" when it does not or that
// can't be told: the message with the guest's clock may have waited for late.
func (c clockCheck) wrong(ms int64, now time.Time, late time.Duration) string {
	guest, host := time.Duration(ms)*time.Millisecond-c.guest, now.Sub(c.host)
	if float64(guest) > float64(host+c.late+clockSlack)*clockDrift || float64(host-late) > float64(guest+clockSlack)*clockDrift {
		return fmt.Sprintf("the guest's clock is wrong: it counted %.1f s while the host's counted %.1f s; its kernel measured its speed wrongly at boot", guest.Seconds(), host.Seconds())
	}
	return ""
}
