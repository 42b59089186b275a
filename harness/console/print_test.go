package console

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Given the findings of the golden logs, when they are printed, then the text
// is that of testdata/print.txt; in colours it is the same text.
func TestPrint(t *testing.T) {
	var b, coloured bytes.Buffer
	for _, name := range []string{"warn-old-order-flood", "decoded-journal-cut", "kernel-bug", "baseline"} {
		findings := scan(readGolden(t, filepath.Join("testdata", "golden", name+".log")).body).Findings()
		if err := Print(&b, findings, false); err != nil {
			t.Fatal(err)
		}
		if err := Print(&coloured, findings, true); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join("testdata", "print.txt")
	if *update {
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), b.String()); d != "" {
		t.Error(d)
	}
	if plain := regexp.MustCompile("\x1b\\[[0-9;]*m").ReplaceAllString(coloured.String(), ""); plain != b.String() || plain == coloured.String() {
		t.Errorf("in colours the text is another one:\n%s", cmp.Diff(b.String(), plain))
	}
}

// Given findings with control codes in every text, when they are printed,
// then no byte of them reaches the terminal.
func TestPrintHarmless(t *testing.T) {
	evil := "a\x1b]0;owned\x07\x1b[2J\u202e\u009b31m\r\nb\xff"
	f := Finding{
		Kind: Kind(evil), Title: evil, Place: evil, Line: 1, PID: 1, Comm: evil, Workqueue: evil, Release: evil, Tainted: evil,
		Trace: []Frame{{Func: evil, Module: evil, File: evil}},
	}
	var b bytes.Buffer
	if err := Print(&b, []Finding{f}, false); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"\x1b", "\x07", "\r", "\u202e", "\u009b", "\xff"} {
		if strings.Contains(b.String(), bad) {
			t.Errorf("%q is printed", bad)
		}
	}
	if n := strings.Count(b.String(), "\n"); n != 3 {
		t.Errorf("%d lines", n)
	}
}

type brokenWriter struct{}

var errBroken = errors.New("broken")

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

func TestPrintFails(t *testing.T) {
	if err := Print(brokenWriter{}, []Finding{{Kind: KindBug, Title: "a"}}, false); !errors.Is(err, errBroken) {
		t.Error(err)
	}
}
