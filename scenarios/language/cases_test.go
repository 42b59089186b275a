package language

import (
	"errors"
	"os"
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/blockrig/blockrig/scenarios"
)

func good(t *testing.T) *scenarios.Scenario {
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
	cases, err := Cases(good(t), nil)
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
		io, unit := c.Steps[0].IO, c.Setup.Require.Alignment()
		got = append(got, row{c.ID, io.Length, io.MemoryOffset, io.Aligned(unit), io.Outcomes(unit)})
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
		set  map[string]string
		want []string
		err  string
	}{
		{"a value of the matrix", map[string]string{"length": "4096"}, []string{"length=4096,memory_offset=0", "length=4096,memory_offset=32"}, ""},
		{"a value outside of it", map[string]string{"length": "1024", "memory_offset": "2048"}, []string{"length=1024,memory_offset=2048"}, ""},
		{"an unknown parameter", map[string]string{"lenght": "512"}, nil, `scenario good has no parameter "lenght" (did you mean length?); it has: length, memory_offset`},
		{"a value that can't be", map[string]string{"length": "0"}, nil, "scenario good, case length=0,memory_offset=0: length, for steps[0].io.length: 0 is not allowed; the least is 1"},
		{"a value beyond the page", map[string]string{"memory_offset": "4096"}, nil, "scenario good, case length=512,memory_offset=4096: memory_offset, for steps[0].io.memory_offset: 4096 is not allowed; it may be from 0 to 4095"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cases, err := Cases(good(t), tc.set)
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

func TestCaseIsFoundByItsID(t *testing.T) {
	s := good(t)
	all, err := Cases(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range all {
		got, err := OneCase(s, want.ID)
		if err != nil || got.ID != want.ID || !reflect.DeepEqual(got.Steps, want.Steps) {
			t.Errorf("Case(%q) = %q, %v", want.ID, got.ID, err)
		}
	}
	if c, err := OneCase(s, "memory_offset=64,length=1024"); err != nil || c.ID != "length=1024,memory_offset=64" {
		t.Errorf("parameters in another order: %q, %v", c.ID, err)
	}
	if _, err := OneCase(s, "length=512"); !errors.Is(err, ErrNoCase) {
		t.Errorf("a parameter is missing: %v", err)
	}
	for _, id := range []string{"length", "length=a,memory_offset=0", "=1", "length=1,length=2,memory_offset=0"} {
		if _, err := OneCase(s, id); err == nil {
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
	const everyGuest = 6 // options that can only be built in
	for name := range modules {
		s, err := Load(name)
		if err != nil {
			t.Fatal(err)
		}
		cases, err := Cases(s, nil)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		builtIn := 0
		for _, need := range cases[0].Needs() {
			if need.Module == "" {
				builtIn++
				continue
			}
			got = append(got, need.Module)
		}
		if diff := cmp.Diff(modules[s.Name], got); diff != "" {
			t.Errorf("%s: modules (-want +got):\n%s", s.Name, diff)
		}
		if builtIn != everyGuest {
			t.Errorf("%s: %d options without a module, want the %d that every guest needs", s.Name, builtIn, everyGuest)
		}
		if diff := cmp.Diff(tools[s.Name], cases[0].Tools()); diff != "" {
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
		cases, err := Cases(s, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range cases {
			e, ok := k.Expects(c)
			if !ok {
				t.Errorf("%s %s: nothing expected", k.Ref, c.ID)
			}
			if k.Role == "with" {
				with = append(with, c.ID+" "+string(e.Verdict))
			} else {
				before = append(before, string(e.Verdict))
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
