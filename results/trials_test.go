package results

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/blockrig/blockrig/harness/text"
)

func task(rec Record, n int) Record {
	rec.Task = n
	return rec
}

// Given a disk that takes no more, or a folder that is gone, then a trial is
// stored whole or not at all.
func TestATrialThatCantBeRecordedIsNotStored(t *testing.T) {
	run := create(t, t.TempDir())
	if err := os.Mkdir(filepath.Join(run.Dir(), TrialsFile), 0o777); err != nil {
		t.Fatal(err)
	}
	if rec, err := begin(t, run).end(three()[0]); err == nil || rec.RunDir != "" {
		t.Errorf("stored in %q, %v", rec.RunDir, err)
	}
	if got := tree(t, run.Dir()); len(got) != 3 { // lock, run.json and the folder of above
		t.Errorf("left: %v", got)
	}
	if err := run.Close(); err != nil {
		t.Fatal(err)
	}
}

// What stands in the file may come from anywhere.
func TestTrialsFileIsNotTrusted(t *testing.T) {
	root := t.TempDir()
	run := create(t, root)
	good, err := text.JSONLine(task(three()[0], 7))
	if err != nil {
		t.Fatal(err)
	}
	led := three()[0]
	led.RunDir = "../../../etc"
	away, err := text.JSONLine(led)
	if err != nil {
		t.Fatal(err)
	}
	text := string(good) + "{\"verdict\":\"\x1b[31m\"}\n\n" + string(away) + string(good[:40])
	if err := os.WriteFile(filepath.Join(run.Dir(), TrialsFile), []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	s, err := Show(root, "last")
	if err != nil || len(s.Records) != 2 || s.Records[1].Task != 7 {
		t.Fatalf("%d records, %v; want 2", len(s.Records), err)
	}
	for _, r := range s.Records {
		if r.RunDir != "" {
			t.Errorf("a folder of %q was believed", r.RunDir)
		}
	}
	if len(s.Broken) != 2 || !strings.Contains(s.Broken[0].Error(), TrialsFile+":2: not a result") || strings.Contains(s.Broken[0].Error(), "\x1b") {
		t.Errorf("broken: %v", s.Broken)
	}
	if err := os.WriteFile(filepath.Join(run.Dir(), TrialsFile), []byte(string(good)+strings.Repeat("x", maxStored+1)+"\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	if s, err := Show(root, "last"); err != nil || len(s.Records) != 1 || len(s.Broken) != 1 {
		t.Errorf("a long line: %d records, broken %v, %v", len(s.Records), s.Broken, err)
	}
	if err := run.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestAnUnfinishedLineIsCutOff(t *testing.T) {
	for text, want := range map[string]string{
		"":                                    "",
		"a":                                   "",
		"\n":                                  "\n",
		"a\nb":                                "a\n",
		"a\n" + strings.Repeat("b", 200<<10):  "a\n",
		strings.Repeat("b", 64<<10) + "\n":    strings.Repeat("b", 64<<10) + "\n",
		strings.Repeat("b", 64<<10) + "\ncut": strings.Repeat("b", 64<<10) + "\n",
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, TrialsFile), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		if err := cutUnfinishedLine(dir); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(filepath.Join(dir, TrialsFile)); err != nil || string(got) != want {
			t.Errorf("%.5q… of %d bytes: %d are left, %v; want %d", text, len(text), len(got), err, len(want))
		}
	}
}
