package qemu

import (
	"os"
	"path/filepath"
	"testing"
)

func TestABuildOfQEMUIsKnownByWhatItIs(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
		return path
	}
	id := func(path string) string {
		got, err := BuildID(path)
		if err != nil || got == "" {
			t.Fatalf("%s: %q, %v", path, got, err)
		}
		return got
	}
	// Given two files of one content, and one of another,
	a, b, c := write("a", "#!/bin/sh\n"), write("b", "#!/bin/sh\n"), write("c", "#!/bin/sh\n\n")
	// then only the content counts.
	if id(a) != id(b) || id(a) == id(c) {
		t.Errorf("%s %s %s", id(a), id(b), id(c))
	}
	// An ELF file that has a build ID is known by that: sh of any distribution.
	if got := id("/bin/sh"); len(got) != 40 && len(got) != 64 {
		t.Errorf("/bin/sh: %q", got)
	}
	if got, err := BuildID(filepath.Join(dir, "none")); err == nil {
		t.Errorf("what is not there has the ID %s", got)
	}
}
