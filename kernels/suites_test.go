package kernels

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTheUsersSuitesAreMerged(t *testing.T) {
	file := filepath.Join(t.TempDir(), "debian.yaml")
	shipped, err := loadDebianConfig(file)
	if err != nil || len(shipped.Suites) < 5 {
		t.Fatalf("what is shipped: %+v, %v", shipped, err)
	}
	text := "suites: [duke, sid, {suite: sid, at: 20200101T000000Z}]\nwithout: [bookworm, trixie-backports]\nmirror: http://mirror.example/debian\nsnapshot: http://past.example\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := loadDebianConfig(file)
	if err != nil {
		t.Fatal(err)
	}
	want := shipped
	want.Suites = slices.DeleteFunc(slices.Clone(shipped.Suites), func(s suite) bool { return s.Name == "bookworm" || s.Name == "trixie-backports" })
	want.Suites = append(want.Suites, suite{Name: "duke"}, suite{Name: "sid", At: "20200101T000000Z"})
	want.Mirror, want.Snapshot = "http://mirror.example/debian", "http://past.example"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("merged (-want +got):\n%s", diff)
	}
	if err := os.WriteFile(file, []byte("# nothing yet\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := loadDebianConfig(file); err != nil || !cmp.Equal(got, shipped) {
		t.Errorf("a file of comments: %+v, %v; want what is shipped", got, err)
	}
}

func TestBrokenConfigurationNamesFileAndLine(t *testing.T) {
	for text, say := range map[string]string{
		"suites: [sid]\nmirorr: x\n":                         ":2: field mirorr not found",
		"suites: [sid]\nsuites: [sid]\n":                     ":2: ",
		"suites: sid\n":                                      ":1: cannot unmarshal",
		"\nsuites:\n - \"sid\\nTrusted: yes\"\n":             ":3: \"sid\\nTrusted: yes\" is no name of a suite",
		"suites: [sid]\n---\nsuites: [sid]\n":                ":2: a second document",
		"suites: [\n":                                        ":",
		"mirror: {a: b}\n":                                   ":1: cannot unmarshal",
		"suites:\n - sid\n - {suite: sid}\n":                 ":3: \"\" is no time",
		"suites: [{suite: sid, at: tomorrow}]\n":             ":1: \"tomorrow\" is no time; want one such as 20261120T000000Z",
		"suites:\n - suite: sid\n   att: 20261120T000000Z\n": ":3: \"att\" is no key of a suite",
		"suites: [[sid]]\n":                                  ":1: \"\" is no name of a suite",
		"without: [\"/\"]\n":                                 ":1: \"/\" is no name of a suite",
	} {
		file := filepath.Join(t.TempDir(), "debian.yaml")
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := loadDebianConfig(file)
		if err == nil || !strings.Contains(err.Error(), file+say) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: error %v, want one line with %s%s", text, err, file, say)
		}
	}
}
