package trial

import (
	"testing"
	"time"
)

func TestClockCheck(t *testing.T) {
	begin := time.Now()
	for _, tt := range []struct {
		name        string
		guest, host time.Duration // since the beginning
		first, last time.Duration // how long the messages may have waited
		wrong       bool
	}{
		{"together", 5 * time.Second, 5 * time.Second, 0, 0, false},
		{"messages came late", 3 * time.Second, 4 * time.Second, 0, 0, false},
		{"both short", 50 * time.Millisecond, 900 * time.Millisecond, 0, 0, false},
		{"25 times too fast", 100 * time.Second, 4 * time.Second, 0, 0, true},
		{"twice too fast", 10 * time.Second, 5 * time.Second, 0, 0, true},
		{"ten times too slow", time.Second, 10 * time.Second, 0, 0, true},
		{"the first message waited", 60 * time.Second, 20 * time.Second, 40 * time.Second, 0, false},
		{"the last message waited", 20 * time.Second, 60 * time.Second, 0, 40 * time.Second, false},
		{"25 times too fast, and the messages waited a little", 100 * time.Second, 4 * time.Second, 2 * time.Second, 2 * time.Second, true},
		{"ten times too slow, though the first message waited", time.Second, 10 * time.Second, 10 * time.Second, 0, true},
	} {
		c := clockCheck{2 * time.Second, begin, tt.first}
		got := c.wrong((c.guest + tt.guest).Milliseconds(), begin.Add(tt.host), tt.last)
		if (got != "") != tt.wrong {
			t.Errorf("%s: got %q", tt.name, got)
		}
	}
}
