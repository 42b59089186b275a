package kernels

import (
	"os"
	"path/filepath"
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
	text := "suites: [duke, sid]\nwithout: [bookworm]\nmirror: http://mirror.example/debian\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := loadDebianConfig(file)
	if err != nil {
		t.Fatal(err)
	}
	want := shipped
	want.Suites = append(append([]string(nil), shipped.Suites[1:]...), "duke")
	want.Mirror = "http://mirror.example/debian"
	if shipped.Suites[0] != "bookworm" {
		t.Fatalf("the test takes bookworm for the first suite, which is %s", shipped.Suites[0])
	}
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
		"suites: [sid]\nmirorr: x\n":             ":2: field mirorr not found",
		"suites: [sid]\nsuites: [sid]\n":         ":2: ",
		"suites: sid\n":                          ":1: cannot unmarshal",
		"\nsuites:\n - \"sid\\nTrusted: yes\"\n": ":3: \"sid\\nTrusted: yes\" is no name of a suite",
		"suites: [sid]\n---\nsuites: [sid]\n":    ":2: a second document",
		"suites: [\n":                            ":",
		"mirror: {a: b}\n":                       ":1: cannot unmarshal",
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
