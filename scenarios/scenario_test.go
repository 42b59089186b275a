package scenarios

import (
	"strings"
	"testing"
)

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

func TestTitlesAreAllowedByPattern(t *testing.T) {
	for _, tc := range []struct {
		pattern, title string
		want           bool
	}{
		{"WARNING in bio_add_page", "WARNING in bio_add_page", true},
		{"WARNING in bio_add_page", "WARNING in bio_add_page_2", false},
		{"I/O error on *", "I/O error on sdb", true},
		{"*raid1* read error*", "md/raid1:md0: read error corrected", true},
		{"a*a", "a", false},
		{"a*b*c", "axbxxc", true},
		{"a*b*c", "axcxxb", false},
	} {
		if got := Allowed(tc.title, []string{"something else", tc.pattern}); got != tc.want {
			t.Errorf("%q by %q: %v", tc.title, tc.pattern, got)
		}
	}
}

func TestPlaceholdersStandForDevices(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{"mdadm --detail {r}", "mdadm --detail <r>"},
		{"{r.sys}/md/sync_action", "<r sys>/md/sync_action"},
		{"{a}{b-1}{c_2}", "<a><b-1><c_2>"},
		{"${x} ${x%y} $1", "${x} ${x%y} $1"},
		{"awk '{print $1}' {}", "awk '{print $1}' {}"},
		{"{ ls; } {1..3} {a,b} {A} {a.} {a.b.c} {", "{ ls; } {1..3} {a,b} {A} {a.} {a.b.c} {"},
		{"awk {{print} {{{a}", "awk {print} {<a>"},
		{"{abcdefghijklmnopq}", "{abcdefghijklmnopq}"},
	} {
		got, err := Expand(tc.text, func(p Placeholder) (string, error) {
			return "<" + strings.TrimSpace(p.Name+" "+p.Part) + ">", nil
		})
		if err != nil || got != tc.want {
			t.Errorf("%q became %q, %v, want %q", tc.text, got, err, tc.want)
		}
	}
}
