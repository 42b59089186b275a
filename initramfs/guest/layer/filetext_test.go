package layer

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/blockrig/blockrig/scenarios"
)

// Given files as sysfs has them, when they are set, then one that is not there,
// one that has no such word, and one that says another thing afterwards are told
// apart.
func TestFilesAreSetAndReadBack(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	set := func(path, text string) (string, error) {
		return Set([]scenarios.FileText{{File: path, Text: text, Needs: "CONFIG_X"}})
	}
	if told, err := set(file("nr_requests", "128\n"), "128"); told != "" || err != nil {
		t.Errorf("a number: %q, %v", told, err)
	}
	if told, err := set(file("write_cache", "write back\n"), "write back"); told != "" || err != nil {
		t.Errorf("two words: %q, %v", told, err)
	}
	// A plain file keeps what was behind the text, as one of the kernel's may say
	// another number than was written.
	if told, err := set(file("read_ahead_kb", "4096\n"), "5"); err != nil || !strings.HasSuffix(told, `says "5096" after "5" was written`) {
		t.Errorf("a file that says another thing: %q, %v", told, err)
	}
	if _, err := set(filepath.Join(dir, "wbt"), "1"); !errors.Is(err, ErrCannot) || !strings.Contains(err.Error(), "has no "+dir+"/wbt; it takes CONFIG_X") {
		t.Errorf("no file: %v", err)
	}
	if _, err := set(file("scheduler", "none [mq-deadline]\n"), "bfq"); !errors.Is(err, ErrCannot) || !strings.Contains(err.Error(), `it offers "none [mq-deadline]"`) {
		t.Errorf("no such word: %v", err)
	}
}
