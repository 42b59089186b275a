package scenarios

import (
	"errors"
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func good(t *testing.T) *Scenario {
	t.Helper()
	src, err := os.ReadFile("testdata/good.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s, err := Parse("good.yaml", src)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestCasesAreTheMatrixInTheFilesOrder(t *testing.T) {
	cases, err := good(t).Cases(nil)
	if err != nil {
		t.Fatal(err)
	}
	type row struct {
		ID                   string
		Length, MemoryOffset int64
		Aligned              bool
		Expect               []string
	}
	var got []row
	for _, c := range cases {
		got = append(got, row{c.ID, c.Step.Length, c.Step.MemoryOffset, c.Aligned, c.Expect})
	}
	data, both := []string{"data"}, []string{"data", "EINVAL"}
	want := []row{
		{"length=512,memory_offset=0", 512, 0, true, data},
		{"length=512,memory_offset=32", 512, 32, false, both},
		{"length=4096,memory_offset=0", 4096, 0, true, data},
		{"length=4096,memory_offset=32", 4096, 32, false, both},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestSetFixesAParameter(t *testing.T) {
	for _, tc := range []struct {
		name string
		set  map[string]int64
		want []string
		err  string
	}{
		{"a value of the matrix", map[string]int64{"length": 4096}, []string{"length=4096,memory_offset=0", "length=4096,memory_offset=32"}, ""},
		{"a value outside of it", map[string]int64{"length": 1024, "memory_offset": 2048}, []string{"length=1024,memory_offset=2048"}, ""},
		{"an unknown parameter", map[string]int64{"lenght": 512}, nil, `scenario good has no parameter "lenght" (did you mean length?); it has: length, memory_offset`},
		{"a value that can't be", map[string]int64{"length": 0}, nil, "scenario good, case length=0,memory_offset=0: length: 0 is not allowed; it may be from 1 to 1048576, the size of the file"},
		{"a value beyond the page", map[string]int64{"memory_offset": 4096}, nil, "scenario good, case length=512,memory_offset=4096: memory_offset: 4096 is not allowed; it may be from 0 to 4095, inside a page"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cases, err := good(t).Cases(tc.set)
			var got []string
			for _, c := range cases {
				got = append(got, c.ID)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if text := errText(err); text != tc.err {
				t.Errorf("error %q, want %q", text, tc.err)
			}
		})
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestAlignedFollowsTheDisksAlignment(t *testing.T) {
	for _, tc := range []struct {
		mask *int
		step Step
		want bool
	}{
		{nil, Step{Offset: 0, Length: 512, MemoryOffset: 512}, true},
		{nil, Step{Offset: 512, Length: 513}, false},
		{nil, Step{Offset: 1, Length: 512}, false},
		{nil, Step{Length: 512, MemoryOffset: 32}, false},
		{ptr(3), Step{Length: 516, MemoryOffset: 32}, true},
		{ptr(4095), Step{Length: 512}, false},
	} {
		s := &Scenario{Require: Require{DMAAlignment: tc.mask}, Step: tc.step}
		if got := s.makeCase(nil, nil).Aligned; got != tc.want {
			t.Errorf("with mask %v, %+v: aligned %v, want %v", tc.mask, tc.step, got, tc.want)
		}
	}
}

func ptr[T any](v T) *T { return &v }

func TestCaseIsFoundByItsID(t *testing.T) {
	s := good(t)
	all, err := s.Cases(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range all {
		got, err := s.Case(want.ID)
		if err != nil || got.ID != want.ID || got.Step != want.Step {
			t.Errorf("Case(%q) = %q, %v", want.ID, got.ID, err)
		}
	}
	if c, err := s.Case("memory_offset=64,length=1024"); err != nil || c.ID != "length=1024,memory_offset=64" {
		t.Errorf("parameters in another order: %q, %v", c.ID, err)
	}
	if _, err := s.Case("length=512"); !errors.Is(err, ErrNoCase) {
		t.Errorf("a parameter is missing: %v", err)
	}
	for _, id := range []string{"length", "length=a,memory_offset=0", "=1", "length=1,length=2,memory_offset=0"} {
		if _, err := s.Case(id); err == nil {
			t.Errorf("Case(%q) gave no error", id)
		}
	}
}

func TestNeedsAndToolsFollowTheStack(t *testing.T) {
	modules := map[string][]string{
		"lvm-mirror-dio-read":      {"ahci", "sd_mod", "dm-mod", "dm-mirror", "ext4"},
		"lvm-mirror-dio-read-mail": {"ahci", "sd_mod", "dm-mod", "dm-mirror", "ext4"},
		"lvm-raid1-dio-read":       {"ahci", "sd_mod", "dm-mod", "md-mod", "raid1", "dm-raid", "ext4"},
		"lvm-linear-dio-read":      {"ahci", "sd_mod", "dm-mod", "ext4"},
		"md-raid1-dio-read":        {"ahci", "sd_mod", "md-mod", "raid1", "ext4"},
		"plain-dio-read":           {"ahci", "sd_mod", "ext4"},
	}
	tools := map[string][]string{
		"lvm-mirror-dio-read":      {"lvm", "dmsetup", "mke2fs"},
		"lvm-mirror-dio-read-mail": {"lvm", "dmsetup", "dmeventd", "mke2fs"},
		"lvm-raid1-dio-read":       {"lvm", "dmsetup", "mke2fs"},
		"lvm-linear-dio-read":      {"lvm", "dmsetup", "mke2fs"},
		"md-raid1-dio-read":        {"mdadm", "mke2fs"},
		"plain-dio-read":           {"mke2fs"},
	}
	all, err := Embedded()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		var got []string
		builtIn := 0
		for _, need := range s.Needs() {
			if need.Module == "" {
				builtIn++
				continue
			}
			got = append(got, need.Module)
		}
		if diff := cmp.Diff(modules[s.Name], got); diff != "" {
			t.Errorf("%s: modules (-want +got):\n%s", s.Name, diff)
		}
		if builtIn != len(base) {
			t.Errorf("%s: %d options without a module, want the %d that every guest needs", s.Name, builtIn, len(base))
		}
		if diff := cmp.Diff(tools[s.Name], s.Tools()); diff != "" {
			t.Errorf("%s: tools (-want +got):\n%s", s.Name, diff)
		}
	}
}

func TestStoryKnowsWhatToExpect(t *testing.T) {
	s, err := Load("lvm-mirror-dio-read")
	if err != nil {
		t.Fatal(err)
	}
	var before, with []string
	for _, k := range s.Story.Kernels {
		cases, err := s.Cases(nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range cases {
			e, ok := k.Expects(c)
			if !ok {
				t.Errorf("%s %s: nothing expected", k.Ref, c.ID)
			}
			if k.Role == "with" {
				with = append(with, c.ID+" "+e.Verdict)
			} else {
				before = append(before, e.Verdict)
			}
		}
	}
	if slices.ContainsFunc(before, func(v string) bool { return v != "pass" }) {
		t.Errorf("before and after: %v, want only pass", before)
	}
	want := []string{
		"length=512,memory_offset=0 pass", "length=512,memory_offset=32 eio",
		"length=4096,memory_offset=0 pass", "length=4096,memory_offset=32 hang",
		"length=8192,memory_offset=0 pass", "length=8192,memory_offset=32 hang",
	}
	if diff := cmp.Diff(want, with); diff != "" {
		t.Errorf("with the bug (-want +got):\n%s", diff)
	}
}

func TestExpectationIsMet(t *testing.T) {
	hang := StoryExpect{Verdict: "hang", Also: []string{"warn", "bug"}}
	for _, tc := range []struct {
		expect  StoryExpect
		verdict string
		also    []string
		want    bool
	}{
		{hang, "hang", []string{"bug"}, true},
		{hang, "hang", []string{"degraded", "warn"}, true},
		{hang, "hang", []string{"degraded"}, false},
		{hang, "hang", nil, false},
		{hang, "bug", []string{"warn"}, false},
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
