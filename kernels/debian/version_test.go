package debian

import "testing"

func TestCompareVersions(t *testing.T) {
	// Given versions in ascending order, each is older than all that follow.
	order := []string{
		"6.1.0-41", "6.1.158-1", "6.9-1", "6.12.9-1", "6.12.10-1", "6.17.13-1~bpo13+1", "6.17.13-1",
		"7.3~rc7-1~exp1", "7.3~rc7-1", "7.3~rc10-1", "7.3-1~exp1", "7.3-1", "7.3a-1", "7.3+b1-1", "7.3.1-1", "1:1.0-1",
	}
	for i, a := range order {
		for j, b := range order {
			want := 0
			if i < j {
				want = -1
			} else if i > j {
				want = 1
			}
			if got := CompareVersions(a, b); got != want {
				t.Errorf("CompareVersions(%q, %q) = %d, want %d", a, b, got, want)
			}
		}
	}
	for _, same := range [][2]string{{"1.0-1", "0:1.0-1"}, {"1.01", "1.1"}, {"1.0", "1.0-"}, {"1.0-0", "1.0"}} {
		if got := CompareVersions(same[0], same[1]); got != 0 {
			t.Errorf("CompareVersions(%q, %q) = %d, want 0", same[0], same[1], got)
		}
	}
}

func TestUpstream(t *testing.T) {
	for version, want := range map[string]string{
		"6.18.15-1~bpo13+1": "6.18.15", "7.3~rc7-1~exp1": "7.3~rc7", "2:1.02.205-2": "1.02.205", "5": "5",
	} {
		if got := Upstream(version); got != want {
			t.Errorf("Upstream(%q) = %q, want %q", version, got, want)
		}
	}
}
