package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/blockrig/blockrig/harness/bisect"
	"github.com/blockrig/blockrig/harness/bisect/trials"
)

// Given bisections of one command, with several culprits each, when their
// reports go where --output says, then only that of a culprit is replaced, by
// the first one of the bisection that follows it.
func TestNoReportTakesThePlaceOfAnother(t *testing.T) {
	a := &app{stdout: io.Discard, stderr: io.Discard}
	dir := t.TempDir()
	to := &reportFiles{name: filepath.Join(dir, "report.txt")}
	answer := func(follows int, hashes ...string) {
		t.Helper()
		s, err := trials.Create(filepath.Join(t.TempDir(), "state"), trials.Request{Git: &trials.GitRequest{}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		s.Follows = follows
		o := &trials.Outcome{}
		for _, h := range hashes {
			c := &bisect.Answer{Direction: bisect.Regression, Grade: bisect.Proven, First: &bisect.Commit{Hash: h}}
			o.Contexts = append(o.Contexts, bisect.Context{})
			if o.Answer == nil {
				o.Answer = c
			} else {
				o.Answer.More = append(o.Answer.More, c)
			}
		}
		if err := a.answer(s, o, to); err != nil {
			t.Fatal(err)
		}
	}
	answer(0, "6.17", "6.18", "6.19") // the first is doubtful, nothing follows it
	answer(1, "aaaa", "bbbb")
	answer(2, "cccc")
	for name, want := range map[string]string{"report.txt": "6.17", "report-2.txt": "aaaa", "report-3.txt": "cccc", "report-4.txt": "bbbb"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !strings.Contains(string(text), "(since "+want+")") {
			t.Errorf("%s is not about %s: %v\n%s", name, want, err, text)
		}
	}
}
