package trial

import "testing"

func TestWorkers(t *testing.T) {
	const guest, gib = 384 << 20, 1 << 30
	for _, tc := range []struct {
		name          string
		trials, cores int
		free          int64
		want          int
	}{
		{"one a core", 100, 4, 64 * gib, 4},
		{"no more than there are trials", 2, 8, 64 * gib, 2},
		{"as far as memory goes", 100, 8, 2 * gib, 3}, // 584 MiB each
		{"at least one", 100, 8, 0, 1},
		{"memory is not known", 100, 8, -1, 8},
		{"nothing to do", 0, 8, gib, 1},
	} {
		if got := workersFor(tc.trials, tc.cores, guest, tc.free); got != tc.want {
			t.Errorf("%s: %d, want %d", tc.name, got, tc.want)
		}
	}
}
