package scenarios

import "testing"

func TestExpectationIsMet(t *testing.T) {
	hang := StoryExpect{Verdict: "hang", Also: []Verdict{"warn", "bug"}}
	for _, tc := range []struct {
		expect  StoryExpect
		verdict Verdict
		also    []Verdict
		want    bool
	}{
		{hang, "hang", []Verdict{"bug"}, true},
		{hang, "hang", []Verdict{"degraded", "warn"}, true},
		{hang, "hang", []Verdict{"degraded"}, false},
		{hang, "hang", nil, false},
		{hang, "bug", []Verdict{"warn"}, false},
		{StoryExpect{Verdict: "pass"}, "pass", nil, true},
		{StoryExpect{Verdict: "pass"}, "error", nil, false},
	} {
		if got := tc.expect.Met(tc.verdict, tc.also); got != tc.want {
			t.Errorf("%+v met by %s, also %v: %v, want %v", tc.expect, tc.verdict, tc.also, got, tc.want)
		}
	}
}

func TestSentenceNamesTheReleases(t *testing.T) {
	story := &Story{
		Kernels: []StoryKernel{{Role: "before"}, {Role: "with"}, {Role: "with"}},
		Holds:   "Good on ${before}, bad on ${with}.",
	}
	if got, want := story.Sentence([]string{"1.0", "2.0", "2.1"}), "Good on 1.0, bad on 2.0, 2.1."; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestBytesReadAndWrite(t *testing.T) {
	for _, tc := range []struct {
		text string
		want Bytes
	}{{"0", 0}, {"512", 512}, {"64KiB", 64 << 10}, {"1MiB", 1 << 20}, {"3GiB", 3 << 30}, {"1537MiB", 1537 << 20}} {
		b, err := ParseBytes(tc.text)
		if err != nil || b != tc.want || b.String() != tc.text {
			t.Errorf("%s: got %d, %q, %v", tc.text, b, b, err)
		}
	}
	for _, text := range []string{"", "MiB", "1 MiB", "1mib", "1MB", "1M", "1.5MiB", "+1", "-1", "01", "1e3", "1TiB", "1MiBKiB", "99999999999999999999"} {
		if b, err := ParseBytes(text); err == nil {
			t.Errorf("%q was read as %d", text, b)
		}
	}
}
