package trial

import (
	"testing"
	"time"
)

func TestClockCheck(t *testing.T) {
	begin := time.Now()
	c := clockCheck{guest: 2 * time.Second, host: begin}
	for _, tt := range []struct {
		name        string
		guest, host time.Duration // since the beginning
		wrong       bool
	}{
		{"together", 5 * time.Second, 5 * time.Second, false},
		{"messages came late", 3 * time.Second, 4 * time.Second, false},
		{"both short", 50 * time.Millisecond, 900 * time.Millisecond, false},
		{"25 times too fast", 100 * time.Second, 4 * time.Second, true},
		{"twice too fast", 10 * time.Second, 5 * time.Second, true},
		{"ten times too slow", time.Second, 10 * time.Second, true},
	} {
		got := c.wrong((c.guest + tt.guest).Milliseconds(), begin.Add(tt.host))
		if (got != "") != tt.wrong {
			t.Errorf("%s: got %q", tt.name, got)
		}
	}
}
